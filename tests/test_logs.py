"""What a log line looks like, and which lines there are."""

import logging
import re
from collections.abc import Iterator

import pytest

from ocpp16_bridge import logs

LOGGERS = ("", "ocpp16_bridge", "ocpp16_bridge.somewhere", "websockets.client")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """pytest's own handlers come back, with the levels."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in LOGGERS}
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_under_a_service_manager_each_line_has_its_priority(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging("info", {"INVOCATION_ID": "1"})

    logging.getLogger("ocpp16_bridge.somewhere").error("first\nsecond")

    assert written(capsys) == "<3>ocpp16_bridge.somewhere: first\n<3>second\n"


def test_elsewhere_a_line_has_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging("info", {})

    logging.getLogger("ocpp16_bridge.somewhere").info("up")

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    ocpp16_bridge\.somewhere: up\n", written(capsys))


@pytest.mark.parametrize(
    ("level", "lines"),
    [("error", "e"), ("warning", "ew"), ("info", "ewi"), ("debug", "ewid")],
)
def test_the_level_decides_which_lines_there_are(level: str, lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging("error", {"INVOCATION_ID": "1"})
    logs.set_level(level)

    logger = logging.getLogger("ocpp16_bridge.somewhere")
    for log, text in ((logger.error, "e"), (logger.warning, "w"), (logger.info, "i"), (logger.debug, "d")):
        log(text)

    assert re.findall(r": (.)$", written(capsys), re.MULTILINE) == list(lines)


def test_the_libraries_do_not_write_headers_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logging("debug", {})

    logging.getLogger("websockets.client").debug("> Authorization: Basic Q1AwMDE6c2VjcmV0")

    assert written(capsys) == ""
