"""What the daemon does when its own parts fail, and the threads it leaves behind; in this process."""

import asyncio
import logging
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ocpp16_bridge.charge_point import check
from ocpp16_bridge.configuration_file import load_settings
from ocpp16_bridge.daemon import Daemon, PassingThreads
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.store import Store, StoreError
from tests.broker import Broker
from tests.end_to_end.daemon import PATIENCE, toml
from tests.mqtt_client import LocalProgram


class BrokenLine:
    """A connection to the CSMS with a defect: it fails as soon as it is wanted."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()

    def open(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        await self._wanted.wait()
        raise ZeroDivisionError


class ReadOnlyStore:
    def check_writable(self) -> None:
        raise StoreError("the disk has become read-only")


@pytest.fixture
def settings(tmp_path: Path, broker: Broker) -> Settings:
    path = tmp_path / "config.toml"
    sections = {
        "charge_point": {"id": "CP001", "vendor": "Example", "model": "Model 1"},
        "csms": {"url": "ws://127.0.0.1:9"},
        "mqtt": {"port": broker.port},
        "storage": {"directory": str(tmp_path / "store")},
    }
    path.write_text(toml(sections))
    return load_settings(path, {}, check)


def test_a_part_that_fails_ends_the_daemon_and_does_not_leave_it_shown_as_online(
    settings: Settings, program: LocalProgram
) -> None:
    async def serve(store: Store) -> None:
        daemon = Daemon(settings, store, asyncio.get_running_loop(), "boot")
        daemon._csms = BrokenLine()  # type: ignore[assignment] # has what the daemon uses of it
        await asyncio.wait_for(daemon.serve(), PATIENCE)

    with closing(Store(settings.storage.directory)) as store, pytest.raises(ExceptionGroup) as raised:
        asyncio.run(serve(store))

    assert raised.group_contains(ZeroDivisionError)
    program.wait_for("ocpp16/state", lambda message: message.text == "offline")


def test_the_end_of_the_loop_waits_for_no_thread() -> None:
    forever = threading.Event()

    async def ask_a_dead_name_server() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads())
        asked = loop.run_in_executor(None, forever.wait)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked, 0.01)

    asyncio.run(ask_a_dead_name_server())

    (thread,) = [each for each in threading.enumerate() if each.name == "wait for the network"]
    assert thread.daemon  # the interpreter does not wait either
    forever.set()
    thread.join(PATIENCE)


def test_a_thread_brings_back_what_it_found_or_what_went_wrong() -> None:
    threads = PassingThreads()

    assert threads.submit(int, "7").result(PATIENCE) == 7
    with pytest.raises(ValueError, match="seven"):
        threads.submit(int, "seven").result(PATIENCE)


def test_a_second_reason_to_end_is_no_news(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async def end_twice(store: Store) -> None:
        daemon = Daemon(settings, store, asyncio.get_running_loop(), "boot")
        daemon.end("SIGTERM")
        daemon.end("SIGINT")

    with closing(Store(settings.storage.directory)) as store, caplog.at_level(logging.INFO, "ocpp16_bridge"):
        asyncio.run(end_twice(store))

    assert [record.getMessage() for record in caplog.records if "ending" in record.getMessage()] == ["ending: SIGTERM"]


@pytest.mark.parametrize("writable", [True, False], ids=["a store that works", "a store that fails"])
def test_the_watchdog_gets_its_sign_of_life_only_while_the_store_can_be_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, writable: bool
) -> None:
    async def give_sign_of_life(store: Store) -> None:
        daemon = Daemon(settings, store, asyncio.get_running_loop(), "boot")
        if not writable:
            daemon._store = ReadOnlyStore()  # type: ignore[assignment] # has what is asked of it here
        daemon._give_sign_of_life()

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        closing(Store(settings.storage.directory)) as store,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)

        asyncio.run(give_sign_of_life(store))

        assert received(manager) == ([b"WATCHDOG=1"] if writable else [])


def received(manager: socket.socket) -> list[bytes]:
    try:
        return [manager.recv(4096)]
    except BlockingIOError:
        return []
