"""Start, course and end of transactions: obligations 4.5, 5.1, 5.2 and 3; contract 2 and 4."""

import json
import logging
from itertools import pairwise
from typing import Any

import pytest

from tests.features.transactions.conftest import MakeSite
from tests.features.transactions.site import REGISTER, Site
from tests.station import Station


def events(site: Site) -> list[Any]:
    return list(site.station.published("event/transaction"))


def begin(site: Site, **facts: Any) -> Site:
    """Plug, tag: a transaction with the id 100."""
    site.plug(**facts)
    site.tag()
    site.connect()
    site.station.published()
    return site


@pytest.fixture
def charging(site: Site) -> Site:
    return begin(site)


def status(site: Site) -> Any:
    return site.station.shown("connector/1/status")["status"]


def permitted(site: Site) -> Any:
    return site.station.shown("connector/1/charging_permitted")


def stop(site: Site, **payload: Any) -> Any:
    """The only StopTransaction, with the members that are asked for."""
    site.advance(2)
    site.connect()
    (message,) = site.books.of("StopTransaction")
    assert {name: message.get(name) for name in payload} == payload
    return message


# -- start


def test_a_session_begins_with_plug_and_tag_and_ends_with_the_tag(station: Station) -> None:
    """TC_003_CS, TC_068_CS, TX-02, TX-03."""
    station.publish("hardware/connector/1/state", {"plugged": False})
    station.publish("hardware/connector/1/meter", {REGISTER: 1000.7})
    station.register()
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.answer_all()

    station.publish("request/present_id_tag", {"id_tag": "TAG"})
    (authorize,) = station.sent("Authorize")
    station.csms_answers(authorize, idTagInfo={"status": "Accepted"})

    (start,) = station.sent("StartTransaction")
    assert start[3] == {"connectorId": 1, "idTag": "TAG", "meterStart": 1000, "timestamp": station.now()}
    assert station.shown("connector/1/charging_permitted") is True
    station.csms_answers(start, transactionId=7, idTagInfo={"status": "Accepted"})

    station.publish("hardware/connector/1/state", {"plugged": True, "ev_ready": True, "evse_ready": True})
    station.answer_all()
    station.publish("hardware/connector/1/meter", {REGISTER: 1600.2})
    station.advance(1)

    assert station.ask("present_id_tag", id_tag="tag") == {"status": "Accepted", "action": "stop", "connector_id": 1}
    station.answer_all()
    station.advance(2)
    (stopped,) = station.sent("StopTransaction")
    assert (stopped[3]["transactionId"], stopped[3]["meterStop"], stopped[3]["reason"], stopped[3]["idTag"]) == (
        7,
        1600,
        "Local",
        "tag",
    )
    assert station.shown("connector/1/transaction") is None


def test_the_record_is_on_disk_before_charging_is_permitted(site: Site) -> None:
    """TX-05."""
    store = site.station.charge_point.context.store
    rows: list[Any] = []
    publish = site.station.broker.publish

    def look(topic: str, payload: bytes, **properties: Any) -> None:
        if topic.endswith("charging_permitted") and payload == b"true":
            assert not store._database.in_transaction
            rows.extend(store.read("SELECT value FROM record WHERE collection = 'transaction'", ()))
        publish(topic, payload, **properties)

    site.station.broker.publish = look  # type: ignore[method-assign]

    begin(site)

    ((record,),) = rows
    assert json.loads(record)["id_tag"] == "TAG"


def test_nobody_charges_before_the_csms_ever_accepted_this_charge_point(make_site: MakeSite) -> None:
    """BT-20: the former acceptance holds until URL or identity change."""
    site = make_site()
    site.meter(0)
    site.plug()
    assert site.station.ask("present_id_tag", id_tag="TAG")["action"] == "none"

    site.connect()
    site.disconnect()
    site.kill(reboot=True)
    assert site.station.ask("present_id_tag", id_tag="TAG")["action"] == "start"

    site.kill(config='[transactions]\non_power_loss = "resume"\n')
    site.station.settings = site.station.settings.model_copy(
        update={"charge_point": site.station.settings.charge_point.model_copy(update={"id": "CP002"})}
    )
    site.tag()
    site.advance(2)
    site.kill()
    assert site.station.ask("present_id_tag", id_tag="TAG")["action"] == "none"


