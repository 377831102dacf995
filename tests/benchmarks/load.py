"""A load generator that costs next to nothing: MQTT 3.1.1 as a bare asyncio protocol, with packets built beforehand."""

import asyncio
import itertools
import struct
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Self

PUBLISH, PUBACK = 0x30, b"\x40\x02"
ANSWER_TIMEOUT = 30.0  # s without an answer until a measurement is given up


def packet(kind: int, body: bytes) -> bytes:
    length, digits = len(body), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([kind, *digits, length]) + body


def string(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def publish(topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bytes:
    """A PUBLISH; with QoS 1 its packet identifier is always 1, so one at a time."""
    identifier = b"\x00\x01" if qos else b""
    return packet(PUBLISH | qos << 1 | retain, string(topic) + identifier + payload)


class Client(asyncio.Protocol):
    """An MQTT session that hands every PUBLISH to `received(topic, payload, moment)`."""

    transport: asyncio.Transport

    def __init__(self, received: Callable[[bytes, bytes, float], None]) -> None:
        self.received = received
        self.rest = b""
        self.answers: asyncio.Queue[int] = asyncio.Queue()  # CONNACK, SUBACK, and PUBACK of `publish`

    @classmethod
    async def connect(cls, port: int, received: Callable[[bytes, bytes, float], None]) -> Self:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(received), "127.0.0.1", port)
        # Clean session, no keep-alive, an identifier that the broker chooses.
        await client.ask(packet(0x10, string("MQTT") + b"\x04\x02\x00\x00" + string("")))
        return client

    async def ask(self, request: bytes) -> None:
        """Sends a packet that the broker acknowledges, and waits for that."""
        self.transport.write(request)
        await asyncio.wait_for(self.answers.get(), ANSWER_TIMEOUT)

    async def subscribe(self, topic: str, qos: int = 1) -> None:
        await self.ask(packet(0x82, b"\x00\x01" + string(topic) + bytes([qos])))

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        moment = perf_counter()
        for kind, body in self.packets(data):
            if kind & 0xF0 == PUBLISH:
                self.published(kind, body, moment)
            else:
                self.acknowledged(kind)

    def packets(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Whole packets: first byte and what follows the length."""
        data = self.rest + data
        start = 0
        while len(data) - start >= 2:
            position, length, shift = start + 1, 0, 0
            while position < len(data):
                length |= (data[position] & 0x7F) << shift
                shift += 7
                position += 1
                if data[position - 1] <= 0x7F:
                    break
            else:
                break
            if len(data) - position < length:
                break
            yield data[start], data[position : position + length]
            start = position + length
        self.rest = data[start:]

    def published(self, kind: int, body: bytes, moment: float) -> None:
        end = 2 + (body[0] << 8 | body[1])
        topic = body[2:end]
        if kind & 0x06:
            self.transport.write(PUBACK + body[end : end + 2])
            end += 2
        self.received(topic, body[end:], moment)

    def acknowledged(self, kind: int) -> None:
        self.answers.put_nowait(kind)


class Commands(Client):
    """A client that gives `data_transfer` commands and times the replies, which must come in order."""

    def __init__(self, received: Callable[[bytes, bytes, float], None]) -> None:
        super().__init__(received)
        self.received = self.replied
        self.numbers = itertools.count(1)
        self.sent: deque[tuple[bytes, float]] = deque()
        self.latencies: list[float] = []

    @classmethod
    async def for_base(cls, port: int, base: str, *, qos: int = 1, with_id: bool = True) -> Self:
        """A session that is ready for `burst`."""
        client = await cls.connect(port, lambda *_: None)
        await client.subscribe(f"{base}/response/data_transfer", qos)
        client.build(f"{base}/request/data_transfer", qos=qos, with_id=with_id)
        return client

    def build(self, topic: str, *, qos: int, with_id: bool) -> None:
        rest = b'"vendor_id":"com.example.benchmark","message_id":"Ping","data":"0123456789abcdef"}'
        self.qos, self.with_id = qos, with_id
        sample = publish(topic, (b'{"id":"00000000",' if with_id else b"{") + rest, qos=qos)
        self.head = sample[: sample.index(topic.encode()) + len(topic)]
        self.tail = rest

    def acknowledged(self, kind: int) -> None:
        if kind != PUBACK[0]:  # these are not waited for
            super().acknowledged(kind)

    async def burst(self, count: int, in_flight: int = 1) -> list[float]:
        """Gives `count` commands, `in_flight` at a time; returns the seconds each took.

        Raises:
            RuntimeError: a reply is an error or out of order.
            TimeoutError: a reply does not come.
        """
        self.remaining, self.latencies = count, []
        self.done = asyncio.get_running_loop().create_future()
        for _ in range(min(in_flight, count)):
            self.command()
        await asyncio.wait_for(self.done, ANSWER_TIMEOUT + count / 100)
        return self.latencies

    def command(self) -> None:
        self.remaining -= 1
        number = next(self.numbers)
        mark = b'"id":"%08d"' % number if self.with_id else b'"ok"'
        identifier = struct.pack("!H", number % 65_535 + 1) if self.qos else b""
        payload = b"{" + mark + b"," + self.tail if self.with_id else b"{" + self.tail
        self.sent.append((mark, perf_counter()))
        self.transport.write(self.head + identifier + payload)

    def replied(self, topic: bytes, payload: bytes, moment: float) -> None:
        mark, start = self.sent.popleft()
        # A reply may be spelled with a space after the colon.
        if mark not in payload.replace(b": ", b":") or b'"Accepted"' not in payload:
            self.done.set_exception(RuntimeError(f"{topic.decode()}: expected {mark.decode()}, got {payload.decode()}"))
            return
        self.latencies.append(moment - start)
        if self.remaining:
            self.command()
        elif not self.sent:
            self.done.set_result(None)
