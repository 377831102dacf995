"""The side of the hardware: its inputs, and requests to it with time limits (contract 4)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ocpp16_bridge.clock import Timers
from ocpp16_bridge.mqtt.model import from_json
from ocpp16_bridge.mqtt.problems import describe, legible, shown
from ocpp16_bridge.mqtt.variables import Publisher, to_json
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

MAX_PAYLOAD = 65536  # bytes
# Nonsense fifty times a second must not flood the log: after so many warnings of a topic each doubling is worth one.
MAX_WARNINGS = 10
MAX_WARNED_TOPICS = 256  # are counted one by one, others together


class NoHardwareAnswerError(Exception):
    """Nobody answered in time, or the answer was an error."""


class HardwareRequests:
    """Asks local programs on `BASE/hardware/request/<action>`; only those of `hardware.answers`."""

    def __init__(
        self,
        settings: Settings,
        timers: Timers,
        new_id: Callable[[], str],
        future: Callable[[], "asyncio.Future[Any]"],
    ) -> None:
        self._topic = settings.mqtt.base_topic + "/hardware/request/"
        self._listed = frozenset(settings.hardware.answers)
        self._answer_timeout = settings.hardware.answer_timeout  # s
        self._timers = timers
        self._new_id = new_id
        self._future = future
        self._pending: dict[tuple[str, str], asyncio.Future[Any]] = {}
        self.publisher: Publisher

    def answers(self, action: str) -> bool:
        """Whether a local program is said to answer this action."""
        return action in self._listed

    async def ask(self, action: str, **arguments: Any) -> Any:
        """The `data` of the answer; arguments that are None are left out.

        Raises:
            NoHardwareAnswerError: no answer within `hardware.answer_timeout`, an error, or no broker.

        """
        if not self.publisher.connected:
            raise NoHardwareAnswerError("the broker is away")
        request_id = self._new_id()
        answer = self._pending[action, request_id] = self._future()
        limit = self._timers.after(self._answer_timeout, "answer to " + action, lambda: self._give_up(action, answer))
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            self.publisher.publish(self._topic + action, to_json({"id": request_id, **given}))
            return await answer
        finally:
            limit.cancel()
            del self._pending[action, request_id]

    def _give_up(self, action: str, answer: "asyncio.Future[Any]") -> None:
        if not answer.done():
            answer.set_exception(
                NoHardwareAnswerError(
                    f"no answer to {action} within {self._answer_timeout:g} s: is its program running?"
                )
            )

    def received(self, action: str, payload: bytes) -> None:
        """A message on `BASE/hardware/response/<action>`.

        Raises:
            ValueError: it is no answer, or to nothing that was asked.

        """
        message = from_json(payload)
        if not isinstance(message, dict):
            raise ValueError(f"payload: must be an object, got {shown(message)}")  # noqa: TRY004 - what came is at fault
        answer = self._asked(action, message.get("id"))
        match message.get("status"):
            case "ok":
                answer.set_result(message.get("data"))
            case "error":
                answer.set_exception(NoHardwareAnswerError(f"{action}: the hardware answered {_error_of(message)}"))
            case status:
                raise ValueError(f"status: must be 'ok' or 'error', got {shown(status)}")

    def _asked(self, action: str, request_id: Any) -> "asyncio.Future[Any]":
        answer = self._pending.get((action, request_id)) if isinstance(request_id, str) else None
        if answer is None or answer.done():
            raise ValueError(f"id: must be of a request that waits for its answer, got {shown(request_id)}")
        return answer


def _error_of(message: dict[str, Any]) -> str:
    error = message.get("error")
    return f"with the error {shown(error.get('message') if isinstance(error, dict) else error)}"


@dataclass(frozen=True)
class HardwareInput:
    """Takes the facts of one topic: `connector/+/state` and the like, below `BASE/hardware/`."""

    levels: tuple[str, ...]
    model: TypeAdapter[Any] | None  # None: plain text
    take: Callable[..., None]

    def wildcards(self, levels: list[str]) -> list[str] | None:
        """What the topic has where we have `+`; None where it is another topic."""
        if len(levels) != len(self.levels):
            return None
        pairs = list(zip(self.levels, levels, strict=True))
        if any(own not in ("+", other) for own, other in pairs):
            return None
        return [other for own, other in pairs if own == "+"]

    def fact(self, payload: bytes) -> Any:
        """What ``payload`` says; an empty one says null.

        Raises:
            ValueError: it makes no sense.

        """
        return payload.decode() if self.model is None else self.model.validate_json(payload or b"null")

    @cached_property
    def takes_empty(self) -> bool:
        """Whether an empty payload is an input, as null is one for the model; else it only clears a retained topic."""
        if self.model is None:
            return False
        try:
            self.fact(b"")
        except ValidationError:
            return False
        return True


class HardwareInputs:
    """Facts in: each is one turn; what makes no sense is logged, counted and changes nothing."""

    def __init__(self, turns: Turns, requests: HardwareRequests, count: Callable[[str], None]) -> None:
        self._turns = turns
        self._requests = requests
        self._count = count
        self._refused: Counter[str] = Counter()  # inputs, by topic
        self.inputs: list[HardwareInput] = []

    def received(self, topic: str, payload: bytes) -> None:
        """A message on ``topic``, which is given from below `BASE/hardware/` on."""
        levels = topic.split("/")
        if levels[0] == "request":  # our own
            return
        try:
            self._handle(levels, payload)
        except (ValueError, RecursionError) as error:
            self._count("hardware_input")
            text = describe(error) if isinstance(error, ValidationError) else str(error)
            level = self._level(logging.WARNING, topic)
            logger.log(level, "hardware/%s is ignored: %s", legible(topic), text, extra={"mqtt_topic": topic})
        except Exception:
            self._count("internal")
            level = self._level(logging.ERROR, topic)
            logger.log(level, "hardware/%s failed", legible(topic), exc_info=True, extra={"mqtt_topic": topic})

    def _handle(self, levels: list[str], payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"payload: must have at most {MAX_PAYLOAD} bytes, got {len(payload)}")
        if levels[0] != "response":
            self._take(levels, payload)
        elif payload:
            self._requests.received("/".join(levels[1:]), payload)

    def _take(self, levels: list[str], payload: bytes) -> None:
        for entry in self.inputs:
            wildcards = entry.wildcards(levels)
            if wildcards is None:
                continue
            if payload or entry.takes_empty:
                fact = entry.fact(payload)
                with self._turns.turn():
                    entry.take(fact, *wildcards)
            return
        if payload:
            raise ValueError("there is no such input")

    def _level(self, level: int, topic: str) -> int:
        """``level`` where it is worth a line for others to see, else DEBUG."""
        key = topic if topic in self._refused or len(self._refused) < MAX_WARNED_TOPICS else ""
        self._refused[key] += 1
        count = self._refused[key]
        return level if count <= MAX_WARNINGS or count & (count - 1) == 0 else logging.DEBUG
