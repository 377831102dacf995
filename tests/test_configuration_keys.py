"""Configuration keys: what a value may be, and which value holds (OCPP 1.6, 9; obligations 5.5, 8)."""

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp16_bridge.charge_point import FEATURES
from ocpp16_bridge.configuration_keys import (
    Access,
    BooleanKey,
    ConfigurationKey,
    ConfigurationKeys,
    DecimalKey,
    IntegerKey,
    ListKey,
    TextKey,
    custom_key,
    declared_keys,
)
from ocpp16_bridge.settings import CustomConfigurationKey, Settings
from ocpp16_bridge.store import Store
from ocpp16_bridge.turn import Turns

SETTINGS = Settings.model_validate(
    {"charge_point": {"id": "CP001", "vendor": "V", "model": "M"}, "csms": {"url": "ws://csms.example"}}
)

BOOLEAN = BooleanKey("Boolean", default=True)
INTEGER = IntegerKey("Integer", 7)
NARROW = IntegerKey("Narrow", 5, minimum=-3, maximum=10)
DECIMAL = DecimalKey("Decimal", Decimal("0.5"))
TEXT = TextKey("Text", "default")
SHORT = TextKey("Short", "abc", minimum_length=2, maximum_length=4)
LIST = ListKey("List", ("A", "B"), is_item=lambda item: item in {"A", "B", "C"}, maximum_items=2)
FREE_LIST = ListKey("FreeList", ())


# -- values


@pytest.mark.parametrize(
    ("key", "text", "value", "written"),
    [
        (BOOLEAN, "true", True, "true"),
        (BOOLEAN, "FALSE", False, "false"),
        (BOOLEAN, " True ", True, "true"),
        (INTEGER, "0", 0, "0"),
        (INTEGER, "-0", 0, "0"),
        (INTEGER, "007", 7, "7"),
        (INTEGER, " 42 ", 42, "42"),
        (INTEGER, "2147483647", 2**31 - 1, "2147483647"),
        (NARROW, "-3", -3, "-3"),
        (NARROW, "10", 10, "10"),
        (DECIMAL, "1", Decimal(1), "1"),
        (DECIMAL, " -0.25 ", Decimal("-0.25"), "-0.25"),
        (DECIMAL, "1.50", Decimal("1.50"), "1.50"),
        (DECIMAL, "0.0000001", Decimal("0.0000001"), "0.0000001"),
        (TEXT, "", "", ""),
        (TEXT, " blanks are text ", " blanks are text ", " blanks are text "),
        (TEXT, "x" * 500, "x" * 500, "x" * 500),
        (SHORT, "ab", "ab", "ab"),
        (SHORT, "äöüß", "äöüß", "äöüß"),
        (LIST, "", (), ""),
        (LIST, "  ", (), ""),
        (LIST, "C", ("C",), "C"),
        (LIST, " C , A ", ("C", "A"), "C,A"),
        (FREE_LIST, "one item,another", ("one item", "another"), "one item,another"),
    ],
)
def test_a_good_value_means_this_and_is_written_so(
    key: ConfigurationKey[Any], text: str, value: object, written: str
) -> None:
    """RO-27."""
    assert key.parse(text) == value
    assert key.text(key.parse(text)) == written
    assert key.parse(written) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *((BOOLEAN, text) for text in ("", "1", "0", "yes", "on", "tru e", "truetrue", "\uff34\uff32\uff35\uff25")),
        *((INTEGER, text) for text in ("", " ", "-", "+5", "1_000", "1 000", "1,000", "1.0", "1e3", "0x10", "--1")),
        *(
            (INTEGER, text)
            for text in ("\u0663", "\uff15", "²", "-1", "2147483648", "99999999999", "1" * 400, "5\n5", "NaN")
        ),
        *((NARROW, text) for text in ("-4", "11")),
        *(
            (DECIMAL, text)
            for text in ("", ".5", "5.", "+1", "1e3", "1,5", "\u0663", "NaN", "Infinity", "1" * 19, "--1")
        ),
        (TEXT, "x" * 501),
        *((SHORT, text) for text in ("", "a", "abcde")),
        *((LIST, text) for text in ("D", "a", "A,D", "A,A", "A, A", "A,", ",A", "A,,B", ",", "A;B", "A,B,C")),
        *((FREE_LIST, text) for text in ("a,", "a,a", ",", ",".join(map(str, range(101))))),
    ],
)
def test_a_bad_value_is_refused_with_what_was_expected(key: ConfigurationKey[Any], text: str) -> None:
    """RO-27; OCPP 1.6, 3.16.4: one bad item spoils the list."""
    with pytest.raises(ValueError, match=r"^expected "):
        key.parse(text)


