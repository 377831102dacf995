"""`set_log_level` (contract 3)."""

import logging
from collections.abc import Iterator

import pytest

from tests.station import Station


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The level is the whole process's: put back what was."""
    package = logging.getLogger("ocpp16_bridge")
    before = package.level
    yield
    package.setLevel(before)


@pytest.mark.parametrize("name", ["error", "warning", "info", "debug"])
def test_every_level_of_the_configuration_file_can_be_set(station: Station, name: str) -> None:
    assert station.ask("set_log_level", level=name) is None

    assert logging.getLogger("ocpp16_bridge").level == getattr(logging, name.upper())


@pytest.mark.parametrize(
    "arguments", [{}, {"level": "loud"}, {"level": "DEBUG"}, {"level": 10}, {"level": "info", "logger": "x"}], ids=str
)
def test_what_is_no_level_is_refused_and_changes_nothing(station: Station, arguments: dict[str, object]) -> None:
    before = logging.getLogger("ocpp16_bridge").level

    reply = station.request("set_log_level", **arguments)

    assert (reply["error"]["code"], logging.getLogger("ocpp16_bridge").level) == ("bad_request", before)


def test_the_level_can_be_set_while_ocpp_is_stopped(station: Station) -> None:
    station.ask("stop")

    assert station.ask("set_log_level", level="warning") is None


def test_at_debug_the_libraries_stay_quiet(station: Station) -> None:
    """websockets would write the headers of the upgrade, the authorization key among them (SE-13)."""
    station.ask("set_log_level", level="debug")

    for library in ("websockets", "websockets.client", "ocpp16_bridge.csms.connection.websockets", "aiomqtt"):
        assert not logging.getLogger(library).isEnabledFor(logging.DEBUG)
