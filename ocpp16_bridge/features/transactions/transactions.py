"""Transactions: their start, their course, their end (OCPP 1.6, 4.8 and 4.10; obligations 5)."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, Reason

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import BooleanKey, IntegerKey
from ocpp16_bridge.csms.call_queue import Answered, Outcome
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import Authorization, IdTagInfo
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import ConnectorState, HardwareError
from ocpp16_bridge.features.delivery import TRANSACTION_QUEUE, Delivery
from ocpp16_bridge.features.metering.metering import Metering
from ocpp16_bridge.features.metering.readings import Register
from ocpp16_bridge.features.transactions.record import GIVEN_UP, End, Transaction
from ocpp16_bridge.handlers import on_result
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

EV_SIDE_DISCONNECTED = "EV side disconnected"  # StatusNotification.info (ST-12)
SHOW_EVERY = 1.0  # s: the topic follows the meter at most this often


@dataclass
class Outlet:
    """What a connector does for its transaction at this moment; nothing of it outlives the process."""

    connector: Connector
    session_id: str | None = None
    in_grace: bool = False  # not ready is taken for not ready yet
    has_charged: bool = False  # both were ready once
    grace: Timer | None = None
    stop_wait: Timer | None = None  # for a last meter reading
    show: Timer | None = None
    is_permitted: bool = False
    wants_lock: bool = False
    keeps_lock_for: Transaction | None = None  # a finished one whose cable only its own user frees
    is_undecided: bool = False  # a transaction of a former process, until the hardware says what is there


class Transactions(Feature):
    stop_transaction_on_ev_side_disconnect = BooleanKey("StopTransactionOnEVSideDisconnect", default=True)
    stop_transaction_on_invalid_id = BooleanKey("StopTransactionOnInvalidId", default=True)
    max_energy_on_invalid_id = IntegerKey("MaxEnergyOnInvalidId", 0)  # Wh

    def __init__(
        self,
        context: Context,
        connectors: Connectors,
        authorization: Authorization,
        metering: Metering,
        delivery: Delivery,
    ) -> None:
        super().__init__(context)
        self._connectors = connectors
        self._authorization = authorization
        self._metering = metering
        self._delivery = delivery
        self._records = context.store.collection("transaction", Transaction)
        self._delivered: asyncio.Future[object] | None = None  # what `until_delivered` waits for
        self._outlets = {connector.id: Outlet(connector) for connector in connectors.all}
        # Smart charging says whether a limit forbids charging, and hears of beginnings and ends.
        self.is_limited: Callable[[Connector], bool] = lambda _connector: False
        self.on_begin: list[Callable[[Connector, Transaction], None]] = []
        self.on_end: list[Callable[[Connector, Transaction], None]] = []
        connectors.on_state.append(self._state_changed)
        connectors.on_fault.append(self.refresh)
        metering.on_reading.append(self._read)
        metering.on_persist.append(self._persist_registers)
        context.csms.endpoint.on_disconnected.append(self._link_lost)
        delivery.on_given_up.append(self._given_up)
        delivery.fill_in = self._with_transaction_id

    # -- what there is

    def running(self, connector: Connector) -> Transaction | None:
        """The transaction on this connector that has not ended."""
        record = self._present(self._outlets[connector.id])
        return record if record is not None and record.is_running else None

    def _present(self, outlet: Outlet) -> Transaction | None:
        return None if outlet.session_id is None else self._records.get(outlet.session_id)

    def find(self, transaction_id: int) -> tuple[Connector, Transaction] | None:
        """The running transaction with this id of the CSMS."""
        for outlet in self._outlets.values():
            record = self.running(outlet.connector)
            if record is not None and record.transaction_id == transaction_id:
                return outlet.connector, record
        return None

    def is_free(self, connector: Connector) -> bool:
        """Whether a new transaction may begin here."""
        return self._connectors.is_usable(connector) and self.running(connector) is None

    # -- start

    def begin(
        self, connector: Connector, id_tag: str, info: IdTagInfo, reservation_id: int | None = None
    ) -> Transaction:
        """The id tag is authorised and the EV connected: the transaction begins now (OCPP 1.6, 4.8)."""
        outlet = self._outlets[connector.id]
        self._finish_former(outlet)
        now = format_time(self.context.clock.now())
        register = self._first_register(connector)
        record = Transaction(
            session_id=self.context.new_id(),
            connector_id=connector.id,
            id_tag=id_tag,
            parent_id_tag=info.parent_id_tag,
            meter_start=0 if register is None else register.wh,
            started_at=now,
            boot_id=self.context.boot_id,
            register=Register(0 if register is None else register.wh, now),
            counts_from=None if register is None else 0,
            reservation_id=reservation_id,
        )
        self._records.put(record.session_id, record)
        outlet.session_id = record.session_id
        outlet.has_charged = False
        self._metering.begin(connector, record.session_id, record.counts_from or 0)
        self.context.csms.send_durable(
            TRANSACTION_QUEUE,
            call.StartTransaction(
                connector_id=connector.id,
                id_tag=id_tag,
                meter_start=record.meter_start,
                timestamp=now,
                reservation_id=reservation_id,
            ),
            about=record.session_id,
        )
        connector.finishing = connector.claimed = False
        connector.info = None
        for listener in self.on_begin:
            listener(connector, record)
        self.refresh(connector)
        self.event("started", connector, record)
        return record

    def _finish_former(self, outlet: Outlet) -> None:
        """StopTransaction of one that waits for its last meter reading precedes the next StartTransaction."""
        former = self._present(outlet)
        if former is not None and not former.is_stopped:
            self._stop(outlet, former)
        outlet.keeps_lock_for = None

    def _first_register(self, connector: Connector) -> Register | None:
        register = self._metering.register(connector) or self._metering.stored_register(connector)
        if register is None:
            logger.warning(
                "connector %s: no meter reading yet: the transaction counts from its first one, meterStart is 0",
                connector.id,
            )
        return register

    @on_result
    def on_start_transaction(self, _request: call.StartTransaction, outcome: Outcome, session_id: str) -> None:
        record = self._records.get(session_id)
        if record is None:
            return
        if not isinstance(outcome, Answered):
            self._records.put(session_id, replace(record, transaction_id=GIVEN_UP))
            return
        info = IdTagInfo.read(outcome.payload["idTagInfo"])
        record = replace(
            record,
            transaction_id=outcome.payload["transactionId"],
            parent_id_tag=info.parent_id_tag or record.parent_id_tag,
        )
        self._records.put(session_id, record)
        connector = self._connectors[record.connector_id]
        if not self._authorization.learn(record.id_tag, info):
            self._report_list_conflict()
        if record.is_running:
            if not info.at(self.context.clock.now()).is_accepted:
                self._invalidate(connector, record, info)
            self.refresh(connector)

    def _report_list_conflict(self) -> None:
        """AU-10."""
        error = HardwareError(error_code=ChargePointErrorCode.local_list_conflict, faulted=False)
        self._connectors.set_error(self._connectors.charge_point, "local_auth_list", error)

    # -- an id tag that the CSMS does not accept afterwards (4.5)

    def _invalidate(self, connector: Connector, record: Transaction, info: IdTagInfo) -> None:
        logger.warning("connector %s: the CSMS answers StartTransaction with %s", connector.id, info.status)
        record = replace(record, is_invalid=True)
        if self.max_energy_on_invalid_id:
            record = replace(record, energy_until=self._register(record).wh + self.max_energy_on_invalid_id)
        self._records.put(record.session_id, record)
        if record.energy_until is None:
            self._cut_off(connector, record)

    def _cut_off(self, connector: Connector, record: Transaction) -> None:
        if self.stop_transaction_on_invalid_id:
            self._outlets[connector.id].keeps_lock_for = record
            self.end(connector, Reason.de_authorized)
        else:
            self._records.put(record.session_id, replace(record, is_cut_off=True))

    # -- end

    def end(self, connector: Connector, reason: str, id_tag: str | None = None) -> None:
        """End the running transaction now; StopTransaction follows when the meter has been read once more."""
        outlet = self._outlets[connector.id]
        record = self.running(connector)
        assert record is not None  # noqa: S101 - the caller has it
        now = self.context.clock.now()
        record = replace(record, end=End(reason, format_time(now), id_tag))
        self._records.put(record.session_id, record)
        connector.finishing = connector.state.has_cable
        wait = self.context.settings.transactions.stop_meter_wait
        if wait and not self._is_read_since_end(connector, record):
            outlet.stop_wait = self.context.timers.after(wait, "last meter reading", lambda: self._stop_waiting(outlet))
            self.refresh(connector)
        else:
            self._stop(outlet, record)

    def _is_read_since_end(self, connector: Connector, record: Transaction) -> bool:
        read_at = self._metering.read_at(connector)
        return read_at is not None and record.end is not None and read_at >= parse_time(record.end.at)

    def _stop_waiting(self, outlet: Outlet) -> None:
        record = self._present(outlet)
        if record is not None and not record.is_stopped:
            self._stop(outlet, record)

    def _stop(self, outlet: Outlet, record: Transaction) -> None:
        """Queue StopTransaction with the last register; the transaction is over."""
        if outlet.stop_wait is not None:
            outlet.stop_wait.cancel()
            outlet.stop_wait = None
        connector = outlet.connector
        record = replace(record, register=self._register(record), is_stopped=True)
        self._metering.end(connector)
        self._send_stop(record)
        for listener in self.on_end:
            listener(connector, record)
        self.refresh(connector)
        self._tell_of_end(connector, record)
        outlet.session_id = None
        self.refresh(connector)

    def _send_stop(self, record: Transaction) -> None:
        assert record.end is not None  # noqa: S101 - see above
        self._records.put(record.session_id, record)
        self.context.csms.send_durable(
            TRANSACTION_QUEUE,
            call.StopTransaction(
                transaction_id=GIVEN_UP,  # filled in when it is sent (TX-28)
                meter_stop=record.register.wh,
                timestamp=record.end.at,
                reason=record.end.reason,
                id_tag=record.end.id_tag,
                transaction_data=self._metering.transaction_data(record.session_id),
            ),
            about=record.session_id,
        )
        self._metering.forget(record.session_id)

    def _tell_of_end(self, connector: Connector, record: Transaction) -> None:
        assert record.end is not None  # noqa: S101 - it is over
        self.event(
            "ended",
            connector,
            record,
            reason=record.end.reason,
            meter_stop=record.register.wh,
            ended_at=record.end.at,
        )

    def end_all(self, reason: str, *, at_once: bool = False) -> None:
        """End every running transaction, ``at_once`` without waiting for a last meter reading."""
        for outlet in self._outlets.values():
            if self.running(outlet.connector) is not None:
                self.end(outlet.connector, reason)
            if at_once:
                self._stop_waiting(outlet)

    def refresh_all(self) -> None:
        """Follow what concerns every connector."""
        for connector in self._connectors.all:
            self.refresh(connector)

    async def until_delivered(self, limit: float) -> None:
        """Wait until the CSMS has all transactions that ended; at most ``limit`` s, and not without a link."""
        if self.context.csms.accepted and self._is_anything_undelivered():
            delivered = self._delivered = self.context.conversations.future()
            timer = self.context.timers.after(limit, "delivery of transactions", self._settle_delivered)
            await delivered
            timer.cancel()

    def _is_anything_undelivered(self) -> bool:
        return any(not record.is_running for _, record in self._records.items())

    def _settle_delivered(self) -> None:
        if self._delivered is not None and not self._delivered.done():
            self._delivered.set_result(None)
        self._delivered = None

    def _link_lost(self, _reason: str) -> None:
        self._settle_delivered()

    @on_result
    def on_stop_transaction(self, request: call.StopTransaction, outcome: Outcome, session_id: str) -> None:
        record = self._records.get(session_id)
        info = outcome.payload.get("idTagInfo") if isinstance(outcome, Answered) else None
        if record is not None:
            if info is not None:
                self._authorization.learn(request.id_tag or record.id_tag, IdTagInfo.read(info))
            self._records.delete(session_id)
        if not self._is_anything_undelivered():
            self._settle_delivered()

    def _given_up(self, session_id: str, frame: list[Any]) -> None:
        record = self._records.get(session_id)
        if record is not None:
            self.event("given_up", self._connectors[record.connector_id], record, frame=frame)

    def _with_transaction_id(self, action: str, payload: dict[str, Any], session_id: str) -> dict[str, Any]:
        """The payload as it goes out: the id is put in when it is sent (TX-28), -1 where there is none (TX-27)."""
        if not session_id or action == "StartTransaction":
            return payload
        record = self._records.get(session_id)
        known = None if record is None else record.transaction_id
        return {**payload, "transactionId": GIVEN_UP if known is None else known}

    # -- its course

    def _state_changed(self, connector: Connector, former: ConnectorState) -> None:
        outlet = self._outlets[connector.id]
        state = connector.state
        if outlet.is_undecided:
            self._decide(outlet)
        elif self.running(connector) is not None:
            self._follow_plug(connector, former)
        if not state.has_cable and not state.plugged:
            connector.finishing = False
            outlet.keeps_lock_for = None
        elif state.plugged and not former.plugged:
            connector.finishing = False  # plugged anew: the user begins again (F2)
        self.refresh(connector)

    def _follow_plug(self, connector: Connector, former: ConnectorState) -> None:
        """The EV is unplugged, at its own end or at ours (TX-11, TX-12, TX-14)."""
        state = connector.state
        if state.plugged:
            connector.info = None
        elif former.plugged:
            connector.info = EV_SIDE_DISCONNECTED
            cable_is_gone = state.cable is False
            if self.stop_transaction_on_ev_side_disconnect or cable_is_gone:
                record = self.running(connector)
                if not self._connectors.unlock_connector_on_ev_side_disconnect:
                    self._outlets[connector.id].keeps_lock_for = record
                self.end(connector, Reason.ev_disconnected)

    def refresh(self, connector: Connector) -> None:
        """Follow facts, limits and commands: what the connector does, and what of it is shown."""
        if connector.id == 0:
            self.refresh_all()
            return
        outlet = self._outlets[connector.id]
        record = self._present(outlet)
        self._permit(outlet, record)
        former = connector.transaction
        connector.transaction = None if record is None or not record.is_running else self._status(outlet, record)
        self._show_lock(outlet, record)
        self._show_transaction(outlet, record)
        self._connectors.update(connector)
        goes_on = former is not None and connector.transaction is not None
        if record is not None and goes_on and _charging_state(former) != _charging_state(connector.transaction):
            self.event("updated", connector, record)

    def _permit(self, outlet: Outlet, record: Transaction | None) -> None:
        """Whether the hardware may close its contactor."""
        connector = outlet.connector
        permitted = (
            record is not None
            and record.is_running
            and not record.is_cut_off
            and not connector.is_faulted
            and not self.context.csms.stopped
        )
        topic = f"connector/{connector.id}/charging_permitted"
        if permitted and not outlet.is_permitted:
            self._begin_grace(outlet)
        elif not permitted:
            self._end_grace(outlet)
        if outlet.in_grace and connector.state.evse_ready and connector.state.ev_ready:
            self._end_grace(outlet)
        outlet.is_permitted = permitted
        self.context.variables.set(topic, permitted)

    def _begin_grace(self, outlet: Outlet) -> None:
        """Not ready is not ready yet, for a while: no detour through Suspended… on the way to Charging."""
        grace = self.context.settings.hardware.start_grace
        if grace and not outlet.is_undecided:
            outlet.in_grace = True
            outlet.grace = self.context.timers.after(grace, "start grace", lambda: self._grace_over(outlet))

    def _grace_over(self, outlet: Outlet) -> None:
        self._end_grace(outlet)
        self.refresh(outlet.connector)

    def _end_grace(self, outlet: Outlet) -> None:
        outlet.in_grace = False
        if outlet.grace is not None:
            outlet.grace.cancel()
            outlet.grace = None

    def _status(self, outlet: Outlet, record: Transaction) -> ChargePointStatus:
        """Both sides suspend: SuspendedEVSE wins (ST-03)."""
        state = outlet.connector.state
        if record.is_cut_off or self.is_limited(outlet.connector):
            return ChargePointStatus.suspended_evse
        if outlet.is_undecided or (state.plugged and state.evse_ready and state.ev_ready):
            outlet.has_charged = True
            return ChargePointStatus.charging
        if not state.plugged:
            return ChargePointStatus.suspended_ev
        if outlet.in_grace:
            return ChargePointStatus.charging if outlet.has_charged else ChargePointStatus.preparing
        return ChargePointStatus.suspended_ev if state.evse_ready else ChargePointStatus.suspended_evse

    # -- the meter

    def _register(self, record: Transaction) -> Register:
        """The register as it is reported: counted from where this transaction counts, and never falling (TX-04)."""
        connector = self._connectors[record.connector_id]
        reading = self._metering.register(connector)
        if reading is None or record.counts_from is None:
            return record.register
        wh = reading.wh - record.counts_from
        return Register(wh, reading.at) if wh >= record.register.wh else record.register

    def _read(self, connector: Connector) -> None:
        outlet = self._outlets.get(connector.id)
        record = None if outlet is None else self._present(outlet)
        if outlet is None or record is None:
            return
        if record.counts_from is None and (first := self._metering.register(connector)) is not None:
            record = replace(record, counts_from=first.wh)
            self._records.put(record.session_id, record)
            self._metering.count_from(connector, first.wh)
        if not record.is_running:
            if self._is_read_since_end(connector, record):
                self._stop(outlet, record)
            return
        if record.energy_until is not None and self._register(record).wh >= record.energy_until:
            record = replace(record, energy_until=None)
            self._records.put(record.session_id, record)
            self._cut_off(connector, record)
            self.refresh(connector)
        elif outlet.show is None:
            self._show_transaction(outlet, record)
            outlet.show = self.context.timers.after(SHOW_EVERY, "transaction topic", lambda: self._show_later(outlet))

    def _show_later(self, outlet: Outlet) -> None:
        outlet.show = None
        self._show_transaction(outlet, self._present(outlet))

    def _persist_registers(self) -> None:
        """At most a minute of energy is lost to a power cut (TX-05)."""
        for outlet in self._outlets.values():
            record = self.running(outlet.connector)
            if record is not None and not outlet.is_undecided:
                self._records.put(record.session_id, replace(record, register=self._register(record)))

    # -- after a restart (TX-40 … TX-46)

    def start(self) -> None:
        for record in [record for _, record in self._records.items() if not record.is_stopped]:
            outlet = self._outlets.get(record.connector_id)
            if outlet is None or record.end is not None:
                # The process ended between the end and its StopTransaction, or the connector is no longer configured.
                self._stop_as_it_was(record, record.end or self._power_loss(record))
            else:
                outlet.session_id = record.session_id
                outlet.is_undecided = True
        for connector in self._connectors.all:
            self.refresh(connector)
        limit = self.context.settings.hardware.start_timeout
        self.context.timers.after(limit, "open transactions", self._warn_of_undecided)

    def _warn_of_undecided(self) -> None:
        for outlet in self._outlets.values():
            if outlet.is_undecided:
                logger.warning(
                    "connector %s: a transaction is open, and the hardware has not said yet whether the EV is there "
                    "(hardware/connector/%s/state): it stays open",
                    outlet.connector.id,
                    outlet.connector.id,
                )

    def _decide(self, outlet: Outlet) -> None:
        """Does the transaction of a former process go on? The first state of its connector decides (contract 4)."""
        record = self._present(outlet)
        assert record is not None  # noqa: S101 - that is what undecided means
        outlet.is_undecided = False
        plugged = outlet.connector.state.plugged
        same_boot = record.boot_id == self.context.boot_id
        if same_boot:
            goes_on = plugged or not self.stop_transaction_on_ev_side_disconnect
        else:
            goes_on = plugged and self.context.settings.transactions.on_power_loss == "resume"
        if goes_on:
            self._go_on(outlet, replace(record, boot_id=self.context.boot_id))
        else:
            outlet.session_id = None
            outlet.connector.finishing = outlet.connector.state.has_cable
            ended = self._stop_as_it_was(record, self._power_loss(record))
            for listener in self.on_end:
                listener(outlet.connector, ended)

    def _go_on(self, outlet: Outlet, record: Transaction) -> None:
        logger.info("connector %s: the transaction goes on after a restart", outlet.connector.id)
        self._records.put(record.session_id, record)
        self._metering.begin(outlet.connector, record.session_id, record.counts_from or 0, resumed=True)
        if record.is_invalid and record.energy_until is None and not record.is_cut_off:
            self._cut_off(outlet.connector, record)

    @staticmethod
    def _power_loss(record: Transaction) -> End:
        """The end of a lost transaction is its last known reading, never now (TX-42)."""
        return End(Reason.power_loss, record.register.at)

    def _stop_as_it_was(self, record: Transaction, end: End) -> Transaction:
        logger.warning(
            "connector %s: a transaction did not survive the restart: StopTransaction %s with %s Wh",
            record.connector_id,
            end.reason,
            record.register.wh,
        )
        record = replace(record, end=end, is_stopped=True)
        self._send_stop(record)
        if record.connector_id in self._connectors:
            connector = self._connectors[record.connector_id]
            self._tell_of_end(connector, record)
        return record

    # -- what others see

    def _show_lock(self, outlet: Outlet, record: Transaction | None) -> None:
        if outlet.connector.settings.lock:
            locked = (
                outlet.wants_lock or outlet.keeps_lock_for is not None or (record is not None and record.is_running)
            )
            self.context.variables.set(f"connector/{outlet.connector.id}/lock", locked)

    def want_lock(self, connector: Connector, *, wanted: bool) -> None:
        """Ask the hardware to lock the cable before the transaction begins, or let it go."""
        self._outlets[connector.id].wants_lock = wanted
        self.refresh(connector)

    def release(self, connector: Connector) -> None:
        """The cable that was kept for its user is freed."""
        self._outlets[connector.id].keeps_lock_for = None
        self.refresh(connector)

    def kept_for(self, connector: Connector) -> Transaction | None:
        """The finished transaction whose user alone may take the cable."""
        return self._outlets[connector.id].keeps_lock_for

    def _show_transaction(self, outlet: Outlet, record: Transaction | None) -> None:
        shown = None if record is None or record.is_stopped else self._shown(outlet.connector, record)
        self.context.variables.set(f"connector/{outlet.connector.id}/transaction", shown)

    def _shown(self, connector: Connector, record: Transaction) -> dict[str, Any]:
        register = record.register if record.is_stopped else self._register(record)
        members = {
            "session_id": record.session_id,
            "transaction_id": record.transaction_id,
            "id_tag": record.id_tag,
            "meter_start": record.meter_start,
            "started_at": record.started_at,
            "charging_state": _charging_state(connector.transaction),
            "energy_wh": register.wh - record.meter_start,
        }
        optional = {"parent_id_tag": record.parent_id_tag, "reservation_id": record.reservation_id}
        return members | {name: value for name, value in optional.items() if value is not None}

    def event(self, name: str, connector: Connector, record: Transaction, **details: Any) -> None:
        """`event/transaction`: everything of the connector's topic, and what belongs to the event."""
        self.context.variables.event(
            "transaction",
            {"event": name, "connector_id": connector.id, **self._shown(connector, record), **details},
        )


def _charging_state(status: ChargePointStatus | None) -> ChargePointStatus:
    """The three words of the `transaction` topic: not ready yet counts as charging."""
    if status in (ChargePointStatus.suspended_ev, ChargePointStatus.suspended_evse):
        return status
    return ChargePointStatus.charging
