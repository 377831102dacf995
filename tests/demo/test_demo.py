"""The whole demo: real broker, real daemon. Whatever ends it, nothing is left behind."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from ocpp.v16.enums import ChargePointStatus

from ocpp16_bridge.demo import demo
from ocpp16_bridge.demo.broker import find_mosquitto
from ocpp16_bridge.demo.happenings import DemoError
from ocpp16_bridge.demo.story import STORY, Stage, Step

WITHIN = 20.0  # s
DEMO = ("-m", "ocpp16_bridge", "demo")
# What comes after the story does not need the whole of it.
SHORT_STORY = (
    "-c",
    "import sys; from ocpp16_bridge.demo import STORY, demo; sys.exit(demo(exit_after_session=False, steps=STORY[:2]))",
)
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class RunningDemo:
    """A demo in a process of its own, and everything it has printed."""

    def __init__(self, *options: str, command: Sequence[str] = DEMO) -> None:
        command = [sys.executable, *command, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.output = ""
        self._arrival = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(WITHIN)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._arrival:
                self.output += line
                self._arrival.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        with self._arrival:
            found = self._arrival.wait_for(lambda: re.search(pattern, self.output), WITHIN)
        assert found, f"{pattern} was not printed:\n{self.output}"
        return found

    @property
    def folder(self) -> Path:
        return Path(self.wait_for(r"their files: (\S+)")[1])

    def children(self, program: str) -> list[int]:
        """Process ids of the broker (`mosquitto`) or of the daemon (`ocpp16_bridge`)."""
        return processes(str(self.folder), program)

    def end(self) -> str:
        """What was written to stderr, when it has ended."""
        self.process.wait(WITHIN)
        assert self.process.stderr is not None
        return self.process.stderr.read()


def processes(*parts: str) -> list[int]:
    """Those whose command lines contain all ``parts``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if all(part in command for part in parts):
            found.append(int(path.parent.name))
    return found


@contextmanager
def nothing_left(running: RunningDemo) -> Iterator[None]:
    folder = running.folder
    yield
    assert processes(str(folder)) == []
    assert not folder.exists()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def test_the_whole_story_is_told_and_nothing_left(capsys: pytest.CaptureFixture[str]) -> None:
    status = demo(exit_after_session=True)

    output = capsys.readouterr().out
    assert status == 0
    headings = re.findall(r"^\d+\. .*", output, re.MULTILINE)
    assert headings == [f"{number}. {step.title}" for number, step in enumerate(STORY, start=1)]
    folder = re.search(r"their files: (\S+)", output)
    assert folder
    assert processes(folder[1]) == []
    assert not Path(folder[1]).exists()


def test_after_the_story_it_goes_on_until_ctrl_c() -> None:
    with RunningDemo(command=SHORT_STORY) as running:
        running.wait_for("Ctrl-C")
        with nothing_left(running):
            began = time.monotonic()
            running.process.send_signal(signal.SIGINT)

            assert running.end() == ""

    assert running.process.returncode == 0
    assert time.monotonic() - began < 3


def test_after_the_story_the_evse_plays_sessions() -> None:
    with RunningDemo(command=SHORT_STORY) as running:
        running.wait_for("Ctrl-C")
        running.wait_for("session 1: a car is plugged in")
        running.wait_for("OCPP  → CSMS   StartTransaction")
        running.wait_for("it charges with|OCPP  → CSMS   StatusNotification .*Charging")


def test_the_lines_to_copy_can_be_used() -> None:
    with RunningDemo(command=SHORT_STORY) as running:
        running.wait_for("The daemon's log:")
        arguments = shlex.split(running.wait_for(r"\n(.* call .*)\n")[1])

        listening = [sys.executable, "-m", "ocpp16_bridge", *arguments[arguments.index("call") :]]
        reply = subprocess.run(listening, capture_output=True, text=True, timeout=WITHIN, check=True).stdout
        listen = shlex.split(running.wait_for(r"\n(mosquitto_sub .*)\n")[1])
        heard = subprocess.run([*listen, "-C", "5"], capture_output=True, text=True, timeout=WITHIN, check=True).stdout
        publish = shlex.split(running.wait_for(r"\n(mosquitto_pub .*/set_configuration_key .*)\n")[1])
        subprocess.run(publish, timeout=WITHIN, check=True)

        assert json.loads(reply)["data"]["configuration_keys"][0]["key"] == "HeartbeatInterval"
        assert len(heard.splitlines()) == 5
        running.wait_for(r"ocpp16/response/set_configuration_key .*Accepted")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(("options", "status"), [((), 0), (("--exit-after-session",), 1)], ids=["until", "session"])
def test_interrupted_in_the_middle_it_leaves_nothing(
    number: signal.Signals, options: tuple[str, ...], status: int
) -> None:
    """A session that was not whole is none."""
    with RunningDemo(*options) as running:
        running.wait_for("\n4\\. ")
        with nothing_left(running):
            running.process.send_signal(number)

            assert running.end() == ""

    assert running.process.returncode == status


