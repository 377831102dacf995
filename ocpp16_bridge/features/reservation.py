"""Reservation: ReserveNow and CancelReservation (OCPP 1.6, 5.1 and 5.13; obligations 8.2)."""

import logging
from dataclasses import dataclass

from ocpp.v16 import call, call_result
from ocpp.v16.enums import CancelReservationStatus, ChargePointStatus, ReservationStatus

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import Access, BooleanKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import IdTagInfo, same_tag
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.handlers import on_call
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Booking:
    """One reservation in force."""

    reservation_id: int
    connector_id: int  # 0: no fixed connector
    id_tag: str
    expires_at: str  # RFC 3339
    parent_id_tag: str | None = None

    def is_for(self, id_tag: str, info: IdTagInfo | None) -> bool:
        """Whether it lets a tag in; without ``info``, whether the tag's parent might (RV-01, RV-02)."""
        if same_tag(self.id_tag, id_tag):
            return True
        if self.parent_id_tag is None:
            return False
        return info is None or same_tag(self.parent_id_tag, info.parent_id_tag)


class Reservation(Feature):
    profile = "Reservation"

    reserve_connector_zero_supported = BooleanKey(
        "ReserveConnectorZeroSupported", default=True, access=Access.READ_ONLY
    )

    def __init__(self, context: Context, connectors: Connectors) -> None:
        super().__init__(context)
        self._connectors = connectors
        self._bookings = context.store.collection("reservation", Booking)
        self._timers: dict[int, Timer] = {}
        connectors.on_fault.append(self._end_where_unusable)
        connectors.on_availability.append(self._end_where_unusable)
        connectors.on_status.append(self._mark)

    def start(self) -> None:
        """Reservations outlive the process; those that ran out meanwhile end now (RV-05)."""
        for booking in self._all():
            self._arm(booking)
        self._follow()

    # -- what is reserved

    def _all(self) -> list[Booking]:
        return [booking for _, booking in self._bookings.items()]

    def _of(self, connector: Connector) -> list[Booking]:
        """The reservations of this very connector, at most one."""
        return [booking for booking in self._all() if booking.connector_id == connector.id]

    def _concerning(self, connector: Connector) -> list[Booking]:
        """Those that keep strangers away from ``connector`` now (RV-06)."""
        own = self._of(connector)
        return own or (self._of(self._connectors.charge_point) if self._is_needed(connector) else [])

    def _is_needed(self, connector: Connector) -> bool:
        """Whether reservations without a connector need this one: no more free ones are left than there are of them."""
        free = [one for one in self._connectors.all if self._is_free(one)]
        return connector in free and len(free) <= len(self._of(self._connectors.charge_point))

    def _is_free(self, connector: Connector) -> bool:
        """Free for anybody, but for a reservation without a connector."""
        return (
            self._connectors.is_usable(connector)
            and not connector.is_busy
            and not connector.claimed
            and not connector.state.plugged
            and not self._of(connector)
        )

    def allows(self, connector: Connector, id_tag: str, info: IdTagInfo | None) -> bool:
        """Whether a tag may use a connector now; without ``info`` whether its parent might let it (RV-01, RV-02)."""
        bookings = self._concerning(connector)
        return not bookings or any(booking.is_for(id_tag, info) for booking in bookings)

    def take(self, connector: Connector, id_tag: str, info: IdTagInfo) -> int | None:
        """The reservation that a transaction of this tag uses up, if any (RV-03, RV-04)."""
        for booking in (*self._of(connector), *self._of(self._connectors.charge_point)):
            if booking.is_for(id_tag, info):
                self._end(booking)
                return booking.reservation_id
        return None

    # -- the CSMS

    @on_call
    def reserve_now(self, request: call.ReserveNow) -> call_result.ReserveNow:
        status = self._status(request)
        if status == ReservationStatus.accepted:
            former = self._bookings.get(str(request.reservation_id))
            if former is not None:
                self._end(former)
            self._begin(
                Booking(
                    request.reservation_id,
                    request.connector_id,
                    request.id_tag,
                    format_time(parse_time(request.expiry_date)),
                    request.parent_id_tag,
                )
            )
        return call_result.ReserveNow(status=status)

    def _status(self, request: call.ReserveNow) -> ReservationStatus:
        """The checks of obligations 8.2, in their order."""
        if request.connector_id == 0:
            if not self.reserve_connector_zero_supported:
                return ReservationStatus.rejected
        elif request.connector_id not in self._connectors:
            return ReservationStatus.rejected
        if parse_time(request.expiry_date) <= self.context.clock.now():
            return ReservationStatus.rejected
        if request.connector_id == 0:
            return self._status_of_any(request.reservation_id)
        return self._status_at(self._connectors[request.connector_id], request.reservation_id)

    def _status_at(self, connector: Connector, reservation_id: int) -> ReservationStatus:
        match self._connectors.status(connector):
            case ChargePointStatus.faulted:
                return ReservationStatus.faulted
            case ChargePointStatus.unavailable:
                return ReservationStatus.unavailable
        others = [booking for booking in self._concerning(connector) if booking.reservation_id != reservation_id]
        if others or not self._is_unused(connector):
            return ReservationStatus.occupied
        return ReservationStatus.accepted

    @staticmethod
    def _is_unused(connector: Connector) -> bool:
        return not connector.is_busy and not connector.claimed and not connector.state.plugged

    def _status_of_any(self, reservation_id: int) -> ReservationStatus:
        """For connector 0 the charge point or all connectors count (TC_050_x_CS)."""
        statuses = {self._connectors.status(one) for one in self._connectors.all}
        own = self._connectors.status(self._connectors.charge_point)
        for bad, answer in (
            (ChargePointStatus.faulted, ReservationStatus.faulted),
            (ChargePointStatus.unavailable, ReservationStatus.unavailable),
        ):
            if own == bad or statuses == {bad}:
                return answer
        others = [one for one in self._of(self._connectors.charge_point) if one.reservation_id != reservation_id]
        free = [one for one in self._connectors.all if self._is_free(one) or self._is_only_for(one, reservation_id)]
        return ReservationStatus.accepted if len(free) > len(others) else ReservationStatus.occupied

    def _is_only_for(self, connector: Connector, reservation_id: int) -> bool:
        """Whether the connector is reserved by just that reservation, which is about to be replaced."""
        return self._is_unused(connector) and [one.reservation_id for one in self._of(connector)] == [reservation_id]

    @on_call
    def cancel_reservation(self, request: call.CancelReservation) -> call_result.CancelReservation:
        booking = self._bookings.get(str(request.reservation_id))
        if booking is None:
            return call_result.CancelReservation(status=CancelReservationStatus.rejected)
        self._end(booking)
        return call_result.CancelReservation(status=CancelReservationStatus.accepted)

    # -- its course

    def _begin(self, booking: Booking) -> None:
        self._bookings.put(str(booking.reservation_id), booking)
        self._arm(booking)
        self._follow()

    def _arm(self, booking: Booking) -> None:
        left = (parse_time(booking.expires_at) - self.context.clock.now()).total_seconds()
        self._timers[booking.reservation_id] = self.context.timers.after(
            left, "reservation runs out", lambda: self._run_out(booking)
        )

    def _run_out(self, booking: Booking) -> None:
        """RV-05; TC_047_CS. The clock may have been set since the timer was."""
        if parse_time(booking.expires_at) > self.context.clock.now():
            self._arm(booking)
        else:
            logger.info("reservation %s has run out", booking.reservation_id)
            self._end(booking)

    def _end(self, booking: Booking) -> None:
        self._bookings.delete(str(booking.reservation_id))
        timer = self._timers.pop(booking.reservation_id, None)
        if timer is not None:
            timer.cancel()
        self._follow()

    def _end_where_unusable(self, connector: Connector) -> None:
        """What becomes Faulted or Unavailable is no longer reserved (RV-03)."""
        if not self._connectors.is_operative(connector) or connector.is_faulted:
            for booking in self._of(connector):
                self._end(booking)

    # -- what others see

    def _follow(self) -> None:
        for connector in (self._connectors.charge_point, *self._connectors.all):
            bookings = self._of(connector)
            self.context.variables.set(
                f"connector/{connector.id}/reservation", _shown(bookings[0]) if bookings else None
            )
        self._mark(self._connectors.charge_point)

    def _mark(self, _connector: Connector) -> None:
        """Reserved are those with a reservation, and the last free ones for those without a connector (RV-06)."""
        for connector in self._connectors.all:
            reserved = bool(self._concerning(connector))
            if connector.reserved != reserved:
                connector.reserved = reserved
                self._connectors.update(connector)


def _shown(booking: Booking) -> dict[str, object]:
    members = {
        "reservation_id": booking.reservation_id,
        "id_tag": booking.id_tag,
        "parent_id_tag": booking.parent_id_tag,
        "expires_at": booking.expires_at,
    }
    return {name: value for name, value in members.items() if value is not None}
