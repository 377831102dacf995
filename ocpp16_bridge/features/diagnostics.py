"""Diagnostics: an archive for the operator (OCPP 1.6, 4.4 and 5.9; obligations 8.5)."""

import asyncio
import io
import json
import logging
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeGuard

from ocpp.v16 import call, call_result
from ocpp.v16.enums import DiagnosticsStatus

from ocpp16_bridge import logs
from ocpp16_bridge.configuration_keys import Access
from ocpp16_bridge.exchange import Exchange
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.firmware import QUEUE
from ocpp16_bridge.features.message_log import MessageLog
from ocpp16_bridge.handlers import on_call, on_trigger
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.timestamps import format_time, parse_time
from ocpp16_bridge.transfers import Retries, Transfer, in_attempts

logger = logging.getLogger(__name__)

MAX_LOG = 8 << 20  # characters of one log in the archive; of a longer one the end is taken
MAX_ADDED = 32 << 20  # bytes; a larger file of the hardware is left out
_DONE = (DiagnosticsStatus.uploaded, DiagnosticsStatus.upload_failed)
_JOB = "job"


@dataclass(frozen=True)
class Window:
    """What of the logs is wanted."""

    start: datetime | None
    stop: datetime | None

    def has(self, moment: datetime) -> bool:
        return (self.start is None or moment >= self.start) and (self.stop is None or moment <= self.stop)


class Diagnostics(Feature):
    profile = "FirmwareManagement"

    def __init__(self, context: Context, message_log: MessageLog, exchange: Exchange) -> None:
        super().__init__(context)
        self._message_log = message_log
        self._exchange = exchange
        self._transfer: Transfer | None = None  # of the present request
        self._last = DiagnosticsStatus.idle  # for TriggerMessage
        self._uploading = context.store.collection("diagnostics", str)  # name of the file that is on its way

    def start(self) -> None:
        """An upload that a restart has cut is not taken up again, but its end is told (DG-02)."""
        name = self._uploading.get(_JOB)
        if name is not None:
            self._step(DiagnosticsStatus.upload_failed, name)

    @on_call
    def get_diagnostics(self, request: call.GetDiagnostics) -> call_result.GetDiagnostics:
        """The name of the file is answered, then it is uploaded; a second request cancels the first (DG-05)."""
        window = Window(_time(request.start_time), _time(request.stop_time))
        identity = "".join(c if c.isalnum() else "-" for c in self.context.settings.charge_point.id)[:60]
        name = f"{identity}-{self.context.clock.now():%Y%m%dT%H%M%SZ}.tar.gz"
        retries = Retries.of(request.retries, request.retry_interval)
        if self._transfer is not None:
            self._transfer.cancel()
        transfer = self._transfer = Transfer(
            request.location, self.context.clock.monotonic, self.context.settings.csms.ca_file
        )
        self.context.turns.call(
            lambda: self.context.conversations.start(self._serve(transfer, retries, window, name), "diagnostics")
        )
        return call_result.GetDiagnostics(file_name=name)

    async def _serve(self, transfer: Transfer, retries: Retries, window: Window, name: str) -> None:
        if self._transfer is not transfer:
            return
        self._step(DiagnosticsStatus.uploading, name)
        file = f"diagnostics-{self.context.new_id()}"
        self._exchange.in_use.add(file)
        try:
            is_uploaded = await self._upload(transfer, retries, await self._collect(window, file), name)
        except OSError as error:
            logger.warning("the diagnostics archive can't be written: %s", error.strerror)
            is_uploaded = False
        finally:
            self._exchange.remove(file)
        if self._transfer is transfer:
            self._step(DiagnosticsStatus.uploaded if is_uploaded else DiagnosticsStatus.upload_failed, name)

    async def _upload(self, transfer: Transfer, retries: Retries, path: Path, name: str) -> bool:
        work = lambda: transfer.upload(path, name)  # noqa: E731 - one line, handed on
        return bool(await in_attempts(transfer, work, retries, self.pause))

    def _step(self, status: DiagnosticsStatus, name: str) -> None:
        """Tell the CSMS, in order and also after a restart (DG-02)."""
        with self.context.turns.turn():
            self._last = status
            if status in _DONE:
                self._uploading.delete(_JOB)
            else:
                self._uploading.put(_JOB, name)
            self.context.variables.event("diagnostics_status", {"status": status, "file_name": name})
            self.context.csms.send_durable(QUEUE, call.DiagnosticsStatusNotification(status=status))

    @on_trigger("DiagnosticsStatusNotification")
    def trigger_status(self, _connector_id: int | None) -> bool:
        status = DiagnosticsStatus.idle if self._last in _DONE else self._last
        self.context.csms.send(call.DiagnosticsStatusNotification(status=status), triggered=True)
        return True

    # -- the archive

    async def _collect(self, window: Window, file: str) -> Path:
        """Logs, OCPP messages, configuration without secrets, health, what the hardware adds (DG-01, DG-06).

        Raises:
            OSError: the archive can't be written.

        """
        texts = {
            "configuration.json": _json(self._configuration()),
            "configuration_keys.json": _json(self._keys()),
            "health.json": _json(self.context.variables.get("health")),
        }
        sources = {"daemon.log": logs.recent(), "ocpp_messages.log": self._message_log.recent()}
        path = self._exchange.file(file)
        folder = f"{file}-hardware"
        try:
            added = await self._ask_hardware(window, folder)
            await asyncio.to_thread(_write, path, self.context.clock.now(), texts, sources, window, added)
        finally:
            self._exchange.remove(folder)
        return path

    async def _ask_hardware(self, window: Window, folder_name: str) -> Path | None:
        if not self.context.hardware.answers("collect_diagnostics"):
            return None
        folder = self._exchange.make_folder(folder_name)
        try:
            name = await self.context.hardware.ask(
                "collect_diagnostics",
                path=str(folder),
                type="DiagnosticsLog",
                start_time=window.start and format_time(window.start),
                stop_time=window.stop and format_time(window.stop),
            )
        except NoHardwareAnswerError as error:
            logger.warning("diagnostics without the hardware's: %s", error)
            return None
        return folder / name if _is_plain_name(name) else None

    def _configuration(self) -> Any:
        """The settings; secrets are hidden by their type, the URL's credentials and first values by us."""
        settings = self.context.settings
        shown = settings.model_dump(mode="json")
        shown["csms"]["url"] = settings.csms.public_url
        shown["configuration_keys"] = sorted(settings.configuration_keys)
        return shown

    def _keys(self) -> dict[str, str | None]:
        keys = self.configuration_keys
        return {key.name: keys.text(key) for key in keys if key.access is not Access.WRITE_ONLY}


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _is_plain_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and name.isprintable()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, default=str).encode()


