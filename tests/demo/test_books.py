"""What a CSMS can bill, and what it can't."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ocpp16_bridge.demo.books import MOST_ENTRIES, Books
from ocpp16_bridge.demo.story import SESSIONS
from ocpp16_bridge.timestamps import format_time

BEGAN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

Call = tuple[str, dict[str, Any]]


def status(name: str, connector_id: int = 1) -> Call:
    return "StatusNotification", {"connectorId": connector_id, "status": name}


def start(register: int) -> Call:
    return "StartTransaction", {"connectorId": 1, "idTag": "A", "meterStart": register}


def meter(transaction_id: int, register: float) -> Call:
    measured = {"measurand": "Energy.Active.Import.Register", "value": str(register)}
    of_phase = {"measurand": "Energy.Active.Import.Register", "phase": "L1", "value": "1"}
    sampled = [measured, of_phase, {"measurand": "SoC", "value": "40"}]
    return "MeterValues", {"transactionId": transaction_id, "meterValue": [{"sampledValue": sampled}]}


def stop(transaction_id: int, register: int) -> Call:
    return "StopTransaction", {"transactionId": transaction_id, "meterStop": register}


# The sessions of the story, a second between each two.
WHOLE: tuple[Call, ...] = (
    status("Available"),
    status("Preparing"),
    ("Authorize", {"idTag": "A"}),
    start(100),
    status("Available", connector_id=0),
    status("Charging"),
    meter(1, 105),
    status("SuspendedEV"),
    status("Charging"),
    stop(1, 110),
    status("Finishing"),
    status("Available"),
    status("Faulted"),
    status("Available"),
    start(110),
    stop(2, 120),
)


def entered(calls: tuple[Call, ...], began: datetime = BEGAN) -> Books:
    books = Books()
    for number, (action, payload) in enumerate(calls):
        timestamp = format_time(began + timedelta(seconds=number))
        if action == "MeterValues":
            (meter_value,) = payload["meterValue"]
            told = {**payload, "meterValue": [{"timestamp": timestamp, **meter_value}]}
        else:
            told = {"timestamp": timestamp, **payload}
        books.enter(str(number), action, told)
    return books


def whole_books(began: datetime = BEGAN) -> Books:
    return entered(WHOLE, began)


def test_whole_sessions_have_no_problem() -> None:
    assert whole_books().problems(SESSIONS) == []


@pytest.mark.parametrize(
    "missing", [1, 3, 5, 6, 7, 9, 10, 12, 14, 15], ids=lambda number: f"{number} {WHOLE[number][0]}"
)
def test_what_is_missing_is_named(missing: int) -> None:
    problems = entered((*WHOLE[:missing], *WHOLE[missing + 1 :])).problems(SESSIONS)

    action, payload = WHOLE[missing]
    assert problems[0].startswith(f"missing: {payload.get('status', action)}; there was: ")


def _at(position: int, call: Call) -> Callable[[], tuple[Call, ...]]:
    return lambda: (*WHOLE[:position], call, *WHOLE[position + 1 :])


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        (_at(9, stop(-1, 110)), "transaction -1: expected StartTransaction, MeterValues …, StopTransaction, got StopT"),
        (_at(6, meter(2, 105)), "transaction 2: expected StartTransaction, MeterValues …, StopTransaction, got MeterV"),
        (_at(6, meter(1, 99)), "transaction 1: the registers don't rise: [100, 99.0, 110]"),
        (_at(9, stop(1, 104)), "transaction 1: the registers don't rise: [100, 105.0, 104]"),
        (_at(15, stop(2, 110)), "transaction 2: the registers don't rise: [110, 110]"),
        (_at(9, ("StopTransaction", {**stop(1, 110)[1], "idTag": "B"})), "transaction 1: begun by A, ended by B"),
        (
            _at(15, ("StopTransaction", {**stop(2, 120)[1], "timestamp": "2026-11-22T09:00:00Z"})),
            "transaction 2: timestamps go back: 2026-11-22T10:00:14Z, 2026-11-22T09:00:00Z",
        ),
    ],
    ids=["no id", "another's id", "register falls", "stop below", "nothing charged", "another tag", "times go back"],
)
def test_what_does_not_fit_is_named(calls: Callable[[], tuple[Call, ...]], problem: str) -> None:
    problems = entered(calls()).problems(SESSIONS)

    assert any(found.startswith(problem) for found in problems), problems


def test_what_comes_late_stands_where_it_happened() -> None:
    """Queued messages come after the StatusNotifications of the reconnection (TX-40)."""
    books = Books()
    for number, (name, second) in enumerate([("Available", 9), ("Charging", 3), ("Preparing", 1)]):
        told = {"connectorId": 1, "status": name, "timestamp": format_time(BEGAN + timedelta(seconds=second))}
        books.enter(str(number), "StatusNotification", told)

    assert books.problems(("Preparing", "Charging", "Available")) == []


def test_at_the_same_moment_the_transaction_comes_before_the_status_that_it_causes() -> None:
    books = Books()
    books.enter("1", "StatusNotification", {"connectorId": 1, "status": "Finishing", "timestamp": format_time(BEGAN)})
    books.enter("2", "StartTransaction", {"timestamp": format_time(BEGAN)})

    assert books.problems(("StartTransaction", "Finishing"))[1:] == []


def test_what_is_sent_again_is_entered_once() -> None:
    books = Books()

    for message_id in ("a", "b", "a"):
        books.enter(message_id, "StartTransaction", {})

    assert [books.transaction_id(message_id) for message_id in ("a", "b", "c")] == [1, 2, None]


def test_the_oldest_entries_go() -> None:
    books = Books()

    for number in range(MOST_ENTRIES + 1):
        books.enter(str(number), "StartTransaction", {})

    assert books.transaction_id("0") is None
    assert books.transaction_id(str(MOST_ENTRIES)) == MOST_ENTRIES + 1
