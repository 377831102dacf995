"""Whatever comes in, from the broker or from the CSMS: it is answered where it can be, and the daemon goes on."""

import json
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

from tests.broker import Broker
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.end_to_end.site import Site, retained
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import ScriptedCsms

# -- from the broker

LONG = "x" * 501

# Command, payload, error code of the reply.
BAD_REQUESTS: dict[str, tuple[str, str | bytes, str]] = {
    "no JSON": ("stop", "{", "bad_json"),
    "no UTF-8": ("stop", b"\xff\xfe{}", "bad_json"),
    "deeply nested": ("stop", "[" * 30_000, "bad_json"),
    "an array": ("stop", "[]", "bad_request"),
    "a string": ("stop", '"now"', "bad_request"),
    "null": ("stop", "null", "bad_request"),
    "an unknown command": ("self_destruct", "{}", "unknown_command"),
    "a command of two levels": ("stop/now", "{}", "unknown_command"),
    "an unknown argument": ("stop", '{"when":"now"}', "bad_request"),
    "an id that is no id": ("stop", '{"id":[1]}', "bad_request"),
    "an id of 65 characters": ("stop", json.dumps({"id": "x" * 65}), "bad_request"),
    "keys that are no list": ("get_configuration_key", '{"keys":"HeartbeatInterval"}', "bad_request"),
    "a key that is no string": ("monitor_configuration_keys", '{"keys":[1]}', "bad_request"),
    "an unknown key": ("monitor_configuration_keys", '{"keys":["Nonsense"]}', "bad_request"),
    "a missing argument": ("set_configuration_key", '{"key":"HeartbeatInterval"}', "bad_request"),
    "a value that is no string": ("set_configuration_key", '{"key":"HeartbeatInterval","value":60}', "bad_request"),
    "a value too long": ("set_configuration_key", json.dumps({"key": "CpoName", "value": LONG}), "bad_request"),
    "a vendor id too long": ("data_transfer", json.dumps({"vendor_id": "x" * 256}), "bad_request"),
    "a wrong time": ("security_event", '{"type":"X","timestamp":"yesterday"}', "bad_request"),
    "70 KB": ("data_transfer", json.dumps({"vendor_id": "x", "data": "x" * 70_000}), "bad_request"),
    "a foreign reply topic": ("stop", '{"reply_to":"ocpp16/hardware/connector/1/state"}', "bad_reply_topic"),
    "a reply topic with wildcard": ("stop", '{"reply_to":"ocpp16/reply/#"}', "bad_reply_topic"),
    "a reply topic that is none": ("stop", '{"reply_to":7}', "bad_reply_topic"),
    "a reply topic of 201 bytes": (
        "stop",
        json.dumps({"reply_to": "ocpp16/reply/".ljust(201, "x")}),
        "bad_reply_topic",
    ),
}


def test_every_bad_request_is_answered_with_its_error_and_the_daemon_goes_on(site: Site) -> None:
    for kind, (command, payload, code) in BAD_REQUESTS.items():
        site.program.publish(f"ocpp16/request/{command}", payload)

        reply = site.program.wait_for(f"ocpp16/response/{command}").json

        assert (reply["status"], reply["error"]["code"], kind) == ("error", code, kind)
    replies = site.program.messages("ocpp16/response/#")
    assert (len(replies), retained(site.program)["is_connected"]) == (len(BAD_REQUESTS), True)
    assert site.works()


def test_a_foreign_response_topic_is_refused_on_the_default_topic(site: Site) -> None:
    site.program.publish("ocpp16/request/stop", {}, response_topic="ocpp16/configuration_key", correlation_data=b"7")

    reply = site.program.wait_for("ocpp16/response/stop")
    assert (reply.json["error"]["code"], reply.correlation_data) == ("bad_reply_topic", b"7")
    assert "configuration_key" not in retained(site.program)


