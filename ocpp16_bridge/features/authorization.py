"""Authorisation: may this id tag charge? (OCPP 1.6, 3.5 and 4.1; obligations 4)."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ocpp.v16 import call, call_result
from ocpp.v16.enums import AuthorizationStatus, ClearCacheStatus

from ocpp16_bridge.configuration_keys import BooleanKey
from ocpp16_bridge.csms.call_queue import Answered
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.handlers import on_call
from ocpp16_bridge.timestamps import parse_time

logger = logging.getLogger(__name__)

MAX_CACHED = 2000  # id tags


@dataclass(frozen=True)
class IdTagInfo:
    """What is known of an id tag (OCPP 1.6, 7.27)."""

    status: AuthorizationStatus
    expiry_date: str | None = None  # as received
    parent_id_tag: str | None = None

    @classmethod
    def read(cls, info: dict[str, Any]) -> "IdTagInfo":
        """What the CSMS says of a tag, already validated."""
        return cls(AuthorizationStatus(info["status"]), info.get("expiryDate"), info.get("parentIdTag"))

    def at(self, moment: datetime) -> "IdTagInfo":
        """The same with a date that has passed made a status (AU-07)."""
        if self.expiry_date is None or self.status != AuthorizationStatus.accepted:
            return self
        if parse_time(self.expiry_date) > moment:
            return self
        return IdTagInfo(AuthorizationStatus.expired, self.expiry_date, self.parent_id_tag)

    @property
    def is_accepted(self) -> bool:
        return bool(self.status == AuthorizationStatus.accepted)


@dataclass(frozen=True)
class CachedTag:
    """An entry of the cache."""

    info: IdTagInfo
    learnt_at: str  # RFC 3339


class LocalList(Protocol):
    """The local authorisation list, as far as it decides."""

    def find(self, id_tag: str) -> IdTagInfo | None:
        """The entry of a tag while the list is enabled."""


def same_tag(one: str | None, other: str | None) -> bool:
    """Id tags are opaque and compared without regard to case (GD-04)."""
    return one is not None and other is not None and one.lower() == other.lower()


class Authorization(Feature):
    allow_offline_tx_for_unknown_id = BooleanKey("AllowOfflineTxForUnknownId", default=False)
    authorization_cache_enabled = BooleanKey("AuthorizationCacheEnabled", default=True)
    local_authorize_offline = BooleanKey("LocalAuthorizeOffline", default=True)
    local_pre_authorize = BooleanKey("LocalPreAuthorize", default=False)

    def __init__(self, context: Context, local_list: LocalList) -> None:
        super().__init__(context)
        self._list = local_list
        self._cache = context.store.collection("authorization_cache", CachedTag)

    # -- what is known here

    def find(self, id_tag: str) -> IdTagInfo | None:
        """What list or cache say of a tag now; the list has priority (AU-02)."""
        listed = self._list.find(id_tag)
        if listed is None and self.authorization_cache_enabled:
            cached = self._cache.get(id_tag.lower())
            listed = None if cached is None else cached.info
        return None if listed is None else listed.at(self.context.clock.now())

    def learn(self, id_tag: str, info: IdTagInfo) -> bool:
        """Keep what the CSMS said of a tag (AU-06); False where its local list contradicts (AU-10)."""
        listed = self._list.find(id_tag)
        if listed is not None:
            return listed.at(self.context.clock.now()).is_accepted == info.is_accepted
        if self.authorization_cache_enabled:
            if id_tag.lower() not in self._cache and len(self._cache) >= MAX_CACHED:
                self._make_room()
            self._cache.put(id_tag.lower(), CachedTag(info, self.context.clock.now().isoformat()))
        return True

    def forget(self, id_tag: str) -> None:
        """What is learnt into the list leaves the cache (LL-10)."""
        self._cache.delete(id_tag.lower())

    def _make_room(self) -> None:
        """Entries that are not valid go first, then the oldest (AU-08)."""
        now = self.context.clock.now()
        oldest = min(self._cache.items(), key=lambda entry: (entry[1].info.at(now).is_accepted, entry[1].learnt_at))
        self._cache.delete(oldest[0])

    @on_call
    def clear_cache(self, _request: call.ClearCache) -> call_result.ClearCache:
        for id_tag in list(self._cache):
            self._cache.delete(id_tag)
        return call_result.ClearCache(status=ClearCacheStatus.accepted)

    # -- the decision

    async def authorize(self, id_tag: str) -> IdTagInfo:
        """Whether ``id_tag`` may charge now: decided here or asked of the CSMS (decision table 4.2)."""
        known = self.find(id_tag)
        if self.context.csms.accepted:
            if known is not None and known.is_accepted and self.local_pre_authorize:
                return known  # rows 1 and 2
            outcome = await self.context.csms.request(call.Authorize(id_tag=id_tag))
            if isinstance(outcome, Answered):
                info = IdTagInfo.read(outcome.payload["idTagInfo"])
                with self.context.turns.turn():
                    self.learn(id_tag, info)
                return info.at(self.context.clock.now())
            logger.warning("Authorize has no answer: %s is decided as offline (AU-04)", "an id tag")
        return self._offline(known)

    def _offline(self, known: IdTagInfo | None) -> IdTagInfo:
        """Rows 7 to 13."""
        if known is None:
            accepted = self.allow_offline_tx_for_unknown_id
            return IdTagInfo(AuthorizationStatus.accepted if accepted else AuthorizationStatus.invalid)
        if not known.is_accepted or self.local_authorize_offline or self.allow_offline_tx_for_unknown_id:
            return known
        return IdTagInfo(AuthorizationStatus.invalid, known.expiry_date, known.parent_id_tag)
