"""The session with the broker, against a real mosquitto and against scripted brokers that misbehave."""

import asyncio
import functools
import gc
import inspect
import itertools
import logging
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import aiomqtt
import pytest
from paho.mqtt.client import Client as PahoClient
from pydantic import SecretStr

from ocpp16_bridge.mqtt import connection as module
from ocpp16_bridge.mqtt.connection import Connection, Incoming, Subscription, reconnect_wait
from tests.broker import Broker, V3OnlyBroker, free_port
from tests.mqtt_client import LocalProgram

STATE = "ocpp16/state"
SUBSCRIPTIONS = (Subscription("ocpp16/request/+", commands=True), Subscription("ocpp16/hardware/#", commands=False))
CONNACK = b"\x20\x03\x00\x00\x00"
SUBACK = b"\x90\x05\x00\x01\x00\x01\x01"
NO_PASSWORD = SecretStr("")
ECHO = "ocpp16/response/echo"


@dataclass(frozen=True)
class Settings:
    port: int
    host: str = "127.0.0.1"
    username: str = ""
    password: SecretStr = NO_PASSWORD
    tls: bool = False
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class Owner:
    """Receives: notes down what it is told, and plays the daemon's part."""

    def __init__(self, connection: Callable[["Owner"], Connection]) -> None:
        self.told: list[str] = []
        self.messages: list[Incoming] = []
        self.connection = connection(self)
        self._news = asyncio.Event()

    def mqtt_connected(self) -> None:
        self._note("connected")
        self.connection.publish(STATE, b"online", retain=True)

    def mqtt_disconnected(self, reason: str) -> None:
        self._note(f"disconnected: {reason}")

    def mqtt_received(self, message: Incoming) -> None:
        self.messages.append(message)
        self._note(f"{message.topic} {message.payload.decode()}")
        if message.payload == b"fail":
            raise ZeroDivisionError
        if message.topic == "ocpp16/request/echo":
            self.connection.publish(ECHO, message.payload, correlation_data=message.correlation_data)

    def _note(self, event: str) -> None:
        self.told.append(event)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def until_told(self, event: str, times: int = 1) -> None:
        await self.until(lambda: sum(told.startswith(event) for told in self.told) >= times)


def owner(settings: Settings | Broker, monotonic: Callable[[], float] = time.monotonic, **options: Any) -> Owner:
    settings = Settings(settings.port) if isinstance(settings, Broker) else settings
    will = (STATE, "offline")
    return Owner(
        lambda it: Connection(settings, "ocpp16-bridge-CP1", will, SUBSCRIPTIONS, it, monotonic, lambda: 0.0, **options)
    )


@asynccontextmanager
async def running(it: Owner) -> AsyncIterator[asyncio.Task[None]]:
    """Its connection, until the end of the block; ends by cancellation if it has not ended by then."""
    task: asyncio.Task[None] = asyncio.create_task(it.connection.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await task


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test in a loop, and fails it for every task it leaves and every exception nobody looked at."""

    async def checked(*arguments: Any, **named: Any) -> None:
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
        await test(*arguments, **named)
        await loop.shutdown_default_executor()
        await asyncio.sleep(0)
        gc.collect()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not complaints

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(checked(*arguments, **named))

    return run


class ScriptedBroker:
    """Accepts connections and does with each what the script says; then hangs up."""

    def __init__(self, script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._script = script
        self.accepted = 0
        self.port = 0
        self._served: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        async with asyncio.timeout(10):
            await asyncio.gather(*self._served)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._served.append(served)
        with suppress(ConnectionError):
            await self._script(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        served.set_result(None)


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer CONNECT and SUBSCRIBE."""
    for answer in (CONNACK, SUBACK):
        await reader.read(1000)
        writer.write(answer)


async def to_the_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work)


@pytest.mark.parametrize("protocol", [5, 4], ids=["program with MQTT 5", "program with 3.1.1"])
@asynchronous
async def test_request_is_received_and_reply_sent(protocol: int) -> None:
    with Broker() as broker:
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")

            def ask() -> bytes:
                with LocalProgram(broker.port, protocol) as program:
                    program.subscribe(ECHO)
                    program.publish("ocpp16/request/echo", "hello")
                    return program.wait_for(ECHO).payload

            assert await in_thread(ask) == b"hello"
            assert it.connection.connected
            assert it.connection.protocol == "5"


