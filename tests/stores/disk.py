"""The SQLite store's database as seen from beside it, and short words for asking the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from pushline.messages import Append, Policy
from pushline.protocol.tokens import Claims
from pushline.stores.base import Create, Durability, Outcome, Retention
from pushline.stores.sqlite import DATABASE, VFS, SqliteStore
from pushline.testing.stores import NOW


class Disk:
    """The store's database as seen from beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self.connections: list[apsw.Connection] = []
        self.store = self.open()

    def open(self, retention: Retention | None = None, durability: Durability = Durability.PROCESS) -> SqliteStore:
        self.connections.clear()
        with self.watching():
            self.store = SqliteStore(self.path, retention, durability=durability)
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
        return self.open()

    def kill(self) -> SqliteStore:
        """Open what ``kill -9`` would have left."""
        crashed = self.path.parent
        folder = crashed.with_name(crashed.name + "+")
        shutil.copytree(crashed, folder)
        self.store.close()
        self.path = folder / DATABASE
        return self.open()

    def rows(self, table: str) -> int:
        connection = apsw.Connection(str(self.path), vfs=VFS)
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
