import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from ocpp16_bridge.configuration_file import ConfigurationError, Problem, load_settings
from ocpp16_bridge.settings import ConnectorSettings, CsmsSettings, CustomConfigurationKey, Settings

EXAMPLE = Path(__file__).parent.parent / "config" / "config.toml"
REQUIRED = """
[charge_point]
id = "CP001"
vendor = "Example"
model = "Model 1"
{charge_point}
[csms]
url = "ws://127.0.0.1:9000/ocpp"
{csms}
"""


def required(rest: str = "", *, charge_point: str = "", csms: str = "") -> str:
    """A file with the required settings, and more where the test is about it."""
    return REQUIRED.format(charge_point=charge_point, csms=csms) + rest


class Machine:
    """A configuration file, a credentials folder and an environment."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.credentials = folder / "credentials"
        self.credentials.mkdir()

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> Settings:
        self.file.write_text(text)
        return load_settings(self.file, {"CREDENTIALS_DIRECTORY": str(self.credentials)} | dict(environ or {}))

    def problems(self, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """What is said to be wrong, without the file's name where it is the configuration file."""
        with pytest.raises(ConfigurationError) as refused:
            self.load(text, environ)
        return [str(problem).removeprefix(f"{self.file}: ") for problem in refused.value.problems]

    def give_credential(self, name: str, content: bytes) -> Path:
        path = self.credentials / name
        path.write_bytes(content)
        return path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


# --- defaults and the example file ------------------------------------------------------------------------------------


def uncommented_example() -> dict[str, Any]:
    """The example with every setting in force: a single # and no blank marks one."""
    return tomllib.loads(re.sub(r"^#(?=[\w\[])", "", EXAMPLE.read_text(), flags=re.MULTILINE))


def test_the_example_file_loads_without_problems() -> None:
    settings = load_settings(EXAMPLE, {})

    assert settings.charge_point.id == "CP001"


def test_the_example_file_sets_what_is_required_and_nothing_else() -> None:
    shown = tomllib.loads(EXAMPLE.read_text())

    assert {section: table for section, table in shown.items() if table} == {
        "charge_point": {"id": "CP001", "vendor": "Example", "model": "Model 1"},
        "connectors": [{}],
        "csms": {"url": "ws://127.0.0.1:9000/ocpp"},
    }


def test_the_example_file_shows_every_default() -> None:
    shown = uncommented_example()
    for only_an_example in ("configuration_keys", "custom_configuration_keys"):
        del shown[only_an_example]
    assert shown["charging_schedules"].pop("default_limit_amps") == ConnectorSettings().max_current

    assert Settings.model_validate(shown) == load_settings(EXAMPLE, {})


def test_the_example_file_shows_every_setting() -> None:
    shown = uncommented_example()

    assert shown.keys() == Settings.model_fields.keys()
    assert shown["connectors"][0].keys() == ConnectorSettings.model_fields.keys()
    assert shown["custom_configuration_keys"]["TariffUrl"].keys() == CustomConfigurationKey.model_fields.keys()
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert shown[name].keys() == field.annotation.model_fields.keys()


def test_the_examples_of_configuration_keys_are_valid(machine: Machine) -> None:
    example = re.sub(r"^#(?=[\w\[])", "", EXAMPLE.read_text(), flags=re.MULTILINE)

    settings = machine.load(example)

    assert settings.configuration_keys["HeartbeatInterval"] == 300
    assert settings.custom_configuration_keys["TariffUrl"].value == "https://example.com"


DEFAULTS = {
    "charge_point": {
        "id": "CP001",
        "vendor": "Example",
        "model": "Model 1",
        "serial_number": "",
        "charge_box_serial_number": "",
        "firmware_version": "",
        "iccid": "",
        "imsi": "",
        "meter_type": "",
        "meter_serial_number": "",
    },
    "connectors": ({"lock": False, "max_current": 32.0, "phases": 3, "phase_rotation": "RST"},),
    "csms": {
        "url": "ws://127.0.0.1:9000/ocpp",
        "security_profile": 0,
        "authorization_key": SecretStr(""),
        "ca_file": None,
        "manufacturer_ca_file": None,
        "client_certificate": None,
        "client_key": None,
        "secure_firmware_update": False,
        "verify_host_name": True,
        "reconnect_wait_minimum": 3,
        "reconnect_random_range": 10,
        "reconnect_repeat_times": 4,
        "security_profile_fallback_timeout": 30,
        "call_timeout": 30,
    },
    "mqtt": {
        "host": "127.0.0.1",
        "port": 1883,
        "base_topic": "ocpp16",
        "username": "",
        "password": SecretStr(""),
        "tls": False,
        "ca_file": None,
        "client_certificate": None,
        "client_key": None,
    },
    "storage": {"directory": Path("/var/lib/ocpp16-bridge")},
    "hardware": {"answers": (), "answer_timeout": 10, "start_timeout": 10, "start_grace": 5},
    "transactions": {
        "on_power_loss": "stop",
        "stop_meter_wait": 2.0,
        "meter_stale_after": 0,
        "free_vend_id_tag": "",
    },
    "charging_schedules": {
        "publish_interval": 30,
        "duration": 600,
        "unit": "A",
        "default_limit_amps": None,
        "supply_voltage": 230,
        "default_number_phases": 3,
    },
    "configuration_keys": {},
    "custom_configuration_keys": {},
    "home_assistant": {"discovery": False, "prefix": "homeassistant"},
    "logging": {"level": "info", "publish_ocpp_messages": False, "message_log": None},
}


