"""A private mosquitto on a free port of the loopback."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Never

from ocpp16_bridge.demo.happenings import DemoError
from ocpp16_bridge.demo.process import Process, last_lines

HOST = "127.0.0.1"
START_WITHIN = 5.0  # s


def find_mosquitto() -> str | None:
    """The program, also where Debian has it, which is not on the path of users; None: it isn't installed."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which("mosquitto", path=os.pathsep.join((path, "/usr/sbin", "/usr/local/sbin")))


class Broker:
    """Answers from the beginning of the block of `private_broker` to its end."""

    def __init__(self, process: Process, log: Path, port: int, within: float = START_WITHIN) -> None:
        self._process = process
        self._log = log
        self._within = within
        self.port = port

    async def answers(self) -> None:
        """Return when it does.

        Raises:
            DemoError: it doesn't.

        """
        try:
            async with asyncio.timeout(self._within):
                while not await _is_open(self.port):
                    if self._process.has_ended:
                        raise DemoError(f"mosquitto does not start:\n{last_lines(self._log)}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise DemoError(f"mosquitto does not answer on port {self.port}:\n{last_lines(self._log)}") from None

    async def watch(self) -> Never:
        """Raise DemoError as soon as it ends."""
        status = await self._process.ended()
        raise DemoError(f"the broker ended (status {status}):\n{last_lines(self._log)}")


@asynccontextmanager
async def private_broker(program: str, folder: Path) -> AsyncIterator[Broker]:
    """A broker for the time of the block; its files are put into ``folder``.

    Raises:
        DemoError: it doesn't start.

    """
    port = _free_port()
    configuration = folder / "mosquitto.conf"
    configuration.write_text(f"listener {port} {HOST}\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n")
    configuration.chmod(0o644)  # started by root, mosquitto goes on as a user of its own
    log = folder / "mosquitto.log"
    async with Process((program, "-c", str(configuration)), log) as process:
        broker = Broker(process, log, port)
        await broker.answers()
        yield broker


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
