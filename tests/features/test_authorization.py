"""Authorisation: obligations 4.1, 4.2 and 6.5."""

from typing import Any, NamedTuple

import pytest

from ocpp16_bridge.features import authorization
from tests.station import Station

ACCEPTED = {"status": "Accepted"}
BLOCKED = {"status": "Blocked"}
EXPIRING = {"status": "Accepted", "expiryDate": "2026-11-22T11:00:00Z"}  # an hour after the start of each test


@pytest.fixture
def plugged(station: Station) -> Station:
    """Registered, with a cable and without a tag."""
    station.advance(20)
    station.register()
    station.publish("hardware/connector/1/state", {"plugged": True})
    station.answer_all()
    return station


def set_keys(station: Station, **keys: bool) -> None:
    for key, value in keys.items():
        assert station.ask("set_configuration_key", key=key, value=str(value).lower()) == "Accepted"


def list_tag(station: Station, id_tag: str, info: dict[str, str], version: int = 1) -> None:
    """The local list has this one entry."""
    entries = [{"idTag": id_tag, "idTagInfo": info}]
    answer = station.csms_calls("SendLocalList", listVersion=version, updateType="Full", localAuthorizationList=entries)
    assert answer == {"status": "Accepted"}


def unlist(station: Station, version: int = 2) -> None:
    assert station.csms_calls("SendLocalList", listVersion=version, updateType="Full") == {"status": "Accepted"}


def cache_tag(station: Station, id_tag: str, info: dict[str, str]) -> None:
    """Show a tag, and let the CSMS say this of it; a transaction is stopped at once."""
    if present(station, id_tag, info)["action"] == "start":
        station.ask("stop_transaction", connector_id=1)
        station.advance(2)
    while frames := [frame for frame in station.sent() if frame[0] == 2]:
        for frame in frames:
            answer = {"transactionId": 7, "idTagInfo": info} if frame[2] == "StartTransaction" else {}
            station.csms_answers(frame, **answer)


def asks(station: Station, id_tag: str) -> list[Any]:
    """Show a tag; the Authorize that this causes, or none."""
    station.publish("request/present_id_tag", {"id_tag": id_tag})
    return [frame for frame in station.sent("Authorize") if frame[3] == {"idTag": id_tag}]


def present(station: Station, id_tag: str, info: dict[str, str] | None = None) -> Any:
    """Show a tag; Authorize is answered with ``info``, without which there must be none. The data of the reply."""
    station.published()
    asked = asks(station, id_tag)
    assert len(asked) == (0 if info is None else 1)
    for authorize in asked:
        station.csms_answers(authorize, idTagInfo=info)
    (reply,) = station.published("response/present_id_tag")
    return reply["data"]


# -- the decision table


class Row(NamedTuple):
    link: str
    found: str
    entry: str
    result: str  # "start", "Authorize" or the status with which it is refused
    keys: dict[str, bool] | None = None


