"""The queue itself, with a store, turns and timers of its own; the other end of the link is this file."""

import itertools
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16.enums import RegistrationStatus

from ocpp16_bridge.clock import Timers
from ocpp16_bridge.csms import call_queue, ocppj
from ocpp16_bridge.csms.call_queue import Answered, CallQueue, DurableCall, Outcome, OwnCall, Refused, Unanswered
from ocpp16_bridge.csms.schemas import InvalidError
from ocpp16_bridge.store import Store
from ocpp16_bridge.turn import Turns

LATER = "2026-11-22T10:00:00Z"
STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
BOOT = {"chargePointVendor": "v", "chargePointModel": "m"}
EVENT = {"type": "StartupOfTheDevice", "timestamp": LATER}


class Bench:
    """A queue, and everything around it: one process after the other on the same store."""

    def __init__(self, directory: Path, limit: int = 100) -> None:
        self.directory = directory
        self.limit = limit
        self.time = 100.0
        self.timeout = 30.0
        self.attempts = 3
        self.interval = 60.0
        self.ids = itertools.count(1)
        self.broken_line = False
        self.broken_handler = False
        self.sent: list[ocppj.Call] = []
        self.ends: list[tuple[str, Outcome]] = []
        self.start()

    def start(self) -> None:
        self.store = Store(self.directory)
        self.turns = Turns(self.store)
        self.timers = Timers(lambda: self.time, self.turns)
        self.queue = CallQueue(
            self.store, self.turns, self.timers, lambda: self.time, lambda: f"id-{next(self.ids)}", self.send
        )
        self.queue.timeout = lambda: self.timeout
        self.queue.attempts = lambda: self.attempts
        self.queue.retry_interval = lambda: self.interval
        self.queue.on_durable_end = self.durable_end
        self.queue.add_durable("event", 100, frozenset({"NotImplemented"}))
        self.transactions = self.queue.add_durable("transaction", self.limit)

    def kill(self) -> None:
        self.store.close()
        self.start()

    def send(self, call: ocppj.Call) -> None:
        if self.broken_line:
            raise TypeError("no JSON form")
        self.sent.append(call)

    def durable_end(self, call: DurableCall, outcome: Outcome) -> None:
        self.note(call.about, outcome)

    def note(self, name: str, outcome: Outcome) -> None:
        if self.broken_handler:
            raise RuntimeError("a bug")
        self.ends.append((name, outcome))

    # -- what happens

    def connect(self, status: RegistrationStatus | None = RegistrationStatus.accepted) -> None:
        self.queue.registration = status
        with self.turns.turn():
            self.queue.connected()
            self.turns.call(self.queue.pump)

    def put(self, name: str, action: str = "StatusNotification", *, triggered: bool = False) -> None:
        """An ordinary CALL that is known by its `vendorId` or action."""
        payloads: dict[str, dict[str, Any]] = {
            "StatusNotification": {**STATUS, "vendorId": name},
            "BootNotification": BOOT,
        }
        with self.turns.turn():
            self.queue.put(OwnCall(action, payloads.get(action, {}), partial(self.note, name), triggered))

    def keep(self, name: str, queue: str = "transaction") -> None:
        """A durable CALL."""
        with self.turns.turn():
            action, payload = (
                ("SecurityEventNotification", EVENT) if queue == "event" else ("StartTransaction", start(name))
            )
            self.queue.put_durable(queue, DurableCall(action, payload, f"id-{next(self.ids)}", name, LATER))

    def answer(self, index: int = -1, **payload: Any) -> bool:
        """Answer a sent CALL, by default the last one."""
        return self.queue.answered(ocppj.CallResult(self.sent[index].message_id, payload or result(self.sent[index])))

    def refuse(self, code: str = "InternalError") -> bool:
        return self.queue.answered(ocppj.CallError(self.sent[-1].message_id, code, "why", {}))

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while (deadline := self.timers.next_deadline()) is not None and deadline <= end:
            self.time = max(self.time, deadline)
            self.timers.run_due()
        self.time = end

    def names(self) -> list[str]:
        """What was sent, by the names given to `put` and `keep`."""
        return [call.payload.get("vendorId") or call.payload.get("idTag") or call.action for call in self.sent]


