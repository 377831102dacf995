"""Requests over MQTT: each is answered exactly once (contract 3)."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter

from ocpp16_bridge.conversations import Conversations
from ocpp16_bridge.mqtt.commands import (
    MAX_PAYLOAD,
    MAX_REMEMBERED,
    MAX_REMEMBERED_BYTES,
    MAX_WAITING,
    CommandError,
    CommandHandler,
    Commands,
    Request,
)
from ocpp16_bridge.mqtt.model import Arguments, Model
from ocpp16_bridge.turn import Turns
from tests.station import FakeBroker, Published, Station

BASE = "site/garage/ocpp16"
DEFAULT = f"{BASE}/response/note"
PRIVATE = f"{BASE}/reply/hmi/1"


class Ledger:
    """A store of which only the ends of the turns matter."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.commit_fails = False

    def begin(self) -> None:
        pass

    def commit(self) -> None:
        if self.commit_fails:
            raise OSError("disk full")
        self.ends.append("commit")

    def rollback(self) -> None:
        self.ends.append("rollback")


class Text(Arguments):
    text: Annotated[str, Field(max_length=100_000)] = ""
    keys: list[str] | None = None


class Answer(Model):
    text: str
    nothing: str | None = None


class Desk:
    """Commands with a few handlers: `note` and `read` in a turn, `talk` a conversation."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.conversations = Conversations(self.loop)
        self.ledger = Ledger()
        self.turns = Turns(self.ledger)
        self.broker = FakeBroker()
        self.broker.connected = True
        self.time = 1000.0
        self.refused: Counter[str] = Counter()
        self.done: list[str] = []  # what was carried out
        self.result: Any = None  # of the next ones; an exception is raised
        self.talks: list[asyncio.Future[Any]] = []
        self.commands = Commands(
            BASE, self.turns, lambda: self.time, self.conversations.start, lambda kind: self.refused.update((kind,))
        )
        self.commands.publisher = self.broker
        text: TypeAdapter[Any] = TypeAdapter(Text)
        self.commands.handlers = {
            "note": CommandHandler(text, reads=False, act=self.note),
            "read": CommandHandler(text, reads=True, act=self.note),
            "bare": CommandHandler(None, reads=False, act=lambda: self.note(Text())),
            "talk": CommandHandler(text, reads=False, act=None, converse=self.talk),
        }

    def note(self, request: Text) -> Any:
        self.done.append(request.text)
        self.turns.publish(lambda: self.broker.publish("consequence", b"1"))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def talk(self, request: Text) -> Any:
        self.done.append(request.text)
        self.talks.append(self.loop.create_future())
        return await self.talks[-1]

    def settle(self) -> None:
        for _ in range(5):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def send(self, command: str = "note", payload: Any = b"{}", **properties: Any) -> None:
        """A request; other than bytes becomes JSON."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.commands.received(Request(command, data, **properties))
        self.settle()

    def messages(self) -> list[Published]:
        """What was published since the last look."""
        messages, self.broker.messages = self.broker.messages, []
        return [message for message in messages if message.topic != "consequence"]

    def reply(self, command: str = "note", payload: Any = b"{}", **properties: Any) -> Any:
        """The one reply to a request, on whatever topic."""
        self.send(command, payload, **properties)
        (message,) = self.messages()
        return message.payload

    def refusal(self, command: str = "note", payload: Any = b"{}", **properties: Any) -> tuple[str, str]:
        """Code and message of the one reply."""
        reply = self.reply(command, payload, **properties)
        assert reply["status"] == "error", reply
        return reply["error"]["code"], reply["error"]["message"]

    def end_talk(self, result: Any = "bye") -> None:
        """Let the conversation in work end."""
        ended = self.talks[-1]
        if isinstance(result, BaseException):
            ended.set_exception(result)
        else:
            ended.set_result(result)
        self.settle()

    def close(self) -> None:
        self.loop.run_until_complete(self.conversations.end())
        self.loop.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


# -- one answer to everything


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"text":NaN}',
        b"[" * 60000,
        b"{} {}",
        b"\x00",
        '{"text":"ü"}'.encode("latin-1"),
    ],
    ids=lambda payload: repr(payload)[:20],
)
def test_bad_json_is_answered(desk: Desk, payload: bytes) -> None:
    code, message = desk.refusal(payload=payload)

    assert code == "bad_json"
    assert message.startswith("payload: must be one JSON object in UTF-8: ")
    assert desk.refused == {"bad_json": 1}


