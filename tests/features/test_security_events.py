"""Security events: obligations 9.5, contract 2 and 3."""

import logging
from typing import Any

import pytest

from tests.station import Station

CRITICAL = [
    "FirmwareUpdated",
    "SettingSystemTime",
    "StartupOfTheDevice",
    "ResetOrReboot",
    "SecurityLogWasCleared",
    "MemoryExhaustion",
    "TamperDetectionActivated",
]
SENT_ALL_THE_SAME = [  # SE-32
    "InvalidFirmwareSignature",
    "InvalidFirmwareSigningCertificate",
    "InvalidCentralSystemCertificate",
    "InvalidChargePointCertificate",
]
NOT_CRITICAL = [
    "FailedToAuthenticateAtCentralSystem",
    "CentralSystemFailedToAuthenticate",
    "ReconfigurationOfSecurityParameters",
    "InvalidMessages",
    "AttemptedReplayAttacks",
    "InvalidTLSVersion",
    "InvalidTLSCipherSuite",
    "com.example.Own",
]
EVENT = "TamperDetectionActivated"


@pytest.fixture
def quiet(station: Station) -> Station:
    """Registered, with everything reported."""
    station.advance(20)
    station.register()
    station.published()
    return station


def sent(station: Station) -> list[dict[str, Any]]:
    """The events the CSMS is told from now on, each answered."""
    events = []
    while frames := station.sent():
        events += [frame[3] for frame in frames if frame[2] == "SecurityEventNotification"]
        for frame in frames:
            station.csms_answers(frame)
    return events


# -- which are sent


@pytest.mark.parametrize(
    ("event", "is_sent"),
    [(event, True) for event in CRITICAL + SENT_ALL_THE_SAME] + [(event, False) for event in NOT_CRITICAL],
)
def test_critical_events_are_sent(quiet: Station, event: str, *, is_sent: bool) -> None:
    """SE-31, SE-32."""
    assert quiet.ask("security_event", type=event) is None

    assert [message["type"] for message in sent(quiet)] == [event] * is_sent


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("event", [EVENT, "InvalidMessages", "com.example.Own"])
def test_reporter_may_say_whether_it_is_critical(quiet: Station, event: str, *, critical: bool) -> None:
    """Contract 3."""
    quiet.ask("security_event", type=event, critical=critical)

    assert len(sent(quiet)) == critical


def test_event_goes_out_as_it_was_reported(quiet: Station) -> None:
    quiet.ask("security_event", type=EVENT, info="lid", timestamp="2026-11-22T10:30:00+01:00")

    assert sent(quiet) == [{"type": EVENT, "timestamp": "2026-11-22T09:30:00Z", "techInfo": "lid"}]


def test_event_without_time_happened_now(quiet: Station) -> None:
    """TX-31 for events: not when it was sent."""
    quiet.disconnect()
    quiet.ask("security_event", type=EVENT)
    quiet.advance(100)
    quiet.connect()

    assert sent(quiet) == [{"type": EVENT, "timestamp": "2026-11-22T10:00:20Z"}]


@pytest.mark.parametrize("event", [EVENT, "InvalidMessages"])
def test_every_event_is_logged(quiet: Station, caplog: pytest.LogCaptureFixture, event: str) -> None:
    """SE-30."""
    caplog.set_level(logging.INFO)

    quiet.ask("security_event", type=event, info="lid")

    assert f"security event {event}: lid" in caplog.text


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"type": ""},
        {"type": "x" * 51},
        {"type": 5},
        {"type": EVENT, "info": "x" * 256},
        {"type": EVENT, "critical": "yes"},
        {"type": EVENT, "timestamp": "yesterday"},
        {"type": EVENT, "timestamp": 5},
        {"type": EVENT, "other": 5},
    ],
    ids=lambda arguments: repr(arguments)[:40],
)
def test_arguments_are_checked(quiet: Station, arguments: dict[str, Any]) -> None:
    """Contract 3."""
    assert quiet.request("security_event", **arguments)["error"]["code"] == "bad_request"

    assert sent(quiet) == []


