"""The side of the hardware: facts in, requests with time limits (contract 4)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ocpp16_bridge.mqtt.hardware import (
    MAX_PAYLOAD,
    MAX_WARNED_TOPICS,
    HardwareInput,
    HardwareInputs,
    HardwareRequests,
    NoHardwareAnswerError,
)
from ocpp16_bridge.turn import Turns
from tests.conftest import MakeStation
from tests.station import Station

LISTED = '[hardware]\nanswers = ["unlock_connector", "reset"]\nanswer_timeout = 4\n'


class Store:
    """Counts the turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.rolled_back = 0

    def begin(self) -> None:
        self.turns += 1

    def commit(self) -> None: ...

    def rollback(self) -> None:
        self.rolled_back += 1


class State(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    plugged: bool = False
    power: float = 0


class Fault(BaseModel):
    error_code: Annotated[str, Field(min_length=1)]


class Gate:
    """Inputs of every kind, noted down."""

    def __init__(self, requests: HardwareRequests) -> None:
        self.store = Store()
        self.turns = Turns(self.store)
        self.refused: Counter[str] = Counter()
        self.facts: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.inputs = HardwareInputs(self.turns, requests, lambda kind: self.refused.update((kind,)))
        faults: TypeAdapter[Any] = TypeAdapter(list[Fault] | None)
        self.inputs.inputs += [
            HardwareInput(("connector", "+", "state"), TypeAdapter(State), self.take),
            HardwareInput(("connector", "+", "errors"), faults, self.take),
            HardwareInput(("connector", "+", "errors", "+"), faults, self.take),
            HardwareInput(("state",), None, self.take),
        ]

    def take(self, fact: Any, *levels: str) -> None:
        self.facts.append((fact, *levels))
        if self.error is not None:
            raise self.error


@pytest.fixture
def gate(station: Station) -> Gate:
    return Gate(station.charge_point.context.hardware)


# -- inputs


@pytest.mark.parametrize(
    ("topic", "payload", "fact"),
    [
        ("connector/1/state", b'{"plugged":true,"new":1}', (State(plugged=True), "1")),
        ("connector/2/state", b"{}", (State(), "2")),
        ("connector/0/errors", b"[]", ([], "0")),
        ("connector/0/errors/meter", b'[{"error_code":"X"}]', ([Fault(error_code="X")], "0", "meter")),
        ("state", b"offline", ("offline",)),
        ("state", "größe".encode(), ("größe",)),
        ("connector/1/state", b'{"plugged":false,"plugged":true}', (State(plugged=True), "1")),
    ],
    ids=str,
)
def test_fact_is_taken_in_a_turn_of_its_own(gate: Gate, topic: str, payload: bytes, fact: tuple[Any, ...]) -> None:
    gate.inputs.received(topic, payload)

    assert gate.facts == [fact]
    assert gate.store.turns == 1
    assert not gate.refused


@pytest.mark.parametrize(
    ("topic", "payload", "problem"),
    [
        ("connector/1/state", b"{", "payload: must be JSON: EOF while parsing an object"),
        ("connector/1/state", b"\xff", "payload: must be JSON: "),
        ("connector/1/state", b"[]", "payload: must be an object, got a list"),
        ("connector/1/state", b"null", "payload: must be an object, got null"),
        ("connector/1/state", b'{"plugged":1}', "plugged: must be true or false, got 1"),
        ("connector/1/state", b'{"power":NaN}', "power: must be a finite number, got nan"),
        ("connector/1/state", b'{"power":1e999}', "power: must be a finite number, got inf"),
        ("connector/1/state", b'{"plugged":"\\ud800"}', "payload: must be JSON: "),
        ("connector/1/state", b"[" * 60000, "payload: must be JSON: recursion limit exceeded"),
        ("connector/1/state", b" " * (MAX_PAYLOAD + 1), "payload: must have at most 65536 bytes, got 65537"),
        ("connector/1/errors", b'[{"error_code":""}]', "[0].error_code: must have 1 or more characters, got 0"),
        ("connector/1/errors", b"[{}]", "[0].error_code: required"),
        ("state", b"\xff", "'utf-8' codec can't decode byte 0xff"),
        ("connector/1/states", b"{}", "there is no such input"),
        ("connector/1/state/x", b"{}", "there is no such input"),
        ("connector", b"{}", "there is no such input"),
        ("", b"{}", "there is no such input"),
        ("respons", b"{}", "there is no such input"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_makes_no_sense_is_logged_and_counted_and_changes_nothing(
    gate: Gate, topic: str, payload: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate.inputs.received(topic, payload)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"hardware/{topic} is ignored: {problem}")
    assert gate.refused == {"hardware_input": 1}
    assert gate.facts == []


def test_fact_that_its_feature_refuses_is_rolled_back(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.error = ValueError("there is no connector 7")

    gate.inputs.received("connector/7/state", b"{}")

    assert caplog.messages == ["hardware/connector/7/state is ignored: there is no connector 7"]
    assert (gate.store.rolled_back, gate.refused) == (1, {"hardware_input": 1})


def test_error_of_ours_is_logged_with_its_traceback(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.error = ZeroDivisionError()

    gate.inputs.received("state", b"online")

    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "hardware/state failed")
    assert record.exc_info
    assert (gate.store.rolled_back, gate.refused) == (1, {"internal": 1})


@pytest.mark.parametrize(
    "topic", ["connector/1/state", "state", "nonsense", "response/reset", "request/reset", "connector/1/nonsense"]
)
def test_empty_payload_is_ignored(gate: Gate, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    """It only clears what was retained."""
    gate.inputs.received(topic, b"")

    assert (gate.facts, gate.refused, caplog.messages) == ([], {}, [])


def test_empty_payload_is_an_input_where_null_is_one(gate: Gate) -> None:
    """`errors`: none."""
    gate.inputs.received("connector/1/errors", b"")

    assert gate.facts == [(None, "1")]


def test_own_requests_are_no_inputs(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.inputs.received("request/reset", b'{"id":"1"}')
    gate.inputs.received("request", b"nonsense")

    assert (gate.facts, gate.refused, caplog.messages) == ([], {}, [])


def test_nonsense_at_fifty_hertz_does_not_flood_the_log(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ocpp16_bridge.mqtt.hardware")

    for number in range(50 * 60):
        gate.inputs.received("connector/1/state", b"%d" % number)

    assert gate.refused == {"hardware_input": 3000}
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 10 + 8  # the first ten, then the 16th, the 32nd …
    assert len(caplog.records) == 3000


def test_errors_of_ours_do_not_flood_the_log_either(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.error = ZeroDivisionError()

    for _ in range(1000):
        gate.inputs.received("state", b"online")

    assert len(caplog.records) == 16


def test_each_topic_has_its_own_warnings_up_to_a_number(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MAX_WARNED_TOPICS + 1000):
        gate.inputs.received(f"nonsense/{number}", b"{}")

    assert len(caplog.records) == MAX_WARNED_TOPICS + 16


def test_odd_characters_of_a_topic_are_escaped(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.inputs.received("a\x1bb" + "x" * 100, b"{}")

    assert caplog.messages == [rf"hardware/a\x1bb{'x' * 54}… is ignored: there is no such input"]


@pytest.mark.parametrize("connector", ["0", "2", "x", "-1", "1.0", "¹", "", "9" * 5000])
def test_unknown_connector_changes_nothing(station: Station, connector: str, caplog: pytest.LogCaptureFixture) -> None:
    station.published()

    station.publish(f"hardware/connector/{connector}/state", {"plugged": True})

    assert station.published() == []
    assert station.charge_point.context.errors == {"hardware_input": 1}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# -- requests


class Asked:
    """A request to the hardware on its way, and how it ended."""

    def __init__(self, station: Station, action: str = "unlock_connector", **arguments: Any) -> None:
        station.published()
        self.station = station
        self.action = action
        hardware = station.charge_point.context.hardware
        self.task: asyncio.Task[Any] = station.loop.create_task(hardware.ask(action, **arguments))
        station.settle()
        self.requests = [it for it in station.published() if it.topic == f"ocpp16/hardware/request/{action}"]

    def answer(self, payload: object, action: str | None = None) -> None:
        self.station.publish(f"hardware/response/{action or self.action}", payload)

    @property
    def id(self) -> Any:
        return self.requests[0].payload["id"]

    @property
    def problem(self) -> str:
        error = self.task.exception()
        assert isinstance(error, NoHardwareAnswerError)
        return str(error)


@pytest.fixture
def asking(make_station: MakeStation) -> Iterator[Station]:
    station = make_station(LISTED)
    yield station
    assert station.charge_point.context.hardware._pending == {}, "somebody is still waiting"


def test_only_listed_actions_are_answered(asking: Station) -> None:
    hardware = asking.charge_point.context.hardware

    assert [hardware.answers(action) for action in ("unlock_connector", "reset", "set_time")] == [True, True, False]


def test_request_has_an_id_and_the_arguments_that_are_given(asking: Station) -> None:
    one = Asked(asking, connector_id=1, reason=None)
    other = Asked(asking, connector_id=0)

    (request,) = one.requests
    assert request.payload == {"id": one.id, "connector_id": 1}
    assert not request.retain
    assert isinstance(one.id, str)
    assert one.id != other.id
    asking.advance(5)


@pytest.mark.parametrize("data", ["Unlocked", None, {"status": "Accepted"}, True])
def test_data_of_the_answer_comes_back(asking: Station, data: object) -> None:
    asked = Asked(asking)

    asked.answer({"id": asked.id, "status": "ok", "data": data})

    assert asked.task.result() == data


def test_data_may_be_missing(asking: Station) -> None:
    asked = Asked(asking, "reset")

    asked.answer({"id": asked.id, "status": "ok"})

    assert asked.task.result() is None


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"code": "jammed", "message": "the bolt is stuck"}, "'the bolt is stuck'"),
        ("jammed", "'jammed'"),
        (None, "null"),
        ({}, "null"),
    ],
)
def test_error_of_the_hardware_is_told(asking: Station, error: object, shown: str) -> None:
    asked = Asked(asking)

    asked.answer({"id": asked.id, "status": "error", "error": error})

    assert asked.problem == f"unlock_connector: the hardware answered with the error {shown}"


def test_no_answer_in_time(asking: Station) -> None:
    asked = Asked(asking)

    asking.advance(3.9)
    assert not asked.task.done()
    asking.advance(0.1)

    assert asked.problem == "no answer to unlock_connector within 4 s: is its program running?"


def test_nobody_is_asked_while_the_broker_is_away(asking: Station) -> None:
    asking.disconnect_broker()

    asked = Asked(asking)

    assert (asked.problem, asked.requests) == ("the broker is away", [])


def test_answers_find_their_own_requests(asking: Station) -> None:
    first, second = Asked(asking), Asked(asking)

    second.answer({"id": second.id, "status": "ok", "data": 2})
    first.answer({"id": first.id, "status": "ok", "data": 1})

    assert (first.task.result(), second.task.result()) == (1, 2)


@pytest.mark.parametrize(
    "payload",
    [
        {"status": "ok"},
        {"id": "foreign", "status": "ok"},
        {"id": 1, "status": "ok"},
        {"id": ["x"], "status": "ok"},
        {"id": None, "status": "ok"},
        {"id": "{id}"},
        {"id": "{id}", "status": "OK"},
        {"id": "{id}", "status": ["ok"]},
        ["{id}"],
        b"nonsense",
        b"\xff",
        b'{"id":"{id}","status":"ok","data":NaN}',
        b"[" * 60000,
        b"1" * 5000,
        b"x" * (MAX_PAYLOAD + 1),
    ],
    ids=lambda payload: repr(payload)[:40],
)
def test_what_is_no_answer_is_ignored_and_the_request_goes_on(
    asking: Station, payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(asking)
    match payload:
        case bytes():
            payload = payload.replace(b"{id}", asked.id.encode())
        case {"id": "{id}"}:
            payload = {**payload, "id": asked.id}

    asked.answer(payload)

    assert not asked.task.done()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert asking.charge_point.context.errors == {"hardware_input": 1}
    asked.answer({"id": asked.id, "status": "ok", "data": 1})
    assert asked.task.result() == 1


def test_answer_to_another_action_is_none(asking: Station) -> None:
    asked = Asked(asking)

    asked.answer({"id": asked.id, "status": "ok"}, action="reset")
    asked.answer({"id": asked.id, "status": "ok"}, action="unlock_connector/x")

    assert not asked.task.done()
    asking.advance(4)


def test_second_and_late_answers_are_ignored(asking: Station, caplog: pytest.LogCaptureFixture) -> None:
    answered, late = Asked(asking), Asked(asking)
    answered.answer({"id": answered.id, "status": "ok", "data": 1})
    asking.advance(4)

    for asked in (answered, late):
        asked.answer({"id": asked.id, "status": "ok", "data": 2})

    assert answered.task.result() == 1
    assert late.problem.startswith("no answer")
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        f"id: must be of a request that waits for its answer, got '{asked.id}'" for asked in (answered, late)
    ]


def test_two_answers_in_one_breath_are_one(asking: Station) -> None:
    """The second one comes before the conversation goes on."""
    asked = Asked(asking)
    hardware = asking.charge_point.context.hardware
    hardware.received("unlock_connector", b'{"id":"%b","status":"ok","data":1}' % asked.id.encode())

    with pytest.raises(ValueError, match="waits for its answer"):
        hardware.received("unlock_connector", b'{"id":"%b","status":"error"}' % asked.id.encode())

    asking.settle()
    assert asked.task.result() == 1


def test_answer_at_the_time_limit_is_late(asking: Station) -> None:
    """And the time limit that comes with an answer changes nothing."""
    asked = Asked(asking)
    hardware = asking.charge_point.context.hardware
    hardware.received("unlock_connector", b'{"id":"%b","status":"ok","data":1}' % asked.id.encode())
    asking.time += 4
    asking.charge_point.timers.run_due()

    asking.settle()

    assert asked.task.result() == 1


def test_conversation_that_is_cancelled_waits_no_longer(asking: Station) -> None:
    asked = Asked(asking)

    asked.task.cancel()
    asking.settle()

    assert asked.task.cancelled()
    asking.advance(5)


def test_arguments_that_json_cannot_say_leave_nothing_behind(asking: Station) -> None:
    asked = Asked(asking, connector_id=float("nan"))

    assert isinstance(asked.task.exception(), ValueError)
    asking.advance(5)
