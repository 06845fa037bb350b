"""A disk that is full or fails: what was accepted is safe, what was not leaves nothing, and the store goes on (507)."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from tests.stores.disk import Disk, append, create, sweep, texts

from pushline.errors import StoreError, StoreFull
from pushline.messages import Append, Message, Policy, format_id
from pushline.protocol.codes import REPLACED
from pushline.protocol.tokens import Claims
from pushline.stores.base import Connect, Create, Refused, Repeated, Retention, Room
from pushline.stores.sqlite import DATABASE, SqliteStore
from pushline.testing.stores import NOW


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


@contextmanager
def no_room(disk: Disk, more: int = 0) -> Iterator[None]:
    """No file of this process can grow beyond what the log has now, and some bytes more: a disk that is really full."""
    size = disk.path.with_name(DATABASE + "-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(size, disk.path.stat().st_size) + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFilesThatCannotGrow:
    """The same with files that cannot grow, wherever in its work SQLite finds out."""

    @pytest.mark.parametrize("more", [0, 1, 24, 4096, 10_000, 50_000])
    def test_what_was_accepted_is_safe_and_the_store_goes_on_when_there_is_room(self, disk: Disk, more: int) -> None:
        create(disk.store)
        kept: list[bytes] = []
        refused = 0
        with no_room(disk, more):
            for number in range(40):
                data = b"%d" % number * 500
                try:
                    disk.store.commit([Append("ann", data, f"key {number}" if number % 2 else None)], NOW)
                except StoreFull:
                    refused += 1
                else:
                    kept.append(data)
            assert refused
            assert texts(disk.store) == kept
        assert append(disk.store, b"again", key="key 39") is not None
        assert texts(disk.store) == [*kept, b"again"]
        assert texts(disk.kill()) == [*kept, b"again"]

    def test_a_sweep_for_which_there_is_no_room_loses_nothing_and_is_done_later(self, disk: Disk) -> None:
        create(disk.store, "bob")
        for n in range(50):
            create(disk.store, f"client {n}", seconds=60)
            append(disk.store, b"x" * 3000, f"client {n}")
        append(disk.store, b"hello", "bob")
        with no_room(disk):
            for _ in range(3):
                with pytest.raises(StoreError):
                    sweep(disk.store, NOW + 60)
            assert texts(disk.store, "bob", NOW + 60) == [b"hello"]
            assert disk.store.ready()
        assert disk.rows("messages") == 51
        sweep(disk.store, NOW + 60)
        assert (disk.rows("channels"), disk.rows("messages")) == (1, 1)
        assert texts(disk.kill(), "bob", NOW + 60) == [b"hello"]


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

    def test_a_commit_that_fails_is_undone_without_reading_anything(self, disk: Disk) -> None:
        create(disk.store)
        append(disk.store, b"hello")
        disk.connection.authorizer = lambda kind, *_: (
            apsw.SQLITE_DENY if kind in (apsw.SQLITE_INSERT, apsw.SQLITE_READ) else apsw.SQLITE_OK
        )
        for _ in range(3):
            with pytest.raises(StoreError, match=r"^SQLite: "):
                disk.store.commit([Append("ann", b"x", "k"), Create("bob", 60, Policy.REPLACE)], NOW)
        disk.connection.authorizer = None
        assert append(disk.store, b"to bob", "bob") is None
        append(disk.store, b"again", key="k")
        assert texts(disk.store) == [b"hello", b"again"]

    def test_a_key_that_was_to_be_used_again_is_as_it_was(self, disk: Disk) -> None:
        create(disk.store, seconds=7200)
        append(disk.store, b"0", key="k")
        with disk.refusing(apsw.SQLITE_INSERT), pytest.raises(StoreError):
            append(disk.store, b"1", now=NOW + 601, key="k")
        assert isinstance(append(disk.store, b"2", now=NOW + 601, key="k"), Message)
        assert isinstance(append(disk.store, b"2", now=NOW + 602, key="k"), Repeated)
        assert texts(disk.kill(), now=NOW + 602) == [b"0", b"2"]

    def test_what_had_to_make_room_is_there_again(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / DATABASE, Retention(seconds=300), Room(messages=2))
        create(store, seconds=7200)
        for n in range(2):
            append(store, b"%d" % n, key=f"key {n}")
        store._connection.authorizer = lambda kind, *_: (
            apsw.SQLITE_DENY if kind == apsw.SQLITE_INSERT else apsw.SQLITE_OK
        )
        with pytest.raises(StoreError):
            append(store, b"2", now=NOW + 601)
        store._connection.authorizer = None
        assert texts(store, now=NOW + 601) == [b"0", b"1"]
        assert isinstance(append(store, b"0", now=NOW + 599, key="key 0"), Repeated)
        append(store, b"2", now=NOW + 601)
        sweep(store, NOW + 601)
        assert texts(store, now=NOW + 601) == [b"2"]
        store.close()

    def test_a_transaction_that_cannot_be_given_up_belongs_to_nothing_that_follows(self, disk: Disk) -> None:
        create(disk.store)
        older = disk.connection
        older.authorizer = lambda kind, what, *_: (
            apsw.SQLITE_DENY if kind == apsw.SQLITE_TRANSACTION and what != "BEGIN" else apsw.SQLITE_OK
        )
        with pytest.raises(StoreError, match=r"^SQLite: "):
            disk.store.commit([Append("ann", b"0"), Append("ann", b"1")], NOW)
        append(disk.store, b"2")
        assert texts(disk.store) == [b"2"]
        assert texts(disk.kill()) == [b"2"]

    def test_a_database_that_went_away_is_told_and_raises_nothing_else(self, disk: Disk) -> None:
        create(disk.store)
        append(disk.store, b"hello")
        disk.connection.close()
        assert not disk.store.ready()
        for ask in (
            lambda: append(disk.store, b"hello"),
            lambda: create(disk.store, "bob"),
            lambda: disk.store.read("ann", 0, NOW),
            lambda: disk.store.sweep(NOW),
        ):
            with pytest.raises(StoreError, match=r"^SQLite: "):
                ask()

    def test_a_message_whose_row_is_missing_is_told_and_no_other_comes_in_its_place(self, disk: Disk) -> None:
        create(disk.store)
        append(disk.store, b"0")
        append(disk.store, b"1")
        disk.connection.execute("DELETE FROM messages WHERE data = x'30'")
        with pytest.raises(StoreError):
            disk.store.read("ann", 0, NOW)

    def test_a_transaction_that_cannot_begin_leaves_nothing(self, disk: Disk) -> None:
        with disk.refusing(apsw.SQLITE_TRANSACTION), pytest.raises(StoreError, match=r"^SQLite: "):
            create(disk.store)
        assert append(disk.store, b"hello") is None


def create_when_free(disk: Disk) -> Claims:
    disk.free()
    return create(disk.store)
