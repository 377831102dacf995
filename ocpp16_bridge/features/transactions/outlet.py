"""An outlet: one connector, and what it does for its transaction at this moment (contract 2 and 4)."""

from collections.abc import Callable
from typing import Any

from ocpp.v16.enums import ChargePointStatus

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.feature import Context
from ocpp16_bridge.features.connectors.connectors import Connector
from ocpp16_bridge.features.metering.metering import Metering
from ocpp16_bridge.features.metering.readings import Register
from ocpp16_bridge.features.transactions.record import Transaction
from ocpp16_bridge.timestamps import parse_time

SHOW_EVERY = 1.0  # s: the topic `transaction` follows the meter at most this often


class Outlet:
    """What is shown and permitted at one connector; nothing of it outlives the process.

    Args:
        context: shared by all features.
        connector: the one.
        metering: reads its meter.
        refresh: called when time alone changes what is to be shown.

    """

    def __init__(
        self, context: Context, connector: Connector, metering: Metering, refresh: Callable[[Connector], None]
    ) -> None:
        self._context = context
        self.connector = connector
        self._metering = metering
        self._refresh = refresh
        self.session_id: str | None = None  # of the transaction that is here
        self.is_undecided = False  # it is one of a former process, and the hardware has not said yet what is there
        self.stop_wait: Timer | None = None  # it has ended, and waits for a last meter reading
        self.wants_lock = False
        self.keeps_lock_for: Transaction | None = None  # a finished one whose cable only its own user frees
        # Charging, SuspendedEV or SuspendedEVSE: not ready yet counts as charging.
        self.charging_state = ChargePointStatus.charging
        self._register: Register | None = None  # the last one as reported
        self._is_permitted = False
        self._has_charged = False  # both sides were ready once
        self._grace: Timer | None = None  # while it runs, not ready is taken for not ready yet
        self._record: Transaction | None = None  # what is to be shown
        self._shown: dict[str, Any] | None = None  # what is
        self._pause: Timer | None = None  # while it runs, the topic does not follow the meter

    def occupy(self, session_id: str) -> None:
        """A transaction is here from now on."""
        self.session_id = session_id
        self.charging_state = ChargePointStatus.charging
        self._register = None
        self._has_charged = False

    def vacate(self) -> None:
        self.session_id = None
        self.is_undecided = False

    # -- the meter

    def register(self, record: Transaction) -> Register:
        """The register as it is reported: counted from where ``record`` counts, and never falling (TX-04)."""
        last = self._register or record.register
        reading = None if self.is_undecided else self._metering.register(self.connector)
        if reading is not None and record.counts_from is not None:
            reported = Register(reading.wh - record.counts_from, reading.at)
            if reported.wh > last.wh or (reported.wh == last.wh and parse_time(reported.at) > parse_time(last.at)):
                last = reported
        self._register = last
        return last

    def read(self, record: Transaction) -> None:
        """The meter was read: the topic follows now or a little later."""
        self.register(record)
        self._show(record)

    # -- what follows from facts, limits and the transaction

    def follow(self, record: Transaction | None, *, is_limited: bool) -> None:
        """Permit, lock, judge and show what the transaction asks for; ``is_limited``: a limit forbids charging."""
        running = record if record is not None and record.is_running else None
        self._permit(running)
        self.connector.transaction = None if running is None else self._status(running, is_limited=is_limited)
        if self.connector.transaction is not None:
            self.charging_state = _charging_state(self.connector.transaction)
        self._show_lock(running)
        self._show(record)

    def _permit(self, running: Transaction | None) -> None:
        """Whether the hardware may close its contactor."""
        state = self.connector.state
        permitted = (
            running is not None
            and not running.is_cut_off
            # After a boot of the machine the first state decides whether it goes on.
            and not (self.is_undecided and running.boot_id != self._context.boot_id)
            and not self.connector.is_faulted
            and not self._context.csms.stopped
        )
        if permitted and not self._is_permitted:
            self._begin_grace()
        if not permitted or (state.evse_ready and state.ev_ready):
            self._end_grace()
        self._is_permitted = permitted
        self._context.variables.set(f"connector/{self.connector.id}/charging_permitted", permitted)

    def _begin_grace(self) -> None:
        """Not ready is not ready yet, for a while: no detour through Suspended… on the way to Charging."""
        grace = self._context.settings.hardware.start_grace
        if grace and not self.is_undecided:
            self._grace = self._context.timers.after(grace, "start grace", self._grace_over)

    def _grace_over(self) -> None:
        self._end_grace()
        self._refresh(self.connector)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _status(self, running: Transaction, *, is_limited: bool) -> ChargePointStatus:
        """Both sides suspend: SuspendedEVSE wins (ST-03)."""
        state = self.connector.state
        if running.is_cut_off or is_limited:
            return ChargePointStatus.suspended_evse
        if self.is_undecided or (state.plugged and state.evse_ready and state.ev_ready):
            self._has_charged = True
            return ChargePointStatus.charging
        if not state.plugged:
            return ChargePointStatus.suspended_ev
        if self._grace is not None:
            return ChargePointStatus.charging if self._has_charged else ChargePointStatus.preparing
        return ChargePointStatus.suspended_ev if state.evse_ready else ChargePointStatus.suspended_evse

    def _show_lock(self, running: Transaction | None) -> None:
        if self.connector.settings.lock:
            locked = self.wants_lock or self.keeps_lock_for is not None or running is not None
            self._context.variables.set(f"connector/{self.connector.id}/lock", locked)

    # -- the topic `transaction`

    def shown(self, record: Transaction) -> dict[str, Any]:
        return record.shown(self.charging_state, self.register(record))

    def _show(self, record: Transaction | None) -> None:
        """Show ``record``; where only its energy has changed, not before the pause is over."""
        self._record = record
        shown = None if record is None else self.shown(record)
        if self._pause is None or _but_for_energy(shown) != _but_for_energy(self._shown):
            self._context.variables.set(f"connector/{self.connector.id}/transaction", shown)
            if shown != self._shown and shown is not None:
                self._begin_pause()
            self._shown = shown

    def _begin_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._pause = self._context.timers.after(SHOW_EVERY, "transaction topic", self._pause_over)

    def _pause_over(self) -> None:
        self._pause = None
        self._show(self._record)


def _but_for_energy(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if shown is None else {**shown, "energy_wh": 0}


def _charging_state(status: ChargePointStatus) -> ChargePointStatus:
    if status in (ChargePointStatus.suspended_ev, ChargePointStatus.suspended_evse):
        return status
    return ChargePointStatus.charging
