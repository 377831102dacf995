"""A private broker, a light CSMS, and the peers beside each other: all of them run, one at a time works."""

import asyncio
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.benchmarks import load, peer
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.csms import Csms, Station

READY_TIMEOUT = 20.0  # s from BootNotification to the first command that goes through


@dataclasses.dataclass(frozen=True)
class Run:
    """What was asked for. `ours` is `daemon`, or the name of a reference that takes its place."""

    goals: frozenset[str]
    ours: str
    rounds: int
    burst: int  # commands per peer and round
    memory_commands: int
    idle_seconds: float
    settle: float = 1.0  # s a peer is left alone after its start

    def wants(self, *goals: str) -> bool:
        return not self.goals.isdisjoint(goals)

    def progress(self, text: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        sys.stderr.flush()


@dataclasses.dataclass(frozen=True)
class Member:
    """A peer that is ready: its process, its connection at the CSMS, a session that gives it commands."""

    name: str
    base: str
    process: peer.Peer
    station: Station
    commands: load.Commands


class Stage:
    def __init__(self, run: Run, folder: Path, port: int, csms: Csms, members: contextlib.AsyncExitStack) -> None:
        self.run = run
        self.folder = folder
        self.port = port
        self.csms = csms
        self.members = members
        self.keys: Path | None = None  # what the references answer to GetConfiguration

    @classmethod
    @contextlib.asynccontextmanager
    async def built(cls, run: Run, *, no_delay: bool = True) -> AsyncIterator["Stage"]:
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
            port = stack.enter_context(mosquitto(no_delay=no_delay))
            csms = await stack.enter_async_context(Csms.running())
            members = await stack.enter_async_context(contextlib.AsyncExitStack())
            yield cls(run, folder, port, csms, members)

    def command(self, name: str, identity: str, *, custom_keys: int = 0, modules: str = "") -> list[str]:
        """The command line of `ours` or of a reference."""
        if (name, self.run.ours) == ("ours", "daemon"):
            return peer.daemon(self.folder, self.port, self.csms.url(), identity, identity, custom_keys)
        more = ["--keys", str(self.keys)] if self.keys else []
        program = self.run.ours if name == "ours" else name
        return peer.reference(
            program, self.port, self.csms.url(), identity, identity, *more, *(["--import", modules] if modules else [])
        )

    @contextlib.asynccontextmanager
    async def booted(self, name: str, command: list[str], identity: str) -> AsyncIterator[tuple[peer.Peer, float]]:
        """A process that has sent its BootNotification; gives the process and the seconds from exec to then.

        Raises:
            RuntimeError: it sent none.
        """
        log = self.folder / f"{identity}.log"
        async with peer.Peer.running(command, log) as process:
            try:
                moment = await self.csms.boot(identity)
            except TimeoutError:
                raise RuntimeError(f"{name} sent no BootNotification:\n{log.read_text()[-2000:]}") from None
            yield process, moment - process.started

    async def hardware_facts(self, base: str) -> None:
        """What a charger's hardware says, retained, so that the daemon has nothing to wait for."""
        client = await load.Client.connect(self.port, lambda *_: None)
        for connector in (1, 2):
            topic = f"{base}/hardware/connector/{connector}/state"
            await client.ask(load.publish(topic, b'{"plugged":false}', retain=True))
        client.close()

    async def start(self, name: str, *, qos: int = 1, custom_keys: int = 0) -> Member:
        """Starts a peer that runs until the stage is taken down or `stop` is called."""
        identity = name.replace("'", "2")
        await self.hardware_facts(identity)
        command = self.command(name, identity, custom_keys=custom_keys)
        process, _ = await self.members.enter_async_context(self.booted(name, command, identity))
        commands = await load.Commands.for_base(self.port, identity, qos=qos)
        self.members.callback(commands.close)
        await ready(commands)
        await asyncio.sleep(self.run.settle)
        return Member(name, identity, process, self.csms.stations[identity], commands)

    async def stop(self) -> None:
        """Ends all peers."""
        await self.members.aclose()


async def ready(commands: load.Commands) -> None:
    """Waits until a command goes through.

    Raises:
        RuntimeError: none does; with the last reply.
    """
    end = time.monotonic() + READY_TIMEOUT
    while True:
        try:
            await commands.burst(1)
        except RuntimeError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def in_turn(members: Sequence[Member], number: int) -> Sequence[Member]:
    """The order of a round: forth in one, back in the next."""
    return members[::-1] if number % 2 else members
