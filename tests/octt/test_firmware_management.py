"""OCTT: Firmware management and diagnostics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.file_servers import HttpFiles, http_files
from tests.octt.central_system import BACKGROUND, CentralSystem, call
from tests.octt.charger import TWO_CONNECTORS, Charger
from tests.station import BASE

WITH_FIRMWARE = TWO_CONNECTORS.replace('"]', '", "install_firmware"]')
UNAVAILABLE = [call("StatusNotification", connectorId=n, status="Unavailable") for n in (1, 2)]
AVAILABLE = [call("StatusNotification", connectorId=n, status="Available") for n in (1, 2)]


@pytest.fixture
def server() -> Iterator[HttpFiles]:
    with http_files(files={"/firmware.bin": b"firmware"}) as one:
        yield one


@pytest.fixture
def updatable(charger: Charger, cs: CentralSystem) -> Charger:
    """Its hardware installs firmware."""
    charger.kill(WITH_FIRMWARE)
    charger.power_on()
    cs.expect("BootNotification")
    cs.expect_statuses("Available", "Available", "Available")
    return charger


def update(charger: Charger, cs: CentralSystem, location: str) -> None:
    assert cs.call("UpdateFirmware", location=location, retrieveDate=charger.now(), retries=0) == {}
    charger.advance(0)
    expect_firmware(charger, cs, "Downloading")


def expect_firmware(charger: Charger, cs: CentralSystem, status: str) -> None:
    await_call(charger, cs)
    cs.expect("FirmwareStatusNotification", status=status)


def await_call(charger: Charger, cs: CentralSystem, count: int = 1) -> None:
    """Files are fetched and sent by threads."""
    charger.settle_until(
        lambda: len([one for one in cs._received if one.action not in BACKGROUND]) >= count, f"{count} CALLs"
    )


def expect_installing(charger: Charger, cs: CentralSystem) -> None:
    """The connectors may become Unavailable before or after Downloaded; the hardware accepts."""
    firmware = [call("FirmwareStatusNotification", status=status) for status in ("Downloaded", "Installing")]
    await_call(charger, cs, 4)
    cs.expect_in_any_order(*firmware, *UNAVAILABLE)
    request = install_request(charger)
    assert Path(request["path"]).read_bytes() == b"firmware"
    charger.publish("hardware/response/install_firmware", {"id": request["id"], "status": "ok", "data": "Accepted"})


def install_request(charger: Charger) -> dict[str, Any]:
    topic = f"{BASE}/hardware/request/install_firmware"
    (request,) = [message.payload for message in charger.broker.messages if message.topic == topic]
    return dict(request)


def test_tc_044_1_cs_firmware_update(updatable: Charger, cs: CentralSystem, server: HttpFiles) -> None:
    """Firmware Update - Download and Install."""
    update(updatable, cs, server.url())
    expect_installing(updatable, cs)

    updatable.publish("hardware/firmware_status", {"status": "InstallRebooting"})
    updatable.boot_id = "boot-2"
    updatable.kill(WITH_FIRMWARE)
    updatable.connect_broker()
    updatable.publish("hardware/info", {"firmware_version": "2.0"})
    updatable.publish("hardware/firmware_status", {"status": "Installed"})
    updatable.power_on()

    cs.expect("BootNotification", firmwareVersion="2.0")
    cs.expect_in_any_order(
        call("FirmwareStatusNotification", status="Installed"),
        call("StatusNotification", connectorId=0, status="Available"),
        *AVAILABLE,
    )


def test_tc_044_2_cs_download_failed(updatable: Charger, cs: CentralSystem, server: HttpFiles) -> None:
    """Firmware Update - Download Failed."""
    update(updatable, cs, server.url("/missing"))

    expect_firmware(updatable, cs, "DownloadFailed")

    assert updatable.shown("connector/1/status")["status"] == "Available"


def test_tc_044_3_cs_installation_failed(updatable: Charger, cs: CentralSystem, server: HttpFiles) -> None:
    """Firmware Update - Installation Failed."""
    update(updatable, cs, server.url())
    expect_installing(updatable, cs)

    updatable.publish("hardware/firmware_status", {"status": "InstallationFailed"})

    cs.expect_in_any_order(call("FirmwareStatusNotification", status="InstallationFailed"), *AVAILABLE)


def test_tc_045_1_cs_get_diagnostics(charger: Charger, cs: CentralSystem, server: HttpFiles) -> None:
    """Get Diagnostics."""
    name = cs.call("GetDiagnostics", location=server.url("/in/"), retries=0)["fileName"]

    await_call(charger, cs, 2)
    cs.expect("DiagnosticsStatusNotification", status="Uploading")
    cs.expect("DiagnosticsStatusNotification", status="Uploaded")
    assert list(server.files) == ["/firmware.bin", f"/in/{name}"]


def test_tc_045_2_cs_upload_failed(charger: Charger, cs: CentralSystem, server: HttpFiles) -> None:
    """Get Diagnostics - Upload Failed."""
    server.status = 404
    cs.call("GetDiagnostics", location=server.url("/in/"), retries=0)

    await_call(charger, cs, 2)
    cs.expect("DiagnosticsStatusNotification", status="Uploading")
    cs.expect("DiagnosticsStatusNotification", status="UploadFailed")
