"""What the hardware says of its connectors (contract 4)."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated

from ocpp.v16.enums import ChargePointErrorCode
from pydantic import AfterValidator, BeforeValidator, Field

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
        """An EV is never connected without one, whatever `cable` says."""
        return self.plugged or bool(self.cable)


def _is_error(code: ChargePointErrorCode) -> ChargePointErrorCode:
    if code == ChargePointErrorCode.no_error:
        raise ValueError("NoError is no error: an empty list says that there is none")
    return code


class HardwareError(Fact):
    """One error that is present."""

    error_code: Annotated[ChargePointErrorCode, Field(strict=False), AfterValidator(_is_error)]
    faulted: bool
    info: str | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """An error is known by its `error_code` and `vendor_error_code`."""
        return self.error_code, self.vendor_error_code


# An empty payload, which is read as null, says that there is none.
HardwareErrors = Annotated[
    list[HardwareError], Field(max_length=100), BeforeValidator(lambda value: [] if value is None else value)
]


class PresentErrors:
    """The union of what several sources say is wrong with one connector, in the order in which the errors came.

    An error that one source has said already is no new one when another says it, or when it is said again.
    """

    def __init__(self) -> None:
        self._by_source: dict[str, tuple[HardwareError, ...]] = {}
        self._present: dict[tuple[str, str | None], HardwareError] = {}

    def __iter__(self) -> Iterator[HardwareError]:
        return iter(self._present.values())

    @property
    def are_faulted(self) -> bool:
        return any(error.faulted for error in self)

    def set(self, source: str, errors: Iterable[HardwareError]) -> None:
        """Replace what ``source`` said by ``errors``."""
        self._by_source[source] = tuple(errors)
        if not self._by_source[source]:
            del self._by_source[source]
        said: dict[tuple[str, str | None], HardwareError] = {}
        for error in chain.from_iterable(self._by_source.values()):
            known = said.get(error.key)
            if known is None or (error.faulted and not known.faulted):
                said[error.key] = error
        order = [*(key for key in self._present if key in said), *said]
        self._present = {key: said[key] for key in order}
