"""From an id tag to a transaction: obligations 3.3, 4.3, 4.4, 5.1 and 6.1."""

from typing import Any

import pytest

from ocpp16_bridge.features.starting import Starting
from tests.conftest import MakeStation
from tests.station import BASE, Station

TWO = "[[connectors]]\n[[connectors]]\n"
LOCK = "[[connectors]]\nlock = true\n"
ACCEPTED = {"status": "Accepted"}
FLEET = {"status": "Accepted", "parentIdTag": "Fleet"}
LOCK_FAILURE = {"error_code": "ConnectorLockFailure", "faulted": True}


@pytest.fixture
def one(station: Station) -> Station:
    """One connector, registered, unplugged."""
    return ready(station)


@pytest.fixture
def two(make_station: MakeStation) -> Station:
    """Two connectors, registered, unplugged."""
    return ready(make_station(TWO))


@pytest.fixture
def socket(make_station: MakeStation) -> Station:
    """One connector with a lock, which says that it is open; registered."""
    station = ready(make_station(LOCK))
    plug(station, locked=False)
    station.answer_all()
    return station


def ready(station: Station) -> Station:
    for connector in station.settings.connectors:
        station.publish(f"hardware/connector/{station.settings.connectors.index(connector) + 1}/state", {})
    station.advance(20)
    station.register()
    return station


def plug(station: Station, connector: int = 1, **facts: bool) -> None:
    station.publish(f"hardware/connector/{connector}/state", {"plugged": True, **facts})


def unplug(station: Station, connector: int = 1) -> None:
    station.publish(f"hardware/connector/{connector}/state", {})


def errors(station: Station, *present: object, connector: int = 1) -> None:
    station.publish(f"hardware/connector/{connector}/errors", list(present))


def set_key(station: Station, key: str, value: str) -> None:
    assert station.ask("set_configuration_key", key=key, value=value) == "Accepted"


def status(station: Station, connector: int = 1) -> Any:
    return station.shown(f"connector/{connector}/status")["status"]


def tag_at(station: Station, connector: int = 1) -> Any:
    """The id tag whose transaction runs there."""
    transaction = station.shown(f"connector/{connector}/transaction")
    return None if transaction is None else transaction["id_tag"]


def show(station: Station, id_tag: str, *connectors: int) -> list[list[Any]]:
    """Show a tag, and let everything that waits before its Authorize be answered; the Authorize, or none."""
    chosen = {"connector_ids": list(connectors)} if connectors else {}
    station.publish("request/present_id_tag", {"id_tag": id_tag, **chosen})
    return authorizes(station)


def authorizes(station: Station) -> list[list[Any]]:
    """Answer what is open up to the next Authorize; that, or none."""
    while frames := [frame for frame in station.sent() if frame[0] == 2]:
        for frame in frames:
            match frame[2]:
                case "Authorize":
                    return [frame]
                case "StartTransaction":
                    station.csms_answers(frame, transactionId=7, idTagInfo=ACCEPTED)
                case _:
                    station.csms_answers(frame)
    return []


def present(station: Station, id_tag: str, *connectors: int, info: dict[str, str] | None = None) -> Any:
    """Show a tag that the CSMS accepts if it is asked; the data of the reply."""
    station.published()
    for authorize in show(station, id_tag, *connectors):
        station.csms_answers(authorize, idTagInfo=info or ACCEPTED)
    (reply,) = station.published("response/present_id_tag")
    return reply["data"]


def begin(station: Station, id_tag: str = "TAG", connector: int = 1, info: dict[str, str] | None = None) -> None:
    """A transaction of this tag runs, and the CSMS knows it as number 7."""
    plug(station, connector)
    assert present(station, id_tag, connector, info=info)["action"] == "start"
    authorizes(station)
    station.published()


def remote_start(station: Station, **request: Any) -> Any:
    """The status of the answer."""
    return call(station, "RemoteStartTransaction", **{"idTag": "TAG", **request})["status"]


def call(station: Station, action: str, **request: Any) -> Any:
    """Let what is open be answered, then call; the answer. What follows it is still to be looked at."""
    authorizes(station)
    message_id = station.csms_sends(action, **request)
    (answer,) = [frame for frame in station.line.frames if frame[:2] == [3, message_id]]
    return answer[2]


def events(station: Station) -> list[tuple[str, Any, str]]:
    """Event, connector and tag since the last look."""
    return [
        (event["event"], event["connector_id"], event["id_tag"]) for event in station.published("event/transaction")
    ]


def kinds(station: Station) -> list[str]:
    """What was sent since the last look and what follows, each answered: actions, and statuses of connectors."""
    found: list[str] = []
    while frames := station.sent():
        for frame in frames:
            match frame:
                case [2, _, "StatusNotification", payload]:
                    found.append(payload["status"])
                    station.csms_answers(frame)
                case [2, _, ("Authorize" | "StartTransaction") as action, _]:
                    found.append(action)
                    station.csms_answers(
                        frame, **({"transactionId": 7} if action[0] == "S" else {}), idTagInfo=ACCEPTED
                    )
                case [2, _, action, _]:
                    found.append(action)
                    station.csms_answers(frame)
                case _:
                    found.append("answer")
    return found


# -- the orders of plug, tag and remote start (5.1)


def test_plug_then_tag(one: Station) -> None:
    """TC_003_CS."""
    plug(one)
    one.publish("request/present_id_tag", {"id_tag": "TAG"})
    sequence = kinds(one)
    plug(one, ev_ready=True, evse_ready=True)

    assert sequence + kinds(one) == ["Preparing", "Authorize", "StartTransaction", "Charging"]


