"""What ends a transaction from outside: a command, RemoteStopTransaction, UnlockConnector (OCPP 1.6, 5.12 and 5.18)."""

import logging
from typing import Annotated

from ocpp.v16 import call, call_result
from ocpp.v16.enums import Reason, RegistrationStatus, RemoteStartStopStatus, UnlockStatus
from pydantic import Field

from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.starting import IdTag
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.mqtt.model import Arguments

logger = logging.getLogger(__name__)


class StopTransaction(Arguments):
    connector_id: int
    reason: Annotated[Reason, Field(strict=False)] = Reason.local
    id_tag: IdTag | None = None


class Stopping(Feature):
    def __init__(self, context: Context, connectors: Connectors, transactions: Transactions) -> None:
        super().__init__(context)
        self._connectors = connectors
        self._transactions = transactions

    @command()
    def stop_transaction(self, request: StopTransaction) -> bool:
        """True: there was one to stop."""
        self.refuse_while_stopped()
        if request.connector_id not in self._connectors:
            raise CommandError("bad_request", f"connector_id: there is no connector {request.connector_id}")
        connector = self._connectors[request.connector_id]
        if self._transactions.running(connector) is None:
            return False
        self._transactions.end(connector, request.reason, request.id_tag)
        return True

    @on_call
    def remote_stop_transaction(self, request: call.RemoteStopTransaction) -> call_result.RemoteStopTransaction:
        """Only a transaction that runs under exactly this id (TX-16; TC_012_CS, TC_028_CS)."""
        found = self._transactions.find(request.transaction_id)
        if found is None or self.context.csms.registration != RegistrationStatus.accepted:  # BT-08
            return call_result.RemoteStopTransaction(status=RemoteStartStopStatus.rejected)
        self._transactions.end(found[0], Reason.remote)
        return call_result.RemoteStopTransaction(status=RemoteStartStopStatus.accepted)

    @on_call
    async def unlock_connector(self, request: call.UnlockConnector) -> call_result.UnlockConnector:
        """The lock is the hardware's; a transaction ends once it is open (6.3; TC_017_CS, TC_018_CS, TC_030_CS)."""
        if request.connector_id not in self._connectors:
            return call_result.UnlockConnector(status=UnlockStatus.not_supported)
        connector = self._connectors[request.connector_id]
        status = await self._unlock(connector)
        if status == UnlockStatus.unlocked:
            # A conversation begins after the present one's next pause, which is when the answer is out (TR-32).
            self.context.conversations.start(self._unlocked(connector), "UnlockConnector")
        return call_result.UnlockConnector(status=status)

    async def _unlock(self, connector: Connector) -> UnlockStatus:
        if not connector.settings.lock or not self.context.hardware.answers("unlock_connector"):
            return UnlockStatus.not_supported
        try:
            answer = await self.context.hardware.ask("unlock_connector", connector_id=connector.id)
            return UnlockStatus(answer)
        except (NoHardwareAnswerError, ValueError) as error:
            logger.warning("connector %s is not unlocked: %s", connector.id, error)
            return UnlockStatus.unlock_failed

    async def _unlocked(self, connector: Connector) -> None:
        with self.context.turns.turn():
            if self._transactions.running(connector) is not None:
                self._transactions.end(connector, Reason.unlock_command)
            self._transactions.release(connector)
