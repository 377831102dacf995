"""What a connector's status is, and which steps lead from one to another (OCPP 1.6, 4.9; obligations 3.1 and 3.2)."""

from collections import deque
from dataclasses import dataclass

from ocpp.v16.enums import ChargePointStatus as Status


@dataclass(frozen=True)
class Facts:
    """All that decides over the status of a connector above 0."""

    faulted: bool = False
    operative: bool = True
    transaction: Status | None = None  # what a running transaction makes of it: Preparing, Charging, Suspended…
    finishing: bool = False  # a transaction is over, or a claim timed out, and the cable is still there
    claimed: bool = False  # a tag or a remote start waits for the cable
    reserved: bool = False
    plugged: bool = False


def status(facts: Facts) -> Status:  # noqa: PLR0911 - one line a rule
    """The status; what comes first wins."""
    if facts.faulted:
        return Status.faulted
    if facts.transaction is not None:
        return facts.transaction
    if facts.finishing:
        return Status.finishing
    if not facts.operative:
        return Status.unavailable
    if facts.reserved and not facts.claimed:
        return Status.reserved  # a cable plugged by a stranger changes nothing (RV-09)
    if facts.claimed or facts.plugged:
        return Status.preparing
    return Status.available


_COLUMNS = (
    Status.available,
    Status.preparing,
    Status.charging,
    Status.suspended_ev,
    Status.suspended_evse,
    Status.finishing,
    Status.reserved,
    Status.unavailable,
    Status.faulted,
)
_TABLE = {  # rows and columns as the specification numbers them: B3 is Preparing → Charging
    "A": "2345789",
    "B": "134569",
    "C": "145689",
    "D": "135689",
    "E": "134689",
    "F": "1289",
    "G": "1289",
    "H": "123459",
    "I": "12345678",
}
STEPS: dict[Status, tuple[Status, ...]] = {
    state: tuple(_COLUMNS[int(column) - 1] for column in columns)
    for state, columns in zip(_COLUMNS, _TABLE.values(), strict=True)
}


def path(former: Status, new: Status) -> list[Status]:
    """The statuses after ``former`` on the shortest way through the table to ``new`` (ST-04); `[new]` for one step."""
    ways: deque[list[Status]] = deque([[former]])
    seen = {former}
    while ways:
        way = ways.popleft()
        if way[-1] == new:
            return way[1:]
        for step in STEPS[way[-1]]:
            if step not in seen:
                seen.add(step)
                ways.append([*way, step])
    raise AssertionError("every status can be reached")  # pragma: no cover
