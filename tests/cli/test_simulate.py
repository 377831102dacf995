"""`simulate` against a broker, with the test in the place of the daemon."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocpp16_bridge.cli.simulate import Play, simulate
from tests.broker import Broker, free_port
from tests.end_to_end.daemon import command_line
from tests.mqtt_client import LocalProgram

CONFIG = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"
[csms]
url = "ws://csms.example/ocpp"
[[connectors]]
lock = true
[[connectors]]
phases = 1
[mqtt]
port = {port}
"""
STATE = "ocpp16/hardware/connector/2/state"
NOBODY_PLUGGED = {"plugged": False, "ev_ready": False, "evse_ready": False, "cable": False}


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture
def daemon(broker: Broker) -> Iterator[LocalProgram]:
    """Who is to be simulated for; not online yet."""
    with LocalProgram(broker.port) as program:
        program.subscribe("ocpp16/#")
        yield program


@pytest.fixture
def config(broker: Broker, tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(port=broker.port))
    return path


@contextmanager
def running(config: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = command_line("simulate", "--config", str(config), *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit status and what is still printed."""
    out, err = process.communicate(timeout=10)
    return process.returncode, out, err


def be_online(daemon: LocalProgram) -> None:
    daemon.publish("ocpp16/state", "online", retain=True)


def test_without_a_daemon_it_says_so_waits_and_states_nothing(daemon: LocalProgram, config: Path) -> None:
    with running(config, "--connector", "2") as process:
        assert says(process) == "the daemon is not online: waiting for it"
        assert daemon.retained("ocpp16/#") == {}

        be_online(daemon)

        assert says(process) == "session 1: a car is plugged in at connector 2"
        assert daemon.wait_for(STATE, lambda message: bool(message.json["plugged"]))
        assert daemon.retained("ocpp16/hardware/state") == {"ocpp16/hardware/state": b"online"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_interrupted_it_leaves_all_unplugged_and_clean(
    daemon: LocalProgram, config: Path, number: signal.Signals
) -> None:
    be_online(daemon)
    with running(config, "--connector", "2") as process:
        daemon.wait_for(STATE, lambda message: bool(message.json["plugged"]))

        process.send_signal(number)

        status, out, err = rest(process)
        assert (status, err) == (0, "")
        assert "the connector is free" in out
    kept = daemon.retained("ocpp16/hardware/#")
    assert json.loads(kept[STATE]) == NOBODY_PLUGGED
    assert json.loads(kept["ocpp16/hardware/connector/2/errors"]) == []
    assert "ocpp16/hardware/state" not in kept


def test_interrupted_while_it_waits_it_has_stated_nothing(daemon: LocalProgram, config: Path) -> None:
    with running(config) as process:
        says(process)

        process.terminate()

        assert rest(process) == (0, "", "")
    assert daemon.messages("ocpp16/hardware/#") == []


def test_if_it_dies_the_hardware_is_offline(daemon: LocalProgram, config: Path) -> None:
    be_online(daemon)
    with running(config) as process:
        daemon.wait_for("ocpp16/hardware/state", lambda message: message.text == "online")

        process.kill()

        daemon.wait_for("ocpp16/hardware/state", lambda message: message.text == "offline")


def test_it_warns_of_another_program_that_plays_the_hardware(daemon: LocalProgram, config: Path) -> None:
    daemon.publish("ocpp16/hardware/state", "online", retain=True)
    be_online(daemon)

    with running(config) as process:
        assert says(process).startswith("warning: hardware/state is online")


def test_a_session_that_is_refused_is_exit_status_1(daemon: LocalProgram, config: Path) -> None:
    be_online(daemon)
    with running(config, "--sessions", "1", "--speed", "100", "--id-tag", "A") as process:
        request = daemon.wait_for("ocpp16/request/present_id_tag").json
        decision = {"status": "Invalid", "action": "none"}

        daemon.publish("ocpp16/response/present_id_tag", {"id": request["id"], "status": "ok", "data": decision})

        status, out, err = rest(process)
    assert (status, err, request["id_tag"], request["connector_ids"]) == (1, "", "A", [1])
    assert "session 1 failed: the card does not start: Invalid" in out


def test_a_broker_that_goes_ends_it(broker: Broker, daemon: LocalProgram, config: Path) -> None:
    be_online(daemon)
    with running(config) as process:
        daemon.wait_for("ocpp16/hardware/state")

        broker.kill()

        status, _, err = rest(process)
    assert status == 1
    assert f"the connection to the MQTT broker at 127.0.0.1:{broker.port} was lost" in err
    assert "Traceback" not in err


def test_a_connector_that_does_not_exist_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(config, Play(3, None, 1.0, "A", with_fault=False)) == 1

    assert capsys.readouterr().err == "there is no connector 3, only 1 to 2\n"


def test_a_bad_configuration_is_exit_status_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(tmp_path / "nowhere.toml", Play(1, None, 1.0, "A", with_fault=False)) == os.EX_CONFIG

    assert "nowhere.toml" in capsys.readouterr().err


def test_without_a_broker_it_says_what_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(port=free_port()))

    assert simulate(path, Play(1, None, 1.0, "A", with_fault=False)) == 1

    assert "systemctl status mosquitto" in capsys.readouterr().err
