"""The session with the broker: last will, subscriptions, what comes and goes, reconnecting.

It knows no topic but those it is told. All of aiomqtt and paho-mqtt stays in this module.
"""

import asyncio
import functools
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Never, Protocol, cast

import aiomqtt
from aiomqtt import MqttCodeError, MqttError, ProtocolVersion
from paho.mqtt import MQTTException
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import SecretStr

logger = logging.getLogger(__name__)

# paho logs each lost connection as an error; we report it once, with its remedy.
_paho_logger = logging.getLogger(f"{__name__}.paho")
_paho_logger.setLevel(logging.CRITICAL)

KEEPALIVE = 30  # s; looked after every third of it, so a half-open link is noticed after 80 s at the latest
ANSWER_TIMEOUT = 10.0  # s for CONNACK and for SUBACK; paho gives 5 s more to TCP and TLS
FLUSH_TIMEOUT = 0.5  # s
LONGEST_WAIT = 30.0  # s between two attempts
SETTLED = 10.0  # s after which a connection counts as good, and the waits begin again
MAX_UNCONFIRMED = 10_000  # messages on their way to the broker: what bounds our memory

_UNSUPPORTED_PROTOCOL = 0x84
_REMEDIES: dict[int | None, str] = {
    _UNSUPPORTED_PROTOCOL: "the broker speaks neither MQTT 5 nor 3.1.1",
    0x85: "check charge_point.id, of which the client id is made",
    0x86: "check mqtt.username and mqtt.password",
    0x87: "check mqtt.username, mqtt.password and the broker's access list",
    0x8E: "is a second daemon running with the same charge_point.id?",
}
# What paho raises on a packet it cannot decode.
_UNREADABLE = (OSError, ValueError, LookupError, struct.error, MQTTException)
_TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class Incoming(NamedTuple):
    """One received message."""

    topic: str
    payload: bytes
    retain: bool
    response_topic: str | None
    correlation_data: bytes | None
    expires_at: float | None  # monotonic time, s; None: never


class Subscription(NamedTuple):
    """A topic filter, at QoS 1.

    ``commands`` is for topics whose retained messages are not wanted; retained ones published while we listen are
    marked ``retain``, and what we publish there ourselves does not come back (MQTT 5 only: 3.1.1 knows none of it).
    """

    topic_filter: str
    commands: bool


