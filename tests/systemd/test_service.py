"""The unit, the daemon and the broker's configuration as they are shipped, under a real systemd (see `box`)."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.box import Box, BoxUnavailableError, eventually, install

REPOSITORY = Path(__file__).parents[2]
UNIT = REPOSITORY / "systemd/ocpp16-bridge.service"
SERVICE = "ocpp16-bridge.service"

CONFIGURATION = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"

[csms]
url = "ws://127.0.0.1:9000/ocpp"  # nobody listens, except where a test does
security_profile = 1

[mqtt]
username = "bridge"

[hardware]
start_timeout = 1
"""

PASSWORDS = {"bridge": "b-secret", "hardware": "h-secret", "client": "c-secret", "viewer": "v-secret"}
AUTHORIZATION_KEY = "a-secret-key"

# The shipped values are 60 s and 5 s.
IMPATIENT = """
[Service]
WatchdogSec=2
RestartSec=100ms
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """A box in which broker and daemon are installed as README says."""
    try:
        box = Box()
    except BoxUnavailableError as reason:
        pytest.skip(f"no systemd box: {reason}")
    try:
        install_daemon(box)
        install_broker(box)
        yield box
    finally:
        box.close()


def install_daemon(box: Box) -> None:
    for leftover in ("/etc/ocpp16-bridge", "/var/lib/ocpp16-bridge", "/var/lib/private/ocpp16-bridge"):
        box.run("rm", "-rf", leftover)  # of an installation on this machine, seen through the overlay
    try:
        install(box, "/opt/ocpp16-bridge")
    except BoxUnavailableError as reason:
        pytest.skip(f"cannot install in the box: {reason}")
    box.write(f"/etc/systemd/system/{SERVICE}", UNIT.read_text())
    box.write(f"/etc/systemd/system/{SERVICE}.d/impatient.conf", IMPATIENT)
    box.run("systemctl", "daemon-reload")


def install_broker(box: Box) -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto mosquitto-clients")
    for name, inside in (("listener.conf", "conf.d/ocpp16-bridge.conf"), ("acl.conf", "ocpp16-bridge.acl")):
        box.write(f"/etc/mosquitto/{inside}", (REPOSITORY / "config/mosquitto" / name).read_text())
    password_file = "/etc/mosquitto/ocpp16-bridge.passwd"
    box.write(password_file, "")
    for account, password in PASSWORDS.items():
        box.run("mosquitto_passwd", "-b", password_file, account, password)
    box.run("chown", "mosquitto:", password_file)
    box.run("systemctl", "start", "mosquitto")


@pytest.fixture
def box(machine: Box) -> Iterator[Box]:
    """The machine with its files as they should be and the daemon not running; a failed test shows the journal."""
    configure(machine)
    yield machine
    machine.run("systemctl", "stop", SERVICE)
    machine.result("systemctl", "reset-failed", SERVICE)
    print(machine.run("journalctl", "--no-pager", "-u", SERVICE, "-n", "40"))  # noqa: T201


def configure(box: Box, text: str = CONFIGURATION) -> None:
    box.write("/etc/ocpp16-bridge/config.toml", text)
    box.write("/etc/ocpp16-bridge/credentials/mqtt.password", PASSWORDS["bridge"] + "\n", 0o600)
    box.write("/etc/ocpp16-bridge/credentials/csms.authorization_key", AUTHORIZATION_KEY + "\n", 0o600)


def start(box: Box) -> int:
    """Start the service; its process id."""
    box.run("systemctl", "start", SERVICE)
    return main_pid(box)


def main_pid(box: Box) -> int:
    return int(box.property(SERVICE, "MainPID"))


def restarts(box: Box) -> int:
    return int(box.property(SERVICE, "NRestarts"))


def is_back(box: Box, former_pid: int) -> bool:
    """The service is up (READY=1 came) with another process."""
    return box.property(SERVICE, "ActiveState") == "active" and main_pid(box) not in {0, former_pid}


def journal(box: Box) -> str:
    """What the service's current or last run wrote."""
    run = box.property(SERVICE, "InvocationID")
    return box.run(
        "journalctl", "--no-pager", "-o", "cat", f"_SYSTEMD_INVOCATION_ID={run}", "+", f"INVOCATION_ID={run}"
    )


