"""Authorisation: may this id tag charge? (OCPP 1.6, 3.5 and 4.1; obligations 4)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
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
        if not self.is_accepted or self.expiry_date is None or parse_time(self.expiry_date) > moment:
            return self
        return replace(self, status=AuthorizationStatus.expired)

    @property
    def is_accepted(self) -> bool:
        return bool(self.status == AuthorizationStatus.accepted)

    @property
    def is_valid(self) -> bool:
        """Whether the tag is a good one, though it may be in use elsewhere just now (AU-11)."""
        return self.status in (AuthorizationStatus.accepted, AuthorizationStatus.concurrent_tx)


@dataclass(frozen=True)
class CachedTag:
    """An entry of the cache."""

    info: IdTagInfo
    learnt_at: str  # RFC 3339


class LocalList(Protocol):
    """The local authorisation list, as far as it decides."""

    on_update: list[Callable[[], None]]  # the CSMS has changed it

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
        self.has_list_conflict = False  # the CSMS has contradicted its local list, and not changed it since (AU-10)
        self.on_list_conflict: list[Callable[[], None]] = []  # that was said of it
        local_list.on_update.append(self._list_updated)

    # -- what is known here

    def find(self, id_tag: str) -> IdTagInfo | None:
        """What list or cache say of a tag now; the list has priority (AU-02)."""
        info = self._list.find(id_tag) or self._cached(id_tag)
        return None if info is None else info.at(self.context.clock.now())

    def _cached(self, id_tag: str) -> IdTagInfo | None:
        entry = self._cache.get(id_tag.lower()) if self.authorization_cache_enabled else None
        return None if entry is None else entry.info

    def learn(self, id_tag: str, info: IdTagInfo) -> None:
        """Keep what the CSMS said of a tag (AU-06); its local list may contradict it (AU-10)."""
        now = self.context.clock.now()
        listed = self._list.find(id_tag)
        if listed is None:
            self._keep(id_tag.lower(), CachedTag(info, now.isoformat()))
        elif listed.at(now).is_valid != info.at(now).is_valid:
            self._set_list_conflict(conflict=True)

    def _set_list_conflict(self, *, conflict: bool) -> None:
        self.has_list_conflict = conflict
        for listener in self.on_list_conflict:
            listener()

    def _keep(self, key: str, entry: CachedTag) -> None:
        if self.authorization_cache_enabled:
            if key not in self._cache and len(self._cache) >= MAX_CACHED:
                self._make_room()
            self._cache.put(key, entry)

    def _list_updated(self) -> None:
        """What is learnt into the list leaves the cache (LL-10)."""
        for id_tag in list(self._cache):
            if self._list.find(id_tag) is not None:
                self._cache.delete(id_tag)
        self._set_list_conflict(conflict=False)

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
        if not self.context.csms.accepted:
            return self._offline(id_tag)
        known = self.find(id_tag)
        if known is not None and known.is_accepted and self.local_pre_authorize:
            return known  # rows 1 and 2
        outcome = await self.context.csms.request(call.Authorize(id_tag=id_tag))
        if not isinstance(outcome, Answered):
            logger.warning("Authorize: %s: decided as without a CSMS (AU-04)", outcome)
            return self._offline(id_tag)
        info = IdTagInfo.read(outcome.payload["idTagInfo"])
        with self.context.turns.turn():
            self.learn(id_tag, info)
        return info.at(self.context.clock.now())

    def _offline(self, id_tag: str) -> IdTagInfo:
        """Rows 7 to 13."""
        known = self.find(id_tag)
        if known is None:
            accepted = self.allow_offline_tx_for_unknown_id
            return IdTagInfo(AuthorizationStatus.accepted if accepted else AuthorizationStatus.invalid)
        if not known.is_accepted or self.local_authorize_offline or self.allow_offline_tx_for_unknown_id:
            return known
        return replace(known, status=AuthorizationStatus.invalid)
