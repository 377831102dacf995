"""The local authorisation list (OCPP 1.6, 3.5.2, 5.10 and 5.15; obligations 8.1)."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import MakeStation
from tests.features.connectors.site import PLUGGED, Site
from tests.station import Station, running_station

Entry = dict[str, Any]

ACCEPTED = {"status": "Accepted"}
SMALL = "[configuration_keys]\nLocalAuthListMaxLength = 5\nSendLocalListMaxLength = 3\n"
PRE_AUTHORIZE = "[configuration_keys]\nLocalPreAuthorize = true\nAllowOfflineTxForUnknownId = false\n"


def entry(id_tag: str, status: str = "Accepted", **info: str) -> Entry:
    return {"idTag": id_tag, "idTagInfo": {"status": status, **info}}


def removal(id_tag: str) -> Entry:
    return {"idTag": id_tag}


def entries(*id_tags: str) -> list[Entry]:
    return [entry(id_tag) for id_tag in id_tags]


class List:
    """The list of a registered charge point, as its CSMS sends it."""

    def __init__(self, station: Station) -> None:
        self.station = station
        if not station.charge_point.endpoint.connected:
            station.register()

    def send(self, kind: str, version: int, content: list[Entry] | None = None) -> str:
        self.station.sent()
        fields = {} if content is None else {"localAuthorizationList": content}
        answer = self.station.csms_calls("SendLocalList", listVersion=version, updateType=kind, **fields)
        status: str = answer["status"]
        return status

    def full(self, version: int, *id_tags: str) -> str:
        return self.send("Full", version, entries(*id_tags))

    def version(self) -> int:
        self.station.sent()
        number: int = self.station.csms_calls("GetLocalListVersion")["listVersion"]
        return number

    def content(self) -> dict[str, str]:
        """What a new process would find on disk: the status of each tag."""
        database = self.station.store._database
        rows = database.execute("SELECT key, json_extract(value, '$.status') FROM record WHERE collection = ?", (NAME,))
        return dict(rows.fetchall())

    def change(self, key: str, value: str) -> None:
        assert self.station.csms_calls("ChangeConfiguration", key=key, value=value) == ACCEPTED


NAME = "local_auth_list"


@pytest.fixture
def one(station: Station) -> List:
    return List(station)


@pytest.fixture
def small(make_station: MakeStation) -> List:
    """At most 5 tags, 3 in one message."""
    return List(make_station(SMALL))


# -- updates


def test_full_update_replaces_everything(one: List) -> None:
    """LL-01."""
    one.full(1, "A", "B")

    assert one.send("Full", 2, [entry("B", "Blocked"), entry("C")]) == "Accepted"

    assert one.content() == {"b": "Blocked", "c": "Accepted"}
    assert one.version() == 2


@pytest.mark.parametrize("content", [None, []], ids=["absent", "empty"])
def test_full_update_without_entries_erases(one: List, content: list[Entry] | None) -> None:
    """LL-01, LL-04; TC_042_2_CS."""
    one.full(3, "A")

    assert one.send("Full", 4, content) == "Accepted"

    assert one.content() == {}
    assert one.version() == 0


@pytest.mark.parametrize("version", [5, 4, 1])
def test_full_update_may_have_any_version(one: List, version: int) -> None:
    """LL-01: also the same or an older one."""
    one.full(5, "A")

    assert one.full(version, "B") == "Accepted"

    assert one.version() == version


def test_differential_update_adds_replaces_and_removes(one: List) -> None:
    """LL-02."""
    one.full(1, "A", "B", "C")

    assert one.send("Differential", 2, [entry("b", "Blocked"), removal("C"), entry("D")]) == "Accepted"

    assert one.content() == {"a": "Accepted", "b": "Blocked", "d": "Accepted"}
    assert one.version() == 2


@pytest.mark.parametrize("content", [None, []], ids=["absent", "empty"])
def test_differential_update_without_entries_sets_the_version(one: List, content: list[Entry] | None) -> None:
    """LL-02."""
    one.full(1, "A")

    assert one.send("Differential", 7, content) == "Accepted"

    assert (one.version(), one.content()) == (7, {"a": "Accepted"})


def test_differential_update_may_be_the_first(one: List) -> None:
    assert one.send("Differential", 1, entries("A")) == "Accepted"
    assert one.version() == 1


@pytest.mark.parametrize("version", [5, 4, 1])
def test_differential_update_of_no_newer_version_is_a_mismatch(one: List, version: int) -> None:
    """LL-03; TC_043_2_CS."""
    one.full(2, "A")
    one.send("Differential", 5, entries("B"))

    assert one.send("Differential", version, [removal("A")]) == "VersionMismatch"

    assert (one.version(), set(one.content())) == (5, {"a", "b"})


def test_removal_of_what_is_not_there_is_no_error(one: List) -> None:
    """LL-09."""
    one.full(1, "A")

    assert one.send("Differential", 2, [removal("B")]) == "Accepted"

    assert (one.version(), set(one.content())) == (2, {"a"})


def test_version_of_a_list_that_became_empty_is_kept_inside(one: List) -> None:
    """LL-09."""
    one.full(4, "A")
    one.send("Differential", 5, [removal("A")])

    assert one.version() == 0
    assert one.send("Differential", 5, entries("B")) == "VersionMismatch"
    assert one.send("Differential", 6, entries("B")) == "Accepted"
    assert one.version() == 6


def test_version_of_an_empty_list_is_0(one: List) -> None:
    """LL-04."""
    assert one.version() == 0


# -- Failed


@pytest.mark.parametrize(
    ("kind", "version", "content"),
    [
        pytest.param("Full", 0, entries("C"), id="Full 0"),
        pytest.param("Full", -1, entries("C"), id="Full -1"),
        pytest.param("Differential", 0, entries("C"), id="Differential 0"),
        pytest.param("Full", 5, [entry("C"), removal("D")], id="Full without idTagInfo"),
        pytest.param("Full", 5, entries("C", "D", "C"), id="a tag twice"),
        pytest.param("Full", 5, entries("C", "c"), id="a tag twice but for case"),
        pytest.param("Differential", 5, [entry("C"), removal("c")], id="a tag twice, once to go"),
        pytest.param("Full", 5, entries("C", "D", "E", "F"), id="more than SendLocalListMaxLength"),
        pytest.param("Differential", 5, entries("D", "E", "F"), id="more than LocalAuthListMaxLength"),
    ],
)
def test_failed_leaves_the_old_list_whole(small: List, kind: str, version: int, content: list[Entry]) -> None:
    """LL-01, LL-05, LL-07; TC_043_3_CS."""
    small.full(1, "A", "B", "C")

    assert small.send(kind, version, content) == "Failed"

    assert (small.version(), small.content()) == (1, dict.fromkeys("abc", "Accepted"))


def test_list_may_be_full_to_the_last_entry(small: List) -> None:
    """LL-07: what is replaced and what goes count."""
    small.full(1, "A", "B", "C")
    assert small.send("Differential", 2, [entry("D"), entry("E")]) == "Accepted"

    assert small.send("Differential", 3, [entry("F"), removal("A"), entry("B", "Blocked")]) == "Accepted"

    assert set(small.content()) == set("bcdef")


@pytest.mark.parametrize("kind", ["Full", "Differential"])
@pytest.mark.parametrize("key", ["c", "e", "f", "version"], ids=["first", "in the middle", "last", "the version"])
def test_write_that_fails_leaves_the_old_list_whole(one: List, kind: str, key: str) -> None:
    """LL-07: on disk and in memory."""
    one.full(1, "A", "B")
    database = one.station.store._database
    database.execute(
        f"""CREATE TEMP TRIGGER broken BEFORE INSERT ON record WHEN NEW.key = '{key}'
            BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END"""
    )

    assert one.send(kind, 2, entries("C", "D", "E", "F")) == "Failed"

    assert (one.version(), one.content()) == (1, dict.fromkeys("ab", "Accepted"))
    database.execute("DROP TRIGGER broken")
    assert one.send("Differential", 2, [removal("A")]) == "Accepted"
    assert (one.version(), one.content()) == (2, {"b": "Accepted"})


def test_disk_that_is_full_leaves_the_old_list_whole(one: List) -> None:
    """LL-07."""
    one.full(1, "A")
    database = one.station.store._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    assert one.full(2, *(f"T{number:019}" for number in range(1000))) == "Failed"

    assert (one.version(), one.content()) == (1, {"a": "Accepted"})
    database.execute("PRAGMA max_page_count = 4294967294").fetchone()
    assert one.full(2, "B") == "Accepted"


# -- persisted, disabled, and large


def test_list_survives_a_restart(one: List) -> None:
    """AU-09."""
    one.full(7, "A", "B")

    one.station.kill()
    one.station.register()

    assert one.version() == 7
    assert one.send("Differential", 7, entries("C")) == "VersionMismatch"
    assert set(one.content()) == {"a", "b"}


def test_disabled_list_has_no_version_and_is_stored(one: List) -> None:
    """LL-04, LL-08; TC_042_1_CS."""
    one.change("LocalAuthListEnabled", "false")

    assert one.full(3, "A") == "Accepted"

    assert one.version() == -1
    one.change("LocalAuthListEnabled", "true")
    assert one.version() == 3


def test_ten_thousand_entries_in_messages_of_a_thousand(one: List) -> None:
    """Limits as the keys say them."""
    for message in range(10):
        tags = [f"{number:08}" for number in range(message * 1000, (message + 1) * 1000)]
        assert one.send("Differential", message + 1, entries(*tags)) == "Accepted"

    assert one.send("Differential", 11, entries("ONE MORE")) == "Failed"
    assert one.full(12, *map(str, range(1001))) == "Failed"
    assert (one.version(), len(one.content())) == (10, 10_000)


@pytest.mark.parametrize("key", ["LocalAuthListMaxLength", "SendLocalListMaxLength"])
def test_limits_are_read_only(one: List, key: str) -> None:
    """7.2."""
    answer = one.station.csms_calls("ChangeConfiguration", key=key, value="9")

    assert answer == {"status": "Rejected"}


# -- what it decides


@pytest.fixture
def site(make_station: MakeStation) -> Site:
    return Site(make_station(PRE_AUTHORIZE))


def send_list(site: Site, *content: Entry, version: int = 1) -> None:
    fields = {"listVersion": version, "updateType": "Full", "localAuthorizationList": list(content)}
    assert site.calls("SendLocalList", **fields) == "Accepted"


def present(site: Site, id_tag: str = "TAG") -> tuple[str, bool]:
    """Its status, and whether the CSMS was asked."""
    site.station.published()
    site.station.publish("request/present_id_tag", {"id_tag": id_tag})
    asked = bool(site.station.line.frames[-1][2:3] == ["Authorize"])
    site.answer()
    (reply,) = site.station.published("response/present_id_tag")
    return reply["data"]["status"], asked


@pytest.mark.parametrize("id_tag", ["TAG", "tag"])
def test_listed_tag_starts_without_authorize(site: Site, id_tag: str) -> None:
    """4.2 row 1, GD-04; TC_008_1_CS."""
    send_list(site, entry("TAG"))

    assert present(site, id_tag) == ("Accepted", False)


@pytest.mark.parametrize(
    "listed",
    [
        entry("TAG", "Blocked"),
        entry("TAG", "Invalid"),
        entry("TAG", "ConcurrentTx"),
        entry("TAG", expiryDate="2026-11-22T09:59:59Z"),
    ],
    ids=["Blocked", "Invalid", "ConcurrentTx", "past its date"],
)
def test_listed_tag_that_is_not_valid_is_asked_for(site: Site, listed: Entry) -> None:
    """4.2 row 5, AU-07, AU-11."""
    send_list(site, listed)

    assert present(site) == ("Accepted", True)


def test_without_local_pre_authorize_the_csms_is_asked(site: Site) -> None:
    """4.2 row 3."""
    send_list(site, entry("TAG"))
    site.calls("ChangeConfiguration", key="LocalPreAuthorize", value="false")

    assert present(site) == ("Accepted", True)


@pytest.mark.parametrize(
    ("listed", "keys", "status"),
    [
        pytest.param(entry("TAG"), {}, "Accepted", id="row 7"),
        pytest.param(entry("TAG"), {"LocalAuthorizeOffline": "false"}, "Invalid", id="row 13"),
        pytest.param(entry("TAG"), {"LocalAuthListEnabled": "false"}, "Invalid", id="disabled"),
        pytest.param(entry("OTHER"), {}, "Invalid", id="row 12"),
        pytest.param(entry("TAG", "Blocked"), {"AllowOfflineTxForUnknownId": "true"}, "Blocked", id="row 9"),
        pytest.param(
            entry("TAG", expiryDate="2026-11-22T09:00:00Z"),
            {"AllowOfflineTxForUnknownId": "true"},
            "Expired",
            id="row 9 expired",
        ),
    ],
)
def test_list_decides_offline_as_the_keys_say(site: Site, listed: Entry, keys: dict[str, str], status: str) -> None:
    """4.2."""
    send_list(site, listed)
    for key, value in keys.items():
        assert site.calls("ChangeConfiguration", key=key, value=value) == "Accepted"
    site.station.disconnect()

    assert present(site) == (status, False)


def cache(site: Site, id_tag: str = "TAG") -> None:
    """The CSMS accepts the tag, which is cached; then it is taken back."""
    assert present(site, id_tag) == ("Accepted", True)
    present(site, id_tag)


def test_list_has_priority_over_the_cache(site: Site) -> None:
    """AU-02."""
    cache(site)
    send_list(site, entry("TAG", "Blocked"))
    site.station.disconnect()

    assert present(site) == ("Blocked", False)


@pytest.mark.parametrize("kind", ["Full", "Differential"])
def test_entry_that_is_learnt_into_the_list_leaves_the_cache(site: Site, kind: str) -> None:
    """LL-10: when it has left the list again nothing is known of it."""
    cache(site)
    cache(site, "OTHER")
    fields: dict[str, Any] = {"updateType": kind, "localAuthorizationList": [entry("tag")]}
    site.calls("SendLocalList", listVersion=1, **fields)

    site.calls("SendLocalList", listVersion=2, updateType="Full")

    site.station.disconnect()
    assert present(site, "TAG") == ("Invalid", False)
    assert present(site, "OTHER") == ("Accepted", False)


def conflict(site: Site) -> None:
    """The list blocks a tag that the CSMS accepts."""
    send_list(site, entry("TAG", "Blocked"))
    site.fresh(0)
    assert present(site) == ("Accepted", True)


def test_contradiction_is_reported_and_changes_no_entry(site: Site) -> None:
    """AU-10, LL-10."""
    conflict(site)

    assert site.told(0) == [("Available", "LocalListConflict")]
    assert List(site.station).content() == {"tag": "Blocked"}


def test_next_list_clears_the_conflict_after_its_answer(site: Site) -> None:
    """AU-10, TR-32."""
    conflict(site)
    site.fresh(0)

    send_list(site, entry("TAG"), version=2)  # checks that the answer comes first

    assert site.told(0) == [("Available", "NoError")]


def test_list_that_is_refused_leaves_the_conflict(site: Site) -> None:
    conflict(site)
    site.fresh(0)

    assert site.calls("SendLocalList", listVersion=0, updateType="Full") == "Failed"

    assert site.told(0) == []


def test_waiting_claim_outlives_an_update(site: Site) -> None:
    send_list(site, entry("TAG"))
    assert present(site) == ("Accepted", False)

    send_list(site, version=2)

    site.state(PLUGGED)
    site.answer()
    assert site.station.shown("connector/1/transaction")["id_tag"] == "TAG"


# -- against a model


class Model:
    """The rules once more, as plainly as can be."""

    def __init__(self) -> None:
        self.version = 0
        self.statuses: dict[str, str] = {}

    def send(self, kind: str, version: int, content: list[Entry]) -> str:
        tags = [item["idTag"].lower() for item in content]
        if version <= 0:
            return "Failed"
        if kind == "Differential" and version <= self.version:
            return "VersionMismatch"
        if len(content) > 3 or len(set(tags)) < len(tags):
            return "Failed"
        if kind == "Full" and not all("idTagInfo" in item for item in content):
            return "Failed"
        after = {} if kind == "Full" else dict(self.statuses)
        for tag, item in zip(tags, content, strict=True):
            if "idTagInfo" in item:
                after[tag] = item["idTagInfo"]["status"]
            else:
                after.pop(tag, None)
        if len(after) > 5:
            return "Failed"
        self.version, self.statuses = version, after
        return "Accepted"


TAGS = st.sampled_from("ABCDEFGHabc")
CONTENT = st.lists(
    st.one_of(st.builds(entry, TAGS, st.sampled_from(["Accepted", "Blocked"])), st.builds(removal, TAGS)), max_size=4
)
UPDATES = st.lists(st.tuples(st.sampled_from(["Full", "Differential"]), st.integers(-1, 12), CONTENT), max_size=12)


@settings(max_examples=60, deadline=None)
@given(updates=UPDATES, killed_after=st.integers(0, 12))
def test_any_sequence_of_updates_does_as_the_rules_say(
    updates: list[tuple[str, int, list[Entry]]], killed_after: int
) -> None:
    """LL-01 … LL-09, over a restart."""
    with TemporaryDirectory() as folder, running_station(Path(folder), SMALL) as station:
        found, model = List(station), Model()
        for number, (kind, version, content) in enumerate(updates):
            assert found.send(kind, version, content) == model.send(kind, version, content)
            assert found.content() == model.statuses
            assert found.version() == (model.version if model.statuses else 0)
            if number == killed_after:
                station.kill()
                station.register()
