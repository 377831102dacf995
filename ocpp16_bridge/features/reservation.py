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
from ocpp16_bridge.features.connectors.facts import ConnectorState
from ocpp16_bridge.handlers import on_call
from ocpp16_bridge.timestamps import format_time, parse_time

logger = logging.getLogger(__name__)

# Clocks are set without telling us: while there is a reservation the clock is looked at every so many s.
LOOK_AT_CLOCK = 60.0
_OUT_OF_SERVICE = {  # the first one counts where both are found
    ChargePointStatus.faulted: ReservationStatus.faulted,
    ChargePointStatus.unavailable: ReservationStatus.unavailable,
}


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
        self._timer: Timer | None = None
        connectors.on_state.append(self._state_changed)
        connectors.on_fault.append(self._end_where_unusable)
        connectors.on_availability.append(self._end_where_unusable)
        connectors.on_status.append(self._status_changed)

    def start(self) -> None:
        """Reservations outlive the process; those that ran out meanwhile end now (RV-05)."""
        self._changed()

    def switch_off(self) -> None:
        """The profile isn't claimed: nobody could cancel what a former configuration left."""
        self._end(self._all())

    # -- what is reserved

    def _all(self) -> list[Booking]:
        """What runs out first comes first."""
        bookings = [booking for _, booking in self._bookings.items()]
        return sorted(bookings, key=lambda booking: parse_time(booking.expires_at))

    def _untaken(self, bookings: list[Booking]) -> list[Connector]:
        """The connectors that nobody uses or has to himself; a cable may be plugged."""
        return [
            one
            for one in self._connectors.all
            if self._connectors.is_usable(one) and not one.is_busy and not one.claimed and not _of(one, bookings)
        ]

    def _free(self, bookings: list[Booking]) -> list[Connector]:
        return [one for one in self._untaken(bookings) if not one.state.has_cable]

    def _kept(self, bookings: list[Booking]) -> list[Connector]:
        """Those that behave as reserved for reservations without a connector (RV-06).

        All free ones, once no more are left than there are of these reservations. A cable that is plugged then changes
        nothing (RV-09): where not even so many are free, those count that were plugged last.
        """
        needed = len(_of(self._connectors.charge_point, bookings))
        free = self._free(bookings)
        if not needed or len(free) > needed:
            return []
        plugged = [one for one in self._untaken(bookings) if one.state.has_cable]
        plugged.sort(key=lambda one: one.plugged_at, reverse=True)
        return [*free, *plugged[: needed - len(free)]]

    def allows(self, connector: Connector, id_tag: str, info: IdTagInfo | None) -> bool:
        """Whether a tag may use a connector now; without ``info`` whether its parent might let it (RV-01, RV-02)."""
        bookings = self._all()
        concerning = _of(connector, bookings)
        if not concerning and connector in self._kept(bookings):
            concerning = _of(self._connectors.charge_point, bookings)
        return not concerning or any(booking.is_for(id_tag, info) for booking in concerning)

    def take(self, connector: Connector, id_tag: str, info: IdTagInfo) -> int | None:
        """The reservation that a transaction of this tag uses up, if any (RV-03, RV-04, RV-10)."""
        bookings = self._all()
        anywhere = _of(self._connectors.charge_point, bookings)
        anywhere.sort(key=lambda booking: not same_tag(booking.id_tag, id_tag))  # its own before one of its group
        for booking in (*_of(connector, bookings), *anywhere):
            if booking.is_for(id_tag, info):
                self._end([booking])
                return booking.reservation_id
        return None

    # -- the CSMS

    @on_call
    def reserve_now(self, request: call.ReserveNow) -> call_result.ReserveNow:
        status = self._status(request)
        if status == ReservationStatus.accepted:
            booking = Booking(
                request.reservation_id,
                request.connector_id,
                request.id_tag,
                format_time(parse_time(request.expiry_date)),
                request.parent_id_tag,
            )
            self._bookings.put(str(booking.reservation_id), booking)  # maybe in the place of an earlier one
            self._changed()
        return call_result.ReserveNow(status=status)

    def _status(self, request: call.ReserveNow) -> ReservationStatus:
        """The checks of obligations 8.2, in their order; one of the same id is judged as gone."""
        if not self._may_be_reserved(request.connector_id):
            return ReservationStatus.rejected
        if parse_time(request.expiry_date) <= self.context.clock.now():
            return ReservationStatus.rejected
        connector = self._connectors[request.connector_id]
        others = [booking for booking in self._all() if booking.reservation_id != request.reservation_id]
        return self._out_of_service(connector) or self._status_beside(others, connector)

    def _may_be_reserved(self, connector_id: int) -> bool:
        if connector_id == 0:
            return self.reserve_connector_zero_supported
        return connector_id in self._connectors

    def _out_of_service(self, connector: Connector) -> ReservationStatus | None:
        """The charge point or the connector is, for 0 all connectors are (TC_048_1, _3, TC_050_1, _3)."""
        charge_point = self._connectors.status(self._connectors.charge_point)
        addressed = [connector] if connector.id else self._connectors.all
        statuses = {self._connectors.status(one) for one in addressed}
        for bad, answer in _OUT_OF_SERVICE.items():
            if charge_point == bad or (bad in statuses and statuses <= _OUT_OF_SERVICE.keys()):
                return answer
        return None

    def _status_beside(self, others: list[Booking], connector: Connector) -> ReservationStatus:
        """Whether it is free, and not needed for a reservation without a connector (TC_048_2, TC_050_2)."""
        free = self._free(others)
        is_enough = len(free) > len(_of(self._connectors.charge_point, others))
        is_possible = is_enough and (connector.id == 0 or connector in free)
        return ReservationStatus.accepted if is_possible else ReservationStatus.occupied

    @on_call
    def cancel_reservation(self, request: call.CancelReservation) -> call_result.CancelReservation:
        """RV-07."""
        booking = self._bookings.get(str(request.reservation_id))
        if booking is None:
            return call_result.CancelReservation(status=CancelReservationStatus.rejected)
        self._end([booking])
        return call_result.CancelReservation(status=CancelReservationStatus.accepted)

    # -- its end

    def _end(self, bookings: list[Booking]) -> None:
        for booking in bookings:
            self._bookings.delete(str(booking.reservation_id))
        self._changed()

    def _run_out(self) -> None:
        """RV-05; TC_047_CS."""
        now = self.context.clock.now()
        over = [booking for booking in self._all() if parse_time(booking.expires_at) <= now]
        for booking in over:
            logger.info("reservation %s has run out", booking.reservation_id)
        self._end(over)

    def _end_where_unusable(self, connector: Connector) -> None:
        """What becomes Faulted or Unavailable is no longer reserved, and nothing is at such a charge point (RV-03)."""
        bookings = self._all() if connector.id == 0 else _of(connector, self._all())
        if bookings and self._connectors.status(connector) in _OUT_OF_SERVICE:
            self._end(bookings)

    # -- what follows

    def _state_changed(self, connector: Connector, former: ConnectorState) -> None:
        if connector.state.has_cable != former.has_cable:
            self.context.turns.call(self._mark)

    def _status_changed(self, connector: Connector) -> None:
        self._end_where_unusable(connector)
        self._mark()

    def _changed(self) -> None:
        """Once it is on disk the rest follows: a turn that fails changes nothing else."""
        self.context.turns.call(self._follow)

    def _follow(self) -> None:
        with self.context.turns.turn():
            bookings = self._all()
            self._arm(bookings)
            for connector in (self._connectors.charge_point, *self._connectors.all):
                shown = next(map(_shown, _of(connector, bookings)), None)
                self.context.variables.set(f"connector/{connector.id}/reservation", shown)
            self._mark()

    def _arm(self, bookings: list[Booking]) -> None:
        """One timer, for what runs out first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if bookings:
            left = (parse_time(bookings[0].expires_at) - self.context.clock.now()).total_seconds()
            self._timer = self.context.timers.after(min(left, LOOK_AT_CLOCK), "reservation runs out", self._run_out)

    def _mark(self) -> None:
        """Let all see what is reserved."""
        with self.context.turns.turn():
            bookings = self._all()
            kept = self._kept(bookings)
            for connector in self._connectors.all:
                reserved = connector in kept or bool(_of(connector, bookings))
                if connector.reserved != reserved:
                    connector.reserved = reserved
                    self._connectors.update(connector)


def _of(connector: Connector, bookings: list[Booking]) -> list[Booking]:
    """Those for this very connector; several are possible for connector 0 only."""
    return [booking for booking in bookings if booking.connector_id == connector.id]


def _shown(booking: Booking) -> dict[str, object]:
    members = {
        "reservation_id": booking.reservation_id,
        "id_tag": booking.id_tag,
        "parent_id_tag": booking.parent_id_tag,
        "expires_at": booking.expires_at,
    }
    return {name: value for name, value in members.items() if value is not None}
