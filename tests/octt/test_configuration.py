"""OCTT: configuration keys."""

from tests.octt.central_system import ACCEPTED, CentralSystem

# As texts: a name a line would take thirty lines.
READ_ONLY = """
GetConfigurationMaxKeys NumberOfConnectors SupportedFeatureProfiles
LocalAuthListMaxLength SendLocalListMaxLength
ChargeProfileMaxStackLevel ChargingScheduleAllowedChargingRateUnit ChargingScheduleMaxPeriods
MaxChargingProfilesInstalled
""".split()  # noqa: SIM905
READ_WRITE = """
AuthorizeRemoteTxRequests ClockAlignedDataInterval ConnectionTimeOut ConnectorPhaseRotation HeartbeatInterval
LocalAuthorizeOffline LocalPreAuthorize MeterValueSampleInterval MeterValuesAlignedData MeterValuesSampledData
ResetRetries StopTransactionOnEVSideDisconnect StopTransactionOnInvalidId StopTxnAlignedData StopTxnSampledData
TransactionMessageAttempts TransactionMessageRetryInterval UnlockConnectorOnEVSideDisconnect
LocalAuthListEnabled
""".split()  # noqa: SIM905


def test_tc_019_cs_retrieve_configuration(cs: CentralSystem) -> None:
    """Retrieve configuration.

    All keys that the claimed profiles require are there, with the right access (RO-29).
    """
    assert "Core" in cs.configuration("SupportedFeatureProfiles")["value"].split(",")

    answer = cs.call("GetConfiguration")

    access = {item["key"]: item["readonly"] for item in answer["configurationKey"]}
    required = dict.fromkeys(READ_ONLY, True) | dict.fromkeys(READ_WRITE, False)
    assert required == {key: access.get(key) for key in required}
    assert "AuthorizationKey" not in access
    assert all(len(item.get("value", "")) <= 500 for item in answer["configurationKey"])


def test_tc_021_cs_change_set_configuration(cs: CentralSystem) -> None:
    """Change/set Configuration."""
    assert cs.call("ChangeConfiguration", key="MeterValueSampleInterval", value="15") == ACCEPTED

    assert cs.configuration("MeterValueSampleInterval")["value"] == "15"


def test_tc_040_1_cs_configuration_key_not_supported(cs: CentralSystem) -> None:
    """Configuration key - NotSupported."""
    assert cs.call("ChangeConfiguration", key="Testing", value="1") == {"status": "NotSupported"}


def test_tc_040_2_cs_configuration_key_invalid_value(cs: CentralSystem) -> None:
    """Configuration key - Invalid value."""
    former = cs.configuration("MeterValueSampleInterval")

    assert cs.call("ChangeConfiguration", key="MeterValueSampleInterval", value="-1") == {"status": "Rejected"}

    assert cs.configuration("MeterValueSampleInterval") == former
