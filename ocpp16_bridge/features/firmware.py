"""Firmware management (OCPP 1.6, 4.5 and 5.19; obligations 8.4)."""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Annotated

from ocpp.v16 import call, call_result
from ocpp.v16.enums import FirmwareStatus
from pydantic import Field

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, ListKey
from ocpp16_bridge.csms.endpoint import CallRefusedError
from ocpp16_bridge.csms.schemas import ErrorCode
from ocpp16_bridge.exchange import Exchange
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.connectors import Connectors
from ocpp16_bridge.features.registration import Registration
from ocpp16_bridge.features.security_events import SecurityEvents
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import on_call, on_hardware, on_trigger
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.mqtt.model import Fact
from ocpp16_bridge.timestamps import format_time, parse_time
from ocpp16_bridge.transfers import Transfer, TransferError

logger = logging.getLogger(__name__)

QUEUE = "status_notification"  # of firmware and diagnostics: each step is told, in order
MAX_QUEUED = 1000
RETRIES = 3  # after the first attempt, where the CSMS names no number (FW-03)
RETRY_INTERVAL = 60  # s, likewise
INSTALL_WITHIN = 3600.0  # s until an installation of which nothing is heard counts as failed
FILE = "firmware"
_JOB = "job"

_ENDS = (FirmwareStatus.installed, FirmwareStatus.installation_failed, FirmwareStatus.download_failed)


class FirmwareProgress(Fact):
    """What the hardware says of an installation."""

    request_id: int | None = None
    status: Annotated[str, Field(pattern="^(Installing|Installed|InstallationFailed|InstallRebooting)$")]


@dataclass(frozen=True)
class Job:
    """One update, on disk until it has ended."""

    location: str
    retrieve_at: str  # RFC 3339
    retries: int
    retry_interval: int  # s
    status: str = FirmwareStatus.idle
    version: str = ""  # of the firmware that is to be replaced


