"""The story with fakes: each step that does not come true is named."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ocpp16_bridge.demo.books import Books
from ocpp16_bridge.demo.happenings import (
    DaemonEnded,
    DemoError,
    Happening,
    Happenings,
    Link,
    MqttMessage,
    OcppMessage,
)
from ocpp16_bridge.demo.story import ID_TAG, KEY, LIMIT, NEW_VALUE, SOME_ENERGY, STORY, Stage, Step, tell
from ocpp16_bridge.simulator.simulator import SimulatorError
from tests.demo.test_books import whole_books

CHANGED = {"key": KEY, "read_only": False, "value": NEW_VALUE}
BOOTED = (
    OcppMessage("charge point", "BootNotification", {}),
    OcppMessage("charge point", "StatusNotification", {"connectorId": 1}),
)


def shown(topic: str, payload: Any = None) -> MqttMessage:
    return MqttMessage(topic, payload, is_retained=True)


def said(action: str, **payload: Any) -> OcppMessage:
    return OcppMessage("charge point", action, payload)


def status(name: str) -> OcppMessage:
    return said("StatusNotification", connectorId=1, status=name)


# What must happen in each step, in the order of the story.
HAPPENINGS: tuple[tuple[Happening, ...], ...] = (
    BOOTED,
    (
        shown("info"),
        shown("boot_notification_response"),
        shown("is_connected", payload=True),
        shown("state", "online"),
    ),
    (shown(f"configuration_key/{KEY}"),),
    (shown("configuration_key", CHANGED), shown(f"configuration_key/{KEY}", CHANGED)),
    (),
    (shown("hardware/response/data_transfer"),),
    (shown("is_connected", payload=False), Link(is_open=False, close_code=1000)),
    (*BOOTED, shown("is_connected", payload=True), shown(f"configuration_key/{KEY}")),
    (
        shown("event/reset", {"type": "Soft"}),
        DaemonEnded(0),
        *BOOTED,
        shown("state", "online"),
        shown(f"configuration_key/{KEY}"),
    ),
    (),
    (status("Preparing"),),
    (
        said("Authorize", idTag=ID_TAG),
        shown("connector/1/charging_permitted", payload=True),
        said("StartTransaction", connectorId=1, idTag=ID_TAG),
        status("Charging"),
    ),
    (said("MeterValues", connectorId=1), shown("connector/1/transaction", {"energy_wh": SOME_ENERGY})),
    (shown("connector/1/limit", {"limit": LIMIT}), said("MeterValues", connectorId=1)),
    (status("SuspendedEV"), status("Charging")),
    (
        shown("connector/1/charging_permitted", payload=False),
        status("Finishing"),
        said("StopTransaction", idTag=ID_TAG, reason="Local"),
    ),
    (status("Available"),),
    (status("Faulted"), status("Available")),
    (shown("is_connected", payload=False),),
    (
        shown("connector/1/charging_permitted", payload=True),
        shown("connector/1/transaction", {"energy_wh": SOME_ENERGY}),
        shown("connector/1/charging_permitted", payload=False),
        shown("event/transaction", {"event": "ended"}),
    ),
    (Link(is_open=True), said("StartTransaction", idTag=ID_TAG), said("StopTransaction", idTag=ID_TAG)),
    (),
    (),
)
# What the card does in those steps in which it is held before the reader.
CARDS = {11: ("start",), 15: ("stop",), 19: ("start", "stop")}
BACK, BOOKS = 20, 21


class FakeCsms:
    def __init__(self, answer: dict[str, Any], books: Books | None = None) -> None:
        self._answer = answer
        self.books = whole_books() if books is None else books

    async def call(self, action: str, **payload: Any) -> dict[str, Any]:
        del action, payload
        return self._answer

    async def leave(self) -> None:
        pass

    async def come_back(self) -> None:
        pass


class FakeEvse:
    """Its card does what is asked of it, as often as is given."""

    def __init__(self, *actions: str) -> None:
        self.actions = list(actions)

    async def present(self, id_tag: str) -> dict[str, Any]:
        if not self.actions:
            raise SimulatorError(f"nobody decides about {id_tag}")
        return {"action": self.actions.pop(0)}

    async def _happens(self) -> None:
        pass

    plug = unplug = pause = go_on = fail = recover = _happens


class FakeProgram:
    """Gives the replies of the real one; True and Accepted at once."""

    def __init__(self, *, refuses: bool = False) -> None:
        self._refuses = refuses

    async def subscribe(self) -> None:
        pass

    async def request(self, command: str, **arguments: Any) -> Any:
        del arguments
        return {"status": "Offline"} if self._refuses else {"data_transfer": {"status": "Accepted"}}.get(command, True)


async def play(
    number: int,
    happenings: tuple[Happening, ...],
    csms: FakeCsms,
    program: FakeProgram,
    within: float = 0.1,
    evse: FakeEvse | None = None,
) -> list[str]:
    """Tell one step of the story while ``happenings`` come; what is said."""
    evse = FakeEvse(*CARDS.get(number, ())) if evse is None else evse
    stage = Stage(csms, program, evse, Happenings(lambda _: None))
    said: list[str] = []

    async def act() -> None:
        for happening in happenings:
            stage.happenings.add(happening)
            await asyncio.sleep(0.001)  # one after the other, as in life

    async with asyncio.TaskGroup() as group:
        telling = group.create_task(tell([STORY[number]], stage, said.append, within))
        await asyncio.sleep(0)
        acting = group.create_task(act())
        await telling
        acting.cancel()
    return said


def failure(work: Coroutine[Any, Any, object]) -> str:
    with pytest.raises((DemoError, ExceptionGroup)) as caught:
        asyncio.run(work)
    error = caught.value
    return str(error.exceptions[0] if isinstance(error, ExceptionGroup) else error)


@pytest.mark.parametrize("number", range(len(STORY)), ids=[step.title for step in STORY])
def test_a_step_is_done_when_everything_has_happened(number: int) -> None:
    said = asyncio.run(
        play(number, HAPPENINGS[number], FakeCsms({"status": "Accepted"}), FakeProgram(), within=5),
    )

    assert said == [f"\n1. {STORY[number].title}"]


@pytest.mark.parametrize(
    ("number", "missing"),
    [(number, missing) for number, happenings in enumerate(HAPPENINGS) for missing in range(len(happenings))],
)
def test_a_step_is_not_done_while_something_is_missing(number: int, missing: int) -> None:
    happenings = HAPPENINGS[number][:missing]

    text = failure(play(number, happenings, FakeCsms({"status": "Accepted"}), FakeProgram()))

    assert text.startswith("step 1 is not done within 0.1 s, it waits for: ")


@pytest.mark.parametrize(
    "number", [3, 5, 8, 9, 13], ids=["ChangeConfiguration", "DataTransfer", "Reset", "sampling", "limit"]
)
def test_a_step_fails_where_the_charge_point_refuses(number: int) -> None:
    text = failure(play(number, HAPPENINGS[number], FakeCsms({"status": "Rejected"}), FakeProgram()))

    assert text.startswith("step 1 failed: the answer to ")
    assert "Rejected" in text


@pytest.mark.parametrize("number", [4, 6, 7], ids=["data_transfer", "stop", "restart"])
def test_a_step_fails_where_a_request_is_answered_otherwise(number: int) -> None:
    text = failure(play(number, HAPPENINGS[number], FakeCsms({}), FakeProgram(refuses=True)))

    assert text.startswith("step 1 failed: the reply to ")
    assert "Offline" in text


@pytest.mark.parametrize("number", CARDS, ids=["start", "stop", "offline"])
@pytest.mark.parametrize(
    ("evse", "text"),
    [(FakeEvse("none"), "what the card does: expected "), (FakeEvse(), "nobody decides about DE-EXAMPLE-1")],
    ids=["refused", "no reply"],
)
def test_a_step_fails_where_the_card_does_otherwise(number: int, evse: FakeEvse, text: str) -> None:
    failed = failure(play(number, HAPPENINGS[number], FakeCsms({}), FakeProgram(), evse=FakeEvse(*evse.actions)))

    assert failed.startswith("step 1 failed: ")
    assert text in failed


def test_what_happened_offline_bears_its_own_time() -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    text = failure(play(BACK, HAPPENINGS[BACK], FakeCsms({}, whole_books(tomorrow)), FakeProgram()))

    assert "happened before the CSMS was back: expected True, got False" in text


def test_books_with_a_gap_fail() -> None:
    text = failure(play(BOOKS, (), FakeCsms({}, Books()), FakeProgram()))

    assert text == (
        "step 1 failed: missing: Preparing, StartTransaction, Charging, MeterValues, SuspendedEV, Charging, "
        "StopTransaction, Finishing, Available, Faulted, Available, StartTransaction, StopTransaction; "
        "there was: nothing"
    )


def test_what_happened_before_a_step_does_not_count() -> None:
    happenings = Happenings(lambda _: None)
    stage = Stage(FakeCsms({}), FakeProgram(), FakeEvse(), happenings)
    happenings.add(shown("state", "online"))

    text = failure(tell([Step("Go online.", lambda it: it.shown("state"))], stage, print, 0.05))

    assert text == "step 1 is not done within 0.05 s, it waits for: state"


def test_a_failed_step_ends_the_story() -> None:
    said: list[str] = []
    stage = Stage(FakeCsms({}), FakeProgram(), FakeEvse(), Happenings(lambda _: None))

    async def fail(_stage: Stage) -> None:
        raise DemoError("no")

    text = failure(tell([Step("First.", fail), Step("Second.", fail)], stage, said.append))

    assert text == "step 1 failed: no"
    assert said == ["\n1. First."]


def test_everything_that_happens_is_shown_in_order() -> None:
    seen: list[Happening] = []
    add: Callable[[Happening], None] = Happenings(seen.append).add

    for happening in BOOTED:
        add(happening)

    assert seen == list(BOOTED)
