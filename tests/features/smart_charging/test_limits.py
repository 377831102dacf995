"""What is shown on `charging_schedules` and `connector/<n>/limit`, and when (contract 2; obligations 8.3)."""

import random
from typing import Any

import pytest

from tests.features.smart_charging.conftest import MakeSite
from tests.features.smart_charging.site import ACCEPTED, Site, schedule
from tests.station import BASE

TX, DEFAULT, MAX = "TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"
QUIET = "[charging_schedules]\npublish_interval = 0\n"


def periods(site: Site, connector: int = 1) -> list[tuple[int, float]]:
    """Start and limit of the periods on `charging_schedules`."""
    shown = site.shown("charging_schedules")[str(connector)]["chargingSchedulePeriod"]
    return [(period["startPeriod"], period["limit"]) for period in shown]


def said(site: Site) -> list[tuple[str, Any]]:
    """Limits and permissions since the last look, in the order in which the hardware hears them."""
    return [
        (topic.removeprefix(f"{BASE}/connector/"), payload["limit"] if topic.endswith("limit") else payload)
        for topic, payload, *_ in site.published()
        if topic.endswith(("/limit", "/charging_permitted"))
    ]


# --- when -------------------------------------------------------------------------------------------------------------


def test_limit_is_there_from_the_start(site: Site) -> None:
    assert site.shown("connector/1/limit") == {"limit": 32.0, "unit": "A", "number_phases": 3, "until": None}


def test_a_new_profile_is_shown_at_once_and_so_is_its_end(site: Site) -> None:
    site.set_profile(1, DEFAULT, (0, 10), validTo="2026-11-22T10:05:00Z")

    assert periods(site) == [(0, 10), (300, 32)]
    assert site.shown("connector/1/limit") == {
        "limit": 10.0,
        "unit": "A",
        "number_phases": 3,
        "until": "2026-11-22T10:05:00Z",
    }

    site.ask_csms("ClearChargingProfile")
    assert periods(site) == [(0, 32)]
    assert site.shown("connector/1/limit")["until"] is None


def test_limit_switches_exactly_at_each_border_by_itself(make_site: MakeSite) -> None:
    site = make_site(QUIET)
    site.advance(0.4)
    site.begin(1)
    site.set_profile(1, TX, (0, 10), (20, 8), (60, 16, 1))

    moments = {}
    for second in range(0, 650, 2):
        site.advance(second / 10 - site.time)
        moments[second / 10] = site.limits()[0]

    assert moments[19.8] == 10
    assert moments[20] == 8
    assert moments[59.8] == 8
    assert moments[60] == 16
    assert site.shown("connector/1/limit")["number_phases"] == 1


def test_profile_that_is_not_valid_yet_begins_by_itself(make_site: MakeSite) -> None:
    site = make_site(QUIET)
    site.set_profile(1, DEFAULT, (0, 10), validFrom="2026-11-23T12:00:00Z")  # more than a day from now

    site.advance(26 * 3600 - 1)
    assert site.limits() == [32, 32]
    assert site.shown("connector/1/limit")["until"] == "2026-11-23T12:00:00Z"
    site.advance(1)

    assert site.limits() == [10, 32]


def test_daily_profile_comes_again(make_site: MakeSite) -> None:
    site = make_site(QUIET)
    site.set_profile(
        0,
        DEFAULT,
        chargingProfileKind="Recurring",
        recurrencyKind="Daily",
        chargingSchedule=schedule((0, 8), (3600, 20), startSchedule="2026-11-22T12:00:00Z"),
    )
    seen = []
    for _ in range(5):
        seen.append(site.limits()[0])
        site.advance(12 * 3600 + 1800)

    assert seen == [32, 20, 20, 20, 8]


def test_nothing_is_published_while_nothing_changes(make_site: MakeSite) -> None:
    site = make_site(QUIET)
    site.begin(1)
    site.set_profile(0, DEFAULT, (0, 10), (90_000, 8), chargingProfileKind="Relative")
    site.advance(10)
    site.published()

    site.advance(3000)

    assert [message for message in site.published() if "limit" in message.topic or "schedules" in message.topic] == []


def test_the_same_limit_is_not_published_again(site: Site) -> None:
    site.set_profile(1, DEFAULT, (0, 10), number=1)
    site.published()

    site.set_profile(1, DEFAULT, (0, 10), number=2)

    assert said(site) == []


