"""Reservation (OCPP 1.6, 5.1 and 5.13; obligations 8.2)."""

from ocpp16_bridge.configuration_keys import Access, BooleanKey
from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.authorization import IdTagInfo
from ocpp16_bridge.features.connectors.connectors import Connector, Connectors


class Reservation(Feature):
    """ReserveNow is not served yet: no connector is reserved, every id tag is allowed everywhere."""

    reserve_connector_zero_supported = BooleanKey(
        "ReserveConnectorZeroSupported", default=True, access=Access.READ_ONLY
    )

    def __init__(self, context: Context, connectors: Connectors) -> None:
        super().__init__(context)
        self._connectors = connectors

    def start(self) -> None:
        for connector in (self._connectors.charge_point, *self._connectors.all):
            self.context.variables.set(f"connector/{connector.id}/reservation", None)

    def allows(self, _connector: Connector, _id_tag: str, _info: IdTagInfo | None) -> bool:
        """Whether a tag may use a connector now; without ``info`` whether its parent might let it (RV-01, RV-02)."""
        return True

    def take(self, _connector: Connector, _id_tag: str, _info: IdTagInfo) -> int | None:
        """The reservation that a transaction of this tag uses up, if any (RV-03, RV-04)."""
        return None