def test_a_request_that_expires_while_it_waits_is_not_carried_out(site: Site) -> None:
    site.csms.answers["DataTransfer"] = ScriptedCsms.SILENT
    site.program.publish("ocpp16/request/data_transfer", {"id": 1, "vendor_id": "Example"})
    site.csms.wait_for_call("DataTransfer")
    site.program.publish("ocpp16/request/data_transfer", {"id": 2, "vendor_id": "Example"}, expiry=1)
    heard = time.monotonic()
    site.program.request("get_configuration_key")  # by its answer the second one has arrived

    eventually(lambda: time.monotonic() > heard + 1.2, "the second one expires")
    site.csms.abort_connection()

    codes = [site.program.wait_for("ocpp16/response/data_transfer").json["error"]["code"] for _ in range(2)]
    assert codes == ["timeout", "expired"]


def test_a_retained_request_is_refused_and_cleared(site: Site) -> None:
    site.program.publish("ocpp16/request/stop", {"id": 1}, retain=True)

    reply = site.program.wait_for("ocpp16/response/stop").json

    assert (reply["id"], reply["error"]["code"]) == (1, "retained_request")
    eventually(lambda: "request/stop" not in retained(site.program), "the topic is cleared")
    assert site.works()


def test_a_retained_request_from_before_the_start_is_not_carried_out(
    program: LocalProgram, make_site: MakeSite
) -> None:
    program.publish("ocpp16/request/stop", {"id": 1}, retain=True)

    site = make_site()

    assert site.works()
    assert not program.messages("ocpp16/response/stop")
    assert len(site.csms.connections) == 1


@pytest.mark.parametrize(
    ("command", "arguments", "statuses"),
    [
        ("get_configuration_key", {"keys": ["NumberOfConnectors"]}, {"ok"}),
        ("data_transfer", {"vendor_id": "Example"}, {"ok", "busy"}),
    ],
    ids=["a command that is carried out at once", "a command that waits for the CSMS"],
)
def test_200_requests_at_once_are_answered_once_each(
    site: Site, command: str, arguments: dict[str, Any], statuses: set[str]
) -> None:
    site.csms.answer_delay = 0.01
    lines = [json.dumps({"id": number, **arguments}) for number in range(200)]

    publish_lines(site.broker, f"ocpp16/request/{command}", lines)

    topic = f"ocpp16/response/{command}"
    eventually(lambda: len(site.program.messages(topic)) >= len(lines), "all replies")
    assert site.works()
    replies = [message.json for message in site.program.messages(topic)]
    assert sorted(reply["id"] for reply in replies) == list(range(200))
    counts = Counter(reply["error"]["code"] if "error" in reply else "ok" for reply in replies)
    assert set(counts) <= statuses
    assert counts["ok"] >= 33  # one in work, 32 waiting


def publish_lines(broker: Broker, topic: str, lines: list[str]) -> None:
    command = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, "-l"]
    subprocess.run(command, check=True, input="\n".join(lines), text=True, timeout=PATIENCE)


BAD_FACTS: dict[str, tuple[str, str | bytes]] = {
    "no JSON": ("connector/1/state", "{"),
    "no UTF-8": ("connector/1/state", b"\xff"),
    "an array": ("connector/1/state", "[]"),
    "a number for a boolean": ("connector/1/state", '{"plugged":1}'),
    "an unknown connector": ("connector/9/state", '{"plugged":true}'),
    "a connector that is no number": ("connector/one/state", '{"plugged":true}'),
    "a topic nobody knows": ("weather", '"sunny"'),
}


def test_a_fact_that_makes_no_sense_changes_nothing_and_is_logged(site: Site) -> None:
    before = retained(site.program)["connector/1/status"]

    for topic, payload in BAD_FACTS.values():
        site.program.publish(f"ocpp16/hardware/{topic}", payload)

    assert site.works()
    assert retained(site.program)["connector/1/status"] == before
    assert (
        site.daemon.log.count("WARNING ocpp16_bridge.mqtt.hardware") >= len(BAD_FACTS) - 1
    )  # a topic nobody knows may be somebody else's


# -- from the CSMS

