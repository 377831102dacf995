"""A meter's nonsense is logged, counted, and changes nothing (contract 4)."""

import json
import logging
from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.metering.site import REGISTER, config, meter, plug, ready, sampled, sent_values
from tests.station import Station


@pytest.fixture
def charging(make_station: MakeStation) -> Station:
    """A transaction runs; the meter is at 1000 Wh."""
    station = make_station(config(MeterValuesSampledData=[REGISTER, "SoC"]))
    ready(station)
    meter(station, 1000)
    plug(station)
    sent_values(station)
    return station


DEEP = "[" * 60_000

NONSENSE: dict[str, Any] = {
    "null": "null",
    "no object": [1],
    "nothing": {},
    "NaN": '{"SoC":NaN}',
    "Infinity": '{"SoC":Infinity}',
    "too large": '{"SoC":1e999}',
    "too many digits": '{"SoC":' + "9" * 5000 + "}",
    "as many digits as a float has": '{"SoC":' + "9" * 400 + "}",
    "a string": {"SoC": "55"},
    "a boolean": {"SoC": True},
    "no number": {"SoC": None},
    "nested": {"SoC": {"L1": {"L1": 5}}},
    "deep": DEEP,
    "deep object": '{"SoC":' * 10_000,
    "huge": json.dumps({"SoC": 5, "x": "y" * 70_000}),
    "unknown measurand": {"SoC": 5, "Soc": 5},
    "unknown phase": {"SoC": 5, "Voltage": {"L9": 5}},
    "half of it wrong": {REGISTER: 5000, "SoC": "x"},
    "tomorrow but one": {"SoC": 5, "timestamp": "2026-11-24T10:00:01Z"},
    "the end of time": {"SoC": 5, "timestamp": "9999-12-31T23:59:59Z"},
    "the year 1": {"SoC": 5, "timestamp": "0001-01-01T00:00:00Z"},
    "before meters spoke": {"SoC": 5, "timestamp": "1970-01-01T00:00:00Z"},
    "no time": {"SoC": 5, "timestamp": "10:00"},
    "no JSON": b"\xff\xfe",
}


@pytest.mark.parametrize("payload", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_changes_nothing(charging: Station, payload: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        charging.publish("hardware/connector/1/meter", payload)

    assert "hardware/connector/1/meter is ignored" in caplog.text
    assert len(caplog.text) < 1000
    charging.advance(60)
    assert [(value["measurand"], value["value"]) for value in sampled(sent_values(charging))] == [(REGISTER, "1000")]
    assert charging.shown("health")["errors"] == {"hardware_input": 1}


@pytest.mark.parametrize("connector", ["2", "-1", "x", "²", "1.0", ""])
def test_connector_that_there_is_not(charging: Station, connector: str) -> None:
    charging.publish(f"hardware/connector/{connector}/meter", {REGISTER: 5000})

    charging.advance(60)
    assert [value["value"] for value in sampled(sent_values(charging))] == ["1000"]
    assert charging.shown("health")["errors"] == {"hardware_input": 1}


def test_empty_payload_only_clears_a_retained_reading(charging: Station) -> None:
    charging.publish("hardware/connector/1/meter", b"")

    charging.advance(60)
    assert [value["value"] for value in sampled(sent_values(charging))] == ["1000"]
    assert charging.shown("health")["errors"] == {}


def test_what_is_said_of_its_time_may_be_null(charging: Station) -> None:
    charging.publish("hardware/connector/1/meter", {REGISTER: 1500, "timestamp": None, "signed": None})

    charging.advance(60)
    assert [value["value"] for value in sampled(sent_values(charging))] == ["1500"]


@pytest.mark.parametrize("timestamp", ["2026-11-22T09:59:00Z", "2026-11-22T10:00:00", "2020-01-01T00:00:00+02:00"])
def test_time_of_a_reading_is_taken(charging: Station, timestamp: str) -> None:
    meter(charging, 1500, timestamp=timestamp)

    charging.advance(60)
    assert [value["value"] for value in sampled(sent_values(charging))] == ["1500"]
