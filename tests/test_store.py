"""What is committed survives, what isn't leaves nothing: not on disk, and not in memory."""

import logging
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ocpp16_bridge.store import (
    MIGRATIONS,
    Collection,
    DiskQueue,
    Store,
    StoreError,
    StoreInUseError,
    StoreTooNewError,
)
from ocpp16_bridge.turn import Turns


@dataclass(frozen=True)
class Message:
    action: str
    payload: dict[str, Any]
    attempts: int = 0


FIRST = Message("StartTransaction", {"connectorId": 1, "meterStart": 12})
SECOND = Message("StopTransaction", {"transactionId": 7})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path)) as one:
        yield one


def turn(store: Store) -> Any:
    return Turns(store).turn()


def on_disk(directory: Path, query: str) -> list[Any]:
    """What another program sees: committed rows."""
    with closing(sqlite3.connect(directory / "store.sqlite")) as database:
        return database.execute(query).fetchall()


def execute(directory: Path, statement: str, *parameters: object) -> None:
    """Change a closed store behind its back."""
    with closing(sqlite3.connect(directory / "store.sqlite")) as database, database:
        database.execute(statement, parameters)


# -- the file


def test_a_commit_is_on_disk_when_it_returns(store: Store) -> None:
    """WAL is synced at each commit only with synchronous=FULL."""
    assert store.read("PRAGMA journal_mode", ()) == [("wal",)]
    assert store.read("PRAGMA synchronous", ()) == [(2,)]


def test_nobody_else_can_read_the_store(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "bridge"
    former = os.umask(0o022)
    try:
        with closing(Store(directory)) as store, turn(store):
            store.collection("key", str).put("AuthorizationKey", "secret")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())}
    finally:
        os.umask(former)

    assert modes.pop("bridge") == 0o700
    assert set(modes) == {"lock", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm"}
    assert set(modes.values()) == {0o600}


HOLD = """
import sys
from pathlib import Path
from ocpp16_bridge.store import Store
store = Store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_which_one_has_the_store(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"

        with pytest.raises(StoreInUseError, match=f"{tmp_path} is in use by process {holder.pid}: stop that one"):
            Store(tmp_path)

        holder.kill()

    Store(tmp_path).close()  # the lock ends with its process


def test_a_refused_store_can_be_opened_later(tmp_path: Path) -> None:
    with closing(Store(tmp_path)), pytest.raises(StoreInUseError):
        Store(tmp_path)

    Store(tmp_path).close()


KILL = """
import os, signal, sys
from pathlib import Path
from ocpp16_bridge.store import Store
from ocpp16_bridge.turn import Turns
store = Store(Path(sys.argv[1]))
records, queue = store.collection("record", int), store.queue("queue", str)
with Turns(store).turn():
    records.put("kept", 1)
    queue.append("kept")
with Turns(store).turn():
    records.put("kept", 2)
    records.put("lost", 3)
    queue.append("lost")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_amid_a_turn_keeps_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILL, str(tmp_path)], check=False)

    assert killed.returncode == -signal.SIGKILL
    with closing(Store(tmp_path)) as store:
        assert dict(store.collection("record", int).items()) == {"kept": 1}
        queue = store.queue("queue", str)
        assert (len(queue), queue.head()) == (1, (1, "kept"))


# -- versions


def test_a_store_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path, (*MIGRATIONS, "CREATE TABLE later (x)")).close()

    with pytest.raises(StoreTooNewError, match="has version 2, this program knows up to 1: install the newer program"):
        Store(tmp_path)

    assert on_disk(tmp_path, "PRAGMA user_version") == [(2,)]


def test_a_store_of_an_older_program_is_migrated_and_keeps_its_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store(tmp_path)) as store, turn(store):
        store.collection("counter", int).put("a", 41)
    caplog.set_level(logging.INFO)

    increment = "UPDATE record SET value = value + 1"
    with closing(Store(tmp_path, (*MIGRATIONS, increment, f"{increment}; {increment}"))) as store:
        assert store.collection("counter", int).get("a") == 44

    assert "migrated from version 1 to 3" in caplog.text
    assert on_disk(tmp_path, "PRAGMA user_version") == [(3,)]


