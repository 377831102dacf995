"""Stop and restart of OCPP, and the link as others see it: contract 2 and 3."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.transactions.site import Site
from tests.station import Station


def stop(station: Station) -> Any:
    return station.ask("stop")


def begin_to_stop(station: Station) -> None:
    """The websocket takes its time to close."""
    station.line.on_close = lambda: None
    station.published()
    station.publish("request/stop", {})


@pytest.fixture
def quiet(station: Station) -> Station:
    """Registered, with everything reported."""
    station.advance(20)
    station.register()
    return station


# -- stop


def test_stop_closes_the_link_and_says_so(quiet: Station) -> None:
    assert stop(quiet) is True

    assert quiet.line.events[-1] == "close 1000 stopped"
    assert quiet.shown("is_connected") is False
    assert quiet.shown("connection")["connected"] is False


def test_second_stop_is_false(quiet: Station) -> None:
    stop(quiet)

    assert quiet.ask("stop") is False

    assert quiet.line.events.count("close 1000 stopped") == 1


def test_stop_without_a_link_gives_up_the_dial(station: Station) -> None:
    assert station.ask("stop") is True

    assert station.line.events == ["close 1000 stopped"]


def test_stop_replies_when_the_link_is_closed(quiet: Station) -> None:
    begin_to_stop(quiet)
    assert quiet.published("response/stop") == []

    quiet.disconnect()

    messages = quiet.published()
    assert [m.topic for m in messages if m.topic.endswith(("is_connected", "response/stop"))] == [
        "ocpp16/is_connected",
        "ocpp16/response/stop",
    ]


def test_stop_replies_also_when_the_link_does_not_close(quiet: Station) -> None:
    begin_to_stop(quiet)

    quiet.advance(5)

    assert quiet.published("response/stop") == [{"status": "ok", "data": True}]


def test_time_limit_of_one_stop_does_not_end_the_next(quiet: Station) -> None:
    stop(quiet)
    quiet.ask("restart")
    quiet.advance(1)
    quiet.register()
    begin_to_stop(quiet)

    quiet.advance(4.5)

    assert quiet.published("response/stop") == []


def test_nothing_is_sent_or_stored_while_stopped(quiet: Station) -> None:
    """Contract 3."""
    stop(quiet)
    quiet.sent()
    quiet.ask("security_event", type="TamperDetectionActivated")
    quiet.publish("hardware/connector/1/state", {"plugged": True})
    quiet.publish("hardware/connector/1/state", {"plugged": False})
    quiet.receive([2, "late", "GetConfiguration", {}])
    quiet.receive("nonsense")
    quiet.advance(10_000)
    assert quiet.sent() == []

    quiet.ask("restart")
    quiet.connect()
    boot, *_ = quiet.sent()
    quiet.csms_answers(boot, status="Accepted", currentTime=quiet.now(), interval=300)
    frames = everything(quiet)

    assert [frame[2] for frame in frames] == ["StatusNotification"] * 2


def everything(station: Station) -> list[Any]:
    frames: list[Any] = []
    while fresh := station.sent():
        frames += fresh
        for frame in fresh:
            station.csms_answers(frame)
    return frames


def test_what_was_queued_before_the_stop_is_delivered_after_the_restart(station: Station) -> None:
    """Contract 3."""
    station.ask("security_event", type="TamperDetectionActivated", timestamp="2026-11-22T09:00:00Z")
    stop(station)
    station.ask("restart")
    station.connect()
    station.csms_answers(station.sent()[0], status="Accepted", currentTime=station.now(), interval=300)

    events = [frame[3] for frame in everything(station) if frame[2] == "SecurityEventNotification"]

    assert [event["type"] for event in events] == ["StartupOfTheDevice", "TamperDetectionActivated"]


def test_data_transfer_in_work_ends_with_the_stop(quiet: Station) -> None:
    """Contract 3: link lost before the answer."""
    quiet.publish("request/data_transfer", {"vendor_id": "com.example"})
    assert [frame[2] for frame in quiet.sent()] == ["DataTransfer"]
    quiet.published()

    stop(quiet)

    (transfer,) = [m.payload for m in quiet.broker.messages if m.topic.endswith("response/data_transfer")]
    assert transfer["error"]["code"] == "timeout"
    assert "link" in transfer["error"]["message"]


def test_data_transfer_is_offline_while_stopped_also_before_the_link_is_closed(quiet: Station) -> None:
    begin_to_stop(quiet)

    assert quiet.ask("data_transfer", vendor_id="com.example") == {"status": "Offline"}

    assert quiet.sent() == []


def test_configuration_commands_work_while_stopped(quiet: Station) -> None:
    """Contract 3."""
    stop(quiet)

    assert quiet.ask("set_configuration_key", key="MeterValueSampleInterval", value="7") == "Accepted"
    assert (
        quiet.ask("get_configuration_key", keys=["MeterValueSampleInterval"])["configuration_keys"][0]["value"] == "7"
    )
    assert quiet.ask("monitor_configuration_keys", keys=["MeterValueSampleInterval"]) is None
    assert quiet.ask("set_custom_configuration_key", key="nope", value="7") == "Rejected"


def test_new_process_is_not_stopped(quiet: Station) -> None:
    """Contract 3: being stopped is not stored."""
    stop(quiet)
    quiet.kill()
    quiet.connect_broker()

    quiet.connect()

    assert [frame[2] for frame in quiet.sent()] == ["BootNotification"]
    assert quiet.ask("restart") is False


# -- restart


def test_restart_of_what_was_not_stopped_is_false(quiet: Station) -> None:
    assert quiet.ask("restart") is False

    assert "open" not in quiet.line.events


def test_restart_dials_and_does_not_wait(quiet: Station) -> None:
    stop(quiet)

    assert quiet.ask("restart") is True

    assert quiet.line.events[-1] == "open"
    assert quiet.ask("restart") is False


def test_restart_registers_anew_and_heartbeats_go_on(quiet: Station) -> None:
    """Contract 3; everest-interface 1.2: not so there."""
    stop(quiet)
    quiet.ask("restart")

    quiet.connect()
    (boot,) = quiet.sent()
    quiet.csms_answers(boot, status="Accepted", currentTime=quiet.now(), interval=60)
    statuses = everything(quiet)
    quiet.advance(60)

    assert boot[2] == "BootNotification"
    assert [frame[2] for frame in statuses] == ["StatusNotification"] * 2
    assert [frame[2] for frame in quiet.sent()] == ["Heartbeat"]


def test_restart_does_not_wait_for_the_interval_of_a_rejection(station: Station) -> None:
    station.register("Rejected", interval=1000)
    stop(station)
    station.ask("restart")

    station.connect()

    assert [frame[2] for frame in station.sent()] == ["BootNotification"]


def test_restart_during_the_close_dials_again(quiet: Station) -> None:
    begin_to_stop(quiet)
    quiet.publish("request/restart", {})
    quiet.disconnect()
    quiet.connect()

    messages = quiet.published()
    replies = [m.payload["data"] for m in messages if "/response/" in m.topic]
    assert replies == [True, True]
    assert quiet.line.events[-3:] == ["close 1000 stopped", "open", "send"]
    assert [frame[2] for frame in quiet.sent()] == ["BootNotification"]


def test_stop_and_restart_work_again_and_again(quiet: Station) -> None:
    for _ in range(3):
        assert stop(quiet) is True
        assert quiet.ask("restart") is True
        quiet.register()
        assert quiet.shown("connection")["registration"] == "Accepted"


# -- with transactions


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A transaction with the id 100 runs on connector 1."""
    with closing(Site(tmp_path / "station")) as site:
        site.unplug()
        site.meter(1000)
        site.connect()
        site.plug()
        site.tag()
        site.connect()
        site.meter(1100)
        site.station.published()
        yield site