PRE_AUTHORIZE = {"LocalPreAuthorize": True}
UNKNOWN_MAY = {"AllowOfflineTxForUnknownId": True}
NOT_OFFLINE = {"LocalAuthorizeOffline": False}
TABLE = {
    "row 1": Row("online", "list", "valid", "start", PRE_AUTHORIZE),
    "row 2": Row("online", "cache", "valid", "start", PRE_AUTHORIZE),
    "row 3": Row("online", "list", "valid", "Authorize"),
    "row 3, cache": Row("online", "cache", "valid", "Authorize"),
    "row 4": Row("online", "cache", "not valid", "Authorize", PRE_AUTHORIZE),
    "row 4, expired": Row("online", "cache", "expired", "Authorize", PRE_AUTHORIZE),
    "row 5": Row("online", "list", "not valid", "Authorize", PRE_AUTHORIZE),
    "row 5, expired": Row("online", "list", "expired", "Authorize", PRE_AUTHORIZE),
    "row 5, ConcurrentTx": Row("online", "list", "ConcurrentTx", "Authorize", PRE_AUTHORIZE),
    "row 6": Row("online", "nowhere", "", "Authorize", PRE_AUTHORIZE | UNKNOWN_MAY),
    "row 7": Row("offline", "list", "valid", "start"),
    "row 8": Row("offline", "cache", "valid", "start"),
    "row 9": Row("offline", "list", "not valid", "Blocked", UNKNOWN_MAY),
    "row 9, expired": Row("offline", "list", "expired", "Expired", UNKNOWN_MAY),
    "row 9, ConcurrentTx": Row("offline", "list", "ConcurrentTx", "ConcurrentTx", UNKNOWN_MAY),
    "row 10": Row("offline", "cache", "not valid", "Blocked", UNKNOWN_MAY),
    "row 10, expired": Row("offline", "cache", "expired", "Expired", UNKNOWN_MAY),
    "row 11": Row("offline", "nowhere", "", "start", UNKNOWN_MAY),
    "row 12": Row("offline", "nowhere", "", "Invalid"),
    "row 13": Row("offline", "list", "valid", "Invalid", NOT_OFFLINE),
    "row 13, cache": Row("offline", "cache", "valid", "Invalid", NOT_OFFLINE),
    "row 13, unknown": Row("offline", "nowhere", "", "start", NOT_OFFLINE | UNKNOWN_MAY),
    "row 13, known to be good": Row("offline", "list", "valid", "start", NOT_OFFLINE | UNKNOWN_MAY),
    "row 13, known to be bad": Row("offline", "list", "not valid", "Blocked", NOT_OFFLINE | UNKNOWN_MAY),
}
ENTRIES = {"valid": EXPIRING, "expired": EXPIRING, "not valid": BLOCKED, "ConcurrentTx": {"status": "ConcurrentTx"}}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_decision_table(plugged: Station, row: Row) -> None:
    """4.2, AU-07, AU-11; TC_007_1_CS, TC_008_1_CS, TC_037_1_CS; trap 10."""
    match row.found:
        case "list":
            list_tag(plugged, "TAG", ENTRIES[row.entry])
        case "cache":
            cache_tag(plugged, "TAG", ENTRIES[row.entry])
    plugged.advance(3600 if row.entry == "expired" else 3000)
    plugged.answer_all()
    set_keys(plugged, **row.keys or {})
    if row.link == "offline":
        plugged.disconnect()
    plugged.published()

    asked = asks(plugged, "TAG")

    replies = plugged.published("response/present_id_tag")
    if row.result == "Authorize":
        assert (len(asked), replies) == (1, [])
        return
    assert asked == []
    (reply,) = replies
    started = row.result == "start"
    assert reply["data"]["action"] == ("start" if started else "none")
    assert reply["data"]["status"] == ("Accepted" if started else row.result)
    assert plugged.shown("connector/1/charging_permitted") is started  # AU-01


@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
def test_tag_that_the_csms_does_not_accept_starts_nothing(plugged: Station, status: str) -> None:
    """AU-01, AU-05, AU-11; contract 2."""
    asked = asks(plugged, "TAG")[0]
    plugged.published()
    plugged.csms_answers(asked, idTagInfo={"status": status})

    messages = {m.topic.removeprefix("ocpp16/"): m.payload for m in plugged.published()}

    assert messages["response/present_id_tag"]["data"] == {"status": status, "action": "none"}
    rejected = {"event": "rejected", "connector_id": 1, "id_tag": "TAG", "status": status}
    assert messages["event/transaction"] == rejected
    assert plugged.sent() == []
    assert plugged.shown("connector/1/status")["status"] == "Preparing"


