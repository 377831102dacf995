"""The marks that make a method of a feature the handler of something, and the search for them.

A mark is the whole declaration: the name comes from the method or its request type, the shape from the annotation.
"""

import inspect
import typing
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])

_MARKS = "__ocpp16_bridge_marks__"


@dataclass(frozen=True)
class OnCall:
    """A CALL of the CSMS: ``(self, request: call.X) -> call_result.X``, or the same ``async``."""


@dataclass(frozen=True)
class OnResult:
    """The end of a queued CALL: ``(self, request: call.X, outcome: Outcome, about: str) -> None``."""


@dataclass(frozen=True)
class Command:
    """An MQTT request: ``(self, request: Model) -> data``, or the same ``async``; named like the method."""

    reads: bool  # changes nothing: a duplicate is simply carried out again


@dataclass(frozen=True)
class OnHardware:
    """A hardware input on ``BASE/hardware/<topic>``: ``(self, fact: Model, *levels of the wildcards)``."""

    topic: str


@dataclass(frozen=True)
class OnChange:
    """A configuration key was set, by whomever: ``(self, former_value) -> None``."""

    key: str


@dataclass(frozen=True)
class BeforeChange:
    """May a configuration key take this value? ``(self, value) -> bool``."""

    key: str


@dataclass(frozen=True)
class OnTrigger:
    """TriggerMessage asks for ``message``: ``(self, connector_id | None) -> bool``, False where it isn't sent."""

    message: str


Mark = OnCall | OnResult | Command | OnHardware | OnChange | BeforeChange | OnTrigger


def on_call(method: Method) -> Method:
    return _marked(OnCall(), method)


def on_result(method: Method) -> Method:
    return _marked(OnResult(), method)


def command(*, reads: bool = False) -> Callable[[Method], Method]:
    return lambda method: _marked(Command(reads), method)


def on_hardware(topic: str) -> Callable[[Method], Method]:
    return lambda method: _marked(OnHardware(topic), method)


def on_trigger(message: str) -> Callable[[Method], Method]:
    return lambda method: _marked(OnTrigger(message), method)


def on_change(key: str) -> Callable[[Method], Method]:
    return lambda method: _marked(OnChange(key), method)


def before_change(key: str) -> Callable[[Method], Method]:
    return lambda method: _marked(BeforeChange(key), method)


MarkType = TypeVar("MarkType", OnCall, OnResult, Command, OnHardware, OnChange, BeforeChange, OnTrigger)


@dataclass(frozen=True)
class Handler:
    """A marked method, bound to its feature."""

    name: str
    method: Callable[..., Any]
    request: Any  # the type of the first argument after self, None where there is none
    is_async: bool


def handlers(owner: object, mark_type: type[MarkType]) -> Iterator[tuple[MarkType, Handler]]:
    """The handlers of ``owner`` that bear a mark of this type, in the order of their names."""
    for name, function in _marked_functions(cast("Hashable", type(owner))):
        for mark in getattr(function, _MARKS):
            if isinstance(mark, mark_type):
                method = getattr(owner, name)
                yield mark, Handler(name, method, _request_type(function), inspect.iscoroutinefunction(function))


@cache
def _marked_functions(owner_type: Any) -> tuple[tuple[str, FunctionType], ...]:
    """The marked methods of a class by name; one that is overridden counts as it is there."""
    members = {name: value for base in reversed(owner_type.__mro__) for name, value in vars(base).items()}
    found = [(name, value) for name, value in members.items() if isinstance(value, FunctionType)]
    return tuple(sorted((name, value) for name, value in found if hasattr(value, _MARKS)))


def _marked(mark: Mark, method: Method) -> Method:
    """``method`` with one more mark: it may react to several keys."""
    setattr(method, _MARKS, (mark, *getattr(method, _MARKS, ())))
    return method


def _request_type(function: FunctionType) -> Any:
    """The type of the first argument after self. Annotations that are texts have to be evaluated, which is slow."""
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    if len(parameters) <= 1:
        return None
    annotation = function.__annotations__[parameters[1]]
    return typing.get_type_hints(function)[parameters[1]] if isinstance(annotation, str) else annotation
