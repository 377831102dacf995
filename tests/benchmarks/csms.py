"""A Central System that costs next to nothing: a bare asyncio protocol with as much WebSocket and OCPP as needed."""

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from time import perf_counter

ANSWER_TIMEOUT = 30.0  # s
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
HANDSHAKE = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
)
# What does not stand here is answered with {}.
ANSWERS: dict[str, Callable[[], str]] = {
    "DataTransfer": lambda: '{"status":"Accepted","data":"fedcba9876543210"}',
    "BootNotification": lambda: f'{{"status":"Accepted","currentTime":"{now()}","interval":86400}}',
    "Heartbeat": lambda: f'{{"currentTime":"{now()}"}}',
}


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes([0x80 | opcode, len(payload)]) + payload
    return bytes([0x80 | opcode, 126]) + len(payload).to_bytes(2, "big") + payload


def unmasked(mask: bytes, data: bytes) -> bytes:
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")


class Csms:
    """The charge points that are connected, by identity, and when each sent its last BootNotification."""

    port: int

    def __init__(self) -> None:
        self.stations: dict[str, Station] = {}
        self.boots: defaultdict[str, asyncio.Queue[float]] = defaultdict(asyncio.Queue)

    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ocpp"

    async def boot(self, identity: str) -> float:
        """Waits for the next BootNotification; returns its moment by `perf_counter`."""
        return await asyncio.wait_for(self.boots[identity].get(), ANSWER_TIMEOUT)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator["Csms"]:
        csms = cls()
        server = await asyncio.get_running_loop().create_server(lambda: Station(csms), "127.0.0.1", 0)
        csms.port = server.sockets[0].getsockname()[1]
        try:
            yield csms
        finally:
            server.close()
            for station in csms.stations.values():
                station.transport.abort()


class Station(asyncio.Protocol):
    """One connection of a charge point."""

    transport: asyncio.Transport
    identity = ""

    def __init__(self, csms: Csms) -> None:
        self.csms = csms
        self.buffer = b""
        self.unique_ids = itertools.count(1)
        self.answer: asyncio.Future[tuple[float, str]] | None = None

    async def call(self, action: str, payload: str) -> tuple[float, str]:
        """Sends a CALL; returns the seconds until its answer came, and the frame. One at a time."""
        self.answer = asyncio.get_running_loop().create_future()
        text = f'[2,"b{next(self.unique_ids)}","{action}",{payload}]'
        start = perf_counter()
        self.transport.write(frame(TEXT, text.encode()))
        moment, answer = await asyncio.wait_for(self.answer, ANSWER_TIMEOUT)
        return moment - start, answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.identity:
            self.shake_hands()
        while self.identity and self.read_frame():
            pass

    def shake_hands(self) -> None:
        head, end, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if not end:
            self.buffer = head
            return
        request, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + MAGIC).digest()).decode()
        self.identity = request.split()[1].rpartition("/")[2]
        self.csms.stations[self.identity] = self
        self.transport.write(HANDSHAKE.format(accept=accept).encode())

    def read_frame(self) -> bool:
        """Handles one frame, if it is there as a whole. What a client sends is masked; the libraries never fragment."""
        moment = perf_counter()
        buffer = self.buffer
        if len(buffer) < 6:
            return False
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:start], "big")
        end = start + 4 + length
        if len(buffer) < end:
            return False
        self.buffer = buffer[end:]
        self.received(buffer[0] & 0x0F, unmasked(buffer[start : start + 4], buffer[start + 4 : end]), moment)
        return True

    def received(self, opcode: int, payload: bytes, moment: float) -> None:
        if opcode == TEXT:
            self.received_text(payload.decode(), moment)
        elif opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self.transport.write(frame(CLOSE, payload))
            self.transport.close()

    def received_text(self, text: str, moment: float) -> None:
        """Answers a CALL at once; hands any other frame to the one who waits for it."""
        if text[1] != "2":
            if self.answer and not self.answer.done():
                self.answer.set_result((moment, text))
            return
        _, unique_id, _, action, _ = text.split('"', 4)
        answer = ANSWERS.get(action, lambda: "{}")()
        self.transport.write(frame(TEXT, f'[3,"{unique_id}",{answer}]'.encode()))
        if action == "BootNotification":
            self.csms.boots[self.identity].put_nowait(moment)
