"""OCTT: Reset."""

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger


def reset_without_transaction(charger: Charger, cs: CentralSystem, kind: str) -> None:
    """An availability that was set before stays over the reset (ST-05)."""
    assert cs.call("ChangeAvailability", connectorId=1, type="Inoperative") == ACCEPTED
    cs.expect("StatusNotification", connectorId=1, status="Unavailable")

    assert cs.call("Reset", type=kind) == ACCEPTED
    charger.come_back_from_reset(kind)
    cs.expect("BootNotification")
    cs.expect_statuses("Available", "Unavailable", "Available")

    assert cs.call("ChangeAvailability", connectorId=1, type="Operative") == ACCEPTED
    cs.expect("StatusNotification", connectorId=1, status="Available")


def test_tc_013_cs_hard_reset_without_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Hard Reset Without Transaction."""
    reset_without_transaction(charger, cs, "Hard")


def test_tc_014_cs_soft_reset_without_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Soft Reset Without Transaction."""
    reset_without_transaction(charger, cs, "Soft")


def reset_with_transaction(charger: Charger, cs: CentralSystem, kind: str) -> None:
    transaction_id = cs.start_charging()

    assert cs.call("Reset", type=kind) == ACCEPTED
    cs.expect_stop(transactionId=transaction_id, reason=f"{kind}Reset", idTag=None)

    charger.come_back_from_reset(kind)
    cs.expect("BootNotification")
    cs.expect("StatusNotification", connectorId=0, status="Available")
    assert cs.expect("StatusNotification", connectorId=1)["status"] in {"Finishing", "Preparing"}
    cs.expect("StatusNotification", connectorId=2, status="Available")


def test_tc_015_cs_hard_reset_with_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Hard Reset With Transaction.

    StopTransaction goes out before the boot.
    """
    reset_with_transaction(charger, cs, "Hard")


def test_tc_016_cs_soft_reset_with_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Soft Reset With Transaction."""
    reset_with_transaction(charger, cs, "Soft")
