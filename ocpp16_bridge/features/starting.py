"""From an id tag to a transaction: who may start where, and what a tag stops (OCPP 1.6, 3.4, 4.8 and 5.11)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    AuthorizationStatus,
    ChargingProfilePurposeType,
    Reason,
    RegistrationStatus,
    RemoteStartStopStatus,
)
from pydantic import Field

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.configuration_keys import BooleanKey, IntegerKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import Authorization, IdTagInfo, same_tag
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import ConnectorState
from ocpp16_bridge.features.reservation import Reservation
from ocpp16_bridge.features.transactions.record import Transaction
from ocpp16_bridge.features.transactions.transactions import Transactions
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.commands import CommandError
from ocpp16_bridge.mqtt.model import Arguments

logger = logging.getLogger(__name__)

IdTag = Annotated[str, Field(min_length=1, max_length=20)]


class PresentIdTag(Arguments):
    id_tag: IdTag
    connector_ids: Annotated[list[int], Field(min_length=1, max_length=1000)] | None = None


@dataclass
class Claim:
    """An accepted id tag that waits for its cable."""

    id_tag: str
    info: IdTagInfo
    candidates: list[Connector]
    profile: dict[str, Any] | None = None  # of RemoteStartTransaction
    timer: Timer | None = None
    starting_at: Connector | None = None  # plugged; waits for the lock


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
        self._claims: list[Claim] = []
        self._remote: set[int] = set()  # connectors for which a remote start is being authorised
        self._unclaimed: dict[int, Timer] = {}  # plugged connectors that wait for a tag
        self._too_late: set[int] = set()  # these must be freed first (B6)
        # Smart charging takes the profile of a remote start when its transaction begins (SC-12).
        self.on_profile: Callable[[Connector, Transaction, dict[str, Any]], None] = lambda *_: None
        connectors.on_state.append(self._state_changed)
        connectors.on_fault.append(self._fault_changed)
        connectors.on_availability.append(self._availability_changed)

    # -- a card before the reader

    @command()
    async def present_id_tag(self, request: PresentIdTag) -> dict[str, Any]:
        if self.context.csms.stopped:
            raise CommandError("stopped", "OCPP is stopped: `restart` first")
        connectors = self._chosen(request.connector_ids)
        with self.context.turns.turn():
            done = self._stop_own(request.id_tag, connectors) or self._give_up_own(request.id_tag, connectors)
        if done is not None:
            return done
        return await self._present_foreign(request.id_tag, connectors)

    def _chosen(self, connector_ids: list[int] | None) -> list[Connector]:
        if connector_ids is None:
            return list(self._connectors.all)
        unknown = [number for number in connector_ids if number not in self._connectors]
        if unknown:
            raise CommandError("bad_request", f"connector_ids: there is no connector {unknown[0]}")
        return [self._connectors[number] for number in dict.fromkeys(connector_ids)]

    def _stop_own(self, id_tag: str, connectors: Sequence[Connector]) -> dict[str, Any] | None:
        """The tag that started it stops at once, without Authorize (4.4)."""
        for connector in connectors:
            running = self._transactions.running(connector)
            if running is not None and same_tag(running.id_tag, id_tag):
                self._transactions.end(connector, Reason.local, id_tag)
                return _reply(IdTagInfo(AuthorizationStatus.accepted, None, running.parent_id_tag), "stop", connector)
            kept = self._transactions.kept_for(connector)
            if kept is not None and same_tag(kept.id_tag, id_tag):
                self._transactions.release(connector)
                return _reply(IdTagInfo(AuthorizationStatus.accepted, None, kept.parent_id_tag), "none", connector)
        return None

    def _give_up_own(self, id_tag: str, connectors: Sequence[Connector]) -> dict[str, Any] | None:
        """The same tag once more while it waits for the cable takes the claim back (AU-12)."""
        for claim in self._claims:
            if same_tag(claim.id_tag, id_tag) and any(one in connectors for one in claim.candidates):
                self._drop(claim)
                return _reply(claim.info, "none")
        return None

    async def _present_foreign(self, id_tag: str, connectors: Sequence[Connector]) -> dict[str, Any]:
        """Any other tag: of the same group it stops, else it may start; asked is only where one of it is possible."""
        groups = [one for one in connectors if self._parent_at(one) is not None]
        if not groups and not self._candidates(connectors, id_tag, None):
            known = self._authorization.find(id_tag)
            return _reply(known or IdTagInfo(AuthorizationStatus.invalid), "none")
        info = await self._authorization.authorize(id_tag)
        with self.context.turns.turn():
            if not info.is_accepted:
                self._event("rejected", id_tag, status=info.status)
                return _reply(info, "none")
            for connector in groups:
                parent = self._parent_at(connector)
                if parent is not None and same_tag(parent, info.parent_id_tag):
                    return self._stop_of_group(connector, id_tag, info)
            return self._start(Claim(id_tag, info, self._candidates(connectors, id_tag, info)))

    def _parent_at(self, connector: Connector) -> str | None:
        running = self._transactions.running(connector) or self._transactions.kept_for(connector)
        return None if running is None else running.parent_id_tag

    def _stop_of_group(self, connector: Connector, id_tag: str, info: IdTagInfo) -> dict[str, Any]:
        if self._transactions.running(connector) is None:
            self._transactions.release(connector)
            return _reply(info, "none", connector)
        self._transactions.end(connector, Reason.local, id_tag)
        return _reply(info, "stop", connector)

    # -- claims

    def _candidates(self, connectors: Sequence[Connector], id_tag: str, info: IdTagInfo | None) -> list[Connector]:
        """Where a transaction of this tag may begin; without ``info`` also where its parent may decide."""
        return [
            one
            for one in connectors
            if self._transactions.is_free(one)
            and one.id not in self._too_late
            and not any(claim.starting_at is one or claim.candidates == [one] for claim in self._claims)
            and self._reservation.allows(one, id_tag, info)
        ]

    def _start(self, claim: Claim) -> dict[str, Any]:
        """Begin where a cable is plugged, the last one of several; else wait for the first."""
        if not claim.candidates:
            return _reply(claim.info, "none")
        plugged = [one for one in claim.candidates if one.state.plugged]
        if plugged:
            connector = max(plugged, key=lambda one: one.plugged_at)
            self._claims.append(claim)
            self._plugged(claim, connector)
            return _reply(claim.info, "start", connector)
        self._wait(claim)
        return _reply(claim.info, "wait", claim.candidates[0] if len(claim.candidates) == 1 else None)

    def _wait(self, claim: Claim) -> None:
        self._claims.append(claim)
        if self.connection_time_out:
            claim.timer = self.context.timers.after(
                self.connection_time_out, "ConnectionTimeOut", lambda: self._timed_out(claim)
            )
        if len(claim.candidates) == 1:
            self._mark(claim, claimed=True)
        self._event("authorized", claim.id_tag, connectors=claim.candidates)

    def _timed_out(self, claim: Claim) -> None:
        """No cable within ConnectionTimeOut (3.3; TC_004_2_CS, TC_011_2_CS)."""
        self._drop(claim)
        self._event("timed_out", claim.id_tag, connectors=claim.candidates)

    def _drop(self, claim: Claim) -> None:
        self._claims.remove(claim)
        if claim.timer is not None:
            claim.timer.cancel()
        if claim.starting_at is not None:
            self._transactions.want_lock(claim.starting_at, wanted=False)
        self._mark(claim, claimed=False)

    def _mark(self, claim: Claim, *, claimed: bool) -> None:
        for connector in claim.candidates:
            if connector.claimed != claimed:
                connector.claimed = claimed
                self._connectors.update(connector)

    def drop_all(self) -> None:
        """OCPP is stopped: nothing that waits begins any more."""
        for claim in list(self._claims):
            self._drop(claim)

    # -- the cable

    def _state_changed(self, connector: Connector, former: ConnectorState) -> None:
        if connector.state.plugged and not former.plugged:
            self._cable_plugged(connector)
        elif former.plugged and not connector.state.plugged:
            self._cable_pulled(connector)
        for claim in [claim for claim in self._claims if claim.starting_at is connector]:
            self._try_lock(claim, connector)

    def _cable_plugged(self, connector: Connector) -> None:
        if self.context.csms.stopped or not self._transactions.is_free(connector):
            return
        waiting = next(
            (
                claim
                for claim in self._claims
                if claim.starting_at is None
                and connector in claim.candidates
                and self._reservation.allows(connector, claim.id_tag, claim.info)
            ),
            None,
        )
        free_vend = self.context.settings.transactions.free_vend_id_tag
        if waiting is None and free_vend:
            waiting = Claim(free_vend, IdTagInfo(AuthorizationStatus.accepted), [connector])
            self._claims.append(waiting)
        if waiting is not None:
            self._plugged(waiting, connector)
        elif self.connection_time_out and len(self._connectors.all) > 1:
            # With one reader for several connectors a later tag must not start on the wrong cable (3.3, B6).
            self._unclaimed[connector.id] = self.context.timers.after(
                self.connection_time_out, "ConnectionTimeOut", lambda: self._nobody_came(connector)
            )

    def _cable_pulled(self, connector: Connector) -> None:
        self._forget_unclaimed(connector)
        self._too_late.discard(connector.id)
        for claim in [claim for claim in self._claims if claim.starting_at is connector]:
            self._drop(claim)

    def _nobody_came(self, connector: Connector) -> None:
        self._unclaimed.pop(connector.id, None)
        self._too_late.add(connector.id)
        connector.finishing = True
        self._connectors.update(connector)

    def _forget_unclaimed(self, connector: Connector) -> None:
        timer = self._unclaimed.pop(connector.id, None)
        if timer is not None:
            timer.cancel()

    def _plugged(self, claim: Claim, connector: Connector) -> None:
        """Tag and cable have met: lock the cable where there is a lock, then begin."""
        self._forget_unclaimed(connector)
        if claim.timer is not None:
            claim.timer.cancel()
        self._mark(claim, claimed=False)
        claim.candidates = [connector]
        claim.starting_at = connector
        if connector.settings.lock:
            self._transactions.want_lock(connector, wanted=True)
            claim.timer = self.context.timers.after(
                self.context.settings.hardware.start_grace, "lock", lambda: self._not_locked(claim)
            )
        self._try_lock(claim, connector)

    def _try_lock(self, claim: Claim, connector: Connector) -> None:
        """A connector whose lock says that it is open is waited for (TC_024_CS)."""
        if claim not in self._claims or (connector.settings.lock and connector.state.locked is False):
            return
        reservation_id = self._reservation.take(connector, claim.id_tag, claim.info)
        transaction = self._transactions.begin(connector, claim.id_tag, claim.info, reservation_id)
        if claim.profile is not None:
            self.on_profile(connector, transaction, claim.profile)
        self._drop(claim)  # the lock is the transaction's now

    def _not_locked(self, claim: Claim) -> None:
        logger.warning("connector %s: the cable is not locked: no transaction", claim.candidates[0].id)
        self._drop(claim)
        self._event("timed_out", claim.id_tag, connectors=claim.candidates)

    def _fault_changed(self, connector: Connector) -> None:
        """A lock that fails, or any fault, ends the attempt."""
        for claim in [claim for claim in self._claims if claim.starting_at is connector and connector.is_faulted]:
            self._drop(claim)

    def _availability_changed(self, connector: Connector) -> None:
        """A claim on a connector that is no longer operative is dropped (RO-16)."""
        if not self._connectors.is_operative(connector):
            for claim in [claim for claim in self._claims if claim.candidates == [connector]]:
                self._drop(claim)

    # -- RemoteStartTransaction

    @on_call
    def remote_start_transaction(self, request: call.RemoteStartTransaction) -> call_result.RemoteStartTransaction:
        """Accepted says that it will be tried; what follows comes after the answer (TR-32; 6.1)."""
        candidates = self._remote_candidates(request)
        if not candidates or not self._may_bring(request.charging_profile):
            return call_result.RemoteStartTransaction(status=RemoteStartStopStatus.rejected)
        conversation = self._remote_start(request, candidates)
        self.context.turns.call(lambda: self.context.conversations.start(conversation, "RemoteStartTransaction"))
        return call_result.RemoteStartTransaction(status=RemoteStartStopStatus.accepted)

    def _remote_candidates(self, request: call.RemoteStartTransaction) -> list[Connector]:
        """Where it may start; connector 0, unknown, busy, reserved, Unavailable and Faulted ones are none."""
        if self.context.csms.registration != RegistrationStatus.accepted:
            return []  # BT-08
        if not self.context.hardware.publisher.connected:
            return []  # nothing would come of it: the hardware can't be reached
        if request.connector_id is None:
            chosen = list(self._connectors.all)
        elif request.connector_id in self._connectors:
            chosen = [self._connectors[request.connector_id]]
        else:
            return []
        free = self._candidates(chosen, request.id_tag, None)
        return [one for one in free if one.id not in self._remote]

    @staticmethod
    def _may_bring(profile: dict[str, Any] | None) -> bool:
        """TX-06; TC_060_CS."""
        return profile is None or (
            profile["chargingProfilePurpose"] == ChargingProfilePurposeType.tx_profile
            and "transactionId" not in profile
        )

    async def _remote_start(self, request: call.RemoteStartTransaction, candidates: list[Connector]) -> None:
        pending = {candidates[0].id} if len(candidates) == 1 else set()
        self._remote |= pending
        try:
            info = IdTagInfo(AuthorizationStatus.accepted)
            if self.authorize_remote_tx_requests:
                info = await self._authorization.authorize(request.id_tag)
        finally:
            self._remote -= pending
        with self.context.turns.turn():
            if not info.is_accepted:
                self._event("rejected", request.id_tag, connectors=candidates, status=info.status)
            elif not self.context.csms.stopped:
                remaining = self._candidates(candidates, request.id_tag, info)
                self._start(Claim(request.id_tag, info, remaining, request.charging_profile))

    # -- what others see

    def _event(self, name: str, id_tag: str, *, connectors: Sequence[Connector] = (), **details: Any) -> None:
        connector_id = connectors[0].id if len(connectors) == 1 else None
        self.context.variables.event(
            "transaction", {"event": name, "connector_id": connector_id, "id_tag": id_tag, **details}
        )


def _reply(info: IdTagInfo, action: str, connector: Connector | None = None) -> dict[str, Any]:
    members = {
        "status": info.status,
        "action": action,
        "connector_id": None if connector is None else connector.id,
        "parent_id_tag": info.parent_id_tag,
        "expiry_date": info.expiry_date,
    }
    return {name: value for name, value in members.items() if value is not None}
