"""Firmware management: obligations 8.4."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.features.firmware import INSTALL_WITHIN
from ocpp16_bridge.timestamps import format_time
from tests.conftest import MakeStation
from tests.file_servers import CREDENTIALS, PASSWORD, HttpFiles, http_files
from tests.station import BASE, START, Station

FIRMWARE = b"firmware" * 1000
CONFIG = """
[[connectors]]
[[connectors]]
[hardware]
answers = ["install_firmware"]
"""
FREE = {"plugged": False}


@pytest.fixture
def server() -> Iterator[HttpFiles]:
    with http_files(files={"/firmware.bin": FIRMWARE}) as one:
        yield one


@pytest.fixture
def station(make_station: MakeStation) -> Station:
    one = make_station(CONFIG)
    come_up(one)
    return one


def come_up(station: Station) -> None:
    """Both sides are there and the connectors are known, as after a start."""
    station.connect_broker()
    for connector in (1, 2):
        station.publish(f"hardware/connector/{connector}/state", FREE)
    station.register()
    station.answer_all()


def update(station: Station, server: HttpFiles, path: str = "/firmware.bin", **arguments: Any) -> None:
    """Ask for an update, at once unless told otherwise."""
    payload = {"location": server.url(path), "retrieveDate": station.now(), "retries": 0, **arguments}
    message_id = station.csms_sends("UpdateFirmware", **payload)
    assert [3, message_id, {}] in station.line.frames
    station.advance(0)


def told(station: Station, *, answers: bool = True) -> list[str]:
    """What the CSMS is told meanwhile: statuses of the firmware, and of connectors as `1 Unavailable`."""
    statuses = []
    while frames := [frame for frame in station.sent() if frame[0] == 2]:
        for frame in frames:
            if frame[2] == "FirmwareStatusNotification":
                statuses.append(frame[3]["status"])
            elif frame[2] == "StatusNotification":
                statuses.append(f"{frame[3]['connectorId']} {frame[3]['status']}")
            if answers:
                station.csms_answers(frame)
    return statuses


def told_until(station: Station, last: str) -> list[str]:
    statuses: list[str] = []

    def is_told() -> bool:
        statuses.extend(told(station))
        return last in statuses

    station.settle_until(is_told, f"{last} is told, after {statuses}")
    return statuses


def asked(station: Station) -> list[dict[str, Any]]:
    """What the hardware has been asked to install."""
    return [m.payload for m in station.broker.messages if m.topic == f"{BASE}/hardware/request/install_firmware"]


def answer(station: Station, data: object = "Accepted", **instead: Any) -> None:
    """The hardware answers the last request to install."""
    reply = instead or {"data": data}
    station.publish("hardware/response/install_firmware", {"id": asked(station)[-1]["id"], "status": "ok", **reply})


def progress(station: Station, status: str) -> None:
    station.publish("hardware/firmware_status", {"status": status})


def exchange(station: Station) -> list[Path]:
    folder = station.directory / "store" / "exchange"
    return sorted(folder.iterdir()) if folder.exists() else []


def triggered(station: Station) -> str:
    assert station.csms_calls("TriggerMessage", requestedMessage="FirmwareStatusNotification") == {"status": "Accepted"}
    frame = station.line.frames[-1]
    station.csms_answers(frame)
    station.sent()
    return str(frame[3]["status"])


def start_charging(station: Station, connector: int = 1) -> int:
    station.publish(f"hardware/connector/{connector}/state", {"plugged": True, "ev_ready": True, "evse_ready": True})
    station.publish(f"hardware/connector/{connector}/meter", {"Energy.Active.Import.Register": 0})
    station.publish("request/present_id_tag", {"id_tag": "TAG", "connector_ids": [connector]})
    accepted: dict[str, Any] = {"idTagInfo": {"status": "Accepted"}}
    while frames := [frame for frame in station.sent() if frame[0] == 2]:
        for frame in frames:
            answers: dict[str, dict[str, Any]] = {
                "Authorize": accepted,
                "StartTransaction": {**accepted, "transactionId": 7},
            }
            station.csms_answers(frame, **answers.get(frame[2], {}))
    assert station.shown(f"connector/{connector}/transaction")["transaction_id"] == 7
    return 7


DOWNLOADED = ["Downloading", "Downloaded", "1 Unavailable", "2 Unavailable", "Installing"]
AVAILABLE = ["1 Available", "2 Available"]


def in_any_order(statuses: list[str]) -> list[str]:
    """The firmware's statuses in their order, then those of the connectors."""
    return [s for s in statuses if s[0].isalpha()] + sorted(s for s in statuses if not s[0].isalpha())


