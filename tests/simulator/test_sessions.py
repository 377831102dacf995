"""Whole sessions, with a daemon that plays along or does not."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ocpp16_bridge.simulator.pace import Pace
from ocpp16_bridge.simulator.sessions import CHARGE, PAUSE, play_sessions
from ocpp16_bridge.simulator.simulator import FAULT
from tests.simulator.stage import Stage

Prepare = Callable[[Stage], Coroutine[Any, Any, None]]


def played(prepare: Prepare = Stage.nothing_happens, *, count: int = 1, with_fault: bool = False) -> tuple[Stage, int]:
    async def run() -> tuple[Stage, int]:
        stage = await Stage.begun()
        await prepare(stage)
        reading = asyncio.create_task(stage.simulator.run())
        work = play_sessions(stage.simulator, "A", stage.said.append, count=count, with_fault=with_fault)
        failed = await stage.pace.run(work)
        reading.cancel()
        return stage, failed

    return asyncio.run(run())


def test_a_session_goes_from_plug_to_plug() -> None:
    stage, failed = played()

    facts = [
        (state["plugged"], state["ev_ready"], state["evse_ready"], state["locked"])
        for state in stage.daemon.facts("state")
    ]
    assert failed == 0
    assert facts == [
        (True, True, False, False),  # plugged
        (True, True, False, True),  # a card
        (True, True, True, True),  # charging
        (True, False, True, True),  # a pause
        (True, True, True, True),  # and on
        (True, True, True, False),  # the card once more
        (True, True, False, False),
        (False, False, False, False),  # unplugged
    ]
    assert stage.daemon.cards == ["A", "A"]


def test_it_charges_as_long_as_it_says() -> None:
    stage, _ = played()

    readings = stage.daemon.facts("meter")
    powers = [reading["Power.Active.Import"] for reading in readings]
    registers = [reading["Energy.Active.Import.Register"] for reading in readings]
    assert powers.count(max(powers)) == pytest.approx(2 * CHARGE, abs=12)
    assert powers.count(0) >= PAUSE
    assert registers == sorted(registers)
    assert registers[-1] - registers[0] == pytest.approx(2 * CHARGE * max(powers) / 3600, rel=0.05)


def test_sessions_follow_each_other_and_the_register_never_falls() -> None:
    stage, failed = played(count=3)

    assert failed == 0
    assert stage.daemon.cards == ["A"] * 6
    registers = [reading["Energy.Active.Import.Register"] for reading in stage.daemon.facts("meter")]
    assert registers == sorted(registers)


def test_a_fault_comes_and_goes_in_the_middle() -> None:
    stage, failed = played(with_fault=True)

    assert (failed, stage.daemon.facts("errors")) == (0, [[FAULT], []])


def test_a_transaction_that_runs_already_needs_no_card() -> None:
    """Started remotely, by a card before, or by free vending."""

    async def begun_by_others(stage: Stage) -> None:
        await stage.daemon.transact(is_running=True)

    stage, failed = played(begun_by_others)

    assert (failed, stage.daemon.cards) == (0, ["A"])


def test_a_transaction_that_others_end_needs_no_card() -> None:
    async def end_soon(stage: Stage) -> None:
        async def end() -> None:
            await stage.pace.sleep(30)
            await stage.daemon.transact(is_running=False)

        stage.ending = asyncio.create_task(end())  # type: ignore[attr-defined] # kept alive

    stage, failed = played(end_soon)

    assert (failed, stage.daemon.cards) == (0, ["A"])
    assert "the transaction has been ended by somebody else" in stage.said


async def refuse(stage: Stage) -> None:
    stage.daemon.decision = {"status": "Invalid", "action": "none"}


async def refuse_to_stop(stage: Stage) -> None:
    await stage.daemon.transact(is_running=True)
    stage.daemon.decision = {"status": "Accepted", "action": "none"}


async def be_stopped(stage: Stage) -> None:
    stage.daemon.error = {"code": "stopped"}


async def accept_only(stage: Stage) -> None:
    stage.daemon.decision = {"status": "Accepted", "action": "start"}


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (refuse, "the card does not start: Invalid"),
        (refuse_to_stop, "the card does not stop: Accepted"),
        (be_stopped, "present_id_tag is refused"),
        (accept_only, "in vain for: a transaction"),
    ],
    ids=["refused", "not stopped", "OCPP is stopped", "nothing follows"],
)
def test_what_does_not_go_through_is_said_and_counted_and_the_car_leaves(prepare: Prepare, text: str) -> None:
    stage, failed = played(prepare)

    assert failed == 1
    assert any(text in line for line in stage.said)
    assert stage.daemon.facts("state")[-1]["plugged"] is False


def test_without_a_daemon_it_waits() -> None:
    async def go_offline(stage: Stage) -> None:
        await stage.daemon.says("state", "offline")

        async def come_back() -> None:
            await stage.pace.sleep(1000)
            assert stage.daemon.facts("state") == []
            await stage.daemon.says("state", "online")

        stage.coming = asyncio.create_task(come_back())  # type: ignore[attr-defined] # kept alive

    stage, failed = played(go_offline)

    assert failed == 0
    assert stage.said[0] == "the daemon is not online: waiting for it"


def test_time_can_pass_faster() -> None:
    async def sleep() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        pace = Pace(speed=1000)
        began, simulated = loop.time(), pace.now()
        await pace.sleep(10)
        return loop.time() - began, pace.now() - simulated

    real, simulated = asyncio.run(sleep())

    assert real < 1
    assert simulated >= 10
