"""Broker and CSMS come and go, or are not what they should be: the daemon stays up and is right again afterwards."""

import itertools
import signal
import socket
import time

import pytest

from tests.broker import Broker
from tests.end_to_end.conftest import MakeSite, Prepare
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.end_to_end.site import Site, await_topic, retained
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import CallError, ScriptedCsms

VOLATILE = {"health", "charging_schedules"}  # they tell the time


def picture(program: LocalProgram) -> dict[str, object]:
    return {topic: value for topic, value in retained(program).items() if topic not in VOLATILE}


# -- the broker


def test_a_broker_that_forgets_everything_ends_with_the_same_picture(site: Site) -> None:
    site.program.request("monitor_configuration_keys", keys=["HeartbeatInterval"])
    before = retained(site.program)

    site.broker.kill()
    site.broker.start()

    with LocalProgram(site.broker.port) as program:
        program.subscribe("ocpp16/#")
        await_topic(program, "state", "online")
        assert {topic: value for topic, value in before.items() if topic not in VOLATILE} == picture(program)
        assert retained(program).keys() == before.keys()
        assert program.request("get_configuration_key")["status"] == "ok"
    assert len(site.csms.connections) == 1  # that the broker was away is no matter of the CSMS


def test_online_is_the_last_that_a_broker_hears_when_it_is_back(site: Site) -> None:
    site.broker.kill()
    site.daemon.signal(signal.SIGSTOP)  # so that the listener is there first
    site.broker.start()

    with LocalProgram(site.broker.port) as program:
        program.subscribe("ocpp16/#")
        site.daemon.signal(signal.SIGCONT)

        await_topic(program, "state", "online")
        topics = [message.topic for message in program.messages()]

    assert topics[-1] == "ocpp16/state"
    assert {"ocpp16/is_connected", "ocpp16/info", "ocpp16/charging_schedules"} <= set(topics[:-1])


def test_what_happens_while_the_broker_is_away_is_shown_afterwards(site: Site) -> None:
    site.broker.kill()

    site.csms.stop()
    eventually(lambda: "Disconnected from ws:" in site.daemon.log, "the link is lost")
    site.broker.start()

    with LocalProgram(site.broker.port) as program:
        program.subscribe("ocpp16/#")
        await_topic(program, "state", "online")
        assert retained(program)["is_connected"] is False


def test_a_broker_that_says_farewell_is_dialled_again_too(site: Site) -> None:
    site.broker.terminate()
    site.broker.start()

    with LocalProgram(site.broker.port) as program:
        program.subscribe("ocpp16/#")
        await_topic(program, "state", "online")


def test_without_a_broker_the_csms_is_dialled_after_a_while_and_the_broker_served_when_it_comes(
    broker: Broker, csms: ScriptedCsms, prepare: Prepare
) -> None:
    broker.kill()
    daemon = prepare(hardware={"start_timeout": 1.5})
    begun = time.monotonic()
    daemon.start()

    csms.wait_for_call("BootNotification", timeout=PATIENCE)
    assert csms.attempts[0].at - begun > 1.5

    broker.start()
    with LocalProgram(broker.port) as program:
        program.subscribe("ocpp16/#")
        await_topic(program, "state", "online")
        assert retained(program)["is_connected"] is True


def test_a_broker_that_accepts_and_says_nothing_does_not_hold_up_the_dial(csms: ScriptedCsms, prepare: Prepare) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        daemon = prepare(mqtt={"port": mute.getsockname()[1]}, hardware={"start_timeout": 0.2})
        daemon.start()

        csms.wait_for_call("BootNotification", timeout=PATIENCE)
        assert daemon.running


