"""ChangeAvailability, by the CSMS and by local programs (obligations 6.4; contract 3)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.connectors.site import EV_GONE, FAULT, PLUGGED, READY, Site
from tests.station import Station

TWO = "[[connectors]]\n[[connectors]]\n"

By = Callable[[Site, str, int], str]


def by_csms(site: Site, kind: str, connector_id: int = 1) -> str:
    return site.availability(kind, connector_id)


def by_command(site: Site, kind: str, connector_id: int = 1) -> str:
    answer: str = site.station.ask("change_availability", connector_id=connector_id, type=kind)
    return answer


@pytest.fixture(params=[by_csms, by_command], ids=["CSMS", "command"])
def change(request: pytest.FixtureRequest) -> By:
    """Both ways have the same rules."""
    by: By = request.param
    return by


@pytest.fixture
def site(station: Station) -> Site:
    one = Site(station)
    one.fresh()
    return one


@pytest.fixture
def two(make_station: MakeStation) -> Site:
    one = Site(make_station(TWO), connectors=2)
    one.fresh()
    return one


def charge(site: Site, connector_id: int = 1) -> None:
    site.state(READY, connector_id)
    site.tag()
    assert site.shown(connector_id) == "Charging"


def told(site: Site, before: int) -> list[tuple[int, str]]:
    site.answer()
    return [(one["connectorId"], one["status"]) for one in site.reports[before:]]


def availability(site: Site, connector_id: int = 1) -> Any:
    return site.station.shown(f"connector/{connector_id}/availability")


# -- at once


def test_free_connector_changes_at_once(site: Site, change: By) -> None:
    """RO-13; TC_021_CS."""
    assert change(site, "Inoperative", 1) == "Accepted"
    assert site.told() == [("Unavailable", "NoError")]
    assert availability(site) == "Inoperative"

    assert change(site, "Operative", 1) == "Accepted"
    assert site.told() == [("Available", "NoError")]
    assert availability(site) == "Operative"


def test_answer_precedes_the_notification(site: Site) -> None:
    """TR-32."""
    site.station.csms_sends("ChangeAvailability", connectorId=1, type="Inoperative")

    answer, notification = site.station.sent()

    assert answer[2] == {"status": "Accepted"}
    assert notification[2] == "StatusNotification"


@pytest.mark.parametrize("kind", ["Operative", "Inoperative"])
def test_present_state_is_accepted_without_a_notification(site: Site, change: By, kind: str) -> None:
    """RO-10."""
    change(site, kind, 1)
    site.fresh()
    site.station.published()

    assert change(site, kind, 1) == "Accepted"

    assert site.fresh() == []
    assert site.station.published("connector/1/availability") == []


@pytest.mark.parametrize("connector_id", [-1, 2, 99])
def test_unknown_connector_is_rejected(site: Site, change: By, connector_id: int) -> None:
    """RO-15."""
    assert change(site, "Inoperative", connector_id) == "Rejected"

    assert site.shown() == "Available"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"connector_id": 1},
        {"connector_id": "1", "type": "Operative"},
        {"connector_id": 1.5, "type": "Operative"},
        {"connector_id": True, "type": "Operative"},
        {"connector_id": 1, "type": "operative"},
        {"connector_id": 1, "type": None},
        {"connector_id": 1, "type": "Operative", "more": 1},
    ],
    ids=str,
)
def test_command_names_what_is_wrong(station: Station, arguments: dict[str, Any]) -> None:
    """Contract 3."""
    reply = station.request("change_availability", **arguments)

    assert (reply["status"], reply["error"]["code"]) == ("error", "bad_request")


def test_command_is_refused_while_ocpp_is_stopped(site: Site) -> None:
    """Contract 3."""
    site.station.publish("request/stop", {})
    site.station.advance(1)

    reply = site.station.request("change_availability", connector_id=1, type="Inoperative")

    assert reply["error"]["code"] == "stopped"
    assert availability(site) == "Operative"


def test_command_works_without_a_link(site: Site) -> None:
    """The CSMS hears of it with the next one (ST-09)."""
    site.station.disconnect()

    assert by_command(site, "Inoperative") == "Accepted"

    assert site.shown() == "Unavailable"
    site.station.connect()
    assert site.told() == [("Unavailable", "NoError")]


# -- scheduled


def test_change_waits_for_the_end_of_the_transaction(site: Site, change: By) -> None:
    """RO-11, RO-13: no notification when it is scheduled; F8."""
    charge(site)
    site.fresh()

    assert change(site, "Inoperative", 1) == "Scheduled"
    assert site.fresh() == []
    assert availability(site) == "Operative"

    site.tag()
    assert site.statuses() == ["Finishing"]
    assert availability(site) == "Operative"

    site.state({})
    assert site.statuses() == ["Unavailable"]
    assert availability(site) == "Inoperative"


def test_change_while_finishing_waits_for_the_cable(site: Site, change: By) -> None:
    """RO-16."""
    charge(site)
    site.tag()

    assert change(site, "Inoperative", 1) == "Scheduled"

    site.state(EV_GONE)
    assert site.shown() == "Finishing"
    site.state({})
    assert site.shown() == "Unavailable"


def test_later_request_replaces_the_scheduled_one(site: Site, change: By) -> None:
    """RO-15."""
    charge(site)
    change(site, "Inoperative", 1)

    assert change(site, "Operative", 1) == "Accepted"

    site.tag()
    site.state({})
    assert site.shown() == "Available"


def test_transaction_begun_anew_keeps_the_change_waiting(site: Site) -> None:
    """RO-11: from Finishing straight into another one."""
    charge(site)
    by_csms(site, "Inoperative")
    site.tag()

    site.tag("OTHER")
    assert site.shown() == "Charging"

    site.tag("OTHER")
    site.state({})
    assert site.shown() == "Unavailable"


# -- what it does to others


def test_nothing_starts_at_an_inoperative_connector(site: Site, change: By) -> None:
    """RO-17."""
    change(site, "Inoperative", 1)
    site.state(READY)

    assert site.shown() == "Unavailable"
    assert site.station.ask("present_id_tag", id_tag="TAG")["action"] == "none"
    assert site.calls("RemoteStartTransaction", connectorId=1, idTag="TAG") == "Rejected"
    assert site.reserve() == "Unavailable"


def test_claim_is_dropped(site: Site, change: By) -> None:
    """RO-16."""
    site.tag()
    assert site.shown() == "Preparing"

    assert change(site, "Inoperative", 1) == "Accepted"

    assert site.shown() == "Unavailable"
    change(site, "Operative", 1)
    site.state(READY)
    assert site.shown() == "Preparing"
    assert site.station.shown("connector/1/transaction") is None


def test_reservation_ends(site: Site, change: By) -> None:
    """RO-16."""
    site.reserve()

    assert change(site, "Inoperative", 1) == "Accepted"

    assert site.station.shown("connector/1/reservation") is None
    change(site, "Operative", 1)
    assert site.shown() == "Available"


def test_plugged_connector_that_is_operative_again_is_preparing(site: Site, change: By) -> None:
    """H2."""
    change(site, "Inoperative", 1)
    site.state(PLUGGED)
    site.fresh()

    change(site, "Operative", 1)

    assert site.told() == [("Preparing", "NoError")]


@pytest.mark.parametrize(
    ("kind", "after"), [("Operative", "Available"), ("Inoperative", "Unavailable")], ids=["Operative", "Inoperative"]
)
def test_change_while_faulted_shows_after_the_repair(site: Site, change: By, kind: str, after: str) -> None:
    """RO-15."""
    if kind == "Operative":
        change(site, "Inoperative", 1)
    site.errors(FAULT)
    site.fresh()

    assert change(site, kind, 1) == "Accepted"
    assert site.fresh() == []
    assert availability(site) == kind

    site.errors()
    assert site.told() == [(after, "NoError")]


# -- connector 0


def test_connector_0_means_all(two: Site, change: By) -> None:
    """RO-12; TC_013_CS."""
    before = len(two.reports)

    assert change(two, "Inoperative", 0) == "Accepted"
    assert told(two, before) == [(0, "Unavailable"), (1, "Unavailable"), (2, "Unavailable")]
    assert [availability(two, number) for number in (0, 1, 2)] == ["Inoperative"] * 3

    before = len(two.reports)
    assert change(two, "Operative", 0) == "Accepted"
    assert told(two, before) == [(0, "Available"), (1, "Available"), (2, "Available")]


def test_free_connectors_change_though_another_is_busy(two: Site, change: By) -> None:
    """RO-11, RO-12."""
    charge(two, 2)
    two.answer()
    before = len(two.reports)

    assert change(two, "Inoperative", 0) == "Scheduled"
    assert told(two, before) == [(0, "Unavailable"), (1, "Unavailable")]

    before = len(two.reports)
    two.tag()
    two.state({}, 2)
    assert told(two, before) == [(2, "Finishing"), (2, "Unavailable")]


def test_request_for_all_replaces_what_waits(two: Site, change: By) -> None:
    """RO-15."""
    charge(two, 2)
    change(two, "Inoperative", 2)

    assert change(two, "Operative", 0) == "Accepted"

    two.tag()
    two.state({}, 2)
    assert two.shown(2) == "Available"


def test_one_connector_may_be_changed_after_all_were(two: Site, change: By) -> None:
    change(two, "Inoperative", 0)

    assert change(two, "Operative", 2) == "Accepted"

    assert [two.shown(number) for number in (0, 1, 2)] == ["Unavailable", "Unavailable", "Available"]


# -- restarts


@pytest.mark.parametrize("connector_id", [0, 1], ids=["through 0", "connector 1"])
def test_change_outlives_the_process(site: Site, change: By, connector_id: int) -> None:
    """ST-05, RO-14; TC_034_CS."""
    change(site, "Inoperative", connector_id)

    site.station.kill()
    site.station.connect_broker()

    assert availability(site) == "Inoperative"
    assert site.shown() == "Unavailable"
    again = Site(site.station)
    assert again.statuses() == ["Unavailable"]
    assert availability(site, 0) == ("Inoperative" if connector_id == 0 else "Operative")


def test_scheduled_change_outlives_the_process_with_its_transaction(site: Site, change: By) -> None:
    """RO-14: it waits for the end of the transaction, which goes on."""
    charge(site)
    change(site, "Inoperative", 1)

    site.station.kill()
    site.station.connect_broker()
    assert availability(site) == "Operative"
    site.station.publish("hardware/connector/1/state", READY)
    assert (site.shown(), availability(site)) == ("Charging", "Operative")

    again = Site(site.station, connectors=0)
    again.tag()
    assert again.shown() == "Finishing"
    again.state({})
    assert (again.shown(), availability(again)) == ("Unavailable", "Inoperative")


def test_scheduled_change_is_carried_out_when_the_transaction_did_not_survive(site: Site, change: By) -> None:
    """RO-14: the EV is gone."""
    charge(site)
    change(site, "Inoperative", 1)

    site.station.kill()
    site.station.connect_broker()
    site.station.publish("hardware/connector/1/state", {})

    assert (site.shown(), availability(site)) == ("Unavailable", "Inoperative")


def test_scheduled_change_of_a_finished_connector_is_carried_out_at_the_start(site: Site, change: By) -> None:
    """RO-14, RO-16: nothing runs any more."""
    charge(site)
    site.tag()
    change(site, "Inoperative", 1)
    site.station.advance(10)
    site.answer()

    site.station.kill()
    site.station.connect_broker()

    assert (site.shown(), availability(site)) == ("Unavailable", "Inoperative")


def test_replaced_schedule_stays_replaced(site: Site, change: By) -> None:
    """RO-14, RO-15."""
    charge(site)
    change(site, "Inoperative", 1)
    change(site, "Operative", 1)

    site.station.kill()
    site.station.connect_broker()
    site.station.publish("hardware/connector/1/state", {})

    assert (site.shown(), availability(site)) == ("Available", "Operative")
