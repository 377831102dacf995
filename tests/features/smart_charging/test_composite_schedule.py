"""Composite schedules: obligations 8.3, contract 2. Profiles begin in relation to NOW."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ocpp.v16.enums import ChargingRateUnitType

from ocpp16_bridge.features.smart_charging.composite_schedule import (
    HORIZON,
    ChargePointFacts,
    CompositeSchedule,
    ConnectorFacts,
    CurrentLimit,
    LocalLimit,
    RunningTransaction,
    composite_schedules,
    current_limits,
)
from ocpp16_bridge.features.smart_charging.profile import ChargingProfile, read_profile

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)  # a Sunday
DAY = 86_400
AMPS, WATTS = ChargingRateUnitType.amps, ChargingRateUnitType.watts


def at(seconds: float, origin: datetime = NOW) -> datetime:
    return origin + timedelta(seconds=seconds)


def started(seconds: float = 0, number: int = 1) -> RunningTransaction:
    return RunningTransaction(f"session {number}", at(seconds), number)


def profile(
    purpose: str,
    *periods: tuple[Any, ...],
    connector_id: int = 1,
    kind: str = "Absolute",
    start: datetime | None = NOW,
    duration: int | None = None,
    stack: int = 0,
    unit: str = "A",
    received_at: datetime = NOW,
    session_id: str | None = None,
    **members: Any,
) -> ChargingProfile:
    names = ("startPeriod", "limit", "numberPhases")
    schedule: dict[str, Any] = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [dict(zip(names, period, strict=False)) for period in periods],
    }
    if start is not None:
        schedule["startSchedule"] = start.isoformat()
    if duration is not None:
        schedule["duration"] = duration
    payload = {
        "chargingProfileId": 1,
        "stackLevel": stack,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
        **members,
    }
    return read_profile(payload, connector_id=connector_id, received_at=received_at, session_id=session_id)


def maximum(*periods: tuple[Any, ...], **members: Any) -> ChargingProfile:
    return profile("ChargePointMaxProfile", *periods, connector_id=0, **members)


def default(*periods: tuple[Any, ...], **members: Any) -> ChargingProfile:
    return profile("TxDefaultProfile", *periods, **members)


def for_transaction(*periods: tuple[Any, ...], **members: Any) -> ChargingProfile:
    return profile("TxProfile", *periods, **{"transactionId": 1, **members})


def connector(
    current: str = "32", phases: int = 3, transaction: RunningTransaction | None = None, local: LocalLimit | None = None
) -> ConnectorFacts:
    return ConnectorFacts(Decimal(current), phases, transaction, local)


def schedules(
    *profiles: ChargingProfile,
    connectors: tuple[ConnectorFacts, ...] = (connector(),),
    duration: int = 400,
    unit: ChargingRateUnitType = AMPS,
    moment: datetime = NOW,
    **facts: Any,
) -> list[CompositeSchedule]:
    return composite_schedules(ChargePointFacts(connectors, profiles, **facts), moment, duration, unit)


def limits(schedule: CompositeSchedule) -> list[tuple[int, float]]:
    return [(period.start, float(period.limit)) for period in schedule.periods]


def limits_of_one(*profiles: ChargingProfile, **options: Any) -> list[tuple[int, float]]:
    """Those of connector 1."""
    return limits(schedules(*profiles, **options)[1])


# -- worked vectors (8.3)

TC_066 = (
    maximum((0, 10), duration=DAY),
    default((0, 6), (60, 10), (120, 8), (180, 25), (260, 8), duration=300, connector_id=0),
    for_transaction((0, 8), (50, 11), (140, 16), (200, 6), (240, 12), duration=260),
)
TC_072 = (
    default((0, 6), (100, 8), (200, 10), duration=400),
    default((0, 7), (100, 9), duration=150, stack=1),
)


@pytest.mark.parametrize("number", [0, 1])
def test_a_composite_of_all_purposes(number: int) -> None:
    """TC_066_CS."""
    result = schedules(*TC_066, connectors=(connector(transaction=started()),))[number]
    assert limits(result) == [(0, 8), (50, 10), (200, 6), (240, 10), (260, 8), (300, 10)]


def test_a_composite_of_two_stack_levels() -> None:
    """TC_072_CS."""
    assert limits_of_one(*TC_072, duration=350) == [(0, 7), (100, 9), (150, 8), (200, 10)]


def test_start_periods_are_shifted_by_what_has_gone_by() -> None:
    """TC_066_CS, 70 s later."""
    result = limits_of_one(*TC_066, connectors=(connector(transaction=started()),), moment=at(70), duration=230)
    assert result == [(0, 10), (130, 6), (170, 10), (190, 8)]


def test_order_of_installation_does_not_matter() -> None:
    assert limits_of_one(*reversed(TC_072), duration=350) == limits_of_one(*TC_072, duration=350)


# -- the time model (8.3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(default((0, 10), start=at(-50)), [(0, 10)], id="Absolute, begun"),
        pytest.param(default((0, 10), start=at(50)), [(0, 32), (50, 10)], id="Absolute, to come"),
        pytest.param(default((0, 10), (100, 11), start=at(-50)), [(0, 10), (50, 11)], id="Absolute, second period"),
        pytest.param(default((0, 10), start=at(50.9)), [(0, 32), (50, 10)], id="fraction of a second cut off"),
        pytest.param(default((0, 10), (100, 11), start=None), [(0, 10), (80, 11)], id="no startSchedule: transaction"),
        pytest.param(
            default((0, 10), (100, 11), start=at(999), kind="Relative"), [(0, 10), (80, 11)], id="Relative: transaction"
        ),
        pytest.param(
            maximum((0, 10), (100, 11), start=None, received_at=at(-30)), [(0, 10), (70, 11)], id="no start: receipt"
        ),
        pytest.param(
            maximum((0, 10), (100, 11), start=None, received_at=at(30)), [(0, 10), (100, 11)], id="clock set back since"
        ),
        pytest.param(default((0, 10), validFrom=at(60).isoformat()), [(0, 32), (60, 10)], id="validFrom"),
        pytest.param(default((0, 10), validTo=at(60).isoformat()), [(0, 10), (60, 32)], id="validTo"),
        pytest.param(default((0, 10), validTo=NOW.isoformat()), [(0, 32)], id="not valid any more"),
        pytest.param(
            for_transaction((0, 10), validFrom=at(60).isoformat(), validTo=at(90).isoformat()),
            [(0, 32), (60, 10), (90, 32)],
            id="validity of a TxProfile",
        ),
        pytest.param(default((0, 10), duration=60), [(0, 10), (60, 32)], id="duration"),
        pytest.param(default((0, 10), (60, 11), duration=60), [(0, 10), (60, 32)], id="period beyond the duration"),
        pytest.param(default((0, 10), (60, 11), duration=300), [(0, 10), (60, 11), (300, 32)], id="last limit goes on"),
        pytest.param(default((0, 10), start=at(-60), duration=60), [(0, 32)], id="just over"),
        pytest.param(default((0, 10), start=at(400)), [(0, 32)], id="begins where the window ends"),
    ],
)
def test_a_schedule_begins_and_ends(given: ChargingProfile, expected: list[tuple[int, float]]) -> None:
    """The transaction began 20 s ago."""
    assert limits_of_one(given, connectors=(connector(transaction=started(-20)),)) == expected


HOUR_OF_NIGHT = {"kind": "Recurring", "duration": 3600}
LEAP = datetime(2028, 2, 28, 23, tzinfo=UTC)
SUMMER_TIME = datetime(2026, 3, 28, 23, tzinfo=UTC)  # the night before clocks change in Europe


@pytest.mark.parametrize(
    ("given", "moment", "duration", "expected"),
    [
        pytest.param(
            default((0, 10), start=LEAP, recurrencyKind="Daily", **HOUR_OF_NIGHT),
            LEAP,
            2 * DAY + 60,
            [(0, 10), (3600, 32), (DAY, 10), (DAY + 3600, 32), (2 * DAY, 10)],
            id="daily, over February 29",
        ),
        pytest.param(
            default((0, 10), start=datetime(2024, 2, 29, 12, tzinfo=UTC), recurrencyKind="Daily", **HOUR_OF_NIGHT),
            datetime(2026, 3, 1, 11, 30, tzinfo=UTC),
            6000,
            [(0, 32), (1800, 10), (5400, 32)],
            id="daily since a February 29",
        ),
        pytest.param(
            default((0, 10), start=SUMMER_TIME, recurrencyKind="Daily", **HOUR_OF_NIGHT),
            at(DAY, SUMMER_TIME),
            7200,
            [(0, 10), (3600, 32)],
            id="no daylight saving time",
        ),
        pytest.param(
            default((0, 10), start=datetime(2026, 11, 1, 10, tzinfo=UTC), recurrencyKind="Weekly", **HOUR_OF_NIGHT),
            at(-1800),
            DAY,
            [(0, 32), (1800, 10), (5400, 32)],
            id="weekly, three weeks later",
        ),
        pytest.param(
            default((0, 10), (6 * DAY, 11), start=at(-7 * DAY), kind="Recurring", recurrencyKind="Weekly"),
            at(-60),
            120,
            [(0, 11), (60, 10)],
            id="week border",
        ),
        pytest.param(
            default((0, 10), start=at(60), kind="Recurring", recurrencyKind="Daily"),
            NOW,
            120,
            [(0, 32), (60, 10)],
            id="nothing before the first start",
        ),
        pytest.param(
            default((0, 10), (DAY, 11), start=NOW, kind="Recurring", recurrencyKind="Daily", duration=2 * DAY),
            NOW,
            3 * DAY,
            [(0, 10)],
            id="nothing beyond the recurrence",
        ),
        pytest.param(
            default((0, 10), start=NOW, recurrencyKind="Daily", validTo=at(DAY + 60).isoformat(), **HOUR_OF_NIGHT),
            NOW,
            3 * DAY,
            [(0, 10), (3600, 32), (DAY, 10), (DAY + 60, 32)],
            id="valid for a while",
        ),
    ],
)
def test_a_schedule_recurs(
    given: ChargingProfile, moment: datetime, duration: int, expected: list[tuple[int, float]]
) -> None:
    """Same time of day and weekday in UTC; errata 5.16.4."""
    assert limits_of_one(given, moment=moment, duration=duration) == expected


def test_a_transaction_that_runs_has_begun() -> None:
    """Also where the clock was set back since."""
    given = default((0, 10), (100, 11), kind="Relative")
    assert limits_of_one(given, connectors=(connector(transaction=started(30)),)) == [(0, 10), (100, 11)]


# -- which profile counts


def test_a_profile_without_end_hides_lower_ones_for_ever() -> None:
    """Errata 3.13.1."""
    assert limits_of_one(default((0, 10), stack=1), default((0, 6), stack=0)) == [(0, 10)]


def test_gaps_fall_through_to_the_next_that_counts() -> None:
    """TxProfile, TxDefaultProfile of the connector, of connector 0, the configured default."""
    result = limits_of_one(
        for_transaction((0, 10), duration=50, stack=2),
        for_transaction((0, 11), duration=100, stack=1),
        default((0, 12), duration=150, stack=5),
        default((0, 13), duration=200, connector_id=0, stack=9),
        connectors=(connector(transaction=started()),),
        default_limit_amps=Decimal(20),
    )
    assert result == [(0, 10), (50, 11), (100, 12), (150, 13), (200, 20)]


@pytest.mark.parametrize(
    ("bound_to", "expected"),
    [
        pytest.param({"transactionId": 1}, 10, id="its transactionId"),
        pytest.param({"transactionId": 2}, 32, id="another transactionId"),
        pytest.param({"transactionId": 2, "session_id": "session 1"}, 10, id="its session"),
        pytest.param({"transactionId": 1, "session_id": "session 2"}, 32, id="another session"),
        pytest.param({"transactionId": 1, "connector_id": 2}, 32, id="another connector"),
    ],
)
def test_a_tx_profile_holds_for_its_transaction_only(bound_to: dict[str, Any], expected: float) -> None:
    two = (connector(transaction=started()), connector())
    assert limits_of_one(for_transaction((0, 10), **bound_to), connectors=two) == [(0, expected)]


def test_a_tx_profile_bound_to_nothing_holds_for_no_transaction() -> None:
    nameless = (connector(transaction=RunningTransaction("session 1", NOW)),)
    assert limits_of_one(profile("TxProfile", (0, 10)), connectors=nameless) == [(0, 32)]


def test_an_idle_connector_is_shown_as_if_a_transaction_began() -> None:
    """SC-07."""
    result = limits_of_one(default((0, 10), (60, 11), kind="Relative"), for_transaction((0, 6)))
    assert result == [(0, 10), (60, 11)]


# -- the least of all limits


@pytest.mark.parametrize(
    ("given", "facts", "expected"),
    [
        pytest.param([], {}, 32, id="the hardware alone"),
        pytest.param([], {"default_limit_amps": Decimal(20)}, 20, id="the default"),
        pytest.param([default((0, 30))], {"default_limit_amps": Decimal(20)}, 30, id="a profile above the default"),
        pytest.param([default((0, 40))], {}, 32, id="a profile above the hardware"),
        pytest.param([maximum((0, 10))], {}, 10, id="ChargePointMaxProfile"),
        pytest.param([maximum((0, 10))], {"default_limit_amps": Decimal(6)}, 6, id="default below the maximum"),
        pytest.param([default((0, 9))], {"local_limit": LocalLimit(Decimal(8), AMPS)}, 8, id="local limit of all"),
        pytest.param([default((0, 0))], {}, 0, id="nothing"),
        pytest.param([default((0, 6900), unit="W")], {}, 10, id="W of three phases"),
        pytest.param([default((0, 2300, 1), unit="W")], {}, 10, id="W of one phase"),
        pytest.param([default((0, 11000), unit="W")], {}, 15.9, id="rounded down"),
        pytest.param([default((0, 6900), unit="W")], {"supply_voltage": Decimal(115)}, 20, id="another voltage"),
        pytest.param([default((0, 2300), unit="W")], {"default_number_phases": 1}, 10, id="another number of phases"),
        pytest.param([], {"local_limit": LocalLimit(Decimal(6900), WATTS)}, 10, id="local limit in W"),
        pytest.param([default((0, 8.1))], {}, 8.1, id="a fraction"),
    ],
)
def test_the_least_limit_holds(given: list[ChargingProfile], facts: dict[str, Any], expected: float) -> None:
    assert limits_of_one(*given, **facts) == [(0, expected)]


def test_a_local_limit_of_a_connector_holds_there_only() -> None:
    two = (connector(local=LocalLimit(Decimal(8), AMPS)), connector())
    assert [limits(schedule) for schedule in schedules(connectors=two)] == [[(0, 40)], [(0, 8)], [(0, 32)]]


def test_a_local_limit_in_w_counts_the_phases_of_the_connector() -> None:
    one_phase = (connector(phases=1, local=LocalLimit(Decimal(2300), WATTS)),)
    assert limits_of_one(connectors=one_phase) == [(0, 10)]


@pytest.mark.parametrize(
    ("given", "connectors", "unit", "expected"),
    [
        pytest.param([default((0, 10, 1))], (connector(),), AMPS, ("10.0", 1), id="of the profile"),
        pytest.param([default((0, 10))], (connector(),), AMPS, ("10.0", 3), id="absent is 3"),
        pytest.param([default((0, 10, 3))], (connector(phases=1),), AMPS, ("10.0", 1), id="not more than there are"),
        pytest.param(
            [default((0, 11000), unit="W")], (connector(phases=1),), AMPS, ("15.9", 1), id="limit per phase as given"
        ),
        pytest.param([default((0, 11000), unit="W")], (connector(),), WATTS, ("11000.0", 3), id="W stay W"),
        pytest.param([default((0, 10, 1))], (connector(),), WATTS, ("2300.0", 1), id="W of one phase"),
        pytest.param([default((0, 10))], (connector(),), WATTS, ("6900.0", 3), id="W of three phases"),
        pytest.param(
            [default((0, 16, 1)), maximum((0, 10, 3))], (connector(),), AMPS, ("10.0", 1), id="both limits are kept"
        ),
        pytest.param(
            [default((0, 10, 3)), maximum((0, 10, 1))], (connector(),), AMPS, ("10.0", 1), id="equal: the fewer phases"
        ),
    ],
)
def test_phases_and_units(
    given: list[ChargingProfile],
    connectors: tuple[ConnectorFacts, ...],
    unit: ChargingRateUnitType,
    expected: tuple[str, int],
) -> None:
    """Errata 5.16 and 7.12."""
    (period,) = schedules(*given, connectors=connectors, unit=unit)[1].periods
    assert period == (0, Decimal(expected[0]), expected[1])


def test_equal_neighbours_are_one_period() -> None:
    """SC-06: also those that only rounding makes equal."""
    result = limits_of_one(default((0, 10), (50, 10), (100, 11)), maximum((0, 6900), (200, 6901), unit="W"))
    assert result == [(0, 10)]


def test_a_change_of_phases_is_a_period_of_its_own() -> None:
    result = schedules(default((0, 10, 3), (50, 10, 1)))[1]
    assert result.periods == ((0, Decimal(10), 3), (50, Decimal(10), 1))


# -- the whole charge point (SC-04)


@pytest.mark.parametrize(
    ("given", "unit", "expected"),
    [
        pytest.param([], AMPS, ("48.1", 3), id="amperes of one phase are summed"),
        pytest.param([], WATTS, ("18469.0", 3), id="watts are summed"),
        pytest.param([maximum((0, 40))], AMPS, ("40.0", 3), id="capped"),
        pytest.param([maximum((0, 11000), unit="W")], WATTS, ("11000.0", 3), id="capped in W"),
        pytest.param([default((0, 10))], AMPS, ("42.0", 3), id="a connector's profile counts"),
        pytest.param([default((0, 10.06), connector_id=0)], AMPS, ("20.1", 3), id="rounded at the end"),
    ],
)
def test_the_whole_charge_point_draws_the_sum(
    given: list[ChargingProfile], unit: ChargingRateUnitType, expected: tuple[str, int]
) -> None:
    two = (connector("16.1"), connector(phases=1))
    (period,) = schedules(*given, connectors=two, unit=unit)[0].periods
    assert period == (0, Decimal(expected[0]), expected[1])


def test_a_local_limit_caps_the_whole_charge_point() -> None:
    two = (connector(), connector())
    result = schedules(connectors=two, local_limit=LocalLimit(Decimal(20), AMPS))
    assert [limits(schedule) for schedule in result] == [[(0, 20)], [(0, 20)], [(0, 20)]]


# -- sharing (contract 2, `limit`)


def test_connectors_with_a_transaction_share_what_all_may_draw() -> None:
    """Connector 3 is idle; connector 1 leaves something from 100 s on."""
    three = (connector(transaction=started(-9, 1)), connector(transaction=started(-99, 2)), connector())
    result = schedules(for_transaction((0, 32), (100, 8)), maximum((0, 30), (200, 11)), connectors=three)
    assert [limits(schedule) for schedule in result] == [
        [(0, 30), (200, 11)],
        [(0, 15), (100, 8), (200, 0)],
        [(0, 15), (100, 22), (200, 11)],
        [(0, 30), (200, 11)],
    ]


def test_a_local_limit_is_shared_likewise() -> None:
    two = (connector(transaction=started(-9, 1)), connector("10", transaction=started(0, 2)))
    result = schedules(connectors=two, local_limit=LocalLimit(Decimal(25), AMPS))
    assert [limits(schedule) for schedule in result] == [[(0, 25)], [(0, 15)], [(0, 10)]]


def test_shares_are_rounded_down() -> None:
    three = tuple(connector(transaction=started(number, number)) for number in range(3))
    result = schedules(maximum((0, 20)), connectors=three)
    assert [limits(schedule) for schedule in result] == [[(0, 20)], *[[(0, 6.6)]] * 3]


def test_shares_add_up_to_what_all_may_draw() -> None:
    """Only what is shown is rounded, not what is summed."""
    seven = tuple(connector(transaction=started(number, number)) for number in range(7))
    result = schedules(maximum((0, 50)), connectors=seven)
    assert [limits(schedule) for schedule in result] == [[(0, 50)], *[[(0, 7.1)]] * 7]


# -- the window and its forms


def test_a_window_longer_than_the_horizon_is_cut_to_it() -> None:
    """SC-08."""
    result = schedules(duration=2**63)[1]
    assert result.duration == HORIZON


def test_a_window_starts_at_a_whole_second() -> None:
    result = schedules(default((0, 10), (60, 11)), moment=at(0.7))[1]
    assert (result.variable(9)["startSchedule"], limits(result)) == ("2026-11-22T10:00:00Z", [(0, 10), (60, 11)])


def test_an_answer_has_no_start_schedule() -> None:
    """SC-01."""
    assert schedules(default((0, 10), (60, 8.1, 1)))[1].answer(10) == {
        "duration": 400,
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": Decimal(10), "numberPhases": 3},
            {"startPeriod": 60, "limit": Decimal("8.1"), "numberPhases": 1},
        ],
    }


def test_a_variable_says_when_it_starts() -> None:
    """Contract 2: the example there."""
    assert schedules(duration=600, connectors=(connector(), connector()))[0].variable(10) == {
        "duration": 600,
        "startSchedule": "2026-11-22T10:00:00Z",
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": Decimal(64), "numberPhases": 3}],
    }


@pytest.mark.parametrize(("most", "count", "duration"), [(1, 1, 50), (2, 2, 100), (3, 3, 400), (4, 3, 400)])
def test_too_many_periods_shorten_the_duration(most: int, count: int, duration: int) -> None:
    """SC-06."""
    answer = schedules(default((0, 10), (50, 11), (100, 12)))[1].answer(most)
    assert (len(answer["chargingSchedulePeriod"]), answer["duration"]) == (count, duration)


def test_the_current_limit_holds_until_the_next_change() -> None:
    result = schedules(default((0, 10, 1), (60, 10, 1), (90, 8)))[1].current_limit()
    assert result == CurrentLimit(Decimal(10), AMPS, 1, at(90))


def test_a_current_limit_without_change_in_sight_has_no_end() -> None:
    assert schedules()[1].current_limit().until is None


def test_limits_of_an_idle_connector_do_not_run() -> None:
    """What would begin with a transaction stays at its beginning; what began at a moment goes on."""
    relative = default((0, 10), (60, 8), kind="Relative", start=None, duration=90)
    absolute = default((0, 16), (100, 6), stack=1, duration=200)

    idle = ConnectorFacts(Decimal(32), 3)
    standing, going_on = (
        current_limits(ChargePointFacts([idle], [given]), NOW, AMPS) for given in (relative, absolute)
    )

    assert standing == [CurrentLimit(Decimal(10), AMPS, 3, None)]
    assert going_on == [CurrentLimit(Decimal(16), AMPS, 3, at(100))]