@asynchronous
async def test_properties_of_a_request_come_through() -> None:
    """Response Topic, Correlation Data and Message Expiry (MQTT interface, 3)."""
    with Broker() as broker:
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")

            def ask() -> bytes | None:
                with LocalProgram(broker.port) as program:
                    program.subscribe(ECHO)
                    program.publish(
                        "ocpp16/request/echo", "1", response_topic="a", correlation_data=b"\x00\x01", expiry=60
                    )
                    return program.wait_for(ECHO).correlation_data

            assert await in_thread(ask) == b"\x00\x01"

        message = it.messages[0]
        assert (message.response_topic, message.correlation_data) == ("a", b"\x00\x01")
        assert message.expires_at == pytest.approx(time.monotonic() + 60, abs=5)


@asynchronous
async def test_message_without_properties_never_expires() -> None:
    with Broker() as broker, LocalProgram(broker.port) as program:
        program.publish("ocpp16/hardware/x", "1", retain=True)
        it = owner(broker)

        async with running(it):
            await it.until_told("ocpp16/hardware/x")

        assert it.messages == [Incoming("ocpp16/hardware/x", b"1", True, None, None, None)]


@asynchronous
async def test_retained_facts_are_received_after_the_connection_is_announced() -> None:
    with Broker() as broker, LocalProgram(broker.port) as program:
        for number in range(100):
            program.publish(f"ocpp16/hardware/{number}", str(number), retain=True)
        it = owner(broker)

        async with running(it):
            await it.until(lambda: len(it.messages) == 100)

        assert it.told[0] == "connected"
        assert {message.payload for message in it.messages} == {str(number).encode() for number in range(100)}


@asynchronous
async def test_retained_requests_that_lay_there_are_not_received_and_live_ones_are_marked() -> None:
    """A retained command would run again at each start (operations, 1)."""
    with Broker() as broker, LocalProgram(broker.port) as program:
        program.publish("ocpp16/request/echo", "old", retain=True)
        it = owner(broker)

        async with running(it):
            await it.until_told("connected")
            await in_thread(lambda: program.publish("ocpp16/request/echo", "live", retain=True))
            await it.until(lambda: bool(it.messages))

        assert [(message.payload, message.retain) for message in it.messages] == [(b"live", True)]


@asynchronous
async def test_what_we_publish_to_a_request_topic_does_not_come_back() -> None:
    """Clearing a retained request is no request (noLocal)."""
    with Broker() as broker, LocalProgram(broker.port) as program:
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            it.connection.publish("ocpp16/request/echo", b"", retain=True)
            await in_thread(lambda: program.publish("ocpp16/request/echo", "after"))
            await it.until_told("ocpp16/request/echo after")

        assert [message.payload for message in it.messages] == [b"after"]


@asynchronous
async def test_publications_keep_their_order_beyond_what_the_broker_takes_at_once() -> None:
    """mosquitto's Receive Maximum is 20."""
    with Broker("max_queued_messages 5000") as broker, LocalProgram(broker.port) as program:
        program.subscribe("ocpp16/count/#")
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            for number in range(3000):
                it.connection.publish("ocpp16/count/up", b"%d" % number)
            last = await in_thread(lambda: program.wait_for("ocpp16/count/+", lambda heard: heard.text == "2999"))

        assert last.text == "2999"
        assert [int(heard.text) for heard in program.messages("ocpp16/count/#")] == list(range(3000))


@asynchronous
async def test_large_messages_go_out_when_the_socket_takes_them() -> None:
    with Broker() as broker, LocalProgram(broker.port) as program:
        program.subscribe("ocpp16/large/#")
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            for number in range(4):
                it.connection.publish(f"ocpp16/large/{number}", bytes([number]) * 8_000_000, qos=number % 2)

            def sizes() -> list[int]:
                return [len(program.wait_for(f"ocpp16/large/{number}").payload) for number in range(4)]

            assert await in_thread(sizes) == [8_000_000] * 4


@asynchronous
async def test_published_while_disconnected_is_dropped() -> None:
    port = free_port()
    it = owner(Settings(port))
    it.connection.publish("ocpp16/x", b"before run")
    async with running(it):
        it.connection.publish("ocpp16/x", b"while connecting")

        assert not it.connection.connected
        assert it.connection.protocol is None
    assert it.told == []


