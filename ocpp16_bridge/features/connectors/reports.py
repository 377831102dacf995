"""StatusNotification: what the CSMS is told of the connectors, and when (OCPP 1.6, 4.9; obligations ST-01 … ST-16)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.csms.call_queue import Answered, Outcome
from ocpp16_bridge.feature import Context
from ocpp16_bridge.features.connectors.status import path
from ocpp16_bridge.timestamps import format_time

# Longest texts (OCPP 1.6, 6.47): what is longer is cut, a report never fails for it (ST-13).
MAX_INFO = 50
MAX_VENDOR_ID = 255
MAX_VENDOR_ERROR_CODE = 50


@dataclass(frozen=True)
class Report:
    """The status of one connector; two are equal when they say the same, whenever that was."""

    status: ChargePointStatus
    error_code: ChargePointErrorCode
    since: datetime = field(compare=False)
    info: str | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None

    def shown(self) -> dict[str, Any]:
        """As the topic `connector/<n>/status` shows it."""
        members = {
            "status": self.status,
            "error_code": self.error_code,
            "info": self.info,
            "vendor_id": self.vendor_id,
            "vendor_error_code": self.vendor_error_code,
            "timestamp": format_time(self.since),
        }
        return {name: value for name, value in members.items() if value is not None}

    def message(self, connector_id: int) -> call.StatusNotification:
        return call.StatusNotification(
            connector_id=connector_id,
            error_code=self.error_code,
            status=self.status,
            timestamp=format_time(self.since),
            info=self.info and self.info[:MAX_INFO],
            vendor_id=self.vendor_id and self.vendor_id[:MAX_VENDOR_ID],
            vendor_error_code=self.vendor_error_code and self.vendor_error_code[:MAX_VENDOR_ERROR_CODE],
        )


class StatusReports:
    """Shows each status at once, and tells the CSMS: every change, in order, once it lasted long enough."""

    def __init__(self, context: Context, minimum_duration: Callable[[], float]) -> None:
        self._context = context
        self._minimum_duration = minimum_duration  # s
        self._present: dict[int, Report] = {}  # in the order of the connector ids
        self._told: dict[int, Report] = {}  # what the CSMS was told last
        self._delayed: dict[int, Timer] = {}
        self._may_begin = False
        context.csms.endpoint.on_connected.append(self._tell_all)
        context.csms.on_accepted.append(self._accepted)

    def begin(self) -> None:
        """The first facts of the hardware are in: what is shown may be told."""
        self._may_begin = True
        self._tell_all()

    def update(self, connector_id: int, report: Report) -> None:
        """Show ``report`` where it is news, and tell it, at once or once it lasted for MinimumStatusDuration."""
        former = self._present.get(connector_id)
        if report == former:
            return
        self._present[connector_id] = report
        self._context.variables.set(f"connector/{connector_id}/status", report.shown())
        self._cancel(connector_id)
        delay = self._minimum_duration()
        if former is None or delay == 0 or _is_urgent(former, report):
            self._tell(connector_id)
        elif self._told.get(connector_id) != report:  # else it fell back within the delay: nothing to tell (ST-07)
            self._delayed[connector_id] = self._context.timers.after(
                delay, "MinimumStatusDuration", lambda: self._tell(connector_id)
            )

    def repeat(self, connector_id: int) -> None:
        """Send the present status, whatever was told."""
        self._context.csms.send(self._present[connector_id].message(connector_id), triggered=True)

    def _cancel(self, connector_id: int) -> None:
        timer = self._delayed.pop(connector_id, None)
        if timer is not None:
            timer.cancel()

    def _accepted(self) -> None:
        """After each accepted BootNotification all are told (BT-05)."""
        self._told.clear()
        self._tell_all()

    def _tell_all(self) -> None:
        for connector_id in self._present:
            self._cancel(connector_id)
            self._tell(connector_id)

    def _tell(self, connector_id: int) -> None:
        """Tell what differs from what was told (ST-09), by steps that the specification's table knows (ST-04)."""
        report = self._present[connector_id]
        told = self._told.get(connector_id)
        if report == told or not (self._may_begin and self._context.csms.accepted):
            return
        if told is not None and told.status != report.status:
            for between in path(told.status, report.status)[:-1]:
                step = Report(between, ChargePointErrorCode.no_error, report.since)
                self._context.csms.send(step.message(connector_id))
        self._told[connector_id] = report
        self._context.csms.send(report.message(connector_id))

    def ended(self, request: call.StatusNotification, outcome: Outcome) -> None:
        """What did not arrive counts as not told: a reconnect brings it (TR-47)."""
        told = self._told.get(request.connector_id)
        if not isinstance(outcome, Answered) and told is not None and told.status == request.status:
            del self._told[request.connector_id]


def _is_urgent(former: Report, report: Report) -> bool:
    """Faults and changes of the error are told without delay (ST-07)."""
    return (
        ChargePointStatus.faulted in (former.status, report.status)
        or former.error_code != report.error_code
        or former.vendor_error_code != report.vendor_error_code
    )