# -- the whole way


def test_each_step_is_told_in_order(station: Station, server: HttpFiles, caplog: pytest.LogCaptureFixture) -> None:
    """FW-01, FW-02, FW-04; TC_044_1_CS."""
    caplog.set_level("INFO")
    update(station, server)

    assert in_any_order(told_until(station, "Installing")) == in_any_order(DOWNLOADED)
    (request,) = asked(station)
    assert Path(request["path"]).read_bytes() == FIRMWARE
    assert hashlib.sha256(FIRMWARE).hexdigest() in caplog.text
    answer(station)
    progress(station, "Installing")
    assert told(station) == []
    progress(station, "Installed")
    assert in_any_order(told(station)) == ["Installed", *AVAILABLE]
    published = station.published("event/firmware_status")
    assert [event["status"] for event in published] == ["Downloading", "Downloaded", "Installing", "Installed"]


def test_installed_firmware_is_a_security_event(station: Station, server: HttpFiles) -> None:
    """SE-31."""
    update(station, server)
    told_until(station, "Installing")
    answer(station)

    progress(station, "Installed")

    assert station.shown("security_event")["type"] == "FirmwareUpdated"


def test_file_is_removed_a_day_after_its_job(station: Station, server: HttpFiles) -> None:
    """Contract 5."""
    update(station, server)
    told_until(station, "Installing")
    answer(station)
    progress(station, "Installed")
    (path,) = exchange(station)

    station.advance(86000)
    assert path.exists()
    station.advance(5000)

    assert not path.exists()


def test_nothing_new_starts_while_an_installation_is_due(station: Station, server: HttpFiles) -> None:
    """FW-04."""
    update(station, server)
    told_until(station, "Installing")

    answered = station.csms_calls("RemoteStartTransaction", idTag="TAG", connectorId=1)

    assert answered == {"status": "Rejected"}


def test_installation_waits_for_the_end_of_the_transaction(station: Station, server: HttpFiles) -> None:
    """FW-04."""
    start_charging(station)
    update(station, server)
    assert in_any_order(told_until(station, "Downloaded")) == ["Downloading", "Downloaded", "2 Unavailable"]
    station.advance(20)
    assert asked(station) == []
    assert triggered(station) == "Downloaded"

    station.csms_sends("RemoteStopTransaction", transactionId=7)
    station.advance(5)

    assert "Installing" in told_until(station, "Installing")
    assert len(asked(station)) == 1


def test_file_that_waits_for_idle_longer_than_a_day_stays(station: Station, server: HttpFiles) -> None:
    start_charging(station)
    update(station, server)
    told_until(station, "Downloaded")

    station.advance(90000)

    assert len(exchange(station)) == 1


# -- the time of the download


def test_file_is_fetched_at_its_time(station: Station, server: HttpFiles) -> None:
    """FW-01."""
    update(station, server, retrieveDate=format_time(START + timedelta(hours=5)))
    station.advance(5 * 3600 - 1)
    assert told(station) == []
    assert triggered(station) == "Idle"

    station.advance(1)

    told_until(station, "Installing")
    assert len(server.requests) == 1


def test_session_goes_on_while_a_file_is_fetched(station: Station, server: HttpFiles) -> None:
    server.is_silent = True
    update(station, server)
    assert told_until(station, "Downloading") == ["Downloading"]
    station.settle_until(lambda: server.requests, "the server is asked")

    assert station.csms_calls("GetConfiguration", key=["HeartbeatInterval"])["configurationKey"]
    assert triggered(station) == "Downloading"


