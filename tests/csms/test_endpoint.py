"""What a frame of the CSMS sets off: by the whole charge point where that is the seam, else by an endpoint alone."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from ocpp.v16.enums import RegistrationStatus

from ocpp16_bridge.csms import ocppj, redaction
from ocpp16_bridge.csms.connection import ConnectFailure
from ocpp16_bridge.csms.endpoint import MAX_CALLS_WAITING, CallHandler, CallRefusedError, Endpoint
from ocpp16_bridge.csms.schemas import ErrorCode
from ocpp16_bridge.turn import Turns
from tests.conftest import MakeStation
from tests.station import Station

# DataTransfer of the CSMS is a conversation here: a local program answers it.
CONVERSES = '[hardware]\nanswers = ["data_transfer"]'
Frame = list[Any]


@pytest.fixture
def talking(make_station: MakeStation) -> Station:
    """A registered charge point that asks a local program when the CSMS sends DataTransfer."""
    station = make_station(CONVERSES)
    station.advance(20)
    station.register()
    station.published()
    return station


def asked(station: Station) -> list[dict[str, Any]]:
    """What the local program was asked since the last look."""
    requests: list[dict[str, Any]] = station.published("hardware/request/data_transfer")
    return requests


def program_answers(station: Station, request: dict[str, Any], status: str = "Accepted") -> None:
    station.publish(
        "hardware/response/data_transfer", {"id": request["id"], "status": "ok", "data": {"status": status}}
    )


def errors(station: Station) -> dict[str, int]:
    return dict(station.charge_point.context.errors)


# -- order


def test_incoming_calls_are_served_while_an_own_one_waits_for_its_answer(station: Station) -> None:
    """TR-31; trap 25."""
    station.connect()
    (boot,) = station.sent()

    assert boot[2] == "BootNotification"
    assert station.csms_calls("GetConfiguration", key=["HeartbeatInterval"])["configurationKey"]


def test_an_answer_precedes_the_calls_that_its_call_causes() -> None:
    """TR-32; trap 20."""
    bench = Bench()

    def answer(_payload: dict[str, Any]) -> dict[str, Any]:
        bench.turns.call(lambda: bench.frames.append(["caused"]))
        return {"status": "Accepted"}

    bench.serve("ClearCache", answer)
    bench.receive([2, "1", "ClearCache", {}])

    assert bench.frames == [[3, "1", {"status": "Accepted"}], ["caused"]]


def test_calls_are_answered_in_the_order_of_their_arrival_though_one_takes_time(talking: Station) -> None:
    """TR-33: broken ones, too."""
    first = talking.csms_sends("DataTransfer", vendorId="a")
    second = talking.csms_sends("GetConfiguration", key=["HeartbeatInterval"])
    talking.receive([2, "broken", "ClearCache"])
    third = talking.csms_sends("DataTransfer", vendorId="b")
    last = talking.csms_sends("Nonsense")
    assert talking.sent() == []

    (request,) = asked(talking)
    program_answers(talking, request)
    assert [frame[:2] for frame in talking.sent()] == [[3, first], [3, second], [4, "broken"]]
    (request,) = asked(talking)
    program_answers(talking, request)

    assert [frame[:2] for frame in talking.sent()] == [[3, third], [4, last]]


def test_answers_to_own_calls_are_heard_while_an_incoming_one_takes_time(talking: Station) -> None:
    talking.csms_sends("DataTransfer", vendorId="a")

    talking.publish("request/data_transfer", {"id": "1", "vendor_id": "b"})
    (call,) = talking.sent("DataTransfer")
    talking.csms_answers(call, status="Accepted")

    assert [reply["data"] for reply in talking.published("response/data_transfer")] == [{"status": "Accepted"}]


@pytest.mark.parametrize("waits", [False, True], ids=["in work", "behind one in work"])
def test_a_call_whose_message_id_is_still_being_handled_is_not_executed_twice(talking: Station, waits: bool) -> None:
    """TR-27."""
    if waits:
        talking.csms_sends("DataTransfer", vendorId="before")
    for _ in range(2):
        talking.receive([2, "same", "DataTransfer", {"vendorId": "a"}])

    assert [frame[:3] for frame in talking.sent()] == [[4, "same", "GenericError"]]
    for _ in range(1 + waits):
        (request,) = asked(talking)
        program_answers(talking, request)
    assert [frame[:2] for frame in talking.sent()].count([3, "same"]) == 1
    assert asked(talking) == []


def test_a_message_id_is_free_again_once_it_is_answered(talking: Station) -> None:
    for _ in range(2):
        talking.receive([2, "same", "DataTransfer", {"vendorId": "a"}])
        program_answers(talking, asked(talking)[0])

    assert [frame[:2] for frame in talking.sent()] == [[3, "same"]] * 2


def test_a_flood_of_calls_behind_one_that_takes_time_is_refused(talking: Station) -> None:
    talking.csms_sends("DataTransfer", vendorId="a")
    for _ in range(MAX_CALLS_WAITING):
        talking.csms_sends("ClearCache")
    assert talking.sent() == []

    too_many = talking.csms_sends("ClearCache")
    assert [frame[:3] for frame in talking.sent()] == [[4, too_many, "GenericError"]]
    program_answers(talking, asked(talking)[0])

    assert len(talking.sent()) == 1 + MAX_CALLS_WAITING


# -- a link that goes while a CALL is in work


@pytest.mark.parametrize("connected_again", [False, True], ids=["without a link", "on the next link"])
def test_what_was_asked_on_a_lost_link_is_not_answered(talking: Station, connected_again: bool) -> None:
    talking.csms_sends("DataTransfer", vendorId="a")
    talking.csms_sends("ClearCache")
    talking.disconnect()
    if connected_again:
        talking.connect()

    program_answers(talking, asked(talking)[0])

    assert [frame for frame in talking.sent() if frame[0] != 2] == []


def test_a_conversation_of_a_lost_link_holds_up_nothing_on_the_next(talking: Station) -> None:
    """Neither while it lasts nor when it ends."""
    talking.csms_sends("DataTransfer", vendorId="old")
    (old,) = asked(talking)
    talking.disconnect()
    talking.connect()
    talking.answer_all()

    assert talking.csms_calls("GetConfiguration", key=["HeartbeatInterval"])["configurationKey"]
    new = talking.csms_sends("DataTransfer", vendorId="new")
    behind = talking.csms_sends("GetConfiguration")
    program_answers(talking, old)
    assert talking.sent() == []
    program_answers(talking, asked(talking)[0])

    assert [frame[:2] for frame in talking.sent()] == [[3, new], [3, behind]]


def test_a_call_repeated_on_the_next_link_is_not_executed_twice(talking: Station) -> None:
    """TR-22, TR-27: ids are unique over all connections."""
    talking.receive([2, "same", "DataTransfer", {"vendorId": "a"}])
    talking.disconnect()
    talking.connect()
    talking.answer_all()

    talking.receive([2, "same", "DataTransfer", {"vendorId": "a"}])

    assert [frame[:3] for frame in talking.sent()] == [[4, "same", "GenericError"]]
    assert len(asked(talking)) == 1


# -- frames that are not as they should be

UNUSABLE = [
    pytest.param("not json", "not_json", id="no JSON"),
    pytest.param('[2,"1","Reset",{"type":"Sof', "not_json", id="truncated"),
    pytest.param('{"a":1}', "not_an_array", id="an object"),
    pytest.param("[]", "message_type", id="empty array"),
    pytest.param('[9,"1","Reset",{}]', "message_type", id="unknown message type"),
    pytest.param('["2","1","Reset",{}]', "message_type", id="message type as text"),
    pytest.param('[2,1,"ClearCache",{}]', "message_id", id="number as id"),
    pytest.param('[2,{"a":1},"ClearCache",{}]', "message_id", id="object as id"),
    pytest.param("[3]", "message_id", id="no id"),
]


@pytest.mark.parametrize(("frame", "kind"), UNUSABLE)
def test_a_frame_without_type_or_id_is_counted_and_not_answered(station: Station, frame: str, kind: str) -> None:
    """TR-24, TR-25; trap 18: the link stays."""
    station.register()

    station.receive(frame)

    assert station.sent() == []
    assert errors(station) == {f"csms_{kind}": 1}
    assert station.shown("security_event")["type"] == "InvalidMessages"
    assert [event for event in station.line.events if event.startswith(("close", "redial"))] == []
    assert station.csms_calls("GetConfiguration", key=["HeartbeatInterval"])


def test_a_binary_message_is_counted_and_not_answered(station: Station) -> None:
    station.register()

    station.charge_point.endpoint.csms_received_unusable("binary")

    assert station.sent() == []
    assert errors(station) == {"csms_binary": 1}


REFUSED = [
    pytest.param([2, "1"], "FormationViolation", "csms_broken_call", id="no action"),
    pytest.param([2, "1", "ClearCache"], "FormationViolation", "csms_broken_call", id="no payload"),
    pytest.param([2, "1", "ClearCache", {}, 1], "FormationViolation", "csms_broken_call", id="five elements"),
    pytest.param([2, "1", {"a": 1}, {}], "FormationViolation", "csms_broken_call", id="object as action"),
    pytest.param([2, "1", "ClearCache", []], "FormationViolation", "csms_broken_call", id="array as payload"),
    pytest.param([2, "x" * 37, "ClearCache", {}], "FormationViolation", "csms_broken_call", id="id too long"),
    pytest.param([2, "1", "Nonsense", {}], "NotImplemented", "csms_refused_call", id="unknown action"),
    pytest.param([2, "1", "clearCache", {}], "NotImplemented", "csms_refused_call", id="action in other case"),
    pytest.param([2, "1", "Heartbeat", {}], "NotSupported", "csms_refused_call", id="action of the other direction"),
    pytest.param([2, "1", "Reset", {}], "ProtocolError", "csms_refused_call", id="field missing"),
    pytest.param([2, "1", "Reset", None], "ProtocolError", "csms_refused_call", id="null payload, field missing"),
    pytest.param([2, "1", "Reset", {"type": 1}], "TypeConstraintViolation", "csms_refused_call", id="wrong type"),
    pytest.param([2, "1", "Reset", {"type": "X"}], "PropertyConstraintViolation", "csms_refused_call", id="bad enum"),
    pytest.param([2, "1", "ClearCache", {"a": 1}], "FormationViolation", "csms_refused_call", id="unknown field"),
]


@pytest.mark.parametrize(("frame", "code", "kind"), REFUSED)
def test_a_call_that_cannot_be_served_is_answered_with_all_five_elements(
    station: Station, frame: Frame, code: str, kind: str
) -> None:
    """TR-26, 1.3; traps 17 and 18: the link stays."""
    station.register()

    station.receive(frame)

    (answer,) = station.sent()
    assert answer[:3] == [4, frame[1], code]
    assert [type(element) for element in answer[3:]] == [str, dict]
    assert errors(station) == {kind: 1}
    assert station.csms_calls("GetConfiguration", key=["HeartbeatInterval"])


def test_a_null_payload_is_read_as_an_empty_one(station: Station) -> None:
    """TR-20."""
    station.register()

    station.receive([2, "1", "GetConfiguration", None])

    assert station.sent()[0][:2] == [3, "1"]


ANSWERS_TO_NOTHING = [
    pytest.param([3, "foreign", {}], "csms_unexpected_answer", id="CALLRESULT"),
    pytest.param([4, "foreign", "GenericError", "", {}], "csms_unexpected_answer", id="CALLERROR"),
    pytest.param([4, "foreign", "SecurityError", "", {}], "csms_unexpected_answer", id="SecurityError"),
    pytest.param([3, "foreign", []], "csms_broken_answer", id="broken CALLRESULT"),
    pytest.param([4, "foreign"], "csms_broken_answer", id="broken CALLERROR"),
    pytest.param([3, "x" * 1000, {}], "csms_unexpected_answer", id="long id"),
]


@pytest.mark.parametrize(("frame", "kind"), ANSWERS_TO_NOTHING)
def test_an_answer_that_nothing_waits_for_is_dropped(station: Station, frame: Frame, kind: str) -> None:
    """TR-28."""
    station.register()
    station.line.events.clear()

    station.receive(frame)

    assert station.sent() == []
    assert station.line.events == []
    assert errors(station) == {kind: 1}


def test_only_the_first_of_two_answers_counts(station: Station) -> None:
    """TR-28."""
    station.connect()
    (boot,) = station.sent()
    answer = {"status": "Accepted", "currentTime": station.now(), "interval": 10}

    station.csms_answers(boot, **answer)
    station.csms_answers(boot, **{**answer, "status": "Rejected"})

    assert station.shown("connection")["registration"] == "Accepted"
    assert errors(station) == {"csms_unexpected_answer": 1}


def test_an_answer_of_broken_shape_ends_its_call(station: Station) -> None:
    """TR-29."""
    station.register()
    station.publish("request/data_transfer", {"id": "1", "vendor_id": "v"})
    (call,) = station.sent("DataTransfer")

    station.receive([3, call[1], "text"])

    (reply,) = station.published("response/data_transfer")
    assert reply["error"]["code"] == "csms_error"


@pytest.mark.parametrize(
    "frame",
    [
        '[2,"1","Reset",{"secret":"s3cret',
        '[9,"1","s3cret",{}]',
        json.dumps([2, "1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "s3cret" * 100}]),
        json.dumps([2, "1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": ["s3cret"]}]),
        json.dumps([2, "1", "UpdateFirmware", {"location": "ftp://u:s3cret@h"}]),
        json.dumps([2, "1" * 100_000, "ClearCache", {}]),
        json.dumps([3, "1" * 100_000, {}]),
        json.dumps([4, "1" * 100_000, "X" * 100_000, "Y" * 100_000, {"a": "s3cret"}]),
        json.dumps([4, "1" * 100_000]),
        json.dumps([2, "1", "N" * 100_000, {}]),
        json.dumps([2, "1", "ClearCache", {"n" * 100_000: "s3cret"}]),
        json.dumps([2, "line\nfeed", "ClearCache"]),
    ],
    ids=lambda frame: frame[:30],
)
def test_the_log_holds_nothing_secret_nothing_huge_and_no_forged_lines(
    station: Station, frame: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SE-13, TR-25."""
    station.register()
    caplog.clear()

    station.receive(frame)

    assert "s3cret" not in caplog.text
    assert [record.message for record in caplog.records if len(record.message) > 500 or "\n" in record.message] == []