def test_defaults_are_those_of_the_interface(machine: Machine) -> None:
    assert machine.load(required()).model_dump() == DEFAULTS


def test_connectors_are_numbered_in_the_order_of_their_tables(machine: Machine) -> None:
    settings = machine.load(required("[[connectors]]\nphases = 1\n[[connectors]]\nlock = true"))

    assert [connector.phases for connector in settings.connectors] == [1, 3]
    assert settings.connectors[2 - 1].lock


def test_no_table_of_a_connector_is_one_connector(machine: Machine) -> None:
    assert machine.load("connectors = []" + required()).connectors == (ConnectorSettings(),)


def test_settings_do_not_change(machine: Machine) -> None:
    settings = machine.load(required())

    with pytest.raises(ValidationError, match="frozen"):
        settings.mqtt.port = 1884


# --- what a value must be ---------------------------------------------------------------------------------------------


WRONG_VALUES = [
    (required(csms="call_timeout = '30'"), "csms.call_timeout: expected an integer, got '30'"),
    (required(csms="call_timeout = 0"), "csms.call_timeout: expected at least 1, got 0"),
    (required(csms="call_timeout = true"), "csms.call_timeout: expected an integer, got true"),
    (required(csms="reconnect_wait_minimum = -1"), "csms.reconnect_wait_minimum: expected at least 0, got -1"),
    (required(csms="reconnect_wait_minimum = '3'"), "csms.reconnect_wait_minimum: expected a number, got '3'"),
    (
        required(csms="reconnect_wait_minimum = nan"),
        "csms.reconnect_wait_minimum: expected a finite number, got nan",
    ),
    (required(csms="verify_host_name = 1"), "csms.verify_host_name: expected true or false, got 1"),
    (required(csms="ca_file = 1"), "csms.ca_file: expected a path, got 1"),
    (required(csms="ca_file = ['a']"), "csms.ca_file: expected a path, got ['a']"),
    (required(charge_point="iccid = 1"), "charge_point.iccid: expected a string, got 1"),
    (required("mqtt = 3"), "csms.mqtt: unknown setting, got 3"),
    ("mqtt = 3" + required(), "mqtt: expected a table, got 3"),
    ("connectors = 3" + required(), "connectors: expected a list, got 3"),
    (required("[mqtt]\nport = 0"), "mqtt.port: expected at least 1, got 0"),
    (required("[mqtt]\nport = 65536"), "mqtt.port: expected at most 65535, got 65536"),
    (required("[mqtt]\nhost = ''"), "mqtt.host: expected a host name or an address, got ''"),
    (required('[mqtt]\nusername = "\\u0007"'), "mqtt.username: expected printable characters, got '\\x07'"),
    (
        required("[[connectors]]\n[[connectors]]\nphases = 4"),
        "connectors[2].phases: expected at most 3, got 4",
    ),
    (
        required("[[connectors]]\nmax_current = 0"),
        "connectors[1].max_current: expected more than 0, got 0",
    ),
    (
        required("[logging]\nlevel = 'loud'"),
        "logging.level: expected 'error', 'warning', 'info' or 'debug', got 'loud'",
    ),
    (required("[storage]\ndirectory = ''"), "storage.directory: expected a path, got ''"),
    (
        required("[transactions]\nfree_vend_id_tag = '123456789012345678901'"),
        "transactions.free_vend_id_tag: expected at most 20 characters, got '123456789012345678901'",
    ),
    (
        required("[hardware]\nanswers = ['reset', 'reset']"),
        "hardware.answers: expected each item once, got ['reset', 'reset']",
    ),
    (
        required("[hardware]\nanswers = ['reset', 'explode']"),
        (
            "hardware.answers[2]: expected 'unlock_connector', 'reset', 'install_firmware', 'collect_diagnostics', "
            "'data_transfer' or 'set_time', got 'explode'"
        ),
    ),
    (required("[charging_schedules]\nduration = 0"), "charging_schedules.duration: expected at least 1, got 0"),
    (
        required("[charging_schedules]\ndefault_limit_amps = -1"),
        "charging_schedules.default_limit_amps: expected at least 0, got -1",
    ),
]