def start(id_tag: str) -> dict[str, Any]:
    return {"connectorId": 1, "idTag": id_tag, "meterStart": 0, "timestamp": LATER}


def result(call: ocppj.Call) -> dict[str, Any]:
    if call.action == "StartTransaction":
        return {"idTagInfo": {"status": "Accepted"}, "transactionId": 1}
    return {}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path / "store")
    yield one
    one.store.close()


# -- one in flight


def test_a_call_is_sent_only_when_the_one_before_is_answered(bench: Bench) -> None:
    """TR-31; trap 25."""
    bench.connect()
    bench.put("a")
    bench.put("b")
    assert bench.names() == ["a"]

    bench.answer()

    assert bench.names() == ["a", "b"]
    assert bench.ends == [("a", Answered({}, 0.0))]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        pytest.param(Bench.answer, Answered({}, 2.0), id="CALLRESULT"),
        pytest.param(partial(Bench.refuse, code="X"), Refused("X", "why"), id="CALLERROR"),
        pytest.param(
            lambda bench: bench.queue.unreadable("id-1", "broken"),
            Unanswered("unreadable", "broken"),
            id="broken answer",
        ),
        pytest.param(
            lambda bench: bench.advance(28), Unanswered("timeout", "no answer within 30 s"), id="no answer in time"
        ),
    ],
)
def test_the_sender_hears_how_its_call_ended_and_the_next_is_sent(
    bench: Bench, end: Callable[[Bench], object], outcome: Outcome
) -> None:
    """TR-29, TR-31, TR-40."""
    bench.connect()
    bench.put("a")
    bench.put("b")
    bench.advance(2)

    end(bench)

    assert bench.ends == [("a", outcome)]
    assert bench.names() == ["a", "b"]


def test_a_result_that_does_not_fit_its_schema_is_no_answer(bench: Bench) -> None:
    """TR-29."""
    bench.connect()
    bench.put("a", "Heartbeat")

    assert bench.answer(currentTime="yesterday")

    (_, outcome) = bench.ends[0]
    assert isinstance(outcome, Unanswered)
    assert outcome.reason == "unreadable"


def test_an_answer_that_nothing_waits_for_changes_nothing(bench: Bench) -> None:
    """TR-28: foreign, double, or late, after the time limit."""
    bench.connect()
    bench.put("a")

    assert not bench.queue.answered(ocppj.CallResult("foreign", {}))
    assert not bench.queue.unreadable("foreign", "")
    assert bench.answer()
    assert not bench.answer()
    bench.put("b")
    bench.advance(30)
    assert not bench.answer()

    assert [name for name, _ in bench.ends] == ["a", "b"]


def test_a_changed_time_limit_holds_from_the_next_call_on(bench: Bench) -> None:
    """TR-40."""
    bench.connect()
    bench.put("a")
    bench.put("b")

    bench.timeout = 5
    bench.advance(29)
    assert bench.ends == []
    bench.advance(1)
    assert len(bench.ends) == 1
    bench.advance(5)

    assert bench.ends[1] == ("b", Unanswered("timeout", "no answer within 5 s"))


def test_the_moment_of_the_last_call_is_known(bench: Bench) -> None:
    bench.connect()
    bench.advance(7)

    bench.put("a")

    assert bench.queue.last_sent_at == 107


# -- what may be sent when

BOOTING, REJECTED, PENDING, ACCEPTED = (None, *map(RegistrationStatus, ("Rejected", "Pending", "Accepted")))


@pytest.mark.parametrize(
    ("status", "action", "triggered", "goes_out"),
    [
        (BOOTING, "BootNotification", False, True),
        (BOOTING, "StatusNotification", False, False),
        (BOOTING, "StatusNotification", True, False),
        (REJECTED, "BootNotification", False, True),
        (REJECTED, "StatusNotification", False, False),
        (REJECTED, "StatusNotification", True, False),
        (PENDING, "BootNotification", False, True),
        (PENDING, "StatusNotification", False, False),
        (PENDING, "StatusNotification", True, True),
        (ACCEPTED, "BootNotification", False, True),
        (ACCEPTED, "StatusNotification", False, True),
        (ACCEPTED, "StatusNotification", True, True),
    ],
)
def test_the_registration_decides_what_goes_out(
    bench: Bench, status: RegistrationStatus | None, action: str, triggered: bool, goes_out: bool
) -> None:
    """BT-02, BT-07, BT-08, the message matrix; trap 1."""
    bench.connect(status)

    bench.put("a", action, triggered=triggered)

    assert bench.queue.may_send(action, triggered=triggered) == goes_out
    assert [call.action for call in bench.sent] == ([action] if goes_out else [])
    assert bench.ends == ([] if goes_out else [("a", Unanswered("offline"))])


