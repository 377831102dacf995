"""Reservation (OCPP 1.6, 5.1 and 5.13; obligations 8.2)."""

from ocpp16_bridge.configuration_keys import Access, BooleanKey
from ocpp16_bridge.feature import Feature


class Reservation(Feature):
    reserve_connector_zero_supported = BooleanKey(
        "ReserveConnectorZeroSupported", default=True, access=Access.READ_ONLY
    )
