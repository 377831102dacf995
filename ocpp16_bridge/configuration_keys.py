"""OCPP configuration keys: each declared once, as a class attribute of the feature that obeys it (OCPP 1.6, 9).

A key reads as its Python type: ``heartbeat_interval = IntegerKey("HeartbeatInterval", 300, minimum=1)`` makes
``self.heartbeat_interval`` an int. On the wire and in the store a value is text.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar, overload

from ocpp16_bridge.settings import CustomConfigurationKey, Settings
from ocpp16_bridge.store import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_VALUE_LENGTH = 500  # characters (OCPP 1.6, 7.29)
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


class Access(Enum):
    """What the CSMS may do with a key."""

    READ_WRITE = "RW"
    READ_ONLY = "R"
    WRITE_ONLY = "W"


class Owner(Protocol):
    """A feature that declares keys."""

    configuration_keys: "ConfigurationKeys"


class ConfigurationKey(ABC, Generic[T]):
    """One key. Values are checked on their way in, from wherever they come.

    Args:
        name: as OCPP spells it.
        default: the value before anybody set one; a function where it depends on the settings. None: the key is unset.
        access: what the CSMS may do.

    """

    def __init__(
        self, name: str, default: T | Callable[[Settings], T | None] | None, *, access: Access = Access.READ_WRITE
    ) -> None:
        self.name = name
        self.access = access
        self._default = default

    @abstractmethod
    def parse(self, text: str) -> T:
        """The value that ``text`` means.

        Raises:
            ValueError: none, or one outside the limits; the text says what was expected.

        """

    def text(self, value: T) -> str:
        return str(value)

    def text_from_toml(self, value: object) -> str:
        """What a native TOML value of the configuration file is on the wire.

        Raises:
            ValueError: the value isn't one of this key.

        """
        text = _plain_text(value)
        return self.text(self.parse(text))

    def default(self, settings: Settings) -> T | None:
        return self._default(settings) if callable(self._default) else self._default

    @overload
    def __get__(self, owner: None, owner_type: type) -> "ConfigurationKey[T]": ...
    @overload
    def __get__(self, owner: Owner, owner_type: type) -> T: ...
    def __get__(self, owner: Owner | None, owner_type: type) -> "ConfigurationKey[T] | T":
        return self if owner is None else owner.configuration_keys.value(self)


class BooleanKey(ConfigurationKey[bool]):
    """`true` or `false`, in any case (RO-27)."""

    def parse(self, text: str) -> bool:
        match text.strip().lower():
            case "true":
                return True
            case "false":
                return False
        raise ValueError("expected true or false")

    def text(self, value: bool) -> str:  # noqa: FBT001 - the value of the key itself
        return "true" if value else "false"


class IntegerKey(ConfigurationKey[int]):
    """Digits with an optional minus, 32 bits, within ``minimum`` … ``maximum`` (RO-27)."""

    def __init__(
        self,
        name: str,
        default: int | Callable[[Settings], int | None] | None,
        *,
        minimum: int = 0,
        maximum: int = 2**31 - 1,
        access: Access = Access.READ_WRITE,
    ) -> None:
        super().__init__(name, default, access=access)
        self.minimum = minimum
        self.maximum = maximum

    def parse(self, text: str) -> int:
        if _INTEGER.fullmatch(text.strip()) and self.minimum <= (value := int(text)) <= self.maximum:
            return value
        raise ValueError(f"expected an integer from {self.minimum} to {self.maximum}")


class DecimalKey(ConfigurationKey[Decimal]):
    """A plain decimal number with a point."""

    def parse(self, text: str) -> Decimal:
        if _DECIMAL.fullmatch(text.strip()):
            return Decimal(text.strip())
        raise ValueError("expected a decimal number such as 0.25")

    def text(self, value: Decimal) -> str:
        return format(value, "f")  # str() writes small ones as 1E-7, which is none in OCPP


class TextKey(ConfigurationKey[str]):
    """Text of ``minimum_length`` … ``maximum_length`` characters."""

    def __init__(
        self,
        name: str,
        default: str | Callable[[Settings], str | None] | None,
        *,
        minimum_length: int = 0,
        maximum_length: int = MAX_VALUE_LENGTH,
        access: Access = Access.READ_WRITE,
    ) -> None:
        super().__init__(name, default, access=access)
        self.minimum_length = minimum_length
        self.maximum_length = maximum_length

    def parse(self, text: str) -> str:
        if self.minimum_length <= len(text) <= self.maximum_length:
            return text
        raise ValueError(f"expected text of {self.minimum_length} to {self.maximum_length} characters")


class ListKey(ConfigurationKey[tuple[str, ...]]):
    """A comma-separated list; one bad item spoils the whole (OCPP 1.6, 3.16.4).

    Args:
        name: as OCPP spells it.
        default: the items, or a function that makes them from the settings.
        is_item: whether an item is a known one.
        maximum_items: most items; published as ``<name>MaxLength`` by the declaring feature where OCPP asks so.
        access: what the CSMS may do.

    """

    def __init__(
        self,
        name: str,
        default: Sequence[str] | Callable[[Settings], Sequence[str]],
        *,
        is_item: Callable[[str], bool] = bool,
        maximum_items: int = 100,
        access: Access = Access.READ_WRITE,
    ) -> None:
        super().__init__(
            name, lambda settings: tuple(default(settings) if callable(default) else default), access=access
        )
        self.is_item = is_item
        self.maximum_items = maximum_items

    def parse(self, text: str) -> tuple[str, ...]:
        items = tuple(item.strip() for item in text.split(",")) if text.strip() else ()
        if len(items) > self.maximum_items:
            raise ValueError(f"expected at most {self.maximum_items} items")
        if len(set(items)) < len(items):
            raise ValueError("expected no item twice")
        for item in items:
            if not item or not self.is_item(item):
                raise ValueError(f"expected a comma-separated list of known items, {item!r} is none")
        return items

    def text(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


def custom_key(name: str, declaration: CustomConfigurationKey) -> ConfigurationKey[Any]:
    """The key that a table ``[custom_configuration_keys.<name>]`` declares.

    Raises:
        ValueError: its value isn't one of this key.

    """
    access = Access.READ_ONLY if declaration.read_only else Access.READ_WRITE
    key: ConfigurationKey[Any]
    match declaration.type:
        case "boolean":
            key = BooleanKey(name, None, access=access)
        case "integer":
            key = IntegerKey(name, None, minimum=-(2**31), access=access)
        case "decimal":
            key = DecimalKey(name, None, access=access)
        case "csl":
            key = ListKey(name, (), access=access)
        case _:
            key = TextKey(name, None, access=access)
    key._default = key.parse(_plain_text(declaration.value))  # noqa: SLF001 - its own module's class
    return key


class ConfigurationKeys:
    """All declared keys and their present values: stored, else as declared."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._stored = store.collection("configuration_key", str)
        self._settings = settings
        self._declared: dict[str, ConfigurationKey[Any]] = {}  # by lower-case name
        self._fixed: dict[str, str] = {}  # by name: what hardware or configuration file decide
        self._parsed: dict[str, tuple[str | None, Any]] = {}  # name -> (text, its value)

    def declare(self, keys: Iterable[ConfigurationKey[Any]]) -> None:
        self._declared.update((key.name.lower(), key) for key in keys)

    def hide(self, keys: Iterable[ConfigurationKey[Any]]) -> None:
        """Take keys out of sight, of a feature profile that is switched off; their features still read them."""
        for key in keys:
            self._declared.pop(key.name.lower(), None)

    def __iter__(self) -> Iterator[ConfigurationKey[Any]]:
        return iter(sorted(self._declared.values(), key=lambda key: key.name))

    def __len__(self) -> int:
        return len(self._declared)

    def find(self, name: str) -> ConfigurationKey[Any] | None:
        """The key of this name, which is compared without regard to case (RO-22)."""
        return self._declared.get(name.lower())

    def value(self, key: ConfigurationKey[T]) -> T:
        stored = self._fixed.get(key.name, self._stored.get(key.name))
        known = self._parsed.get(key.name)
        if known is None or known[0] != stored:
            known = (stored, self._read(key, stored))
            self._parsed[key.name] = known
        value: T = known[1]
        return value

    def _read(self, key: ConfigurationKey[T], stored: str | None) -> T | None:
        if stored is not None:
            try:
                return key.parse(stored)
            except ValueError as error:  # the limits are narrower than when it was stored, by a new file or version
                logger.warning("the stored value of %s is no longer possible (%s): the default holds", key.name, error)
        return key.default(self._settings)

    def text(self, key: ConfigurationKey[Any]) -> str | None:
        """The value as OCPP shows it; None while the key is unset."""
        value = self.value(key)
        return None if value is None else key.text(value)

    def stored_text(self, key: ConfigurationKey[Any]) -> str | None:
        return self._stored.get(key.name)

    def put(self, key: ConfigurationKey[T], value: T) -> None:
        """Store a new value; reactions are the business of the configuration feature."""
        self._stored.put(key.name, key.text(value))

    def fix(self, key: ConfigurationKey[Any], text: str) -> None:
        """Let the hardware or the configuration file decide: nobody else changes this key."""
        self._fixed[key.name] = text

    def is_read_only(self, key: ConfigurationKey[Any]) -> bool:
        """Whether the CSMS can only read it."""
        return key.access is Access.READ_ONLY or key.name in self._fixed

    def forget(self, key: ConfigurationKey[Any]) -> None:
        self._stored.delete(key.name)


def declared_keys(owner_type: type) -> list[ConfigurationKey[Any]]:
    """The keys that a feature declares as class attributes."""
    return [
        value for base in owner_type.__mro__ for value in vars(base).values() if isinstance(value, ConfigurationKey)
    ]


def _plain_text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)
        case float():
            return format(Decimal(repr(value)), "f")
        case list():
            return ",".join(_plain_text(item) for item in value)
    raise ValueError("expected a string, an integer, a decimal, a boolean or a list")
