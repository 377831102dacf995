"""Clock-aligned meter values: MV-03, MV-04, MV-05; OCTT TC_071."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ocpp16_bridge.features.metering.metering import aligned_after, aligned_before
from tests.conftest import MakeStation
from tests.features.metering.site import (
    REGISTER,
    change,
    collected,
    config,
    meter,
    moments,
    plug,
    ready,
    sampled,
    sent_values,
)
from tests.station import Station


def station_with_meter(make_station: MakeStation, configuration: str) -> Station:
    """At 10:00."""
    station = make_station(configuration)
    ready(station)
    meter(station, 1000)
    station.disconnect()
    return station


# -- the instants


@pytest.mark.parametrize(
    ("interval", "moment", "before", "after"),
    [
        (900, "22T10:00:00", "22T09:45:00", "22T10:15:00"),
        (900, "22T10:00:01", "22T10:00:00", "22T10:15:00"),
        (900, "22T23:50:00", "22T23:45:00", "23T00:00:00"),
        (900, "22T00:00:00", "21T23:45:00", "22T00:15:00"),
        (86400, "22T12:00:00", "22T00:00:00", "23T00:00:00"),
        (86400, "22T00:00:00", "21T00:00:00", "23T00:00:00"),
        (50000, "22T13:00:00", "22T00:00:00", "22T13:53:20"),
        (50000, "22T14:00:00", "22T13:53:20", "23T00:00:00"),
        (50000, "23T00:00:00", "22T13:53:20", "23T13:53:20"),
        (7, "22T23:59:58", "22T23:59:54", "23T00:00:00"),
        (1, "22T10:00:00", "22T09:59:59", "22T10:00:01"),
    ],
    ids=str,
)
def test_instants_are_multiples_since_midnight(interval: int, moment: str, before: str, after: str) -> None:
    """MV-03: a length that doesn't divide the day begins again at midnight, UTC."""
    now = datetime.fromisoformat("2026-11-" + moment).replace(tzinfo=UTC)

    assert aligned_after(now, interval) == datetime.fromisoformat("2026-11-" + after).replace(tzinfo=UTC)
    assert aligned_before(now, interval) == datetime.fromisoformat("2026-11-" + before).replace(tzinfo=UTC)


# -- when


def test_values_are_sent_at_the_aligned_instants(make_station: MakeStation) -> None:
    """MV-03; TC_071_CS."""
    station = station_with_meter(make_station, config(ClockAlignedDataInterval=900, MeterValueSampleInterval=0))
    station.advance(100)
    plug(station)
    collected(station)
    station.disconnect()

    station.advance(1800)

    payloads = sent_values(station)
    assert moments(payloads) == ["10:15:00", "10:30:00"]
    assert {one["context"] for one in sampled(payloads)} == {"Sample.Clock"}
    assert [payload["transactionId"] for payload in payloads] == [7, 7]


def test_off_until_switched_on(make_station: MakeStation) -> None:
    station = station_with_meter(make_station, config())
    station.advance(3600)
    assert sent_values(station) == []

    change(station, "ClockAlignedDataInterval", 600)
    station.advance(600)

    assert moments(sent_values(station)) == ["11:10:00"]
    change(station, "ClockAlignedDataInterval", 0)
    station.advance(3600)
    assert sent_values(station) == []


def test_late_process_stamps_the_instant(make_station: MakeStation) -> None:
    """MV-03."""
    station = station_with_meter(make_station, config(ClockAlignedDataInterval=900))
    station.advance(899)
    station.time += 3
    station.charge_point.timers.run_due()
    station.settle()

    assert moments(sent_values(station)) == ["10:15:00"]


