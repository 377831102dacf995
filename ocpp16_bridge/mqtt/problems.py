"""What is wrong with a payload, in words: which argument, what was expected, what came."""

from collections.abc import Sized
from typing import Any

from pydantic import TypeAdapter, ValidationError

_LISTED = 5  # problems; the others are counted
_SHOWN = 60  # characters of a value
_CONCEALED = "value"  # may be an AuthorizationKey

# By pydantic's name of the problem; the braces take what pydantic says about the limit.
_OBJECT = "must be an object"
_INTEGER = "must be an integer"
_WORDS = {
    "missing": "required",
    "extra_forbidden": "there is no such argument",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": "must be a list",
    "string_type": "must be a string",
    "string_unicode": "must be Unicode text",
    "int_type": _INTEGER,
    "int_from_float": _INTEGER,
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have at most {max_length} items",
    "json_invalid": "must be JSON: {error}",
    "value_error": "{error}",
}
# What came is nothing, named by the text already, or all that is there.
_SAY_ALL = frozenset({"missing", "extra_forbidden", "json_invalid", "value_error"})
_SAY_LENGTH = frozenset({"string_too_short", "string_too_long", "too_short", "too_long"})
_ITEMS = {"string_type": " of strings", "int_type": " of integers"}


def describe(error: ValidationError, adapter: TypeAdapter[Any] | None = None) -> str:
    """All problems in one line; with the ``adapter`` that found them it also says what a list must hold."""
    items = error.errors(include_url=False)
    texts = [_problem(item, adapter) for item in items[:_LISTED]]
    if len(items) > _LISTED:
        texts.append(f"and {len(items) - _LISTED} more problems")
    return "; ".join(texts)


def shown(value: object) -> str:
    """A value in one short line; control characters are escaped."""
    if value is None or isinstance(value, bool | list | dict):
        return kind(value)
    return _shortened(repr(value))


def kind(value: object) -> str:
    """What JSON calls it; of `true`, `false` and `null` there is nothing else to say."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return "a list"
        case dict():
            return "an object"
        case str():
            return "a string"
    return "a number"


def _problem(item: Any, adapter: TypeAdapter[Any] | None) -> str:
    location: tuple[str | int, ...] = item["loc"]
    words = _WORDS.get(item["type"])
    text = _in_pydantics_words(item["msg"]) if words is None else words.format_map(item.get("ctx", {}))
    if item["type"] == "list_type" and adapter is not None:
        text += _items(adapter, location)
    if item["type"] not in _SAY_ALL:
        text += ", got " + _what_came(item, location)
    return f"{_place(location)}: {text}"


def _in_pydantics_words(message: str) -> str:
    """`Input should be a valid date` → `must be a valid date`."""
    _, should, rest = message.partition(" should ")
    return "must " + rest if should else message


def _place(location: tuple[str | int, ...]) -> str:
    """`connector_ids[0]`, `signed.value`."""
    place = "".join(f"[{part}]" if isinstance(part, int) else "." + legible(part) for part in location)
    return place.removeprefix(".") or "payload"


def legible(text: str) -> str:
    """A name that somebody else chose, as part of a line."""
    return _shortened(text if text.isprintable() else repr(text)[1:-1])


def _what_came(item: Any, location: tuple[str | int, ...]) -> str:
    value = item["input"]
    if item["type"] in _SAY_LENGTH and isinstance(value, Sized):
        return str(len(value))
    return kind(value) if _CONCEALED in location else shown(value)


def _items(adapter: TypeAdapter[Any], location: tuple[str | int, ...]) -> str:
    """What the list consists of: pydantic tells it only of a list with wrong items, so give it one."""
    try:
        adapter.validate_python({location[0]: [None]} if location else [None])
    except ValidationError as error:
        types = [item["type"] for item in error.errors() if item["loc"] == (*location, 0)]
        return _ITEMS.get(types[0], "") if types else ""
    return ""


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
