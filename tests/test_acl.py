"""The shipped access list, tried topic by topic: mosquitto never says that something is not allowed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.mqtt_client import LocalProgram

ACCESS_LIST = Path(__file__).parents[1] / "config/mosquitto/acl.conf"

USERS = ("bridge", "hardware", "client", "viewer")

# Topic → what each of USERS may do with it: r read, w write, - nothing.
RIGHTS = {
    "ocpp16/state": "rw r r r",
    "ocpp16/info": "rw r r r",
    "ocpp16/health": "rw r r r",
    "ocpp16/is_connected": "rw r r r",
    "ocpp16/charging_schedules": "rw r r r",
    "ocpp16/configuration_key": "rw r r r",
    "ocpp16/configuration_key/HeartbeatInterval": "rw - r r",
    "ocpp16/connection": "rw r r r",
    "ocpp16/boot_notification_response": "rw r r r",
    "ocpp16/security_event": "rw r r r",
    "ocpp16/event/transaction": "rw r r r",
    "ocpp16/event/reset": "rw r r r",
    "ocpp16/connector/0/status": "rw r r r",
    "ocpp16/connector/1/charging_permitted": "rw r r r",
    "ocpp16/connector/1/transaction": "rw r r r",
    "ocpp16/request/stop": "rw - w -",
    "ocpp16/request/data_transfer": "rw - w -",
    "ocpp16/response/stop": "rw - r -",
    "ocpp16/reply/client/1": "rw - r -",
    "ocpp16/reply/viewer/1": "rw - - r",
    "ocpp16/reply/somebody-else/1": "rw - - -",
    "ocpp16/hardware/connector/1/state": "rw w - r",
    "ocpp16/hardware/connector/1/errors": "rw w - r",
    "ocpp16/hardware/connector/1/errors/meter": "rw w - r",
    "ocpp16/hardware/connector/0/meter": "rw w - r",
    "ocpp16/hardware/state": "rw w - r",
    "ocpp16/hardware/state/meter": "rw w - r",
    "ocpp16/hardware/info": "rw w - r",
    "ocpp16/hardware/firmware_status": "rw w - r",
    "ocpp16/hardware/request/unlock_connector": "rw r - -",
    "ocpp16/hardware/response/unlock_connector": "rw w - -",
    "homeassistant/device/CP001/config": "- - - -",
    "elsewhere/state": "- - - -",
}

pytestmark = pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="apt install mosquitto")


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    # An account that may do everything sees what became of the others' messages, and where there is nothing to see.
    access_list = ACCESS_LIST.read_text() + "\nuser witness\ntopic readwrite #\n"
    with Broker(users={user: user for user in (*USERS, "witness")}, access_list=access_list) as broker:
        yield broker


def program(broker: Broker, user: str) -> LocalProgram:
    return LocalProgram(broker.port, username=user, password=user)


def allowed(user: str, right: str) -> list[str]:
    return [topic for topic, rights in RIGHTS.items() if right in rights.split()[USERS.index(user)]]


@pytest.mark.parametrize("user", USERS)
def test_a_user_writes_only_what_is_its_own(broker: Broker, user: str) -> None:
    with program(broker, user) as writer, program(broker, "witness") as witness:
        witness.subscribe("#")

        for topic in RIGHTS:
            writer.publish(topic, b"x")

        witness.publish("end")  # what was let through before comes before
        witness.wait_for("end")
        assert [message.topic for message in witness.messages()] == [*allowed(user, "w"), "end"]


@pytest.mark.parametrize("user", USERS)
def test_a_user_reads_only_what_is_meant_for_it(broker: Broker, user: str) -> None:
    with program(broker, user) as reader, program(broker, "witness") as witness:
        reader.subscribe("#")

        for topic in RIGHTS:
            witness.publish(topic, b"x")

        witness.publish("ocpp16/state", b"end")  # everybody may read it
        reader.wait_for("ocpp16/state", lambda message: message.payload == b"end")
        assert [message.topic for message in reader.messages()] == [*allowed(user, "r"), "ocpp16/state"]