def replies(site: Site) -> list[Any]:
    return [reply["data"] for reply in site.station.published("response/stop")]


def test_stop_ends_transactions_and_waits_for_their_delivery(site: Site) -> None:
    """Contract 3; everest-interface 1.1: not so there."""
    site.station.publish("request/stop", {})
    assert (site.station.shown("is_connected"), replies(site)) == (True, [])

    site.serve()

    (message,) = site.books.of("StopTransaction")
    assert (message["reason"], message["transactionId"], message["meterStop"]) == ("Other", 100, 1100)
    assert (site.station.shown("is_connected"), replies(site)) == (False, [True])
    assert site.station.shown("connector/1/charging_permitted") is False
    assert site.transaction() is None


def test_stop_waits_five_seconds_and_the_rest_comes_after_the_restart(site: Site) -> None:
    """Contract 3."""
    site.station.publish("request/stop", {})
    site.look()
    site.station.advance(4.5)
    assert replies(site) == []
    site.station.advance(0.5)
    assert replies(site) == [True]

    site.station.ask("restart")
    site.connect()

    assert [(m["reason"], m["transactionId"]) for m in site.books.of("StopTransaction")] == [("Other", 100)]


def test_stop_without_a_link_does_not_wait(site: Site) -> None:
    site.disconnect()

    assert site.station.ask("stop") is True

    site.station.ask("restart")
    site.connect()
    assert [m["reason"] for m in site.books.of("StopTransaction")] == ["Other"]


def test_stop_does_not_wait_for_a_link_that_breaks(site: Site) -> None:
    site.station.publish("request/stop", {})
    site.disconnect()

    assert replies(site) == [True]


def test_stop_waits_for_no_meter(site: Site) -> None:
    """One that ended just before waits for its last reading."""
    site.advance(1)
    site.tag()
    assert site.books.of("StopTransaction") == []

    site.station.publish("request/stop", {})
    site.serve()

    assert [m["reason"] for m in site.books.of("StopTransaction")] == ["Local"]
    assert replies(site) == [True]


