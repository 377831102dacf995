"""Everything the charge point must remember: SQLite collections of typed records, and queues on disk.

WAL with ``synchronous=FULL``: what a turn committed survives a power cut. Writing is possible within a turn only.

A record that can't be read any more, as an older or a damaged one, may be money: it is passed over with an error in the
log and stays on disk, for a program or a person that can read it.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, ItemsView, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Entry n brings a store of version n to version n + 1; a new store begins at 0. Semicolons end statements only.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE record (collection TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                         PRIMARY KEY (collection, key)) WITHOUT ROWID;
    CREATE TABLE queued (sequence INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, value TEXT NOT NULL);
    CREATE INDEX queued_by_queue ON queued (queue, sequence);
    """,
)


_BEGIN_ANEW = (
    "put a backup in its place, or move it away with its -wal and -shm to begin anew: "
    "stored configuration keys and what is queued for the CSMS are not there then"
)
_LET_WRITE = "let the user of the daemon write there (storage.directory)"
_REMEDIES = {  # by SQLite's primary result code
    sqlite3.SQLITE_NOTADB: _BEGIN_ANEW,
    sqlite3.SQLITE_CORRUPT: _BEGIN_ANEW,
    sqlite3.SQLITE_FULL: "make room on its file system",
    sqlite3.SQLITE_BUSY: "end the program that has it open",
    sqlite3.SQLITE_READONLY: _LET_WRITE,
    sqlite3.SQLITE_CANTOPEN: _LET_WRITE,
}


class StoreError(Exception):
    """The store can't be used; the text says why and what to do."""


class StoreInUseError(StoreError):
    """Another daemon works on this store."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version of the program."""


class Store:
    """One SQLite file in ``directory`` (made if missing, 0700), locked against a second process.

    Raises:
        StoreError: the folder or file can't be used, another daemon has it, or its version is newer than ours.

    """

    def __init__(self, directory: Path, migrations: tuple[str, ...] = MIGRATIONS) -> None:
        self._path = directory / "store.sqlite"
        self._undo: list[Callable[[], None]] = []  # of this turn's writes
        self._in_turn = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(directory / "lock")
        except OSError as error:
            raise StoreError(f"{directory}: {error.strerror or error}: {_LET_WRITE}") from error
        try:
            self._database = _open(self._path, migrations)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self._database.close()
        os.close(self._lock)

    def collection(self, name: str, record: type[T]) -> "Collection[T]":
        """The records kept under ``name``, in memory and on disk."""
        return Collection(self, name, record)

    def queue(self, name: str, record: type[T]) -> "DiskQueue[T]":
        """The records waiting under ``name``, oldest first, on disk only."""
        return DiskQueue(self, name, record)

    def begin(self) -> None:
        """A turn begins; the database hears of it with the first write only."""
        self._in_turn = True

    def commit(self) -> None:
        """End the turn; what it wrote is on disk when this returns.

        Raises:
            StoreError: it is not; `rollback` is due.

        """
        self._in_turn = False
        if self._undo or self._database.in_transaction:
            self._execute("COMMIT")
            self._undo.clear()

    def rollback(self) -> None:
        """Forget what the turn wrote, on disk and in memory."""
        self._in_turn = False
        while self._undo:
            self._undo.pop()()
        if self._database.in_transaction:  # a full disk may have ended it already
            self._execute("ROLLBACK")

    def write(self, statement: str, parameters: tuple[object, ...], undo: Callable[[], None]) -> sqlite3.Cursor:
        """Execute one changing ``statement``; ``undo`` puts the memory right if the turn fails.

        Raises:
            StoreError: it can't be written.

        """
        if not self._in_turn:
            raise RuntimeError("the store can be changed within a turn only")
        if not self._database.in_transaction:
            if self._undo:  # a full disk ended it: without its beginning the rest of the turn must not be kept
                raise StoreError(f"{self._path}: an earlier write of this turn failed")
            self._execute("BEGIN IMMEDIATE")
        cursor = self._execute(statement, parameters)
        self._undo.append(undo)
        return cursor

    def read(self, statement: str, parameters: tuple[object, ...]) -> list[Any]:
        """All rows that ``statement`` selects.

        Raises:
            StoreError: they can't be read.

        """
        try:
            return self._database.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _execute(self, statement: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, parameters)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def check_writable(self) -> None:
        """Prove that a transaction can begin; nothing is written, so that the flash isn't worn.

        Raises:
            StoreError: it can't: read-only, locked, broken.

        """
        if not self._database.in_transaction:
            self._execute("BEGIN IMMEDIATE")
            self._execute("ROLLBACK")


