"""Diagnostics: obligations 8.5."""

import io
import json
import logging
import os
import tarfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge import logs
from ocpp16_bridge.features import diagnostics
from ocpp16_bridge.features.message_log import MessageLog
from ocpp16_bridge.timestamps import format_time
from tests.conftest import MakeStation
from tests.file_servers import CREDENTIALS, PASSWORD, HttpFiles, http_files
from tests.station import BASE, START, Station

HARDWARE = '[hardware]\nanswers = ["collect_diagnostics"]\n'
NAME = "CP001-20261122T100000Z.tar.gz"


@pytest.fixture
def server() -> Iterator[HttpFiles]:
    with http_files() as one:
        yield one


@pytest.fixture
def registered(station: Station) -> Station:
    station.register()
    return station


def ask(station: Station, server: HttpFiles, **arguments: Any) -> str:
    """Ask for diagnostics; the name that is answered."""
    payload = {"location": server.url("/in"), "retries": 0, **arguments}
    message_id = station.csms_sends("GetDiagnostics", **payload)
    (result,) = [frame[2] for frame in station.line.frames if frame[:2] == [3, message_id]]
    return str(result["fileName"])


def told_until(station: Station, last: str, count: int = 1) -> list[str]:
    """The upload's statuses that the CSMS is told up to the ``count``-th of these."""
    statuses: list[str] = []

    def is_told() -> bool:
        for frame in station.sent():
            if frame[0] == 2:
                if frame[2] == "DiagnosticsStatusNotification":
                    statuses.append(frame[3]["status"])
                station.csms_answers(frame)
        return statuses.count(last) == count

    station.settle_until(is_told, f"{last} is told")
    return statuses


def content(server: HttpFiles, name: str = NAME) -> dict[str, bytes]:
    """The files of the archive that was uploaded."""
    with tarfile.open(fileobj=io.BytesIO(server.files[f"/in/{name}"])) as archive:
        return {member.name: _bytes(archive, member) for member in archive}


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def pauses(station: Station) -> bool:
    return any(timer.name == "retryInterval" for _, _, timer in station.charge_point.timers._heap if timer.action)


def triggered(station: Station) -> str:
    station.csms_sends("TriggerMessage", requestedMessage="DiagnosticsStatusNotification")
    frame = station.line.frames[-1]
    station.csms_answers(frame)
    station.sent()
    return str(frame[3]["status"])


def close_log(station: Station) -> None:
    (feature,) = [feature for feature in station.charge_point.features if isinstance(feature, MessageLog)]
    feature._file.close()


def exchange(station: Station) -> list[Path]:
    folder = station.directory / "store" / "exchange"
    return list(folder.iterdir()) if folder.exists() else []


# -- the upload


def test_archive_is_uploaded_and_told(registered: Station, server: HttpFiles) -> None:
    """DG-01, DG-02; TC_045_1_CS."""
    assert ask(registered, server) == NAME

    assert told_until(registered, "Uploaded") == ["Uploading", "Uploaded"]
    assert list(server.files) == [f"/in/{NAME}"]
    assert registered.published("event/diagnostics_status") == [
        {"status": "Uploading", "file_name": NAME},
        {"status": "Uploaded", "file_name": NAME},
    ]
    assert exchange(registered) == []
    assert triggered(registered) == "Idle"


def test_failed_upload_is_told_once_after_all_retries(registered: Station, server: HttpFiles) -> None:
    """DG-02, DG-03; TC_045_2_CS."""
    server.status = 507
    ask(registered, server, retries=1, retryInterval=10)
    registered.settle_until(lambda: pauses(registered), "the pause")
    assert len(server.requests) == 1
    registered.advance(10)

    assert told_until(registered, "UploadFailed") == ["Uploading", "UploadFailed"]
    assert len(server.requests) == 2
    assert exchange(registered) == []
    assert triggered(registered) == "Idle"


def test_retry_may_succeed(registered: Station, server: HttpFiles) -> None:
    """DG-03."""
    server.status = 503
    ask(registered, server, retries=1, retryInterval=10)
    registered.settle_until(lambda: pauses(registered), "the pause")
    server.status = None
    registered.advance(10)

    assert told_until(registered, "Uploaded") == ["Uploading", "Uploaded"]


def test_second_request_cancels_the_first(registered: Station, server: HttpFiles) -> None:
    """DG-05: however silent its server is."""
    server.is_silent = True
    ask(registered, server)
    assert told_until(registered, "Uploading") == ["Uploading"]
    registered.settle_until(lambda: server.requests, "the server is asked")
    assert triggered(registered) == "Uploading"
    server.is_silent = False
    registered.advance(1)

    name = ask(registered, server)

    assert told_until(registered, "Uploaded") == ["Uploading", "Uploaded"]
    assert list(server.files) == [f"/in/{name}"]
    registered.settle_until(lambda: not exchange(registered), "nothing is left")


def test_second_request_in_the_same_second_is_served(registered: Station, server: HttpFiles) -> None:
    ask(registered, server)
    ask(registered, server)

    statuses = told_until(registered, "Uploaded")

    assert statuses[-1] == "Uploaded"
    assert "UploadFailed" not in statuses
    assert content(server)


