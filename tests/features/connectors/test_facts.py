"""What the hardware says: first facts, nonsense, programs that are gone (contract 1, 2 and 4)."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.connectors.site import FAULT, PLUGGED, READY, WARNING, Site
from tests.station import Station

TWO = "[[connectors]]\n[[connectors]]\n"


def accept(station: Station) -> None:
    station.connect()
    (boot,) = station.sent("BootNotification")
    station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=86400)


def reported(station: Station) -> list[tuple[int, str]]:
    """Connector and status of each StatusNotification from now on, each answered."""
    found = []
    while frames := station.sent():
        found += [(f[3]["connectorId"], f[3]["status"]) for f in frames if f[2] == "StatusNotification"]
        for frame in frames:
            station.csms_answers(frame)
    return found


# -- the start


def test_status_is_shown_at_the_start(make_station: MakeStation) -> None:
    """Contract 4: the retained topics do not wait."""
    station = make_station(TWO)

    for connector in (0, 1, 2):
        assert station.shown(f"connector/{connector}/availability") == "Operative"
        assert station.shown(f"connector/{connector}/status") == {
            "status": "Available",
            "error_code": "NoError",
            "timestamp": "2026-11-22T10:00:00Z",
        }


def test_status_notifications_wait_for_the_facts_of_every_connector(make_station: MakeStation) -> None:
    """Contract 4; ST-15: 0 first, and each once."""
    station = make_station(TWO)
    accept(station)
    station.publish("hardware/connector/1/state", PLUGGED)
    station.publish("hardware/connector/1/state", PLUGGED)
    assert reported(station) == []

    station.publish("hardware/connector/2/state", PLUGGED)

    assert reported(station) == [(0, "Available"), (1, "Preparing"), (2, "Preparing")]


def test_connector_without_facts_counts_as_unplugged(make_station: MakeStation) -> None:
    """Contract 4: `hardware.start_timeout`."""
    station = make_station(TWO + "[hardware]\nstart_timeout = 7\n")
    accept(station)
    station.advance(6.9)
    assert reported(station) == []

    station.advance(0.1)

    assert reported(station) == [(0, "Available"), (1, "Available"), (2, "Available")]


def test_late_fact_is_a_change(station: Station) -> None:
    accept(station)
    station.advance(10)
    reported(station)

    station.publish("hardware/connector/1/state", PLUGGED)

    assert reported(station) == [(1, "Preparing")]


def test_acceptance_may_come_after_the_facts(station: Station) -> None:
    """BT-05."""
    station.publish("hardware/connector/1/state", PLUGGED)
    station.connect()
    station.advance(20)
    (boot,) = station.sent()

    station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=86400)

    assert reported(station) == [(0, "Available"), (1, "Preparing")]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_nothing_is_told_while_not_accepted(station: Station, status: str) -> None:
    """ST-16."""
    station.connect()
    (boot,) = station.sent("BootNotification")
    station.csms_answers(boot, status=status, currentTime=station.now(), interval=86400)

    station.publish("hardware/connector/1/state", PLUGGED)
    station.publish("hardware/connector/1/errors", [FAULT])
    station.advance(60)

    assert station.sent() == []
    assert station.shown("connector/1/status")["status"] == "Faulted"


# -- facts


def test_fact_that_is_repeated_changes_nothing(station: Station) -> None:
    """Contract 2: published on change."""
    site = Site(station)
    site.state(PLUGGED)
    site.fresh()
    station.published()

    for _ in range(3):
        site.state({**PLUGGED, "cable": True, "ev_ready": True})

    assert site.fresh() == []
    assert station.published() == []


@pytest.mark.parametrize(
    ("connector", "state"),
    [
        ("0", {}),
        ("2", {}),
        ("x", {}),
        ("²", {}),
        ("-1", {}),
        ("1", []),
        ("1", "null"),
        ("1", {"plugged": "yes"}),
        ("1", {"plugged": 1}),
        ("1", {"locked": "no"}),
        ("1", "{"),
        ("1", b"\xff"),
    ],
    ids=str,
)
def test_impossible_state_changes_nothing(station: Station, connector: str, state: Any) -> None:
    """Contract 4."""
    station.publish("hardware/connector/1/state", PLUGGED)
    station.published()

    station.publish(f"hardware/connector/{connector}/state", state)

    assert station.published() == []
    assert station.shown("connector/1/status")["status"] == "Preparing"
    station.advance(60)
    assert station.shown("health")["errors"] == {"hardware_input": 1}


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("connector/1/errors", {}),
        ("connector/1/errors", "0"),
        ("connector/1/errors", "false"),
        ("connector/1/errors", '""'),
        ("connector/1/errors", [{"error_code": "NoError", "faulted": False}]),
        ("connector/1/errors", [{"error_code": "NoError", "faulted": True}]),
        ("connector/1/errors", [{"error_code": "GroundFault", "faulted": True}]),
        ("connector/1/errors", [{"error_code": "groundfailure", "faulted": True}]),
        ("connector/1/errors", [{"error_code": "OtherError"}]),
        ("connector/1/errors", [{"error_code": "OtherError", "faulted": "yes"}]),
        ("connector/1/errors", [{"error_code": "OtherError", "faulted": True, "info": 5}]),
        ("connector/1/errors", [WARNING, {"faulted": True}]),
        ("connector/2/errors", [FAULT]),
        ("connector/x/errors", []),
        ("connector/9/errors/meter", []),
        ("state", "on"),
        ("state", "Online"),
        ("state/meter", "away"),
        ("state", b"\xff"),
    ],
    ids=str,
)
def test_impossible_input_changes_nothing(station: Station, topic: str, payload: Any) -> None:
    """Contract 4: it is a warning and counted."""
    station.publish("hardware/connector/1/errors", [FAULT])
    station.published()

    station.publish(f"hardware/{topic}", payload)

    assert station.published() == []
    assert station.shown("connector/1/status")["error_code"] == "GroundFailure"
    station.advance(60)
    assert station.shown("health")["errors"] == {"hardware_input": 1}


@pytest.mark.parametrize("topic", ["connector/1/state", "state", "state/meter"])
def test_empty_payload_is_ignored(station: Station, topic: str) -> None:
    """Contract 4."""
    station.publish("hardware/connector/1/state", PLUGGED)
    station.published()

    station.publish(f"hardware/{topic}", b"")

    assert station.published() == []
    station.advance(60)
    assert station.shown("health")["errors"] == {}


def test_facts_stand_still_while_the_broker_is_away(station: Station) -> None:
    """Contract 1 and 4."""
    site = Site(station)
    site.state(READY)
    site.tag()
    site.fresh()

    station.disconnect_broker()
    station.advance(3600)
    station.connect_broker()

    assert site.fresh() == []
    assert site.shown() == "Charging"


def test_broker_that_comes_back_is_shown_everything(station: Station) -> None:
    """Contract 1."""
    site = Site(station)
    station.disconnect_broker()
    site.station.broker.retained.clear()

    station.connect_broker()

    assert {site.shown(0), site.shown(1)} == {"Available"}
    assert station.shown("connector/0/availability") == station.shown("connector/1/availability") == "Operative"


# -- programs that are gone


def test_connectors_without_hardware_are_faulted(make_station: MakeStation) -> None:
    """Contract 4: and as they were when it is back; nothing is said of connector 0."""
    site = Site(make_station(TWO), connectors=2)
    site.state(PLUGGED, 2)
    site.answer()
    before = len(site.reports)

    site.station.publish("hardware/state", "offline")
    site.station.publish("hardware/state", "offline")
    site.answer()

    gone = [(one["connectorId"], one["status"], one["errorCode"]) for one in site.reports[before:]]
    assert gone == [(1, "Faulted", "InternalError"), (2, "Faulted", "InternalError")]

    before = len(site.reports)
    site.station.publish("hardware/state", "online")
    site.answer()
    back = [(one["connectorId"], one["status"], one["errorCode"]) for one in site.reports[before:]]
    assert back == [(1, "Available", "NoError"), (2, "Preparing", "NoError")]


def test_nothing_starts_while_the_hardware_is_offline(station: Station) -> None:
    """Contract 4."""
    site = Site(station)
    station.publish("hardware/state", "offline")
    site.answer()

    assert site.calls("RemoteStartTransaction", connectorId=1, idTag="TAG") == "Rejected"
    assert station.ask("present_id_tag", id_tag="TAG")["action"] == "none"


def test_own_errors_outlast_the_hardware(station: Station) -> None:
    """The retained facts hold (contract 4)."""
    site = Site(station)
    site.errors(WARNING)
    station.publish("hardware/state", "offline")
    site.fresh()

    station.publish("hardware/state", "online")

    assert site.told() == [("Available", "HighTemperature")]


def test_errors_of_a_source_that_is_gone_are_dropped(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    """Contract 4: with a warning; those of others stay."""
    site = Site(station)
    site.errors(FAULT, source="rcd")
    site.errors(WARNING, source="sensor")
    site.errors(FAULT, connector_id=0, source="rcd")
    site.fresh()

    station.publish("hardware/state/rcd", "offline")
    station.publish("hardware/state/rcd", "offline")

    assert site.told() == [("Available", "HighTemperature")]
    assert site.shown(0) == "Available"
    assert [r.message for r in caplog.records if "rcd is offline" in r.message] == [
        "hardware/state/rcd is offline: its errors and readings are dropped"
    ]


@pytest.mark.parametrize("offline_first", [True, False])
def test_retained_facts_of_a_dead_source_come_in_any_order(station: Station, *, offline_first: bool) -> None:
    """Contract 4: a restarted daemon is right at once."""
    messages: list[tuple[str, object]] = [("state/rcd", "offline"), ("connector/1/errors/rcd", [FAULT])]

    for topic, payload in messages if offline_first else reversed(messages):
        station.publish(f"hardware/{topic}", payload)

    assert station.shown("connector/1/status")["status"] == "Available"


def test_source_that_is_back_counts_again(station: Station) -> None:
    """Whether it says `online` before its errors or after."""
    site = Site(station)
    station.publish("hardware/state/rcd", "offline")
    site.errors(FAULT, source="rcd")
    assert site.told() == [("Available", "NoError")]

    station.publish("hardware/state/rcd", "online")
    assert site.told() == [("Faulted", "GroundFailure")]

    site.errors(source="rcd")
    assert site.told() == [("Available", "NoError")]


def test_dropped_errors_do_not_come_back_by_themselves(station: Station) -> None:
    site = Site(station)
    site.errors(FAULT, source="rcd")
    station.publish("hardware/state/rcd", "offline")
    site.fresh()

    station.publish("hardware/state/rcd", "online")

    assert site.fresh() == []


# -- keys


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("0.RST,1.RST", "Accepted"),
        ("1.NotApplicable", "Accepted"),
        ("0.RST,2.RST", "Rejected"),
        ("1.RST,1.RTS", "Rejected"),
        ("1.XYZ", "Rejected"),
        ("RST", "Rejected"),
    ],
)
def test_phase_rotation_names_each_connector_once(station: Station, value: str, status: str) -> None:
    """Obligations 7.1."""
    assert station.ask("set_configuration_key", key="ConnectorPhaseRotation", value=value) == status
