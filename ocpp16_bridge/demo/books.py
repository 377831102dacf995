"""What a CSMS has been told, and whether it can bill it: complete, in order, consistent."""

import difflib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ocpp.v16.enums import Action, Measurand

from ocpp16_bridge.timestamps import parse_time

MOST_ENTRIES = 1000  # the demo may run for days

Payload = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A CALL of the charge point."""

    action: str
    payload: Payload
    transaction_id: int | None = None  # given to a StartTransaction, or named by what belongs to it

    @property
    def is_of_transaction(self) -> bool:
        return self.transaction_id is not None

    @property
    def name(self) -> str:
        """What a reader calls it: the status where it is one."""
        return str(self.payload["status"] if self.action == Action.status_notification else self.action)

    @property
    def timestamp(self) -> str:
        """When that happened which it tells of."""
        told = self.payload["meterValue"][0] if self.action == Action.meter_values else self.payload
        return str(told["timestamp"])


class Books:
    """Kept by the message ids: what is sent again is entered once."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}  # oldest first
        self._next_id = itertools.count(1)

    def enter(self, message_id: str, action: str, payload: Payload) -> None:
        if message_id in self._entries:
            return
        started = action == Action.start_transaction
        self._entries[message_id] = Entry(
            action, payload, next(self._next_id) if started else payload.get("transactionId")
        )
        while len(self._entries) > MOST_ENTRIES:
            del self._entries[next(iter(self._entries))]

    def transaction_id(self, message_id: str) -> int | None:
        entry = self._entries.get(message_id)
        return None if entry is None else entry.transaction_id

    def transactions(self) -> dict[int, list[Entry]]:
        """What was told of each, in the order of its coming."""
        found: dict[int, list[Entry]] = {}
        for entry in self._entries.values():
            if entry.transaction_id is not None:
                found.setdefault(entry.transaction_id, []).append(entry)
        return found

    def problems(self, expected: Sequence[str], connector_id: int = 1) -> list[str]:
        """What is missing or wrong: ``expected`` statuses and actions, in the order in which they happened."""
        names = [entry.name for entry in sorted(self._course(connector_id), key=_moment)]
        problems = list(_missing(expected, names))
        for transaction_id, entries in self.transactions().items():
            problems += [f"transaction {transaction_id}: {problem}" for problem in _inconsistencies(entries)]
        return problems

    def _course(self, connector_id: int) -> Iterator[Entry]:
        """All that tells of a connector's sessions."""
        for entry in self._entries.values():
            is_status = entry.action == Action.status_notification and entry.payload["connectorId"] == connector_id
            if is_status or entry.is_of_transaction:
                yield entry


def _moment(entry: Entry) -> tuple[str, bool]:
    """At the same moment a transaction begins or ends first, then the status follows."""
    return parse_time(entry.timestamp).isoformat(timespec="microseconds"), entry.action == Action.status_notification


def _missing(expected: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """What of ``expected`` does not come in its turn; others may come in between."""
    remaining = iter(names)
    if all(name in remaining for name in expected):  # each search takes all before it
        return
    differences = difflib.SequenceMatcher(None, expected, names, autojunk=False).get_opcodes()
    missing = [name for kind, begin, end, _, _ in differences if kind != "equal" for name in expected[begin:end]]
    yield f"missing: {', '.join(missing)}; there was: {', '.join(names) or 'nothing'}"


def _inconsistencies(entries: Sequence[Entry]) -> Iterator[str]:
    """Of one transaction: begin and end in their places, one id tag, neither time nor register goes back."""
    actions = [entry.action for entry in entries]
    middle = len(actions) - 2
    if actions != [Action.start_transaction, *[Action.meter_values] * middle, Action.stop_transaction]:
        yield f"expected StartTransaction, MeterValues …, StopTransaction, got {', '.join(actions)}"
        return
    start, stop = entries[0].payload, entries[-1].payload
    if stop.get("idTag", start["idTag"]) != start["idTag"]:
        yield f"begun by {start['idTag']}, ended by {stop['idTag']}"
    times = [parse_time(entry.timestamp) for entry in entries]
    if times != sorted(times):
        yield f"timestamps go back: {', '.join(entry.timestamp for entry in entries)}"
    registers = [start["meterStart"], *_registers(entries), stop["meterStop"]]
    if registers != sorted(registers) or registers[0] == registers[-1]:
        yield f"the registers don't rise: {registers}"


def _registers(entries: Sequence[Entry]) -> Iterator[float]:
    """Those of all MeterValues, Wh."""
    for entry in entries:
        for meter_value in entry.payload.get("meterValue", ()):
            for sampled in meter_value["sampledValue"]:
                if sampled.get("measurand", "") == Measurand.energy_active_import_register and "phase" not in sampled:
                    yield float(sampled["value"])
