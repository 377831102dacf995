"""What the CSMS is told of transactions: StartTransaction and StopTransaction, with the right ids (OCPP 1.6, 3.7)."""

import asyncio
from typing import Any

from ocpp.v16 import call

from ocpp16_bridge.csms.call_queue import DurableCall
from ocpp16_bridge.feature import Context
from ocpp16_bridge.features.clock_synchronisation import Correction
from ocpp16_bridge.features.delivery import TRANSACTION_QUEUE
from ocpp16_bridge.features.metering.metering import Metering
from ocpp16_bridge.features.transactions.record import Transaction
from ocpp16_bridge.store import Collection

NO_ID = -1  # the transaction id where StartTransaction never got through (TX-27)


class Reports:
    """Queues the reports, and knows when all have arrived. ``records``: all transactions of which reports are due."""

    def __init__(self, context: Context, records: Collection[Transaction], metering: Metering) -> None:
        self._context = context
        self._records = records
        self._metering = metering
        self._waiting: list[asyncio.Future[object]] = []  # for `until_delivered`
        metering.transaction_id = self._transaction_id
        context.csms.endpoint.calls.prepare.append(self._with_transaction_id)
        context.csms.endpoint.on_disconnected.append(lambda _reason: self._end_waiting())

    def start(self, record: Transaction) -> None:
        message = call.StartTransaction(
            connector_id=record.connector_id,
            id_tag=record.id_tag,
            meter_start=record.meter_start,
            timestamp=record.started_at,
            reservation_id=record.reservation_id,
        )
        self._context.csms.send_durable(TRANSACTION_QUEUE, message, about=record.session_id)

    def stop(self, record: Transaction) -> None:
        """The transaction is over: its samples go with it."""
        assert record.end is not None  # noqa: S101 - it is over
        message = call.StopTransaction(
            transaction_id=NO_ID,  # filled in when it is sent
            meter_stop=record.register.wh,
            timestamp=record.end.at,
            reason=record.end.reason,
            id_tag=record.end.id_tag,
            transaction_data=self._metering.transaction_data(record.session_id),
        )
        self._context.csms.send_durable(TRANSACTION_QUEUE, message, about=record.session_id)
        self._metering.forget(record.session_id)

    def put_samples_right(self, session_id: str, correction: Correction) -> None:
        """The samples that wait for StopTransaction bear the right times from now on (BT-22)."""
        # As metering keeps them.
        samples = self._context.store.queue("transaction_data/" + session_id, list[dict[str, Any]])
        for sequence, sample in list(samples):
            samples.replace(sequence, [correction.payload(value) for value in sample])

    def _with_transaction_id(self, durable: DurableCall) -> dict[str, Any]:
        """The id is put in when the message is sent (TX-28): what precedes it has been answered or given up by then."""
        if not durable.about or durable.action == "StartTransaction":
            return durable.payload
        known = self._transaction_id(durable.about)
        return {**durable.payload, "transactionId": NO_ID if known is None else known}

    def _transaction_id(self, session_id: str) -> int | None:
        record = self._records.get(session_id)
        return None if record is None else record.transaction_id

    # -- have they arrived?

    async def until_delivered(self, limit: float) -> None:
        """Wait until the CSMS has all transactions that ended; at most ``limit`` s, and not without a link."""
        if self._context.csms.accepted and self._is_any_due():
            delivered = self._context.conversations.future()
            self._waiting.append(delivered)
            timer = self._context.timers.after(limit, "delivery of transactions", lambda: self._end(delivered))
            await delivered
            timer.cancel()

    def stop_ended(self) -> None:
        """One more transaction is done with: delivered or given up."""
        if not self._is_any_due():
            self._end_waiting()

    def _is_any_due(self) -> bool:
        return any(not record.is_running for _, record in self._records.items())

    def _end_waiting(self) -> None:
        for delivered in list(self._waiting):
            self._end(delivered)

    def _end(self, delivered: "asyncio.Future[object]") -> None:
        self._waiting.remove(delivered)
        if not delivered.done():
            delivered.set_result(None)
