"""A pretended charger: the program of the hardware as an integrator would write it (contract 4)."""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

REGISTER = "Energy.Active.Import.Register"
FIRST_REGISTER = 100_000  # Wh
TIMEOUT = 5.0  # s


@dataclass
class State:
    plugged: bool = False
    ev_ready: bool = False
    evse_ready: bool = False
    locked: bool = False


@dataclass
class Outlet:
    state: State = field(default_factory=State)
    register: int = FIRST_REGISTER  # Wh
    errors: list[dict[str, Any]] = field(default_factory=list)
    is_permitted: bool = False
    lock_is_stuck: bool = False  # open: it does not close


class Charger:
    """Publishes its facts and obeys `charging_permitted` and `lock`; connected within its `with` block.

    After each change of the contactor it reads its meter. What a method says has reached the broker when it returns.

    Args:
        port: the broker's, on 127.0.0.1.
        connectors: how many.
        protocol: 5, or 4 for MQTT 3.1.1.

    """

    def __init__(self, port: int, connectors: int = 1, protocol: int = 5) -> None:
        self._port = port
        self._protocol = protocol
        self._outlets = {number: Outlet() for number in range(1, connectors + 1)}
        self._guard = threading.RLock()  # the outlets are changed by tests and by what arrives
        self._connected = threading.Event()

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # -- what happens at the charger

    def plug(self, connector: int = 1, *, ev_ready: bool = True) -> None:
        self._change(connector, plugged=True, ev_ready=ev_ready)

    def unplug(self, connector: int = 1) -> None:
        self._change(connector, plugged=False, ev_ready=False)

    def charge(self, energy: int, connector: int = 1) -> None:
        """The EV takes ``energy`` Wh, and the meter says so."""
        with self._guard:
            self._outlets[connector].register += energy
            told = self._tell_meter(connector)
        told.wait_for_publish(TIMEOUT)

    def read_meter(self, connector: int = 1) -> None:
        """Say once more what the meter shows."""
        self.charge(0, connector)

    def set_errors(self, *errors: dict[str, Any], connector: int = 1) -> None:
        with self._guard:
            self._outlets[connector].errors = list(errors)
            told = self._tell_errors(connector)
        told.wait_for_publish(TIMEOUT)

    def jam_lock(self, connector: int = 1) -> None:
        """It does not close any more, which the charger notices when it should."""
        with self._guard:
            self._outlets[connector].lock_is_stuck = True

    def register(self, connector: int = 1) -> int:
        return self._outlets[connector].register

    def is_permitted(self, connector: int = 1) -> bool:
        return self._outlets[connector].is_permitted

    def is_locked(self, connector: int = 1) -> bool:
        return self._outlets[connector].state.locked

    def _change(self, connector: int, **facts: bool) -> None:
        with self._guard:
            told = self._set(connector, **facts)
        told.wait_for_publish(TIMEOUT)

    # -- the program dies and comes back

    def die(self) -> None:
        """Without a farewell: the broker publishes the will."""
        self._client.loop_stop()
        link = self._client.socket()
        assert isinstance(link, socket.socket)
        link.close()

    def come_back(self) -> None:
        """Connect, and say everything once more."""
        self._connected.clear()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, "charger", protocol=self._protocol)  # type: ignore[arg-type] # an enum of the same numbers
        client.reconnect_delay_set(1, 1)
        client.will_set("ocpp16/hardware/state", "offline", 1, retain=True)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        assert self._connected.wait(TIMEOUT)
        with self._guard:
            told = self._publish("state", "online")
        told.wait_for_publish(TIMEOUT)  # and so has everything before it

    def _on_connect(self, client: paho.Client, *_arguments: object) -> None:
        """A broker may have forgotten everything."""
        with self._guard:
            for number in self._outlets:
                client.subscribe(
                    [(f"ocpp16/connector/{number}/{topic}", 1) for topic in ("charging_permitted", "lock")]
                )
                self._tell_meter(number)
                self._tell_errors(number)
                self._set(number)
            client.subscribe("ocpp16/hardware/request/unlock_connector", 1)
            self._publish("state", "online")
        self._connected.set()

    # -- what it obeys

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        levels = message.topic.split("/")
        content = json.loads(message.payload)
        obey: dict[str, Callable[[], None]] = {
            "charging_permitted": lambda: self._permit(int(levels[-2]), permitted=content),
            "lock": lambda: self._lock(int(levels[-2]), locked=content),
            "unlock_connector": lambda: self._unlock(content),
        }
        with self._guard:
            obey[levels[-1]]()

    def _permit(self, connector: int, *, permitted: bool) -> None:
        self._outlets[connector].is_permitted = permitted
        self._set(connector)
        self._tell_meter(connector)

    def _lock(self, connector: int, *, locked: bool) -> None:
        outlet = self._outlets[connector]
        if locked and outlet.lock_is_stuck:
            outlet.errors = [{"error_code": "ConnectorLockFailure", "faulted": True}]
            self._tell_errors(connector)
        else:
            self._set(connector, locked=locked)

    def _unlock(self, request: dict[str, Any]) -> None:
        self._set(request["connector_id"], locked=False)
        self._publish("response/unlock_connector", {"id": request["id"], "status": "ok", "data": "Unlocked"}, False)

    # -- what it says

    def _set(self, connector: int, **facts: bool) -> paho.MQTTMessageInfo:
        """Change some facts and say all; what the EVSE does follows from them."""
        outlet = self._outlets[connector]
        for name, value in facts.items():
            setattr(outlet.state, name, value)
        outlet.state.evse_ready = outlet.state.plugged and outlet.is_permitted
        return self._publish(f"connector/{connector}/state", asdict(outlet.state))

    def _tell_meter(self, connector: int) -> paho.MQTTMessageInfo:
        return self._publish(f"connector/{connector}/meter", {REGISTER: self._outlets[connector].register})

    def _tell_errors(self, connector: int) -> paho.MQTTMessageInfo:
        return self._publish(f"connector/{connector}/errors", self._outlets[connector].errors)

    def _publish(self, topic: str, content: object, retain: bool = True) -> paho.MQTTMessageInfo:
        payload = content if isinstance(content, str) else json.dumps(content)
        return self._client.publish(f"ocpp16/hardware/{topic}", payload, 1, retain)