@pytest.mark.parametrize(
    ("readings", "meter_start", "meter_stop"),
    [
        pytest.param([], 0, 0, id="never a reading"),
        pytest.param([5000.9, 5200.2], 0, 200, id="counted from the first reading"),
    ],
)
def test_without_a_register_meter_start_is_0(
    make_site: MakeSite,
    caplog: pytest.LogCaptureFixture,
    readings: list[float],
    meter_start: int,
    meter_stop: int,
) -> None:
    """Contract 4."""
    site = make_site()
    site.connect()
    begin(site)
    assert "no meter reading yet" in caplog.text

    for reading in readings:
        site.meter(reading)
        site.advance(60)
        site.connect()
    site.tag()

    stop(site, meterStop=meter_stop)
    assert site.books.of("StartTransaction")[0]["meterStart"] == meter_start
    values = [frame["meterValue"][0]["sampledValue"][0]["value"] for frame in site.books.of("MeterValues")]
    assert values == ["0.9", "200.2"][: len(readings)]


def test_meter_start_is_the_last_stored_register_where_the_meter_is_silent(make_site: MakeSite) -> None:
    """Contract 4: over a restart."""
    site = make_site()
    site.meter(7300.5)
    site.advance(60)
    site.registers.clear()
    site.kill(reboot=True)
    site.connect()

    begin(site)

    assert site.books.of("StartTransaction")[0]["meterStart"] == 7300


# -- the status in its course


@pytest.mark.parametrize(
    ("steps", "seen"),
    [
        pytest.param([{"evse_ready": True}, {"ev_ready": True, "evse_ready": True}], ["Charging"], id="both in time"),
        pytest.param([{"ev_ready": True}, None], ["SuspendedEVSE"], id="never offered"),
        pytest.param([{"evse_ready": True}, None], ["SuspendedEV"], id="never asked"),
        pytest.param(
            [{"ev_ready": True, "evse_ready": True}, {"evse_ready": True}], ["Charging", "SuspendedEV"], id="grace ends"
        ),
        pytest.param(
            [{"ev_ready": True, "evse_ready": True}, {}], ["Charging", "SuspendedEVSE"], id="both suspend (ST-03)"
        ),
    ],
)
def test_what_is_not_ready_within_the_grace_is_not_ready_yet(
    site: Site, steps: list[dict[str, Any] | None], seen: list[str]
) -> None:
    """Contract 4: from Preparing straight to Charging."""
    site.plug(ev_ready=False, evse_ready=False)
    site.tag()
    site.connect()
    site.station.published()
    for facts in steps:
        if facts is None:
            site.advance(5)
        else:
            site.plug(**{"ev_ready": False, "evse_ready": False, **facts})
            site.advance(1)

    shown = [message["status"] for message in site.station.published("connector/1/status")]
    assert shown == seen


def test_a_fault_interrupts_and_the_transaction_goes_on(charging: Site) -> None:
    """ST-14; contract 4."""
    fault = [{"error_code": "GroundFailure", "faulted": True}]

    charging.station.publish("hardware/connector/1/errors", fault)
    assert (status(charging), permitted(charging)) == ("Faulted", False)
    charging.station.publish("hardware/connector/1/errors", [])

    assert (status(charging), permitted(charging)) == ("Charging", True)
    assert charging.transaction()["transaction_id"] == 100


# -- topic and events


def test_the_topic_shows_the_transaction_from_start_to_end(site: Site) -> None:
    """Contract 2."""
    site.disconnect()
    site.plug()
    assert site.transaction() is None
    site.tag()
    shown = site.transaction()
    session_id = shown.pop("session_id")
    assert shown == {
        "transaction_id": None,
        "id_tag": "TAG",
        "meter_start": 1000,
        "started_at": site.station.now(),
        "charging_state": "Charging",
        "energy_wh": 0,
    }

    site.connect()
    assert (site.transaction()["transaction_id"], site.transaction()["session_id"]) == (100, session_id)

    site.tag()
    site.advance(2)
    assert site.transaction() is None


def test_the_topic_follows_the_meter_at_most_once_a_second(charging: Site) -> None:
    """Contract 4."""
    charging.advance(2)
    charging.station.published()
    moments = []
    for step in range(1, 51):
        charging.meter(1000 + step)
        charging.plug()  # hardware that repeats itself shows nothing more
        charging.station.advance(0.1)
        moments += [step] * len(charging.station.published("connector/1/transaction"))

    assert len(moments) in (5, 6)
    assert all(later - earlier >= 9 for earlier, later in pairwise(moments))
    assert charging.transaction()["energy_wh"] in range(40, 51)
    charging.advance(1)
    assert charging.transaction()["energy_wh"] == 50


