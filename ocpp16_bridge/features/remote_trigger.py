"""TriggerMessage: send a message now (OCPP 1.6, 5.17; obligations 6.6)."""

from collections.abc import Callable

from ocpp.v16 import call, call_result
from ocpp.v16.enums import TriggerMessageStatus

from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.handlers import on_call

# Sends the message for one connector or for all (None); False where it will not.
Trigger = Callable[[int | None], bool]


class RemoteTrigger(Feature):
    """Knows no message itself: those who send one mark the method with `@on_trigger`."""

    profile = "RemoteTrigger"

    def __init__(self, context: Context, triggers: dict[str, Trigger]) -> None:
        super().__init__(context)
        self._triggers = triggers

    @on_call
    def trigger_message(self, request: call.TriggerMessage) -> call_result.TriggerMessage:
        """The answer goes out before the message (TR-32; TC_054_CS, TC_055_CS)."""
        trigger = self._triggers.get(request.requested_message)
        if trigger is None:
            status = TriggerMessageStatus.not_implemented
        elif self._may_send(request.requested_message) and trigger(request.connector_id):
            status = TriggerMessageStatus.accepted
        else:
            status = TriggerMessageStatus.rejected
        return call_result.TriggerMessage(status=status)

    def _may_send(self, message: str) -> bool:
        """Before the answer to BootNotification nothing else may go out (BT-02); while Pending it may (BT-08)."""
        return self.context.csms.endpoint.calls.may_send(message, triggered=True)
