"""First values of configuration keys from the configuration file (contract 5)."""

from pathlib import Path

import pytest

from ocpp16_bridge import first_values
from ocpp16_bridge.charge_point import check
from ocpp16_bridge.configuration_file import ConfigurationError, load_settings
from ocpp16_bridge.configuration_keys import IntegerKey
from tests.conftest import MakeStation
from tests.station import CONFIG, Station


def value(station: Station, key: str) -> object:
    reply = station.ask("get_configuration_key", keys=[key])
    return reply["configuration_keys"][0]["value"]


def change(station: Station, key: str, text: str) -> None:
    assert station.ask("set_configuration_key", key=key, value=text) == "Accepted"


def restarted(station: Station, config: str | None = None) -> Station:
    station.kill(config)
    station.connect_broker()
    return station


def problems(tmp_path: Path, config: str) -> list[str]:
    """As `check-config` shows them, without the name of the file."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG + config)
    try:
        load_settings(path, {}, check)
    except ConfigurationError as error:
        return [str(problem).removeprefix(f"{path}: ") for problem in error.problems]
    return []


# -- what holds

SECRET = "s3cret-key"
HEARTBEAT = "[configuration_keys]\nHeartbeatInterval = 111"


@pytest.mark.parametrize(
    ("config", "key", "text"),
    [
        (HEARTBEAT, "HeartbeatInterval", "111"),
        ("[configuration_keys]\nheartbeatinterval = '112'", "HeartbeatInterval", "112"),
        ("call_timeout = 45", "MessageTimeout", "45"),
        ("security_profile = 1", "SecurityProfile", "1"),
        ("[configuration_keys]\nConnectorPhaseRotation = ['0.RST', '1.RTS']", "ConnectorPhaseRotation", "0.RST,1.RTS"),
        ("[configuration_keys]\nConnectorPhaseRotation = '0.RST, 1.RTS'", "ConnectorPhaseRotation", "0.RST,1.RTS"),
        ("[configuration_keys]\nGetConfigurationMaxKeys = 50", "GetConfigurationMaxKeys", "50"),
        ("[configuration_keys]\nSupportedFeatureProfiles = ['Core']", "SupportedFeatureProfiles", "Core"),
        ("[custom_configuration_keys.Url]\ntype = 'string'\nvalue = 'https://x'", "Url", "https://x"),
        ("[custom_configuration_keys.Price]\ntype = 'decimal'\nvalue = 0.30", "Price", "0.3"),
        ("[custom_configuration_keys.Few]\ntype = 'csl'\nvalue = 'a, b'\nread_only = true", "Few", "a,b"),
    ],
)
def test_the_file_gives_the_first_value(make_station: MakeStation, config: str, key: str, text: str) -> None:
    assert value(make_station(config), key) == text


def test_a_later_change_is_kept_and_the_overruled_setting_named_with_the_remedy(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    station = make_station(HEARTBEAT)
    assert "overruled" not in caplog.text
    change(station, "HeartbeatInterval", "222")

    restarted(station)

    assert value(station, "HeartbeatInterval") == "222"
    (warning,) = [line for line in caplog.messages if "overruled" in line]
    assert warning.startswith("configuration_keys.HeartbeatInterval is overruled by the store, which has '222'")
    assert "reset-configuration HeartbeatInterval" in warning


def test_a_change_of_the_file_does_not_reach_a_store_that_has_a_value(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 5: for a new store only."""
    station = make_station("call_timeout = 45")

    restarted(station, "call_timeout = 46")

    assert value(station, "MessageTimeout") == "45"
    assert "csms.call_timeout is overruled by the store, which has '45'" in caplog.text
    assert "reset-configuration MessageTimeout" in caplog.text


