"""A local program as seen from outside: it blocks, records everything it hears, and waits for what it expects."""

import itertools
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TIMEOUT = 5.0  # s


class Message(NamedTuple):
    topic: str
    payload: bytes
    retain: bool
    correlation_data: bytes | None

    @property
    def text(self) -> str:
        return self.payload.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class LocalProgram:
    """An MQTT client; connected within its `with` block.

    Args:
        port: the broker's, on 127.0.0.1.
        protocol: 5, or 4 for MQTT 3.1.1.
        username: with its password, where the broker asks for them.
        password: see there.

    """

    def __init__(self, port: int, protocol: int = 5, username: str | None = None, password: str | None = None) -> None:
        self._arguments = (port, protocol, username, password)
        self._arrival = threading.Condition()
        self._messages: list[Message] = []
        self._cursors: dict[str, int] = defaultdict(int)
        self._answered: set[tuple[str, int]] = set()  # ("subscribe" or "publish", message id)
        self._subscribed: set[str] = set()
        self._ids = (f"{uuid.uuid4()}-{number}" for number in itertools.count(1))
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"program-{uuid.uuid4()}", protocol=protocol)  # type: ignore[arg-type] # an enum of the same numbers
        self._client.username_pw_set(username, password)
        self._client.on_connect = lambda *arguments: self._on_answer("connect", int(arguments[3].is_failure))
        self._client.on_subscribe = lambda *arguments: self._on_answer("subscribe", arguments[2])
        self._client.on_publish = lambda *arguments: self._on_answer("publish", arguments[2])
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._arguments[0])
        self._client.loop_start()
        self._await_answer("connect", 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Returns when the broker has acknowledged. What we publish ourselves is heard, too."""
        _, mid = self._client.subscribe(topic_filter, qos)
        self._subscribed.add(topic_filter)
        self._await_answer("subscribe", mid or 0)

    def publish(
        self,
        topic: str,
        payload: str | bytes | dict[str, Any] = b"",
        *,
        retain: bool = False,
        qos: int = 1,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
        expiry: int | None = None,
    ) -> None:
        """Returns when the broker has acknowledged. A dict is sent as JSON; ``expiry`` is in seconds."""
        data = json.dumps(payload) if isinstance(payload, dict) else payload
        properties = _properties(
            ResponseTopic=response_topic, CorrelationData=correlation_data, MessageExpiryInterval=expiry
        )
        info = self._client.publish(topic, data, qos, retain, properties)
        self._await_answer("publish", info.mid)

    def wait_for(
        self, topic_filter: str, predicate: Callable[[Message], bool] = lambda _: True, timeout: float = TIMEOUT
    ) -> Message:
        """The next message to that filter which none of its calls has returned or passed over yet.

        Raises:
            TimeoutError: with everything that was heard.

        """
        with self._arrival:
            found = self._arrival.wait_for(lambda: self._next(topic_filter, predicate), timeout)
            if not found:
                heard = "\n".join(f"{message.topic} {message.payload!r}" for message in self._messages)
                raise TimeoutError(f"nothing fits {topic_filter} within {timeout:g} s; heard:\n{heard}")
            return found

    def messages(self, topic_filter: str = "#") -> list[Message]:
        """Everything heard so far, in the order of arrival."""
        with self._arrival:
            return [message for message in self._messages if paho.topic_matches_sub(topic_filter, message.topic)]

    def clear(self) -> None:
        """Forget what was heard."""
        with self._arrival:
            self._messages.clear()
            self._cursors.clear()

    def retained(self, topic_filter: str = "#") -> dict[str, bytes]:
        """What the broker keeps at this moment, payload by topic; a program of its own asks."""
        marker = f"marker/{uuid.uuid4()}"  # what is retained arrives before what is published after the subscription
        with LocalProgram(*self._arguments) as other:
            other.subscribe(marker, qos=0)
            other.subscribe(topic_filter, qos=0)
            other.publish(marker, qos=0)
            other.wait_for(marker)
            return {message.topic: message.payload for message in other.messages(topic_filter) if message.retain}

    def request(self, command: str, base: str = "ocpp16", timeout: float = TIMEOUT, **arguments: Any) -> dict[str, Any]:
        """Carry out a command of the interface and return its reply."""
        reply_topic = f"{base}/response/{command}"
        if reply_topic not in self._subscribed:
            self.subscribe(reply_topic)
        request_id = next(self._ids)
        self.publish(f"{base}/request/{command}", {"id": request_id, **arguments})
        reply: dict[str, Any] = self.wait_for(reply_topic, lambda it: it.json.get("id") == request_id, timeout).json
        return reply

    def _next(self, topic_filter: str, predicate: Callable[[Message], bool]) -> Message | None:
        for position in range(self._cursors[topic_filter], len(self._messages)):
            message = self._messages[position]
            self._cursors[topic_filter] = position + 1
            if paho.topic_matches_sub(topic_filter, message.topic) and predicate(message):
                return message
        return None

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        correlation_data = getattr(message.properties, "CorrelationData", None)
        with self._arrival:
            heard = Message(message.topic, bytes(message.payload), bool(message.retain), correlation_data)
            self._messages.append(heard)
            self._arrival.notify_all()

    def _on_answer(self, kind: str, number: int) -> None:
        with self._arrival:
            self._answered.add((kind, number))
            self._arrival.notify_all()

    def _await_answer(self, kind: str, number: int) -> None:
        with self._arrival:
            if not self._arrival.wait_for(lambda: (kind, number) in self._answered, TIMEOUT):
                raise TimeoutError(f"the broker does not answer: {kind}")
            self._answered.remove((kind, number))


def _properties(**values: object) -> Properties | None:
    """None where no property has a value: 3.1.1 has no properties at all."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's is untyped
    for name, value in given.items():
        setattr(properties, name, value)
    return properties