def test_the_charging_state_does_not_wait_for_that_second(charging: Site) -> None:
    charging.meter(1100)
    charging.plug(ev_ready=False)

    assert charging.transaction()["charging_state"] == "SuspendedEV"


def test_events_tell_the_whole_story(site: Site) -> None:
    """Contract 2: with everything in the topic."""
    begin(site)
    site.station.broker.messages.clear()
    site.station._read_messages = 0
    site.plug(ev_ready=False)
    site.meter(1250)
    site.tag("tag")
    site.advance(2)

    updated, ended = events(site)

    assert (updated["event"], updated["charging_state"], updated["connector_id"]) == ("updated", "SuspendedEV", 1)
    assert {name: ended[name] for name in ("event", "reason", "meter_stop", "energy_wh", "charging_state")} == {
        "event": "ended",
        "reason": "Local",
        "meter_stop": 1250,
        "energy_wh": 250,
        "charging_state": "SuspendedEV",
    }
    assert ended["ended_at"] == "2026-11-22T10:00:00Z"
    assert {"session_id", "transaction_id", "id_tag", "meter_start", "started_at"} <= set(ended)


def test_a_start_is_told(site: Site) -> None:
    site.plug()
    site.station.published()
    site.tag()
    site.connect()

    (started,) = events(site)
    assert (started["event"], started["transaction_id"], started["id_tag"]) == ("started", None, "TAG")


# -- the end, and the last meter reading


def test_a_reading_younger_than_the_end_is_waited_for(charging: Site) -> None:
    """Contract 4: stop_meter_wait."""
    charging.meter(1500)
    charging.advance(1)
    charging.tag()
    charging.advance(1.5)
    assert charging.books.of("StopTransaction") == []
    assert permitted(charging) is False

    charging.meter(1507)
    charging.connect()

    (message,) = charging.books.of("StopTransaction")
    assert (message["meterStop"], message["timestamp"]) == (1507, "2026-11-22T10:00:01Z")


def test_without_such_a_reading_the_last_one_counts(charging: Site) -> None:
    charging.meter(1500)
    charging.advance(1)
    charging.tag()

    stop(charging, meterStop=1500, timestamp="2026-11-22T10:00:01Z")


def test_no_wait_where_none_is_configured(make_site: MakeSite) -> None:
    site = make_site("[transactions]\nstop_meter_wait = 0\n")
    site.meter(0)
    site.connect()
    begin(site)
    site.advance(1)

    site.tag()
    site.connect()

    assert len(site.books.of("StopTransaction")) == 1


def test_the_last_register_outlives_the_program_that_read_it(site: Site) -> None:
    """TX-04: its readings are dropped, what was counted is not."""
    site.station.publish("hardware/connector/1/meter/main", {REGISTER: 2000})
    begin(site)
    site.station.publish("hardware/connector/1/meter/main", {REGISTER: 2345})
    site.station.publish("hardware/state/main", "offline")

    site.tag()

    stop(site, meterStop=2345)


def test_a_new_transaction_does_not_overtake_the_end_of_the_former(charging: Site) -> None:
    """TX-21: one waits for its meter when the next begins."""
    charging.advance(1)
    charging.tag()
    charging.tag("OTHER")
    charging.connect()

    actions = [frame[2] for frame in charging.books.frames]
    assert actions == ["StartTransaction", "StopTransaction", "StartTransaction"]
    assert charging.transaction()["id_tag"] == "OTHER"
    charging.advance(5)
    assert charging.transaction()["id_tag"] == "OTHER"


def test_registers_never_fall(charging: Site) -> None:
    """TX-03, TX-04."""
    charging.meter(1500)
    charging.meter(900)
    charging.tag()

    stop(charging, meterStop=1500)


# -- unplugging


@pytest.mark.parametrize("cable", [None, True], ids=["fixed cable", "socket"])
def test_pulling_the_cable_at_the_ev_ends_the_transaction(charging: Site, cable: bool | None) -> None:
    """TX-12; TC_005_1_CS."""
    charging.plug(plugged=False, cable=cable)

    stop(charging, reason="EVDisconnected", idTag=None)
    assert status(charging) == ("Finishing" if cable else "Available")