def test_what_would_begin_with_a_transaction_stands_still_without_one(site: Site) -> None:
    """SC-07 is for the schedules; the limit of an idle connector does not change by time alone."""
    site.set_profile(1, DEFAULT, (0, 10), (60, 8), chargingProfileKind="Relative")
    assert periods(site) == [(0, 10), (60, 8)]
    assert site.shown("connector/1/limit")["until"] is None
    site.published()

    site.advance(300)
    assert said(site) == []

    site.begin(1)
    assert site.shown("connector/1/limit")["until"] == "2026-11-22T10:06:00Z"
    site.advance(60)
    assert site.limits() == [8, 32]


def test_transaction_begins_and_ends_its_schedules(site: Site) -> None:
    site.set_profile(1, DEFAULT, (0, 10), (60, 8))
    site.begin(1)
    site.advance(45)
    assert periods(site) == [(0, 10), (30, 8)]  # published 15 s ago

    site.end(1)

    assert periods(site) == [(0, 10), (60, 8)]


@pytest.mark.parametrize("unit", ["A", "W"])
def test_unit_is_configured(make_site: MakeSite, unit: str) -> None:
    site = make_site(f'[charging_schedules]\nunit = "{unit}"\n')

    site.set_profile(1, DEFAULT, chargingSchedule=schedule((0, 11_000), unit="W"))

    assert site.shown("connector/1/limit")["unit"] == unit
    assert site.limits()[0] == {"A": 15.9, "W": 11_000}[unit]


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "limit"), [(3600, 8), (-3600, 20)], ids=["forward", "back"])
def test_a_clock_that_is_set_is_noticed(make_site: MakeSite, step: float, limit: float) -> None:
    """The machine's clock steps over a border, and no timer hears of it."""
    site = make_site(QUIET)
    fixed = {"startSchedule": "2026-11-22T09:30:00Z"}
    site.set_profile(1, DEFAULT, chargingSchedule=schedule((0, 16), (3600, 8), **fixed))
    site.set_profile(1, DEFAULT, (0, 20), number=2, level=1, validTo="2026-11-22T09:50:00Z")
    assert site.limits()[0] == 16

    site.clock_error = step
    site.advance(30)

    assert site.limits()[0] == limit


def test_clock_of_the_csms_counts_as_soon_as_it_is_told(make_site: MakeSite) -> None:
    """BT-22: a machine without a clock of its own."""
    site = make_site(QUIET)
    site.set_profile(1, DEFAULT, (0, 10), validFrom="2026-11-22T10:00:00Z")
    site.clock_error = -1e9
    site.boot_id = "boot-2"

    site.kill()
    site.connect_broker()
    assert site.limits() == [32, 32]
    site.go_online()

    assert site.limits() == [10, 32]
    assert site.shown("charging_schedules")["1"]["startSchedule"] == site.now()


# --- status -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 5.9])
def test_limit_below_6_a_suspends_and_permits_on(site: Site, limit: float) -> None:
    site.begin(1)
    assert site.status() == "Charging"

    site.set_profile(1, TX, (0, limit), (60, 6))

    assert site.status() == "SuspendedEVSE"
    assert site.shown("connector/1/transaction")["charging_state"] == "SuspendedEVSE"
    assert site.permitted()[0] is True
    site.advance(60)
    assert site.status() == "Charging"
    assert site.permitted()[0] is True


def test_watts_suspend_by_phase(make_site: MakeSite) -> None:
    site = make_site('[charging_schedules]\nunit = "W"\n')
    site.begin(1)

    site.set_profile(1, TX, chargingSchedule=schedule((0, 4139), unit="W"))
    assert site.status() == "SuspendedEVSE"

    site.set_profile(1, TX, chargingSchedule=schedule((0, 1380, 1), unit="W"))
    assert site.status() == "Charging"


def test_suspended_transaction_is_so_after_a_kill(site: Site) -> None:
    site.begin(1)
    site.set_profile(1, TX, (0, 0))

    site.restart()

    assert site.status() == "SuspendedEVSE"
    assert site.permitted()[0] is True


def test_idle_connector_with_limit_0_is_available(site: Site) -> None:
    site.set_profile(0, DEFAULT, (0, 0))

    assert site.status() == "Available"


# --- several share ----------------------------------------------------------------------------------------------------


def test_share_shrinks_before_the_newcomer_may_charge(site: Site) -> None:
    site.set_profile(0, MAX, (0, 32))
    site.begin(2)
    site.published()

    site.begin(1)

    assert said(site) == [("1/limit", 16.0), ("2/limit", 16.0), ("1/charging_permitted", True)]


