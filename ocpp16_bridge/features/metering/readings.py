"""The latest readings of a meter, and the sampled values made of them (OCPP 1.6, 3.16 and 7.43; obligations 5.5)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self

from ocpp.v16.enums import Location, Measurand, Phase, ReadingContext, UnitOfMeasure, ValueFormat
from pydantic_core import core_schema

from ocpp16_bridge.timestamps import format_time, parse_time

REGISTER = str(Measurand.energy_active_import_register)
TOTAL = "total"  # what a phase object calls the value without phase
INTERVAL = ".Interval"  # the last word of a measurand that belongs to an interval, not to a moment (MV-05)
MAX_VALUE = 1e15  # of any unit: what is more is no reading
_PRECISION = 6  # digits after the point: what is finer is the noise of a program's floating point

# Without an entry the unit is left out: frequency, power factor and RPM have none (MV-18).
_UNITS: dict[str, str] = {}
for _measurand in Measurand:
    match _measurand.split("."):
        case ["Energy", "Active", *_]:
            _UNITS[_measurand] = UnitOfMeasure.wh
        case ["Energy", "Reactive", *_]:
            _UNITS[_measurand] = UnitOfMeasure.varh
        case ["Power", "Reactive", *_]:
            _UNITS[_measurand] = UnitOfMeasure.var
        case ["Power", "Active", *_] | ["Power", "Offered"]:
            _UNITS[_measurand] = UnitOfMeasure.w
        case ["Current", *_]:
            _UNITS[_measurand] = UnitOfMeasure.a
_UNITS[Measurand.voltage] = UnitOfMeasure.v
_UNITS[Measurand.soc] = UnitOfMeasure.percent
_UNITS[Measurand.temperature] = "Celcius"  # so spelt on the wire (MV-17)
_LOCATIONS = {Measurand.soc: Location.ev, Measurand.temperature: Location.body}  # MV-16

MEASURANDS = frozenset(map(str, Measurand))
PHASES = frozenset(map(str, Phase))
REGISTERS = frozenset(measurand for measurand in MEASURANDS if measurand.endswith(".Register"))
_CONTEXTS = {str(context): context for context in ReadingContext}

SampledValue = dict[str, Any]  # as OCPP has them: camelCase names
MeterValue = dict[str, Any]


@dataclass(frozen=True)
class Register:
    """A reading of the import register."""

    wh: int
    at: str  # RFC 3339


@dataclass(frozen=True, slots=True)
class SignedValue:
    """Signed meter data, passed through (MV-19)."""

    value: str
    context: ReadingContext | None  # None: that of the sample


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One message of a meter: `{"timestamp"?, "<Measurand>": number or {"<phase>": number, …}, "signed"?}`.

    It is read by hand: a hundred meters may speak each second.
    """

    moment: datetime | None
    values: dict[str, dict[str | None, float]]  # by measurand and phase
    signed: SignedValue | None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.read)

    @classmethod
    def read(cls, message: Any) -> Self:
        """Take what JSON said.

        Raises:
            ValueError: it makes no sense; nothing of it is worth keeping then (contract 4).

        """
        if not isinstance(message, dict):
            raise ValueError("must be a JSON object")  # noqa: TRY004 - what came is at fault
        moment = _moment(message.pop("timestamp", None))
        signed = _signed(message.pop("signed", None))
        values = {name: _phases(name, content) for name, content in message.items()}
        if not values and signed is None:
            raise ValueError("must hold a reading")
        return cls(moment, values, signed)


def _moment(timestamp: Any) -> datetime | None:
    if timestamp is None:
        return None
    if not isinstance(timestamp, str):
        raise ValueError("timestamp: must be a string")  # noqa: TRY004 - see above
    return parse_time(timestamp)


def _signed(content: Any) -> SignedValue | None:
    if content is None:
        return None
    value = content.get("value") if isinstance(content, dict) else None
    if not isinstance(value, str) or not value:
        raise ValueError("signed: must be an object with a text as value")
    context = content.get("context")
    if context is None:
        return SignedValue(value, None)
    if not isinstance(context, str) or context not in _CONTEXTS:
        raise ValueError("signed.context: must be a reading context of OCPP")
    return SignedValue(value, _CONTEXTS[context])


def _phases(name: str, content: Any) -> dict[str | None, float]:
    if name not in MEASURANDS:
        raise ValueError(f"{name[:40]!r} is no measurand of OCPP")
    if not isinstance(content, dict):
        return {None: _number(name, content)}
    if not content:
        raise ValueError(f"{name}: must have a phase")
    unknown = next((phase for phase in content if phase not in PHASES and phase != TOTAL), None)
    if unknown is not None:
        raise ValueError(f"{name}: {unknown[:40]!r} is no phase of OCPP")
    return {None if phase == TOTAL else phase: _number(name, value) for phase, value in content.items()}


