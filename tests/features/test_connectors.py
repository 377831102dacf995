"""Connectors, as far as they go by now: plugged or not (obligations 3; contract 2 and 4)."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.station import Station

TWO = "[[connectors]]\n[[connectors]]\n"


def reported(station: Station) -> list[tuple[int, str]]:
    """Connector and status of each StatusNotification from now on, each answered."""
    found = []
    while frames := station.sent():
        found += [(f[3]["connectorId"], f[3]["status"]) for f in frames if f[2] == "StatusNotification"]
        for frame in frames:
            station.csms_answers(frame)
    return found


def accept(station: Station) -> None:
    station.connect()
    boot = station.sent("BootNotification")[0]
    station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=300)


def test_status_is_shown_at_the_start(make_station: MakeStation) -> None:
    """Contract 4: the retained topics do not wait."""
    station = make_station(TWO)

    for connector in (0, 1, 2):
        assert station.shown(f"connector/{connector}/status") == {
            "status": "Available",
            "error_code": "NoError",
            "timestamp": "2026-11-22T10:00:00Z",
        }


def test_status_notifications_wait_for_the_facts_of_every_connector(make_station: MakeStation) -> None:
    """Contract 4: up to hardware.start_timeout."""
    station = make_station(TWO)
    accept(station)
    station.publish("hardware/connector/1/state", {"plugged": True})
    assert reported(station) == []

    station.publish("hardware/connector/2/state", {})

    assert reported(station) == [(0, "Available"), (1, "Preparing"), (2, "Available")]


def test_connector_without_facts_counts_as_unplugged(make_station: MakeStation) -> None:
    """Contract 4."""
    station = make_station(TWO)
    accept(station)
    station.advance(9.9)
    assert reported(station) == []

    station.advance(0.1)

    assert reported(station) == [(0, "Available"), (1, "Available"), (2, "Available")]


def test_change_is_shown_and_reported_once(station: Station) -> None:
    """ST-09, TX-31."""
    station.advance(20)
    station.register()
    station.advance(5)

    for _ in range(2):
        station.publish("hardware/connector/1/state", {"plugged": True, "ev_ready": True})

    (frame,) = station.sent()
    assert frame[3] == {
        "connectorId": 1,
        "errorCode": "NoError",
        "status": "Preparing",
        "timestamp": "2026-11-22T10:00:25Z",
    }
    assert station.shown("connector/1/status")["status"] == "Preparing"


def test_change_is_shown_while_offline(station: Station) -> None:
    """Contract 2."""
    station.publish("hardware/connector/1/state", {"plugged": True})

    assert station.shown("connector/1/status")["status"] == "Preparing"


def test_notification_that_did_not_arrive_is_repeated_with_the_next_link(station: Station) -> None:
    """TR-47."""
    station.advance(20)
    station.register()
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.sent()
    station.disconnect()

    station.connect()

    assert reported(station) == [(1, "Preparing")]


@pytest.mark.parametrize(
    ("connector", "state"),
    [("0", {}), ("2", {}), ("x", {}), ("²", {}), ("1", []), ("1", {"plugged": "yes"}), ("1", "{")],
    ids=str,
)
def test_impossible_state_changes_nothing(station: Station, connector: str, state: Any) -> None:
    """Contract 4."""
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.published()

    station.publish(f"hardware/connector/{connector}/state", state)

    assert station.published() == []
    assert station.shown("connector/1/status")["status"] == "Preparing"
    station.advance(60)
    assert station.shown("health")["errors"] == {"hardware_input": 1}
