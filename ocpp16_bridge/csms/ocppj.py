"""OCPP-J frames: text to CALL, CALLRESULT and CALLERROR, and back (OCPP-J 1.6, 4). No I/O, no knowledge of actions."""

import json
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Never

from ocpp16_bridge.csms.schemas import (
    ErrorCode,
    InvalidError,
    validate_call,
    validate_own_call,
    validate_own_result,
    validate_result,
)

__all__ = [
    "BrokenAnswerError",
    "BrokenCallError",
    "Call",
    "CallError",
    "CallResult",
    "ErrorCode",
    "InvalidError",
    "UnusableError",
    "dump",
    "parse",
    "validate_call",
    "validate_own_call",
    "validate_own_result",
    "validate_result",
]

LONGEST_MESSAGE_ID = 36
LONGEST_DESCRIPTION = 255
_LARGEST_EXPONENT = 300  # as far as a double goes; an int of 10**999999 would take all memory


class Call(NamedTuple):
    message_id: str
    action: str
    payload: dict[str, Any]


class CallResult(NamedTuple):
    message_id: str
    payload: dict[str, Any]


class CallError(NamedTuple):
    message_id: str
    code: str  # an ErrorCode when sent; anything when received
    description: str
    details: dict[str, Any]


class UnusableError(Exception):
    """There is nothing to answer (TR-24, TR-25). ``kind`` says why, for counters."""

    def __init__(self, kind: Literal["not_json", "not_an_array", "message_type", "message_id"]) -> None:
        super().__init__(kind)
        self.kind = kind


class BrokenCallError(Exception):
    """A CALL that can be answered, by a CALLERROR with these values, but not understood (TR-26)."""

    code = ErrorCode.FORMATION_VIOLATION

    def __init__(self, message_id: str, description: str) -> None:
        super().__init__(description)
        self.message_id = message_id
        self.description = description


class BrokenAnswerError(Exception):
    """The CALLRESULT or CALLERROR for ``message_id`` came, but says nothing: the CALL has failed (TR-29)."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"the answer to {message_id[:LONGEST_MESSAGE_ID]!r} has a broken shape")
        self.message_id = message_id


def parse(text: str) -> Call | CallResult | CallError:
    """What a frame says. A payload of null reads as {} (TR-20), 3.0 as the int 3, and 3.1 as a Decimal.

    Raises:
        UnusableError: nothing to answer.
        BrokenCallError: to be answered by a CALLERROR.
        BrokenAnswerError: the CALL with that id has failed.

    """
    match _array(text):
        case [2, str(message_id), *rest]:
            return _call(message_id, rest)
        case [3, str(message_id), *rest]:
            return _call_result(message_id, rest)
        case [4, str(message_id), *rest]:
            return _call_error(message_id, rest)
        case [2 | 3 | 4, *_]:
            raise UnusableError("message_id")
        case _:
            raise UnusableError("message_type")


def dump(message: Call | CallResult | CallError) -> str:
    """The frame's text. A description is cut to 255 characters.

    A Decimal becomes a number without exponent, as long as it has at most four fraction digits and 15 digits in all.
    """
    match message:
        case Call():
            return _encode([2, *message])
        case CallResult():
            return _encode([3, *message])
        case CallError(message_id, code, description, details):
            return _encode([4, message_id, code, description[:LONGEST_DESCRIPTION], details])


def _array(text: str) -> list[Any]:
    try:
        array = _decode(text)
        if "\\u" in text or not text.isascii():
            _encode(array).encode()  # a lone surrogate could be neither stored nor sent
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UnusableError("not_json") from error
    if not isinstance(array, list):
        raise UnusableError("not_an_array")
    return array


def _call(message_id: str, rest: list[Any]) -> Call:
    if len(message_id) > LONGEST_MESSAGE_ID:
        raise BrokenCallError(message_id, f"message id of {len(message_id)} characters, at most {LONGEST_MESSAGE_ID}")
    match rest:
        case [str(action), dict() | None as payload]:
            return Call(message_id, action, payload or {})
        case _:
            raise BrokenCallError(message_id, 'a CALL is [2, "id", "action", {payload}]')


def _call_result(message_id: str, rest: list[Any]) -> CallResult:
    match rest:
        case [dict() | None as payload]:
            return CallResult(message_id, payload or {})
        case _:
            raise BrokenAnswerError(message_id)


def _call_error(message_id: str, rest: list[Any]) -> CallError:
    """The code matters most: without a proper description or details it still counts."""
    padded: list[Any] = [*rest, None, None, None]
    code, description, details, *_ = padded
    if not isinstance(code, str):
        raise BrokenAnswerError(message_id)
    if code == "OccurrenceConstraintViolation":  # the correct spelling is common, too (OCPP-J errata 5.1)
        code = ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION
    return CallError(
        message_id,
        code,
        description if isinstance(description, str) else "",
        details if isinstance(details, dict) else {},
    )


def _read_number(text: str) -> int | Decimal:
    """A JSON number with fraction or exponent, exactly (GD-07).

    Whole ones become int: early schemas called some integers "number", so there are CSMSs that send 300.0 (TR-29).
    """
    number = Decimal(text)
    if number.adjusted() > _LARGEST_EXPONENT:
        raise ValueError("number out of range")
    whole = int(number)
    return whole if whole == number else number


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _write_number(value: object) -> int | float:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return int(value) if value == value.to_integral_value() else float(value)


_decode = json.JSONDecoder(parse_float=_read_number, parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_write_number).encode
