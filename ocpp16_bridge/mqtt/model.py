"""Shapes of what travels over MQTT."""

import json
from typing import Any, Never

from pydantic import BaseModel, ConfigDict

MAX_DIGITS = 1000  # of an integer; Python refuses more than some thousands, in words about itself


# Validators are built at their first use, not at import: the daemon starts sooner.


class Model(BaseModel):
    """What the daemon publishes; members that are None are left out."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Arguments(BaseModel):
    """What a request holds: JSON types are taken as they are, unknown arguments refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Fact(BaseModel):
    """What the hardware says: JSON types are taken as they are, members we don't know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False, defer_build=True)


def _read_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _refuse_constant(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


_decode = json.JSONDecoder(parse_int=_read_integer, parse_constant=_refuse_constant).decode


def from_json(payload: bytes) -> Any:
    """What ``payload`` says: JSON in UTF-8, without the NaN and Infinity that Python would take.

    Raises:
        ValueError: it is something else, or nested too deeply; the text says where.

    """
    try:
        return _decode(payload.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
