"""OCTT: UnlockConnector. Connector 1 is a socket with a lock, connector 2 has a fixed cable."""

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger


def test_tc_017_1_cs_unlock_connector_no_charging_session(cs: CentralSystem) -> None:
    """Unlock connector - no charging session running (not fixed cable)."""
    assert cs.call("UnlockConnector", connectorId=1) == {"status": "Unlocked"}


def test_tc_017_2_cs_unlock_connector_no_charging_session_fixed_cable(cs: CentralSystem) -> None:
    """Unlock connector - no charging session running (fixed cable)."""
    assert cs.call("UnlockConnector", connectorId=2) == {"status": "NotSupported"}


def test_tc_018_1_cs_unlock_connector_with_charging_session(charger: Charger, cs: CentralSystem) -> None:
    """Unlock connector - with charging session (not fixed cable)."""
    transaction_id = cs.start_charging(connector=1)

    assert cs.call("UnlockConnector", connectorId=1) == {"status": "Unlocked"}

    cs.expect_stop(transactionId=transaction_id, reason="UnlockCommand", idTag=None)
    assert charger.shown("connector/1/lock") is False
    cs.expect_unplugged()


def test_tc_018_2_cs_unlock_connector_with_charging_session_fixed_cable(charger: Charger, cs: CentralSystem) -> None:
    """Unlock connector - with charging session (fixed cable)."""
    transaction_id = cs.start_charging(connector=2)

    assert cs.call("UnlockConnector", connectorId=2) == {"status": "NotSupported"}
    charger.advance(10)
    cs.expect_nothing()

    assert cs.call("RemoteStopTransaction", transactionId=transaction_id) == ACCEPTED
    cs.expect_stop(connector=2, transactionId=transaction_id, reason="Remote")
    cs.expect_unplugged(connector=2)


def test_tc_030_cs_unlock_connector_unlock_failure(charger: Charger, cs: CentralSystem) -> None:
    """Unlock Connector - Unlock Failure."""
    charger.lock = "UnlockFailed"

    assert cs.call("UnlockConnector", connectorId=1) == {"status": "UnlockFailed"}


def test_tc_031_cs_unlock_connector_unknown_connector(cs: CentralSystem) -> None:
    """Unlock Connector - Unknown Connector."""
    assert cs.call("UnlockConnector", connectorId=3) == {"status": "NotSupported"}
