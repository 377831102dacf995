"""Which features there are, and how they are joined: a whole charge point, without a socket."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ocpp16_bridge import first_values, handlers
from ocpp16_bridge.clock import Clock, Timers
from ocpp16_bridge.configuration_file import Problem
from ocpp16_bridge.configuration_keys import ConfigurationKey, ConfigurationKeys, declared_keys
from ocpp16_bridge.conversations import Conversations
from ocpp16_bridge.csms import ocppj
from ocpp16_bridge.csms.back_off import BackOff
from ocpp16_bridge.csms.call_queue import CallQueue
from ocpp16_bridge.csms.endpoint import CallHandler, Endpoint
from ocpp16_bridge.csms.messages import from_payload, to_payload
from ocpp16_bridge.exchange import Exchange
from ocpp16_bridge.feature import Context, Csms, CsmsLine, Feature
from ocpp16_bridge.features.authorization import Authorization
from ocpp16_bridge.features.availability import Availability
from ocpp16_bridge.features.clock_synchronisation import ClockSynchronisation
from ocpp16_bridge.features.configuration import Configuration
from ocpp16_bridge.features.connectors.connectors import Connectors
from ocpp16_bridge.features.data_transfer import DataTransfer
from ocpp16_bridge.features.delivery import Delivery
from ocpp16_bridge.features.diagnostics import Diagnostics
from ocpp16_bridge.features.firmware import Firmware
from ocpp16_bridge.features.health import Health
from ocpp16_bridge.features.lifecycle import Lifecycle
from ocpp16_bridge.features.local_auth_list import LocalAuthList
from ocpp16_bridge.features.log_level import LogLevel
from ocpp16_bridge.features.message_log import MessageLog
from ocpp16_bridge.features.metering.metering import Metering
from ocpp16_bridge.features.registration import Registration
from ocpp16_bridge.features.remote_trigger import RemoteTrigger, Trigger
from ocpp16_bridge.features.reservation import Reservation
from ocpp16_bridge.features.reset import Reset
from ocpp16_bridge.features.security import Security
from ocpp16_bridge.features.security_events import SecurityEvents
from ocpp16_bridge.features.smart_charging.smart_charging import SmartCharging
from ocpp16_bridge.features.starting import Starting
from ocpp16_bridge.features.stopping import Stopping
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.mqtt.commands import CommandHandler, Commands
from ocpp16_bridge.mqtt.hardware import HardwareInput, HardwareInputs, HardwareRequests
from ocpp16_bridge.mqtt.session import Session
from ocpp16_bridge.mqtt.variables import Publisher, Variables
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.store import Store
from ocpp16_bridge.turn import Turns

FEATURES: tuple[type[Feature], ...] = (
    Configuration,
    SecurityEvents,
    Security,
    Registration,
    Delivery,
    Connectors,
    LocalAuthList,
    Authorization,
    Reservation,
    SmartCharging,
    Metering,
    Transactions,
    Starting,
    Stopping,
    Availability,
    Lifecycle,
    DataTransfer,
    Firmware,
    Diagnostics,
    RemoteTrigger,
    Reset,
    Health,
    MessageLog,
    LogLevel,
)


def standard_keys() -> list[ConfigurationKey[Any]]:
    """All configuration keys of OCPP that the features declare."""
    return [key for feature in FEATURES for key in declared_keys(feature)]


def check(settings: Settings) -> Iterator[Problem]:
    """What is wrong with the settings beyond their shape; for `settings.load_settings`."""
    return first_values.problems(settings, standard_keys())


@dataclass(frozen=True)
class World:
    """What comes from outside, and is another one in tests."""

    clock: Clock
    loop: asyncio.AbstractEventLoop
    new_id: Callable[[], str]  # unique for ever (TR-22)
    random: Callable[[], float]  # a number from [0, 1)
    boot_id: str  # another one after each boot of the machine
    end: Callable[[str], None]  # end the process with status 0


class ChargePoint:
    """One OCPP 1.6 charge point. Give it its two lines with `attach`, then `start` it."""

    def __init__(self, settings: Settings, store: Store, world: World) -> None:
        base = settings.mqtt.base_topic
        monotonic = world.clock.monotonic
        errors: Counter[str] = Counter()
        count = lambda kind: errors.update((kind,))  # noqa: E731 - one line, handed on
        self.turns = Turns(store)
        self.timers = Timers(monotonic, self.turns)
        self.conversations = Conversations(world.loop)
        start = self.conversations.start
        calls = CallQueue(store, self.turns, self.timers, monotonic, world.new_id, self._transmit)
        self.endpoint = Endpoint(self.turns, calls, start, count, monotonic)
        self.variables = Variables(base, self.turns)
        self._hardware = HardwareRequests(settings, self.timers, world.new_id, self.conversations.future)
        self._inputs = HardwareInputs(self.turns, self._hardware, count)
        self._commands = Commands(base, self.turns, monotonic, start, count)
        self.mqtt_session = Session(base, self.turns, self._commands, self._inputs, self.variables)
        self.context = Context(
            settings,
            store,
            world.clock,
            self.timers,
            self.turns,
            self.conversations,
            ConfigurationKeys(store, settings),
            Csms(self.endpoint, self.turns, world.clock, self.conversations, world.new_id, world.boot_id),
            self.variables,
            self._hardware,
            world.new_id,
            world.boot_id,
            world.end,
            errors,
        )
        self.context.configuration_keys.declare(standard_keys())
        self._triggers: dict[str, Trigger] = {}
        self.features = self._build(world)
        for feature in self.features:
            self._join(feature)

    def _build(self, world: World) -> list[Feature]:
        """The features, in the only order that works: each is given those it needs."""
        context = self.context
        configuration = self._configuration = Configuration(context)
        events = SecurityEvents(context)
        security = self.security = Security(context, configuration, events)
        clock = ClockSynchronisation(context, events)
        registration = Registration(context, configuration, clock, self.new_back_off(world))
        delivery = Delivery(context)
        connectors = Connectors(context, delivery)
        local_auth_list = LocalAuthList(context)
        authorization = Authorization(context, local_auth_list)
        reservation = Reservation(context, connectors)
        metering = Metering(context, connectors)
        transactions = Transactions(context, connectors, authorization, metering, delivery)
        starting = Starting(context, connectors, authorization, reservation, transactions)
        lifecycle = self.lifecycle = Lifecycle(context, registration, security, starting, transactions)
        message_log = MessageLog(context)
        exchange = Exchange(context.settings.storage.directory, context.clock.now)
        return [
            configuration,
            events,
            security,
            clock,
            registration,
            delivery,
            connectors,
            local_auth_list,
            authorization,
            reservation,
            metering,
            transactions,
            starting,
            SmartCharging(context, connectors, transactions, starting),
            Stopping(context, connectors, transactions),
            Availability(context, connectors),
            lifecycle,
            DataTransfer(context),
            Firmware(context, registration, events, connectors, transactions, exchange),
            Diagnostics(context, message_log, exchange),
            RemoteTrigger(context, self._triggers),
            Reset(context, events, transactions),
            message_log,
            LogLevel(context),
            Health(context, security, delivery),
        ]

    def new_back_off(self, world: World) -> BackOff:
        """A series of waits as `[csms]` says (TR-45)."""
        csms = self.context.settings.csms
        return BackOff(
            csms.reconnect_wait_minimum, csms.reconnect_random_range, csms.reconnect_repeat_times, world.random
        )

    def _join(self, feature: Feature) -> None:
        """Find the marked methods of ``feature`` and let them be called."""
        for _, handler in handlers.handlers(feature, handlers.OnCall):
            self.endpoint.handlers[handler.request.__name__] = _call_handler(handler)
        for _, handler in handlers.handlers(feature, handlers.OnResult):
            self.context.csms.result_handlers[handler.request.__name__] = handler.method
        for mark, handler in handlers.handlers(feature, handlers.Command):
            self._commands.handlers[handler.name] = _command_handler(mark, handler)
        for input_mark, handler in handlers.handlers(feature, handlers.OnHardware):
            self._inputs.inputs.append(_hardware_input(input_mark, handler))
        for change_mark, handler in handlers.handlers(feature, handlers.OnChange):
            self._configuration.add_reaction(change_mark.key, handler.method)
        for trigger_mark, handler in handlers.handlers(feature, handlers.OnTrigger):
            self._triggers[trigger_mark.message] = handler.method
        for condition_mark, handler in handlers.handlers(feature, handlers.BeforeChange):
            self._configuration.add_condition(condition_mark.key, handler.method)

    def _transmit(self, call: ocppj.Call) -> None:
        self.endpoint.transmit(call)

    def attach(self, line: CsmsLine, publisher: Publisher) -> None:
        """Join the connections to the CSMS and to the broker."""
        self.endpoint.line = self.context.csms.line = line
        for part in (self.variables, self._hardware, self._commands):
            part.publisher = publisher

    def start(self) -> None:
        """The first turn: every feature shows what it has."""
        with self.turns.turn():
            for feature in self.features:
                feature.start()
            claimed = {Feature.profile, *self._configuration.supported_feature_profiles}  # Core is compulsory
            for feature in self.features:
                if feature.profile not in claimed:
                    self._switch_off(feature)
            self._configuration.show_monitored()

    def _switch_off(self, feature: Feature) -> None:
        """A profile that isn't claimed is not there: its actions are answered NotSupported, its keys are unknown."""
        for _, handler in handlers.handlers(feature, handlers.OnCall):
            del self.endpoint.handlers[handler.request.__name__]
        for mark, _ in handlers.handlers(feature, handlers.OnTrigger):
            del self._triggers[mark.message]
        self.context.configuration_keys.hide(declared_keys(type(feature)))
        feature.switch_off()


def _call_handler(handler: handlers.Handler) -> CallHandler:
    request_type, method = handler.request, handler.method
    if handler.is_async:

        async def converse(payload: dict[str, Any]) -> dict[str, Any]:
            return to_payload(await method(from_payload(request_type, payload)))

        return CallHandler(None, converse)
    return CallHandler(lambda payload: to_payload(method(from_payload(request_type, payload))))


def _command_handler(mark: handlers.Command, handler: handlers.Handler) -> CommandHandler:
    arguments: TypeAdapter[Any] | None = None if handler.request is None else TypeAdapter(handler.request)
    if handler.is_async:
        return CommandHandler(arguments, mark.reads, None, handler.method)
    return CommandHandler(arguments, mark.reads, handler.method)


def _hardware_input(mark: handlers.OnHardware, handler: handlers.Handler) -> HardwareInput:
    model: TypeAdapter[Any] | None = None if handler.request is str else TypeAdapter(handler.request)
    return HardwareInput(tuple(mark.topic.split("/")), model, handler.method)