def test_tag_then_plug(one: Station) -> None:
    """TC_004_1_CS."""
    one.publish("request/present_id_tag", {"id_tag": "TAG"})
    sequence = kinds(one)
    plug(one)
    plug(one, ev_ready=True, evse_ready=True)

    assert sequence + kinds(one) == ["Authorize", "Preparing", "StartTransaction", "Charging"]


def test_plug_then_remote_start(one: Station) -> None:
    """TC_010_CS; TR-32: the answer first."""
    plug(one)
    sequence = kinds(one)
    one.csms_sends("RemoteStartTransaction", idTag="TAG", connectorId=1)
    sequence += kinds(one)
    plug(one, ev_ready=True, evse_ready=True)

    assert sequence + kinds(one) == ["Preparing", "answer", "Authorize", "StartTransaction", "Charging"]


def test_remote_start_then_plug(one: Station) -> None:
    """TC_011_1_CS."""
    one.csms_sends("RemoteStartTransaction", idTag="TAG", connectorId=1)
    sequence = kinds(one)
    plug(one)
    plug(one, ev_ready=True, evse_ready=True)

    assert sequence + kinds(one) == ["answer", "Authorize", "Preparing", "StartTransaction", "Charging"]


@pytest.mark.parametrize("known", [True, False], ids=["known tag", "unknown tag"])
def test_remote_start_that_needs_no_authorisation(one: Station, known: bool) -> None:
    """4.1; TC_010_CS."""
    if known:
        present(one, "TAG", info=FLEET)
        present(one, "TAG")
    set_key(one, "AuthorizeRemoteTxRequests", "false")
    plug(one)
    kinds(one)

    one.csms_sends("RemoteStartTransaction", idTag="TAG", connectorId=1)

    assert kinds(one) == ["answer", "StartTransaction"]
    assert one.shown("connector/1/transaction").get("parent_id_tag") == ("Fleet" if known else None)


def test_remote_start_of_a_cached_tag(one: Station) -> None:
    """TC_007_2_CS."""
    present(one, "TAG")
    present(one, "TAG")
    set_key(one, "LocalPreAuthorize", "true")
    plug(one)
    kinds(one)

    one.csms_sends("RemoteStartTransaction", idTag="TAG", connectorId=1)

    assert kinds(one) == ["answer", "StartTransaction"]


def test_remote_start_with_a_tag_that_is_refused(one: Station) -> None:
    """TC_023_5_CS."""
    plug(one)
    assert remote_start(one) == "Accepted"
    one.published()

    (authorize,) = authorizes(one)
    one.csms_answers(authorize, idTagInfo={"status": "Invalid"})

    (event,) = one.published("event/transaction")
    assert event == {"event": "rejected", "connector_id": 1, "id_tag": "TAG", "status": "Invalid"}
    assert (status(one), tag_at(one)) == ("Preparing", None)


def test_remote_start_without_answer_to_authorize_is_decided_as_offline(one: Station) -> None:
    """AU-04."""
    present(one, "TAG")
    present(one, "TAG")
    plug(one)
    remote_start(one)

    one.disconnect()

    assert tag_at(one) == "TAG"


# -- ConnectionTimeOut (3.3)


@pytest.mark.parametrize("way", ["tag", "remote start"])
def test_no_cable_in_time(one: Station, way: str) -> None:
    """B1, E§9.1.6; TC_004_2_CS, TC_011_2_CS; contract 2."""
    set_key(one, "ConnectionTimeOut", "30")
    if way == "tag":
        one.publish("request/present_id_tag", {"id_tag": "TAG"})
    else:
        one.csms_sends("RemoteStartTransaction", idTag="TAG")
    kinds(one)
    assert events(one) == [("authorized", 1, "TAG")]

    one.advance(29.9)
    assert (events(one), kinds(one)) == ([], [])
    one.advance(0.1)

    assert events(one) == [("timed_out", 1, "TAG")]
    assert kinds(one) == ["Available"]
    plug(one)
    assert tag_at(one) is None


def test_no_cable_in_time_where_the_connector_is_reserved(one: Station) -> None:
    """3.3, RV-09."""
    call(one, "ReserveNow", connectorId=1, expiryDate="2026-11-23T00:00:00Z", idTag="TAG", reservationId=1)
    present(one, "TAG")
    assert status(one) == "Preparing"

    one.advance(120)

    assert status(one) == "Reserved"


def test_connection_time_out_0_waits_for_ever(one: Station) -> None:
    set_key(one, "ConnectionTimeOut", "0")
    present(one, "TAG")

    one.advance(100_000)

    assert status(one) == "Preparing"
    plug(one)
    assert tag_at(one) == "TAG"


def test_cable_in_time_ends_the_time_out(one: Station) -> None:
    present(one, "TAG")
    one.advance(119)
    plug(one)
    one.published()

    one.advance(2)

    assert (tag_at(one), events(one)) == ("TAG", [])


def test_cable_without_tag_stays_in_preparing_where_there_is_no_other_connector(one: Station) -> None:
    """3.3."""
    plug(one)

    one.advance(1000)

    assert status(one) == "Preparing"
    assert present(one, "TAG")["action"] == "start"


def test_cable_without_tag_in_time_must_be_freed_where_there_are_several(two: Station) -> None:
    """3.3, B6, E§4.9: a late tag starts nothing there."""
    plug(two)
    two.advance(119.9)
    assert status(two) == "Preparing"
    two.advance(0.1)
    assert status(two) == "Finishing"

    assert present(two, "TAG") == {"status": "Accepted", "action": "wait", "connector_id": 2}

    assert tag_at(two) is None
    plug(two, 2)
    assert tag_at(two, 2) == "TAG"


