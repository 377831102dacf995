"""A CSMS that does as a test tells it: a real websocket server in a thread of its own, with a blocking interface."""

import asyncio
import json
import logging
import ssl
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

from ocpp import messages
from ocpp.exceptions import OCPPError
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

T = TypeVar("T")
Payload = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A CALL of the charge point."""

    message_id: str
    action: str
    payload: Payload
    connection: int  # index in `ScriptedCsms.connections`
    received_at: float  # time.monotonic()


@dataclass(frozen=True)
class CallError:
    """An answer that is a CALLERROR."""

    code: str
    description: str = ""
    details: Payload = field(default_factory=dict)


class Silence(Enum):
    SILENT = "no answer at all"


class CsmsCallError(Exception):
    """The charge point answered with CALLERROR."""

    def __init__(self, code: str, description: str, details: Payload) -> None:
        super().__init__(f"{code}: {description} {details}")
        self.code = code
        self.description = description
        self.details = details


@dataclass(frozen=True)
class Attempt:
    """A request to upgrade, whatever came of it."""

    path: str
    headers: Mapping[str, str]  # names in lower case
    at: float  # time.monotonic()


@dataclass
class Connection:
    path: str
    headers: Mapping[str, str]  # names in lower case
    subprotocols: list[str]  # offered
    opened_at: float  # time.monotonic()
    closed_at: float | None = None
    close_code: int | None = None  # received, or 1006
    close_reason: str | None = None


Answer = Mapping[str, Any] | CallError | Silence


class ScriptedCsms:
    """A CSMS on a free port of 127.0.0.1 that accepts all and remembers all.

    Attributes may be changed at any time. At exit it fails for whatever a CSMS must never see from a charge point
    (`faults`), unless it is `tolerant`.
    """

    SILENT = Silence.SILENT

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, tolerant: bool = False) -> None:
        self._ssl = ssl_context
        self._tolerant = tolerant

        self.boot_status = "Accepted"
        self.boot_interval = 300  # s
        self.answers: dict[str, Answer | Callable[[Payload], Answer]] = {}  # by action, instead of the automatic ones
        self.answer_delay = 0.0  # s
        self.validates = True  # all that comes, against its schema; False where many messages a second come
        self.refuse_with: tuple[int, Mapping[str, str]] | None = None  # HTTP status and headers
        self.subprotocol: str | None = "ocpp1.6"  # what is agreed to, whatever was offered
        self.close_at_once = False
        self.hang_upgrade = False

        self.attempts: list[Attempt] = []
        self.connections: list[Connection] = []  # those of the attempts that were accepted
        self.frames: list[list[Any]] = []  # all received JSON arrays
        self.calls: list[Call] = []
        self.faults: list[str] = []

        self._changed = threading.Condition()  # guards all that was received
        self._seen_calls: defaultdict[str, int] = defaultdict(int)
        self._seen_frames = 0
        self._expected: dict[str, tuple[str, Future[Payload]]] = {}
        self._known: dict[str, tuple[str, Payload]] = {}
        self._transaction_ids: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted CSMS", daemon=True)
        self._server: Server | None = None
        self._stopping = asyncio.Event()
        self._socket: ServerConnection | None = None  # the newest
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'ws' if self._ssl is None else 'wss'}://127.0.0.1:{self.port}/ocpp"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._in_loop(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if error is None and self.faults and not self._tolerant:
            raise AssertionError("the charge point misbehaved:\n" + "\n".join(self.faults))

    # Listening

    def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        self._in_loop(self._start())

    def stop(self) -> None:
        """Close the listener and all connections (1001)."""
        self._in_loop(self._stop())

    async def _start(self) -> None:
        self._stopping.clear()
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            ssl=self._ssl,
            process_request=self._process_request,
            process_response=self._process_response,
            select_subprotocol=lambda _connection, _offered: None,  # see _process_response
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
            open_timeout=None,
            max_size=None,
            logger=_log,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        for task in self._tasks:
            task.cancel()

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        with self._changed:
            self.attempts.append(Attempt(request.path, headers, time.monotonic()))
            self._changed.notify_all()
        if self.hang_upgrade:
            await self._stopping.wait()
        if self.refuse_with is None:
            return None
        status, extra = self.refuse_with
        response = connection.respond(HTTPStatus(status), "")
        response.headers.update(extra)
        return response

    def _process_response(self, _connection: ServerConnection, _request: Request, response: Response) -> None:
        if self.subprotocol is not None and response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Protocol"] = Subprotocol(self.subprotocol)

    # Connections

    def wait_for_connection(self, count: int = 1, timeout: float = 10) -> Connection:
        """The `count`-th connection since the start."""
        self.wait_until(lambda: len(self.connections) >= count, timeout, f"connection {count}")
        return self.connections[count - 1]

    def wait_for_attempts(self, count: int, timeout: float = 10) -> list[Attempt]:
        """The first `count` requests to upgrade since the start."""
        self.wait_until(lambda: len(self.attempts) >= count, timeout, f"attempt {count}")
        return self.attempts[:count]

    def close_connection(self, code: int = 1000, reason: str = "") -> None:
        self._in_loop(self._open_socket().close(code, reason))

    def abort_connection(self) -> None:
        """Cut the newest connection without a closing handshake."""
        self._loop.call_soon_threadsafe(self._open_socket().transport.abort)

    def freeze_connection(self) -> None:
        """Read nothing more from the newest connection: it is half open, pings stay without pong."""
        self._loop.call_soon_threadsafe(self._open_socket().transport.pause_reading)

    def ping(self, timeout: float = 10) -> None:
        """Ping the charge point and wait for its pong."""

        async def ping_pong(socket: ServerConnection) -> None:
            await (await socket.ping())

        self._in_loop(ping_pong(self._open_socket()), timeout)

    # Messages

    def call(self, action: str, payload: Payload, timeout: float = 10) -> Payload:
        """What the charge point answers to a CALL.

        Raises:
            CsmsCallError: the answer is a CALLERROR.

        """
        message_id = str(uuid.uuid4())
        answer: Future[Payload] = Future()
        self._expected[message_id] = action, answer
        self.send_raw(json.dumps([2, message_id, action, payload]))
        return answer.result(timeout)

    def send_raw(self, frame: str | bytes) -> None:
        self._in_loop(self._open_socket().send(frame))

    def wait_for_call(
        self, action: str, predicate: Callable[[Payload], bool] = lambda _payload: True, timeout: float = 10
    ) -> Call:
        """The next CALL of this action whose payload fits; those before it count as seen."""
        found: list[Call] = []

        def is_there() -> bool:
            of_action = [call for call in self.calls if call.action == action]
            for index in range(self._seen_calls[action], len(of_action)):
                if predicate(of_action[index].payload):
                    self._seen_calls[action] = index + 1
                    found.append(of_action[index])
                    return True
            return False

        self.wait_until(is_there, timeout, action)
        return found[0]

    def wait_for_frame(self, predicate: Callable[[list[Any]], bool], timeout: float = 10) -> list[Any]:
        """The next frame of any type that fits; those before it count as seen."""
        found: list[list[Any]] = []

        def is_there() -> bool:
            for index in range(self._seen_frames, len(self.frames)):
                if predicate(self.frames[index]):
                    self._seen_frames = index + 1
                    found.append(self.frames[index])
                    return True
            return False

        self.wait_until(is_there, timeout, "a frame that fits")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], timeout: float = 10, what: str = "the condition") -> None:
        """Wait for a condition on what was received."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                received = "\n".join(map(str, [*self.connections, *self.frames[-20:], *self.faults]))
                raise AssertionError(f"{what} did not come within {timeout} s; came so far:\n{received}")

    # In the thread of the server

    def _in_loop(self, work: Coroutine[Any, Any, T], timeout: float = 10) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def _open_socket(self) -> ServerConnection:
        """The newest connection; the charge point may know of it a moment before we do."""
        self.wait_until(lambda: self._socket is not None and self._socket.state is State.OPEN, what="a connection")
        assert self._socket is not None
        return self._socket

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",") if name.strip()]
        connection = Connection(socket.request.path, headers, offered, time.monotonic())
        with self._changed:
            self.connections.append(connection)
            number = len(self.connections) - 1
            self._socket = socket
            self._changed.notify_all()
        try:
            if not self.close_at_once:
                await self._read(socket, number)
        finally:
            await socket.close()
            with self._changed:
                connection.closed_at = time.monotonic()
                connection.close_code, connection.close_reason = socket.close_code, socket.close_reason
                if self._socket is socket:
                    self._socket = None
                self._changed.notify_all()

    async def _read(self, socket: ServerConnection, number: int) -> None:
        """Read all that is there before anything is answered: so CALLs that do not wait for answers are found."""
        in_flight: set[str] = set()
        try:
            while True:
                frame = await socket.recv()
                with self._changed:
                    self._received(socket, number, frame, in_flight)
                    self._changed.notify_all()
        except ConnectionClosed:
            pass

    def _received(self, socket: ServerConnection, number: int, text: str | bytes, in_flight: set[str]) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            frame = None
        if isinstance(frame, list):
            self.frames.append(frame)
        match frame:
            case [2, str(message_id), str(action), dict(payload)]:
                call = Call(message_id, action, payload, number, time.monotonic())
                self.calls.append(call)
                self._check_order(call, in_flight)
                self._in_background(self._answer(socket, call, in_flight))
            case [3, str(message_id), dict(payload)]:
                self._in_background(self._accept_answer(message_id, payload))
            case [4, str(message_id), str(code), str(description), dict(details)]:
                if message_id in self._expected:
                    self._expected.pop(message_id)[1].set_exception(CsmsCallError(code, description, details))
            case _:
                self.faults.append(f"not a frame of OCPP-J: {text!r}")

    def _check_order(self, call: Call, in_flight: set[str]) -> None:
        if in_flight:
            self.faults.append(f"{call.action} came while {in_flight} waits for its answer (TR-31): {call}")
        in_flight.add(call.message_id)
        if self._known.setdefault(call.message_id, (call.action, call.payload)) != (call.action, call.payload):
            self.faults.append(f"the message id {call.message_id} was used before, for another message (TR-22): {call}")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, socket: ServerConnection, call: Call, in_flight: set[str]) -> None:
        await self._validate(messages.Call(call.message_id, call.action, call.payload), call.action)
        await asyncio.sleep(self.answer_delay)
        answer = self.answers[call.action] if call.action in self.answers else self._automatic_answer(call)
        if callable(answer):
            answer = answer(call.payload)
        in_flight.discard(call.message_id)
        match answer:
            case Silence():
                return
            case CallError(code, description, details):
                frame: list[Any] = [4, call.message_id, code, description, details]
            case _:
                frame = [3, call.message_id, dict(answer)]
        try:
            await socket.send(json.dumps(frame))
        except ConnectionClosed:
            _log.info("the charge point did not wait for the answer to %s", call)

    async def _accept_answer(self, message_id: str, payload: Payload) -> None:
        action, answer = self._expected.pop(message_id, ("", None))
        if answer is not None:
            await self._validate(messages.CallResult(message_id, payload, action), action)
            answer.set_result(payload)

    async def _validate(self, message: messages.Call | messages.CallResult, action: str) -> None:
        if not self.validates:
            return
        try:
            await messages.validate_payload(message, "1.6")
        except OCPPError as error:
            with self._changed:
                self.faults.append(f"{action} breaks its schema: {error} {error.details}")
                self._changed.notify_all()

    def _automatic_answer(self, call: Call) -> Answer:
        """What a CSMS that has no objection answers."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        accepted = {"status": "Accepted"}
        transaction_id = self._transaction_ids.get(call.message_id, len(self._transaction_ids) + 1)
        if call.action == "StartTransaction":
            self._transaction_ids[call.message_id] = transaction_id  # the same when it is sent again
        answers: dict[str, Answer] = {
            "Authorize": {"idTagInfo": accepted},
            "BootNotification": {"status": self.boot_status, "currentTime": now, "interval": self.boot_interval},
            "DataTransfer": accepted,
            "Heartbeat": {"currentTime": now},
            "SignCertificate": accepted,
            "StartTransaction": {"idTagInfo": accepted, "transactionId": transaction_id},
        }
        return answers.get(call.action, {} if call.action in _ANSWERED_EMPTY else CallError("NotImplemented"))


_ANSWERED_EMPTY = {
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "LogStatusNotification",
    "MeterValues",
    "SecurityEventNotification",
    "SignedFirmwareStatusNotification",
    "StatusNotification",
    "StopTransaction",
}

_log = logging.getLogger("tests.scripted_csms")
