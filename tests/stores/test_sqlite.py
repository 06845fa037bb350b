"""The SQLite store keeps the promises of every store, also across restarts and crashes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TypeAlias

import apsw
import pytest

from pushline.errors import ConfigurationError, StoreError, StoreFull
from pushline.messages import Message, Policy, format_id
from pushline.protocol.codes import REPLACED
from pushline.protocol.tokens import Claims
from pushline.stores import open_store, sqlite
from pushline.stores.base import (
    Acknowledge,
    Append,
    Connect,
    Connected,
    Create,
    Outcome,
    Refused,
    Retention,
    Store,
)
from pushline.stores.sqlite import DATABASE, SqliteStore
from pushline.testing.stores import NOW, RestartingStoreConformance, StoreConformance


class TestSqliteStore(StoreConformance):
    def make_store(self, folder: Path, retention: Retention) -> SqliteStore:
        return SqliteStore(folder / DATABASE, retention)


class TestSqliteStoreAfterRestarts(RestartingStoreConformance):
    def make_store(self, folder: Path, retention: Retention) -> SqliteStore:
        return SqliteStore(folder / DATABASE, retention)


class TestSqliteStoreAfterCrashes(TestSqliteStoreAfterRestarts):
    """What ``kill -9`` leaves: the files as they are between two commits."""

    def reopen(self, store: Store) -> Store:
        crashed = self._folder
        self._folder = crashed.with_name(crashed.name + "+")
        shutil.copytree(crashed, self._folder)
        store.close()
        return self.make_store(self._folder, self._retention)


Checkpoints: TypeAlias = "Queue[tuple[int, tuple[int, int] | None]]"
"""The checkpoints that were made: their mode, and the pages of the log and how many were moved; None: it failed."""


class Disk:
    """The store's database as seen from beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self.connections: list[apsw.Connection] = []
        self.store = self.open()

    def open(self, retention: Retention | None = None) -> SqliteStore:
        with self.watching():
            self.store = SqliteStore(self.path, retention)
        return self.store

    @contextmanager
    def watching(self) -> Iterator[None]:
        apsw.connection_hooks.append(self.connections.append)
        try:
            yield
        finally:
            apsw.connection_hooks.remove(self.connections.append)

    @property
    def connection(self) -> apsw.Connection:
        """The connection with which the store writes: the first that it opened."""
        return self.connections[0]

    def reopen(self) -> SqliteStore:
        self.store.close()
        self.connections.clear()
        return self.open()

    def kill(self) -> SqliteStore:
        """Open what ``kill -9`` would have left."""
        crashed = self.path.parent
        folder = crashed.with_name(crashed.name + "+")
        shutil.copytree(crashed, folder)
        self.store.close()
        self.path = folder / DATABASE
        self.connections.clear()
        return self.open()

    def rows(self, table: str) -> int:
        connection = apsw.Connection(str(self.path))
        try:
            ((count,),) = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a table of ours
        finally:
            connection.close()
        assert isinstance(count, int)
        return count

    @contextmanager
    def refusing(self, action: int) -> Iterator[None]:
        """The store's connection is refused one kind of action."""
        self.connection.authorizer = lambda kind, *_: apsw.SQLITE_DENY if kind == action else apsw.SQLITE_OK
        try:
            yield
        finally:
            self.connection.authorizer = None

    def fill(self) -> None:
        """From now on the disk has no room."""
        self.connection.pragma("max_page_count", self.connection.pragma("page_count"))

    def free(self) -> None:
        """From now on it has room again."""
        self.connection.pragma("max_page_count", 1 << 30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "data"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    disk.store.close()


def create(store: SqliteStore, client_id: str = "ann", seconds: int = 3600, now: float = NOW) -> Claims:
    (outcome,) = store.commit([Create(client_id, seconds, Policy.REPLACE)], now)
    assert isinstance(outcome, Claims)
    return outcome


def append(
    store: SqliteStore, data: bytes, client_id: str = "ann", now: float = NOW, key: str | None = None
) -> Outcome:
    (outcome,) = store.commit([Append(client_id, data, key)], now)
    return outcome


def texts(store: SqliteStore, client_id: str = "ann", now: float = NOW) -> list[bytes]:
    found: list[bytes] = []
    after, complete = 0, False
    while not complete:
        read = store.read(client_id, after, now)
        found += [message.data for message in read.messages]
        after, complete = read.upto, read.complete
    return found


def sweep(store: SqliteStore, now: float) -> None:
    while store.sweep(now):
        pass


class TestOpening:
    def test_the_name_is_found_in_the_table_of_stores(self, tmp_path: Path) -> None:
        store = open_store("sqlite", tmp_path, Retention())
        assert isinstance(store, SqliteStore)
        store.close()
        assert (tmp_path / DATABASE).exists()

    def test_a_database_of_another_version_is_refused_in_a_sentence(self, disk: Disk) -> None:
        disk.connection.pragma("user_version", 99)
        disk.store.close()
        with pytest.raises(ConfigurationError) as refused:
            SqliteStore(disk.path)
        assert str(refused.value) == (
            f"{disk.path} was made by another version of Pushline (schema 99, this one reads 1). "
            "Run that version, or choose another --data-dir."
        )
        connection = apsw.Connection(str(disk.path))
        connection.pragma("user_version", 1)
        connection.close()
        disk.open()

    def test_a_file_that_is_no_database_is_refused_in_a_sentence_and_left_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / DATABASE
        path.write_bytes(b"a letter to ann" * 100)
        with pytest.raises(ConfigurationError) as refused:
            SqliteStore(path)
        assert str(refused.value) == f"{path} is not a database of Pushline. Choose another --data-dir."
        assert path.read_bytes() == b"a letter to ann" * 100

    def test_a_database_of_another_program_is_refused_in_a_sentence_and_left_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / DATABASE
        other = apsw.Connection(str(path))
        other.execute("CREATE TABLE letters (text)")
        other.close()
        with pytest.raises(ConfigurationError, match="is not a database of Pushline"):
            SqliteStore(path)
        other = apsw.Connection(str(path))
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("letters",)]
        other.close()

    def test_a_path_that_cannot_be_opened_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        path = tmp_path / "missing" / DATABASE
        with pytest.raises(ConfigurationError) as refused:
            SqliteStore(path)
        assert str(refused.value) == f"{path} cannot be opened. Choose another --data-dir."