def _lines(source: Iterator[tuple[datetime, str]], window: Window) -> bytes:
    latest = logs.LatestLines(MAX_LOG)
    for moment, line in source:
        if window.has(moment):
            latest.add(moment.timestamp(), line + "\n")
    return "".join(line for _, line in latest).encode(errors="replace")


def _write(
    path: Path,
    moment: datetime,
    texts: dict[str, bytes],
    sources: dict[str, Iterator[tuple[datetime, str]]],
    window: Window,
    added: Path | None,
) -> None:
    """Reading megabytes of logs and packing them blocks: this belongs into a thread."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in texts.items():
            _add(archive, name, moment, io.BytesIO(content), len(content))
        for name, source in sources.items():
            content = _lines(source, window)
            _add(archive, name, moment, io.BytesIO(content), len(content))
        if added is not None:
            _add_file(archive, added, moment)
    path.chmod(0o640)


def _add_file(archive: tarfile.TarFile, added: Path, moment: datetime) -> None:
    """What others wrote: only a plain file, which neither leads elsewhere nor keeps us waiting, and not too large."""
    try:
        descriptor = os.open(added, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        logger.warning("diagnostics without the hardware's: %s", error.strerror)
        return
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_ADDED:
            _add(archive, "hardware/" + added.name, moment, file, status.st_size)
        else:
            logger.warning("diagnostics without the hardware's: no file of at most %s bytes", MAX_ADDED)


def _add(archive: tarfile.TarFile, name: str, moment: datetime, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mtime = int(moment.timestamp())
    archive.addfile(member, content)