def test_with_the_key_false_the_transaction_waits_for_the_ev(charging: Site) -> None:
    """TX-11, ST-12; TC_005_3_CS."""
    charging.change("StopTransactionOnEVSideDisconnect", "false")
    charging.plug(plugged=False, cable=True)
    assert status(charging) == "SuspendedEV"
    assert charging.station.shown("connector/1/status")["info"] == "EV side disconnected"

    charging.plug()

    assert status(charging) == "Charging"
    assert "info" not in charging.station.shown("connector/1/status")
    assert charging.transaction()["transaction_id"] == 100


def test_pulling_the_cable_at_the_charger_ends_it_in_any_case(charging: Site) -> None:
    """TX-14: also after the EV is gone."""
    charging.change("StopTransactionOnEVSideDisconnect", "false")
    charging.plug(plugged=False, cable=True)

    charging.plug(plugged=False, cable=False)

    stop(charging, reason="EVDisconnected")


LOCK = "[[connectors]]\nlock = true\n"


@pytest.mark.parametrize("unlocks", [True, False])
def test_the_lock_after_unplugging_at_the_ev(make_site: MakeSite, *, unlocks: bool) -> None:
    """TX-11, TX-12; TC_005_1_CS, TC_005_2_CS."""
    site = make_site(LOCK)
    site.unplug()
    site.meter(0)
    site.connect()
    site.change("UnlockConnectorOnEVSideDisconnect", str(unlocks).lower())
    begin(site)
    assert site.station.shown("connector/1/lock") is True

    site.plug(plugged=False, cable=True)
    assert site.station.shown("connector/1/lock") is not unlocks

    site.tag()
    assert site.station.shown("connector/1/lock") is False


def test_a_normal_end_unlocks(make_site: MakeSite) -> None:
    """TX-10."""
    site = make_site(LOCK)
    site.meter(0)
    site.connect()
    begin(site)

    site.tag()

    assert site.station.shown("connector/1/lock") is False


# -- the CSMS does not accept the id tag afterwards (4.5)


def answer_start(site: Site, info: dict[str, Any]) -> None:
    """StartTransaction is answered with this idTagInfo, everything else as ever."""

    def answers(frame: list[Any]) -> bool:
        if frame[2] != "StartTransaction":
            return site.accept(frame)
        site.station.csms_answers(frame, transactionId=0, idTagInfo=info)
        return True

    site.answers = answers


@pytest.mark.parametrize("status_", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
@pytest.mark.parametrize("offline", [False, True], ids=["online", "begun offline"])
def test_an_invalid_tag_ends_the_transaction_and_keeps_the_cable(
    make_site: MakeSite, status_: str, *, offline: bool
) -> None:
    """4.5; TC_037_3_CS. A transactionId of 0 is one (E§6.46)."""
    site = make_site(LOCK)
    site.meter(0)
    site.connect()
    answer_start(site, {"status": status_})
    if offline:
        site.disconnect()

    begin(site)

    stop(site, reason="DeAuthorized", transactionId=0)
    assert (status(site), permitted(site), site.station.shown("connector/1/lock")) == ("Finishing", False, True)
    assert site.station.ask("present_id_tag", id_tag="tag")["action"] == "none"
    assert site.station.shown("connector/1/lock") is False


def test_with_the_key_false_only_the_energy_is_cut(site: Site) -> None:
    """4.5; TC_037_2_CS: also after a restart."""
    site.change("StopTransactionOnInvalidId", "false")
    answer_start(site, {"status": "Blocked"})
    begin(site)
    assert (status(site), permitted(site)) == ("SuspendedEVSE", False)
    assert site.transaction()["transaction_id"] == 0

    site.kill()
    site.connect()
    assert (status(site), permitted(site)) == ("SuspendedEVSE", False)

    site.tag()
    stop(site, reason="Local", transactionId=0)


@pytest.mark.parametrize("stops", [True, False])
def test_an_invalid_tag_gets_so_much_energy_still(site: Site, *, stops: bool) -> None:
    """4.5: MaxEnergyOnInvalidId, counted from the invalidation; also over a restart."""
    for key, value in (("MaxEnergyOnInvalidId", "100"), ("StopTransactionOnInvalidId", str(stops).lower())):
        site.change(key, value)
    answer_start(site, {"status": "Blocked"})
    begin(site)
    site.kill()
    site.connect()
    site.meter(1099)
    assert (status(site), permitted(site)) == ("Charging", True)

    site.meter(1100)

    assert permitted(site) is False
    assert status(site) == ("Finishing" if stops else "SuspendedEVSE")
    if stops:
        stop(site, reason="DeAuthorized")


def test_an_answer_after_the_end_invalidates_nothing(site: Site) -> None:
    site.disconnect()
    begin_offline(site)
    site.tag()
    site.advance(2)
    answer_start(site, {"status": "Blocked"})

    site.connect()

    (message,) = site.books.of("StopTransaction")
    assert (message["reason"], message["transactionId"]) == ("Local", 0)


def begin_offline(site: Site) -> None:
    site.plug()
    site.tag()


def test_the_parent_of_the_answer_is_kept(site: Site) -> None:
    """4.3."""
    answer_start(site, {"status": "Accepted", "parentIdTag": "GROUP"})

    begin(site)

    assert site.transaction()["parent_id_tag"] == "GROUP"


def test_an_answer_against_the_local_list_is_a_conflict(site: Site) -> None:
    """AU-10: the list itself is left as it is."""
    site.change("LocalAuthListEnabled", "true")
    entry = {"idTag": "TAG", "idTagInfo": {"status": "Accepted"}}
    update = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [entry]}
    assert site.call("SendLocalList", **update) == {"status": "Accepted"}
    answer_start(site, {"status": "Blocked"})

    begin(site)

    assert site.station.shown("connector/0/status")["error_code"] == "LocalListConflict"


