"""`schedule` against a broker, with the test in the place of the daemon (contract 5)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.__main__ import main
from ocpp16_bridge.cli.schedule import schedule, text_of
from tests.broker import Broker, free_port
from tests.conftest import MakeStation
from tests.mqtt_client import LocalProgram

CONFIG = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"
[csms]
url = "ws://csms.example/ocpp"
[mqtt]
port = {port}
"""


def one(*periods: tuple[Any, ...], duration: int = 600, unit: str = "A") -> dict[str, Any]:
    names = ("startPeriod", "limit", "numberPhases")
    return {
        "duration": duration,
        "startSchedule": "2026-11-22T23:58:00Z",
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [dict(zip(names, period, strict=False)) for period in periods],
    }


SCHEDULES = {
    "0": one((0, 26.0, 3), (300, 16.0, 3)),
    "1": one((0, 10.0, 3), (300, 0.0, 3)),
    "2": one((0, 16.0, 3)),
}
TEXT = """\
whole charge point: 600 s from 2026-11-22 23:58:00 UTC
  from                  seconds         limit  phases
  2026-11-22 23:58:00       300          26 A  3
  2026-11-23 00:03:00       300          16 A  3
  |█████████████████████████▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅|  0 to 26 A

connector 1: 600 s from 2026-11-22 23:58:00 UTC
  from                  seconds         limit  phases
  2026-11-22 23:58:00       300          10 A  3
  2026-11-23 00:03:00       300           0 A  3
  |█████████████████████████                         |  0 to 10 A

connector 2: 600 s from 2026-11-22 23:58:00 UTC
  from                  seconds         limit  phases
  2026-11-22 23:58:00       600          16 A  3
  |██████████████████████████████████████████████████|  0 to 16 A
"""


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.fixture
def config(broker: Broker, tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(port=broker.port))
    return path


@pytest.fixture
def retain(broker: Broker) -> Iterator[Callable[..., None]]:
    """Publish as the daemon would, by topic without the base."""
    with LocalProgram(broker.port) as daemon:

        def publish(**topics: str | dict[str, Any]) -> None:
            for topic, payload in topics.items():
                daemon.publish(f"ocpp16/{topic}", payload, retain=True)

        yield publish


def test_each_connector_has_a_table_and_a_plot(
    config: Path, retain: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    retain(state="online", charging_schedules=SCHEDULES)

    assert main(["schedule", "--config", str(config)]) == 0

    streams = capsys.readouterr()
    assert streams.out == TEXT
    assert streams.err == ""


@pytest.mark.parametrize(
    ("topics", "said"),
    [({"state": "offline"}, "ocpp16/state is offline"), ({}, "ocpp16/state is not there")],
    ids=["offline", "no state"],
)
def test_what_a_daemon_said_that_is_away_is_shown_and_does_not_hold(
    config: Path,
    retain: Callable[..., None],
    topics: dict[str, str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Values are valid while `state` is online (contract 1)."""
    retain(charging_schedules=SCHEDULES, **topics)

    assert schedule(config, 0.3) == 1

    streams = capsys.readouterr()
    assert streams.out == TEXT
    assert streams.err.startswith(said)
    assert streams.err.count("\n") == 1


def test_nothing_retained_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule(config, 0.3) == 1

    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == "nothing is retained on ocpp16/charging_schedules: has the daemon run with this broker?\n"


@pytest.mark.parametrize(
    "payload",
    [
        "{",
        "[]",
        "{}",
        "null",
        '{"x":{}}',
        '{"0":{}}',
        '{"0":null}',
        json.dumps({"0": one()}),
        json.dumps({"0": {**one((0, 10)), "duration": "long"}}),
        json.dumps({"0": {**one((0, 10)), "startSchedule": "now"}}),
        json.dumps({"0": one((0, "10"))}),
    ],
)
def test_what_another_program_wrote_there_is_said(
    config: Path, retain: Callable[..., None], payload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    retain(state="online", charging_schedules=payload)

    assert schedule(config) == 1

    streams = capsys.readouterr()
    assert streams.out == ""
    assert "is no set of schedules" in streams.err


def test_broker_that_is_away_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(port=free_port()))

    assert schedule(path) == 1

    assert capsys.readouterr().err.startswith("no connection to the MQTT broker at 127.0.0.1:")


def test_bad_configuration_is_exit_status_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule(tmp_path / "missing.toml") == 78
    assert "missing.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("periods", "duration", "plot"),
    [
        pytest.param([(0, 8), (60, 16)], 100, "▅" * 30 + "█" * 20, id="two"),
        pytest.param([(0, 16), (61, 1), (62, 16)], 100, "█" * 30 + "▁" + "█" * 19, id="a short dip is seen"),
        pytest.param([(0, 0)], 600, " " * 50, id="nothing at all"),
        pytest.param([(0, 10)], 1, "█" * 50, id="one second"),
        pytest.param([(0, 0), (1, 10)], 2, " " * 25 + "█" * 25, id="fewer seconds than characters"),
    ],
)
def test_plot_shows_the_least_limit_of_each_slice(periods: list[tuple[int, float]], duration: int, plot: str) -> None:
    assert f"  |{plot}|" in text_of({"1": one(*periods, duration=duration)})


def test_no_line_is_longer_than_80_characters() -> None:
    week = 7 * 86_400
    text = text_of({"128": one((0, 1_234_567.8, 3), (week - 1, 0.1, 1), duration=week, unit="W")})

    assert max(map(len, text.splitlines())) <= 80
    assert "1234567.8 W" in text


def test_what_the_daemon_shows_can_be_read(make_station: MakeStation) -> None:
    station = make_station("[[connectors]]\n[[connectors]]\nphases = 1\nmax_current = 16.0\n")

    text = text_of(station.shown("charging_schedules"))

    assert [block.splitlines()[0] for block in text.split("\n\n")] == [
        "whole charge point: 600 s from 2026-11-22 10:00:00 UTC",
        "connector 1: 600 s from 2026-11-22 10:00:00 UTC",
        "connector 2: 600 s from 2026-11-22 10:00:00 UTC",
    ]
    assert "16 A  1" in text


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["schedule", "--help"])

    assert ended.value.code == 0
    assert "composite schedules" in capsys.readouterr().out
