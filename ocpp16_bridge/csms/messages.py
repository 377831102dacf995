"""The ocpp library's dataclasses, and the payloads they stand for.

Only the outermost names are translated: nested objects stay dicts with the camelCase names of OCPP.
"""

from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Message = TypeVar("Message", bound="DataclassInstance")


def camel(name: str) -> str:
    """The wire's name of a field: ``id_tag_info`` is ``idTagInfo``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def to_payload(message: "DataclassInstance") -> dict[str, Any]:
    """A payload without the fields that are None: optional fields are left out, never null (GD-06)."""
    names = _names(type(message))
    return {key: value for name, key in names if (value := getattr(message, name)) is not None}


def from_payload(message_type: type[Message], payload: dict[str, Any]) -> Message:
    """The message that a validated payload holds; what it leaves out is None or the field's own default."""
    values = {name: payload[key] for name, key in _names(message_type) if key in payload}
    return message_type(**{**_without_default(message_type), **values})


@cache
def _without_default(message_type: type["DataclassInstance"]) -> dict[str, None]:
    """The library gives some optional fields no default: SecurityEventNotification.tech_info and others."""
    required = [
        field for field in fields(message_type) if field.default is MISSING and field.default_factory is MISSING
    ]
    return {field.name: None for field in required}


@cache
def _names(message_type: type["DataclassInstance"]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, camel(field.name)) for field in fields(message_type))
