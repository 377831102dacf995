"""A simulator without sockets: time that passes when asked, and a daemon that does what each card wants."""

import asyncio
import heapq
import itertools
import json
from collections.abc import Coroutine
from typing import Any

from ocpp16_bridge.simulator.evse import Evse
from ocpp16_bridge.simulator.pace import Pace
from ocpp16_bridge.simulator.simulator import Simulator

CONNECTOR = "ocpp16/connector/1"
FACTS = "ocpp16/hardware/connector/1"


class VirtualPace(Pace):
    """Time stands still until everybody sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        wakes = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._count), wakes))
        await wakes

    async def run(self, work: Coroutine[Any, Any, Any], *, limit: float = 10_000) -> Any:
        """What ``work`` comes to; within ``limit`` simulated seconds."""
        task = asyncio.create_task(work)
        while not task.done() and self._now < limit:
            await asyncio.sleep(0.001 if not self._sleepers else 0)
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleepers and not task.done():
                self._now, _, wakes = heapq.heappop(self._sleepers)
                if not wakes.done():
                    wakes.set_result(None)
        if not task.done():
            task.cancel()
        return await task


class FakeDaemon:
    """Starts with the first card and stops with the next, as long as the tests let it."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, bool]] = []
        self.cards: list[str] = []
        self.decision: dict[str, Any] = {}  # instead of start or stop
        self.error: dict[str, Any] | None = None
        self.is_silent = False
        self.simulator: Simulator

    async def publish(self, topic: str, payload: str, *, retain: bool) -> None:
        self.published.append((topic, payload, retain))
        if topic == "ocpp16/request/present_id_tag" and not self.is_silent:
            await self._decide(json.loads(payload))

    async def _decide(self, request: dict[str, Any]) -> None:
        self.cards.append(request["id_tag"])
        is_start = not self.simulator.has_transaction
        decision = {"status": "Accepted", "action": "start" if is_start else "stop", **self.decision}
        reply = {"id": request["id"], "status": "ok", "data": decision}
        if self.error is not None:
            reply = {"id": request["id"], "status": "error", "error": self.error}
        await self.says("response/present_id_tag", reply)
        if not self.decision and self.error is None:
            await self.transact(is_running=is_start)

    async def transact(self, *, is_running: bool) -> None:
        await self.says("connector/1/transaction", {"id_tag": "A"} if is_running else None)
        await self.says("connector/1/lock", is_running)
        await self.says("connector/1/charging_permitted", is_running)

    async def says(self, topic: str, payload: Any) -> None:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        await self.simulator.hear(f"ocpp16/{topic}", text.encode())

    def facts(self, name: str) -> list[Any]:
        """What was stated on `hardware/connector/1/<name>`."""
        return [json.loads(payload) for topic, payload, _ in self.published if topic == f"{FACTS}/{name}"]


class Stage:
    """A simulator that has begun, its daemon online; make it within a running loop."""

    def __init__(self, evse: Evse | None = None) -> None:
        self.pace = VirtualPace()
        self.daemon = FakeDaemon()
        self.said: list[str] = []
        self._ids = (str(number) for number in itertools.count(1))
        self.simulator = self.daemon.simulator = Simulator(
            Evse(has_lock=True) if evse is None else evse,
            1,
            "ocpp16",
            self.daemon.publish,
            pace=self.pace,
            new_id=lambda: next(self._ids),
            say=self.said.append,
            patience=0.05,
        )

    @classmethod
    async def begun(cls, evse: Evse | None = None) -> "Stage":
        stage = cls(evse)
        await stage.daemon.says("state", "online")
        await stage.simulator.begin()
        stage.daemon.published.clear()
        return stage

    async def nothing_happens(self) -> None:
        """Everything goes its way."""