def test_refused_tag_does_not_wait_for_a_cable(station: Station) -> None:
    """AU-05; TC_023_4_CS."""
    station.advance(20)
    station.register()
    present(station, "TAG", BLOCKED)

    station.publish("hardware/connector/1/state", {"plugged": True})

    (status,) = station.sent()
    assert (status[2], status[3]["status"]) == ("StatusNotification", "Preparing")


def test_accepted_tag_with_a_date_that_has_passed_is_expired(plugged: Station) -> None:
    """AU-07."""
    reply = present(plugged, "TAG", {"status": "Accepted", "expiryDate": "2026-11-22T10:00:20Z"})

    assert reply == {"status": "Expired", "action": "none", "expiry_date": "2026-11-22T10:00:20Z"}


def test_what_is_known_of_a_tag_is_in_the_reply(plugged: Station) -> None:
    """Contract 3: as received."""
    info = {"status": "Accepted", "expiryDate": "2027-01-01T00:00:00+01:00", "parentIdTag": "Fleet"}

    assert present(plugged, "TAG", info) == {
        "status": "Accepted",
        "action": "start",
        "connector_id": 1,
        "parent_id_tag": "Fleet",
        "expiry_date": "2027-01-01T00:00:00+01:00",
    }


def test_tag_is_forwarded_as_received_and_compared_without_case(plugged: Station) -> None:
    """GD-04; trap 9."""
    cache_tag(plugged, "tAg", ACCEPTED)
    set_keys(plugged, **PRE_AUTHORIZE)

    assert present(plugged, "TaG")["action"] == "start"

    assert plugged.shown("connector/1/transaction")["id_tag"] == "TaG"


# -- no answer


