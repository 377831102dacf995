"""Firmware management (OCPP 1.6, 4.5 and 5.19; obligations 8.4)."""

import logging
from collections.abc import Callable
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
from ocpp16_bridge.transfers import Retries, Transfer, in_attempts

logger = logging.getLogger(__name__)

QUEUE = "status_notification"  # of firmware and diagnostics: each step is told, in order
MAX_QUEUED = 1000
INSTALL_WITHIN = 3600.0  # s without news of an installation until it counts as failed
LOOK_AGAIN = 3600.0  # s until the time of day is looked at again: it may be corrected
BROKER_WAIT = 10.0  # s until an installation is tried again that finds no broker
SWEEP_EVERY = 3600.0  # s
_JOB = "job"

_ENDS = (FirmwareStatus.installed, FirmwareStatus.installation_failed, FirmwareStatus.download_failed)


class FirmwareProgress(Fact):
    """What the hardware says of an installation."""

    request_id: int | None = None
    status: Annotated[str, Field(pattern="^(Installing|Installed|InstallationFailed|InstallRebooting)$")]


@dataclass(frozen=True)
class Job:
    """One update, on disk until it has ended."""

    file: str  # in exchange/; no two jobs have the same
    location: str
    retrieve_at: str  # RFC 3339
    retries: Retries
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
            f"firmware-{self.context.new_id()}",
            request.location,
            format_time(parse_time(request.retrieve_date)),
            Retries.of(request.retries, request.retry_interval),
        )
        self._jobs.put(_JOB, job)
        self._exchange.in_use.add(job.file)
        self._last = FirmwareStatus.idle
        self._wait(job)
        return call_result.UpdateFirmware()

    def _job(self) -> Job | None:
        return self._jobs.get(_JOB)

    def _is_present(self, job: Job, *statuses: str) -> bool:
        """Whether ``job`` has neither ended nor been replaced, and has one of these statuses, if any are given."""
        present = self._job()
        return present is not None and present.file == job.file and (not statuses or present.status in statuses)

    def _abandon(self) -> None:
        """A new request replaces one that waits or downloads."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transfer is not None:
            self._transfer.cancel()
        job = self._job()
        if job is not None:
            self._jobs.delete(_JOB)
            self._exchange.remove(job.file)
        self._hold(held=False)

    def start(self) -> None:
        """What a restart interrupted goes on where it was (FW-05)."""
        job = self._job()
        if job is not None:
            self._exchange.in_use.add(job.file)
            self._go_on(job)
        self._exchange.sweep()
        self.context.timers.every(SWEEP_EVERY, "exchange/", self._exchange.sweep)

    def _go_on(self, job: Job) -> None:
        match job.status:
            case FirmwareStatus.downloaded:
                self._last = FirmwareStatus.downloaded
                self._hold(held=True)
                # Whether a transaction goes on is known when the hardware has told its facts.
                self._after(self.context.settings.hardware.start_timeout, self._install_when_idle)
            case FirmwareStatus.installing:
                self._last = FirmwareStatus.installing
                self._hold(held=True)
                self._limit_installation()
            case _:
                self._wait(job)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        """The one timer of a job."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.context.timers.after(seconds, "firmware", action)

    def _wait(self, job: Job) -> None:
        left = (parse_time(job.retrieve_at) - self.context.clock.now()).total_seconds()
        if left > LOOK_AGAIN:
            self._after(LOOK_AGAIN, lambda: self._wait(job))
        else:
            self._after(left, lambda: self.context.conversations.start(self._fetch(job), "firmware download"))

    # -- the download

    async def _fetch(self, job: Job) -> None:
        """One DownloadFailed at the end, not one for each attempt (FW-03)."""
        if not self._is_present(job):
            return
        self._step(FirmwareStatus.downloading)
        digest = await self._download(job)
        if not self._is_present(job):
            return
        if digest is None:
            self._step(FirmwareStatus.download_failed)
            return
        logger.info("firmware downloaded, SHA-256 %s", digest)
        with self.context.turns.turn():
            self._step(FirmwareStatus.downloaded)
            self._hold(held=True)
            self._install_when_idle()

    async def _download(self, job: Job) -> str | None:
        transfer = self._transfer = Transfer(
            job.location, self.context.clock.monotonic, self.context.settings.csms.ca_file
        )
        try:
            path = self._exchange.file(job.file)
        except OSError as error:
            logger.error("firmware: exchange/ can't be made: %s", error.strerror)  # noqa: TRY400 - the text says it all
            return None
        return await in_attempts(transfer, lambda: transfer.download(path), job.retries, self.pause)

    # -- the installation

    def _hold(self, *, held: bool) -> None:
        """Nothing new may start meanwhile: idle connectors become Unavailable (FW-04)."""
        for connector in self._connectors.all:
            if connector.held != held:
                connector.held = held
                self._connectors.update(connector)

    def _install_when_idle(self) -> None:
        """As soon as no transaction runs any more, and somebody can be asked (FW-04)."""
        job = self._job()
        if job is None or job.status != FirmwareStatus.downloaded or not self._is_idle():
            return
        if self._is_listed() and not self.context.hardware.publisher.connected:
            self._after(BROKER_WAIT, self._install_when_idle)
        else:
            self.context.turns.call(
                lambda: self.context.conversations.start(self._install(job), "firmware installation")
            )

    def _is_idle(self) -> bool:
        return all(self._transactions.running(connector) is None for connector in self._connectors.all)

    def _is_listed(self) -> bool:
        return self.context.hardware.answers("install_firmware")

    async def _install(self, job: Job) -> None:
        if not self._is_present(job, FirmwareStatus.downloaded):
            return
        with self.context.turns.turn():
            self._jobs.put(_JOB, replace(job, version=self._registration.firmware_version()))
            self._step(FirmwareStatus.installing)
        refusal = await self._refusal(job)
        if not self._is_present(job):
            return  # the hardware has told its end meanwhile
        if refusal:
            logger.error("firmware is not installed: %s", refusal)
            self._step(FirmwareStatus.installation_failed)
        else:
            self._limit_installation()

    async def _refusal(self, job: Job) -> str:
        """Why the hardware does not install the file; empty: it does."""
        if not self._is_listed():
            return "hardware.answers does not list install_firmware"
        try:
            answer = await self.context.hardware.ask("install_firmware", path=str(self._exchange.folder / job.file))
        except NoHardwareAnswerError as error:
            return str(error)
        return "" if answer == "Accepted" else f"the hardware answers {str(answer)[:40]!r}"

    def _limit_installation(self) -> None:
        self._after(INSTALL_WITHIN, self._not_installed)

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
        else:
            self._limit_installation()

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
                self._finish(job, status)
            elif job is not None:
                self._jobs.put(_JOB, replace(job, status=status))

    def _finish(self, job: Job, status: FirmwareStatus) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._jobs.delete(_JOB)
        if status == FirmwareStatus.download_failed:
            self._exchange.remove(job.file)
        else:
            self._exchange.release(job.file)
        self._hold(held=False)
        if status == FirmwareStatus.installed:
            self._events.raise_event("FirmwareUpdated")

    @on_trigger("FirmwareStatusNotification")
    def trigger_status(self, _connector_id: int | None) -> bool:
        """The present status; Idle where nothing is under way."""
        status = FirmwareStatus.idle if self._last in _ENDS else self._last
        self.context.csms.send(call.FirmwareStatusNotification(status=status), triggered=True)
        return True
