"""Registration: obligations 1.4 and 2."""

from typing import Any

import pytest

from ocpp16_bridge.csms.connection import ConnectFailure
from tests.conftest import MakeStation
from tests.station import Station


def actions(station: Station) -> list[str]:
    """The actions of the CALLs sent since the last look."""
    return [frame[2] for frame in station.sent() if frame[0] == 2]


def accept_boot(station: Station, boot: list[Any], **answer: Any) -> None:
    station.csms_answers(boot, **{"status": "Accepted", "currentTime": station.now(), "interval": 300, **answer})


def collected(station: Station) -> list[list[Any]]:
    """All CALLs that follow up to the next BootNotification, each other one answered with {}."""
    frames: list[list[Any]] = []
    while fresh := station.sent():
        frames += fresh
        for frame in fresh:
            if frame[2] != "BootNotification":
                station.csms_answers(frame)
    return frames


# -- BootNotification


def test_boot_notification_is_the_first_and_only_message_before_its_answer(station: Station) -> None:
    """BT-01, BT-02."""
    station.connect()
    station.advance(20)

    (boot,) = station.sent()

    assert boot[2:] == ["BootNotification", {"chargePointVendor": "Example", "chargePointModel": "Model 1"}]


def test_every_connector_is_reported_once_registration_is_accepted(station: Station) -> None:
    """BT-05, ST-15; TC_001_CS."""
    station.advance(20)
    station.connect()
    (boot,) = station.sent("BootNotification")

    accept_boot(station, boot)

    frames = collected(station)
    reported = [(f[3]["connectorId"], f[3]["status"]) for f in frames if f[2] == "StatusNotification"]
    assert reported == [(0, "Available"), (1, "Available")]


def test_boot_notification_has_all_that_the_file_gives(make_station: MakeStation) -> None:
    station = make_station("")
    own = {
        "serial_number": "SN-1",
        "charge_box_serial_number": "CB-1",
        "firmware_version": "1.0.0",
        "iccid": "8949",
        "imsi": "26201",
        "meter_type": "MT",
        "meter_serial_number": "M-1",
    }
    settings = station.settings.charge_point.model_copy(update=own)
    station.settings = station.settings.model_copy(update={"charge_point": settings})
    station.kill()

    station.connect()

    (boot,) = station.sent()
    assert boot[3] == {
        "chargePointVendor": "Example",
        "chargePointModel": "Model 1",
        "chargePointSerialNumber": "SN-1",
        "chargeBoxSerialNumber": "CB-1",
        "firmwareVersion": "1.0.0",
        "iccid": "8949",
        "imsi": "26201",
        "meterType": "MT",
        "meterSerialNumber": "M-1",
    }


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_next_boot_notification_comes_after_the_interval(station: Station, status: str) -> None:
    """BT-06, BT-07; TC_001_CS, TC_002_CS."""
    station.register(status, interval=40)

    station.advance(39)
    assert station.sent() == []

    station.advance(2)
    assert actions(station) == ["BootNotification"]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize("interval", [0, -5])
def test_without_an_interval_the_waits_grow_to_15_minutes(station: Station, status: str, interval: int) -> None:
    """BT-06: a choice of our own that does not flood."""
    station.register(status, interval=interval)

    for wait in (60, 120, 240, 480, 900, 900):
        station.advance(wait - 1)
        assert station.sent() == []
        station.advance(1)
        (boot,) = station.sent()
        accept_boot(station, boot, status=status, interval=interval)


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_new_link_does_not_shorten_the_interval(station: Station, status: str) -> None:
    """BT-06, BT-07: a CSMS that rejects often closes the link, too."""
    station.register(status, interval=40)
    station.disconnect()
    station.advance(5)
    station.connect()

    station.advance(34)
    assert station.sent() == []

    station.advance(1)
    assert actions(station) == ["BootNotification"]


