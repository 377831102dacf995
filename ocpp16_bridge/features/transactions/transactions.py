"""Transactions: their start, their course, their end (OCPP 1.6, 4.8 and 4.10; obligations 5)."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointStatus, Reason

from ocpp16_bridge.configuration_keys import BooleanKey, IntegerKey
from ocpp16_bridge.csms.call_queue import Answered, Outcome
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import Authorization, IdTagInfo
from ocpp16_bridge.features.clock_synchronisation import Correction
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import ConnectorState
from ocpp16_bridge.features.delivery import Delivery
from ocpp16_bridge.features.metering.metering import Metering
from ocpp16_bridge.features.metering.readings import Register
from ocpp16_bridge.features.transactions.outlet import Outlet
from ocpp16_bridge.features.transactions.record import End, Transaction
from ocpp16_bridge.features.transactions.recovery import Recovery
from ocpp16_bridge.features.transactions.reports import Reports
from ocpp16_bridge.handlers import on_result
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

EV_SIDE_DISCONNECTED = "EV side disconnected"  # StatusNotification.info (ST-12)
_ACCEPTED_BY = "accepted_by"


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
        self._records = context.store.collection("transaction", Transaction)
        self._accepted_by = context.store.collection("accepted_by", str)
        self._outlets = {one.id: Outlet(context, one, metering, self.refresh) for one in connectors.all}
        self._reports = Reports(context, self._records, metering)
        self._recovery = Recovery(
            context, self._outlets, self._go_on, self._close, lambda: self.stop_transaction_on_ev_side_disconnect
        )
        # What the machine's clock said at a monotonic moment, while the CSMS has not told its time in this boot.
        clock = context.clock
        self._unconfirmed = None if clock.is_confirmed else (clock.now(), clock.monotonic())
        # Smart charging says whether a limit forbids charging, and hears of beginnings and ends.
        self.is_limited: Callable[[Connector], bool] = lambda _connector: False
        self.on_begin: list[Callable[[Connector, Transaction], None]] = []
        self.on_end: list[Callable[[Connector, Transaction], None]] = []
        connectors.on_state.append(self._state_changed)
        connectors.on_fault.append(self.refresh)
        metering.on_reading.append(self._read)
        metering.on_persist.append(self._persist_registers)
        context.csms.on_accepted.append(self._accepted)
        context.csms.on_registration.append(self._put_times_right)
        delivery.on_given_up.append(self._given_up)

    def start(self) -> None:
        for record in [record for _, record in self._records.items() if not record.is_stopped]:
            self._recovery.take_up(record)
        self.refresh_all()
        self._recovery.watch()

    # -- what there is

    def running(self, connector: Connector) -> Transaction | None:
        """The transaction on this connector that has not ended."""
        record = self._present(self._outlets[connector.id])
        return record if record is not None and record.is_running else None

    def _present(self, outlet: Outlet) -> Transaction | None:
        """The transaction here whose StopTransaction is not queued yet."""
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
        return self._is_known_to_csms() and self._connectors.is_usable(connector) and self.running(connector) is None

    def _is_known_to_csms(self) -> bool:
        """Who was never accepted by this CSMS would charge for nobody (BT-20)."""
        return self._accepted_by.get(_ACCEPTED_BY) == self._csms_and_identity()

    def _csms_and_identity(self) -> str:
        settings = self.context.settings
        return f"{settings.csms.public_url} {settings.charge_point.id}"

    def _accepted(self) -> None:
        self._accepted_by.put(_ACCEPTED_BY, self._csms_and_identity())

    def _put_times_right(self) -> None:
        """What was stamped before the CSMS told its time; what is queued is put right when it is sent (BT-22)."""
        clock = self.context.clock
        if self._unconfirmed is not None and clock.is_confirmed:
            said, monotonic = self._unconfirmed
            self._unconfirmed = None
            would_say = said + timedelta(seconds=clock.monotonic() - monotonic)
            correction = Correction.of(would_say, clock.monotonic(), clock.at_monotonic(0.0))
            for session_id, record in list(self._records.items()):
                self._records.put(session_id, _corrected(record, correction))
                self._reports.put_samples_right(session_id, correction)
            self.refresh_all()

    # -- start

    def begin(
        self, connector: Connector, id_tag: str, info: IdTagInfo, reservation_id: int | None = None
    ) -> Transaction:
        """The id tag is authorised and the EV connected: the transaction begins now (OCPP 1.6, 4.8)."""
        outlet = self._outlets[connector.id]
        self._finish_former(outlet)
        now = format_time(self.context.clock.now())
        register = self._first_register(connector)
        wh = 0 if register is None else register.wh
        record = Transaction(
            session_id=self.context.new_id(),
            connector_id=connector.id,
            id_tag=id_tag,
            parent_id_tag=info.parent_id_tag,
            meter_start=wh,
            started_at=now,
            boot_id=self.context.boot_id,
            register=Register(wh, now),
            counts_from=None if register is None else 0,
            reservation_id=reservation_id,
        )
        self._records.put(record.session_id, record)
        outlet.occupy(record.session_id)
        self._metering.begin(connector, record.session_id, record.counts_from or 0)
        self._reports.start(record)
        connector.finishing = connector.claimed = False
        connector.info = None
        for listener in self.on_begin:
            listener(connector, record)
        self.refresh(connector)
        self._tell("started", record)
        return record

    def _finish_former(self, outlet: Outlet) -> None:
        """StopTransaction of one that waits for its last meter reading precedes the next StartTransaction."""
        self._stop_waiting(outlet)
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
        """Without an answer there is no id: later messages say so (TX-27)."""
        record = self._records.get(session_id)
        if record is None or not isinstance(outcome, Answered):
            return
        info = IdTagInfo.read(outcome.payload["idTagInfo"])
        record = replace(
            record,
            transaction_id=outcome.payload["transactionId"],
            parent_id_tag=info.parent_id_tag or record.parent_id_tag,
        )
        self._records.put(session_id, record)
        self._authorization.learn(record.id_tag, info)
        outlet = self._outlets.get(record.connector_id)
        if outlet is not None and record.is_running:
            if not info.at(self.context.clock.now()).is_accepted:
                self._invalidate(outlet, record, info)
            self.refresh(outlet.connector)

    # -- an id tag that the CSMS does not accept afterwards (4.5)

    def _invalidate(self, outlet: Outlet, record: Transaction, info: IdTagInfo) -> None:
        logger.warning("connector %s: the CSMS answers StartTransaction with %s", record.connector_id, info.status)
        record = replace(record, is_invalid=True)
        if self.max_energy_on_invalid_id:
            record = replace(record, energy_until=outlet.register(record).wh + self.max_energy_on_invalid_id)
        self._records.put(record.session_id, record)
        if record.energy_until is None:
            self._cut_off(outlet, record)

    def _cut_off(self, outlet: Outlet, record: Transaction) -> None:
        if self.stop_transaction_on_invalid_id:
            outlet.keeps_lock_for = record
            self.end(outlet.connector, Reason.de_authorized)
        else:
            self._records.put(record.session_id, replace(record, is_cut_off=True))
            self.refresh(outlet.connector)

    # -- end

    def end(self, connector: Connector, reason: str, id_tag: str | None = None) -> None:
        """End the running transaction now; StopTransaction follows when the meter has been read once more."""
        outlet = self._outlets[connector.id]
        record = self.running(connector)
        assert record is not None  # noqa: S101 - the caller has it
        if outlet.is_undecided:
            self._recovery.go_on(outlet, record)
            record = self.running(connector) or record
        end = End(reason, format_time(self.context.clock.now()), id_tag)
        record = replace(record, end=end, register=outlet.register(record))
        self._records.put(record.session_id, record)
        connector.finishing = connector.state.has_cable
        wait = self.context.settings.transactions.stop_meter_wait
        if wait and not self._is_read_since(connector, end):
            outlet.stop_wait = self.context.timers.after(wait, "last meter reading", lambda: self._stop_waiting(outlet))
            self.refresh(connector)
        else:
            self._stop(outlet, record)

    def _is_read_since(self, connector: Connector, end: End) -> bool:
        read_at = self._metering.read_at(connector)
        return read_at is not None and read_at >= parse_time(end.at)

    def _stop_waiting(self, outlet: Outlet) -> None:
        record = self._present(outlet)
        if record is not None and not record.is_running:
            self._stop(outlet, record)

    def _stop(self, outlet: Outlet, record: Transaction) -> None:
        """The meter has been read, or nobody waits for it any more."""
        if outlet.stop_wait is not None:
            outlet.stop_wait.cancel()
            outlet.stop_wait = None
        self._metering.end(outlet.connector)
        self._close(replace(record, register=outlet.register(record)))

    def _close(self, record: Transaction) -> None:
        """Queue StopTransaction with the last register; the transaction is over."""
        record = replace(record, is_stopped=True)
        assert record.end is not None  # noqa: S101 - it is over
        self._records.put(record.session_id, record)
        self._reports.stop(record)
        details = {"reason": record.end.reason, "meter_stop": record.register.wh, "ended_at": record.end.at}
        self._tell("ended", record, **details)
        outlet = self._outlets.get(record.connector_id)
        if outlet is not None:
            outlet.vacate()
            self.refresh(outlet.connector)  # before others get its share of the energy
            for listener in self.on_end:
                listener(outlet.connector, record)

    def end_all(self, reason: str, *, at_once: bool = False) -> None:
        """End every running transaction, ``at_once`` without waiting for a last meter reading."""
        for outlet in self._outlets.values():
            if self.running(outlet.connector) is not None:
                self.end(outlet.connector, reason)
            if at_once:
                self._stop_waiting(outlet)

    async def until_delivered(self, limit: float) -> None:
        """Wait until the CSMS has all transactions that ended; at most ``limit`` s, and not without a link."""
        await self._reports.until_delivered(limit)

    @on_result
    def on_stop_transaction(self, request: call.StopTransaction, outcome: Outcome, session_id: str) -> None:
        """Answered or given up, it is done with (TX-15)."""
        record = self._records.get(session_id)
        if record is not None:
            info = outcome.payload.get("idTagInfo") if isinstance(outcome, Answered) else None
            if info is not None:
                self._authorization.learn(request.id_tag or record.id_tag, IdTagInfo.read(info))
            self._records.delete(session_id)
        self._reports.stop_ended()

    def _given_up(self, session_id: str, frame: list[Any]) -> None:
        record = self._records.get(session_id)
        if record is not None:
            self._tell("given_up", record, frame=frame)

    # -- its course

    def _state_changed(self, connector: Connector, former: ConnectorState) -> None:
        outlet = self._outlets[connector.id]
        state = connector.state
        record = self.running(connector)
        if record is not None and outlet.is_undecided:
            self._recovery.decide(outlet, record)
        elif record is not None:
            self._follow_plug(outlet, record, former)
        elif state.plugged and not former.plugged:
            connector.finishing = False  # plugged anew: the user begins again (F2)
        if not state.has_cable:
            connector.finishing = False
            outlet.keeps_lock_for = None
        self.refresh(connector)

    def _follow_plug(self, outlet: Outlet, record: Transaction, former: ConnectorState) -> None:
        """The EV is unplugged, at its own end (TX-11, TX-12) or at ours (TX-14)."""
        connector = outlet.connector
        state = connector.state
        is_unplugged = former.plugged and not state.plugged
        is_pulled = state.cable is False and former.cable is not False
        if is_unplugged:
            connector.info = EV_SIDE_DISCONNECTED
        if is_pulled or (is_unplugged and self.stop_transaction_on_ev_side_disconnect):
            if not self._connectors.unlock_connector_on_ev_side_disconnect:
                outlet.keeps_lock_for = record
            self.end(connector, Reason.ev_disconnected)

    def refresh(self, connector: Connector) -> None:
        """Follow facts, limits and commands: what the connector does, and what of it is shown."""
        if connector.id == 0:
            self.refresh_all()
            return
        outlet = self._outlets[connector.id]
        record = self._present(outlet)
        was_going_on, former = connector.transaction is not None, outlet.charging_state
        outlet.follow(record, is_limited=self.is_limited(connector))
        self._connectors.update(connector)
        if record is not None and was_going_on and outlet.charging_state != former:
            self._tell("updated", record)

    def refresh_all(self) -> None:
        """Follow what concerns every connector."""
        for connector in self._connectors.all:
            self.refresh(connector)

    def _read(self, connector: Connector) -> None:
        """The meter of a connector was read."""
        outlet = self._outlets.get(connector.id)
        record = None if outlet is None or outlet.is_undecided else self._present(outlet)
        if outlet is None or record is None:
            return
        record = self._counted(outlet, record)
        if record.end is not None:
            if self._is_read_since(connector, record.end):
                self._stop(outlet, record)
        elif record.energy_until is not None and outlet.register(record).wh >= record.energy_until:
            record = replace(record, energy_until=None)
            self._records.put(record.session_id, record)
            self._cut_off(outlet, record)
        else:
            outlet.read(record)

    def _counted(self, outlet: Outlet, record: Transaction) -> Transaction:
        """A transaction that began without a reading counts from its first one (contract 4)."""
        first = self._metering.register(outlet.connector)
        if record.counts_from is not None or first is None:
            return record
        record = replace(record, counts_from=first.wh)
        self._records.put(record.session_id, record)
        self._metering.count_from(outlet.connector, first.wh)
        return record

    def _persist_registers(self) -> None:
        """At most a minute of energy is lost to a power cut (TX-05)."""
        for outlet in self._outlets.values():
            record = self.running(outlet.connector)
            if record is not None:
                self._records.put(record.session_id, replace(record, register=outlet.register(record)))

    def _go_on(self, outlet: Outlet, record: Transaction) -> None:
        """After a restart, with the same id (TX-43)."""
        self._records.put(record.session_id, record)
        self._metering.begin(outlet.connector, record.session_id, record.counts_from or 0, resumed=True)
        self._counted(outlet, record)

    # -- the lock of the cable

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

    # -- what others hear

    def _tell(self, event: str, record: Transaction, **details: Any) -> None:
        """`event/transaction`: everything of the connector's topic, and what belongs to the event."""
        outlet = self._outlets.get(record.connector_id)
        if outlet is not None and outlet.session_id == record.session_id:
            shown = outlet.shown(record)
        else:
            shown = record.shown(ChargePointStatus.charging, record.register)
        message = {"event": event, "connector_id": record.connector_id, **shown, **details}
        self.context.variables.event("transaction", message)


def _corrected(record: Transaction, correction: Correction) -> Transaction:
    end = record.end
    return replace(
        record,
        started_at=correction.time(record.started_at),
        register=replace(record.register, at=correction.time(record.register.at)),
        end=None if end is None else replace(end, at=correction.time(end.at)),
    )
