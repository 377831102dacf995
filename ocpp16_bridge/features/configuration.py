"""Configuration keys: Get- and ChangeConfiguration, and the same over MQTT (OCPP 1.6, 5.3 and 5.8; contract 3)."""

import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import ConfigurationStatus
from pydantic import Field

from ocpp16_bridge.configuration_keys import MAX_VALUE_LENGTH, Access, ConfigurationKey, IntegerKey, ListKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.first_values import FirstValue, custom_keys, first_values
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.model import Arguments, Model
from ocpp16_bridge.mqtt.variables import topic_level

logger = logging.getLogger(__name__)

KeyName = Annotated[str, Field(min_length=1, max_length=50)]
PROFILES = ("Core", "FirmwareManagement", "LocalAuthListManagement", "Reservation", "SmartCharging", "RemoteTrigger")
MAX_NAMES = 1000  # in one request


class GetConfigurationKey(Arguments):
    keys: Annotated[list[str], Field(max_length=MAX_NAMES)] = Field(default=[])


class MonitorConfigurationKeys(Arguments):
    keys: Annotated[list[KeyName], Field(max_length=MAX_NAMES)]


class SetConfigurationKey(Arguments):
    key: KeyName
    value: Annotated[str, Field(max_length=MAX_VALUE_LENGTH)]


class KeyValue(Model):
    """One key as `get_configuration_key` and the topics show it."""

    key: str
    read_only: bool
    value: str | None = None


class KeyValues(Model):
    configuration_keys: list[KeyValue]
    unknown_keys: list[str]


class FeatureProfiles(ListKey):
    """`Core` is compulsory (OCPP 1.6, 3.3)."""

    def parse(self, text: str) -> tuple[str, ...]:
        items = super().parse(text)
        if PROFILES[0] not in items:
            raise ValueError(f"expected {PROFILES[0]} among the feature profiles")
        return items