@pytest.mark.parametrize("status", [BOOTING, REJECTED, PENDING])
def test_durable_calls_wait_for_acceptance(bench: Bench, status: RegistrationStatus | None) -> None:
    """BT-02, BT-07, BT-08; trap 1."""
    bench.keep("start")

    bench.connect(status)

    assert bench.sent == []


def test_nothing_goes_out_without_a_link(bench: Bench) -> None:
    bench.queue.registration = ACCEPTED

    bench.put("a", "BootNotification")
    bench.put("b")

    assert bench.sent == []
    assert bench.ends == [("a", Unanswered("offline")), ("b", Unanswered("offline"))]


def test_boot_notification_goes_before_what_waits(bench: Bench) -> None:
    """TR-48: the CSMS has forgotten us."""
    bench.connect()
    bench.put("a")
    bench.put("b")
    bench.put("boot", "BootNotification")

    bench.answer()

    assert bench.names() == ["a", "BootNotification"]


def test_what_waits_ends_as_offline_when_acceptance_is_taken_back(bench: Bench) -> None:
    """BT-11; what was asked for by TriggerMessage still goes out (BT-08)."""
    bench.connect()
    bench.put("boot", "BootNotification")
    bench.put("a")
    bench.put("triggered", triggered=True)
    bench.put("b")

    bench.queue.registration = PENDING
    bench.answer(currentTime=LATER, interval=1, status="Pending")
    bench.answer()

    assert bench.names() == ["BootNotification", "triggered"]
    assert bench.ends[1:] == [
        ("a", Unanswered("offline")),
        ("triggered", Answered({}, 0.0)),
        ("b", Unanswered("offline")),
    ]


def test_more_than_a_thousand_calls_do_not_wait(bench: Bench) -> None:
    bench.connect()
    for _ in range(call_queue.MAX_WAITING + 1):
        bench.put("a")
    assert bench.ends == []

    bench.put("too many")

    assert bench.ends == [("too many", Unanswered("offline"))]


def test_a_thousand_calls_that_wait_can_end_at_once(bench: Bench) -> None:
    bench.connect()
    for _ in range(call_queue.MAX_WAITING + 1):
        bench.put("a")

    bench.queue.disconnected()

    assert len(bench.ends) == call_queue.MAX_WAITING + 1


def test_an_ordinary_call_that_breaks_its_schema_is_refused_at_once(bench: Bench) -> None:
    bench.connect()

    with pytest.raises(InvalidError):
        bench.queue.put(OwnCall("Authorize", {"idTag": "x" * 21}, partial(bench.note, "a")))

    assert bench.sent == []


def test_a_durable_call_that_breaks_its_schema_is_refused_at_once(bench: Bench) -> None:
    with pytest.raises(InvalidError):
        bench.queue.put_durable("transaction", DurableCall("StartTransaction", {}, "id", "a", LATER))

    assert len(bench.transactions.calls) == 0


def test_a_turn_that_fails_sends_nothing(bench: Bench) -> None:
    """A turn that fails leaves nothing."""

    def fail_in_the_middle() -> None:
        with bench.turns.turn():
            bench.put("a")
            bench.keep("start")
            raise RuntimeError

    bench.connect()
    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    bench.put("b")
    bench.answer()

    assert bench.names() == ["b"]


# -- the link


def test_a_lost_link_ends_ordinary_calls(bench: Bench) -> None:
    bench.connect()
    bench.put("sent")
    bench.put("waits")

    bench.queue.disconnected()
    bench.connect()

    assert bench.ends == [("sent", Unanswered("link lost")), ("waits", Unanswered("offline"))]
    assert bench.names() == ["sent"]