@asynchronous
async def test_exception_of_the_receiver_costs_a_traceback_and_not_the_link(caplog: pytest.LogCaptureFixture) -> None:
    with Broker() as broker, LocalProgram(broker.port) as program:
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            await in_thread(lambda: program.publish("ocpp16/request/echo", "fail"))
            await in_thread(lambda: program.publish("ocpp16/request/echo", "fine"))
            await it.until_told("ocpp16/request/echo fine")

        assert [event for event in it.told if event.startswith("disconnected")] == ["disconnected: the daemon ends"]
        assert "ZeroDivisionError" in caplog.text
        assert "Owner.mqtt_received failed" in caplog.text


@asynchronous
async def test_cancelled_it_sends_what_was_published_and_no_will() -> None:
    with Broker("max_queued_messages 5000") as broker, LocalProgram(broker.port) as program:
        program.subscribe("ocpp16/#")
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            for number in range(500):
                it.connection.publish("ocpp16/count", b"%d" % number)
            it.connection.publish(STATE, b"farewell", retain=True)
        await in_thread(lambda: program.wait_for(STATE, lambda heard: heard.text == "farewell"))
        retained = await in_thread(program.retained)

        assert retained == {STATE: b"farewell"}
        assert len(program.messages("ocpp16/count")) == 500
        assert it.told == ["connected", "disconnected: the daemon ends"]
        assert "offline" not in [heard.text for heard in program.messages(STATE)]


@asynchronous
async def test_broker_publishes_the_will_when_the_link_is_cut() -> None:
    with Broker() as broker, LocalProgram(broker.port) as program:
        program.subscribe(STATE)
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            client = it.connection._client
            assert client is not None
            client.abort()
            will = await in_thread(lambda: program.wait_for(STATE, lambda heard: heard.text == "offline"))
            await it.until_told("connected", times=2)
            await in_thread(lambda: program.wait_for(STATE, lambda heard: heard.text == "online"))

        assert will.text == "offline"