@pytest.mark.parametrize(
    ("at", "step", "expected"),
    [
        (300, 300, ["10:15:00", "10:30:00"]),  # after it: five minutes earlier
        (300, -240, ["10:15:00"]),
        (890, 30, ["10:15:00", "10:30:00"]),  # over an instant
        (890, 3 * 3600, ["13:30:00"]),  # over many, long ago: nothing was measured then
        (910, -30, ["10:15:00", "10:30:00"]),  # back over one: not twice
        (910, -1820, ["10:15:00", "09:45:00", "10:00:00"]),  # far back: the day is lived again
        (901, -0.9, ["10:15:00", "10:30:00"]),
    ],
    ids=str,
)
def test_clock_step(make_station: MakeStation, at: float, step: float, expected: list[str]) -> None:
    """Nobody tells us of it, so the clock is looked at."""
    station = station_with_meter(make_station, config(ClockAlignedDataInterval=900))
    station.advance(at)

    station.clock_error = step
    station.advance(1850 - at - max(step, 0) % 900)

    assert moments(sent_values(station)) == expected


def test_step_is_seen_before_the_next_instant(make_station: MakeStation) -> None:
    """The value is that of the instant, not of some minutes later."""
    station = station_with_meter(make_station, config(ClockAlignedDataInterval=900))
    station.advance(60)
    station.clock_error = 600
    station.advance(15)
    meter(station, 1500)
    station.advance(225)

    payloads = sent_values(station)

    assert (moments(payloads), station.time) == (["10:15:00"], 300)


# -- of what


def test_connectors_without_a_transaction_have_values_too(make_station: MakeStation) -> None:
    """MV-04, MV-06: no transactionId; connector 2 has no meter, and there is no main meter."""
    station = station_with_meter(make_station, config(2, ClockAlignedDataInterval=900))
    station.advance(900)

    (payload,) = sent_values(station)

    assert payload["connectorId"] == 1
    assert "transactionId" not in payload


def test_main_meter_is_connector_0(make_station: MakeStation) -> None:
    """MV-04, MV-06, MV-07."""
    station = station_with_meter(make_station, config(ClockAlignedDataInterval=900, MeterValueSampleInterval=0))
    meter(station, 99_000, 0)
    plug(station)
    collected(station)
    station.disconnect()
    station.advance(900)

    main, own = sent_values(station)

    assert (main["connectorId"], own["connectorId"]) == (0, 1)
    assert "transactionId" not in main
    assert sampled([main]) == [
        {
            "value": "99000",
            "context": "Sample.Clock",
            "format": "Raw",
            "measurand": REGISTER,
            "location": "Inlet",
            "unit": "Wh",
        }
    ]


def test_list_of_its_own(make_station: MakeStation) -> None:
    """MV-03, MV-15."""
    station = station_with_meter(
        make_station, config(ClockAlignedDataInterval=900, MeterValuesAlignedData=["SoC"], MeterValueSampleInterval=0)
    )
    meter(station, 1000, SoC=5)
    station.advance(900)
    assert [one["measurand"] for one in sampled(sent_values(station))] == ["SoC"]

    change(station, "MeterValuesAlignedData", "")
    station.advance(900)

    assert [one["measurand"] for one in sampled(sent_values(station))] == [REGISTER]


INTERVAL = "Energy.Active.Import.Interval"


def test_interval_measurand_bears_the_start_of_the_interval(make_station: MakeStation) -> None:
    """MV-05."""
    keys: dict[str, Any] = {"MeterValuesAlignedData": [INTERVAL], "MeterValueSampleInterval": 0}
    station = station_with_meter(make_station, config(ClockAlignedDataInterval=900, **keys))
    meter(station, 1000, **{INTERVAL: 5})
    station.advance(900)
    assert moments(sent_values(station)) == ["10:00:00"]
    station.advance(60)

    plug(station)
    collected(station)
    station.disconnect()
    station.advance(840 + 900)

    # The first part counts from the beginning of the transaction.
    assert moments(sent_values(station)) == ["10:16:00", "10:30:00"]


def test_last_interval_of_the_day_may_be_shorter(make_station: MakeStation) -> None:
    """MV-05."""
    station = station_with_meter(
        make_station, config(ClockAlignedDataInterval=50_000, MeterValuesAlignedData=[INTERVAL])
    )
    meter(station, 1000, **{INTERVAL: 5})

    station.advance(14 * 3600)

    assert moments(sent_values(station)) == ["00:00:00", "13:53:20"]