def test_the_time_limit_of_a_lost_link_ends_nothing_on_the_next(bench: Bench) -> None:
    bench.connect()
    bench.put("a")
    bench.advance(20)
    bench.queue.disconnected()
    bench.connect()
    bench.put("b")

    bench.advance(29)

    assert [name for name, _ in bench.ends] == ["a"]


# -- durable ones


def test_durable_calls_go_out_in_order_one_at_a_time(bench: Bench) -> None:
    """TX-20, TX-21."""
    for name in ("a", "b", "c"):
        bench.keep(name)
    bench.connect()
    assert bench.names() == ["a"]

    bench.answer()
    bench.answer()
    bench.answer()

    assert bench.names() == ["a", "b", "c"]
    assert [name for name, _ in bench.ends] == ["a", "b", "c"]
    assert len(bench.transactions.calls) == 0


def test_ordinary_calls_overtake_durable_ones(bench: Bench) -> None:
    """TX-22."""
    bench.keep("a")
    bench.keep("b")
    bench.connect()
    bench.put("ordinary")

    bench.answer()

    assert bench.names() == ["a", "ordinary"]


def test_ordinary_calls_of_a_turn_precede_its_durable_ones(bench: Bench) -> None:
    """TX-40."""
    bench.connect()

    with bench.turns.turn():
        bench.keep("durable")
        bench.put("ordinary")

    assert bench.names() == ["ordinary"]


def test_a_durable_call_survives_a_restart_with_its_message_id_and_payload(bench: Bench) -> None:
    """TR-23, TX-20, TX-29; a kill between send and answer."""
    bench.keep("a")
    bench.connect()

    bench.kill()
    bench.connect()

    first, second = bench.sent
    assert first == second


def test_a_lost_link_is_no_attempt(bench: Bench) -> None:
    """TX-24; trap 4."""
    bench.keep("a")
    for _ in range(10):
        bench.connect()
        bench.queue.disconnected()
    bench.connect()

    assert bench.sent == [bench.sent[0]] * 11
    assert bench.ends == []


