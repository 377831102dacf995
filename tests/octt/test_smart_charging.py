"""OCTT: smart charging. Schedules start when the case begins, so no period has shifted."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger

REJECTED = {"status": "Rejected"}
MAX: dict[str, Any] = {"chargingProfilePurpose": "ChargePointMaxProfile"}
DEFAULT: dict[str, Any] = {"chargingProfilePurpose": "TxDefaultProfile"}
TX: dict[str, Any] = {"chargingProfilePurpose": "TxProfile"}
PERIODS = {0: 6.0, 60: 10.0, 120: 8.0, 180: 25.0, 260: 8.0}  # limit in A by startPeriod
DURATION = 300
FOLLOWED = [*PERIODS.items(), (DURATION, 32.0)]  # and 32 A is what the charger can


def profile(cs: CentralSystem, periods: Mapping[int, float], duration: int, **fields: Any) -> dict[str, Any]:
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "startSchedule": cs.charger.now(),
            "duration": duration,
            "chargingSchedulePeriod": [
                {"startPeriod": start, "limit": limit, "numberPhases": 3} for start, limit in periods.items()
            ],
        },
        **fields,
    }


def set_profile(
    cs: CentralSystem, connector: int, periods: Mapping[int, float], duration: int = DURATION, **fields: Any
) -> dict[str, Any]:
    charging_profile = profile(cs, periods, duration, **fields)
    return cs.call("SetChargingProfile", connectorId=connector, csChargingProfiles=charging_profile)


def composite(cs: CentralSystem, duration: int) -> list[tuple[int, float]]:
    """The limits of connector 1, by the seconds from now."""
    answer = cs.call("GetCompositeSchedule", connectorId=1, duration=duration, chargingRateUnit="A")
    assert (answer["status"], answer["connectorId"], answer["scheduleStart"]) == ("Accepted", 1, cs.charger.now())
    schedule = answer["chargingSchedule"]
    assert (schedule["duration"], schedule["chargingRateUnit"]) == (duration, "A")
    return [(period["startPeriod"], period["limit"]) for period in schedule["chargingSchedulePeriod"]]


@pytest.mark.parametrize("connector", [0, 1])
def test_tc_056_cs_central_smart_charging_tx_default_profile(cs: CentralSystem, connector: int) -> None:
    """Central Smart Charging - TxDefaultProfile."""
    assert set_profile(cs, connector, PERIODS, **DEFAULT) == ACCEPTED

    began_late = 1  # s that `start_charging` takes
    cs.start_charging()

    later = [(max(start - began_late, 0), limit) for start, limit in FOLLOWED]
    assert composite(cs, 350) == later
    assert cs.charger.shown("connector/1/limit")["limit"] == 6


def test_tc_057_cs_central_smart_charging_tx_profile(cs: CentralSystem) -> None:
    """Central Smart Charging - TxProfile."""
    transaction_id = cs.start_charging()

    assert set_profile(cs, 1, PERIODS, transactionId=transaction_id, **TX) == ACCEPTED

    assert composite(cs, 350) == FOLLOWED


def test_tc_058_1_cs_central_smart_charging_no_ongoing_transaction(cs: CentralSystem) -> None:
    """Central Smart Charging - No ongoing transaction."""
    assert set_profile(cs, 1, PERIODS, **TX) == REJECTED


def test_tc_058_2_cs_central_smart_charging_wrong_transaction_id(cs: CentralSystem) -> None:
    """Central Smart Charging - Wrong transactionId."""
    transaction_id = cs.start_charging()

    assert set_profile(cs, 1, PERIODS, transactionId=transaction_id + 1, **TX) == REJECTED

    assert composite(cs, 60) == [(0, 32)]


def test_tc_059_cs_remote_start_transaction_with_charging_profile(charger: Charger, cs: CentralSystem) -> None:
    """Remote Start Transaction with Charging Profile."""
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    brought = profile(cs, PERIODS, DURATION, **TX)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1, chargingProfile=brought) == ACCEPTED

    cs.expect("Authorize", idTag="TAG")
    cs.expect("StartTransaction", connectorId=1, idTag="TAG")
    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")
    assert composite(cs, 350) == FOLLOWED


@pytest.mark.parametrize("purpose", [DEFAULT, MAX], ids=lambda purpose: purpose["chargingProfilePurpose"])
def test_tc_060_cs_remote_start_transaction_with_charging_profile_rejected(
    charger: Charger, cs: CentralSystem, purpose: dict[str, str]
) -> None:
    """Remote Start Transaction with Charging Profile - Rejected."""
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    brought = profile(cs, PERIODS, DURATION, **purpose)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1, chargingProfile=brought) == REJECTED


def test_tc_066_cs_get_composite_schedule(cs: CentralSystem) -> None:
    """Get Composite Schedule: vector 1 of 8.3."""
    transaction_id = cs.start_charging()
    own = {0: 8, 50: 11, 140: 16, 200: 6, 240: 12}
    assert set_profile(cs, 0, {0: 10}, 86_400, chargingProfileId=1, **MAX) == ACCEPTED
    assert set_profile(cs, 1, PERIODS, 300, chargingProfileId=2, **DEFAULT) == ACCEPTED
    assert set_profile(cs, 1, own, 260, chargingProfileId=3, transactionId=transaction_id, **TX) == ACCEPTED

    assert composite(cs, 400) == [(0, 8), (50, 10), (200, 6), (240, 10), (260, 8), (300, 10)]


def test_tc_067_cs_clear_charging_profile(cs: CentralSystem) -> None:
    """Clear Charging Profile: by id, by criteria, all."""
    set_profile(cs, 0, {0: 20}, chargingProfileId=1, **MAX)
    set_profile(cs, 1, {0: 8}, chargingProfileId=2, stackLevel=2, **DEFAULT)
    set_profile(cs, 1, {0: 10}, chargingProfileId=3, stackLevel=1, **DEFAULT)
    set_profile(cs, 1, {0: 12}, chargingProfileId=4, **DEFAULT)
    assert composite(cs, 60) == [(0, 8)]

    assert cs.call("ClearChargingProfile", id=2) == ACCEPTED
    assert composite(cs, 60) == [(0, 10)]

    assert cs.call("ClearChargingProfile", connectorId=1, stackLevel=1, **DEFAULT) == ACCEPTED
    assert composite(cs, 60) == [(0, 12)]

    assert cs.call("ClearChargingProfile") == ACCEPTED
    assert composite(cs, 60) == [(0, 32)]
    assert cs.call("ClearChargingProfile") == {"status": "Unknown"}


def test_tc_072_cs_stacking_charging_profiles(cs: CentralSystem) -> None:
    """Stacking Charging Profiles: vector 2 of 8.3."""
    assert set_profile(cs, 1, {0: 6, 100: 8, 200: 10}, 400, chargingProfileId=1, **DEFAULT) == ACCEPTED
    assert set_profile(cs, 1, {0: 7, 100: 9}, 150, chargingProfileId=2, stackLevel=1, **DEFAULT) == ACCEPTED

    assert composite(cs, 350) == [(0, 7), (100, 9), (150, 8), (200, 10)]


def test_tc_082_cs_tx_default_profile_with_ongoing_transaction(cs: CentralSystem) -> None:
    """TxDefaultProfile - with ongoing transaction."""
    cs.start_charging()

    assert set_profile(cs, 1, PERIODS, **DEFAULT) == ACCEPTED

    assert composite(cs, 350) == FOLLOWED
    assert cs.charger.shown("connector/1/limit")["limit"] == 6
