"""Claims: accepted id tags on their way to a transaction, by cable and lock (obligations 3.3, 5.1; contract 2, 4)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ocpp.v16.enums import AuthorizationStatus, ChargePointErrorCode

from ocpp16_bridge.clock import Timer
from ocpp16_bridge.feature import Context
from ocpp16_bridge.features.authorization import IdTagInfo, same_tag
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors
from ocpp16_bridge.features.connectors.facts import ConnectorState
from ocpp16_bridge.features.reservation import Reservation
from ocpp16_bridge.features.transactions.transactions import Transactions

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Claim:
    """An accepted id tag that waits: for the first cable at one of its candidates, then for the lock of that one."""

    id_tag: str
    info: IdTagInfo
    candidates: list[Connector]
    profile: dict[str, Any] | None = None  # of RemoteStartTransaction
    timer: Timer | None = None  # ConnectionTimeOut, or the time that the lock has
    is_plugged: bool = False  # at its only candidate


class Claims:
    """All claims, and what becomes of them. None outlives the process.

    Args:
        context: shared by all features.
        connectors: say when a cable is plugged, and what can't be used.
        reservation: keeps strangers away.
        transactions: know what is free, and lock cables.
        connection_time_out: s, 0 for none.
        begin: everything is there: a transaction begins.

    """

    def __init__(
        self,
        context: Context,
        connectors: Connectors,
        reservation: Reservation,
        transactions: Transactions,
        connection_time_out: Callable[[], int],
        begin: Callable[[Claim, Connector], None],
    ) -> None:
        self._context = context
        self._connectors = connectors
        self._reservation = reservation
        self._transactions = transactions
        self._connection_time_out = connection_time_out
        self._begin = begin
        self._claims: list[Claim] = []  # oldest first
        self._untagged: dict[int, Timer] = {}  # plugged connectors that wait for a tag
        self._too_late: set[int] = set()  # plugged connectors for which none came in time
        connectors.on_state.append(self._state_changed)
        connectors.on_fault.append(self._usability_changed)
        connectors.on_availability.append(self._usability_changed)
        context.csms.on_accepted.append(self._serve_all)

    # -- who may where

    def of(self, id_tag: str, connectors: Sequence[Connector]) -> Claim | None:
        """The claim of this tag at one of these connectors."""
        for claim in self._claims:
            if same_tag(claim.id_tag, id_tag) and any(one in connectors for one in claim.candidates):
                return claim
        return None

    def candidates(self, connectors: Sequence[Connector], id_tag: str, info: IdTagInfo | None) -> list[Connector]:
        """Where a transaction of this tag may begin; without ``info`` also where its parent may decide."""
        return [
            one
            for one in connectors
            if self._may_begin(one, id_tag, info)
            and not any(claim.candidates == [one] for claim in self._claims)
            # Where there is a choice a late tag must not start on the wrong cable (B6).
            and (one.id not in self._too_late or len(connectors) == 1)
        ]

    def _may_begin(self, connector: Connector, id_tag: str, info: IdTagInfo | None) -> bool:
        kept = self._transactions.kept_for(connector)
        return (
            self._transactions.is_free(connector)
            and (kept is None or same_tag(kept.id_tag, id_tag))  # another user's cable is still locked here
            and self._reservation.allows(connector, id_tag, info)
        )

    # -- from the claim to the transaction

    def start(self, claim: Claim, connector: Connector | None) -> None:
        """Begin at ``connector``, whose cable is plugged; None: wait for the first cable, until ConnectionTimeOut."""
        self._claims.append(claim)
        if connector is not None:
            self._plugged(claim, connector)
            return
        limit = self._connection_time_out()
        if limit:
            claim.timer = self._context.timers.after(limit, "ConnectionTimeOut", lambda: self._timed_out(claim))
        self._follow()
        self.tell("authorized", claim.id_tag, claim.candidates)

    def _timed_out(self, claim: Claim) -> None:
        """No cable, or none that locks: back to what it was (3.3; TC_004_2_CS, TC_011_2_CS)."""
        self.drop(claim)
        self.tell("timed_out", claim.id_tag, claim.candidates)

    def _plugged(self, claim: Claim, connector: Connector) -> None:
        """Tag and cable have met: lock the cable where there is a lock, then begin."""
        self._forget_untagged(connector)
        if claim.timer is not None:
            claim.timer.cancel()
        claim.candidates = [connector]
        claim.is_plugged = True
        self._follow()
        if connector.settings.lock:
            grace = self._context.settings.hardware.start_grace
            claim.timer = self._context.timers.after(grace, "lock", lambda: self._not_locked(claim))
            self._transactions.want_lock(connector, wanted=True)
        self._try(claim, connector)

    def _try(self, claim: Claim, connector: Connector) -> None:
        if self._transactions.is_free(connector) and _is_locked(connector):
            self._begin(claim, connector)
            self.drop(claim)  # only now: the lock is the transaction's and must not open in between

    def _not_locked(self, claim: Claim) -> None:
        logger.warning("connector %s: the cable is not locked: no transaction", claim.candidates[0].id)
        self._timed_out(claim)
        self._await_tag(claim.candidates[0])

    def drop(self, claim: Claim) -> None:
        self._claims.remove(claim)
        if claim.timer is not None:
            claim.timer.cancel()
        if claim.is_plugged:
            self._transactions.want_lock(claim.candidates[0], wanted=False)
        self._follow()

    def drop_all(self) -> None:
        """OCPP is stopped: nothing that waits begins any more."""
        for claim in list(self._claims):
            self.drop(claim)
        for connector in self._connectors.all:
            self._forget_untagged(connector)

    def _follow(self) -> None:
        """A connector that is the only candidate shows Preparing (contract 3)."""
        claimed = {claim.candidates[0].id for claim in self._claims if len(claim.candidates) == 1}
        for connector in self._connectors.all:
            if connector.claimed != (connector.id in claimed):
                connector.claimed = connector.id in claimed
                self._connectors.update(connector)

    # -- what happens at the connectors

    def _state_changed(self, connector: Connector, former: ConnectorState) -> None:
        if former.plugged and not connector.state.plugged:
            self._unplugged(connector)
        elif connector.state.plugged and not former.plugged:
            self._serve(connector)
        for claim in self._plugged_at(connector):
            self._try(claim, connector)

    def _plugged_at(self, connector: Connector) -> list[Claim]:
        return [claim for claim in self._claims if claim.is_plugged and claim.candidates == [connector]]

    def _unplugged(self, connector: Connector) -> None:
        self._forget_untagged(connector)
        self._too_late.discard(connector.id)
        for claim in self._plugged_at(connector):
            self.drop(claim)

    def _usability_changed(self, _connector: Connector) -> None:
        """A fault ends an attempt (TC_024_CS), and a claim outlives no connector that is Inoperative (RO-16)."""
        for claim in list(self._claims):
            usable = self._connectors.is_usable if claim.is_plugged else self._connectors.is_operative
            if not any(usable(one) for one in claim.candidates):
                self.drop(claim)
        for connector in self._connectors.all:
            if not self._connectors.is_usable(connector):
                self._forget_untagged(connector)
        self._serve_all()

    def _serve_all(self) -> None:
        """What is plugged already may begin where it could not before."""
        for connector in self._connectors.all:
            self._serve(connector)

    def _serve(self, connector: Connector) -> None:
        """Give a plugged connector to whom it belongs."""
        if self._context.csms.stopped or not self._is_untaken(connector):
            return
        claim = self._next_for(connector) or self._free_vend(connector)
        if claim is not None:
            self._plugged(claim, connector)
        else:
            self._await_tag(connector)

    def _is_untaken(self, connector: Connector) -> bool:
        return (
            connector.state.plugged
            and not connector.finishing
            and self._transactions.is_free(connector)
            and not self._plugged_at(connector)
        )

    def _next_for(self, connector: Connector) -> Claim | None:
        """A tag that was shown for this very connector, else the one shown first (TX-01)."""
        waiting = [
            claim
            for claim in self._claims
            if not claim.is_plugged
            and connector in claim.candidates
            and self._may_begin(connector, claim.id_tag, claim.info)
        ]
        return min(waiting, key=lambda claim: len(claim.candidates), default=None)

    def _free_vend(self, connector: Connector) -> Claim | None:
        """Where plugging in is enough."""
        id_tag = self._context.settings.transactions.free_vend_id_tag
        claim = Claim(id_tag, IdTagInfo(AuthorizationStatus.accepted), [connector])
        if not id_tag or not self._may_begin(connector, id_tag, claim.info):
            return None
        self._claims.append(claim)
        return claim

    # -- a cable without a tag

    def _await_tag(self, connector: Connector) -> None:
        """With one reader for several connectors a later tag must not start on the wrong cable (3.3, B6)."""
        limit = self._connection_time_out()
        if limit and len(self._connectors.all) > 1 and connector.id not in self._untagged:
            self._untagged[connector.id] = self._context.timers.after(
                limit, "ConnectionTimeOut", lambda: self._nobody_came(connector)
            )

    def _nobody_came(self, connector: Connector) -> None:
        del self._untagged[connector.id]
        self._too_late.add(connector.id)
        connector.finishing = True
        self._connectors.update(connector)

    def _forget_untagged(self, connector: Connector) -> None:
        timer = self._untagged.pop(connector.id, None)
        if timer is not None:
            timer.cancel()

    # -- what others hear

    def tell(self, event: str, id_tag: str, connectors: Sequence[Connector], **details: Any) -> None:
        """`event/transaction` of a tag that has no transaction; `connector_id` is null where it may be several."""
        connector_id = connectors[0].id if len(connectors) == 1 else None
        self._context.variables.event(
            "transaction", {"event": event, "connector_id": connector_id, "id_tag": id_tag, **details}
        )


def _is_locked(connector: Connector) -> bool:
    """Whether nothing is said against it: hardware need not say whether a cable is locked (contract 4)."""
    if not connector.settings.lock or connector.state.locked:
        return True
    failed = any(error.error_code == ChargePointErrorCode.connector_lock_failure for error in connector.errors)
    return connector.state.locked is None and not failed
