"""Transactions and meter values are delivered whatever happens, or given up where everybody sees it (obligations 5.3).

The figures that README names are asserted here: 8 of 8 offline sessions, 30 of 30 offline meter values.
"""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import ID_TAG, OFFLINE, ChargePoint, MakeChargePoint, at
from tests.end_to_end.charger import FIRST_REGISTER, REGISTER
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.scripted_csms import Call, CallError, Payload, ScriptedCsms

make_charge_point = charge_point.make_charge_point

NO_SAMPLES = {"MeterValueSampleInterval": 0}
TRANSACTION = ("StartTransaction", "StopTransaction")


def accept_with_own_id(start: Payload) -> Payload:
    """The same id for the same transaction, however often it is told; none that the charge point could guess."""
    return {"transactionId": id_of(start), "idTagInfo": {"status": "Accepted"}}


def id_of(start: Payload) -> int:
    meter_start: int = start["meterStart"]
    return -7_000_000 - meter_start  # negative ones are legal, too (4.5)


@pytest.fixture
def one(make_charge_point: MakeChargePoint) -> ChargePoint:
    """A charge point that accepts every tag while it is offline."""
    made = make_charge_point(configuration_keys=OFFLINE | NO_SAMPLES)
    made.csms.answers["StartTransaction"] = accept_with_own_id
    return made


def transaction_calls(of: ChargePoint) -> list[Call]:
    return [call for call in list(of.csms.calls) if call.action in TRANSACTION]


# -- SIGKILL


def test_a_session_offline_survives_being_killed_twice(one: ChargePoint) -> None:
    """TX-20, TX-28, TX-31."""
    one.go_offline()
    plugged_at = datetime.now(UTC)
    one.charger.plug()
    one.present()
    one.await_shown_status("Charging")
    started_by = datetime.now(UTC)
    for energy in (400, 300):
        one.kill_and_start()
        assert one.charger.is_permitted()
        one.charger.charge(energy)
    stopped_after = datetime.now(UTC)
    assert one.present()["action"] == "stop"
    one.await_shown_status("Finishing")
    back = datetime.now(UTC)

    one.csms.start()

    start = one.await_call("StartTransaction", idTag=ID_TAG, meterStart=FIRST_REGISTER)
    stop = one.await_call(
        "StopTransaction", transactionId=id_of(start.payload), idTag=ID_TAG, meterStop=FIRST_REGISTER + 700
    )
    one.await_delivery()
    assert transaction_calls(one) == [start, stop]
    assert plugged_at - rounding() < at(start) < started_by
    assert stopped_after - rounding() < at(stop) < back


def rounding() -> timedelta:
    """Timestamps are whole milliseconds, rounded down."""
    return timedelta(milliseconds=1)


def test_a_finished_session_offline_survives_being_killed(one: ChargePoint) -> None:
    one.go_offline()
    one.session(500)

    one.kill_and_start()
    one.csms.start()

    start = one.await_call("StartTransaction", meterStart=FIRST_REGISTER)
    one.await_call("StopTransaction", transactionId=id_of(start.payload), meterStop=FIRST_REGISTER + 500)
    one.await_delivery()
    assert one.actions(*TRANSACTION) == list(TRANSACTION)


def test_a_session_online_survives_being_killed(one: ChargePoint) -> None:
    """TX-43."""
    transaction_id = one.begin()

    one.kill_and_start()
    one.charger.charge(600)
    one.await_registration()

    assert one.charger.is_permitted()
    answer = one.csms.call("RemoteStopTransaction", {"transactionId": transaction_id})
    one.await_call("StopTransaction", transactionId=transaction_id, reason="Remote", meterStop=FIRST_REGISTER + 600)
    assert answer == {"status": "Accepted"}
    one.await_delivery()
    assert one.actions(*TRANSACTION) == list(TRANSACTION)


