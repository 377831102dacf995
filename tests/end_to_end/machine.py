"""`ocpp16-bridge run` on a machine that can lose its power: its boot id stands in a file."""

import os
import sys
from pathlib import Path

from ocpp16_bridge import logs
from ocpp16_bridge.daemon import run
from tests.end_to_end.daemon import _coverage


class Machine:
    """A machine by its boot id.

    Args:
        folder: where the file lies.

    """

    def __init__(self, folder: Path) -> None:
        self._boot_id = folder / "boot_id"
        self._boots = 0
        self.reboot()

    def reboot(self) -> None:
        """Lose the power, and get it back: who reads the boot id from now on reads another one."""
        self._boots += 1
        self._boot_id.write_text(f"boot {self._boots}\n")

    @property
    def wrapper(self) -> list[str]:
        """Starts the daemon of the command line that follows."""
        return [sys.executable, *_coverage(), "-m", __name__, str(self._boot_id)]


def main() -> None:
    """Arguments: the boot id's file, and a command line of `ocpp16-bridge run --config FILE`."""
    os.umask(0o077)
    logs.configure_logging("info", os.environ)
    run(Path(sys.argv[-1]), os.environ, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
