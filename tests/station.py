"""A charge point without sockets: frames and MQTT messages in and out by plain calls, time by `advance`."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from ocpp16_bridge.charge_point import ChargePoint, World, check
from ocpp16_bridge.clock import Clock
from ocpp16_bridge.configuration_file import load_settings
from ocpp16_bridge.csms.connection import ConnectFailure
from ocpp16_bridge.mqtt.connection import Incoming
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.store import Store
from ocpp16_bridge.timestamps import format_time

BASE = "ocpp16"
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

CONFIG = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"
[csms]
url = "ws://csms.example/ocpp"
"""


class Published(NamedTuple):
    """One message the daemon published; the payload is read as JSON where it is some."""

    topic: str
    payload: Any
    retain: bool
    correlation_data: bytes | None


class FakeLine:
    """The connection to the CSMS: notes what is sent and asked."""

    def __init__(self) -> None:
        self.frames: list[list[Any]] = []
        self.events: list[str] = []  # "open", "close 1000 stopped", "redial …", "answered", "ping"
        self.on_close: Callable[[], None] = lambda: None

    def send(self, frame: str) -> None:
        self.frames.append(json.loads(frame))
        self.events.append("send")

    def answered(self) -> None:
        self.events.append("answered")

    def open(self) -> None:
        self.events.append("open")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.events.append(f"close {code} {reason}".rstrip())
        self.on_close()

    def redial(self, code: int = 1000, reason: str = "") -> None:
        self.events.append(f"redial {code} {reason}".rstrip())

    def ping_interval_changed(self) -> None:
        self.events.append("ping_interval_changed")


class FakeBroker:
    """The connection to the broker: keeps what is published."""

    def __init__(self) -> None:
        self.connected = False
        self.messages: list[Published] = []
        self.retained: dict[str, Any] = {}

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1, correlation_data: bytes | None = None
    ) -> None:
        assert qos == 1
        if not self.connected:
            return
        try:
            value: Any = json.loads(payload)
        except ValueError:
            value = payload.decode()
        self.messages.append(Published(topic, value, retain, correlation_data))
        if retain and payload:
            self.retained[topic] = value
        elif retain:
            self.retained.pop(topic, None)


