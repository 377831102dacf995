"""The first values of configuration keys that the configuration file gives (contract 5)."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ocpp16_bridge.configuration_file import Problem
from ocpp16_bridge.configuration_keys import ConfigurationKey, custom_key
from ocpp16_bridge.settings import Settings

# These say what the file says elsewhere.
_DERIVED = {"numberofconnectors": "[[connectors]]", "securityprofile": "csms.security_profile"}

Find = Callable[[str], ConfigurationKey[Any] | None]


class FirstValue(NamedTuple):
    """What the file says about a key."""

    name: str  # of the key
    text: str
    setting: str  # where it says so


def custom_keys(settings: Settings) -> list[ConfigurationKey[Any]]:
    """The keys of the tables `[custom_configuration_keys.*]`.

    Raises:
        ValueError: a value isn't one of its key; see `problems`.

    """
    return [custom_key(name, declaration) for name, declaration in settings.custom_configuration_keys.items()]


def first_values(settings: Settings, find: Find) -> Iterator[FirstValue]:
    """What the file gives, later ones over earlier ones; see `problems` for what it must not.

    Raises:
        ValueError: a value isn't one of its key.

    """
    for name, setting, value in _elsewhere(settings):
        if (key := find(name)) is not None:
            yield FirstValue(key.name, key.text_from_toml(value), setting)
    for name, declaration in settings.custom_configuration_keys.items():
        if (key := find(name)) is not None:
            yield FirstValue(key.name, key.text_from_toml(declaration.value), f"custom_configuration_keys.{name}")
    for name, value in settings.configuration_keys.items():
        if (key := find(name)) is not None:
            yield FirstValue(key.name, key.text_from_toml(value), f"configuration_keys.{name}")


def _elsewhere(settings: Settings) -> Iterator[tuple[str, str, object]]:
    """Settings that are first values of a key, where the file gives them."""
    csms = settings.csms
    if "call_timeout" in csms.model_fields_set:
        yield "MessageTimeout", "csms.call_timeout", csms.call_timeout
    if "security_profile" in csms.model_fields_set:
        yield "SecurityProfile", "csms.security_profile", csms.security_profile
    if csms.authorization_key.get_secret_value():
        yield "AuthorizationKey", "csms.authorization_key", csms.authorization_key.get_secret_value()


def problems(settings: Settings, declared: Iterable[ConfigurationKey[Any]]) -> Iterator[Problem]:
    """What is wrong with the first values that the file gives."""
    standard = {key.name.lower(): key for key in declared}
    yield from _custom_problems(settings, standard)
    yield from _repeated("configuration_keys", settings.configuration_keys)
    custom = {name.lower() for name in settings.custom_configuration_keys}
    for name, value in settings.configuration_keys.items():
        setting = f"configuration_keys.{name}"
        key = standard.get(name.lower())
        if name.lower() in _DERIVED:
            yield Problem("", setting, f"expected in {_DERIVED[name.lower()]}, not here", value)
        elif name.lower() in custom:
            yield Problem("", setting, f"expected in [custom_configuration_keys.{name}]", value)
        elif key is None:
            yield Problem("", setting, _unknown(name, standard), value)
        else:
            yield from _unfit(setting, value, partial(key.text_from_toml, value))
    for name, setting, value in _elsewhere(settings):
        if (key := standard.get(name.lower())) is not None:
            yield from _unfit(setting, value, partial(key.text_from_toml, value))


def _custom_problems(settings: Settings, standard: Mapping[str, ConfigurationKey[Any]]) -> Iterator[Problem]:
    yield from _repeated("custom_configuration_keys", settings.custom_configuration_keys)
    for name, declaration in settings.custom_configuration_keys.items():
        setting = f"custom_configuration_keys.{name}"
        if name.lower() in standard:
            yield Problem("", setting, "expected a name of your own, this is a key of OCPP")
        else:
            yield from _unfit(setting, declaration.value, partial(custom_key, name, declaration))


def _repeated(table: str, names: Iterable[str]) -> Iterator[Problem]:
    """TOML tells upper from lower case, the names of keys don't (RO-22)."""
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(name.lower(), name)
        if first != name:
            yield Problem("", f"{table}.{name}", f"expected once, it is the same key as {first}")


def _unfit(setting: str, value: object, use: Callable[[], object]) -> Iterator[Problem]:
    try:
        use()
    except ValueError as error:
        yield Problem("", setting, str(error), value)


def _unknown(name: str, standard: Mapping[str, ConfigurationKey[Any]]) -> str:
    nearest = difflib.get_close_matches(name.lower(), standard, n=1)
    question = f"; did you mean '{standard[nearest[0]].name}'?" if nearest else ""
    return f"there is no such configuration key{question}"
