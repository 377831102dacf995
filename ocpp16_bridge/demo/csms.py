"""A small CSMS for one charge point, which it has no objections to."""

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from ocpp.v16.enums import Action, DataTransferStatus, RegistrationStatus
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ocpp16_bridge.demo.happenings import DemoError, Happening, Link, OcppMessage
from ocpp16_bridge.timestamps import format_time

HOST = "127.0.0.1"
HEARTBEAT_INTERVAL = 300  # s, in its answer to BootNotification

Payload = dict[str, Any]


class Csms:
    """Listens within its `async with` block, on a port that is free."""

    def __init__(self, happened: Callable[[Happening], None]) -> None:
        self._happened = happened
        self._server: Server
        self._connection: ServerConnection | None = None  # the newest
        self._asked: dict[str, tuple[str, asyncio.Future[Payload]]] = {}  # by message id: action, answer

    async def __aenter__(self) -> Self:
        subprotocol = Subprotocol("ocpp1.6")
        self._server = await serve(self._serve, HOST, 0, subprotocols=[subprotocol], close_timeout=0.5)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://{HOST}:{port}/ocpp"

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
            case [2, str(message_id), str(action), payload]:
                self._happened(OcppMessage("charge point", action, payload))
                await self._answer(connection, message_id, action)
            case [3, str(message_id), dict(payload)] if message_id in self._asked:
                action, answer = self._asked[message_id]
                self._happened(OcppMessage("charge point", f"{action}.conf", payload))
                answer.set_result(payload)
            case [4, str(message_id), code, description, _] if message_id in self._asked:
                action, answer = self._asked[message_id]
                self._happened(OcppMessage("charge point", f"{action}.error", [code, description]))
                answer.set_exception(DemoError(f"the charge point refused {action}: {code} {description}"))

    async def _answer(self, connection: ServerConnection, message_id: str, action: str) -> None:
        answer = _answers().get(action)
        if answer is None:
            error = ["NotImplemented", "this CSMS is a small one"]
            await self._send(connection, [4, message_id, *error, {}], OcppMessage("CSMS", f"{action}.error", error))
        else:
            await self._send(connection, [3, message_id, answer], OcppMessage("CSMS", f"{action}.conf", answer))

    async def _send(self, connection: ServerConnection, frame: list[Any], message: OcppMessage) -> None:
        self._happened(message)
        await connection.send(json.dumps(frame))


def _answers() -> dict[str, Payload]:
    """By action; what is missing is not implemented."""
    now = format_time(datetime.now(UTC))
    return {
        Action.boot_notification: {
            "status": RegistrationStatus.accepted,
            "currentTime": now,
            "interval": HEARTBEAT_INTERVAL,
        },
        Action.data_transfer: {"status": DataTransferStatus.accepted, "data": "hello, charge point"},
        Action.heartbeat: {"currentTime": now},
        Action.security_event_notification: {},
        Action.status_notification: {},
    }