@pytest.mark.parametrize(
    ("text", "problem"), WRONG_VALUES, ids=[problem.partition(", got")[0] for _, problem in WRONG_VALUES]
)
def test_a_wrong_value_is_refused_with_setting_expectation_and_value(machine: Machine, text: str, problem: str) -> None:
    assert machine.problems(text) == [problem]


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("serial_number", 25),
        ("charge_box_serial_number", 25),
        ("firmware_version", 50),
        ("iccid", 20),
        ("imsi", 20),
        ("meter_type", 25),
        ("meter_serial_number", 25),
    ],
)
def test_fields_of_boot_notification_have_the_lengths_of_ocpp(machine: Machine, name: str, length: int) -> None:
    fitting, too_long = "x" * length, "x" * (length + 1)

    assert getattr(machine.load(required(charge_point=f"{name} = '{fitting}'")).charge_point, name) == fitting
    assert machine.problems(required(charge_point=f"{name} = '{too_long}'")) == [
        f"charge_point.{name}: expected at most {length} characters, got '{too_long}'"
    ]


@pytest.mark.parametrize(
    ("value", "expectation"),
    [
        ("", "expected a text that is not empty"),
        ("123456789012345678901", "expected at most 20 characters"),
        ("Müller", "expected printable ASCII characters"),
        ("a\tb", "expected printable ASCII characters"),
    ],
    ids=["empty", "too long", "not ASCII", "not printable"],
)
@pytest.mark.parametrize("name", ["vendor", "model"])
def test_vendor_and_model_are_ci_strings(machine: Machine, name: str, value: str, expectation: str) -> None:
    text = required().replace({"vendor": "Example", "model": "Model 1"}[name], value)

    assert machine.problems(text) == [f"charge_point.{name}: {expectation}, got {value!r}"]


@pytest.mark.parametrize("topic", ["ocpp16", "site/ocpp16", "site 1/Ladesäule", "x" * 150])
@pytest.mark.parametrize("setting", ["mqtt.base_topic", "home_assistant.prefix"])
def test_a_topic_may_have_levels(machine: Machine, setting: str, topic: str) -> None:
    section, name = setting.split(".")

    settings = machine.load(required(f"[{section}]\n{name} = '{topic}'"))

    assert getattr(getattr(settings, section), name) == topic


@pytest.mark.parametrize(
    "topic", ["", "a/+", "#", "/a", "a/", "a\\u0000", "ä" * 76], ids=["empty", "+", "#", "/a", "a/", "NUL", "152 bytes"]
)
def test_a_topic_that_others_cannot_lie_under_is_refused(machine: Machine, topic: str) -> None:
    [problem] = machine.problems(required(f'[mqtt]\nbase_topic = "{topic}"'))

    assert problem.startswith("mqtt.base_topic: expected a topic")


@pytest.mark.parametrize(
    "key",
    ["", "8 chars.", "twenty characters ok", "0123456789abcdef", "0123456789abcdef" * 2, "4F" * 20],
    ids=["none", "8 characters", "20 characters", "16 digits are text", "32 digits", "40 digits"],
)
def test_an_authorization_key_is_text_or_hexadecimal(machine: Machine, key: str) -> None:
    """SE-10, SE-11."""
    settings = machine.load(required(csms=f"authorization_key = '{key}'"))

    assert settings.csms.authorization_key.get_secret_value() == key


@pytest.mark.parametrize(
    "key",
    ["7 chars", "21 characters is much", "0" * 33, "0" * 42, "g" * 32],
    ids=["7 characters", "21 characters", "33 digits", "42 digits", "32, not digits"],
)
def test_another_authorization_key_is_refused_and_not_shown(machine: Machine, key: str) -> None:
    [problem] = machine.problems(required(csms=f"authorization_key = '{key}'"))

    assert problem.startswith(
        "csms.authorization_key: expected 32 to 40 hexadecimal digits, an even number, or 8 to 20"
    )
    assert problem.endswith(", got ***")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "'x'"),
        ("csl", "'a,b'"),
        ("integer", "1"),
        ("decimal", "1"),
        ("decimal", "1.5"),
        ("boolean", "true"),
    ],
)
def test_a_custom_configuration_key_has_the_native_type(machine: Machine, kind: str, value: str) -> None:
    settings = machine.load(required(f"[custom_configuration_keys.A]\ntype = '{kind}'\nvalue = {value}"))

    assert settings.custom_configuration_keys["A"].value == tomllib.loads(f"v = {value}")["v"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "1"),
        ("string", f"'{'x' * 501}'"),
        ("csl", "['a', 'b']"),
        ("integer", "1.0"),
        ("integer", "true"),
        ("decimal", "'1'"),
        ("decimal", "inf"),
        ("decimal", "false"),
        ("boolean", "1"),
    ],
)
def test_a_custom_configuration_key_of_another_type_is_refused(machine: Machine, kind: str, value: str) -> None:
    [problem] = machine.problems(required(f"[custom_configuration_keys.A]\ntype = '{kind}'\nvalue = {value}"))

    assert problem.startswith(f"custom_configuration_keys.A.value: expected a value of the type {kind}, got ")


