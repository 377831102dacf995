"""The side of the hardware: its inputs, and requests to it with time limits (contract 4)."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ocpp16_bridge.clock import Timers
from ocpp16_bridge.mqtt.problems import describe
from ocpp16_bridge.mqtt.variables import Publisher, to_json
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.turn import Turns

logger = logging.getLogger(__name__)

MAX_PAYLOAD = 65536  # bytes


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
        self.publisher.publish(self._topic + action, to_json({"id": request_id, **given}))
        try:
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
        message = json.loads(payload)
        answer = self._pending.get((action, str(message.get("id")))) if isinstance(message, dict) else None
        if answer is None or answer.done():
            raise ValueError("this answers nothing that was asked")
        if message.get("status") == "ok":
            answer.set_result(message.get("data"))
        else:
            answer.set_exception(NoHardwareAnswerError(f"{action}: the hardware answered with an error"))


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


class HardwareInputs:
    """Facts in: each is one turn; what makes no sense is logged, counted and changes nothing."""

    def __init__(self, turns: Turns, requests: HardwareRequests, count: Callable[[str], None]) -> None:
        self._turns = turns
        self._requests = requests
        self._count = count
        self.inputs: list[HardwareInput] = []

    def received(self, topic: str, payload: bytes) -> None:
        """A message on ``topic``, which is given from below `BASE/hardware/` on."""
        levels = topic.split("/")
        if levels[0] == "request":
            return
        try:
            if len(payload) > MAX_PAYLOAD:
                raise ValueError(f"{len(payload)} bytes are more than {MAX_PAYLOAD}")  # noqa: TRY301 - one place that says it
            if levels[0] == "response":
                self._requests.received("/".join(levels[1:]), payload)
            else:
                self._take(levels, payload)
        except (ValueError, RecursionError) as error:
            self._count("hardware_input")
            text = describe(error) if isinstance(error, ValidationError) else str(error)
            logger.warning("hardware/%s is ignored: %s", topic, text, extra={"mqtt_topic": topic})

    def _take(self, levels: list[str], payload: bytes) -> None:
        for entry in self.inputs:
            wildcards = entry.wildcards(levels)
            if wildcards is not None:
                fact = payload.decode() if entry.model is None else entry.model.validate_json(payload or b"null")
                with self._turns.turn():
                    entry.take(fact, *wildcards)
                return
        raise ValueError("there is no such input")
