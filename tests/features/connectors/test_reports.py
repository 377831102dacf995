"""StatusNotification: when, in which order, with which time (ST-01, ST-06 … ST-09, ST-13, ST-16)."""

from collections.abc import Callable

import pytest

from ocpp16_bridge.features.connectors.reports import MAX_ON_THEIR_WAY
from tests.conftest import MakeStation
from tests.features.connectors.site import EV_PAUSES, FAULT, PLUGGED, READY, WARNING, Site
from tests.station import Station

TEN_SECONDS = "[configuration_keys]\nMinimumStatusDuration = 10\n"
TWO = "[[connectors]]\n[[connectors]]\n"


@pytest.fixture
def slow(make_station: MakeStation) -> Site:
    """A charge point with MinimumStatusDuration 10 s."""
    site = Site(make_station(TEN_SECONDS))
    site.fresh()
    return site


# -- MinimumStatusDuration


def test_status_is_told_once_it_lasted(slow: Site) -> None:
    """ST-06, ST-13: with the time at which it began; the topic does not wait."""
    began = slow.station.now()
    slow.state(PLUGGED)
    assert slow.shown() == "Preparing"
    slow.station.advance(9.9)
    assert slow.fresh() == []

    slow.station.advance(0.1)

    (report,) = slow.fresh()
    assert (report["status"], report["timestamp"]) == ("Preparing", began)


def test_status_that_falls_back_is_not_told(slow: Site) -> None:
    """ST-07."""
    slow.state(PLUGGED)
    slow.station.advance(9)
    slow.state({})
    slow.station.advance(60)

    assert slow.fresh() == []
    assert slow.shown() == "Available"


def test_each_change_begins_the_wait_anew(slow: Site) -> None:
    """ST-06; what is told in the end comes by steps of the table (ST-04)."""
    slow.state(READY)
    slow.station.advance(6)
    slow.tag()
    slow.station.advance(6)
    slow.tag()  # Finishing
    slow.station.advance(9)
    assert slow.fresh() == []

    slow.station.advance(1)

    assert slow.statuses() == ["Preparing", "Finishing"]


def test_change_of_the_text_does_not_begin_the_wait_anew(slow: Site) -> None:
    slow.errors({**WARNING, "info": "81"})
    slow.fresh()
    slow.state(PLUGGED)
    slow.station.advance(9)

    slow.errors({**WARNING, "info": "82"})
    slow.station.advance(1)

    (report,) = slow.fresh()
    assert (report["status"], report["info"]) == ("Preparing", "82")


def test_fault_is_told_at_once_and_so_is_its_end(slow: Site) -> None:
    """ST-07."""
    slow.state(PLUGGED)

    slow.errors(FAULT)
    assert slow.told()[-1] == ("Faulted", "GroundFailure")

    slow.errors()
    assert slow.told() == [("Preparing", "NoError")]
    slow.station.advance(60)
    assert slow.fresh() == []


def test_change_of_the_error_is_told_at_once(slow: Site) -> None:
    """ST-07: together with the status that was still waiting."""
    slow.state(PLUGGED)

    slow.errors(WARNING)
    assert slow.told() == [("Preparing", "HighTemperature")]

    slow.errors()
    assert slow.told() == [("Preparing", "NoError")]
    slow.station.advance(60)
    assert slow.fresh() == []


def test_triggered_status_is_told_at_once_and_once(slow: Site) -> None:
    """ST-07, TR-32: answer first, then the message."""
    slow.state(PLUGGED)

    assert slow.calls("TriggerMessage", requestedMessage="StatusNotification", connectorId=1) == "Accepted"

    assert slow.statuses() == ["Preparing"]
    slow.station.advance(60)
    assert slow.fresh() == []


def test_fall_back_after_a_triggered_status_is_told(slow: Site) -> None:
    """The CSMS was told the short status, so it must hear of its end (ST-01)."""
    slow.state(PLUGGED)
    slow.calls("TriggerMessage", requestedMessage="StatusNotification", connectorId=1)
    slow.fresh()

    slow.state({})
    slow.station.advance(10)

    assert slow.statuses() == ["Available"]


