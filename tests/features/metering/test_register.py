"""The register: what is stored of it, what a transaction counts from, and a meter that is silent (contract 4, 5)."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.metering.site import (
    CHARGING,
    REGISTER,
    Commits,
    collected,
    config,
    meter,
    plug,
    ready,
    sampled,
    sent_values,
    stopped,
    unplug,
)
from tests.station import Station


def started(station: Station) -> list[tuple[int, int]]:
    """Connector and meterStart of each StartTransaction."""
    frames = [frame[3] for frame in collected(station) if frame[2] == "StartTransaction"]
    return [(payload["connectorId"], payload["meterStart"]) for payload in frames]


# -- on disk


def test_readings_are_not_written_one_by_one(make_station: MakeStation) -> None:
    """TX-05: at most once in 60 s, all connectors in one commit."""
    station = make_station(config(3))
    ready(station, connectors=3)
    station.advance(1)
    commits = Commits(station)
    for second in range(180):
        for connector in (1, 2, 3):
            meter(station, 1000 + second, connector)
        station.advance(1)

    assert commits.count == 3


def test_register_that_stands_still_is_not_written(make_station: MakeStation) -> None:
    """Flash wears."""
    station = make_station(config())
    ready(station)
    meter(station, 1000)
    station.advance(60)
    commits = Commits(station)
    for _ in range(300):
        meter(station, 1000.3)
        station.advance(1)

    assert commits.count == 0


def test_stored_register_is_meter_start_where_there_is_no_reading(make_station: MakeStation) -> None:
    """Contract 4."""
    station = make_station(config(2))
    meter(station, 1000.9, 1)
    meter(station, 2000.9, 2)
    station.advance(60)
    meter(station, 3000, 2)
    station.kill()
    station.connect_broker()
    ready(station, connectors=2)

    plug(station, 1)
    plug(station, 2)

    assert started(station) == [(1, 1000), (2, 2000)]


def test_first_start_without_any_reading_is_0(make_station: MakeStation) -> None:
    """Contract 4: its registers count from the first reading."""
    station = make_station(config())
    ready(station)
    plug(station)
    assert started(station) == [(1, 0)]
    meter(station, 5000.5)
    meter(station, 5100.5)
    station.advance(60)

    assert [one["value"] for one in sampled(sent_values(station))] == ["100.5"]
    unplug(station)
    assert stopped(station)["meterStop"] == 100


def test_offset_outlives_the_process(make_station: MakeStation) -> None:
    station = make_station(config())
    ready(station)
    plug(station)
    meter(station, 5000)
    collected(station)
    station.kill()
    station.connect_broker()
    meter(station, 5250)

    plug(station)
    station.register()
    station.advance(60)

    assert [one["value"] for one in sampled(sent_values(station))] == ["250"]


@pytest.mark.parametrize("phases", [{"L1": 300, "L2": 300, "L3": 400.7}, {"total": 1000.7, "L1": 5}], ids=str)
def test_register_by_phases(make_station: MakeStation, phases: dict[str, float]) -> None:
    """TX-03: their sum, unless there is a total."""
    station = make_station(config())
    ready(station)
    station.publish("hardware/connector/1/meter", {REGISTER: phases})
    plug(station)

    assert started(station) == [(1, 1000)]


def test_reading_before_the_hardware_said_what_is_plugged_is_taken(make_station: MakeStation) -> None:
    """A transaction without a register is open, and nobody knows yet whether it goes on."""
    station = make_station(config())
    ready(station)
    plug(station)
    collected(station)
    station.kill()
    station.connect_broker()

    meter(station, 5000)

    plug(station)
    station.register()
    unplug(station)
    assert stopped(station)["meterStop"] == 0
    station.advance(60)
    assert station.shown("health")["errors"] == {}


def test_stop_before_the_hardware_said_what_is_plugged(make_station: MakeStation) -> None:
    station = make_station(config())
    ready(station)
    meter(station, 1000)
    plug(station)
    collected(station)
    station.kill()
    station.connect_broker()
    station.register()

    station.publish("request/stop", {})
    station.advance(20)

    assert station.published("response/stop")[-1]["data"] is True


def test_last_reading_of_a_program_that_is_gone_counts(make_station: MakeStation) -> None:
    """TX-04: the last good value."""
    station = make_station(config())
    ready(station)
    station.publish("hardware/connector/1/meter/m", {REGISTER: 1000})
    plug(station)
    collected(station)
    station.advance(61)
    station.publish("hardware/connector/1/meter/m", {REGISTER: 1400})

    station.publish("hardware/state/m", "offline")

    unplug(station)
    assert stopped(station)["meterStop"] == 1400


# -- the time of a reading


@pytest.mark.parametrize(
    ("offset", "timestamp", "waits"),
    [
        (0, "2026-11-22T10:00:10Z", False),
        (0, "2026-11-22T11:00:10Z", False),  # not known before now
        (0, "2026-11-22T10:00:09Z", True),  # older than the end
        (-3600, "2026-11-22T09:00:10Z", True),  # the machine's clock is behind the CSMS's
        (86400 * 5000, "2040-08-01T10:00:10Z", False),  # or far ahead
    ],
    ids=str,
)
def test_stop_waits_for_a_reading_younger_than_the_end(
    make_station: MakeStation, offset: float, timestamp: str, *, waits: bool
) -> None:
    """Contract 4."""
    station = make_station(config())
    station.clock_error = offset
    ready(station)
    meter(station, 1000)
    plug(station)
    collected(station)
    station.advance(10)
    station.publish("hardware/connector/1/state", {})

    meter(station, 1500, timestamp=timestamp)

    stops = [frame for frame in collected(station) if frame[2] == "StopTransaction"]
    assert len(stops) == (0 if waits else 1)
    assert station.shown("health") is None or station.shown("health")["errors"] == {}


# -- a silent meter


STALE = config(transactions="meter_stale_after = 30", MeterValueSampleInterval=0)


def error_codes(station: Station) -> list[str]:
    return [frame[3]["errorCode"] for frame in collected(station) if frame[2] == "StatusNotification"]


def silent(make_station: MakeStation, state: dict[str, Any] = CHARGING) -> Station:
    """A transaction has begun 20 s after the last reading."""
    station = make_station(STALE)
    ready(station)
    meter(station, 1000)
    station.advance(20)
    station.publish("hardware/connector/1/state", state)
    collected(station)
    return station


def test_silent_meter_is_reported_and_cleared_with_the_next_reading(make_station: MakeStation) -> None:
    """Contract 5."""
    station = silent(make_station)
    station.advance(29)
    assert "PowerMeterFailure" not in error_codes(station)
    station.advance(1)
    assert error_codes(station) == ["PowerMeterFailure"]
    assert station.shown("connector/1/status")["status"] == "Charging"

    station.publish("hardware/connector/1/meter", {"SoC": 5})

    assert error_codes(station) == ["NoError"]
    station.advance(30)
    assert error_codes(station) == ["PowerMeterFailure"]


def test_readings_keep_it_quiet(make_station: MakeStation) -> None:
    station = silent(make_station)
    for _ in range(20):
        station.advance(29)
        meter(station, 1000)

    assert "PowerMeterFailure" not in error_codes(station)


def test_meter_may_be_silent_while_nothing_flows(make_station: MakeStation) -> None:
    """Contract 5: while charging; the wait begins with it."""
    station = silent(make_station, {"plugged": True, "evse_ready": True})
    station.advance(100)
    assert "PowerMeterFailure" not in error_codes(station)

    station.publish("hardware/connector/1/state", CHARGING)

    station.advance(29)
    assert "PowerMeterFailure" not in error_codes(station)
    station.advance(1)
    assert error_codes(station) == ["PowerMeterFailure"]


@pytest.mark.parametrize("seconds", [10, 40], ids=["before it is reported", "after"])
def test_end_of_the_transaction_clears_it(make_station: MakeStation, seconds: float) -> None:
    station = silent(make_station)
    station.advance(seconds)

    unplug(station)
    station.advance(100)

    assert error_codes(station)[-1] == "NoError"
    assert station.shown("connector/1/status")["error_code"] == "NoError"


def test_never_by_default(make_station: MakeStation) -> None:
    station = make_station(config())
    ready(station)
    plug(station)
    station.advance(10_000)

    assert "PowerMeterFailure" not in error_codes(station)
