"""A charge point at work: monitored keys, stop and restart, quiet when idle (contract 1 … 3)."""

import time

import pytest

from tests.broker import Broker, V3OnlyBroker
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.end_to_end.site import Site, retained

QUIET = 5.0  # s without a message that is not due: absence takes time to show


def test_a_monitored_key_that_the_csms_changes_is_shown_at_once_on_both_topics(site: Site) -> None:
    site.program.request("monitor_configuration_keys", keys=["MeterValueSampleInterval"])
    shown = {"key": "MeterValueSampleInterval", "read_only": False, "value": "15"}

    begun = time.monotonic()
    site.csms.call("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "15"})

    for topic in ("configuration_key", "configuration_key/MeterValueSampleInterval"):
        site.program.wait_for(f"ocpp16/{topic}", lambda message: bool(message.json == shown))
    assert time.monotonic() - begun < 1


def test_a_program_that_comes_later_finds_the_monitored_keys(site: Site) -> None:
    site.program.request("monitor_configuration_keys", keys=["MeterValueSampleInterval"])
    site.csms.call("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "15"})
    site.program.wait_for("ocpp16/configuration_key")

    shown = retained(site.program)

    expected = {"key": "MeterValueSampleInterval", "read_only": False, "value": "15"}
    assert shown["configuration_key"] == shown["configuration_key/MeterValueSampleInterval"] == expected


def test_what_a_local_program_changes_is_shown_on_the_topic_of_the_key_only(site: Site) -> None:
    site.program.request("monitor_configuration_keys", keys=["MeterValueSampleInterval"])

    site.program.request("set_configuration_key", key="MeterValueSampleInterval", value="16")

    site.program.wait_for("ocpp16/configuration_key/+", lambda message: message.json["value"] == "16")
    assert "configuration_key" not in retained(site.program)


def test_stop_closes_the_link_and_restart_registers_again(site: Site) -> None:
    assert site.program.request("restart")["data"] is False

    assert site.program.request("stop")["data"] is True

    site.await_topic("is_connected", value=True)
    site.await_topic("is_connected", value=False)
    site.csms.wait_until(lambda: site.csms.connections[0].close_code == 1000)
    assert site.program.request("stop")["data"] is False
    assert site.program.request("restart")["data"] is True
    site.await_registration()
    assert site.program.request("restart")["data"] is False
    assert site.works()


def test_while_stopped_nothing_is_stored_or_sent(site: Site) -> None:
    eventually(lambda: site.daemon.queued() == [], "the event of the start is delivered")
    site.program.request("stop")

    offline = site.program.request("data_transfer", vendor_id="Example")
    site.program.request("security_event", type="TamperDetectionActivated")
    site.program.publish("ocpp16/hardware/connector/1/state", {"plugged": True}, retain=True)
    site.program.wait_for("ocpp16/connector/1/status", lambda message: message.json["status"] == "Preparing")

    assert (offline["data"], site.daemon.queued()) == ({"status": "Offline"}, [])
    sent = len(site.csms.calls)
    site.program.request("restart")
    site.await_registration()
    site.program.request("security_event", type="FirmwareUpdated")
    site.csms.wait_for_call("SecurityEventNotification", lambda event: event["type"] == "FirmwareUpdated")
    later = [call for call in site.csms.calls[sent:] if call.action == "SecurityEventNotification"]
    assert [call.payload["type"] for call in later] == ["FirmwareUpdated"]
    assert len(site.csms.connections) == 2


def test_a_stop_is_not_remembered_by_the_next_process(site: Site) -> None:
    site.program.request("stop")

    site.daemon.kill()
    site.daemon.start()

    site.await_registration()


def test_stop_gives_up_a_dial_in_progress(site: Site) -> None:
    site.csms.hang_upgrade = True
    site.csms.close_connection()
    site.csms.wait_for_attempts(2, PATIENCE)

    assert site.program.request("stop")["data"] is True
    site.csms.hang_upgrade = False
    site.csms.stop()
    site.csms.start()
    site.program.request("restart")

    site.await_registration()
    assert len(site.csms.attempts) == 3


def test_an_idle_charge_point_is_quiet(make_site: MakeSite) -> None:
    site = make_site(charging_schedules={"publish_interval": 0}, hardware={"start_timeout": 0})
    site.csms.wait_for_call("StatusNotification", lambda status: status["connectorId"] == 1)
    site.csms.wait_for_call("SecurityEventNotification")
    assert site.works()
    site.program.clear()
    sent = len(site.csms.frames)

    time.sleep(QUIET)

    assert site.program.messages() == []
    assert site.csms.frames[sent:] == []


@pytest.mark.parametrize("silent", [False, True], ids=["refuses MQTT 5", "hangs up on MQTT 5"])
def test_a_broker_that_knows_only_mqtt_3_1_1_does(broker: Broker, make_site: MakeSite, *, silent: bool) -> None:
    with V3OnlyBroker(broker.port, silent=silent) as old_broker:
        site = make_site(mqtt={"port": old_broker.port})

        assert site.works()
        assert old_broker.refused

        site.daemon.terminate()  # the old broker waits for its clients
        assert site.daemon.wait() == 0
    assert retained(site.program)["state"] == "offline"


def test_the_log_level_changes_at_once(site: Site) -> None:
    site.program.request("set_log_level", level="error")
    site.program.request("no_such_command")
    assert " DEBUG " not in site.daemon.log

    site.program.request("set_log_level", level="debug")
    site.program.request("no_such_command")

    eventually(lambda: " DEBUG " in site.daemon.log, "the new level holds")


def test_log_levels_have_names(site: Site) -> None:
    reply = site.program.request("set_log_level", level="loud")

    assert (reply["status"], reply["error"]["code"]) == ("error", "bad_request")