def test_upload_that_a_restart_cuts_has_failed(registered: Station, server: HttpFiles) -> None:
    """DG-02: the CSMS does not wait for ever."""
    server.is_silent = True
    ask(registered, server)
    told_until(registered, "Uploading")
    registered.settle_until(lambda: server.requests, "the server is asked")

    registered.kill()
    registered.connect()
    (boot,) = registered.sent("BootNotification")
    registered.csms_answers(boot, currentTime=registered.now(), interval=300, status="Accepted")

    assert told_until(registered, "UploadFailed") == ["UploadFailed"]
    registered.kill()
    registered.register()
    assert not any(frame[2] == "DiagnosticsStatusNotification" for frame in registered.line.frames if frame[0] == 2)


def test_archive_that_cannot_be_written_has_failed(registered: Station, server: HttpFiles) -> None:
    (registered.directory / "store" / "exchange").write_bytes(b"no folder")

    ask(registered, server)

    assert told_until(registered, "UploadFailed") == ["Uploading", "UploadFailed"]


def test_name_of_a_strange_identity_is_a_plain_name(make_station: MakeStation, server: HttpFiles) -> None:
    """Nothing that a name says leads out of the folder."""
    station = make_station("")
    station.settings = station.settings.model_copy(
        update={"charge_point": station.settings.charge_point.model_copy(update={"id": "../a b/" + "c" * 100})}
    )
    station.close()
    station._start_process()
    station.register()

    name = ask(station, server)

    assert name == "---a-b-" + "c" * 53 + "-20261122T100000Z.tar.gz"
    told_until(station, "Uploaded")


# -- what is in it


def test_archive_has_all_that_helps(registered: Station, server: HttpFiles) -> None:
    """DG-01."""
    root = logging.getLogger()
    handler = logs.RecentLines()
    root.addHandler(handler)
    try:
        logging.getLogger("ocpp16_bridge.somewhere").warning("it has happened")
        ask(registered, server)
        told_until(registered, "Uploaded")
    finally:
        root.removeHandler(handler)

    parts = content(server)

    assert list(parts) == [
        "configuration.json", "configuration_keys.json", "health.json", "daemon.log", "ocpp_messages.log",
    ]  # fmt: skip
    assert b"it has happened" in parts["daemon.log"]
    assert b'"BootNotification"' in parts["ocpp_messages.log"]
    assert json.loads(parts["configuration.json"])["charge_point"]["vendor"] == "Example"
    assert json.loads(parts["configuration_keys.json"])["HeartbeatInterval"] == "300"
    assert json.loads(parts["health.json"])["csms"]["registration"] == "Accepted"


def test_time_window_holds_for_the_logs(registered: Station, server: HttpFiles) -> None:
    for vendor in ("early", "right", "late"):
        registered.csms_sends("DataTransfer", vendorId=vendor)
        registered.advance(10)
    registered.answer_all()

    ask(
        registered,
        server,
        startTime=format_time(START + timedelta(seconds=5)),
        stopTime=format_time(START + timedelta(seconds=15)),
    )
    told_until(registered, "Uploaded")

    (part,) = [parts["ocpp_messages.log"] for parts in [content(server, next(iter(server.files)).rpartition("/")[2])]]
    assert b"right" in part
    assert b"early" not in part
    assert b"late" not in part


def test_frames_come_from_the_file_where_there_is_one(
    make_station: MakeStation, server: HttpFiles, tmp_path: Path
) -> None:
    """Also those of former runs, out of files that were rotated, and with lines that a power cut has torn."""
    file = tmp_path / "frames.log"
    Path(f"{file}.1").write_text('2026-11-20T10:00:00Z sent [2,"oldest"]\ntorn li')
    file.write_text('2026-11-21T10:00:00Z sent [2,"older"]\n')
    station = make_station(f'[logging]\nmessage_log = "{file}"\n')
    station.register()

    ask(station, server)
    told_until(station, "Uploaded")

    lines = content(server)["ocpp_messages.log"].decode().splitlines()
    assert [line.split()[2] for line in lines[:2]] == ['[2,"oldest"]', '[2,"older"]']
    assert any('"BootNotification"' in line for line in lines)
    assert not any("torn" in line for line in lines)
    close_log(station)


def test_of_long_logs_the_end_is_taken(make_station: MakeStation, server: HttpFiles, tmp_path: Path) -> None:
    file = tmp_path / "frames.log"
    file.write_text("".join(f"2026-11-21T10:00:00Z sent {number:01000}\n" for number in range(9000)))
    station = make_station(f'[logging]\nmessage_log = "{file}"\n')
    station.register()

    ask(station, server)
    told_until(station, "Uploaded")

    lines = content(server)["ocpp_messages.log"].decode().splitlines()
    assert sum(len(line) + 1 for line in lines) <= diagnostics.MAX_LOG
    assert len(lines) > 8000
    assert "Uploading" in lines[-1] + lines[-2]
    close_log(station)


