"""What a message of the broker sets off: a request, a hardware input, our own state."""

from collections.abc import Callable

from ocpp16_bridge.mqtt.commands import Commands, Request
from ocpp16_bridge.mqtt.connection import Incoming, Subscription
from ocpp16_bridge.mqtt.hardware import HardwareInputs
from ocpp16_bridge.mqtt.variables import Variables
from ocpp16_bridge.turn import Turns


class Session:
    """The `Receiver` of `mqtt.connection`."""

    def __init__(
        self, base_topic: str, turns: Turns, commands: Commands, hardware: HardwareInputs, variables: Variables
    ) -> None:
        self._requests = base_topic + "/request/"
        self._hardware_topics = base_topic + "/hardware/"
        self._state = base_topic + "/state"
        self._turns = turns
        self._commands = commands
        self._hardware = hardware
        self._variables = variables
        self.on_connected: list[Callable[[], None]] = []
        self.on_disconnected: list[Callable[[], None]] = []

    def subscriptions(self) -> list[Subscription]:
        return [
            Subscription(self._requests + "#", commands=True),
            Subscription(self._hardware_topics + "#", commands=False),
            Subscription(self._state, commands=False),
        ]

    def mqtt_connected(self) -> None:
        self._variables.connected()
        with self._turns.turn():
            for listener in self.on_connected:
                listener()

    def mqtt_disconnected(self, reason: str) -> None:  # noqa: ARG002 - the connection has logged it
        self._variables.disconnected()
        with self._turns.turn():
            for listener in self.on_disconnected:
                listener()

    def mqtt_received(self, message: Incoming) -> None:
        if message.topic.startswith(self._requests):
            self._commands.received(
                Request(
                    message.topic[len(self._requests) :],
                    message.payload,
                    message.retain,
                    message.response_topic,
                    message.correlation_data,
                    message.expires_at,
                )
            )
        elif message.topic.startswith(self._hardware_topics):
            self._hardware.received(message.topic[len(self._hardware_topics) :], message.payload)
        elif message.topic == self._state:
            self._variables.state_seen(message.payload)