class Station:
    """One charge point process after the other on the same store.

    Args:
        directory: of the store.
        config: TOML to append to the necessary minimum.

    """

    def __init__(self, directory: Path, config: str = "") -> None:
        self.directory = directory
        self.settings = self._load(config)
        self.time = 0.0  # s since START, by the machine
        self.clock_error = 0.0  # s that the machine's clock is ahead of the CSMS's
        self.boot_id = "boot-1"
        self.ended: list[str] = []  # reasons for which the process asked to end
        self._ids = itertools.count(1)
        self._csms_ids = itertools.count(1)
        self._start_process()

    def _load(self, config: str) -> Settings:
        path = self.directory / "config.toml"
        self.directory.mkdir(exist_ok=True)
        path.write_text(f'{CONFIG}\n{config}\n[storage]\ndirectory = "{self.directory / "store"}"\n')
        return load_settings(path, {}, check)

    def _start_process(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = Store(self.directory / "store")
        self.line = FakeLine()
        self.broker = FakeBroker()
        clock = Clock(lambda: START.timestamp() + self.time + self.clock_error, lambda: 1000.0 + self.time)
        world = World(clock, self.loop, lambda: f"id-{next(self._ids)}", lambda: 0.0, self.boot_id, self.ended.append)
        self.charge_point = ChargePoint(self.settings, self.store, world)
        self.charge_point.attach(self.line, self.broker)
        self.line.on_close = self._closed
        self.charge_point.start()
        self._read_frames = 0
        self._read_messages = 0

    def _closed(self) -> None:
        if self.charge_point.endpoint.connected:
            self.charge_point.endpoint.csms_disconnected("closed by the charge point")

    def close(self) -> None:
        self.loop.run_until_complete(self.charge_point.conversations.end())
        self.loop.close()
        self.store.close()

    def kill(self, config: str | None = None) -> None:
        """End the process as SIGKILL would, and start another one on the same store, maybe with another file."""
        self.close()
        if config is not None:
            self.settings = self._load(config)
        self._start_process()

    def settle(self) -> None:
        """Let conversations go on until they wait for something again."""
        for _ in range(10):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.time + seconds
        timers = self.charge_point.timers
        while (deadline := timers.next_deadline()) is not None and deadline - 1000.0 <= end:
            self.time = max(deadline - 1000.0, self.time)
            timers.run_due()
            self.settle()
        self.time = end

    def settle_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that a thread does, up to 15 s of real time."""
        deadline = monotonic() + 15
        while not condition():
            assert monotonic() < deadline, f"not within 15 s: {what}"
            sleep(0.002)
            self.settle()

    # -- the CSMS

    def connect(self) -> None:
        self.charge_point.endpoint.csms_connected()
        self.settle()

    def disconnect(self, reason: str = "test") -> None:
        self.charge_point.endpoint.csms_disconnected(reason)
        self.settle()

    def refuse(self, failure: ConnectFailure) -> None:
        self.charge_point.endpoint.csms_refused(failure)
        self.settle()

    def register(self, status: str = "Accepted", interval: int = 300) -> None:
        """Connect if need be and answer the BootNotification; what else went out meanwhile is answered, too."""
        if not self.charge_point.endpoint.connected:
            self.connect()
        boot = self.sent("BootNotification")[-1]
        self.csms_answers(boot, currentTime=self.now(), interval=interval, status=status)
        self.answer_all()

    def answer_all(self) -> None:
        """Answer what is open with {} until nothing is: StatusNotification, SecurityEventNotification and the like."""
        while frames := [frame for frame in self.sent() if frame[0] == 2]:
            for frame in frames:
                self.csms_answers(frame)

    def csms_sends(self, action: str, **payload: Any) -> str:
        """A CALL of the CSMS; returns its message id."""
        message_id = f"csms-{next(self._csms_ids)}"
        self.receive([2, message_id, action, payload])
        return message_id

    def csms_calls(self, action: str, **payload: Any) -> dict[str, Any]:
        """A CALL of the CSMS and the payload of its result, which must be the next frame."""
        message_id = self.csms_sends(action, **payload)
        answer = self.sent()[0]
        assert answer[:2] == [3, message_id], answer
        result: dict[str, Any] = answer[2]
        return result

    def csms_answers(self, call: list[Any], **payload: Any) -> None:
        self.receive([3, call[1], payload])

    def csms_refuses(self, call: list[Any], code: str, description: str = "") -> None:
        self.receive([4, call[1], code, description, {}])

    def receive(self, frame: object) -> None:
        """A frame of the CSMS, as text or as what becomes JSON."""
        self.charge_point.endpoint.csms_received(frame if isinstance(frame, str) else json.dumps(frame))
        self.settle()

    def sent(self, action: str | None = None) -> list[list[Any]]:
        """The frames sent since the last look, or of these the CALLs of one action."""
        frames = self.line.frames[self._read_frames :]
        self._read_frames = len(self.line.frames)
        return frames if action is None else [frame for frame in frames if frame[0] == 2 and frame[2] == action]

    # -- the broker

    def connect_broker(self) -> None:
        self.broker.connected = True
        self.charge_point.mqtt_session.mqtt_connected()
        self.settle()

    def disconnect_broker(self) -> None:
        self.broker.connected = False
        self.charge_point.mqtt_session.mqtt_disconnected("test")

    def publish(self, topic: str, payload: object, **properties: Any) -> None:
        """A message of a local program below the base topic; other than bytes and str become JSON."""
        match payload:
            case bytes():
                data = payload
            case str():
                data = payload.encode()
            case _:
                data = json.dumps(payload).encode()
        values = {
            "retain": False,
            "response_topic": None,
            "correlation_data": None,
            "expires_at": None,
            **properties,
        }
        self.charge_point.mqtt_session.mqtt_received(Incoming(f"{BASE}/{topic}", data, **values))
        self.settle()

    def request(self, command: str, **arguments: Any) -> Any:
        """The whole reply to a request; there must be exactly one by now."""
        self.published()
        self.publish(f"request/{command}", arguments)
        (reply,) = self.published(f"response/{command}")
        return reply

    def ask(self, command: str, **arguments: Any) -> Any:
        """The `data` of the reply, which must be ok."""
        reply = self.request(command, **arguments)
        assert reply["status"] == "ok", reply
        return reply["data"]

    def published(self, topic: str | None = None) -> list[Any]:
        """The messages since the last look, or of these the payloads on one topic below the base."""
        messages = self.broker.messages[self._read_messages :]
        self._read_messages = len(self.broker.messages)
        return messages if topic is None else [m.payload for m in messages if m.topic == f"{BASE}/{topic}"]

    def shown(self, topic: str) -> Any:
        """What is retained on a topic below the base; None where nothing."""
        return self.broker.retained.get(f"{BASE}/{topic}")

    # -- time

    def now(self) -> str:
        """The CSMS's time of day."""
        return format_time(datetime.fromtimestamp(START.timestamp() + self.time, UTC))


@contextmanager
def running_station(directory: Path, config: str = "") -> Iterator[Station]:
    station = Station(directory, config)
    try:
        station.connect_broker()
        yield station
    finally:
        station.close()