def test_burst_after_boot_does_not_wait(make_station: MakeStation) -> None:
    """ST-07."""
    station = make_station(TEN_SECONDS)
    station.publish("hardware/connector/1/state", {})
    station.publish("hardware/connector/1/state", PLUGGED)

    site = Site(station, connectors=0)

    assert site.statuses() == ["Preparing"]


def test_reconnect_does_not_shorten_the_wait(slow: Site) -> None:
    slow.state(PLUGGED)
    slow.station.disconnect()
    slow.station.advance(5)
    slow.station.connect()
    assert slow.fresh() == []

    slow.station.advance(5)

    assert slow.statuses() == ["Preparing"]


def test_wait_may_end_without_a_link(slow: Site) -> None:
    """ST-09."""
    slow.state(PLUGGED)
    slow.station.disconnect()
    slow.station.advance(30)

    slow.station.connect()

    assert slow.statuses() == ["Preparing"]


@pytest.mark.parametrize(("value", "status"), [("0", "Accepted"), ("10", "Accepted"), ("-1", "Rejected")])
def test_minimum_status_duration_is_a_key(station: Station, value: str, status: str) -> None:
    """Obligations 7.1."""
    assert station.ask("set_configuration_key", key="MinimumStatusDuration", value=value) == status


# -- order and number


def test_order_is_that_of_the_events(make_station: MakeStation) -> None:
    """ST-08."""
    site = Site(make_station(TWO), connectors=2)
    before = len(site.reports)

    site.state(PLUGGED, 2)
    site.state(PLUGGED, 1)
    site.state({}, 2)
    site.errors(FAULT, connector_id=1)
    site.answer()

    assert [(one["connectorId"], one["status"]) for one in site.reports[before:]] == [
        (2, "Preparing"),
        (1, "Preparing"),
        (2, "Available"),
        (1, "Faulted"),
    ]


def test_flapping_plug_is_told_step_by_step(station: Station) -> None:
    """ST-01: with MinimumStatusDuration 0 each change is a status change, and a CSMS that answers hears of each."""
    site = Site(station)
    site.fresh()

    for _ in range(50):
        site.state(PLUGGED)
        site.answer()
        station.advance(0.01)
        site.state({})
        site.answer()
        station.advance(0.01)

    assert site.statuses() == ["Preparing", "Available"] * 50


def test_flapping_plug_does_not_bury_a_csms_that_is_slow(station: Station) -> None:
    """At 50 Hz what it did not answer yet is bounded; in the end it knows how things are."""
    site = Site(station)
    site.fresh()

    for _ in range(500):
        site.state(PLUGGED)
        station.advance(0.01)
        site.state({})
        station.advance(0.01)
    site.state(PLUGGED)

    statuses = site.statuses()
    assert len(statuses) <= MAX_ON_THEIR_WAY + 2
    assert statuses[-1] == "Preparing"
    assert station.charge_point.context.errors == {}


def test_flapping_plug_leaves_room_for_others(station: Station) -> None:
    """Authorize goes out after at most so many StatusNotifications, here of connector 1."""
    site = Site(station)
    for _ in range(500):
        site.state(PLUGGED)
        site.state({})
    station.publish("request/present_id_tag", {"id_tag": "TAG"})

    (frame,) = station.sent()
    waited = 0
    while frame[2] != "Authorize":
        waited += 1
        station.csms_answers(frame)
        (frame,) = station.sent()

    assert waited == MAX_ON_THEIR_WAY


def test_flapping_plug_with_a_minimum_duration_is_not_told(slow: Site) -> None:
    """ST-06: the remedy for a site whose plugs flap."""
    for _ in range(500):
        slow.state(PLUGGED)
        slow.station.advance(0.01)
        slow.state({})
        slow.station.advance(0.01)
    slow.station.advance(10)

    assert slow.fresh() == []