@given(st.text())
@pytest.mark.parametrize(
    "key", [BOOLEAN, INTEGER, NARROW, DECIMAL, TEXT, SHORT, LIST, FREE_LIST], ids=lambda key: key.name
)
def test_whatever_is_taken_is_taken_again_as_it_is_written(key: ConfigurationKey[Any], text: str) -> None:
    try:
        value = key.parse(text)
    except ValueError:
        return
    assert key.parse(key.text(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**17), max_value=10**17, places=18))
def test_every_decimal_is_written_as_ocpp_reads_it(value: Decimal) -> None:
    assert DECIMAL.parse(DECIMAL.text(value)) == value


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (BOOLEAN, False, "false"),
        (BOOLEAN, "TRUE", "true"),
        (INTEGER, 60, "60"),
        (INTEGER, "60", "60"),
        (DECIMAL, 60, "60"),
        (DECIMAL, 0.1, "0.1"),
        (DECIMAL, 1e-7, "0.0000001"),
        (DECIMAL, 1e16, "10000000000000000"),
        (TEXT, 1, "1"),
        (LIST, ["A", "C"], "A,C"),
        (LIST, "A, C", "A,C"),
        (LIST, [], ""),
        (FREE_LIST, [1, 2], "1,2"),
    ],
)
def test_a_native_toml_value_is_this_text(key: ConfigurationKey[Any], value: object, text: str) -> None:
    assert key.text_from_toml(value) == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (BOOLEAN, 1),
        (INTEGER, 60.0),
        (INTEGER, True),
        (INTEGER, -1),
        (INTEGER, {"a": 1}),
        (DECIMAL, float("inf")),
        (DECIMAL, float("nan")),
        (DECIMAL, 1e300),
        (TEXT, None),
        (LIST, ["A", "D"]),
    ],
)
def test_a_toml_value_that_is_none_of_the_key_is_refused(key: ConfigurationKey[Any], value: object) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        key.text_from_toml(value)


# -- custom keys


@pytest.mark.parametrize(
    ("declared", "value", "means", "text"),
    [
        ("string", "https://example.com", "https://example.com", "https://example.com"),
        ("string", "", "", ""),
        ("integer", -(2**31), -(2**31), "-2147483648"),
        ("decimal", 0.25, Decimal("0.25"), "0.25"),
        ("decimal", 3, Decimal(3), "3"),
        ("boolean", False, False, "false"),
        ("csl", "a, b", ("a", "b"), "a,b"),
        ("csl", "", (), ""),
    ],
)
def test_a_custom_key_has_its_declared_type_and_value(declared: str, value: object, means: object, text: str) -> None:
    declaration = CustomConfigurationKey.model_validate({"type": declared, "value": value})

    key = custom_key("Mine", declaration)

    assert (key.name, key.access, key.default(SETTINGS)) == ("Mine", Access.READ_WRITE, means)
    assert key.text_from_toml(value) == text


def test_a_custom_key_may_be_read_only_for_the_csms() -> None:
    declaration = CustomConfigurationKey.model_validate({"type": "integer", "value": 1, "read_only": True})
    assert custom_key("Mine", declaration).access is Access.READ_ONLY


@pytest.mark.parametrize(("declared", "value"), [("integer", 2**31), ("decimal", 1e300), ("csl", "a,,b")])
def test_a_custom_key_with_an_impossible_value_is_refused(declared: str, value: object) -> None:
    declaration = CustomConfigurationKey.model_validate({"type": declared, "value": value})
    with pytest.raises(ValueError, match=r"^expected "):
        custom_key("Mine", declaration)


# -- which value holds


class Owner:
    """Declares keys as features do."""

    pace = IntegerKey("Pace", 7, maximum=100)
    name = TextKey("Name", lambda settings: settings.charge_point.id)
    items = ListKey("Items", lambda settings: [settings.charge_point.vendor, "B"])
    flag = BooleanKey("Flag", default=True)
    secret = TextKey("Secret", None, maximum_length=5, access=Access.WRITE_ONLY)
    constant = IntegerKey("Constant", 3, access=Access.READ_ONLY)

    def __init__(self, keys: ConfigurationKeys) -> None:
        self.configuration_keys = keys


class Heir(Owner):
    more = IntegerKey("More", 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path)) as one:
        yield one


def owner_on(store: Store) -> Owner:
    keys = ConfigurationKeys(store, SETTINGS)
    keys.declare(declared_keys(Owner))
    return Owner(keys)


@pytest.fixture
def owner(store: Store) -> Owner:
    return owner_on(store)


