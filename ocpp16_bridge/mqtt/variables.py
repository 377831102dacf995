"""Retained values and events: what the daemon shows on its topics (contract 1, 2)."""

import json
from typing import Any, Protocol
from urllib.parse import quote

from ocpp16_bridge.turn import Turns

# What may stand in a topic level as it is; the rest is percent-encoded (contract: `+ # /` and other unsafe characters).
_SAFE_IN_LEVEL = "-._~"


class Publisher(Protocol):
    """The connection, as far as it is used here."""

    @property
    def connected(self) -> bool: ...

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        qos: int = 1,
        correlation_data: bytes | None = None,
    ) -> None: ...


def topic_level(name: str) -> str:
    """``name`` as one level of a topic."""
    return quote(name, safe=_SAFE_IN_LEVEL)


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8.

    Raises:
        ValueError: it holds NaN, Infinity or what is no number.
        TypeError: it holds what JSON can't say.

    """
    # Half of a surrogate pair, which UTF-8 can't say, goes out as the escape sequence as which it came in.
    return _encode(value).encode(errors="backslashreplace")


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    return float(value)  # Decimal


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


class Variables:
    """Everything retained, kept in memory so that each connection to a broker starts with the whole picture.

    Topics are given without the base topic. Outputs go out when the turn ends.
    """

    def __init__(self, base_topic: str, turns: Turns) -> None:
        self._base = base_topic + "/"
        self._turns = turns
        self._values: dict[str, bytes] = {}
        self._online = False
        self.publisher: Publisher

    def set(self, topic: str, value: Any) -> None:
        """Show ``value`` (anything JSON can say, or a model); nothing is published where it is shown already."""
        payload = to_json(value)
        self._turns.publish(lambda: self._show(topic, payload))

    def clear(self, topic: str) -> None:
        """Take the topic away from the broker, and from each one met later: a former process may have shown it."""
        self._turns.publish(lambda: self._show(topic, b""))

    def event(self, name: str, value: Any) -> None:
        """Publish `event/<name>`, not retained."""
        payload = to_json(value)
        self._turns.publish(lambda: self.publisher.publish(f"{self._base}event/{name}", payload))

    def get(self, topic: str) -> Any:
        """What the topic shows, None where nothing."""
        payload = self._values.get(topic)
        return json.loads(payload) if payload else None

    def _show(self, topic: str, payload: bytes) -> None:
        if self._values.get(topic) != payload:
            self._values[topic] = payload
            self.publisher.publish(self._base + topic, payload, retain=True)

    # -- the session with the broker

    def connected(self) -> None:
        """A broker knows nothing of us: publish everything, `state` last."""
        for topic, payload in self._values.items():
            self.publisher.publish(self._base + topic, payload, retain=True)
        self._online = True
        self._publish_state()

    def disconnected(self) -> None:
        self._online = False

    def goodbye(self) -> None:
        """The daemon ends: `offline` before a clean disconnect."""
        if self._online:
            self._online = False
            self._publish_state()

    def state_seen(self, payload: bytes) -> None:
        """Our own `state` as the broker has it: a late will of a former connection, or anything else, is put right."""
        if self._online and payload != b"online":
            self._publish_state()

    def _publish_state(self) -> None:
        self.publisher.publish(self._base + "state", b"online" if self._online else b"offline", retain=True)
