"""OCTT: power failure."""

import pytest

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger


def charge_and_lose_power(charger: Charger, cs: CentralSystem, on_power_loss: str) -> int:
    """Power is back, with the EV still plugged, and the charge point has booted; the transaction id."""
    transaction_id = cs.start_charging()
    charger.advance(49)
    charger.meter(1, 1400)
    charger.advance(40)  # the reading is on disk at the latest a minute after it came (TX-05)
    cs.expect("MeterValues", transactionId=transaction_id)
    charger.power_cut(config=f'[transactions]\non_power_loss = "{on_power_loss}"')
    cs.expect("BootNotification")
    cs.expect("StatusNotification", connectorId=0, status="Available")
    return transaction_id


def expect_stopped_by_power_loss(cs: CentralSystem, transaction_id: int) -> None:
    """StopTransaction follows the statuses (TX-40), with the last known reading and its time, never now (TX-42)."""
    assert cs.expect("StatusNotification", connectorId=1)["status"] in {"Finishing", "Preparing"}
    cs.expect("StatusNotification", connectorId=2, status="Available")
    cs.expect(
        "StopTransaction",
        transactionId=transaction_id,
        reason="PowerLoss",
        meterStop=1400,
        timestamp="2026-11-22T10:00:50Z",
        idTag=None,
    )
    cs.expect_unplugged()


def test_tc_032_1_cs_power_failure_stop_transaction_before_going_down(charger: Charger, cs: CentralSystem) -> None:
    """Power failure boot charging point - stop transaction(s) before going down.

    The case is for chargers with buffered power, which send StopTransaction, reason PowerLoss, before they go down. The
    daemon hears nothing of a failing power, so ours is another design that the tool accepts: the same StopTransaction
    after the boot (TX-41), as in TC_032_2_CS.
    """
    transaction_id = charge_and_lose_power(charger, cs, "stop")

    expect_stopped_by_power_loss(cs, transaction_id)


@pytest.mark.parametrize("on_power_loss", ["stop", "resume"])
def test_tc_032_2_cs_power_failure_stop_transaction_after_going_down(
    charger: Charger, cs: CentralSystem, on_power_loss: str
) -> None:
    """Power failure boot charging point - stop transaction(s) after going down."""
    transaction_id = charge_and_lose_power(charger, cs, on_power_loss)

    if on_power_loss == "stop":
        expect_stopped_by_power_loss(cs, transaction_id)
        return
    cs.expect("StatusNotification", connectorId=1, status="Charging")
    cs.expect("StatusNotification", connectorId=2, status="Available")
    charger.present("TAG")
    cs.expect_stop(transactionId=transaction_id, reason="Local", idTag="TAG")
    cs.expect_unplugged()


def test_tc_034_cs_power_failure_with_unavailable_status(charger: Charger, cs: CentralSystem) -> None:
    """Power Failure with Unavailable Status."""
    assert cs.call("ChangeAvailability", connectorId=0, type="Inoperative") == ACCEPTED
    cs.expect_statuses("Unavailable", "Unavailable", "Unavailable")

    charger.power_cut()
    cs.expect("BootNotification")
    cs.expect_statuses("Unavailable", "Unavailable", "Unavailable")

    assert cs.call("ChangeAvailability", connectorId=0, type="Operative") == ACCEPTED
    cs.expect_statuses("Available", "Available", "Available")
