"""Smart charging: profiles in, schedules and limits out (OCPP 1.6, 3.13, 5.5, 5.7 and 5.16; obligations 8.3)."""

import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    ChargingProfilePurposeType,
    ChargingProfileStatus,
    ChargingRateUnitType,
    ClearChargingProfileStatus,
    GetCompositeScheduleStatus,
)
from pydantic import Field

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, IntegerKey, ListKey
from ocpp16_bridge.csms.endpoint import CallRefusedError
from ocpp16_bridge.csms.schemas import ErrorCode
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.smart_charging.composite_schedule import (
    ChargePointFacts,
    CompositeSchedule,
    ConnectorFacts,
    CurrentLimit,
    LocalLimit,
    RunningTransaction,
    composite_schedules,
    current_limits,
)
from ocpp16_bridge.features.smart_charging.profile import Bounds, ChargingProfile, problems_of, read_profile
from ocpp16_bridge.features.smart_charging.shares import LEAST_CURRENT
from ocpp16_bridge.features.starting import Starting
from ocpp16_bridge.features.transactions.record import Transaction
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.model import Arguments
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

LOOK_EVERY = 30.0  # s: the machine's clock may be set, which no timer notices
_TX = ChargingProfilePurposeType.tx_profile


class SetLocalLimit(Arguments):
    connector_id: Annotated[int, Field(ge=0)]
    limit: Annotated[float, Field(ge=0, le=1_000_000)] | None
    unit: Literal["A", "W"] = "A"