@pytest.mark.parametrize("action", TRANSACTION)
def test_what_has_no_answer_yet_goes_out_again_as_it_was(one: ChargePoint, action: str) -> None:
    """TX-29."""
    one.csms.answers[action] = ScriptedCsms.SILENT
    one.charger.plug()
    one.present()
    one.await_shown_status("Charging")
    one.present()
    first = one.await_call(action)

    one.daemon.kill()
    one.csms.answers[action] = accept_with_own_id if action == "StartTransaction" else {}
    one.daemon.start()

    again = one.await_call(action)
    one.await_delivery()
    assert (again.message_id, again.payload) == (first.message_id, first.payload)
    assert list(dict.fromkeys(one.actions(*TRANSACTION))) == list(TRANSACTION)


def test_of_a_backlog_only_what_was_on_its_way_at_a_kill_goes_out_again(one: ChargePoint) -> None:
    """8 of 8 sessions, in order, with the CSMS's ids, over three kills amid the delivery."""
    one.go_offline()
    for number in range(8):
        one.session(100, id_tag=f"TAG{number}")
    eventually(
        lambda: len(queued_transactions(one)) == 16, "8 starts and 8 ends, the last of which waits for its meter"
    )
    queued = queued_transactions(one)
    one.csms.answer_delay = 0.02
    one.csms.start()

    for count in (3, 7, 11):
        one.csms.wait_until(lambda count=count: len(delivered(one)) >= count, PATIENCE)  # type: ignore[misc] # bound
        one.kill_and_start()

    one.await_delivery()
    assert delivered(one) == queued
    for earlier, later in itertools.pairwise(by_connection(one)):
        assert set(earlier) & set(later) <= {earlier[-1]}
    assert sessions(one) == [
        (f"TAG{number}", id_of({"meterStart": begin}), begin, begin + 100)
        for number, begin in enumerate(range(FIRST_REGISTER, FIRST_REGISTER + 800, 100))
    ]


def queued_transactions(of: ChargePoint) -> list[str]:
    """The message ids of the starts and ends that lie on disk."""
    return [call["message_id"] for call in of.daemon.queued() if call["action"] in TRANSACTION]


def delivered(of: ChargePoint) -> list[str]:
    """The message ids of transactions' starts and ends, each once, in the order in which they came first."""
    return list(dict.fromkeys(call.message_id for call in transaction_calls(of)))


def by_connection(of: ChargePoint) -> list[list[str]]:
    """The message ids of transactions' starts and ends on each connection that had some."""
    grouped = itertools.groupby(transaction_calls(of), key=lambda call: call.connection)
    return [[call.message_id for call in calls] for _, calls in grouped]


def sessions(of: ChargePoint) -> list[tuple[str, int, int, int]]:
    """Id tag, transaction id, start and stop of the meter of each one that the CSMS has been told of."""
    calls = {call.message_id: call for call in transaction_calls(of)}.values()
    starts = [call.payload for call in calls if call.action == "StartTransaction"]
    stops = [call.payload for call in calls if call.action == "StopTransaction"]
    return [
        (start["idTag"], stop["transactionId"], start["meterStart"], stop["meterStop"])
        for start, stop in zip(starts, stops, strict=True)
    ]


# -- meter values


def test_30_of_30_offline_meter_values_arrive_in_order(make_charge_point: MakeChargePoint) -> None:
    """TX-20, TX-32; ten connectors take three samples each."""
    ten = make_charge_point(count=10, configuration_keys=OFFLINE | {"MeterValueSampleInterval": 1})
    ten.csms.answers["StartTransaction"] = lambda start: {
        "transactionId": 500 + start["connectorId"],
        "idTagInfo": {"status": "Accepted"},
    }
    ten.go_offline()
    for number in range(1, 11):
        ten.charger.plug(number)
        assert ten.present(f"TAG{number}")["connector_id"] == number
    eventually(lambda: len(samples(ten.daemon.queued())) >= 30, "30 meter values")
    ten.kill_and_start()
    for number in range(1, 11):
        assert ten.program.request("stop_transaction", connector_id=number)["data"] is True
    eventually(lambda: len(ten.daemon.queued()) >= 50, "10 starts, 10 ends and what is between")
    expected = samples(ten.daemon.queued())

    ten.csms.start()

    ten.await_delivery()
    calls = [call.payload for call in ten.csms.calls if call.action == "MeterValues"]
    came = [{name: value for name, value in call.items() if name != "transactionId"} for call in calls]
    assert len(expected) >= 30
    assert came == expected
    assert all(call["transactionId"] == 500 + call["connectorId"] for call in calls)
    for number in range(1, 11):
        moments = [
            datetime.fromisoformat(value["timestamp"])
            for call in calls
            if call["connectorId"] == number
            for value in call["meterValue"]
        ]
        gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]
        assert all(0.9 < gap < 2.5 for gap in gaps), gaps  # longer where the daemon was dead
    assert all(call["meterValue"][0]["sampledValue"][0]["measurand"] == REGISTER for call in calls)


