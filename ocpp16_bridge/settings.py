"""The configuration: TOML file, environment and credentials folder → frozen settings.

Names, defaults and meaning of every setting stand, commented, in ``config/config.toml``; units are those given there.
"""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from ocpp16_bridge.authorization_key import check_authorization_key

ENVIRONMENT_PREFIX = "OCPP16_BRIDGE_"

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


# --- what is wrong ----------------------------------------------------------------------------------------------------

_SECRETS = ("mqtt.password", "csms.authorization_key")
# What is misspelt may have been meant as a secret; AuthorizationKey is one, too.
_SECRET_NAME = re.compile(r"pas|pwd|secret|token|auth.*key", re.IGNORECASE)
_HIDDEN = "***"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the configuration; as text one line, in which no secret is shown.

    Args:
        file: where the value came from; empty in what a `check` gives: `load_settings` knows and fills it in.
        setting: such as ``csms.url`` or ``connectors[1].phases`` (counted from 1); empty: the file as a whole.
        expectation: such as ``expected true or false`` or ``required``.
        value: what was found instead; None: nothing.

    """

    file: str
    setting: str
    expectation: str
    value: object = field(default=None, repr=False)

    def __str__(self) -> str:
        place = f"{self.file}: {self.setting}" if self.setting else self.file
        found = "" if self.value is None else f", got {self._shown_value()}"
        return f"{place}: {self.expectation}{found}"

    def _shown_value(self) -> str:
        text = self.value if isinstance(self.value, str) else repr(self.value)
        if self._may_be_secret():
            return _HIDDEN
        if re.match(r"\s*\[?\s*\{", text):  # what stands in a table that is out of place may be a secret, too
            return "a table"
        if isinstance(self.value, bool):
            return text.lower()
        # Credentials in a URL.
        shown = re.sub(r"^(\w+://)?.*@", rf"\1{_HIDDEN}@", text, flags=re.DOTALL)
        return repr(shown) if isinstance(self.value, str) else shown

    def _may_be_secret(self) -> bool:
        name = self.setting.rpartition(".")[2]
        secrets = [secret.rpartition(".")[2] for secret in _SECRETS]
        return bool(_SECRET_NAME.search(name) or difflib.get_close_matches(name, secrets, cutoff=0.7))


class ConfigurationError(Exception):
    """The configuration cannot be used (exit status 78)."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


# --- where values come from -------------------------------------------------------------------------------------------

_FROM_FILE_ONLY = ("connectors", "configuration_keys", "custom_configuration_keys")
_SECTIONS: dict[str, type[_Table]] = {
    name: section.annotation
    for name, section in Settings.model_fields.items()
    if isinstance(section.annotation, type) and issubclass(section.annotation, _Table)
}
_VARIABLES = {f"{section}__{name}".upper() for section, table in _SECTIONS.items() for name in table.model_fields}


class _Sources:
    """What the file says, and over it credentials, and over these the environment; and where each value came from."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._origins: dict[str, str] = {}  # by setting; what is not in here came from the file
        self.problems: list[Problem] = []
        self.values: dict[str, Any] = {section: {} for section in _SECTIONS}
        self.has_file = self._add_file()
        self._add_state_directory(environ.get("STATE_DIRECTORY", ""))
        self._add_credentials(environ.get("CREDENTIALS_DIRECTORY", ""))
        self._add_environment(environ)

    def origin(self, setting: str) -> str:
        return self._origins.get(setting, str(self._path))

    def _put(self, section: str, name: str, value: object, origin: str) -> None:
        if isinstance(table := self.values[section], dict):  # else the file is wrong there, and is said to be
            table[name] = value
            self._origins[f"{section}.{name}"] = origin

    def _add_file(self) -> bool:
        """Whether the file could be read."""
        text = self._read(self._path)
        if text is None:
            return False
        try:
            self.values |= tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._complain(str(self._path), "", f"expected TOML: {error}")
            return False
        return True

    def _add_state_directory(self, directories: str) -> None:
        """Only a default. systemd lists several with colons (systemd.exec, STATE_DIRECTORY)."""
        storage = self.values["storage"]
        if directories and isinstance(storage, dict) and "directory" not in storage:
            self._put("storage", "directory", directories.partition(":")[0], "environment STATE_DIRECTORY")

    def _add_credentials(self, folder: str) -> None:
        for setting in _SECRETS if folder else ():
            path = Path(folder, setting)
            # An editor or echo ends the file with a line feed. An empty one stands for a credential that is not given.
            if text := (self._read(path, may_be_missing=True) or "").rstrip("\r\n"):
                section, name = setting.split(".")
                self._put(section, name, text, str(path))

    def _add_environment(self, environ: Mapping[str, str]) -> None:
        for variable, text in environ.items():
            if not variable.upper().startswith(ENVIRONMENT_PREFIX):
                continue
            origin = f"environment {variable}"
            suffix = variable[len(ENVIRONMENT_PREFIX) :].upper()
            section, _, name = suffix.lower().partition("__")
            setting = f"{section}.{name}" if name else section
            if suffix in _VARIABLES:
                annotation = _SECTIONS[section].model_fields[name].annotation
                self._put(section, name, _environment_value(text, annotation), origin)
            elif section in _FROM_FILE_ONLY:
                self._complain(origin, setting, "expected in the configuration file only", text)
            else:
                self._complain(origin, setting, _unknown(suffix, _VARIABLES, ENVIRONMENT_PREFIX), text)

    def _read(self, path: Path, *, may_be_missing: bool = False) -> str | None:
        try:
            return path.read_bytes().decode()
        except UnicodeDecodeError as error:
            self._complain(str(path), "", f"expected UTF-8: {error.reason} at byte {error.start}")
        except OSError as error:
            if not (may_be_missing and isinstance(error, FileNotFoundError)):
                self._complain(str(path), "", f"expected a file that can be read: {error.strerror}")
        return None

    def _complain(self, file: str, setting: str, expectation: str, value: object = None) -> None:
        self.problems.append(Problem(file, setting, expectation, value))


def _environment_value(text: str, annotation: object) -> object:
    """A TOML literal or the bare string; for settings that are texts ``123`` is a text, too."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    literal = parsed["value"] if len(parsed) == 1 else text  # several lines may be more than one value
    is_text = annotation not in {bool, int, float, float | None} and get_origin(annotation) is not tuple
    return text if is_text and not isinstance(literal, str) else literal


