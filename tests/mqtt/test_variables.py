"""What the daemon shows: retained values, events, and its own liveness (contract 1 and 2)."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from ocpp.v16.enums import ChargePointStatus

from ocpp16_bridge.mqtt.model import Model
from ocpp16_bridge.mqtt.variables import Variables, to_json, topic_level
from ocpp16_bridge.turn import Turns
from tests.station import FakeBroker, Published, Station

BASE = "site/ocpp16"
STATE = f"{BASE}/state"


class NoStore:
    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class Board:
    """Variables and a broker that keeps what it is told."""

    def __init__(self) -> None:
        self.turns = Turns(NoStore())
        self.broker = FakeBroker()
        self.variables = Variables(BASE, self.turns)
        self.variables.publisher = self.broker

    def connect(self) -> None:
        self.broker.connected = True
        self.variables.connected()

    def disconnect(self) -> None:
        self.broker.connected = False
        self.variables.disconnected()

    def turn_that_fails(self, change: Callable[[], None]) -> None:
        with self.turns.turn():
            change()
            raise ZeroDivisionError

    def messages(self) -> list[tuple[str, Any]]:
        """Topic and payload of what was published since the last look; all of it must be retained."""
        messages, self.broker.messages = self.broker.messages, []
        assert all(message.retain for message in messages)
        return [(message.topic.removeprefix(f"{BASE}/"), message.payload) for message in messages]


class Status(Model):
    status: ChargePointStatus
    info: str | None = None


@pytest.fixture
def board() -> Board:
    board = Board()
    board.connect()
    board.messages()
    return board


def test_value_is_published_when_it_changes_only(board: Board) -> None:
    for value in (True, True, False, False, True):
        board.variables.set("is_connected", value)

    assert board.messages() == [("is_connected", True), ("is_connected", False), ("is_connected", True)]


def test_first_value_is_published_whatever_it_is(board: Board) -> None:
    board.variables.set("connector/1/transaction", None)

    assert board.messages() == [("connector/1/transaction", None)]


def test_values_go_out_when_the_turn_ends_in_its_order(board: Board) -> None:
    with board.turns.turn():
        board.variables.set("b", 1)
        board.variables.set("a", 2)
        board.variables.set("b", 3)
        assert board.messages() == []

    assert board.messages() == [("b", 1), ("a", 2), ("b", 3)]


def test_value_is_that_of_the_moment_it_is_set(board: Board) -> None:
    value = {"a": 1}
    with board.turns.turn():
        board.variables.set("x", value)
        value["a"] = 2

    assert board.messages() == [("x", {"a": 1})]


def test_value_of_a_turn_that_fails_is_not_shown(board: Board) -> None:
    board.variables.set("x", 1)
    with pytest.raises(ZeroDivisionError):
        board.turn_that_fails(lambda: board.variables.set("x", 2))

    board.disconnect()
    board.connect()

    assert board.variables.get("x") == 1
    assert board.messages() == [("x", 1), ("x", 1), ("state", "online")]


def test_every_connection_starts_with_the_whole_picture_and_state_last(board: Board) -> None:
    board.variables.set("info", {})
    board.variables.set("connector/1/status", Status(status=ChargePointStatus.available))
    board.messages()

    for _ in range(2):
        board.disconnect()
        board.connect()
        assert board.messages() == [("info", {}), ("connector/1/status", {"status": "Available"}), ("state", "online")]


def test_nothing_is_published_while_the_broker_is_away_and_the_last_values_when_it_is_back(board: Board) -> None:
    board.disconnect()
    board.variables.set("x", 1)
    board.variables.set("x", 2)
    board.variables.event("transaction", {})
    board.variables.state_seen(b"offline")
    board.variables.goodbye()

    assert board.messages() == []
    board.connect()
    assert board.messages() == [("x", 2), ("state", "online")]


def test_cleared_topic_is_taken_away_once(board: Board) -> None:
    board.variables.set("x", 1)
    board.variables.clear("x")
    board.variables.clear("x")

    assert board.messages() == [("x", 1), ("x", "")]
    assert board.variables.get("x") is None
    board.variables.set("x", 1)
    assert board.messages() == [("x", 1)]


def test_topic_that_is_cleared_before_the_broker_is_there_is_taken_away_then() -> None:
    """A former process may have left it there."""
    board = Board()
    board.variables.clear("configuration_key/Old")

    board.connect()

    assert board.messages() == [("configuration_key/Old", ""), ("state", "online")]


def test_clearing_in_a_turn_that_fails_clears_nothing(board: Board) -> None:
    board.variables.set("x", 1)
    with pytest.raises(ZeroDivisionError):
        board.turn_that_fails(lambda: board.variables.clear("x"))

    assert board.messages() == [("x", 1)]


def test_event_is_not_retained_and_not_repeated(board: Board) -> None:
    for _ in range(2):
        board.variables.event("reset", {"type": "Soft"})
    board.disconnect()
    board.connect()

    event = Published(f"{BASE}/event/reset", {"type": "Soft"}, retain=False, correlation_data=None)
    assert board.broker.messages[:2] == [event, event]
    assert [message.topic for message in board.broker.messages[2:]] == [STATE]


def test_event_of_a_turn_that_fails_is_dropped(board: Board) -> None:
    with pytest.raises(ZeroDivisionError):
        board.turn_that_fails(lambda: board.variables.event("reset", {}))

    assert board.messages() == []


def test_get_gives_what_is_shown(board: Board) -> None:
    board.variables.set("x", Status(status=ChargePointStatus.faulted))

    assert board.variables.get("x") == {"status": "Faulted"}
    assert board.variables.get("y") is None


# -- state


def test_offline_is_the_last_word(board: Board) -> None:
    board.variables.goodbye()
    board.variables.goodbye()

    assert board.messages() == [("state", "offline")]


@pytest.mark.parametrize("payload", [b"offline", b"", b"nonsense"])
def test_state_is_put_right_where_the_broker_has_another_one(board: Board, payload: bytes) -> None:
    """The will of our former connection may come after our `online`."""
    board.variables.state_seen(payload)

    assert board.messages() == [("state", "online")]


def test_own_online_is_not_answered(board: Board) -> None:
    board.variables.state_seen(b"online")

    assert board.messages() == []


def test_own_farewell_is_not_answered(board: Board) -> None:
    board.variables.goodbye()
    board.messages()

    board.variables.state_seen(b"offline")

    assert board.messages() == []


# -- encoding


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("HeartbeatInterval", "HeartbeatInterval"),
        ("a.b-c_d~e", "a.b-c_d~e"),
        ("a/b", "a%2Fb"),
        ("a+b#c", "a%2Bb%23c"),
        ("100%", "100%25"),
        ("$SYS", "%24SYS"),
        ("a b\x00", "a%20b%00"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
    ],
)
def test_name_is_percent_encoded_as_a_topic_level(name: str, level: str) -> None:
    assert topic_level(name) == level


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (True, "true"),
        (None, "null"),
        ("Operative", '"Operative"'),
        ({"a": [1, 2.5], "b": "ü"}, '{"a":[1,2.5],"b":"ü"}'),
        (Decimal("16.1"), "16.1"),
        (ChargePointStatus.available, '"Available"'),
        (Status(status=ChargePointStatus.available), '{"status":"Available"}'),
        ([Status(status=ChargePointStatus.available, info="x")], '[{"status":"Available","info":"x"}]'),
        ("\U0001f50c", '"\U0001f50c"'),
        ("\ud800", r'"\ud800"'),
        ({"\udfff\n": 1}, r'{"\udfff\n":1}'),
    ],
    ids=ascii,
)
def test_json_is_compact_and_utf8(value: object, payload: str) -> None:
    assert to_json(value) == payload.encode()
    json.loads(to_json(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), {1}, object()], ids=repr)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        to_json(value)


# -- the whole charge point


def test_picture_is_complete_at_the_first_connection(station: Station) -> None:
    messages = [message for message in station.published() if message.retain]

    topics = [message.topic.removeprefix("ocpp16/") for message in messages]
    assert topics[-1] == "state"
    assert {"info", "health", "is_connected", "connection", "charging_schedules"} <= set(topics)
    assert station.shown("is_connected") is False


def test_a_broker_that_lost_everything_ends_with_the_same_picture(station: Station) -> None:
    station.register()
    picture = dict(station.broker.retained)
    station.disconnect_broker()
    station.broker.retained.clear()

    station.connect_broker()

    assert station.broker.retained == picture
    assert station.published()[-1].topic == "ocpp16/state"