def test_a_file_that_says_the_same_as_the_store_is_no_warning(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    restarted(make_station(HEARTBEAT))
    assert "overruled" not in caplog.text


def test_what_nobody_else_can_change_follows_the_file_at_each_start(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    station = make_station("[configuration_keys]\nGetConfigurationMaxKeys = 50")

    restarted(station, "[configuration_keys]\nGetConfigurationMaxKeys = 60")

    assert value(station, "GetConfigurationMaxKeys") == "60"
    assert "overruled" not in caplog.text


def test_a_read_only_custom_key_keeps_what_the_command_set(make_station: MakeStation) -> None:
    config = "[custom_configuration_keys.Mine]\ntype = 'integer'\nvalue = 1\nread_only = true"
    station = make_station(config)
    assert station.ask("set_custom_configuration_key", key="Mine", value="2") == "Accepted"

    restarted(station)

    assert value(station, "Mine") == "2"


def test_an_overruled_authorization_key_is_named_but_not_shown(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    station = make_station(f'authorization_key = "{SECRET}"')
    change(station, "AuthorizationKey", "another-s3cret")

    restarted(station)

    (warning,) = [line for line in caplog.messages if "overruled" in line]
    assert warning.startswith("csms.authorization_key is overruled by the store, which has another value")
    assert "reset-configuration AuthorizationKey" in warning
    assert "s3cret" not in caplog.text


def test_keys_that_nobody_declares_give_no_value(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG + HEARTBEAT)
    assert list(first_values.first_values(load_settings(path, {}), lambda _: None)) == []


# -- what is wrong


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        pytest.param(
            "[configuration_keys]\nHartbeatInterval = 1",
            "configuration_keys.HartbeatInterval: there is no such configuration key; "
            "did you mean 'HeartbeatInterval'?, got 1",
            id="misspelt",
        ),
        pytest.param(
            "[configuration_keys]\nXyz = 'a'",
            "configuration_keys.Xyz: there is no such configuration key, got 'a'",
            id="unknown",
        ),
        pytest.param(
            "[configuration_keys]\nHeartbeatInterval = -1",
            "configuration_keys.HeartbeatInterval: expected an integer from 1 to 2147483647, got -1",
            id="outside the limits",
        ),
        pytest.param(
            "[configuration_keys]\nHeartbeatInterval = 1979-05-27",
            "configuration_keys.HeartbeatInterval: expected a string, an integer, a decimal, a boolean or a list, "
            "got datetime.date(1979, 5, 27)",
            id="a type no key has",
        ),
        pytest.param(
            "[configuration_keys]\nNumberOfConnectors = 2",
            "configuration_keys.NumberOfConnectors: expected in [[connectors]], not here, got 2",
            id="what the connectors say",
        ),
        pytest.param(
            "[configuration_keys]\nsecurityprofile = 1",
            "configuration_keys.securityprofile: expected in csms.security_profile, not here, got 1",
            id="what another setting says",
        ),
        pytest.param(
            "[configuration_keys]\nHeartbeatInterval = 1\nheartbeatInterval = 2",
            "configuration_keys.heartbeatInterval: expected once, it is the same key as HeartbeatInterval",
            id="twice",
        ),
        pytest.param(
            "[configuration_keys]\nmine = 1\n[custom_configuration_keys.Mine]\ntype = 'integer'\nvalue = 1",
            "configuration_keys.mine: expected in [custom_configuration_keys.mine], got 1",
            id="a custom key",
        ),
        pytest.param(
            "[custom_configuration_keys.Mine]\ntype = 'integer'\nvalue = 1\n"
            "[custom_configuration_keys.MINE]\ntype = 'integer'\nvalue = 2",
            "custom_configuration_keys.MINE: expected once, it is the same key as Mine",
            id="two custom keys of one name",
        ),
        pytest.param(
            "[custom_configuration_keys.heartbeatinterval]\ntype = 'csl'\nvalue = 'a,a'",
            "custom_configuration_keys.heartbeatinterval: expected a name of your own, this is a key of OCPP",
            id="a custom key of OCPP's name",
        ),
        pytest.param(
            "[custom_configuration_keys.Mine]\ntype = 'integer'\nvalue = 2147483648",
            "custom_configuration_keys.Mine: expected an integer from -2147483648 to 2147483647, got 2147483648",
            id="a custom value of more than 32 bits",
        ),
        pytest.param(
            "[custom_configuration_keys.Mine]\ntype = 'csl'\nvalue = 'a,,b'",
            "custom_configuration_keys.Mine: expected a comma-separated list of known items, '' is none, got 'a,,b'",
            id="a custom list with an empty item",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, config: str, problem: str) -> None:
    assert problems(tmp_path, config) == [problem]


def test_a_setting_elsewhere_that_its_key_does_not_take_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG + "call_timeout = 45")

    (problem,) = first_values.problems(load_settings(path, {}), [IntegerKey("MessageTimeout", 1, maximum=30)])

    assert (problem.setting, problem.expectation) == ("csms.call_timeout", "expected an integer from 0 to 30")


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "[configuration_keys]\nXyz = 1\nHeartbeatInterval = 'x'\nMessageTimeout = 601\nMeterValueSampleInterval=5",
    )
    assert [line.partition(":")[0] for line in found] == [
        f"configuration_keys.{name}" for name in ("Xyz", "HeartbeatInterval", "MessageTimeout")
    ]


@pytest.mark.parametrize(
    "config",
    [
        "[configuration_keys]\nAuthorizationKey = 's3cret'",
        "[configuration_keys]\nAuthorisationKey = 's3cret-key'",
        "[custom_configuration_keys.ApiToken]\ntype = 'csl'\nvalue = 's3cret,'",
    ],
    ids=["too short", "misspelt", "custom"],
)
def test_what_is_wrong_with_a_secret_is_named_without_showing_it(tmp_path: Path, config: str) -> None:
    (problem,) = problems(tmp_path, config)
    assert problem.endswith(", got ***")
    assert "s3cret" not in problem