def account(name: str) -> list[str]:
    return ["-u", name, "-P", PASSWORDS[name], "-V", "mqttv5"]


def state(box: Box) -> str:
    """What lies on the topic ocpp16/state; empty: nothing, or there is no broker."""
    return box.result("mosquitto_sub", *account("viewer"), "-t", "ocpp16/state", "-C", "1", "-W", "1").stdout.strip()


def request(box: Box, command: str, **arguments: object) -> object:
    """Carry out a command and return its data."""
    topics = ["-t", f"ocpp16/request/{command}", "-e", "ocpp16/reply/client/test"]
    reply = box.run("mosquitto_rr", *account("client"), *topics, "-q", "1", "-W", "5", "-m", json.dumps(arguments))
    answer = json.loads(reply)
    assert answer["status"] == "ok", answer
    return answer["data"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_hardly_exposed() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    exposure = re.search(r"Overall exposure level for ocpp16-bridge\.service: ([\d.]+)", report)
    assert exposure is not None
    assert float(exposure[1]) <= 1.2


def test_systemd_understands_every_line_of_the_unit(machine: Box) -> None:
    assert machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{SERVICE}") == ""


def test_start_returns_when_the_daemon_is_ready_though_there_is_no_csms(box: Box) -> None:
    start(box)

    assert box.property(SERVICE, "ActiveState") == "active"
    assert eventually(lambda: state(box) == "online")


def test_the_status_text_says_what_the_daemon_waits_for(box: Box) -> None:
    start(box)

    assert eventually(lambda: "CSMS" in box.property(SERVICE, "StatusText"))


def test_the_journal_holds_native_fields(box: Box) -> None:
    start(box)

    entries = box.run("journalctl", "-o", "json", "-u", SERVICE, "SYSLOG_IDENTIFIER=ocpp16-bridge").splitlines()
    assert any(json.loads(entry).get("LOGGER", "").startswith("ocpp16_bridge") for entry in entries)


def test_a_killed_daemon_comes_back(box: Box) -> None:
    pid, before = start(box), restarts(box)

    box.run("kill", "-KILL", str(pid))

    assert eventually(lambda: is_back(box, pid))
    assert restarts(box) == before + 1


def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_comes_back(box: Box) -> None:
    pid = start(box)

    box.run("kill", "-STOP", str(pid))

    assert eventually(lambda: is_back(box, pid))
    assert "Watchdog timeout" in box.run("journalctl", "-u", SERVICE, "--no-pager", "-o", "cat")


def test_a_daemon_that_idles_is_not_killed_by_the_watchdog(box: Box) -> None:
    pid = start(box)
    pinged = box.property(SERVICE, "WatchdogTimestampMonotonic")

    assert eventually(lambda: box.property(SERVICE, "WatchdogTimestampMonotonic") != pinged, patience=2)
    assert main_pid(box) == pid


def test_a_restarted_broker_does_not_restart_the_daemon(box: Box) -> None:
    pid = start(box)
    assert eventually(lambda: state(box) == "online")

    box.run("systemctl", "stop", "mosquitto")
    box.run("rm", "-f", "/var/lib/mosquitto/mosquitto.db")  # nothing is remembered
    box.run("systemctl", "start", "mosquitto")

    assert eventually(lambda: state(box) == "online")
    assert main_pid(box) == pid


def test_without_a_broker_the_daemon_starts_and_waits(box: Box) -> None:
    box.run("systemctl", "stop", "mosquitto")
    try:
        pid = start(box)
    finally:
        box.run("systemctl", "start", "mosquitto")

    assert eventually(lambda: state(box) == "online")
    assert main_pid(box) == pid


def test_a_bad_configuration_is_named_and_not_tried_again(box: Box) -> None:
    configure(box, CONFIGURATION.replace("[mqtt]", '[mqtt]\nport = "many"'))
    before = restarts(box)

    assert box.result("systemctl", "start", SERVICE).returncode != 0

    assert (box.property(SERVICE, "ActiveState"), box.property(SERVICE, "SubState")) == ("failed", "failed")
    assert (box.property(SERVICE, "ExecMainStatus"), restarts(box)) == ("78", before)
    assert "mqtt.port" in journal(box)


def test_state_survives_a_restart_and_belongs_to_the_dynamic_user_alone(box: Box) -> None:
    start(box)
    assert eventually(lambda: state(box) == "online")
    assert request(box, "set_configuration_key", key="HeartbeatInterval", value="77") == "Accepted"

    box.run("systemctl", "restart", SERVICE)

    assert eventually(lambda: state(box) == "online")
    data = request(box, "get_configuration_key", keys=["HeartbeatInterval"])
    assert isinstance(data, dict)
    assert data["configuration_keys"] == [{"key": "HeartbeatInterval", "read_only": False, "value": "77"}]
    files = box.run("find", "/var/lib/private/ocpp16-bridge", "-not", "-path", "*/exchange*", "-printf", "%U %m %y\n")
    owners, *_ = zip(*(line.split() for line in files.splitlines()), strict=True)
    assert {f"{mode} {kind}" for _, mode, kind in map(str.split, files.splitlines())} == {"700 d", "600 f"}
    assert all(61184 <= int(owner) <= 65519 for owner in owners)  # systemd.exec(5): dynamic users


def test_credentials_reach_broker_and_csms(box: Box) -> None:
    listen = box.command("python3", "-c", ONE_HANDSHAKE)
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as csms:
        assert csms.stdout
        assert csms.stdout.readline() == "listening\n"

        start(box)

        handshake = csms.stdout.read()
    basic = base64.b64encode(f"CP001:{AUTHORIZATION_KEY}".encode()).decode()
    assert f"authorization: basic {basic}".lower() in handshake.lower()
    assert eventually(lambda: state(box) == "online")  # the broker asks for the password


ONE_HANDSHAKE = """
import socket
with socket.create_server(("127.0.0.1", 9000)) as server:
    print("listening", flush=True)
    server.settimeout(20)
    connection, _ = server.accept()
    print(connection.recv(65536).decode())
"""


def test_without_credential_files_the_daemon_starts_with_what_the_configuration_says(box: Box) -> None:
    configure(box, CONFIGURATION.replace("[mqtt]", f'[mqtt]\npassword = "{PASSWORDS["bridge"]}"'))
    box.run("rm", "-r", "/etc/ocpp16-bridge/credentials")

    start(box)

    assert eventually(lambda: state(box) == "online")


def test_no_secret_is_in_the_journal(machine: Box) -> None:
    written = machine.run("journalctl", "--no-pager", "-o", "export", "-u", SERVICE)

    assert [secret for secret in (*PASSWORDS.values(), AUTHORIZATION_KEY) if secret in written] == []


def test_stop_takes_less_than_a_second_and_leaves_offline(box: Box) -> None:
    start(box)
    assert eventually(lambda: state(box) == "online")

    box.run("systemctl", "stop", SERVICE)

    begun, ended = (int(box.property(SERVICE, f"{step}TimestampMonotonic")) for step in ("ActiveExit", "InactiveEnter"))
    assert ended - begun < 1_000_000  # µs
    assert box.property(SERVICE, "Result") == "success"
    assert state(box) == "offline"


def test_reload_keeps_the_process(box: Box) -> None:
    pid = start(box)
    assert eventually(lambda: state(box) == "online")

    box.run("systemctl", "reload", SERVICE)

    request(box, "get_configuration_key", keys=["HeartbeatInterval"])  # it answers still
    assert (main_pid(box), box.property(SERVICE, "ActiveState")) == (pid, "active")