@pytest.mark.parametrize("end", ["kill", "terminate"])
@asynchronous
async def test_lost_broker_is_found_again(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """All is published again; a broker without persistence ends with the same picture (MQTT interface, 1)."""
    caplog.set_level(logging.INFO)
    with Broker() as broker:
        it = owner(broker)
        async with running(it):
            await it.until_told("connected")
            await in_thread(getattr(broker, end))
            await it.until_told("disconnected")
            assert not it.connection.connected
            await in_thread(broker.start)
            await it.until_told("connected", times=2)

            def retained() -> dict[str, bytes]:
                with LocalProgram(broker.port) as program:
                    return program.retained()

            assert await in_thread(retained) == {STATE: b"online"}

        assert [event.partition(":")[0] for event in it.told] == ["connected", "disconnected"] * 2
        assert len(warnings(caplog)) == 1
        assert f"127.0.0.1:{broker.port}" in warnings(caplog)[0]
        assert "is mosquitto running there?" in warnings(caplog)[0]
        assert sum("connected to" in record.getMessage() for record in caplog.records) == 2


@asynchronous
async def test_second_daemon_with_our_client_id_is_suspected(caplog: pytest.LogCaptureFixture) -> None:
    async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await reader.read(1000)  # our state: we are connected
        writer.write(b"\xe0\x02\x8e\x00")
        await to_the_end(reader)

    async with ScriptedBroker(take_over) as broker:
        it = owner(Settings(broker.port))
        async with running(it):
            await it.until_told("disconnected: Session taken over")

    assert "second daemon" in warnings(caplog)[0]


@pytest.mark.parametrize("silent", [False, True], ids=["return code 1", "hangs up"])
@asynchronous
async def test_broker_without_mqtt_5_is_spoken_to_in_3_1_1(silent: bool) -> None:
    with Broker() as broker, V3OnlyBroker(broker.port, silent=silent) as old:
        it = owner(Settings(old.port))
        async with running(it):
            await it.until_told("connected")

            def ask() -> bytes:
                with LocalProgram(broker.port) as program:
                    program.subscribe(ECHO)
                    program.publish("ocpp16/request/echo", "hello", correlation_data=b"1")
                    return program.wait_for(ECHO).payload

            assert it.connection.protocol == "3.1.1"
            assert await in_thread(ask) == b"hello"
            assert it.messages[0].correlation_data is None

        assert old.refused == (2 if silent else 1)


@asynchronous
async def test_mqtt_5_is_tried_first_with_each_new_connection() -> None:
    """The broker may be another one by now."""
    with Broker() as broker, V3OnlyBroker(broker.port) as old:
        it = owner(Settings(old.port))
        async with running(it):
            await it.until_told("connected")
            await in_thread(broker.kill)
            await it.until_told("disconnected")
            await in_thread(broker.start)
            await it.until_told("connected", times=2)

            assert old.refused >= 2


@pytest.mark.parametrize(
    ("username", "password", "remedy"),
    [("", "", "check mqtt.username"), ("bridge", "wrong-secret", "check mqtt.username")],
    ids=["no user", "wrong password"],
)
@asynchronous
async def test_refused_user_is_told_what_to_check(
    username: str, password: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(users={"bridge": "right-secret"}) as broker:
        it = owner(Settings(broker.port, username=username, password=SecretStr(password)))
        async with running(it):
            await until_logged(caplog, remedy)

        assert it.told == []
        assert "secret" not in caplog.text


@asynchronous
async def test_known_user_is_admitted() -> None:
    with Broker(users={"bridge": "right-secret"}) as broker:
        it = owner(Settings(broker.port, username="bridge", password=SecretStr("right-secret")))
        async with running(it):
            await it.until_told("connected")


@asynchronous
async def test_denied_publication_is_reported_once_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    with Broker(users={"bridge": "x"}, access_list="user bridge\ntopic read ocpp16/#\n") as broker:
        it = owner(Settings(broker.port, username="bridge", password=SecretStr("x")))
        async with running(it):
            await it.until_told("connected")
            it.connection.publish("ocpp16/y", b"")
            await until_logged(caplog, "refuses what is published: Not authorized")

        assert len(warnings(caplog)) == 1


@asynchronous
async def test_refused_subscription_is_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        await reader.read(1000)
        writer.write(b"\x90\x05\x00\x01\x00\x01\x87")
        await to_the_end(reader)

    async with ScriptedBroker(refuse) as broker:
        it = owner(Settings(broker.port))
        async with running(it):
            await until_logged(caplog, "subscription to ocpp16/hardware/#: Not authorized")

        assert it.told == []


@asynchronous
async def test_message_before_the_acknowledgement_of_the_subscription_is_no_exception() -> None:
    """A broker may send it first (MQTT 5, 3.8.4)."""

    async def hasten(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        await reader.read(1000)
        writer.write(b"\x30\x06\x00\x03a/b\x00" + SUBACK)
        await to_the_end(reader)

    async with ScriptedBroker(hasten) as broker:
        it = owner(Settings(broker.port))
        async with running(it):
            await it.until_told("a/b")

            assert it.told == ["connected", "a/b "]


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await to_the_end(reader)


async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1000)


async def other_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xf0\x00")
    await to_the_end(reader)


async def silence_after_connack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CONNACK)
    await to_the_end(reader)


async def hang_up_after_connack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(CONNACK)


async def hang_up_after_subscribe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(CONNACK)
    await reader.read(1000)


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (silence, "timed out"),
        (hang_up, "closed the connection instead of answering"),
        (other_protocol, "Protocol error"),
        (silence_after_connack, "not acknowledged within 0.2 s"),
        (hang_up_after_connack, "the connection was cut"),
        (hang_up_after_subscribe, "the connection was cut"),
    ],
    ids=lambda value: getattr(value, "__name__", "because"),
)
@asynchronous
async def test_broker_that_does_not_serve_is_tried_again(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    cause: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ScriptedBroker(script) as broker:
        it = owner(Settings(broker.port), answer_timeout=0.2)
        async with running(it):
            async with asyncio.timeout(10):
                while broker.accepted < 3:  # noqa: ASYNC110 - the other end of a socket has no event
                    await asyncio.sleep(0.01)

        assert it.told == []
        assert len(warnings(caplog)) == 1
        assert cause in warnings(caplog)[0]


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (b"\xff\xff\xff\xff\xff\xff", "Protocol error"),
        (b"\x30\x06\x00\x03a\xffb\x00", "cannot be read"),
        (b"\x30\x01\x00", "Protocol error"),
        (b"\xe0\x02\x8b\x00", "Server shutting down"),
        (b"", "the connection was cut"),
    ],
    ids=["no packet", "topic that is no text", "short packet", "farewell", "end"],
)
@asynchronous
async def test_broker_that_talks_nonsense_is_left(packet: bytes, cause: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await reader.read(1000)  # our state: we are connected
        writer.write(packet)

    async with ScriptedBroker(talk) as broker:
        it = owner(Settings(broker.port))
        async with running(it):
            await it.until_told("disconnected")

        assert cause in it.told[1]
        assert it.told[:1] == ["connected"]


@asynchronous
async def test_half_open_link_is_noticed() -> None:
    """Nothing comes, not even an answer to a ping: given up after twice the keep-alive and a third."""

    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await to_the_end(reader)

    async with ScriptedBroker(fall_silent) as broker:
        it = owner(Settings(broker.port), keepalive=1)
        async with running(it):
            await it.until_told("disconnected")

        assert it.told[1] == "disconnected: Keep alive timeout"


@asynchronous
async def test_keep_alive_of_the_broker_counts() -> None:
    """Server Keep Alive (MQTT 5, 3.2.2.3.14)."""
    pings: asyncio.Queue[bytes] = asyncio.Queue()

    async def hurry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x06\x00\x00\x03\x13\x00\x01")
        await reader.read(1000)
        writer.write(SUBACK)
        await reader.read(1000)
        pings.put_nowait(await reader.read(1000))
        await to_the_end(reader)

    async with ScriptedBroker(hurry) as broker:
        it = owner(Settings(broker.port))
        async with running(it), asyncio.timeout(5):
            assert await pings.get() == b"\xc0\x00"


@asynchronous
async def test_broker_that_acknowledges_nothing_is_left_before_memory_runs_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await to_the_end(reader)

    async with ScriptedBroker(swallow) as broker:
        it = owner(Settings(broker.port))
        async with running(it):
            await it.until_told("connected")
            for number in range(10_001):
                it.connection.publish("ocpp16/x", b"%d" % number)
            await it.until_told("disconnected")

        assert "10000 messages are unacknowledged" in it.told[1]
        assert len(warnings(caplog)) == 1


@asynchronous
async def test_cancelled_it_does_not_wait_long_for_a_broker_that_acknowledges_nothing() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await to_the_end(reader)

    async with ScriptedBroker(swallow) as broker:
        it = owner(Settings(broker.port))
        async with running(it) as task:
            await it.until_told("connected")
            started = time.monotonic()
            task.cancel()
            await asyncio.wait((task,))

        assert time.monotonic() - started == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize(
    "script", [silence, silence_after_connack, hang_up], ids=["connecting", "subscribing", "waiting"]
)
@asynchronous
async def test_cancelled_at_any_stage_it_leaves_nothing(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    """`asynchronous` looks for what was left; here for the open socket."""
    ends: asyncio.Queue[None] = asyncio.Queue()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:  # it may be reset
            ends.put_nowait(None)

    async with ScriptedBroker(watched) as broker:
        it = owner(Settings(broker.port))
        async with running(it), asyncio.timeout(5):
            while not broker.accepted:  # noqa: ASYNC110 - the other end of a socket has no event
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await ends.get()


@asynchronous
async def test_cancelled_while_a_thread_connects_it_leaves_nothing() -> None:
    ends: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        ends.put_nowait(await reader.read(1000))

    async with ScriptedBroker(read) as broker:
        busy = threading.Event()
        loop = asyncio.get_running_loop()
        workers = [loop.run_in_executor(None, busy.wait, 5) for _ in range(loop_workers())]
        it = owner(Settings(broker.port))
        async with running(it):
            await asyncio.sleep(0)
            while it.connection._client is None:  # noqa: ASYNC110 - nothing else shows it
                await asyncio.sleep(0)
        busy.set()
        await asyncio.gather(*workers)

        assert ends.empty()


@asynchronous
async def test_thread_that_connects_too_late_finds_the_door_closed() -> None:
    """A thread cannot be cancelled: its connection is closed without a CONNECT once it is there."""
    ends: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        ends.put_nowait(await reader.read(1000))

    async with ScriptedBroker(read) as broker:
        client = aiomqtt_client(broker.port)
        connecting = asyncio.create_task(client.connect())
        await asyncio.sleep(0)
        connecting.cancel()
        client.abort()
        async with asyncio.timeout(5):
            assert await ends.get() == b""
        assert connecting.cancelled()


@asynchronous
async def test_cancellation_that_comes_with_the_connack_counts() -> None:
    """Python 3.11's wait_for would lose it, and the daemon never end."""
    async with ScriptedBroker(silence) as broker:
        client = aiomqtt_client(broker.port)
        connecting = asyncio.create_task(client.connect())
        async with asyncio.timeout(5):
            while not client._opened:  # noqa: ASYNC110 - nothing else shows it
                await asyncio.sleep(0)
        await asyncio.sleep(0.01)  # until it waits for the CONNACK

        client._connected.set_result(None)
        connecting.cancel()
        await asyncio.wait((connecting,))
        client.abort()

        assert connecting.cancelled()


@pytest.mark.parametrize("name", ["loop_read", "loop_write"])
@asynchronous
async def test_error_in_a_library_is_not_taken_for_a_lost_link(name: str) -> None:
    """It ends run(): the daemon fails and is started again."""
    with Broker() as broker:
        it = owner(broker)
        task = asyncio.create_task(it.connection.run())
        await it.until_told("connected")
        client = it.connection._client
        assert client is not None
        original = getattr(client._client, name)
        errors = [TypeError("a library has changed")]

        def broken_once() -> Any:
            if errors:
                raise errors.pop()
            return original()

        setattr(client._client, name, broken_once)
        it.connection.publish("ocpp16/x", b"")
        await asyncio.wait((task,), timeout=5)

        with pytest.raises(TypeError, match="a library has changed"):
            task.result()
        assert it.told[1] == "disconnected: an error"


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (Settings(1, ca_file=Path("/nowhere/ca.pem"), tls=True), "/nowhere/ca.pem: [Errno 2]"),
        (Settings(1, client_certificate=Path(__file__), tls=True), "check mqtt.ca_file, mqtt.client_certificate"),
        (Settings(1, host="a..b"), "check mqtt.host"),
        (Settings(1, host="name.invalid"), "check mqtt.host"),
        (Settings(1), "is mosquitto running there?"),
    ],
    ids=["no CA file", "certificate that is none", "host name that is none", "unknown host", "nobody there"],
)
@asynchronous
async def test_warning_says_what_to_do(settings: Settings, remedy: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = replace(settings, port=free_port())
    it = owner(settings)
    async with running(it):
        await until_logged(caplog, remedy)

    assert len(warnings(caplog)) == 1


@asynchronous
async def test_each_further_attempt_is_logged_for_debugging_only_and_takes_the_same_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    threads = threading.active_count()
    it = owner(Settings(free_port()))
    async with running(it):
        async with asyncio.timeout(5):
            while caplog.text.count("no connection") < 3:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.01)
        assert threading.active_count() <= threads + 1

    assert len(warnings(caplog)) == 1