def test_what_begins_during_the_stop_ends_too(site: Site) -> None:
    """Contract 3: nothing is left running that would be told of after the restart."""
    site.station.publish("request/stop", {})
    site.tag("OTHER")
    site.look()
    site.station.advance(5)
    assert site.transaction() is None
    site.station.ask("restart")
    site.connect()

    assert [m["reason"] for m in site.books.of("StopTransaction")] == ["Other"] * len(site.books.ids)


def test_what_happens_while_stopped_is_not_told(site: Site) -> None:
    """Contract 3."""
    site.station.publish("request/stop", {})
    site.serve()
    told = len(site.books.frames)
    assert site.station.request("present_id_tag", id_tag="TAG")["error"]["code"] == "stopped"
    assert site.station.request("stop_transaction", connector_id=1)["error"]["code"] == "stopped"
    site.unplug()
    site.plug()
    site.meter(1200)
    site.station.advance(1000)
    assert site.station.shown("connector/1/charging_permitted") is False

    site.station.ask("restart")
    site.connect()

    assert len(site.books.frames) == told
    assert site.station.shown("connector/1/status")["status"] == "Preparing"


def test_a_transaction_may_begin_after_the_restart(site: Site) -> None:
    site.station.publish("request/stop", {})
    site.serve()
    site.station.ask("restart")
    site.connect()

    site.tag()
    site.connect()

    assert site.station.shown("connector/1/charging_permitted") is True
    assert site.transaction()["transaction_id"] == 101


def test_a_tag_that_waits_for_its_cable_waits_no_more(site: Site) -> None:
    site.tag()
    site.advance(2)
    site.serve()
    site.unplug()
    site.tag()
    site.serve()
    assert site.station.shown("connector/1/status")["status"] == "Preparing"

    site.station.publish("request/stop", {})
    site.station.ask("restart")
    site.connect()
    site.plug()
    site.serve()

    assert len(site.books.ids) == 1


# -- what others see


def test_link_is_shown_at_every_step(station: Station) -> None:
    """Contract 2."""

    def shown() -> tuple[Any, ...]:
        connection = station.shown("connection")
        assert connection.pop("csms_url") == "ws://csms.example/ocpp"
        assert connection.pop("security_profile") == 0
        assert connection["connected"] is station.shown("is_connected")
        return connection["connected"], connection["registration"], connection["since"][-9:]

    assert shown() == (False, None, "10:00:00Z")
    station.advance(5)
    station.connect()
    assert shown() == (True, None, "10:00:05Z")
    station.advance(5)
    station.register("Pending", interval=5)
    assert shown() == (True, "Pending", "10:00:05Z")
    station.advance(5)
    station.register()
    assert shown() == (True, "Accepted", "10:00:05Z")
    station.disconnect()
    assert shown() == (False, "Accepted", "10:00:15Z")
    station.advance(5)
    station.connect()
    assert shown() == (True, "Accepted", "10:00:20Z")
    station.advance(5)
    stop(station)
    assert shown() == (False, "Accepted", "10:00:25Z")
    station.advance(5)
    station.ask("restart")
    assert shown() == (False, None, "10:00:25Z")


def test_credentials_of_the_url_are_shown_nowhere(make_station: MakeStation) -> None:
    """Contract 1, 2."""
    station = make_station("")
    csms = station.settings.csms.model_copy(update={"url": "ws://user:password@csms.example/ocpp"})
    station.settings = station.settings.model_copy(update={"csms": csms})
    station.kill()
    station.connect_broker()
    station.register()

    assert station.shown("connection")["csms_url"] == "ws://csms.example/ocpp"
    assert "password" not in repr(station.broker.messages)
    assert station.charge_point.security.target().url == "ws://csms.example/ocpp/CP001"


# -- time limits and pings


def test_message_timeout_limits_the_wait_for_an_answer(quiet: Station) -> None:
    """TR-40."""
    quiet.csms_calls("ChangeConfiguration", key="MessageTimeout", value="5")
    quiet.publish("request/data_transfer", {"vendor_id": "com.example"})
    quiet.published()

    quiet.advance(5)

    (reply,) = quiet.published("response/data_transfer")
    assert reply["error"] == {"code": "timeout", "message": "no answer within 5 s"}


def test_first_value_of_the_message_timeout_is_in_the_file(make_station: MakeStation) -> None:
    """Contract 5."""
    station = make_station("call_timeout = 7\n")

    station.connect()
    station.advance(7 + 3)

    assert [frame[2] for frame in station.sent()] == ["BootNotification"] * 2


def test_new_ping_interval_applies_at_once(quiet: Station) -> None:
    """TR-43: after the answer."""
    quiet.csms_calls("ChangeConfiguration", key="WebSocketPingInterval", value="0")

    assert quiet.line.events[-2:] == ["send", "ping_interval_changed"]
