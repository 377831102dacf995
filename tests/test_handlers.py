"""A mark on a method is the whole declaration of a handler."""

from dataclasses import dataclass

import pytest

from ocpp16_bridge import handlers
from ocpp16_bridge.handlers import (
    BeforeChange,
    Command,
    OnCall,
    OnChange,
    OnHardware,
    OnResult,
    before_change,
    command,
    on_call,
    on_change,
    on_hardware,
    on_result,
)


@dataclass
class Request:
    text: str


class Fact:
    pass


class Owner:
    """One handler of each kind, and a method that is none."""

    @on_call
    def reset(self, request: Request) -> str:
        return request.text

    @on_call
    async def asks_hardware(self, request: "Request") -> None: ...

    @on_result
    def answered(self, request: Request, outcome: object, about: str) -> None: ...

    @command()
    def stop(self) -> bool:
        return True

    @command(reads=True)
    async def get(self, request: Request) -> str:
        return request.text

    @on_hardware("connector/+/state")
    def state(self, fact: Fact, connector: str) -> None: ...

    @on_change("B")
    @on_change("A")
    def changed(self, former: int) -> None: ...

    @before_change("A")
    def may_change(self, value: int) -> bool:
        return value > 0

    def unmarked(self) -> None: ...

    @property
    def is_not_touched(self) -> None:
        raise AssertionError


class Heir(Owner):
    def stop(self) -> bool:
        return False

    @command()
    def additional(self, request: Request) -> None: ...


def found(owner: object, mark_type: type[handlers.MarkType]) -> list[tuple[object, str, object, bool]]:
    return [(mark, h.name, h.request, h.is_async) for mark, h in handlers.handlers(owner, mark_type)]


@pytest.mark.parametrize(
    ("mark_type", "expected"),
    [
        (OnCall, [(OnCall(), "asks_hardware", Request, True), (OnCall(), "reset", Request, False)]),
        (OnResult, [(OnResult(), "answered", Request, False)]),
        (Command, [(Command(reads=True), "get", Request, True), (Command(reads=False), "stop", None, False)]),
        (OnHardware, [(OnHardware("connector/+/state"), "state", Fact, False)]),
        (OnChange, [(OnChange("B"), "changed", int, False), (OnChange("A"), "changed", int, False)]),
        (BeforeChange, [(BeforeChange("A"), "may_change", int, False)]),
    ],
)
def test_the_handlers_of_a_kind_are_found_by_their_marks(
    mark_type: type[OnCall], expected: list[tuple[object, str, object, bool]]
) -> None:
    assert found(Owner(), mark_type) == expected


def test_a_handler_is_bound_to_its_owner() -> None:
    methods = {handler.name: handler.method for _, handler in handlers.handlers(Owner(), OnCall)}
    assert methods["reset"](Request("Hard")) == "Hard"


def test_a_marked_method_is_called_directly_as_ever() -> None:
    assert Owner().stop()
    assert Owner().may_change(1)


def test_marks_are_inherited_but_not_by_a_method_in_the_place_of_a_marked_one() -> None:
    assert [name for _, name, _, _ in found(Heir(), Command)] == ["additional", "get"]