@pytest.mark.parametrize("failure", ["CALLERROR", "timeout", "unreadable", "bad date", "link lost"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_authorize_without_answer_is_decided_as_offline(plugged: Station, failure: str, known: bool) -> None:
    """AU-03, AU-04; contract 3: within call_timeout."""
    if known:
        list_tag(plugged, "TAG", ACCEPTED)
    asked = asks(plugged, "TAG")[0]
    plugged.published()

    match failure:
        case "CALLERROR":
            plugged.csms_refuses(asked, "InternalError")
        case "timeout":
            plugged.advance(29.9)
            assert plugged.published("response/present_id_tag") == []
            plugged.advance(0.1)
        case "unreadable":
            plugged.csms_answers(asked)
        case "bad date":
            plugged.csms_answers(asked, idTagInfo={"status": "Accepted", "expiryDate": "soon"})
        case _:
            plugged.disconnect()

    (reply,) = plugged.published("response/present_id_tag")
    assert (reply["data"]["status"], reply["data"]["action"]) == (
        ("Accepted", "start") if known else ("Invalid", "none")
    )
    assert plugged.sent("Authorize") == []


def test_what_was_learnt_while_authorize_was_under_way_counts(plugged: Station) -> None:
    """AU-04: the list of this moment decides."""
    list_tag(plugged, "TAG", ACCEPTED)
    asked = asks(plugged, "TAG")[0]
    list_tag(plugged, "TAG", BLOCKED, version=2)
    plugged.published()

    plugged.csms_refuses(asked, "InternalError")

    assert plugged.published("response/present_id_tag")[0]["data"] == {"status": "Blocked", "action": "none"}


@pytest.mark.parametrize("registration", ["Pending", "Rejected"])
def test_without_registration_nobody_is_asked(plugged: Station, registration: str) -> None:
    """BT-02, BT-08, BT-23."""
    list_tag(plugged, "TAG", ACCEPTED)
    plugged.kill()
    plugged.connect_broker()
    plugged.register(registration)
    plugged.publish("hardware/connector/1/state", {"plugged": True})

    assert present(plugged, "TAG")["action"] == "start"


# -- the cache


def test_cache_is_fed_by_answers_good_and_bad(plugged: Station) -> None:
    """AU-06."""
    cache_tag(plugged, "GOOD", ACCEPTED)
    cache_tag(plugged, "BAD", BLOCKED)
    cache_tag(plugged, "BAD", {"status": "Expired"})
    plugged.disconnect()

    assert present(plugged, "BAD")["status"] == "Expired"
    assert present(plugged, "GOOD")["action"] == "start"


def test_cache_survives_a_power_cut(plugged: Station) -> None:
    """AU-09."""
    cache_tag(plugged, "TAG", ACCEPTED)
    plugged.kill()
    plugged.connect_broker()
    plugged.publish("hardware/connector/1/state", {"plugged": True})

    assert present(plugged, "TAG")["action"] == "start"


def test_disabled_cache_is_not_read(plugged: Station) -> None:
    """4.1."""
    cache_tag(plugged, "TAG", ACCEPTED)
    set_keys(plugged, AuthorizationCacheEnabled=False)
    plugged.disconnect()

    assert present(plugged, "TAG")["status"] == "Invalid"


def test_disabled_cache_is_not_fed(plugged: Station) -> None:
    """4.1."""
    set_keys(plugged, AuthorizationCacheEnabled=False)
    cache_tag(plugged, "TAG", ACCEPTED)
    set_keys(plugged, AuthorizationCacheEnabled=True)
    plugged.disconnect()

    assert present(plugged, "TAG")["status"] == "Invalid"


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
def test_clear_cache_forgets_all(plugged: Station, enabled: bool) -> None:
    """6.5; TC_061_1_CS."""
    set_keys(plugged, LocalPreAuthorize=True)
    cache_tag(plugged, "TAG", ACCEPTED)
    set_keys(plugged, AuthorizationCacheEnabled=enabled)

    assert plugged.csms_calls("ClearCache") == {"status": "Accepted"}

    set_keys(plugged, AuthorizationCacheEnabled=True)
    assert len(asks(plugged, "TAG")) == 1


def test_clear_cache_leaves_the_list(plugged: Station) -> None:
    list_tag(plugged, "TAG", ACCEPTED)
    plugged.csms_calls("ClearCache")
    plugged.disconnect()

    assert present(plugged, "TAG")["action"] == "start"


def test_full_cache_drops_what_is_not_valid_first_then_the_oldest(
    plugged: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AU-08."""
    monkeypatch.setattr(authorization, "MAX_CACHED", 3)
    for number, (id_tag, info) in enumerate(
        [("OLD", ACCEPTED), ("NEWER", ACCEPTED), ("BAD", BLOCKED), ("A", ACCEPTED), ("B", ACCEPTED)]
    ):
        plugged.advance(number / 8)
        cache_tag(plugged, id_tag, info)
        plugged.advance(1)
    plugged.disconnect()

    statuses = {id_tag: status_offline(plugged, id_tag) for id_tag in ("OLD", "NEWER", "BAD", "A", "B")}

    assert statuses == {"OLD": "Invalid", "NEWER": "Accepted", "BAD": "Invalid", "A": "Accepted", "B": "Accepted"}


def status_offline(station: Station, id_tag: str) -> Any:
    reply = present(station, id_tag)
    if reply["action"] == "start":
        station.ask("stop_transaction", connector_id=1)
    return reply["status"]


def test_expired_entry_leaves_a_full_cache_first(plugged: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-08."""
    monkeypatch.setattr(authorization, "MAX_CACHED", 2)
    cache_tag(plugged, "OLD", ACCEPTED)
    cache_tag(plugged, "SHORT", EXPIRING)
    plugged.advance(3600)
    plugged.answer_all()
    cache_tag(plugged, "NEW", ACCEPTED)
    plugged.disconnect()

    assert [status_offline(plugged, id_tag) for id_tag in ("OLD", "SHORT", "NEW")] == [
        "Accepted",
        "Invalid",
        "Accepted",
    ]


def test_known_tag_makes_nobody_leave_a_full_cache(plugged: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """AU-08."""
    monkeypatch.setattr(authorization, "MAX_CACHED", 2)
    for id_tag in ("A", "B", "B", "A"):
        cache_tag(plugged, id_tag, ACCEPTED)
    plugged.disconnect()

    assert [status_offline(plugged, id_tag) for id_tag in ("A", "B")] == ["Accepted", "Accepted"]


# -- the list


def test_list_has_priority_over_the_cache(plugged: Station) -> None:
    """AU-02."""
    cache_tag(plugged, "TAG", ACCEPTED)
    list_tag(plugged, "TAG", BLOCKED)
    plugged.disconnect()

    assert present(plugged, "TAG") == {"status": "Blocked", "action": "none"}


def test_disabled_list_is_not_asked(plugged: Station) -> None:
    """4.1."""
    list_tag(plugged, "TAG", BLOCKED)
    set_keys(plugged, LocalAuthListEnabled=False, AllowOfflineTxForUnknownId=True)
    plugged.disconnect()

    assert present(plugged, "TAG")["action"] == "start"


def test_listed_tag_is_not_cached(plugged: Station) -> None:
    """AU-02."""
    list_tag(plugged, "TAG", ACCEPTED)
    cache_tag(plugged, "TAG", ACCEPTED)
    unlist(plugged)
    plugged.disconnect()

    assert present(plugged, "TAG")["status"] == "Invalid"


def test_tag_that_is_learnt_into_the_list_leaves_the_cache(plugged: Station) -> None:
    """LL-10."""
    cache_tag(plugged, "TAG", ACCEPTED)
    cache_tag(plugged, "OTHER", ACCEPTED)
    list_tag(plugged, "tag", ACCEPTED)
    unlist(plugged)
    plugged.disconnect()

    assert [status_offline(plugged, id_tag) for id_tag in ("TAG", "OTHER")] == ["Invalid", "Accepted"]


@pytest.mark.parametrize(
    ("listed", "answered", "conflict"),
    [
        (ACCEPTED, BLOCKED, True),
        (BLOCKED, ACCEPTED, True),
        (EXPIRING, {"status": "Expired"}, True),
        (ACCEPTED, {"status": "Accepted", "expiryDate": "2026-11-22T09:00:00Z"}, True),
        (ACCEPTED, ACCEPTED, False),
        (ACCEPTED, {"status": "ConcurrentTx"}, False),
        (BLOCKED, {"status": "Invalid"}, False),
    ],
    ids=str,
)
def test_answer_that_contradicts_the_list_is_reported(
    plugged: Station, listed: dict[str, str], answered: dict[str, str], conflict: bool
) -> None:
    """AU-10, AU-11."""
    list_tag(plugged, "TAG", listed)

    present(plugged, "TAG", answered)

    reported = [frame[3] for frame in plugged.sent("StatusNotification") if frame[3]["connectorId"] == 0]
    assert [(one["status"], one["errorCode"]) for one in reported] == [("Available", "LocalListConflict")] * conflict
    shown = plugged.shown("connector/0/status")["error_code"]
    assert shown == ("LocalListConflict" if conflict else "NoError")


def test_list_conflict_does_not_change_the_list(plugged: Station) -> None:
    """AU-10."""
    list_tag(plugged, "TAG", BLOCKED)
    present(plugged, "TAG", ACCEPTED)
    plugged.ask("stop_transaction", connector_id=1)
    plugged.disconnect()

    assert present(plugged, "TAG")["status"] == "Blocked"


def test_list_conflict_is_over_with_a_new_list(plugged: Station) -> None:
    """AU-10."""
    list_tag(plugged, "TAG", ACCEPTED)
    present(plugged, "TAG", BLOCKED)
    plugged.answer_all()

    plugged.csms_sends("SendLocalList", listVersion=2, updateType="Full")

    (status,) = plugged.sent("StatusNotification")
    assert (status[3]["connectorId"], status[3]["errorCode"]) == (0, "NoError")
