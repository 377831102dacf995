"""ChangeAvailability, by the CSMS and by local programs (OCPP 1.6, 5.2; obligations 6.4)."""

from typing import Annotated

from ocpp.v16 import call, call_result
from ocpp.v16.enums import AvailabilityStatus, AvailabilityType
from pydantic import Field

from ocpp16_bridge.feature import Context, Feature
from ocpp16_bridge.features.connectors.connectors import Connectors
from ocpp16_bridge.handlers import command, on_call
from ocpp16_bridge.mqtt.model import Arguments


class ChangeAvailability(Arguments):
    connector_id: int
    type: Annotated[AvailabilityType, Field(strict=False)]


class Availability(Feature):
    def __init__(self, context: Context, connectors: Connectors) -> None:
        super().__init__(context)
        self._connectors = connectors

    @on_call
    def on_change_availability(self, request: call.ChangeAvailability) -> call_result.ChangeAvailability:
        return call_result.ChangeAvailability(status=self._change(request.connector_id, AvailabilityType(request.type)))

    @command()
    def change_availability(self, request: ChangeAvailability) -> AvailabilityStatus:
        self.refuse_while_stopped()
        return self._change(request.connector_id, request.type)

    def _change(self, connector_id: int, availability: AvailabilityType) -> AvailabilityStatus:
        """0 means the charge point and all connectors; those that are free change at once (RO-10 … RO-12)."""
        if connector_id != 0 and connector_id not in self._connectors:
            return AvailabilityStatus.rejected
        addressed = [self._connectors[connector_id]]
        if connector_id == 0:
            addressed += self._connectors.all
        done = [self._connectors.set_availability(connector, availability) for connector in addressed]
        return AvailabilityStatus.accepted if all(done) else AvailabilityStatus.scheduled
