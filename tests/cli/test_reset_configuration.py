"""`reset-configuration` on the store of a charge point."""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ocpp16_bridge.cli.reset_configuration import reset_configuration
from ocpp16_bridge.store import Store
from ocpp16_bridge.turn import Turns
from tests.conftest import MakeStation
from tests.station import CONFIG

SECRET = "0123456789abcdef0123456789abcdef"
STORED = {"HeartbeatInterval": "60", "AuthorizationKey": SECRET, "TariffUrl": "https://example.com/new"}
CUSTOM = '[custom_configuration_keys.TariffUrl]\ntype = "string"\nvalue = "https://example.com"'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The file of a charge point whose store has STORED."""
    path = tmp_path / "config.toml"
    path.write_text(f'{CONFIG}\n{CUSTOM}\n[storage]\ndirectory = "{tmp_path}/store"')
    write_store(tmp_path, STORED)
    return path


def write_store(folder: Path, values: dict[str, str]) -> None:
    with closing(Store(folder / "store")) as store:
        collection = store.collection("configuration_key", str)
        with Turns(store).turn():
            for name, value in values.items():
                collection.put(name, value)


def stored(config: Path) -> dict[str, str]:
    with closing(Store(config.parent / "store")) as store:
        return dict(store.collection("configuration_key", str).items())


def test_the_named_key_is_forgotten_in_any_case(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reset_configuration(config, ["heartbeatINTERVAL"]) == 0

    assert stored(config) == {name: STORED[name] for name in ("AuthorizationKey", "TariffUrl")}
    assert capsys.readouterr().out == "forgotten: HeartbeatInterval = 60\n"


def test_without_names_all_are_forgotten_and_secrets_not_shown(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reset_configuration(config, []) == 0

    assert stored(config) == {}
    assert capsys.readouterr().out.splitlines() == [
        "forgotten: AuthorizationKey",
        "forgotten: HeartbeatInterval = 60",
        "forgotten: TariffUrl = https://example.com/new",
    ]


def test_a_key_that_is_no_longer_declared_is_forgotten_with_all(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store(config.parent, {"FormerKey": "secret, perhaps"})

    assert reset_configuration(config, []) == 0

    assert stored(config) == {}
    assert "forgotten: FormerKey\n" in capsys.readouterr().out


def test_a_key_without_a_stored_value_is_told_apart(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reset_configuration(config, ["meterValueSampleInterval", "TariffUrl", "cpoName"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "forgotten: TariffUrl = https://example.com/new"
    assert "not stored: CpoName" in lines


def test_an_unknown_key_leaves_everything_as_it_was(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reset_configuration(config, ["HeartbeatInterval", "HartbeatInterval", "Foo"]) == 1

    assert stored(config) == STORED
    assert "no configuration key HartbeatInterval, Foo" in capsys.readouterr().err


def test_a_running_daemon_is_not_disturbed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Store(config.parent / "store")):
        assert reset_configuration(config, []) == 1

    assert "is in use by process" in capsys.readouterr().err
    assert stored(config) == STORED


def test_where_nothing_is_stored_no_store_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'{CONFIG}\n[storage]\ndirectory = "{tmp_path}/store"')

    assert reset_configuration(config, []) == 0

    assert not (tmp_path / "store").exists()
    assert "nothing is stored" in capsys.readouterr().out


def test_an_empty_store_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reset_configuration(config, []) == 0
    capsys.readouterr()

    assert reset_configuration(config, []) == 0

    assert capsys.readouterr().out == "no configuration key is stored\n"


def test_a_bad_configuration_is_exit_status_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"{CONFIG}\n[configuration_keys]\nNoSuchKey = 1")

    assert reset_configuration(config, []) == 78
    assert "NoSuchKey" in capsys.readouterr().err


def test_a_store_of_a_newer_version_is_exit_status_78(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Store(config.parent / "store")) as store, Turns(store).turn():
        store.write("PRAGMA user_version = 999", (), lambda: None)

    assert reset_configuration(config, []) == 78
    assert "install the newer program" in capsys.readouterr().err


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Every user may look into it, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("readable", [False, True], ids=["folder 0700, as the daemon's", "folder 0755"])
def test_another_user_is_told_who_may(shared_folder: Path, readable: bool) -> None:
    config = shared_folder / "config.toml"
    config.write_text(f'{CONFIG}\n[storage]\ndirectory = "{shared_folder}/store"')
    write_store(shared_folder, STORED)
    (shared_folder / "store").chmod(0o755 if readable else 0o700)
    program = (
        "import os, pathlib, sys\n"
        "from ocpp16_bridge.cli.reset_configuration import reset_configuration\n"
        f"os.setuid({pwd.getpwnam('nobody').pw_uid})\n"
        "sys.exit(reset_configuration(pathlib.Path(sys.argv[1]), []))"
    )

    command = [sys.executable, "-c", program, str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert ended.returncode == 1
    assert "Permission denied" in ended.stderr
    assert "run this as root or as the daemon's user" in ended.stderr
    assert stored(config) == STORED


def test_the_first_value_of_the_file_holds_again_at_the_next_start(make_station: MakeStation) -> None:
    station = make_station("[configuration_keys]\nHeartbeatInterval = 120")
    assert station.ask("set_configuration_key", key="HeartbeatInterval", value="60") == "Accepted"
    station.close()

    assert reset_configuration(station.directory / "config.toml", ["HeartbeatInterval"]) == 0

    station._start_process()
    station.connect_broker()
    (key,) = station.ask("get_configuration_key", keys=["HeartbeatInterval"])["configuration_keys"]
    assert key["value"] == "120"
