"""Diagnostics: an archive for the operator (OCPP 1.6, 4.4 and 5.9; obligations 8.5)."""

import asyncio
import io
import json
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import DiagnosticsStatus

from ocpp16_bridge import logs
from ocpp16_bridge.configuration_keys import Access
from ocpp16_bridge.exchange import Exchange
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.firmware import QUEUE, RETRIES, RETRY_INTERVAL
from ocpp16_bridge.features.message_log import MessageLog
from ocpp16_bridge.handlers import on_call, on_trigger
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.timestamps import parse_time
from ocpp16_bridge.transfers import Transfer, TransferError

logger = logging.getLogger(__name__)

MAX_PART = 8 * 1024 * 1024  # bytes of one file in the archive; of a longer one the end is taken
FOLDER = "diagnostics"
_DONE = (DiagnosticsStatus.uploaded, DiagnosticsStatus.upload_failed)


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
        self._transfer: Transfer | None = None
        self._number = 0  # of the present upload: a new request replaces it
        self._last = DiagnosticsStatus.idle

    @on_call
    def get_diagnostics(self, request: call.GetDiagnostics) -> call_result.GetDiagnostics:
        """The name of the file is answered, then it is made and uploaded."""
        window = Window(_time(request.start_time), _time(request.stop_time))
        identity = "".join(c if c.isalnum() else "-" for c in self.context.settings.charge_point.id)[:60]
        name = f"{identity}-{self.context.clock.now():%Y%m%dT%H%M%SZ}.tar.gz"
        if self._transfer is not None:
            self._transfer.cancel()  # a second request cancels the first (DG-05)
        self._number += 1
        upload = self._upload(self._number, request, window, name)
        self.context.turns.call(lambda: self.context.conversations.start(upload, "diagnostics"))
        return call_result.GetDiagnostics(file_name=name)

    async def _upload(self, number: int, request: call.GetDiagnostics, window: Window, name: str) -> None:
        retries = RETRIES if request.retries is None else max(request.retries, 0)
        interval = RETRY_INTERVAL if request.retry_interval is None else max(request.retry_interval, 0)
        self._step(number, DiagnosticsStatus.uploading, name)
        path = await self._collect(window, name)
        for attempt in range(retries + 1):
            if attempt:
                await self.pause(interval, "diagnostics retryInterval")
            if number != self._number:
                break
            transfer = self._transfer = Transfer(request.location, self.context.clock.monotonic)
            try:
                await asyncio.to_thread(transfer.upload, path, name)
            except TransferError as error:
                logger.warning("diagnostics upload, attempt %s of %s: %s", attempt + 1, retries + 1, error)
            else:
                self._step(number, DiagnosticsStatus.uploaded, name)
                break
        else:
            self._step(number, DiagnosticsStatus.upload_failed, name)
        self._exchange.remove(name)

    def _step(self, number: int, status: DiagnosticsStatus, name: str) -> None:
        if number != self._number:
            return  # of a request that was replaced
        with self.context.turns.turn():
            self._last = status
            self.context.variables.event("diagnostics_status", {"status": status, "file_name": name})
            self.context.csms.send_durable(QUEUE, call.DiagnosticsStatusNotification(status=status))

    @on_trigger("DiagnosticsStatusNotification")
    def trigger_status(self, _connector_id: int | None) -> bool:
        status = DiagnosticsStatus.idle if self._last in _DONE else self._last
        self.context.csms.send(call.DiagnosticsStatusNotification(status=status), triggered=True)
        return True

    # -- the archive

    async def _collect(self, window: Window, name: str) -> Path:
        """Logs, OCPP messages, configuration without secrets, health, what the hardware adds (DG-01, DG-06)."""
        parts = {
            "daemon.log": _lines(logs.recent(), window),
            "ocpp_messages.log": _lines(self._message_log.recent(), window),
            "configuration.json": _json(self._configuration()),
            "configuration_keys.json": _json(self._keys()),
            "health.json": _json(self.context.variables.get("health")),
        }
        added = await self._ask_hardware(window)
        path = self._exchange.file(name)
        await asyncio.to_thread(_write, path, parts, added, self.context.clock.now())
        self._exchange.remove(FOLDER)
        return path

    async def _ask_hardware(self, window: Window) -> Path | None:
        if not self.context.hardware.answers("collect_diagnostics"):
            return None
        folder = self._exchange.make_folder(FOLDER)
        arguments = {
            "start_time": window.start and window.start.isoformat(),
            "stop_time": window.stop and window.stop.isoformat(),
        }
        try:
            name = await self.context.hardware.ask(
                "collect_diagnostics", path=str(folder), type="DiagnosticsLog", **arguments
            )
        except NoHardwareAnswerError as error:
            logger.warning("diagnostics without the hardware's: %s", error)
            return None
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            return None
        file = folder / name
        return file if file.is_file() and not file.is_symlink() else None

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


def _lines(entries: Iterator[tuple[datetime, str]], window: Window) -> bytes:
    text = "".join(line + "\n" for moment, line in entries if window.has(moment))
    return text.encode(errors="replace")[-MAX_PART:]


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, default=str).encode()


def _write(path: Path, parts: dict[str, bytes], added: Path | None, moment: datetime) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mtime = int(moment.timestamp())
            archive.addfile(member, io.BytesIO(content))
        if added is not None:
            _add_file(archive, added, moment)
    path.chmod(0o640)


def _add_file(archive: tarfile.TarFile, added: Path, moment: datetime) -> None:
    with added.open("rb") as file:
        size = added.stat().st_size
        file.seek(max(size - MAX_PART, 0))
        content = file.read(MAX_PART)
    member = tarfile.TarInfo("hardware/" + added.name)
    member.size = len(content)
    member.mtime = int(moment.timestamp())
    archive.addfile(member, io.BytesIO(content))
