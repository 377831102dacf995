"""`set_local_limit`: contract 3."""

from typing import Any

import pytest

from tests.features.smart_charging.conftest import MakeSite
from tests.features.smart_charging.site import Site, schedule


def limit(site: Site, connector: int, value: float | None, unit: str = "A") -> Any:
    return site.request("set_local_limit", connector_id=connector, limit=value, unit=unit)


def test_local_limit_is_seen_in_limit_and_schedules_at_once(site: Site) -> None:
    reply = limit(site, 1, 12.5)

    assert (reply["status"], reply["data"]) == ("ok", None)
    assert site.limits() == [12.5, 32]
    shown = site.shown("charging_schedules")
    assert [shown[key]["chargingSchedulePeriod"][0]["limit"] for key in "012"] == [44.5, 12.5, 32]
    assert site.composite() == [(0, 12.5)]


@pytest.mark.parametrize(("local", "expected"), [(8, 8), (16, 10), (1000, 10), (0, 0)])
def test_local_limit_lowers_and_never_raises(site: Site, local: float, expected: float) -> None:
    site.set_profile(1, "TxDefaultProfile", (0, 10))

    limit(site, 1, local)

    assert site.limits()[0] == expected


@pytest.mark.parametrize(("unit", "value"), [("A", 20), ("W", 13_800)])
def test_those_with_a_transaction_share_the_limit_of_connector_0(site: Site, unit: str, value: float) -> None:
    site.begin(1)
    site.begin(2)

    limit(site, 0, value, unit)

    assert site.limits() == [10, 10]
    assert site.composite(0) == [(0, 20)]


def test_watts_are_those_of_all_phases(make_site: MakeSite) -> None:
    site = make_site('[charging_schedules]\nunit = "W"\n')

    limit(site, 1, 6900, "W")

    assert site.limits()[0] == 6900
    site.set_profile(1, "TxDefaultProfile", chargingSchedule=schedule((0, 6000), unit="W"))
    assert site.limits()[0] == 6000


def test_a_later_limit_replaces_and_null_clears(site: Site) -> None:
    limit(site, 1, 10)
    limit(site, 1, 12)
    assert site.limits()[0] == 12

    assert limit(site, 1, None)["status"] == "ok"

    assert site.limits()[0] == 32


def test_local_limit_is_kept_over_a_kill(site: Site) -> None:
    limit(site, 0, 20)
    limit(site, 2, 8.05)

    site.restart()

    assert site.composite(0) == [(0, 20)]
    assert site.limits() == [20, 8]


def test_local_limit_is_stored_while_ocpp_is_stopped(site: Site) -> None:
    """Contract 3."""
    assert site.ask("stop") is True

    assert limit(site, 1, 10)["status"] == "ok"

    site.restart()
    assert site.limits()[0] == 10


def test_local_limit_below_6_a_suspends(site: Site) -> None:
    site.begin(1)

    limit(site, 0, 5)
    assert site.status() == "SuspendedEVSE"

    limit(site, 0, None)
    assert site.status() == "Charging"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"connector_id": 3, "limit": 10, "unit": "A"}, "connector_id"),
        ({"connector_id": -1, "limit": 10, "unit": "A"}, "connector_id"),
        ({"connector_id": "1", "limit": 10, "unit": "A"}, "connector_id"),
        ({"limit": 10, "unit": "A"}, "connector_id"),
        ({"connector_id": 1, "unit": "A"}, "limit"),
        ({"connector_id": 1, "limit": -1, "unit": "A"}, "limit"),
        ({"connector_id": 1, "limit": 1e300, "unit": "A"}, "limit"),
        ({"connector_id": 1, "limit": "10", "unit": "A"}, "limit"),
        ({"connector_id": 1, "limit": True, "unit": "A"}, "limit"),
        ({"connector_id": 1, "limit": 10, "unit": "kW"}, "unit"),
        ({"connector_id": 1, "limit": 10, "unit": "A", "phases": 1}, "phases"),
    ],
    ids=str,
)
def test_bad_request_names_the_argument_and_changes_nothing(site: Site, arguments: dict[str, Any], named: str) -> None:
    reply = site.request("set_local_limit", **arguments)

    assert reply["error"]["code"] == "bad_request"
    assert named in reply["error"]["message"]
    assert site.limits() == [32, 32]


@pytest.mark.parametrize("constant", ["NaN", "Infinity"])
def test_a_limit_that_is_no_number_is_bad_json(site: Site, constant: str) -> None:
    site.published()

    site.publish("request/set_local_limit", f'{{"connector_id":1,"limit":{constant},"unit":"A"}}')

    (reply,) = site.published("response/set_local_limit")
    assert reply["error"]["code"] == "bad_json"
    assert site.limits() == [32, 32]
