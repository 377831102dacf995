"""The status of a connector and the steps between two (obligations 3.1 … 3.3)."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp.v16.enums import ChargePointStatus as Status

from ocpp16_bridge.features.connectors.status import STEPS, Facts, path, status
from tests.conftest import MakeStation
from tests.features.connectors.site import (
    EV_GONE,
    EV_PAUSES,
    EVSE_PAUSES,
    FAULT,
    PLUGGED,
    READY,
    WARNING,
    Site,
)
from tests.station import Station, running_station

Deed = Callable[[Site], object]

TWO = "[[connectors]]\n[[connectors]]\n"
FREE_VEND = '[transactions]\nfree_vend_id_tag = "FREE"\n'
NO_GRACE = "[hardware]\nstart_grace = 0\n"

STATUS_BY_ROW = {
    "A": "Available",
    "B": "Preparing",
    "C": "Charging",
    "D": "SuspendedEV",
    "E": "SuspendedEVSE",
    "F": "Finishing",
    "G": "Reserved",
    "H": "Unavailable",
    "I": "Faulted",
}


def plug(site: Site) -> None:
    site.state(PLUGGED)


def unplug(site: Site) -> None:
    site.state({})


def both_ready(site: Site) -> None:
    site.state(READY)


def ev_pauses(site: Site) -> None:
    site.state(EV_PAUSES)


def evse_pauses(site: Site) -> None:
    site.state(EVSE_PAUSES)


def tag(site: Site) -> None:
    site.tag()


def fault(site: Site) -> None:
    site.errors(FAULT)


def repair(site: Site) -> None:
    site.errors()


def reserve(site: Site) -> None:
    assert site.reserve() == "Accepted"


def cancel(site: Site) -> None:
    assert site.calls("CancelReservation", reservationId=1) == "Accepted"


def remote_start(site: Site) -> None:
    assert site.calls("RemoteStartTransaction", connectorId=1, idTag="TAG") == "Accepted"


def remote_stop(site: Site) -> None:
    assert site.calls("RemoteStopTransaction", transactionId=1) == "Accepted"


def inoperative(site: Site) -> None:
    assert site.availability("Inoperative") == "Accepted"


def scheduled(site: Site) -> None:
    assert site.availability("Inoperative") == "Scheduled"


def operative(site: Site) -> None:
    assert site.availability("Operative") == "Accepted"


def time_out(site: Site) -> None:
    site.station.advance(120)  # ConnectionTimeOut


CHARGING: tuple[Deed, ...] = (both_ready, tag)
FINISHING: tuple[Deed, ...] = (*CHARGING, tag)

# id, what went before, the last deed, more for the configuration file
STEPS_OF_THE_TABLE: list[tuple[str, tuple[Deed, ...], Deed, str]] = [
    ("A2", (), plug, ""),
    ("A2 tag", (), tag, ""),
    ("A2 remote start", (), remote_start, ""),
    ("A3", (), both_ready, FREE_VEND),
    ("A4", (), ev_pauses, FREE_VEND + NO_GRACE),
    ("A5", (), evse_pauses, FREE_VEND + NO_GRACE),
    ("A7", (), reserve, ""),
    ("A8", (), inoperative, ""),
    ("A9", (), fault, ""),
    ("B1", (plug,), unplug, ""),
    ("B1 ConnectionTimeOut", (tag,), time_out, ""),
    ("B1 same tag again", (tag,), tag, ""),
    ("B1 remote start times out", (remote_start,), time_out, ""),
    ("B3", (both_ready,), tag, ""),
    ("B3 the cable last", (tag,), both_ready, ""),
    ("B4", (ev_pauses,), tag, NO_GRACE),
    ("B5", (evse_pauses,), tag, NO_GRACE),
    ("B6", (plug,), time_out, TWO),
    ("B9", (plug,), fault, ""),
    ("C1", CHARGING, unplug, ""),
    ("C4", CHARGING, ev_pauses, ""),
    ("C5", CHARGING, evse_pauses, ""),
    ("C5 both pause", CHARGING, plug, ""),  # ST-03
    ("C6", CHARGING, tag, ""),
    ("C6 remote stop", CHARGING, remote_stop, ""),
    ("C6 socket", CHARGING, lambda site: site.state(EV_GONE), ""),
    ("C8", (*CHARGING, scheduled), unplug, ""),
    ("C9", CHARGING, fault, ""),
    ("D1", (*CHARGING, ev_pauses), unplug, ""),
    ("D3", (*CHARGING, ev_pauses), both_ready, ""),
    ("D5", (*CHARGING, ev_pauses), evse_pauses, ""),
    ("D6", (*CHARGING, ev_pauses), tag, ""),
    ("D8", (*CHARGING, ev_pauses, scheduled), unplug, ""),
    ("D9", (*CHARGING, ev_pauses), fault, ""),
    ("E1", (*CHARGING, evse_pauses), unplug, ""),
    ("E3", (*CHARGING, evse_pauses), both_ready, ""),
    ("E4", (*CHARGING, evse_pauses), ev_pauses, ""),
    ("E6", (*CHARGING, evse_pauses), tag, ""),
    ("E8", (*CHARGING, evse_pauses, scheduled), unplug, ""),
    ("E9", (*CHARGING, evse_pauses), fault, ""),
    ("F1", FINISHING, unplug, ""),
    ("F2", (*FINISHING, lambda site: site.state(EV_GONE)), plug, ""),
    ("F8", (*FINISHING, scheduled), unplug, ""),
    ("F9", FINISHING, fault, ""),
    ("G1", (reserve,), cancel, ""),
    ("G1 expired", (reserve,), lambda site: site.station.advance(8 * 3600), ""),
    ("G2", (reserve,), tag, ""),
    ("G8", (reserve,), inoperative, ""),
    ("G9", (reserve,), fault, ""),
    ("H1", (inoperative,), operative, ""),
    ("H2", (inoperative, plug), operative, ""),
    ("H3", (inoperative, both_ready), operative, FREE_VEND),
    ("H4", (inoperative, ev_pauses), operative, FREE_VEND + NO_GRACE),
    ("H5", (inoperative, evse_pauses), operative, FREE_VEND + NO_GRACE),
    ("H9", (inoperative,), fault, ""),
    ("I1", (fault,), repair, ""),
    ("I1 reserved before", (reserve, fault), repair, ""),  # a fault ends the reservation (RV-03)
    ("I2", (plug, fault), repair, ""),
    ("I3", (*CHARGING, fault), repair, ""),
    ("I4", (*CHARGING, ev_pauses, fault), repair, NO_GRACE),
    ("I5", (*CHARGING, evse_pauses, fault), repair, NO_GRACE),
    ("I6", (*FINISHING, fault), repair, ""),
    ("I7", (lambda site: site.reserve(0), fault), repair, ""),  # that of connector 0 stays
    ("I8", (inoperative, fault), repair, ""),
]


@pytest.mark.parametrize(
    ("cell", "before", "deed", "config"), STEPS_OF_THE_TABLE, ids=[c[0] for c in STEPS_OF_THE_TABLE]
)
def test_step_of_the_table(
    make_station: MakeStation, cell: str, before: tuple[Deed, ...], deed: Deed, config: str
) -> None:
    """3.2: one fact, one StatusNotification, and the topic shows the same; ST-01, ST-14."""
    site = Site(make_station(config), connectors=2 if config == TWO else 1)
    for earlier in before:
        earlier(site)
        site.answer()
    assert site.shown() == STATUS_BY_ROW[cell[0]]
    site.fresh()

    deed(site)

    new = STATUS_BY_ROW["ABCDEFGHI"[int(cell[1]) - 1]]
    (report,) = site.fresh()
    assert (report["status"], report["errorCode"]) == (new, "GroundFailure" if cell[1] == "9" else "NoError")
    assert site.shown() == new
    assert report["timestamp"] == site.station.shown("connector/1/status")["timestamp"] == site.station.now()


def test_every_cell_of_the_table_is_a_step() -> None:
    """3.2."""
    driven = {step[0][:2] for step in STEPS_OF_THE_TABLE}
    columns = list(STATUS_BY_ROW.values())
    cells = {row + str(columns.index(new) + 1) for row, old in STATUS_BY_ROW.items() for new in STEPS[Status(old)]}

    assert cells == driven
    assert len(cells) == 53


BLANK = [
    ("A6", "Preparing Finishing"),
    ("B7", "Available Reserved"),
    ("B8", "Available Unavailable"),
    ("C2", "Available Preparing"),
    ("C7", "Available Reserved"),
    ("D2", "Available Preparing"),
    ("D7", "Available Reserved"),
    ("E2", "Available Preparing"),
    ("E7", "Available Reserved"),
    ("F3", "Available Charging"),
    ("F4", "Available SuspendedEV"),
    ("F5", "Available SuspendedEVSE"),
    ("F7", "Available Reserved"),
    ("G3", "Available Charging"),
    ("G4", "Available SuspendedEV"),
    ("G5", "Available SuspendedEVSE"),
    ("G6", "Preparing Finishing"),
    ("H6", "Preparing Finishing"),
    ("H7", "Available Reserved"),
]


@pytest.mark.parametrize(("cell", "chain"), BLANK, ids=[cell for cell, _ in BLANK])
def test_blank_cell_is_passed_by_the_shortest_chain(cell: str, chain: str) -> None:
    """ST-04."""
    former, new = STATUS_BY_ROW[cell[0]], STATUS_BY_ROW["ABCDEFGHI"[int(cell[1]) - 1]]

    assert path(Status(former), Status(new)) == chain.split()


def test_every_other_cell_is_one_step() -> None:
    blank = {cell for cell, _ in BLANK}
    for row, former in STATUS_BY_ROW.items():
        for column, new in enumerate(STATUS_BY_ROW.values(), 1):
            if former != new and f"{row}{column}" not in blank:
                assert path(Status(former), Status(new)) == [new]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(), "Available"),
        (Facts(plugged=True), "Preparing"),
        (Facts(claimed=True), "Preparing"),
        (Facts(reserved=True), "Reserved"),
        (Facts(reserved=True, plugged=True), "Reserved"),  # RV-09
        (Facts(reserved=True, claimed=True), "Preparing"),
        (Facts(operative=False, reserved=True, claimed=True, plugged=True), "Unavailable"),
        (Facts(finishing=True, operative=False, plugged=True), "Finishing"),
        (Facts(transaction=Status.suspended_ev, operative=False, plugged=True), "SuspendedEV"),
        (Facts(faulted=True, operative=False, transaction=Status.charging, finishing=True), "Faulted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_comes_first_wins(facts: Facts, expected: str) -> None:
    assert status(facts) == expected


# -- sequences


def test_preparing_becomes_unavailable_by_way_of_available(station: Station) -> None:
    """ST-04: there is no B8; RO-16."""
    site = Site(station)
    plug(site)
    site.fresh()

    inoperative(site)

    assert site.told() == [("Available", "NoError"), ("Unavailable", "NoError")]


def test_tag_while_finishing_begins_a_new_transaction_by_way_of_the_table(station: Station) -> None:
    """ST-04: there is no F3. The topic shows only what is."""
    site = Site(station)
    for deed in FINISHING:
        deed(site)
    site.fresh()
    station.published()

    tag(site)

    told = site.statuses()
    assert told[-1] == "Charging"
    assert all(new in STEPS[Status(old)] for old, new in pairwise(["Finishing", *told]))
    assert [one["status"] for one in station.published("connector/1/status")] == ["Charging"]


def test_transaction_survives_a_fault(station: Station) -> None:
    """ST-14; I3."""
    site = Site(station)
    for deed in (*CHARGING, fault, repair):
        deed(site)
        site.answer()

    assert site.statuses()[-3:] == ["Charging", "Faulted", "Charging"]
    assert station.shown("connector/1/transaction")["transaction_id"] == 1


def test_transaction_that_ends_during_a_fault_leaves_finishing(station: Station) -> None:
    """I6: the fault does not hide what happened meanwhile."""
    site = Site(station)
    for deed in (*CHARGING, fault):
        deed(site)
    remote_stop(site)
    site.fresh()

    repair(site)

    assert site.told() == [("Finishing", "NoError")]


def test_unplugged_during_a_fault_is_free_afterwards(station: Station) -> None:
    site = Site(station)
    for deed in (plug, fault, unplug):
        deed(site)
    site.fresh()

    repair(site)

    assert site.told() == [("Available", "NoError")]


@pytest.mark.parametrize("stops", [True, False])
def test_ev_side_disconnect_is_told(make_station: MakeStation, *, stops: bool) -> None:
    """ST-12; TC_005_1_CS, TC_005_3_CS."""
    site = Site(make_station(f"[configuration_keys]\nStopTransactionOnEVSideDisconnect = {str(stops).lower()}\n"))
    for deed in CHARGING:
        deed(site)
    site.fresh()

    site.state(EV_GONE)

    (report,) = site.fresh()
    assert (report["status"], report["errorCode"], report["info"]) == (
        "Finishing" if stops else "SuspendedEV",
        "NoError",
        "EV side disconnected",
    )


def test_note_of_the_ev_side_ends_with_the_session(station: Station) -> None:
    """ST-12: it says nothing of the next user."""
    site = Site(station)
    for deed in CHARGING:
        deed(site)
    site.state(EV_GONE)
    site.fresh()

    unplug(site)
    plug(site)

    assert [(report["status"], "info" in report) for report in site.fresh()] == [
        ("Available", False),
        ("Preparing", False),
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"ev_ready": True, "evse_ready": True}, "Available"),
        ({"locked": True}, "Available"),
        ({"cable": True}, "Preparing"),
        ({"plugged": True, "cable": False}, "Preparing"),
        ({"plugged": True, "locked": False, "unheard_of": 1}, "Preparing"),
    ],
    ids=["ready, not plugged", "locked, no cable", "cable, no EV", "EV without a cable", "open, unknown member"],
)
def test_contradictory_facts_break_nothing(station: Station, state: dict[str, Any], expected: str) -> None:
    site = Site(station)

    site.state(state)

    assert site.shown() == expected
    for deed in (tag, both_ready, tag, unplug):
        deed(site)
        site.answer()
    assert site.shown() == "Available"


def test_end_with_an_ev_that_seems_to_have_no_cable_is_finishing(station: Station) -> None:
    """A fixed cable that is published as absent from the socket is still in the EV."""
    site = Site(station)
    site.state({**READY, "cable": False})
    tag(site)

    tag(site)

    assert site.shown() == "Finishing"


def test_connector_0_does_not_follow_the_others(station: Station) -> None:
    """ST-02."""
    site = Site(station)

    for deed in (*FINISHING, unplug, fault):
        deed(site)

    assert site.statuses(0) == ["Available"]
    assert site.shown(0) == "Available"


@pytest.mark.parametrize("kind", ["Faulted", "Unavailable"])
def test_connector_0_has_a_status_of_its_own(station: Station, kind: str) -> None:
    """ST-02."""
    site = Site(station)
    site.fresh()

    if kind == "Faulted":
        site.errors(FAULT, connector_id=0)
    else:
        site.availability("Inoperative", 0)

    site.answer()
    assert [(one["connectorId"], one["status"]) for one in site.reports[-2:] if one["connectorId"] == 0] == [(0, kind)]
    assert site.shown(0) == kind


# -- any sequence of facts

DEEDS: dict[str, Callable[[Site, int], object]] = {
    "plug": lambda site, n: site.state(PLUGGED, n),
    "ready": lambda site, n: site.state(READY, n),
    "EV pauses": lambda site, n: site.state(EV_PAUSES, n),
    "EVSE pauses": lambda site, n: site.state(EVSE_PAUSES, n),
    "EV gone": lambda site, n: site.state(EV_GONE, n),
    "unplug": lambda site, n: site.state({}, n),
    "locked only": lambda site, n: site.state({"locked": True, "ev_ready": True}, n),
    "tag": lambda site, _: site.tag(),
    "other tag": lambda site, _: site.tag("OTHER"),
    "fault": lambda site, n: site.errors(FAULT, connector_id=n),
    "fault and warning": lambda site, n: site.errors(WARNING, FAULT, connector_id=n, source="other"),
    "EV communication": lambda site, n: site.errors(
        {"error_code": "EVCommunicationError", "faulted": False}, connector_id=n
    ),
    "repair": lambda site, n: site.errors(connector_id=n),
    "source offline": lambda site, _: site.station.publish("hardware/state/other", "offline"),
    "source online": lambda site, _: site.station.publish("hardware/state/other", "online"),
    "hardware offline": lambda site, _: site.station.publish("hardware/state", "offline"),
    "hardware online": lambda site, _: site.station.publish("hardware/state", "online"),
    "inoperative": lambda site, n: site.availability("Inoperative", n),
    "operative": lambda site, n: site.availability("Operative", n),
    "all inoperative": lambda site, _: site.availability("Inoperative", 0),
    "all operative": lambda site, _: site.availability("Operative", 0),
    "remote start": lambda site, n: site.calls("RemoteStartTransaction", connectorId=n, idTag="TAG"),
    "remote stop": lambda site, n: site.calls("RemoteStopTransaction", transactionId=n),
    "reserve": lambda site, n: site.reserve(n),
    "cancel": lambda site, n: site.calls("CancelReservation", reservationId=n),
    "moment": lambda site, _: site.station.advance(3),
    "while": lambda site, _: site.station.advance(130),
}


@pytest.mark.parametrize("duration", [0, 2], ids="MinimumStatusDuration={}".format)
@settings(max_examples=40, deadline=None)
@given(deeds=st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.sampled_from([1, 2])), max_size=25))
def test_only_steps_of_the_table_are_told(duration: int, deeds: list[tuple[str, int]]) -> None:
    """ST-04, ST-08, ST-11: whatever happens; and in the end the CSMS knows what is shown."""
    config = f"{TWO}\n[configuration_keys]\nMinimumStatusDuration = {duration}\n"
    with TemporaryDirectory() as directory, running_station(Path(directory) / "station", config) as station:
        site = Site(station, connectors=2)
        for deed, connector_id in deeds:
            DEEDS[deed](site, connector_id)
            site.answer()
        station.advance(300)  # whatever waits is over
        site.answer()

        for number in (0, 1, 2):
            reports = [report for report in site.reports if report["connectorId"] == number]
            for former, new in pairwise(reports):
                assert new["status"] in STEPS[Status(former["status"])] or (
                    new["status"] == former["status"] and new["errorCode"] != former["errorCode"]
                ), (former, new)
            assert all(
                report["status"] in ("Preparing", "SuspendedEV", "SuspendedEVSE", "Finishing")
                for report in reports
                if report["errorCode"] == "EVCommunicationError"
            )
            shown = station.shown(f"connector/{number}/status")
            assert (reports[-1]["status"], reports[-1]["errorCode"]) == (shown["status"], shown["error_code"])
        assert "internal" not in station.charge_point.context.errors
