"""What a feature is, and what it may use of the world."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ocpp.v16 import call as messages
from ocpp.v16.enums import RegistrationStatus

from ocpp16_bridge.clock import Clock, Timers
from ocpp16_bridge.configuration_keys import ConfigurationKeys
from ocpp16_bridge.conversations import Conversations
from ocpp16_bridge.csms.call_queue import DurableCall, DurableQueue, Outcome, OwnCall
from ocpp16_bridge.csms.endpoint import Endpoint, Line
from ocpp16_bridge.csms.messages import from_payload, to_payload
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.hardware import HardwareRequests
from ocpp16_bridge.mqtt.variables import Variables
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.store import Store
from ocpp16_bridge.timestamps import format_time
from ocpp16_bridge.turn import Turns


class CsmsLine(Line, Protocol):
    """The connection to the CSMS, as far as features steer it."""

    def open(self) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    def redial(self, code: int = 1000, reason: str = "") -> None: ...
    def ping_interval_changed(self) -> None: ...


class Csms:
    """The Central System, as features speak to it: with the dataclasses of `ocpp.v16.call`."""

    def __init__(
        self,
        endpoint: Endpoint,
        turns: Turns,
        clock: Clock,
        conversations: Conversations,
        new_id: Callable[[], str],
        boot_id: str,
    ) -> None:
        self.endpoint = endpoint
        self._calls = endpoint.calls
        self._turns = turns
        self._clock = clock
        self._conversations = conversations
        self._new_id = new_id
        self._boot_id = boot_id
        self.line: CsmsLine
        self.on_registration: list[Callable[[], None]] = []  # it changed
        self.on_accepted: list[Callable[[], None]] = []  # each time, changed or not (BT-05)
        # The features' @on_result methods, by action.
        self.result_handlers: dict[str, Callable[[Any, Outcome, str], None]] = {}
        self._calls.on_durable_end = self._durable_ended

    @property
    def connected(self) -> bool:
        return self.endpoint.connected

    @property
    def registration(self) -> RegistrationStatus | None:
        """The status of the last BootNotification.conf, None while there is none since the start."""
        return self._calls.registration

    @registration.setter
    def registration(self, status: RegistrationStatus | None) -> None:
        former, self._calls.registration = self._calls.registration, status
        if status != former:
            for listener in self.on_registration:
                listener()
        if status == RegistrationStatus.accepted:
            for listener in self.on_accepted:
                listener()

    @property
    def accepted(self) -> bool:
        """Whether ordinary CALLs may go out now."""
        return self.connected and not self.stopped and self.registration == RegistrationStatus.accepted

    @property
    def stopped(self) -> bool:
        """By the command stop: nothing is stored or sent."""
        return self.endpoint.stopped

    @stopped.setter
    def stopped(self, stopped: bool) -> None:
        self.endpoint.stopped = stopped

    @property
    def last_sent_at(self) -> float:
        """When the last CALL went out, monotonic."""
        return self._calls.last_sent_at

    def send(self, message: Any, *, about: str = "", triggered: bool = False) -> None:
        """Send ``message`` after this turn; its `@on_result` method, if any, hears how it ended."""
        action = type(message).__name__
        handler = self.result_handlers.get(action)

        def settle(outcome: Outcome) -> None:
            if handler is not None:
                handler(message, outcome, about)

        self.endpoint.send(OwnCall(action, to_payload(message), settle, triggered))

    async def request(self, message: Any) -> Outcome:
        """Send ``message`` and wait for its end. Changes of state after it belong into a new turn."""
        ended = self._conversations.future()
        call = OwnCall(
            type(message).__name__,
            to_payload(message),
            lambda outcome: None if ended.done() else ended.set_result(outcome),
        )
        with self._turns.turn():
            self.endpoint.send(call)
        outcome = await ended
        assert isinstance(outcome, Outcome)  # noqa: S101 - set above
        return outcome

    def add_durable(
        self, name: str, limit: int, final_codes: frozenset[str] = frozenset(), thins: str | None = None
    ) -> DurableQueue:
        """A queue on disk for what must be delivered; see `CallQueue.add_durable`."""
        return self._calls.add_durable(name, limit, final_codes, thins)

    def send_durable(self, queue: str, message: Any, *, about: str = "") -> None:
        """Keep ``message`` on disk until the CSMS answered it; nothing is kept while OCPP is stopped."""
        if self.stopped:
            return
        call = DurableCall(
            type(message).__name__, to_payload(message), self._new_id(), about, format_time(self._clock.now())
        )
        if not self._clock.is_confirmed:
            call = replace(call, boot_id=self._boot_id, monotonic=self._clock.monotonic())
        self._calls.put_durable(queue, call)

    def _durable_ended(self, durable: DurableCall, outcome: Outcome) -> None:
        handler = self.result_handlers.get(durable.action)
        if handler is not None:
            handler(from_payload(getattr(messages, durable.action), durable.payload), outcome, durable.about)


@dataclass(frozen=True)
class Context:
    """What features share."""

    settings: Settings
    store: Store
    clock: Clock
    timers: Timers
    turns: Turns
    conversations: Conversations
    configuration_keys: ConfigurationKeys
    csms: Csms
    variables: Variables
    hardware: HardwareRequests
    new_id: Callable[[], str]  # unique for ever
    boot_id: str  # of the machine: another one after each of its boots
    end: Callable[[str], None]  # ends the process with exit status 0; the text says why
    errors: Counter[str]  # what was refused, by kind


class Feature:
    """A functional block of OCPP. Its marked methods are found and called; see `handlers`."""

    profile = "Core"  # of SupportedFeatureProfiles: without it the feature's actions and keys are not there

    def __init__(self, context: Context) -> None:
        self.context = context
        self.configuration_keys = context.configuration_keys

    def refuse_while_stopped(self) -> None:
        """For commands that act on connectors.

        Raises:
            CommandError: OCPP is stopped.

        """
        if self.context.csms.stopped:
            raise CommandError("stopped", "OCPP is stopped: `restart` first")

    async def pause(self, seconds: float, name: str) -> None:
        """Let a conversation wait."""
        over = self.context.conversations.future()
        self.context.timers.after(seconds, name, lambda: None if over.done() else over.set_result(None))
        await over

    def switch_off(self) -> None:
        """Called within the first turn, after `start`, where the feature's profile is not claimed."""

    def start(self) -> None:
        """Called once, within the first turn, when all features are there."""
