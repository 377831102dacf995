"""The charge point under test, with the hands of the test operator: an EV, a cable, id tags, a power switch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.station import BASE, Station

TWO_CONNECTORS = """
[[connectors]]
lock = true
[[connectors]]
lock = false
[hardware]
answers = ["unlock_connector"]
"""
UNPLUGGED = {"plugged": False, "cable": False, "ev_ready": False, "evse_ready": False}


class Charger(Station):
    """A charger with two connectors: 1 is a socket with a lock, 2 has a fixed cable. Each has a reader of its own."""

    def __init__(self, directory: Path) -> None:
        self.on_settled: Callable[[], None] = lambda: None  # something may have been sent
        self.lock = "Unlocked"  # what becomes of the lock when it is to open
        self._facts: dict[int, dict[str, Any]] = {1: UNPLUGGED, 2: UNPLUGGED}
        super().__init__(directory, TWO_CONNECTORS)

    def settle(self) -> None:
        super().settle()
        self._move_lock()
        self.on_settled()

    # -- the EV and its cable

    def plug(self, connector: int = 1, **facts: bool) -> None:
        """The EV is connected at both ends of its cable, and not ready yet."""
        self._change(connector, plugged=True, cable=True, **facts)

    def ready(self, connector: int = 1) -> None:
        """The EV asks for energy and the EVSE offers it."""
        self._change(connector, ev_ready=True, evse_ready=True)

    def unplug_ev(self, connector: int = 1) -> None:
        """The cable is pulled at the EV; its other end stays in the socket."""
        self._change(connector, plugged=False, ev_ready=False, evse_ready=False)

    def unplug(self, connector: int = 1) -> None:
        """The EV is gone, and its cable, too."""
        self._change(connector, **UNPLUGGED)

    def _change(self, connector: int, **facts: bool) -> None:
        self._facts[connector] = {**self._facts[connector], **facts}
        self.publish(f"hardware/connector/{connector}/state", self._facts[connector])

    # -- the user

    def present(self, id_tag: str, connector: int = 1) -> Any:
        """Hold a card before the reader of a connector; what the charge point says of it."""
        return self.ask("present_id_tag", id_tag=id_tag, connector_ids=[connector])

    # -- the rest of the hardware

    def meter(self, connector: int = 1, wh: float = 1000, **others: float) -> None:
        """A reading of the import register, and of other measurands (`Power_Active_Import` for Power.Active.Import)."""
        readings = {name.replace("_", "."): value for name, value in others.items()}
        self.publish(f"hardware/connector/{connector}/meter", {"Energy.Active.Import.Register": wh, **readings})

    def fault(self, error_code: str, connector: int = 1) -> None:
        self.publish(f"hardware/connector/{connector}/errors", [{"error_code": error_code, "faulted": True}])

    def repair(self, connector: int = 1) -> None:
        self.publish(f"hardware/connector/{connector}/errors", [])

    def _move_lock(self) -> None:
        for message in self.broker.messages[self._moved :]:
            self._moved += 1
            if message.topic == f"{BASE}/hardware/request/unlock_connector":
                answer = {"id": message.payload["id"], "status": "ok", "data": self.lock}
                self.publish("hardware/response/unlock_connector", answer)

    # -- power

    def _start_process(self) -> None:
        super()._start_process()
        self._moved = 0  # messages to the hardware that were looked at

    def power_on(self) -> None:
        """The hardware tells what it finds, which nobody changed meanwhile; then the CSMS is reached."""
        self.connect_broker()
        for connector in self._facts:
            self._change(connector)
        self.connect()

    def power_cut(self, boot_id: str = "boot-2", config: str = "") -> None:
        """The power fails without warning and comes back: the machine boots, maybe with more in its file."""
        self.boot_id = boot_id
        self.kill(TWO_CONNECTORS + config)
        self.power_on()

    def come_back_from_reset(self, kind: str) -> None:
        """The charge point has ended for a Reset: for a Hard one the machine boots, for a Soft one only the daemon."""
        assert self.ended == [f"Reset {kind} by the CSMS"]
        self.power_cut("boot-2" if kind == "Hard" else self.boot_id)