def test_interval_that_ended_while_the_link_was_away_is_over(station: Station) -> None:
    station.register("Rejected", interval=40)
    station.disconnect()
    station.advance(50)

    station.connect()

    assert actions(station) == ["BootNotification"]


def test_rejected_charge_point_answers_nothing(station: Station) -> None:
    """BT-07; trap 2."""
    station.register("Rejected", interval=1000)

    station.csms_sends("GetConfiguration")
    station.csms_sends("Reset", type="Soft")
    station.advance(500)

    assert (station.sent(), station.ended) == ([], [])


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_until_accepted_nothing_is_sent_unasked(station: Station, status: str) -> None:
    """BT-07, BT-08, the message matrix; trap 1."""
    station.register(status, interval=10_000)

    station.publish("hardware/connector/1/state", {"plugged": True})
    station.ask("security_event", type="TamperDetectionActivated")
    assert station.ask("data_transfer", vendor_id="com.example") == {"status": "Offline"}
    station.advance(5000)

    assert station.sent() == []


@pytest.mark.parametrize("refusal", ["CALLERROR", "timeout", "unreadable", "no interval", "bad time"])
def test_failed_boot_notification_is_repeated_with_growing_waits(station: Station, refusal: str) -> None:
    """BT-09, TR-45."""
    station.connect()

    for wait in (3, 6, 12, 24, 48, 48):
        (boot,) = station.sent()
        match refusal:
            case "CALLERROR":
                station.csms_refuses(boot, "InternalError")
            case "timeout":
                station.advance(30)
            case "unreadable":
                station.receive([3, boot[1], []])
            case "bad time":
                accept_boot(station, boot, currentTime="yesterday")
            case _:
                station.csms_answers(boot, status="Accepted", currentTime=station.now())
        station.advance(wait - 0.1)
        assert station.sent() == []
        station.advance(0.1)


def test_answered_boot_notification_starts_the_waits_again(station: Station) -> None:
    """BT-09."""
    station.connect()
    for wait in (3, 6, 12):
        station.csms_refuses(station.sent()[0], "InternalError")
        station.advance(wait)
    station.register("Pending", interval=10)
    station.advance(10)
    station.csms_refuses(station.sent()[0], "InternalError")

    station.advance(3)

    assert actions(station) == ["BootNotification"]


def test_boot_notification_without_answer_is_sent_again_with_the_next_link(station: Station) -> None:
    """BT-09."""
    station.connect()
    assert actions(station) == ["BootNotification"]
    station.disconnect()
    station.advance(100)
    assert station.sent() == []

    station.connect()

    assert actions(station) == ["BootNotification"]


def test_last_answer_is_shown(station: Station) -> None:
    """Contract 2."""
    station.register("Pending", interval=40)

    shown = station.shown("boot_notification_response")

    assert shown == {"status": "Pending", "current_time": "2026-11-22T10:00:00Z", "interval": 40}


@pytest.mark.parametrize("interval", [0, -1])
def test_accepted_without_interval_keeps_the_heartbeat_interval(station: Station, interval: int) -> None:
    """BT-04."""
    station.ask("set_configuration_key", key="HeartbeatInterval", value="77")

    station.register(interval=interval)

    assert heartbeat_interval(station) == "77"


def test_interval_beyond_all_measure_is_cut(station: Station) -> None:
    station.register(interval=10**400)

    assert heartbeat_interval(station) == str(2**31 - 1)


def heartbeat_interval(station: Station) -> Any:
    return station.ask("get_configuration_key", keys=["HeartbeatInterval"])["configuration_keys"][0]["value"]


# -- reconnect


def test_plain_reconnect_sends_no_boot_notification(station: Station) -> None:
    """TR-46, TR-47, BT-12; trap 3."""
    station.advance(20)
    station.register()
    station.disconnect()
    station.advance(30)

    station.connect()
    station.advance(60)

    assert station.sent() == []
    assert station.shown("connection")["registration"] == "Accepted"


