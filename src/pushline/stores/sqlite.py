"""The default store: one SQLite database in the data dir, nothing else to run.

The ledger in memory answers every question but one, what a message said; the database is its journal, written in one
transaction per commit, and read back at the start. So a send costs one row at the end of one table: message rows lie
in the order of their ids, and which of them belong to a channel is known without an index.

The database is in WAL mode with ``synchronous=NORMAL``: what was committed survives ``kill -9``. Checkpoints, which
wait for the disk, run in a thread of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, cast

import apsw
import msgspec

from pushline.errors import ConfigurationError, StoreError, StoreFull
from pushline.messages import Policy
from pushline.stores.base import Event, Operation, Outcome, Read, Retention
from pushline.stores.ledger import Channel, Kept, Ledger

DATABASE: Final = "pushline.sqlite3"
SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE sequence (
    last INTEGER NOT NULL           -- an id that is at least as high as any that was given to a row now gone
) STRICT;
INSERT INTO sequence VALUES (0);
CREATE TABLE channels (
    number INTEGER PRIMARY KEY,
    client_id BLOB NOT NULL UNIQUE, -- UTF-8; a blob, since SQLite's text ends at a NUL
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    newest_token INTEGER NOT NULL,
    policy TEXT NOT NULL,
    live_until REAL NOT NULL,       -- unix time
    acknowledged TEXT,              -- JSON: {"<token id>": <id>}
    page TEXT NOT NULL,
    fence INTEGER NOT NULL,
    held INTEGER NOT NULL
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    expires REAL NOT NULL,          -- unix time; 0: by the retention of the store
    data BLOB NOT NULL
) STRICT;
CREATE TABLE keys (
    channel INTEGER NOT NULL,
    key TEXT NOT NULL,
    id INTEGER NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (channel, key)
) STRICT, WITHOUT ROWID;
"""

_INSERT_MESSAGE: Final = "INSERT INTO messages VALUES (?, ?, ?, ?)"
_PUT_KEY: Final = "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?)"
_PUT_CHANNEL: Final = "INSERT OR REPLACE INTO channels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_DELETES_AT_ONCE: Final = 2000

# Pages of the write-ahead log (4 KiB each). Under load without a pause a checkpoint never sees the end of the log, and
# the log grows: past the second mark one waits for a moment without a writer, so that the log begins anew.
_CHECKPOINT_PAGES: Final = 1000
_RESTART_PAGES: Final = 16000


