"""The daemon as it runs in production: a process of its own, started again by somebody when it ends."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Never

from ocpp16_bridge.configuration_file import ENVIRONMENT_PREFIX
from ocpp16_bridge.demo.happenings import DaemonEnded, DaemonStarted, DemoError, Happening
from ocpp16_bridge.demo.process import Process, last_lines

RESTART_AFTER = 1.0  # s, where it did not end by itself in good order; the unit has 5

_FOREIGN = {"CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


async def keep_running(config: Path, log: Path, happened: Callable[[Happening], None]) -> Never:
    """Run the daemon, again and again as systemd does, until cancelled.

    Raises:
        DemoError: the configuration is bad: that is not tried again.

    """
    command = (sys.executable, "-m", "ocpp16_bridge", "run", "--config", str(config))
    while True:
        async with Process(command, log, environment(os.environ)) as daemon:
            happened(DaemonStarted(daemon.id))
            status = await daemon.ended()
        happened(DaemonEnded(status))
        if status == os.EX_CONFIG:
            raise DemoError(f"the daemon does not start:\n{last_lines(log)}")
        if status:
            await asyncio.sleep(RESTART_AFTER)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without what would change the settings, or what is meant for our own process."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _FOREIGN and not name.upper().startswith(ENVIRONMENT_PREFIX)
    }