def test_of_one_endless_line_the_begin_is_taken() -> None:
    latest = logs.LatestLines(5)
    for line in ("ab", "cd", "ef", "0123456789"):
        latest.add(0, line)

    assert [line for _, line in latest] == ["01234"]


def test_bad_log_line_disturbs_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    logs.RecentLines().handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", ("no number",), None))

    assert "TypeError" in capsys.readouterr().err


def test_archive_has_no_secrets(make_station: MakeStation, server: HttpFiles, tmp_path: Path) -> None:
    """DG-06, SE-13."""
    key, first, password, url_password = "0123456789abcdef", "first value of it", "broker's password", "pass-in-url"
    file = tmp_path / "frames.log"
    station = make_station(
        f'authorization_key = "{first}"\n'  # in the table [csms], which is the last one
        f'[mqtt]\npassword = "{password}"\nusername = "u"\n[logging]\nmessage_log = "{file}"\n'
    )
    station.settings = station.settings.model_copy(
        update={"csms": station.settings.csms.model_copy(update={"url": f"ws://u:{url_password}@csms.example/ocpp"})}
    )
    station.close()
    station._start_process()
    station.register()
    station.csms_sends("ChangeConfiguration", key="AuthorizationKey", value=key)
    station.csms_sends("ChangeConfiguration", key="authorizationkey", value=key)
    station.csms_sends("GetConfiguration")
    server.status = 500
    ask(station, server, location=server.url("/in", CREDENTIALS))
    told_until(station, "UploadFailed")
    server.status = None

    ask(station, server, location=server.url("/in", CREDENTIALS))
    told_until(station, "Uploaded")

    everything = b"\n".join(content(server).values()).decode()
    assert "***" in everything
    for secret in (key, first, password, url_password, CREDENTIALS, CREDENTIALS.partition(":")[2], PASSWORD):
        assert secret not in everything
    close_log(station)


# -- what the hardware adds


Write = Callable[[Path], object]  # what the hardware puts into its folder; its answer


@pytest.fixture
def with_hardware(make_station: MakeStation) -> Station:
    station = make_station(HARDWARE)
    station.register()
    return station


def hardware_request(station: Station) -> dict[str, Any]:
    topic = f"{BASE}/hardware/request/collect_diagnostics"
    station.settle_until(lambda: any(m.topic == topic for m in station.broker.messages), "the hardware is asked")
    payload: dict[str, Any] = [m.payload for m in station.broker.messages if m.topic == topic][-1]
    return payload


def let_hardware_write(station: Station, write: Write) -> None:
    request = hardware_request(station)
    answer = {"id": request["id"], "status": "ok", "data": write(Path(request["path"]))}
    station.publish("hardware/response/collect_diagnostics", answer)


def test_hardware_adds_its_file(with_hardware: Station, server: HttpFiles) -> None:
    """Contract 4."""
    ask(with_hardware, server, startTime="2026-11-22T08:00:00+01:00")

    def write(folder: Path) -> str:
        (folder / "evse.log").write_bytes(b"from the EVSE")
        return "evse.log"

    request = hardware_request(with_hardware)
    let_hardware_write(with_hardware, write)
    told_until(with_hardware, "Uploaded")

    assert (request["type"], request["start_time"], "stop_time" in request) == (
        "DiagnosticsLog", "2026-11-22T07:00:00Z", False,
    )  # fmt: skip
    assert content(server)["hardware/evse.log"] == b"from the EVSE"
    assert exchange(with_hardware) == []


def outside(folder: Path) -> str:
    (folder.parent.parent / "secret").write_bytes(b"not for you")
    return "../../secret"


def link(folder: Path) -> str:
    outside(folder)
    (folder / "link").symlink_to(folder.parent.parent / "secret")
    return "link"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def huge(folder: Path) -> str:
    with (folder / "huge").open("wb") as file:
        file.truncate(diagnostics.MAX_ADDED + 1)
    return "huge"


@pytest.mark.parametrize(
    "write",
    [
        outside,
        link,
        pipe,
        huge,
        *(lambda _folder, name=name: name for name in (None, "", "..", "missing", "a\0", 5, "a\n")),
    ],
    ids=["path", "link", "pipe", "huge", "nothing", "empty", "parent", "missing", "NUL", "number", "line break"],
)
def test_what_is_no_plain_file_of_the_folder_is_left_out(
    with_hardware: Station, server: HttpFiles, write: Write
) -> None:
    ask(with_hardware, server)

    let_hardware_write(with_hardware, write)
    told_until(with_hardware, "Uploaded")

    parts = content(server)
    assert not any(name.startswith("hardware") for name in parts)
    assert b"not for you" not in b"".join(parts.values())


def test_silent_hardware_does_not_hold_up_the_upload(with_hardware: Station, server: HttpFiles) -> None:
    ask(with_hardware, server)
    hardware_request(with_hardware)
    with_hardware.advance(10)

    told_until(with_hardware, "Uploaded")
    assert exchange(with_hardware) == []
