"""Which CALL goes out next: one in flight, durable ones in order and retried (OCPP 1.6, 3.7; obligations 5.3).

Ordinary CALLs live in memory and end with the link. Durable ones lie in queues on disk until the CSMS answered them;
they are overtaken by ordinary ones (TX-22) and go out only while the charge point is registered.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from ocpp.v16.enums import Action, RegistrationStatus

from ocpp16_bridge.clock import Timer, Timers
from ocpp16_bridge.csms import ocppj, schemas
from ocpp16_bridge.store import DiskQueue, Store
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

REMOVE_AT_ONCE = 64  # answered CALLs that leave the disk in one commit …
REMOVE_WITHIN = 1.0  # … or after so many s
THIN_AT_ONCE = 500  # CALLs looked at when a queue is thinned
MAX_WAITING = 1000  # ordinary CALLs; more are refused: the CSMS doesn't answer as fast as we ask


@dataclass(frozen=True)
class Answered:
    """The CSMS answered with a CALLRESULT that fits its schema."""

    payload: dict[str, Any]
    round_trip: float  # s


@dataclass(frozen=True)
class Refused:
    """The CSMS answered with a CALLERROR."""

    code: str
    description: str


@dataclass(frozen=True)
class Unanswered:
    """There is no usable answer. `offline` was never sent and never will be, `unsendable` is our bug."""

    reason: Literal["offline", "timeout", "link lost", "unreadable", "unsendable", "queue full"]
    detail: str = ""


Outcome = Answered | Refused | Unanswered


@dataclass
class OwnCall:
    """A CALL of ours on its way."""

    action: str
    payload: dict[str, Any]
    settle: Callable[[Outcome], None]  # called within a turn, once
    triggered: bool = False  # asked for by TriggerMessage: allowed while Pending (BT-08)


@dataclass(frozen=True)
class DurableCall:
    """A CALL on disk. A resend has the same message id and payload (TR-23, TX-29)."""

    action: str
    payload: dict[str, Any]
    message_id: str
    about: str  # what the sender needs to know it again
    queued_at: str  # RFC 3339
    attempts: int = 0  # failed ones; a lost link is none (TX-24)
    # Where `queued_at` is by a clock that the CSMS has not confirmed yet: when that was by the machine's own count.
    boot_id: str = ""
    monotonic: float | None = None


@dataclass
class DurableQueue:
    """A queue on disk, with its rules."""

    calls: DiskQueue[DurableCall]
    limit: int
    final_codes: frozenset[str] = frozenset()  # CALLERROR codes after which asking again is pointless
    # The action that is thinned out in a full queue, and of which answered ones may be sent twice.
    thins: str | None = None
    # A CALL that never will be answered, and its payload as it went out.
    on_given_up: Callable[[DurableCall, dict[str, Any]], None] = lambda _call, _payload: None
    is_held: bool = False  # until what must precede it is out
    not_before: float | None = None  # monotonic moment of the next attempt; None until the first one of this process

    def oldest_queued_at(self) -> str | None:
        head = self.calls.head()
        return None if head is None else head[1].queued_at


@dataclass
class _InFlight:
    message_id: str
    action: str
    sent_at: float
    timer: Timer
    end: Callable[[Outcome], None] = field(repr=False)


class CallQueue:
    """The CALLs of the charge point.

    What ends a CALL (`answered`, `unreadable`, `disconnected`) is called outside of turns: whoever waits for the end
    hears of it in a turn of its own, so that a handler that fails takes nothing else with it.

    Args:
        store: keeps the durable ones.
        turns: CALLs go out after the turn that caused them.
        timers: for time limits and retries.
        monotonic: durations, s.
        new_id: a fresh message id, unique for ever (TR-22).
        send: hands a CALL to the link.

    """

    def __init__(
        self,
        store: Store,
        turns: Turns,
        timers: Timers,
        monotonic: Callable[[], float],
        new_id: Callable[[], str],
        send: Callable[[ocppj.Call], None],
    ) -> None:
        self._store = store
        self._turns = turns
        self._timers = timers
        self._monotonic = monotonic
        self._new_id = new_id
        self._send = send
        self._waiting: deque[OwnCall] = deque()
        self._durable: dict[str, DurableQueue] = {}
        self._in_flight: _InFlight | None = None
        self._link_up = False
        # The status of the last BootNotification.conf; None before the first. It changes when that CALL ends, which is
        # followed by `pump`.
        self.registration: RegistrationStatus | None = None
        self.last_sent_at = 0.0  # monotonic
        # What follows is set by whoever knows: the features' configuration keys and handlers.
        self.timeout: Callable[[], float] = lambda: 30.0  # s (TR-40)
        self.attempts: Callable[[], int] = lambda: 3
        self.retry_interval: Callable[[], float] = lambda: 60.0  # s
        self.on_durable_end: Callable[[DurableCall, Outcome], None] = lambda _call, _outcome: None
        # Each gives the payload of a durable CALL with what is known only when it goes out.
        self.prepare: list[Callable[[DurableCall], dict[str, Any]]] = []

    # -- what may be sent

    def may_send(self, action: str, *, triggered: bool = False) -> bool:
        """Whether a CALL put now would go out (BT-02, BT-07, BT-08 and the message matrix)."""
        if not self._link_up:
            return False
        if self.registration == RegistrationStatus.accepted or action == Action.boot_notification:
            return True
        return triggered and self.registration == RegistrationStatus.pending

    # -- in

    def put(self, call: OwnCall) -> None:
        """Send ``call`` after this turn, or settle it at once as `offline`."""
        schemas.validate_own_call(call.action, call.payload)
        if not self.may_send(call.action, triggered=call.triggered):
            call.settle(Unanswered("offline"))
        elif len(self._waiting) >= MAX_WAITING:
            logger.warning("%s is not sent: %s CALLs wait already", call.action, MAX_WAITING)
            call.settle(Unanswered("offline"))
        else:
            self._turns.call(lambda: self._append(call))

    def _append(self, call: OwnCall) -> None:
        if call.action == Action.boot_notification:
            self._waiting.appendleft(call)
        else:
            self._waiting.append(call)
        self.pump()

    def add_durable(
        self, name: str, limit: int, final_codes: frozenset[str] = frozenset(), thins: str | None = None
    ) -> DurableQueue:
        """Open the queue ``name`` on disk; in a full one CALLs of ``thins`` make room, else the oldest."""
        queue = DurableQueue(self._store.queue(name, DurableCall), limit, final_codes, thins)
        self._durable[name] = queue
        return queue

    def put_durable(self, name: str, call: DurableCall) -> None:
        """Keep a CALL until the CSMS answered it; `on_durable_end` hears the outcome."""
        schemas.validate_own_call(call.action, call.payload)
        queue = self._durable[name]
        if len(queue.calls) >= queue.limit:
            self._make_room(name, queue)
        queue.calls.append(call)
        self._turns.publish(self.pump)  # after the ordinary ones of this turn, which go first (TX-22, TX-40)

    def _make_room(self, name: str, queue: DurableQueue) -> None:
        if queue.thins is not None:
            self._thin(name, queue, queue.thins)
            return
        while len(queue.calls) >= queue.limit and (head := queue.calls.head()) is not None:
            sequence, call = head
            if self.is_in_flight(call.message_id):
                return  # an answer ends it soon: for so long the queue is longer than its limit
            logger.error("queue %s is full: lost %s of %s", name, call.action, call.queued_at)
            queue.calls.remove(sequence)
            queue.not_before = 0.0
            self.on_durable_end(call, Unanswered("queue full"))

    @staticmethod
    def _thin(name: str, queue: DurableQueue, action: str) -> None:
        """Every second of the oldest CALLs of ``action`` goes, the others never (TX-30)."""
        # Not the first, which may be in flight, and not the last.
        dropped = queue.calls.sequences(stored_beginning(action), THIN_AT_ONCE)[1:-1:2]
        for sequence in dropped:
            queue.calls.remove(sequence)
        if dropped:
            logger.error("queue %s is full (%s): %s %s are dropped", name, queue.limit, len(dropped), action)

    # -- the link

    def connected(self) -> None:
        """CALLs can be put; those that wait on disk go out with the next `pump`."""
        self._link_up = True

    def disconnected(self) -> None:
        """The link is gone: ordinary CALLs end, durable ones wait; no attempt is counted (TX-24)."""
        self._link_up = False
        self._end_in_flight(Unanswered("link lost"))
        self.pump()  # settles those that wait

    # -- answers

    def answered(self, message: ocppj.CallResult | ocppj.CallError) -> bool:
        """Settle the CALL that ``message`` answers; False where none waits for it (TR-28)."""
        call = self._in_flight
        if call is None or not self.is_in_flight(message.message_id):
            return False
        self._end_in_flight(self._outcome(call, message))
        return True

    def unreadable(self, message_id: str, detail: str) -> bool:
        """An answer came whose shape is broken: failure to process (TR-29); False where none waits for it."""
        if not self.is_in_flight(message_id):
            return False
        self._end_in_flight(Unanswered("unreadable", detail))
        return True

    def is_in_flight(self, message_id: str) -> bool:
        """Whether an answer to the CALL with this id is waited for."""
        return self._in_flight is not None and self._in_flight.message_id == message_id

    def _outcome(self, call: _InFlight, message: ocppj.CallResult | ocppj.CallError) -> Outcome:
        if isinstance(message, ocppj.CallError):
            logger.warning("the CSMS answers %s with %.50r: %.255r", call.action, message.code, message.description)
            return Refused(message.code, message.description)
        try:
            payload = schemas.validate_result(call.action, message.payload)
        except schemas.InvalidError as error:
            logger.warning("the CSMS's answer to %s can't be read: %s", call.action, error.description)
            return Unanswered("unreadable", error.description)
        return Answered(payload, self._monotonic() - call.sent_at)

    def _timed_out(self, call: ocppj.Call) -> None:
        if self.is_in_flight(call.message_id):
            waited = f"no answer within {self._monotonic() - self.last_sent_at:.0f} s"
            logger.warning("%s: %s", call.action, waited)
            self._end_in_flight(Unanswered("timeout", waited))

    def _end_in_flight(self, outcome: Outcome) -> None:
        call, self._in_flight = self._in_flight, None
        if call is not None:
            call.timer.cancel()
            call.end(outcome)
            self._turns.call(self.pump)

    def _settle(self, call: OwnCall, outcome: Outcome) -> None:
        try:
            with self._turns.turn():
                call.settle(outcome)
        except Exception:
            logger.exception("what follows the end of %s failed", call.action)

    # -- out

    def pump(self) -> None:
        """Send the next CALL if none is in flight (TR-31)."""
        while self._in_flight is None and self._waiting:
            call = self._waiting.popleft()
            if self.may_send(call.action, triggered=call.triggered):
                self._dispatch(ocppj.Call(self._new_id(), call.action, call.payload), partial(self._settle, call))
            else:  # the link was lost or the registration taken back while it waited
                self._settle(call, Unanswered("offline"))
        if self._in_flight is None and self._link_up and self.registration == RegistrationStatus.accepted:
            self._pump_durable()

    def _pump_durable(self) -> None:
        for queue in self._durable.values():
            head = queue.calls.head() if len(queue.calls) else None
            if head is not None and not queue.is_held and self._is_due(queue, head[1]):
                sequence, call = head
                self._dispatch(
                    ocppj.Call(call.message_id, call.action, self._prepared(call)),
                    partial(self._durable_outcome, queue, sequence, call),
                )
                return

    def _prepared(self, call: DurableCall) -> dict[str, Any]:
        payload = call.payload
        for prepare in self.prepare:
            try:
                payload = prepare(replace(call, payload=payload))
            except Exception:  # what must be delivered goes out as it was stored rather than not at all
                logger.exception("%s of %s goes out as it is stored", call.action, call.queued_at)
        return payload

    def _is_due(self, queue: DurableQueue, head: DurableCall) -> bool:
        if queue.not_before is None:  # a wait that a former process began starts anew: never less than TX-25 asks
            queue.not_before = self._wait_to_retry(head)
        return queue.not_before <= self._monotonic()

    def _dispatch(self, call: ocppj.Call, end: Callable[[Outcome], None]) -> None:
        overdue = lambda: self._turns.call(lambda: self._timed_out(call))  # noqa: E731 - after the timer's own turn
        timer = self._timers.after(self.timeout(), "answer to " + call.action, overdue)
        self.last_sent_at = self._monotonic()
        self._in_flight = _InFlight(call.message_id, call.action, self.last_sent_at, timer, end)
        try:
            self._send(call)
        except Exception as error:
            logger.exception("%s can't be sent and is lost", call.action)
            self._end_in_flight(Unanswered("unsendable", type(error).__name__))

    # -- the end of a durable one

    def _durable_outcome(self, queue: DurableQueue, sequence: int, call: DurableCall, outcome: Outcome) -> None:
        if isinstance(outcome, Unanswered) and outcome.reason == "link lost":
            return
        failed = replace(call, attempts=call.attempts + 1)
        if isinstance(outcome, Answered) or _is_final(outcome, queue):
            self._end_durable(queue, sequence, call, outcome)
        elif failed.attempts >= max(self.attempts(), 1):  # all transmissions count; 0 acts as 1 (TX-25, TX-26)
            logger.error("lost %s of %s: given up after attempt %s", call.action, call.queued_at, failed.attempts)
            self._end_durable(queue, sequence, call, outcome)
        else:
            queue.not_before = self._wait_to_retry(failed)
            with self._turns.turn():
                queue.calls.replace(sequence, failed)

    def _end_durable(self, queue: DurableQueue, sequence: int, call: DurableCall, outcome: Outcome) -> None:
        may_come_twice = isinstance(outcome, Answered) and call.action == queue.thins
        try:
            with self._turns.turn():
                if not may_come_twice:
                    queue.calls.remove(sequence)
                    queue.calls.remove_now()  # what was answered before must not be sent again after this one
                if not isinstance(outcome, Answered):
                    queue.on_given_up(call, self._prepared(call))
                self.on_durable_end(call, outcome)
                if may_come_twice:
                    self._remove_later(queue, sequence)
        except Exception:
            logger.exception("what follows the end of %s of %s failed", call.action, call.queued_at)
            with self._turns.turn():  # or it would be sent again, and fail again, without end
                queue.calls.remove(sequence)

    def _remove_later(self, queue: DurableQueue, sequence: int) -> None:
        """Answered MeterValues leave the disk in batches; a crash repeats at most a batch."""
        waiting = queue.calls.remove_later(sequence)
        if waiting >= REMOVE_AT_ONCE:
            queue.calls.remove_now()
        elif waiting == 1:
            self._timers.after(REMOVE_WITHIN, "removal of answered CALLs", queue.calls.remove_now)

    def _wait_to_retry(self, call: DurableCall) -> float:
        """The monotonic moment of the next attempt; the wait grows with each one (OCPP 1.6, 3.7.1)."""
        wait = call.attempts * self.retry_interval()
        moment = self._monotonic() + wait
        if wait:
            logger.warning("%s of %s: attempt %s in %.0f s", call.action, call.queued_at, call.attempts + 1, wait)
            self._timers.after(wait, "retry " + call.action, lambda: self._turns.call(self.pump))
        return moment


def stored_beginning(action: str) -> str:
    """How each `DurableCall` of ``action`` begins on disk."""
    return f'{{"action":"{action}"'


def _is_final(outcome: Outcome, queue: DurableQueue) -> bool:
    """Whether another attempt would end the same way."""
    match outcome:
        case Refused(code):
            return code in queue.final_codes
        case Unanswered("unsendable"):
            return True
    return False
