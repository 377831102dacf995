"""Everything the charge point must remember: SQLite collections of typed records, and queues on disk.

WAL with ``synchronous=FULL``: what a turn committed survives a power cut. Writing is possible within a turn only.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, ItemsView, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Entry n brings a store of version n to version n + 1; a new store begins at 0.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE record (collection TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                         PRIMARY KEY (collection, key)) WITHOUT ROWID;
    CREATE TABLE queued (sequence INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, value TEXT NOT NULL);
    CREATE INDEX queued_by_queue ON queued (queue, sequence);
    """,
)


class StoreError(Exception):
    """The store cannot be opened; the text says why and what to do."""


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
        self._undo: list[Callable[[], None]] = []
        self._writing = False
        self._in_turn = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(directory / "lock")
        except OSError as error:
            raise StoreError(f"storage.directory {directory}: {error.strerror or error}") from error
        try:
            self._database = _open(directory / "store.sqlite", migrations)
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
        self._in_turn = False
        if self._writing:
            self._database.execute("COMMIT")
            self._writing = False
        self._undo.clear()

    def rollback(self) -> None:
        """Forget what the turn wrote, on disk and in memory."""
        self._in_turn = False
        if self._writing:
            self._writing = False
            if self._database.in_transaction:  # a full disk may have ended it already
                self._database.execute("ROLLBACK")
        while self._undo:
            self._undo.pop()()

    def write(self, statement: str, parameters: tuple[object, ...], undo: Callable[[], None]) -> int:
        """Execute one changing ``statement``; ``undo`` puts the memory right if the turn fails. Returns the row id."""
        if not self._in_turn:
            raise RuntimeError("the store can be changed within a turn only")
        if not self._writing:
            self._database.execute("BEGIN IMMEDIATE")
            self._writing = True
        row_id = self._database.execute(statement, parameters).lastrowid
        self._undo.append(undo)
        return row_id or 0

    def read(self, statement: str, parameters: tuple[object, ...]) -> sqlite3.Cursor:
        return self._database.execute(statement, parameters)

    def check_writable(self) -> None:
        """Prove that a transaction can begin; nothing is written, so that the flash isn't worn.

        Raises:
            StoreError: it can't: read-only, locked, broken.

        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error


class Collection(Generic[T]):
    """Records by key. Reading costs a dictionary look-up; records are not changed in place but put again."""

    def __init__(self, store: Store, name: str, record: type[T]) -> None:
        self._store = store
        self._name = name
        self._adapter: TypeAdapter[T] = TypeAdapter(record)
        rows = store.read("SELECT key, value FROM record WHERE collection = ?", (name,))
        self._records: dict[str, T] = {key: self._adapter.validate_json(value) for key, value in rows}

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
        self._adapter: TypeAdapter[T] = TypeAdapter(record)
        self._length: int
        (self._length,) = store.read("SELECT count(*) FROM queued WHERE queue = ?", (name,)).fetchone()

    def __len__(self) -> int:
        return self._length

    def append(self, record: T) -> int:
        """Queue ``record`` and return its sequence number."""
        sequence = self._store.write(
            "INSERT INTO queued (queue, value) VALUES (?, ?)", (self._name, self._json(record)), self._count(+1)
        )
        self._length += 1
        return sequence

    def head(self) -> tuple[int, T] | None:
        """The oldest record and its sequence number."""
        row = self._store.read(
            "SELECT sequence, value FROM queued WHERE queue = ? ORDER BY sequence LIMIT 1", (self._name,)
        ).fetchone()
        return None if row is None else (row[0], self._adapter.validate_json(row[1]))

    def replace(self, sequence: int, record: T) -> None:
        self._store.write(
            "UPDATE queued SET value = ? WHERE sequence = ?", (self._json(record), sequence), lambda: None
        )

    def remove(self, sequence: int) -> None:
        self._store.write("DELETE FROM queued WHERE sequence = ?", (sequence,), self._count(-1))
        self._length -= 1

    def _count(self, change: int) -> Callable[[], None]:
        def undo() -> None:
            self._length -= change

        return undo

    def _json(self, record: T) -> str:
        return self._adapter.dump_json(record).decode()


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreInUseError(
            f"{path.parent} is in use by process {owner}: stop that one first, or give this one a storage.directory of its own"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _open(path: Path, migrations: tuple[str, ...]) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        database = sqlite3.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _migrate(database, path, migrations)
    except BaseException as error:
        database.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{path}: {error}") from error
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
    database.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[version:]:
            for statement in filter(str.strip, script.split(";")):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(migrations)}")
        database.execute("COMMIT")
    except sqlite3.Error:
        database.execute("ROLLBACK")
        raise
    if version:
        logger.info("%s migrated from version %s to %s", path, version, len(migrations))
