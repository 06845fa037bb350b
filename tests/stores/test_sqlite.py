"""The SQLite store keeps the promises of every store, also across restarts and crashes."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import TypeAlias

import apsw
import pytest
from msgspec import structs
from tests.stores.disk import Disk, append, create, sweep, texts

from pushline.errors import ConfigurationError
from pushline.messages import Append, Message
from pushline.stores import open_store, sqlite
from pushline.stores.base import (
    Acknowledge,
    Connect,
    Connected,
    Retention,
    Store,
    StoreOptions,
)
from pushline.stores.sqlite import DATABASE, SCHEMA_VERSION, SqliteStore
from pushline.testing.stores import NOW, RestartingStoreConformance, StoreConformance


def open_sqlite(options: StoreOptions) -> SqliteStore:
    return SqliteStore(options.data_dir / DATABASE, options.retention, options.room)


class TestSqliteStore(StoreConformance):
    def make_store(self, options: StoreOptions) -> SqliteStore:
        return open_sqlite(options)


class TestSqliteStoreAfterRestarts(RestartingStoreConformance):
    def make_store(self, options: StoreOptions) -> SqliteStore:
        return open_sqlite(options)


class TestSqliteStoreAfterCrashes(TestSqliteStoreAfterRestarts):
    """What ``kill -9`` leaves: the files as they are between two commits."""

    def reopen(self, store: Store) -> Store:
        crashed = self.options.data_dir
        folder = crashed.with_name(crashed.name + "+")
        shutil.copytree(crashed, folder)
        store.close()
        self.options = structs.replace(self.options, data_dir=folder)
        return self.make_store(self.options)


Checkpoints: TypeAlias = "Queue[tuple[int, tuple[int, int] | None]]"
"""The checkpoints that were made: their mode, and the pages of the log and how many were moved; None: it failed."""


class TestOpening:
    def test_the_name_is_found_in_the_table_of_stores(self, tmp_path: Path) -> None:
        store = open_store("sqlite", StoreOptions(tmp_path))
        assert isinstance(store, SqliteStore)
        store.close()
        assert (tmp_path / DATABASE).exists()

    def test_a_database_of_another_version_is_refused_in_a_sentence(self, disk: Disk) -> None:
        disk.connection.pragma("user_version", 99)
        disk.store.close()
        with pytest.raises(ConfigurationError) as refused:
            SqliteStore(disk.path)
        assert str(refused.value) == (
            f"{disk.path} was made by another version of Pushline (schema 99, this one reads 3). "
            "Run that version, or choose another --data-dir."
        )
        connection = apsw.Connection(str(disk.path))
        connection.pragma("user_version", SCHEMA_VERSION)
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

    def test_a_newer_database_is_left_as_it_is(self, disk: Disk) -> None:
        create(disk.store)
        disk.connection.pragma("user_version", 99)
        disk.store.close()
        before = disk.path.read_bytes()
        with pytest.raises(ConfigurationError):
            SqliteStore(disk.path)
        assert disk.path.read_bytes() == before

    def test_a_database_that_is_damaged_is_refused_in_a_sentence(self, disk: Disk) -> None:
        create(disk.store)
        disk.connection.execute("DROP TABLE keys")
        disk.store.close()
        with pytest.raises(ConfigurationError) as refused:
            SqliteStore(disk.path)
        assert str(refused.value) == (
            f"{disk.path} cannot be read or brought to this version (SQLite: no such table: keys). "
            "Mend that, or choose another --data-dir."
        )


class TestClosing:
    def test_the_thread_of_checkpoints_ends(self, disk: Disk) -> None:
        before = set(threading.enumerate())
        store = disk.reopen()
        (thread,) = set(threading.enumerate()) - before
        store.close()
        assert not thread.is_alive()
        disk.open()

    def test_a_store_is_closed_twice_without_harm(self, disk: Disk) -> None:
        disk.store.close()
        disk.store.close()

    def test_a_store_that_is_closed_during_a_checkpoint_does_not_wait_for_it(self, disk: Disk) -> None:
        create(disk.store)
        for _ in range(200):
            append(disk.store, b"x" * 32_000)
            disk.store._checkpoints.cut()
        before = set(threading.enumerate())
        disk.store.close()
        assert set(threading.enumerate()) <= before
        assert texts(disk.open())[-1] == b"x" * 32_000

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
        log = disk.path.with_name(DATABASE + "-wal")
        begun = 0
        while begun < 5:
            self.write_much(disk)
            with suppress(Empty):
                while True:
                    mode, pages = checkpoints.get(timeout=0.2)
                    begun += mode == apsw.SQLITE_CHECKPOINT_RESTART and pages is not None
        size = log.stat().st_size
        self.write_much(disk)
        assert log.stat().st_size == size

    def test_a_reader_that_is_in_the_way_stops_no_checkpoint_for_good(
        self, checkpoints: Checkpoints, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite, "_RESTART_PAGES", 1)
        create(disk.store)
        reader = apsw.Connection(str(disk.path), vfs=sqlite.VFS)
        reader.execute("BEGIN; SELECT count(*) FROM messages")
        self.write_much(disk)
        while checkpoints.get(timeout=60) != (apsw.SQLITE_CHECKPOINT_RESTART, None):
            self.write_much(disk)
        reader.close()
        self.write_much(disk)
        while checkpoints.get(timeout=60)[1] is None:
            self.write_much(disk)


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
        while disk.rows("messages") == 4500:
            assert disk.store.sweep(NOW + 60)
        assert disk.rows("messages") > 0
        sweep(disk.store, NOW + 60)
        assert disk.rows("messages") == 0

    def test_the_more_rows_are_left_the_more_go_in_one_sweep(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "_PART_AT_ONCE", 1)
        store = disk.open(Retention(messages=5000))
        create(store, seconds=60)
        store.commit([Append("ann", b"x")] * 4000, NOW)
        while disk.rows("messages") == 4000:
            store.sweep(NOW + 60)
        assert disk.rows("messages") == 0

    def test_many_keys_of_one_channel_are_forgotten_in_several_sweeps(self, disk: Disk) -> None:
        create(disk.store)
        disk.store.commit([Append("ann", b"x", f"key {n}") for n in range(5000)], NOW)
        assert disk.store.sweep(NOW + 601)
        assert disk.rows("keys") > 0
        sweep(disk.store, NOW + 601)
        assert disk.rows("keys") == 0

    def test_what_many_channels_dropped_is_written_in_several_sweeps_before_their_messages_go(self, disk: Disk) -> None:
        store = disk.open(Retention(messages=1))
        names = [f"client {n}" for n in range(1200)]
        tokens = {name: create(store, name) for name in names}
        for text in (b"0", b"1"):
            store.commit([Append(name, text) for name in names], NOW)
        assert store.sweep(NOW)
        assert disk.rows("messages") == 2400
        sweep(store, NOW)
        assert disk.rows("messages") == 1200
        store = disk.kill()
        for name in names[::100]:
            assert store.read(name, tokens[name].id, NOW).gap is not None

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
        assert disk.rows("channels") == 0
        assert disk.rows("messages") > 0
        store = disk.kill()
        create(store, "bob", now=NOW + 60)
        store = disk.kill()
        assert texts(store, "bob", NOW + 60) == []
        sweep(store, NOW + 60)
        assert disk.rows("messages") == 0