# -- retries


def test_failed_download_is_told_once_after_all_retries(station: Station, server: HttpFiles) -> None:
    """FW-03."""
    update(station, server, "/missing", retries=2, retryInterval=30)
    told_until(station, "Downloading")
    for attempt in (1, 2):
        station.settle_until(lambda: _pauses(station), "the pause")
        station.advance(29)
        assert len(server.requests) == attempt
        station.advance(1)

    assert told_until(station, "DownloadFailed") == ["DownloadFailed"]
    assert len(server.requests) == 3
    assert exchange(station) == []
    assert triggered(station) == "Idle"


def _pauses(station: Station) -> bool:
    return any(timer.name == "retryInterval" for _, _, timer in station.charge_point.timers._heap if timer.action)


def test_without_retries_the_download_is_tried_once(station: Station, server: HttpFiles) -> None:
    """FW-03; TC_044_2_CS."""
    update(station, server, "/missing", retries=0)

    assert told_until(station, "DownloadFailed") == ["Downloading", "DownloadFailed"]
    assert len(server.requests) == 1


def test_unnamed_retries_are_three_a_minute_apart(station: Station, server: HttpFiles) -> None:
    """FW-03."""
    payload = {"location": server.url("/missing"), "retrieveDate": station.now()}
    assert station.csms_calls("UpdateFirmware", **payload) == {}
    station.advance(0)
    for attempt in (1, 2, 3):
        station.settle_until(lambda: _pauses(station), "the pause")
        assert len(server.requests) == attempt
        told(station)
        station.advance(60)

    told_until(station, "DownloadFailed")
    assert len(server.requests) == 4


def test_next_attempt_goes_on_after_a_cut(station: Station, server: HttpFiles) -> None:
    """FW-07."""
    server.cuts = [5000]
    update(station, server, retries=1, retryInterval=1)
    station.settle_until(lambda: _pauses(station), "the pause")
    station.advance(1)

    told_until(station, "Installing")

    assert server.asked("Range") == [None, "bytes=5000-"]
    assert Path(asked(station)[0]["path"]).read_bytes() == FIRMWARE


# -- the installation


@pytest.mark.parametrize(
    "reply",
    [{"data": "Rejected"}, {"status": "error", "error": {"message": "bad image"}}, {"data": ["nonsense"]}],
    ids=["rejected", "error", "nonsense"],
)
def test_hardware_that_does_not_install_is_told(station: Station, server: HttpFiles, reply: dict[str, Any]) -> None:
    """FW-02, FW-05; TC_044_3_CS."""
    update(station, server)
    told_until(station, "Installing")

    answer(station, **reply)

    assert in_any_order(told(station)) == ["InstallationFailed", *AVAILABLE]


def test_failed_installation_is_told(station: Station, server: HttpFiles) -> None:
    """FW-05: the old firmware stays, connectors come back."""
    update(station, server)
    told_until(station, "Installing")
    answer(station)

    progress(station, "InstallationFailed")

    assert in_any_order(told(station)) == ["InstallationFailed", *AVAILABLE]
    assert station.shown("security_event") is None or station.shown("security_event")["type"] != "FirmwareUpdated"


def test_hardware_that_never_answers_has_failed(station: Station, server: HttpFiles) -> None:
    """Contract 4."""
    update(station, server)
    told_until(station, "Installing")

    station.advance(10)

    assert in_any_order(told(station)) == ["InstallationFailed", *AVAILABLE]


def test_hardware_that_is_not_listed_is_not_asked(make_station: MakeStation, server: HttpFiles) -> None:
    """Contract 4: InstallationFailed is the default."""
    station = make_station("")
    station.publish("hardware/connector/1/state", FREE)
    station.register()
    update(station, server)

    assert told_until(station, "InstallationFailed")[-2:] != []
    assert asked(station) == []


def test_installation_without_news_fails_in_the_end(station: Station, server: HttpFiles) -> None:
    update(station, server)
    told_until(station, "Installing")
    answer(station)
    station.advance(INSTALL_WITHIN - 1)
    progress(station, "InstallRebooting")
    station.advance(INSTALL_WITHIN - 1)
    assert told(station) == []

    station.advance(1)

    assert in_any_order(told(station)) == ["InstallationFailed", *AVAILABLE]