@asynchronous
async def test_waits_begin_again_after_a_connection_that_lasted() -> None:
    """Four waits of 0.25 s; they would take 3.75 s if they grew."""
    moments = itertools.count(step=11)

    async def hang_up_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accept(reader, writer)
        await reader.read(1000)  # our state: we are connected

    async with ScriptedBroker(hang_up_later) as broker:
        it = owner(Settings(broker.port), monotonic=lambda: float(next(moments)))
        async with running(it), asyncio.timeout(3):
            await it.until_told("connected", times=5)


@pytest.mark.parametrize(
    ("failures", "chance", "wait"),
    [(0, 0.0, 0.25), (0, 1.0, 0.5), (1, 1.0, 1.0), (5, 1.0, 16.0), (6, 1.0, 30.0), (10_000, 1.0, 30.0)],
)
def test_wait_doubles_up_to_half_a_minute(failures: int, chance: float, wait: float) -> None:
    assert reconnect_wait(failures, lambda: chance) == wait


class Certificates:
    """A CA with a server and a client, made by openssl; the files can be read by mosquitto's user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = self._make("ca", "-x509", "-subj", "/CN=test CA")
        self.server = self._make("server", *self._signed(), "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1")
        self.client = self._make("client", *self._signed(), "-subj", "/CN=bridge")
        self.stranger = self._make("stranger", "-x509", "-subj", "/CN=another CA")

    def key(self, certificate: Path) -> Path:
        return certificate.with_suffix(".key")

    def _signed(self) -> list[str]:
        return ["-x509", "-CA", str(self.ca), "-CAkey", str(self.key(self.ca))]

    def _make(self, name: str, *arguments: str) -> Path:
        certificate = self.folder / f"{name}.pem"
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(self.key(certificate)), "-out", str(certificate)]
        subprocess.run(["openssl", "req", *key, "-days", "2", *arguments], check=True, capture_output=True)
        self.key(certificate).chmod(0o644)
        return certificate


def tls_broker() -> tuple[Broker, Certificates]:
    broker = Broker(
        "cafile {folder}/ca.pem",
        "certfile {folder}/server.pem",
        "keyfile {folder}/server.key",
        "require_certificate true",
    )
    return broker, Certificates(broker.folder)


@asynchronous
async def test_tls_with_client_certificate_carries_large_messages() -> None:
    """More than one TLS record: what is decrypted already does not wake the loop."""
    broker, certificates = tls_broker()
    with broker:
        client = certificates.client
        settings = Settings(broker.port, "127.0.0.1", tls=True, ca_file=certificates.ca, client_certificate=client)
        it = owner(replace(settings, client_key=certificates.key(client)))
        async with running(it):
            await it.until_told("connected")
            it.connection.publish("ocpp16/hardware/large", b"x" * 1_000_000)
            for number in range(50):
                it.connection.publish("ocpp16/hardware/small", b"%d" % number)
            await it.until_told("ocpp16/hardware/small 49")

        assert len(it.messages[0].payload) == 1_000_000
        assert len(it.messages) == 51


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves the socket to the collector
@asynchronous
async def test_broker_of_a_strange_ca_is_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    broker, certificates = tls_broker()
    with broker:
        it = owner(Settings(broker.port, tls=True, ca_file=certificates.stranger))
        async with running(it):
            await until_logged(caplog, "check mqtt.tls and mqtt.ca_file")

        assert it.told == []


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_client_connect", ["self"]),
        ("_on_socket_open", ["self", "client", "userdata", "sock"]),
        ("_on_socket_register_write", ["self", "client", "userdata", "sock"]),
        ("_on_connect", ["self", "client", "userdata", "flags", "reason_code", "properties"]),
        ("_on_disconnect", ["self", "client", "userdata", "flags", "reason_code", "properties"]),
        ("_on_subscribe", ["self", "client", "userdata", "mid", "reason_codes", "properties"]),
        ("_on_publish", ["self", "client", "userdata", "mid", "reason_code", "properties"]),
    ],
)
def test_seams_of_aiomqtt_are_where_they_were(name: str, parameters: list[str]) -> None:
    """What we override. If this fails read aiomqtt's changes before you touch `_Client`."""
    assert list(inspect.signature(getattr(aiomqtt.Client, name)).parameters) == parameters


