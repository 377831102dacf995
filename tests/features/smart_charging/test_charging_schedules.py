"""`charging_schedules` from the configured limits: contract 2."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.station import Station


def limits(station: Station) -> dict[str, tuple[float, int]]:
    """Limit and number of phases of the one period each connector has."""
    shown = {}
    for connector, schedule in station.shown("charging_schedules").items():
        (period,) = schedule["chargingSchedulePeriod"]
        assert period["startPeriod"] == 0
        shown[connector] = (period["limit"], period["numberPhases"])
    return shown


def test_schedule_has_the_form_of_ocpp(make_station: MakeStation) -> None:
    """Contract 2: the example there."""
    station = make_station("[[connectors]]\n[[connectors]]\n")

    def schedule(limit: float) -> dict[str, Any]:
        return {
            "duration": 600,
            "startSchedule": "2026-11-22T10:00:00Z",
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit, "numberPhases": 3}],
        }

    assert station.shown("charging_schedules") == {"0": schedule(64.0), "1": schedule(32.0), "2": schedule(32.0)}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param("", {"0": (32.0, 3), "1": (32.0, 3)}, id="one connector"),
        pytest.param(
            "[[connectors]]\nmax_current = 16.0\nphases = 1\n[[connectors]]\nmax_current = 63\n",
            {"0": (79.0, 3), "1": (16.0, 1), "2": (63.0, 3)},
            id="different connectors",
        ),
        pytest.param(
            "[[connectors]]\nmax_current = 16.0\n[charging_schedules]\ndefault_limit_amps = 20.0\n",
            {"0": (16.0, 3), "1": (16.0, 3)},
            id="not above max_current",
        ),
        pytest.param(
            "[charging_schedules]\ndefault_limit_amps = 0.0\n", {"0": (0.0, 3), "1": (0.0, 3)}, id="nothing at all"
        ),
        pytest.param(
            "[charging_schedules]\ndefault_limit_amps = 10\ndefault_number_phases = 1\n",
            {"0": (10.0, 1), "1": (10.0, 1)},
            id="fewer phases",
        ),
        pytest.param(
            "[[connectors]]\nmax_current = 16.07\n", {"0": (16.0, 3), "1": (16.0, 3)}, id="rounded down, never up"
        ),
        pytest.param(
            '[[connectors]]\nmax_current = 16.1\n[[connectors]]\nphases = 1\n[charging_schedules]\nunit = "W"\n',
            {"0": (18469.0, 3), "1": (11109.0, 3), "2": (7360.0, 1)},
            id="W",
        ),
        pytest.param(
            '[charging_schedules]\nunit = "W"\nsupply_voltage = 100.5\ndefault_limit_amps = 1\n',
            {"0": (301.5, 3), "1": (301.5, 3)},
            id="W at another voltage",
        ),
    ],
)
def test_limits_are_those_of_the_file(
    make_station: MakeStation, config: str, expected: dict[str, tuple[float, int]]
) -> None:
    assert limits(make_station(config)) == expected


def test_schedules_are_published_every_30_s(station: Station) -> None:
    station.published()

    station.advance(90)

    starts = [schedules["1"]["startSchedule"] for schedules in station.published("charging_schedules")]
    assert starts == ["2026-11-22T10:00:30Z", "2026-11-22T10:01:00Z", "2026-11-22T10:01:30Z"]


@pytest.mark.parametrize(("interval", "count"), [(0, 0), (7.5, 8)])
def test_interval_and_duration_are_configured(make_station: MakeStation, interval: float, count: int) -> None:
    station = make_station(f"[charging_schedules]\npublish_interval = {interval}\nduration = 3600\n")
    assert station.shown("charging_schedules")["0"]["duration"] == 3600
    station.published()

    station.advance(60)

    assert len(station.published("charging_schedules")) == count


def test_schedule_starts_at_a_whole_second(make_station: MakeStation) -> None:
    station = make_station("[charging_schedules]\npublish_interval = 0.7\n")

    station.advance(0.7)

    assert station.shown("charging_schedules")["0"]["startSchedule"] == "2026-11-22T10:00:00Z"
