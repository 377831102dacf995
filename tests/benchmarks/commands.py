"""G1 to G5: a `data_transfer` command, from the request on MQTT over the CSMS to the reply on MQTT."""

import asyncio
import contextlib
import gc
import itertools
import statistics
from collections import defaultdict
from collections.abc import AsyncIterator
from time import perf_counter

from tests.benchmarks.calls import MONITORED_KEY, monitor
from tests.benchmarks.stage import Member, Run, Stage, in_turn
from tests.benchmarks.table import CONTROL_NOTE, Row, compared, percentile

# G3 says 64, but only 32 commands of a kind may wait: the 34th is answered `busy`.
IN_FLIGHT = 32
OWN_CHANGES_PER_SECOND = 25  # each makes the daemon publish twice with QoS 1
MICROSECONDS = 1e6


class Series:
    """What each peer did in each round."""

    def __init__(self) -> None:
        self.p50: defaultdict[str, list[float]] = defaultdict(list)  # µs
        self.cpu: defaultdict[str, list[float]] = defaultdict(list)  # µs per command
        self.all: defaultdict[str, list[float]] = defaultdict(list)  # µs
        self.rate: defaultdict[str, list[float]] = defaultdict(list)  # commands per second

    async def burst(self, member: Member, count: int) -> None:
        cpu = member.process.cpu()
        latencies = [MICROSECONDS * latency for latency in await member.commands.burst(count)]
        self.cpu[member.name].append(MICROSECONDS * (member.process.cpu() - cpu) / count)
        self.p50[member.name].append(statistics.median(latencies))
        self.all[member.name] += latencies

    async def rush(self, member: Member, count: int) -> None:
        start = perf_counter()
        await member.commands.burst(count, IN_FLIGHT)
        self.rate[member.name].append(count / (perf_counter() - start))


async def measure_commands(run: Run) -> list[Row]:
    series = Series()
    async with Stage.built(run) as stage:
        members = [await stage.start(name) for name in ("ours", "S", "S'", "T", "O")]
        for member in members:
            await member.commands.burst(run.burst)  # until every cache is warm
        for number in range(run.rounds):
            gc.collect()
            for member in in_turn(members, number):
                await series.burst(member, run.burst)
                if run.wants("G3"):
                    await series.rush(member, 2 * run.burst)
            run.progress(f"commands, round {number + 1}: " + shown(series.p50, "µs"))
    return rows(run, series)


def shown(values: dict[str, list[float]], unit: str) -> str:
    """The last value of each peer."""
    return "  ".join(f"{name} {column[-1]:.0f}" for name, column in sorted(values.items())) + f" {unit}"


def rows(run: Run, series: Series) -> list[Row]:
    def pair(values: dict[str, list[float]], one: str, other: str) -> list[tuple[float, float]]:
        return list(zip(values[one], values[other], strict=True))

    result = []
    for goal, what, values, limits in (
        ("G1", "command p50", series.p50, {"S": 0.90, "O": None}),
        ("G2", "CPU per command", series.cpu, {"S": 0.90, "O": 0.45}),
    ):
        if run.wants(goal):
            result += [
                compared(goal, f"{what} / {name}", "µs", pair(values, "ours", name), limit=limit)
                for name, limit in limits.items()
            ]
            result += [
                compared("", f"  control: S / S, {what}", "µs", pair(values, "S'", "S"), note=CONTROL_NOTE),
                compared("", f"  anchor: T / S, {what}", "µs", pair(values, "T", "S")),
                compared("", f"  anchor: O / S, {what}", "µs", pair(values, "O", "S")),
            ]
    if run.wants("G3"):
        what = f"rate, {IN_FLIGHT} in flight"
        result += [
            compared("G3", f"{what} / S", "1/s", pair(series.rate, "ours", "S"), limit=1.10, at_least=True),
            compared("", f"  control: S / S, {what}", "1/s", pair(series.rate, "S'", "S"), note=CONTROL_NOTE),
            compared("", f"  anchor: T / S, {what}", "1/s", pair(series.rate, "T", "S")),
            compared("", f"  anchor: O / S, {what}", "1/s", pair(series.rate, "O", "S")),
        ]
    if run.wants("G4"):
        tails = [(percentile(series.all["ours"], 99), percentile(series.all["S"], 99))]
        result.append(compared("G4", "command p99 / S", "µs", tails, limit=1.25))
    return result


async def measure_stock_broker(run: Run) -> list[Row]:
    """Commands with QoS 0 while the daemon publishes on its own with QoS 1, with Nagle's algorithm and without."""
    pairs = []
    async with Stage.built(run, no_delay=False) as stock, Stage.built(run) as tuned:
        members = [await stage.start("ours", qos=0) for stage in (stock, tuned)]
        for stage, member in zip((stock, tuned), members, strict=True):
            await monitor(stage, member)
        for number in range(run.rounds):
            p50 = {}
            for member in in_turn(members, number):
                async with own_traffic(member):
                    p50[member] = MICROSECONDS * statistics.median(await member.commands.burst(run.burst))
            pairs.append((p50[members[0]], p50[members[1]]))
            run.progress(f"stock broker, round {number + 1}: {pairs[-1][0]:.0f}, tuned {pairs[-1][1]:.0f} µs")
    return [compared("G5", "command QoS 0 p50, stock / tuned broker", "µs", pairs, limit=1.3)]


@contextlib.asynccontextmanager
async def own_traffic(member: Member) -> AsyncIterator[None]:
    """Meanwhile the CSMS changes a monitored key again and again."""

    stopped = asyncio.Event()

    async def change() -> None:
        for value in itertools.count(1000):
            if stopped.is_set():
                return
            await member.station.call("ChangeConfiguration", f'{{"key":"{MONITORED_KEY}","value":"{value}"}}')
            await asyncio.sleep(1 / OWN_CHANGES_PER_SECOND)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(change())
        yield
        stopped.set()
