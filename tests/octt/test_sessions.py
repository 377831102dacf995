"""OCTT: charging sessions at the charge point, from plug to unplug."""

import pytest

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger

INFO = "EV side disconnected"


def test_tc_003_cs_regular_charging_session_plugin_first(charger: Charger, cs: CentralSystem) -> None:
    """Regular Charging Session - Plugin First."""
    charger.meter(1, 1000.7)

    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing", errorCode="NoError")

    charger.present("TAG")
    cs.expect("Authorize", idTag="TAG")
    cs.expect("StartTransaction", connectorId=1, idTag="TAG", meterStart=1000, reservationId=None)

    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging", errorCode="NoError")


def test_tc_004_1_cs_regular_charging_session_identification_first(charger: Charger, cs: CentralSystem) -> None:
    """Regular Charging Session - Identification First."""
    charger.present("TAG")
    cs.expect("Authorize", idTag="TAG")
    cs.expect("StatusNotification", connectorId=1, status="Preparing")

    charger.plug(1)
    cs.expect("StartTransaction", connectorId=1, idTag="TAG")

    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")


def test_tc_004_2_cs_regular_charging_session_connection_time_out(charger: Charger, cs: CentralSystem) -> None:
    """Regular Charging Session - Identification First - ConnectionTimeOut."""
    cs.configure(ConnectionTimeOut=30)

    charger.present("TAG")
    cs.expect("Authorize", idTag="TAG")
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    charger.advance(29)
    cs.expect_nothing()

    charger.advance(1)
    cs.expect("StatusNotification", connectorId=1, status="Available")
    charger.plug(1)  # the authorisation is gone
    cs.expect("StatusNotification", connectorId=1, status="Preparing")


def test_tc_005_1_cs_ev_side_disconnected_stops_and_unlocks(charger: Charger, cs: CentralSystem) -> None:
    """EV Side Disconnected - StopTransactionOnEVSideDisconnect=true, UnlockConnectorOnEVSideDisconnect=true."""
    cs.configure(
        MinimumStatusDuration=0,
        StopTransactionOnEVSideDisconnect="true",
        UnlockConnectorOnEVSideDisconnect="true",
    )
    transaction_id = cs.start_charging()
    assert charger.shown("connector/1/lock") is True

    charger.unplug_ev(1)
    cs.expect_stop(transactionId=transaction_id, reason="EVDisconnected", idTag=None, info=INFO)
    assert charger.shown("connector/1/lock") is False

    cs.expect_unplugged()


def test_tc_005_2_cs_ev_side_disconnected_stops_and_keeps_the_cable(charger: Charger, cs: CentralSystem) -> None:
    """EV Side Disconnected - StopTransactionOnEVSideDisconnect=true, UnlockConnectorOnEVSideDisconnect=false."""
    cs.configure(
        MinimumStatusDuration=0,
        StopTransactionOnEVSideDisconnect="true",
        UnlockConnectorOnEVSideDisconnect="false",
    )
    transaction_id = cs.start_charging()

    charger.unplug_ev(1)
    cs.expect_stop(transactionId=transaction_id, reason="EVDisconnected", idTag=None, info=INFO)
    assert charger.shown("connector/1/lock") is True

    assert cs.call("UnlockConnector", connectorId=1) == {"status": "Unlocked"}
    assert charger.shown("connector/1/lock") is False
    cs.expect_unplugged()


def test_tc_005_3_cs_ev_side_disconnected_goes_on(charger: Charger, cs: CentralSystem) -> None:
    """EV Side Disconnected - StopTransactionOnEVSideDisconnect=false, UnlockConnectorOnEVSideDisconnect=false."""
    cs.configure(
        MinimumStatusDuration=0,
        StopTransactionOnEVSideDisconnect="false",
        UnlockConnectorOnEVSideDisconnect="false",
    )
    transaction_id = cs.start_charging()

    charger.unplug_ev(1)
    cs.expect("StatusNotification", connectorId=1, status="SuspendedEV", errorCode="NoError", info=INFO)
    assert charger.shown("connector/1/lock") is True

    assert cs.call("RemoteStopTransaction", transactionId=transaction_id) == ACCEPTED
    cs.expect_stop(transactionId=transaction_id, reason="Remote")
    cs.expect_unplugged()


def test_tc_068_cs_stop_transaction_id_tag_matches(charger: Charger, cs: CentralSystem) -> None:
    """Stop transaction - IdTag matches."""
    transaction_id = cs.start_charging("TAG")

    charger.present("FOREIGN")
    cs.expect_nothing()

    charger.present("TAG")
    cs.expect_stop(transactionId=transaction_id, idTag="TAG", reason="Local")
    cs.expect_unplugged()


def test_tc_069_cs_stop_transaction_parent_id_tag_matches(charger: Charger, cs: CentralSystem) -> None:
    """Stop transaction - ParentIdTag matches."""
    group = {"status": "Accepted", "parentIdTag": "GROUP"}
    cs.id_tags = {"TAG": group, "OTHER": group}
    transaction_id = cs.start_charging("TAG")

    charger.present("OTHER")
    cs.expect("Authorize", idTag="OTHER")
    cs.expect_stop(transactionId=transaction_id, idTag="OTHER", reason="Local")
    cs.expect_unplugged()


def test_tc_024_cs_start_charging_session_lock_failure(charger: Charger, cs: CentralSystem) -> None:
    """Start Charging Session - Lock Failure."""
    charger.plug(1, locked=False)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    charger.present("TAG")
    cs.expect("Authorize", idTag="TAG")
    cs.expect_nothing()

    charger.fault("ConnectorLockFailure")
    cs.expect("StatusNotification", connectorId=1, status="Faulted", errorCode="ConnectorLockFailure")

    charger.advance(60)
    assert charger.shown("connector/1/transaction") is None


@pytest.mark.parametrize("is_charging", [False, True], ids=["free", "charging"])
def test_tc_041_cs_fault_behavior(charger: Charger, cs: CentralSystem, *, is_charging: bool) -> None:
    """Fault Behavior."""
    if is_charging:
        cs.start_charging()

    charger.fault("GroundFailure")
    cs.expect("StatusNotification", connectorId=1, status="Faulted", errorCode="GroundFailure")
    assert charger.shown("connector/1/charging_permitted") is False

    charger.repair()
    former = "Charging" if is_charging else "Available"
    cs.expect("StatusNotification", connectorId=1, status=former, errorCode="NoError")