@pytest.mark.parametrize(
    ("payload", "came"),
    [
        (b"[]", "a list"),
        (b'"text"', "a string"),
        (b"7", "a number"),
        (b"1e3", "a number"),
        (b"null", "null"),
        (b"true", "true"),
        (b"false", "false"),
    ],
)
def test_payload_that_is_no_object_is_answered(desk: Desk, payload: bytes, came: str) -> None:
    assert desk.refusal(payload=payload) == ("bad_request", f"payload: must be a JSON object, got {came}")


@pytest.mark.parametrize("command", ["talkative", "", "note/7", "a/b/c", "$SYS", "größe", "NOTE", "note "])
def test_unknown_command_is_answered_on_its_own_response_topic(desk: Desk, command: str) -> None:
    desk.send(command, {"id": 1})

    (message,) = desk.messages()
    assert message.topic == f"{BASE}/response/{command}"
    assert message.payload == {
        "id": 1,
        "status": "error",
        "error": {"code": "unknown_command", "message": f"there is no command {command}"},
    }


def test_odd_characters_of_a_command_are_escaped(desk: Desk) -> None:
    assert desk.refusal("a\x1b[2J" + "x" * 1000)[1] == rf"there is no command a\x1b[2J{'x' * 52}…"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"text": 1}, "text: must be a string, got 1"),
        ({"keys": "abc"}, "keys: must be a list of strings, got 'abc'"),
        ({"keys": [["x"]]}, "keys[0]: must be a string, got a list"),
        ({"txt": ""}, "txt: there is no such argument"),
        (b'{"text":"\\ud800"}', r"text: must be Unicode text, got '\ud800'"),
        (b'{"text":' + b"[" * 900 + b"]" * 900 + b"}", "text: must be a string, got a list"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_bad_argument_is_named(desk: Desk, payload: object, text: str) -> None:
    assert desk.refusal(payload=payload) == ("bad_request", text)
    assert desk.done == []


@pytest.mark.parametrize(("name", "shown"), [("text", "text"), ("a\nb", r"a\nb"), ("\ud800", r"\ud800")])
def test_command_without_arguments_takes_none(desk: Desk, name: str, shown: str) -> None:
    assert desk.refusal("bare", {name: 1}) == ("bad_request", f"{shown}: there is no such argument")


def test_data_of_the_reply_may_be_anything(desk: Desk) -> None:
    for result, data in [
        (None, None),
        (True, True),
        (Answer(text="ü"), {"text": "ü"}),
        ({"n": Decimal("1.5")}, {"n": 1.5}),
    ]:
        desk.result = result
        assert desk.reply("read", {"id": "7"}) == {"id": "7", "status": "ok", "data": data}


@pytest.mark.parametrize(("size", "status"), [(MAX_PAYLOAD, "ok"), (MAX_PAYLOAD + 1, "error")])
def test_payload_has_at_most_64_kib(desk: Desk, size: int, status: str) -> None:
    frame = len(b'{"text":""}')

    reply = desk.reply(payload=b'{"text":"%s"}' % (b"x" * (size - frame)))

    assert reply["status"] == status
    assert status == "ok" or reply["error"] == {
        "code": "bad_request",
        "message": "payload: must have at most 65536 bytes, got 65537",
    }


@pytest.mark.parametrize("retained", [False, True])
def test_empty_payload_is_no_request(desk: Desk, *, retained: bool) -> None:
    desk.send("note", b"", retained=retained)

    assert desk.messages() == []


# -- id


@pytest.mark.parametrize("request_id", ["7", "", "x" * 64, "ü" * 64, "\n", "\ud800", 0, -1, 10**900])
def test_id_is_copied_into_the_reply(desk: Desk, request_id: str | int) -> None:
    assert desk.reply(payload={"id": request_id})["id"] == request_id
    assert desk.reply(payload={"id": request_id, "text": 1})["id"] == request_id


@pytest.mark.parametrize(
    ("request_id", "came"),
    [
        (True, "true"),
        (1.0, "1.0"),
        ({}, "an object"),
        ([], "a list"),
        ("x" * 65, "65 characters"),
    ],
    ids=repr,
)
def test_id_of_another_kind_is_refused(desk: Desk, request_id: object, came: str) -> None:
    reply = desk.reply(payload={"id": request_id})

    message = f"id: must be an integer or a string of at most 64 characters, got {came}"
    assert reply == {"status": "error", "error": {"code": "bad_request", "message": message}}


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": None, "reply_to": None}])
def test_reply_has_no_id_where_there_was_none(desk: Desk, payload: object) -> None:
    assert desk.reply(payload=payload) == {"status": "ok", "data": None}


# -- reply topic


@pytest.mark.parametrize(
    "topic", [PRIVATE, f"{BASE}/response/other", f"{BASE}/reply/größe", f"{BASE}/reply/".ljust(200, "x")]
)
def test_private_reply_topic(desk: Desk, topic: str) -> None:
    desk.send("note", {"id": 1, "reply_to": topic})
    desk.send("note", {"id": 2}, response_topic=topic, correlation_data=b"\x00\xff")
    desk.send("note", b"{", response_topic=topic, correlation_data=b"3")

    replies = desk.messages()
    assert [(reply.topic, reply.correlation_data) for reply in replies] == [
        (topic, None),
        (topic, b"\x00\xff"),
        (topic, b"3"),
    ]
    assert not any(reply.retain for reply in replies)


def test_response_topic_goes_before_reply_to(desk: Desk) -> None:
    desk.send("note", {"reply_to": f"{BASE}/reply/other"}, response_topic=PRIVATE)

    assert [reply.topic for reply in desk.messages()] == [PRIVATE]


BAD_TOPICS = [
    "",
    "home/light",
    f"{BASE}/state",
    f"{BASE}/request/note",
    f"{BASE}/reply",
    f"{BASE}/reply/",
    f"{BASE}/response/",
    f"{BASE}/replying/x",
    f"{BASE}/reply/+",
    f"{BASE}/reply/#",
    f"{BASE}/reply/a\x00b",
    f"{BASE}/reply/a\nb",
    f"{BASE}/reply/".ljust(201, "x"),
    f"{BASE}/reply/" + "ü" * 95,
]


@pytest.mark.parametrize("topic", BAD_TOPICS, ids=repr)
def test_bad_reply_topic_is_refused_on_the_default_one(desk: Desk, topic: str) -> None:
    """The daemon may write where the client may not."""
    desk.send("note", {"id": 1, "reply_to": topic})
    desk.send("note", {"id": 2}, response_topic=topic, correlation_data=b"2")

    for number, message in enumerate(desk.messages(), 1):
        assert message.topic == DEFAULT
        assert message.payload["id"] == number
        assert message.payload["error"]["code"] == "bad_reply_topic"
        assert message.correlation_data == (None if number == 1 else b"2")
    assert desk.done == []


@pytest.mark.parametrize("topic", [7, True, [], {}, ["ocpp16/reply/x"]])
def test_reply_to_is_a_string(desk: Desk, topic: object) -> None:
    assert desk.refusal(payload={"reply_to": topic})[0] == "bad_reply_topic"


def test_reply_to_with_half_a_surrogate_pair_is_refused(desk: Desk) -> None:
    assert desk.refusal(payload={"reply_to": f"{BASE}/reply/\ud800"})[0] == "bad_reply_topic"


# -- retained and expired


@pytest.mark.parametrize("payload", [{"id": 1}, {"id": 1, "text": 5}, {"id": 1, "reply_to": "home/light"}], ids=str)
@pytest.mark.parametrize("command", ["note", "talk", "unknown/one"])
def test_retained_request_is_cleared_and_refused(desk: Desk, command: str, payload: object) -> None:
    desk.send(command, payload, retained=True)

    cleared, reply = desk.messages()
    assert cleared == Published(f"{BASE}/request/{command}", "", retain=True, correlation_data=None)
    assert (reply.topic, reply.retain) == (f"{BASE}/response/{command}", False)
    assert (reply.payload["id"], reply.payload["error"]["code"]) == (1, "retained_request")
    assert desk.done == []


def test_retained_request_is_refused_where_it_asks_for(desk: Desk) -> None:
    desk.send("note", {"reply_to": PRIVATE}, retained=True)
    desk.send("note", b"nonsense", retained=True, response_topic=PRIVATE)

    replies = [message for message in desk.messages() if not message.retain]
    assert [(reply.topic, reply.payload["error"]["code"]) for reply in replies] == [(PRIVATE, "retained_request")] * 2


@pytest.mark.parametrize("command", ["note", "read", "talk", "unknown"])
def test_expired_request_is_not_carried_out(desk: Desk, command: str) -> None:
    assert desk.refusal(command, expires_at=desk.time)[0] == "expired"
    assert desk.done == []


def test_request_that_expires_later_is_carried_out(desk: Desk) -> None:
    assert desk.reply(expires_at=desk.time + 0.1)["status"] == "ok"


def test_request_that_expired_is_carried_out_when_it_comes_again(desk: Desk) -> None:
    assert desk.refusal(payload={"id": 1}, expires_at=desk.time)[0] == "expired"

    assert desk.reply(payload={"id": 1}) == {"id": 1, "status": "ok", "data": None}


def test_request_that_expires_while_it_waits_is_not_carried_out(desk: Desk) -> None:
    desk.send("talk", {"id": 1})
    desk.send("talk", {"id": 2, "text": "late"}, expires_at=desk.time + 10)
    desk.send("talk", {"id": 3, "text": "next"})
    desk.time += 10

    desk.end_talk()

    assert [(it.payload["id"], it.payload["status"]) for it in desk.messages()] == [(1, "ok"), (2, "error")]
    assert desk.done == ["", "next"]
    desk.send("talk", {"id": 2, "text": "late"})
    desk.end_talk()
    desk.end_talk()
    assert [(it.payload["id"], it.payload["status"]) for it in desk.messages()] == [(3, "ok"), (2, "ok")]


def test_duplicate_of_what_expired_while_it_waited_is_carried_out(desk: Desk) -> None:
    desk.send("talk", {"id": 1})
    desk.send("talk", {"id": 2}, expires_at=desk.time + 10, correlation_data=b"first")
    desk.send("talk", {"id": 2}, correlation_data=b"second")
    desk.send("talk", {"id": 2}, expires_at=desk.time + 10, correlation_data=b"third")
    desk.time += 10

    desk.end_talk("one")
    desk.end_talk("two")

    replies = [
        (it.correlation_data, it.payload.get("data"), it.payload.get("error", {}).get("code")) for it in desk.messages()
    ]
    assert replies == [
        (None, "one", None),
        (b"first", None, "expired"),
        (b"third", None, "expired"),
        (b"second", "two", None),
    ]


# -- the same request again


def test_duplicate_is_answered_with_the_first_reply_and_not_carried_out(desk: Desk) -> None:
    desk.result = "one"
    first = desk.reply(payload={"id": "7", "text": "x"})
    desk.result = "two"
    desk.time += 60

    second = desk.reply(payload={"id": "7", "text": "x"})

    assert first == {"id": "7", "status": "ok", "data": "one"}
    assert second == {**first, "duplicate": True}
    assert desk.done == ["x"]


def test_duplicate_of_a_refusal_gets_it_again(desk: Desk) -> None:
    desk.result = CommandError("stopped", "OCPP is stopped")

    first = desk.reply(payload={"id": 1})

    assert desk.reply(payload={"id": 1}) == {**first, "duplicate": True}


def test_correlation_data_makes_a_request_known_again(desk: Desk) -> None:
    desk.send("note", response_topic=PRIVATE, correlation_data=b"7")
    desk.send("note", response_topic=PRIVATE, correlation_data=b"7")
    desk.send("note", response_topic=PRIVATE, correlation_data=b"8")

    replies = [(reply.correlation_data, reply.payload.get("duplicate", False)) for reply in desk.messages()]
    assert replies == [(b"7", False), (b"7", True), (b"8", False)]


def test_duplicate_bears_its_own_correlation_data(desk: Desk) -> None:
    desk.send("note", {"id": 1}, correlation_data=b"first")
    desk.send("note", {"id": 1}, correlation_data=b"second")

    assert [reply.correlation_data for reply in desk.messages()] == [b"first", b"second"]
    assert len(desk.done) == 1


@pytest.mark.parametrize(
    ("command", "payload", "properties"),
    [
        ("bare", {"id": 1}, {}),
        ("note", {"id": 1, "text": "other"}, {}),
        ("note", {"id": "1"}, {}),
        ("note", {"id": 1}, {"response_topic": PRIVATE}),
        ("note", {}, {}),
    ],
    ids=["command", "payload", "id", "reply topic", "no id"],
)
def test_another_request_is_no_duplicate(desk: Desk, command: str, payload: object, properties: Any) -> None:
    desk.send("note", {"id": 1})
    desk.messages()

    assert "duplicate" not in desk.reply(command, payload, **properties)


def test_without_id_every_message_is_a_request_of_its_own(desk: Desk) -> None:
    assert desk.reply(payload={"text": "x"}) == desk.reply(payload={"text": "x"})
    assert desk.done == ["x", "x"]


def test_reading_is_carried_out_each_time(desk: Desk) -> None:
    for result in (1, 2):
        desk.result = result
        assert desk.reply("read", {"id": 1}) == {"id": 1, "status": "ok", "data": result}


def test_after_a_minute_it_is_carried_out_again(desk: Desk) -> None:
    desk.send("note", {"id": 1})
    desk.messages()
    desk.time += 60.1

    assert "duplicate" not in desk.reply(payload={"id": 1})
    assert desk.reply(payload={"id": 1})["duplicate"] is True
    assert len(desk.done) == 2


def test_duplicate_of_a_request_in_work_is_answered_when_that_is(desk: Desk) -> None:
    desk.send("talk", {"id": 1}, correlation_data=b"a")
    desk.send("talk", {"id": 1}, correlation_data=b"b")
    desk.send("talk", {"id": 1}, correlation_data=b"c")
    assert desk.messages() == []

    desk.end_talk()

    replies = desk.messages()
    assert [(reply.correlation_data, reply.payload.get("duplicate", False)) for reply in replies] == [
        (b"a", False),
        (b"b", True),
        (b"c", True),
    ]
    assert len(desk.done) == 1
    assert desk.reply("talk", {"id": 1})["duplicate"] is True


def test_duplicates_of_a_request_in_work_are_bounded(desk: Desk) -> None:
    for number in range(MAX_WAITING + 3):
        desk.send("talk", {"id": 1}, correlation_data=b"%d" % number)

    assert [reply.payload["error"]["code"] for reply in desk.messages()] == ["busy", "busy"]
    desk.end_talk()
    assert len(desk.messages()) == 1 + MAX_WAITING


def test_remembered_replies_are_bounded_in_number(desk: Desk) -> None:
    for number in range(MAX_REMEMBERED + 1):
        desk.send("note", {"id": number})
    desk.messages()

    assert "duplicate" not in desk.reply(payload={"id": 0})  # forgotten
    assert desk.reply(payload={"id": MAX_REMEMBERED})["duplicate"] is True


def test_remembered_replies_are_bounded_in_bytes(desk: Desk) -> None:
    desk.result = "x" * (MAX_REMEMBERED_BYTES // 2)
    for number in range(2):
        desk.send("note", {"id": number})
    desk.result = None
    desk.messages()

    assert desk.reply(payload={"id": 1})["duplicate"] is True
    assert "duplicate" not in desk.reply(payload={"id": 0})


# -- conversations


def test_one_conversation_is_in_work_and_32_wait_and_others_are_busy(desk: Desk) -> None:
    for number in range(200):
        desk.commands.received(Request("talk", b'{"id":%d}' % number))
    desk.settle()

    busy = [message.payload for message in desk.messages()]
    assert [reply["id"] for reply in busy] == list(range(33, 200))
    assert {reply["error"]["code"] for reply in busy} == {"busy"}
    for _ in range(33):
        desk.end_talk()
    replies = desk.messages()
    assert [reply.payload for reply in replies] == [{"id": n, "status": "ok", "data": "bye"} for n in range(33)]


def test_busy_request_is_carried_out_when_it_comes_again(desk: Desk) -> None:
    for number in range(MAX_WAITING + 1):
        desk.send("talk", {"id": number})
    assert desk.refusal("talk", {"id": 99, "text": "again"})[0] == "busy"
    desk.end_talk()

    desk.send("talk", {"id": 99, "text": "again"})
    for _ in range(MAX_WAITING + 1):
        desk.end_talk()

    assert desk.done[-1] == "again"


def test_waiting_conversations_hold_up_no_other_command(desk: Desk) -> None:
    desk.send("talk")
    desk.send("talk")

    assert desk.reply("note")["status"] == "ok"


def test_wrong_arguments_are_refused_at_once(desk: Desk) -> None:
    desk.send("talk")

    assert desk.refusal("talk", {"text": 1})[0] == "bad_request"


def test_refusal_of_a_conversation_bears_its_details(desk: Desk) -> None:
    desk.send("talk", {"id": 1})
    desk.end_talk(CommandError("csms_error", "refused", error_code="GenericError", error_description=""))

    (reply,) = desk.messages()
    error = {"code": "csms_error", "message": "refused", "error_code": "GenericError", "error_description": ""}
    assert reply.payload == {"id": 1, "status": "error", "error": error}


def test_requests_in_work_and_waiting_are_answered_when_the_daemon_ends(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        desk.send("talk", {"id": number})
    desk.send("talk", {"id": 0}, correlation_data=b"again")

    desk.loop.run_until_complete(desk.conversations.end())

    replies = [(it.payload["id"], it.payload["error"]["code"], it.correlation_data) for it in desk.messages()]
    assert replies == [(0, "stopped", None), (0, "stopped", b"again"), (1, "stopped", None), (2, "stopped", None)]
    assert len(desk.done) == 1
    assert caplog.records == []


def test_conversation_that_is_cancelled_by_itself_blocks_nothing(desk: Desk) -> None:
    desk.send("talk", {"id": 1})
    desk.talks[-1].cancel()
    desk.settle()
    assert desk.messages()[0].payload["error"]["code"] == "stopped"

    desk.send("talk", {"id": 2})
    desk.end_talk()

    assert desk.messages()[0].payload == {"id": 2, "status": "ok", "data": "bye"}


# -- our own errors


@pytest.mark.parametrize(
    "result",
    [ZeroDivisionError("secret"), float("nan"), {1, 2}, object(), {"n": float("inf")}, Decimal("NaN")],
    ids=repr,
)
def test_error_of_the_daemon_is_answered_once_and_the_turn_rolled_back(
    desk: Desk, result: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that fails, and a reply that JSON can't say."""
    desk.result = result

    desk.send(payload={"id": 1})

    (reply,) = desk.broker.messages  # the consequence is dropped, too
    assert reply.payload["id"] == 1
    assert reply.payload["error"] == {"code": "internal", "message": "an error of ocpp16-bridge itself: see its log"}
    assert desk.ledger.ends == ["rollback"]
    assert desk.refused == {"internal": 1}
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), bool(record.exc_info)) == ("ERROR", "request note failed", True)


def test_commands_go_on_after_an_error(desk: Desk) -> None:
    desk.result = ZeroDivisionError()
    desk.send(payload={"id": 1})
    desk.messages()
    desk.result = None

    assert desk.reply(payload={"id": 2})["status"] == "ok"


def test_turn_that_cannot_be_stored_is_an_internal_error(desk: Desk) -> None:
    desk.ledger.commit_fails = True

    assert desk.refusal()[0] == "internal"


@pytest.mark.parametrize("result", [ZeroDivisionError(), {1, 2}, float("nan")], ids=repr)
def test_error_in_a_conversation_is_answered_once_and_the_next_one_begins(desk: Desk, result: object) -> None:
    desk.send("talk", {"id": 1})
    desk.send("talk", {"id": 2, "text": "next"})

    desk.end_talk(result)

    assert [reply.payload["error"]["code"] for reply in desk.messages()] == ["internal"]
    assert desk.done[-1] == "next"


def test_refusal_rolls_the_turn_back(desk: Desk) -> None:
    desk.result = CommandError("bad_request", "keys: unknown")

    assert desk.refusal() == ("bad_request", "keys: unknown")
    assert desk.ledger.ends == ["rollback"]


def test_reply_precedes_what_the_command_publishes(desk: Desk) -> None:
    """Architecture, "A turn"."""
    desk.send()

    assert [message.topic for message in desk.broker.messages] == [DEFAULT, "consequence"]


def test_half_a_surrogate_pair_goes_out_as_it_came_in(desk: Desk) -> None:
    desk.result = "\ud800"

    assert desk.reply()["data"] == "\ud800"


def test_refusal_is_a_line_at_debug(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ocpp16_bridge.mqtt.commands")

    desk.send("a\nb")

    assert [record.getMessage() for record in caplog.records] == [r"request a\nb is refused: there is no command a\nb"]


# -- the whole charge point


def test_refused_requests_are_counted_in_health(station: Station) -> None:
    """Contract 1."""
    for payload in (b"{", b"{", {"keys": 1}):
        station.publish("request/get_configuration_key", payload)
    station.advance(61)

    assert station.shown("health")["errors"] == {"bad_json": 2, "bad_request": 1}


def test_authorization_key_is_in_no_refusal_and_no_log(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    """SE-13."""
    caplog.set_level(logging.DEBUG, "ocpp16_bridge")

    for value in (["Geheimnis"], {"Geheimnis": 1}, 4711471147114711, "Geheimnis" * 100):
        station.publish("request/set_configuration_key", {"key": "AuthorizationKey", "value": value})

    replies = station.published("response/set_configuration_key")
    assert [reply["error"]["code"] for reply in replies] == ["bad_request"] * 4
    assert "Geheim" not in f"{replies}{caplog.text}"
    assert "4711" not in f"{replies}{caplog.text}"