class BrokerSettings(Protocol):
    """What the connection needs of the section ``[mqtt]``."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> SecretStr: ...
    @property
    def tls(self) -> bool: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def client_certificate(self) -> Path | None: ...
    @property
    def client_key(self) -> Path | None: ...


class Receiver(Protocol):
    """Who is told. An exception it lets out is logged with its traceback; the connection goes on."""

    def mqtt_connected(self) -> None:
        """The subscriptions hold; publish now everything that is retained."""

    def mqtt_disconnected(self, reason: str) -> None:
        """Once for each `mqtt_connected`, also when `Connection.run` is cancelled."""

    def mqtt_received(self, message: Incoming) -> None:
        """Each message, in the order of arrival, between `mqtt_connected` and `mqtt_disconnected`."""


class Connection:
    """Connects, carries, reconnects.

    Args:
        settings: where the broker is, and who we are there.
        client_id: fixed, so that the broker ends an older connection of ours before it accepts the new one.
        will: topic and payload the broker publishes (retained, QoS 1) when we vanish.
        subscriptions: what to listen to.
        receiver: who is told.
        monotonic: the present moment, s.
        random: a number from [0, 1).
        keepalive: s.
        answer_timeout: how long the broker may take to accept the connection, and the subscriptions, s.

    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        will: tuple[str, str],
        subscriptions: Sequence[Subscription],
        receiver: Receiver,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        *,
        keepalive: int = KEEPALIVE,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._will = aiomqtt.Will(*will, qos=1, retain=True)
        self._subscriptions = subscriptions
        self._receiver = receiver
        self._monotonic = monotonic
        self._random = random
        self._keepalive = keepalive
        self._answer_timeout = answer_timeout
        self._client: _Client | None = None
        self._connected_at: float | None = None
        self._protocol = ProtocolVersion.V5
        self._closed_unanswered = 0
        self._failures = 0
        self._warned: set[str] = set()

    @property
    def connected(self) -> bool:
        return self._connected_at is not None

    @property
    def protocol(self) -> str | None:
        """``5`` or ``3.1.1``; None while disconnected."""
        if not self.connected:
            return None
        return "5" if self._protocol is ProtocolVersion.V5 else "3.1.1"

    async def run(self) -> Never:
        """Connect, carry, reconnect for ever.

        Cancelled, it gives what was published 0.5 s to be acknowledged and disconnects cleanly: the broker then does
        not publish the will, so the owner publishes its farewell before.
        """
        while True:
            try:
                await self._session()
            except MqttError as error:
                await self._recover_from(error)

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1, correlation_data: bytes | None = None
    ) -> None:
        """Send at once, after everything published before; never waits.

        While disconnected it does nothing: the owner publishes retained values again in `Receiver.mqtt_connected`.

        Raises:
            ValueError: the topic has wildcards or more than 65,535 bytes.

        """
        if self._client is None or not self.connected:
            return
        properties = None
        if correlation_data is not None and self._protocol is ProtocolVersion.V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's is untyped
            properties.CorrelationData = correlation_data
        self._client.send(topic, payload, qos, retain, properties)

    async def _session(self) -> Never:
        """One connection, from the first attempt to its loss.

        Raises:
            MqttError: why it could not be made, or was lost.

        """
        reason = "an error"
        client = self._client = self._new_client()
        try:
            await client.connect()
            await client.subscribe_to([_request(each, self._protocol) for each in self._subscriptions])
            self._announce()
            await client.carry()
        except MqttError as error:
            reason = _text(error)
            raise
        except asyncio.CancelledError:
            reason = "the daemon ends"
            await client.leave()
            raise
        finally:
            self._client = None
            client.abort()
            self._withdraw(reason)

    def _new_client(self) -> "_Client":
        settings = self._settings
        inbox = functools.partial(_Inbox, self._deliver)
        return _Client(
            settings.host,
            settings.port,
            username=settings.username or None,
            password=settings.password.get_secret_value() or None,
            logger=_paho_logger,
            identifier=self._client_id,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", inbox),
            protocol=self._protocol,
            will=self._will,
            timeout=self._answer_timeout,
            keepalive=self._keepalive,
            max_inflight_messages=0,  # no limit besides MAX_UNCONFIRMED and the broker's own
            tls_context=_tls_context(settings) if settings.tls else None,
            # 44 ms a round trip without (operations, "MQTT").
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    def _announce(self) -> None:
        if self.connected:
            return
        self._connected_at = self._monotonic()
        self._warned.clear()
        logger.info("connected to %s, MQTT %s", self._broker, self.protocol)
        self._tell(self._receiver.mqtt_connected)

    def _withdraw(self, reason: str) -> None:
        if self._connected_at is None:
            return
        if self._monotonic() - self._connected_at >= SETTLED:
            self._failures = 0
        self._connected_at = None
        self._tell(self._receiver.mqtt_disconnected, reason)

    def _deliver(self, message: aiomqtt.Message) -> None:
        # A broker may send what is retained before it acknowledges the subscription (MQTT 5, 3.8.4).
        self._announce()
        self._tell(self._receiver.mqtt_received, self._incoming(message))

    def _incoming(self, message: aiomqtt.Message) -> Incoming:
        properties = message.properties  # None over 3.1.1
        expiry = getattr(properties, "MessageExpiryInterval", None)
        return Incoming(
            topic=message.topic.value,
            payload=message.payload,
            retain=bool(message.retain),
            response_topic=getattr(properties, "ResponseTopic", None),
            correlation_data=getattr(properties, "CorrelationData", None),
            expires_at=None if expiry is None else self._monotonic() + expiry,
        )

    @staticmethod
    def _tell(receive: Callable[..., None], *arguments: object) -> None:
        try:
            receive(*arguments)
        except Exception:  # one bad message must not cost the link, on which everything else depends
            logger.exception("%s failed", receive.__qualname__)

    async def _recover_from(self, error: MqttError) -> None:
        """Wait before the next attempt, unless that is with another protocol version."""
        if self._falls_back_after(error):
            logger.info("%s refuses MQTT 5, trying 3.1.1", self._broker)
            return
        self._report(error)
        wait = reconnect_wait(self._failures, self._random)
        self._failures += 1
        await asyncio.sleep(wait)

    def _falls_back_after(self, error: MqttError) -> bool:
        """Whether the next attempt is made with 3.1.1.

        Each new connection is tried with MQTT 5 first: the broker may be another one by now, and to be refused costs
        a millisecond. Brokers that don't know MQTT 5 say so, or hang up without a word; but so does a port forwarder
        without a broker behind it.
        """
        refused = _code(error) == _UNSUPPORTED_PROTOCOL
        self._closed_unanswered = self._closed_unanswered + 1 if isinstance(error, _ClosedUnansweredError) else 0
        if self._protocol is ProtocolVersion.V5 and (refused or self._closed_unanswered >= 2):  # noqa: PLR2004
            self._protocol = ProtocolVersion.V311
            return True
        if self._protocol is ProtocolVersion.V311:
            self._protocol = ProtocolVersion.V5
            self._closed_unanswered = 0
        return False

    def _report(self, error: MqttError) -> None:
        """One warning per outage; another one if the remedy has become a different one."""
        remedy = _remedy(error)
        level = logging.DEBUG if remedy in self._warned else logging.WARNING
        self._warned.add(remedy)
        logger.log(level, "no connection to %s: %s; trying again (%s)", self._broker, _text(error), remedy)

    @property
    def _broker(self) -> str:
        return f"the MQTT broker at {self._settings.host}:{self._settings.port}"


def reconnect_wait(failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures before: 0.5 doubling to 30, of which up to a half is left to chance."""
    doublings = min(failures, 6)
    return min(0.5 * (1 << doublings), LONGEST_WAIT) * (0.5 + random() / 2)


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Hands each message on instead of keeping it: no task and no turn of the loop per message, nothing to overflow."""

    def __init__(self, deliver: Callable[[aiomqtt.Message], None], maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._deliver = deliver

    def put_nowait(self, message: aiomqtt.Message) -> None:
        self._deliver(message)


class _ClosedUnansweredError(MqttError):
    """The broker hung up instead of answering our CONNECT."""


class _TlsFilesError(MqttError):
    """A certificate or key cannot be read."""


class _Client(aiomqtt.Client):
    """One connection; every private seam of aiomqtt that we use is in here (a test watches them).

    aiomqtt writes in a later turn of the loop, wakes up each second, and waits out its time limit where the broker
    hangs up before it has answered. Here a packet is written as soon as paho has made it. Exceptions: in the thread
    that connects nothing is written (the loop owns the socket), and while a packet is read writes wait until that is
    done (paho holds a lock then, which an error in writing needs).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._subscribed: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._confirmed = asyncio.Event()
        self._confirmed.set()
        self._unconfirmed = 0
        self._refused_one = False
        self._opened = False
        self._aborted = False
        self._writes_wait = True

    # What Connection uses.

    async def connect(self) -> None:
        try:
            await self.__aenter__()
        except UnicodeError as error:  # a host name that is none
            raise MqttError(str(error)) from error
        finally:
            # Before Python 3.12 wait_for, which aiomqtt uses, loses a cancellation that comes together with the answer.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError

    async def subscribe_to(self, requests: list[tuple[str, Any]]) -> None:
        """Each a topic filter with its QoS or options."""
        self._client.subscribe(requests)
        await asyncio.wait((self._subscribed, self._lost), timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            self._lost.result()
        if not self._subscribed.done():
            raise MqttError(f"the subscriptions are not acknowledged within {self.timeout:g} s")
        for (topic_filter, _), code in zip(requests, self._subscribed.result(), strict=False):
            if code.is_failure:
                raise MqttCodeError(code, f"subscription to {topic_filter}")

    async def carry(self) -> Never:
        """Keep the connection alive until it is lost.

        Raises:
            MqttError: how it was lost.

        """
        while not self._lost.done():
            self._client.loop_misc()
            # The broker may have set another keep-alive, or none.
            await asyncio.wait((self._lost,), timeout=(self._client.keepalive or KEEPALIVE) / 3)
        raise self._lost.exception() or MqttError("disconnected")

    def send(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> None:  # noqa: FBT001
        if self._unconfirmed >= MAX_UNCONFIRMED:
            self._fail(MqttError(f"it does not keep up: {self._unconfirmed} messages are unacknowledged"))
            return
        self._client.publish(topic, payload, qos, retain, properties)
        self._unconfirmed += 1
        if self._unconfirmed:  # else it was QoS 0, and is written
            self._confirmed.clear()

    async def leave(self) -> None:
        """Disconnect cleanly, after what was sent is confirmed or 0.5 s are over."""
        if not self._opened:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await self._confirmed.wait()
        self._client.disconnect()

    def abort(self) -> None:
        """Close the socket, however things stand; after a clean end it does nothing."""
        self._aborted = True
        if self._opened:  # else the thread that connects is not done, and `_open` sees to it
            self._close()

    # How it is done.

    def _client_connect(self) -> None:
        """Runs in a thread; a cancelled `connect` does not end it."""
        super()._client_connect()
        self._loop.call_soon_threadsafe(self._open)

    def _on_socket_open(self, *_: Any, **__: Any) -> None:
        """Not yet: see `_open`. aiomqtt would start its reader and its loop of one turn a second here."""

    def _open(self) -> None:
        self._opened = True
        self._writes_wait = False
        sock = self._client.socket()
        if self._aborted:
            self._close()
        elif sock is not None:
            self._loop.add_reader(sock.fileno(), self._read)
            self._write()

    def _read(self) -> None:
        self._writes_wait = True
        try:
            self._read_packets()
        except _UNREADABLE as error:
            self._fail(MqttError(f"it sent what cannot be read: {error!r}"))
        except Exception as error:  # noqa: BLE001 - our bug or a library's: run() raises it
            self._fail(error)
        finally:
            self._writes_wait = False
        self._write()

    def _read_packets(self) -> None:
        pending = True
        while pending:
            self._client.loop_read()
            sock = self._client.socket()
            # What TLS has decrypted already does not wake the loop.
            pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            if sock is not None and _TCP_QUICKACK is not None:
                # The kernel forgets it; without, a broker that has Nagle on waits 40 ms for our ACK.
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)  # type: ignore[attr-defined] # paho's own protocol

    def _on_socket_register_write(self, *_: Any, **__: Any) -> None:
        if not self._writes_wait:
            self._write()

    def _write(self) -> None:
        self._writes_wait = True
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as in _read
            self._fail(error)
        finally:
            self._writes_wait = False
        sock = self._client.socket()
        if sock is not None and self._client.want_write():
            self._loop.add_writer(sock.fileno(), self._write)  # paho takes it away when all is written

    def _on_connect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: Any,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        # paho does not heed the broker's Receive Maximum (MQTT 5, 3.2.2.3.3), and sets its own only before it connects.
        client._max_inflight_messages = getattr(properties, "ReceiveMaximum", 0)  # noqa: SLF001
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_subscribe(
        self,
        client: PahoClient,  # noqa: ARG002
        userdata: Any,  # noqa: ARG002
        mid: int,  # noqa: ARG002
        reason_codes: list[ReasonCode],
        properties: Properties | None = None,  # noqa: ARG002
    ) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(reason_codes)

    def _on_disconnect(
        self,
        client: PahoClient,  # noqa: ARG002
        userdata: Any,  # noqa: ARG002
        flags: Any,
        reason_code: ReasonCode,
        properties: Properties | None = None,  # noqa: ARG002
    ) -> None:
        cut = not flags.is_disconnect_packet_from_server and reason_code.getName() == "Unspecified error"
        if not cut:
            self._fail(MqttCodeError(reason_code))
        elif self._connected.done():
            self._fail(MqttError("the connection was cut"))
        else:
            self._fail(_ClosedUnansweredError("it closed the connection instead of answering"))

    def _on_publish(
        self,
        client: PahoClient,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        self._unconfirmed -= 1
        if self._unconfirmed == 0:
            self._confirmed.set()
        if reason_code.is_failure and not self._refused_one:
            self._refused_one = True
            logger.warning("the MQTT broker refuses what is published: %s; check its access list", reason_code)

    def _fail(self, error: Exception) -> None:
        future = self._lost if self._connected.done() else self._connected
        if not future.done():
            future.set_exception(error)

    def _close(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined] # paho's own protocol
            # paho has no other way to close its socket than to find that it cannot write.
            self._client.disconnect()
            self._client.loop_write()
        for future in (self._connected, self._lost):
            if future.done() and not future.cancelled():
                future.exception()  # asyncio complains of those nobody asks for


def _request(subscription: Subscription, protocol: ProtocolVersion) -> tuple[str, Any]:
    """As paho wants it: a topic filter with its options, with its QoS for 3.1.1."""
    if protocol is not ProtocolVersion.V5:
        return subscription.topic_filter, 1
    options = SubscribeOptions(qos=1)
    if subscription.commands:
        options = SubscribeOptions(1, noLocal=True, retainAsPublished=True, retainHandling=2)  # 2: send none
    return subscription.topic_filter, options


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate, settings.client_key)
    except OSError as error:  # an ssl.SSLError is one, too; neither names the file
        files = [str(file) for file in (settings.ca_file, settings.client_certificate, settings.client_key) if file]
        raise _TlsFilesError(f"TLS cannot be set up with {', '.join(files)}: {error}") from error
    return context


def _code(error: MqttError) -> int | None:
    """The reason code the broker gave (those of MQTT 5; paho translates 3.1.1's)."""
    reason = error.rc if isinstance(error, MqttCodeError) else None
    return reason.value if isinstance(reason, ReasonCode) else None


def _text(error: MqttError) -> str:
    if isinstance(error, MqttCodeError):
        return ": ".join([*error.args, str(error.rc)])
    return str(error)


def _remedy(error: MqttError) -> str:
    if isinstance(error, _TlsFilesError):
        return "check mqtt.ca_file, mqtt.client_certificate and mqtt.client_key"
    if isinstance(error, _ClosedUnansweredError):
        return "is it an MQTT broker, and does mqtt.tls fit its listener?"
    cause = error.__cause__ or error.__context__  # aiomqtt hides it with `from None`
    if isinstance(cause, ssl.SSLError):
        return "check mqtt.tls and mqtt.ca_file"
    if isinstance(cause, socket.gaierror | UnicodeError):
        return "check mqtt.host"
    return _REMEDIES.get(_code(error), "is mosquitto running there?")
