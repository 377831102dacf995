"""The real process `ocpp16-bridge run`, as a service manager would start it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 15.0  # s; what should take some milliseconds may take long on a busy machine

Sections = Mapping[str, Any]  # tables


def eventually(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.01)


def command_line(*arguments: str) -> list[str]:
    """How to start the program; where coverage is measured, its lines count, too."""
    return [sys.executable, *_coverage(), "-m", "ocpp16_bridge", *arguments]


def _coverage() -> Sequence[str]:
    coverage = sys.modules.get("coverage")
    measuring = coverage and coverage.Coverage.current()
    if not measuring:
        return ()
    data_file = Path(measuring.config.data_file).absolute()
    return "-m", "coverage", "run", "-p", f"--rcfile={REPOSITORY}/pyproject.toml", f"--data-file={data_file}"


def toml(sections: Sections) -> str:
    """Flat tables of strings, numbers, booleans and lists: what JSON writes is TOML, too."""
    tables = (
        [f"[{name}]", *(f"{setting} = {json.dumps(value)}" for setting, value in section.items())]
        for name, section in sections.items()
    )
    return "\n".join(line for table in tables for line in table) + "\n"


class Daemon:
    """One daemon process after the other, with the same configuration and store.

    It must end with status 0 when asked to, and never write a traceback.

    Args:
        folder: for configuration, store and log; made if missing.
        sections: what the configuration file says besides the necessary.
        wrapper: a command that starts the daemon in its own place.

    """

    def __init__(self, folder: Path, sections: Sections, wrapper: Sequence[str] = ()) -> None:
        self.folder = folder
        self.configuration = folder / "config.toml"
        self.storage = folder / "store"
        self._log = folder / "log"
        self._wrapper = wrapper
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        self.configure(sections)

    def configure(self, sections: Sections) -> None:
        """Write the file; it counts from the next start on."""
        necessary: Sections = {
            "charge_point": {"id": "CP001", "vendor": "Example", "model": "Model 1"},
            "storage": {"directory": str(self.storage)},
        }
        merged = {name: {**necessary.get(name, {}), **sections.get(name, {})} for name in {**necessary, **sections}}
        self.configuration.write_text(toml(merged))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and self.running:
            self.terminate()
            assert self.wait() == 0, self.log
        self.kill()
        print(self.log)  # noqa: T201 - pytest shows it where a test failed
        assert error is not None or "Traceback" not in self.log, self.log

    def start(self) -> None:
        arguments = [*self._wrapper, *command_line("run", "--config", str(self.configuration))]
        # Of the surroundings nothing counts that could configure the daemon.
        environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=REPOSITORY
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status."""
        assert self._process is not None
        return self._process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL: nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def queued(self) -> list[Any]:
        """The messages that wait on disk."""
        with sqlite3.connect(f"file:{self.storage}/store.sqlite?mode=ro", uri=True) as database:
            rows = database.execute("SELECT value FROM queued ORDER BY sequence").fetchall()
        database.close()
        return [json.loads(value) for (value,) in rows]
