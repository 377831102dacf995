"""OCTT: TriggerMessage."""

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger


def test_tc_054_cs_trigger_message(charger: Charger, cs: CentralSystem) -> None:
    """Trigger Message."""
    charger.meter(1, 1000)
    charger.meter(2, 2000)

    assert cs.call("TriggerMessage", requestedMessage="MeterValues", connectorId=1) == ACCEPTED
    (value,) = cs.expect("MeterValues", connectorId=1)["meterValue"]
    assert value["sampledValue"][0]["context"] == "Trigger"
    assert cs.call("TriggerMessage", requestedMessage="Heartbeat") == ACCEPTED
    cs.expect("Heartbeat")
    assert cs.call("TriggerMessage", requestedMessage="StatusNotification", connectorId=1) == ACCEPTED
    cs.expect("StatusNotification", connectorId=1, status="Available")
    assert cs.call("TriggerMessage", requestedMessage="DiagnosticsStatusNotification") == ACCEPTED
    cs.expect("DiagnosticsStatusNotification", status="Idle")
    assert cs.call("TriggerMessage", requestedMessage="FirmwareStatusNotification") == ACCEPTED
    cs.expect("FirmwareStatusNotification", status="Idle")


def test_tc_055_cs_trigger_message_rejected(cs: CentralSystem) -> None:
    """Trigger Message - Rejected."""
    answer = cs.call("TriggerMessage", requestedMessage="MeterValues", connectorId=3)

    assert answer == {"status": "Rejected"}
