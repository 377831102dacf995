"""G6 and the configuration keys: what the CSMS asks of the charge point."""

import asyncio
import gc
import json
import statistics
from collections import defaultdict
from time import perf_counter
from typing import Any, Self

from tests.benchmarks import load
from tests.benchmarks.stage import Member, Run, Stage, in_turn
from tests.benchmarks.table import CONTROL_NOTE, Row, compared, percentile

KEYS = 60
MONITORED_KEY = "MeterValueSampleInterval"
MILLISECONDS = 1e3


def charging_profile(limit: float) -> str:
    """SetChargingProfile.req with 24 periods, one an hour."""
    periods = [{"startPeriod": 3600 * hour, "limit": limit} for hour in range(24)]
    schedule = {"chargingRateUnit": "A", "startSchedule": "2026-01-01T00:00:00Z", "chargingSchedulePeriod": periods}
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Recurring",
        "recurrencyKind": "Daily",
        "chargingSchedule": schedule,
    }
    return json.dumps({"connectorId": 1, "csChargingProfiles": profile})


class Watcher:
    """A subscriber that sees when both topics of a changed configuration key have arrived."""

    topics: set[bytes]

    def __init__(self) -> None:
        self.value = b""
        self.missing: set[bytes] = set()
        self.arrived: asyncio.Future[float] | None = None

    @classmethod
    async def of(cls, port: int, base: str, key: str) -> Self:
        watcher = cls()
        watcher.topics = {f"{base}/configuration_key".encode(), f"{base}/configuration_key/{key}".encode()}
        client = await load.Client.connect(port, watcher.received)
        for topic in watcher.topics:
            await client.subscribe(topic.decode())
        return watcher

    def expect(self, value: str) -> "asyncio.Future[float]":
        """The moment at which the later of both topics arrives with this value."""
        self.value, self.missing = f'"{value}"'.encode(), set(self.topics)
        self.arrived = asyncio.get_running_loop().create_future()
        return self.arrived

    def received(self, topic: bytes, payload: bytes, moment: float) -> None:
        if self.value and self.value in payload:
            self.missing.discard(topic)
        if self.arrived and not self.missing and not self.arrived.done():
            self.arrived.set_result(moment)


async def monitor(stage: Stage, member: Member) -> None:
    """Has the daemon publish the key that is going to be changed. The references publish any key."""
    if stage.run.ours != "daemon" or member.name != "ours":
        return
    replies: asyncio.Queue[bytes] = asyncio.Queue()
    client = await load.Client.connect(stage.port, lambda _, payload, __: replies.put_nowait(payload))
    await client.subscribe(f"{member.base}/response/monitor_configuration_keys")
    request = json.dumps({"keys": [MONITORED_KEY]}).encode()
    await client.ask(load.publish(f"{member.base}/request/monitor_configuration_keys", request))
    reply = json.loads(await asyncio.wait_for(replies.get(), load.ANSWER_TIMEOUT))
    client.close()
    if reply["status"] != "ok":
        raise RuntimeError(f"monitor_configuration_keys: {reply}")


