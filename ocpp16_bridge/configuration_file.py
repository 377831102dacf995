"""The configuration file, the environment and the credentials folder: read, and told what is wrong (contract 5)."""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ocpp16_bridge.settings import ConnectorSettings, CustomConfigurationKey, Settings

ENVIRONMENT_PREFIX = "OCPP16_BRIDGE_"

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
_SECTIONS: dict[str, type[BaseModel]] = {
    name: section.annotation
    for name, section in Settings.model_fields.items()
    if isinstance(section.annotation, type) and issubclass(section.annotation, BaseModel)
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
