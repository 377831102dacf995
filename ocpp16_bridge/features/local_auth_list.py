"""Local authorisation list (OCPP 1.6, 3.5.2, 5.10 and 5.15; obligations 8.1)."""

from ocpp16_bridge.configuration_keys import Access, BooleanKey, IntegerKey
from ocpp16_bridge.feature import Feature
from ocpp16_bridge.features.authorization import IdTagInfo


class LocalAuthList(Feature):
    """SendLocalList is not served yet: the list is empty."""

    local_auth_list_enabled = BooleanKey("LocalAuthListEnabled", default=True)
    local_auth_list_max_length = IntegerKey("LocalAuthListMaxLength", 10_000, access=Access.READ_ONLY)
    send_local_list_max_length = IntegerKey("SendLocalListMaxLength", 1000, access=Access.READ_ONLY)

    def find(self, _id_tag: str) -> IdTagInfo | None:
        """The entry of a tag while the list is enabled."""
        return None