BAD_FRAMES: dict[str, tuple[str | bytes, list[Any] | None]] = {
    "no JSON": ("hello", None),
    "truncated": ('[2,"x","Heart', None),
    "an object": ("{}", None),
    "an empty array": ("[]", None),
    "an unknown message type": ('[7,"x","Heartbeat",{}]', None),
    "a message type that is no number": ('["2","x","Heartbeat",{}]', None),
    "an id that is no string": ('[2,1,"ClearCache",{}]', None),
    "an id that is an object": ('[2,{"a":1},"ClearCache",{}]', None),
    "deeply nested": ('[2,"x","ClearCache",' + "[" * 30_000, None),
    "a huge number": ('[2,"x","Reset",{"type":1e999999}]', None),
    "binary": (b"\x00\xff", None),
    "binary JSON": (b'[2,"x","ClearCache",{}]', None),
    "a result of nothing": ('[3,"nobody",{}]', None),
    "an error of nothing": ('[4,"nobody","GenericError","",{}]', None),
    "a result without payload": ('[3,"nobody"]', None),
    "no action": ('[2,"bad"]', [4, "bad", "FormationViolation"]),
    "no payload": ('[2,"bad","ClearCache"]', [4, "bad", "FormationViolation"]),
    "five elements": ('[2,"bad","ClearCache",{},{}]', [4, "bad", "FormationViolation"]),
    "an array as payload": ('[2,"bad","ClearCache",[]]', [4, "bad", "FormationViolation"]),
    "an unknown action": ('[2,"bad","MakeCoffee",{}]', [4, "bad", "NotImplemented"]),
    "an action of ours": ('[2,"bad","BootNotification",{}]', [4, "bad", "NotSupported"]),
    "a missing field": ('[2,"bad","Reset",{}]', [4, "bad", "ProtocolError"]),
    "a wrong type": ('[2,"bad","Reset",{"type":1}]', [4, "bad", "TypeConstraintViolation"]),
    "a wrong value": ('[2,"bad","Reset",{"type":"Cold"}]', [4, "bad", "PropertyConstraintViolation"]),
    "an extra field": ('[2,"bad","Reset",{"type":"Hard","now":true}]', [4, "bad", "FormationViolation"]),
}


def test_every_bad_frame_is_answered_where_it_can_be_and_the_link_stays(site: Site) -> None:
    """TR-24 … TR-28; obligations 1.3."""
    for kind, (frame, answer) in BAD_FRAMES.items():
        before = len(site.csms.frames)
        site.csms.send_raw(frame)

        assert site.works(), kind

        came = [frame[:3] for frame in site.csms.frames[before:] if frame[1] == "bad"]
        assert came == ([] if answer is None else [answer]), kind
    assert len(site.csms.connections) == 1


@pytest.mark.parametrize("second", [3, 4], ids=["result", "error"])
def test_only_the_first_of_two_answers_counts(site: Site, second: int) -> None:
    """TR-28."""
    site.csms.answers["DataTransfer"] = ScriptedCsms.SILENT
    site.program.publish("ocpp16/request/data_transfer", {"id": 1, "vendor_id": "Example"})
    message_id = site.csms.wait_for_call("DataTransfer").message_id
    again = {3: [3, message_id, {"status": "Rejected"}], 4: [4, message_id, "GenericError", "", {}]}[second]

    site.csms.send_raw(json.dumps([3, message_id, {"status": "Accepted"}]))
    site.csms.send_raw(json.dumps(again))

    reply = site.program.wait_for("ocpp16/response/data_transfer")
    assert reply.json["data"] == {"status": "Accepted"}
    assert site.works()
    assert site.program.messages("ocpp16/response/data_transfer") == [reply]


def test_an_answer_that_cannot_be_read_is_an_error_of_the_csms(site: Site) -> None:
    site.csms.answers["DataTransfer"] = {"status": "Perhaps"}

    reply = site.program.request("data_transfer", vendor_id="Example")

    assert reply["error"]["code"] == "csms_error"
    assert site.works()


def test_a_frame_over_1_mib_closes_the_link_with_1009_and_it_is_dialled_again(site: Site) -> None:
    site.csms.send_raw(json.dumps([2, "big", "DataTransfer", {"vendorId": "x", "data": "x" * 2**20}]))

    site.csms.wait_for_connection(2, PATIENCE)
    assert site.csms.connections[0].close_code == 1009
    site.program.wait_for("ocpp16/is_connected", lambda message: message.text == "false")
    site.await_topic("is_connected", value=True)
    assert site.works()