def test_reconnect_reports_what_changed_meanwhile(station: Station) -> None:
    """TR-47."""
    station.advance(20)
    station.register()
    station.disconnect()
    station.publish("hardware/connector/1/state", {"plugged": True})

    station.connect()

    (status,) = station.sent()
    assert (status[2], status[3]["connectorId"], status[3]["status"]) == ("StatusNotification", 1, "Preparing")


def test_new_process_registers_anew(station: Station) -> None:
    """BT-01, BT-12."""
    station.register()
    station.kill()

    station.connect()

    assert actions(station) == ["BootNotification"]


INFO = {
    "firmware_version": "2.0",
    "serial_number": "HW-1",
    "meter_type": "MT",
    "meter_serial_number": "M-1",
    "iccid": "1",
    "imsi": "2",
}


def test_what_the_hardware_knows_is_in_the_next_boot_notification(station: Station) -> None:
    """Contract 4."""
    station.publish("hardware/info", INFO)

    station.connect()

    (boot,) = station.sent()
    assert boot[3] == {
        "chargePointVendor": "Example",
        "chargePointModel": "Model 1",
        "firmwareVersion": "2.0",
        "chargePointSerialNumber": "HW-1",
        "meterType": "MT",
        "meterSerialNumber": "M-1",
        "iccid": "1",
        "imsi": "2",
    }


def test_changed_fields_are_told_with_the_next_link(station: Station) -> None:
    """TR-46: and not before."""
    station.register()
    station.publish("hardware/info", INFO)
    station.advance(1)
    assert station.sent() == []
    station.disconnect()

    station.connect()

    (boot,) = station.sent()
    assert (boot[2], boot[3]["firmwareVersion"]) == ("BootNotification", "2.0")


@pytest.mark.parametrize(
    "info",
    [{"serial_number": "x" * 26}, {"firmware_version": "x" * 51}, {"iccid": "1" * 21}, {"imsi": 5}, [], "online"],
    ids=str,
)
def test_impossible_hardware_info_changes_nothing(station: Station, info: object) -> None:
    """Contract 4: logged, counted."""
    station.publish("hardware/info", INFO)
    station.publish("hardware/info", info)

    station.connect()

    assert station.sent()[0][3]["chargePointSerialNumber"] == "HW-1"
    station.advance(60)
    assert station.shown("health")["errors"] == {"hardware_input": 1}


# -- a CSMS that has forgotten us


def test_security_error_is_answered_by_one_boot_notification_per_link(station: Station) -> None:
    """TR-48, BT-05: and all connectors are reported again."""
    station.advance(20)
    station.register()
    for _ in range(2):
        station.disconnect()
        station.connect()
        station.publish("hardware/connector/1/state", {"plugged": True})
        station.publish("hardware/connector/1/state", {"plugged": False})
        for frame in station.sent():
            station.csms_refuses(frame, "SecurityError")
        frames = collected(station)
        assert frames[-1][2] == "BootNotification"
        accept_boot(station, frames[-1])
        reported = [f[3]["connectorId"] for f in collected(station) if f[2] == "StatusNotification"]
        assert reported[-2:] == [0, 1]  # after what waited already
        station.publish("hardware/connector/1/state", {"plugged": True})
        station.csms_refuses(station.sent()[0], "SecurityError")
        assert station.sent() == []


def test_security_error_to_a_boot_notification_is_a_failed_one(station: Station) -> None:
    """BT-09."""
    station.connect()
    station.csms_refuses(station.sent()[0], "SecurityError")
    assert station.sent() == []

    station.advance(3)

    assert actions(station) == ["BootNotification"]


