"""Smart charging: `charging_schedules`, the limits of all connectors (OCPP 1.6, 3.13; contract 2)."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any

from ocpp16_bridge.configuration_keys import Access, IntegerKey, ListKey
from ocpp16_bridge.feature import Feature
from ocpp16_bridge.settings import ConnectorSettings
from ocpp16_bridge.timestamps import format_time

_TENTH = Decimal("0.1")  # limits have one fraction digit (GD-07)


class SmartCharging(Feature):
    profile = "SmartCharging"

    charge_profile_max_stack_level = IntegerKey("ChargeProfileMaxStackLevel", 10, access=Access.READ_ONLY)
    charging_schedule_allowed_charging_rate_unit = ListKey(
        "ChargingScheduleAllowedChargingRateUnit", ("Current", "Power"), access=Access.READ_ONLY
    )
    charging_schedule_max_periods = IntegerKey("ChargingScheduleMaxPeriods", 100, access=Access.READ_ONLY)
    max_charging_profiles_installed = IntegerKey("MaxChargingProfilesInstalled", 100, access=Access.READ_ONLY)

    def start(self) -> None:
        self._publish()
        interval = self.context.settings.charging_schedules.publish_interval
        if interval:
            self.context.timers.every(interval, "charging_schedules", self._publish)

    def _publish(self) -> None:
        start = format_time(self.context.clock.now().replace(microsecond=0))
        limits = [self._default_limit(connector) for connector in self.context.settings.connectors]
        # The whole charge point: amperes per phase are summed, the number of phases is the largest.
        total = (sum((limit for limit, _ in limits), Decimal(0)), max(phases for _, phases in limits))
        schedules = {
            str(connector_id): self._schedule(start, limit, phases)
            for connector_id, (limit, phases) in enumerate([total, *limits])
        }
        self.context.variables.set("charging_schedules", schedules)

    def _default_limit(self, connector: ConnectorSettings) -> tuple[Decimal, int]:
        """What holds without any profile: A or W, rounded down, and the number of phases."""
        settings = self.context.settings.charging_schedules
        default = settings.default_limit_amps
        amps = connector.max_current if default is None else min(default, connector.max_current)
        phases = min(settings.default_number_phases, connector.phases)
        limit = Decimal(str(amps))
        if settings.unit == "W":
            limit *= phases * Decimal(str(settings.supply_voltage))
        return limit.quantize(_TENTH, ROUND_FLOOR), phases

    def _schedule(self, start: str, limit: Decimal, phases: int) -> dict[str, Any]:
        settings = self.context.settings.charging_schedules
        return {
            "duration": settings.duration,
            "startSchedule": start,
            "chargingRateUnit": settings.unit,
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit, "numberPhases": phases}],
        }
