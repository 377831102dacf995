"""From an id tag to a transaction: who may start where, and what a tag stops (OCPP 1.6, 3.4, 4.8 and 5.11)."""

import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    AuthorizationStatus,
    ChargePointErrorCode,
    Reason,
    RegistrationStatus,
    RemoteStartStopStatus,
)
from pydantic import Field

from ocpp16_bridge.configuration_keys import BooleanKey, IntegerKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import Authorization, IdTagInfo, same_tag
from ocpp16_bridge.features.claims import Claim, Claims
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import HardwareError
from ocpp16_bridge.features.reservation import Reservation
from ocpp16_bridge.features.transactions.record import Transaction
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.model import Arguments

logger = logging.getLogger(__name__)

IdTag = Annotated[str, Field(min_length=1, max_length=20)]

_LIST_CONFLICT = HardwareError(error_code=ChargePointErrorCode.local_list_conflict, faulted=False)


class PresentIdTag(Arguments):
    id_tag: IdTag
    connector_ids: Annotated[list[int], Field(min_length=1, max_length=1000)] | None = None


class Starting(Feature):
    authorize_remote_tx_requests = BooleanKey("AuthorizeRemoteTxRequests", default=True)
    connection_time_out = IntegerKey("ConnectionTimeOut", 120, maximum=3600)  # s; 0: none

    def __init__(
        self,
        context: Context,
        connectors: Connectors,
        authorization: Authorization,
        reservation: Reservation,
        transactions: Transactions,
    ) -> None:
        super().__init__(context)
        self._connectors = connectors
        self._authorization = authorization
        self._reservation = reservation
        self._transactions = transactions
        self._claims = Claims(
            context, connectors, reservation, transactions, lambda: self.connection_time_out, self._begin
        )
        self._authorizing: set[int] = set()  # connectors whose remote start is being authorised
        # Smart charging judges the profile of a remote start, and takes it when its transaction begins (TX-06).
        self.accepts_profile: Callable[[dict[str, Any]], bool] = lambda _profile: True
        self.on_profile: Callable[[Connector, Transaction, dict[str, Any]], None] = lambda *_: None
        authorization.on_list_conflict.append(self._show_list_conflict)

    def _begin(self, claim: Claim, connector: Connector) -> None:
        """The tag is authorised, the cable plugged and locked."""
        reservation_id = self._reservation.take(connector, claim.id_tag, claim.info)
        transaction = self._transactions.begin(connector, claim.id_tag, claim.info, reservation_id)
        if claim.profile is not None:
            self.on_profile(connector, transaction, claim.profile)

    def drop_all(self) -> None:
        """OCPP is stopped: nothing that waits begins any more."""
        self._claims.drop_all()

    def _show_list_conflict(self) -> None:
        """AU-10."""
        error = _LIST_CONFLICT if self._authorization.has_list_conflict else None
        self._connectors.set_error(self._connectors.charge_point, "local_auth_list", error)

    # -- a card before the reader

    @command()
    async def present_id_tag(self, request: PresentIdTag) -> dict[str, Any]:
        self.refuse_while_stopped()
        id_tag, connectors = request.id_tag, self._chosen(request.connector_ids)
        with self.context.turns.turn():
            reply = self._present_known(id_tag, connectors)
        if reply is not None:
            return reply
        info = await self._authorization.authorize(id_tag)
        self.refuse_while_stopped()
        with self.context.turns.turn():
            return self._present_authorized(id_tag, info, connectors)

    def _chosen(self, connector_ids: list[int] | None) -> list[Connector]:
        if connector_ids is None:
            return list(self._connectors.all)
        unknown = [number for number in connector_ids if number not in self._connectors]
        if unknown:
            raise CommandError("bad_request", f"connector_ids: there is no connector {unknown[0]}")
        return [self._connectors[number] for number in dict.fromkeys(connector_ids)]

    def _present_known(self, id_tag: str, connectors: Sequence[Connector]) -> dict[str, Any] | None:
        """What needs no authorisation; None: it has to be asked for."""
        reply = self._stop_own(id_tag, connectors) or self._show_own_claim_again(id_tag, connectors)
        known = self._authorization.find(id_tag)
        if reply is None and known is not None and known.is_accepted:
            reply = self._stop_of_group(id_tag, known, connectors)
        if reply is not None:
            return reply
        if any(self._parent_at(one) for one in connectors) or self._claims.candidates(connectors, id_tag, None):
            return None
        # It neither stops nor starts anything: no Authorize for that (AU-03, 4.4; TC_068_CS).
        return _reply(known or IdTagInfo(AuthorizationStatus.invalid), "none")

    def _stop_own(self, id_tag: str, connectors: Sequence[Connector]) -> dict[str, Any] | None:
        """The tag that started it stops at once, or frees its cable, without Authorize (4.4; TC_068_CS)."""
        for of in (self._transactions.running, self._transactions.kept_for):
            for connector in connectors:
                transaction = of(connector)
                if transaction is not None and same_tag(transaction.id_tag, id_tag):
                    info = IdTagInfo(AuthorizationStatus.accepted, None, transaction.parent_id_tag)
                    return self._stop(connector, id_tag, info)
        return None

    def _stop_of_group(self, id_tag: str, info: IdTagInfo, connectors: Sequence[Connector]) -> dict[str, Any] | None:
        """Parent is compared with parent, never with a tag (4.3; TC_069_CS)."""
        for connector in connectors:
            if same_tag(self._parent_at(connector), info.parent_id_tag):
                return self._stop(connector, id_tag, info)
        return None

    def _parent_at(self, connector: Connector) -> str | None:
        transaction = self._transactions.running(connector) or self._transactions.kept_for(connector)
        return None if transaction is None else transaction.parent_id_tag

    def _stop(self, connector: Connector, id_tag: str, info: IdTagInfo) -> dict[str, Any]:
        if self._transactions.running(connector) is None:
            self._transactions.release(connector)
            return _reply(info, "none", connector)
        self._transactions.end(connector, Reason.local, id_tag)
        return _reply(info, "stop", connector)

    def _show_own_claim_again(self, id_tag: str, connectors: Sequence[Connector]) -> dict[str, Any] | None:
        """Once more while it waits for the cable takes the claim back (AU-12)."""
        claim = self._claims.of(id_tag, connectors)
        if claim is None:
            return None
        if claim.is_plugged:  # and waits for the lock: it starts or does not, within a few seconds
            return _reply(claim.info, "start", claim.candidates[0])
        self._claims.drop(claim)
        return _reply(claim.info, "none")

    def _present_authorized(self, id_tag: str, info: IdTagInfo, connectors: Sequence[Connector]) -> dict[str, Any]:
        """The decision is there; meanwhile everything else may have changed."""
        if not info.is_accepted:
            self._claims.tell("rejected", id_tag, connectors, status=info.status)
            return _reply(info, "none")
        return self._stop_of_group(id_tag, info, connectors) or self._start(id_tag, info, connectors)

    def _start(self, id_tag: str, info: IdTagInfo, connectors: Sequence[Connector]) -> dict[str, Any]:
        """Begin where a cable is plugged, the last one of several; else wait for the first (contract 3)."""
        candidates = self._claims.candidates(connectors, id_tag, info)
        if not candidates:
            return _reply(info, "none")
        plugged = [one for one in candidates if one.state.plugged]
        connector = max(plugged, key=lambda one: one.plugged_at, default=None)
        self._claims.start(Claim(id_tag, info, candidates), connector)
        if connector is not None:
            return _reply(info, "start", connector)
        return _reply(info, "wait", candidates[0] if len(candidates) == 1 else None)

    # -- RemoteStartTransaction

    @on_call
    def remote_start_transaction(self, request: call.RemoteStartTransaction) -> call_result.RemoteStartTransaction:
        """Accepted says that it will be tried; what follows comes after the answer (TR-32; 6.1)."""
        candidates = self._remote_candidates(request)
        profile = request.charging_profile
        if not candidates or (profile is not None and not self.accepts_profile(profile)):
            return call_result.RemoteStartTransaction(status=RemoteStartStopStatus.rejected)
        self.context.turns.call(lambda: self._begin_remote_start(request, candidates))
        return call_result.RemoteStartTransaction(status=RemoteStartStopStatus.accepted)

    def _remote_candidates(self, request: call.RemoteStartTransaction) -> list[Connector]:
        """Where it may start; connector 0, unknown, busy, reserved, Unavailable and Faulted ones are none."""
        if self.context.csms.registration != RegistrationStatus.accepted:
            return []  # BT-08
        if not self.context.hardware.publisher.connected:
            return []  # the hardware would not hear of it (contract 1)
        chosen = list(self._connectors.all)
        if request.connector_id is not None:
            chosen = [one for one in chosen if one.id == request.connector_id]
        free = self._claims.candidates(chosen, request.id_tag, None)
        return [one for one in free if one.id not in self._authorizing]

    def _begin_remote_start(self, request: call.RemoteStartTransaction, candidates: list[Connector]) -> None:
        """From now on a second one for the same connector is rejected."""
        pending = {candidates[0].id} if len(candidates) == 1 else set()
        self._authorizing |= pending
        self.context.conversations.start(self._remote_start(request, candidates, pending), "RemoteStartTransaction")

    async def _remote_start(
        self, request: call.RemoteStartTransaction, candidates: list[Connector], pending: set[int]
    ) -> None:
        try:
            info = await self._authorize_remote(request.id_tag, candidates)
        finally:
            self._authorizing -= pending
        if self.context.csms.stopped:
            return
        with self.context.turns.turn():
            if info.is_accepted:
                self._start_remote(request, info, candidates)
            else:  # TC_023_5_CS
                self._claims.tell("rejected", request.id_tag, candidates, status=info.status)

    async def _authorize_remote(self, id_tag: str, candidates: Sequence[Connector]) -> IdTagInfo:
        """Asked is where the key says so, and where only the tag's parent may let it use a reservation (RV-02)."""
        known = self._authorization.find(id_tag)
        info = IdTagInfo(AuthorizationStatus.accepted, None, None if known is None else known.parent_id_tag)
        if self.authorize_remote_tx_requests or not self._claims.candidates(candidates, id_tag, info):
            return await self._authorization.authorize(id_tag)
        return info

    def _start_remote(
        self, request: call.RemoteStartTransaction, info: IdTagInfo, candidates: Sequence[Connector]
    ) -> None:
        """At the only connector there is, else at the only one in Preparing, else wait for the next cable (6.1)."""
        candidates = self._claims.candidates(candidates, request.id_tag, info)
        if not candidates:
            logger.warning("RemoteStartTransaction comes to nothing: no connector is free any more")
            return
        plugged = [one for one in candidates if one.state.plugged]
        if len(candidates) > 1:
            plugged = [one for one in plugged if not one.finishing]
        claim = Claim(request.id_tag, info, list(candidates), request.charging_profile)
        self._claims.start(claim, plugged[0] if len(plugged) == 1 else None)


def _reply(info: IdTagInfo, action: str, connector: Connector | None = None) -> dict[str, Any]:
    members = {
        "status": info.status,
        "action": action,
        "connector_id": None if connector is None else connector.id,
        "parent_id_tag": info.parent_id_tag,
        "expiry_date": info.expiry_date,
    }
    return {name: value for name, value in members.items() if value is not None}