class Collection(Generic[T]):
    """Records by key, in no particular order. Reading costs a dictionary look-up.

    Records are not changed in place but put again.
    """

    def __init__(self, store: Store, name: str, record: type[T]) -> None:
        self._store = store
        self._name = name
        self._record = record
        self._records: dict[str, T] = {}
        for key, value in store.read("SELECT key, value FROM record WHERE collection = ?", (name,)):
            try:
                self._records[key] = self._adapter.validate_json(value)
            except ValidationError as error:
                logger.error("%s", _passed_over(f"record {key} of {name}", error))  # noqa: TRY400 - it would show the value

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:  # built at its first use, not at each start
        return TypeAdapter(self._record)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def items(self) -> ItemsView[str, T]:
        return self._records.items()

    def get(self, key: str, default: T | None = None) -> T | None:
        return self._records.get(key, default)

    def put(self, key: str, record: T) -> None:
        """Keep ``record`` under ``key``; nothing is written where it is there already."""
        former = self._records.get(key)
        if former == record:
            return
        value = self._adapter.dump_json(record).decode()
        self._store.write(
            "INSERT INTO record VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (self._name, key, value),
            lambda: self._restore(key, former),
        )
        self._records[key] = record

    def delete(self, key: str) -> None:
        former = self._records.get(key)
        if former is None:
            return
        self._store.write(
            "DELETE FROM record WHERE collection = ? AND key = ?", (self._name, key), lambda: self._restore(key, former)
        )
        del self._records[key]

    def clear(self) -> None:
        """Delete all records."""
        former = dict(self._records)
        if former:
            statement = "DELETE FROM record WHERE collection = ?"
            self._store.write(statement, (self._name,), lambda: self._records.update(former))
            self._records.clear()

    def _restore(self, key: str, former: T | None) -> None:
        if former is None:
            self._records.pop(key, None)
        else:
            self._records[key] = former


