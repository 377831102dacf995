"""What is wrong with a payload, in words: which argument, what was expected, what came."""

from typing import Any

from pydantic import ValidationError

_SHOWN = 60  # characters of a value
_SECRET = frozenset({"value"})  # may be an AuthorizationKey


def describe(error: ValidationError) -> str:
    """All problems in one line."""
    return "; ".join(_problem(item) for item in error.errors(include_url=False, include_context=False))


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "payload"
    if item["type"] == "missing":
        return f"{where}: required"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such argument"
    return f"{where}: {_expectation(item['msg'])}, got {_shown(where, item['input'])}"


def _expectation(message: str) -> str:
    return (
        message.removeprefix("Value error, ")
        .removeprefix("Input ")
        .replace("should be", "must be")
        .replace("should have", "must have")
    )


def _shown(where: str, value: Any) -> str:
    if where.split(".")[0] in _SECRET:
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
