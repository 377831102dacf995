"""The settings: their names, defaults and limits, frozen. Where they come from is the business of `configuration_file`.

What each of them means stands, commented, in ``config/config.toml``; units are those given there.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationInfo,
    field_validator,
)

from ocpp16_bridge.authorization_key import check_authorization_key

_BASE_TOPIC_BYTES = 150
_DAY = 86_400  # s
_LONGEST_VALUE = 500  # characters of a configuration key's value (contract, 3)

# --- what a value must be ---------------------------------------------------------------------------------------------


def _printable_ascii(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("expected printable ASCII characters")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text


def _host(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise ValueError("expected a host name or an address")
    return text


def _topic(topic: str) -> str:
    """A topic others can be put under."""
    if not topic or not topic.isprintable() or set("+#") & set(topic):
        raise ValueError("expected a topic, not empty, of printable characters without the wildcards + and #")
    if topic.startswith("/") or topic.endswith("/"):
        raise ValueError("expected a topic without a slash at its beginning or end")
    if len(topic.encode()) > _BASE_TOPIC_BYTES:
        raise ValueError(f"expected a topic of at most {_BASE_TOPIC_BYTES} bytes")
    return topic


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number up to 65535
    except ValueError:
        raise ValueError("expected a URL with a valid host and port") from None
    if parts.scheme not in {"ws", "wss"}:
        raise ValueError("expected a URL with scheme ws or wss")
    if not parts.hostname:
        raise ValueError("expected a URL with a host")
    if "#" in url:
        raise ValueError("expected a URL without a fragment (RFC 6455, 3)")
    if " " in url or not url.isprintable():
        raise ValueError("expected a URL without spaces and control characters")
    return url


def _authorization_key(key: SecretStr) -> SecretStr:
    if text := key.get_secret_value():
        check_authorization_key(text)
    return key


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("expected a path")
    return Path(value)


def _path_or_none(value: object) -> Path | None:
    return None if value is None or value == "" else _path(value)


def _belongs_to_certificate(client_key: Path | None, info: ValidationInfo) -> Path | None:
    certificate_is_valid = "client_certificate" in info.data
    if certificate_is_valid and (client_key is None) != (info.data["client_certificate"] is None):
        raise ValueError("expected together with client_certificate")
    return client_key


def _each_once(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) < len(items):
        raise ValueError("expected each item once")
    return items


_CiString20 = Annotated[str, Field(max_length=20), AfterValidator(_printable_ascii)]
_Name20 = Annotated[str, Field(min_length=1, max_length=20), AfterValidator(_printable_ascii)]
_CiString25 = Annotated[str, Field(max_length=25), AfterValidator(_printable_ascii)]
_CiString50 = Annotated[str, Field(max_length=50), AfterValidator(_printable_ascii)]
_Name50 = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_printable_ascii)]
_Topic = Annotated[str, AfterValidator(_topic)]
_Folder = Annotated[Path, BeforeValidator(_path)]
_File = Annotated[Path | None, BeforeValidator(_path_or_none)]
_ClientKey = Annotated[_File, AfterValidator(_belongs_to_certificate), Field(validate_default=True)]
_Wait = Annotated[float, Field(ge=0, le=_DAY)]  # s, 0 = none
_Limit = Annotated[float, Field(gt=0, le=_DAY)]  # s
_Phases = Annotated[int, Field(ge=1, le=3)]

HardwareAction = Literal[
    "unlock_connector", "reset", "install_firmware", "collect_diagnostics", "data_transfer", "set_time"
]

# --- the settings -----------------------------------------------------------------------------------------------------


class _Table(BaseModel):
    # TOML has types of its own: nothing is converted. Inputs are hidden in pydantic's texts: they may be secrets.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class ChargePointSettings(_Table):
    """What BootNotification says (OCPP 1.6, 6.4), and the identity (OCPP-J 1.6, 3.1.1)."""

    id: Annotated[str, Field(min_length=1), AfterValidator(_printable)]
    vendor: _Name20
    model: _Name20
    serial_number: _CiString25 = ""
    charge_box_serial_number: _CiString25 = ""
    firmware_version: _CiString50 = ""
    iccid: _CiString20 = ""
    imsi: _CiString20 = ""
    meter_type: _CiString25 = ""
    meter_serial_number: _CiString25 = ""


class ConnectorSettings(_Table):
    lock: bool = False
    max_current: Annotated[float, Field(gt=0, le=10_000)] = 32.0  # A per phase
    phases: _Phases = 3
    phase_rotation: Literal["NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR"] = "RST"


class CsmsSettings(_Table):
    url: Annotated[str, AfterValidator(_url), Field(repr=False)]  # may hold credentials; `public_url` does not
    security_profile: Annotated[int, Field(ge=0, le=3)] = 0
    authorization_key: Annotated[SecretStr, AfterValidator(_authorization_key)] = SecretStr("")
    ca_file: _File = None
    manufacturer_ca_file: _File = None
    client_certificate: _File = None
    client_key: _ClientKey = None
    secure_firmware_update: bool = False
    verify_host_name: bool = True
    reconnect_wait_minimum: _Wait = 3
    reconnect_random_range: _Wait = 10
    reconnect_repeat_times: Annotated[int, Field(ge=0, le=16)] = 4
    security_profile_fallback_timeout: _Limit = 30
    call_timeout: Annotated[int, Field(ge=1, le=600)] = 30

    @field_validator("security_profile")
    @classmethod
    def _fits_the_scheme(cls, security_profile: int, info: ValidationInfo) -> int:
        """SE-08: profile 1 is ws, 2 and 3 are wss."""
        scheme = urlsplit(info.data.get("url", "")).scheme
        fitting = {"ws": (0, 1), "wss": (0, 2, 3)}.get(scheme)
        if fitting and security_profile not in fitting:
            numbers = " or ".join(map(str, fitting))
            raise ValueError(f"expected {numbers}, as csms.url has the scheme {scheme}")
        return security_profile

    @property
    def public_url(self) -> str:
        """The URL as others may see it: without credentials."""
        return without_credentials(self.url)

    def url_for(self, security_profile: int) -> str:
        """The URL under another security profile: only its scheme changes (SE-08); profile 0 takes it as configured."""
        scheme = {1: "ws", 2: "wss", 3: "wss"}.get(security_profile)
        return urlsplit(self.url)._replace(scheme=scheme).geturl() if scheme else self.url

    def connection_url(self, identity: str, security_profile: int) -> str:
        """Where to connect to: the URL with the identity as last segment of its path (TR-02, TR-03)."""
        parts = urlsplit(self.url_for(security_profile))
        path = f"{parts.path.removesuffix('/')}/{quote(identity, safe='')}"
        return parts._replace(path=path).geturl()


class MqttSettings(_Table):
    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    base_topic: _Topic = "ocpp16"
    username: Annotated[str, AfterValidator(_printable)] = ""
    password: SecretStr = SecretStr("")
    tls: bool = False
    ca_file: _File = None
    client_certificate: _File = None
    client_key: _ClientKey = None

    @field_validator("ca_file", "client_certificate", "client_key", mode="before")
    @classmethod
    def _goes_with_tls(cls, file: object, info: ValidationInfo) -> object:
        if file and info.data.get("tls") is False:
            raise ValueError("expected only with tls = true")
        return file


class StorageSettings(_Table):
    directory: _Folder = Path("/var/lib/ocpp16-bridge")


class HardwareSettings(_Table):
    answers: Annotated[tuple[HardwareAction, ...], Strict(strict=False), AfterValidator(_each_once)] = ()
    answer_timeout: _Limit = 10
    start_timeout: _Wait = 10
    start_grace: _Wait = 5


class TransactionSettings(_Table):
    on_power_loss: Literal["stop", "resume"] = "stop"
    stop_meter_wait: _Wait = 2.0
    meter_stale_after: _Wait = 0
    free_vend_id_tag: _CiString20 = ""


class ChargingSchedulesSettings(_Table):
    publish_interval: _Wait = 30
    duration: Annotated[int, Field(ge=1, le=7 * _DAY)] = 600  # s
    unit: Literal["A", "W"] = "A"
    default_limit_amps: Annotated[float | None, Field(ge=0, le=10_000)] = None  # per phase; None: max_current
    supply_voltage: Annotated[float, Field(gt=0, le=10_000)] = 230  # V
    default_number_phases: _Phases = 3


class CustomConfigurationKey(_Table):
    """A configuration key the integrator declares."""

    type: Literal["string", "integer", "decimal", "boolean", "csl"]
    value: str | int | float | bool
    read_only: bool = False

    @field_validator("value", mode="plain")
    @classmethod
    def _fits_the_type(cls, value: object, info: ValidationInfo) -> object:
        declared = info.data.get("type")  # None: no valid one, which is an error of its own
        if declared in _FITS and not _FITS[declared](value):
            raise ValueError(f"expected a value of the type {declared}")
        return value


def _is_string(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_VALUE


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_decimal(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


_FITS: dict[str, Callable[[object], bool]] = {
    "string": _is_string,
    "csl": _is_string,
    "integer": _is_integer,
    "decimal": _is_decimal,
    "boolean": lambda value: isinstance(value, bool),
}


class HomeAssistantSettings(_Table):
    discovery: bool = False
    prefix: _Topic = "homeassistant"


class LoggingSettings(_Table):
    level: Literal["error", "warning", "info", "debug"] = "info"
    publish_ocpp_messages: bool = False
    message_log: _File = None


class Settings(_Table):
    """All settings. `settings.connectors[n - 1]` are those of connector n."""

    charge_point: ChargePointSettings
    # No table at all is one connector.
    connectors: Annotated[
        tuple[ConnectorSettings, ...],
        Strict(strict=False),
        AfterValidator(lambda tables: tables or (ConnectorSettings(),)),
    ] = (ConnectorSettings(),)
    csms: CsmsSettings
    mqtt: MqttSettings = MqttSettings()
    storage: StorageSettings = StorageSettings()
    hardware: HardwareSettings = HardwareSettings()
    transactions: TransactionSettings = TransactionSettings()
    charging_schedules: ChargingSchedulesSettings = ChargingSchedulesSettings()
    # Checked by those who know the keys; may hold a secret.
    configuration_keys: Annotated[dict[str, object], Field(repr=False)] = {}
    custom_configuration_keys: dict[_Name50, CustomConfigurationKey] = {}
    home_assistant: HomeAssistantSettings = HomeAssistantSettings()
    logging: LoggingSettings = LoggingSettings()


def without_credentials(url: str) -> str:
    """A valid URL without user name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
