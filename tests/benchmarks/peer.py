"""The processes under measurement: the daemon, the references, bare imports. All run on the same processors."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
END_TIMEOUT = 10.0  # s
# An installed package has its .pyc files; without them each start compiles, which takes its time and memory.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
REFERENCES = {"S": "straight_line", "S'": "straight_line", "T": "hooked", "O": "ocpp_defaults"}

CONFIGURATION = """\
[charge_point]
id = "{identity}"
vendor = "Example"
model = "Model 1"
[[connectors]]
[[connectors]]
[csms]
url = "{csms}"
[mqtt]
port = {port}
base_topic = "{base}"
[storage]
directory = "{storage}"
[logging]
level = "info"
"""
# Keys of its own fill the daemon's configuration up to the number that is measured.
CUSTOM_KEY = """\
[custom_configuration_keys.BenchmarkKey{number:02}]
type = "string"
value = "{number}"
"""


def processors() -> tuple[set[int], set[int]]:
    """The processors of the peers, and those of broker, load and CSMS; the same where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return {available[-1]}, set(available[:-1]) or {available[-1]}


PEER_PROCESSORS, OTHER_PROCESSORS = processors()


def daemon(folder: Path, port: int, csms: str, identity: str, base: str, custom_keys: int = 0) -> list[str]:
    """Writes the daemon's configuration file; returns its command line."""
    storage = folder / identity
    storage.mkdir(exist_ok=True)
    text = CONFIGURATION.format(identity=identity, csms=csms, port=port, base=base, storage=storage)
    text += "".join(CUSTOM_KEY.format(number=number) for number in range(custom_keys))
    file = folder / f"{identity}.toml"
    file.write_text(text)
    return [sys.executable, "-m", "ocpp16_bridge", "run", "--config", str(file)]


def reference(name: str, port: int, csms: str, identity: str, base: str, *more: str) -> list[str]:
    """The command line of a reference."""
    module = f"tests.benchmarks.reference.{REFERENCES[name]}"
    arguments = ["--mqtt-port", str(port), "--csms", f"{csms}/{identity}", "--base", base]
    return [sys.executable, "-m", module, *arguments, *more]


def bare(modules: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.reference.bare", modules]


class Peer:
    """A running process: what it has used so far."""

    def __init__(self, process: asyncio.subprocess.Process, started: float) -> None:
        self.process = process
        self.started = started  # perf_counter, before exec
        self.folder = Path(f"/proc/{process.pid}")

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, command: list[str], log: Path) -> AsyncIterator["Peer"]:
        """Starts a process; ends it with SIGTERM. Its output goes to a file."""
        with log.open("ab") as output, on(PEER_PROCESSORS):
            started = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=output, stderr=output
            )
        peer = cls(process, started)
        try:
            yield peer
        finally:
            await peer.end()

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), END_TIMEOUT)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def cpu(self) -> float:
        """User and system time, s. /proc/PID/stat has the same in steps of 10 ms; this is clock_getcpuclockid(3)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident(self) -> int:
        """Bytes."""
        return self.status("VmRSS", self.folder) * 1024

    def threads(self) -> int:
        return self.status("Threads", self.folder)

    def wake_ups(self) -> int:
        """How often its threads went to sleep so far."""
        return sum(self.status("voluntary_ctxt_switches", thread) for thread in (self.folder / "task").iterdir())

    @staticmethod
    def status(name: str, folder: Path) -> int:
        lines = (line.partition(":") for line in (folder / "status").read_text().splitlines())
        return next(int(value.split()[0]) for key, _, value in lines if key == name)


@contextlib.contextmanager
def on(cpus: set[int]) -> Iterator[None]:
    """What is started meanwhile inherits these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
