"""A whole charge point: a site with its charger. Modules with tests take over the fixture below by its name."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Broker
from tests.end_to_end.charger import Charger
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.end_to_end.machine import Machine
from tests.end_to_end.site import Site
from tests.scripted_csms import Call, Payload

ID_TAG = "04AB12CD"
OFFLINE = {"AllowOfflineTxForUnknownId": True}  # configuration keys


@dataclass(frozen=True)
class ChargePoint(Site):
    charger: Charger

    def present(self, id_tag: str = ID_TAG, **arguments: Any) -> Payload:
        """Hold a card before the reader; what the reader is told."""
        data: Payload = self.program.request("present_id_tag", id_tag=id_tag, **arguments)["data"]
        return data

    def await_status(self, status: str, connector: int = 1, **members: Any) -> Call:
        """The next StatusNotification of ``connector`` that says so, in the order in which the CSMS hears them."""
        expected = {"connectorId": connector, "status": status, **members}
        return self.csms.wait_for_call(
            "StatusNotification", lambda payload: expected.items() <= payload.items(), PATIENCE
        )

    def await_shown_status(self, status: str, connector: int = 1) -> None:
        """Wait until the topic of ``connector`` says so; works while the CSMS is away, too."""
        self.program.wait_for(
            f"ocpp16/connector/{connector}/status", lambda message: bool(message.json["status"] == status), PATIENCE
        )

    def await_energy(self, energy: int, connector: int = 1) -> None:
        """Wait until the daemon knows that so many Wh have flowed."""
        self.program.wait_for(
            f"ocpp16/connector/{connector}/transaction",
            lambda message: bool(message.json and message.json["energy_wh"] == energy),
            PATIENCE,
        )

    def await_call(self, action: str, **members: Any) -> Call:
        """The next CALL of this action with these members."""
        return self.csms.wait_for_call(action, lambda payload: members.items() <= payload.items(), PATIENCE)

    def begin(self, connector: int = 1, id_tag: str = ID_TAG) -> int:
        """Plug in, hold the card before the reader: the transaction id of what begins."""
        self.charger.plug(connector)
        assert self.present(id_tag)["action"] == "start"
        self.await_call("StartTransaction", connectorId=connector)
        self.await_status("Charging", connector)
        shown = self.program.wait_for(
            f"ocpp16/connector/{connector}/transaction",
            lambda message: message.json is not None and message.json["transaction_id"] is not None,
            PATIENCE,
        )
        transaction_id: int = shown.json["transaction_id"]
        return transaction_id

    def session(self, energy: int, id_tag: str = ID_TAG) -> None:
        """A whole one, up to where the cable is gone again; works while the CSMS is away, too."""
        self.charger.plug()
        assert self.present(id_tag)["action"] == "start"
        self.await_shown_status("Charging")
        self.charger.charge(energy)
        assert self.present(id_tag)["action"] == "stop"
        self.await_shown_status("Finishing")
        self.charger.unplug()
        self.await_shown_status("Available")

    def kill_and_start(self) -> None:
        """SIGKILL, and a new process, which is there when this returns."""
        self.daemon.kill()
        self.await_topic("state", "offline")
        self.daemon.start()
        self.await_topic("state", "online")

    def actions(self, *names: str) -> list[str]:
        """The actions among ``names`` that the CSMS has been called with, in order."""
        return [call.action for call in list(self.csms.calls) if call.action in names]

    def in_order(self, *calls: Call) -> bool:
        """Whether the CSMS has received ``calls`` one after the other."""
        positions = [self.csms.calls.index(call) for call in calls]
        return positions == sorted(positions)

    def go_offline(self) -> None:
        """The CSMS is away from now on, and all know it."""
        self.csms.stop()
        eventually(lambda: self.program.messages("ocpp16/is_connected")[-1].text == "false", "the link is lost")

    def go_online(self) -> None:
        self.csms.start()
        eventually(lambda: self.program.messages("ocpp16/is_connected")[-1].text == "true", "the link is back")

    def await_delivery(self, given_up: int = 0) -> None:
        """Wait until the CSMS has all that must be delivered but what was given up, which stays on disk."""
        eventually(lambda: len(self.daemon.queued()) == given_up, "everything is delivered")


def at(call: Call) -> datetime:
    """When what ``call`` tells of has happened."""
    return datetime.fromisoformat(call.payload["timestamp"])


MakeChargePoint = Callable[..., ChargePoint]


def connectors(count: int, **settings: object) -> dict[str, object]:
    """The sections of the configuration file for so many equal connectors."""
    return {f"[connectors{' ' * number}]": settings for number in range(count)}


@pytest.fixture
def make_charge_point(broker: Broker, make_site: MakeSite) -> Iterator[MakeChargePoint]:
    """A charge point that the CSMS has accepted and knows the connectors of.

    Keywords are `count` and `lock` of its connectors, `protocol` of its charger, and sections of the configuration.
    """
    with ExitStack() as stack:

        def make(*, count: int = 1, lock: bool = False, protocol: int = 5, **sections: Any) -> ChargePoint:
            charger = stack.enter_context(Charger(broker.port, count, protocol))
            site = make_site(**sections, **connectors(count, lock=lock))
            charge_point = ChargePoint(**vars(site), charger=charger)
            for number in range(1, count + 1):
                charge_point.await_status("Available", number)
            return charge_point

        yield make


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The machine of a daemon that is started with its wrapper."""
    return Machine(tmp_path)
