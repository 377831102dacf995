"""The limits at one instant, by looking at every profile: the definition (obligations 8.3), plain and slow.

It shares no code with the package but the classes of what is given.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from ocpp16_bridge.features.smart_charging.composite_schedule import ChargePointFacts, ConnectorFacts, LocalLimit
from ocpp16_bridge.features.smart_charging.profile import ChargingProfile, Period

DAY = 86_400
AmpsAndPhases = tuple[Fraction, int]


def seconds(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp())


def base_at(profile: ChargingProfile, t: int, began: int) -> int | None:
    """The start of the schedule that runs at ``t``; ``began``: the transaction, or the receipt of a Max profile."""
    start = profile.schedule.start
    if profile.kind == "Relative" or start is None:
        return began
    if profile.kind == "Absolute":
        return start
    every = DAY if profile.recurrency_kind == "Daily" else 7 * DAY
    return None if t < start else t - (t - start) % every


def period_at(profile: ChargingProfile, t: int, began: int) -> Period | None:
    base = base_at(profile, t, began)
    if base is None or t < base:
        return None
    if profile.valid_from is not None and t < profile.valid_from:
        return None
    if profile.valid_to is not None and t >= profile.valid_to:
        return None
    if profile.schedule.duration is not None and t >= base + profile.schedule.duration:
        return None
    begun = [period for period in profile.schedule.periods if base + period.start <= t]
    return max(begun, key=lambda period: period.start)


def pick(
    facts: ChargePointFacts, t: int, began: int, counts: Callable[[ChargingProfile], bool]
) -> AmpsAndPhases | None:
    found: AmpsAndPhases | None = None
    level = -1
    for profile in facts.profiles:
        period = period_at(profile, t, min(began, profile.received_at) if is_max(profile) else began)
        if counts(profile) and period is not None and profile.stack_level > level:
            level = profile.stack_level
            phases = period.number_phases or facts.default_number_phases
            found = amps(facts, period.limit, profile.schedule.unit, phases), phases
    return found


def is_max(profile: ChargingProfile) -> bool:
    return bool(profile.purpose == "ChargePointMaxProfile")


def amps(facts: ChargePointFacts, limit: Decimal, unit: str, phases: int) -> Fraction:
    return Fraction(limit) if unit == "A" else Fraction(limit) / Fraction(facts.supply_voltage) / phases


def use(facts: ChargePointFacts, moment: int, t: int, number: int) -> AmpsAndPhases:
    connector = facts.connectors[number - 1]
    transaction = connector.transaction
    began = min(seconds(transaction.started_at), moment) if transaction else moment

    def is_for_the_transaction(profile: ChargingProfile) -> bool:
        if transaction is None or profile.purpose != "TxProfile" or profile.connector_id != number:
            return False
        if profile.session_id is not None:
            return profile.session_id == transaction.session_id
        return profile.transaction_id is not None and profile.transaction_id == transaction.transaction_id

    def is_default(place: int) -> Callable[[ChargingProfile], bool]:
        return lambda profile: profile.purpose == "TxDefaultProfile" and profile.connector_id == place

    for counts in (is_for_the_transaction, is_default(number), is_default(0)):
        found = pick(facts, t, began, counts)
        if found is not None:
            return found
    default = connector.max_current if facts.default_limit_amps is None else facts.default_limit_amps
    return Fraction(default), facts.default_number_phases


def local(facts: ChargePointFacts, limit: LocalLimit | None, phases: int) -> list[AmpsAndPhases]:
    return [] if limit is None else [(amps(facts, limit.limit, limit.unit, phases), phases)]


def cap_at(facts: ChargePointFacts, moment: int, t: int) -> AmpsAndPhases | None:
    found = pick(facts, t, moment, is_max)
    limits = local(facts, facts.local_limit, max(connector.phases for connector in facts.connectors))
    limits += [] if found is None else [found]
    return meet(limits) if limits else None


def meet(limits: list[AmpsAndPhases]) -> AmpsAndPhases:
    return min(limit for limit, _ in limits), min(phases for _, phases in limits)


def limits_at(facts: ChargePointFacts, moment: int, t: int, unit: str) -> list[tuple[Decimal, int]]:
    """Of the whole charge point, then of each connector, in ``unit``."""
    cap = cap_at(facts, moment, t)
    limits = []
    for number, connector in enumerate(facts.connectors, 1):
        given = [use(facts, moment, t, number), (Fraction(connector.max_current), connector.phases)]
        given += local(facts, connector.local_limit, connector.phases)
        given += [] if cap is None else [cap]
        limits.append(meet(given))
    if cap is not None:
        share_out(facts.connectors, cap[0], limits)

    factor = Fraction(facts.supply_voltage) if unit == "W" else None
    each = [amps if factor is None else amps * phases * factor for amps, phases in limits]
    most_phases = max(phases for _, phases in limits)
    total = sum(each, Fraction(0))
    if cap is not None:
        total = min(total, cap[0] if factor is None else cap[0] * most_phases * factor)
    phases_of_all = [most_phases, *(phases for _, phases in limits)]
    return [(rounded_down(rate), phases) for rate, phases in zip([total, *each], phases_of_all, strict=True)]


def share_out(connectors: Sequence[ConnectorFacts], total: Fraction, limits: list[AmpsAndPhases]) -> None:
    running = [index for index, connector in enumerate(connectors) if connector.transaction is not None]
    running.sort(key=lambda index: (connectors[index].transaction.started_at, index))  # type: ignore[union-attr]  # running
    if len(running) > 1:
        parts = fair_shares(total, [limits[index][0] for index in running])
        for index, part in zip(running, parts, strict=True):
            limits[index] = part, limits[index][1]


def fair_shares(total: Fraction, wants: list[Fraction]) -> list[Fraction]:
    """Pour equal parts; while anyone who is to charge gets less than 6 A, the one who came last goes without."""
    if sum(wants) <= total:
        return wants
    charging = [want >= 6 for want in wants]
    while True:
        parts = poured(
            total, [want if takes_part else Fraction(0) for want, takes_part in zip(wants, charging, strict=True)]
        )
        starved = [index for index, part in enumerate(parts) if charging[index] and part < 6]
        if not starved:
            return parts
        charging[starved[-1]] = False


def poured(total: Fraction, wants: list[Fraction]) -> list[Fraction]:
    parts = [Fraction(0)] * len(wants)
    while total > 0 and (thirsty := [index for index, want in enumerate(wants) if parts[index] < want]):
        drop = min(total / len(thirsty), *(wants[index] - parts[index] for index in thirsty))
        for index in thirsty:
            parts[index] += drop
        total -= drop * len(thirsty)
    return parts


def rounded_down(rate: Fraction) -> Decimal:
    return Decimal(rate.numerator * 10 // rate.denominator) / 10
