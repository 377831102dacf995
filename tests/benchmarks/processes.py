"""G7 to G9: how fast the process starts, what it keeps resident, how often it wakes up when nothing happens."""

import asyncio
from collections import defaultdict

from tests.benchmarks import peer
from tests.benchmarks.load import Commands
from tests.benchmarks.stage import Run, Stage
from tests.benchmarks.table import CONTROL_NOTE, Row, compared

START_MODULES = "pydantic_settings,ocpp.v16"
BARE_MODULES = "asyncio,aiomqtt,websockets,sqlite3,pydantic_settings,ocpp.v16"
CHUNK = 2000  # commands between two progress lines
MEBIBYTE = 2**20


async def measure_start(run: Run) -> list[Row]:
    """From exec to BootNotification. The first round, which writes missing .pyc files, does not count."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    names = ["ours", "S", "S'"]
    async with Stage.built(run) as stage:
        await stage.hardware_facts("ours")
        for number in range(run.rounds + 1):
            for name in names[::-1] if number % 2 else names:
                seconds = await start_time(stage, name)
                if number:
                    times[name].append(1000 * seconds)
            if number:
                shown = "  ".join(f"{name} {times[name][-1]:.0f}" for name in names)
                run.progress(f"start, round {number}: {shown} ms")
    pairs = {name: list(zip(times[name], times["S"], strict=True)) for name in names}
    return [
        compared("G7", "exec → BootNotification / S with imports", "ms", pairs["ours"], limit=1.10),
        compared("", "  control: S / S, start", "ms", pairs["S'"], note=CONTROL_NOTE),
    ]


async def start_time(stage: Stage, name: str) -> float:
    identity = name.replace("'", "2")
    modules = "" if name == "ours" else START_MODULES
    command = stage.command(name, identity, modules=modules)
    async with stage.booted(name, command, identity) as (_, seconds):
        return seconds


async def measure_memory(run: Run) -> list[Row]:
    """Resident when idle beside bare imports, in pairs; then what commands add."""
    pairs = []
    async with Stage.built(run) as stage:
        for number in range(min(run.rounds, 5)):
            member = await stage.start("ours")
            pairs.append((member.process.resident() / MEBIBYTE, await bare_imports(stage)))
            run.progress(f"memory, round {number + 1}: ours {pairs[-1][0]:.1f}, imports {pairs[-1][1]:.1f} MiB")
            await stage.stop()
        member = await stage.start("ours")
        member.commands.close()
        result = [compared("G8", "resident, idle, 2 connectors / imports", "MiB", pairs, limit=1.10)]
        result.append(Row("G8", "threads", ours=member.process.threads(), limit=3))
        # Without id nothing is remembered; with one the reply is, for 60 s.
        for with_id, what, limit in ((False, "no id", 1.01), (True, "then as many with id", None)):
            before, after = await growth(stage, member.base, member.process, with_id=with_id)
            text = f"resident after {run.memory_commands:,} commands, {what} / before"
            result.append(Row("G8", text, "MiB", after, before, after / before, limit))
        result.append(Row("G8", "threads after them", ours=member.process.threads(), limit=3))
    return result


async def bare_imports(stage: Stage) -> float:
    """MiB of a process that has imported the libraries and nothing else."""
    log = stage.folder / "bare.log"
    log.write_bytes(b"")
    async with peer.Peer.running(peer.bare(BARE_MODULES), log) as process:
        while not log.read_bytes():  # noqa: ASYNC110 - it writes a line when it is ready, and a file wakes nobody
            await asyncio.sleep(0.05)
        return process.resident() / MEBIBYTE


async def growth(stage: Stage, base: str, process: peer.Peer, *, with_id: bool) -> tuple[float, float]:
    """MiB before and after many commands."""
    commands = await Commands.for_base(stage.port, base, with_id=with_id)
    before = process.resident() / MEBIBYTE
    for given in range(0, stage.run.memory_commands, CHUNK):
        await commands.burst(CHUNK, 8)
        now = process.resident() / MEBIBYTE
        stage.run.progress(f"memory, {given + CHUNK} commands: {before:.1f} → {now:.1f} MiB")
    commands.close()
    await asyncio.sleep(stage.run.settle)
    return before, process.resident() / MEBIBYTE


async def measure_idle(run: Run) -> list[Row]:
    """Sleeps that ended, in all threads, scaled to a minute."""
    async with Stage.built(run) as stage:
        members = [await stage.start(name) for name in ("ours", "S")]
        await asyncio.sleep(15)  # the daemon may still wait for hardware, or sample
        before = [member.process.wake_ups() for member in members]
        run.progress(f"idle for {run.idle_seconds:.0f} s")
        await asyncio.sleep(run.idle_seconds)
        counts = [member.process.wake_ups() - count for member, count in zip(members, before, strict=True)]
    ours, reference = (60 * count / run.idle_seconds for count in counts)
    return [Row("G9", "wake-ups when idle", "1/min", ours, reference, limit=20)]
