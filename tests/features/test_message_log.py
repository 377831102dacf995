"""OCPP frames for people: contract 2 and 5."""

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.features.message_log import MessageLog
from tests.conftest import MakeStation
from tests.station import Station

SECRET = "a secret of ours"
CHANGE_KEY = {"key": "AuthorizationKey", "value": SECRET}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log" / "frames.log"


@pytest.fixture
def logged(make_station: MakeStation, file: Path) -> Iterator[Station]:
    """On the topic and in a file."""
    file.parent.mkdir(exist_ok=True)
    station = make_station(f'[logging]\npublish_ocpp_messages = true\nmessage_log = "{file}"\n')
    yield station
    for feature in station.charge_point.features:
        if isinstance(feature, MessageLog):
            feature._file.close()


def lines(file: Path) -> list[tuple[str, str, Any]]:
    """Time, direction and frame of each line."""
    parts = [line.split(" ", 2) for line in file.read_text().splitlines()]
    return [(moment, direction, json.loads(frame)) for moment, direction, frame in parts]


def test_each_frame_is_published_and_written(logged: Station, file: Path) -> None:
    logged.connect()
    (boot,) = logged.sent()
    logged.advance(1.5)
    logged.csms_answers(boot, status="Pending", currentTime="2026-11-22T10:00:01Z", interval=300)

    answer = [3, boot[1], {"status": "Pending", "currentTime": "2026-11-22T10:00:01Z", "interval": 300}]
    assert logged.published("event/ocpp_message") == [
        {"direction": "sent", "frame": boot},
        {"direction": "received", "frame": answer},
    ]
    assert lines(file) == [("2026-11-22T10:00:00Z", "sent", boot), ("2026-11-22T10:00:01.500Z", "received", answer)]


def test_frames_are_not_retained(logged: Station) -> None:
    logged.connect()

    assert logged.shown("event/ocpp_message") is None


def test_secrets_are_replaced(logged: Station, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SE-13."""
    caplog.set_level(logging.DEBUG)
    logged.register()
    logged.published()

    logged.csms_sends("ChangeConfiguration", **CHANGE_KEY)

    (received, sent) = logged.published("event/ocpp_message")
    assert received["frame"][3] == {"key": "AuthorizationKey", "value": "***"}
    assert sent["frame"][2] == {"status": "Accepted"}
    assert SECRET not in file.read_text() + caplog.text


def test_numbers_stay_numbers(logged: Station, file: Path) -> None:
    """GD-07: read as decimals, shown as they came."""
    profile = {"chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.1}]}
    logged.register()
    logged.published()

    logged.csms_sends("DataTransfer", vendorId="v", data=profile)

    assert logged.published("event/ocpp_message")[0]["frame"][3]["data"] == profile
    assert lines(file)[-2][2][3]["data"] == profile


def test_text_stays_readable(logged: Station, file: Path) -> None:
    logged.register()

    logged.csms_sends("DataTransfer", vendorId="Zürich", data="a\nb")

    assert "Zürich" in file.read_text()
    assert lines(file)[-2][2][3] == {"vendorId": "Zürich", "data": "a\nb"}


def test_file_is_for_its_owner_only(logged: Station, file: Path) -> None:
    logged.connect()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_file_that_cannot_be_written_is_one_warning(
    logged: Station, file: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.rmdir()

    logged.register()
    logged.csms_calls("GetConfiguration")

    warnings = [record for record in caplog.records if "message_log" in record.getMessage()]
    assert [record.levelno for record in warnings] == [logging.WARNING]
    assert str(file) in warnings[0].getMessage()
    assert capsys.readouterr().err == ""
    assert len(logged.published("event/ocpp_message")) > 2


def test_file_is_written_again_once_that_is_possible(logged: Station, file: Path) -> None:
    file.parent.rmdir()
    logged.connect()
    file.parent.mkdir()

    logged.disconnect()
    logged.connect()

    assert len(lines(file)) == 1


def test_nothing_is_published_unasked(station: Station) -> None:
    station.register()

    assert station.published("event/ocpp_message") == []


def test_log_has_the_frames_from_debug_on(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    """Also when the level changes while the daemon runs."""
    station.connect()
    assert "BootNotification" not in caplog.text
    caplog.set_level(logging.DEBUG)

    station.register()

    assert 'received [3,"id-2",{"currentTime":' in caplog.text