def test_a_broker_that_comes_and_goes_does_not_cut_short_the_waits_of_the_csms(
    broker: Broker, csms: ScriptedCsms, program: LocalProgram, prepare: Prepare
) -> None:
    """TR-45."""
    csms.refuse_with = (503, {"Retry-After": "3600"})
    daemon = prepare(hardware={"start_timeout": 0.5})
    daemon.start()
    csms.wait_for_attempts(1, PATIENCE)
    await_topic(program, "state", "online")

    broker.kill()
    broker.start()

    with LocalProgram(broker.port) as later:
        later.subscribe("ocpp16/#")
        await_topic(later, "state", "online")
        assert later.request("get_configuration_key")["status"] == "ok"
    assert len(csms.attempts) == 1


# -- the CSMS


def test_a_csms_that_restarts_is_dialled_again_and_needs_no_boot_notification(site: Site) -> None:
    """TR-46."""
    site.csms.stop()
    site.await_topic("is_connected", value=False)

    site.csms.start()

    site.await_topic("is_connected", value=True)
    assert site.works()
    assert [call.action for call in site.csms.calls].count("BootNotification") == 1


@pytest.mark.parametrize("way", ["close_connection", "abort_connection"], ids=["closed", "cut"])
def test_a_lost_link_is_made_again(site: Site, way: str) -> None:
    getattr(site.csms, way)()

    site.csms.wait_for_connection(2, PATIENCE)
    site.program.wait_for("ocpp16/is_connected", lambda message: message.text == "false")
    site.await_topic("is_connected", value=True)
    assert site.works()


def test_a_request_that_waits_when_the_link_is_lost_is_answered_at_once(site: Site) -> None:
    site.csms.answers["DataTransfer"] = ScriptedCsms.SILENT
    site.program.publish("ocpp16/request/data_transfer", {"id": 1, "vendor_id": "Example"})
    site.csms.wait_for_call("DataTransfer")

    site.csms.abort_connection()

    reply = site.program.wait_for("ocpp16/response/data_transfer").json
    assert (reply["error"]["code"], "lost" in reply["error"]["message"]) == ("timeout", True)


def test_a_csms_that_accepts_and_closes_is_dialled_with_growing_waits(csms: ScriptedCsms, prepare: Prepare) -> None:
    """TR-44, TR-45: a connection without an answered message does not begin the series again."""
    csms.close_at_once = True
    daemon = prepare(csms={"reconnect_repeat_times": 2}, hardware={"start_timeout": 0})
    daemon.start()

    attempts = csms.wait_for_attempts(6, PATIENCE)

    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(attempts)]
    assert all(gap >= wait for gap, wait in zip(gaps, [0.1, 0.2, 0.4, 0.4, 0.4], strict=True)), gaps
    csms.close_at_once = False
    csms.wait_for_call("StatusNotification", timeout=PATIENCE)


@pytest.mark.parametrize(
    ("status", "headers", "at_least"),
    [
        (401, {}, 0.1),
        (403, {}, 0.1),
        (404, {}, 0.1),
        (302, {"Location": "ws://127.0.0.1:9/"}, 0.1),
        (500, {}, 0.1),
        (429, {"Retry-After": "1"}, 1.0),
        (503, {"Retry-After": "1"}, 1.0),
    ],
    ids=["401", "403", "404", "302", "500", "429 with Retry-After", "503 with Retry-After"],
)
def test_a_csms_that_refuses_is_asked_again(
    csms: ScriptedCsms, program: LocalProgram, prepare: Prepare, status: int, headers: dict[str, str], at_least: float
) -> None:
    """TR-07, TR-08."""
    csms.refuse_with = (status, headers)
    daemon = prepare(hardware={"start_timeout": 0})
    daemon.start()

    first, second = csms.wait_for_attempts(2, PATIENCE)
    csms.refuse_with = None

    assert second.at - first.at >= at_least
    await_topic(program, "is_connected", value=True)
    assert f"HTTP {status}" in daemon.log
    is_about_credentials = status in (401, 403)
    events = [message.json["type"] for message in program.messages("ocpp16/security_event")]
    assert ("FailedToAuthenticateAtCentralSystem" in events) == is_about_credentials


