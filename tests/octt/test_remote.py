"""OCTT: RemoteStartTransaction, RemoteStopTransaction and DataTransfer."""

import pytest

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger

REJECTED = {"status": "Rejected"}


@pytest.mark.parametrize("authorize", ["true", "false"])
def test_tc_010_cs_remote_start_cable_plugged_in_first(charger: Charger, cs: CentralSystem, authorize: str) -> None:
    """Remote Start Charging Session - Cable Plugged in First."""
    cs.configure(AuthorizeRemoteTxRequests=authorize)
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    if authorize == "true":
        cs.expect("Authorize", idTag="TAG")
    cs.expect("StartTransaction", connectorId=1, idTag="TAG")
    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")


@pytest.mark.parametrize("authorize", ["true", "false"])
def test_tc_011_1_cs_remote_start_first(charger: Charger, cs: CentralSystem, authorize: str) -> None:
    """Remote Start Charging Session - Remote Start First."""
    cs.configure(AuthorizeRemoteTxRequests=authorize)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    if authorize == "true":
        cs.expect("Authorize", idTag="TAG")
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    charger.plug(1)
    cs.expect("StartTransaction", connectorId=1, idTag="TAG")
    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")


def test_tc_011_2_cs_remote_start_time_out(charger: Charger, cs: CentralSystem) -> None:
    """Remote Start Charging Session - Time Out."""
    cs.configure(ConnectionTimeOut=30)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    cs.expect("Authorize", idTag="TAG")
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    charger.advance(29)
    cs.expect_nothing()
    charger.advance(1)
    cs.expect("StatusNotification", connectorId=1, status="Available")


def test_tc_012_cs_remote_stop_charging_session(charger: Charger, cs: CentralSystem) -> None:
    """Remote Stop Charging Session."""
    transaction_id = cs.start_charging()

    assert cs.call("RemoteStopTransaction", transactionId=transaction_id) == ACCEPTED

    cs.expect_stop(transactionId=transaction_id, reason="Remote", idTag=None)
    assert charger.shown("connector/1/lock") is False
    cs.expect_unplugged()


def test_tc_026_cs_remote_start_charging_session_rejected(cs: CentralSystem) -> None:
    """Remote Start Charging Session - Rejected."""
    cs.start_charging()

    assert cs.call("RemoteStartTransaction", idTag="OTHER", connectorId=1) == REJECTED


def test_tc_027_cs_remote_start_connector_id_shall_not_be_0(cs: CentralSystem) -> None:
    """Remote start Charging Session - connector id shall not be 0."""
    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=0) == REJECTED


def test_tc_028_cs_remote_stop_charging_session_rejected(cs: CentralSystem) -> None:
    """Remote Stop Charging Session - Rejected."""
    transaction_id = cs.start_charging()

    assert cs.call("RemoteStopTransaction", transactionId=transaction_id + 1) == REJECTED


def test_tc_062_cs_data_transfer_to_a_charge_point(cs: CentralSystem) -> None:
    """Data Transfer to a Charge Point."""
    answer = cs.call("DataTransfer", vendorId="com.example.unknown", messageId="Testing", data="x")

    assert answer == {"status": "UnknownVendorId"}
