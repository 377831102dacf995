"""A CSMS as somebody else would write it: with the ocpp library."""

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.enums import Action, DataTransferStatus, RegistrationStatus
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

TIMEOUT = 10.0  # s


class _Station(ChargePoint):  # type: ignore[misc] # the library has no types
    """The library's view of the charge point that is connected."""

    def __init__(self, identity: str, socket: ServerConnection, heard: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(identity, socket)
        self._heard = heard

    @on(Action.boot_notification)  # type: ignore[untyped-decorator] # see above
    def boot_notification(self, **payload: Any) -> call_result.BootNotification:
        self._heard.append(("BootNotification", payload))
        return call_result.BootNotification(now(), 300, RegistrationStatus.accepted)

    @on(Action.heartbeat)  # type: ignore[untyped-decorator]
    def heartbeat(self) -> call_result.Heartbeat:
        return call_result.Heartbeat(now())

    @on(Action.status_notification)  # type: ignore[untyped-decorator]
    def status_notification(self, **payload: Any) -> call_result.StatusNotification:
        self._heard.append(("StatusNotification", payload))
        return call_result.StatusNotification()

    @on(Action.data_transfer)  # type: ignore[untyped-decorator]
    def data_transfer(self, **payload: Any) -> call_result.DataTransfer:
        self._heard.append(("DataTransfer", payload))
        return call_result.DataTransfer(DataTransferStatus.accepted, "thanks")

    @on(Action.security_event_notification)  # type: ignore[untyped-decorator]
    def security_event_notification(self, **payload: Any) -> call_result.SecurityEventNotification:
        self._heard.append(("SecurityEventNotification", payload))
        return call_result.SecurityEventNotification()


class LibraryCsms:
    """Listens on a free port of 127.0.0.1; its interface blocks."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []  # action and payload, in the library's spelling
        self.port = 0
        self._station: _Station | None = None
        self._server: Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="library CSMS")

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ocpp"

    def __enter__(self) -> Self:
        self._thread.start()
        self._in_loop(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._in_loop(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, request: Any) -> Any:
        """The charge point's answer to a message of `ocpp.v16.call`."""
        assert self._station is not None
        return self._in_loop(self._station.call(request, suppress=False))

    def of(self, action: str) -> list[dict[str, Any]]:
        """The payloads of one action that came so far."""
        return [payload for name, payload in list(self.heard) if name == action]

    async def _start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")])
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await self._loop.shutdown_default_executor()

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self._station = _Station(socket.request.path.rpartition("/")[2], socket, self.heard)
        try:
            await self._station.start()
        except ConnectionClosed:
            return

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
