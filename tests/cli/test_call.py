"""`call` against a broker, with the test in the place of the daemon."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ocpp16_bridge.cli.call import call
from tests.broker import Broker, V3OnlyBroker, free_port
from tests.mqtt_client import LocalProgram

MINIMUM = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"
[csms]
url = "ws://csms.example/ocpp"
"""

Call = Callable[..., "Future[int]"]
WriteConfig = Callable[[str], Path]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture
def daemon(broker: Broker) -> Iterator[LocalProgram]:
    """Who hears the requests."""
    with LocalProgram(broker.port) as program:
        program.subscribe("ocpp16/request/#")
        yield program


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    def write(toml: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(f"{MINIMUM}\n{toml}\n")
        return path

    return write


@pytest.fixture
def config(broker: Broker, write_config: WriteConfig) -> Path:
    return write_config(f"[mqtt]\nport = {broker.port}")


@pytest.fixture
def started() -> Iterator[Call]:
    """Starts a call and goes on."""
    with ThreadPoolExecutor() as pool:
        yield lambda config, name, arguments="{}", timeout=5.0: pool.submit(call, config, name, arguments, timeout)


def test_the_reply_is_printed_as_one_line_of_json(
    daemon: LocalProgram, config: Path, started: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    status = started(config, "data_transfer", '{"vendor_id": "x"}')
    request = daemon.wait_for("ocpp16/request/data_transfer").json
    reply = {"id": request["id"], "status": "ok", "data": {"status": "Accepted", "data": "grüße"}}

    daemon.publish(request["reply_to"], reply)

    assert status.result(5) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == reply
    assert out.count("\n") == 1


def test_a_request_has_an_id_of_its_own_and_a_private_reply_topic(
    daemon: LocalProgram, config: Path, started: Call
) -> None:
    requests = []
    for _ in range(2):
        status = started(config, "stop")
        requests.append(daemon.wait_for("ocpp16/request/stop").json)
        daemon.publish(requests[-1]["reply_to"], {"id": requests[-1]["id"], "status": "ok", "data": True})
        assert status.result(5) == 0

    assert len({request["id"] for request in requests}) == 2
    assert len({request["reply_to"] for request in requests}) == 2
    assert all(request["reply_to"].startswith("ocpp16/reply/cli/") for request in requests)


def test_an_id_that_is_given_goes_with_the_request(daemon: LocalProgram, config: Path, started: Call) -> None:
    status = started(config, "stop", '{"id": "mine", "reply_to": "elsewhere"}')

    request = daemon.wait_for("ocpp16/request/stop").json
    daemon.publish(request["reply_to"], {"id": "mine", "status": "ok", "data": True})

    assert status.result(5) == 0
    assert request["id"] == "mine"


def test_an_error_is_exit_status_1(
    daemon: LocalProgram, config: Path, started: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    status = started(config, "fly")
    request = daemon.wait_for("ocpp16/request/fly").json
    reply = {"id": request["id"], "status": "error", "error": {"code": "unknown_command", "message": "no"}}

    daemon.publish(request["reply_to"], reply)

    assert status.result(5) == 1
    assert json.loads(capsys.readouterr().out) == reply


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("offline", "ocpp16/state is offline"),
        ("online", "ocpp16/state is online"),
        ("", "nothing is known of ocpp16/state"),
    ],
    ids=["the daemon is away", "the daemon is there", "there never was one"],
)
def test_no_reply_is_exit_status_2_and_says_what_state_is(
    daemon: LocalProgram, config: Path, state: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.publish("ocpp16/state", state, retain=True)

    status = call(config, "stop", "{}", 0.3)

    assert status == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("no reply within 0.3 s: ")
    assert hint in streams.err


@pytest.mark.parametrize("arguments", ["[]", '"text"', "1", "null", "{", "", "{'keys': []}", "[" * 100_000])
def test_other_arguments_than_an_object_are_not_sent(
    arguments: str, write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody_there = write_config(f"[mqtt]\nport = {free_port()}")

    status = call(nobody_there, "stop", arguments, 5)

    assert status == 1
    error = capsys.readouterr().err
    assert error.startswith("expected one JSON object")
    assert len(error) < 300


def test_a_command_with_a_wildcard_is_not_sent(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(config, "#", "{}", 5) == 1
    assert "wildcard" in capsys.readouterr().err


def test_a_broker_that_is_away_is_named_with_a_remedy(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()

    status = call(write_config(f"[mqtt]\nport = {port}"), "stop", "{}", 5)

    assert status == 1
    error = capsys.readouterr().err
    assert error.startswith(f"no connection to the MQTT broker at 127.0.0.1:{port}: ")
    assert "check mqtt.host, mqtt.port" in error


def test_a_broker_that_goes_away_before_the_reply_is_an_error(
    write_config: WriteConfig, started: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    with Broker() as broker:
        config = write_config(f"[mqtt]\nport = {broker.port}")
        with LocalProgram(broker.port) as daemon:
            daemon.subscribe("ocpp16/request/#")
            status = started(config, "stop")
            daemon.wait_for("ocpp16/request/stop")
        broker.kill()

        assert status.result(5) == 1
    assert "was lost" in capsys.readouterr().err


def test_a_bad_configuration_is_exit_status_78_with_all_problems(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config('[mqtt]\nport = "x"\nhorst = "y"')

    status = call(config, "stop", "{}", 5)

    assert status == 78
    error = capsys.readouterr().err
    assert "mqtt.port" in error
    assert "mqtt.horst" in error


def test_a_file_that_is_not_there_is_exit_status_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path / "missing.toml", "stop", "{}", 5) == 78
    assert "missing.toml" in capsys.readouterr().err


def test_a_broker_that_knows_no_mqtt_5_is_served_with_3_1_1(
    broker: Broker, daemon: LocalProgram, write_config: WriteConfig, started: Call
) -> None:
    with V3OnlyBroker(broker.port) as old:
        status = started(write_config(f"[mqtt]\nport = {old.port}"), "stop")
        request = daemon.wait_for("ocpp16/request/stop").json
        daemon.publish(request["reply_to"], {"id": request["id"], "status": "ok", "data": True})

        assert status.result(5) == 0


@pytest.fixture(scope="module")
def guarded_broker() -> Iterator[Broker]:
    with Broker(users={"ui": "ui-password", "daemon": "daemon-password"}) as one:
        yield one


def test_the_reply_topic_bears_the_name_of_the_user(
    guarded_broker: Broker, write_config: WriteConfig, started: Call
) -> None:
    login = f'[mqtt]\nport = {guarded_broker.port}\nusername = "ui"\npassword = "ui-password"'
    with LocalProgram(guarded_broker.port, username="daemon", password="daemon-password") as daemon:
        daemon.subscribe("ocpp16/request/#")
        status = started(write_config(login), "stop")
        request = daemon.wait_for("ocpp16/request/stop").json
        daemon.publish(request["reply_to"], {"id": request["id"], "status": "ok", "data": True})

    assert status.result(5) == 0
    assert request["reply_to"].startswith("ocpp16/reply/ui/")


def test_a_refused_password_is_an_error_that_does_not_show_it(
    guarded_broker: Broker, write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    login = f'[mqtt]\nport = {guarded_broker.port}\nusername = "ui"\npassword = "wrong-password"'

    status = call(write_config(login), "stop", "{}", 5)

    assert status == 1
    error = capsys.readouterr().err
    assert "check mqtt.username, mqtt.password" in error
    assert "wrong-password" not in error


@pytest.fixture(scope="module")
def tls_broker() -> Iterator[Broker]:
    """A broker with a certificate of its own making, `broker.crt` in its folder."""
    broker = Broker("certfile {folder}/broker.crt", "keyfile {folder}/broker.key")
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", "broker.key", "-out", "broker.crt", "-days", "2")
    names = ("-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(["openssl", "req", "-x509", *key, *names], check=True, capture_output=True, cwd=broker.folder)
    (broker.folder / "broker.key").chmod(0o644)
    with broker:
        yield broker


def test_tls_is_used_as_configured(
    tls_broker: Broker, write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it gets as far as waiting for a reply shows that it is connected."""
    ca_file = tls_broker.folder / "broker.crt"
    config = write_config(f'[mqtt]\nport = {tls_broker.port}\ntls = true\nca_file = "{ca_file}"')

    assert call(config, "stop", "{}", 0.2) == 2
    assert "no reply" in capsys.readouterr().err


@pytest.mark.parametrize("ca_file", ["", "/nowhere/ca.crt", os.devnull], ids=["system's", "missing", "empty"])
def test_a_broker_that_cannot_be_trusted_is_an_error(
    tls_broker: Broker, ca_file: str, write_config: WriteConfig
) -> None:
    """In a process of its own: paho leaves the socket to the garbage collector, which complains."""
    config = write_config(f'[mqtt]\nport = {tls_broker.port}\ntls = true\nca_file = "{ca_file}"')

    command = [sys.executable, "-m", "ocpp16_bridge", "call", "--config", str(config), "stop"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("no connection to the MQTT broker at 127.0.0.1:")
    assert "the files of certificates" in ended.stderr
    assert ended.stderr.count("\n") == 1