def samples(queued: list[Any]) -> list[Payload]:
    """The meter values among what waits, without the transaction id, which is not known yet."""
    payloads = [call["payload"] for call in queued if call["action"] == "MeterValues"]
    return [{name: value for name, value in payload.items() if name != "transactionId"} for payload in payloads]


# -- a CSMS that does not take them

REFUSALS: dict[str, tuple[str, Any]] = {
    "CALLERROR to StartTransaction": ("StartTransaction", CallError("InternalError")),
    "CALLERROR to StopTransaction": ("StopTransaction", CallError("GenericError")),
    "no answer to StartTransaction": ("StartTransaction", ScriptedCsms.SILENT),
    "no answer to StopTransaction": ("StopTransaction", ScriptedCsms.SILENT),
    "an answer that makes no sense": ("StartTransaction", {"transactionId": "seven", "idTagInfo": 7}),
}
IMPATIENT = {"TransactionMessageRetryInterval": 1, "TransactionMessageAttempts": 2, "MessageTimeout": 1}


@pytest.mark.parametrize(("action", "answer"), REFUSALS.values(), ids=REFUSALS)
def test_what_the_csms_never_takes_is_given_up_where_everybody_sees_it(
    make_charge_point: MakeChargePoint, action: str, answer: Any
) -> None:
    """TX-23 … TX-27."""
    one = make_charge_point(configuration_keys=OFFLINE | NO_SAMPLES | IMPATIENT)
    one.csms.answers["StartTransaction"] = accept_with_own_id
    one.csms.answers[action] = answer
    one.session(100)

    first, second = one.await_call(action), one.await_call(action)
    event = one.program.wait_for(
        "ocpp16/event/transaction", lambda message: bool(message.json["event"] == "given_up"), PATIENCE
    ).json
    one.await_delivery(given_up=1)

    frame = [2, first.message_id, action, first.payload]
    transaction_id = None if action == "StartTransaction" else id_of({"meterStart": FIRST_REGISTER})
    assert (second.message_id, second.payload) == (first.message_id, first.payload)
    assert second.received_at - first.received_at >= 1
    assert (event["frame"], event["connector_id"], event["transaction_id"]) == (frame, 1, transaction_id)
    assert [line for line in one.daemon.log.splitlines() if " ERROR " in line and first.message_id in line]
    assert one.actions(action) == [action] * 2
    assert {call.payload["transactionId"] for call in one.csms.calls if call.action == "StopTransaction"} == {
        -1 if transaction_id is None else transaction_id  # TX-27
    }
    one.csms.close_connection()  # health is published now, not only in a minute
    one.program.wait_for("ocpp16/health", lambda message: bool(message.json["errors"].get("given_up") == 1), PATIENCE)


def test_the_waits_between_attempts_grow_and_other_messages_pass_meanwhile(make_charge_point: MakeChargePoint) -> None:
    """TX-22, TX-25."""
    one = make_charge_point(configuration_keys=IMPATIENT | NO_SAMPLES | {"TransactionMessageAttempts": 3})
    refusals = iter([CallError("InternalError"), CallError("GenericError")])
    one.csms.answers["StartTransaction"] = lambda start: next(refusals, accept_with_own_id(start))

    one.session(100)

    first, second, third = (one.await_call("StartTransaction") for _ in range(3))
    stop = one.await_call("StopTransaction", transactionId=id_of(first.payload))
    assert second.received_at - first.received_at >= 1
    assert third.received_at - second.received_at >= 2
    assert len({call.message_id for call in (first, second, third)}) == 1
    assert one.in_order(first, one.await_status("Finishing"), one.await_status("Available"), third, stop)
    one.await_delivery()
    assert "given_up" not in one.daemon.log