@pytest.mark.parametrize("subprotocol", [None, "ocpp2.0.1"], ids=["no subprotocol", "another subprotocol"])
def test_a_server_that_does_not_agree_to_ocpp16_is_not_connected(
    csms: ScriptedCsms, program: LocalProgram, prepare: Prepare, subprotocol: str | None
) -> None:
    """TR-06."""
    csms.subprotocol = subprotocol
    daemon = prepare()
    daemon.start()

    csms.wait_for_attempts(2, PATIENCE)
    assert all(message.text == "false" for message in program.messages("ocpp16/is_connected"))
    csms.subprotocol = "ocpp1.6"

    await_topic(program, "is_connected", value=True)
    assert "check csms.url" in daemon.log
    csms.wait_for_call("BootNotification")


def test_a_csms_that_never_answers_the_upgrade_holds_up_nobody_else(
    csms: ScriptedCsms, program: LocalProgram, prepare: Prepare
) -> None:
    csms.hang_upgrade = True
    daemon = prepare()
    daemon.start()
    csms.wait_for_attempts(1, PATIENCE)
    await_topic(program, "state", "online")

    assert program.request("data_transfer", vendor_id="Example")["data"] == {"status": "Offline"}

    csms.hang_upgrade = False
    csms.stop()
    csms.start()
    await_topic(program, "is_connected", value=True)


def test_a_half_open_link_is_noticed_and_made_again(make_site: MakeSite) -> None:
    """TR-42."""
    site = make_site(configuration_keys={"WebSocketPingInterval": 1})

    site.csms.freeze_connection()

    site.program.wait_for("ocpp16/is_connected", lambda message: message.text == "false", PATIENCE)
    site.csms.wait_for_connection(2, PATIENCE)
    site.await_topic("is_connected", value=True)
    assert site.works()


def test_a_csms_that_does_not_accept_yet_is_asked_again_after_its_interval(
    csms: ScriptedCsms, program: LocalProgram, prepare: Prepare
) -> None:
    """BT-06."""
    answers = iter(["Pending", "Accepted"])
    now = "2026-11-24T10:00:00Z"
    csms.answers["BootNotification"] = lambda _boot: {"status": next(answers), "currentTime": now, "interval": 1}
    prepare().start()

    first, second = (csms.wait_for_call("BootNotification", timeout=PATIENCE) for _ in range(2))

    assert second.received_at - first.received_at >= 1
    program.wait_for("ocpp16/connection", lambda message: message.json["registration"] == "Accepted")
    assert len(csms.connections) == 1


def test_what_must_arrive_is_kept_while_the_csms_is_away_and_delivered_in_order(site: Site) -> None:
    eventually(lambda: site.daemon.queued() == [], "the event of the start is delivered")
    site.csms.stop()
    site.await_topic("is_connected", value=False)
    seen = len(site.csms.calls)
    for kind in ("TamperDetectionActivated", "FirmwareUpdated"):
        site.program.request("security_event", type=kind)

    site.daemon.kill()
    site.csms.start()
    site.daemon.start()

    site.await_registration()
    eventually(lambda: site.daemon.queued() == [], "all is delivered")
    events = [call.payload["type"] for call in site.csms.calls[seen:] if call.action == "SecurityEventNotification"]
    assert events == ["TamperDetectionActivated", "FirmwareUpdated", "StartupOfTheDevice"]


def test_a_csms_that_does_not_know_a_message_is_not_asked_again(site: Site) -> None:
    """SE-32."""
    site.csms.answers["SecurityEventNotification"] = CallError("NotImplemented")

    site.program.request("security_event", type="FirmwareUpdated")

    site.csms.wait_for_call("SecurityEventNotification", lambda event: event["type"] == "FirmwareUpdated")
    eventually(lambda: site.daemon.queued() == [], "nothing waits")
    assert site.works()
