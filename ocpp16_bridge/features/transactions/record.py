"""What is kept of a transaction, from its start until the CSMS has all of it."""

from dataclasses import dataclass
from typing import Any

from ocpp.v16.enums import ChargePointStatus

from ocpp16_bridge.features.metering.readings import Register


@dataclass(frozen=True)
class End:
    """Why and when a transaction ended."""

    reason: str
    at: str  # RFC 3339
    id_tag: str | None = None  # presented to end it


@dataclass(frozen=True)
class Transaction:
    """One transaction. It is replaced by a changed copy, never changed."""

    session_id: str  # a UUID of ours
    connector_id: int
    id_tag: str
    meter_start: int  # Wh, as reported
    started_at: str  # RFC 3339
    boot_id: str  # of the machine, when the transaction was last known to go on
    register: Register  # the last reading, as reported
    parent_id_tag: str | None = None
    reservation_id: int | None = None
    transaction_id: int | None = None  # of the CSMS
    counts_from: int | None = 0  # Wh that reported registers are below the meter's; None: not known before a reading
    is_invalid: bool = False  # the CSMS did not accept the id tag afterwards
    energy_until: int | None = None  # Wh: the register at which an invalid one gets no more (MaxEnergyOnInvalidId)
    is_cut_off: bool = False  # gets no energy any more, though it goes on
    end: End | None = None  # set at its end; StopTransaction follows once the meter has been read
    is_stopped: bool = False  # StopTransaction is queued

    @property
    def is_running(self) -> bool:
        return self.end is None

    def shown(self, charging_state: ChargePointStatus, register: Register) -> dict[str, Any]:
        """As the topic `transaction` shows it."""
        members = {
            "session_id": self.session_id,
            "transaction_id": self.transaction_id,
            "id_tag": self.id_tag,
            "meter_start": self.meter_start,
            "started_at": self.started_at,
            "charging_state": charging_state,
            "energy_wh": register.wh - self.meter_start,
        }
        optional = {"parent_id_tag": self.parent_id_tag, "reservation_id": self.reservation_id}
        return members | {name: value for name, value in optional.items() if value is not None}
