"""What a person sees with mosquitto's own programs, at a charge point whose CSMS is written with the ocpp library."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call

from tests.broker import Broker
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually
from tests.end_to_end.ocpp_csms import LibraryCsms

pytestmark = pytest.mark.skipif(shutil.which("mosquitto_rr") is None, reason="apt install mosquitto-clients")

# Contract 3: command, arguments, what the reply says.
COMMANDS: list[tuple[str, dict[str, Any], Any]] = [
    ("data_transfer", {"vendor_id": "Example", "data": "hello"}, {"status": "Accepted", "data": "thanks"}),
    (
        "get_configuration_key",
        {"keys": ["heartbeatinterval", "Nonsense", "AuthorizationKey"]},
        {
            "configuration_keys": [{"key": "HeartbeatInterval", "read_only": False, "value": "300"}],
            "unknown_keys": ["Nonsense", "AuthorizationKey"],
        },
    ),
    ("set_custom_configuration_key", {"key": "TariffUrl", "value": "https://example.com/2"}, "Accepted"),
    ("set_custom_configuration_key", {"key": "HeartbeatInterval", "value": "60"}, "Rejected"),
    ("monitor_configuration_keys", {"keys": ["HeartbeatInterval", "TariffUrl"]}, None),
    ("set_configuration_key", {"key": "HeartbeatInterval", "value": "120"}, "Accepted"),
    ("set_configuration_key", {"key": "Nonsense", "value": "1"}, "NotSupported"),
    ("security_event", {"type": "TamperDetectionActivated", "info": "lid"}, None),
    ("set_log_level", {"level": "debug"}, None),
    ("stop", {}, True),
    ("data_transfer", {"vendor_id": "Example"}, {"status": "Offline"}),
    ("stop", {}, False),
    ("restart", {}, True),
    ("restart", {}, False),
]


@dataclass(frozen=True)
class Shell:
    """Where somebody types the commands; ``version`` is mqttv311 or mqttv5."""

    port: int
    version: str

    def run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        command = [program, "-h", "127.0.0.1", "-p", str(self.port), "-V", self.version, *arguments]
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, input=stdin)
        return result.stdout

    def request(self, command: str, arguments: dict[str, Any], *options: str) -> Any:
        """What mosquitto_rr prints, read as JSON. Over 3.1.1 the private topic has to be named in the payload."""
        reply_topic = "ocpp16/reply/somebody/1"
        named = {"reply_to": reply_topic} if self.version == "mqttv311" else {}
        topics = ("-t", f"ocpp16/request/{command}", "-e", reply_topic)
        message = json.dumps({**arguments, **named})
        return json.loads(self.run("mosquitto_rr", *topics, "-m", message, "-W", "10", "-q", "1", *options))

    def retained(self, *topics: str) -> dict[str, Any]:
        """What lies on these topics below the base; waits until there is something on all of them."""
        filters = [argument for topic in topics for argument in ("-t", f"ocpp16/{topic}")]
        lines = self.run("mosquitto_sub", *filters, "-C", str(len(topics)), "-W", "10", "-v").splitlines()
        pairs = [line.removeprefix("ocpp16/").split(" ", 1) for line in lines]
        return {topic: payload if topic == "state" else json.loads(payload) for topic, payload in pairs}


@pytest.fixture
def ocpp_csms() -> Iterator[LibraryCsms]:
    with LibraryCsms() as csms:
        yield csms


@pytest.fixture(params=["mqttv311", "mqttv5"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, broker: Broker, ocpp_csms: LibraryCsms) -> Iterator[Shell]:
    """At a charge point that the CSMS has accepted."""
    sections = {
        "csms": {"url": ocpp_csms.url},
        "mqtt": {"port": broker.port},
        "hardware": {"start_timeout": 1},
        "custom_configuration_keys.TariffUrl": {"type": "string", "value": "https://example.com"},
    }
    with Daemon(tmp_path / "daemon", sections) as daemon:
        daemon.start()
        one = Shell(broker.port, request.param)
        eventually(lambda: one.retained("connection")["connection"]["registration"] == "Accepted", "registration")
        yield one


def test_every_command_is_carried_out_and_answered(shell: Shell, ocpp_csms: LibraryCsms) -> None:
    for number, (command, arguments, data) in enumerate(COMMANDS):
        reply = shell.request(command, {"id": number, **arguments})

        assert reply == {"id": number, "status": "ok", "data": data}, command

    assert ocpp_csms.of("DataTransfer") == [{"vendor_id": "Example", "data": "hello"}]
    eventually(lambda: len(ocpp_csms.of("BootNotification")) == 2, "the one after restart")


def test_a_reply_without_a_topic_of_its_own_comes_on_the_response_topic(shell: Shell) -> None:
    message = ("-m", '{"keys":["NumberOfConnectors"]}')
    topics = ("-t", "ocpp16/request/get_configuration_key", "-e", "ocpp16/response/get_configuration_key")

    printed = shell.run("mosquitto_rr", *topics, *message, "-W", "10")

    assert json.loads(printed)["data"]["configuration_keys"] == [
        {"key": "NumberOfConnectors", "read_only": True, "value": "1"}
    ]


def test_correlation_data_is_copied_into_the_reply(shell: Shell) -> None:
    modern = replace(shell, version="mqttv5")
    topics = ("-t", "ocpp16/request/get_configuration_key", "-e", "ocpp16/reply/somebody/2")
    options = ("-D", "publish", "correlation-data", "x-17", "-F", "%D %p")

    printed = modern.run("mosquitto_rr", *topics, "-m", "{}", "-W", "10", *options)

    assert printed.startswith('x-17 {"status":"ok"')


def test_every_variable_is_there(shell: Shell, ocpp_csms: LibraryCsms) -> None:
    shell.request("monitor_configuration_keys", {"keys": ["HeartbeatInterval", "MeterValueSampleInterval"]})
    ocpp_csms.call(call.ChangeConfiguration("MeterValueSampleInterval", "17"))

    shown = shell.retained(*VARIABLES)

    assert shown.keys() == VARIABLES.keys()
    for topic, expected in VARIABLES.items():
        value = shown[topic]
        assert {name: value[name] for name in expected} == expected if isinstance(expected, dict) else value == expected


# Contract 1 and 2: what each of them says at least.
SAMPLE_INTERVAL = {"key": "MeterValueSampleInterval", "value": "17", "read_only": False}
VARIABLES: dict[str, Any] = {
    "state": "online",
    "info": {
        "charge_point_id": "CP001",
        "vendor": "Example",
        "model": "Model 1",
        "connectors": 1,
        "ocpp_version": "1.6",
    },
    "health": {"queued_transaction_messages": 0, "oldest_queued_at": None},
    "is_connected": True,
    "connection": {"connected": True, "security_profile": 0, "registration": "Accepted"},
    "boot_notification_response": {"status": "Accepted", "interval": 300},
    "configuration_key": SAMPLE_INTERVAL,
    "configuration_key/MeterValueSampleInterval": SAMPLE_INTERVAL,
    "configuration_key/HeartbeatInterval": {"key": "HeartbeatInterval", "value": "300", "read_only": False},
    "security_event": {"type": "StartupOfTheDevice", "critical": True},
    "charging_schedules": {},
}


def test_charging_schedules_show_the_default_limit_of_every_connector(shell: Shell) -> None:
    schedules = shell.retained("charging_schedules")["charging_schedules"]

    assert schedules.keys() == {"0", "1"}
    for schedule in schedules.values():
        assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 32.0, "numberPhases": 3}]
        assert (schedule["duration"], schedule["chargingRateUnit"]) == (600, "A")


def test_the_csms_hears_what_it_should(shell: Shell, ocpp_csms: LibraryCsms) -> None:
    shell.request("security_event", {"type": "FirmwareUpdated", "info": "2.0"})
    shell.request("security_event", {"type": "LoginFailed", "info": "not critical"})
    shell.request("data_transfer", {"vendor_id": "Example"})

    eventually(lambda: len(ocpp_csms.of("StatusNotification")) == 2, "connector 0 and 1")
    boot = {"charge_point_vendor": "Example", "charge_point_model": "Model 1"}
    assert ocpp_csms.of("BootNotification") == [boot]
    eventually(lambda: len(ocpp_csms.of("SecurityEventNotification")) == 2, "what is critical")
    assert [event["type"] for event in ocpp_csms.of("SecurityEventNotification")] == [
        "StartupOfTheDevice",
        "FirmwareUpdated",
    ]
