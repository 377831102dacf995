"""Reset: obligations 6.2, contract 2 and 4."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.transactions.site import Site
from tests.station import Station

LISTED = '[hardware]\nanswers = ["reset"]\n'


class Ends(list[str]):
    """Reasons for which the process asked to end; looks around at that moment."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look

    def append(self, reason: str) -> None:
        self._look()
        super().append(reason)


def registered(station: Station) -> Station:
    station.advance(20)
    station.register()
    station.published()
    return station


@pytest.fixture
def listed(make_station: MakeStation) -> Station:
    """A local program is asked whether a reset may be done."""
    return registered(make_station(LISTED))


def asked(station: Station) -> Any:
    (question,) = station.published("hardware/request/reset")
    return question


def answer(station: Station, question: Any, **reply: Any) -> None:
    station.publish("hardware/response/reset", {"id": question["id"], **reply})


@pytest.mark.parametrize("kind", ["Soft", "Hard"])
def test_answer_precedes_everything(station: Station, kind: str) -> None:
    """RO-01, RO-06; TC_013_CS, TC_014_CS."""
    message_id = registered(station).csms_sends("Reset", type=kind)

    frames = station.sent()
    assert frames[0] == [3, message_id, {"status": "Accepted"}]
    assert [(frame[2], frame[3]["type"]) for frame in frames[1:]] == [("SecurityEventNotification", "ResetOrReboot")]
    assert station.ended == [f"Reset {kind} by the CSMS"]
    topics = [message.topic for message in station.published()]
    assert topics == ["ocpp16/security_event", "ocpp16/event/reset"]


def test_reset_is_announced_before_the_process_ends(station: Station) -> None:
    """Contract 2: not retained."""
    seen_at_the_end: list[Any] = []
    station.ended = Ends(lambda: seen_at_the_end.extend(station.published()))
    station.kill()
    station.connect_broker()
    registered(station)

    station.csms_sends("Reset", type="Hard")

    announced = [message for message in seen_at_the_end if message.topic == "ocpp16/event/reset"]
    assert [(message.payload, message.retain) for message in announced] == [({"type": "Hard"}, False)]


def test_the_next_process_registers_and_tells_of_the_reset(station: Station) -> None:
    """BT-01, RO-04; 9.5."""
    registered(station).csms_sends("Reset", type="Soft")
    station.kill()
    station.connect()
    boot, *others = station.sent()
    assert (boot[2], others) == ("BootNotification", [])

    station.csms_answers(boot, status="Accepted", currentTime=station.now(), interval=300)

    events = []
    while frames := station.sent():
        events += [frame[3]["type"] for frame in frames if frame[2] == "SecurityEventNotification"]
        for frame in frames:
            station.csms_answers(frame)
    assert events == ["ResetOrReboot", "StartupOfTheDevice"]


def test_listed_hardware_is_asked_and_agrees(listed: Station) -> None:
    """Contract 4."""
    message_id = listed.csms_sends("Reset", type="Hard")
    question = asked(listed)
    assert (question["type"], listed.sent(), listed.ended) == ("Hard", [], [])

    answer(listed, question, status="ok", data="Accepted")

    assert listed.sent()[0] == [3, message_id, {"status": "Accepted"}]
    assert len(listed.ended) == 1


@pytest.mark.parametrize("data", ["Rejected", None, 5])
def test_hardware_may_object(listed: Station, data: object) -> None:
    """RO-01."""
    message_id = listed.csms_sends("Reset", type="Soft")

    answer(listed, asked(listed), status="ok", data=data)

    assert listed.sent() == [[3, message_id, {"status": "Rejected"}]]
    assert listed.published("event/reset") == []
    assert listed.ended == []


@pytest.mark.parametrize("silent", [True, False])
def test_hardware_that_does_not_say_is_no_obstacle(listed: Station, *, silent: bool) -> None:
    """Contract 4: the default."""
    message_id = listed.csms_sends("Reset", type="Soft")
    if silent:
        listed.advance(10)
    else:
        answer(listed, asked(listed), status="error")

    assert listed.sent()[0] == [3, message_id, {"status": "Accepted"}]
    assert len(listed.ended) == 1


@pytest.mark.parametrize(("kind", "status"), [("Hard", "Rejected"), ("Soft", "Accepted")])
@pytest.mark.parametrize("config", ["", LISTED], ids=["unlisted", "listed"])
def test_without_broker_a_hard_reset_is_refused(make_station: MakeStation, kind: str, status: str, config: str) -> None:
    """Contract 1: nobody could reboot the machine."""
    station = registered(make_station(config))
    station.disconnect_broker()

    assert station.csms_calls("Reset", type=kind) == {"status": status}
    assert len(station.ended) == (status == "Accepted")


