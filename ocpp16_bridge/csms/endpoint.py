"""What a frame of the CSMS sets off, and the way out for everything the charge point sends (OCPP-J 1.6, 4)."""

import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from ocpp.v16.enums import RegistrationStatus

from ocpp16_bridge.csms import ocppj, schemas
from ocpp16_bridge.csms.call_queue import CallQueue, OwnCall
from ocpp16_bridge.csms.connection import ConnectFailure
from ocpp16_bridge.csms.redaction import redacted
from ocpp16_bridge.csms.schemas import ErrorCode, InvalidError
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

MAX_CALLS_WAITING = 64  # of the CSMS, behind one whose answer takes time

Message = ocppj.Call | ocppj.CallResult | ocppj.CallError


class CallRefusedError(Exception):
    """Raised by a handler: the CALL is answered with this CALLERROR instead of a result."""

    def __init__(self, code: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Line(Protocol):
    """The connection, as far as the endpoint uses it."""

    def send(self, frame: str) -> None: ...
    def answered(self) -> None: ...


@dataclass(frozen=True)
class CallHandler:
    """Serves the CALLs of one action: the payload in, the payload of the answer out."""

    answer: Callable[[dict[str, Any]], dict[str, Any]] | None
    converse: Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]] | None = None


class Endpoint:
    """The charge point's end of the link: takes frames in order, answers CALLs in order, passes answers on.

    It is the `Session` of `csms.connection`; features subscribe to what happens to the link.
    """

    def __init__(
        self,
        turns: Turns,
        calls: CallQueue,
        start: Callable[[Coroutine[Any, Any, None], str], None],
        count: Callable[[str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.calls = calls
        self._turns = turns
        self._start = start
        self._count = count
        self._monotonic = monotonic
        self._serving: ocppj.Call | None = None
        self._waiting: deque[ocppj.Call] = deque()
        self._link = 0  # which connection this is: an answer goes out on the one its CALL came from
        self.handlers: dict[str, CallHandler] = {}
        self.line: Line
        self.connected = False
        self.stopped = False  # by the command stop: what still comes in is not heard
        self.last_received_at: float | None = None  # monotonic
        self.on_connected: list[Callable[[], None]] = []
        self.on_disconnected: list[Callable[[str], None]] = []
        self.on_refused: list[Callable[[ConnectFailure], None]] = []
        self.on_unusable: list[Callable[[str], None]] = []
        self.on_security_error: list[Callable[[], None]] = []
        self.on_frame: list[Callable[[str, list[Any]], None]] = []

    # -- out

    def send(self, call: OwnCall) -> None:
        self.calls.put(call)

    def transmit(self, message: Message) -> None:
        """Put ``message`` on the wire."""
        if self.on_frame:
            self._show("sent", message)
        self.line.send(ocppj.dump(message))

    def _show(self, direction: str, message: Message) -> None:
        frame = redacted(message)
        for listener in self.on_frame:
            listener(direction, frame)

    # -- the link

    def csms_connected(self) -> None:
        with self._turns.turn():
            self._link += 1
            self.connected = True
            self.calls.connected()
            for listener in self.on_connected:
                listener()

    def csms_disconnected(self, reason: str) -> None:
        with self._turns.turn():
            self.connected = False
            self._waiting.clear()
            self._serving = None
            self.calls.disconnected()
            for listener in self.on_disconnected:
                listener(reason)

    def csms_refused(self, failure: ConnectFailure) -> None:
        with self._turns.turn():
            for listener in self.on_refused:
                listener(failure)

    # -- in

    def csms_received_unusable(self, kind: str) -> None:
        """Nothing can be answered: logged, counted, the link stays (TR-24, TR-25)."""
        logger.warning("ignored what is no OCPP-J message: %s", kind)
        self._count("csms_" + kind)
        with self._turns.turn():
            for listener in self.on_unusable:
                listener(kind)

    def csms_received(self, frame: str) -> None:
        if self.stopped:
            return
        self.last_received_at = self._monotonic()
        try:
            message = ocppj.parse(frame)
        except ocppj.UnusableError as error:
            self.csms_received_unusable(error.kind)
        except ocppj.BrokenCallError as error:
            self._count("csms_broken_call")
            self._refuse(error.message_id, error.code, error.description)
        except ocppj.BrokenAnswerError as error:
            self._count("csms_broken_answer")
            with self._turns.turn():
                self.calls.unreadable(error.message_id, str(error))
        else:
            if self.on_frame:
                self._show("received", message)
            if isinstance(message, ocppj.Call):
                self._called(message)
            else:
                self._answered(message)

    def _answered(self, message: ocppj.CallResult | ocppj.CallError) -> None:
        with self._turns.turn():
            known = self.calls.answered(message)
            if known and isinstance(message, ocppj.CallError) and message.code == ErrorCode.SECURITY_ERROR:
                for listener in self.on_security_error:
                    listener()
        if known:
            self.line.answered()
        else:
            logger.warning("dropped an answer that nothing waits for: %s", message.message_id)
            self._count("csms_unexpected_answer")

    def _called(self, call: ocppj.Call) -> None:
        if self.calls.registration == RegistrationStatus.rejected:
            logger.warning("%s of a CSMS that rejected this charge point is not answered (BT-07)", call.action)
            self._count("csms_call_while_rejected")
        elif self._serving is None:
            self._serve(call)
        elif any(call.message_id == other.message_id for other in (self._serving, *self._waiting)):
            # TR-27: not executed twice
            self._refuse(call.message_id, ErrorCode.GENERIC_ERROR, "this message id is still being handled")
        elif len(self._waiting) >= MAX_CALLS_WAITING:
            self._refuse(call.message_id, ErrorCode.GENERIC_ERROR, "too many CALLs are waiting")
        else:
            self._waiting.append(call)

    def _serve(self, call: ocppj.Call) -> None:
        """Answer one CALL; the next one is taken up when its answer is out (TR-33)."""
        try:
            schemas.validate_call(call.action, call.payload)
            handler = self.handlers.get(call.action)
            if handler is None:
                raise CallRefusedError(ErrorCode.NOT_SUPPORTED, f"{call.action} is not supported")
            if handler.converse is not None:
                self._serving = call
                self._start(self._converse(call, handler.converse(call.payload), self._link), "CALL " + call.action)
                return
            assert handler.answer is not None  # noqa: S101 - one of the two
            with self._turns.turn():
                payload = handler.answer(call.payload)
                schemas.validate_own_result(call.action, payload)
                self._turns.answer(lambda: self.transmit(ocppj.CallResult(call.message_id, payload)))
        except Exception as error:  # noqa: BLE001 - the boundary: every CALL has an answer
            self._refuse_for(call, error)

    async def _converse(self, call: ocppj.Call, answer: Coroutine[Any, Any, dict[str, Any]], link: int) -> None:
        try:
            payload = await answer
            schemas.validate_own_result(call.action, payload)
            if link == self._link and self.connected:
                self.transmit(ocppj.CallResult(call.message_id, payload))
        except Exception as error:  # noqa: BLE001 - the boundary: every CALL has an answer
            if link == self._link and self.connected:
                self._refuse_for(call, error)
        if link == self._link:
            self._serve_next()

    def _serve_next(self) -> None:
        self._serving = None
        while self._waiting and self._serving is None:
            self._serve(self._waiting.popleft())

    def _refuse_for(self, call: ocppj.Call, error: Exception) -> None:
        match error:
            case InvalidError() | CallRefusedError():
                self._count("csms_refused_call")
                self._refuse(call.message_id, error.code, error.description)
            case _:
                logger.error("%s failed", call.action, exc_info=error, extra={"ocpp_message_id": call.message_id})
                self._count("internal")
                self._refuse(call.message_id, ErrorCode.INTERNAL_ERROR, "")

    def _refuse(self, message_id: str, code: ErrorCode, description: str) -> None:
        logger.warning("CALL %s is answered %s: %s", message_id, code, description)
        self.transmit(ocppj.CallError(message_id, code, description, {}))
