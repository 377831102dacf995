"""Configuration keys: obligations 6.7 and 7, contract 2 and 3."""

import json
import logging
from typing import Any, NamedTuple

import pytest

from tests.conftest import MakeStation
from tests.station import BASE, Station

REGISTER = "Energy.Active.Import.Register"
CONFIG = """
[[connectors]]
lock = true
[[connectors]]
phase_rotation = "RTS"
"""


class Row(NamedTuple):
    """One row of obligations 7: R, RW or W; the default; a good value and how it is shown; bad values."""

    name: str
    access: str
    default: str | None
    good: str = ""
    bad: tuple[str, ...] = ()
    shown: str | None = None  # of the good value, where it isn't shown as given


NO_BOOLEAN = ("", "yes", "1", "true,false")
NO_NATURAL = ("", "-1", "1.5", "x", "0x10", "2147483648", "1 2")
NO_MEASURANDS = ("Energy", f"{REGISTER},Nonsense", f"{REGISTER},{REGISTER}", "SoC,,Voltage", "Voltage.L9")


def flag(name: str, default: str) -> Row:
    return Row(
        name, "RW", default, "FALSE" if default == "true" else " True ", NO_BOOLEAN, str(default != "true").lower()
    )


def number(name: str, default: str, good: str = "77", *bad: str) -> Row:
    return Row(name, "RW", default, good, (*NO_NATURAL, *bad))


def measurands(name: str, default: str) -> Row:
    return Row(name, "RW", default, "SoC, Voltage.L1-N", NO_MEASURANDS, "SoC,Voltage.L1-N")


ROWS = [
    # 7.1 Core
    flag("AllowOfflineTxForUnknownId", "false"),
    flag("AuthorizationCacheEnabled", "true"),
    flag("AuthorizeRemoteTxRequests", "true"),
    number("ClockAlignedDataInterval", "0", "900", "86401"),
    number("ConnectionTimeOut", "120", "0", "3601"),
    Row(
        "ConnectorPhaseRotation",
        "RW",
        "0.RST,1.RST,2.RTS",
        "0.Unknown, 1.SRT,2.NotApplicable",
        ("3.RST", "1.RRR", "1.RST,1.RTS", "1.RST,", "RST", "1"),
        "0.Unknown,1.SRT,2.NotApplicable",
    ),
    Row("ConnectorPhaseRotationMaxLength", "R", "3"),
    Row("GetConfigurationMaxKeys", "R", "200"),
    number("HeartbeatInterval", "300", "77", "0"),  # HB-04
    flag("LocalAuthorizeOffline", "true"),
    flag("LocalPreAuthorize", "false"),
    number("MaxEnergyOnInvalidId", "0"),
    number("MessageTimeout", "30", "600", "0", "601"),
    measurands("MeterValuesAlignedData", REGISTER),
    Row("MeterValuesAlignedDataMaxLength", "R", "40"),
    measurands("MeterValuesSampledData", REGISTER),
    Row("MeterValuesSampledDataMaxLength", "R", "40"),
    number("MeterValueSampleInterval", "60", "0"),
    number("MinimumStatusDuration", "0"),
    Row("NumberOfConnectors", "R", "2"),
    number("ResetRetries", "1"),
    Row("StopTransactionMaxMeterValues", "R", "500"),
    flag("StopTransactionOnEVSideDisconnect", "true"),
    flag("StopTransactionOnInvalidId", "true"),
    measurands("StopTxnAlignedData", ""),
    Row("StopTxnAlignedDataMaxLength", "R", "40"),
    measurands("StopTxnSampledData", ""),
    Row("StopTxnSampledDataMaxLength", "R", "40"),
    Row(
        "SupportedFeatureProfiles",
        "R",
        "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
    ),
    number("TransactionMessageAttempts", "3", "0"),
    number("TransactionMessageRetryInterval", "60", "0"),
    flag("UnlockConnectorOnEVSideDisconnect", "true"),
    number("WebSocketPingInterval", "30", "0"),
    # 7.2 other profiles
    flag("LocalAuthListEnabled", "true"),
    Row("LocalAuthListMaxLength", "R", "10000"),
    Row("SendLocalListMaxLength", "R", "1000"),
    Row("ReserveConnectorZeroSupported", "R", "true"),
    Row("ChargeProfileMaxStackLevel", "R", "10"),
    Row("ChargingScheduleAllowedChargingRateUnit", "R", "Current,Power"),
    Row("ChargingScheduleMaxPeriods", "R", "100"),
    Row("MaxChargingProfilesInstalled", "R", "100"),
    Row("SupportedFileTransferProtocols", "R", "FTP,FTPS,HTTP,HTTPS"),
    # 7.3 security
    Row("AdditionalRootCertificateCheck", "R", "false"),
    Row("AuthorizationKey", "W", None, "a secret of ours", ("", "short77", "x" * 21, "4f" * 15 + "4", "z" * 32)),
    Row("CertificateSignedMaxChainSize", "R", "10000"),
    Row("CertificateStoreMaxLength", "R", "20"),
    Row("CpoName", "RW", None, "Example CPO"),
    Row("SecurityProfile", "RW", "0", "", ("0", "-1", "4", "x")),
]
READABLE = [row for row in ROWS if row.access != "W"]
CHANGEABLE = [row for row in ROWS if row.good]