def test_a_migration_that_fails_leaves_the_older_version_untouched(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store, turn(store):
        store.collection("counter", int).put("a", 1)

    with pytest.raises(StoreError, match="no such table: nowhere"):
        Store(tmp_path, (*MIGRATIONS, "CREATE TABLE half (x); DELETE FROM record; DROP TABLE nowhere"))

    with closing(Store(tmp_path)) as store:
        assert store.collection("counter", int).get("a") == 1
        assert store.read("SELECT name FROM sqlite_master WHERE name = 'half'", ()) == []


# -- what can't be opened


def not_a_database(directory: Path) -> None:
    (directory / "store.sqlite").write_bytes(b"this is no database" * 100)


def damaged(directory: Path) -> None:
    with closing(Store(directory)) as store, turn(store):
        store.collection("big", str).put("a", "x" * 100_000)
    with (directory / "store.sqlite").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


@pytest.mark.parametrize("spoil", [not_a_database, damaged])
def test_a_spoilt_file_is_refused_with_the_remedy(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path)

    def use() -> None:
        with closing(Store(tmp_path)) as store:
            store.collection("big", str)

    with pytest.raises(StoreError, match=r"store\.sqlite: .*: put a backup in its place, or move it away"):
        use()


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everywhere."""
    former = os.geteuid()
    if former == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(former)


@pytest.mark.parametrize("name", ["", "below/state"], ids=["the folder", "a folder above"])
def test_a_folder_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with without_privileges(), pytest.raises(StoreError, match="Permission denied: let the user of the daemon write"):
        Store(locked / name)


def test_a_file_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").mkdir()

    with pytest.raises(StoreError, match=r"store\.sqlite: Is a directory: let the user of the daemon write"):
        Store(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(StoreError, match="File exists"):
        Store(tmp_path / "state")


# -- records


@pytest.mark.parametrize(
    ("record", "value"),
    [(Message, FIRST), (str, "ü\n\0"), (int, -(2**62)), (bool, False), (dict[str, int], {"a": 1})],
    ids=["dataclass", "str", "int", "bool", "dict"],
)
def test_records_are_the_same_after_a_restart(tmp_path: Path, record: Any, value: object) -> None:
    with closing(Store(tmp_path)) as store, turn(store):
        store.collection("records", record).put("key", value)
        store.queue("records", record).append(value)

    with closing(Store(tmp_path)) as store:
        assert store.collection("records", record).get("key") == value
        assert store.queue("records", record).head() == (1, value)


def test_a_collection_reads_like_a_dictionary(store: Store) -> None:
    records = store.collection("records", int)
    with turn(store):
        records.put("a", 1)
        records.put("b", 2)
        records.delete("a")
        records.delete("never there")

    assert ("a" in records, "b" in records, len(records), list(records)) == (False, True, 1, ["b"])
    assert (records.get("b"), records.get("a"), records.get("a", 7)) == (2, None, 7)


def test_collections_and_queues_do_not_see_each_others_records(store: Store) -> None:
    with turn(store):
        store.collection("one", int).put("key", 1)
        sequence = store.queue("one", int).append(1)
    other = store.queue("other", int)
    with turn(store):
        store.collection("other", int).delete("key")
        other.replace(sequence, 2)
        other.remove(sequence)

    assert store.collection("one", int).get("key") == 1
    assert store.queue("one", int).head() == (sequence, 1)
    assert (len(other), other.head()) == (0, None)


def test_a_queue_keeps_the_order_and_never_uses_a_number_again(store: Store) -> None:
    queue = store.queue("queue", Message)
    with turn(store):
        first, second = queue.append(FIRST), queue.append(SECOND)
        queue.replace(first, replace(FIRST, attempts=1))
    assert queue.head() == (first, replace(FIRST, attempts=1))

    with turn(store):
        queue.remove(first)
        queue.remove(second)
    with turn(store):
        third = queue.append(FIRST)

    assert first < second < third
    assert (len(queue), queue.head()) == (1, (third, FIRST))


def test_removing_what_is_gone_changes_nothing(store: Store) -> None:
    queue = store.queue("queue", int)
    with turn(store):
        sequence = queue.append(1)
        queue.append(2)
        queue.remove(sequence)
        queue.remove(sequence)

    assert len(queue) == 1


# -- records that can't be read any more


def test_an_unreadable_record_is_named_passed_over_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(Store(tmp_path)) as store, turn(store):
        store.collection("session", str).put("1", "s3cret")
        store.collection("session", str).put("2", "12")

    with closing(Store(tmp_path)) as store:
        assert dict(store.collection("session", int).items()) == {"2": 12}

    (line,) = caplog.messages
    assert line.startswith(
        "record 1 of session can't be read by this version and is passed over, it stays in the store"
    )
    assert "valid integer" in line
    assert "s3cret" not in caplog.text
    with closing(Store(tmp_path)) as store:
        assert store.collection("session", str).get("1") == "s3cret"


def test_an_unreadable_entry_does_not_hold_up_a_queue_and_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store(tmp_path)) as store, turn(store):
        store.queue("transactions", Message).append(FIRST)
        store.queue("transactions", Message).append(SECOND)
    execute(tmp_path, 'UPDATE queued SET value = \'{"payload":{"idTag":"s3cret"}}\' WHERE sequence = 1')

    with closing(Store(tmp_path)) as store:
        queue = store.queue("transactions", Message)
        assert [queue.head(), queue.head()] == [(2, SECOND), (2, SECOND)]
        with turn(store):
            queue.remove(2)
        assert (len(queue), queue.head()) == (1, None)

    (line,) = caplog.messages  # once
    assert "entry 1 of the queue transactions" in line
    assert "action: Field required" in line
    assert "s3cret" not in caplog.text
    assert on_disk(tmp_path, "SELECT sequence FROM queued") == [(1,)]


# -- turns


def test_writing_outside_a_turn_is_refused(store: Store) -> None:
    records, queue = store.collection("records", int), store.queue("queue", int)

    with pytest.raises(RuntimeError, match="within a turn only"):
        records.put("a", 1)
    with pytest.raises(RuntimeError, match="within a turn only"):
        queue.append(1)

    assert (len(records), len(queue)) == (0, 0)


def test_a_turn_that_changes_no_record_commits_nothing(store: Store) -> None:
    records, queue = store.collection("records", Message), store.queue("queue", int)
    with turn(store):
        records.put("a", FIRST)
    statements: list[str] = []
    store._database.set_trace_callback(statements.append)

    with turn(store):
        records.put("a", replace(FIRST))  # the same again
        records.get("a")
        records.delete("b")
        queue.head()
    assert [statement for statement in statements if not statement.startswith("SELECT")] == []

    with turn(store):
        records.put("a", SECOND)
        queue.append(1)
    assert (statements.count("BEGIN IMMEDIATE"), statements.count("COMMIT")) == (1, 1)


def test_what_a_turn_writes_is_seen_by_others_after_its_end_only(tmp_path: Path, store: Store) -> None:
    with turn(store):
        store.queue("queue", int).append(1)
        assert on_disk(tmp_path, "SELECT count(*) FROM queued") == [(0,)]
    assert on_disk(tmp_path, "SELECT count(*) FROM queued") == [(1,)]


def fill(store: Store) -> tuple[Collection[str], DiskQueue[str]]:
    records, queue = store.collection("records", str), store.queue("queue", str)
    with turn(store):
        records.put("a", "before")
        queue.append("before")
    return records, queue


def state(records: Collection[str], queue: DiskQueue[str]) -> object:
    return dict(records.items()), len(queue), queue.head()


BEFORE = ({"a": "before"}, 1, (1, "before"))


def test_a_full_disk_fails_the_turn_and_the_next_one_works(store: Store) -> None:
    records, queue = fill(store)
    ((pages,),) = store.read("PRAGMA page_count", ())
    store.read(f"PRAGMA max_page_count = {pages}", ())

    def handler() -> None:
        with turn(store):
            records.put("a", "after")
            queue.append("x" * 100_000)

    with pytest.raises(StoreError, match="full: make room on its file system"):
        handler()
    assert state(records, queue) == BEFORE

    store.read("PRAGMA max_page_count = 1000", ())
    with turn(store):
        records.put("a", "after")
    assert records.get("a") == "after"


def test_a_handler_that_goes_on_after_a_full_disk_keeps_no_half_of_its_turn(tmp_path: Path, store: Store) -> None:
    """SQLite ends the transaction of its own accord then."""
    records, queue = fill(store)
    ((pages,),) = store.read("PRAGMA page_count", ())
    store.read(f"PRAGMA max_page_count = {pages}", ())

    def careless() -> None:
        with turn(store):
            records.put("a", "after")
            with pytest.raises(StoreError):
                queue.append("x" * 100_000)
            records.put("b", "alone")

    with pytest.raises(StoreError):
        careless()

    assert state(records, queue) == BEFORE
    assert on_disk(tmp_path, "SELECT key, value FROM record") == [("a", '"before"')]


@contextmanager
def files_cannot_grow() -> Iterator[None]:
    """Writing fails at the commit, as with a full file system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_commit_that_fails_leaves_the_state_as_before_and_the_next_turn_works(tmp_path: Path, store: Store) -> None:
    records, queue = fill(store)

    def handler() -> None:
        with turn(store):
            records.put("a", "after")
            queue.remove(1)
            queue.append("after")

    with files_cannot_grow(), pytest.raises(StoreError):
        handler()
    assert state(records, queue) == BEFORE
    assert on_disk(tmp_path, "SELECT value FROM record") == [('"before"',)]

    handler()
    assert state(records, queue) == ({"a": "after"}, 1, (2, "after"))


def test_whether_it_can_be_written_is_told_without_writing(tmp_path: Path, store: Store) -> None:
    ((before,),) = on_disk(tmp_path, "PRAGMA data_version")
    store.check_writable()
    with turn(store):
        store.collection("records", int).put("a", 1)
        store.check_writable()  # within a turn that writes, too
    assert on_disk(tmp_path, "PRAGMA data_version") == [(before,)]

    store.read("PRAGMA busy_timeout = 0", ())
    with closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked: end the program that has it open"):
            store.check_writable()


class Model(RuleBasedStateMachine):
    """The store against dictionaries and lists: any writes in any order, committed, rolled back, opened again."""

    directory: Path
    keys = st.sampled_from("abc")
    names = st.sampled_from(("one", "two"))
    places = st.integers(0, 5)

    @initialize()
    def begin(self) -> None:
        self.store = Store(self.directory)
        # Records, what is queued, and what is taken out of the queue but on disk still.
        self.committed: dict[str, tuple[dict[str, int], list[tuple[int, int]], list[tuple[int, int]]]] = {
            "one": ({}, [], []),
            "two": ({}, [], []),
        }
        self.in_turn = False
        self.open()

    def open(self) -> None:
        self.records = {name: self.store.collection(name, int) for name in self.committed}
        self.queues = {name: self.store.queue(name, int) for name in self.committed}
        self.forget()

    def forget(self) -> None:
        self.model = {
            name: (dict(records), list(queue), list(out)) for name, (records, queue, out) in self.committed.items()
        }

    @precondition(lambda self: not self.in_turn)
    @rule()
    def turn_begins(self) -> None:
        self.store.begin()
        self.in_turn = True

    @precondition(lambda self: self.in_turn)
    @rule()
    def turn_commits(self) -> None:
        self.store.commit()
        self.in_turn = False
        self.committed = self.model
        self.forget()

    @precondition(lambda self: self.in_turn)
    @rule()
    def turn_fails(self) -> None:
        self.store.rollback()
        self.in_turn = False
        self.forget()

    @rule()
    def process_is_killed(self) -> None:
        self.store.close()
        self.store = Store(self.directory)
        self.in_turn = False
        for _, queue, out in self.committed.values():
            queue[:0] = out
            out.clear()
        self.open()

    @precondition(lambda self: self.in_turn)
    @rule(name=names, key=keys, value=places)
    def put(self, name: str, key: str, value: int) -> None:
        self.records[name].put(key, value)
        self.model[name][0][key] = value

    @precondition(lambda self: self.in_turn)
    @rule(name=names, key=keys)
    def delete(self, name: str, key: str) -> None:
        self.records[name].delete(key)
        self.model[name][0].pop(key, None)

    @precondition(lambda self: self.in_turn)
    @rule(name=names, value=places)
    def append(self, name: str, value: int) -> None:
        sequence = self.queues[name].append(value)
        assert all(sequence > number for _, queue, out in self.model.values() for number, _ in out + queue)
        self.model[name][1].append((sequence, value))

    @precondition(lambda self: self.in_turn)
    @rule(name=names, place=places, value=places)
    def replace(self, name: str, place: int, value: int) -> None:
        queue = self.model[name][1]
        sequence = queue[place][0] if place < len(queue) else 1000
        self.queues[name].replace(sequence, value)
        queue[place : place + 1] = [(sequence, value)] if place < len(queue) else []

    @precondition(lambda self: self.in_turn)
    @rule(name=names, place=places)
    def remove(self, name: str, place: int) -> None:
        queue = self.model[name][1]
        self.queues[name].remove(queue[place][0] if place < len(queue) else 1000)
        del queue[place : place + 1]

    @precondition(lambda self: not self.in_turn)
    @rule(name=names)
    def take_the_head_out(self, name: str) -> None:
        """On disk it stays, until `remove_now` or for the next process."""
        _, queue, out = self.committed[name]
        if queue:
            out.append(queue.pop(0))
            assert self.queues[name].remove_later(out[-1][0]) == len(out)
            self.forget()

    @precondition(lambda self: self.in_turn)
    @rule(name=names)
    def remove_what_was_taken_out(self, name: str) -> None:
        self.queues[name].remove_now()
        self.model[name][2].clear()

    @precondition(lambda self: self.in_turn)
    @rule(name=names)
    def clear(self, name: str) -> None:
        self.queues[name].clear()
        self.model[name][1].clear()
        self.model[name][2].clear()

    @invariant()
    def memory_and_disk_are_as_the_model(self) -> None:
        for name, (records, queue, out) in getattr(self, "model", {}).items():
            assert dict(self.records[name].items()) == records
            assert dict(self.store.collection(name, int).items()) == records
            assert len(self.queues[name]) == len(queue)
            assert self.queues[name].head() == (queue[0] if queue else None)
            assert list(self.queues[name]) == queue
            assert self.queues[name].sequences("3", 2) == [number for number, value in queue if value == 3][:2]
            rows = self.store.read("SELECT sequence, value FROM queued WHERE queue = ? ORDER BY 1", (name,))
            assert [(sequence, int(value)) for sequence, value in rows] == out + queue

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


def test_any_writes_end_as_in_dictionaries_and_lists(tmp_path_factory: pytest.TempPathFactory) -> None:
    class InDirectory(Model):
        def __init__(self) -> None:
            self.directory = tmp_path_factory.mktemp("store")
            super().__init__()

    run_state_machine_as_test(
        InDirectory, settings=settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
    )
