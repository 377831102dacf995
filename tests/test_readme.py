"""README says what the code does: its tables name what exists, its examples work."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.__main__ import main
from tests.conftest import MakeStation

README = (Path(__file__).parents[1] / "README.md").read_text()
REQUESTS = re.findall(r"`(mosquitto_pub -t ocpp16/request/[^`]+)`", README)
TOPICS = re.findall(r"^\| `ocpp16/([^`]+)` \| `(mosquitto_sub [^`]+)`", README, re.MULTILINE)
# What the CSMS is asked by a command, and answers.
ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "data_transfer": ("DataTransfer", {"status": "Accepted"}),
    "present_id_tag": ("Authorize", {"idTagInfo": {"status": "Accepted"}}),
}
CUSTOM_KEY = '[custom_configuration_keys.TariffUrl]\ntype = "string"\nvalue = "https://example.com"'


def _option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.parametrize("line", REQUESTS, ids=lambda line: line.split()[2].rpartition("/")[2])
def test_each_request_of_the_table_is_answered_ok(make_station: MakeStation, line: str) -> None:
    station = make_station(CUSTOM_KEY)
    station.register()
    command = shlex.split(line)
    station.published()

    station.publish(_option(command, "-t").removeprefix("ocpp16/"), _option(command, "-m"))

    name = _option(command, "-t").rpartition("/")[2]
    replies = station.published(f"response/{name}")
    if name in ANSWERS:
        (frame,) = station.sent(ANSWERS[name][0])
        station.csms_answers(frame, **ANSWERS[name][1])
        replies = station.published(f"response/{name}")
    assert [reply["status"] for reply in replies] == ["ok"], json.dumps(replies)


def test_the_table_has_exactly_the_commands_there_are(make_station: MakeStation) -> None:
    station = make_station("")

    named = {_option(shlex.split(line), "-t").rpartition("/")[2] for line in REQUESTS}

    assert named == set(station.charge_point._commands.handlers)


def test_the_table_has_exactly_the_variables_there_are(make_station: MakeStation) -> None:
    station = make_station("[[connectors]]\nlock = true")
    station.ask("monitor_configuration_keys", keys=["HeartbeatInterval"])
    station.register()
    station.csms_calls("ChangeConfiguration", key="HeartbeatInterval", value="60")
    shown = {topic.removeprefix("ocpp16/") for topic in station.broker.retained}

    patterns = [re.compile(topic.replace("+", "[^/]+")) for topic, _ in TOPICS]

    assert [topic for topic in shown if not any(p.fullmatch(topic) for p in patterns)] == []
    assert [p.pattern for p in patterns if not any(p.fullmatch(topic) for topic in shown)] == []


def test_each_example_subscribes_to_the_topic_of_its_row() -> None:
    for topic, line in TOPICS:
        assert _option(shlex.split(line), "-t") == f"ocpp16/{topic}"


def test_command_line_section_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^ {4}([a-z-]+)\s", capsys.readouterr().out, re.MULTILINE)

    section = README.partition("## Command line")[2]

    assert len(commands) >= 5
    assert [
        command for command in commands if f"`{command}" not in section and f"bridge {command}" not in section
    ] == []
