"""The children of the demo: how they are started, watched and ended."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from ocpp16_bridge.demo import process
from ocpp16_bridge.demo.broker import Broker
from ocpp16_bridge.demo.daemon_process import environment, keep_running
from ocpp16_bridge.demo.happenings import DaemonEnded, DemoError, Happening
from ocpp16_bridge.demo.process import Process, last_lines

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_a_bad_configuration_is_not_tried_again(tmp_path: Path) -> None:
    happened: list[Happening] = []
    (tmp_path / "config.toml").write_text("nonsense = 1")

    with pytest.raises(DemoError, match="nonsense"):
        asyncio.run(keep_running(tmp_path / "config.toml", tmp_path / "log", happened.append))

    assert happened[1:] == [DaemonEnded(78)]


def test_the_daemon_has_its_settings_from_the_file_only() -> None:
    environ = {"PATH": "/bin", "OCPP16_BRIDGE_MQTT__PORT": "1", "ocpp16_bridge_x": "1", "NOTIFY_SOCKET": "/run/x"}

    assert environment(environ) == {"PATH": "/bin"}


async def _end_a_deaf_one(log: Path, *, interrupted: bool) -> float:
    """How long it takes to end a process that ignores SIGTERM, s."""

    ending = asyncio.Event()

    async def run() -> None:
        async with Process((sys.executable, "-c", DEAF), log):
            await asyncio.to_thread(_await_line, log)
            ending.set()

    running = asyncio.create_task(run())
    await ending.wait()
    began = time.monotonic()
    if interrupted:
        running.cancel()
    await asyncio.wait((running,))
    return time.monotonic() - began


def _await_line(log: Path) -> None:
    deadline = time.monotonic() + 5
    while not last_lines(log):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("interrupted", [True, False], ids=["at once when interrupted again", "after a while"])
def test_a_child_that_does_not_listen_is_killed(tmp_path: Path, interrupted: bool) -> None:
    seconds = asyncio.run(_end_a_deaf_one(tmp_path / "log", interrupted=interrupted))

    assert (seconds < process.STOP_WITHIN) == interrupted


def test_a_broker_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async def wait() -> None:
        async with Process((sys.executable, "-c", DEAF), tmp_path / "log") as child:
            await Broker(child, tmp_path / "log", 9, within=0.1).answers()

    with pytest.raises(DemoError, match="mosquitto does not answer on port 9"):
        asyncio.run(wait())


@pytest.mark.parametrize(
    ("text", "end"), [("", ""), ("1\n2\n3\n", "2\n3"), ("1\n", "1"), (None, "")], ids=["empty", "long", "short", "none"]
)
def test_the_last_lines_of_a_log(tmp_path: Path, text: str | None, end: str) -> None:
    log = tmp_path / "log"
    if text is not None:
        log.write_text(text)

    assert last_lines(log, 2) == end
