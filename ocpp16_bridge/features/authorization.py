"""Authorisation: may this id tag charge? (OCPP 1.6, 3.5 and 4.1; obligations 4)."""

from ocpp16_bridge.configuration_keys import BooleanKey
from ocpp16_bridge.feature import Feature


class Authorization(Feature):
    allow_offline_tx_for_unknown_id = BooleanKey("AllowOfflineTxForUnknownId", default=False)
    authorization_cache_enabled = BooleanKey("AuthorizationCacheEnabled", default=True)
    authorize_remote_tx_requests = BooleanKey("AuthorizeRemoteTxRequests", default=True)
    local_authorize_offline = BooleanKey("LocalAuthorizeOffline", default=True)
    local_pre_authorize = BooleanKey("LocalPreAuthorize", default=False)
