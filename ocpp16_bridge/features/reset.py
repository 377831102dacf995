"""Reset (OCPP 1.6, 5.14; obligations 6.2): the process ends, and the service manager starts it again."""

import logging

from ocpp.v16 import call, call_result
from ocpp.v16.enums import Reason, ResetStatus, ResetType

from ocpp16_bridge.configuration_keys import IntegerKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.security_events import SecurityEvents
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import on_call
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError

logger = logging.getLogger(__name__)


class Reset(Feature):
    reset_retries = IntegerKey("ResetRetries", 1)  # times

    def __init__(self, context: Context, events: SecurityEvents, transactions: Transactions) -> None:
        super().__init__(context)
        self._transactions = transactions
        self._events = events
        self._is_under_way = False

    @on_call
    async def reset(self, request: call.Reset) -> call_result.Reset:
        """The hardware may object, where it is asked; the answer precedes the reset (RO-01)."""
        if self._is_under_way:
            return call_result.Reset(status=ResetStatus.accepted)
        if not await self._hardware_agrees(request.type):
            return call_result.Reset(status=ResetStatus.rejected)
        self._is_under_way = True
        # A conversation begins after the present one's next pause, which is when the answer is out.
        self.context.conversations.start(self._carry_out(request.type), "Reset")
        return call_result.Reset(status=ResetStatus.accepted)

    async def _hardware_agrees(self, reset_type: str) -> bool:
        if reset_type == ResetType.hard and not self.context.hardware.publisher.connected:
            logger.warning("Hard Reset is rejected: the broker is away, so nobody can reboot the machine")
            return False
        if not self.context.hardware.answers("reset"):
            return True
        try:
            return bool(await self.context.hardware.ask("reset", type=reset_type) == ResetStatus.accepted)
        except NoHardwareAnswerError as error:
            logger.warning("%s: the reset is carried out all the same", error)
            return True

    async def _carry_out(self, reset_type: str) -> None:
        """Transactions are ended and delivered first; what has no answer in time stays queued (RO-02, TX-45)."""
        reason = Reason.hard_reset if reset_type == ResetType.hard else Reason.soft_reset
        with self.context.turns.turn():
            self._transactions.end_all(reason)
        await self._transactions.until_delivered(self.context.csms.endpoint.calls.timeout())
        with self.context.turns.turn():
            self._transactions.end_all(reason, at_once=True)  # what began meanwhile, or still waits for its meter
            self._events.raise_event("ResetOrReboot", f"Reset {reset_type}")
            self.context.variables.event("reset", {"type": reset_type})
            self.context.turns.ending(lambda: self.context.end(f"Reset {reset_type} by the CSMS"))