@pytest.mark.parametrize("name", ["x" * 51, "ä", ""], ids=["too long", "not ASCII", "empty"])
def test_the_name_of_a_custom_configuration_key_is_a_ci_string_50(machine: Machine, name: str) -> None:
    [problem] = machine.problems(required(f'[custom_configuration_keys."{name}"]\ntype = "integer"\nvalue = 1'))

    assert problem.startswith(f"custom_configuration_keys.{name}: expected ")


def test_a_custom_configuration_key_needs_a_known_type(machine: Machine) -> None:
    assert machine.problems(required("[custom_configuration_keys.A]\ntype = 'text'\nvalue = 1")) == [
        "custom_configuration_keys.A.type: expected 'string', 'integer', 'decimal', 'boolean' or 'csl', got 'text'"
    ]


# --- settings that depend on each other -------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [1, 2])
def test_basic_authentication_needs_an_identity_without_colon(machine: Machine, profile: int) -> None:
    """TR-04."""
    text = required(csms=f"security_profile = {profile}").replace("CP001", "CP:1")

    assert machine.problems(text.replace("ws:", "ws:" if profile == 1 else "wss:")) == [
        "charge_point.id: expected no colon, as security profiles 1 and 2 use Basic authentication, got 'CP:1'"
    ]


def test_an_identity_may_have_a_colon_where_there_is_no_password(machine: Machine) -> None:
    assert machine.load(required().replace("CP001", "CP:1 / ä")).charge_point.id == "CP:1 / ä"


@pytest.mark.parametrize(("scheme", "profile"), [("ws", 0), ("ws", 1), ("wss", 0), ("wss", 2), ("wss", 3)], ids=str)
def test_the_scheme_fits_the_security_profile(machine: Machine, scheme: str, profile: int) -> None:
    """SE-08."""
    text = required(csms=f"security_profile = {profile}").replace("ws:", f"{scheme}:")

    assert machine.load(text).csms.security_profile == profile


@pytest.mark.parametrize(
    ("scheme", "profile", "fitting"), [("ws", 2, "0 or 1"), ("ws", 3, "0 or 1"), ("wss", 1, "0 or 2 or 3")]
)
def test_another_scheme_is_refused(machine: Machine, scheme: str, profile: int, fitting: str) -> None:
    """SE-08."""
    text = required(csms=f"security_profile = {profile}").replace("ws:", f"{scheme}:")

    assert machine.problems(text) == [
        f"csms.security_profile: expected {fitting}, as csms.url has the scheme {scheme}, got {profile}"
    ]


@pytest.mark.parametrize("section", ["csms", "mqtt"])
@pytest.mark.parametrize("given", ["client_certificate", "client_key"])
def test_a_client_certificate_and_its_key_go_together(machine: Machine, section: str, given: str) -> None:
    setting = f"{given} = '/etc/x.pem'"
    text = required(csms=setting) if section == "csms" else required(f"[mqtt]\ntls = true\n{setting}")

    [problem] = machine.problems(text)

    assert problem.startswith(f"{section}.client_key: expected together with client_certificate")


@pytest.mark.parametrize("name", ["ca_file", "client_certificate", "client_key"])
def test_files_for_tls_to_the_broker_need_tls(machine: Machine, name: str) -> None:
    assert f"mqtt.{name}: expected only with tls = true, got '/x.pem'" in machine.problems(
        required(f"[mqtt]\n{name} = '/x.pem'")
    )


def test_files_for_tls_are_paths(machine: Machine) -> None:
    settings = machine.load(
        required("[mqtt]\ntls = true\nca_file = '/ca'\nclient_certificate = '/c'\nclient_key = '/k'")
    )

    assert (settings.mqtt.ca_file, settings.mqtt.client_key) == (Path("/ca"), Path("/k"))