@asynchronous
async def test_attributes_of_aiomqtt_and_paho_are_what_they_were() -> None:
    """What we use of their inside."""
    client = aiomqtt.Client("127.0.0.1")

    assert isinstance(client._client, PahoClient)
    assert isinstance(client._connected, asyncio.Future)
    assert client._loop is asyncio.get_running_loop()
    assert client._misc_task is None  # started by _on_socket_open, which we override
    assert "_misc_loop" in inspect.getsource(aiomqtt.Client._on_socket_open)
    assert isinstance(client._client._max_inflight_messages, int)


@asynchronous
async def test_broker_with_nagle_does_not_wait_for_our_acknowledgement() -> None:
    """TCP_QUICKACK: its second packet would wait 40 ms for the kernel to acknowledge the first (performance, 1)."""
    rounds: list[float] = []
    done = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        await accept(reader, writer)
        await reader.read(1000)
        for _ in range(41):
            started = time.monotonic()
            writer.write(b"\x30\x06\x00\x03a/b\x00")
            writer.write(b"\x30\x16\x00\x13ocpp16/request/echo\x00")
            await reader.read(1000)
            rounds.append(time.monotonic() - started)
        done.set()
        await to_the_end(reader)

    async with ScriptedBroker(play) as broker:
        it = owner(Settings(broker.port))
        async with running(it), asyncio.timeout(10):
            await done.wait()

    assert sorted(rounds)[20] < 0.02


async def until_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)


def loop_workers() -> int:
    """More than the default executor has."""
    return 64


def aiomqtt_client(port: int) -> module._Client:
    return module._Client("127.0.0.1", port, identifier="x", protocol=aiomqtt.ProtocolVersion.V5)
