"""Hardware that talks nonsense: logged and counted, the log stays readable, nothing false is told (contract 4)."""

import json
import time

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import ChargePoint, MakeChargePoint
from tests.end_to_end.charger import FIRST_REGISTER, REGISTER
from tests.end_to_end.daemon import PATIENCE, eventually

make_charge_point = charge_point.make_charge_point

STATE, METER, ERRORS = "connector/1/state", "connector/1/meter", "connector/1/errors"
NONSENSE: dict[str, tuple[str, str]] = {
    "an unknown connector's state": ("connector/7/state", '{"plugged":true}'),
    "an unknown connector's meter": ("connector/7/meter", f'{{"{REGISTER}":1}}'),
    "an unknown connector's errors": ("connector/7/errors", "[]"),
    "a negative connector": ("connector/-1/state", '{"plugged":true}'),
    "a state of the charge point": ("connector/0/state", '{"plugged":true}'),
    "NaN": (METER, f'{{"{REGISTER}":NaN}}'),
    "infinity": (METER, f'{{"{REGISTER}":1e999}}'),
    "a number as text": (METER, f'{{"{REGISTER}":"100500"}}'),
    "a boolean for a number": (METER, f'{{"{REGISTER}":true}}'),
    "an unknown measurand": (METER, '{"Energy":100500}'),
    "an unknown phase": (METER, '{"Voltage":{"L4":230}}'),
    "a time that is none": (METER, f'{{"timestamp":"noon","{REGISTER}":100500}}'),
    "a bare number": (METER, "100500"),
    "text for a boolean": (STATE, '{"plugged":"yes"}'),
    "a bare boolean": (STATE, "true"),
    "an error without its code": (ERRORS, '[{"faulted":true}]'),
    "an unknown error": (ERRORS, '[{"error_code":"OnFire","faulted":true}]'),
    "an error that is no list": (ERRORS, '{"error_code":"GroundFailure","faulted":true}'),
    "a state of the hardware that is none": ("state", "perhaps"),
}
TIMES = 500  # a program that repeats itself
LINES = 25  # of the log are enough for each topic that is wrong so often


@pytest.fixture
def one(make_charge_point: MakeChargePoint) -> ChargePoint:
    return make_charge_point(configuration_keys={"MeterValueSampleInterval": 1})


def hear(one: ChargePoint, topic: str, payload: str) -> None:
    one.program.publish(f"ocpp16/hardware/{topic}", payload, qos=0)


def errors_in_health(one: ChargePoint) -> dict[str, int]:
    """What was refused so far; `health` is published anew where the link is."""
    links = len(one.csms.connections)
    one.csms.close_connection()
    one.csms.wait_for_connection(links + 1, PATIENCE)
    one.program.clear()
    message = one.program.wait_for("ocpp16/health", lambda it: it.json["csms"]["connected"], PATIENCE)
    errors: dict[str, int] = message.json["errors"]
    return errors


def test_nonsense_is_logged_and_counted_and_changes_nothing(one: ChargePoint) -> None:
    transaction_id = one.begin()
    told = one.actions("StatusNotification")

    for topic, payload in NONSENSE.values():
        hear(one, topic, payload)

    assert one.works()
    warnings = [line for line in one.daemon.log.splitlines() if " WARNING ocpp16_bridge.mqtt.hardware" in line]
    assert len(warnings) == len(NONSENSE), "\n".join(warnings)
    assert one.actions("StatusNotification") == told
    one.csms.call("RemoteStopTransaction", {"transactionId": transaction_id})
    one.await_call("StopTransaction", transactionId=transaction_id, meterStop=FIRST_REGISTER)
    assert errors_in_health(one)["hardware_input"] == len(NONSENSE)


def test_nonsense_without_end_does_not_flood_the_log(one: ChargePoint) -> None:
    for _ in range(TIMES):
        hear(one, METER, f'{{"{REGISTER}":NaN}}')

    assert one.works()
    eventually(lambda: f"hardware/{METER} is ignored" in one.daemon.log, "it is logged")
    assert one.daemon.log.count("\n") < LINES + 20
    assert errors_in_health(one)["hardware_input"] == TIMES


def test_a_meter_that_runs_backwards_is_ignored_while_charging(one: ChargePoint) -> None:
    """TX-04."""
    one.begin()
    one.charger.charge(1000)

    for reading in range(TIMES):
        hear(one, METER, json.dumps({REGISTER: FIRST_REGISTER - reading}))

    assert one.works()
    sample = one.await_call("MeterValues").payload["meterValue"][0]["sampledValue"][0]["value"]
    assert sample in (str(FIRST_REGISTER), str(FIRST_REGISTER + 1000))
    assert one.program.request("stop_transaction", connector_id=1)["data"] is True
    stop = one.await_call("StopTransaction", meterStop=FIRST_REGISTER + 1000)
    assert stop.payload["meterStop"] >= FIRST_REGISTER
    assert one.daemon.log.count(" fell ") >= 1
    assert one.daemon.log.count("\n") < LINES + 20


def test_a_plug_that_flaps_50_times_a_second_is_told_as_it_flaps_and_breaks_nothing(one: ChargePoint) -> None:
    """ST-01, ST-08: each change once, in order, and no more than there were."""
    seconds = 1.0
    before = len(one.csms.calls)

    flap(one, seconds)

    one.await_status("Preparing")
    assert one.works()
    eventually(lambda: statuses(one, before)[-1] == "Available", "the last one is told")
    flaps = statuses(one, before)
    assert flaps[::2] == ["Preparing"] * (len(flaps) // 2)
    assert flaps[1::2] == ["Available"] * (len(flaps) // 2)
    assert len(flaps) <= 50 * seconds
    one.begin()


def test_with_a_minimum_duration_a_plug_that_flaps_is_not_told(one: ChargePoint) -> None:
    """ST-06, ST-07."""
    one.csms.call("ChangeConfiguration", {"key": "MinimumStatusDuration", "value": "1"})
    before = len(one.csms.calls)

    flap(one, 1.0)
    one.charger.plug()

    one.await_status("Preparing")
    assert statuses(one, before) == ["Preparing"]


def flap(one: ChargePoint, seconds: float) -> None:
    """50 facts a second; at the end it is unplugged."""
    begun = time.monotonic()
    for count in range(int(50 * seconds)):
        hear(one, STATE, json.dumps({"plugged": count % 2 == 0}))
        time.sleep(max(begun + (count + 1) / 50 - time.monotonic(), 0))
    one.program.publish(f"ocpp16/hardware/{STATE}", {"plugged": False})  # acknowledged, and so is what went before


def statuses(one: ChargePoint, since: int) -> list[str]:
    return [call.payload["status"] for call in one.csms.calls[since:] if call.action == "StatusNotification"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"plugged": False, "ev_ready": True, "evse_ready": True}, "Available"),
        ({"plugged": False, "cable": False, "locked": True}, "Available"),
        ({"plugged": True, "cable": False}, "Preparing"),
        ({"plugged": True, "ev_ready": True, "evse_ready": True}, "Preparing"),
    ],
    ids=["ready without an EV", "locked without a cable", "an EV without a cable", "energy without permission"],
)
def test_facts_that_contradict_each_other_begin_nothing(one: ChargePoint, state: dict[str, bool], status: str) -> None:
    hear(one, STATE, json.dumps(state))

    assert one.works()
    shown = json.loads(one.program.retained("ocpp16/connector/1/status")["ocpp16/connector/1/status"])
    assert (shown["status"], shown["error_code"]) == (status, "NoError")
    assert one.actions("StartTransaction") == []
    assert not one.charger.is_permitted()