async def measure_calls(run: Run) -> list[Row]:
    p50: dict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    delays: defaultdict[str, list[float]] = defaultdict(list)
    async with Stage.built(run) as stage:
        members, keys = await members_with_the_same_keys(stage)
        profiles = await takes_profiles(members[0])
        watchers = {member.name: await Watcher.of(stage.port, member.base, MONITORED_KEY) for member in members}
        for number in range(-1, run.rounds):  # the first one warms up
            gc.collect()
            for member in in_turn(members, number):
                times = await answer_times(member, number, max(run.burst // 5, 10), profiles=profiles)
                changes = await change_delays(member, watchers[member.name], number, max(run.burst // 10, 10))
                if number >= 0:
                    for action, values in times.items():
                        p50[action][member.name].append(statistics.median(values))
                    delays[member.name] += changes
            if number >= 0:
                run.progress(f"calls, round {number + 1}: {shown(p50)}")
    return rows(run, p50, delays, keys)


def shown(p50: dict[str, defaultdict[str, list[float]]]) -> str:
    return "; ".join(
        f"{action} " + " ".join(f"{name} {values[-1]:.2f}" for name, values in sorted(names.items())) + " ms"
        for action, names in p50.items()
    )


async def members_with_the_same_keys(stage: Stage) -> tuple[list[Member], int]:
    """Ours and the references, which answer what ours answers: its own keys, filled up to 60 with custom ones."""
    ours = await stage.start("ours")
    keys = await configuration_keys(ours)
    if len(keys) < KEYS:
        await stage.stop()
        ours = await stage.start("ours", custom_keys=KEYS - len(keys))
        keys = await configuration_keys(ours)
    stage.keys = stage.folder / "keys.json"
    stage.keys.write_text(json.dumps(keys))
    await monitor(stage, ours)
    return [ours, *[await stage.start(name) for name in ("S", "S'", "O")]], len(keys)


async def configuration_keys(member: Member) -> list[Any]:
    _, answer = await member.station.call("GetConfiguration", "{}")
    keys = json.loads(answer)[2]["configurationKey"]
    assert isinstance(keys, list)
    return keys


async def takes_profiles(member: Member) -> bool:
    _, answer = await member.station.call("SetChargingProfile", charging_profile(16))
    return "Accepted" in answer


async def answer_times(member: Member, number: int, count: int, *, profiles: bool) -> dict[str, list[float]]:
    """Milliseconds from each CALL to its answer, by action."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for turn in range(count):
        seconds, _ = await member.station.call("GetConfiguration", "{}")
        times["GetConfiguration"].append(MILLISECONDS * seconds)
        if profiles:
            profile = charging_profile(10 + (number + turn) % 7)
            seconds, answer = await member.station.call("SetChargingProfile", profile)
            assert "Accepted" in answer, answer
            times["SetChargingProfile"].append(MILLISECONDS * seconds)
    return times


async def change_delays(member: Member, watcher: Watcher, number: int, count: int) -> list[float]:
    """Milliseconds from each ChangeConfiguration at the CSMS to both retained topics at a subscriber."""
    delays = []
    for turn in range(count):
        value = str(10_000 + number * count + turn)
        start = perf_counter()
        arrived = watcher.expect(value)
        _, answer = await member.station.call("ChangeConfiguration", f'{{"key":"{MONITORED_KEY}","value":"{value}"}}')
        assert "Accepted" in answer, answer
        delays.append(MILLISECONDS * (await asyncio.wait_for(arrived, load.ANSWER_TIMEOUT) - start))
    return delays


def rows(
    run: Run, p50: dict[str, defaultdict[str, list[float]]], delays: dict[str, list[float]], keys: int
) -> list[Row]:
    def pair(action: str, one: str, other: str) -> list[tuple[float, float]]:
        return list(zip(p50[action][one], p50[action][other], strict=True))

    result = []
    if run.wants("G6"):
        for action, what in (("GetConfiguration", f"{keys} keys"), ("SetChargingProfile", "24 periods")):
            if action not in p50:
                result.append(Row("G6", action, "ms", note="refused, not measured"))
                continue
            result += [
                compared("G6", f"{action}, {what} / S", "ms", pair(action, "ours", "S"), limit=1.3),
                compared("G6", f"{action}, {what} / O", "ms", pair(action, "ours", "O"), limit=0.1),
                compared("", f"  control: S / S, {action}", "ms", pair(action, "S'", "S"), note=CONTROL_NOTE),
            ]
    if run.wants("CK"):
        for what, percent, limit in (("p50", 50, None), ("p99", 99, 100.0)):
            ours, reference = (percentile(delays[name], percent) for name in ("ours", "S"))
            text = f"ChangeConfiguration → both topics, {what} / S"
            result.append(Row("CK", text, "ms", ours, reference, ours / reference, limit))
    return result