def test_a_key_reads_as_its_python_type_and_by_default_as_declared(owner: Owner) -> None:
    assert (owner.pace, owner.name, owner.items, owner.flag) == (7, "CP001", ("V", "B"), True)
    assert owner.secret is None
    assert owner.configuration_keys.text(Owner.secret) is None
    assert owner.configuration_keys.text(Owner.items) == "V,B"


def test_a_stored_value_holds_and_survives_a_restart(tmp_path: Path) -> None:
    """RO-28."""
    with closing(Store(tmp_path)) as store, Turns(store).turn():
        owner = owner_on(store)
        assert owner.pace == 7
        owner.configuration_keys.put(Owner.pace, 9)
        owner.configuration_keys.put(Owner.items, ())
        owner.configuration_keys.put(Owner.flag, False)
        assert (owner.pace, owner.items, owner.flag) == (9, (), False)

    with closing(Store(tmp_path)) as store:
        owner = owner_on(store)
        assert (owner.pace, owner.items, owner.flag) == (9, (), False)
        assert owner.configuration_keys.stored_text(Owner.flag) == "false"
        assert owner.configuration_keys.stored_text(Owner.name) is None


def test_the_default_holds_again_when_the_stored_value_is_forgotten(store: Store, owner: Owner) -> None:
    with Turns(store).turn():
        owner.configuration_keys.put(Owner.pace, 9)
        owner.configuration_keys.forget(Owner.pace)
    assert owner.pace == 7


def test_a_value_that_was_read_follows_a_turn_that_fails(store: Store, owner: Owner) -> None:
    def fail() -> None:
        with Turns(store).turn():
            owner.configuration_keys.put(Owner.pace, 9)
            assert owner.pace == 9
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert owner.pace == 7


def test_a_stored_value_outside_narrower_limits_gives_way_to_the_default_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store(tmp_path)) as store, Turns(store).turn():
        store.collection("configuration_key", str).put("Pace", "101")
        store.collection("configuration_key", str).put("Secret", "pass-word")

    with closing(Store(tmp_path)) as store:
        owner = owner_on(store)
        assert [owner.pace, owner.pace] == [7, 7]
        assert owner.secret is None

    pace, secret = caplog.messages
    assert pace.startswith("the stored value of Pace is no longer possible (expected an integer from 0 to 100)")
    assert "of Secret" in secret
    assert "pass-word" not in secret


@pytest.mark.parametrize("text", ["", "A"], ids=["an empty list", "a list"])
def test_what_hardware_or_file_decide_holds_over_the_store(store: Store, owner: Owner, text: str) -> None:
    with Turns(store).turn():
        owner.configuration_keys.put(Owner.items, ("stored",))

    owner.configuration_keys.fix(Owner.items, text)

    assert owner.configuration_keys.text(Owner.items) == text


def test_a_key_is_read_only_as_declared_or_when_it_is_fixed(owner: Owner) -> None:
    keys = owner.configuration_keys
    keys.fix(Owner.flag, "false")

    read_only = {key.name: keys.is_read_only(key) for key in keys}

    assert read_only == {
        "Constant": True,
        "Flag": True,
        "Items": False,
        "Name": False,
        "Pace": False,
        "Secret": False,
    }


@pytest.mark.parametrize("name", ["Pace", "PACE", "pace", "pAcE"])
def test_a_key_is_found_without_regard_to_case(owner: Owner, name: str) -> None:
    """RO-22."""
    assert owner.configuration_keys.find(name) is Owner.pace


def test_an_unknown_key_is_not_found(owner: Owner) -> None:
    assert owner.configuration_keys.find("Pace ") is None


def test_keys_are_listed_by_name(owner: Owner) -> None:
    names = [key.name for key in owner.configuration_keys]
    assert names == sorted(names)
    assert len(names) == len(owner.configuration_keys) == 6


def test_a_feature_has_the_keys_that_it_declares_and_those_it_inherits() -> None:
    names = {key.name for key in declared_keys(Heir)}
    assert names == {"More", "Pace", "Name", "Items", "Flag", "Secret", "Constant"}


def test_no_two_features_declare_the_same_key() -> None:
    names = [key.name.lower() for feature in FEATURES for key in declared_keys(feature)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "key", [key for feature in FEATURES for key in declared_keys(feature)], ids=lambda key: str(key.name)
)
def test_each_default_is_a_value_of_its_key(key: ConfigurationKey[Any]) -> None:
    """None and an empty text stand for none."""
    default = key.default(SETTINGS)
    assert default in (None, "") or key.parse(key.text(default)) == default
