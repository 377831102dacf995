"""The lines to copy into another terminal."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# One for each command of the daemon.
EXAMPLES: dict[str, dict[str, Any]] = {
    "get_configuration_key": {"keys": ["HeartbeatInterval"]},
    "set_configuration_key": {"key": "HeartbeatInterval", "value": "120"},
    "set_custom_configuration_key": {"key": "TariffUrl", "value": "https://example.com/new"},
    "monitor_configuration_keys": {"keys": ["TariffUrl"]},
    "data_transfer": {"vendor_id": "com.example", "data": "hello"},
    "present_id_tag": {"id_tag": "04AB12CD"},
    "stop_transaction": {"connector_id": 1},
    "change_availability": {"connector_id": 1, "type": "Operative"},
    "set_local_limit": {"connector_id": 1, "limit": 10, "unit": "A"},
    "security_event": {"type": "TamperDetectionActivated", "info": "the door is open"},
    "set_log_level": {"level": "debug"},
    "stop": {},
    "restart": {},
}


def lines_to_copy(port: int, base_topic: str, config: Path) -> Iterator[str]:
    """Shell commands: hear everything, send each request, send one and see its reply."""
    yield f"mosquitto_sub -v -p {port} -t {shlex.quote(base_topic + '/#')}"
    for command, arguments in EXAMPLES.items():
        yield f"mosquitto_pub -p {port} -t {base_topic}/request/{command} -m {shlex.quote(json.dumps(arguments))}"
    keys = shlex.quote(json.dumps(EXAMPLES["get_configuration_key"]))
    yield f"{_program()} call --config {shlex.quote(str(config))} get_configuration_key {keys}"


def _program() -> str:
    """How we can be called from another terminal in the same folder."""
    return "ocpp16-bridge" if shutil.which("ocpp16-bridge") else f"{shlex.quote(sys.executable)} -m ocpp16_bridge"