# --- the URL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expectation"),
    [
        ("http://x", "a URL with scheme ws or wss"),
        ("127.0.0.1:9000", "a URL with scheme ws or wss"),
        ("ws:///ocpp", "a URL with a host"),
        ("ws://h:port", "a URL with a valid host and port"),
        ("ws://h:65536", "a URL with a valid host and port"),
        ("ws://[::1", "a URL with a valid host and port"),
        ("ws://h/#f", "a URL without a fragment (RFC 6455, 3)"),
        ("ws://h/a b", "a URL without spaces and control characters"),
    ],
)
def test_a_url_that_cannot_be_connected_to_is_refused(machine: Machine, url: str, expectation: str) -> None:
    assert machine.problems(required().replace("ws://127.0.0.1:9000/ocpp", url)) == [
        f"csms.url: expected {expectation}, got '{url}'"
    ]


@pytest.mark.parametrize(
    ("url", "identity", "expected"),
    [
        ("wss://h/ocppj", "RDAM 123", "wss://h/ocppj/RDAM%20123"),
        ("ws://h", "CP001", "ws://h/CP001"),
        ("ws://h/", "CP001", "ws://h/CP001"),
        ("ws://h/a//", "CP001", "ws://h/a//CP001"),
        ("ws://h/a?k=v/", "CP001", "ws://h/a/CP001?k=v/"),
        ("ws://h/a", "AZaz09-._~", "ws://h/a/AZaz09-._~"),
        ("ws://h/a", "/:%#?@", "ws://h/a/%2F%3A%25%23%3F%40"),
        ("ws://h/a", "ä", "ws://h/a/%C3%A4"),
        ("ws://[::1]:9000/a", "CP001", "ws://[::1]:9000/a/CP001"),
    ],
)
def test_the_identity_is_appended_percent_encoded(url: str, identity: str, expected: str) -> None:
    """TR-02, TR-03."""
    assert CsmsSettings(url=url).connection_url(identity, 0) == expected


@pytest.mark.parametrize(
    ("url", "profile", "expected"),
    [
        ("ws://h:80/a?b", 0, "ws://h:80/a?b"),
        ("wss://h/a", 0, "wss://h/a"),
        ("wss://h/a", 1, "ws://h/a"),
        ("ws://h:80/a?b", 2, "wss://h:80/a?b"),
        ("ws://h/a", 3, "wss://h/a"),
    ],
)
def test_another_security_profile_changes_only_the_scheme(url: str, profile: int, expected: str) -> None:
    """SE-08."""
    csms = CsmsSettings(url=url)

    assert csms.url_for(profile) == expected
    assert csms.connection_url("CP", profile).startswith(expected.partition("?")[0] + "/CP")


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("ws://user:secret@h:80/a?b", "ws://h:80/a?b"),
        ("ws://user@h/a@b", "ws://h/a@b"),
        ("ws://h/a", "ws://h/a"),
    ],
)
def test_the_public_url_has_no_credentials(url: str, public: str) -> None:
    csms = CsmsSettings(url=url)

    assert csms.public_url == public
    assert "secret" not in repr(csms)


# --- unknown and missing settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (required("[mqtt]\nbase_topc = 'x'"), "mqtt.base_topc: unknown setting; did you mean 'base_topic'?, got 'x'"),
        (required("[mqt]\nport = 1"), "mqt: unknown setting; did you mean 'mqtt'?, got a table"),
        (required("[[mqt]]\nport = 1"), "mqt: unknown setting; did you mean 'mqtt'?, got a table"),
        (required("[mqtt]\nxyz = 1"), "mqtt.xyz: unknown setting, got 1"),
        (
            required("[[connectors]]\nfases = 1"),
            "connectors[1].fases: unknown setting; did you mean 'phases'?, got 1",
        ),
        (
            required("[custom_configuration_keys.A]\ntype = 'integer'\nvalue = 1\nreadonly = true"),
            "custom_configuration_keys.A.readonly: unknown setting; did you mean 'read_only'?, got true",
        ),
    ],
)
def test_an_unknown_setting_is_an_error_that_names_the_nearest(machine: Machine, text: str, problem: str) -> None:
    assert machine.problems(text) == [problem]


def test_required_settings_are_named_each(machine: Machine) -> None:
    assert machine.problems("") == [
        "charge_point.id: required",
        "charge_point.vendor: required",
        "charge_point.model: required",
        "csms.url: required",
    ]