def test_freed_connector_begins_anew(two: Station) -> None:
    """F1."""
    plug(two)
    two.advance(120)
    unplug(two)
    assert status(two) == "Available"
    plug(two)

    assert present(two, "TAG") == {"status": "Accepted", "action": "start", "connector_id": 1}


@pytest.mark.parametrize("way", ["tag", "remote start"])
def test_late_tag_for_this_very_connector_starts(two: Station, way: str) -> None:
    """F2: there is no wrong cable."""
    plug(two)
    two.advance(120)

    if way == "tag":
        assert present(two, "TAG", 1)["action"] == "start"
    else:
        assert remote_start(two, connectorId=1) == "Accepted"
        kinds(two)

    assert tag_at(two) == "TAG"


def test_cable_without_tag_waits_for_ever_where_connection_time_out_is_0(two: Station) -> None:
    set_key(two, "ConnectionTimeOut", "0")
    plug(two)

    two.advance(100_000)

    assert status(two) == "Preparing"


def test_cable_that_is_pulled_needs_no_freeing(two: Station) -> None:
    """B1."""
    plug(two)
    two.advance(60)
    unplug(two)
    assert status(two) == "Available"

    two.advance(100)

    assert status(two) == "Available"


def test_unusable_connector_waits_for_no_tag(two: Station) -> None:
    """RO-16: and anew when it is usable again."""
    plug(two)
    two.ask("change_availability", connector_id=1, type="Inoperative")
    two.advance(200)
    assert status(two) == "Unavailable"
    two.ask("change_availability", connector_id=1, type="Operative")
    assert status(two) == "Preparing"

    two.advance(120)

    assert status(two) == "Finishing"


# -- where a tag starts (contract 3, TX-01)


def test_tag_starts_at_the_last_plugged_connector(two: Station) -> None:
    plug(two, 2)
    two.advance(1)
    plug(two, 1)

    assert present(two, "TAG") == {"status": "Accepted", "action": "start", "connector_id": 1}


def test_tag_starts_at_the_only_plugged_connector(two: Station) -> None:
    """TX-01."""
    plug(two, 2)

    assert present(two, "TAG") == {"status": "Accepted", "action": "start", "connector_id": 2}


def test_tag_starts_at_the_connectors_it_was_shown_for_only(two: Station) -> None:
    plug(two, 2)

    assert present(two, "TAG", 1, 1) == {"status": "Accepted", "action": "wait", "connector_id": 1}

    assert (status(two, 1), tag_at(two, 2)) == ("Preparing", None)


def test_tag_that_waits_for_one_of_several_shows_no_preparing(two: Station) -> None:
    """Contract 2 and 3: only a single candidate does."""
    two.published()

    assert present(two, "TAG") == {"status": "Accepted", "action": "wait"}

    assert (status(two, 1), status(two, 2)) == ("Available", "Available")


def test_waiting_tag_is_an_event(two: Station) -> None:
    """Contract 2."""
    (authorize,) = show(two, "TAG")
    two.published()
    two.csms_answers(authorize, idTagInfo=ACCEPTED)

    assert events(two) == [("authorized", None, "TAG")]


def test_tag_shown_first_takes_the_first_cable(two: Station) -> None:
    """TX-01."""
    present(two, "FIRST")
    present(two, "SECOND")

    plug(two, 2)
    plug(two, 1)

    assert (tag_at(two, 2), tag_at(two, 1)) == ("FIRST", "SECOND")


def test_tag_shown_for_this_very_connector_goes_first(two: Station) -> None:
    present(two, "ANYWHERE")
    present(two, "HERE", 1)

    plug(two, 1)
    plug(two, 2)

    assert (tag_at(two, 1), tag_at(two, 2)) == ("HERE", "ANYWHERE")


def test_connector_that_waits_for_a_tag_of_its_own_is_taken(one: Station) -> None:
    present(one, "FIRST")

    assert show(one, "SECOND") == []
    assert present(one, "SECOND") == {"status": "Invalid", "action": "none"}

    plug(one)
    assert tag_at(one) == "FIRST"


def test_finished_connector_with_cable_starts_again(one: Station) -> None:
    """F2: a new transaction."""
    begin(one)
    present(one, "TAG")
    assert status(one) == "Finishing"

    assert present(one, "OTHER")["action"] == "start"

    assert tag_at(one) == "OTHER"


def test_tag_whose_transaction_runs_elsewhere_starts_another(two: Station) -> None:
    """The CSMS decides (ConcurrentTx); only the connectors given count."""
    begin(two, "TAG", 1)
    plug(two, 2)

    assert present(two, "TAG", 2) == {"status": "Accepted", "action": "start", "connector_id": 2}
    assert tag_at(two, 1) == "TAG"


@pytest.mark.parametrize("why", ["Inoperative", "Faulted", "charge point faulted", "reserved", "never registered"])
def test_where_nothing_is_free_nobody_is_asked(make_station: MakeStation, why: str) -> None:
    """AU-03, RO-17, RV-01, BT-20; contract 3."""
    station = make_station("")
    if why != "never registered":
        ready(station)
    match why:
        case "Inoperative":
            station.ask("change_availability", connector_id=1, type="Inoperative")
        case "Faulted":
            errors(station, {"error_code": "GroundFailure", "faulted": True})
        case "charge point faulted":
            errors(station, {"error_code": "InternalError", "faulted": True}, connector=0)
        case "reserved":
            request = {"connectorId": 1, "idTag": "X", "reservationId": 1, "expiryDate": "2026-11-23T00:00:00Z"}
            call(station, "ReserveNow", **request)

    assert show(station, "TAG") == []
    assert present(station, "TAG") == {"status": "Invalid", "action": "none"}


