"""The service manager's and the journal's side of the protocols, played by sockets."""

import io
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocpp16_bridge import systemd


class Listener:
    """A datagram socket in the place of systemd's or journald's."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(5)
        self._socket.bind(address)

    def received(self) -> bytes:
        return self._socket.recv(1 << 20)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    name = str(tmp_path / "notify") if request.param == "path" else f"ocpp16-bridge-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name if request.param == "path" else f"@{name}")
    listener = Listener(name if request.param == "path" else f"\0{name}")
    yield listener
    listener.close()


@pytest.mark.parametrize(
    ("call", "datagram"),
    [
        pytest.param(systemd.ready, b"READY=1", id="ready"),
        pytest.param(systemd.reloading, b"RELOADING=1", id="reloading"),
        pytest.param(systemd.stopping, b"STOPPING=1", id="stopping"),
        pytest.param(systemd.watchdog, b"WATCHDOG=1", id="watchdog"),
        pytest.param(lambda: systemd.status("waiting for\nthe broker"), b"STATUS=waiting for the broker", id="status"),
        pytest.param(lambda: systemd.notify("READY=1", "STATUS=up"), b"READY=1\nSTATUS=up", id="several lines"),
    ],
)
def test_the_service_manager_is_told(manager: Listener, call: Callable[[], None], datagram: bytes) -> None:
    call()

    assert manager.received() == datagram


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "@nobody-listens"])
def test_no_service_manager_is_no_error(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.ready()


@pytest.mark.parametrize(
    ("microseconds", "watched", "interval"),
    [
        pytest.param(None, None, None, id="not watched"),
        pytest.param("60000000", None, 20.0, id="a third of the time allowed"),
        pytest.param("60000000", str(os.getpid()), 20.0, id="this process is watched"),
        pytest.param("60000000", "1", None, id="another process is watched"),
        pytest.param("0", None, None, id="switched off"),
        pytest.param("soon", None, None, id="not a number"),
    ],
)
def test_watchdog_interval(
    microseconds: str | None, watched: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", watched)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)

    assert systemd.watchdog_interval() == interval


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Listener]:
    listener = Listener(str(tmp_path / "journal"))
    yield listener
    listener.close()


@pytest.fixture
def log(journal: Listener) -> Iterator[logging.Logger]:
    """A logger whose records go to `journal`."""
    handler = systemd.journal_handler({"JOURNAL_STREAM": stream_of_stderr()}, journal.address)
    assert handler is not None
    logger = logging.Logger("ocpp16_bridge.somewhere")  # noqa: LOG001 - belongs to no hierarchy: nobody else sees its records
    logger.addHandler(handler)
    yield logger
    handler.close()


def stream_of_stderr() -> str:
    stderr = os.fstat(2)
    return f"{stderr.st_dev}:{stderr.st_ino}"


def fields(datagram: bytes) -> dict[str, str]:
    """Read the journal's native protocol as journald does."""
    found = {}
    stream = io.BytesIO(datagram)
    while line := stream.readline().removesuffix(b"\n"):
        name, is_short, value = line.partition(b"=")
        if not is_short:
            value = stream.read(int.from_bytes(stream.read(8), "little"))
            assert stream.read(1) == b"\n"
        found[name.decode()] = value.decode()
    return found


def test_a_record_becomes_a_journal_entry_with_fields(journal: Listener, log: logging.Logger) -> None:
    log.warning("no answer within %s s", 30, extra={"ocpp_action": "Heartbeat", "ocpp_message_id": "7"})

    entry = fields(journal.received())
    assert entry.pop("CODE_LINE").isdecimal()
    assert entry == {
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "ocpp16-bridge",
        "MESSAGE": "no answer within 30 s",
        "LOGGER": "ocpp16_bridge.somewhere",
        "CODE_FILE": __file__,
        "OCPP_ACTION": "Heartbeat",
        "OCPP_MESSAGE_ID": "7",
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [("critical", 2), ("error", 3), ("warning", 4), ("info", 6), ("debug", 7)],
)
def test_levels_are_syslog_priorities(journal: Listener, log: logging.Logger, level: str, priority: int) -> None:
    log.log(logging.getLevelNamesMapping()[level.upper()], "something")

    assert fields(journal.received())["PRIORITY"] == str(priority)


def test_a_message_of_several_lines_stays_one_entry(journal: Listener, log: logging.Logger) -> None:
    log.info("first\nPRIORITY=0\nlast")

    entry = fields(journal.received())
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("first\nPRIORITY=0\nlast", "6")


def test_a_traceback_is_part_of_the_message(journal: Listener, log: logging.Logger) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("a handler failed")

    message = fields(journal.received())["MESSAGE"]
    assert message.startswith("a handler failed\nTraceback")
    assert message.endswith("ZeroDivisionError: division by zero")


def test_a_huge_message_is_cut(journal: Listener, log: logging.Logger) -> None:
    log.info("%s", "x" * 1_000_000)

    assert len(fields(journal.received())["MESSAGE"]) == 48 * 1024


def test_a_journal_that_does_not_read_costs_lines_but_stops_nobody(
    journal: Listener, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    while "TimeoutError" not in capsys.readouterr().err:  # until the socket's queue is full
        log.info("%s", "x" * 40_000)

    assert fields(journal.received())["MESSAGE"].startswith("x")


@pytest.mark.parametrize(
    "stream",
    [pytest.param(None, id="no journal"), pytest.param("1:1", id="stderr was redirected since")],
)
def test_without_the_journal_on_stderr_there_is_no_handler(journal: Listener, stream: str | None) -> None:
    environ = {} if stream is None else {"JOURNAL_STREAM": stream}

    assert systemd.journal_handler(environ, journal.address) is None


def test_a_missing_journal_socket_is_no_error(tmp_path: Path) -> None:
    assert systemd.journal_handler({"JOURNAL_STREAM": stream_of_stderr()}, str(tmp_path / "nothing")) is None
