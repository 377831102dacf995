"""The clock follows the CSMS, and what was stamped before that is put right: obligations HB-05, BT-22, TX-29, TX-31."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.features.clock_synchronisation import MAX_BOOTS, Boot, Correction
from ocpp16_bridge.timestamps import parse_time
from tests.conftest import MakeStation
from tests.features.transactions.site import Site
from tests.station import START, Station

DECADES = -1_700_000_000.0  # s: a machine without a battery for its clock begins in 1973
ERRORS = [
    pytest.param(DECADES, id="no clock"),
    pytest.param(-3600.0, id="an hour behind"),
    pytest.param(3600.0, id="an hour ahead"),
    pytest.param(0.4, id="right"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Once accepted; then the machine booted and its CSMS is away."""
    with closing(Site(tmp_path / "station")) as site:
        site.unplug()
        site.meter(1000)
        site.connect()
        site.disconnect()
        yield site


def boot(site: Site, error: float) -> None:
    site.station.clock_error = error
    site.kill(reboot=True)


def charge(site: Site, minutes: int = 2) -> None:
    site.plug()
    site.tag()
    for _ in range(minutes):
        site.meter(site.registers[1] + 100)
        site.advance(60)


def times(payload: dict[str, Any]) -> list[datetime]:
    values = [*payload.get("meterValue", ()), *payload.get("transactionData", ())]
    return [parse_time(one["timestamp"]) for one in (payload, *values) if "timestamp" in one]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def assert_near(moments: list[datetime], *seconds: float) -> None:
    assert len(moments) == len(seconds)
    for moment, second in zip(moments, seconds, strict=True):
        assert abs((moment - at(second)).total_seconds()) < 1.0


# -- the clock


@pytest.mark.parametrize("error", ERRORS)
def test_timestamps_follow_the_csms(station: Station, error: float) -> None:
    """HB-05."""
    station.clock_error = error
    station.publish("hardware/connector/1/state", {})
    station.register()
    station.advance(30)

    station.publish("hardware/connector/1/state", {"plugged": True})

    (notification,) = station.sent("StatusNotification")
    assert abs((parse_time(notification[3]["timestamp"]) - at(30)).total_seconds()) <= 1


@pytest.mark.parametrize(("error", "raised"), [(0.9, 0), (-0.9, 0), (1.5, 1), (DECADES, 1)])
def test_only_a_real_step_is_a_security_event(station: Station, error: float, raised: int) -> None:
    """HB-05."""
    station.clock_error = error
    station.advance(20)
    station.connect()
    station.register()
    station.advance(20)

    shown = [event["type"] for event in station.published("security_event")]

    assert shown.count("SettingSystemTime") == raised


