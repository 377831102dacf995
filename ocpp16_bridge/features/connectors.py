"""Connectors: facts from the hardware become a status (OCPP 1.6, 4.9; obligations 3)."""

import re

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus
from pydantic import BaseModel, ConfigDict

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, BooleanKey, IntegerKey, ListKey
from ocpp16_bridge.csms.call_queue import Answered, Outcome
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.handlers import before_change, on_hardware, on_result
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.timestamps import format_time

_ROTATION = re.compile(r"(\d{1,3})\.(RST|RTS|SRT|STR|TRS|TSR|NotApplicable|Unknown)")


class ConnectorState(BaseModel):
    """The facts of one connector; each message is the whole truth."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    plugged: bool = False  # IEC 61851 state B, C or D
    ev_ready: bool = False  # C or D
    evse_ready: bool = False  # PWM on
    cable: bool | None = None  # missing: same as `plugged`
    locked: bool | None = None


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

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ids = range(len(context.settings.connectors) + 1)
        self._states: dict[int, ConnectorState] = {}
        self._since = {connector_id: context.clock.now() for connector_id in self._ids}
        self._reported: dict[int, ChargePointStatus] = {}  # what the CSMS was told last
        self._facts_are_in = False
        self._waiting: Timer | None = None
        context.csms.endpoint.on_connected.append(self._report_changes)
        context.csms.on_accepted.append(self._report_all)
        if not any(connector.lock for connector in context.settings.connectors):
            # TX-13: what has no lock can't unlock.
            self.configuration_keys.fix(type(self).unlock_connector_on_ev_side_disconnect, "false")

    def start(self) -> None:
        """The retained topics do not wait for the hardware; the StatusNotifications do, for a while."""
        for connector_id in self._ids:
            self._show(connector_id)
        limit = self.context.settings.hardware.start_timeout
        self._waiting = self.context.timers.after(limit, "first states of the hardware", self._facts_complete)

    @before_change("ConnectorPhaseRotation")
    def _names_each_connector_once(self, rotations: tuple[str, ...]) -> bool:
        numbers = [int(rotation.partition(".")[0]) for rotation in rotations]
        return len(set(numbers)) == len(numbers) and set(numbers) <= set(self._ids)

    # -- facts in

    @on_hardware("connector/+/state")
    def state(self, state: ConnectorState, connector: str) -> None:
        connector_id = int(connector) if connector.isascii() and connector.isdigit() else 0
        if connector_id not in self._ids[1:]:
            raise ValueError(f"there is no connector {connector[:20]}")
        former = self.status(connector_id)
        self._states[connector_id] = state
        if self.status(connector_id) != former:
            self._since[connector_id] = self.context.clock.now()
            self._show(connector_id)
            self._report_changes()
        if self._waiting is not None and len(self._states) == len(self._ids) - 1:
            self._facts_complete()

    def _facts_complete(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._facts_are_in = True
        self._report_changes()

    # -- status out

    def status(self, connector_id: int) -> ChargePointStatus:
        state = self._states.get(connector_id)
        return ChargePointStatus.preparing if state and state.plugged else ChargePointStatus.available

    def _show(self, connector_id: int) -> None:
        self.context.variables.set(
            f"connector/{connector_id}/status",
            {
                "status": self.status(connector_id),
                "error_code": ChargePointErrorCode.no_error,
                "timestamp": format_time(self._since[connector_id]),
            },
        )

    def _report_all(self) -> None:
        """After each accepted BootNotification (BT-05)."""
        self._reported.clear()
        self._report_changes()

    def _report_changes(self) -> None:
        """Connector 0 first (ST-15); what the CSMS knows already is not repeated (ST-09)."""
        if not (self._facts_are_in and self.context.csms.accepted):
            return
        for connector_id in self._ids:
            status = self.status(connector_id)
            if self._reported.get(connector_id) != status:
                self._reported[connector_id] = status
                self._notify(connector_id, status)

    def _notify(self, connector_id: int, status: ChargePointStatus) -> None:
        self.context.csms.send(
            call.StatusNotification(
                connector_id=connector_id,
                error_code=ChargePointErrorCode.no_error,
                status=status,
                timestamp=format_time(self._since[connector_id]),
            )
        )

    @on_result
    def on_status_notification(self, request: call.StatusNotification, outcome: Outcome, _about: str) -> None:
        """What did not arrive counts as not told: a reconnect brings it (TR-47)."""
        if not isinstance(outcome, Answered) and self._reported.get(request.connector_id) == request.status:
            del self._reported[request.connector_id]