# OCPP 1.6, 9: required of the profiles that SupportedFeatureProfiles names, and by the white paper.
REQUIRED = """
    AuthorizeRemoteTxRequests ClockAlignedDataInterval ConnectionTimeOut ConnectorPhaseRotation GetConfigurationMaxKeys
    HeartbeatInterval LocalAuthorizeOffline LocalPreAuthorize MeterValuesAlignedData MeterValuesSampledData
    MeterValueSampleInterval NumberOfConnectors ResetRetries StopTransactionOnEVSideDisconnect
    StopTransactionOnInvalidId StopTxnAlignedData StopTxnSampledData SupportedFeatureProfiles
    TransactionMessageAttempts TransactionMessageRetryInterval UnlockConnectorOnEVSideDisconnect LocalAuthListEnabled
    LocalAuthListMaxLength SendLocalListMaxLength ChargeProfileMaxStackLevel ChargingScheduleAllowedChargingRateUnit
    ChargingScheduleMaxPeriods MaxChargingProfilesInstalled SupportedFileTransferProtocols
    AdditionalRootCertificateCheck
""".split()  # noqa: SIM905 - a name a line would take thirty lines


def by_name(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def item(row: Row, value: str | None) -> dict[str, Any]:
    """A key as GetConfiguration shows it."""
    shown = {"key": row.name, "readonly": row.access == "R"}
    return shown if value is None else {**shown, "value": value}


def entry(row: Row, value: str | None) -> dict[str, Any]:
    """The same as `get_configuration_key` and the topics show it."""
    shown = {"key": row.name, "read_only": row.access == "R"}
    return shown if value is None else {**shown, "value": value}


@pytest.fixture
def registered(make_station: MakeStation) -> Station:
    station = make_station(CONFIG)
    station.register()
    station.published()
    return station


def values(station: Station) -> list[Any]:
    return station.csms_calls("GetConfiguration")["configurationKey"]  # type: ignore[no-any-return]


# -- all keys


def test_all_keys_are_these_and_no_others(registered: Station) -> None:
    """RO-20, RO-24, RO-25; obligations 7."""
    shown = values(registered)

    assert shown == [item(row, row.default) for row in sorted(READABLE, key=lambda row: row.name)]


def test_required_keys_of_all_claimed_profiles_are_there(registered: Station) -> None:
    """RO-29; TC_019_CS."""
    names = {shown["key"] for shown in values(registered)}

    assert set(REQUIRED) <= names
    assert "AuthorizationKey" not in names
    assert len(names) <= int(next(row for row in ROWS if row.name == "GetConfigurationMaxKeys").default or 0)


@by_name(ROWS)
def test_key_has_its_access_and_default(registered: Station, row: Row) -> None:
    """Obligations 7; RO-21, RO-24."""
    answer = registered.csms_calls("GetConfiguration", key=[row.name])

    assert answer == {"configurationKey": [item(row, row.default)]}


@by_name(READABLE)
def test_key_is_shown_over_mqtt(registered: Station, row: Row) -> None:
    reply = registered.ask("get_configuration_key", keys=[row.name])

    assert reply == {"configuration_keys": [entry(row, row.default)], "unknown_keys": []}


def test_no_keys_or_an_empty_list_are_all_keys_over_mqtt(registered: Station) -> None:
    expected = [entry(row, row.default) for row in sorted(READABLE, key=lambda row: row.name)]

    for reply in (registered.ask("get_configuration_key"), registered.ask("get_configuration_key", keys=[])):
        assert reply == {"configuration_keys": expected, "unknown_keys": []}


@by_name(CHANGEABLE)
@pytest.mark.parametrize("way", ["csms", "mqtt"])
def test_good_value_is_accepted_and_shown_and_survives(registered: Station, row: Row, way: str) -> None:
    """RO-26, RO-27, RO-28; TC_021_CS."""
    status = change(registered, way, row.name, row.good)
    registered.kill()
    registered.register()

    assert status == "Accepted"
    shown = None if row.access == "W" else row.shown or row.good
    if row.name == "HeartbeatInterval":
        shown = "300"  # BT-03: by the BootNotification.conf of the new process
    assert registered.csms_calls("GetConfiguration", key=[row.name]) == {"configurationKey": [item(row, shown)]}


@by_name([row for row in ROWS if row.bad])
@pytest.mark.parametrize("way", ["csms", "mqtt"])
def test_bad_value_is_rejected_and_changes_nothing(registered: Station, row: Row, way: str) -> None:
    """RO-26, RO-27; TC_040_2_CS."""
    before = values(registered)

    statuses = {value: change(registered, way, row.name, value) for value in row.bad}

    assert statuses == dict.fromkeys(row.bad, "Rejected")
    assert values(registered) == before
    assert registered.charge_point.security.authorization_key == ""


@by_name([row for row in ROWS if row.access == "R"])
@pytest.mark.parametrize("way", ["csms", "mqtt"])
def test_read_only_key_is_rejected(registered: Station, row: Row, way: str) -> None:
    """RO-26."""
    assert change(registered, way, row.name, row.default or "") == "Rejected"


@pytest.mark.parametrize("way", ["csms", "mqtt"])
def test_unknown_key_is_not_supported(registered: Station, way: str) -> None:
    """RO-26; TC_040_1_CS."""
    assert change(registered, way, "Testing", "1") == "NotSupported"


def change(station: Station, way: str, key: str, value: str) -> str:
    if way == "csms":
        return str(station.csms_calls("ChangeConfiguration", key=key, value=value)["status"])
    return str(station.ask("set_configuration_key", key=key, value=value))


# -- names


def test_names_compare_case_insensitively_and_are_shown_as_declared(registered: Station) -> None:
    """RO-22: duplicates once, unknown ones as received."""
    answer = registered.csms_calls("GetConfiguration", key=["HEARTBEATINTERVAL", "nope", "heartbeatinterval", "nope"])

    shown = {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
    assert answer == {"configurationKey": [shown], "unknownKey": ["nope"]}


def test_mqtt_keeps_the_order_of_the_request(registered: Station) -> None:
    reply = registered.ask("get_configuration_key", keys=["x" * 60, "webSOCKETpingINTERVAL", "", "CpoName", "nope"])

    assert [shown["key"] for shown in reply["configuration_keys"]] == ["WebSocketPingInterval", "CpoName"]
    assert reply["unknown_keys"] == ["x" * 60, "", "nope"]


@pytest.mark.parametrize("way", ["csms", "mqtt"])
def test_change_finds_the_key_in_any_case(registered: Station, way: str) -> None:
    assert change(registered, way, "metervaluesampleINTERVAL", " 17 ") == "Accepted"
    (shown,) = registered.csms_calls("GetConfiguration", key=["MeterValueSampleInterval"])["configurationKey"]
    assert shown["value"] == "17"


def test_more_keys_than_the_maximum_are_answered_all_the_same(registered: Station) -> None:
    """RO-23."""
    names = ["HeartbeatInterval", *(f"key{n}" for n in range(500))]

    answer = registered.csms_calls("GetConfiguration", key=names)

    assert len(answer["unknownKey"]) == 500


# -- while Pending


def test_configuration_works_while_pending(station: Station) -> None:
    """BT-08; TC_002_CS."""
    station.register("Pending", interval=40)

    assert station.csms_calls("GetConfiguration", key=["HeartbeatInterval"])["configurationKey"]
    assert station.csms_calls("ChangeConfiguration", key="MeterValueSampleInterval", value="5") == {
        "status": "Accepted"
    }


# -- what hardware and file decide


def test_without_a_lock_unlock_at_the_ev_side_is_false_and_read_only(station: Station) -> None:
    """TX-13; obligations 7.1."""
    station.register()
    name = "UnlockConnectorOnEVSideDisconnect"

    (shown,) = station.csms_calls("GetConfiguration", key=[name])["configurationKey"]

    assert shown == {"key": name, "readonly": True, "value": "false"}
    assert change(station, "csms", name, "true") == "Rejected"


def test_first_values_hold_in_a_new_store_only(make_station: MakeStation, caplog: pytest.LogCaptureFixture) -> None:
    """Contract 5; the first value that the store has overruled is named."""
    station = make_station("[configuration_keys]\nMeterValueSampleInterval = 10\n")
    station.ask("set_configuration_key", key="MeterValueSampleInterval", value="20")

    station.kill()

    assert value_of(station, "MeterValueSampleInterval") == "20"
    (warning,) = warnings(caplog, "overruled")
    assert "configuration_keys.MeterValueSampleInterval is overruled by the store, which has '20'" in warning


def test_read_only_key_follows_the_file(make_station: MakeStation) -> None:
    station = make_station('[configuration_keys]\nSupportedFeatureProfiles = "Core,SmartCharging"\n')
    assert value_of(station, "SupportedFeatureProfiles") == "Core,SmartCharging"

    station.kill('[configuration_keys]\nSupportedFeatureProfiles = "Core"\n')

    assert value_of(station, "SupportedFeatureProfiles") == "Core"


def value_of(station: Station, name: str) -> Any:
    station.broker.connected = True
    (shown,) = station.ask("get_configuration_key", keys=[name])["configuration_keys"]
    return shown["value"]


def warnings(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


# -- AuthorizationKey

SECRETS = ("our own secret 1", "4F43415F4F4354545F61646D696E5F74657374", "first secret of 20ch")


def test_authorization_key_is_never_disclosed(make_station: MakeStation, caplog: pytest.LogCaptureFixture) -> None:
    """RO-24, SE-13; TC_019_CS, TC_073_CS: whatever is asked, published, sent or logged."""
    caplog.set_level(logging.DEBUG)
    station = make_station(f'authorization_key = "{SECRETS[2]}"\n[logging]\npublish_ocpp_messages = true\n')
    station.register()
    heard: list[Any] = [*station.published()]
    said: list[Any] = []
    for secret in SECRETS[:2]:
        assert station.csms_calls("ChangeConfiguration", key="authorizationKEY", value=secret) == {"status": "Accepted"}
        heard.append(station.request("set_configuration_key", key="AuthorizationKey", value=secret, id="1"))
    for bad in (
        {"key": "AuthorizationKey", "value": SECRETS[0] * 40},
        {"key": "AuthorizationKey", "value": [SECRETS[0]]},
    ):
        station.csms_sends("ChangeConfiguration", **bad)
        heard.append(station.request("set_configuration_key", **bad))
        heard.append(station.request("set_custom_configuration_key", **bad))
    heard.append(station.request("set_configuration_key", key="AuthorizationKey", value=SECRETS[0] + " and more"))
    heard.append(station.request("get_configuration_key", keys=["AuthorizationKey"]))
    heard.append(station.request("monitor_configuration_keys", keys=["AuthorizationKey"]))
    station.csms_sends("GetConfiguration")
    station.csms_sends("GetConfiguration", key=["AuthorizationKey"])
    said += station.line.frames
    heard += station.broker.messages
    station.kill()
    station.connect_broker()
    heard += station.broker.messages

    everything = json.dumps([heard, said], default=repr) + caplog.text + repr(station.charge_point.security.target())
    assert [secret for secret in SECRETS if secret in everything] == []


def test_authorization_key_is_unknown_over_mqtt_and_not_monitored(station: Station) -> None:
    """Contract 3: write-only keys."""
    assert station.ask("get_configuration_key", keys=["authorizationkey"]) == {
        "configuration_keys": [],
        "unknown_keys": ["authorizationkey"],
    }

    error = station.request("monitor_configuration_keys", keys=["HeartbeatInterval", "AuthorizationKey"])["error"]

    assert (error["code"], "AuthorizationKey" in error["message"]) == ("bad_request", True)
    assert station.shown("configuration_key/HeartbeatInterval") is None


# -- monitored keys


def test_monitored_key_shows_its_value_from_that_moment(station: Station) -> None:
    assert station.ask("monitor_configuration_keys", keys=["heartbeatINTERVAL"]) is None

    shown = {"key": "HeartbeatInterval", "read_only": False, "value": "300"}
    assert station.shown("configuration_key/HeartbeatInterval") == shown
    assert station.shown("configuration_key") is None


def test_change_by_the_csms_shows_on_both_topics(station: Station) -> None:
    """Also when the CSMS spells the key in another way."""
    station.register()
    station.ask("monitor_configuration_keys", keys=["MeterValueSampleInterval"])

    station.csms_calls("ChangeConfiguration", key="METERVALUESAMPLEINTERVAL", value="7")

    shown = {"key": "MeterValueSampleInterval", "read_only": False, "value": "7"}
    assert station.shown("configuration_key") == shown
    assert station.shown("configuration_key/MeterValueSampleInterval") == shown


def test_local_change_shows_on_the_keys_own_topic_only(station: Station) -> None:
    station.ask("monitor_configuration_keys", keys=["MeterValueSampleInterval"])

    station.ask("set_configuration_key", key="MeterValueSampleInterval", value="7")

    assert station.shown("configuration_key/MeterValueSampleInterval")["value"] == "7"
    assert station.shown("configuration_key") is None


def test_boot_interval_shows_on_the_keys_own_topic_only(station: Station) -> None:
    """BT-03, BT-04."""
    station.ask("monitor_configuration_keys", keys=["HeartbeatInterval"])

    station.register(interval=42)

    assert station.shown("configuration_key/HeartbeatInterval")["value"] == "42"
    assert station.shown("configuration_key") is None


def test_change_of_another_key_or_a_rejected_one_shows_nothing(station: Station) -> None:
    station.register()
    station.ask("monitor_configuration_keys", keys=["MeterValueSampleInterval"])
    station.published()

    station.csms_calls("ChangeConfiguration", key="WebSocketPingInterval", value="7")
    station.csms_calls("ChangeConfiguration", key="MeterValueSampleInterval", value="-1")

    assert station.published() == []


def test_monitoring_extends_and_survives_a_restart(station: Station) -> None:
    station.ask("monitor_configuration_keys", keys=["MeterValueSampleInterval"])
    station.ask("monitor_configuration_keys", keys=["CpoName"])
    station.ask("monitor_configuration_keys", keys=[])
    station.kill()
    station.connect_broker()

    station.register()
    station.csms_calls("ChangeConfiguration", key="CpoName", value="Example CPO")

    assert station.shown("configuration_key/MeterValueSampleInterval")["value"] == "60"
    assert station.shown("configuration_key/CpoName") == station.shown("configuration_key")


@pytest.mark.parametrize("arguments", [{}, {"keys": "CpoName"}, {"keys": [1]}, {"keys": ["CpoName", "nope"]}], ids=str)
def test_refused_monitoring_adds_nothing(station: Station, arguments: dict[str, Any]) -> None:
    reply = station.request("monitor_configuration_keys", **arguments)

    assert reply["error"]["code"] == "bad_request"
    assert station.shown("configuration_key/CpoName") is None


# -- custom keys

CUSTOM = """
[custom_configuration_keys.ExampleText]
type = "string"
value = "https://example.com"
[custom_configuration_keys.ExampleNumber]
type = "integer"
value = 5
[custom_configuration_keys.ExampleDecimal]
type = "decimal"
value = 0.25
[custom_configuration_keys.ExampleFlag]
type = "boolean"
value = true
[custom_configuration_keys.ExampleList]
type = "csl"
value = "a,b"
[custom_configuration_keys.ExampleFixed]
type = "integer"
value = 1
read_only = true
[custom_configuration_keys."odd/key #+%"]
type = "string"
value = ""
"""

CUSTOM_ROWS = [
    Row("ExampleText", "RW", "https://example.com", "anything at all"),
    Row("ExampleNumber", "RW", "5", "-12", ("", "x", "1.5", "2147483648")),
    Row("ExampleDecimal", "RW", "0.25", "-1.5", ("", "x", "1e3", "1,5", "NaN")),
    Row("ExampleFlag", "RW", "true", "false", NO_BOOLEAN),
    Row("ExampleList", "RW", "a,b", "c, d", ("a,,b", "a,a"), "c,d"),
]


@by_name(CUSTOM_ROWS)
@pytest.mark.parametrize("way", ["csms", "mqtt", "custom"])
def test_custom_key_has_its_type_and_survives_restarts(make_station: MakeStation, row: Row, way: str) -> None:
    """Contract 3 and 5."""
    station = make_station(CUSTOM)
    station.register()
    assert value_of(station, row.name) == row.default

    for bad in row.bad:
        assert custom_change(station, way, row.name, bad) == "Rejected"
        assert value_of(station, row.name) == row.default
    assert custom_change(station, way, row.name.upper(), row.good) == "Accepted"
    station.kill()

    assert value_of(station, row.name) == (row.shown or row.good)


def custom_change(station: Station, way: str, key: str, value: str) -> str:
    if way == "custom":
        return str(station.ask("set_custom_configuration_key", key=key, value=value))
    return change(station, way, key, value)


def test_read_only_binds_the_csms_and_not_the_local_command(make_station: MakeStation) -> None:
    """Contract 3; `set_configuration_key` has the rules of the CSMS."""
    station = make_station(CUSTOM)
    station.register()

    assert change(station, "csms", "ExampleFixed", "2") == "Rejected"
    assert change(station, "mqtt", "ExampleFixed", "2") == "Rejected"
    assert custom_change(station, "custom", "ExampleFixed", "2") == "Accepted"

    (shown,) = station.csms_calls("GetConfiguration", key=["ExampleFixed"])["configurationKey"]
    assert shown == {"key": "ExampleFixed", "readonly": True, "value": "2"}
    station.kill()
    assert value_of(station, "ExampleFixed") == "2"


@pytest.mark.parametrize("key", ["HeartbeatInterval", "AuthorizationKey", "NumberOfConnectors", "nope"])
def test_only_custom_keys_are_set_by_the_custom_command(make_station: MakeStation, key: str) -> None:
    station = make_station(CUSTOM)

    assert custom_change(station, "custom", key, "12345678") == "Rejected"


@pytest.mark.parametrize(
    "arguments",
    [{"key": "ExampleText"}, {"key": "x" * 51, "value": ""}, {"key": "ExampleText", "value": "x" * 501}, {"value": ""}],
    ids=["no value", "long key", "long value", "no key"],
)
@pytest.mark.parametrize("command", ["set_configuration_key", "set_custom_configuration_key"])
def test_arguments_of_the_wrong_shape_are_bad_requests(
    make_station: MakeStation, command: str, arguments: dict[str, Any]
) -> None:
    station = make_station(CUSTOM)

    assert station.request(command, **arguments)["error"]["code"] == "bad_request"


def test_topic_of_an_odd_name_is_percent_encoded(make_station: MakeStation) -> None:
    """Contract 0."""
    station = make_station(CUSTOM)

    station.ask("monitor_configuration_keys", keys=["odd/key #+%"])

    topics = [topic for topic in station.broker.retained if topic.startswith(f"{BASE}/configuration_key/")]
    assert topics == [f"{BASE}/configuration_key/odd%2Fkey%20%23%2B%25"]


def test_monitored_custom_key_that_is_no_longer_declared_is_forgotten(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    station = make_station(CUSTOM)
    station.ask("monitor_configuration_keys", keys=["ExampleText"])

    station.kill("")
    station.connect_broker()

    assert station.shown("configuration_key/ExampleText") is None
    assert len(warnings(caplog, "ExampleText is no longer declared")) == 1
    station.kill(CUSTOM)
    station.connect_broker()
    assert station.shown("configuration_key/ExampleText") is None


def test_handler_of_a_key_that_nobody_declares_is_a_bug(station: Station) -> None:
    configuration: Any = station.charge_point.features[0]

    with pytest.raises(LookupError, match="Nonsense"):
        configuration.add_reaction("Nonsense", print)
