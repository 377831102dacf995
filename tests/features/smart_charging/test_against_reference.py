"""Composite schedules against the definition, at every border of every profile and a second beside it.

``COMPOSITE_EXAMPLES=10000 pytest tests/features/smart_charging`` tries more than the 300 sets of a normal run.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
    LocalLimit,
    RunningTransaction,
    composite_schedules,
)
from ocpp16_bridge.features.smart_charging.profile import ChargingProfile, Period, Schedule
from tests.features.smart_charging.reference import DAY, limits_at, seconds

EXAMPLES = int(os.environ.get("COMPOSITE_EXAMPLES", "300"))
MOMENT = datetime(2028, 2, 28, 23, 50, tzinfo=UTC)  # before a leap day
NOW = seconds(MOMENT)

units = st.sampled_from(ChargingRateUnitType)
phases = st.integers(1, 3)
near = st.integers(-700, 1300)  # s from the moment
far = st.integers(-9 * DAY, 9 * DAY)
days_away = st.builds(lambda offset, days: offset - days * DAY, near, st.integers(-8, 8))
moments = st.one_of(near, near, days_away, far).map(lambda offset: NOW + offset)
short = st.integers(1, 900)
lengths = st.one_of(short, short, short.map(lambda length: DAY + length), st.integers(1, 9 * DAY))


@st.composite
def rates(draw: st.DrawFn, unit: ChargingRateUnitType) -> Decimal:
    tenths = st.integers(0, 400) if unit is ChargingRateUnitType.amps else st.integers(0, 250_000)
    return Decimal(draw(tenths)) / 10


@st.composite
def schedules(draw: st.DrawFn, *, needs_start: bool) -> Schedule:
    unit = draw(units)
    starts = [0, *sorted(draw(st.sets(lengths, max_size=4)))]
    return Schedule(
        unit=unit,
        periods=tuple(Period(start, draw(rates(unit)), draw(st.none() | phases)) for start in starts),
        duration=draw(st.none() | lengths),
        start=draw(moments if needs_start else st.none() | moments),
    )


@st.composite
def profiles(draw: st.DrawFn, connectors: int) -> ChargingProfile:
    purpose = draw(st.sampled_from(ChargingProfilePurposeType))
    is_max = purpose is ChargingProfilePurposeType.charge_point_max_profile
    is_tx = purpose is ChargingProfilePurposeType.tx_profile
    kinds = [kind for kind in ChargingProfileKindType if not (is_max and kind is ChargingProfileKindType.relative)]
    kind = draw(st.sampled_from(kinds))
    is_recurring = kind is ChargingProfileKindType.recurring
    transaction_id = draw(st.none() | st.integers(1, 2)) if is_tx else None
    return ChargingProfile(
        id=draw(st.integers(1, 10**6)),
        connector_id=0 if is_max else draw(st.integers(1 if is_tx else 0, connectors)),
        stack_level=draw(st.integers(0, 3)),
        purpose=purpose,
        kind=kind,
        schedule=draw(schedules(needs_start=is_recurring)),
        received_at=draw(moments),
        recurrency_kind=draw(st.sampled_from(RecurrencyKind)) if is_recurring else None,
        valid_from=draw(st.none() | st.none() | moments),
        valid_to=draw(st.none() | st.none() | moments),
        transaction_id=transaction_id,
        session_id="session" if is_tx and transaction_id is None else None,
    )


@st.composite
def local_limits(draw: st.DrawFn) -> LocalLimit:
    unit = draw(units)
    return LocalLimit(draw(rates(unit)), unit)


# Transaction 1 is the one to which profiles are bound most often; 2 and 3 are others.
transactions = st.builds(
    RunningTransaction,
    session_id=st.just("session") | st.just("another"),
    started_at=st.integers(-2000, 30).map(lambda offset: MOMENT + timedelta(seconds=offset, milliseconds=300)),
    transaction_id=st.none() | st.just(1) | st.integers(2, 3),
)
connector_facts = st.builds(
    ConnectorFacts,
    max_current=st.sampled_from([Decimal(16), Decimal(32), Decimal("20.05")]),
    phases=st.sampled_from([3, 3, 1, 2]),
    transaction=st.none() | transactions | transactions,
    local_limit=st.none() | st.none() | local_limits(),
)


@st.composite
def charge_points(draw: st.DrawFn) -> ChargePointFacts:
    connectors = draw(st.lists(connector_facts, min_size=1, max_size=4))
    installed = st.lists(
        profiles(len(connectors)),
        max_size=8,
        unique_by=lambda profile: (profile.purpose, profile.connector_id, profile.stack_level),  # the replace rule
    )
    return ChargePointFacts(
        connectors=connectors,
        profiles=draw(installed),
        local_limit=draw(st.none() | st.none() | local_limits()),
        supply_voltage=draw(st.sampled_from([Decimal(230), Decimal(120), Decimal("230.9")])),
        default_limit_amps=draw(st.none() | st.sampled_from([Decimal(0), Decimal(10), Decimal("20.5")])),
        default_number_phases=draw(st.sampled_from([3, 3, 1])),
    )


def borders(facts: ChargePointFacts, end: int) -> Iterator[int]:
    """Every moment at which something may change in [NOW, end)."""
    began = [NOW, *(seconds(c.transaction.started_at) for c in facts.connectors if c.transaction is not None)]
    for profile in facts.profiles:
        start = profile.schedule.start
        bases = [profile.received_at, *began] if start is None or profile.kind == "Relative" else [start]
        if profile.recurrency_kind is not None:
            every = DAY if profile.recurrency_kind == "Daily" else 7 * DAY
            bases = [base for first in bases for base in range(first, end, every)]
        offsets = [period.start for period in profile.schedule.periods]
        offsets += [] if profile.schedule.duration is None else [profile.schedule.duration]
        yield from (base + offset for base in bases for offset in offsets)
        yield from (moment for moment in (profile.valid_from, profile.valid_to) if moment is not None)


def value_at(schedule: CompositeSchedule, t: int) -> tuple[Decimal, int]:
    index = bisect_right(schedule.periods, t - schedule.start, key=lambda period: period.start) - 1
    return schedule.periods[index][1:]


@settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(facts=charge_points(), duration=st.one_of(st.integers(1, 1200), st.integers(1, 9 * DAY)), unit=units)
def test_each_limit_is_that_of_the_definition(
    facts: ChargePointFacts, duration: int, unit: ChargingRateUnitType
) -> None:
    composites = composite_schedules(facts, MOMENT, duration, unit)

    for composite in composites:
        assert_is_well_formed(composite)
    end = NOW + composites[0].duration
    near_borders = {border + beside for border in borders(facts, end) for beside in (-1, 0, 1)}
    for t in sorted({NOW, end - 1} | {t for t in near_borders if NOW <= t < end}):
        assert [value_at(composite, t) for composite in composites] == limits_at(facts, NOW, t, unit), t - NOW


def assert_is_well_formed(composite: CompositeSchedule) -> None:
    starts = [period.start for period in composite.periods]
    assert starts[0] == 0
    assert starts[-1] < composite.duration
    assert all(earlier < later for earlier, later in pairwise(starts))
    values: list[tuple[Any, ...]] = [period[1:] for period in composite.periods]
    assert all(earlier != later for earlier, later in pairwise(values))
    assert all(period.limit >= 0 and period.limit * 10 % 1 == 0 for period in composite.periods)
