"""OCTT: loss of the connection, and transactions without one."""

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger


def start_offline(charger: Charger, cs: CentralSystem) -> None:
    """A transaction of a tag that nobody knows begins while the CSMS is away."""
    cs.configure(AllowOfflineTxForUnknownId="true")
    charger.meter(1, 1000)
    charger.disconnect()
    charger.plug(1)
    charger.present("TAG")
    charger.ready(1)
    charger.advance(20)


def reconnect_and_start(charger: Charger, cs: CentralSystem) -> None:
    """What was queued is sent as it happened (TX-31)."""
    charger.connect()
    cs.expect("StatusNotification", connectorId=1, status="Charging")
    cs.expect("StartTransaction", connectorId=1, idTag="TAG", meterStart=1000, timestamp="2026-11-22T10:00:00Z")


def test_tc_036_cs_connection_loss_during_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Connection Loss During Transaction."""
    cs.configure(MeterValueSampleInterval=10)
    transaction_id = cs.start_charging()

    charger.disconnect()
    for second in (10, 20, 30):
        charger.meter(1, 1000 + second)
        charger.advance(10)
    charger.advance(5)
    charger.connect()
    charger.meter(1, 1040)
    charger.advance(5)

    for second in (10, 20, 30, 40):
        payload = cs.expect("MeterValues", connectorId=1, transactionId=transaction_id)
        (value,) = payload["meterValue"]
        assert value["timestamp"] == f"2026-11-22T10:00:{second}Z"
        assert [sampled["value"] for sampled in value["sampledValue"]] == [str(1000 + second)]


def test_tc_037_1_cs_offline_start_transaction_valid_id_tag(charger: Charger, cs: CentralSystem) -> None:
    """Offline Start Transaction - Valid IdTag."""
    start_offline(charger, cs)

    reconnect_and_start(charger, cs)

    assert charger.shown("connector/1/charging_permitted") is True


def test_tc_037_2_cs_offline_start_transaction_invalid_id_tag_goes_on(charger: Charger, cs: CentralSystem) -> None:
    """Offline Start Transaction - Invalid IdTag - StopTransactionOnInvalidId=false."""
    cs.configure(StopTransactionOnInvalidId="false")
    cs.id_tags["TAG"] = {"status": "Invalid"}
    start_offline(charger, cs)

    reconnect_and_start(charger, cs)

    cs.expect("StatusNotification", connectorId=1, status="SuspendedEVSE")
    assert charger.shown("connector/1/charging_permitted") is False
    assert cs.call("RemoteStopTransaction", transactionId=1) == ACCEPTED
    cs.expect_stop(transactionId=1, reason="Remote")
    cs.expect_unplugged()


def test_tc_037_3_cs_offline_start_transaction_invalid_id_tag_stops(charger: Charger, cs: CentralSystem) -> None:
    """Offline Start Transaction - Invalid IdTag - StopTransactionOnInvalidId=true."""
    cs.configure(StopTransactionOnInvalidId="true")
    cs.id_tags["TAG"] = {"status": "Invalid"}
    start_offline(charger, cs)

    reconnect_and_start(charger, cs)

    cs.expect_stop(transactionId=1, reason="DeAuthorized", idTag=None)
    assert charger.shown("connector/1/charging_permitted") is False


def test_tc_038_cs_offline_stop_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Offline Stop Transaction."""
    transaction_id = cs.start_charging("TAG")
    charger.disconnect()
    charger.present("TAG")

    charger.connect()

    cs.expect_stop(transactionId=transaction_id, reason="Local", idTag="TAG", timestamp="2026-11-22T10:00:01Z")
    cs.expect_unplugged()


def test_tc_039_cs_offline_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Offline Transaction."""
    start_offline(charger, cs)
    charger.present("TAG")
    charger.meter(1, 1500)
    charger.unplug(1)

    charger.connect()

    cs.expect("StartTransaction", connectorId=1, idTag="TAG", timestamp="2026-11-22T10:00:00Z")
    cs.expect("StopTransaction", transactionId=1, reason="Local", meterStop=1500, timestamp="2026-11-22T10:00:20Z")