@pytest.mark.parametrize("arguments", [{"type": "x" * 50}, {"type": EVENT, "info": "x" * 255, "critical": None}])
def test_longest_arguments_are_taken(quiet: Station, arguments: dict[str, Any]) -> None:
    assert quiet.ask("security_event", **arguments) is None


# -- guaranteed delivery


def test_events_wait_for_the_acceptance(station: Station) -> None:
    """SE-33, BT-02, BT-08."""
    station.ask("security_event", type=EVENT)
    station.register("Pending", interval=10)
    assert sent(station) == []
    station.advance(10)

    station.csms_answers(station.sent()[0], status="Accepted", currentTime=station.now(), interval=300)

    assert [event["type"] for event in sent(station)] == ["StartupOfTheDevice", EVENT]


def test_events_survive_processes(station: Station) -> None:
    """SE-31: in order."""
    station.ask("security_event", type=EVENT, info="1")
    station.kill()
    station.connect_broker()
    station.ask("security_event", type=EVENT, info="2")
    station.kill()
    station.connect()
    station.csms_answers(station.sent()[0], status="Accepted", currentTime=station.now(), interval=300)

    told = [event.get("techInfo", event["type"]) for event in sent(station)]

    assert told == ["StartupOfTheDevice", "1", "StartupOfTheDevice", "2", "StartupOfTheDevice"]


def test_event_that_was_not_answered_is_sent_again_with_the_next_link(quiet: Station) -> None:
    """SE-31, TX-29: the same message."""
    quiet.ask("security_event", type=EVENT)
    (first,) = quiet.sent()
    quiet.disconnect()
    quiet.connect()

    assert quiet.sent() == [first]


def test_answered_event_is_not_sent_again(quiet: Station) -> None:
    quiet.ask("security_event", type=EVENT)
    assert len(sent(quiet)) == 1
    quiet.disconnect()
    quiet.connect()

    assert sent(quiet) == []


def test_failed_event_is_tried_again(quiet: Station) -> None:
    quiet.ask("security_event", type=EVENT)
    quiet.csms_refuses(quiet.sent()[0], "InternalError")

    quiet.advance(60)

    assert len(sent(quiet)) == 1


@pytest.mark.parametrize("code", ["NotImplemented", "NotSupported"])
def test_csms_that_does_not_know_the_message_is_not_asked_again_for_that_event(
    quiet: Station, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    """Contract 3."""
    quiet.ask("security_event", type=EVENT, info="1")
    quiet.ask("security_event", type=EVENT, info="2")

    quiet.csms_refuses(quiet.sent()[0], code)

    assert [event["techInfo"] for event in sent(quiet)] == ["2"]
    quiet.kill()
    quiet.connect()
    quiet.csms_answers(quiet.sent()[0], status="Accepted", currentTime=quiet.now(), interval=300)
    assert [event["type"] for event in sent(quiet)] == ["StartupOfTheDevice"]
    assert f"the CSMS does not take the security event {EVENT}: {code}" in caplog.text


# -- the daemon's own


def test_start_is_an_event(station: Station) -> None:
    """9.5; contract 2."""
    shown = {"type": "StartupOfTheDevice", "info": "", "timestamp": "2026-11-22T10:00:00Z", "critical": True}

    assert station.shown("security_event") == shown


def test_event_of_a_local_program_is_not_shown_as_the_daemons_own(quiet: Station) -> None:
    quiet.ask("security_event", type=EVENT)

    assert quiet.shown("security_event")["type"] == "StartupOfTheDevice"


def test_invalid_messages_are_told_at_most_once_a_minute(quiet: Station) -> None:
    """TR-24: whatever the CSMS sends."""
    for _ in range(20):
        quiet.receive("nonsense")
        quiet.receive("{}")
        quiet.advance(2)
    assert [event["type"] for event in quiet.published("security_event")] == ["InvalidMessages"]
    quiet.advance(30)

    quiet.receive("[9]")

    (event,) = quiet.published("security_event")
    assert (event["type"], event["info"], event["critical"]) == ("InvalidMessages", "message_type", False)
    assert sent(quiet) == []