# -- registration


def test_a_csms_that_rejected_us_gets_no_answer(station: Station) -> None:
    """BT-07; trap 2."""
    station.register("Rejected", interval=100)

    station.csms_sends("GetConfiguration")
    station.receive([2, "1", "Nonsense", {}])
    station.receive([2, "1"])

    assert station.sent() == []
    assert errors(station)["csms_call_while_rejected"] == 3


@pytest.mark.parametrize("status", [None, "Pending"], ids=["not answered yet", "Pending"])
def test_calls_are_answered_before_acceptance(station: Station, status: str | None) -> None:
    """BT-08, the message matrix; TC_002_CS."""
    if status is None:
        station.connect()
        station.sent()
    else:
        station.register(status, interval=100)

    assert station.csms_calls("ChangeConfiguration", key="HeartbeatInterval", value="60") == {"status": "Accepted"}


def test_a_call_in_work_when_the_csms_rejects_us_is_not_answered(talking: Station) -> None:
    """BT-07, BT-11; nor is what waits behind it."""
    talking.csms_sends("DataTransfer", vendorId="a")
    talking.csms_sends("ClearCache")
    talking.charge_point.context.csms.registration = RegistrationStatus.rejected

    program_answers(talking, asked(talking)[0])

    assert [frame for frame in talking.sent() if frame[0] != 2] == []