def test_one_event_shows_one_status(station: Station) -> None:
    """Contract 2: no flicker on the topic, whatever an event passes through."""
    site = Site(station)
    steps: list[Callable[[], object]] = [
        site.reserve,
        site.tag,
        lambda: site.state(READY),
        lambda: site.availability("Inoperative"),
        lambda: site.errors(WARNING, FAULT),
        site.errors,
        site.tag,
        lambda: site.state({}),
    ]
    shown = []
    for step in steps:
        station.published()
        step()
        shown.append([one["status"] for one in station.published("connector/1/status")])

    assert shown == [
        ["Reserved"],
        ["Preparing"],
        ["Charging"],
        [],
        ["Faulted"],
        ["Charging"],
        ["Finishing"],
        ["Unavailable"],
    ]


# -- without a link


def test_what_is_back_to_what_was_told_is_not_told_again(station: Station) -> None:
    """ST-09."""
    site = Site(station)
    site.fresh()
    station.disconnect()

    site.state(PLUGGED)
    site.errors(FAULT)
    site.errors()
    site.state({})
    station.connect()

    assert site.fresh() == []


def test_only_the_present_status_is_told_after_an_outage(make_station: MakeStation) -> None:
    """ST-09: no history, also where the step is none of the table; TR-47: and what did not change is not told."""
    site = Site(make_station(TWO), connectors=2)
    site.answer()
    before = len(site.reports)
    site.station.disconnect()
    site.state(READY)
    site.station.advance(120)  # B6: Finishing
    ended_at = site.station.shown("connector/1/status")["timestamp"]
    site.station.advance(60)

    site.station.connect()
    site.answer()

    (report,) = site.reports[before:]
    assert (report["connectorId"], report["status"], report["timestamp"]) == (1, "Finishing", ended_at)


def test_error_of_an_outage_is_told_when_it_is_still_there(station: Station) -> None:
    """ST-09."""
    site = Site(station)
    site.fresh()
    station.disconnect()
    began = station.now()
    site.errors(WARNING)
    station.advance(600)

    station.connect()

    (report,) = site.fresh()
    assert (report["status"], report["errorCode"], report["timestamp"]) == ("Available", "HighTemperature", began)


def test_status_precedes_the_transactions_of_an_outage(station: Station) -> None:
    """TR-47."""
    site = Site(station)
    station.ask("set_configuration_key", key="AllowOfflineTxForUnknownId", value="true")
    station.disconnect()
    site.state(READY)
    site.tag()

    station.connect()

    (first,) = station.sent()
    assert (first[2], first[3]["status"]) == ("StatusNotification", "Charging")
    station.csms_answers(first)
    assert [frame[2] for frame in station.sent()] == ["StartTransaction"]


def test_notification_that_did_not_arrive_is_repeated_with_the_next_link(station: Station) -> None:
    """TR-47."""
    site = Site(station)
    site.fresh()
    site.state(PLUGGED)
    assert len(station.sent()) == 1
    station.disconnect()

    station.connect()

    assert site.statuses() == ["Preparing"]


def test_fall_back_after_a_notification_that_may_have_arrived_is_told(station: Station) -> None:
    """TR-47: the CSMS may believe in Preparing."""
    site = Site(station)
    site.fresh()
    site.state(PLUGGED)
    station.disconnect()
    site.state({})
    station.sent()

    station.connect()

    assert site.statuses() == ["Available"]


@pytest.mark.parametrize("how", ["refused", "unanswered"])
def test_notification_that_failed_does_not_break_the_chain(station: Station, how: str) -> None:
    """ST-04: the next one follows from what was sent. It is not asked again and again meanwhile."""
    site = Site(station)
    site.fresh()
    site.state(PLUGGED)
    (frame,) = station.sent()
    if how == "refused":
        station.csms_refuses(frame, "InternalError")
    else:
        station.advance(30)
    assert station.sent() == []

    site.availability("Inoperative")

    assert site.statuses() == ["Available", "Unavailable"]


# -- registration


