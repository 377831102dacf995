"""What is printed, and the lines to copy."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocpp16_bridge import handlers
from ocpp16_bridge.demo.happenings import DaemonEnded, DaemonStarted, Happening, Link, MqttMessage, OcppMessage
from ocpp16_bridge.demo.invitation import EXAMPLES, lines_to_copy
from ocpp16_bridge.demo.narrator import LONGEST_PAYLOAD, Narrator
from tests.station import Station

NOW = datetime(2026, 11, 22, 10, 0, 1, 234567, tzinfo=UTC)


def mqtt(topic: str, payload: object, *, is_retained: bool = False) -> MqttMessage:
    return MqttMessage(topic, payload, is_retained)


@pytest.mark.parametrize(
    ("happening", "line"),
    [
        (OcppMessage("charge point", "Heartbeat", {}), "OCPP  → CSMS   Heartbeat {}"),
        (OcppMessage("CSMS", "Reset", {"type": "Soft"}), 'OCPP  ← CSMS   Reset {"type": "Soft"}'),
        (Link(is_open=True), "OCPP  ─ CSMS   websocket open"),
        (Link(is_open=False, close_code=1001), "OCPP  ─ CSMS   websocket closed (1001)"),
        (mqtt("state", "online", is_retained=True), "MQTT  ← daemon base/state online  [retained]"),
        (mqtt("request/stop", {}), "MQTT  → daemon base/request/stop {}"),
        (mqtt("response/stop", {"data": True}), 'MQTT  ← daemon base/response/stop {"data": true}'),
        (mqtt("hardware/connector/1/state", {}), "MQTT  → daemon base/hardware/connector/1/state {}"),
        (mqtt("hardware/request/reset", {}), "MQTT  ← daemon base/hardware/request/reset {}"),
        (mqtt("hardware/response/reset", {}), "MQTT  → daemon base/hardware/response/reset {}"),
        (DaemonStarted(42), "the daemon starts, process 42"),
        (DaemonEnded(0), "the daemon ended, exit status 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_line_says_what_happened(happening: Happening, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    Narrator("base", lambda: NOW).show(happening)

    assert capsys.readouterr().out == f"   10:00:01.234  {line}\n"


def test_a_long_payload_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    Narrator("base", lambda: NOW).show(mqtt("x", "a" * 1000))

    assert capsys.readouterr().out.rstrip().endswith("base/x " + "a" * (LONGEST_PAYLOAD - 1) + "…")


def test_each_command_of_the_daemon_has_an_example(station: Station) -> None:
    features = station.charge_point.features
    commands = {handler.name for feature in features for _, handler in handlers.handlers(feature, handlers.Command)}

    assert set(EXAMPLES) == commands


def test_the_lines_can_be_given_to_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    lines = list(lines_to_copy(4242, "ocpp16", Path("/tmp/a b/config.toml")))

    assert lines[0] == "mosquitto_sub -v -p 4242 -t 'ocpp16/#'"
    assert "mosquitto_pub -p 4242 -t ocpp16/request/stop -m '{}'" in lines
    assert lines[-1].endswith(
        " -m ocpp16_bridge call --config '/tmp/a b/config.toml' get_configuration_key "
        """'{"keys": ["HeartbeatInterval"]}'"""
    )