def test_all_problems_are_reported_at_once(machine: Machine) -> None:
    text = "[charge_point]\nid = 'x'\nvendor = 1\n[csms]\nurl = 'ws://h'\n[mqtt]\nport = 0\nprt = 1"

    problems = machine.problems(text, {"OCPP16_BRIDGE_LOGGING__LEVEL": "loud", "OCPP16_BRIDGE_X": "1"})

    assert [problem.partition(": expected")[0] for problem in problems] == [
        "environment OCPP16_BRIDGE_X: x: unknown setting, got '1'",
        "charge_point.vendor",
        "charge_point.model: required",
        "mqtt.port",
        "mqtt.prt: unknown setting; did you mean 'port'?, got 1",
        "environment OCPP16_BRIDGE_LOGGING__LEVEL: logging.level",
    ]


# --- the file ---------------------------------------------------------------------------------------------------------


def problem_with(path: Path) -> Problem:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(path, {})
    [problem] = refused.value.problems
    return problem


def test_a_syntax_error_is_reported_with_its_place(machine: Machine) -> None:
    [problem] = machine.problems("[mqtt]\nport = \n")

    assert problem == "expected TOML: Invalid value (at line 2, column 8)"


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"

    assert str(problem_with(path)) == f"{path}: expected a file that can be read: No such file or directory"


def test_a_folder_is_reported(tmp_path: Path) -> None:
    assert str(problem_with(tmp_path)) == f"{tmp_path}: expected a file that can be read: Is a directory"


def test_a_file_that_may_not_be_read_is_reported(machine: Machine) -> None:
    machine.file.touch(mode=0)

    with ordinary_user():
        problem = problem_with(machine.file)

    assert problem.expectation == "expected a file that can be read: Permission denied"


def test_a_file_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes("# Säule".encode("latin-1"))

    assert problem_with(path).expectation == "expected UTF-8: invalid continuation byte at byte 3"


def test_a_broken_file_does_not_hide_problems_of_the_environment(machine: Machine) -> None:
    problems = machine.problems("[", {"OCPP16_BRIDGE_MQTT__PRT": "1"})

    assert len(problems) == 2
    assert problems[1].startswith("environment OCPP16_BRIDGE_MQTT__PRT: ")


# --- environment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("MQTT__PORT", "8883", 8883),
        ("MQTT__TLS", "true", True),
        ("MQTT__HOST", "broker.local", "broker.local"),
        ("MQTT__HOST", '"broker.local"', "broker.local"),
        ("MQTT__USERNAME", "123", "123"),
        ("MQTT__USERNAME", "", ""),
        ("MQTT__USERNAME", "true", "true"),
        ("MQTT__PASSWORD", "123", SecretStr("123")),
        ("CSMS__URL", "ws://bare", "ws://bare"),
        ("CSMS__CA_FILE", "/etc/ca.pem", Path("/etc/ca.pem")),
        ("CHARGE_POINT__ID", "0001", "0001"),
        ("CHARGE_POINT__ID", "2026-01-01", "2026-01-01"),
        ("HARDWARE__ANSWERS", '["unlock_connector", "reset"]', ("unlock_connector", "reset")),
        ("CHARGING_SCHEDULES__DEFAULT_LIMIT_AMPS", "16", 16),
        ("LOGGING__LEVEL", "debug", "debug"),
    ],
)
def test_a_variable_is_a_toml_literal_or_a_bare_string(
    machine: Machine, variable: str, text: str, value: object
) -> None:
    section, name = variable.lower().split("__")

    settings = machine.load(required(), {f"OCPP16_BRIDGE_{variable}": text})

    assert getattr(getattr(settings, section), name) == value


def test_a_variable_of_several_lines_is_no_literal(machine: Machine) -> None:
    [problem] = machine.problems(required(), {"OCPP16_BRIDGE_MQTT__PORT": "1\ntls = true"})

    assert problem.endswith("mqtt.port: expected an integer, got '1\\ntls = true'")


def test_the_environment_goes_over_credentials_and_these_over_the_file(machine: Machine) -> None:
    text = required("[mqtt]\npassword = 'file'\nport = 1", csms="authorization_key = 'from file'")
    machine.give_credential("mqtt.password", b"credential")
    machine.give_credential("csms.authorization_key", b"credential")
    environ = {"OCPP16_BRIDGE_MQTT__PASSWORD": "environment", "OCPP16_BRIDGE_MQTT__PORT": "2", "OTHER": "3"}

    settings = machine.load(text, environ)

    assert settings.mqtt.password.get_secret_value() == "environment"
    assert settings.csms.authorization_key.get_secret_value() == "credential"
    assert settings.mqtt.port == 2


def test_letter_case_of_a_variable_does_not_matter(machine: Machine) -> None:
    assert machine.load(required(), {"OCPP16_BRIDGE_mqtt__port": "8883"}).mqtt.port == 8883


