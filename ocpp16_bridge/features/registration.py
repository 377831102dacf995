"""Registration: BootNotification and Heartbeat (OCPP 1.6, 4.2 and 4.6; obligations 2)."""

import logging
from collections.abc import Callable
from typing import Annotated

from ocpp.v16 import call
from ocpp.v16.enums import RegistrationStatus
from pydantic import Field

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import IntegerKey
from ocpp16_bridge.csms.back_off import BackOff
from ocpp16_bridge.csms.call_queue import Answered, Outcome
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.clock_synchronisation import ClockSynchronisation
from ocpp16_bridge.features.configuration import Configuration
from ocpp16_bridge.handlers import on_change, on_hardware, on_result, on_trigger
from ocpp16_bridge.mqtt.model import Fact

logger = logging.getLogger(__name__)

SYNC_AT_LEAST_EVERY = 86400.0  # s, also where other messages make heartbeats needless (TR-51)
OWN_INTERVAL = 60.0  # s until the next BootNotification where the CSMS names none (BT-06), doubled each time up to …
LONGEST_OWN_INTERVAL = 900.0  # s
LONGEST_INTERVAL = 2**31 - 1  # s; the CSMS may name any integer, the key holds no greater one


class HardwareInfo(Fact):
    """What the hardware knows better than the configuration file."""

    firmware_version: Annotated[str | None, Field(max_length=50)] = None
    serial_number: Annotated[str | None, Field(max_length=25)] = None
    meter_type: Annotated[str | None, Field(max_length=25)] = None
    meter_serial_number: Annotated[str | None, Field(max_length=25)] = None
    iccid: Annotated[str | None, Field(max_length=20)] = None
    imsi: Annotated[str | None, Field(max_length=20)] = None


