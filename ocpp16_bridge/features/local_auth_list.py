"""Local authorisation list (OCPP 1.6, 3.5.2, 5.10 and 5.15; obligations 8.1)."""

import logging
from collections.abc import Callable
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import UpdateStatus, UpdateType

from ocpp16_bridge.configuration_keys import Access, BooleanKey, IntegerKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import IdTagInfo
from ocpp16_bridge.handlers import on_call
from ocpp16_bridge.store import StoreError

logger = logging.getLogger(__name__)

_VERSION = "version"
NOT_SUPPORTED = -1  # what GetLocalListVersion says where there is no list


class LocalAuthList(Feature):
    profile = "LocalAuthListManagement"

    local_auth_list_enabled = BooleanKey("LocalAuthListEnabled", default=True)
    local_auth_list_max_length = IntegerKey("LocalAuthListMaxLength", 10_000, access=Access.READ_ONLY)
    send_local_list_max_length = IntegerKey("SendLocalListMaxLength", 1000, access=Access.READ_ONLY)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._entries = context.store.collection("local_auth_list", IdTagInfo)
        self._version = context.store.collection("local_auth_list_version", int)
        self._is_supported = True
        self.on_update: list[Callable[[], None]] = []

    def switch_off(self) -> None:
        """The profile isn't claimed: what a former configuration left decides nothing, and stays."""
        self._is_supported = False

    def find(self, id_tag: str) -> IdTagInfo | None:
        """The entry of a tag, while the list is enabled."""
        return self._entries.get(id_tag.lower()) if self._is_supported and self.local_auth_list_enabled else None

    @on_call
    def get_local_list_version(self, _request: call.GetLocalListVersion) -> call_result.GetLocalListVersion:
        """0 for an empty list, whatever its last version was (LL-04; TC_042_1_CS, TC_042_2_CS)."""
        if not self.local_auth_list_enabled:
            return call_result.GetLocalListVersion(list_version=NOT_SUPPORTED)
        return call_result.GetLocalListVersion(list_version=self._present_version() if len(self._entries) else 0)

    def _present_version(self) -> int:
        return self._version.get(_VERSION, 0) or 0

    @on_call
    async def send_local_list(self, request: call.SendLocalList) -> call_result.SendLocalList:
        """All of it is taken or nothing is (LL-07); a list that is disabled is stored all the same (LL-08)."""
        try:
            with self.context.turns.turn():
                status = self._take(request)
        except StoreError as error:
            logger.error("SendLocalList %s can't be kept: %s", request.list_version, error)  # noqa: TRY400 - no bug
            status = UpdateStatus.failed
        if status == UpdateStatus.accepted:
            self.context.conversations.start(self._tell(), "local list updated")
        return call_result.SendLocalList(status=status)

    async def _tell(self) -> None:
        """In a turn of its own, since it may report something, which comes after the answer (TR-32)."""
        with self.context.turns.turn():
            for listener in self.on_update:
                listener()

    def _take(self, request: call.SendLocalList) -> UpdateStatus:
        entries = request.local_authorization_list or []
        status = self._status(request.list_version, request.update_type, entries)
        if status == UpdateStatus.accepted:
            self._update(request.list_version, request.update_type, entries)
        else:
            logger.warning("SendLocalList %s is answered %s", request.list_version, status)
        return status

    def _status(self, version: int, update_type: str, entries: list[dict[str, Any]]) -> UpdateStatus:
        """LL-01, LL-03, LL-05, LL-07."""
        is_full = update_type == UpdateType.full
        if version <= 0:
            return UpdateStatus.failed
        if not is_full and version <= self._present_version():
            return UpdateStatus.version_mismatch
        tags = {entry["idTag"].lower() for entry in entries}
        if len(tags) < len(entries) or len(entries) > self.send_local_list_max_length:
            return UpdateStatus.failed
        if is_full and any("idTagInfo" not in entry for entry in entries):
            return UpdateStatus.failed
        if self._length_after(entries, is_full=is_full) > self.local_auth_list_max_length:
            return UpdateStatus.failed
        return UpdateStatus.accepted

    def _length_after(self, entries: list[dict[str, Any]], *, is_full: bool) -> int:
        if is_full:
            return len(entries)
        added = sum("idTagInfo" in entry and entry["idTag"].lower() not in self._entries for entry in entries)
        removed = sum("idTagInfo" not in entry and entry["idTag"].lower() in self._entries for entry in entries)
        return len(self._entries) + added - removed

    def _update(self, version: int, update_type: str, entries: list[dict[str, Any]]) -> None:
        if update_type == UpdateType.full:
            self._entries.clear()
        for entry in entries:
            tag = entry["idTag"].lower()
            if "idTagInfo" in entry:
                self._entries.put(tag, IdTagInfo.read(entry["idTagInfo"]))
            else:
                self._entries.delete(tag)  # one that isn't there is no error (LL-09)
        self._version.put(_VERSION, version)
