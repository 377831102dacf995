"""The words in which a bad payload is refused."""

from typing import Annotated, Any, Literal

import pytest
from ocpp.v16.enums import AvailabilityType
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

from ocpp16_bridge.mqtt.model import Arguments, from_json
from ocpp16_bridge.mqtt.problems import describe, legible, shown


class Signed(BaseModel):
    value: str


class Everything(Arguments):
    keys: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=3)]], Field(min_length=1, max_length=4)] | None
    ) = None
    connector_ids: list[Annotated[int, Field(ge=0, le=5)]] | None = None
    groups: list[bool] | None = None
    anything: list[Any] | None = None
    limit: Annotated[float, Field(gt=0, lt=100)] | None = None
    critical: bool | None = None
    unit: Literal["A", "W"] = "A"
    type: Annotated[AvailabilityType, Field(strict=False)] = AvailabilityType.operative
    value: Annotated[str, Field(max_length=5)] = ""
    signed: Signed | None = None
    timestamp: str | None = None
    shape: Annotated[str, Field(pattern="^x$")] = "x"

    @field_validator("timestamp")
    @classmethod
    def _never(cls, timestamp: str | None) -> str | None:
        raise ValueError(f"{timestamp!r} is no timestamp")


class Needy(Arguments):
    connector_id: int


def problems(payload: object, model: type[BaseModel] = Everything) -> str:
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(payload)
    return describe(caught.value, adapter)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"keys": "abc"}, "keys: must be a list of strings, got 'abc'"),
        ({"connector_ids": {}}, "connector_ids: must be a list of integers, got an object"),
        ({"groups": 1}, "groups: must be a list, got 1"),
        ({"anything": 1}, "anything: must be a list, got 1"),
        ({"keys": ["a", "b", "c", 3]}, "keys[3]: must be a string, got 3"),
        ({"keys": [None]}, "keys[0]: must be a string, got null"),
        ({"keys": [""]}, "keys[0]: must have 1 or more characters, got 0"),
        ({"keys": ["abcd"]}, "keys[0]: must have at most 3 characters, got 4"),
        ({"keys": []}, "keys: must have 1 or more items, got 0"),
        ({"keys": ["a"] * 6}, "keys: must have at most 4 items, got 6"),
        ({"keys": ["\ud800"]}, r"keys[0]: must be Unicode text, got '\ud800'"),
        ({"connector_ids": [1.5]}, "connector_ids[0]: must be an integer, got 1.5"),
        ({"connector_ids": [True]}, "connector_ids[0]: must be an integer, got true"),
        ({"connector_ids": [-1]}, "connector_ids[0]: must be at least 0, got -1"),
        ({"connector_ids": [6]}, "connector_ids[0]: must be at most 5, got 6"),
        ({"limit": "6"}, "limit: must be a number, got '6'"),
        ({"limit": float("inf")}, "limit: must be a finite number, got inf"),
        ({"limit": 0}, "limit: must be more than 0.0, got 0"),
        ({"limit": 100}, "limit: must be less than 100.0, got 100"),
        ({"critical": "yes"}, "critical: must be true or false, got 'yes'"),
        ({"unit": "kW"}, "unit: must be 'A' or 'W', got 'kW'"),
        ({"type": "Broken"}, "type: must be 'Inoperative' or 'Operative', got 'Broken'"),
        ({"signed": []}, "signed: must be an object, got a list"),
        ({"timestamp": "noon"}, "timestamp: 'noon' is no timestamp"),
        ({"shape": "y"}, "shape: must match pattern '^x$', got 'y'"),
        ({"nonsense": 1}, "nonsense: there is no such argument"),
        ({"a\nb": 1}, r"a\nb: there is no such argument"),
        ({"x" * 100: 1}, f"{'x' * 60}…: there is no such argument"),
        ("text", "payload: must be an object, got 'text'"),
    ],
    ids=str,
)
def test_text_says_which_argument_what_was_expected_and_what_came(payload: object, text: str) -> None:
    """Contract 3: `keys: must be a list of strings`."""
    assert problems(payload) == text


def test_missing_argument_is_named() -> None:
    assert problems({}, Needy) == "connector_id: required"


def test_list_that_is_the_whole_payload() -> None:
    adapter: TypeAdapter[list[str]] = TypeAdapter(list[str])
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(1)

    assert describe(caught.value, adapter) == "payload: must be a list of strings, got 1"


def test_without_what_found_it_a_list_is_just_a_list() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[str]).validate_python(1)

    assert describe(caught.value) == "payload: must be a list, got 1"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"value": 1234567}, "value: must be a string, got a number"),
        ({"value": "geheim"}, "value: must have at most 5 characters, got 6"),
        ({"value": "\ud800"}, "value: must be Unicode text, got a string"),
        ({"value": ["geheim"]}, "value: must be a string, got a list"),
        ({"signed": {"value": 1234567}}, "signed.value: must be a string, got a number"),
    ],
    ids=str,
)
def test_what_may_be_an_authorization_key_is_never_shown(payload: object, text: str) -> None:
    """SE-13."""
    assert problems(payload) == text


def test_several_problems_stand_in_one_line() -> None:
    assert problems({"limit": "x", "unit": 1}) == "limit: must be a number, got 'x'; unit: must be 'A' or 'W', got 1"


def test_many_problems_are_counted() -> None:
    text = problems({f"argument{number}": 1 for number in range(1000)})

    assert text.startswith("argument0: there is no such argument; ")
    assert text.endswith("; and 995 more problems")


def test_bad_json_is_not_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Needy).validate_json(b'{"secret"')

    assert describe(caught.value) == "payload: must be JSON: EOF while parsing an object at line 1 column 9"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        ([[]], "a list"),
        ({"a": 1}, "an object"),
        ("Müller", "'Müller'"),
        ("a\x1b[2J\n", r"'a\x1b[2J\n'"),
        ("x" * 1000, "'" + "x" * 59 + "…"),
    ],
)
def test_value_is_shown_in_one_short_line(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(("name", "text"), [("Größe", "Größe"), ("a\x00b", r"a\x00b"), ("x" * 61, "x" * 60 + "…")])
def test_name_of_somebody_else_is_made_legible(name: str, text: str) -> None:
    assert legible(name) == text


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"{'a':1}", "Expecting property name"),
        (b'{"a":NaN}', "NaN is no JSON"),
        (b'{"a":-Infinity}', "-Infinity is no JSON"),
        (b"\xff{}", "can't decode byte 0xff"),
        (b"\xef\xbb\xbf{}", "Expecting value"),
        ("{}".encode("utf-16-le"), "Expecting property name"),
        (b'"\xed\xa0\x80"', "can't decode byte 0xed"),
        (b"[" * 60000, "nested too deeply"),
        (b"1" * 5000, "an integer has more than 1000 digits"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_only_json_in_utf8_is_read(payload: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        from_json(payload)


def test_last_of_several_members_of_one_name_holds() -> None:
    assert from_json(b'{"a":1,"a":2}') == {"a": 2}
