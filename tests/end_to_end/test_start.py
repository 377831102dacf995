"""What the daemon does not start with, and the exit status that says so (contract 5)."""

import signal
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Prepare
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually
from tests.end_to_end.site import Site

NOWHERE = {"csms": {"url": "ws://127.0.0.1:9"}, "mqtt": {"port": 9}, "logging": {"level": "info"}}


def test_a_second_daemon_on_the_same_store_ends_with_a_clear_error(site: Site, tmp_path: Path) -> None:
    store = {"directory": str(site.daemon.storage)}
    with Daemon(tmp_path / "second", {**NOWHERE, "storage": store}) as second:
        second.start()

        assert second.wait() == 1

        assert f"{site.daemon.storage} is in use by process {site.daemon.pid}" in second.log
    assert site.works()


def test_a_store_of_a_newer_version_is_left_alone(site: Site) -> None:
    site.daemon.terminate()
    site.daemon.wait()
    with sqlite3.connect(site.daemon.storage / "store.sqlite") as database:
        database.execute("PRAGMA user_version = 999")
    database.close()

    site.daemon.start()

    assert site.daemon.wait() == 78
    assert "install the newer program again" in site.daemon.log


@pytest.mark.parametrize("place", ["/proc/nothing", "/dev/null/store"], ids=["not writable", "no folder"])
def test_a_store_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    with Daemon(tmp_path / "daemon", {**NOWHERE, "storage": {"directory": place}}) as daemon:
        daemon.start()

        assert daemon.wait() == 1

        assert [text for text in ("storage.directory", place) if text not in daemon.log] == []


def test_a_store_that_is_none_is_named(tmp_path: Path) -> None:
    with Daemon(tmp_path / "daemon", NOWHERE) as daemon:
        daemon.storage.mkdir()
        (daemon.storage / "store.sqlite").write_bytes(b"no database" * 100)
        daemon.start()

        assert daemon.wait() == 1

        assert "store.sqlite: file is not a database" in daemon.log


def test_records_that_cannot_be_read_are_named_and_do_not_hold_up_the_start(site: Site) -> None:
    site.daemon.terminate()
    site.daemon.wait()
    with sqlite3.connect(site.daemon.storage / "store.sqlite") as database:
        database.execute("UPDATE record SET value = '{'")
    database.close()

    site.daemon.start()

    site.await_registration()
    assert site.works()
    assert " ERROR   ocpp16_bridge.store: " in site.daemon.log


def test_everything_that_is_wrong_with_the_configuration_is_named_at_once(tmp_path: Path) -> None:
    wrong = {
        "charge_point": {"vendor": "a name of more than 20 characters"},
        "csms": {"url": "http://example.com"},
        "mqtt": {"port": 0},
        "logging": {"level": "loud"},
        "configuration_keys": {"Nonsense": 1},
        "nonsense": {"setting": 1},
    }
    with Daemon(tmp_path / "daemon", wrong) as daemon:
        daemon.start()

        assert daemon.wait() == 78

        named = ("charge_point.vendor", "csms.url", "mqtt.port", "logging.level", "Nonsense", "nonsense")
        assert [setting for setting in named if setting not in daemon.log] == []
        assert not daemon.storage.exists()


def test_the_files_of_the_daemon_are_for_nobody_else(site: Site) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in site.daemon.storage.rglob("*")}

    assert stat.S_IMODE(site.daemon.storage.stat().st_mode) == 0o700
    assert [name for name, mode in modes.items() if mode & 0o077] == []


def test_ready_does_not_wait_for_broker_or_csms_and_the_status_says_what_is_missing(
    prepare: Prepare, tmp_path: Path
) -> None:
    """sd_notify(3); operations 2."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        daemon = prepare(wrapper=("env", f"NOTIFY_SOCKET={tmp_path}/notify", "WATCHDOG_USEC=300000"), **NOWHERE)
        daemon.start()

        lines = [manager.recv(4096).decode() for _ in range(3)]
        assert set(lines) == {
            "READY=1",
            "STATUS=waiting for the broker 127.0.0.1:9; waiting for the CSMS ws://127.0.0.1:9",
            "WATCHDOG=1",
        }

        daemon.terminate()
        assert daemon.wait() == 0
        eventually(lambda: manager.recv(4096) == b"STOPPING=1", "the farewell")


def test_a_signal_that_comes_early_is_obeyed(tmp_path: Path) -> None:
    with Daemon(tmp_path / "daemon", NOWHERE) as daemon:
        daemon.start()
        eventually(daemon.storage.exists, "the store is made")

        daemon.signal(signal.SIGTERM)

        assert daemon.wait() in {0, -signal.SIGTERM}  # to systemd both are a clean end
