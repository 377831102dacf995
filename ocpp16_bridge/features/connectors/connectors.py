"""Connectors: facts from the hardware, availability, and the status they add up to (OCPP 1.6, 4.9; obligations 3)."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ocpp.v16 import call
from ocpp.v16.enums import AvailabilityType, ChargePointErrorCode, ChargePointStatus

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, BooleanKey, IntegerKey, ListKey
from ocpp16_bridge.csms.call_queue import Outcome
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.facts import ConnectorState, HardwareError, HardwareErrors, PresentErrors
from ocpp16_bridge.features.connectors.reports import Report, StatusReports
from ocpp16_bridge.features.connectors.status import Facts, status
from ocpp16_bridge.features.delivery import Delivery
from ocpp16_bridge.handlers import before_change, on_hardware, on_result, on_trigger
from ocpp16_bridge.settings import ConnectorSettings, Settings

logger = logging.getLogger(__name__)

_ROTATION = re.compile(r"(\d{1,3})\.(RST|RTS|SRT|STR|TRS|TSR|NotApplicable|Unknown)")

# While the program of the hardware is away nothing can be known of the connectors.
_HARDWARE_OFFLINE = HardwareError(
    error_code=ChargePointErrorCode.internal_error, faulted=True, info="the hardware is offline"
)
# A warning of communication says something of these only (ST-11).
_EV_IS_SPOKEN_TO = frozenset(
    {
        ChargePointStatus.preparing,
        ChargePointStatus.suspended_ev,
        ChargePointStatus.suspended_evse,
        ChargePointStatus.finishing,
    }
)


@dataclass
class Connector:
    """One connector: what the hardware says of it, and what the features above make of it. 0 is the charge point."""

    id: int
    settings: ConnectorSettings
    state: ConnectorState = field(default_factory=ConnectorState)
    is_known: bool = False  # the hardware has published a state since the start
    errors: PresentErrors = field(default_factory=PresentErrors)
    plugged_at: float = 0.0  # monotonic; of several plugged ones the last counts
    # What the features above say; see `Connectors.update`.
    transaction: ChargePointStatus | None = None
    finishing: bool = False
    claimed: bool = False
    reserved: bool = False
    held: bool = False  # nothing may start here for a while: firmware is about to be installed
    info: str | None = None  # goes into StatusNotification while it is busy and there is no error

    @property
    def is_faulted(self) -> bool:
        return self.errors.are_faulted

    @property
    def is_busy(self) -> bool:
        """A transaction runs, or its cable is still there: a change of availability waits (RO-11, RO-16)."""
        return self.transaction is not None or self.finishing


def _phase_rotation(settings: Settings) -> tuple[str, ...]:
    rotations = [connector.phase_rotation for connector in settings.connectors]
    return tuple(f"{n}.{rotation}" for n, rotation in enumerate([rotations[0], *rotations]))


class Connectors(Feature):
    connector_phase_rotation = ListKey(
        "ConnectorPhaseRotation", _phase_rotation, is_item=lambda item: _ROTATION.fullmatch(item) is not None
    )
    connector_phase_rotation_max_length = IntegerKey(
        "ConnectorPhaseRotationMaxLength", lambda settings: len(settings.connectors) + 1, access=Access.READ_ONLY
    )
    number_of_connectors = IntegerKey(
        "NumberOfConnectors", lambda settings: len(settings.connectors), access=Access.READ_ONLY
    )
    minimum_status_duration = IntegerKey("MinimumStatusDuration", 0)  # s
    unlock_connector_on_ev_side_disconnect = BooleanKey("UnlockConnectorOnEVSideDisconnect", default=True)

    def __init__(self, context: Context, delivery: Delivery) -> None:
        super().__init__(context)
        self._delivery = delivery
        tables = context.settings.connectors
        self.charge_point = Connector(0, tables[0])
        self.all = [Connector(number, table) for number, table in enumerate(tables, 1)]
        self._availability = context.store.collection("availability", AvailabilityType)
        self._scheduled = context.store.collection("scheduled_availability", AvailabilityType)
        self._reports = StatusReports(context, lambda: self.minimum_status_duration)
        self._former_status: dict[int, ChargePointStatus] = {}
        self._reported_errors: dict[int, set[tuple[str, str | None]]] = {}  # their keys, by connector
        self._offline_sources: set[str] = set()
        self._withheld: dict[tuple[str, int], list[HardwareError]] = {}  # said by a source that is offline
        self._waiting: Timer | None = None  # for the first facts; None once they are in
        # The features above hear of facts, in this order: the state of a connector, its faults, its availability.
        self.on_state: list[Callable[[Connector, ConnectorState], None]] = []
        self.on_fault: list[Callable[[Connector], None]] = []
        self.on_availability: list[Callable[[Connector], None]] = []
        self.on_status: list[Callable[[Connector], None]] = []  # of a connector above 0, it changed
        self.on_source_offline: list[Callable[[str], None]] = []
        if not any(table.lock for table in tables):
            # TX-13: what has no lock can't unlock.
            self.configuration_keys.fix(type(self).unlock_connector_on_ev_side_disconnect, "false")

    def __getitem__(self, connector_id: int) -> Connector:
        """The connector of this id, 0 for the charge point.

        Raises:
            KeyError: there is none.

        """
        if not 0 <= connector_id <= len(self.all):
            raise KeyError(connector_id)
        return self.charge_point if connector_id == 0 else self.all[connector_id - 1]

    def __contains__(self, connector_id: int) -> bool:
        return 1 <= connector_id <= len(self.all)

    def start(self) -> None:
        """The retained topics do not wait for the hardware; the StatusNotifications do, for a while."""
        for connector in (self.charge_point, *self.all):
            self._show_availability(connector)
            # Not `update`: whether a scheduled change may be carried out is known when open transactions are.
            self._report_later(connector)
        limit = self.context.settings.hardware.start_timeout
        self._waiting = self.context.timers.after(limit, "first states of the hardware", self._facts_complete)

    @before_change("ConnectorPhaseRotation")
    def _names_each_connector_once(self, rotations: tuple[str, ...]) -> bool:
        numbers = [int(rotation.partition(".")[0]) for rotation in rotations]
        return len(set(numbers)) == len(numbers) and set(numbers) <= set(range(len(self.all) + 1))

    # -- facts in

    @on_hardware("connector/+/state")
    def state(self, state: ConnectorState, level: str) -> None:
        connector = self.addressed(level)
        if connector.id == 0:
            raise ValueError("connector 0 has no state")
        former, connector.state = connector.state, state
        connector.is_known = True
        if state.plugged and not former.plugged:
            connector.plugged_at = self.context.clock.monotonic()
            connector.info = None
        for listener in self.on_state:
            listener(connector, former)
        self.update(connector)
        if self._waiting is not None and all(other.is_known for other in self.all):
            self.context.turns.call(self._facts_complete)  # behind the report of this state: each is told once

    @on_hardware("connector/+/errors")
    def errors(self, errors: HardwareErrors, level: str) -> None:
        self.errors_of_source(errors, level, "")

    @on_hardware("connector/+/errors/+")
    def errors_of_source(self, errors: HardwareErrors, level: str, source: str) -> None:
        """Several programs each say what they know; what counts is the union."""
        connector = self.addressed(level)
        if source in self._offline_sources:
            self._withheld[source, connector.id] = errors
        else:
            self._set_errors(connector, source, errors)

    @on_hardware("state")
    def hardware_state(self, state: str) -> None:
        offline = _is_offline(state)
        for connector in self.all:
            self._set_errors(connector, "/", [_HARDWARE_OFFLINE] if offline else [])

    @on_hardware("state/+")
    def source_state(self, state: str, source: str) -> None:
        """What a program that is gone said is no longer known.

        What it says while it is offline waits until it is online: a broker hands out retained facts in any order.
        """
        if _is_offline(state):
            self._drop_source(source)
            return
        self._offline_sources.discard(source)
        for connector in (self.charge_point, *self.all):
            if (source, connector.id) in self._withheld:
                self._set_errors(connector, source, self._withheld.pop((source, connector.id)))

    def _drop_source(self, source: str) -> None:
        if source not in self._offline_sources:
            logger.warning("hardware/state/%s is offline: its errors and readings are dropped", source)
        self._offline_sources.add(source)
        for connector in (self.charge_point, *self.all):
            self._withheld.pop((source, connector.id), None)
            self._set_errors(connector, source, [])
        for listener in self.on_source_offline:
            listener(source)

    def addressed(self, level: str) -> Connector:
        try:
            return self[int(level)]
        except (KeyError, ValueError):
            raise ValueError(f"there is no connector {level[:20]}") from None

    def set_error(self, connector: Connector, source: str, error: HardwareError | None) -> None:
        """An error that the daemon itself finds; None: it is gone."""
        self._set_errors(connector, "/" + source, [] if error is None else [error])

    def _set_errors(self, connector: Connector, source: str, errors: list[HardwareError]) -> None:
        was_faulted = connector.is_faulted
        connector.errors.set(source, errors)
        if connector.is_faulted != was_faulted:
            for listener in self.on_fault:
                listener(connector)
        self.update(connector)

    def _facts_complete(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            self._reports.begin()
            self._delivery.release()  # StatusNotifications come before what waited (TX-40)

    # -- availability

    def is_operative(self, connector: Connector) -> bool:
        return bool(self._availability.get(str(connector.id)) != AvailabilityType.inoperative)

    def is_usable(self, connector: Connector) -> bool:
        """Whether something new may start here (RO-17)."""
        return (
            self.is_operative(connector)
            and not connector.held
            and not connector.is_faulted
            and not self.charge_point.is_faulted
        )

    def set_availability(self, connector: Connector, availability: AvailabilityType) -> bool:
        """Change it now, or when the connector is free; False where it waits. A later change replaces it."""
        key = str(connector.id)
        present = self._availability.get(key, AvailabilityType.operative)
        if availability == present or not connector.is_busy:
            self._scheduled.delete(key)
            self._apply(connector, availability)
            return True
        self._scheduled.put(key, availability)
        return False

    def _apply(self, connector: Connector, availability: AvailabilityType) -> None:
        key = str(connector.id)
        if self._availability.get(key, AvailabilityType.operative) == availability:
            return
        self._availability.put(key, availability)
        self._show_availability(connector)
        for listener in self.on_availability:
            listener(connector)
        self.update(connector)

    def _show_availability(self, connector: Connector) -> None:
        shown = self._availability.get(str(connector.id), AvailabilityType.operative)
        self.context.variables.set(f"connector/{connector.id}/availability", shown)

    # -- status out

    def status(self, connector: Connector) -> ChargePointStatus:
        """Connector 0 is not derived from the others (ST-02)."""
        if connector.id == 0:
            return status(Facts(connector.is_faulted, self.is_operative(connector)))
        return status(
            Facts(
                faulted=connector.is_faulted,
                operative=self.is_operative(connector) and not connector.held,
                transaction=connector.transaction,
                finishing=connector.finishing,
                claimed=connector.claimed,
                reserved=connector.reserved,
                plugged=connector.state.has_cable,
            )
        )

    def update(self, connector: Connector) -> None:
        """Follow what has changed: called after each change of what the features above say of ``connector``."""
        waiting = self._scheduled.get(str(connector.id))
        if waiting is not None and not connector.is_busy:
            self._scheduled.delete(str(connector.id))
            self._apply(connector, waiting)  # which comes back here
            return
        self._report_later(connector)

    def _report_later(self, connector: Connector) -> None:
        """What a turn passes through on its way is nobody's status: what it comes to is."""
        self.context.turns.call(lambda: self._report_now(connector))

    def _report_now(self, connector: Connector) -> None:
        with self.context.turns.turn():
            present = self.status(connector)
            if connector.id and self._former_status.get(connector.id) != present:
                self._former_status[connector.id] = present
                for listener in self.on_status:
                    listener(connector)
            self._report(connector, self.status(connector))  # which the listeners may have changed

    def _report(self, connector: Connector, present: ChargePointStatus) -> None:
        known = self._reported_errors.get(connector.id, set())
        self._reported_errors[connector.id] = {error.key for error in connector.errors}
        said = [error for error in connector.errors if error.faulted or _may_be_said(error, present)]
        if not said:
            info = connector.info if connector.is_busy else None
            self._reports.update(connector.id, Report(present, info=info))
            return
        # The newest of those that make the connector Faulted, else the newest; another one only when it is new.
        foremost = next((error for error in reversed(said) if error.faulted), said[-1])
        others = [error for error in said if error is not foremost and error.key not in known]
        self._reports.update(connector.id, _with(present, foremost), [_with(present, error) for error in others])

    @on_trigger("StatusNotification")
    def trigger_status_notification(self, connector_id: int | None) -> bool:
        """The present status of one, or of the charge point and all connectors."""
        asked = range(len(self.all) + 1) if connector_id is None else (connector_id,)
        if any(not 0 <= number <= len(self.all) for number in asked):
            return False
        for number in asked:
            self._reports.repeat(number)
        return True

    @on_result
    def on_status_notification(self, request: call.StatusNotification, outcome: Outcome, _about: str) -> None:
        self._reports.ended(request, outcome)


def _is_offline(state: str) -> bool:
    if state not in ("online", "offline"):
        raise ValueError(f"expected online or offline, got {state[:20]!r}")
    return state == "offline"


def _with(present: ChargePointStatus, error: HardwareError) -> Report:
    return Report(present, error.error_code, error.info, error.vendor_id, error.vendor_error_code)


def _may_be_said(error: HardwareError, present: ChargePointStatus) -> bool:
    return error.error_code != ChargePointErrorCode.ev_communication_error or present in _EV_IS_SPOKEN_TO