def test_status_of_a_known_tag_is_in_the_reply_where_nothing_is_free(one: Station) -> None:
    begin(one, "OTHER")
    one.ask("stop_transaction", connector_id=1)
    begin(one, "TAG")

    assert present(one, "OTHER") == {"status": "Accepted", "action": "none"}


def test_reserved_connector_takes_its_own_tag(one: Station) -> None:
    """RV-04; TC_046_1_CS."""
    call(one, "ReserveNow", connectorId=1, expiryDate="2026-11-23T00:00:00Z", idTag="tag", reservationId=5)
    plug(one)
    assert status(one) == "Reserved"

    assert present(one, "TAG")["action"] == "start"

    assert one.shown("connector/1/transaction")["reservation_id"] == 5


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"id_tag": ""},
        {"id_tag": "x" * 21},
        {"id_tag": 5},
        {"id_tag": "TAG", "connector_ids": [0]},
        {"id_tag": "TAG", "connector_ids": [1, 2]},
        {"id_tag": "TAG", "connector_ids": [-1]},
        {"id_tag": "TAG", "connector_ids": []},
        {"id_tag": "TAG", "connector_ids": 1},
        {"id_tag": "TAG", "connector_ids": ["1"]},
        {"id_tag": "TAG", "connector": 1},
    ],
    ids=str,
)
def test_impossible_arguments_are_refused(one: Station, arguments: dict[str, Any]) -> None:
    """Contract 3."""
    reply = one.request("present_id_tag", **arguments)

    assert (reply["status"], reply["error"]["code"]) == ("error", "bad_request")
    assert one.sent() == []


# -- the same tag again


def test_same_tag_again_takes_the_claim_back(one: Station) -> None:
    """AU-12, B1."""
    present(one, "TAG")

    assert show(one, "tag") == []

    assert one.published("response/present_id_tag")[-1]["data"] == {"status": "Accepted", "action": "none"}
    assert status(one) == "Available"
    plug(one)
    assert tag_at(one) is None


def test_claim_that_was_taken_back_does_not_time_out(one: Station) -> None:
    present(one, "TAG")
    present(one, "TAG")
    one.published()

    one.advance(120)

    assert events(one) == []


def test_same_tag_at_another_connector_is_another_claim(two: Station) -> None:
    present(two, "TAG", 1)

    assert present(two, "TAG", 2)["action"] == "wait"

    assert (status(two, 1), status(two, 2)) == ("Preparing", "Preparing")


# -- stopping by tag (4.4) and groups (4.3)


def test_own_tag_stops_without_authorize(one: Station) -> None:
    """TC_068_CS; trap 8."""
    begin(one, "TAG", info=FLEET)

    assert present(one, "tag", info={"status": "Blocked"}) == {
        "status": "Accepted",
        "action": "stop",
        "connector_id": 1,
        "parent_id_tag": "Fleet",
    }

    one.advance(2)
    (stop,) = one.sent("StopTransaction")
    assert (stop[3]["reason"], stop[3]["idTag"]) == ("Local", "tag")


def test_own_tag_stops_at_once_while_offline(one: Station) -> None:
    """TC_038_CS."""
    begin(one)
    one.disconnect()

    assert present(one, "TAG")["action"] == "stop"


def test_other_tag_does_not_stop_a_transaction_without_parent(one: Station) -> None:
    """4.4; TC_068_CS: and no Authorize."""
    begin(one)

    assert show(one, "OTHER") == []

    assert tag_at(one) == "TAG"


def test_parent_is_not_compared_with_a_tag(one: Station) -> None:
    """4.3; trap 9."""
    begin(one, "TAG", info=FLEET)

    assert present(one, "Fleet")["action"] == "none"

    assert tag_at(one) == "TAG"


def test_tag_of_the_same_group_stops(one: Station) -> None:
    """4.3; TC_069_CS."""
    begin(one, "TAG", info=FLEET)

    reply = present(one, "OTHER", info={"status": "Accepted", "parentIdTag": "FLEET"})

    assert reply == {"status": "Accepted", "action": "stop", "connector_id": 1, "parent_id_tag": "FLEET"}
    authorizes(one)
    one.advance(2)
    (stop,) = one.sent("StopTransaction")
    assert (stop[3]["reason"], stop[3]["idTag"]) == ("Local", "OTHER")


@pytest.mark.parametrize(
    "info",
    [ACCEPTED, {"status": "Accepted", "parentIdTag": "Others"}, {"status": "Blocked", "parentIdTag": "Fleet"}],
    ids=["no group", "another group", "not accepted"],
)
def test_tag_that_is_not_of_the_group_does_not_stop(one: Station, info: dict[str, str]) -> None:
    """4.4: asked all the same, it might be."""
    begin(one, "TAG", info=FLEET)
    (authorize,) = show(one, "OTHER")
    one.csms_answers(authorize, idTagInfo=info)

    assert one.published("response/present_id_tag")[-1]["data"]["action"] == "none"
    assert tag_at(one) == "TAG"