@pytest.mark.parametrize("late", ["Accepted", "Rejected"])
def test_end_that_comes_before_the_answer_counts(station: Station, server: HttpFiles, late: str) -> None:
    update(station, server)
    told_until(station, "Installing")

    progress(station, "Installed")
    answer(station, late)
    station.advance(INSTALL_WITHIN * 2)

    assert "InstallationFailed" not in told(station)


def test_progress_without_an_installation_means_nothing(station: Station) -> None:
    """A retained one is left from a former update."""
    progress(station, "Installed")

    assert told(station) == []


def test_another_version_of_the_hardware_means_installed(station: Station, server: HttpFiles) -> None:
    """FW-05."""
    station.publish("hardware/info", {"firmware_version": "1"})
    update(station, server)
    told_until(station, "Installing")
    answer(station)
    station.publish("hardware/info", {"firmware_version": "1"})
    assert told(station) == []

    station.publish("hardware/info", {"firmware_version": "2"})

    assert "Installed" in told(station)


# -- a second request


def test_new_request_replaces_one_that_waits(station: Station, server: HttpFiles) -> None:
    """FW-06."""
    update(station, server, "/other", retrieveDate=format_time(START + timedelta(hours=1)))

    update(station, server)

    told_until(station, "Installing")
    station.advance(7200)
    assert [path for _, path, _ in server.requests] == ["/firmware.bin"]


def test_new_request_replaces_one_that_downloads(station: Station, server: HttpFiles) -> None:
    """FW-06: nothing of the former file gets into the new one."""
    server.files["/other"] = b"other" * 100_000
    server.cuts = [200_000]
    update(station, server, "/other", retries=3, retryInterval=60)
    station.settle_until(lambda: _pauses(station), "the pause")
    told(station)

    update(station, server)

    told_until(station, "Installing")
    station.advance(600)
    assert [path for _, path, _ in server.requests] == ["/other", "/firmware.bin"]
    assert server.asked("Range") == [None, None]
    assert [path.read_bytes() for path in exchange(station)] == [FIRMWARE]


def test_silent_server_does_not_keep_a_new_request_waiting(station: Station, server: HttpFiles) -> None:
    server.is_silent = True
    update(station, server)
    station.settle_until(lambda: server.requests, "the server is asked")
    told(station)
    server.is_silent = False

    update(station, server)

    statuses = told_until(station, "Installing")
    assert statuses.count("Downloading") == 1
    assert "DownloadFailed" not in statuses


def test_new_request_replaces_one_that_waits_for_idle(station: Station, server: HttpFiles) -> None:
    """FW-06: the connectors come back meanwhile."""
    start_charging(station)
    update(station, server)
    told_until(station, "2 Unavailable")

    update(station, server, retrieveDate=format_time(START + timedelta(hours=1)))

    assert told(station) == ["2 Available"]
    assert exchange(station) == []


def test_request_during_an_installation_is_ignored(
    station: Station, server: HttpFiles, caplog: pytest.LogCaptureFixture
) -> None:
    """FW-06."""
    update(station, server)
    told_until(station, "Installing")

    update(station, server)
    answer(station)
    progress(station, "Installed")

    assert "Installed" in told(station)
    assert len(server.requests) == 1
    assert "UpdateFirmware is ignored" in caplog.text


def test_plain_update_is_refused_where_only_signed_ones_are_wanted(make_station: MakeStation) -> None:
    """FW-08."""
    station = make_station("secure_firmware_update = true")  # in the table [csms], which is the last one
    station.register()

    station.csms_sends("UpdateFirmware", location="http://127.0.0.1:1/a", retrieveDate=station.now())

    (refusal,) = station.sent()
    assert (refusal[0], refusal[2]) == (4, "NotSupported")


# -- kills and restarts


def restart(station: Station) -> None:
    station.kill()
    come_up(station)


