"""Reading a charging profile, and what it is rejected for: obligations 8.3."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    RecurrencyKind,
)
from pydantic import TypeAdapter

from ocpp16_bridge.features.smart_charging.profile import (
    Bounds,
    ChargingProfile,
    Period,
    Schedule,
    problems_of,
    read_profile,
    unix_time,
)

RECEIVED_AT = datetime(2026, 11, 22, 10, 0, 0, 900_000, tzinfo=UTC)
BOUNDS = Bounds(max_stack_level=10, max_periods=3, allowed_units=("Current", "Power"))


def payload(**changes: Any) -> dict[str, Any]:
    """A TxDefaultProfile with changes; a name with `schedule__` is one in chargingSchedule."""
    profile: dict[str, Any] = {
        "chargingProfileId": 7,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": periods((0, 16))},
    }
    for name, value in changes.items():
        where = profile["chargingSchedule"] if name.startswith("schedule__") else profile
        where[name.removeprefix("schedule__")] = value
    return profile


def periods(*items: tuple[Any, ...]) -> list[dict[str, Any]]:
    names = ("startPeriod", "limit", "numberPhases")
    return [dict(zip(names, item, strict=False)) for item in items]


def read(connector_id: int = 1, **changes: Any) -> ChargingProfile:
    return read_profile(payload(**changes), connector_id=connector_id, received_at=RECEIVED_AT)


def with_periods(*items: tuple[Any, ...]) -> dict[str, Any]:
    return {"schedule__chargingSchedulePeriod": periods(*items)}


RECURRING = {
    "chargingProfileKind": "Recurring",
    "recurrencyKind": "Daily",
    "schedule__startSchedule": "2026-11-22T00:00:00Z",
}
TX = {"chargingProfilePurpose": "TxProfile"}
MAX = {"chargingProfilePurpose": "ChargePointMaxProfile"}

# -- reading


def test_every_field_is_read() -> None:
    profile = read_profile(
        {
            "chargingProfileId": 7,
            "transactionId": 42,
            "stackLevel": 3,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Recurring",
            "recurrencyKind": "Weekly",
            "validFrom": "2026-11-22T11:00:00.7+01:00",
            "validTo": "2026-11-23T10:00:00Z",
            "chargingSchedule": {
                "duration": 3600,
                "startSchedule": "2026-11-22T09:00:00Z",
                "chargingRateUnit": "W",
                "chargingSchedulePeriod": periods((0, Decimal("8000.1"), 1), (60, 7000)),
                "minChargingRate": Decimal("1.5"),
            },
        },
        connector_id=2,
        received_at=RECEIVED_AT,
        session_id="session",
    )

    assert profile == ChargingProfile(
        id=7,
        connector_id=2,
        stack_level=3,
        purpose=ChargingProfilePurposeType.tx_profile,
        kind=ChargingProfileKindType.recurring,
        schedule=Schedule(
            unit=ChargingRateUnitType.watts,
            periods=(Period(0, Decimal("8000.1"), 1), Period(60, Decimal(7000), None)),
            duration=3600,
            start=unix_time(datetime(2026, 11, 22, 9, tzinfo=UTC)),
            min_charging_rate=Decimal("1.5"),
        ),
        received_at=unix_time(datetime(2026, 11, 22, 10, tzinfo=UTC)),
        recurrency_kind=RecurrencyKind.weekly,
        valid_from=unix_time(datetime(2026, 11, 22, 10, tzinfo=UTC)),
        valid_to=unix_time(datetime(2026, 11, 23, 10, tzinfo=UTC)),
        transaction_id=42,
        session_id="session",
    )


def test_recurrency_kind_is_ignored_where_nothing_recurs() -> None:
    """8.3; errata 7.8."""
    assert read(recurrencyKind="Daily").recurrency_kind is None


def test_start_schedule_is_ignored_in_a_relative_profile() -> None:
    profile = read(chargingProfileKind="Relative", schedule__startSchedule="2026-11-22T09:00:00Z")
    assert profile.schedule.start is None


@pytest.mark.parametrize(
    "number", [pytest.param(8.1, id="float"), pytest.param(Decimal("8.1"), id="Decimal"), pytest.param(8, id="int")]
)
def test_limits_are_exact(number: Any) -> None:
    """GD-07: 8.1 is a multiple of 0.1."""
    profile = read(**with_periods((0, number)))
    assert profile.schedule.periods[0].limit == Decimal(str(number))
    assert problems_of(profile, BOUNDS) is None


def test_a_moment_before_1970_is_cut_to_the_second_before() -> None:
    assert unix_time(datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)) == -1


@given(
    limits=st.lists(st.decimals(0, 10**6, places=1), min_size=1, max_size=5),
    duration=st.none() | st.integers(1, 10**9),
    session_id=st.none() | st.text(max_size=40),
)
def test_a_profile_survives_the_store(limits: list[Decimal], duration: int | None, session_id: str | None) -> None:
    """SC-14: what a collection of records does with it."""
    described = payload(**RECURRING, **with_periods(*((60 * index, limit) for index, limit in enumerate(limits))))
    if duration is not None:
        described["chargingSchedule"]["duration"] = duration
    profile = read_profile(described, connector_id=1, received_at=RECEIVED_AT, session_id=session_id)
    adapter = TypeAdapter(ChargingProfile)

    text = adapter.dump_json(profile)

    assert adapter.validate_json(text) == profile
    assert json.loads(text)["purpose"] == "TxDefaultProfile"


# -- what is accepted


@pytest.mark.parametrize(
    ("connector_id", "changes"),
    [
        pytest.param(0, {}, id="TxDefaultProfile for all connectors"),
        pytest.param(0, MAX, id="ChargePointMaxProfile"),
        pytest.param(1, TX, id="TxProfile"),
        pytest.param(1, {**TX, "transactionId": 1}, id="TxProfile with a transaction"),
        pytest.param(1, {**TX, "transactionId": -1}, id="negative transactionId"),
        pytest.param(1, RECURRING, id="Recurring"),
        pytest.param(1, {"chargingProfileKind": "Relative"}, id="Relative"),
        pytest.param(1, {"stackLevel": 10}, id="highest stack level"),
        pytest.param(1, with_periods((0, 1), (1, 2), (2, 3)), id="as many periods as may be"),
        pytest.param(1, with_periods((0, 0)), id="limit 0"),
        pytest.param(1, with_periods((0, 10, 1), (5, 10, 3)), id="phases"),
        pytest.param(1, with_periods((0, Decimal("8.10"))), id="a zero behind the fraction digit"),
        pytest.param(1, with_periods((0, 10**9)), id="largest limit"),
        pytest.param(1, {"schedule__duration": 1}, id="shortest duration"),
        pytest.param(1, {"schedule__duration": 2**63 - 1}, id="longest duration"),
        pytest.param(1, {"validFrom": "2026-11-22T10:00:00Z", "validTo": "2026-11-22T10:00:01Z"}, id="valid for 1 s"),
        pytest.param(1, {"validTo": "2000-01-01T00:00:00Z"}, id="over already"),
        pytest.param(1, {"schedule__minChargingRate": Decimal("0.1")}, id="minChargingRate"),
    ],
)
def test_nothing_is_wrong_with(connector_id: int, changes: dict[str, Any]) -> None:
    assert problems_of(read(connector_id, **changes), BOUNDS) is None


# -- what is refused


@pytest.mark.parametrize(
    ("connector_id", "changes", "reason"),
    [
        pytest.param(
            1, MAX, "ChargePointMaxProfile on connector 1: expected connector 0", id="ChargePointMaxProfile on 1"
        ),
        pytest.param(0, TX, "TxProfile on connector 0: expected a connector with a transaction", id="TxProfile on 0"),
        pytest.param(
            1,
            {"transactionId": 1},
            "transactionId in a TxDefaultProfile: it belongs to a TxProfile",
            id="transactionId with a default",
        ),
        pytest.param(
            0,
            {**MAX, "transactionId": 1},
            "transactionId in a ChargePointMaxProfile: it belongs to a TxProfile",
            id="transactionId with a maximum",
        ),
        pytest.param(
            1, {**TX, "transactionId": 2**63}, "transactionId: an integer of more than 64 bits", id="long transactionId"
        ),
        pytest.param(
            1, {"chargingProfileId": -(2**63)}, "chargingProfileId: an integer of more than 64 bits", id="long id"
        ),
        pytest.param(1, {"stackLevel": -1}, "stackLevel -1: expected 0 to 10", id="negative stack level"),
        pytest.param(1, {"stackLevel": 11}, "stackLevel 11: expected 0 to 10", id="stack level too high"),
        pytest.param(
            1, {"stackLevel": 10**5000}, "stackLevel of more than 64 bits: expected 0 to 10", id="endless stack level"
        ),
        pytest.param(1, with_periods(), "chargingSchedulePeriod is empty", id="no period"),
        pytest.param(
            1, with_periods((0, 1), (1, 2), (2, 3), (3, 4)), "4 periods: expected at most 3", id="too many periods"
        ),
        pytest.param(1, with_periods((1, 16)), "first startPeriod 1: expected 0", id="begins later"),
        pytest.param(1, with_periods((-1, 16)), "first startPeriod -1: expected 0", id="begins earlier"),
        pytest.param(
            1, with_periods((0, 1), (9, 2), (9, 3)), "startPeriod does not rise from each period to the next", id="same"
        ),
        pytest.param(
            1,
            with_periods((0, 1), (9, 2), (8, 3)),
            "startPeriod does not rise from each period to the next",
            id="falls",
        ),
        pytest.param(
            1, with_periods((0, 1), (10**5000, 2)), "startPeriod: an integer of more than 64 bits", id="endless start"
        ),
        pytest.param(
            1, with_periods((0, 1), (9, -1)), "limit -1: expected a number from 0 to 1000000000", id="negative limit"
        ),
        pytest.param(
            1, with_periods((0, float("nan"))), "limit NaN: expected a number from 0 to 1000000000", id="limit NaN"
        ),
        pytest.param(
            1,
            with_periods((0, float("inf"))),
            "limit Infinity: expected a number from 0 to 1000000000",
            id="infinite limit",
        ),
        pytest.param(
            1, with_periods((0, 1e300)), "limit 1E+300: expected a number from 0 to 1000000000", id="huge limit"
        ),
        pytest.param(
            1,
            with_periods((0, 10**5000)),
            "limit 1000000000000000000000000000000"[:36] + ": expected a number from 0 to 1000000000",
            id="endless limit",
        ),
        pytest.param(
            1, with_periods((0, Decimal("8.15"))), "limit 8.15: expected at most one fraction digit", id="two digits"
        ),
        pytest.param(1, with_periods((0, 16, 0)), "numberPhases 0: expected 1 to 3", id="no phase"),
        pytest.param(1, with_periods((0, 16), (9, 16, 4)), "numberPhases 4: expected 1 to 3", id="four phases"),
        pytest.param(
            1, {"schedule__duration": 0}, "duration 0: expected a positive integer of 64 bits", id="duration 0"
        ),
        pytest.param(
            1, {"schedule__duration": -5}, "duration -5: expected a positive integer of 64 bits", id="negative duration"
        ),
        pytest.param(
            1,
            {"schedule__duration": 2**63},
            "duration of more than 64 bits: expected a positive integer of 64 bits",
            id="long duration",
        ),
        pytest.param(
            1,
            {"validFrom": "2026-11-22T10:00:00Z", "validTo": "2026-11-22T11:00:00+01:00"},
            "validTo is not after validFrom",
            id="never valid",
        ),
        pytest.param(
            1,
            {"validFrom": "2026-11-22T10:00:00Z", "validTo": "2026-11-22T09:00:00Z"},
            "validTo is not after validFrom",
            id="valid backwards",
        ),
        pytest.param(
            1,
            {"chargingProfileKind": "Recurring", "schedule__startSchedule": "2026-11-22T00:00:00Z"},
            "Recurring without recurrencyKind",
            id="recurs no one knows how often",
        ),
        pytest.param(
            1,
            {"chargingProfileKind": "Recurring", "recurrencyKind": "Daily"},
            "Recurring without startSchedule",
            id="recurs no one knows since when",
        ),
        pytest.param(
            0,
            {**MAX, "chargingProfileKind": "Relative"},
            "Relative in a ChargePointMaxProfile, which has no transaction to begin with",
            id="Relative maximum",
        ),
        pytest.param(
            1,
            {"schedule__minChargingRate": -1},
            "minChargingRate -1: expected a number from 0 to 1000000000",
            id="negative minChargingRate",
        ),
    ],
)
def test_a_profile_is_rejected_with_the_reason(connector_id: int, changes: dict[str, Any], reason: str) -> None:
    assert problems_of(read(connector_id, **changes), BOUNDS) == reason


@pytest.mark.parametrize(
    ("unit", "allowed", "reason"),
    [
        ("A", ("Current",), None),
        ("A", ("Power",), "chargingRateUnit A: Current is not allowed"),
        ("W", ("Power",), None),
        ("W", ("Current",), "chargingRateUnit W: Power is not allowed"),
    ],
)
def test_the_unit_must_be_an_allowed_one(unit: str, allowed: tuple[str, ...], reason: str | None) -> None:
    """Errata 9.4.2."""
    bounds = Bounds(max_stack_level=10, max_periods=3, allowed_units=allowed)
    assert problems_of(read(schedule__chargingRateUnit=unit), bounds) == reason


def test_all_reasons_are_given() -> None:
    profile = read(stackLevel=-1, schedule__duration=0, **with_periods((1, -1)))
    assert problems_of(profile, BOUNDS) == (
        "stackLevel -1: expected 0 to 10; duration 0: expected a positive integer of 64 bits; "
        "first startPeriod 1: expected 0; limit -1: expected a number from 0 to 1000000000"
    )
