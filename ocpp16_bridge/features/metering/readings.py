"""The latest readings of a meter, and the sampled values made of them (OCPP 1.6, 3.16 and 7.43; obligations 5.5)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from ocpp.v16.enums import Location, Measurand, Phase, ReadingContext, UnitOfMeasure, ValueFormat
from pydantic import Field, model_validator

from ocpp16_bridge.mqtt.model import Fact
from ocpp16_bridge.timestamps import format_time, parse_time

REGISTER = Measurand.energy_active_import_register
TOTAL = "total"  # what a phase object calls the value without phase

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

_MEASURANDS = frozenset(map(str, Measurand))
_PHASES = frozenset(map(str, Phase))


@dataclass(frozen=True)
class Register:
    """A reading of the import register."""

    wh: int
    at: str  # RFC 3339


class SignedValue(Fact):
    """Signed meter data, passed through (MV-19)."""

    value: Annotated[str, Field(min_length=1)]
    context: Annotated[ReadingContext | None, Field(strict=False)] = None


class MeterReading(Fact):
    """One message of a meter: `{"timestamp"?, "<Measurand>": number or {"<phase>": number, …}, "signed"?}`."""

    moment: datetime | None = None
    values: dict[tuple[str, str | None], float]  # by measurand and phase
    signed: SignedValue | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, message: Any) -> Any:
        if not isinstance(message, dict):
            raise ValueError("must be a JSON object")  # noqa: TRY004 - pydantic reports it
        timestamp = message.get("timestamp")
        if timestamp is not None and not isinstance(timestamp, str):
            raise ValueError("timestamp: must be a string")
        return {
            "moment": None if timestamp is None else parse_time(timestamp),
            "values": {
                key: value
                for name, content in message.items()
                if name not in ("timestamp", "signed")
                for key, value in _values(name, content)
            },
            "signed": message.get("signed"),
        }


def _values(name: str, content: Any) -> Iterator[tuple[tuple[str, str | None], float]]:
    if name not in _MEASURANDS:
        raise ValueError(f"{name[:40]}: is no measurand of OCPP")
    phases = content if isinstance(content, dict) else {TOTAL: content}
    for phase, value in phases.items():
        if phase != TOTAL and phase not in _PHASES:
            raise ValueError(f"{name}.{phase[:10]}: is no phase of OCPP")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name}: must be a number")
        yield (name, None if phase == TOTAL else phase), float(value)


@dataclass
class Readings:
    """The last value of each measurand and phase of one connector, and when it was read."""

    connector_id: int
    values: dict[tuple[str, str | None], tuple[float, datetime]] = field(default_factory=dict)
    signed: SignedValue | None = None
    read_at: datetime | None = None  # any of them
    sources: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def register(self) -> tuple[int, datetime] | None:
        """The import register in whole Wh, rounded down (TX-03); without a total the sum of its phases."""
        total = self.values.get((REGISTER, None))
        if total is not None:
            return math.floor(total[0]), total[1]
        phases = [entry for (measurand, _), entry in self.values.items() if measurand == REGISTER]
        if not phases:
            return None
        return math.floor(sum(value for value, _ in phases)), max(at for _, at in phases)

    def sample(
        self, items: Iterable[str], context: ReadingContext, *, counts_from: int = 0, signed: bool = False
    ) -> list[dict[str, Any]]:
        """The sampled values of the configured ``items``, measurands with or without phase (MV-07).

        ``counts_from`` Wh are taken off the import register.
        """
        values = [
            _sampled(
                measurand, phase, value - (counts_from if measurand == REGISTER else 0), context, self.connector_id
            )
            for item in items
            for (measurand, phase), (value, _) in self.values.items()
            if item in (measurand, f"{measurand}.{phase}")
        ]
        if signed and self.signed is not None:
            values.append(
                {
                    "value": self.signed.value,
                    "context": self.signed.context or context,
                    "format": ValueFormat.signed_data,
                    "measurand": REGISTER,
                }
            )
        return values


def _sampled(
    measurand: str, phase: str | None, value: float, context: ReadingContext, connector_id: int
) -> dict[str, Any]:
    location = Location.inlet if connector_id == 0 else _LOCATIONS.get(Measurand(measurand), Location.outlet)
    sampled = {
        "value": plain(value),
        "context": context,
        "format": ValueFormat.raw,
        "measurand": measurand,
        "phase": phase,
        "location": location,
        "unit": _UNITS.get(measurand),
    }
    return {name: member for name, member in sampled.items() if member is not None}


def plain(value: float) -> str:
    """A number without exponent and without needless zeros (MV-13)."""
    text = format(Decimal(repr(value)).normalize(), "f")
    return "0" if text == "-0" else text


def meter_value(moment: datetime, sampled: list[dict[str, Any]]) -> dict[str, Any]:
    """One MeterValue: all its values share one timestamp (MV-08)."""
    return {"timestamp": format_time(moment), "sampledValue": sampled}
