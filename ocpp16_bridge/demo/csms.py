"""A small CSMS for one charge point, which it has no objections to."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from ocpp.v16.enums import Action, AuthorizationStatus, DataTransferStatus, RegistrationStatus
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ocpp16_bridge.demo.books import Books
from ocpp16_bridge.demo.happenings import DemoError, Happening, Link, OcppMessage
from ocpp16_bridge.timestamps import format_time

HOST = "127.0.0.1"
HEARTBEAT_INTERVAL = 300  # s, in its answer to BootNotification

Payload = dict[str, Any]


class Csms:
    """Listens within its `async with` block, on a port that is free."""

    def __init__(self, happened: Callable[[Happening], None]) -> None:
        self.books = Books()
        self._happened = happened
        self._server: Server
        self._port = 0  # one that is free, then always the same
        self._connection: ServerConnection | None = None  # the newest
        self._asked: dict[str, tuple[str, asyncio.Future[Payload]]] = {}  # by message id: action, answer

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()

    async def come_back(self) -> None:
        """Listen, after `leave` on the same port again."""
        subprotocol = Subprotocol("ocpp1.6")
        self._server = await serve(self._serve, HOST, self._port, subprotocols=[subprotocol], close_timeout=0.5)
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    async def leave(self) -> None:
        """Close the connection, and refuse any other."""
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self._port}/ocpp"

    async def call(self, action: str, **payload: Any) -> Payload:
        """What the charge point answers.

        Raises:
            DemoError: that is a CALLERROR, or it isn't connected.

        """
        if self._connection is None:
            raise DemoError(f"{action} can't be sent: the charge point is not connected")
        message_id = str(uuid.uuid4())
        answer: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._asked[message_id] = action, answer
        try:
            await self._send(self._connection, [2, message_id, action, payload], OcppMessage("CSMS", action, payload))
            return await answer
        except ConnectionClosed as error:
            raise DemoError(f"{action} can't be sent: {error}") from error
        finally:
            del self._asked[message_id]

    async def _serve(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._happened(Link(is_open=True))
        try:
            while True:
                await self._receive(connection, json.loads(await connection.recv()))
        except ConnectionClosed:
            self._happened(Link(is_open=False, close_code=connection.close_code))
        finally:
            if self._connection is connection:
                self._connection = None

    async def _receive(self, connection: ServerConnection, frame: object) -> None:
        match frame:
            case [2, str(message_id), str(action), dict(payload)]:
                self._happened(OcppMessage("charge point", action, payload))
                self.books.enter(message_id, action, payload)
                await self._answer(connection, message_id, action)
            case [3, str(message_id), dict(payload)] if self._awaits(message_id):
                action, answer = self._asked[message_id]
                self._happened(OcppMessage("charge point", f"{action}.conf", payload))
                answer.set_result(payload)
            case [4, str(message_id), code, description, _] if self._awaits(message_id):
                action, answer = self._asked[message_id]
                self._happened(OcppMessage("charge point", f"{action}.error", [code, description]))
                answer.set_exception(DemoError(f"the charge point refused {action}: {code} {description}"))

    def _awaits(self, message_id: str) -> bool:
        """Who asked may be cancelled at this moment."""
        return message_id in self._asked and not self._asked[message_id][1].done()

    async def _answer(self, connection: ServerConnection, message_id: str, action: str) -> None:
        answer = _answers(self.books.transaction_id(message_id)).get(action)
        if answer is None:
            error = ["NotImplemented", "this CSMS is a small one"]
            await self._send(connection, [4, message_id, *error, {}], OcppMessage("CSMS", f"{action}.error", error))
        else:
            await self._send(connection, [3, message_id, answer], OcppMessage("CSMS", f"{action}.conf", answer))

    async def _send(self, connection: ServerConnection, frame: list[Any], message: OcppMessage) -> None:
        self._happened(message)
        await connection.send(json.dumps(frame))


def _answers(transaction_id: int | None) -> dict[str, Payload]:
    """By action; what is missing is not implemented."""
    now = format_time(datetime.now(UTC))
    accepted = {"idTagInfo": {"status": AuthorizationStatus.accepted}}
    return {
        Action.authorize: accepted,
        Action.boot_notification: {
            "status": RegistrationStatus.accepted,
            "currentTime": now,
            "interval": HEARTBEAT_INTERVAL,
        },
        Action.data_transfer: {"status": DataTransferStatus.accepted, "data": "hello, charge point"},
        Action.heartbeat: {"currentTime": now},
        Action.meter_values: {},
        Action.security_event_notification: {},
        Action.start_transaction: {**accepted, "transactionId": transaction_id},
        Action.status_notification: {},
        Action.stop_transaction: accepted,
    }
