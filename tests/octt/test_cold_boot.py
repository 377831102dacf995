"""OCTT: cold boot."""

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger

INTERVAL = 40  # s


def expect_boot_and_heartbeats(charger: Charger, cs: CentralSystem) -> None:
    cs.expect("BootNotification")
    cs.expect_statuses("Available", "Available", "Available")
    for _ in range(3):
        charger.advance(INTERVAL)
        cs.expect("Heartbeat")


def test_tc_001_cs_cold_boot_charge_point(charger: Charger, cs: CentralSystem) -> None:
    """Cold Boot Charge Point."""
    cs.registrations.extend([("Rejected", INTERVAL), ("Accepted", INTERVAL)])

    charger.power_cut()
    cs.expect("BootNotification")
    charger.advance(INTERVAL - 1)
    cs.expect_nothing()

    charger.advance(1)
    expect_boot_and_heartbeats(charger, cs)


def test_tc_002_cs_cold_boot_charge_point_pending(charger: Charger, cs: CentralSystem) -> None:
    """Cold Boot Charge Point - Pending."""
    cs.registrations.extend([("Pending", INTERVAL), ("Accepted", INTERVAL)])

    charger.power_cut()
    cs.expect("BootNotification")
    assert cs.call("GetConfiguration")["configurationKey"]
    assert cs.call("ChangeConfiguration", key="MeterValueSampleInterval", value="30") == ACCEPTED
    charger.advance(INTERVAL - 1)
    cs.expect_nothing()

    charger.advance(1)
    expect_boot_and_heartbeats(charger, cs)