def test_interrupted_at_its_very_beginning_it_leaves_nothing() -> None:
    with RunningDemo() as running, nothing_left(running):
        running.process.terminate()

        assert running.end() == ""

    assert running.process.returncode == 0


def test_a_terminal_that_is_closed_under_nohup_ends_nothing() -> None:
    command = "trap '' HUP; exec \"$0\" -m ocpp16_bridge demo --exit-after-session"
    with subprocess.Popen(["sh", "-c", command, sys.executable], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)

        process.stdout.read()

    assert process.returncode == 0


def test_when_nobody_reads_any_longer_it_ends_and_leaves_nothing() -> None:
    command = [sys.executable, "-m", "ocpp16_bridge", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    folder = process.stdout.readline().split()[-1]
    process.stdout.close()

    assert process.wait(WITHIN) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert processes(folder) == []
    assert not Path(folder).exists()


def test_a_broker_that_dies_ends_the_demo() -> None:
    with RunningDemo(command=SHORT_STORY) as running:
        running.wait_for("Ctrl-C")
        (broker,) = running.children("mosquitto.conf")
        with nothing_left(running):
            os.kill(broker, signal.SIGKILL)

            error = running.end()

    assert running.process.returncode == 1
    assert "FAILED" in error
    assert "Traceback" not in error


def test_a_daemon_that_dies_is_started_again() -> None:
    with RunningDemo(command=SHORT_STORY) as running:
        running.wait_for("The daemon's log:")
        (daemon,) = running.children("ocpp16_bridge")
        os.kill(daemon, signal.SIGKILL)

        running.wait_for("exit status -9")
        wait_until(lambda: running.children("ocpp16_bridge") not in ([], [daemon]), "another daemon")


async def _never(stage: Stage) -> None:
    await stage.happenings.until("a miracle", lambda _: False)


async def _fail(_stage: Stage) -> None:
    raise DemoError("the cake is a lie")


def our_children() -> list[int]:
    return [
        int(process_id)
        for task in Path("/proc/self/task").iterdir()
        for process_id in (task / "children").read_text().split()
    ]


async def _kill_the_children(stage: Stage) -> None:
    for process_id in our_children():
        os.kill(process_id, signal.SIGKILL)
    await stage.program.subscribe()
    await _never(stage)


@pytest.mark.parametrize(
    ("act", "text"),
    [(_fail, "step 2 failed: the cake is a lie"), (_kill_the_children, "the broker")],
    ids=["refused", "children gone"],
)
def test_a_step_that_fails_is_named_and_exit_status_1(
    act: Callable[[Stage], object], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = (STORY[0], Step("It goes wrong.", act))  # type: ignore[arg-type] # a function that awaits nothing

    status = demo(exit_after_session=False, steps=steps)

    streams = capsys.readouterr()
    assert status == 1
    assert text in streams.err
    assert our_children() == []
    assert "\n2. It goes wrong.\n" in streams.out


async def _leave_at_once(stage: Stage) -> None:
    """A session in which nobody charges."""
    await stage.evse.plug()
    await stage.csms_is_told(ChargePointStatus.preparing)
    await stage.evse.unplug()
    await stage.csms_is_told(ChargePointStatus.available)


def test_a_session_that_is_not_whole_is_named_and_exit_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    books = next(step for step in STORY if "books" in step.title)

    status = demo(exit_after_session=True, steps=(STORY[0], Step("A short visit.", _leave_at_once), books))

    assert status == 1
    error = capsys.readouterr().err
    assert "missing: StartTransaction, Charging, MeterValues, SuspendedEV, Charging, StopTransaction" in error
    assert "there was: Available, Preparing, Available" in error


async def _interrupt_soon(_stage: Stage) -> None:
    asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGINT)


@pytest.mark.parametrize("and_then", [(), (Step("It never ends.", _never),)], ids=["after the story", "within"])
def test_an_interruption_ends_it_with_status_0(and_then: tuple[Step, ...], capsys: pytest.CaptureFixture[str]) -> None:
    status = demo(exit_after_session=False, steps=(Step("Soon.", _interrupt_soon), *and_then))

    assert status == 0
    assert ("Ctrl-C" in capsys.readouterr().out) == (not and_then)
    assert our_children() == []


def test_without_mosquitto_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(exit_after_session=True, find_broker=lambda: None) == 1

    assert capsys.readouterr().err == "the program mosquitto is missing: apt install mosquitto\n"


@pytest.mark.parametrize("path", ["/usr/bin:/usr/sbin", "/nowhere", ""])
def test_mosquitto_is_found_off_the_path_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path)

    assert find_mosquitto() == "/usr/sbin/mosquitto"


def test_a_broker_that_does_not_start_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(exit_after_session=True, find_broker=lambda: "/bin/false") == 1

    assert "mosquitto does not start" in capsys.readouterr().err


def test_settings_of_the_environment_do_not_reach_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP16_BRIDGE_MQTT__PORT", "1")

    assert demo(exit_after_session=True, steps=STORY[:1]) == 0
