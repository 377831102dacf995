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
from ocpp16_bridge.csms.ocppj import BrokenCallError
from ocpp16_bridge.csms.redaction import Frame
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
    """Serves the CALLs of one action: the payload in, the payload of the answer out.

    What `converse` causes at the CSMS has to begin after its return, or it would precede the answer (TR-32).
    """

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
        self._serving = False  # a CALL of this link whose answer takes time
        self._waiting: deque[ocppj.Call | BrokenCallError] = deque()
        self._in_work: set[str] = set()  # message ids of all conversations, also of those that outlived their link
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
        self.on_frame: list[Callable[[str, Frame], None]] = []

    # -- out

    def send(self, call: OwnCall) -> None:
        self.calls.put(call)

    def transmit(self, message: Message) -> None:
        """Put ``message`` on the wire."""
        text = ocppj.dump(message)
        self.line.send(text)
        self._show("sent", Frame(message, text))

    def _show(self, direction: str, frame: Frame) -> None:
        """Let people see the frame; that it can't be shown keeps nothing from being done."""
        for listener in self.on_frame:
            try:
                listener(direction, frame)
            except Exception:
                logger.exception("a frame can't be shown")

    # -- the link

    def csms_connected(self) -> None:
        with self._turns.turn():
            self._link += 1
            self.connected = True
            self.calls.connected()
            for listener in self.on_connected:
                listener()
            self._turns.call(self.calls.pump)  # what the listeners send goes first (TR-47)

    def csms_disconnected(self, reason: str) -> None:
        self.connected = False
        self._waiting.clear()
        self._serving = False
        self.calls.disconnected()
        with self._turns.turn():
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
        except BrokenCallError as error:
            self._count("csms_broken_call")
            self._called(error.with_traceback(None))  # which would keep the whole frame in memory
        except ocppj.BrokenAnswerError as error:
            logger.warning("%s", error)
            self._count("csms_broken_answer")
            self.calls.unreadable(error.message_id, "the answer has a broken shape")
        else:
            self._show("received", Frame(message, frame))
            if isinstance(message, ocppj.Call):
                self._called(message)
            else:
                self._answered(message)

    def _answered(self, message: ocppj.CallResult | ocppj.CallError) -> None:
        if not self.calls.is_in_flight(message.message_id):
            logger.warning("dropped an answer that nothing waits for: %.36r", message.message_id)
            self._count("csms_unexpected_answer")
            return
        if isinstance(message, ocppj.CallError) and message.code == ErrorCode.SECURITY_ERROR:
            with self._turns.turn():  # first: a BootNotification goes before what waits for this answer (TR-48)
                for listener in self.on_security_error:
                    listener()
        self.calls.answered(message)
        self.line.answered()

    def _called(self, call: ocppj.Call | BrokenCallError) -> None:
        if self.calls.registration == RegistrationStatus.rejected:
            logger.warning("CALL %.36r of a CSMS that rejected this charge point is ignored (BT-07)", call.message_id)
            self._count("csms_call_while_rejected")
        elif self._is_in_work(call.message_id):
            self._refuse(call.message_id, ErrorCode.GENERIC_ERROR, "this message id is still being handled")  # TR-27
        elif not self._serving:
            self._serve(call)
        elif len(self._waiting) >= MAX_CALLS_WAITING:
            self._refuse(call.message_id, ErrorCode.GENERIC_ERROR, "too many CALLs are waiting")
        else:
            self._waiting.append(call)

    def _is_in_work(self, message_id: str) -> bool:
        return message_id in self._in_work or any(message_id == call.message_id for call in self._waiting)

    def _serve(self, call: ocppj.Call | BrokenCallError) -> None:
        """Answer one CALL; the next one is taken up when its answer is out (TR-33)."""
        if isinstance(call, BrokenCallError):
            self._refuse(call.message_id, call.code, call.description)
            return
        try:
            self._hand_over(call)
        except Exception as error:  # noqa: BLE001 - the boundary: every CALL has an answer
            self._refuse_for(call, error)

    def _hand_over(self, call: ocppj.Call) -> None:
        schemas.validate_call(call.action, call.payload)
        handler = self.handlers.get(call.action)
        if handler is None:
            raise CallRefusedError(ErrorCode.NOT_SUPPORTED, f"{call.action} is not supported")
        if handler.converse is not None:
            self._start(self._converse(call, handler.converse(call.payload), self._link), "CALL " + call.action)
            self._serving = True
            self._in_work.add(call.message_id)
            return
        assert handler.answer is not None  # noqa: S101 - one of the two
        with self._turns.turn():
            payload = handler.answer(call.payload)
            schemas.validate_own_result(call.action, payload)
            self._turns.answer(lambda: self._answer(call, payload))

    async def _converse(self, call: ocppj.Call, answer: Coroutine[Any, Any, dict[str, Any]], link: int) -> None:
        try:
            payload = await answer
            schemas.validate_own_result(call.action, payload)
            if self._may_answer(link):
                self._answer(call, payload)
        except Exception as error:  # noqa: BLE001 - the boundary: every CALL has an answer
            if self._may_answer(link):
                self._refuse_for(call, error)
        finally:
            self._in_work.discard(call.message_id)
        if link == self._link:
            self._serve_next()

    def _may_answer(self, link: int) -> bool:
        """Whether the link that a CALL came from is up, and the CSMS hasn't rejected us since (BT-07)."""
        return link == self._link and self.connected and self.calls.registration != RegistrationStatus.rejected

    def _serve_next(self) -> None:
        self._serving = False
        while self._waiting and not self._serving:
            self._called(self._waiting.popleft())

    def _answer(self, call: ocppj.Call, payload: dict[str, Any]) -> None:
        try:
            self.transmit(ocppj.CallResult(call.message_id, payload))
        except Exception as error:  # noqa: BLE001 - the boundary: every CALL has an answer
            self._refuse_for(call, error)

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
        logger.warning("CALL %.36r is answered %s: %s", message_id, code, description)
        self.transmit(ocppj.CallError(message_id, code, description, {}))
