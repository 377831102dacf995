"""Firmware and diagnostics with the real process, and with real servers (obligations 8.4 and 8.5)."""

import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.certificates import Authority
from tests.end_to_end.charge_point import ChargePoint, MakeChargePoint
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.file_servers import CREDENTIALS, PASSWORD, ftp_files, http_files

make_charge_point = charge_point.make_charge_point

FIRMWARE = bytes(range(256)) * 40_000  # 10 MB


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def one(make_charge_point: MakeChargePoint, authority: Authority) -> Iterator[ChargePoint]:
    point = make_charge_point(
        count=2,
        csms={"ca_file": str(authority.certificate)},
        hardware={"answers": ["install_firmware"]},
        logging={"publish_ocpp_messages": True},
    )
    yield point
    shown = point.daemon.log + repr(point.program.messages("#"))
    assert CREDENTIALS.partition(":")[2] not in shown
    assert PASSWORD not in shown


def update(one: ChargePoint, location: str, **arguments: Any) -> None:
    now = datetime.now(UTC).isoformat()
    assert one.csms.call("UpdateFirmware", {"location": location, "retrieveDate": now, **arguments}) == {}
    one.await_call("FirmwareStatusNotification", status="Downloading")


def install(one: ChargePoint) -> Path:
    """The hardware accepts; the file that it is to install."""
    request = one.program.wait_for("ocpp16/hardware/request/install_firmware", timeout=PATIENCE).json
    answer = {"id": request["id"], "status": "ok", "data": "Accepted"}
    one.program.publish("ocpp16/hardware/response/install_firmware", answer)
    return Path(request["path"])


def test_firmware_update(one: ChargePoint, authority: Authority) -> None:
    """TC_044_1_CS: with a cut on the way, and the restart that the installation causes."""
    with http_files(authority.server(), files={"/firmware.bin": FIRMWARE}, cuts=[5_000_000]) as server:
        update(one, server.url(credentials=CREDENTIALS), retries=1, retryInterval=0)
        one.await_call("FirmwareStatusNotification", status="Downloaded")
        for connector in (1, 2):
            one.await_status("Unavailable", connector)
        one.await_call("FirmwareStatusNotification", status="Installing")
        assert install(one).read_bytes() == FIRMWARE
        assert server.asked("Range") == [None, "bytes=5000000-"]

    one.daemon.kill()
    one.daemon.start()
    one.await_registration()
    one.program.publish("ocpp16/hardware/firmware_status", {"status": "Installed"})

    one.await_call("FirmwareStatusNotification", status="Installed")
    for connector in (1, 2):
        one.await_status("Available", connector)


def test_diagnostics(one: ChargePoint, authority: Authority, tmp_path: Path) -> None:
    """TC_045_1_CS."""
    with ftp_files(tmp_path / "ftp", authority.server()) as server:
        answer = one.csms.call("GetDiagnostics", {"location": server.url("/")})

        one.await_call("DiagnosticsStatusNotification", status="Uploading")
        one.await_call("DiagnosticsStatusNotification", status="Uploaded")

        with tarfile.open(server.folder / answer["fileName"]) as archive:
            log = archive.extractfile("daemon.log")
            assert log is not None
            assert b"connected" in log.read()


def test_end_does_not_wait_for_a_server(one: ChargePoint) -> None:
    """SIGTERM while a file is on its way."""
    with http_files(drips=True, files={"/firmware.bin": b"x"}) as server:
        update(one, server.url())
        eventually(lambda: server.requests, "the server is asked")

        one.daemon.terminate()

        assert one.daemon.wait(5) == 0
