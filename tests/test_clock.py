"""The time of day by the CSMS, and timers in the order of their deadlines."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ocpp16_bridge.clock import Clock, Timer, Timers
from ocpp16_bridge.turn import Turns

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Time:
    """Both sources of time, moved by hand."""

    def __init__(self) -> None:
        self.passed = 0.0  # s

    def wall(self) -> float:
        return NOON.timestamp() + self.passed

    def monotonic(self) -> float:
        return 5000.0 + self.passed


class Rounds:
    """Counts turns."""

    def __init__(self) -> None:
        self.turns: list[str] = []

    def begin(self) -> None:
        self.turns.append("begin")

    def commit(self) -> None:
        self.turns.append("commit")

    def rollback(self) -> None:
        self.turns.append("rollback")


class Bench:
    """Timers with a hand on the clock, and a note of what ran when."""

    def __init__(self) -> None:
        self.time = Time()
        self.rounds = Rounds()
        self.timers = Timers(self.time.monotonic, Turns(self.rounds))
        self.ran: list[tuple[float, str]] = []

    def after(self, seconds: float, name: str, then: Callable[[], object] = lambda: None) -> Timer:
        return self.timers.after(seconds, name, self.noting(name, then))

    def noting(self, name: str, then: Callable[[], object] = lambda: None) -> Callable[[], None]:
        def action() -> None:
            self.ran.append((self.time.passed, name))
            then()

        return action

    def advance(self, seconds: float) -> None:
        """From deadline to deadline."""
        end = self.time.monotonic() + seconds
        while (deadline := self.timers.next_deadline()) is not None and deadline <= end:
            self.time.passed = max(deadline - 5000.0, self.time.passed)
            self.timers.run_due()
        self.time.passed = end - 5000.0


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- the time of day


def test_without_a_csms_the_machine_tells_the_time() -> None:
    time = Time()
    clock = Clock(time.wall, time.monotonic)
    time.passed = 1.5

    assert clock.now() == NOON + timedelta(seconds=1.5)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() == 5001.5


@pytest.mark.parametrize(
    ("ahead", "round_trip", "step"),
    [
        pytest.param(3600, 0, 3600, id="the CSMS is ahead"),
        pytest.param(-3600, 0, -3600, id="the CSMS is behind"),
        pytest.param(10, 4, 12, id="half the round trip has passed since"),
        pytest.param(1.25, 0, 1.25, id="just more than 1 s"),
        pytest.param(1, 0, 0, id="1 s is no step"),
        pytest.param(-1, 0, 0, id="1 s behind is no step"),
        pytest.param(-3, 4, 0, id="1 s with half the round trip is no step"),
        pytest.param(0, 4, 2, id="half the round trip alone"),
    ],
)
def test_timestamps_follow_the_csms_if_the_difference_is_more_than_a_second(
    ahead: float, round_trip: float, step: float
) -> None:
    """HB-05."""
    time = Time()
    clock = Clock(time.wall, time.monotonic)

    assert clock.correct(NOON + timedelta(seconds=ahead), round_trip) == timedelta(seconds=step)

    assert clock.now() == NOON + timedelta(seconds=step)
    assert clock.monotonic() == 5000.0  # HB-06: durations don't step


def test_a_second_correction_counts_from_the_first() -> None:
    """HB-05: what was corrected is no difference any more."""
    time = Time()
    clock = Clock(time.wall, time.monotonic)
    clock.correct(NOON + timedelta(hours=1), 0)

    assert clock.correct(NOON + timedelta(hours=1, seconds=0.5), 0) == timedelta(0)
    assert clock.correct(NOON, 0) == timedelta(hours=-1)
    assert clock.now() == NOON


def test_a_monotonic_moment_has_a_time_of_day() -> None:
    time = Time()
    clock = Clock(time.wall, time.monotonic)
    clock.correct(NOON + timedelta(hours=1), 0)
    time.passed = 10

    assert clock.at_monotonic(5003.0) == NOON + timedelta(hours=1, seconds=3)


# -- timers


def test_timers_run_in_the_order_of_their_deadlines_and_of_setting_where_these_are_equal(bench: Bench) -> None:
    for seconds, name in [(3, "d"), (1, "a"), (2, "b"), (2, "c")]:
        bench.after(seconds, name)

    bench.time.passed = 10
    bench.timers.run_due()

    assert [name for _, name in bench.ran] == ["a", "b", "c", "d"]


def test_a_timer_runs_at_its_deadline_once_and_not_before(bench: Bench) -> None:
    bench.after(2, "a")

    bench.time.passed = 1.999
    bench.timers.run_due()
    assert bench.ran == []

    bench.time.passed = 2
    bench.timers.run_due()
    bench.timers.run_due()
    assert bench.ran == [(2, "a")]
    assert bench.timers.next_deadline() is None


def test_a_timer_in_the_past_is_due_at_once(bench: Bench) -> None:
    bench.after(0, "first")
    bench.after(-100, "second")

    bench.timers.run_due()

    assert [name for _, name in bench.ran] == ["first", "second"]


def test_each_action_is_a_turn_of_its_own(bench: Bench) -> None:
    bench.after(1, "a")
    bench.after(1, "b")

    bench.advance(1)

    assert bench.rounds.turns == ["begin", "commit"] * 2


def test_a_cancelled_timer_does_not_run(bench: Bench) -> None:
    timer = bench.after(1, "a")
    bench.after(2, "b")
    timer.cancel()
    timer.cancel()

    assert bench.timers.next_deadline() == 5002.0
    bench.advance(5)
    assert bench.ran == [(2, "b")]


def test_an_action_may_cancel_another_that_is_due_and_itself(bench: Bench) -> None:
    others: list[Timer] = []

    def cancel_all() -> None:
        for timer in others:
            timer.cancel()

    others.append(bench.after(1, "a", cancel_all))
    others.append(bench.after(1, "b"))
    bench.after(1, "c")

    bench.time.passed = 2
    bench.timers.run_due()

    assert [name for _, name in bench.ran] == ["a", "c"]
    assert bench.timers.next_deadline() is None


def test_an_action_may_set_timers(bench: Bench) -> None:
    bench.after(1, "a", lambda: bench.after(1, "b", lambda: bench.after(0, "c")))

    bench.advance(5)

    assert bench.ran == [(1, "a"), (2, "b"), (2, "c")]


def test_timers_that_become_due_meanwhile_wait_for_the_next_look(bench: Bench) -> None:
    """An action that sets itself again and again doesn't hold up the event loop."""

    def again() -> None:
        bench.time.passed += 0.001
        bench.after(0, "a", again)

    bench.after(0, "a", again)

    bench.timers.run_due()
    bench.timers.run_due()

    assert bench.ran == [(0, "a"), (0.001, "a")]