@pytest.mark.parametrize("link", ["online", "offline"])
@pytest.mark.parametrize("where", ["list", "cache"])
def test_group_known_from_list_or_cache_stops_without_authorize(one: Station, where: str, link: str) -> None:
    """4.4."""
    if where == "cache":
        present(one, "OTHER", info=FLEET)
        present(one, "OTHER")
    else:
        entry = {"idTag": "OTHER", "idTagInfo": FLEET}
        call(one, "SendLocalList", listVersion=1, updateType="Full", localAuthorizationList=[entry])
    begin(one, "TAG", info=FLEET)
    if link == "offline":
        one.disconnect()

    assert show(one, "OTHER") == []
    one.advance(2)
    assert tag_at(one) is None


def test_group_that_is_known_as_blocked_is_asked_for(one: Station) -> None:
    """4.2, row 4."""
    (authorize,) = show(one, "OTHER")
    one.csms_answers(authorize, idTagInfo={"status": "Blocked", "parentIdTag": "Fleet"})
    begin(one, "TAG", info=FLEET)

    assert present(one, "OTHER", info=FLEET)["action"] == "stop"


def test_unknown_tag_stops_nothing_while_offline(one: Station) -> None:
    """4.4."""
    set_key(one, "AllowOfflineTxForUnknownId", "true")
    begin(one, "TAG", info=FLEET)
    one.disconnect()

    assert present(one, "OTHER")["action"] == "none"
    assert tag_at(one) == "TAG"


def test_running_transaction_of_a_tag_is_stopped_rather_than_another_started(two: Station) -> None:
    """Contract 3."""
    begin(two, "TAG", 1)
    plug(two, 2)

    assert present(two, "TAG") == {"status": "Accepted", "action": "stop", "connector_id": 1}


def test_tag_of_no_group_starts_at_the_other_connector(two: Station) -> None:
    """4.4: with one reader for several connectors."""
    begin(two, "TAG", 1, info=FLEET)
    plug(two, 2)

    assert present(two, "OTHER") == {"status": "Accepted", "action": "start", "connector_id": 2}


# -- the cable of a transaction that the CSMS did not want (4.5)


@pytest.fixture
def kept(socket: Station) -> Station:
    """The transaction of TAG, of the group Fleet, was ended by the CSMS; its cable is still locked."""
    plug(socket, locked=True)
    present(socket, "TAG", info=FLEET)
    for frame in socket.sent("StartTransaction") or started(socket):
        socket.csms_answers(frame, transactionId=7, idTagInfo={"status": "Invalid", "parentIdTag": "Fleet"})
    socket.advance(2)
    authorizes(socket)
    assert (status(socket), socket.shown("connector/1/lock")) == ("Finishing", True)
    return socket


def started(station: Station) -> list[list[Any]]:
    """Answer what is open up to StartTransaction; that."""
    while True:
        for frame in station.sent():
            if frame[2] == "StartTransaction":
                return [frame]
            station.csms_answers(frame)


@pytest.mark.parametrize("id_tag", ["tag", "OTHER"], ids=["its own tag", "one of its group"])
def test_kept_cable_is_freed_for_its_user(kept: Station, id_tag: str) -> None:
    """4.5, E§3.5.4; TC_037_3_CS."""
    reply = present(kept, id_tag, info=FLEET)

    assert (reply["action"], reply["connector_id"]) == ("none", 1)
    assert kept.shown("connector/1/lock") is False
    assert tag_at(kept) is None


def test_stranger_starts_nothing_with_a_kept_cable(kept: Station) -> None:
    """4.5: it is not his."""
    assert present(kept, "STRANGER")["action"] == "none"

    assert (tag_at(kept), kept.shown("connector/1/lock")) == (None, True)


def test_stranger_is_not_started_remotely_with_a_kept_cable(kept: Station) -> None:
    assert remote_start(kept, idTag="STRANGER", connectorId=1) == "Rejected"
    assert remote_start(kept, idTag="TAG", connectorId=1) == "Accepted"


# -- what changes while Authorize is under way


def test_cable_is_pulled_meanwhile(one: Station) -> None:
    plug(one)
    (authorize,) = show(one, "TAG")
    unplug(one)
    one.published()

    one.csms_answers(authorize, idTagInfo=ACCEPTED)

    assert one.published("response/present_id_tag")[0]["data"] == {
        "status": "Accepted",
        "action": "wait",
        "connector_id": 1,
    }
    assert tag_at(one) is None


def test_cable_is_plugged_meanwhile(one: Station) -> None:
    (authorize,) = show(one, "TAG")
    plug(one)
    one.published()

    one.csms_answers(authorize, idTagInfo=ACCEPTED)

    assert one.published("response/present_id_tag")[0]["data"]["action"] == "start"
    assert tag_at(one) == "TAG"


@pytest.mark.parametrize("way", ["tag", "remote start"])
@pytest.mark.parametrize("what", ["Faulted", "Inoperative", "busy"])
def test_connector_is_no_longer_free(one: Station, what: str, way: str) -> None:
    plug(one)
    if way == "tag":
        (authorize,) = show(one, "TAG")
    else:
        remote_start(one)
        (authorize,) = authorizes(one)
    match what:
        case "Faulted":
            errors(one, {"error_code": "GroundFailure", "faulted": True})
        case "Inoperative":
            one.ask("change_availability", connector_id=1, type="Inoperative")
        case "busy":
            set_key(one, "AuthorizeRemoteTxRequests", "false")
            if way == "tag":
                one.csms_sends("RemoteStartTransaction", idTag="REMOTE")
            else:
                set_key(one, "LocalPreAuthorize", "true")
                entry = {"idTag": "LISTED", "idTagInfo": ACCEPTED}
                one.csms_sends("SendLocalList", listVersion=1, updateType="Full", localAuthorizationList=[entry])
                one.publish("request/present_id_tag", {"id_tag": "LISTED"})
    one.published()

    one.csms_answers(authorize, idTagInfo=ACCEPTED)

    assert tag_at(one) != "TAG"
    replies = one.published("response/present_id_tag")
    assert [reply["data"] for reply in replies] == [{"status": "Accepted", "action": "none"}] * (way == "tag")