def _unknown(name: str, known: Iterable[str], prefix: str = "") -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"unknown setting; did you mean '{prefix}{nearest[0]}'?" if nearest else "unknown setting"


# --- loading ----------------------------------------------------------------------------------------------------------

_EXPECTATIONS = {  # by pydantic's type of error
    "bool_type": "expected true or false",
    "dict_type": "expected a table",
    "finite_number": "expected a finite number",
    "float_type": "expected a number",
    "greater_than": "expected more than {gt:g}",
    "greater_than_equal": "expected at least {ge:g}",
    "int_type": "expected an integer",
    "less_than_equal": "expected at most {le:g}",
    "literal_error": "expected {expected}",
    "missing": "required",
    "model_type": "expected a table",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected a text that is not empty",
    "string_type": "expected a string",
    "tuple_type": "expected a list",
    "value_error": "{error}",
}
# Stand in for required settings that are missing or wrong while the rest is checked.
_STAND_INS = {"charge_point": {"id": "-", "vendor": "-", "model": "-"}, "csms": {"url": "ws://-"}}


def load_settings(
    path: Path,
    environ: Mapping[str, str] = os.environ,
    check: Callable[[Settings], Iterable[Problem]] = lambda _: (),
) -> Settings:
    """The settings from the file, the credentials folder and the environment; the later go over the earlier.

    Args:
        path: the TOML file.
        environ: variables ``OCPP16_BRIDGE_<SECTION>__<NAME>``, ``CREDENTIALS_DIRECTORY`` and ``STATE_DIRECTORY``.
        check: what else is wrong, such as unknown configuration keys. Where some settings are wrong it is given the
            others, with defaults for these.

    Raises:
        ConfigurationError: with everything that is wrong at once.

    """
    sources = _Sources(path, environ)
    if not sources.has_file:
        raise ConfigurationError(sources.problems)
    problems = sources.problems
    settings: Settings | None
    try:
        settings = Settings.model_validate(sources.values)
    except ValidationError as error:
        problems += [_problem(details, sources) for details in error.errors()]
        settings = _sound_part(sources.values, error)
    for problem in _checked(settings, check) if settings else ():
        problems.append(replace(problem, file=problem.file or sources.origin(problem.setting)))
    if problems or not settings:
        raise ConfigurationError(problems)
    return settings


def _checked(settings: Settings, check: Callable[[Settings], Iterable[Problem]]) -> Iterator[Problem]:
    identity = settings.charge_point.id
    if settings.csms.security_profile in {1, 2} and ":" in identity:
        expectation = "expected no colon, as security profiles 1 and 2 use Basic authentication"  # TR-04
        yield Problem("", "charge_point.id", expectation, identity)
    yield from check(settings)


def _problem(details: ErrorDetails, sources: _Sources) -> Problem:
    location = [step for step in details["loc"] if step != "[key]"]  # pydantic's mark: the key of a dict is wrong
    setting = _dotted(location)
    if details["type"] == "extra_forbidden":
        expectation = _unknown(str(location[-1]), _known_names(location))
    elif details["type"] in _EXPECTATIONS:
        expectation = _EXPECTATIONS[details["type"]].format(**details.get("ctx", {}))
    else:  # of a kind that no setting has today
        expectation = details["msg"]
    value = None if details["type"] == "missing" else details["input"]
    return Problem(sources.origin(setting), setting, expectation, value)


def _dotted(location: Iterable[int | str]) -> str:
    """The name of a setting; places in a list count from 1, as connectors do."""
    return "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")


def _known_names(location: list[int | str]) -> Iterable[str]:
    """What may stand at a place in the file."""
    section = str(location[0])
    tables = _SECTIONS | {"connectors": ConnectorSettings, "custom_configuration_keys": CustomConfigurationKey}
    return (Settings if len(location) == 1 else tables[section]).model_fields


def _sound_part(values: dict[str, Any], error: ValidationError) -> Settings | None:
    """The settings with defaults or stand-ins for what is wrong; None where even that gives none."""
    values = deepcopy(values)
    for _ in range(3):  # leaving out one setting can make another wrong, which then goes, too
        for details in error.errors():
            _leave_out(values, *details["loc"])
        try:
            return Settings.model_validate(values)
        except ValidationError as next_error:
            error = next_error
    return None


def _leave_out(values: dict[str, Any], section: Any, name: Any = None, *_: Any) -> None:
    table = values.get(section)
    if isinstance(table, dict) and name in table:
        del table[name]
    else:
        values.pop(section, None)
    if section in _STAND_INS:
        values[section] = _STAND_INS[section] | values.get(section, {})
