"""The simulator as a local program: which facts it states, what it obeys (contract 2 to 4)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ocpp16_bridge.simulator.simulator import FAULT, SimulatorError
from tests.simulator.stage import FACTS, Stage

Play = Callable[[Stage], Awaitable[None]]


def play(scene: Play) -> Stage:
    async def run() -> Stage:
        stage = await Stage.begun()
        await scene(stage)
        return stage

    return asyncio.run(run())


def test_it_begins_with_all_facts_and_then_is_online() -> None:
    async def begin() -> Stage:
        stage = Stage()
        await stage.simulator.begin()
        return stage

    published = asyncio.run(begin()).daemon.published

    assert [topic.removeprefix("ocpp16/hardware/") for topic, _, _ in published] == [
        "connector/1/state",
        "connector/1/errors",
        "connector/1/meter",
        "state",
    ]
    assert published[-1] == ("ocpp16/hardware/state", "online", True)
    assert all(retain for _, _, retain in published)


def test_before_it_begins_it_says_nothing_whatever_it_hears() -> None:
    async def hear() -> Stage:
        stage = Stage()
        await stage.daemon.says("connector/1/charging_permitted", payload=True)
        await stage.daemon.says("hardware/state", "online")
        return stage

    stage = asyncio.run(hear())

    assert stage.daemon.published == []
    assert stage.simulator.is_other_online


def test_a_car_is_one_new_state() -> None:
    stage = play(lambda it: it.simulator.plug())

    (state,) = stage.daemon.facts("state")
    assert (state["plugged"], state["ev_ready"], state["evse_ready"]) == (True, True, False)


def test_a_fact_that_stays_is_not_repeated() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.unplug()
        await stage.simulator.recover()

    assert play(scene).daemon.published == []


def test_permission_closes_the_contactor_and_its_end_opens_it_with_a_last_reading() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.plug()
        await stage.daemon.says("connector/1/charging_permitted", payload=True)
        await stage.pace.run(stage.pace.sleep(10))
        await stage.simulator.measure()
        await stage.daemon.says("connector/1/charging_permitted", payload=False)

    stage = play(scene)

    assert [state["evse_ready"] for state in stage.daemon.facts("state")] == [False, True, False]
    running, last = stage.daemon.facts("meter")
    assert running["Power.Active.Import"] > 10_000
    assert (last["Power.Active.Import"], last["Current.Import"]["L1"]) == (0, 0)
    assert stage.said == ["charging is permitted", "charging is not permitted: the contactor is open"]


def test_the_lock_follows() -> None:
    async def scene(stage: Stage) -> None:
        await stage.daemon.says("connector/1/lock", payload=True)
        await stage.daemon.says("connector/1/lock", payload=False)

    stage = play(scene)

    assert [state["locked"] for state in stage.daemon.facts("state")] == [True, False]


def test_a_limit_below_6_a_is_no_offer() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.plug()
        await stage.daemon.says("connector/1/charging_permitted", payload=True)
        for limit in (5, 16):
            await stage.daemon.says("connector/1/limit", {"limit": limit, "unit": "A"})

    stage = play(scene)

    assert [state["evse_ready"] for state in stage.daemon.facts("state")] == [False, True, False, True]
    assert "the limit is 5 A" in stage.said


def test_a_fault_is_stated_and_taken_back() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.fail()
        await stage.simulator.recover()

    assert play(scene).daemon.facts("errors") == [[FAULT], []]


def test_a_pause_is_the_cars() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.plug()
        await stage.simulator.pause()
        await stage.simulator.go_on()

    assert [state["ev_ready"] for state in play(scene).daemon.facts("state")] == [True, False, True]


def test_asked_to_unlock_it_unlocks_and_says_so() -> None:
    async def scene(stage: Stage) -> None:
        await stage.daemon.says("connector/1/lock", payload=True)
        await stage.daemon.says("hardware/request/unlock_connector", {"id": "7", "connector_id": 1})

    stage = play(scene)

    answer = {"id": "7", "status": "ok", "data": "Unlocked"}
    assert ("ocpp16/hardware/response/unlock_connector", json.dumps(answer), False) in stage.daemon.published
    assert stage.daemon.facts("state")[-1]["locked"] is False


@pytest.mark.parametrize("request_", [{"id": "7", "connector_id": 2}, [], "7"], ids=["another connector", "list", "7"])
def test_it_unlocks_only_its_own_cable(request_: Any) -> None:
    stage = play(lambda it: it.daemon.says("hardware/request/unlock_connector", request_))

    assert stage.daemon.published == []


def test_what_it_does_not_know_changes_nothing() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.hear("ocpp16/connector/2/charging_permitted", b"true")
        await stage.simulator.hear("ocpp16/connector/1/limit", b"\xff")
        await stage.daemon.says("response/present_id_tag", {"id": "of somebody else"})
        await stage.daemon.says("hardware/connector/1/meter", [])

    assert play(scene).daemon.published == []


def test_the_register_goes_on_where_somebody_has_left_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.daemon.says("hardware/connector/1/meter", {"Energy.Active.Import.Register": 123_456.7})
        await stage.daemon.says("hardware/connector/1/meter", {"Energy.Active.Import.Register": 5})
        await stage.simulator.measure()

    assert play(scene).daemon.facts("meter")[-1]["Energy.Active.Import.Register"] == 123_456.7


def test_a_card_is_presented_at_its_connector_and_the_decision_comes_back() -> None:
    decisions = []

    async def scene(stage: Stage) -> None:
        decisions.append(await stage.simulator.present("A"))

    stage = play(scene)

    assert decisions == [{"status": "Accepted", "action": "start"}]
    requests = [json.loads(text) for topic, text, _ in stage.daemon.published if topic.endswith("present_id_tag")]
    assert requests == [{"id": "1", "id_tag": "A", "connector_ids": [1]}]


@pytest.mark.parametrize(
    ("silent", "text"),
    [(True, "no reply within 0.05 s"), (False, "refused: {'code': 'stopped'}")],
    ids=["silent", "error"],
)
def test_a_card_without_a_decision_is_an_error(silent: bool, text: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.daemon.is_silent = silent
        stage.daemon.error = {"code": "stopped"}
        await stage.simulator.present("A")

    with pytest.raises(SimulatorError, match=text):
        play(scene)


def test_the_meter_is_read_while_a_car_is_there() -> None:
    async def scene(stage: Stage) -> None:
        reading = asyncio.create_task(stage.simulator.run())
        await stage.pace.run(stage.pace.sleep(5.5))
        await stage.simulator.plug()
        await stage.pace.run(stage.pace.sleep(3))
        reading.cancel()

    assert len(play(scene).daemon.facts("meter")) == 3


def test_at_its_end_nothing_is_plugged_broken_or_online() -> None:
    async def scene(stage: Stage) -> None:
        await stage.simulator.plug()
        await stage.daemon.transact(is_running=True)
        await stage.simulator.fail()
        await stage.simulator.end()

    stage = play(scene)

    assert set(stage.daemon.facts("state")[-1].values()) == {False}
    assert stage.daemon.facts("errors")[-1] == []
    assert stage.daemon.published[-1] == ("ocpp16/hardware/state", "", True)


def test_the_state_of_the_daemon_is_heard_after_all_that_is_retained() -> None:
    topics = play(Stage.nothing_happens).simulator.topics

    assert topics[-1] == "ocpp16/state"
    assert f"{FACTS}/meter" in topics