FAILURES: dict[str, Callable[[Bench], object]] = {
    "CALLERROR": Bench.refuse,
    "timeout": lambda bench: bench.advance(30),
    "answer against the schema": lambda bench: bench.answer(idTagInfo=5),
    "broken answer": lambda bench: bench.queue.unreadable(bench.sent[-1].message_id, "broken"),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_the_wait_grows_and_the_message_is_given_up_after_the_last_attempt(
    bench: Bench, fail: Callable[[Bench], object], caplog: pytest.LogCaptureFixture
) -> None:
    """TX-24, TX-25: send, wait 60, send, wait 120, send, drop; trap 5."""
    bench.keep("a")
    bench.keep("b")
    bench.connect()

    fail(bench)
    bench.advance(59.9)
    assert bench.names() == ["a"]
    bench.advance(0.1)
    assert bench.names() == ["a"] * 2
    fail(bench)
    bench.advance(119.9)
    assert bench.names() == ["a"] * 2
    bench.advance(0.1)
    assert bench.names() == ["a"] * 3
    fail(bench)

    assert bench.names() == ["a", "a", "a", "b"]
    assert len({call.message_id for call in bench.sent[:3]}) == 1
    assert [name for name, _ in bench.ends] == ["a"]
    assert [record.levelname for record in caplog.records if "given up after attempt 3" in record.message] == ["ERROR"]


@pytest.mark.parametrize(("attempts", "transmissions"), [(0, 1), (1, 1), (2, 2), (5, 5)])
def test_attempts_counts_all_transmissions_and_0_acts_as_1(bench: Bench, attempts: int, transmissions: int) -> None:
    """TX-25, TX-26."""
    bench.attempts = attempts
    bench.keep("a")
    bench.connect()

    for _ in range(10):
        bench.refuse()
        bench.advance(600)

    assert len(bench.sent) == transmissions


def test_attempts_and_waits_survive_a_restart(bench: Bench) -> None:
    """TX-25, TX-26: a restart makes no wait shorter and no attempt forgotten."""
    bench.keep("a")
    bench.connect()
    bench.refuse()
    bench.advance(60)
    bench.refuse()

    bench.kill()
    bench.connect()
    bench.advance(119.9)
    assert len(bench.sent) == 2
    bench.advance(0.1)
    bench.refuse()
    bench.advance(1000)

    assert len(bench.sent) == 3
    assert bench.ends == [("a", Refused("InternalError", "why"))]


def test_a_reconnect_neither_shortens_nor_restarts_the_wait(bench: Bench) -> None:
    """TX-25, TX-26."""
    bench.keep("a")
    bench.connect()
    bench.refuse()
    bench.advance(30)
    bench.queue.disconnected()
    bench.connect()
    bench.advance(29.9)
    assert len(bench.sent) == 1

    bench.advance(0.1)

    assert len(bench.sent) == 2


def test_a_wait_that_ends_without_a_link_is_over_with_the_next(bench: Bench) -> None:
    bench.keep("a")
    bench.connect()
    bench.refuse()
    bench.queue.disconnected()
    bench.advance(100)
    assert len(bench.sent) == 1

    bench.connect()

    assert len(bench.sent) == 2


def test_other_messages_pass_while_a_failed_one_waits(bench: Bench) -> None:
    """TX-22; a queue does not hold up another one."""
    bench.keep("a")
    bench.keep("b")
    bench.connect()
    bench.refuse()

    bench.put("ordinary")
    bench.answer()
    bench.keep("event", "event")

    assert bench.names() == ["a", "ordinary", "SecurityEventNotification"]


def test_without_a_wait_the_next_attempt_follows_at_once(bench: Bench) -> None:
    bench.interval = 0
    bench.keep("a")
    bench.connect()

    bench.refuse()

    assert bench.names() == ["a", "a"]


def test_a_late_answer_counts_once_the_message_is_sent_again(bench: Bench) -> None:
    """TR-28: it has the same message id; while nothing is in flight it is dropped."""
    bench.keep("a")
    bench.connect()
    bench.advance(30)
    assert not bench.answer()
    bench.advance(60)
    assert len(bench.sent) == 2

    assert bench.answer(0)
    assert not bench.answer(1)

    assert [name for name, _ in bench.ends] == ["a"]


@pytest.mark.parametrize(("code", "transmissions"), [("NotImplemented", 1), ("InternalError", 3)])
def test_a_final_code_ends_a_message_at_once(bench: Bench, code: str, transmissions: int) -> None:
    """Contract 3, security_event: a CSMS that does not know the message is not asked again."""
    bench.keep("a", "event")
    bench.connect()

    for wait in (60, 120, 1000):
        bench.refuse(code)
        bench.advance(wait)

    assert len(bench.sent) == transmissions
    assert bench.ends == [("a", Refused(code, "why"))]


def test_the_end_of_a_message_and_what_follows_are_one_turn(bench: Bench) -> None:
    """A crash leaves neither the message without its consequence nor the reverse."""
    lengths: list[int] = []
    bench.queue.on_durable_end = lambda _call, _outcome: lengths.append(len(bench.transactions.calls))
    bench.keep("a")
    bench.connect()

    bench.answer()

    assert lengths == [0]


def test_the_age_of_the_oldest_is_known(bench: Bench) -> None:
    assert bench.transactions.oldest_queued_at() is None

    bench.keep("a")

    assert bench.transactions.oldest_queued_at() == LATER


# -- a full queue


def test_a_full_queue_loses_its_oldest_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, limit=2)
    for name in ("a", "b", "c"):
        bench.keep(name)

    assert bench.ends == [("a", Unanswered("queue full"))]
    assert len(bench.transactions.calls) == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    bench.store.close()


def test_the_one_in_flight_is_not_lost_to_a_full_queue(tmp_path: Path) -> None:
    """Its answer is on its way; later the queue is cut to its length again."""
    bench = Bench(tmp_path, limit=2)
    bench.connect()
    for name in ("a", "b", "c", "d"):
        bench.keep(name)
    assert bench.ends == []
    assert len(bench.transactions.calls) == 4

    bench.refuse()
    bench.keep("e")

    assert bench.ends == [(name, Unanswered("queue full")) for name in ("a", "b", "c")]
    assert len(bench.transactions.calls) == 2
    assert bench.names() == ["a", "d"]
    bench.store.close()


# -- our own bugs


