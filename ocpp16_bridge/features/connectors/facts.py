"""What the hardware says of its connectors (contract 4)."""

from typing import Annotated

from ocpp.v16.enums import ChargePointErrorCode
from pydantic import BeforeValidator, Field

from ocpp16_bridge.mqtt.model import Fact


class ConnectorState(Fact):
    """The facts of one connector; each message is the whole truth."""

    plugged: bool = False  # IEC 61851 state B, C or D
    ev_ready: bool = False  # the EV asks for energy: C or D
    evse_ready: bool = False  # the EVSE offers energy: PWM on
    cable: bool | None = None  # one is in the charger's socket; missing: same as `plugged`
    locked: bool | None = None

    @property
    def has_cable(self) -> bool:
        return self.plugged if self.cable is None else self.cable


class HardwareError(Fact):
    """One error that is present."""

    error_code: Annotated[ChargePointErrorCode, Field(strict=False)]
    faulted: bool
    info: str | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """An error is known by its `error_code` and `vendor_error_code`."""
        return self.error_code, self.vendor_error_code


# An empty payload says that there is none.
HardwareErrors = Annotated[list[HardwareError], Field(max_length=100), BeforeValidator(lambda value: value or [])]
