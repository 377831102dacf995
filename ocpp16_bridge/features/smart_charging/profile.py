"""A charging profile, and what is wrong with one (OCPP 1.6, 7.8 and 7.13; obligations 8.3).

Moments are whole seconds of Unix time: days have 86,400 s there, so a recurrence knows no daylight saving time.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    RecurrencyKind,
)

from ocpp16_bridge.timestamps import parse_time

MOST_PHASES = 3
_LARGEST_INTEGER = 2**63 - 1
_LARGEST_LIMIT = 10**9  # A or W
_TENTH = Decimal("0.1")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_UNIT_TOKENS = {ChargingRateUnitType.amps: "Current", ChargingRateUnitType.watts: "Power"}


@dataclass(frozen=True)
class Period:
    """A limit from a moment on until the next period."""

    start: int  # s from the start of the schedule
    limit: Decimal  # A per phase, or W of all phases together
    number_phases: int | None = None


@dataclass(frozen=True)
class Schedule:
    unit: ChargingRateUnitType
    periods: tuple[Period, ...]
    duration: int | None = None  # s; None: without end
    start: int | None = None  # Unix time; None: when the transaction began, or the profile was received
    min_charging_rate: Decimal | None = None  # in ``unit``; a hint


@dataclass(frozen=True)
class ChargingProfile:
    """A profile as installed on a connector; 0 is the whole charge point, or all connectors."""

    id: int
    connector_id: int
    stack_level: int
    purpose: ChargingProfilePurposeType
    kind: ChargingProfileKindType
    schedule: Schedule
    received_at: int  # Unix time
    recurrency_kind: RecurrencyKind | None = None
    valid_from: int | None = None  # Unix time
    valid_to: int | None = None  # Unix time; not valid any more
    transaction_id: int | None = None  # as the CSMS gave it; only with a TxProfile
    session_id: str | None = None  # of the transaction to which a TxProfile is bound


@dataclass(frozen=True)
class Bounds:
    """What the configuration keys allow."""

    max_stack_level: int  # ChargeProfileMaxStackLevel
    max_periods: int  # ChargingScheduleMaxPeriods
    allowed_units: Collection[str]  # ChargingScheduleAllowedChargingRateUnit: Current, Power


def unix_time(moment: datetime) -> int:
    """Seconds since 1970; a fraction is cut off (8.3: boundaries are whole seconds)."""
    return (moment - _EPOCH) // _SECOND


def moment_of(seconds: int) -> datetime:
    return _EPOCH + seconds * _SECOND


def read_profile(
    payload: dict[str, Any], *, connector_id: int, received_at: datetime, session_id: str | None = None
) -> ChargingProfile:
    """The profile that ``payload`` describes, which fits the schema of csChargingProfiles.

    What has no meaning for its kind is left out: recurrencyKind unless Recurring, startSchedule where Relative.
    """
    kind = ChargingProfileKindType(payload["chargingProfileKind"])
    recurrency_kind = payload.get("recurrencyKind") if kind is ChargingProfileKindType.recurring else None
    return ChargingProfile(
        id=payload["chargingProfileId"],
        connector_id=connector_id,
        stack_level=payload["stackLevel"],
        purpose=ChargingProfilePurposeType(payload["chargingProfilePurpose"]),
        kind=kind,
        schedule=_read_schedule(payload["chargingSchedule"], kind),
        received_at=unix_time(received_at),
        recurrency_kind=None if recurrency_kind is None else RecurrencyKind(recurrency_kind),
        valid_from=_read_time(payload.get("validFrom")),
        valid_to=_read_time(payload.get("validTo")),
        transaction_id=payload.get("transactionId"),
        session_id=session_id,
    )


def _read_schedule(payload: dict[str, Any], kind: ChargingProfileKindType) -> Schedule:
    has_start = kind is not ChargingProfileKindType.relative
    min_charging_rate = payload.get("minChargingRate")
    return Schedule(
        unit=ChargingRateUnitType(payload["chargingRateUnit"]),
        periods=tuple(
            Period(period["startPeriod"], _exact(period["limit"]), period.get("numberPhases"))
            for period in payload["chargingSchedulePeriod"]
        ),
        duration=payload.get("duration"),
        start=_read_time(payload.get("startSchedule")) if has_start else None,
        min_charging_rate=None if min_charging_rate is None else _exact(min_charging_rate),
    )


def _read_time(text: str | None) -> int | None:
    return None if text is None else unix_time(parse_time(text))


def _exact(number: float | Decimal) -> Decimal:
    """As it was written: 8.1 is a multiple of 0.1 (GD-07)."""
    return Decimal(str(number)) if isinstance(number, float) else Decimal(number)


def problems_of(profile: ChargingProfile, bounds: Bounds) -> str | None:
    """Why the profile is to be rejected, as far as itself and the bounds tell; None where nothing is wrong."""
    return "; ".join((*_problems_of_profile(profile, bounds), *_problems_of_schedule(profile.schedule, bounds))) or None


def _problems_of_profile(profile: ChargingProfile, bounds: Bounds) -> Iterator[str]:
    if not _is_integer(profile.id):
        yield "chargingProfileId: an integer of more than 64 bits"
    if not 0 <= profile.stack_level <= bounds.max_stack_level:
        yield f"stackLevel {_short(profile.stack_level)}: expected 0 to {bounds.max_stack_level}"
    yield from _problems_of_purpose(profile)
    yield from _problems_of_kind(profile)
    if profile.valid_from is not None and profile.valid_to is not None and profile.valid_to <= profile.valid_from:
        yield "validTo is not after validFrom"


def _problems_of_purpose(profile: ChargingProfile) -> Iterator[str]:
    is_tx_profile = profile.purpose is ChargingProfilePurposeType.tx_profile
    if profile.purpose is ChargingProfilePurposeType.charge_point_max_profile and profile.connector_id != 0:
        yield f"ChargePointMaxProfile on connector {profile.connector_id}: expected connector 0"  # 3.13.1
    if is_tx_profile and profile.connector_id == 0:
        yield "TxProfile on connector 0: expected a connector with a transaction"  # 3.13.1
    if profile.transaction_id is not None:
        if not is_tx_profile:
            yield f"transactionId in a {profile.purpose}: it belongs to a TxProfile"  # 7.8
        elif not _is_integer(profile.transaction_id):
            yield "transactionId: an integer of more than 64 bits"


def _problems_of_kind(profile: ChargingProfile) -> Iterator[str]:
    is_max_profile = profile.purpose is ChargingProfilePurposeType.charge_point_max_profile
    match profile.kind:
        case ChargingProfileKindType.relative if is_max_profile:
            yield "Relative in a ChargePointMaxProfile, which has no transaction to begin with"
        case ChargingProfileKindType.recurring:
            if profile.recurrency_kind is None:
                yield "Recurring without recurrencyKind"
            if profile.schedule.start is None:
                yield "Recurring without startSchedule"


def _problems_of_schedule(schedule: Schedule, bounds: Bounds) -> Iterator[str]:
    if (token := _UNIT_TOKENS[schedule.unit]) not in bounds.allowed_units:
        yield f"chargingRateUnit {schedule.unit}: {token} is not allowed"
    if schedule.duration is not None and not 0 < schedule.duration <= _LARGEST_INTEGER:
        yield f"duration {_short(schedule.duration)}: expected a positive integer of 64 bits"
    if schedule.min_charging_rate is not None and (problem := _problem_of_rate(schedule.min_charging_rate)):
        yield f"minChargingRate {problem}"
    yield from _problems_of_periods(schedule.periods, bounds.max_periods)


def _problems_of_periods(periods: tuple[Period, ...], max_periods: int) -> Iterator[str]:
    """At most one of each kind."""
    if not periods:
        yield "chargingSchedulePeriod is empty"
        return
    if len(periods) > max_periods:
        yield f"{len(periods)} periods: expected at most {max_periods}"
    if periods[0].start != 0:
        yield f"first startPeriod {_short(periods[0].start)}: expected 0"
    if any(later.start <= earlier.start for earlier, later in pairwise(periods)):
        yield "startPeriod does not rise from each period to the next"
    if not _is_integer(periods[-1].start):
        yield "startPeriod: an integer of more than 64 bits"
    if problem := next(filter(None, (_problem_of_rate(period.limit) for period in periods)), None):
        yield f"limit {problem}"
    phases = (period.number_phases for period in periods if period.number_phases is not None)
    if unusable := [number for number in phases if not 1 <= number <= MOST_PHASES]:
        yield f"numberPhases {_short(unusable[0])}: expected 1 to {MOST_PHASES}"


def _problem_of_rate(rate: Decimal) -> str | None:
    if not (rate.is_finite() and 0 <= rate <= _LARGEST_LIMIT):
        return f"{_short(rate)}: expected a number from 0 to {_LARGEST_LIMIT}"
    if rate.normalize().as_tuple().exponent < _TENTH.as_tuple().exponent:  # type: ignore[operator]  # it is finite
        return f"{_short(rate)}: expected at most one fraction digit"  # GD-07
    return None


def _is_integer(number: int) -> bool:
    return -_LARGEST_INTEGER <= number <= _LARGEST_INTEGER


def _short(number: int | Decimal) -> str:
    """For a text; an integer of thousands of digits has no decimal form in Python."""
    if isinstance(number, int) and not _is_integer(number):
        return "of more than 64 bits"
    return str(number)[:30]