class TestClosing:
    def test_the_thread_of_checkpoints_ends(self, disk: Disk) -> None:
        before = set(threading.enumerate())
        store = disk.reopen()
        (thread,) = set(threading.enumerate()) - before
        store.close()
        assert not thread.is_alive()
        disk.open()

    def test_the_write_ahead_log_is_written_into_the_database(self, disk: Disk) -> None:
        create(disk.store)
        append(disk.store, b"hello")
        disk.store.close()
        assert [path.name for path in disk.path.parent.iterdir()] == [DATABASE]
        disk.open()
        assert texts(disk.store) == [b"hello"]

    def test_a_store_that_was_closed_is_not_ready(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / DATABASE)
        assert store.ready()
        store.close()
        assert not store.ready()


class TestCheckpoints:
    """The write-ahead log does not grow for ever, and no commit waits for the disk."""

    @pytest.fixture
    def checkpoints(self, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
        checkpoints: Checkpoints = Queue()

        class Connection(apsw.Connection):
            def wal_checkpoint(self, dbname: str | None = None, mode: int = 0) -> tuple[int, int]:
                try:
                    pages = super().wal_checkpoint(dbname, mode)
                except apsw.Error:
                    checkpoints.put((mode, None))
                    raise
                checkpoints.put((mode, pages))
                return pages

        monkeypatch.setattr(apsw, "Connection", Connection)
        return checkpoints

    def write_much(self, disk: Disk) -> None:
        for _ in range(200):
            append(disk.store, b"x" * 32_000)

    def test_a_log_that_has_grown_is_written_into_the_database(self, checkpoints: Checkpoints, disk: Disk) -> None:
        create(disk.store)
        before = disk.path.stat().st_size
        self.write_much(disk)
        mode, pages = checkpoints.get(timeout=60)
        assert mode == apsw.SQLITE_CHECKPOINT_PASSIVE
        assert pages is not None
        assert pages[1] > 0
        assert disk.path.stat().st_size > before

    def test_a_log_that_has_grown_much_begins_anew(
        self, checkpoints: Checkpoints, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "_RESTART_PAGES", 1)
        create(disk.store)
        self.write_much(disk)
        log = disk.path.with_name(DATABASE + "-wal")
        size = log.stat().st_size
        pages = None
        while pages is None:
            append(disk.store, b"a moment without a writer follows")
            mode, pages = checkpoints.get(timeout=60)
            pages = pages if mode == apsw.SQLITE_CHECKPOINT_RESTART else None
        self.write_much(disk)
        assert log.stat().st_size < 1.5 * size

    def test_a_reader_that_is_in_the_way_stops_no_checkpoint_for_good(
        self, checkpoints: Checkpoints, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "_RESTART_PAGES", 1)
        create(disk.store)
        reader = apsw.Connection(str(disk.path))
        reader.execute("BEGIN; SELECT count(*) FROM messages")
        self.write_much(disk)
        while checkpoints.get(timeout=60) != (apsw.SQLITE_CHECKPOINT_RESTART, None):
            append(disk.store, b"more")
        reader.close()
        append(disk.store, b"more")
        while checkpoints.get(timeout=60)[1] is None:
            append(disk.store, b"more")


class TestRows:
    """What was dropped leaves the database, in bulk and later."""

    def test_a_sweep_deletes_what_was_acknowledged(self, disk: Disk) -> None:
        token = create(disk.store)
        message = append(disk.store, b"hello")
        assert isinstance(message, Message)
        (connected,) = disk.store.commit([Connect(token, "p", None)], NOW)
        assert isinstance(connected, Connected)
        disk.store.commit([Acknowledge("ann", token.id, connected.fence, message.id)], NOW)
        assert disk.rows("messages") == 1
        sweep(disk.store, NOW)
        assert disk.rows("messages") == 0

    def test_a_sweep_deletes_what_belongs_to_a_channel_that_has_ended(self, disk: Disk) -> None:
        create(disk.store, seconds=60)
        append(disk.store, b"hello", key="k")
        sweep(disk.store, NOW + 700)
        assert [disk.rows(table) for table in ("channels", "messages", "keys")] == [0, 0, 0]

    def test_a_sweep_deletes_keys_that_are_forgotten(self, disk: Disk) -> None:
        create(disk.store)
        disk.store.commit([Append("ann", b"hello", "k", 10)], NOW)
        sweep(disk.store, NOW + 601)
        assert disk.rows("keys") == 0
        assert disk.rows("messages") == 0
        assert disk.rows("channels") == 1

    def test_many_rows_go_in_several_sweeps(self, disk: Disk) -> None:
        create(disk.store, seconds=60)
        disk.store.commit([Append("ann", b"x")] * 900, NOW)
        for n in range(4):
            create(disk.store, f"client {n}", seconds=60)
            disk.store.commit([Append(f"client {n}", b"x")] * 900, NOW)
        assert disk.rows("messages") == 4500
        assert disk.store.sweep(NOW + 60)
        assert 0 < disk.rows("messages") < 4500
        sweep(disk.store, NOW + 60)
        assert disk.rows("messages") == 0

    def test_rows_that_a_crash_left_are_deleted_after_it(self, disk: Disk) -> None:
        create(disk.store, seconds=60)
        append(disk.store, b"old")
        create(disk.store, now=NOW + 60)
        append(disk.store, b"new", now=NOW + 60)
        assert disk.rows("messages") == 2
        store = disk.kill()
        sweep(store, NOW + 60)
        assert disk.rows("messages") == 1
        assert texts(store, now=NOW + 60) == [b"new"]

    def test_rows_of_an_ended_channel_never_become_those_of_a_later_one(self, disk: Disk) -> None:
        store = disk.open(Retention(messages=5000))
        create(store, seconds=60)
        store.commit([Append("ann", b"old")] * 4000, NOW)
        store.sweep(NOW + 60)  # the channel's row is gone, and only some of its messages'
        assert (disk.rows("channels"), disk.rows("messages")) == (0, 2000)
        store = disk.kill()
        create(store, "bob", now=NOW + 60)
        store = disk.kill()
        assert texts(store, "bob", NOW + 60) == []
        sweep(store, NOW + 60)
        assert disk.rows("messages") == 0


class TestFullDisk:
    """A commit for which there is no room leaves nothing behind, and the store goes on when there is some (507)."""

    def fill(self, disk: Disk) -> list[bytes]:
        """Send until the disk is full."""
        create(disk.store)
        disk.fill()
        kept: list[bytes] = []
        for number in range(1000):
            data = b"%d" % number * 500
            try:
                append(disk.store, data)
            except StoreFull:
                return kept
            kept.append(data)
        pytest.fail("the disk was never full")

    def test_what_was_accepted_before_is_safe(self, disk: Disk) -> None:
        kept = self.fill(disk)
        assert texts(disk.store) == kept
        assert texts(disk.reopen()) == kept

    def test_nothing_of_the_commit_is_kept(self, disk: Disk) -> None:
        kept = self.fill(disk)
        with pytest.raises(StoreFull):
            disk.store.commit([Create("bob", 60, Policy.REPLACE), Append("ann", b"x" * 100_000, "k")], NOW)
        disk.free()
        assert append(disk.store, b"to bob", "bob") is None
        assert isinstance(append(disk.store, b"again", key="k"), Message)
        assert texts(disk.store) == [*kept, b"again"]
        assert texts(disk.kill()) == [*kept, b"again"]

    def test_places_and_acknowledgements_of_before_are_safe(self, disk: Disk) -> None:
        kept = self.fill(disk)
        token = create_when_free(disk)
        disk.store.commit([Connect(token, "p", None)], NOW)
        disk.store.commit([Connect(token, "q", None)], NOW)
        disk.fill()
        with pytest.raises(StoreFull):
            append(disk.store, b"x" * 100_000)
        assert disk.store.commit([Connect(token, "p", format_id(token.id))], NOW) == [Refused(REPLACED)]
        assert texts(disk.store) == kept

    def test_ids_are_never_given_twice(self, disk: Disk) -> None:
        self.fill(disk)
        disk.free()
        before = append(disk.store, b"before")
        disk.fill()
        for _ in range(10):
            with pytest.raises(StoreFull):
                append(disk.store, b"x" * 100_000)
        disk.free()
        after = append(disk.store, b"after")
        assert isinstance(before, Message)
        assert isinstance(after, Message)
        assert after.id > before.id + 10
        assert after.previous == before.id

    def test_a_sweep_that_finds_no_room_says_so_and_is_done_later(self, disk: Disk) -> None:
        create(disk.store, seconds=60)
        append(disk.store, b"hello")
        with disk.refusing(apsw.SQLITE_DELETE), pytest.raises(StoreError, match=r"^SQLite: "):
            sweep(disk.store, NOW + 60)
        assert disk.rows("messages") == 1
        sweep(disk.store, NOW + 60)
        assert (disk.rows("channels"), disk.rows("messages")) == (0, 0)


class TestOtherFailures:
    """A database that answers with another error: a StoreError with SQLite's words, and nothing is kept."""

    def test_a_commit_that_fails_leaves_nothing(self, disk: Disk) -> None:
        create(disk.store)
        with disk.refusing(apsw.SQLITE_INSERT), pytest.raises(StoreError, match=r"^SQLite: ") as failed:
            append(disk.store, b"hello")
        assert not isinstance(failed.value, StoreFull)
        assert texts(disk.store) == []
        append(disk.store, b"again")
        assert texts(disk.store) == [b"again"]

    def test_a_commit_of_several_that_fails_leaves_nothing(self, disk: Disk) -> None:
        create(disk.store)
        with disk.refusing(apsw.SQLITE_INSERT), pytest.raises(StoreError, match=r"^SQLite: "):
            disk.store.commit([Append("ann", b"0"), Append("ann", b"1"), Create("bob", 60, Policy.REPLACE)], NOW)
        assert texts(disk.store) == []
        assert append(disk.store, b"hello", "bob") is None
        assert append(disk.store, b"again") is not None

    def test_a_read_that_fails_is_told(self, disk: Disk) -> None:
        create(disk.store)
        append(disk.store, b"hello")
        with disk.refusing(apsw.SQLITE_READ), pytest.raises(StoreError, match=r"^SQLite: "):
            disk.store.read("ann", 0, NOW)
        assert texts(disk.store) == [b"hello"]

    def test_a_transaction_that_cannot_begin_leaves_nothing(self, disk: Disk) -> None:
        with disk.refusing(apsw.SQLITE_TRANSACTION), pytest.raises(StoreError, match=r"^SQLite: "):
            create(disk.store)
        assert append(disk.store, b"hello") is None


def create_when_free(disk: Disk) -> Claims:
    disk.free()
    return create(disk.store)
