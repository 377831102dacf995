"""What of an OCPP message may be shown: in logs, on topics, in diagnostics (SE-13, DG-06)."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ocpp16_bridge.csms import ocppj

HIDDEN = "***"
# A location may have been written by hand: a password with a slash in it must not be shown, so rather hide too much.
_ANYTHING_BEFORE_AT = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
_URL_FIELDS = frozenset({"location", "remotelocation"})


@dataclass
class Frame:
    """A frame that went over the wire. Hiding its secrets costs something, and is done when somebody looks."""

    message: ocppj.Call | ocppj.CallResult | ocppj.CallError
    text: str  # as on the wire, with its secrets

    @cached_property
    def shown(self) -> list[Any]:
        return redacted(self.message)


def redacted(message: ocppj.Call | ocppj.CallResult | ocppj.CallError) -> list[Any]:
    """The frame as a list, its secrets replaced by `***`.

    They are found in whatever stands around them: a CALL that is to be refused is shown, too.
    """
    match message:
        case ocppj.Call(message_id, action, payload):
            return [2, message_id, action, _shown(payload)]
        case ocppj.CallResult(message_id, payload):
            return [3, message_id, _shown(payload)]
        case ocppj.CallError(message_id, code, description, details):
            return [4, message_id, code, description, _shown(details)]


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if not isinstance(value, dict):
        return value
    if any(_is(name, "key") and _is(item, "authorizationkey") for name, item in value.items()):
        return {name: HIDDEN if _is(name, "value") else _shown(item) for name, item in value.items()}
    return {name: _location(item) if name.lower() in _URL_FIELDS else _shown(item) for name, item in value.items()}


def _location(value: Any) -> Any:
    return _ANYTHING_BEFORE_AT.sub(rf"\1{HIDDEN}@", value) if isinstance(value, str) else _shown(value)


def _is(value: Any, word: str) -> bool:
    return isinstance(value, str) and value.strip().lower() == word
