"""The clock follows the CSMS (OCPP 1.6, 4.2 and 4.6; obligations HB-05, BT-22).

What happens before the CSMS told its time is stamped by the machine's clock, and with the machine's own count of
seconds since its boot; when it goes out, its timestamps are put right by that count.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ocpp16_bridge.csms.call_queue import Answered, DurableCall
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.security_events import SecurityEvents
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

# A clock outside of these is broken, and following it could put us where no time can be told.
POSSIBLE_YEARS = range(2010, 2200)
MAX_BOOTS = 20  # remembered
_NOTICEABLE = timedelta(seconds=1)


@dataclass(frozen=True)
class Boot:
    """When the machine booted, by the CSMS's clock; with the machine's count of seconds that makes any time."""

    first: str  # by the CSMS's first answer in this boot: puts right what was stamped before, in each resend alike
    latest: str  # by its latest correction: the clock goes on from there when the daemon restarts


@dataclass(frozen=True)
class Correction:
    """What a clock that the CSMS had not confirmed was off, and between which moments, told by itself, it ran so."""

    step: timedelta
    since: datetime
    until: datetime

    @classmethod
    def of(cls, said: datetime, monotonic: float, booted_at: datetime) -> "Correction":
        """The clock ``said`` something at a ``monotonic`` moment of a machine that really booted at ``booted_at``."""
        counted = timedelta(seconds=monotonic)
        # A clock-aligned value may be stamped with an instant that is about to come.
        return cls(booted_at + counted - said, said - counted, said + _NOTICEABLE)

    def time(self, timestamp: str) -> str:
        """What that clock stamped, put right; another clock's timestamp, as one of a former boot, is left as it is."""
        moment = parse_time(timestamp)
        if abs(self.step) <= _NOTICEABLE or not self.since <= moment <= self.until:
            return timestamp
        return format_time(moment + self.step)

    def payload(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The same with its own timestamp and those of its meter values put right."""
        corrected = dict(payload)
        for name, value in payload.items():
            if name == "timestamp":
                corrected[name] = self.time(value)
            elif name in ("meterValue", "transactionData"):
                corrected[name] = [self.payload(meter_value) for meter_value in value]
        return corrected


class ClockSynchronisation(Feature):
    def __init__(self, context: Context, events: SecurityEvents) -> None:
        super().__init__(context)
        self._events = events
        self._boots = context.store.collection("boot", Boot)
        self._is_being_set = False
        self.synchronised_at = 0.0  # monotonic
        context.csms.endpoint.calls.prepare.append(self._with_right_times)
        boot = self._boots.get(context.boot_id)
        if boot is not None:  # by the machine's count: meanwhile its clock may have been set
            context.clock.machine_was_set(parse_time(boot.latest), 0.0)
            context.clock.is_confirmed = True

    def follow(self, outcome: Answered) -> None:
        """Follow the `currentTime` of a BootNotification.conf or Heartbeat.conf."""
        clock = self.context.clock
        self.synchronised_at = clock.monotonic()
        current_time = parse_time(outcome.payload["currentTime"])  # what can't be read is no answer (TR-29)
        if current_time.year not in POSSIBLE_YEARS:
            logger.warning("the CSMS's clock is not followed to %s", format_time(current_time))
            return
        step = clock.correct(current_time, outcome.round_trip)
        if step or self.context.boot_id not in self._boots:
            self._keep()
        if step:
            logger.info("the CSMS's clock differs: timestamps follow it, %+.1f s", step.total_seconds())
            self._events.raise_event(
                "SettingSystemTime", f"{step.total_seconds():+.1f} s to {format_time(current_time)}"
            )
        self._set_machine()

    def _keep(self) -> None:
        booted_at = format_time(self.context.clock.at_monotonic(0.0))
        known = self._boots.get(self.context.boot_id)
        while known is None and len(self._boots) >= MAX_BOOTS:
            self._boots.delete(min(self._boots.items(), key=lambda boot: parse_time(boot[1].latest))[0])
        self._boots.put(self.context.boot_id, Boot(booted_at if known is None else known.first, booted_at))

    def _with_right_times(self, durable: DurableCall) -> dict[str, Any]:
        """The payload with the timestamps of a clock that was not confirmed put right, in each resend alike (TX-29)."""
        boot = self._boots.get(durable.boot_id)
        if durable.monotonic is None or boot is None:
            return durable.payload
        correction = Correction.of(parse_time(durable.queued_at), durable.monotonic, parse_time(boot.first))
        return correction.payload(durable.payload)

    # -- the clock of the machine

    def _set_machine(self) -> None:
        """Where the hardware sets clocks it is asked to; else we keep our offset."""
        is_wrong = abs(self.context.clock.offset) > _NOTICEABLE
        if is_wrong and not self._is_being_set and self.context.hardware.answers("set_time"):
            self._is_being_set = True
            self.context.conversations.start(self._ask_to_set(), "set_time")

    async def _ask_to_set(self) -> None:
        clock = self.context.clock
        moment, monotonic = clock.now(), clock.monotonic()
        try:
            await self.context.hardware.ask("set_time", current_time=format_time(moment))
            with self.context.turns.turn():  # others follow the step
                clock.machine_was_set(moment, monotonic)
        except NoHardwareAnswerError as error:
            logger.warning("the machine's clock is not set, an offset is kept: %s", error)
        finally:
            self._is_being_set = False
