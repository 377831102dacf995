"""The time of day, corrected by the CSMS, and every timer of the daemon."""

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

# Dead timers are swept out of the heap when they are the majority and at least this many.
_SWEEP_FROM = 64


class Clock:
    """`now()` for timestamps, `monotonic()` for durations (architecture: tests inject both sources)."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.monotonic = monotonic
        self.offset = timedelta(0)  # what the CSMS's clock is ahead of this machine's
        self.is_confirmed = False  # the CSMS has told its time since the start
        self.on_step: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """The present moment in UTC, by the CSMS's clock once that is known."""
        return datetime.fromtimestamp(self._wall(), UTC) + self.offset

    def at_monotonic(self, moment: float) -> datetime:
        """The time of day at a monotonic ``moment``."""
        return self.now() + timedelta(seconds=moment - self.monotonic())

    def machine_was_set(self, moment: datetime, monotonic: float) -> None:
        """The machine's clock was set: it was ``moment`` at ``monotonic``, and `now` goes on from there."""
        self.offset = timedelta(0)
        self.offset = moment + timedelta(seconds=self.monotonic() - monotonic) - self.now()
        self._stepped()

    def correct(self, current_time: datetime, round_trip: float) -> timedelta:
        """Follow the CSMS's ``currentTime`` and return the step that was made, 0 for a difference of up to 1 s.

        Half of ``round_trip`` (s) has passed since the CSMS read its clock (HB-05).
        """
        self.is_confirmed = True
        step = current_time + timedelta(seconds=round_trip / 2) - self.now()
        if abs(step) <= timedelta(seconds=1):
            return timedelta(0)
        self.offset += step
        self._stepped()
        return step

    def _stepped(self) -> None:
        for listener in self.on_step:
            listener()


class Timer:
    """A promise to act at a moment; `cancel()` takes it back."""

    __slots__ = ("_timers", "action", "name")

    def __init__(self, name: str, action: Callable[[], None], timers: "Timers") -> None:
        self.name = name
        self.action: Callable[[], None] | None = action
        self._timers = timers

    def cancel(self) -> None:
        if self.action is not None:
            self.action = None
            self._timers.forget_one()


class Timers:
    """All timers; each action is a turn of its own, in the order of the deadlines."""

    def __init__(self, monotonic: Callable[[], float], turns: Turns) -> None:
        self._monotonic = monotonic
        self._turns = turns
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._dead = 0
        self._earlier = asyncio.Event()

    def after(self, seconds: float, name: str, action: Callable[[], None]) -> Timer:
        """Run ``action`` as the turn ``name`` in ``seconds`` from now (at once when negative)."""
        return self._at(self._monotonic() + max(seconds, 0.0), name, action)

    def _at(self, deadline: float, name: str, action: Callable[[], None]) -> Timer:
        timer = Timer(name, action, self)
        if not self._heap or deadline < self._heap[0][0]:
            self._earlier.set()
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def every(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        """Run ``action`` every ``seconds`` (more than 0). Being late doesn't add up; what was missed is left out."""
        due = self._monotonic() + seconds

        def again() -> None:
            nonlocal due
            due += seconds * (1 + (self._monotonic() - due) // seconds)
            self._at(due, name, again)
            action()

        self._at(due, name, again)

    def next_deadline(self) -> float | None:
        """The monotonic moment at which `run_due` has work, None while there is none."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Run what is due now. A failing action is logged and stops no other.

        What becomes due meanwhile waits for the next look, so that others of the event loop have their turn.
        """
        now = self._monotonic()
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self._run(heapq.heappop(self._heap)[2])

    def _run(self, timer: Timer) -> None:
        action, timer.action = timer.action, None
        try:
            with self._turns.turn():
                if action is not None:
                    action()
        except Exception:
            logger.exception("timer %s failed", timer.name)

    def forget_one(self) -> None:
        """Count a timer that was cancelled, and sweep when they are the majority."""
        self._dead += 1
        if self._dead >= _SWEEP_FROM and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    async def run(self) -> None:
        """Sleep from deadline to deadline, for ever: the daemon's only sleeper."""
        while True:
            self.run_due()
            self._earlier.clear()  # after the actions: what they set is seen below, and the loop gets its turn
            deadline = self.next_deadline()
            wait = None if deadline is None else max(deadline - self._monotonic(), 0)
            try:
                async with asyncio.timeout(wait):
                    await self._earlier.wait()
            except TimeoutError:
                continue
