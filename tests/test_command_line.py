"""The command line and its exit statuses (contract 5)."""

import subprocess
import sys
from pathlib import Path

import pytest

from ocpp16_bridge import __version__
from ocpp16_bridge.__main__ import main

GOOD = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"
[csms]
url = "ws://127.0.0.1:9000"
"""

COMMANDS = ("run", "check-config", "call", "reset-configuration", "simulate", "demo")
NO_SPEED = ("simulate", "--speed", "-1")


def status(*arguments: str) -> object:
    """How the program would end."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


def test_the_program_can_be_started_as_a_module() -> None:
    command = [sys.executable, "-m", "ocpp16_bridge", "--version"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])

    assert result.stdout == f"ocpp16-bridge {__version__}\n"


def test_version_says_which_one_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == 0

    assert capsys.readouterr().out == f"ocpp16-bridge {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0

    out = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in out] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(command, "--help") == 0

    assert f"usage: ocpp16-bridge {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "demo"])
def test_every_command_that_needs_a_configuration_says_where_it_is_looked_for(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status(command, "--help")

    assert "/etc/ocpp16-bridge/config.toml" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "line",
    [(), ("fly",), ("run", "--fast"), ("check-config", "--config"), ("simulate", "--sessions", "0"), NO_SPEED],
    ids=lambda line: " ".join(line) or "nothing",
)
def test_a_line_that_makes_no_sense_is_status_1(line: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Not argparse's 2, which is the time-out of `call`."""
    assert status(*line) == 1

    assert capsys.readouterr().err.startswith("usage: ocpp16-bridge ")


def test_check_config_finds_nothing_wrong_with_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(GOOD)

    assert status("check-config", "--config", str(path)) == 0

    assert capsys.readouterr() == (f"{path}: good\n", "")


def test_check_config_finds_nothing_wrong_with_the_file_that_is_shipped() -> None:
    assert status("check-config", "--config", str(Path(__file__).parents[1] / "config/config.toml")) == 0


def test_check_config_names_everything_that_is_wrong_one_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(GOOD.replace("ws://", "http://") + '[mqtt]\nport = "many"\n[configuration_keys]\nNonsense = 1\n')

    assert status("check-config", "--config", str(path)) == 78

    out, err = capsys.readouterr()
    named = [setting for setting in ("csms.url", "mqtt.port", "Nonsense") if f"{path}: " in err and setting in err]
    assert (out, named, len(err.splitlines())) == ("", ["csms.url", "mqtt.port", "Nonsense"], 3)


def test_check_config_without_a_file_is_status_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("check-config", "--config", str(tmp_path / "nowhere.toml")) == 78

    assert "nowhere.toml" in capsys.readouterr().err