# -- an endpoint alone: what goes wrong within


class Rollback:
    """The store, as far as turns see it."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class Calls:
    """The queue, as far as the endpoint uses it: nothing is in flight."""

    registration: ClassVar = RegistrationStatus.accepted

    def connected(self) -> None: ...
    def disconnected(self) -> None: ...
    def pump(self) -> None: ...


class Bench:
    """An endpoint with handlers of its own."""

    def __init__(self) -> None:
        self.turns = Turns(Rollback())
        self.frames: list[Frame] = []
        self.counted: list[str] = []
        self.endpoint = Endpoint(
            self.turns,
            Calls(),  # type: ignore[arg-type] # a fake of what is used
            lambda _conversation, _name: None,
            self.counted.append,
            lambda: 5.0,
        )
        self.endpoint.line = self
        self.endpoint.csms_connected()

    def send(self, frame: str) -> None:
        frame.encode()  # as a websocket does
        self.frames.append(json.loads(frame))

    def answered(self) -> None: ...

    def serve(self, action: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.endpoint.handlers[action] = CallHandler(answer)

    def receive(self, frame: Frame) -> None:
        self.endpoint.csms_received(json.dumps(frame))


def fail(_payload: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError("s3cret")


def refuse(_payload: dict[str, Any]) -> dict[str, Any]:
    raise CallRefusedError(ErrorCode.SECURITY_ERROR, "not you")


@pytest.mark.parametrize(
    ("action", "answer", "expected"),
    [
        pytest.param("ClearCache", fail, ["InternalError", "", {}], id="fails"),
        pytest.param("ClearCache", refuse, ["SecurityError", "not you", {}], id="refuses"),
        pytest.param(
            "ClearCache", lambda _: {"status": "Odd"}, ["PropertyConstraintViolation"], id="breaks its schema"
        ),
        pytest.param(
            "DataTransfer",
            lambda _: {"status": "Accepted", "data": "\ud800"},
            ["InternalError", "", {}],
            id="can't be sent",
        ),
    ],
)
def test_every_call_is_answered_whatever_its_handler_does(
    action: str, answer: Callable[[dict[str, Any]], dict[str, Any]], expected: Frame
) -> None:
    bench = Bench()
    bench.serve(action, answer)

    bench.receive([2, "1", action, {"vendorId": "v"} if action == "DataTransfer" else {}])

    (frame,) = bench.frames
    assert frame[: 2 + len(expected)] == [4, "1", *expected]
    assert bench.counted != []


def test_an_action_that_no_feature_serves_is_not_supported() -> None:
    """1.3."""
    bench = Bench()

    bench.receive([2, "1", "ClearCache", {}])

    assert bench.frames[0][:3] == [4, "1", "NotSupported"]


def test_a_conversation_that_fails_is_answered_and_the_next_call_served(talking: Station) -> None:
    async def fail(_payload: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError

    talking.charge_point.endpoint.handlers["ClearCache"] = CallHandler(None, fail)

    for _ in range(2):
        message_id = talking.csms_sends("ClearCache")
        assert talking.sent() == [[4, message_id, "InternalError", "", {}]]


def test_a_frame_that_cannot_be_shown_is_served_all_the_same(station: Station) -> None:
    def show(_direction: str, _frame: redaction.Frame) -> None:
        raise OSError("no space left on device")

    station.register()
    station.charge_point.endpoint.on_frame.append(show)

    assert station.csms_calls("GetConfiguration", key=["HeartbeatInterval"])


def test_frames_are_shown_in_both_directions() -> None:
    bench = Bench()
    shown: list[tuple[str, redaction.Frame]] = []
    bench.endpoint.on_frame.append(lambda direction, frame: shown.append((direction, frame)))

    bench.receive([2, "1", "ClearCache", {}])
    bench.endpoint.transmit(ocppj.CallResult("2", {}))

    assert [(direction, frame.shown[:2]) for direction, frame in shown] == [
        ("received", [2, "1"]),
        ("sent", [4, "1"]),
        ("sent", [3, "2"]),
    ]


# -- the link


def test_a_stopped_charge_point_hears_nothing() -> None:
    bench = Bench()
    bench.endpoint.stopped = True

    bench.receive([2, "1", "ClearCache", {}])

    assert bench.frames == []
    assert bench.endpoint.last_received_at is None


def test_features_hear_of_refused_attempts() -> None:
    bench = Bench()
    heard: list[ConnectFailure] = []
    bench.endpoint.on_refused.append(heard.append)
    failure = ConnectFailure("HTTP 401", 401, None, "http")

    bench.endpoint.csms_refused(failure)

    assert heard == [failure]


def test_the_line_learns_of_an_answered_call(station: Station) -> None:
    """TR-45: waits are short again."""
    station.register()

    assert "answered" in station.line.events


def test_after_a_reconnect_connectors_are_reported_before_the_queue_is_drained(station: Station) -> None:
    """TR-47."""
    station.advance(20)
    station.register()
    station.disconnect()
    station.publish("request/security_event", {"type": "TamperDetectionActivated"})
    station.publish("hardware/connector/1/state", {"plugged": True})

    station.connect()
    (first,) = station.sent()
    station.csms_answers(first)

    assert first[2] == "StatusNotification"
    assert [frame[2] for frame in station.sent()] == ["SecurityEventNotification"]


def test_after_acceptance_connectors_are_reported_before_the_queue_is_drained(station: Station) -> None:
    """TX-40, BT-05; an event that the answer itself causes waits, too."""
    station.clock_error = -3600
    station.advance(20)
    station.connect()
    (boot,) = station.sent()

    station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=300)

    actions = []
    while frames := station.sent():
        (frame,) = frames
        actions.append(frame[2])
        station.csms_answers(frame)
    assert actions == ["StatusNotification"] * 2 + ["SecurityEventNotification"] * 2


def test_boot_notification_after_security_error_goes_before_what_waits(station: Station) -> None:
    """TR-48."""
    station.advance(20)
    station.register()
    station.disconnect()
    station.connect()
    for plugged in (True, False):
        station.publish("hardware/connector/1/state", {"plugged": plugged})
    (status,) = station.sent()

    station.csms_refuses(status, "SecurityError")

    assert [frame[2] for frame in station.sent()] == ["BootNotification"]