class Registration(Feature):
    heartbeat_interval = IntegerKey("HeartbeatInterval", 300, minimum=1)  # s

    def __init__(
        self, context: Context, configuration: Configuration, clock: ClockSynchronisation, back_off: BackOff
    ) -> None:
        super().__init__(context)
        self._configuration = configuration
        self._clock = clock
        self._back_off = back_off
        self._own_interval = BackOff(OWN_INTERVAL, 0, 4, lambda: 0.0)
        self._retry: Timer | None = None
        self._heartbeat: Timer | None = None
        self._heartbeat_at = 0.0  # monotonic; when one was asked for last, though it may still wait for its turn
        self._no_boot_before = 0.0  # monotonic; a Pending or Rejected says so
        self._may_repeat_boot = False  # TR-48: once per connection
        self._hardware = HardwareInfo()
        self.on_hardware_info: list[Callable[[], None]] = []
        self._known: call.BootNotification | None = None  # what the CSMS answered last
        self._peer = context.store.collection("csms", str)
        endpoint = context.csms.endpoint
        endpoint.on_connected.append(self._connected)
        endpoint.on_disconnected.append(lambda _reason: self._cancel_timers())
        endpoint.on_security_error.append(self._forgotten)

    def start(self) -> None:
        """A changed CSMS or identity keeps what is queued, with a warning."""
        settings = self.context.settings
        present = {"url": settings.csms.public_url, "identity": settings.charge_point.id}
        for name, value in present.items():
            former = self._peer.get(name)
            if former is not None and former != value:
                logger.warning(
                    "the CSMS %s was %s and is now %s: what is still queued goes to the new one", name, former, value
                )
            self._peer.put(name, value)

    # -- BootNotification

    def begin(self) -> None:
        """Register anew, with the next connection or on this one: the charge point started (BT-01)."""
        self.context.csms.registration = None
        self._no_boot_before = 0.0

    def _connected(self) -> None:
        self._may_repeat_boot = True
        wait = self._no_boot_before - self.context.clock.monotonic()
        if self.context.csms.accepted and self._boot_notification() == self._known:
            self._arm_heartbeat()  # a plain reconnect sends no BootNotification (TR-46)
        elif wait > 0:  # a new link doesn't shorten the interval (BT-06, BT-07)
            self._retry_after(wait)
        else:
            self._send_boot_notification()

    def _forgotten(self) -> None:
        """A CSMS that answers SecurityError right after a reconnect may have forgotten us (TR-48)."""
        if self._may_repeat_boot and self.context.csms.accepted:
            self._may_repeat_boot = False
            self._send_boot_notification()

    def _send_boot_notification(self) -> None:
        self._cancel_timers()
        self.context.csms.send(self._boot_notification())

    def _boot_notification(self) -> call.BootNotification:
        own = self.context.settings.charge_point
        hardware = self._hardware
        return call.BootNotification(
            charge_point_vendor=own.vendor,
            charge_point_model=own.model,
            charge_point_serial_number=hardware.serial_number or own.serial_number or None,
            charge_box_serial_number=own.charge_box_serial_number or None,
            firmware_version=hardware.firmware_version or own.firmware_version or None,
            iccid=hardware.iccid or own.iccid or None,
            imsi=hardware.imsi or own.imsi or None,
            meter_type=hardware.meter_type or own.meter_type or None,
            meter_serial_number=hardware.meter_serial_number or own.meter_serial_number or None,
        )

    @on_hardware("info")
    def hardware_info(self, info: HardwareInfo) -> None:
        self._hardware = info
        for listener in self.on_hardware_info:
            listener()

    def firmware_version(self) -> str:
        """As BootNotification says it; empty where nobody knows."""
        return self._hardware.firmware_version or self.context.settings.charge_point.firmware_version

    @on_result
    def on_boot_notification(self, request: call.BootNotification, outcome: Outcome, _about: str) -> None:
        if not isinstance(outcome, Answered):
            if self.context.csms.connected:
                self._retry_after(self._back_off.next_wait())  # BT-09
            return
        self._back_off.reset()
        self._known = request
        self._clock.follow(outcome)
        status = RegistrationStatus(outcome.payload["status"])
        interval = outcome.payload["interval"]  # s
        self.context.variables.set(
            "boot_notification_response",
            {"status": status, "current_time": outcome.payload["currentTime"], "interval": interval},
        )
        logger.log(
            logging.INFO if status == RegistrationStatus.accepted else logging.WARNING,
            "the CSMS answers BootNotification: %s, interval %s s",
            status,
            interval,
        )
        self.context.csms.registration = status
        if status == RegistrationStatus.accepted:
            self._accepted(min(interval, LONGEST_INTERVAL))
        else:
            self._not_accepted(min(interval, LONGEST_INTERVAL))

    def _accepted(self, interval: int) -> None:
        self._own_interval.reset()
        self._no_boot_before = 0.0
        if interval > 0:  # BT-03; 0 keeps what we have (BT-04)
            self._configuration.set_value(type(self).heartbeat_interval, interval)
        self._arm_heartbeat()

    def _not_accepted(self, interval: int) -> None:
        """BT-06: not before the interval; 0 lets us choose one that does not flood."""
        wait = interval if interval > 0 else min(self._own_interval.next_wait(), LONGEST_OWN_INTERVAL)
        self._no_boot_before = self.context.clock.monotonic() + wait
        self._retry_after(wait)

    def _retry_after(self, seconds: float) -> None:
        self._cancel_timers()
        self._retry = self.context.timers.after(seconds, "BootNotification", self._send_boot_notification)

    def _cancel_timers(self) -> None:
        for timer in (self._retry, self._heartbeat):
            if timer is not None:
                timer.cancel()
        self._retry = self._heartbeat = None

    @on_trigger("BootNotification")
    def trigger_boot_notification(self, _connector_id: int | None) -> bool:
        """Not while the charge point is accepted (BT-10)."""
        if self.context.csms.registration == RegistrationStatus.accepted:
            return False
        self._send_boot_notification()
        return True

    # -- Heartbeat

    @on_trigger("Heartbeat")
    def trigger_heartbeat(self, _connector_id: int | None) -> bool:
        self.context.csms.send(call.Heartbeat(), triggered=True)
        return True

    @on_change("HeartbeatInterval")
    def _interval_changed(self, _former: int) -> None:
        if self.context.csms.accepted:
            self._arm_heartbeat()

    def _arm_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._heartbeat = self.context.timers.after(self._until_heartbeat(), "Heartbeat", self._heartbeat_due)

    def _until_heartbeat(self) -> float:
        """Seconds until nothing was sent for HeartbeatInterval (HB-01, HB-02), or the clock is due (TR-51)."""
        idle_until = max(self.context.csms.last_sent_at, self._heartbeat_at) + self.heartbeat_interval
        sync_due = max(self._clock.synchronised_at, self._heartbeat_at) + SYNC_AT_LEAST_EVERY
        return min(idle_until, sync_due) - self.context.clock.monotonic()

    def _heartbeat_due(self) -> None:
        if self._until_heartbeat() > 0:
            self._arm_heartbeat()
        else:
            self.send_heartbeat()  # the next one is not before this one's end

    def send_heartbeat(self) -> None:
        self._heartbeat_at = self.context.clock.monotonic()
        self.context.csms.send(call.Heartbeat())

    @on_result
    def on_heartbeat(self, _request: call.Heartbeat, outcome: Outcome, _about: str) -> None:
        if isinstance(outcome, Answered):
            self._clock.follow(outcome)
        if self.context.csms.accepted:
            self._arm_heartbeat()