def test_repeated_boot_notification_that_is_not_accepted_is_followed(station: Station) -> None:
    """BT-11."""
    station.register()
    station.ask("security_event", type="TamperDetectionActivated")
    station.csms_refuses(station.sent()[0], "SecurityError")
    (boot,) = station.sent("BootNotification")

    accept_boot(station, boot, status="Pending", interval=50)

    assert station.shown("connection")["registration"] == "Pending"
    station.advance(49)
    assert station.sent() == []
    station.advance(1)
    assert actions(station) == ["BootNotification"]


def test_new_heartbeat_interval_does_not_undo_a_boot_notification_that_is_due(station: Station) -> None:
    """BT-09, HB-04."""
    station.register()
    station.ask("security_event", type="TamperDetectionActivated")
    station.csms_refuses(station.sent()[0], "SecurityError")
    station.csms_refuses(station.sent("BootNotification")[0], "InternalError")
    station.ask("set_configuration_key", key="HeartbeatInterval", value="1000")

    station.advance(3)

    assert actions(station) == ["BootNotification"]


# -- Heartbeat


def register_quietly(station: Station, interval: int) -> None:
    """Accepted, and all that follows is sent and answered."""
    station.advance(20)
    station.register(interval=interval)


def test_heartbeat_comes_when_nothing_was_sent_for_exactly_the_interval(station: Station) -> None:
    """HB-01, HB-02; TC_001_CS."""
    register_quietly(station, 50)

    for _ in range(3):
        station.advance(49.9)
        assert station.sent() == []
        station.advance(0.1)
        (heartbeat,) = station.sent()
        assert heartbeat[2:] == ["Heartbeat", {}]
        station.csms_answers(heartbeat, currentTime=station.now())


def test_other_message_puts_the_heartbeat_off(station: Station) -> None:
    """HB-02."""
    register_quietly(station, 50)
    station.advance(30)
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.answer_all()

    station.advance(49)
    assert station.sent() == []

    station.advance(1)
    assert actions(station) == ["Heartbeat"]


@pytest.mark.parametrize("way", ["csms", "mqtt"])
def test_new_heartbeat_interval_is_effective_at_once(station: Station, way: str) -> None:
    """HB-04."""
    register_quietly(station, 500)
    station.advance(10)

    if way == "csms":
        station.csms_calls("ChangeConfiguration", key="HeartbeatInterval", value="15")
    else:
        station.ask("set_configuration_key", key="HeartbeatInterval", value="15")

    station.advance(4.9)
    assert station.sent() == []
    station.advance(0.1)
    assert actions(station) == ["Heartbeat"]


