"""One EVSE and the car before it: what flows, what its meter reads. It knows neither time nor topics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocpp.v16.enums import Measurand, Phase

VOLTAGE = 230.0  # V, phase to neutral, without load
SAG = 0.1  # V that each ampere takes away
CAR_CURRENT = 16.0  # A per phase that the car takes at most
LEAST_CURRENT = 6.0  # A: less can't be offered (IEC 61851-1)
RAMP = 4.0  # A that the car takes more each second
BATTERY = 40_000.0  # Wh
SOC_ON_ARRIVAL = 40.0  # %

Fact = Mapping[str, Any]


@dataclass
class Evse:
    """Change its attributes at any time, but `advance` to that moment first."""

    phases: int = 3
    max_current: float = 32.0  # A per phase
    has_lock: bool = False
    register: float = 100_000.0  # Wh

    # What the daemon wants.
    is_permitted: bool = False
    is_locked: bool = False
    limit: Fact | None = None  # the topic `limit`; None: it is not published

    # The car, and what is broken.
    is_plugged: bool = False
    wants_energy: bool = False
    soc: float = SOC_ON_ARRIVAL  # %
    errors: list[Fact] = field(default_factory=list)

    _ramp: float = 0.0  # A per phase that the car takes at this moment

    @property
    def offered(self) -> float:
        """A per phase; 0 where less than 6 A would be left."""
        current = min(self.max_current, self._limit())
        return current if current >= LEAST_CURRENT else 0.0

    def _limit(self) -> float:
        if self.limit is None:
            return math.inf
        if self.limit["unit"] == "A":
            return float(self.limit["limit"])
        return float(self.limit["limit"]) / (VOLTAGE * (self.limit.get("number_phases") or self.phases))

    @property
    def is_ready(self) -> bool:
        """PWM is on."""
        is_faulted = any(error["faulted"] for error in self.errors)
        return self.is_plugged and self.is_permitted and self.offered > 0 and not is_faulted

    @property
    def car_is_ready(self) -> bool:
        return self.is_plugged and self.wants_energy and self.soc < 100  # noqa: PLR2004 - %

    @property
    def current(self) -> float:
        """A per phase that flow at this moment."""
        return min(self._ramp, self.offered) if self.is_ready and self.car_is_ready else 0.0

    @property
    def voltage(self) -> float:
        return VOLTAGE - SAG * self.current

    @property
    def power(self) -> float:
        """W."""
        return self.phases * self.voltage * self.current

    def arrive(self) -> None:
        """A car is plugged in that wants energy."""
        self.is_plugged = self.wants_energy = True
        self.soc = SOC_ON_ARRIVAL

    def leave(self) -> None:
        self.is_plugged = self.wants_energy = self.is_locked = False

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: the car takes more, the register counts what flows."""
        before = self.power
        if self.is_ready and self.car_is_ready:
            self._ramp = min(self._ramp + RAMP * seconds, CAR_CURRENT, self.offered)
        else:
            self._ramp = 0.0
        energy = (before + self.power) / 2 * seconds / 3600
        self.register += energy
        if self.is_plugged:
            self.soc = min(100.0, self.soc + 100 * energy / BATTERY)

    def state(self) -> Fact:
        """`hardware/connector/<n>/state`."""
        state = {
            "plugged": self.is_plugged,
            "ev_ready": self.car_is_ready,
            "evse_ready": self.is_ready,
            "cable": self.is_plugged,
        }
        return {**state, "locked": self.is_locked} if self.has_lock else state

    def meter(self) -> Fact:
        """`hardware/connector/<n>/meter`."""
        lines = (Phase.l1, Phase.l2, Phase.l3)[: self.phases]
        to_neutral = (Phase.l1_n, Phase.l2_n, Phase.l3_n)[: self.phases]
        reading: dict[str, Any] = {
            Measurand.energy_active_import_register: round(self.register, 1),
            Measurand.power_active_import: round(self.power),
            Measurand.current_import: dict.fromkeys(lines, round(self.current, 1)),
            Measurand.current_offered: round(self.offered if self.is_ready else 0.0, 1),
            Measurand.voltage: dict.fromkeys(to_neutral, round(self.voltage, 1)),
        }
        return {**reading, Measurand.soc: round(self.soc)} if self.is_plugged else reading
