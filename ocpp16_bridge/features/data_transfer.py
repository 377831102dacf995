"""DataTransfer, both ways (OCPP 1.6, 4.3 and 5.6; contract 3 and 4)."""

import logging
from typing import Annotated, Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import DataTransferStatus
from pydantic import Field, ValidationError

from ocpp16_bridge.csms.call_queue import Answered, Outcome, Refused
from ocpp16_bridge.csms.schemas import ErrorCode
from ocpp16_bridge.feature import Feature
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.mqtt.model import Arguments
from ocpp16_bridge.mqtt.problems import describe

logger = logging.getLogger(__name__)

OFFLINE = "Offline"


class DataTransferRequest(Arguments):
    vendor_id: Annotated[str, Field(min_length=1, max_length=255)]
    message_id: Annotated[str | None, Field(max_length=50)] = None
    data: str | None = None


class DataTransferAnswer(Arguments):
    """What a local program answers."""

    status: Annotated[DataTransferStatus, Field(strict=False)]
    data: str | None = None


class DataTransfer(Feature):
    @command()
    async def data_transfer(self, request: DataTransferRequest) -> dict[str, Any]:
        """To the CSMS. `Offline` says that it was not sent and never will be."""
        if not self.context.csms.accepted:
            return {"status": OFFLINE}
        outcome = await self.context.csms.request(
            call.DataTransfer(vendor_id=request.vendor_id, message_id=request.message_id, data=request.data)
        )
        return _reply(outcome)

    @on_call
    async def data_transfer_from_csms(self, request: call.DataTransfer) -> call_result.DataTransfer:
        """To the local program that `hardware.answers` names."""
        if not self.context.hardware.answers("data_transfer"):
            return call_result.DataTransfer(status=DataTransferStatus.unknown_vendor_id)
        try:
            data = await self.context.hardware.ask(
                "data_transfer", vendor_id=request.vendor_id, message_id=request.message_id, data=request.data
            )
            answer = DataTransferAnswer.model_validate(data)
        except (NoHardwareAnswerError, ValidationError) as error:
            reason = describe(error) if isinstance(error, ValidationError) else error
            logger.warning("DataTransfer of %s is rejected: %s", request.vendor_id, reason)
            return call_result.DataTransfer(status=DataTransferStatus.rejected)
        return call_result.DataTransfer(status=answer.status, data=answer.data)


def _reply(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Answered(payload):
            return payload
        case Refused(code, description):
            message = f"the CSMS refused the DataTransfer: {code}"
            raise CommandError("csms_error", message, error_code=code, error_description=description)
    match outcome.reason:
        case "offline":
            return {"status": OFFLINE}
        case "unreadable":
            raise CommandError(
                "csms_error",
                "the CSMS's answer can't be read",
                error_code=ErrorCode.FORMATION_VIOLATION,
                error_description=outcome.detail,
            )
        case "link lost":
            raise CommandError("timeout", "the link to the CSMS was lost before its answer")
        case "timeout":
            raise CommandError("timeout", outcome.detail)
    raise RuntimeError(f"DataTransfer: {outcome.reason} {outcome.detail}")