@pytest.mark.parametrize("way", ["tag", "remote start"])
def test_ocpp_is_stopped_meanwhile(one: Station, way: str) -> None:
    """Contract 3: while stopped nothing begins, whatever is known."""
    set_key(one, "AllowOfflineTxForUnknownId", "true")
    plug(one)
    if way == "tag":
        show(one, "TAG")
    else:
        remote_start(one)
    one.published()

    one.ask("stop")

    assert tag_at(one) is None
    replies = [m.payload for m in one.broker.messages if m.topic == f"{BASE}/response/present_id_tag"]
    assert [reply["error"]["code"] for reply in replies] == ["stopped"] * (way == "tag")


def test_second_card_at_once_has_its_turn_after_the_first(two: Station) -> None:
    """AU-03."""
    (first,) = show(two, "FIRST")
    assert show(two, "SECOND") == []

    two.csms_answers(first, idTagInfo=ACCEPTED)
    (second,) = authorizes(two)
    two.csms_answers(second, idTagInfo=ACCEPTED)

    assert second[3] == {"idTag": "SECOND"}
    plug(two, 1)
    plug(two, 2)
    assert (tag_at(two, 1), tag_at(two, 2)) == ("FIRST", "SECOND")


def test_stopped_is_an_error(one: Station) -> None:
    """Contract 3."""
    one.ask("stop")

    reply = one.request("present_id_tag", id_tag="TAG")

    assert reply["error"]["code"] == "stopped"


def test_claim_is_dropped_by_stop(one: Station) -> None:
    """Contract 3."""
    present(one, "TAG")
    one.ask("stop")

    plug(one)

    assert (tag_at(one), status(one)) == (None, "Preparing")
    one.ask("restart")
    one.register()
    assert tag_at(one) is None


# -- what changes while a tag waits for the cable


def test_claim_outlives_a_fault(one: Station) -> None:
    """I2: back to what it was; the cable may have come meanwhile."""
    present(one, "TAG")
    errors(one, {"error_code": "GroundFailure", "faulted": True})
    plug(one)
    assert tag_at(one) is None

    errors(one)

    assert tag_at(one) == "TAG"


def test_claim_ends_with_the_availability(one: Station) -> None:
    """RO-16."""
    present(one, "TAG")

    assert one.ask("change_availability", connector_id=1, type="Inoperative") == "Accepted"

    assert status(one) == "Unavailable"
    one.ask("change_availability", connector_id=1, type="Operative")
    assert status(one) == "Available"


def test_claim_goes_on_at_the_other_connector(two: Station) -> None:
    present(two, "TAG")
    two.ask("change_availability", connector_id=1, type="Inoperative")

    plug(two, 1)
    plug(two, 2)

    assert (tag_at(two, 1), tag_at(two, 2)) == (None, "TAG")


# -- RemoteStartTransaction (6.1)


def test_remote_start_of_a_busy_connector_is_rejected(one: Station) -> None:
    """TC_026_CS."""
    begin(one)

    assert remote_start(one, connectorId=1) == "Rejected"
    assert remote_start(one) == "Rejected"


@pytest.mark.parametrize("connector", [0, 2, 99])
def test_remote_start_of_an_unknown_connector_is_rejected(one: Station, connector: int) -> None:
    """TC_027_CS."""
    assert remote_start(one, connectorId=connector) == "Rejected"


@pytest.mark.parametrize("authorising", [True, False], ids=["authorising", "waiting for the cable"])
def test_second_remote_start_is_rejected_while_the_first_is_pending(one: Station, authorising: bool) -> None:
    assert remote_start(one, connectorId=1) == "Accepted"
    if not authorising:
        kinds(one)

    answer = one.csms_sends("RemoteStartTransaction", idTag="OTHER", connectorId=1)

    assert [3, answer, {"status": "Rejected"}] in one.sent()


def test_two_remote_starts_at_once(one: Station) -> None:
    """The second is rejected before the first has had a moment."""
    endpoint = one.charge_point.endpoint
    for number in ("1", "2"):
        endpoint.csms_received(f'[2,"{number}","RemoteStartTransaction",{{"idTag":"TAG","connectorId":1}}]')

    assert one.sent() == [[3, "1", {"status": "Accepted"}], [3, "2", {"status": "Rejected"}]]
    one.settle()


def test_remote_start_is_possible_again_after_a_refusal(one: Station) -> None:
    remote_start(one, connectorId=1)
    (authorize,) = authorizes(one)
    one.csms_answers(authorize, idTagInfo={"status": "Invalid"})

    assert remote_start(one, connectorId=1) == "Accepted"


@pytest.mark.parametrize("state", ["Unavailable", "Faulted", "reserved for another"])
def test_remote_start_where_nothing_may_start_is_rejected(one: Station, state: str) -> None:
    match state:
        case "Unavailable":
            call(one, "ChangeAvailability", connectorId=1, type="Inoperative")
        case "Faulted":
            errors(one, {"error_code": "GroundFailure", "faulted": True})
        case _:
            call(one, "ReserveNow", connectorId=1, expiryDate="2026-11-23T00:00:00Z", idTag="X", reservationId=1)

    assert remote_start(one, connectorId=1) == "Rejected"


