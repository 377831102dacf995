"""What a message of the broker sets off."""

import pytest

from ocpp16_bridge.mqtt.connection import Incoming, Subscription
from tests.conftest import MakeStation
from tests.station import Station

SLASHES = '[mqtt]\nbase_topic = "site/garage/1"\n'


def incoming(topic: str, payload: bytes) -> Incoming:
    return Incoming(topic, payload, retain=False, response_topic=None, correlation_data=None, expires_at=None)


def test_it_listens_to_requests_to_the_hardware_and_to_its_own_state(make_station: MakeStation) -> None:
    """Operations 1: to requests only without what is retained; never to its own output, `state` aside."""
    station = make_station(SLASHES)

    assert station.charge_point.mqtt_session.subscriptions() == [
        Subscription("site/garage/1/request/#", commands=True),
        Subscription("site/garage/1/hardware/#", commands=False),
        Subscription("site/garage/1/state", commands=False),
    ]


def test_base_topic_may_have_slashes(make_station: MakeStation) -> None:
    station = make_station(SLASHES)
    session = station.charge_point.mqtt_session
    station.published()

    session.mqtt_received(incoming("site/garage/1/request/get_configuration_key", b'{"keys":["HeartbeatInterval"]}'))
    session.mqtt_received(incoming("site/garage/1/hardware/connector/1/state", b'{"plugged":true}'))
    session.mqtt_received(incoming("site/garage/1/state", b"offline"))

    topics = [message.topic for message in station.published()]
    assert topics == [
        "site/garage/1/response/get_configuration_key",
        "site/garage/1/connector/1/status",
        "site/garage/1/state",
    ]


@pytest.mark.parametrize("topic", ["request", "hardware", "state/x", "requests/stop", "other", ""])
def test_other_topics_are_ignored(station: Station, topic: str) -> None:
    station.published()

    station.publish(topic, b"offline")

    assert station.published() == []
    assert station.charge_point.context.errors == {}


def test_own_clearing_of_a_retained_request_is_no_request(station: Station) -> None:
    """Over MQTT 3.1.1 it comes back."""
    station.published()

    station.publish("request/stop", {"id": 1}, retain=True)
    station.publish("request/stop", b"")

    cleared, reply = station.published()
    assert (cleared.topic, cleared.payload, cleared.retain) == ("ocpp16/request/stop", "", True)
    assert reply.payload["error"]["code"] == "retained_request"


def test_properties_of_mqtt_5_reach_the_reply(station: Station) -> None:
    station.published()

    station.publish("request/stop", {}, response_topic="ocpp16/reply/hmi", correlation_data=b"\xff", expires_at=0.0)

    (reply,) = station.published()
    assert (reply.topic, reply.correlation_data) == ("ocpp16/reply/hmi", b"\xff")
    assert reply.payload["error"]["code"] == "expired"


def test_coming_and_going_of_the_broker_are_turns(station: Station) -> None:
    """Listeners may change what is stored."""
    stored = station.store.collection("seen", str)
    session = station.charge_point.mqtt_session
    session.on_disconnected.append(lambda: stored.put("broker", "away"))
    session.on_connected.append(lambda: stored.put("broker", "here"))

    station.disconnect_broker()
    assert stored.get("broker") == "away"
    station.connect_broker()
    assert stored.get("broker") == "here"
