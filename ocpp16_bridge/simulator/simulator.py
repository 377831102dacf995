"""The programs around one EVSE, controller and card reader: they state facts and obey topics (contract 2 to 4)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Never, Protocol

from ocpp.v16.enums import ChargePointErrorCode, UnlockStatus

from ocpp16_bridge.simulator.evse import Evse, Fact
from ocpp16_bridge.simulator.pace import Pace

PATIENCE = 40.0  # s, of real time: the daemon waits 30 s for its CSMS
FAULT: Fact = {"error_code": ChargePointErrorCode.ground_failure, "faulted": True, "info": "simulated"}


class SimulatorError(Exception):
    """The session can't go on; the text says why."""


class Publish(Protocol):
    """Publishes with QoS 1."""

    async def __call__(self, topic: str, payload: str, *, retain: bool) -> None: ...


class Simulator:
    """Plays the hardware of one connector. Who has a connection hands it all messages to `topics`.

    Args:
        connector_id: whose topics; only one simulator can play `hardware/state`.
        meter_every: simulated seconds between two readings.
        patience: real seconds to wait for what the daemon must do.
        say: told in plain words what it obeys.

    """

    def __init__(
        self,
        evse: Evse,
        connector_id: int,
        base_topic: str,
        publish: Publish,
        *,
        pace: Pace,
        new_id: Callable[[], str],
        say: Callable[[str], None],
        meter_every: float = 1.0,
        patience: float = PATIENCE,
    ) -> None:
        self.evse = evse
        self.connector_id = connector_id
        self.pace = pace
        self.meter_every = meter_every
        self.is_daemon_online = False
        self.is_other_online = False  # another program plays the hardware
        self.has_transaction = False
        self._publish = publish
        self._new_id = new_id
        self._say = say
        self._patience = patience
        self.has_begun = False
        self._advanced_at = pace.now()
        self._told: dict[str, str] = {}  # the retained facts, by topic
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}  # by the id of the request
        self._news = asyncio.Event()
        connector = f"{base_topic}/connector/{connector_id}"
        self._hardware = f"{base_topic}/hardware"
        self._facts = f"{self._hardware}/connector/{connector_id}"
        self._present = f"{base_topic}/request/present_id_tag"
        self._obeys: dict[str, Callable[[Any], None]] = {
            f"{self._facts}/meter": self._last_reading,
            f"{self._hardware}/state": self._hardware_state,
            f"{connector}/charging_permitted": self._permitted,
            f"{connector}/lock": self._lock,
            f"{connector}/limit": self._limit,
            f"{connector}/transaction": self._transaction,
            f"{base_topic}/response/present_id_tag": self._reply,
            f"{base_topic}/state": self._daemon_state,
        }
        self._unlock = f"{self._hardware}/request/unlock_connector"

    # -- the connection

    @property
    def topics(self) -> list[str]:
        """What to subscribe to, in this order: once the last one says something, all that is retained was heard."""
        return [self._unlock, *self._obeys]

    async def hear(self, topic: str, payload: bytes) -> None:
        value = _read(payload)
        async with self._changing():
            if topic == self._unlock:
                await self._unlock_connector(value)
            elif obey := self._obeys.get(topic):
                obey(value)

    async def begin(self) -> None:
        """State all facts for the first time; before, only what the daemon says is heard."""
        self.has_begun = True
        await self._tell()
        await self.measure()
        await self._publish(f"{self._hardware}/state", "online", retain=True)

    async def run(self) -> Never:
        """Read the meter now and then while a car is there, until cancelled."""
        while True:
            await self.pace.sleep(self.meter_every)
            if self.evse.is_plugged:
                await self.measure()

    async def end(self) -> None:
        """Leave nothing plugged and no error; nobody is online or offline any more."""
        async with self._changing() as evse:
            evse.leave()
            evse.errors = []
        await self._publish(f"{self._hardware}/state", "", retain=True)

    # -- what happens before the charger

    async def plug(self) -> None:
        async with self._changing() as evse:
            evse.arrive()

    async def unplug(self) -> None:
        async with self._changing() as evse:
            evse.leave()

    async def pause(self) -> None:
        """The car wants nothing for the time being."""
        async with self._changing() as evse:
            evse.wants_energy = False

    async def go_on(self) -> None:
        async with self._changing() as evse:
            evse.wants_energy = True

    async def fail(self, error: Fact = FAULT) -> None:
        async with self._changing() as evse:
            evse.errors = [error]

    async def recover(self) -> None:
        async with self._changing() as evse:
            evse.errors = []

    async def present(self, id_tag: str) -> dict[str, Any]:
        """Hold a card before the reader; the daemon's decision.

        Raises:
            SimulatorError: there is none.

        """
        request_id = self._new_id()
        reply = self._replies[request_id] = asyncio.get_running_loop().create_future()
        request = {"id": request_id, "id_tag": id_tag, "connector_ids": [self.connector_id]}
        try:
            async with asyncio.timeout(self._patience):
                await self._publish(self._present, json.dumps(request), retain=False)
                content = await reply
        except TimeoutError:
            raise SimulatorError(f"present_id_tag has no reply within {self._patience:g} s") from None
        finally:
            del self._replies[request_id]
        if content.get("status") != "ok":
            raise SimulatorError(f"present_id_tag is refused: {content.get('error')}")
        decision: dict[str, Any] = content["data"]
        return decision

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` holds.

        Raises:
            SimulatorError: it doesn't come to that; ``what`` is missing.

        """
        try:
            async with asyncio.timeout(self._patience):
                await self.until_at_last(condition)
        except TimeoutError:
            raise SimulatorError(f"waited {self._patience:g} s in vain for: {what}") from None

    async def until_at_last(self, condition: Callable[[], object]) -> None:
        """The same without a limit."""
        while not condition():
            await self._news.wait()

    # -- facts out

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[Evse]:
        """Change something now; then state what has become of it."""
        self._advance()
        former = self.evse.current
        yield self.evse
        await self._tell()
        if self.evse.current != former:
            await self.measure()
        self._news.set()
        self._news = asyncio.Event()

    def _advance(self) -> None:
        now = self.pace.now()
        self.evse.advance(now - self._advanced_at)
        self._advanced_at = now

    async def _tell(self) -> None:
        """State the facts that have changed."""
        if not self.has_begun:
            return
        facts = {f"{self._facts}/state": self.evse.state(), f"{self._facts}/errors": self.evse.errors}
        for topic, fact in facts.items():
            payload = json.dumps(fact)
            if self._told.get(topic) != payload:
                self._told[topic] = payload
                await self._publish(topic, payload, retain=True)

    async def measure(self) -> None:
        """Publish a reading of this moment; retained, so that the register goes on where it was left."""
        self._advance()
        await self._publish(f"{self._facts}/meter", json.dumps(self.evse.meter()), retain=True)
        await self._tell()  # the battery may be full

    # -- what is obeyed

    def _permitted(self, value: Any) -> None:
        if self.evse.is_permitted != (value is True):
            self._say("charging is permitted" if value is True else "charging is not permitted: the contactor is open")
        self.evse.is_permitted = value is True

    def _lock(self, value: Any) -> None:
        if self.evse.is_locked != (value is True):
            self._say("the cable is locked" if value is True else "the cable is unlocked")
        self.evse.is_locked = value is True

    def _limit(self, value: Any) -> None:
        if value != self.evse.limit and isinstance(value, dict):
            self._say(f"the limit is {value['limit']:g} {value['unit']}")
            self.evse.limit = value

    def _transaction(self, value: Any) -> None:
        self.has_transaction = isinstance(value, dict)

    def _daemon_state(self, value: Any) -> None:
        self.is_daemon_online = value == "online"

    def _hardware_state(self, value: Any) -> None:
        if not self.has_begun:  # since then it is ours
            self.is_other_online = value == "online"

    def _last_reading(self, value: Any) -> None:
        """Our own, or what somebody before us has left: a register never falls."""
        register = value.get("Energy.Active.Import.Register") if isinstance(value, dict) else None
        if isinstance(register, int | float):
            self.evse.register = max(self.evse.register, register)

    def _reply(self, value: Any) -> None:
        reply = self._replies.get(str(value.get("id"))) if isinstance(value, dict) else None
        if reply is not None and not reply.done():
            reply.set_result(value)

    async def _unlock_connector(self, request: Any) -> None:
        """Asked only where `hardware.answers` lists it; others play the other connectors."""
        if not isinstance(request, dict) or request.get("connector_id") != self.connector_id:
            return
        self._say("the daemon asks to unlock the cable: done")
        self.evse.is_locked = False
        answer = {"id": request.get("id"), "status": "ok", "data": UnlockStatus.unlocked}
        await self._publish(f"{self._hardware}/response/unlock_connector", json.dumps(answer), retain=False)


def _read(payload: bytes) -> Any:
    """JSON where it is some, else text."""
    text = payload.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
