"""Which CALL goes out next: one in flight, durable ones in order and retried (OCPP 1.6, 3.7; obligations 5.3).

Ordinary CALLs live in memory and end with the link. Durable ones lie in queues on disk until the CSMS answered them;
they are overtaken by ordinary ones (TX-22) and go out only while the charge point is registered.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ocpp.v16.enums import Action, RegistrationStatus

from ocpp16_bridge.clock import Timer, Timers
from ocpp16_bridge.csms import ocppj, schemas
from ocpp16_bridge.store import DiskQueue, Store
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

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
    """There is no usable answer: `offline` (never sent), `timeout`, `link lost` or `unreadable`."""

    reason: str
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


@dataclass
class DurableQueue:
    """A queue on disk, with its rules."""

    calls: DiskQueue[DurableCall]
    limit: int
    final_codes: frozenset[str] = frozenset()  # CALLERROR codes after which asking again is pointless
    not_before: float = 0.0  # monotonic moment of the next attempt

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
        self._registration: RegistrationStatus | None = None
        self.last_sent_at = 0.0  # monotonic
        # What follows is set by whoever knows: the features' configuration keys and handlers.
        self.timeout: Callable[[], float] = lambda: 30.0  # s (TR-40)
        self.attempts: Callable[[], int] = lambda: 3
        self.retry_interval: Callable[[], float] = lambda: 60.0  # s
        self.on_durable_end: Callable[[DurableCall, Outcome], None] = lambda _call, _outcome: None

    # -- what may be sent

    @property
    def registration(self) -> RegistrationStatus | None:
        """The status of the last BootNotification.conf; None before the first."""
        return self._registration

    @registration.setter
    def registration(self, status: RegistrationStatus | None) -> None:
        self._registration = status
        for call in [call for call in self._waiting if not self._may_send(call.action, triggered=call.triggered)]:
            self._waiting.remove(call)
            call.settle(Unanswered("offline"))
        self._turns.call(self.pump)

    def _may_send(self, action: str, *, triggered: bool = False) -> bool:
        """BT-02, BT-07, BT-08 and the message matrix."""
        if not self._link_up:
            return False
        if self._registration == RegistrationStatus.accepted or action == Action.boot_notification:
            return True
        return triggered and self._registration == RegistrationStatus.pending

    def may_send(self, action: str) -> bool:
        """Whether a CALL put now would go out."""
        return self._may_send(action)

    # -- in

    def put(self, call: OwnCall) -> None:
        """Send ``call`` after this turn, or settle it at once as `offline`."""
        schemas.validate_own_call(call.action, call.payload)
        if not self._may_send(call.action, triggered=call.triggered) or len(self._waiting) >= MAX_WAITING:
            call.settle(Unanswered("offline"))
            return
        if call.action == Action.boot_notification:
            self._waiting.appendleft(call)
        else:
            self._waiting.append(call)
        self._turns.call(self.pump)

    def add_durable(self, name: str, limit: int, final_codes: frozenset[str] = frozenset()) -> DurableQueue:
        """Open the queue ``name`` on disk. It holds at most ``limit`` CALLs; the oldest makes room."""
        queue = DurableQueue(self._store.queue(name, DurableCall), limit, final_codes)
        self._durable[name] = queue
        return queue

    def put_durable(self, name: str, action: str, payload: dict[str, Any], about: str, queued_at: str) -> None:
        """Keep a CALL until the CSMS answered it; `on_durable_end` hears the outcome."""
        schemas.validate_own_call(action, payload)
        queue = self._durable[name]
        if len(queue.calls) >= queue.limit:
            self._make_room(name, queue)
        queue.calls.append(DurableCall(action, payload, self._new_id(), about, queued_at))
        self._turns.call(self.pump)

    def _make_room(self, name: str, queue: DurableQueue) -> None:
        head = queue.calls.head()
        if head is not None:
            logger.error("queue %s is full (%s): the oldest is lost: %s", name, queue.limit, head[1])
            queue.calls.remove(head[0])

    # -- the link

    def connected(self) -> None:
        self._link_up = True
        self._turns.call(self.pump)

    def disconnected(self) -> None:
        """The link is gone: ordinary CALLs end, durable ones wait; no attempt is counted (TX-24)."""
        self._link_up = False
        self._end_in_flight(Unanswered("link lost"))
        while self._waiting:
            self._waiting.popleft().settle(Unanswered("link lost"))

    # -- answers

    def answered(self, message: ocppj.CallResult | ocppj.CallError) -> bool:
        """Settle the CALL that ``message`` answers; False where none waits for it (TR-28)."""
        call = self._in_flight
        if call is None or call.message_id != message.message_id:
            return False
        self._end_in_flight(self._outcome(call, message))
        return True

    def unreadable(self, message_id: str, detail: str) -> bool:
        """An answer came whose shape is broken: failure to process (TR-29)."""
        call = self._in_flight
        if call is None or call.message_id != message_id:
            return False
        self._end_in_flight(Unanswered("unreadable", detail))
        return True

    def _outcome(self, call: _InFlight, message: ocppj.CallResult | ocppj.CallError) -> Outcome:
        if isinstance(message, ocppj.CallError):
            logger.warning("the CSMS answers %s with %s: %s", call.action, message.code, message.description)
            return Refused(message.code, message.description)
        try:
            payload = schemas.validate_result(call.action, message.payload)
        except schemas.InvalidError as error:
            logger.warning("the CSMS's answer to %s can't be read: %s", call.action, error.description)
            return Unanswered("unreadable", error.description)
        return Answered(payload, self._monotonic() - call.sent_at)

    def _timed_out(self) -> None:
        if self._in_flight is not None:
            waited = self._monotonic() - self._in_flight.sent_at
            logger.warning("no answer to %s within %.0f s", self._in_flight.action, waited)
            self._end_in_flight(Unanswered("timeout", f"no answer within {waited:.0f} s"))

    def _end_in_flight(self, outcome: Outcome) -> None:
        call, self._in_flight = self._in_flight, None
        if call is not None:
            call.timer.cancel()
            call.end(outcome)
            self._turns.call(self.pump)

    # -- out

    def pump(self) -> None:
        """Send the next CALL if none is in flight (TR-31)."""
        if self._in_flight is not None or not self._link_up:
            return
        if self._waiting:
            call = self._waiting.popleft()
            self._dispatch(ocppj.Call(self._new_id(), call.action, call.payload), call.settle)
        elif self._registration == RegistrationStatus.accepted:
            self._pump_durable()

    def _pump_durable(self) -> None:
        for queue in self._durable.values():
            head = queue.calls.head() if len(queue.calls) else None
            if head is not None and queue.not_before <= self._monotonic():
                sequence, call = head
                self._dispatch(
                    ocppj.Call(call.message_id, call.action, call.payload),
                    lambda outcome: self._durable_outcome(queue, sequence, call, outcome),  # noqa: B023 - returns at once
                )
                return

    def _dispatch(self, call: ocppj.Call, end: Callable[[Outcome], None]) -> None:
        timer = self._timers.after(self.timeout(), "answer to " + call.action, self._timed_out)
        self.last_sent_at = self._monotonic()
        self._in_flight = _InFlight(call.message_id, call.action, self.last_sent_at, timer, end)
        self._send(call)

    def _durable_outcome(self, queue: DurableQueue, sequence: int, call: DurableCall, outcome: Outcome) -> None:
        if isinstance(outcome, Unanswered) and outcome.reason == "link lost":
            return
        attempts = call.attempts + 1
        final = isinstance(outcome, Refused) and outcome.code in queue.final_codes
        # TransactionMessageAttempts counts all transmissions; 0 acts as 1 (TX-25, TX-26).
        if isinstance(outcome, Answered) or final or attempts >= max(self.attempts(), 1):
            queue.calls.remove(sequence)
            self.on_durable_end(call, outcome)
            return
        queue.calls.replace(sequence, replace(call, attempts=attempts))
        # The wait grows with each attempt (OCPP 1.6, 3.7.1).
        wait = attempts * self.retry_interval()
        queue.not_before = self._monotonic() + wait
        self._timers.after(wait, "retry " + call.action, lambda: self._turns.call(self.pump))
        logger.warning("%s failed %s times: next attempt in %.0f s", call.action, attempts, wait)