class SqliteStore:
    """Channels in memory, their journal in the SQLite database at ``path``.

    Raises :class:`ConfigurationError` when the file is not a database that this version can read.
    """

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        self._path = path
        self._retention = retention or Retention()
        self._connection = self._open()
        self._execute = self._connection.execute
        self._journal = _Journal()
        self._ledger = Ledger(self._retention, self._journal)
        self._load()
        self._checkpoints = _Checkpoints(path)
        self._connection.set_wal_hook(self._written)

    def _open(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self._path))
        except apsw.CantOpenError:
            raise ConfigurationError(f"{self._path} cannot be opened. Choose another --data-dir.") from None
        try:
            connection.set_busy_timeout(5000)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA temp_store=MEMORY")
            version = connection.pragma("user_version")
            if version == 0:
                if connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                    raise apsw.NotADBError("it has tables of another program")
                with connection:
                    connection.execute(_SCHEMA)
                    connection.pragma("user_version", SCHEMA_VERSION)
            elif version != SCHEMA_VERSION:
                raise ConfigurationError(
                    f"{self._path} was made by another version of Pushline (schema {version}, this one reads "
                    f"{SCHEMA_VERSION}). Run that version, or choose another --data-dir."
                )
        except apsw.NotADBError:
            connection.close()
            sentence = f"{self._path} is not a database of Pushline. Choose another --data-dir."
            raise ConfigurationError(sentence) from None
        except BaseException:
            connection.close()
            raise
        return connection

    # -- coming back -------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Make the ledger from the database."""
        ledger, channels = self._ledger, {}
        for row in self._execute("SELECT * FROM channels"):
            channel = _channel_of(row)
            channels[channel.number] = ledger.channels[channel.client_id] = channel
            ledger.lift(max(channel.last, channel.fence), channel.number)
        stale: list[int] = []
        for id, number, expires, size in self._execute(
            "SELECT id, channel, expires, length(data) FROM messages ORDER BY id"
        ):
            owner = channels.get(number)
            ledger.lift(id, number)
            if owner is None or id <= owner.dropped:
                stale.append(id)
                continue
            owner.kept.append((id, expires, size, None))
            owner.bytes += size
            owner.mortal = owner.mortal or expires > 0
            owner.last = max(owner.last, id)
        for number, key, id, until in self._execute("SELECT * FROM keys"):
            if (owner := channels.get(number)) is not None:
                owner.keys = owner.keys or {}
                owner.keys[key] = (id, until)
        for (last,) in self._execute("SELECT last FROM sequence"):
            ledger.lift(last)
        self._journal.stale_messages.extend(stale)
        self._trimmed = False

    def _trim(self, now: float) -> None:
        """Drop again what was dropped for want of room, and whose rows a sweep had not reached when the store ended."""
        for channel in self._ledger.channels.values():
            self._ledger.make_room(channel, now)
        self._trimmed = True

    # -- the seam ----------------------------------------------------------------------------------------------

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`Store.commit`."""
        if not self._trimmed:
            self._trim(now)
        outcomes = self._ledger.do(operations, now)
        journal = self._journal
        if journal.messages or journal.channels or journal.keys:
            self._write(journal)
        return outcomes

    def _write(self, journal: _Journal) -> None:
        messages = journal.messages
        try:
            if len(messages) == 1 and not journal.channels and not journal.keys:
                self._execute(_INSERT_MESSAGE, messages[0])  # alone it is its own transaction: two statements less
            else:
                self._transaction(journal)
        except apsw.Error as error:
            self._undo()
            if isinstance(error, apsw.FullError | apsw.IOError):
                raise StoreFull(str(error)) from error
            raise StoreError(f"SQLite: {error}") from error
        journal.messages = []

    def _transaction(self, journal: _Journal) -> None:
        many = self._connection.executemany
        self._execute("BEGIN IMMEDIATE")
        try:
            if journal.channels:
                many(_PUT_CHANNEL, [_row_of(channel) for channel in journal.channels])
            if journal.messages:
                many(_INSERT_MESSAGE, journal.messages)
            if journal.keys:
                many(_PUT_KEY, journal.keys)
            self._execute("COMMIT")
        except apsw.Error:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            raise
        journal.channels.clear()
        journal.keys = []

    def _undo(self) -> None:
        """The database did not take a commit: go back to what it has. Ids that were given are not given again."""
        last = self._ledger.last
        self._journal = _Journal()
        self._ledger = Ledger(self._retention, self._journal)
        self._ledger.lift(last)
        self._load()

    def read(self, client_id: str, after: int, now: float) -> Read:
        """See :meth:`Store.read`."""
        if not self._trimmed:
            self._trim(now)
        try:
            return self._ledger.read(client_id, after, now, self._fetch)
        except apsw.Error as error:
            raise StoreError(f"SQLite: {error}") from error

    def _fetch(self, wanted: list[Kept]) -> list[bytes]:
        rows = self._connection.executemany("SELECT data FROM messages WHERE id = ?", [kept[:1] for kept in wanted])
        return [cast("bytes", data) for (data,) in rows]

    def sweep(self, now: float) -> bool:
        """See :meth:`Store.sweep`."""
        more = self._ledger.sweep(now)
        journal = self._journal
        messages = journal.stale_messages[:_DELETES_AT_ONCE]
        journal.channels |= journal.trimmed
        if messages or journal.stale_channels or journal.channels:
            try:
                with self._connection:
                    self._delete(messages, journal, now)
            except apsw.Error as error:
                raise StoreError(f"SQLite: {error}") from error
            journal.channels.clear()
            journal.trimmed.clear()
            journal.stale_channels = []
            del journal.stale_messages[:_DELETES_AT_ONCE]
        return more or bool(journal.stale_messages)

    def _delete(self, messages: list[int], journal: _Journal, now: float) -> None:
        # The rows that go take their ids with them: the sequence remembers, so that none is ever given twice.
        self._execute("UPDATE sequence SET last = max(last, ?)", (self._ledger.last,))
        many = self._connection.executemany
        many(_PUT_CHANNEL, [_row_of(channel) for channel in journal.channels])
        many("DELETE FROM messages WHERE id = ?", [(id,) for id in messages])
        many("DELETE FROM channels WHERE number = ?", journal.stale_channels)
        many("DELETE FROM keys WHERE channel = ?", journal.stale_channels)
        self._execute("DELETE FROM keys WHERE until < ?", (now,))

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """See :meth:`Store.watch`. A data dir belongs to one process, so there is nobody to tell of."""

    def ready(self) -> bool:
        """See :meth:`Store.ready`."""
        try:
            return self._execute("SELECT 1 FROM sequence").fetchone() is not None
        except apsw.Error:
            return False

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._checkpoints.close()
        self._connection.close()

    def _written(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if pages >= _CHECKPOINT_PAGES:
            self._checkpoints.want(pages)
        return apsw.SQLITE_OK


class _Journal:
    """What the ledger did since the last commit, as rows."""

    __slots__ = ("channels", "keys", "messages", "stale_channels", "stale_messages", "trimmed")

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, float, bytes]] = []
        self.channels: dict[Channel, None] = {}
        self.keys: list[tuple[int, str, int, float]] = []
        self.trimmed: dict[Channel, None] = {}
        self.stale_messages: list[int] = []
        self.stale_channels: list[tuple[int]] = []

    def opened(self, channel: Channel) -> None:
        self.channels[channel] = None

    def appended(self, channel: Channel, id: int, expires: float, data: bytes) -> None:
        self.messages.append((id, channel.number, expires, data))

    def keyed(self, channel: Channel, key: str, id: int, until: float) -> None:
        self.keys.append((channel.number, key, id, until))

    def changed(self, channel: Channel) -> None:
        self.channels[channel] = None

    def dropped(self, channel: Channel, ids: list[int]) -> None:
        # Rows go in bulk, later. Until then a restart finds them and drops them again, by the same rules.
        self.stale_messages.extend(ids)
        self.trimmed[channel] = None

    def ended(self, channel: Channel) -> None:
        self.channels.pop(channel, None)
        self.trimmed.pop(channel, None)
        self.stale_channels.append((channel.number,))
        self.stale_messages.extend(kept[0] for kept in channel.kept)


class _Checkpoints:
    """A thread that moves the write-ahead log into the database when it has grown, with a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._wanted = threading.Event()
        self._pages = 0
        self._closing = False
        self._path = path
        self._thread = threading.Thread(target=self._run, name="pushline-checkpoints", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = apsw.Connection(str(self._path))
        try:
            # A connection learns by its first read that there is a log; until then a checkpoint does nothing.
            connection.pragma("schema_version")
            while True:
                self._wanted.wait()
                if self._closing:
                    return
                self._wanted.clear()
                try:
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                    if self._pages >= _RESTART_PAGES:
                        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
                except apsw.Error:
                    continue  # a full disk: the commits say so themselves
        finally:
            connection.close()

    def want(self, pages: int) -> None:
        """The log has ``pages`` pages: write them into the database, soon."""
        self._pages = pages
        self._wanted.set()

    def close(self) -> None:
        self._closing = True
        self._wanted.set()
        self._thread.join()


def _row_of(channel: Channel) -> tuple[apsw.SQLiteValue, ...]:
    return (
        channel.number,
        channel.client_id.encode(),
        channel.first,
        channel.last,
        channel.dropped,
        channel.newest_token,
        channel.policy.value,
        channel.live_until,
        msgspec.json.encode(channel.acknowledged).decode() if channel.acknowledged else None,
        channel.page,
        channel.fence,
        channel.held,
    )


def _channel_of(row: Iterable[apsw.SQLiteValue]) -> Channel:
    number, client_id, first, last, dropped, newest, policy, live_until, acknowledged, page, fence, held = cast(
        "tuple[int, bytes, int, int, int, int, str, float, str | None, str, int, int]", row
    )
    channel = Channel(number, client_id.decode(), first)
    channel.last, channel.dropped, channel.newest_token = last, dropped, newest
    channel.policy, channel.live_until = Policy(policy), live_until
    if acknowledged:
        channel.acknowledged = msgspec.json.decode(acknowledged, type=dict[int, int])
    channel.page, channel.fence, channel.held = page, fence, bool(held)
    return channel


def open_store(url: str, data_dir: Path, retention: Retention) -> SqliteStore:
    """``--store sqlite``: the database is in the data dir."""
    return SqliteStore(data_dir / DATABASE, retention)
