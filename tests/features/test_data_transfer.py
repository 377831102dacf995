"""DataTransfer, both ways: obligations 6.5, contract 3 and 4."""

import logging
from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.station import Station

LISTED = '[hardware]\nanswers = ["data_transfer"]\n'


@pytest.fixture
def quiet(station: Station) -> Station:
    """Registered, with everything reported."""
    return registered(station)


@pytest.fixture
def listed(make_station: MakeStation) -> Station:
    """A local program answers DataTransfer."""
    return registered(make_station(LISTED))


def registered(station: Station) -> Station:
    station.advance(20)
    station.register()
    station.published()
    return station


def begin(station: Station, **arguments: Any) -> list[Any]:
    """Ask for a DataTransfer; the frame that goes out."""
    station.publish("request/data_transfer", {"vendor_id": "com.example", **arguments})
    (frame,) = station.sent()
    return list(frame)


def reply(station: Station) -> Any:
    (message,) = station.published("response/data_transfer")
    return message


# -- to the CSMS


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        ({}, {"vendorId": "com.example"}),
        (
            {"message_id": "m" * 50, "data": '{"a": 1}'},
            {"vendorId": "com.example", "messageId": "m" * 50, "data": '{"a": 1}'},
        ),
        ({"vendor_id": "v" * 255, "data": ""}, {"vendorId": "v" * 255, "data": ""}),
    ],
    ids=["least", "most", "longest"],
)
def test_arguments_become_the_message(quiet: Station, arguments: dict[str, Any], payload: dict[str, Any]) -> None:
    assert begin(quiet, **arguments)[2:] == ["DataTransfer", payload]


@pytest.mark.parametrize("status", ["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"])
@pytest.mark.parametrize("data", [{}, {"data": "their data"}], ids=["", "data"])
def test_answer_of_the_csms_is_the_reply(quiet: Station, status: str, data: dict[str, str]) -> None:
    frame = begin(quiet)

    quiet.csms_answers(frame, status=status, **data)

    assert reply(quiet) == {"status": "ok", "data": {"status": status, **data}}


@pytest.mark.parametrize("state", ["never connected", "not registered", "Pending", "Rejected", "link lost", "stopped"])
def test_without_registration_it_is_offline_and_never_sent(station: Station, state: str) -> None:
    """Contract 3, 6.5: not sent later either."""
    match state:
        case "not registered":
            station.connect()
        case "Pending" | "Rejected":
            station.register(state, interval=10)
        case "link lost":
            registered(station).disconnect()
        case "stopped":
            registered(station).ask("stop")
    assert station.ask("data_transfer", vendor_id="com.example") == {"status": "Offline"}

    if state == "stopped":
        station.ask("restart")
    station.advance(20)
    station.sent()
    if not station.charge_point.endpoint.connected:
        station.connect()
    for boot in station.sent("BootNotification"):
        station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=300)
    station.answer_all()

    assert "DataTransfer" not in [frame[2] for frame in station.line.frames]


def test_refusal_is_a_csms_error(quiet: Station) -> None:
    frame = begin(quiet, id="7")

    quiet.csms_refuses(frame, "SecurityError", "not you")

    answer = reply(quiet)
    error = answer.pop("error")
    assert answer == {"id": "7", "status": "error"}
    assert error.pop("message")
    assert error == {"code": "csms_error", "error_code": "SecurityError", "error_description": "not you"}


@pytest.mark.parametrize(
    "payload",
    [{}, {"status": "Perhaps"}, {"status": "Accepted", "data": {"a": 1}}, [], "Accepted"],
    ids=["no status", "unknown status", "data is no string", "array", "string"],
)
def test_unreadable_answer_is_a_csms_error(quiet: Station, payload: object) -> None:
    frame = begin(quiet)

    quiet.receive([3, frame[1], payload])

    error = reply(quiet)["error"]
    assert (error["code"], error["error_code"]) == ("csms_error", "FormationViolation")
    assert error["error_description"]


def test_no_answer_in_time_is_a_timeout(quiet: Station) -> None:
    begin(quiet)
    quiet.advance(29)
    assert quiet.published("response/data_transfer") == []

    quiet.advance(1)

    assert reply(quiet) == {"status": "error", "error": {"code": "timeout", "message": "no answer within 30 s"}}


def test_lost_link_is_a_timeout_at_once(quiet: Station) -> None:
    begin(quiet)

    quiet.disconnect()

    error = reply(quiet)["error"]
    assert error["code"] == "timeout"
    assert "link to the CSMS was lost" in error["message"]
    quiet.connect()
    assert quiet.sent() == []


def test_transfer_that_still_waits_when_the_link_is_lost_is_offline(quiet: Station) -> None:
    """Contract 3: it was not sent and never will be."""
    quiet.publish("hardware/connector/1/state", {"plugged": True})
    quiet.publish("request/data_transfer", {"vendor_id": "com.example"})
    assert [frame[2] for frame in quiet.sent()] == ["StatusNotification"]

    quiet.disconnect()

    assert reply(quiet)["data"] == {"status": "Offline"}
    quiet.connect()
    quiet.answer_all()
    assert "DataTransfer" not in [frame[2] for frame in quiet.line.frames]