def test_a_handler_that_fails_does_not_hold_up_the_queue(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.connect()
    bench.put("a")
    bench.put("b")

    bench.broken_handler = True
    bench.answer()

    assert bench.names() == ["a", "b"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_durable_message_whose_handler_fails_is_not_sent_for_ever(bench: Bench, attempts: int) -> None:
    bench.attempts = attempts
    bench.keep("a")
    bench.keep("b")
    bench.connect()

    bench.broken_handler = True
    bench.answer()

    assert bench.names() == ["a", "b"]
    assert len(bench.transactions.calls) == 1


def test_a_handler_that_fails_leaves_nothing_of_its_turn(bench: Bench) -> None:
    def settle(_outcome: Outcome) -> None:
        bench.keep("start")
        raise RuntimeError

    bench.connect()
    with bench.turns.turn():
        bench.queue.put(OwnCall("StatusNotification", STATUS, settle))

    bench.answer()

    assert len(bench.transactions.calls) == 0


def test_every_sender_hears_of_a_lost_link_though_one_handler_fails(bench: Bench) -> None:
    def fail(_outcome: Outcome) -> None:
        raise RuntimeError

    bench.connect()
    with bench.turns.turn():
        bench.queue.put(OwnCall("StatusNotification", STATUS, fail))
    bench.put("b")

    bench.queue.disconnected()

    assert bench.ends == [("b", Unanswered("offline"))]


@pytest.mark.parametrize("durable", [False, True], ids=["ordinary", "durable"])
def test_a_message_that_cannot_be_sent_ends_and_the_next_goes_out(
    bench: Bench, durable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    put = bench.keep if durable else bench.put
    bench.connect()
    bench.broken_line = True
    put("a")
    bench.broken_line = False

    put("b")

    assert bench.ends == [("a", Unanswered("unsendable", "TypeError"))]
    assert bench.names() == ["b"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_the_log_shows_no_more_than_the_beginning_of_what_the_csms_says(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.connect()
    bench.put("a")

    bench.queue.answered(ocppj.CallError("id-1", "X" * 1000, "line\nfeed" * 1000, {"a": "detail"}))

    (record,) = caplog.records
    assert len(record.message) < 400
    assert "\n" not in record.message


# -- queues that are thinned, held and prepared


class ThinBench(Bench):
    """The queue `transaction` keeps StartTransaction at any price, and thins MeterValues out."""

    def start(self) -> None:
        super().start()
        self.given_up: list[tuple[str, dict[str, Any]]] = []
        self.transactions = self.queue.add_durable("transaction", self.limit, thins="MeterValues")
        self.transactions.on_given_up = lambda call, payload: self.given_up.append((call.about, payload))

    def sample(self, name: str) -> None:
        values = [{"timestamp": LATER, "sampledValue": [{"value": name}]}]
        call = DurableCall("MeterValues", {"connectorId": 1, "meterValue": values}, f"id-{name}", name, LATER)
        with self.turns.turn():
            self.queue.put_durable("transaction", call)

    def queued(self) -> list[str]:
        return [call.about for _, call in self.transactions.calls]


@pytest.fixture
def thin(tmp_path: Path) -> Iterator[ThinBench]:
    one = ThinBench(tmp_path / "store", limit=8)
    yield one
    one.store.close()


def test_a_full_queue_loses_every_second_sample_and_nothing_else(
    thin: ThinBench, caplog: pytest.LogCaptureFixture
) -> None:
    """TX-30."""
    thin.keep("start")
    for number in range(7):
        thin.sample(str(number))

    thin.keep("stop")

    assert thin.queued() == ["start", "0", "2", "4", "6", "stop"]
    assert "queue transaction is full (8): 3 MeterValues are dropped" in caplog.text


def test_what_may_not_be_dropped_makes_a_full_queue_longer(thin: ThinBench, caplog: pytest.LogCaptureFixture) -> None:
    """TX-30: never Start or Stop, nor the first and the last sample."""
    thin.sample("first")
    thin.sample("last")
    for number in range(20):
        thin.keep(str(number))

    assert thin.queued() == ["first", "last", *map(str, range(20))]
    assert "is full" not in caplog.text


def test_a_full_queue_stays_in_its_limit_whatever_comes(thin: ThinBench) -> None:
    thin.keep("start")
    for number in range(1000):
        thin.sample(str(number))
        assert len(thin.queued()) <= 8

    assert thin.queued()[:2] == ["start", "0"]
    assert thin.queued()[-1] == "999"


def test_a_sample_in_flight_is_not_thinned(thin: ThinBench) -> None:
    for number in range(8):
        thin.sample(str(number))
    thin.connect()

    thin.sample("more")
    thin.answer()

    assert thin.sent[0].message_id == "id-0"
    assert [call.message_id for call in thin.sent][1] == "id-2"


def test_answered_samples_do_not_count_and_are_not_thinned(thin: ThinBench) -> None:
    """They are on disk still."""
    for number in range(8):
        thin.sample(str(number))
    thin.connect()
    for _ in range(4):
        thin.answer()
    assert thin.queued() == ["4", "5", "6", "7"]

    for number in range(8, 13):
        thin.sample(str(number))

    assert thin.queued() == ["4", "6", "8", "10", "11", "12"]
    while thin.answer():
        pass
    assert thin.queued() == []


def test_answered_samples_come_again_after_a_kill_unless_a_second_has_passed(thin: ThinBench) -> None:
    for number in range(6):
        thin.sample(str(number))
    thin.connect()
    for _ in range(3):
        thin.answer()
    thin.advance(1)
    for _ in range(2):
        thin.answer()

    thin.kill()

    assert thin.queued() == ["3", "4", "5"]


def test_answered_samples_leave_the_disk_before_what_follows_them(thin: ThinBench) -> None:
    thin.sample("sample")
    thin.keep("stop")
    thin.connect()
    thin.answer()
    thin.answer()

    thin.kill()

    assert thin.queued() == []


def test_answered_samples_leave_the_disk_in_one_commit_each_64(tmp_path: Path) -> None:
    """Performance G10."""
    thin = ThinBench(tmp_path / "store", limit=1000)
    for number in range(200):
        thin.sample(str(number))
    commits: list[str] = []
    thin.store._database.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    thin.connect()

    while thin.answer():
        pass

    assert len(thin.sent) == 200
    assert len(commits) == 3
    thin.advance(1)
    assert len(commits) == 4
    thin.store.close()


def test_a_held_queue_waits_and_others_do_not(thin: ThinBench) -> None:
    thin.transactions.is_held = True
    thin.keep("start")
    thin.keep("event", "event")
    thin.connect()
    thin.answer()
    assert [call.action for call in thin.sent] == ["SecurityEventNotification"]

    thin.transactions.is_held = False
    thin.queue.pump()

    assert [call.action for call in thin.sent] == ["SecurityEventNotification", "StartTransaction"]


def test_what_is_known_only_later_is_filled_in_each_time_it_goes_out(thin: ThinBench) -> None:
    """TX-28."""
    thin.queue.prepare = [
        lambda call: {**call.payload, "meterStart": 7},
        lambda call: {**call.payload, "meterStart": call.payload["meterStart"] + 1},
    ]
    thin.attempts = 1
    thin.keep("start")
    thin.connect()
    thin.refuse()

    ((about, payload),) = thin.given_up
    assert (about, payload) == ("start", thin.sent[0].payload)
    assert payload["meterStart"] == 8


def test_what_cannot_be_filled_in_goes_out_as_it_is_stored(thin: ThinBench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_call: DurableCall) -> dict[str, Any]:
        raise RuntimeError("a bug")

    thin.queue.prepare = [fail]
    thin.keep("start")
    thin.connect()

    assert thin.sent[0].payload == start("start")
    assert "goes out as it is stored" in caplog.text


def test_what_is_answered_is_not_given_up(thin: ThinBench) -> None:
    thin.keep("start")
    thin.connect()
    thin.answer()

    assert thin.given_up == []


@pytest.mark.parametrize("action", ["StartTransaction", "MeterValues"])
def test_the_stored_form_begins_with_the_action(thin: ThinBench, action: str) -> None:
    """What `sequences` looks for."""
    thin.sample("sample")
    thin.keep("start")

    found = thin.transactions.calls.sequences(call_queue.stored_beginning(action), 10)

    assert len(found) == 1