def test_two_resets_end_the_process_once(listed: Station) -> None:
    first = listed.csms_sends("Reset", type="Soft")
    second = listed.csms_sends("Reset", type="Soft")

    answer(listed, asked(listed), status="ok", data="Accepted")

    frames = [frame for frame in listed.sent() if frame[0] == 3]
    assert frames == [[3, first, {"status": "Accepted"}], [3, second, {"status": "Accepted"}]]
    assert listed.published("hardware/request/reset") == []
    assert len(listed.ended) == 1


def test_unknown_type_is_refused(station: Station) -> None:
    """1.3."""
    registered(station).csms_sends("Reset", type="Gentle")

    assert station.sent()[0][:1] + station.ended == [4]


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
        site.advance(1)
        site.station.published()
        yield site


@pytest.mark.parametrize(("kind", "reason"), [("Soft", "SoftReset"), ("Hard", "HardReset")])
def test_transactions_end_first(site: Site, kind: str, reason: str) -> None:
    """RO-02, RO-03, TX-44; TC_015_CS, TC_016_CS."""
    assert site.call("Reset", type=kind) == {"status": "Accepted"}
    assert site.station.ended == []
    site.meter(1234)
    site.serve()

    ((message, last),) = [(m, site.books.frames[-1][2]) for m in site.books.of("StopTransaction")]
    assert (message["reason"], message["transactionId"], message["meterStop"]) == (reason, 100, 1234)
    assert last == "StopTransaction"
    assert site.station.ended == [f"Reset {kind} by the CSMS"]
    topics = [m.topic for m in site.station.published() if "event/" in m.topic]
    assert topics == ["ocpp16/event/transaction", "ocpp16/event/reset"]


def test_the_last_meter_reading_is_waited_for(site: Site) -> None:
    """Contract 4: also by a transaction that ended just before."""
    site.tag()
    site.advance(1)
    site.call("Reset", type="Soft")
    assert site.books.of("StopTransaction") == []

    site.advance(1)
    site.serve()

    (message,) = site.books.of("StopTransaction")
    assert message["reason"] == "Local"
    assert len(site.station.ended) == 1


def test_what_is_not_answered_in_time_comes_after_the_boot(site: Site) -> None:
    """RO-02, TX-45: at most call_timeout is waited."""
    site.answers = lambda frame: frame[2] != "StopTransaction" and site.accept(frame)
    site.call("Reset", type="Hard")
    site.advance(2)
    site.serve()
    site.advance(27)
    assert site.station.ended == []
    site.advance(1)
    assert len(site.station.ended) == 1

    site.answers = site.accept
    site.kill(reboot=True)
    site.connect()

    (message,) = site.books.of("StopTransaction")
    assert (message["reason"], message["transactionId"]) == ("HardReset", 100)


def test_a_link_that_breaks_meanwhile_is_not_waited_for(site: Site) -> None:
    """TX-45."""
    site.call("Reset", type="Soft")
    site.disconnect()
    assert len(site.station.ended) == 1

    site.kill()
    site.connect()

    assert [m["reason"] for m in site.books.of("StopTransaction")] == ["SoftReset"]


def test_a_refused_stop_does_not_hold_up_the_reset_for_long(site: Site) -> None:
    site.answers = lambda frame: site.refuse(frame) if frame[2] == "StopTransaction" else site.accept(frame)
    site.call("Reset", type="Soft")
    site.advance(2)
    site.serve()

    site.advance(28)

    assert len(site.station.ended) == 1


def test_what_begins_meanwhile_ends_too(site: Site) -> None:
    site.answers = lambda frame: frame[2] != "StopTransaction" and site.accept(frame)
    site.call("Reset", type="Soft")
    site.meter(1100)
    site.serve()
    site.unplug()
    site.plug()
    site.tag("OTHER")
    site.station.advance(30)
    site.answers = site.accept
    site.kill()

    site.connect()

    assert [m["reason"] for m in site.books.of("StopTransaction")] == ["SoftReset"] * len(site.books.ids)
    assert site.transaction() is None


def test_two_resets_end_transactions_once(site: Site) -> None:
    assert site.call("Reset", type="Soft") == {"status": "Accepted"}
    assert site.call("Reset", type="Hard") == {"status": "Accepted"}
    site.advance(2)
    site.serve()

    assert [m["reason"] for m in site.books.of("StopTransaction")] == ["SoftReset"]
    assert site.station.ended == ["Reset Soft by the CSMS"]


def test_transactions_go_on_where_the_hardware_objects(make_station: MakeStation) -> None:
    station = make_station(LISTED + '[transactions]\nfree_vend_id_tag = "FREE"\n')
    registered(station)
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.csms_sends("Reset", type="Soft")

    answer(station, asked(station), status="ok", data="Rejected")

    assert station.shown("connector/1/transaction")["id_tag"] == "FREE"
