"""The clock follows the CSMS (OCPP 1.6, 4.2 and 4.6; obligations HB-05, BT-22).

What happens before the CSMS told its time is stamped by the machine's clock, and with the machine's own count of
seconds since its boot; when it goes out, its timestamps are put right by that count (`delivery`).
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from ocpp16_bridge.csms.call_queue import Answered
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.security_events import SecurityEvents
from ocpp16_bridge.mqtt.hardware import NoHardwareAnswerError
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

# A clock outside of these is broken, and following it could put us where no time can be told.
POSSIBLE_YEARS = range(2010, 2200)
_NOTICEABLE = timedelta(seconds=1)
_KEPT = "offset"


@dataclass(frozen=True)
class KeptOffset:
    """What the CSMS's clock is ahead of the machine's; it holds until the machine boots again."""

    boot_id: str
    seconds: float


class ClockSynchronisation(Feature):
    def __init__(self, context: Context, events: SecurityEvents) -> None:
        super().__init__(context)
        self._events = events
        self._offset = context.store.collection("clock", KeptOffset)
        self._is_being_set = False
        self.synchronised_at = 0.0  # monotonic
        kept = self._offset.get(_KEPT)
        if kept is not None and kept.boot_id == context.boot_id:
            context.clock.offset = timedelta(seconds=kept.seconds)

    def follow(self, outcome: Answered) -> None:
        """Follow the `currentTime` of a BootNotification.conf or Heartbeat.conf."""
        clock = self.context.clock
        self.synchronised_at = clock.monotonic()
        current_time = parse_time(outcome.payload["currentTime"])  # what can't be read is no answer (TR-29)
        if current_time.year not in POSSIBLE_YEARS:
            logger.warning("the CSMS's clock is not followed to %s", format_time(current_time))
            return
        step = clock.correct(current_time, outcome.round_trip)
        if step:
            logger.info("the CSMS's clock differs: timestamps follow it, %+.1f s", step.total_seconds())
            self._events.raise_event(
                "SettingSystemTime", f"{step.total_seconds():+.1f} s to {format_time(current_time)}"
            )
            self._keep()
        self._set_machine()

    def _keep(self) -> None:
        seconds = self.context.clock.offset.total_seconds()
        self._offset.put(_KEPT, KeptOffset(self.context.boot_id, seconds))

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
        except NoHardwareAnswerError as error:
            logger.warning("the machine's clock is not set, an offset is kept: %s", error)
        else:
            with self.context.turns.turn():
                clock.machine_was_set(moment, monotonic)
                self._keep()
        self._is_being_set = False