@pytest.mark.parametrize("parent", [True, False], ids=["by parent", "by tag"])
def test_remote_start_of_the_reserved_tag(one: Station, parent: bool) -> None:
    """RV-10; TC_046_2_CS, TC_053_2_CS."""
    whose = {"idTag": "X", "parentIdTag": "Fleet"} if parent else {"idTag": "TAG"}
    call(one, "ReserveNow", connectorId=1, expiryDate="2026-11-23T00:00:00Z", reservationId=5, **whose)
    plug(one)

    assert remote_start(one, connectorId=1) == "Accepted"
    (authorize,) = authorizes(one)
    one.csms_answers(authorize, idTagInfo=FLEET)

    assert one.shown("connector/1/transaction")["reservation_id"] == 5


def test_remote_start_in_finishing_starts_again(one: Station) -> None:
    """F2."""
    begin(one)
    one.ask("stop_transaction", connector_id=1)
    assert status(one) == "Finishing"

    assert remote_start(one, connectorId=1, idTag="NEXT") == "Accepted"
    kinds(one)

    assert tag_at(one) == "NEXT"


def test_remote_start_while_pending_is_rejected(station: Station) -> None:
    """BT-08."""
    ready(station)
    station.kill()
    station.connect_broker()
    station.register("Pending")

    assert call(station, "RemoteStartTransaction", idTag="TAG") == {"status": "Rejected"}


def test_remote_start_while_the_broker_is_away_is_refused(one: Station) -> None:
    """Contract 1."""
    one.disconnect_broker()

    assert remote_start(one, connectorId=1) == "Rejected"


PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.1}]},
}


@pytest.mark.parametrize(
    "profile",
    [
        {**PROFILE, "chargingProfilePurpose": "TxDefaultProfile"},
        {**PROFILE, "chargingProfilePurpose": "ChargePointMaxProfile"},
        {**PROFILE, "transactionId": 7},
    ],
    ids=["TxDefaultProfile", "ChargePointMaxProfile", "transactionId"],
)
def test_remote_start_with_an_impossible_profile_is_rejected(one: Station, profile: dict[str, Any]) -> None:
    """6.1; TC_060_CS."""
    assert remote_start(one, connectorId=1, chargingProfile=profile) == "Rejected"


@pytest.mark.parametrize("plugged", [True, False], ids=["plugged", "plugged later"])
def test_profile_of_a_remote_start_is_handed_on_with_its_transaction(one: Station, plugged: bool) -> None:
    """TX-06."""
    taken = []
    (starting,) = [feature for feature in one.charge_point.features if isinstance(feature, Starting)]
    starting.on_profile = lambda *details: taken.append(details)
    if plugged:
        plug(one)
    assert remote_start(one, connectorId=1, chargingProfile=PROFILE) == "Accepted"
    kinds(one)
    plug(one)

    ((connector, transaction, profile),) = taken

    assert (connector.id, transaction.id_tag, profile["chargingProfileId"]) == (1, "TAG", 1)


def test_remote_start_without_connector_takes_the_only_one_in_preparing(two: Station) -> None:
    plug(two, 2)

    assert remote_start(two) == "Accepted"
    kinds(two)

    assert tag_at(two, 2) == "TAG"


def test_remote_start_without_connector_takes_the_only_usable_one(two: Station) -> None:
    begin(two, "OTHER", 1)

    assert remote_start(two) == "Accepted"
    kinds(two)

    assert status(two, 2) == "Preparing"


@pytest.mark.parametrize("plugged", [(), (1, 2)], ids=["none plugged", "both plugged"])
def test_remote_start_without_connector_waits_for_the_next_cable(two: Station, plugged: tuple[int, ...]) -> None:
    """6.1: of several cables none is known to be the right one."""
    for connector in plugged:
        plug(two, connector)
    assert remote_start(two) == "Accepted"
    kinds(two)
    assert (tag_at(two, 1), tag_at(two, 2)) == (None, None)

    unplug(two, 2)
    plug(two, 2)

    assert tag_at(two, 2) == "TAG"


def test_cable_of_a_finished_transaction_is_nobodys_in_preparing(two: Station) -> None:
    """6.1: it is in Finishing."""
    begin(two, "OTHER", 1)
    two.ask("stop_transaction", connector_id=1)
    two.advance(2)

    assert remote_start(two) == "Accepted"
    kinds(two)

    assert tag_at(two, 1) is None
    plug(two, 2)
    assert tag_at(two, 2) == "TAG"


# -- the lock (contract 4, TC_024_CS)


def test_transaction_starts_when_the_lock_is_closed(socket: Station) -> None:
    """Contract 4; 5.1."""
    assert present(socket, "TAG")["action"] == "start"
    assert (socket.shown("connector/1/lock"), tag_at(socket), status(socket)) == (True, None, "Preparing")
    assert socket.shown("connector/1/charging_permitted") is False
    socket.published()

    plug(socket, locked=True)

    assert tag_at(socket) == "TAG"
    assert socket.published("connector/1/lock") == []
    assert socket.shown("connector/1/lock") is True


def test_transaction_starts_at_once_where_the_lock_says_nothing(make_station: MakeStation) -> None:
    """Contract 4: "where published"."""
    station = ready(make_station(LOCK))
    plug(station)

    assert present(station, "TAG")["action"] == "start"

    assert tag_at(station) == "TAG"
    locks = [message.payload for message in station.broker.messages if message.topic == f"{BASE}/connector/1/lock"]
    assert locks == [False, True]