@pytest.mark.parametrize("current_time", ["1970-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_an_impossible_time_is_not_followed(
    station: Station, caplog: pytest.LogCaptureFixture, current_time: str
) -> None:
    station.connect()
    (boot_notification,) = station.sent("BootNotification")

    station.csms_answers(boot_notification, status="Accepted", interval=300, currentTime=current_time)

    assert "is not followed" in caplog.text
    assert station.charge_point.context.clock.now() == START


def test_the_time_is_kept_over_restarts_of_the_daemon(station: Station) -> None:
    """By the machine's own count: meanwhile its clock may be set, too."""
    station.clock_error = DECADES
    station.register()
    station.advance(100)
    station.kill()
    assert station.charge_point.context.clock.now() == at(100)

    station.clock_error = 7.0
    station.advance(100)
    station.kill()

    assert station.charge_point.context.clock.now() == at(200)
    assert station.charge_point.context.clock.is_confirmed


def test_another_boot_knows_nothing_of_the_time(station: Station) -> None:
    station.clock_error = DECADES
    station.register()
    station.boot_id = "boot-2"
    station.kill()

    assert not station.charge_point.context.clock.is_confirmed
    assert station.charge_point.context.clock.now() == at(DECADES)


def test_a_later_correction_is_kept_too(station: Station) -> None:
    station.publish("hardware/connector/1/state", {})
    station.register()
    station.clock_error = -30.0
    station.advance(300)
    (heartbeat,) = station.sent("Heartbeat")
    station.csms_answers(heartbeat, currentTime=station.now())

    station.kill()

    assert station.charge_point.context.clock.now() == at(300)


def test_few_boots_are_remembered(station: Station) -> None:
    for number in range(MAX_BOOTS + 5):
        station.boot_id = f"boot {number}"
        station.kill()
        station.register()
        station.advance(60)

    kept = station.charge_point.context.store.collection("boot", Boot)
    assert len(kept) == MAX_BOOTS
    assert station.boot_id in kept


# -- what was stamped before


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("restart", [False, True], ids=["same process", "daemon restarted"])
def test_what_happened_before_the_csms_told_its_time_bears_the_right_times(
    site: Site, error: float, *, restart: bool
) -> None:
    """BT-22, TX-31: StartTransaction, MeterValues, StopTransaction and its data."""
    boot(site, error)
    site.advance(30)
    charge(site)
    if restart:
        site.kill()
    site.tag()
    site.advance(2)
    if restart:
        site.kill()

    site.connect()

    start, first, second, stop = (frame[3] for frame in site.books.frames)
    assert_near(times(start), 30)
    assert_near(times(first), 90)
    assert_near(times(second), 150)
    *others, last = times(stop)
    assert_near(others, 150, 30, 90, 150)
    assert at(149) < last < at(153)


@pytest.mark.parametrize("error", ERRORS)
def test_a_transaction_may_end_after_the_csms_told_its_time(site: Site, error: float) -> None:
    """BT-22: the samples kept since its beginning, and what is shown of it."""
    boot(site, error)
    charge(site)
    site.connect()
    assert abs((parse_time(site.transaction()["started_at"]) - at(0)).total_seconds()) < 1
    site.advance(60)
    site.connect()
    site.meter(1300)
    site.tag()
    site.advance(2)
    site.connect()

    *others, last = times(site.books.of("StopTransaction")[0])
    assert_near(others, 180, 0, 60, 120, 180)
    assert at(179) < last < at(183)


@pytest.mark.parametrize("error", ERRORS)
def test_a_security_event_bears_the_right_time(site: Site, error: float) -> None:
    """BT-22."""
    boot(site, error)
    site.advance(50)
    site.station.ask("security_event", type="TamperDetectionActivated")

    site.connect()

    (event,) = [frame[3] for frame in site.calls if frame[3].get("type") == "TamperDetectionActivated"]
    assert_near(times(event), 50)


@pytest.mark.parametrize("error", [DECADES, 3600.0, 0.4], ids=["no clock", "an hour ahead", "right"])
def test_what_a_former_boot_stamped_rightly_stays(site: Site, error: float) -> None:
    """TX-42: the end of a transaction that did not survive was stamped by a clock that was right."""
    site.connect()
    site.disconnect()
    charge(site)
    site.advance(2 * 3600)
    boot(site, error)

    site.connect()

    (stop,) = site.books.of("StopTransaction")
    assert stop["reason"] == "PowerLoss"
    assert_near(times(stop)[:1], 60)


def test_what_no_csms_ever_confirmed_in_its_boot_is_left_as_it_is(site: Site) -> None:
    boot(site, 3600.0)
    charge(site, minutes=0)
    boot(site, 0.0)

    site.connect()

    assert_near(times(site.books.of("StartTransaction")[0]), 3600)


@pytest.mark.parametrize("reboot", [False, True], ids=["same boot", "next boot"])
def test_a_resend_after_a_clock_step_says_the_same(site: Site, *, reboot: bool) -> None:
    """TX-29 (`Books` compares)."""
    boot(site, DECADES)
    charge(site)
    site.answers = lambda frame: False if frame[2] == "StartTransaction" else site.accept(frame)
    site.connect()
    site.disconnect()
    site.station.clock_error += 100  # the machine's clock drifts
    site.advance(200)
    site.connect()
    site.disconnect()
    site.kill(reboot=reboot)

    site.answers = site.accept
    site.connect()

    assert site.books.receipts[site.books.frames[0][1]] == 3
    assert_near(times(site.books.frames[0][3]), 0)


def test_where_the_clock_was_right_nothing_is_moved() -> None:
    correction = Correction.of(at(10), 10.0, at(0.7))

    assert correction.time("2026-11-22T10:00:05Z") == "2026-11-22T10:00:05Z"


# -- the machine's clock

LISTED = '[hardware]\nanswers = ["set_time"]\n'


def asked(station: Station) -> list[Any]:
    return list(station.published("hardware/request/set_time"))


def hour_behind(make_station: MakeStation, config: str) -> Station:
    station = make_station(config)
    station.clock_error = -3600.0
    station.publish("hardware/connector/1/state", {})
    station.published()
    return station


def test_hardware_that_does_not_set_clocks_is_not_asked(make_station: MakeStation) -> None:
    """Contract 4: the daemon keeps an offset of its own."""
    station = hour_behind(make_station, "")
    station.register()

    assert asked(station) == []
    assert station.charge_point.context.clock.now() == START


def test_a_right_clock_is_not_set(make_station: MakeStation) -> None:
    station = make_station(LISTED)
    station.register()

    assert asked(station) == []


def test_a_wrong_clock_is_set_and_time_goes_on(make_station: MakeStation) -> None:
    """Contract 4."""
    station = hour_behind(make_station, LISTED)
    station.register()
    (question,) = asked(station)
    assert question["current_time"] == "2026-11-22T10:00:00Z"

    station.advance(2)
    station.clock_error = -2.0  # it was set to what it was told 2 s ago
    station.publish("hardware/response/set_time", {"id": question["id"], "status": "ok", "data": None})

    assert station.charge_point.context.clock.now() == at(2)
    station.kill()
    assert station.charge_point.context.clock.now() == at(2)


def test_it_is_asked_once_at_a_time_and_again_with_the_next_answer(make_station: MakeStation) -> None:
    station = hour_behind(make_station, LISTED)
    station.register()
    assert len(asked(station)) == 1
    station.csms_sends("TriggerMessage", requestedMessage="Heartbeat")
    (heartbeat,) = station.sent("Heartbeat")
    station.csms_answers(heartbeat, currentTime=station.now())
    assert asked(station) == []

    station.advance(10)  # no answer
    station.csms_sends("TriggerMessage", requestedMessage="Heartbeat")
    (heartbeat,) = station.sent("Heartbeat")
    station.csms_answers(heartbeat, currentTime=station.now())

    assert len(asked(station)) == 1
    assert station.charge_point.context.clock.now() == at(10)