class SmartCharging(Feature):
    profile = "SmartCharging"

    charge_profile_max_stack_level = IntegerKey("ChargeProfileMaxStackLevel", 10, access=Access.READ_ONLY)
    charging_schedule_allowed_charging_rate_unit = ListKey(
        "ChargingScheduleAllowedChargingRateUnit", ("Current", "Power"), access=Access.READ_ONLY
    )
    charging_schedule_max_periods = IntegerKey("ChargingScheduleMaxPeriods", 100, access=Access.READ_ONLY)
    max_charging_profiles_installed = IntegerKey("MaxChargingProfilesInstalled", 100, access=Access.READ_ONLY)

    def __init__(
        self, context: Context, connectors: Connectors, transactions: Transactions, starting: Starting
    ) -> None:
        super().__init__(context)
        self._connectors = connectors
        self._transactions = transactions
        self._profiles = context.store.collection("charging_profile", ChargingProfile)
        self._local_limits = context.store.collection("local_limit", LocalLimit)
        self._limits: dict[int, CurrentLimit] = {}  # what holds now, by connector
        self._next: Timer | None = None
        self._is_claimed = True  # by SupportedFeatureProfiles
        transactions.is_limited = self._forbids_charging
        transactions.on_begin.append(self._begun)
        transactions.on_end.append(self._ended)
        starting.accepts_profile = self._may_come_with_remote_start
        starting.on_profile = self._came_with_remote_start
        context.clock.on_step.append(self._follow)

    def start(self) -> None:
        running = [self._transactions.running(connector) for connector in self._connectors.all]
        # The connector of a transaction may have gone with the daemon's former process.
        self._keep_bound_profiles(lambda session_id: any(one and one.session_id == session_id for one in running))
        self._follow()
        self.context.timers.every(LOOK_EVERY, "clock of charging limits", self._look)
        interval = self.context.settings.charging_schedules.publish_interval
        if interval:
            self.context.timers.every(interval, "charging_schedules", self._show_schedules)

    def switch_off(self) -> None:
        """Profiles are not there any more; local limits are."""
        self._is_claimed = False
        self._follow()

    # -- profiles in

    @on_call
    def set_charging_profile(self, request: call.SetChargingProfile) -> call_result.SetChargingProfile:
        connector = self._addressed(request.connector_id)
        payload: dict[str, Any] = dict(request.cs_charging_profiles)
        running = self._transactions.running(connector) if connector.id else None
        session_id = running.session_id if running is not None and payload["chargingProfilePurpose"] == _TX else None
        profile = read_profile(
            payload, connector_id=connector.id, received_at=self.context.clock.now(), session_id=session_id
        )
        reason = problems_of(profile, self._bounds()) or self._problem_of_transaction(profile, running)
        if reason is None and not self._install(profile):
            reason = f"{len(self._profiles)} profiles are installed, no more are possible"
        if reason is not None:
            logger.warning("charging profile %s is rejected: %s", profile.id, reason)
            return call_result.SetChargingProfile(status=ChargingProfileStatus.rejected)
        self._follow()
        return call_result.SetChargingProfile(status=ChargingProfileStatus.accepted)

    def _addressed(self, connector_id: int) -> Connector:
        try:
            return self._connectors[connector_id]
        except KeyError:
            # Errata 5.16: an unknown connector is a CALLERROR.
            text = f"connectorId: there is no connector {connector_id}"
            raise CallRefusedError(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, text) from None

    def _bounds(self) -> Bounds:
        return Bounds(
            self.charge_profile_max_stack_level,
            self.charging_schedule_max_periods,
            self.charging_schedule_allowed_charging_rate_unit,
        )

    @staticmethod
    def _problem_of_transaction(profile: ChargingProfile, running: Transaction | None) -> str | None:
        """TC_058_1_CS, TC_058_2_CS."""
        if profile.purpose != _TX:
            return None
        if running is None:
            return "no transaction runs on its connector"
        if profile.transaction_id not in (None, running.transaction_id):
            return f"transaction {profile.transaction_id} does not run on its connector"
        return None

    def _install(self, profile: ChargingProfile) -> bool:
        """Put it in the place of those it replaces; False where there is no room."""
        replaced = [key for key, other in self._profiles.items() if _replaces(profile, other)]
        if len(self._profiles) - len(replaced) >= self.max_charging_profiles_installed:
            return False
        for key in replaced:
            self._profiles.delete(key)
        self._profiles.put(str(profile.id), profile)
        return True

    def _may_come_with_remote_start(self, payload: dict[str, Any]) -> bool:
        """TC_060_CS; without smart charging any profile may come, it is ignored (TX-06)."""
        if not self._is_claimed:
            return True
        profile = read_profile(payload, connector_id=1, received_at=self.context.clock.now())
        reason = problems_of(profile, self._bounds())
        if profile.purpose != _TX or profile.transaction_id is not None:
            reason = "expected a TxProfile without transactionId"
        if reason is not None:
            logger.warning("RemoteStartTransaction is rejected for its charging profile: %s", reason)
        return reason is None

    def _came_with_remote_start(self, connector: Connector, transaction: Transaction, payload: dict[str, Any]) -> None:
        """SC-12; TC_059_CS."""
        if not self._is_claimed:
            return  # TX-06
        profile = read_profile(
            payload,
            connector_id=connector.id,
            received_at=self.context.clock.now(),
            session_id=transaction.session_id,
        )
        reason = problems_of(profile, self._bounds())
        if reason is None and self._install(profile):
            self._follow()
        else:
            logger.warning("the charging profile of RemoteStartTransaction is not used: %s", reason or "no room")

    @on_call
    def clear_charging_profile(self, request: call.ClearChargingProfile) -> call_result.ClearChargingProfile:
        """SC-10; TC_067_CS."""
        cleared = [key for key, profile in self._profiles.items() if _is_meant(profile, request)]
        for key in cleared:
            self._profiles.delete(key)
        if not cleared:
            return call_result.ClearChargingProfile(status=ClearChargingProfileStatus.unknown)
        self._follow()
        return call_result.ClearChargingProfile(status=ClearChargingProfileStatus.accepted)

    # -- transactions

    def _begun(self, _connector: Connector, _transaction: Transaction) -> None:
        """Shares shrink before the newcomer's `charging_permitted`: this is called before it is shown."""
        self._follow()

    def _ended(self, _connector: Connector, transaction: Transaction) -> None:
        """A TxProfile ends with its transaction (SC-13). Others get its share: this is called when it is shut off."""
        self._keep_bound_profiles(lambda session_id: session_id != transaction.session_id)
        self._follow()

    def _keep_bound_profiles(self, is_kept: Callable[[str], bool]) -> None:
        """Delete the TxProfiles of other sessions."""
        for key, profile in list(self._profiles.items()):
            if profile.session_id is not None and not is_kept(profile.session_id):
                self._profiles.delete(key)

    # -- the local limit

    @command()
    def set_local_limit(self, request: SetLocalLimit) -> None:
        """Lowers, never raises, what the CSMS allows; kept over restarts, also while OCPP is stopped."""
        if request.connector_id != 0 and request.connector_id not in self._connectors:
            raise CommandError("bad_request", f"connector_id: there is no connector {request.connector_id}")
        key = str(request.connector_id)
        if request.limit is None:
            self._local_limits.delete(key)
        else:
            limit = Decimal(str(request.limit))
            self._local_limits.put(key, LocalLimit(limit, ChargingRateUnitType(request.unit)))
        self._follow()

    # -- schedules out

    @on_call
    def get_composite_schedule(self, request: call.GetCompositeSchedule) -> call_result.GetCompositeSchedule:
        """SC-01 … SC-08; TC_066_CS, TC_072_CS."""
        known = request.connector_id == 0 or request.connector_id in self._connectors
        if not known or request.duration <= 0:
            return call_result.GetCompositeSchedule(status=GetCompositeScheduleStatus.rejected)
        unit = ChargingRateUnitType(request.charging_rate_unit or ChargingRateUnitType.amps)
        now = self.context.clock.now().replace(microsecond=0)
        schedule = self._schedules(now, request.duration, unit)[request.connector_id]
        return call_result.GetCompositeSchedule(
            status=GetCompositeScheduleStatus.accepted,
            connector_id=request.connector_id,
            schedule_start=format_time(now),
            charging_schedule=schedule.answer(self.charging_schedule_max_periods),
        )

    def _schedules(self, moment: datetime, duration: int, unit: ChargingRateUnitType) -> list[CompositeSchedule]:
        """Of the whole charge point, then of each connector."""
        return composite_schedules(self._facts(), moment, duration, unit)

    def _facts(self) -> ChargePointFacts:
        settings = self.context.settings.charging_schedules
        default = settings.default_limit_amps
        return ChargePointFacts(
            connectors=[self._connector_facts(connector) for connector in self._connectors.all],
            profiles=[profile for _, profile in self._profiles.items()] if self._is_claimed else (),
            local_limit=self._local_limits.get("0"),
            supply_voltage=Decimal(str(settings.supply_voltage)),
            default_limit_amps=None if default is None else Decimal(str(default)),
            default_number_phases=settings.default_number_phases,
        )

    def _connector_facts(self, connector: Connector) -> ConnectorFacts:
        running = self._transactions.running(connector)
        return ConnectorFacts(
            max_current=Decimal(str(connector.settings.max_current)),
            phases=connector.settings.phases,
            transaction=None
            if running is None
            else RunningTransaction(running.session_id, parse_time(running.started_at), running.transaction_id),
            local_limit=self._local_limits.get(str(connector.id)),
        )

    # -- what others see

    def _follow(self) -> None:
        """Something changed: limits and schedules are shown at once."""
        self._show_limits()
        self._show_schedules()

    def _look(self) -> None:
        """Time has passed, or the clock was set; maybe nothing has changed."""
        if self._show_limits():
            self._show_schedules()

    def _show_schedules(self) -> None:
        settings = self.context.settings.charging_schedules
        schedules = self._schedules(self.context.clock.now(), settings.duration, ChargingRateUnitType(settings.unit))
        most = self.charging_schedule_max_periods
        self.context.variables.set(
            "charging_schedules", {str(number): schedule.variable(most) for number, schedule in enumerate(schedules)}
        )

    def _show_limits(self) -> bool:
        """Whether there are new ones; again at the next border."""
        now = self.context.clock.now()
        unit = ChargingRateUnitType(self.context.settings.charging_schedules.unit)
        former = self._limits
        self._limits = dict(enumerate(current_limits(self._facts(), now, unit), 1))
        # What shrinks comes first: not even for a moment is it too much for all together.
        for connector in sorted(self._connectors.all, key=lambda one: self._rises(one, former)):
            self._show_limit(connector)
        # `charging_permitted`, which may be shown now, comes after the limits of all.
        for connector in self._connectors.all:
            if self._forbids_charging(connector) != self._forbids(former.get(connector.id)):
                self._transactions.refresh(connector)
        self._arm(now)
        return self._limits != former

    def _show_limit(self, connector: Connector) -> None:
        limit = self._limits[connector.id]
        self.context.variables.set(
            f"connector/{connector.id}/limit",
            {
                "limit": limit.limit,
                "unit": limit.unit,
                "number_phases": limit.number_phases,
                "until": None if limit.until is None else format_time(limit.until),
            },
        )

    def _arm(self, now: datetime) -> None:
        """Switch at the very border, not with the next publication."""
        if self._next is not None:
            self._next.cancel()
        wait = min((limit.until - now for limit in self._limits.values() if limit.until is not None), default=None)
        timers = self.context.timers
        self._next = None if wait is None else timers.after(wait.total_seconds(), "charging limits", self._look)

    def _rises(self, connector: Connector, former: dict[int, CurrentLimit]) -> bool:
        present = self._limits[connector.id]
        return bool(self._amps(present) > self._amps(former.get(connector.id, present)))

    def _forbids_charging(self, connector: Connector) -> bool:
        return self._forbids(self._limits.get(connector.id))

    def _forbids(self, limit: CurrentLimit | None) -> bool:
        """Whether it is less than what an EV can be told."""
        return limit is not None and bool(self._amps(limit) < LEAST_CURRENT)

    def _amps(self, limit: CurrentLimit) -> Decimal:
        """Per phase."""
        if limit.unit is ChargingRateUnitType.amps:
            return limit.limit
        return limit.limit / Decimal(str(self.context.settings.charging_schedules.supply_voltage)) / limit.number_phases


def _replaces(profile: ChargingProfile, other: ChargingProfile) -> bool:
    """The same id anywhere, or the same place: connector, purpose, stack level, and transaction for a TxProfile."""
    if profile.id == other.id:
        return True
    place = (profile.connector_id, profile.purpose, profile.stack_level, profile.session_id)
    return bool(place == (other.connector_id, other.purpose, other.stack_level, other.session_id))


def _is_meant(profile: ChargingProfile, request: call.ClearChargingProfile) -> bool:
    """By id alone where one is given, else by all criteria that are given; none: every profile."""
    if request.id is not None:
        return bool(profile.id == request.id)
    criteria = (
        (request.connector_id, profile.connector_id),
        (request.charging_profile_purpose, profile.purpose),
        (request.stack_level, profile.stack_level),
    )
    return all(wanted is None or wanted == present for wanted, present in criteria)
