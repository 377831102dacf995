"""A whole site: a broker, a CSMS, the daemon between them, and a local program that hears everything."""

import json
from dataclasses import dataclass
from typing import Any

from tests.broker import Broker
from tests.end_to_end.daemon import PATIENCE, Daemon
from tests.mqtt_client import LocalProgram, Message
from tests.scripted_csms import Call, ScriptedCsms

# Attempts to connect follow each other quickly, and not at random.
IMPATIENT = {"reconnect_wait_minimum": 0.1, "reconnect_random_range": 0, "reconnect_repeat_times": 3}


@dataclass(frozen=True)
class Site:
    broker: Broker
    csms: ScriptedCsms
    program: LocalProgram
    daemon: Daemon

    def await_topic(self, topic: str, value: object) -> None:
        """Wait until ``topic`` below the base topic says ``value``, as JSON or plain text."""
        await_topic(self.program, topic, value)

    def await_registration(self) -> Call:
        """Wait until the CSMS has accepted a BootNotification that nobody has waited for yet, and all may see it."""
        boot = self.csms.wait_for_call("BootNotification", timeout=PATIENCE)
        self.program.wait_for("ocpp16/connection", _is_accepted, PATIENCE)
        return boot

    def works(self) -> bool:
        """Both sides are served."""
        accepted = self.program.request("set_configuration_key", key="MinimumStatusDuration", value="1")
        answer = self.csms.call("GetConfiguration", {"key": ["MinimumStatusDuration"]})
        (item,) = answer["configurationKey"]
        return bool(accepted["data"] == "Accepted" and item["value"] == "1")


def await_topic(program: LocalProgram, topic: str, value: object) -> None:
    payload = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    program.wait_for(f"ocpp16/{topic}", lambda message: message.text == payload, PATIENCE)


def retained(program: LocalProgram) -> dict[str, Any]:
    """What the broker keeps below the base topic, by topic without it; JSON is read, `state` is plain text."""
    kept = program.retained("ocpp16/#").items()
    return {
        topic.removeprefix("ocpp16/"): payload.decode() if topic == "ocpp16/state" else json.loads(payload)
        for topic, payload in kept
    }


def _is_accepted(message: Message) -> bool:
    return bool(message.json["connected"] and message.json["registration"] == "Accepted")