def test_the_answers_feed_the_cache(site: Site) -> None:
    """AU-06: StopTransaction.conf, too."""

    def answers(frame: list[Any]) -> bool:
        if frame[2] != "StopTransaction":
            return site.accept(frame)
        site.station.csms_answers(frame, idTagInfo={"status": "Blocked"})
        return True

    site.answers = answers
    begin(site)
    site.tag()
    site.advance(2)
    site.connect()
    site.unplug()
    site.plug()
    site.disconnect()

    assert site.station.ask("present_id_tag", id_tag="TAG") == {"status": "Blocked", "action": "none"}


def test_a_stop_is_not_to_be_refused(charging: Site) -> None:
    """TX-15."""
    charging.answers = lambda frame: charging.refuse(frame) if frame[2] == "StopTransaction" else charging.accept(frame)
    charging.tag()
    charging.advance(2)
    charging.connect()

    assert charging.transaction() is None
    assert permitted(charging) is False


def test_an_id_that_is_not_known_yet_matches_no_remote_stop(site: Site) -> None:
    """TX-16; -1 neither, which later messages bear where StartTransaction got no id."""
    site.answers = lambda frame: site.refuse(frame) if frame[2] == "StartTransaction" else site.accept(frame)
    site.change("TransactionMessageAttempts", "1")
    begin(site)

    assert site.call("RemoteStopTransaction", transactionId=-1) == {"status": "Rejected"}
    assert site.transaction()["transaction_id"] is None


# -- cost


def test_a_meter_reading_neither_commits_nor_looks_through_records(charging: Site) -> None:
    """Architecture 2: readings ride on a later commit."""
    store = charging.station.charge_point.context.store
    statements: list[str] = []
    store._database.set_trace_callback(statements.append)

    for step in range(100):
        charging.meter(1000 + step)

    assert statements == []


def test_registers_of_all_connectors_are_written_in_one_commit_a_minute(make_site: MakeSite) -> None:
    """TX-05."""
    site = make_site("[[connectors]]\n" * 16, base="[configuration_keys]\nMeterValueSampleInterval = 0\n")
    site.connect()
    for connector in range(1, 17):
        site.meter(0, connector)
        site.plug(connector)
        site.tag(f"T{connector}", connector_ids=[connector])
        site.connect()
    statements: list[str] = []
    site.station.charge_point.context.store._database.set_trace_callback(statements.append)
    for connector in range(1, 17):
        site.meter(100, connector)

    site.advance(60)

    assert statements.count("COMMIT") == 1


def test_nothing_is_logged_as_an_error_in_a_whole_session(charging: Site, caplog: pytest.LogCaptureFixture) -> None:
    charging.tag()
    stop(charging)
    charging.unplug()
    charging.serve()

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
