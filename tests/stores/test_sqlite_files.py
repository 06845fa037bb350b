"""What the files of the SQLite store do on the disk: when they are synced, and that they shrink again (G1, G10)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import apsw
import pytest
from tests.stores.disk import Disk, append, create, sweep, texts

from pushline.messages import Append, Message
from pushline.stores import open_store, sqlite
from pushline.stores.base import Acknowledge, Connect, Connected, Durability, Retention, StoreOptions
from pushline.stores.sqlite import DATABASE
from pushline.testing.stores import NOW

MIB = 1 << 20


class Counting(apsw.VFS):
    """The file system, with a list of the files that were synced."""

    def __init__(self) -> None:
        self._base = sqlite.VFS
        super().__init__("counting", self._base)
        self.synced: list[str] = []

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        synced = self.synced

        class File(apsw.VFSFile):
            def xSync(self, flags: int) -> None:
                synced.append(text)
                super().xSync(flags)

        return File(self._base, name, flags)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    vfs = Counting()
    monkeypatch.setattr(sqlite, "VFS", "counting")
    yield vfs.synced
    vfs.unregister()


class TestDurability:
    @pytest.mark.parametrize("durability", Durability)
    def test_a_commit_is_synced_once_if_it_has_to_survive_a_power_cut(
        self, syncs: list[str], disk: Disk, durability: Durability
    ) -> None:
        disk.store.close()
        disk.path = disk.path.with_name("other")
        store = disk.open(durability=durability)
        create(store)
        append(store, b"0")
        syncs.clear()
        append(store, b"alone")
        store.commit([Append("ann", b"%d" % n, f"key {n}") for n in range(100)], NOW)
        create(store, "bob")
        assert len(syncs) == (3 if durability is Durability.DISK else 0)
        assert all(name.endswith("-wal") for name in syncs)
        store.close()

    @pytest.mark.parametrize(("durability", "level"), [(Durability.PROCESS, 1), (Durability.DISK, 2)])
    def test_the_option_reaches_the_database(self, disk: Disk, durability: Durability, level: int) -> None:
        disk.store.close()
        disk.connections.clear()
        with disk.watching():
            store = open_store("sqlite", StoreOptions(disk.path.parent, durability=durability))
        assert disk.path.name == DATABASE
        assert disk.connection.pragma("synchronous") == level
        store.close()

    def test_a_connection_that_was_opened_again_is_as_durable(self, disk: Disk) -> None:
        store = disk.open(durability=Durability.DISK)
        disk.connections.clear()
        store._connection.authorizer = lambda kind, operation, *_: (
            apsw.SQLITE_DENY if kind == apsw.SQLITE_TRANSACTION and operation != "BEGIN" else apsw.SQLITE_OK
        )
        with disk.watching(), pytest.raises(Exception, match="SQLite"):
            create(store)
        assert disk.connection.pragma("synchronous") == 2
        create(store)
        assert append(store, b"hello") is not None
        assert texts(disk.kill()) == [b"hello"]


class TestShrinking:
    def size(self, disk: Disk) -> int:
        return sum(path.stat().st_size for path in disk.path.parent.iterdir() if not path.name.endswith("-shm"))

    def fill(self, disk: Disk, mib: int) -> Acknowledge:
        """Keep so many MiB; the operation that acknowledges all of them."""
        store = disk.store
        token = create(store)
        (connected,) = store.commit([Connect(token, "p", None)], NOW)
        assert isinstance(connected, Connected)
        for _ in range(mib):
            outcomes = store.commit([Append("ann", b"x" * 8192)] * 128, NOW)
        last = outcomes[-1]
        assert isinstance(last, Message)
        return Acknowledge("ann", token.id, connected.fence, last.id)

    def test_the_room_of_what_is_gone_is_given_back(self, disk: Disk) -> None:
        disk.store.close()
        disk.open(Retention(messages=1 << 20, bytes=1 << 30))
        acknowledge = self.fill(disk, 20)
        disk.store.commit([acknowledge], NOW)
        assert self.size(disk) > 20 * MIB
        sweep(disk.store, NOW)  # what has become free just now may be needed soon
        sweep(disk.store, NOW)
        deadline = time.monotonic() + 30
        while self.size(disk) > 5 * MIB and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.size(disk) <= 5 * MIB
        append(disk.store, b"hello")
        assert texts(disk.kill()) == [b"hello"]

    def test_a_steady_state_does_not_shrink_and_grow(self, disk: Disk) -> None:
        disk.store.close()
        disk.open(Retention(messages=1 << 20, bytes=1 << 30))
        pages: list[object] = []
        for _ in range(4):
            disk.store.commit([self.fill(disk, 10)], NOW)
            sweep(disk.store, NOW)
            pages.append(disk.connection.pragma("page_count"))
        assert len(set(pages[1:])) == 1