def test_everything_required_can_come_from_the_environment(machine: Machine) -> None:
    environ = {
        "OCPP16_BRIDGE_CHARGE_POINT__ID": "CP",
        "OCPP16_BRIDGE_CHARGE_POINT__VENDOR": "V",
        "OCPP16_BRIDGE_CHARGE_POINT__MODEL": "M",
        "OCPP16_BRIDGE_CSMS__URL": "wss://h",
    }

    assert machine.load("", environ).csms.url == "wss://h"


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("MQTT__PORT", "many", "mqtt.port: expected an integer, got 'many'"),
        ("MQTT__PRT", "1", "mqtt.prt: unknown setting; did you mean 'OCPP16_BRIDGE_MQTT__PORT'?, got '1'"),
        ("MQTT_PORT", "1", "mqtt_port: unknown setting; did you mean 'OCPP16_BRIDGE_MQTT__PORT'?, got '1'"),
        ("CONNECTORS__0__LOCK", "true", "connectors.0__lock: expected in the configuration file only, got 'true'"),
        (
            "CONFIGURATION_KEYS__HEARTBEATINTERVAL",
            "3",
            "configuration_keys.heartbeatinterval: expected in the configuration file only, got '3'",
        ),
        (
            "CUSTOM_CONFIGURATION_KEYS",
            "{}",
            "custom_configuration_keys: expected in the configuration file only, got a table",
        ),
    ],
)
def test_a_wrong_variable_is_named(machine: Machine, variable: str, text: str, problem: str) -> None:
    assert machine.problems(required(), {f"OCPP16_BRIDGE_{variable}": text}) == [
        f"environment OCPP16_BRIDGE_{variable}: {problem}"
    ]


def test_a_variable_does_not_hide_a_section_that_is_no_table(machine: Machine) -> None:
    assert machine.problems("mqtt = 3" + required(), {"OCPP16_BRIDGE_MQTT__PORT": "1"}) == [
        "mqtt: expected a table, got 3"
    ]


# --- storage and credentials ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "directories", "expected"),
    [
        ("", "/var/lib/a", "/var/lib/a"),
        ("", "/var/lib/a:/var/lib/b", "/var/lib/a"),
        ("", "", "/var/lib/ocpp16-bridge"),
        ("[storage]\ndirectory = '/data'", "/var/lib/a", "/data"),
    ],
    ids=["state directory", "the first of two", "none", "the file goes over it"],
)
def test_the_state_directory_is_the_default_of_the_storage(
    machine: Machine, text: str, directories: str, expected: str
) -> None:
    settings = machine.load(required(text), {"STATE_DIRECTORY": directories})

    assert settings.storage.directory == Path(expected)


@pytest.mark.parametrize("content", [b"correct horse ", b"correct horse \n", b"correct horse \r\n"])
def test_a_credential_may_end_with_a_line_feed(machine: Machine, content: bytes) -> None:
    machine.give_credential("mqtt.password", content)

    assert machine.load(required()).mqtt.password.get_secret_value() == "correct horse "


@pytest.mark.parametrize("content", [b"", b"\n"], ids=["empty", "line feed"])
def test_an_empty_credential_is_not_given(machine: Machine, content: bytes) -> None:
    machine.give_credential("mqtt.password", content)

    assert machine.load(required("[mqtt]\npassword = 'file'")).mqtt.password.get_secret_value() == "file"


def test_a_wrong_credential_is_named_by_its_path(machine: Machine) -> None:
    path = machine.give_credential("csms.authorization_key", b"short")

    [problem] = machine.problems(required())

    assert problem.startswith(f"{path}: csms.authorization_key: expected 32 to 40 hexadecimal digits")


def test_a_credential_that_cannot_be_read_is_named(machine: Machine) -> None:
    path = machine.give_credential("mqtt.password", b"\xff")

    assert machine.problems(required()) == [f"{path}: expected UTF-8: invalid start byte at byte 0"]