def test_lock_that_does_not_close_in_time_starts_nothing(socket: Station) -> None:
    """Contract 4: start_grace."""
    present(socket, "TAG")
    socket.advance(4.9)
    assert socket.shown("connector/1/lock") is True
    socket.published()

    socket.advance(0.1)

    assert socket.published("connector/1/lock") == [False]
    assert tag_at(socket) is None
    plug(socket, locked=True)
    assert tag_at(socket) is None


def test_lock_that_does_not_close_in_time_is_an_event(socket: Station) -> None:
    present(socket, "TAG")
    socket.published()

    socket.advance(5)

    assert events(socket) == [("timed_out", 1, "TAG")]


def test_lock_failure_starts_nothing(socket: Station) -> None:
    """TC_024_CS."""
    present(socket, "TAG")

    errors(socket, LOCK_FAILURE)

    assert (status(socket), socket.shown("connector/1/lock")) == ("Faulted", False)
    errors(socket)
    plug(socket, locked=True)
    assert (tag_at(socket), status(socket)) == (None, "Preparing")


def test_lock_failure_that_is_no_fault_starts_nothing(make_station: MakeStation) -> None:
    """Contract 4: whether it faults the connector or not."""
    station = ready(make_station(LOCK))
    errors(station, {**LOCK_FAILURE, "faulted": False})
    plug(station)

    present(station, "TAG")
    assert tag_at(station) is None
    station.advance(5)

    assert (tag_at(station), station.shown("connector/1/lock")) == (None, False)


@pytest.mark.parametrize("what", ["cable pulled", "Inoperative", "charge point faulted", "stop"])
def test_attempt_ends_before_the_lock_is_closed(socket: Station, what: str) -> None:
    present(socket, "TAG")
    match what:
        case "cable pulled":
            unplug(socket)
        case "Inoperative":
            socket.ask("change_availability", connector_id=1, type="Inoperative")
        case "stop":
            socket.ask("stop")
        case _:
            errors(socket, {"error_code": "InternalError", "faulted": True}, connector=0)

    assert socket.shown("connector/1/lock") is False
    plug(socket, locked=True)
    assert tag_at(socket) is None


def test_tag_again_while_the_lock_closes_changes_nothing(socket: Station) -> None:
    """AU-12: it is plugged."""
    present(socket, "TAG")

    assert present(socket, "TAG") == {"status": "Accepted", "action": "start", "connector_id": 1}

    plug(socket, locked=True)
    assert tag_at(socket) == "TAG"


def test_other_tag_while_the_lock_closes_starts_nothing(socket: Station) -> None:
    present(socket, "TAG")

    assert show(socket, "OTHER") == []


def test_tag_then_plug_then_lock(socket: Station) -> None:
    unplug(socket)
    present(socket, "TAG")
    plug(socket, locked=False)
    assert (socket.shown("connector/1/lock"), tag_at(socket)) == (True, None)

    plug(socket, locked=True)
    socket.advance(5)

    assert tag_at(socket) == "TAG"


def test_connector_without_lock_has_no_lock_topic(one: Station) -> None:
    """Contract 2."""
    begin(one)

    assert one.shown("connector/1/lock") is None


def test_lock_that_failed_leaves_the_cable_waiting_for_a_tag(make_station: MakeStation) -> None:
    """3.3, B6."""
    station = ready(make_station(LOCK + LOCK))
    plug(station, locked=False)
    present(station, "TAG", 1)
    station.advance(5)
    assert status(station) == "Preparing"

    station.advance(120)

    assert status(station) == "Finishing"


# -- free vend


FREE_VEND = '[transactions]\nfree_vend_id_tag = "FREE"\n'


def test_plugging_in_starts_without_a_card(make_station: MakeStation) -> None:
    """Contract 5: nobody is asked."""
    station = ready(make_station(FREE_VEND))

    plug(station)

    assert kinds(station) == ["Preparing", "StartTransaction"]
    assert tag_at(station) == "FREE"


def test_plugged_before_the_first_registration_starts_with_it(make_station: MakeStation) -> None:
    """BT-20."""
    station = make_station(FREE_VEND)
    plug(station)
    assert tag_at(station) is None

    station.register()

    assert tag_at(station) == "FREE"


def test_plugged_while_faulted_starts_when_the_fault_is_gone(make_station: MakeStation) -> None:
    station = ready(make_station(FREE_VEND))
    errors(station, {"error_code": "GroundFailure", "faulted": True})
    plug(station)
    assert tag_at(station) is None

    errors(station)

    assert tag_at(station) == "FREE"


def test_stopped_free_transaction_does_not_start_again_by_itself(make_station: MakeStation) -> None:
    """The cable has to be plugged anew."""
    station = ready(make_station(FREE_VEND))
    plug(station)
    station.ask("stop_transaction", connector_id=1)
    station.advance(2)
    plug(station, ev_ready=True)
    errors(station, {"error_code": "GroundFailure", "faulted": True})
    errors(station)
    assert tag_at(station) is None

    unplug(station)
    plug(station)

    assert tag_at(station) == "FREE"


def test_free_vend_leaves_a_reserved_connector_alone(make_station: MakeStation) -> None:
    """RV-01, RV-09."""
    station = ready(make_station(FREE_VEND))
    call(station, "ReserveNow", connectorId=1, expiryDate="2026-11-23T00:00:00Z", idTag="X", reservationId=1)

    plug(station)

    assert (tag_at(station), status(station)) == (None, "Reserved")


def test_tag_that_waits_goes_before_free_vend(make_station: MakeStation) -> None:
    station = ready(make_station(FREE_VEND))
    present(station, "TAG")

    plug(station)

    assert tag_at(station) == "TAG"