def test_restart_keeps_the_time_of_the_download(station: Station, server: HttpFiles) -> None:
    """FW-05."""
    update(station, server, retrieveDate=format_time(START + timedelta(hours=1)))

    restart(station)
    station.advance(3599)
    assert server.requests == []
    station.advance(1)

    told_until(station, "Installing")


def test_restart_during_the_download_begins_it_again(station: Station, server: HttpFiles) -> None:
    """FW-05."""
    server.is_silent = True
    update(station, server)
    station.settle_until(lambda: server.requests, "the server is asked")
    told(station)
    server.is_silent = False

    restart(station)
    station.advance(0)

    assert in_any_order(told_until(station, "Installing")) == in_any_order(DOWNLOADED)
    assert [path.read_bytes() for path in exchange(station)] == [FIRMWARE]


def test_restart_before_the_installation_goes_on_with_it(station: Station, server: HttpFiles) -> None:
    """FW-05: what runs is stopped, what is idle stays Unavailable, and nobody is asked before anybody can answer."""
    start_charging(station)
    update(station, server)
    told_until(station, "2 Unavailable")

    station.boot_id = "boot-2"
    station.kill()
    station.disconnect_broker()
    station.advance(60)  # neither broker nor CSMS
    come_up(station)
    station.advance(9)  # the hardware has 10 s to answer
    assert len(asked(station)) == 1

    frames = [frame for frame in station.line.frames if frame[0] == 2 and frame[2] == "FirmwareStatusNotification"]
    assert [frame[3]["status"] for frame in frames] == ["Installing"]
    assert station.shown("connector/2/status")["status"] == "Unavailable"
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", ["Installed", "InstallationFailed"])
def test_end_of_an_installation_is_told_after_the_restart_that_it_causes(
    station: Station, server: HttpFiles, end: str
) -> None:
    """FW-05; TC_044_1_CS."""
    update(station, server)
    told_until(station, "Installing")
    answer(station)
    progress(station, "InstallRebooting")

    station.boot_id = "boot-2"
    station.kill()
    station.connect_broker()
    for connector in (1, 2):
        station.publish(f"hardware/connector/{connector}/state", FREE)
    progress(station, end)
    station.connect()
    boot, *others = station.sent()

    assert (boot[2], others) == ("BootNotification", [])
    station.csms_answers(boot, currentTime=station.now(), interval=300, status="Accepted")
    assert end in told(station)


def test_restart_during_an_installation_keeps_waiting_for_its_end(station: Station, server: HttpFiles) -> None:
    """FW-05: connectors stay Unavailable."""
    update(station, server)
    told_until(station, "Installing")
    answer(station)

    restart(station)

    assert station.shown("connector/1/status")["status"] == "Unavailable"
    assert triggered(station) == "Installing"
    progress(station, "Installed")
    assert in_any_order(told(station)) == ["Installed", *AVAILABLE]


def test_statuses_wait_for_a_csms_that_is_away(station: Station, server: HttpFiles) -> None:
    """FW-02: in order."""
    update(station, server, retrieveDate=format_time(START + timedelta(minutes=1)))
    station.disconnect()
    station.advance(60)
    station.settle_until(lambda: asked(station), "the hardware is asked")
    answer(station)
    progress(station, "Installed")

    station.connect()
    told(station)

    frames = [f for f in station.line.frames if f[0] == 2 and f[2] == "FirmwareStatusNotification"]
    assert [f[3]["status"] for f in frames] == ["Downloading", "Downloaded", "Installing", "Installed"]


# -- secrets


def test_credentials_of_the_location_are_shown_nowhere(
    make_station: MakeStation, server: HttpFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    station = make_station(CONFIG + "[logging]\npublish_ocpp_messages = true\n")
    come_up(station)
    update(station, server, location=server.url("/missing", CREDENTIALS), retries=0)
    told_until(station, "DownloadFailed")

    shown = caplog.text + repr(station.broker.messages)

    assert server.asked("Authorization") != [None]
    assert CREDENTIALS not in shown
    assert CREDENTIALS.partition(":")[2] not in shown
    assert PASSWORD not in shown
