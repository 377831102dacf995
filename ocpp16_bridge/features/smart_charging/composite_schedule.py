"""Composite schedules: what all charging profiles and limits together allow (OCPP 1.6, 3.13 and 5.7; obligations 8.3).

Inside, each limit is a current per phase and a number of phases. Of several limits that hold at once the least current
and the fewest phases count. Currents are integers in a unit so small that every limit in A or W and every share is a
whole number of it: everything is exact, and only the result is rounded.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    RecurrencyKind,
)

from ocpp16_bridge.features.smart_charging.course import Course, Gaps, changed, combined
from ocpp16_bridge.features.smart_charging.profile import MOST_PHASES, ChargingProfile, Period, moment_of, unix_time
from ocpp16_bridge.features.smart_charging.shares import shares
from ocpp16_bridge.timestamps import format_time

HORIZON = 7 * 86_400  # s; the longest window: each recurrence has come round (SC-08)
LOOK_AHEAD = 86_400  # s; how far the next change of a limit is looked for

_RECURRENCE = {RecurrencyKind.daily: 86_400, RecurrencyKind.weekly: 7 * 86_400}  # s
_MAX = ChargingProfilePurposeType.charge_point_max_profile
_DEFAULT = ChargingProfilePurposeType.tx_default_profile
_TX = ChargingProfilePurposeType.tx_profile


# --- what is given ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunningTransaction:
    session_id: str
    started_at: datetime
    transaction_id: int | None = None  # None: the CSMS has not given one yet


@dataclass(frozen=True)
class LocalLimit:
    limit: Decimal
    unit: ChargingRateUnitType


@dataclass(frozen=True)
class ConnectorFacts:
    max_current: Decimal  # A per phase
    phases: int
    transaction: RunningTransaction | None = None
    local_limit: LocalLimit | None = None


@dataclass(frozen=True)
class ChargePointFacts:
    """Everything that a limit depends on, besides the moment."""

    connectors: Sequence[ConnectorFacts]  # connector n is item n - 1
    profiles: Iterable[ChargingProfile] = ()
    local_limit: LocalLimit | None = None  # of all connectors together
    supply_voltage: Decimal = Decimal(230)  # V, nominal
    default_limit_amps: Decimal | None = None  # per phase, where no profile applies; None: the connector's max_current
    default_number_phases: int = 3  # where a period has none (errata 7.12), or no profile applies


# --- what comes out ---------------------------------------------------------------------------------------------------


class CurrentLimit(NamedTuple):
    limit: Decimal
    unit: ChargingRateUnitType
    number_phases: int
    until: datetime | None  # the next change; None: none within the window


class LimitPeriod(NamedTuple):
    start: int  # s from the start of the window
    limit: Decimal  # at most one fraction digit
    number_phases: int


@dataclass(frozen=True)
class CompositeSchedule:
    """The limits of one connector, or of the whole charge point, over a window. There is at least one period."""

    start: int  # Unix time
    duration: int  # s
    unit: ChargingRateUnitType
    periods: tuple[LimitPeriod, ...]

    def cut(self, most: int) -> "CompositeSchedule":
        """The first ``most`` periods; the duration ends with the last of them (SC-06)."""
        if len(self.periods) <= most:
            return self
        return replace(self, periods=self.periods[:most], duration=self.periods[most].start)

    def answer(self, max_periods: int) -> dict[str, Any]:
        """The chargingSchedule of GetCompositeSchedule.conf, which has no startSchedule (SC-01)."""
        schedule = self.cut(max_periods)
        return {
            "duration": schedule.duration,
            "chargingRateUnit": schedule.unit,
            "chargingSchedulePeriod": [
                {"startPeriod": start, "limit": limit, "numberPhases": number_phases}
                for start, limit, number_phases in schedule.periods
            ],
        }

    def variable(self, max_periods: int) -> dict[str, Any]:
        """A value of the topic `charging_schedules` (contract 2)."""
        answer = self.answer(max_periods)
        return {"duration": answer.pop("duration"), "startSchedule": format_time(moment_of(self.start)), **answer}

    def current_limit(self) -> CurrentLimit:
        """What holds at the start of the window."""
        (_, limit, number_phases), *later = self.periods
        until = moment_of(self.start + later[0].start) if later else None
        return CurrentLimit(limit, self.unit, number_phases, until)


def composite_schedules(
    facts: ChargePointFacts, moment: datetime, duration: int, unit: ChargingRateUnitType
) -> list[CompositeSchedule]:
    """The schedule of the whole charge point, then that of each connector, in the order of their ids.

    Args:
        facts: what the limits depend on.
        moment: where the window starts; a fraction of a second is cut off.
        duration: of the window, in s, above 0. Only `HORIZON` is computed of a longer one.
        unit: A per phase, or W of all phases together.

    """
    start, duration = unix_time(moment), min(duration, HORIZON)
    courses = _Calculation(facts, start, start + duration).courses(unit)
    return [CompositeSchedule(start, duration, unit, _periods(course, start)) for course in courses]


def current_limits(facts: ChargePointFacts, moment: datetime, unit: ChargingRateUnitType) -> list[CurrentLimit]:
    """What holds now at each connector, in the order of their ids, and until when: `LOOK_AHEAD` is looked at.

    Where no transaction runs, what would begin with one stays at its beginning: time alone does not change it.
    """
    start = unix_time(moment)
    _, *courses = _Calculation(facts, start, start + LOOK_AHEAD, idle_stand_still=True).courses(unit)
    return [CompositeSchedule(start, LOOK_AHEAD, unit, _periods(course, start)).current_limit() for course in courses]


def _periods(course: Course[tuple[int, int]], start: int) -> tuple[LimitPeriod, ...]:
    """Of limits in tenths of A or W."""
    return tuple(LimitPeriod(moment - start, Decimal(tenths).scaleb(-1), phases) for moment, (tenths, phases) in course)


# --- in between -------------------------------------------------------------------------------------------------------


class _Limit(NamedTuple):
    current: int  # per phase, in the unit of the calculation
    phases: int


def _least(limits: Sequence[_Limit]) -> _Limit:
    """What keeps all of the limits."""
    return _Limit(min([limit.current for limit in limits]), min([limit.phases for limit in limits]))


class _Calculation:
    """The limits of all connectors from ``start`` to ``end``, both in Unix time."""

    def __init__(self, facts: ChargePointFacts, start: int, end: int, *, idle_stand_still: bool = False) -> None:
        self._facts = facts
        self._idle_stand_still = idle_stand_still
        self._start = start
        self._end = end
        self._volts, self._volts_below = facts.supply_voltage.as_integer_ratio()
        self._ampere = _ampere(facts)
        self._no_limit = _Limit(10**12 * self._ampere, MOST_PHASES)  # beyond any hardware
        self._profiles = _by_place(facts.profiles)
        self._limits: dict[tuple[Decimal, ChargingRateUnitType, int | None], _Limit] = {}

    def courses(self, unit: ChargingRateUnitType) -> list[Course[tuple[int, int]]]:
        """In tenths of ``unit``, with the number of phases: of all together, then of each connector."""
        is_power = unit is ChargingRateUnitType.watts
        times = 10 * self._volts if is_power else 10
        divisor = self._ampere * self._volts_below if is_power else self._ampere

        def rounded(current: int) -> int:
            """Down, to one fraction digit (SC-05); ``current`` is that of all phases where W are wanted."""
            return current * times // divisor

        def of_one(limit: _Limit) -> tuple[int, int]:
            return rounded(limit.current * limit.phases if is_power else limit.current), limit.phases

        def of_all(limits: list[_Limit]) -> tuple[int, int]:
            """The sum of the connectors and the largest number of phases, as far as the cap allows (SC-04)."""
            *own, cap = limits
            phases = max([limit.phases for limit in own])
            if is_power:
                return rounded(min(sum([limit.current * limit.phases for limit in own]), cap.current * phases)), phases
            return rounded(min(sum([limit.current for limit in own]), cap.current)), phases

        cap = self._cap()
        connectors = self._connectors(cap)
        return [combined([*connectors, cap], of_all), *(changed(course, of_one) for course in connectors)]

    def _cap(self) -> Course[_Limit]:
        """What all connectors together may draw."""
        most_phases = max(connector.phases for connector in self._facts.connectors)
        local_limit = self._local_limit(self._facts.local_limit, most_phases)
        profiles = ((profile, self._base(profile, self._start)) for profile in self._profiles[_MAX, 0])
        course = self._filled(profiles, otherwise=self._no_limit)
        return changed(course, lambda limit: _least((limit, local_limit)))

    def _connectors(self, cap: Course[_Limit]) -> list[Course[_Limit]]:
        """The limits of each connector; those with a transaction share the cap, the earliest first."""
        courses = [self._alone(connector_id, cap) for connector_id in range(1, len(self._facts.connectors) + 1)]
        sharing = [
            index
            for _, index in sorted(
                (connector.transaction.started_at, index)
                for index, connector in enumerate(self._facts.connectors)
                if connector.transaction
            )
        ]
        together = combined([*(courses[index] for index in sharing), cap], self._share)
        for place, index in enumerate(sharing):
            courses[index] = _part(together, place)
        return courses

    def _alone(self, connector_id: int, cap: Course[_Limit]) -> Course[_Limit]:
        """The limits of a connector as if it were the only one."""
        connector = self._facts.connectors[connector_id - 1]
        hardware = _Limit(self._exact(connector.max_current), connector.phases)
        local_limit = self._local_limit(connector.local_limit, connector.phases)
        amps = self._facts.default_limit_amps
        default = _Limit(hardware.current if amps is None else self._exact(amps), self._facts.default_number_phases)
        course = self._filled(self._applicable(connector_id), default)
        return combined([course, cap], lambda limits: _least((hardware, local_limit, *limits)))

    def _applicable(self, connector_id: int) -> Iterator[tuple[ChargingProfile, int]]:
        """The profiles for transactions on a connector with the start of their schedules, the first that counts first.

        Without a transaction they are used as if one began now (SC-07).
        """
        transaction = self._facts.connectors[connector_id - 1].transaction
        began = self._start if transaction is None else unix_time(transaction.started_at)
        stands_still = transaction is None and self._idle_stand_still
        for profile in self._profiles[_TX, connector_id]:
            if transaction is not None and _is_bound(profile, transaction):
                yield profile, self._base(profile, began)
        for place in (connector_id, 0):
            for profile in self._profiles[_DEFAULT, place]:
                yield _at_its_beginning(profile) if stands_still else profile, self._base(profile, began)

    def _base(self, profile: ChargingProfile, began: int) -> int:
        """The moment to which startPeriod 0 refers; ``began`` is the start of the transaction.

        What is there has begun, even where the clock was set back since.
        """
        if profile.schedule.start is not None and profile.kind is not ChargingProfileKindType.relative:
            return profile.schedule.start
        return min(self._start, profile.received_at if profile.purpose is _MAX else began)

    def _filled(self, profiles: Iterable[tuple[ChargingProfile, int]], otherwise: _Limit) -> Course[_Limit]:
        """The limits of those ``profiles`` that count, and ``otherwise`` where none has a period.

        Each one is only looked at in the gaps that those before it leave, so hidden ones cost nothing.
        """
        gaps = Gaps(self._start, self._end)
        course: Course[_Limit] = []
        for profile, base in profiles:
            for run, start, end in _runs(profile, base, gaps):
                for opening, closing in gaps.close(start, end):
                    course += self._limits_of(profile, run, opening, closing)
            if not gaps:
                break
        course += [(opening, otherwise) for opening, _ in gaps.close(self._start, self._end)]
        course.sort(key=itemgetter(0))
        return course

    def _limits_of(self, profile: ChargingProfile, base: int, start: int, end: int) -> Iterator[tuple[int, _Limit]]:
        """The limits of a profile from ``start`` to ``end``, all of which it covers."""
        periods = profile.schedule.periods
        current = bisect_right(periods, start - base, key=attrgetter("start")) - 1
        while start < end:
            yield start, self._limit(periods[current], profile.schedule.unit)
            current += 1
            start = base + periods[current].start if current < len(periods) else end

    def _limit(self, period: Period, unit: ChargingRateUnitType) -> _Limit:
        key = (period.limit, unit, period.number_phases)
        if key not in self._limits:
            phases = self._facts.default_number_phases if period.number_phases is None else period.number_phases
            self._limits[key] = self._converted(period.limit, unit, phases)
        return self._limits[key]

    def _local_limit(self, local_limit: LocalLimit | None, phases: int) -> _Limit:
        """``phases`` are as many as there are: W are then kept however many are used."""
        return self._no_limit if local_limit is None else self._converted(local_limit.limit, local_limit.unit, phases)

    def _converted(self, limit: Decimal, unit: ChargingRateUnitType, phases: int) -> _Limit:
        """W are those of all ``phases``; where fewer can be used, each gets no more (errata 5.16)."""
        if unit is ChargingRateUnitType.amps:
            return _Limit(self._exact(limit), phases)
        return _Limit(self._exact(limit * self._volts_below) // (self._volts * phases), phases)

    def _exact(self, amps: Decimal) -> int:
        numerator, denominator = amps.as_integer_ratio()
        return numerator * self._ampere // denominator

    def _share(self, limits: list[_Limit]) -> list[_Limit]:
        """What each of the connectors gets; the last of ``limits`` is what all of them may draw."""
        *own, cap = limits
        parts = shares(cap.current, [limit.current for limit in own], self._ampere)
        return [_Limit(part, limit.phases) for part, limit in zip(parts, own, strict=True)]


def _ampere(facts: ChargePointFacts) -> int:
    """How many units of the calculation are 1 A."""
    given = [facts.default_limit_amps, *(connector.max_current for connector in facts.connectors)]
    local_limits = [facts.local_limit, *(connector.local_limit for connector in facts.connectors)]
    given += [local.limit for local in local_limits if local is not None]
    fractions = math.lcm(10, *(number.as_integer_ratio()[1] for number in given if number is not None))
    running = sum(connector.transaction is not None for connector in facts.connectors)
    parts = math.lcm(*range(1, running + 1))  # into which shares may divide it
    volts, _ = facts.supply_voltage.as_integer_ratio()
    return fractions * parts * volts * math.lcm(*range(1, MOST_PHASES + 1))


def _by_place(
    profiles: Iterable[ChargingProfile],
) -> defaultdict[tuple[ChargingProfilePurposeType, int], list[ChargingProfile]]:
    """By purpose and connector, the highest stack level first."""
    places = defaultdict(list)
    for profile in sorted(profiles, key=attrgetter("stack_level"), reverse=True):
        places[profile.purpose, profile.connector_id].append(profile)
    return places


def _is_bound(profile: ChargingProfile, transaction: RunningTransaction) -> bool:
    if profile.session_id is not None:
        return profile.session_id == transaction.session_id
    return profile.transaction_id is not None and profile.transaction_id == transaction.transaction_id


def _at_its_beginning(profile: ChargingProfile) -> ChargingProfile:
    """Its first period for ever, where its schedule begins with a transaction."""
    if profile.schedule.start is not None:
        return profile
    return replace(profile, schedule=replace(profile.schedule, periods=profile.schedule.periods[:1], duration=None))


def _runs(profile: ChargingProfile, base: int, gaps: Gaps) -> Iterator[tuple[int, int, int]]:
    """Each run of a profile's schedule that may meet a gap: its base, and from when to when it has periods."""
    start = max(gaps.start, base) if profile.valid_from is None else max(gaps.start, base, profile.valid_from)
    end = gaps.end if profile.valid_to is None else min(gaps.end, profile.valid_to)
    duration = profile.schedule.duration
    if profile.recurrency_kind is None:
        runs, length = range(base, base + 1), end - base if duration is None else duration
    else:  # nothing before the first start, nor beyond the recurrence (errata 5.16.4)
        every = _RECURRENCE[profile.recurrency_kind]
        runs = range(start - (start - base) % every, end, every)
        length = every if duration is None else min(duration, every)
    for run in runs:
        if (opening := max(start, run)) < (closing := min(end, run + length)):
            yield run, opening, closing


def _part(together: Course[list[_Limit]], place: int) -> Course[_Limit]:
    return changed(together, lambda limits: limits[place])
