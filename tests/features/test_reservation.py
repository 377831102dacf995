"""Reservation (OCPP 1.6, 5.1 and 5.13; obligations 8.2)."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ocpp16_bridge.timestamps import format_time
from tests.conftest import MakeStation
from tests.features.connectors.site import FAULT, PLUGGED, READY, Site
from tests.station import START, Station

TWO = "[[connectors]]\n[[connectors]]\n"
THREE = TWO + "[[connectors]]\n"
CABLE_ONLY = {"cable": True}


class ReservedSite(Site):
    """A site whose CSMS knows the parents of some id tags, and what it sends is kept."""

    def __init__(self, station: Station, connectors: int = 1) -> None:
        self.parents: dict[str, str] = {}
        self.calls_seen: list[list[Any]] = []
        super().__init__(station, connectors)

    def _answer(self, frames: list[list[Any]]) -> None:
        self.calls_seen += [frame for frame in frames if frame[0] == 2]
        super()._answer(frames)

    def _answer_to(self, action: str) -> dict[str, Any]:
        if action == "Authorize":
            tag = self.calls_seen[-1][3]["idTag"]
            parent = {"parentIdTag": self.parents[tag]} if tag in self.parents else {}
            return {"idTagInfo": {"status": "Accepted", **parent}}
        return super()._answer_to(action)

    def payloads(self, action: str) -> list[dict[str, Any]]:
        """Of the CALLs of one action since the last look."""
        self.answer()
        found = [frame[3] for frame in self.calls_seen if frame[2] == action]
        self.calls_seen.clear()
        return found

    def book(
        self, connector_id: int = 1, id_tag: str = "TAG", reservation_id: int = 1, seconds: float = 3600, **more: str
    ) -> str:
        expiry = format_time(START + timedelta(seconds=self.station.time + seconds))
        return self.calls(
            "ReserveNow",
            connectorId=connector_id,
            idTag=id_tag,
            reservationId=reservation_id,
            expiryDate=expiry,
            **more,
        )

    def cancel(self, reservation_id: int = 1) -> str:
        return self.calls("CancelReservation", reservationId=reservation_id)

    def present(self, id_tag: str, *connector_ids: int) -> str:
        """What comes of it."""
        arguments = {"connector_ids": list(connector_ids)} if connector_ids else {}
        self.station.published()
        self.station.publish("request/present_id_tag", {"id_tag": id_tag, **arguments})
        self.answer()
        (reply,) = self.station.published("response/present_id_tag")
        action: str = reply["data"]["action"]
        return action

    def reservation(self, connector_id: int = 1) -> Any:
        return self.station.shown(f"connector/{connector_id}/reservation")

    def all_shown(self) -> list[str]:
        return [self.shown(number) for number in range(1, len(self.station.settings.connectors) + 1)]

    def come_back(self, connectors: int = 1) -> None:
        """The process is killed and another one starts."""
        self.station.kill()
        self.station.connect_broker()
        for number in range(1, connectors + 1):
            self.state({}, number)
        self.station.connect()
        self.answer()


@pytest.fixture
def site(make_station: MakeStation) -> ReservedSite:
    return ReservedSite(make_station(""))


@pytest.fixture
def two(make_station: MakeStation) -> ReservedSite:
    return ReservedSite(make_station(TWO), 2)


# -- the answer


def plug(site: ReservedSite) -> None:
    site.state(PLUGGED)


def lay_cable(site: ReservedSite) -> None:
    site.state(CABLE_ONLY)


def claim(site: ReservedSite) -> None:
    assert site.present("OTHER", 1) == "wait"


def charge(site: ReservedSite) -> None:
    site.state(READY)
    assert site.present("OTHER", 1) == "start"


def finish(site: ReservedSite) -> None:
    charge(site)
    assert site.present("OTHER", 1) == "stop"


def fault(site: ReservedSite) -> None:
    site.errors(FAULT)


def fault_of_the_charge_point(site: ReservedSite) -> None:
    site.errors(FAULT, connector_id=0)


def inoperative(site: ReservedSite) -> None:
    site.availability("Inoperative")


def charge_point_inoperative(site: ReservedSite) -> None:
    site.availability("Inoperative", 0)


def fault_of_what_is_inoperative(site: ReservedSite) -> None:
    inoperative(site)
    fault(site)


def second_inoperative(site: ReservedSite) -> None:
    site.availability("Inoperative", 2)


def reserve_for_another(site: ReservedSite) -> None:
    assert site.book(id_tag="OTHER", reservation_id=99) == "Accepted"


def reserve_for_the_same(site: ReservedSite) -> None:
    assert site.book(reservation_id=99) == "Accepted"


def nothing(_site: ReservedSite) -> None:
    """The connector is free."""


@pytest.mark.parametrize("connector_id", [1, 0])
@pytest.mark.parametrize(
    ("before", "status"),
    [
        (nothing, "Accepted"),
        (fault, "Faulted"),
        (fault_of_the_charge_point, "Faulted"),
        (fault_of_what_is_inoperative, "Faulted"),
        (inoperative, "Unavailable"),
        (charge_point_inoperative, "Unavailable"),
        (plug, "Occupied"),
        (lay_cable, "Occupied"),
        (claim, "Occupied"),
        (charge, "Occupied"),
        (finish, "Occupied"),
        (reserve_for_another, "Occupied"),
        (reserve_for_the_same, "Occupied"),
    ],
)
def test_answer_follows_the_state_of_the_only_connector(
    site: ReservedSite, before: Callable[[ReservedSite], None], status: str, connector_id: int
) -> None:
    """Check table; TC_048_1 … 3, TC_050_1 … 3."""
    before(site)

    assert site.book(connector_id) == status


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ((fault,), "Accepted"),
        ((inoperative,), "Accepted"),
        ((charge,), "Accepted"),
        ((reserve_for_another,), "Accepted"),
        ((fault, second_inoperative), "Faulted"),  # none is free, and one of them is at fault
        ((inoperative, second_inoperative), "Unavailable"),
        ((charge, second_inoperative), "Occupied"),
        ((reserve_for_another, second_inoperative), "Occupied"),
    ],
    ids=lambda value: value if isinstance(value, str) else " and ".join(deed.__name__ for deed in value),
)
def test_connector_0_needs_one_of_all_connectors(
    two: ReservedSite, before: tuple[Callable[[ReservedSite], None], ...], status: str
) -> None:
    """Check table, RV-06."""
    for deed in before:
        deed(two)

    assert two.book(0) == status


@pytest.mark.parametrize("connector_id", [-1, 2, 1000])
def test_unknown_connector_is_rejected(site: ReservedSite, connector_id: int) -> None:
    assert site.book(connector_id) == "Rejected"


@pytest.mark.parametrize("seconds", [0, -1])
def test_expiry_date_in_the_past_is_rejected(site: ReservedSite, seconds: float) -> None:
    assert site.book(seconds=seconds) == "Rejected"
    assert site.reservation() is None


def test_connector_0_is_rejected_where_the_key_says_so(make_station: MakeStation) -> None:
    """TC_050_4_CS."""
    site = ReservedSite(make_station("[configuration_keys]\nReserveConnectorZeroSupported = false\n"))

    assert site.book(0) == "Rejected"
    assert site.book(1) == "Accepted"


def test_answer_comes_before_the_status(site: ReservedSite) -> None:
    """TR-32."""
    expiry = "2026-11-22T12:00:00+01:00"
    site.station.csms_sends("ReserveNow", connectorId=1, idTag="TAG", reservationId=7, expiryDate=expiry)

    answer, status = site.station.sent()

    assert answer[2] == {"status": "Accepted"}
    assert status[3]["status"] == "Reserved"
    assert site.reservation() == {"reservation_id": 7, "id_tag": "TAG", "expires_at": "2026-11-22T11:00:00Z"}


def test_reservation_of_the_same_id_is_replaced(two: ReservedSite) -> None:
    two.book(1, "TAG", 5)
    two.fresh()

    assert two.book(2, "OTHER", 5) == "Accepted"

    assert two.all_shown() == ["Available", "Reserved"]
    assert two.reservation(1) is None
    assert two.reservation(2)["id_tag"] == "OTHER"


def test_replacement_of_its_own_connector_is_accepted(site: ReservedSite) -> None:
    """It is judged as if the old one did not exist."""
    site.book(seconds=60)
    site.fresh()

    assert site.book(seconds=7200) == "Accepted"

    site.station.advance(7199)
    assert site.fresh() == []
    site.station.advance(1)
    assert site.statuses() == ["Available"]


def test_replacement_that_is_refused_leaves_the_old_one(two: ReservedSite) -> None:
    two.book(1, "TAG", 5)
    two.state(PLUGGED, 2)

    assert two.book(2, "OTHER", 5) == "Occupied"

    assert two.reservation(1)["id_tag"] == "TAG"


def test_replacement_may_move_from_connector_0(two: ReservedSite) -> None:
    two.book(0, "A", 5)
    two.book(0, "B", 6)
    assert two.all_shown() == ["Reserved", "Reserved"]

    assert two.book(1, "A", 5) == "Accepted"

    assert two.reservation(1)["id_tag"] == "A"
    assert two.reservation(0)["id_tag"] == "B"
    assert two.all_shown() == ["Reserved", "Reserved"]


def test_second_reservation_of_one_tag_is_allowed(two: ReservedSite) -> None:
    """RV-10."""
    assert [two.book(1, "TAG", 1), two.book(2, "TAG", 2)] == ["Accepted", "Accepted"]


# -- who may charge


def test_foreign_tag_is_refused_without_authorize(site: ReservedSite) -> None:
    """RV-01, RV-02; TC_046_1_CS."""
    site.book()
    site.state(PLUGGED)

    assert site.present("OTHER") == "none"

    assert site.payloads("Authorize") == []
    assert site.shown() == "Reserved"


@pytest.mark.parametrize("tag", ["TAG", "tag"])
def test_reserved_tag_takes_the_reservation(site: ReservedSite, tag: str) -> None:
    """RV-03, RV-04, GD-04."""
    site.book(reservation_id=42)
    site.state(READY)

    assert site.present(tag) == "start"

    (start,) = site.payloads("StartTransaction")
    assert start["reservationId"] == 42
    assert site.reservation() is None
    assert site.shown() == "Charging"
    assert site.station.shown("connector/1/transaction")["reservation_id"] == 42
    assert site.cancel(42) == "Rejected"


@pytest.mark.parametrize(("parent", "action"), [("GROUP", "start"), ("group", "start"), ("CLUB", "none")])
def test_tag_of_the_same_parent_is_asked_for(site: ReservedSite, parent: str, action: str) -> None:
    """RV-02; TC_053_1_CS."""
    site.parents["OTHER"] = parent
    site.book(reservation_id=42, parentIdTag="GROUP")
    site.state(READY)

    assert site.present("OTHER") == action

    assert site.payloads("Authorize") == [{"idTag": "OTHER"}]


def test_parent_is_not_compared_with_the_tag(site: ReservedSite) -> None:
    """4.3."""
    site.book(parentIdTag="GROUP")
    site.state(READY)

    assert site.present("GROUP") == "none"


def test_parent_of_the_local_list_counts(site: ReservedSite) -> None:
    """RV-02."""
    info = {"status": "Accepted", "parentIdTag": "GROUP"}
    entries = [{"idTag": "OTHER", "idTagInfo": info}]
    site.calls("SendLocalList", listVersion=1, updateType="Full", localAuthorizationList=entries)
    site.calls("ChangeConfiguration", key="LocalPreAuthorize", value="true")
    site.book(reservation_id=42, parentIdTag="GROUP")
    site.state(READY)

    assert site.present("OTHER") == "start"

    frames = [(frame[2], frame[3].get("reservationId")) for frame in site.calls_seen]
    assert ("StartTransaction", 42) in frames
    assert "Authorize" not in [action for action, _ in frames]


@pytest.mark.parametrize(("tag", "status"), [("TAG", "Accepted"), ("OTHER", "Rejected")])
def test_remote_start_follows_the_reservation(site: ReservedSite, tag: str, status: str) -> None:
    """RV-10; TC_046_2_CS."""
    site.book(reservation_id=42)
    site.state(READY)

    assert site.calls("RemoteStartTransaction", connectorId=1, idTag=tag) == status

    started = [start["reservationId"] for start in site.payloads("StartTransaction")]
    assert started == ([42] if status == "Accepted" else [])


def test_reserved_tag_without_cable_leads_back_to_reserved(site: ReservedSite) -> None:
    """RV-09, 3.3."""
    site.book()
    site.fresh()
    assert site.present("TAG") == "wait"
    assert site.statuses() == ["Preparing"]

    site.station.advance(120)  # ConnectionTimeOut

    assert site.statuses()[-1] == "Reserved"
    assert site.reservation() is not None


def test_cable_of_a_stranger_changes_nothing(site: ReservedSite) -> None:
    """RV-09."""
    site.book()
    site.fresh()

    site.state(PLUGGED)
    site.station.advance(600)

    assert site.fresh() == []
    assert site.shown() == "Reserved"


# -- connector 0


def test_last_free_connector_is_reserved(two: ReservedSite) -> None:
    """RV-06."""
    two.book(0, "TAG", 42)
    assert two.all_shown() == ["Available", "Available"]

    two.state(READY, 1)
    assert two.present("OTHER", 1) == "start"

    assert two.all_shown() == ["Charging", "Reserved"]
    two.state(READY, 2)
    assert two.shown(2) == "Reserved"  # RV-09
    assert two.present("OTHER2", 2) == "none"
    two.calls_seen.clear()
    assert two.present("TAG", 2) == "start"
    assert [start["reservationId"] for start in two.payloads("StartTransaction")] == [42]
    assert two.reservation(0) is None


@pytest.mark.parametrize("connector_id", [1, 2])
def test_transaction_on_any_connector_takes_it(two: ReservedSite, connector_id: int) -> None:
    """RV-04; TC_049_CS."""
    two.book(0, "TAG", 42)
    two.state(READY, connector_id)

    assert two.present("TAG", connector_id) == "start"

    assert [start["reservationId"] for start in two.payloads("StartTransaction")] == [42]
    assert two.shown(3 - connector_id) == "Available"


def test_who_was_plugged_before_may_still_charge(two: ReservedSite) -> None:
    """RV-06: what is kept is the connector that was free last."""
    two.book(0)
    two.state(PLUGGED, 1)
    two.station.advance(1)
    two.state(PLUGGED, 2)

    assert two.all_shown() == ["Preparing", "Reserved"]
    assert two.present("LATER", 2) == "none"
    assert two.present("EARLIER", 1) == "start"


def test_connector_that_is_freed_takes_the_place_of_a_plugged_one(two: ReservedSite) -> None:
    two.book(0)
    two.state(READY, 1)
    assert two.present("OTHER", 1) == "start"
    two.state(PLUGGED, 2)
    assert two.shown(2) == "Reserved"

    two.state({}, 1)
    two.answer()

    assert two.all_shown() == ["Reserved", "Preparing"]


def test_connector_cannot_be_reserved_that_is_needed_for_connector_0(two: ReservedSite) -> None:
    """RV-06."""
    two.book(0, "A", 1)
    assert two.book(1, "B", 2) == "Accepted"
    assert two.all_shown() == ["Reserved", "Reserved"]

    assert two.book(2, "C", 3) == "Occupied"


def test_tag_takes_its_own_reservation_before_one_of_its_group(make_station: MakeStation) -> None:
    site = ReservedSite(make_station(THREE), 3)
    site.parents["TAG"] = "GROUP"
    site.book(0, "OTHER", 1, parentIdTag="GROUP")
    site.book(0, "TAG", 2)
    site.state(READY, 1)

    assert site.present("TAG", 1) == "start"

    assert [start["reservationId"] for start in site.payloads("StartTransaction")] == [2]


def test_reservation_of_connector_0_is_shown_where_it_runs_out_first(two: ReservedSite) -> None:
    two.book(0, "A", 1, seconds=200)
    two.book(0, "B", 2, seconds=100)
    assert two.reservation(0)["id_tag"] == "B"

    two.station.advance(100)

    assert two.reservation(0)["id_tag"] == "A"


# -- its end


def test_it_runs_out(site: ReservedSite) -> None:
    """RV-05; TC_047_CS."""
    site.book(seconds=90)
    site.fresh()
    site.station.advance(89)
    assert site.fresh() == []

    site.station.advance(1)

    assert site.statuses() == ["Available"]
    assert site.reservation() is None
    site.state(READY)
    assert site.present("OTHER") == "start"


def test_it_runs_out_offline(site: ReservedSite) -> None:
    """RV-05."""
    site.book(seconds=90)
    site.station.disconnect()

    site.station.advance(90)

    assert site.shown() == "Available"


def test_it_survives_a_restart_and_runs_out_then(two: ReservedSite) -> None:
    """RV-05."""
    two.book(1, "TAG", 7, seconds=600)
    two.book(0, "TAG", 8, seconds=900)
    shown = two.reservation(0), two.reservation(1)
    two.station.advance(300)

    two.come_back(2)

    assert (two.reservation(0), two.reservation(1)) == shown
    assert two.all_shown() == ["Reserved", "Reserved"]
    two.station.advance(300)
    assert two.all_shown() == ["Available", "Available"]
    two.station.advance(300)
    assert two.reservation(0) is None


def test_it_runs_out_while_the_daemon_is_away(site: ReservedSite) -> None:
    """RV-05."""
    site.book(seconds=600)
    site.station.time += 601

    site.come_back()
    site.station.advance(0)

    assert site.shown() == "Available"
    assert site.reservation() is None


def test_clock_that_is_set_moves_the_end(site: ReservedSite) -> None:
    """The timer counts seconds, the reservation ends at a time of day."""
    site.book(seconds=7200)
    site.station.clock_error += 7200

    site.station.advance(60)

    assert site.reservation() is None


def test_clock_that_is_set_back_moves_the_end(site: ReservedSite) -> None:
    site.book(seconds=30)
    site.station.clock_error -= 1800

    site.station.advance(600)

    assert site.reservation() is not None


def test_cancelled(site: ReservedSite) -> None:
    """RV-07; TC_051_CS, TC_052_CS."""
    site.book()
    site.fresh()

    assert site.cancel() == "Accepted"

    assert site.statuses() == ["Available"]
    assert site.reservation() is None
    assert site.cancel() == "Rejected"


@pytest.mark.parametrize(
    ("deed", "gone"),
    [
        (fault, {1}),
        (inoperative, {1}),
        (fault_of_the_charge_point, {0, 1, 2}),
        (charge_point_inoperative, {0, 1, 2}),
    ],
)
def test_what_becomes_unusable_is_no_longer_reserved(
    make_station: MakeStation, deed: Callable[[ReservedSite], None], gone: set[int]
) -> None:
    """RV-03."""
    site = ReservedSite(make_station(THREE), 3)
    for connector in (0, 1, 2):
        assert site.book(connector, "TAG", 10 + connector) == "Accepted"

    deed(site)

    assert {number for number in (0, 1, 2) if site.reservation(number) is None} == gone


def test_fault_that_is_gone_leaves_it_ended(site: ReservedSite) -> None:
    site.book()
    fault(site)

    site.errors()
    site.answer()

    assert site.shown() == "Available"
    assert site.cancel() == "Rejected"


def test_connector_that_is_held_for_firmware_is_no_longer_reserved(site: ReservedSite) -> None:
    """RV-03: Unavailable by our own decision."""
    site.book()
    (connectors,) = [one for one in site.station.charge_point.features if type(one).__name__ == "Connectors"]
    connector = connectors[1]  # type: ignore[index]

    with site.station.charge_point.turns.turn():
        connector.held = True
        connectors.update(connector)  # type: ignore[attr-defined]
    site.answer()

    assert site.shown() == "Unavailable"
    assert site.reservation() is None


# -- what is shown, and what fails


def test_topics_show_null_where_nothing_is_reserved(two: ReservedSite) -> None:
    """Contract 2: from 0 on, retained."""
    for number in (0, 1, 2):
        topic = f"ocpp16/connector/{number}/reservation"
        assert two.station.broker.retained.get(topic, "missing") is None
        assert all(message.retain for message in two.station.broker.messages if message.topic == topic)


def test_topic_shows_the_parent(site: ReservedSite) -> None:
    """Contract 2."""
    site.book(parentIdTag="GROUP")

    assert site.reservation() == {
        "reservation_id": 1,
        "id_tag": "TAG",
        "parent_id_tag": "GROUP",
        "expires_at": "2026-11-22T11:00:00Z",
    }


def test_turn_that_fails_changes_nothing(site: ReservedSite) -> None:
    """What is shown and when it ends follow what is on disk."""
    site.book(seconds=600)
    site.fresh()
    site.station.store._database.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_DELETE else sqlite3.SQLITE_OK
    )

    site.station.csms_sends("CancelReservation", reservationId=1)
    (answer,) = site.station.sent()

    site.station.store._database.set_authorizer(None)
    assert answer[0] == 4
    assert site.shown() == "Reserved"
    site.station.advance(600)
    assert site.statuses() == ["Available"]


def test_reservations_leave_no_timers_behind(site: ReservedSite) -> None:
    heap = site.station.charge_point.timers._heap
    for number in range(500):
        site.book(reservation_id=number, seconds=86400 * 365)
        site.cancel(number)
        site.fresh()

    assert len(heap) < 200