def test_a_credentials_folder_that_is_none_is_named(machine: Machine) -> None:
    problems = machine.problems(required(), {"CREDENTIALS_DIRECTORY": str(machine.file)})

    assert problems == [
        f"{machine.file}/{name}: expected a file that can be read: Not a directory"
        for name in ("mqtt.password", "csms.authorization_key")
    ]


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (required("[mqtt]\npassword = ['hunter2']"), {}),
        (required("[mqtt]\npasword = 'hunter2'"), {}),
        (required("[mqtt]\npsswrd = 'hunter2'"), {}),
        (required("[mqt]\nx = 'hunter2'"), {}),
        (required("[[mqtt]]\nx = 'hunter2'"), {}),
        (required(csms="authorisation-key = 'hunter2'"), {}),
        (required(csms="authorization_key = 'hunter2'"), {}),
        (required().replace("ws://", "http://user:a hunter2@"), {}),
        (required().replace("ws://", "user:hunter2@"), {}),
        (required(), {"OCPP16_BRIDGE_MQTT_PASSWORD": "hunter2"}),
        (required(), {"OCPP16_BRIDGE_MQTT": '{"x": "hunter2"}'}),
        (required(), {"OCPP16_BRIDGE_CSMS_URL": "ws://user:hunter2@h"}),
        (required(), {"OCPP16_BRIDGE_CONFIGURATION_KEYS__AUTHORIZATIONKEY": "hunter2"}),
    ],
)
def test_no_secret_is_shown_even_where_it_is_out_of_place(
    machine: Machine, text: str, environ: Mapping[str, str]
) -> None:
    [problem] = machine.problems(text, environ)

    assert "hunter2" not in problem
    assert problem.endswith(("***", "a table", "@127.0.0.1:9000/ocpp'", "@h'"))


def test_no_other_setting_is_taken_for_a_secret() -> None:
    hidden = {
        f"{section}.{name}"
        for section, table in uncommented_example().items()
        for name in (table[0] if isinstance(table, list) else table)
        if "***" in str(Problem("file", f"{section}.{name}", "expected", "x"))
    }

    assert hidden == {"mqtt.password", "csms.authorization_key"}


def test_no_secret_is_in_the_representations(machine: Machine) -> None:
    text = required(
        "[mqtt]\npassword = 'hunter22'\n[configuration_keys]\nAuthorizationKey = 'hunter22'",
        csms="authorization_key = 'hunter22'",
    )

    assert "hunter22" not in repr(machine.load(text))
    assert "hunter22" not in repr(Problem("file", "mqtt.password", "expected", "hunter22"))
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(tomllib.loads(text) | {"mqtt": {"password": ["hunter22"]}})
    assert "hunter22" not in str(refused.value)


# --- further checks ---------------------------------------------------------------------------------------------------


def complaint(setting: str) -> Callable[[Settings], Iterable[Problem]]:
    return lambda _: [Problem("", setting, "expected something else", 1)]


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("configuration_keys.HeartbeatInterval", "{file}"),
        ("mqtt.port", "environment OCPP16_BRIDGE_MQTT__PORT"),
        ("storage.directory", "environment STATE_DIRECTORY"),
    ],
)
def test_what_a_check_finds_is_reported_with_its_origin(machine: Machine, setting: str, origin: str) -> None:
    machine.file.write_text(required())
    environ = {"OCPP16_BRIDGE_MQTT__PORT": "1", "STATE_DIRECTORY": "/state"}

    with pytest.raises(ConfigurationError) as refused:
        load_settings(machine.file, environ, complaint(setting))

    assert str(refused.value) == f"{origin.format(file=machine.file)}: {setting}: expected something else, got 1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "charge_point = 3\ncsms = 4\nmqtt = 5\nconnectors = 6",
        required("[mqtt]\nx = 1\ny = 1\n[mqt]\n[[connectors]]\nphases = 4\nx = 2"),
        required("[custom_configuration_keys.A]\n[custom_configuration_keys.'ä']\nx = 1"),
        required("[mqtt]\ntls = 1\nca_file = '/x'"),
        required(csms="client_certificate = '/x'"),
        required(csms="security_profile = 2").replace("ws:", "http:"),
        required("[hardware]\nanswers = ['a', 'b']"),
    ],
)
def test_a_check_sees_what_is_right_where_something_else_is_wrong(machine: Machine, text: str) -> None:
    machine.file.write_text(text + "\n[configuration_keys]\nUnknown = 1")
    seen: list[dict[str, object]] = []

    def check(settings: Settings) -> Iterable[Problem]:
        seen.append(settings.configuration_keys)
        return complaint("configuration_keys.Unknown")(settings)

    with pytest.raises(ConfigurationError) as refused:
        load_settings(machine.file, {}, check)

    assert seen == [{"Unknown": 1}]
    assert len(refused.value.problems) > 1
    assert refused.value.problems[-1].setting == "configuration_keys.Unknown"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (required("[mqtt]\ntls = 1\nca_file = '/x'"), ["mqtt.tls"]),
        (required(csms="security_profile = 2").replace("ws:", "http:"), ["csms.url"]),
        (required(csms="security_profile = 4").replace("CP001", "CP:1"), ["csms.security_profile"]),
    ],
)
def test_what_is_wrong_makes_nothing_else_wrong(machine: Machine, text: str, wrong: list[str]) -> None:
    assert [problem.partition(": ")[0] for problem in machine.problems(text)] == wrong