def test_all_are_told_after_each_accepted_boot(station: Station) -> None:
    """BT-05; restart (contract 3)."""
    site = Site(station)
    site.state(PLUGGED)
    site.answer()
    before = len(site.reports)
    station.publish("request/stop", {})
    station.advance(1)
    site.state({})
    site.state(READY)
    assert station.sent("StatusNotification") == []

    assert station.ask("restart") is True
    station.connect()
    site.answer()

    assert [(one["connectorId"], one["status"]) for one in site.reports[before:]] == [
        (0, "Available"),
        (1, "Preparing"),
    ]


def test_all_are_told_anew_when_the_csms_asks_for_a_boot(station: Station) -> None:
    """BT-05, TR-48."""
    site = Site(station)
    station.disconnect()
    station.connect()
    site.fresh()
    before = len(site.reports)
    site.state(PLUGGED)
    (frame,) = station.sent()

    station.csms_refuses(frame, "SecurityError")
    site.answer()

    assert [(one["connectorId"], one["status"]) for one in site.reports[before:]] == [
        (0, "Available"),
        (1, "Preparing"),
    ]


@pytest.mark.parametrize("connector_id", [0, 1, None])
def test_pending_charge_point_tells_when_it_is_asked(station: Station, connector_id: int | None) -> None:
    """ST-16, BT-08."""
    station.publish("hardware/connector/1/state", PLUGGED)
    station.connect()
    (boot,) = station.sent()
    station.csms_answers(boot, status="Pending", currentTime=station.now(), interval=86400)
    named = {} if connector_id is None else {"connectorId": connector_id}

    station.csms_sends("TriggerMessage", requestedMessage="StatusNotification", **named)

    answer, first = station.sent()
    assert answer[2] == {"status": "Accepted"}
    told = [first]
    station.csms_answers(first)
    told += station.sent("StatusNotification")
    expected = {0: [(0, "Available")], 1: [(1, "Preparing")], None: [(0, "Available"), (1, "Preparing")]}
    assert [(one[3]["connectorId"], one[3]["status"]) for one in told] == expected[connector_id]


@pytest.mark.parametrize("connector_id", [2, 99])
def test_unknown_connector_is_not_triggered(station: Station, connector_id: int) -> None:
    """6.6."""
    site = Site(station)

    answer = site.calls("TriggerMessage", requestedMessage="StatusNotification", connectorId=connector_id)

    assert answer == "Rejected"


# -- time


def test_timestamp_is_that_of_the_event(station: Station) -> None:
    """ST-13, TX-31: not of sending."""
    site = Site(station)
    site.fresh()
    station.csms_sends("TriggerMessage", requestedMessage="Heartbeat")  # in flight: what follows waits for it
    at = station.now()
    site.state(PLUGGED)
    station.advance(20)

    (report,) = site.fresh()

    assert report["timestamp"] == at == station.shown("connector/1/status")["timestamp"]


def test_triggered_report_has_the_time_of_its_status(station: Station) -> None:
    site = Site(station)
    at = station.now()
    site.state(EV_PAUSES)
    site.fresh()
    station.advance(600)

    site.calls("TriggerMessage", requestedMessage="StatusNotification", connectorId=1)

    assert [report["timestamp"] for report in site.fresh()] == [at]


@pytest.mark.parametrize(("error", "is_shifted"), [(-1_790_000_000.0, True), (0.4, False)], ids=["1970", "0.4 s"])
def test_time_of_an_unset_clock_is_put_right(make_station: MakeStation, *, error: float, is_shifted: bool) -> None:
    """BT-22: no dates of 1970."""
    station = make_station("")
    station.clock_error = error
    station.kill()
    station.connect_broker()
    at = station.now()
    station.publish("hardware/connector/1/state", PLUGGED)
    wrong = station.shown("connector/1/status")["timestamp"]
    station.advance(60)

    site = Site(station, connectors=0)

    expected = at if is_shifted else wrong
    assert site.fresh()[0]["timestamp"] == expected
    assert station.shown("connector/1/status")["timestamp"] == expected
