"""StatusNotification: what the CSMS is told of the connectors, and when (OCPP 1.6, 4.9; obligations ST-01 … ST-16)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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

# Of one connector, unanswered: a plug that flaps faster than the CSMS answers must not keep Authorize waiting. What
# changes meanwhile is left out, as what is shorter than MinimumStatusDuration may be (ST-06).
MAX_ON_THEIR_WAY = 20


@dataclass(frozen=True)
class Report:
    """The status of one connector, with an error or without."""

    status: ChargePointStatus
    error_code: ChargePointErrorCode = ChargePointErrorCode.no_error
    info: str | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None

    @property
    def news(self) -> tuple[str | None, ...]:
        """What makes another notification of it: an error is known by its codes, whatever its text says by now."""
        info = self.info if self.error_code == ChargePointErrorCode.no_error else None
        return self.status, self.error_code, self.vendor_error_code, info

    def shown(self, since: datetime) -> dict[str, Any]:
        """As the topic `connector/<n>/status` shows it."""
        members = {
            "status": self.status,
            "error_code": self.error_code,
            "info": self.info,
            "vendor_id": self.vendor_id,
            "vendor_error_code": self.vendor_error_code,
            "timestamp": format_time(since),
        }
        return {name: value for name, value in members.items() if value is not None}

    def message(self, connector_id: int, since: datetime) -> call.StatusNotification:
        return call.StatusNotification(
            connector_id=connector_id,
            error_code=self.error_code,
            status=self.status,
            timestamp=format_time(since),
            info=self.info and self.info[:MAX_INFO],
            vendor_id=self.vendor_id and self.vendor_id[:MAX_VENDOR_ID],
            vendor_error_code=self.vendor_error_code and self.vendor_error_code[:MAX_VENDOR_ERROR_CODE],
        )


@dataclass
class _Line:
    """What one connector shows, and what the CSMS knows of it."""

    id: int
    report: Report
    since: datetime
    unconfirmed_since: float | None  # monotonic; where `since` is by a clock that the CSMS has not confirmed
    told: Report | None = None  # last, as far as we know it arrived
    message: call.StatusNotification | None = None  # which told it
    last_status: ChargePointStatus | None = None  # sent over this link
    delay: Timer | None = None
    on_their_way: int = 0
    is_held: bool = False  # something changed while too many were on their way

    def cancel_delay(self) -> None:
        if self.delay is not None:
            self.delay.cancel()
            self.delay = None


class StatusReports:
    """Shows each status at once, and tells the CSMS: every change, in order, once it lasted long enough."""

    def __init__(self, context: Context, minimum_duration: Callable[[], float]) -> None:
        self._context = context
        self._minimum_duration = minimum_duration  # s
        self._lines: dict[int, _Line] = {}  # in the order of the connector ids
        self._may_begin = False
        context.csms.endpoint.on_connected.append(self._connected)
        context.csms.on_accepted.append(self._accepted)

    # -- what happens

    def begin(self) -> None:
        """The first facts of the hardware are in: what is shown may be told."""
        self._may_begin = True
        self._tell_all()

    def update(self, connector_id: int, report: Report, others: Sequence[Report] = ()) -> None:
        """Show ``report`` and tell what is new: at once, or when it lasted for MinimumStatusDuration.

        ``others`` are told before it: the same status with errors that are new, too.
        """
        line = self._lines.get(connector_id)
        if line is None:
            line = self._lines[connector_id] = _Line(connector_id, report, *self._moment())
            self._show(line)
            self._tell(line, others)
            return
        former, line.report = line.report, report
        if report.news != former.news:
            line.since, line.unconfirmed_since = self._moment()
            self._follow(line, former, others)
        elif others:
            self._tell(line, others)
        self._show(line)

    def repeat(self, connector_id: int) -> None:
        """Send the present status, whatever was told and however short it lasts (ST-07)."""
        line = self._lines[connector_id]
        line.cancel_delay()
        self._send_present(line, triggered=True)

    def ended(self, request: call.StatusNotification, outcome: Outcome) -> None:
        """What did not arrive counts as not told: a reconnect brings it (TR-47)."""
        line = self._lines[request.connector_id]
        line.on_their_way -= 1
        if request is line.message and not isinstance(outcome, Answered):
            line.told = None
        if line.is_held:
            line.is_held = False
            self._tell(line)

    def _connected(self) -> None:
        """Only what is now counts, not the steps that led to it (ST-09)."""
        for line in self._lines.values():
            line.last_status = None
            if line.delay is None:
                self._tell(line)

    def _accepted(self) -> None:
        """After each accepted BootNotification all are told (BT-05)."""
        for line in self._lines.values():
            self._put_right(line)
            line.told = line.last_status = None
        self._tell_all()

    # -- out

    def _moment(self) -> tuple[datetime, float | None]:
        clock = self._context.clock
        return clock.now(), None if clock.is_confirmed else clock.monotonic()

    def _put_right(self, line: _Line) -> None:
        """The CSMS has told the time: what was stamped by a wrong clock is stamped anew (BT-22)."""
        if line.unconfirmed_since is None:
            return
        since = self._context.clock.at_monotonic(line.unconfirmed_since)
        line.unconfirmed_since = None
        if abs(since - line.since) > timedelta(seconds=1):
            line.since = since
            self._show(line)

    def _show(self, line: _Line) -> None:
        self._context.variables.set(f"connector/{line.id}/status", line.report.shown(line.since))

    def _follow(self, line: _Line, former: Report, others: Sequence[Report]) -> None:
        line.cancel_delay()
        delay = self._minimum_duration()
        if delay == 0 or line.told is None or others or _is_urgent(former, line.report):
            self._tell(line, others)
        elif line.told.news != line.report.news:  # else it fell back within the delay: nothing to tell (ST-07)
            line.delay = self._context.timers.after(delay, "MinimumStatusDuration", lambda: self._lasted(line))

    def _lasted(self, line: _Line) -> None:
        line.delay = None
        self._tell(line)

    def _tell_all(self) -> None:
        for line in self._lines.values():
            line.cancel_delay()
            self._tell(line)

    def _tell(self, line: _Line, others: Sequence[Report] = ()) -> None:
        """Tell what differs from what was told (ST-09), by steps that the specification's table knows (ST-04)."""
        is_told = line.told is not None and line.told.news == line.report.news
        if (is_told and not others) or not (self._may_begin and self._context.csms.accepted):
            return
        if line.on_their_way >= MAX_ON_THEIR_WAY:
            line.is_held = True
            return
        if line.last_status is not None:
            for step in path(line.last_status, line.report.status)[:-1]:
                self._send(line, Report(step).message(line.id, line.since))
        for other in others:
            self._send(line, other.message(line.id, line.since))
        self._send_present(line)

    def _send_present(self, line: _Line, *, triggered: bool = False) -> None:
        line.told = line.report
        line.message = line.report.message(line.id, line.since)
        line.last_status = line.report.status
        self._send(line, line.message, triggered=triggered)

    def _send(self, line: _Line, message: call.StatusNotification, *, triggered: bool = False) -> None:
        line.on_their_way += 1
        self._context.csms.send(message, triggered=triggered)


def _is_urgent(former: Report, report: Report) -> bool:
    """Faults and changes of the error are told without delay (ST-07)."""
    return (
        ChargePointStatus.faulted in (former.status, report.status)
        or former.error_code != report.error_code
        or former.vendor_error_code != report.vendor_error_code
    )
