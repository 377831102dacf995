"""Smart charging by the real process: OCTT's cases (obligations 10), and what a kill must not change."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import OFFLINE, ChargePoint, MakeChargePoint
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.scripted_csms import Payload

make_charge_point = charge_point.make_charge_point

ACCEPTED = {"status": "Accepted"}
MAX, DEFAULT, TX = "ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"
Moments = list[tuple[datetime | None, float]]
PERIODS = {0: 6.0, 60: 10.0, 120: 8.0, 180: 25.0, 260: 8.0}  # limit in A by startPeriod


@pytest.fixture
def one(make_charge_point: MakeChargePoint) -> ChargePoint:
    return make_charge_point()


def profile(purpose: str, periods: Mapping[int, float], duration: int = 300, **fields: Any) -> Payload:
    """Its schedule starts now."""
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "startSchedule": datetime.now(UTC).isoformat(timespec="seconds"),
            "duration": duration,
            "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in periods.items()],
        },
        **fields,
    }


def set_profile(one: ChargePoint, connector: int, csms_profile: Payload) -> Payload:
    return one.csms.call("SetChargingProfile", {"connectorId": connector, "csChargingProfiles": csms_profile})


def composite(one: ChargePoint, duration: int, connector: int = 1) -> Moments:
    """Moment and limit of each period; the first, which began some time ago, has no moment of its own."""
    answer = one.csms.call("GetCompositeSchedule", {"connectorId": connector, "duration": duration})
    start = datetime.fromisoformat(answer["scheduleStart"])
    return moments(start, answer["chargingSchedule"]["chargingSchedulePeriod"])


def moments(start: datetime, periods: list[Payload]) -> Moments:
    return [
        (start + timedelta(seconds=period["startPeriod"]) if period["startPeriod"] else None, period["limit"])
        for period in periods
    ]


def expected(csms_profile: Payload, limits: Mapping[int, float]) -> Moments:
    """The same for limits by the seconds since the profile's start."""
    start = datetime.fromisoformat(csms_profile["chargingSchedule"]["startSchedule"])
    return moments(start, [{"startPeriod": offset, "limit": limit} for offset, limit in limits.items()])


def await_limit(one: ChargePoint, limit: float, connector: int = 1) -> None:
    topic = f"connector/{connector}/limit"
    eventually(lambda: shown(one)[topic]["limit"] == limit, f"{topic} is {limit:g} A")


def shown(one: ChargePoint) -> dict[str, Any]:
    """What does not move with the time: limits and their ends, permissions."""
    kept = one.program.retained("ocpp16/connector/+/limit")
    kept |= one.program.retained("ocpp16/connector/+/charging_permitted")
    return {topic.removeprefix("ocpp16/"): json.loads(payload) for topic, payload in kept.items()}


def test_tx_default_profile(one: ChargePoint) -> None:
    """TC_056_CS."""
    default = profile(DEFAULT, PERIODS)
    assert set_profile(one, 1, default) == ACCEPTED

    one.begin()

    assert composite(one, 250) == expected(default, {start: limit for start, limit in PERIODS.items() if start < 250})
    await_limit(one, 6.0)


def test_tx_profile(one: ChargePoint) -> None:
    """TC_057_CS."""
    transaction_id = one.begin()
    own = profile(TX, PERIODS, transactionId=transaction_id)

    assert set_profile(one, 1, own) == ACCEPTED

    assert composite(one, 250) == expected(own, {start: limit for start, limit in PERIODS.items() if start < 250})
    await_limit(one, 6.0)


def test_remote_start_with_profile(one: ChargePoint) -> None:
    """TC_059_CS."""
    brought = profile(TX, PERIODS)
    one.charger.plug()
    one.await_status("Preparing")

    start = {"connectorId": 1, "idTag": "TAG", "chargingProfile": brought}
    assert one.csms.call("RemoteStartTransaction", start) == ACCEPTED

    one.await_call("StartTransaction", idTag="TAG")
    one.await_status("Charging")
    assert composite(one, 200) == expected(brought, {start: limit for start, limit in PERIODS.items() if start < 200})


def test_get_composite_schedule(one: ChargePoint) -> None:
    """TC_066_CS: vector 1 of 8.3."""
    transaction_id = one.begin()
    own = profile(
        TX,
        {0: 8, 50: 11, 140: 16, 200: 6, 240: 12},
        260,
        chargingProfileId=3,
        transactionId=transaction_id,
    )
    default = profile(DEFAULT, PERIODS, chargingProfileId=2)
    default["chargingSchedule"]["startSchedule"] = own["chargingSchedule"]["startSchedule"]
    set_profile(one, 0, profile(MAX, {0: 10}, 86_400))
    set_profile(one, 1, default)
    set_profile(one, 1, own)

    assert composite(one, 400) == expected(own, {0: 8, 50: 10, 200: 6, 240: 10, 260: 8, 300: 10})


def test_clear_charging_profile(one: ChargePoint) -> None:
    """TC_067_CS."""
    for number, limit in enumerate((12, 10, 8)):
        level = profile(DEFAULT, {0: limit}, 86_400, chargingProfileId=number, stackLevel=number)
        assert set_profile(one, 1, level) == ACCEPTED
    limits = [composite(one, 60)[0][1]]

    for criteria in ({"id": 2}, {"chargingProfilePurpose": DEFAULT, "stackLevel": 1}, {}):
        assert one.csms.call("ClearChargingProfile", criteria) == ACCEPTED
        limits.append(composite(one, 60)[0][1])

    assert limits == [8, 10, 12, 32]
    assert one.csms.call("ClearChargingProfile", {}) == {"status": "Unknown"}


def test_schedules_of_offline_sessions_are_the_same_after_a_kill(make_charge_point: MakeChargePoint) -> None:
    """SC-14, SC-15."""
    one = make_charge_point(count=2, configuration_keys=OFFLINE)
    one.begin(1)
    one.go_offline()
    one.charger.plug(2)
    assert one.present(connector_ids=[2], id_tag="OFFLINE")["action"] == "start"
    one.await_shown_status("Charging", 2)
    one.go_online()
    one.await_delivery()
    cap = profile(MAX, {0: 24, 3600: 16, 7200: 40}, 86_400)
    own = profile(TX, {0: 8, 1800: 20}, 86_400, chargingProfileId=2)
    own["chargingSchedule"]["startSchedule"] = cap["chargingSchedule"]["startSchedule"]
    assert set_profile(one, 0, cap) == ACCEPTED
    assert set_profile(one, 2, own) == ACCEPTED
    one.go_offline()
    await_limit(one, 16.0, 1)
    before = shown(one)

    one.kill_and_start()

    eventually(lambda: shown(one) == before, f"the same as before the kill: {before}")
    one.go_online()
    after = composite(one, 7500, 1), composite(one, 7500, 2)
    assert after == (
        expected(cap, {0: 16, 1800: 12, 3600: 8, 7200: 20}),
        expected(cap, {0: 8, 1800: 12, 3600: 8, 7200: 20}),
    )


def test_limit_switches_at_the_border_by_itself(make_charge_point: MakeChargePoint) -> None:
    one = make_charge_point(charging_schedules={"publish_interval": 0})
    one.begin()
    assert set_profile(one, 1, profile(TX, {0: 10, 2: 8, 4: 16})) == ACCEPTED

    one.program.wait_for("ocpp16/connector/1/limit", lambda message: bool(message.json["limit"] == 8), PATIENCE)
    one.program.wait_for("ocpp16/connector/1/limit", lambda message: bool(message.json["limit"] == 16), PATIENCE)