def test_an_action_that_fails_is_rolled_back_and_named_and_stops_no_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise KeyError("of the action")

    bench.after(1, "meter", fail)
    bench.after(1, "b")

    bench.time.passed = 2
    bench.timers.run_due()

    assert [name for _, name in bench.ran] == ["meter", "b"]
    assert bench.rounds.turns == ["begin", "rollback", "begin", "commit"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "timer meter failed")
    ]
    assert "of the action" in caplog.text


def test_cancelled_timers_take_no_memory(bench: Bench) -> None:
    kept = [bench.after(1000 + n, str(n)) for n in range(100)]
    for _ in range(100_000):
        bench.after(30, "answer").cancel()
    assert len(bench.timers._heap) < 300

    for timer in kept[1:]:
        timer.cancel()
    assert len(bench.timers._heap) <= 65
    bench.advance(2000)
    assert bench.ran == [(1000, "0")]


def test_the_count_of_cancelled_timers_stays_right(bench: Bench) -> None:
    for round_ in range(50):
        timers = [bench.after(n % 7, "x") for n in range(40)]
        for timer in timers[round_ % 5 :: 2]:
            timer.cancel()
        bench.advance(3)
        assert bench.timers._dead == sum(entry[2].action is None for entry in bench.timers._heap)


# -- again and again


def test_every_runs_at_its_pace(bench: Bench) -> None:
    bench.timers.every(10, "health", bench.noting("health"))

    bench.advance(35)

    assert bench.ran == [(10, "health"), (20, "health"), (30, "health")]


def test_every_does_not_drift_when_it_runs_late(bench: Bench) -> None:
    bench.timers.every(10, "health", bench.noting("health"))

    for late in (10.5, 20.25, 30.75):
        bench.time.passed = late
        bench.timers.run_due()

    assert bench.timers.next_deadline() == 5040.0
    assert len(bench.ran) == 3


def test_every_leaves_out_what_it_missed(bench: Bench) -> None:
    """A machine that slept doesn't do it all at once."""
    bench.timers.every(10, "health", bench.noting("health"))

    bench.time.passed = 47
    bench.timers.run_due()

    assert bench.ran == [(47, "health")]
    assert bench.timers.next_deadline() == 5050.0


def test_every_goes_on_after_a_failure(bench: Bench) -> None:
    def fail() -> None:
        raise KeyError

    bench.timers.every(10, "health", bench.noting("health", fail))

    bench.advance(20)

    assert [moment for moment, _ in bench.ran] == [10, 20]


# -- the sleeper


async def running(timers: Timers, until: "asyncio.Future[None]") -> None:
    task = asyncio.create_task(timers.run())
    try:
        async with asyncio.timeout(5):
            await until
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


def test_the_sleeper_wakes_for_a_timer_that_is_earlier_than_what_it_waits_for() -> None:
    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        timers = Timers(loop.time, Turns(Rounds()))
        done = loop.create_future()
        ran: list[str] = []
        timers.after(3600, "far", lambda: ran.append("far"))

        def finish() -> None:
            ran.append("second")
            done.set_result(None)

        def set_another() -> None:
            ran.append("first")
            timers.after(0.001, "second", finish)

        loop.call_later(0.01, lambda: timers.after(0.001, "first", set_another))
        await running(timers, done)
        return ran

    assert asyncio.run(scenario()) == ["first", "second"]


def test_the_sleeper_without_timers_waits_for_the_first() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        timers = Timers(loop.time, Turns(Rounds()))
        done = loop.create_future()
        loop.call_later(0.01, lambda: timers.after(0, "first", lambda: done.set_result(None)))
        await running(timers, done)

    asyncio.run(scenario())


def test_the_sleeper_leaves_the_loop_to_others() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        timers = Timers(loop.time, Turns(Rounds()))
        done = loop.create_future()

        def again() -> None:
            timers.after(0, "again", again)

        again()
        loop.call_later(0.01, done.set_result, None)
        await running(timers, done)

    asyncio.run(scenario())