def _number(name: str, value: Any) -> float:
    # The exact types: true is an int to Python. NaN is within no limits.
    if (type(value) is float or type(value) is int) and -MAX_VALUE <= value <= MAX_VALUE:
        return float(value)
    raise ValueError(f"{name}: must be a number from -1e15 to 1e15")


class Reading(NamedTuple):
    """One measurand as it was read last; a later one replaces all its phases."""

    phases: dict[str | None, float]
    at: datetime
    source: str  # the program that read it

    @property
    def total(self) -> float:
        """The value without phase; where there is none the sum of the phases."""
        total = self.phases.get(None)
        return round(math.fsum(self.phases.values()) if total is None else total, _PRECISION)


@dataclass
class Readings:
    """The last value of each measurand of one connector."""

    connector_id: int
    values: dict[str, Reading] = field(default_factory=dict)  # by measurand
    signed: dict[ReadingContext | None, tuple[SignedValue, str]] = field(default_factory=dict)  # with the source

    def register(self) -> tuple[int, datetime] | None:
        """The import register in whole Wh, rounded down (TX-03)."""
        reading = self.values.get(REGISTER)
        return None if reading is None else (math.floor(reading.total), reading.at)

    def drop(self, source: str) -> None:
        """What this program said is no longer known."""
        self.values = {key: reading for key, reading in self.values.items() if reading.source != source}
        self.signed = {context: entry for context, entry in self.signed.items() if entry[1] != source}

    def sample(self, items: Iterable[str], context: ReadingContext, *, counts_from: int = 0) -> list[SampledValue]:
        """The sampled values of the configured ``items``, measurands with or without phase (MV-07).

        ``counts_from`` Wh are taken off the import register.
        """
        return [
            _sampled(measurand, phase, value, context, self.connector_id)
            for measurand, phase, value in self._chosen(items, counts_from)
        ]

    def _chosen(self, items: Iterable[str], counts_from: int) -> Iterator[tuple[str, str | None, float]]:
        seen: set[tuple[str, str | None]] = set()  # a list may name a measurand, and one of its phases besides
        for item in items:
            measurand, _, only = (item, "", None) if item in MEASURANDS else item.rpartition(".")
            for phase, value in self._phases(measurand, counts_from):
                if only in (None, phase) and (measurand, phase) not in seen:
                    seen.add((measurand, phase))
                    yield measurand, phase, value

    def _phases(self, measurand: str, counts_from: int) -> Iterable[tuple[str | None, float]]:
        reading = self.values.get(measurand)
        if reading is None:
            return ()
        if counts_from and measurand == REGISTER:  # what share of it each phase has nobody knows: the total only
            return ((None, reading.total - counts_from),)
        return reading.phases.items()

    def sample_signed(self, context: ReadingContext, *, with_own_context: bool) -> list[SampledValue]:
        """What the meter has signed, of the import register; one with a context of its own says what that is of."""
        return [
            {
                "value": signed.value,
                "context": own_context or context,
                "format": ValueFormat.signed_data,
                "measurand": REGISTER,
            }
            for own_context, (signed, _) in self.signed.items()
            if own_context is None or with_own_context
        ]

    def forget_signed(self) -> None:
        """What bears a context of its own is said once."""
        self.signed = {context: entry for context, entry in self.signed.items() if context is None}


def _sampled(
    measurand: str, phase: str | None, value: float, context: ReadingContext, connector_id: int
) -> SampledValue:
    """A raw value with all that is known of it: the context is always written (MV-02), defaults are (MV-14)."""
    sampled: SampledValue = {
        "value": plain(value),
        "context": context,
        "format": ValueFormat.raw,
        "measurand": measurand,
        "location": Location.inlet if connector_id == 0 else _LOCATIONS.get(measurand, Location.outlet),
    }
    if phase is not None:
        sampled["phase"] = phase
    if measurand in _UNITS:
        sampled["unit"] = _UNITS[measurand]
    return sampled


def plain(value: float) -> str:
    """A number without exponent and without needless zeros (MV-13)."""
    text = format(Decimal(repr(round(value, _PRECISION))).normalize(), "f")
    return "0" if text == "-0" else text


def meter_value(moment: datetime, sampled: list[SampledValue]) -> MeterValue:
    """One MeterValue: all its values share one timestamp (MV-08)."""
    return {"timestamp": format_time(moment), "sampledValue": sampled}


def divided(moment: datetime, began: datetime, sampled: list[SampledValue]) -> list[MeterValue]:
    """What belongs to the interval bears its start, the rest the moment (MV-05)."""
    of_interval = [value for value in sampled if value["measurand"].endswith(INTERVAL)]
    of_moment = [value for value in sampled if not value["measurand"].endswith(INTERVAL)]
    return [meter_value(at, values) for at, values in ((began, of_interval), (moment, of_moment)) if values]
