"""Architecture, "A turn": write, commit, then the answer, the CALLs, what is published, the endings."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from ocpp16_bridge.turn import Turns


class Ledger:
    """A transaction that notes what is asked of it, among the outputs."""

    def __init__(self, *, commit_fails: bool = False, rollback_fails: bool = False) -> None:
        self.log: list[str] = []
        self.commit_fails = commit_fails
        self.rollback_fails = rollback_fails

    def begin(self) -> None:
        self.log.append("begin")

    def commit(self) -> None:
        self.log.append("commit")
        if self.commit_fails:
            raise OSError("disk full")

    def rollback(self) -> None:
        self.log.append("rollback")
        if self.rollback_fails:
            raise OSError("disk gone")

    def note(self, text: str) -> Callable[[], None]:
        return lambda: self.log.append(text)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def turns(ledger: Ledger) -> Turns:
    return Turns(ledger)


def cause_everything(turns: Turns, ledger: Ledger) -> None:
    for number in "12":
        turns.ending(ledger.note("ending " + number))
        turns.publish(ledger.note("publication " + number))
        turns.call(ledger.note("call " + number))
        turns.answer(ledger.note("answer " + number))


def test_outputs_go_out_after_the_commit_in_their_order(turns: Turns, ledger: Ledger) -> None:
    """TR-32."""
    with turns.turn():
        cause_everything(turns, ledger)
        ledger.log.append("handled")

    assert ledger.log == [
        "begin",
        "handled",
        "commit",
        *("answer 1", "answer 2", "call 1", "call 2"),
        *("publication 1", "publication 2", "ending 1", "ending 2"),
    ]


def test_a_failed_turn_leaves_no_output_and_passes_its_exception_on(turns: Turns, ledger: Ledger) -> None:
    def fail() -> None:
        with turns.turn():
            cause_everything(turns, ledger)
            raise KeyError("of the handler")

    with pytest.raises(KeyError, match="of the handler"):
        fail()

    assert ledger.log == ["begin", "rollback"]


def test_a_failed_commit_leaves_no_output() -> None:
    ledger = Ledger(commit_fails=True)
    turns = Turns(ledger)

    def handle() -> None:
        with turns.turn():
            cause_everything(turns, ledger)

    with pytest.raises(OSError, match="disk full"):
        handle()

    assert ledger.log == ["begin", "commit", "rollback"]


def test_outputs_of_a_turn_whose_rollback_fails_do_not_go_out_with_the_next_one() -> None:
    ledger = Ledger(commit_fails=True, rollback_fails=True)
    turns = Turns(ledger)
    with suppress(OSError), turns.turn():
        cause_everything(turns, ledger)
    ledger.commit_fails = False
    ledger.log.clear()

    with turns.turn():
        turns.answer(ledger.note("answer"))

    assert ledger.log == ["begin", "commit", "answer"]


def test_a_turn_within_a_turn_is_part_of_the_outer_one(turns: Turns, ledger: Ledger) -> None:
    with turns.turn():
        turns.call(ledger.note("call of the outer"))
        with turns.turn():
            turns.answer(ledger.note("answer of the inner"))
        ledger.log.append("handled")

    assert ledger.log == ["begin", "handled", "commit", "answer of the inner", "call of the outer"]


def test_a_failure_of_the_inner_turn_fails_the_outer_one(turns: Turns, ledger: Ledger) -> None:
    def fail() -> None:
        with turns.turn(), turns.turn():
            turns.answer(ledger.note("answer"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert ledger.log == ["begin", "rollback"]


def test_an_output_that_fails_holds_back_no_other(
    turns: Turns, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise KeyError("of the output")

    with turns.turn():
        turns.answer(fail)
        turns.call(ledger.note("call"))

    assert ledger.log == ["begin", "commit", "call"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "of the output" in caplog.text


def test_outside_a_turn_an_output_goes_out_at_once(turns: Turns, ledger: Ledger) -> None:
    turns.publish(ledger.note("publication"))
    ledger.log.append("afterwards")

    assert ledger.log == ["publication", "afterwards"]


def test_what_an_output_causes_lines_up_behind_what_waits(turns: Turns, ledger: Ledger) -> None:
    def call() -> None:
        ledger.log.append("call begins")
        turns.ending(ledger.note("ending of the call"))
        turns.publish(ledger.note("publication of the call"))
        ledger.log.append("call ends")

    with turns.turn():
        turns.call(call)
        turns.call(ledger.note("another call"))
        turns.publish(ledger.note("publication"))
        turns.ending(ledger.note("ending"))

    assert ledger.log[2:] == [
        *("call begins", "call ends", "another call"),
        *("publication", "publication of the call", "ending", "ending of the call"),
    ]


def test_a_turn_set_off_by_an_output_commits_at_once_and_its_outputs_line_up(turns: Turns, ledger: Ledger) -> None:
    """Else the older value of a retained topic would be published after the newer one."""

    def link_lost() -> None:
        with turns.turn():
            turns.publish(ledger.note("is_connected: false"))

    with turns.turn():
        turns.call(link_lost)
        turns.publish(ledger.note("is_connected: true"))

    assert ledger.log == ["begin", "commit", "begin", "commit", "is_connected: true", "is_connected: false"]


def test_a_failed_turn_set_off_by_an_output_takes_no_other_output_with_it(turns: Turns, ledger: Ledger) -> None:
    def fail() -> None:
        with turns.turn():
            turns.publish(ledger.note("of the failed one"))
            raise KeyError

    with turns.turn():
        turns.answer(fail)
        turns.publish(ledger.note("publication"))

    assert ledger.log == ["begin", "commit", "begin", "rollback", "publication"]


def test_outputs_go_on_after_one_that_was_interrupted(turns: Turns, ledger: Ledger) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt), turns.turn():
        turns.answer(interrupt)
        turns.call(ledger.note("call"))

    turns.publish(ledger.note("publication"))

    assert ledger.log == ["begin", "commit", "call", "publication"]