def test_share_of_a_leaver_goes_to_others_after_he_may_not_charge(site: Site) -> None:
    site.set_profile(0, MAX, (0, 32))
    site.begin(1)
    site.begin(2)
    site.published()

    site.end(1)

    assert said(site) == [("1/charging_permitted", False), ("1/limit", 32.0), ("2/limit", 32.0)]


def test_share_of_a_leaver_who_waits_for_no_reading_is_not_given_too_early(make_site: MakeSite) -> None:
    site = make_site("[transactions]\nstop_meter_wait = 0\n")
    site.set_profile(0, MAX, (0, 32))
    site.begin(1)
    site.begin(2)
    site.published()

    site.present(1)

    assert said(site) == [("1/charging_permitted", False), ("1/limit", 32.0), ("2/limit", 32.0)]


def test_transaction_that_waits_for_its_last_reading_has_no_share(site: Site) -> None:
    site.set_profile(0, MAX, (0, 32))
    site.begin(1)
    site.begin(2)
    site.present(1)
    assert site.permitted() == [False, True]
    assert site.shown("connector/1/transaction") is not None

    site.set_profile(0, MAX, (0, 30))

    assert site.limits()[1] == 30


def test_what_shrinks_is_said_before_what_rises(site: Site) -> None:
    """At a border one takes what another leaves."""
    site.set_profile(0, MAX, (0, 32))
    site.begin(1)
    site.begin(2)
    site.set_profile(1, TX, (0, 8), (60, 32), number=2)
    assert site.limits() == [8, 24]
    site.published()

    site.advance(60)

    assert said(site) == [("2/limit", 16.0), ("1/limit", 16.0)]


def test_earliest_gets_what_is_not_enough_for_all(make_site: MakeSite) -> None:
    site = make_site(connectors=3)
    site.set_profile(0, MAX, (0, 13))
    for connector in (3, 1, 2):
        site.begin(connector)
        site.advance(1)

    assert site.limits() == [6.5, 0, 6.5]
    assert [site.status(connector) for connector in (1, 2, 3)] == ["Charging", "SuspendedEVSE", "Charging"]
    assert site.permitted() == [True, True, True]


def test_offline_the_rules_go_on(site: Site) -> None:
    """SC-15."""
    site.configure_offline()
    site.set_profile(0, MAX, (0, 32))
    site.begin(1)
    site.set_profile(1, TX, (0, 10), (60, 20), number=2)

    site.go_offline()
    site.advance(60)
    assert site.limits()[0] == 20
    site.begin(2)

    assert site.limits() == [16, 16]


@pytest.mark.parametrize("seed", range(4))
def test_never_is_the_sum_above_what_all_may_draw(make_site: MakeSite, seed: int) -> None:
    """Sessions begin and end, profiles come and go, time passes: message by message."""
    chance = random.Random(seed)
    site = make_site("[transactions]\nstop_meter_wait = 0\n" if seed % 2 else "", connectors=4)
    site.set_profile(0, MAX, (0, 40), number=1000)

    def profile_of_a_connector(connector: int) -> None:
        levels = sorted((chance.randrange(1, 300), chance.randrange(0, 40)) for _ in range(3))
        steps = dict([(0, chance.randrange(0, 40)), *levels])
        answer = site.set_profile(connector, chance.choice([TX, DEFAULT]), *steps.items(), number=connector)
        assert "status" in answer

    def toggle(connector: int) -> None:
        (site.end if site.shown(f"connector/{connector}/transaction") else site.begin)(connector)

    for _ in range(150):
        connector = chance.randrange(1, 5)
        match chance.randrange(5):
            case 0:
                profile_of_a_connector(connector)
            case 1:
                site.advance(chance.randrange(100))
            case _:
                toggle(connector)
        site.serve()

    assert 32 < site.highest_sum() <= 40


def test_offline_profile_and_sessions_are_the_same_after_a_kill(site: Site) -> None:
    site.configure_offline()
    assert site.set_profile(0, MAX, (0, 24), (100, 32)) == ACCEPTED
    site.go_offline()
    site.begin(2)
    site.begin(1)
    site.advance(50)
    before = site.limits(), site.shown("connector/1/limit")["until"]

    site.kill()
    site.connect_broker()
    assert (site.limits(), site.shown("connector/1/limit")["until"]) == before
    site.advance(50)

    assert site.limits() == [16, 16]
