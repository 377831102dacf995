"""SupportedFeatureProfiles: what a profile brings is there, or isn't (OCPP 1.6, 3.3; obligations 0, 1.3 and 8)."""

from typing import Any

import pytest

from ocpp16_bridge.configuration_file import ConfigurationError
from ocpp16_bridge.csms.schemas import FROM_CSMS
from tests.conftest import MakeStation
from tests.features.connectors.site import Site
from tests.station import Station

EXPIRY = "2026-11-22T18:00:00Z"
TX_DEFAULT_PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10}]},
}
CALLS: dict[str, dict[str, dict[str, Any]]] = {
    "FirmwareManagement": {
        "GetDiagnostics": {"location": "ftp://example.com/"},
        "UpdateFirmware": {"location": "ftp://example.com/image", "retrieveDate": EXPIRY},
    },
    "LocalAuthListManagement": {"GetLocalListVersion": {}, "SendLocalList": {"listVersion": 1, "updateType": "Full"}},
    "Reservation": {
        "CancelReservation": {"reservationId": 1},
        "ReserveNow": {"connectorId": 1, "expiryDate": EXPIRY, "idTag": "TAG", "reservationId": 1},
    },
    "SmartCharging": {
        "ClearChargingProfile": {},
        "GetCompositeSchedule": {"connectorId": 1, "duration": 60},
        "SetChargingProfile": {"connectorId": 1, "csChargingProfiles": TX_DEFAULT_PROFILE},
    },
    "RemoteTrigger": {"TriggerMessage": {"requestedMessage": "Heartbeat"}},
}
KEYS = {
    "FirmwareManagement": set[str](),
    "LocalAuthListManagement": {"LocalAuthListEnabled", "LocalAuthListMaxLength", "SendLocalListMaxLength"},
    "Reservation": {"ReserveConnectorZeroSupported"},
    "SmartCharging": {
        "ChargeProfileMaxStackLevel",
        "ChargingScheduleAllowedChargingRateUnit",
        "ChargingScheduleMaxPeriods",
        "MaxChargingProfilesInstalled",
    },
    "RemoteTrigger": set[str](),
}
EACH_CALL = [(profile, action) for profile, actions in CALLS.items() for action in actions]


def profiles(*names: str) -> str:
    return f'[configuration_keys]\nSupportedFeatureProfiles = "{",".join(names)}"\n'


def without(profile: str) -> str:
    return profiles("Core", *(name for name in CALLS if name != profile))


def answer(station: Station, action: str, payload: dict[str, Any]) -> list[Any]:
    station.sent()
    message_id = station.csms_sends(action, **payload)
    (frame,) = [frame for frame in station.sent() if frame[0] != 2 and frame[1] == message_id]
    return frame


def listed(station: Station) -> set[str]:
    items = answer(station, "GetConfiguration", {})[2]["configurationKey"]
    return {item["key"] for item in items}


@pytest.mark.parametrize(("profile", "action"), EACH_CALL)
def test_action_of_a_profile_that_is_switched_off_is_not_supported(
    make_station: MakeStation, profile: str, action: str
) -> None:
    """1.3, LL-06; TC_042_1_CS, TC_043_1_CS."""
    station = make_station(without(profile))
    station.register()

    frame = answer(station, action, CALLS[profile][action])

    assert (frame[0], frame[2]) == (4, "NotSupported")


@pytest.mark.parametrize(("profile", "action"), EACH_CALL)
def test_the_other_profiles_are_served(make_station: MakeStation, profile: str, action: str) -> None:
    station = make_station(profiles("Core", profile))
    station.register()

    frame = answer(station, action, CALLS[profile][action])

    assert frame[0] == 3


@pytest.mark.parametrize("profile", CALLS)
def test_keys_of_a_profile_that_is_switched_off_are_unknown(make_station: MakeStation, profile: str) -> None:
    """6.7: neither listed nor read nor changed, by nobody."""
    station = make_station(without(profile))
    station.register()

    keys = listed(station)

    assert keys.isdisjoint(KEYS[profile])
    assert {key for name, others in KEYS.items() if name != profile for key in others} <= keys
    for key in KEYS[profile]:
        assert answer(station, "GetConfiguration", {"key": [key]})[2] == {"unknownKey": [key]}
        change = {"key": key, "value": "true"}
        assert answer(station, "ChangeConfiguration", change)[2] == {"status": "NotSupported"}
        assert station.ask("get_configuration_key", keys=[key])["unknown_keys"] == [key]


def test_only_core(make_station: MakeStation) -> None:
    station = make_station(profiles("Core"))
    station.register()

    assert listed(station).isdisjoint(set().union(*KEYS.values()))
    shown = answer(station, "GetConfiguration", {"key": ["SupportedFeatureProfiles"]})[2]["configurationKey"]
    assert shown == [{"key": "SupportedFeatureProfiles", "readonly": True, "value": "Core"}]
    assert answer(station, "ClearCache", {})[2] == {"status": "Accepted"}
    station.publish("hardware/connector/1/state", {"plugged": True})
    assert station.shown("connector/1/status")["status"] == "Preparing"


def test_core_cannot_be_switched_off(make_station: MakeStation) -> None:
    """3.3: it is compulsory."""
    with pytest.raises(ConfigurationError, match="expected Core among the feature profiles"):
        make_station(profiles("Reservation"))


@pytest.mark.parametrize("message", ["FirmwareStatusNotification", "DiagnosticsStatusNotification"])
def test_message_of_a_profile_that_is_switched_off_is_not_triggered(make_station: MakeStation, message: str) -> None:
    """6.6; TC_054_CS: the last two NotImplemented if not built."""
    station = make_station(without("FirmwareManagement"))
    station.register()

    frame = answer(station, "TriggerMessage", {"requestedMessage": message})

    assert frame[2] == {"status": "NotImplemented"}


def test_every_action_of_the_csms_that_is_built_has_a_switch_or_is_core(make_station: MakeStation) -> None:
    """0: the table of profiles."""
    station = make_station(profiles("Core"))
    core = set(station.charge_point.endpoint.handlers)

    assert core.isdisjoint(action for _, action in EACH_CALL)
    assert core | {action for _, action in EACH_CALL} <= FROM_CSMS


def test_list_of_a_former_configuration_decides_nothing(make_station: MakeStation) -> None:
    """What nobody can change any more must not let anybody charge; it is there again with its profile."""
    site = Site(make_station(""))
    entries = [{"idTag": "TAG", "idTagInfo": {"status": "Accepted"}}]
    site.calls("SendLocalList", listVersion=3, updateType="Full", localAuthorizationList=entries)

    site.station.kill(without("LocalAuthListManagement"))
    site.station.connect_broker()
    assert site.station.ask("present_id_tag", id_tag="TAG")["status"] == "Invalid"

    site.station.kill(profiles("Core", "LocalAuthListManagement"))
    site.station.connect_broker()
    assert site.station.ask("present_id_tag", id_tag="TAG")["status"] == "Accepted"


def test_reservation_of_a_former_configuration_is_gone(make_station: MakeStation) -> None:
    """Nobody could cancel it."""
    site = Site(make_station(""))
    assert site.reserve() == "Accepted"

    site.station.kill(without("Reservation"))
    site.station.connect_broker()

    assert site.shown() == "Available"
    assert site.station.shown("connector/1/reservation") is None