def test_answer_that_comes_too_late_is_dropped(quiet: Station) -> None:
    frame = begin(quiet)
    quiet.advance(30)
    reply(quiet)

    quiet.csms_answers(frame, status="Accepted")

    assert quiet.published("response/data_transfer") == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"vendor_id": ""},
        {"vendor_id": "v" * 256},
        {"vendor_id": "v", "message_id": "m" * 51},
        {"vendor_id": "v", "data": {"a": 1}},
        {"vendor_id": "v", "custom": ""},
    ],
    ids=lambda arguments: repr(arguments)[:40],
)
def test_arguments_are_checked(quiet: Station, arguments: dict[str, Any]) -> None:
    assert quiet.request("data_transfer", **arguments)["error"]["code"] == "bad_request"
    assert quiet.sent() == []


def test_transfers_go_one_after_the_other(quiet: Station) -> None:
    """TR-31."""
    first = begin(quiet, data="1")
    quiet.publish("request/data_transfer", {"vendor_id": "com.example", "data": "2"})
    assert quiet.sent() == []

    quiet.csms_answers(first, status="Accepted")

    (second,) = quiet.sent()
    assert second[3]["data"] == "2"


# -- from the CSMS


def test_unlisted_it_is_an_unknown_vendor(quiet: Station) -> None:
    """6.5; TC_062_CS: without data, and nobody is asked."""
    assert quiet.csms_calls("DataTransfer", vendorId="com.example", data="x") == {"status": "UnknownVendorId"}
    assert quiet.published() == []


def asked(station: Station) -> Any:
    (question,) = station.published("hardware/request/data_transfer")
    return question


@pytest.mark.parametrize(
    ("payload", "arguments"),
    [
        ({"vendorId": "v"}, {"vendor_id": "v"}),
        ({"vendorId": "v", "messageId": "m", "data": "d"}, {"vendor_id": "v", "message_id": "m", "data": "d"}),
    ],
    ids=["least", "most"],
)
@pytest.mark.parametrize("answer", [{"status": "Accepted"}, {"status": "UnknownMessageId", "data": "no"}], ids=str)
def test_listed_program_answers(
    listed: Station, payload: dict[str, Any], arguments: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Contract 4."""
    message_id = listed.csms_sends("DataTransfer", **payload)
    question = asked(listed)
    request_id = question.pop("id")

    listed.publish("hardware/response/data_transfer", {"id": request_id, "status": "ok", "data": answer})

    assert question == arguments
    assert listed.sent() == [[3, message_id, answer]]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "error", "error": {"code": "internal", "message": ""}},
        {"status": "ok"},
        {"status": "ok", "data": None},
        {"status": "ok", "data": "Accepted"},
        {"status": "ok", "data": {"status": "Perhaps"}},
        {"status": "ok", "data": {"status": "Accepted", "data": {"a": 1}}},
    ],
    ids=lambda answer: repr(answer)[:60],
)
def test_impossible_answer_is_a_rejection(
    listed: Station, caplog: pytest.LogCaptureFixture, answer: dict[str, Any]
) -> None:
    message_id = listed.csms_sends("DataTransfer", vendorId="v")

    listed.publish("hardware/response/data_transfer", {"id": asked(listed)["id"], **answer})

    assert listed.sent() == [[3, message_id, {"status": "Rejected"}]]
    (warning,) = [r for r in caplog.records if "DataTransfer of v is rejected" in r.getMessage()]
    assert (warning.levelno, "\n" in warning.getMessage()) == (logging.WARNING, False)


def test_no_answer_is_a_rejection(listed: Station) -> None:
    """Contract 4: within hardware.answer_timeout."""
    message_id = listed.csms_sends("DataTransfer", vendorId="v")
    listed.advance(9)
    assert listed.sent() == []

    listed.advance(1)

    assert listed.sent() == [[3, message_id, {"status": "Rejected"}]]


def test_without_broker_it_is_rejected_at_once(listed: Station) -> None:
    listed.disconnect_broker()

    assert listed.csms_calls("DataTransfer", vendorId="v") == {"status": "Rejected"}


def test_answers_keep_the_order_of_the_calls(listed: Station) -> None:
    """TR-33."""
    first = listed.csms_sends("DataTransfer", vendorId="v")
    second = listed.csms_sends("GetConfiguration", key=["HeartbeatInterval"])
    assert listed.sent() == []

    answer = {"id": asked(listed)["id"], "status": "ok", "data": {"status": "Accepted"}}
    listed.publish("hardware/response/data_transfer", answer)

    assert [frame[1] for frame in listed.sent()] == [first, second]
