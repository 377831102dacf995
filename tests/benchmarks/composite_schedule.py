"""What a composite schedule costs, beside breakpoints times profiles (performance goal G12): by hand,

    python -m tests.benchmarks.composite_schedule

Each profile has 24 periods. Medians of alternating rounds, µs.
"""

import gc
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    RecurrencyKind,
)

from ocpp16_bridge.features.smart_charging.composite_schedule import (
    ChargePointFacts,
    CompositeSchedule,
    ConnectorFacts,
    composite_schedules,
)
from ocpp16_bridge.features.smart_charging.profile import ChargingProfile, Period, Schedule, unix_time

MOMENT = datetime(2026, 11, 22, 10, tzinfo=UTC)
NOW = unix_time(MOMENT)
DAY = 86_400
PERIODS = 24
ROUNDS = 15
AMPS = ChargingRateUnitType.amps


def profile(
    level: int, start: int, length: int, *, duration: int | None = None, recurs: bool = False
) -> ChargingProfile:
    """One whose periods divide ``length``; limits differ from period to period."""
    kind = ChargingProfileKindType.recurring if recurs else ChargingProfileKindType.absolute
    periods = tuple(
        Period(index * length // PERIODS, Decimal(60 + (7 * index + level) % 200) / 10) for index in range(PERIODS)
    )
    return ChargingProfile(
        id=level,
        connector_id=1,
        stack_level=level,
        purpose=ChargingProfilePurposeType.tx_default_profile,
        kind=kind,
        schedule=Schedule(AMPS, periods, duration, start),
        received_at=NOW,
        recurrency_kind=RecurrencyKind.daily if recurs else None,
    )


def hidden(count: int) -> list[ChargingProfile]:
    """Each over the whole day, with breakpoints of its own."""
    return [profile(level, NOW - 31 * level - 1, DAY) for level in range(count)]


def hidden_recurring(count: int) -> list[ChargingProfile]:
    return [profile(level, NOW - 5 * DAY - 31 * level, DAY, recurs=True) for level in range(count)]


def side_by_side(count: int) -> list[ChargingProfile]:
    """Each for a part of the day: all breakpoints of all profiles count."""
    length = DAY // count
    return [profile(level, NOW + level * length, length, duration=length) for level in range(count)]


def composite(profiles: list[ChargingProfile]) -> CompositeSchedule:
    facts = ChargePointFacts((ConnectorFacts(Decimal(32), 3),), profiles)
    return composite_schedules(facts, MOMENT, DAY, AMPS)[1]


def by_breakpoints(profiles: list[ChargingProfile]) -> list[tuple[int, Decimal]]:
    """What the highest of all profiles says, at each breakpoint of any: for profiles of a day, the least code."""
    rows = []
    for one in profiles:
        start = one.schedule.start or 0
        start += (NOW - start) // DAY * DAY if one.recurrency_kind else 0
        length = one.schedule.duration or (DAY if one.recurrency_kind else 10 * DAY)
        runs = [start, start + DAY] if one.recurrency_kind else [start]
        starts = [period.start for period in one.schedule.periods]
        rows += [(run, run + length, one.stack_level, starts, one.schedule.periods) for run in runs]
    breakpoints = {NOW} | {run + offset for run, _, _, starts, _ in rows for offset in starts}
    result: list[tuple[int, Decimal]] = []
    for t in sorted(t for t in breakpoints if NOW <= t < NOW + DAY):
        level, limit = -1, Decimal(32)
        for run, end, stack_level, starts, periods in rows:
            if run <= t < end and stack_level > level:
                level, limit = stack_level, periods[bisect_right(starts, t - run) - 1].limit
        if not result or result[-1][1] != limit:
            result.append((t - NOW, limit))
    return result


def measured(*works: Callable[[], object]) -> list[float]:
    """The median of each, in µs."""
    times: list[list[float]] = [[] for _ in works]
    gc.disable()  # a collection hits the one or the other
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            work()  # after another one caches are cold
            begun = time.perf_counter()
            work()
            taken.append((time.perf_counter() - begun) * 1e6)
    gc.enable()
    return [statistics.median(taken) for taken in times]


def main() -> None:
    print(f"{'profiles':<26}{'composite':>11}{'naive':>11}{'ratio':>8}{'doubling':>10}")  # noqa: T201
    for make in (hidden, hidden_recurring, side_by_side):
        for count in (1, 10, 100, 200):
            profiles, twice = make(count), make(2 * count)
            assert [(start, limit) for start, limit, _ in composite(profiles).periods] == by_breakpoints(profiles)
            ours, doubled, naive = measured(
                partial(composite, profiles), partial(composite, twice), partial(by_breakpoints, profiles)
            )
            name = f"{count} {make.__name__}"
            print(f"{name:<26}{ours:>11.0f}{naive:>11.0f}{ours / naive:>8.4f}{doubled / ours:>10.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