class Configuration(Feature):
    """Answers for all keys, whoever declared them."""

    get_configuration_max_keys = IntegerKey("GetConfigurationMaxKeys", 200, access=Access.READ_ONLY)  # RO-23
    supported_feature_profiles = FeatureProfiles(
        "SupportedFeatureProfiles",
        PROFILES,
        is_item=lambda item: item in PROFILES,
        access=Access.READ_ONLY,
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._monitored = context.store.collection("monitored_key", bool)
        self._custom = custom_keys(context.settings)
        self.configuration_keys.declare(self._custom)
        self._reactions: dict[str, list[Callable[[Any], None]]] = {}
        self._conditions: dict[str, list[Callable[[Any], bool]]] = {}

    def add_reaction(self, key: str, reaction: Callable[[Any], None]) -> None:
        self._known(key)
        self._reactions.setdefault(key, []).append(reaction)

    def add_condition(self, key: str, condition: Callable[[Any], bool]) -> None:
        self._known(key)
        self._conditions.setdefault(key, []).append(condition)

    def _known(self, name: str) -> None:
        if self.configuration_keys.find(name) is None:
            raise LookupError(f"a handler names the configuration key {name}, which nobody declares")

    # -- first values

    def start(self) -> None:
        given = first_values(self.context.settings, self.configuration_keys.find)
        for first in {first.name: first for first in given}.values():
            self._take_first_value(first)

    def show_monitored(self) -> None:
        """Show what was monitored before the start, as far as there is such a key."""
        for name in list(self._monitored):
            self._show_monitored(name)

    def _take_first_value(self, first: FirstValue) -> None:
        key = self.configuration_keys.find(first.name)
        assert key is not None  # noqa: S101 - it was found to make `first`
        if key.access is Access.READ_ONLY and key not in self._custom:
            self.configuration_keys.fix(key, first.text)  # nobody can change it: the file holds
            return
        stored = self.configuration_keys.stored_text(key)
        if stored is None:
            self.configuration_keys.put(key, key.parse(first.text))
        elif stored != first.text:
            value = "another value" if key.access is Access.WRITE_ONLY else repr(stored)
            remedy = f"`ocpp16-bridge reset-configuration {key.name}` forgets the stored value"
            logger.warning("%s is overruled by the store, which has %s; %s", first.setting, value, remedy)

    def _show_monitored(self, name: str) -> None:
        key = self.configuration_keys.find(name)
        if key is None:
            logger.warning("the monitored configuration key %s is no longer declared", name)
            self._monitored.delete(name)
            self.context.variables.clear(_topic(name))
        else:
            self.context.variables.set(_topic(name), self._key_value(key))

    # -- reading

    def _key_value(self, key: ConfigurationKey[Any]) -> KeyValue:
        text = self.configuration_keys.text(key)
        return KeyValue(
            key=key.name,
            read_only=self.configuration_keys.is_read_only(key),
            value=None if text is None else text[:MAX_VALUE_LENGTH],
        )

    def _readable(self) -> Iterator[ConfigurationKey[Any]]:
        """Write-only keys are never disclosed (RO-24)."""
        return (key for key in self.configuration_keys if key.access is not Access.WRITE_ONLY)

    @on_call
    def get_configuration(self, request: call.GetConfiguration) -> call_result.GetConfiguration:
        """RO-20 … RO-24."""
        if not request.key:
            return call_result.GetConfiguration(configuration_key=[self._ocpp_item(key) for key in self._readable()])
        known: dict[str, ConfigurationKey[Any]] = {}
        unknown: dict[str, None] = {}
        for name in request.key:
            key = self.configuration_keys.find(name)
            if key is None:
                unknown[name] = None
            else:
                known[key.name] = key
        return call_result.GetConfiguration(
            configuration_key=[self._ocpp_item(key) for key in known.values()] or None,
            unknown_key=list(unknown) or None,
        )

    def _ocpp_item(self, key: ConfigurationKey[Any]) -> dict[str, Any]:
        item: dict[str, Any] = {"key": key.name, "readonly": self.configuration_keys.is_read_only(key)}
        if key.access is not Access.WRITE_ONLY and (text := self.configuration_keys.text(key)) is not None:
            item["value"] = text[:MAX_VALUE_LENGTH]
        return item

    @command(reads=True)
    def get_configuration_key(self, request: GetConfigurationKey) -> KeyValues:
        if not request.keys:
            return KeyValues(configuration_keys=[self._key_value(key) for key in self._readable()], unknown_keys=[])
        reply = KeyValues(configuration_keys=[], unknown_keys=[])
        for name in request.keys:
            key = self._find_readable(name)
            if key is None:
                reply.unknown_keys.append(name)
            else:
                reply.configuration_keys.append(self._key_value(key))
        return reply

    def _find_readable(self, name: str) -> ConfigurationKey[Any] | None:
        key = self.configuration_keys.find(name)
        return None if key is None or key.access is Access.WRITE_ONLY else key

    # -- changing

    @on_call
    def change_configuration(self, request: call.ChangeConfiguration) -> call_result.ChangeConfiguration:
        return call_result.ChangeConfiguration(status=self._change_checked(request.key, request.value, by_csms=True))

    @command()
    def set_configuration_key(self, request: SetConfigurationKey) -> ConfigurationStatus:
        return self._change_checked(request.key, request.value, by_csms=False)

    @command()
    def set_custom_configuration_key(self, request: SetConfigurationKey) -> ConfigurationStatus:
        """Only declared custom keys; `read_only` binds the CSMS, not this command."""
        key = self.configuration_keys.find(request.key)
        if key is None or key not in self._custom:
            return ConfigurationStatus.rejected
        return self._change(key, request.value, by_csms=False)

    def _change_checked(self, name: str, text: str, *, by_csms: bool) -> ConfigurationStatus:
        """RO-26."""
        key = self.configuration_keys.find(name)
        if key is None:
            return ConfigurationStatus.not_supported
        if self.configuration_keys.is_read_only(key):
            return ConfigurationStatus.rejected
        return self._change(key, text, by_csms=by_csms)

    def _change(self, key: ConfigurationKey[Any], text: str, *, by_csms: bool) -> ConfigurationStatus:
        try:
            value = key.parse(text)
        except ValueError as error:
            logger.info("%s keeps its value: %s", key.name, error)
            return ConfigurationStatus.rejected
        if not all(condition(value) for condition in self._conditions.get(key.name, ())):
            return ConfigurationStatus.rejected
        self.set_value(key, value)
        if by_csms and key.name in self._monitored:
            self.context.variables.set("configuration_key", self._key_value(key))
        return ConfigurationStatus.accepted

    def set_value(self, key: ConfigurationKey[Any], value: Any) -> None:
        """Store ``value``, which is one of this key, show it where the key is monitored, and let its owner react."""
        former = self.configuration_keys.value(key)
        self.configuration_keys.put(key, value)
        if key.name in self._monitored:
            self.context.variables.set(_topic(key.name), self._key_value(key))
        for reaction in self._reactions.get(key.name, ()):
            reaction(former)

    # -- watching

    @command()
    def monitor_configuration_keys(self, request: MonitorConfigurationKeys) -> None:
        """Extends the set of monitored keys, which the store keeps."""
        keys = [(name, self._find_readable(name)) for name in request.keys]
        unknown = [name for name, key in keys if key is None]
        if unknown:
            raise CommandError("bad_request", f"keys: unknown or write-only: {', '.join(unknown)[:500]}")
        for key in (key for _, key in keys if key is not None):
            self._monitored.put(key.name, True)  # noqa: FBT003 - the record says only that it is there
            self.context.variables.set(_topic(key.name), self._key_value(key))


def _topic(name: str) -> str:
    return "configuration_key/" + topic_level(name)
