import pytest

from tests.station import Station


def test_boot_notification_is_the_first_and_only_message_before_its_answer(station: Station) -> None:
    """BT-01, BT-02."""
    station.connect()
    station.advance(20)

    (boot,) = station.sent()

    assert boot[2:] == ["BootNotification", {"chargePointVendor": "Example", "chargePointModel": "Model 1"}]


def test_every_connector_is_reported_once_registration_is_accepted(station: Station) -> None:
    """BT-05, ST-15; TC_001_CS."""
    station.advance(20)
    station.connect()
    (boot,) = station.sent("BootNotification")

    station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=300)

    statuses = []
    while frames := station.sent():
        (frame,) = frames
        station.csms_answers(frame)
        statuses.append(frame)
    reported = [(f[3]["connectorId"], f[3]["status"]) for f in statuses if f[2] == "StatusNotification"]
    assert reported == [(0, "Available"), (1, "Available")]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_next_boot_notification_comes_after_the_interval(station: Station, status: str) -> None:
    """BT-06, BT-07; TC_001_CS, TC_002_CS."""
    station.register(status, interval=40)

    station.advance(39)
    assert station.sent() == []

    station.advance(2)
    assert [frame[2] for frame in station.sent()] == ["BootNotification"]