class DiskQueue(Generic[T]):
    """Records in the order in which they were appended; only their number is kept in memory."""

    def __init__(self, store: Store, name: str, record: type[T]) -> None:
        self._store = store
        self._name = name
        self._record = record
        self._passed_over: set[int] = set()
        self._later: list[int] = []  # taken out in memory, and soon on disk
        self._length: int
        ((self._length,),) = store.read("SELECT count(*) FROM queued WHERE queue = ?", (name,))

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self._record)

    def __len__(self) -> int:
        """How many there are, with those that can't be read."""
        return self._length - len(self._later)

    def append(self, record: T) -> int:
        """Queue ``record`` and return its sequence number."""
        statement = "INSERT INTO queued (queue, value) VALUES (?, ?)"
        cursor = self._store.write(statement, (self._name, self._json(record)), self._restore_length())
        self._length += 1
        return cursor.lastrowid or 0

    def head(self) -> tuple[int, T] | None:
        """The oldest record that can be read, and its sequence number."""
        statement = "SELECT sequence, value FROM queued WHERE queue = ? AND sequence > ? ORDER BY sequence LIMIT 1"
        sequence = self._taken_out()
        while rows := self._store.read(statement, (self._name, sequence)):
            ((sequence, value),) = rows
            try:
                return sequence, self._adapter.validate_json(value)
            except ValidationError as error:
                self._pass_over(sequence, error)
        return None

    def _taken_out(self) -> int:
        """Up to this sequence number all are gone already, though they may be on disk still."""
        return self._later[-1] if self._later else 0

    def _pass_over(self, sequence: int, error: ValidationError) -> None:
        if sequence not in self._passed_over:
            self._passed_over.add(sequence)
            logger.error("%s", _passed_over(f"entry {sequence} of the queue {self._name}", error))

    def __iter__(self) -> Iterator[tuple[int, T]]:
        """All records that can be read, oldest first, each with its sequence number."""
        statement = "SELECT sequence, value FROM queued WHERE queue = ? AND sequence > ? ORDER BY sequence"
        for sequence, value in self._store.read(statement, (self._name, self._taken_out())):
            try:
                yield sequence, self._adapter.validate_json(value)
            except ValidationError as error:
                self._pass_over(sequence, error)

    def replace(self, sequence: int, record: T) -> None:
        """Put ``record`` in the place of one that is queued."""
        statement = "UPDATE queued SET value = ? WHERE queue = ? AND sequence = ?"
        self._store.write(statement, (self._json(record), self._name, sequence), lambda: None)

    def remove(self, sequence: int) -> None:
        """Take a record out; nothing happens where it is gone already."""
        statement = "DELETE FROM queued WHERE queue = ? AND sequence = ?"
        self._length -= self._store.write(statement, (self._name, sequence), self._restore_length()).rowcount

    def remove_later(self, sequence: int) -> int:
        """Take the head out of the queue; on disk it stays until `remove_now`. Returns how many wait for that."""
        self._later.append(sequence)
        return len(self._later)

    def remove_now(self) -> None:
        """Take from the disk what `remove_later` was told."""
        if self._later:
            later, self._later = self._later, []
            places = ",".join("?" * len(later))
            statement = f"DELETE FROM queued WHERE queue = ? AND sequence IN ({places})"  # noqa: S608 - question marks
            undo = self._restore_later(later, self._restore_length())
            self._length -= self._store.write(statement, (self._name, *later), undo).rowcount

    def _restore_later(self, later: list[int], restore_length: Callable[[], None]) -> Callable[[], None]:
        def undo() -> None:
            restore_length()
            self._later = later + self._later

        return undo

    def clear(self) -> None:
        """Take all records out."""
        self.remove_now()
        statement = "DELETE FROM queued WHERE queue = ?"
        self._length -= self._store.write(statement, (self._name,), self._restore_length()).rowcount

    def sequences(self, beginning: str, most: int) -> list[int]:
        """The sequence numbers of the oldest records whose JSON begins with ``beginning``."""
        statement = """SELECT sequence FROM queued WHERE queue = ? AND sequence > ? AND substr(value, 1, ?) = ?
                       ORDER BY sequence LIMIT ?"""
        rows = self._store.read(statement, (self._name, self._taken_out(), len(beginning), beginning, most))
        return [sequence for (sequence,) in rows]

    def _restore_length(self) -> Callable[[], None]:
        former = self._length

        def undo() -> None:
            self._length = former

        return undo

    def _json(self, record: T) -> str:
        return self._adapter.dump_json(record).decode()


def _passed_over(what: str, error: ValidationError) -> str:
    """Why a record can't be used, without showing it: it may hold a secret."""
    reasons = "; ".join(
        f"{'.'.join(map(str, details['loc']))}: {details['msg']}".removeprefix(": ")
        for details in error.errors(include_input=False, include_url=False, include_context=False)
    )
    return f"{what} can't be read by this version and is passed over, it stays in the store: {reasons}"


def _unusable(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
    why = error.strerror if isinstance(error, OSError) else error
    return StoreError(f"{path}: {why}: {_REMEDIES.get(code, 'see whether its file system is sound')}")


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):  # a file system that knows no locks
            raise
        raise StoreInUseError(
            f"{path.parent} is in use by process {owner}: "
            "stop that one first, or give this one a storage.directory of its own"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _open(path: Path, migrations: tuple[str, ...]) -> sqlite3.Connection:
    database: sqlite3.Connection | None = None
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _migrate(database, path, migrations)
    except BaseException as error:
        if database is not None:
            database.close()
        if isinstance(error, OSError | sqlite3.Error):
            raise _unusable(path, error) from error
        raise
    return database


def _migrate(database: sqlite3.Connection, path: Path, migrations: tuple[str, ...]) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StoreTooNewError(
            f"{path} has version {version}, this program knows up to {len(migrations)}: install the newer program again"
        )
    if version == len(migrations):
        return
    database.execute("BEGIN IMMEDIATE")  # closing the database rolls back
    for script in migrations[version:]:
        for statement in filter(str.strip, script.split(";")):
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {len(migrations)}")
    database.execute("COMMIT")
    if version:
        logger.info("%s migrated from version %s to %s", path, version, len(migrations))
