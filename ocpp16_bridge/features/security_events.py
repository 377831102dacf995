"""Security events: logged, shown, and sent where critical (security white paper, A04; obligations 9.5)."""

import logging
from datetime import datetime
from typing import Annotated

from ocpp.v16 import call
from pydantic import Field, field_validator

from ocpp16_bridge.csms.call_queue import Outcome, Refused
from ocpp16_bridge.csms.schemas import ErrorCode
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.handlers import command, on_result
from ocpp16_bridge.mqtt.model import Arguments
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

QUEUE = "security_event"
MAX_QUEUED = 1000
MAX_INFO = 255  # characters
INVALID_MESSAGES_AT_MOST_EVERY = 60.0  # s; a CSMS that sends nothing else must not fill the security log

# Critical by the white paper's list (WP 8), and those that its requirements or the OCTT want sent all the same (SE-32).
CRITICAL = frozenset(
    {
        "FirmwareUpdated",
        "SettingSystemTime",
        "StartupOfTheDevice",
        "ResetOrReboot",
        "SecurityLogWasCleared",
        "MemoryExhaustion",
        "TamperDetectionActivated",
        "InvalidFirmwareSignature",
        "InvalidFirmwareSigningCertificate",
        "InvalidCentralSystemCertificate",
        "InvalidChargePointCertificate",
    }
)


class SecurityEvent(Arguments):
    """What a local program reports."""

    type: Annotated[str, Field(min_length=1, max_length=50)]
    info: Annotated[str | None, Field(max_length=MAX_INFO)] = None
    critical: bool | None = None  # None: as the white paper says of the type
    timestamp: str | None = None

    @field_validator("timestamp")
    @classmethod
    def _is_a_time(cls, timestamp: str | None) -> str | None:
        if timestamp is not None:
            parse_time(timestamp)
        return timestamp


class SecurityEvents(Feature):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # A CSMS that doesn't know the message isn't asked again for that event; others are retried and kept in order.
        final = frozenset({str(ErrorCode.NOT_IMPLEMENTED), str(ErrorCode.NOT_SUPPORTED)})
        context.csms.add_durable(QUEUE, MAX_QUEUED, final)
        self._next_invalid_messages = 0.0  # monotonic
        context.csms.endpoint.on_unusable.append(self._unusable)

    def start(self) -> None:
        self.raise_event("StartupOfTheDevice")

    def _unusable(self, kind: str) -> None:
        now = self.context.clock.monotonic()
        if now >= self._next_invalid_messages:
            self._next_invalid_messages = now + INVALID_MESSAGES_AT_MOST_EVERY
            self.raise_event("InvalidMessages", kind)

    def raise_event(self, event_type: str, info: str | None = None) -> None:
        """An event of the daemon itself; its own topic shows it."""
        now = self.context.clock.now()
        critical = event_type in CRITICAL
        self.context.variables.set(
            "security_event",
            {"type": event_type, "info": info or "", "timestamp": format_time(now), "critical": critical},
        )
        self._record(event_type, info, now, critical=critical)

    @command()
    def security_event(self, request: SecurityEvent) -> None:
        moment = self.context.clock.now() if request.timestamp is None else parse_time(request.timestamp)
        critical = request.type in CRITICAL if request.critical is None else request.critical
        self._record(request.type, request.info, moment, critical=critical)

    def _record(self, event_type: str, info: str | None, moment: datetime, *, critical: bool) -> None:
        level = logging.WARNING if critical else logging.INFO
        logger.log(level, "security event %s: %s", event_type, info or "-")
        if critical:
            message = call.SecurityEventNotification(
                type=event_type, timestamp=format_time(moment), tech_info=info and info[:MAX_INFO]
            )
            self.context.csms.send_durable(QUEUE, message)

    @on_result
    def on_security_event_notification(
        self, request: call.SecurityEventNotification, outcome: Outcome, _about: str
    ) -> None:
        if isinstance(outcome, Refused):
            logger.warning("the CSMS does not take the security event %s: %s", request.type, outcome.code)
