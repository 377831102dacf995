"""What changes nothing is heard by nobody (contract 2; obligations 6.5)."""

import time

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import ChargePoint, MakeChargePoint
from tests.end_to_end.charger import FIRST_REGISTER

make_charge_point = charge_point.make_charge_point

QUIET = 2.0  # s without a message that is not due: absence takes time to show


@pytest.fixture
def one(make_charge_point: MakeChargePoint) -> ChargePoint:
    return make_charge_point(charging_schedules={"publish_interval": 0})


def test_a_plugged_charger_that_repeats_its_facts_makes_nobody_speak(one: ChargePoint) -> None:
    one.charger.plug()
    one.await_status("Preparing")
    one.await_delivery()
    assert one.works()
    one.program.clear()
    sent = len(one.csms.frames)

    for _ in range(10):
        one.charger.plug()
        one.charger.read_meter()
        time.sleep(QUIET / 10)

    heard = [message for message in one.program.messages() if not message.topic.startswith("ocpp16/hardware/")]
    assert heard == []
    assert one.csms.frames[sent:] == []


def test_clear_cache_touches_no_transaction(one: ChargePoint) -> None:
    transaction_id = one.begin()
    one.await_shown_status("Charging")
    one.program.clear()

    assert one.csms.call("ClearCache", {}) == {"status": "Accepted"}

    assert one.works()
    assert not [message for message in one.program.messages() if "/connector/" in message.topic]
    assert one.charger.is_permitted()
    one.present()  # the same tag stops, known or not
    one.await_call("StopTransaction", transactionId=transaction_id, meterStop=FIRST_REGISTER)
    assert one.actions("Authorize", "StopTransaction") == ["Authorize", "StopTransaction"]
