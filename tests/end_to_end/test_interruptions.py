"""Broker, hardware or CSMS go away in the middle of a transaction: it goes on, and all is right again afterwards."""

import itertools
import json
from datetime import datetime

import pytest

from tests.broker import Broker, V3OnlyBroker
from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import ID_TAG, ChargePoint, MakeChargePoint
from tests.end_to_end.charger import FIRST_REGISTER
from tests.end_to_end.conftest import Prepare
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.end_to_end.site import await_topic
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import ScriptedCsms

make_charge_point = charge_point.make_charge_point

SAMPLED = {"MeterValueSampleInterval": 1}


@pytest.fixture
def one(make_charge_point: MakeChargePoint) -> ChargePoint:
    return make_charge_point(configuration_keys=SAMPLED)


def test_a_transaction_goes_on_while_the_broker_is_away(one: ChargePoint) -> None:
    transaction_id = one.begin()
    one.charger.charge(100)
    one.broker.kill()
    eventually(lambda: "no connection to the MQTT broker" in one.daemon.log, "the daemon notices")
    assert one.csms.call("RemoteStartTransaction", {"idTag": ID_TAG})["status"] == "Rejected"
    one.await_call("MeterValues", transactionId=transaction_id)

    one.broker.start()

    with LocalProgram(one.broker.port) as program:
        program.subscribe("ocpp16/#")
        await_topic(program, "state", "online")
        kept = program.retained("ocpp16/connector/1/+")
        shown = {topic.rpartition("/")[2]: json.loads(payload) for topic, payload in kept.items()}
        assert (shown["status"]["status"], shown["charging_permitted"]) == ("Charging", True)
        assert shown["transaction"]["transaction_id"] == transaction_id
        program.wait_for("ocpp16/hardware/state", lambda message: message.text == "online", PATIENCE)
        one.charger.charge(200)
        reply = program.request("present_id_tag", id_tag=ID_TAG)
        assert reply["data"]["action"] == "stop"
    one.await_call("StopTransaction", transactionId=transaction_id, meterStop=FIRST_REGISTER + 300)
    assert one.actions("StartTransaction", "StopTransaction") == ["StartTransaction", "StopTransaction"]


def test_a_transaction_outlives_the_program_of_the_hardware(one: ChargePoint) -> None:
    transaction_id = one.begin()

    one.charger.die()
    one.await_status("Faulted", errorCode="InternalError")
    one.await_topic("connector/1/charging_permitted", value=False)
    assert one.csms.call("RemoteStartTransaction", {"idTag": ID_TAG})["status"] == "Rejected"
    one.charger.come_back()

    one.await_status("Charging", errorCode="NoError")
    one.charger.charge(400)
    one.await_energy(400)
    assert one.csms.call("RemoteStopTransaction", {"transactionId": transaction_id})["status"] == "Accepted"
    one.await_call("StopTransaction", transactionId=transaction_id, meterStop=FIRST_REGISTER + 400)
    one.await_status("Finishing")


def test_meter_values_of_an_outage_come_first_and_in_order(one: ChargePoint) -> None:
    """TC_036_CS; TX-32."""
    transaction_id = one.begin()
    one.go_offline()
    seen = len(one.csms.calls)
    eventually(lambda: len(one.daemon.queued()) >= 3, "three samples wait")
    waiting = [call["message_id"] for call in one.daemon.queued()]

    one.go_online()

    one.csms.wait_until(lambda: len(one.csms.calls[seen:]) > len(waiting), PATIENCE)
    came = [call for call in one.csms.calls[seen:] if call.action == "MeterValues"]
    assert [call.message_id for call in came[: len(waiting)]] == waiting
    assert {call.payload["transactionId"] for call in came} == {transaction_id}
    moments = [datetime.fromisoformat(call.payload["meterValue"][0]["timestamp"]) for call in came]
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]
    assert all(0.9 < gap < 1.5 for gap in gaps), gaps
    assert one.actions("BootNotification") == ["BootNotification"]  # TR-46


def test_a_whole_session_over_mqtt_3_1_1(broker: Broker, make_charge_point: MakeChargePoint) -> None:
    with V3OnlyBroker(broker.port) as old_broker, LocalProgram(broker.port, protocol=4) as reader:
        one = make_charge_point(
            mqtt={"port": old_broker.port}, lock=True, protocol=4, hardware={"answers": ["unlock_connector"]}
        )
        one.charger.plug()
        one.await_status("Preparing")
        assert reader.request("present_id_tag", id_tag=ID_TAG)["data"]["action"] == "start"
        transaction = one.await_call("StartTransaction", idTag=ID_TAG)
        one.await_status("Charging")
        one.charger.charge(250)
        assert one.csms.call("UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
        one.await_call("StopTransaction", reason="UnlockCommand", meterStop=FIRST_REGISTER + 250)
        one.charger.unplug()
        one.await_status("Available")

        assert old_broker.refused
        assert transaction.payload["meterStart"] == FIRST_REGISTER
        one.daemon.terminate()  # the old broker waits for its clients
        assert one.daemon.wait() == 0


def test_redials_carry_a_random_part(csms: ScriptedCsms, prepare: Prepare) -> None:
    """TR-45: a fleet does not come back all at once."""
    csms.close_at_once = True
    settings = {"reconnect_wait_minimum": 0.05, "reconnect_random_range": 0.6, "reconnect_repeat_times": 0}
    prepare(csms=settings, hardware={"start_timeout": 0}).start()

    attempts = csms.wait_for_attempts(6, PATIENCE)

    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(attempts)]
    assert max(gaps) - min(gaps) > 0.03, gaps  # five equal ones: once in some ten thousand runs
    csms.close_at_once = False