def test_one_heartbeat_a_day_sets_the_clock(station: Station) -> None:
    """HB-03, TR-51: also where other messages make heartbeats needless; answered or not, one."""
    register_quietly(station, 100)
    frames: list[Any] = []
    plugged = False
    for _ in range(86400 * 2 // 80):
        station.advance(80)
        plugged = not plugged
        station.publish("hardware/connector/1/state", {"plugged": plugged})
        while fresh := station.sent():
            frames += fresh
            for frame in fresh:
                if frame[2] == "Heartbeat":
                    station.csms_refuses(frame, "InternalError")
                else:
                    station.csms_answers(frame)

    assert [frame[2] for frame in frames if frame[2] != "StatusNotification"] == ["Heartbeat"] * 2


def test_heartbeat_waits_behind_a_call_without_answer(station: Station) -> None:
    """TR-31: and only one of them, however long it takes."""
    register_quietly(station, 10)
    station.publish("hardware/connector/1/state", {"plugged": True})
    assert actions(station) == ["StatusNotification"]

    station.advance(29)
    assert station.sent() == []

    station.advance(1)
    assert actions(station) == ["Heartbeat"]


def test_heartbeat_without_answer_is_followed_by_the_next_one(station: Station) -> None:
    register_quietly(station, 50)
    station.advance(50)
    assert actions(station) == ["Heartbeat"]

    station.advance(30 + 20)

    assert actions(station) == ["Heartbeat"]


def test_there_is_no_heartbeat_without_link(station: Station) -> None:
    register_quietly(station, 50)
    station.disconnect()

    station.advance(1000)

    assert station.sent() == []


# -- the clock


def test_timestamps_follow_the_csms(station: Station) -> None:
    """HB-05: a real step is a security event."""
    station.clock_error = 3600.0
    station.connect()
    (boot,) = station.sent("BootNotification")
    station.advance(2)  # the round trip
    accept_boot(station, boot)

    events = [frame[3] for frame in collected(station) if frame[2] == "SecurityEventNotification"]

    assert [event["type"] for event in events] == ["StartupOfTheDevice", "SettingSystemTime"]
    assert events[1]["timestamp"] == "2026-11-22T10:00:03Z"  # half the round trip later than currentTime
    assert station.shown("security_event")["type"] == "SettingSystemTime"


def test_small_difference_is_no_step(station: Station) -> None:
    """HB-05."""
    station.clock_error = 0.9

    station.register()

    assert station.shown("security_event")["type"] == "StartupOfTheDevice"


def test_heartbeat_sets_the_clock(station: Station) -> None:
    """HB-05."""
    register_quietly(station, 50)
    station.clock_error = -100.0
    station.advance(50)

    station.csms_answers(station.sent("Heartbeat")[0], currentTime=station.now())

    event = station.shown("security_event")
    assert (event["type"], event["timestamp"]) == ("SettingSystemTime", station.now())


@pytest.mark.parametrize("now", ["2026-11-22T10:00:00", "2026-11-22T11:00:00.123456789+01:00"])
def test_time_is_read_in_every_form(station: Station, now: str) -> None:
    """GD-01, GD-02."""
    station.connect()
    accept_boot(station, station.sent("BootNotification")[0], currentTime=now)

    assert station.shown("connection")["registration"] == "Accepted"
    assert station.shown("security_event")["type"] == "StartupOfTheDevice"


@pytest.mark.parametrize("now", ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_impossible_time_is_not_followed(station: Station, now: str) -> None:
    """HB-05, BT-22: the registration counts all the same."""
    station.connect()
    accept_boot(station, station.sent("BootNotification")[0], currentTime=now)
    station.advance(300)

    assert station.shown("connection")["registration"] == "Accepted"
    assert station.shown("security_event")["type"] == "StartupOfTheDevice"


def test_heartbeat_with_a_time_that_cannot_be_read_changes_nothing(station: Station) -> None:
    """HB-05, TR-29."""
    register_quietly(station, 50)
    station.advance(50)

    station.csms_answers(station.sent("Heartbeat")[0], currentTime="yesterday")

    assert station.shown("security_event")["type"] == "StartupOfTheDevice"
    station.advance(50)
    assert actions(station) == ["Heartbeat"]


def test_changed_csms_or_identity_keeps_the_queue_with_a_warning(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    csms = station.settings.csms.model_copy(update={"url": "ws://user:password@other.example/ocpp"})
    own = station.settings.charge_point.model_copy(update={"id": "CP002"})
    station.settings = station.settings.model_copy(update={"csms": csms, "charge_point": own})
    station.kill()
    warned = [record.getMessage() for record in caplog.records if "still queued" in record.getMessage()]
    station.connect()
    accept_boot(station, station.sent("BootNotification")[0])

    sent = [frame[3]["type"] for frame in collected(station) if frame[2] == "SecurityEventNotification"]

    assert sent == ["StartupOfTheDevice"] * 2
    assert [text.split(":")[0] for text in warned] == [
        "the CSMS url was ws",
        "the CSMS identity was CP001 and is now CP002",
    ]
    assert "password" not in caplog.text
    station.kill()
    assert caplog.text.count("still queued") == 2


def test_refused_dial_sends_nothing(station: Station) -> None:
    station.refuse(ConnectFailure("HTTP 404", 404, kind="http"))

    assert station.sent() == []