class Firmware(Feature):
    profile = "FirmwareManagement"

    supported_file_transfer_protocols = ListKey(
        "SupportedFileTransferProtocols", ("FTP", "FTPS", "HTTP", "HTTPS"), access=Access.READ_ONLY
    )

    def __init__(
        self,
        context: Context,
        registration: Registration,
        events: SecurityEvents,
        connectors: Connectors,
        transactions: Transactions,
        exchange: Exchange,
    ) -> None:
        super().__init__(context)
        self._registration = registration
        self._events = events
        self._connectors = connectors
        self._transactions = transactions
        self._exchange = exchange
        self._jobs = context.store.collection("firmware", Job)
        final = frozenset({str(ErrorCode.NOT_IMPLEMENTED), str(ErrorCode.NOT_SUPPORTED)})
        context.csms.add_durable(QUEUE, MAX_QUEUED, final)
        self._timer: Timer | None = None
        self._transfer: Transfer | None = None
        self._last = FirmwareStatus.idle  # for TriggerMessage
        transactions.on_end.append(lambda _connector, _transaction: self._install_when_idle())
        registration.on_hardware_info.append(self._version_known)

    # -- the request

    @on_call
    def update_firmware(self, request: call.UpdateFirmware) -> call_result.UpdateFirmware:
        """Answered at once; the file is fetched at its time (FW-01)."""
        if self.context.settings.csms.secure_firmware_update:
            # FW-08
            raise CallRefusedError(ErrorCode.NOT_SUPPORTED, "only SignedUpdateFirmware is served")
        job = self._job()
        if job is not None and job.status == FirmwareStatus.installing:
            logger.warning("UpdateFirmware is ignored: an installation is under way (FW-06)")
            return call_result.UpdateFirmware()
        self._abandon()
        job = Job(
            request.location,
            format_time(parse_time(request.retrieve_date)),
            RETRIES if request.retries is None else max(request.retries, 0),
            RETRY_INTERVAL if request.retry_interval is None else max(request.retry_interval, 0),
            version=self._registration.firmware_version(),
        )
        self._jobs.put(_JOB, job)
        self._last = FirmwareStatus.idle
        self._wait(job)
        return call_result.UpdateFirmware()

    def _job(self) -> Job | None:
        return self._jobs.get(_JOB)

    def _abandon(self) -> None:
        """A new request replaces one that waits or downloads."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transfer is not None:
            self._transfer.cancel()
            self._transfer = None
        self._hold(held=False)
        self._jobs.delete(_JOB)

    def start(self) -> None:
        """What a restart interrupted goes on where it was (FW-05)."""
        job = self._job()
        if job is None:
            return
        match job.status:
            case FirmwareStatus.downloaded:
                self._hold(held=True)
                self._install_when_idle()
            case FirmwareStatus.installing:
                self._hold(held=True)
                self._last = FirmwareStatus.installing
                self._limit_installation()
            case _:
                self._wait(job)

    def _wait(self, job: Job) -> None:
        left = (parse_time(job.retrieve_at) - self.context.clock.now()).total_seconds()
        self._timer = self.context.timers.after(
            left,
            "firmware retrieveDate",
            lambda: self.context.conversations.start(self._fetch(job), "firmware download"),
        )

    # -- the download

    async def _fetch(self, job: Job) -> None:
        """Attempt by attempt; one DownloadFailed at the end, not one for each (FW-03)."""
        self._step(FirmwareStatus.downloading)
        for attempt in range(job.retries + 1):
            if attempt:
                await self.pause(job.retry_interval, "firmware retryInterval")
            if self._job() is None or self._is_replaced(job):
                return
            transfer = self._transfer = Transfer(job.location, self.context.clock.monotonic)
            try:
                digest = await asyncio.to_thread(transfer.download, self._exchange.file(FILE))
            except TransferError as error:
                if transfer.cancelled.is_set():
                    return
                logger.warning("firmware download, attempt %s of %s: %s", attempt + 1, job.retries + 1, error)
            else:
                logger.info("firmware downloaded, SHA-256 %s", digest)
                self._step(FirmwareStatus.downloaded)
                self._prepare_installation()
                return
        self._step(FirmwareStatus.download_failed)

    def _is_replaced(self, job: Job) -> bool:
        present = self._job()
        return present is None or replace(present, status=job.status) != job

    # -- the installation

    def _prepare_installation(self) -> None:
        """Nothing new may start meanwhile: idle connectors become Unavailable (FW-04)."""
        with self.context.turns.turn():
            self._hold(held=True)
            self._install_when_idle()

    def _hold(self, *, held: bool) -> None:
        for connector in self._connectors.all:
            if connector.held != held:
                connector.held = held
                self._connectors.update(connector)

    def _install_when_idle(self) -> None:
        job = self._job()
        idle = all(self._transactions.running(connector) is None for connector in self._connectors.all)
        if job is not None and job.status == FirmwareStatus.downloaded and idle:
            self.context.turns.call(lambda: self.context.conversations.start(self._install(), "firmware installation"))

    async def _install(self) -> None:
        job = self._job()
        if job is None or job.status != FirmwareStatus.downloaded:
            return
        self._step(FirmwareStatus.installing)
        path = str(self._exchange.file(FILE))
        try:
            refusal = await self._refusal(path)
        except NoHardwareAnswerError as error:
            refusal = str(error)
        if refusal:
            logger.error("firmware is not installed: %s", refusal)
            self._step(FirmwareStatus.installation_failed)
        else:
            with self.context.turns.turn():
                self._limit_installation()

    async def _refusal(self, path: str) -> str:
        """Why the hardware does not install the file; empty: it does."""
        if not self.context.hardware.answers("install_firmware"):
            return "hardware.answers does not list install_firmware"
        answer = await self.context.hardware.ask("install_firmware", path=path)
        return "" if answer == "Accepted" else f"the hardware answers {answer!r}"

    def _limit_installation(self) -> None:
        self._timer = self.context.timers.after(INSTALL_WITHIN, "firmware installation", self._not_installed)

    def _not_installed(self) -> None:
        logger.error("firmware: nothing was heard of the installation for %.0f s", INSTALL_WITHIN)
        self._step(FirmwareStatus.installation_failed)

    @on_hardware("firmware_status")
    def progress(self, progress: FirmwareProgress) -> None:
        """What the hardware says counts while an installation is under way."""
        job = self._job()
        if job is None or job.status != FirmwareStatus.installing:
            return
        if progress.status in (FirmwareStatus.installed, FirmwareStatus.installation_failed):
            self._step(FirmwareStatus(progress.status))

    def _version_known(self) -> None:
        """The hardware came back with another version: that is the new one."""
        job = self._job()
        if job is not None and job.status == FirmwareStatus.installing:
            version = self._registration.firmware_version()
            if version and version != job.version:
                self._step(FirmwareStatus.installed)

    # -- each step

    def _step(self, status: FirmwareStatus) -> None:
        """Tell the CSMS, in order and also after a restart (FW-02, FW-05), and keep where we are."""
        with self.context.turns.turn():
            job = self._job()
            self._last = status
            self.context.variables.event("firmware_status", {"status": status})
            self.context.csms.send_durable(QUEUE, call.FirmwareStatusNotification(status=status))
            if job is not None and status in _ENDS:
                self._finish(status)
            elif job is not None:
                self._jobs.put(_JOB, replace(job, status=status))

    def _finish(self, status: FirmwareStatus) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transfer = None
        self._jobs.delete(_JOB)
        self._hold(held=False)
        if status == FirmwareStatus.installed:
            self._events.raise_event("FirmwareUpdated")

    @on_trigger("FirmwareStatusNotification")
    def trigger_status(self, _connector_id: int | None) -> bool:
        """The present status; Idle where nothing is under way."""
        status = FirmwareStatus.idle if self._last in _ENDS else self._last
        self.context.csms.send(call.FirmwareStatusNotification(status=status), triggered=True)
        return True
