"""The default store: one SQLite database in the data dir, nothing else to run.

The ledger in memory answers every question but one, what a message said; the database is its journal, written in one
transaction per commit, and read back at the start. So a send costs one row at the end of one table: message rows lie
in the order of their ids, and which of them belong to a channel is known without an index.

The database is in WAL mode: what was committed survives ``kill -9``, and with ``durability=disk``, where each commit
waits for the disk, a power cut. Checkpoints, which wait for the disk as well, run in a thread of their own. What is
over is deleted by and by, and the file shrinks again. While it is open no other program can read it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from heapq import heappop
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar, cast

import apsw
import msgspec

from pushline.errors import ConfigurationError, StoreError, StoreFull
from pushline.messages import Policy
from pushline.stores.base import (
    ChannelState,
    ClientList,
    Durability,
    Event,
    Notice,
    NoticeList,
    Operation,
    Orphans,
    Outcome,
    Read,
    Retention,
    Room,
    StoreOptions,
)
from pushline.stores.channels import Channel, Kept
from pushline.stores.journal import RowJournal
from pushline.stores.ledger import Ledger

T = TypeVar("T")

log = logging.getLogger("pushline.stores.sqlite")

DATABASE: Final = "pushline.sqlite3"
VFS: Final = "unix-excl"
"""SQLite's locks are this process's as long as it has the database open, which halves the price of a commit: none are
asked for in between, and the index of the log is in memory. Connections of this process share them."""
SCHEMA_VERSION: Final = 3

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

_PRESENCE: Final = """
ALTER TABLE sequence ADD COLUMN told INTEGER NOT NULL DEFAULT 0; -- the same for the sequences of callbacks
ALTER TABLE sequence ADD COLUMN back_by REAL NOT NULL DEFAULT 0; -- unix time until which pages were asked to come back
ALTER TABLE channels ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN leases TEXT; -- JSON: fences of the connections that count
ALTER TABLE channels ADD COLUMN told INTEGER NOT NULL DEFAULT 0; -- the sequence of the callback `connected`, or 0
UPDATE channels SET leases = '[' || fence || ']' WHERE held;
CREATE TABLE callbacks (
    sequence INTEGER PRIMARY KEY,
    client_id BLOB NOT NULL,
    connected INTEGER NOT NULL,
    time REAL NOT NULL,             -- unix time
    since REAL NOT NULL,            -- unix time
    given_up TEXT NOT NULL          -- why; empty while it is tried
) STRICT;
"""

_INSERT_MESSAGE: Final = "INSERT INTO messages VALUES (?, ?, ?, ?)"
_PUT_KEY: Final = "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?)"
_PUT_CHANNEL: Final = "INSERT OR REPLACE INTO channels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_NOTICE: Final = "INSERT OR REPLACE INTO callbacks VALUES (?, ?, ?, ?, ?, ?)"

# What one sweep writes: few enough rows that what waits for it does so for two milliseconds or so. The more are left,
# the more it takes, enough for 50,000 messages a second in the end: better that messages wait than that files grow.
_ROWS_AT_ONCE: Final = 500
_MOST_ROWS_AT_ONCE: Final = 5000
_PART_AT_ONCE: Final = 200
_ROWS_TO_WAIT_FOR: Final = 50_000
"""Messages lie in the order of time, not of channels: the more of them go together, the fewer pages are written."""

# Pages of the database that are given back to the file system in one sweep, and free ones that are kept: what is free
# for a moment is soon taken again.
_PAGES_AT_ONCE: Final = 100
_SPARE_PAGES: Final = 1024

# Pages of the write-ahead log (4 KiB each). After so many a checkpoint follows, which takes nothing from those who
# write. Under load without a pause it never sees the end of the log, and the log grows: past the second mark writers
# wait, for as long as the disk needs for the last few pages, and the log begins anew.
_CHECKPOINT_PAGES: Final = 1000
_RESTART_PAGES: Final = 16000
_LOG_BYTES: Final = _RESTART_PAGES * 4096
"""What the file of the log is cut to when it begins anew. No less: to write over what is there costs less than to grow
a file. It is cut to nothing when much has become free."""

_BUSY_MILLISECONDS: Final = 5000
"""How long a commit waits for another program that has the database."""

_CACHE_KIB: Final = 16_000
"""How much of the database is kept at hand, at most: its last pages, and those that deletes go through."""

_NICENESS: Final = 5
"""Of the thread of checkpoints: it waits for those who answer, not they for it."""


class SqliteStore:
    """Channels in memory, their journal in the SQLite database at ``path``.

    With ``durability`` *disk* a commit waits until the disk has it, once for all that is in it.

    Raises :class:`ConfigurationError` when the file is not a database that this version can read.
    """

    def __init__(
        self,
        path: Path,
        retention: Retention | None = None,
        room: Room | None = None,
        durability: Durability = Durability.PROCESS,
    ) -> None:
        self._path = path
        self._retention = retention or Retention()
        self._durability = durability
        self._journal = RowJournal()
        self._ledger = Ledger(self._retention, room or Room(), self._journal)
        self._untrimmed: list[Channel] = []
        self._sweeping = self._looking = False
        self._spare = 0
        self._connect()
        try:
            self._load()
            self._checkpoints = _Checkpoints(path)
        except apsw.Error as error:
            self._connection.close()
            raise ConfigurationError(_unreadable(path, error)) from error

    def _connect(self) -> None:
        self._connection = connection = _open(self._path)
        self._execute = connection.execute
        connection.pragma("synchronous", "FULL" if self._durability is Durability.DISK else "NORMAL")
        connection.pragma("journal_size_limit", _LOG_BYTES)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.set_wal_hook(self._written)

    # -- coming back -------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Make the ledger from the database."""
        ledger, journal, channels = self._ledger, self._journal, {}
        for row in self._execute("SELECT * FROM channels"):
            channel = _channel_of(row)
            channels[channel.number] = ledger.channels[channel.client_id] = channel
            ledger.lift(max(channel.last, channel.fence, channel.revoked), channel.number)
            ledger.outbox.last = max(ledger.outbox.last, channel.told)
        id = 0
        for id, number, expires, size in self._execute(
            "SELECT id, channel, expires, length(data) FROM messages ORDER BY id"
        ):
            owner = channels.get(number)
            if owner is None or id <= owner.dropped or id < owner.first:
                ledger.lift(0, number)
                journal.stale_messages.append(id)
                continue
            owner.kept.append((id, expires, size, None))
            owner.bytes += size
            if expires:
                owner.mortal = True
            if id > owner.last:
                owner.last = id
        ledger.lift(id)
        for number, key, id, until in self._execute("SELECT channel, key, id, until FROM keys ORDER BY until"):
            owner = channels.get(number)
            if owner is None:
                ledger.lift(0, number)
                journal.stale_keys.append((number, key, until))
                continue
            owner.keys = owner.keys or {}
            owner.keys[key] = (id, until)
        for notice in self._execute("SELECT * FROM callbacks ORDER BY sequence"):
            ledger.outbox.load(_notice_of(notice))
        for last, told, back_by in self._execute("SELECT last, told, back_by FROM sequence"):
            ledger.lift(last)
            ledger.outbox.last = max(ledger.outbox.last, told)
            ledger.back_by = back_by
        ledger.recount()
        limit = self._retention
        self._untrimmed = [
            channel
            for channel in ledger.channels.values()
            if len(channel.kept) > limit.messages or channel.bytes > limit.bytes
        ]

    def _trim(self, now: float) -> None:
        """Drop again what was dropped for want of room, and whose rows a sweep had not reached when the store ended."""
        for channel in self._untrimmed:
            self._ledger.make_room(channel, now)
        self._untrimmed = []

    # -- the seam ----------------------------------------------------------------------------------------------

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`Store.commit`."""
        if self._untrimmed:
            self._trim(now)
        journal = self._journal
        mark = journal.mark()
        outcomes = self._ledger.do(operations, now)
        if journal.messages or not journal.empty():
            try:
                self._write(journal)
            except apsw.Error as error:
                journal.undo(mark, self._ledger.undo(operations, outcomes))
                raise _told(error) from error
        return outcomes

    def _write(self, journal: RowJournal) -> None:
        messages = journal.messages
        if len(messages) == 1 and not (journal.channels or journal.keys or journal.notices or journal.back_by_changed):
            self._execute(_INSERT_MESSAGE, messages[0])  # alone it is its own transaction: two statements less
            journal.messages = []
        else:
            self._transact(self._put, journal)
            journal.written()

    def _put(self, journal: RowJournal) -> None:
        many = self._connection.executemany
        if journal.channels:
            many(_PUT_CHANNEL, map(_row_of, journal.channels))
        if journal.messages:
            many(_INSERT_MESSAGE, journal.messages)
        if journal.keys:
            many(_PUT_KEY, journal.keys)
        if journal.notices:
            notices = journal.notices
            put = [_row_of_notice(notice) for notice in notices.values() if notice is not None]
            gone = [(sequence,) for sequence, notice in notices.items() if notice is None]
            if put:
                many(_PUT_NOTICE, put)
            if gone:
                many("DELETE FROM callbacks WHERE sequence = ?", gone)
                if not put or notices[max(notices)] is None:  # else a row that is there says so
                    self._execute("UPDATE sequence SET told = max(told, ?)", (max(notices),))
        if journal.back_by_changed:
            self._execute("UPDATE sequence SET back_by = ?", (self._ledger.back_by,))

    def _transact(self, write: Callable[[T], None], rows: T) -> None:
        """Write some rows: all of them, or none and an :class:`apsw.Error`."""
        self._execute("BEGIN IMMEDIATE")
        try:
            write(rows)
            self._execute("COMMIT")
        except apsw.Error:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if not self._connection.in_transaction:
            return  # SQLite has done it by itself
        try:
            self._execute("ROLLBACK")
        except apsw.Error:
            # What is written next must not belong to what was given up: this connection is of no use any more.
            self._connection.close()
            with suppress(ConfigurationError):
                self._connect()

    def read(self, client_id: str, after: int, now: float) -> Read:
        """See :meth:`Store.read`."""
        if self._untrimmed:
            self._trim(now)
        try:
            return self._ledger.read(client_id, after, now, self._fetch)
        except apsw.Error as error:
            raise StoreError(f"SQLite: {error}") from error

    def _fetch(self, wanted: list[Kept]) -> list[bytes]:
        rows = self._connection.executemany("SELECT data FROM messages WHERE id = ?", [kept[:1] for kept in wanted])
        texts = [cast("bytes", data) for (data,) in rows]
        if len(texts) != len(wanted):
            raise StoreError("SQLite: rows of messages are missing")
        return texts

    def look(self, client_id: str, now: float) -> ChannelState | None:
        """See :meth:`Store.look`."""
        if self._untrimmed:
            self._trim(now)
        return self._ledger.look(client_id, now)

    def clients(self, prefix: str, after: str, connected: bool | None, limit: int, now: float) -> ClientList:
        """See :meth:`Store.clients`."""
        behind, start = (">", after) if after >= prefix else (">=", prefix)
        names = self._execute(
            f"SELECT client_id FROM channels WHERE client_id {behind} ? ORDER BY client_id",  # noqa: S608 - ours
            (start.encode(),),
        )
        try:
            known = (name for (row,) in names if (name := cast("bytes", row).decode()) in self._ledger.channels)
            return self._ledger.clients(known, prefix, connected, limit, now)
        except apsw.Error as error:
            raise StoreError(f"SQLite: {error}") from error
        finally:
            names.close()

    def notices(self, after: int, limit: int) -> NoticeList:
        """See :meth:`Store.notices`."""
        return self._ledger.outbox.page(after, limit)

    def notices_of(self, client_id: str) -> list[Notice]:
        """See :meth:`Store.notices_of`."""
        return self._ledger.outbox.of(client_id)

    def orphans(self) -> Orphans | None:
        """See :meth:`Store.orphans`."""
        return self._ledger.orphans()

    def sweep(self, now: float) -> bool:
        """See :meth:`Store.sweep`. It also gives room back to the file system."""
        try:
            if not self._sweeping:
                # What is free when a round begins was not needed since the last one.
                self._spare = cast("int", self._connection.pragma("freelist_count"))
                self._looking = True
            self._looking = self._looking and self._ledger.sweep(now)
            more = self._forget(waiting=self._looking) or self._looking
            self._sweeping = more or self._shrink()
        except apsw.Error as error:
            self._sweeping = False
            raise _told(error) from error
        return self._sweeping

    def _forget(self, waiting: bool) -> bool:
        """Delete some rows of what is over; ``waiting``: there will be more in a moment. True: more are left."""
        journal = self._journal
        journal.sort()
        left = len(journal.sorted_messages) + len(journal.stale_keys) + len(journal.stale_channels)
        if not left and not journal.trimmed:
            return False
        limit = min(max(_ROWS_AT_ONCE, left // _PART_AT_ONCE), _MOST_ROWS_AT_ONCE)
        rows = _Stale(list(islice(journal.trimmed, _ROWS_AT_ONCE)))
        limit -= len(rows.trimmed)
        # What a channel has dropped is in its row before the rows of its messages go, so that a gap is never silent.
        if len(rows.trimmed) == len(journal.trimmed):
            rows.channels = journal.stale_channels[:limit]
            limit -= len(rows.channels)
            rows.keys = journal.stale_keys[:limit]
            limit -= len(rows.keys)
            if not waiting or len(journal.sorted_messages) > _ROWS_TO_WAIT_FOR:
                limit = min(limit, len(journal.sorted_messages))
                rows.messages = [heappop(journal.sorted_messages) for _ in range(limit)]
        try:
            self._transact(self._delete, rows)
        except apsw.Error:
            journal.stale_messages.extend(rows.messages)
            raise
        for channel in rows.trimmed:
            del journal.trimmed[channel]
        del journal.stale_channels[: len(rows.channels)]
        del journal.stale_keys[: len(rows.keys)]
        return bool(journal.trimmed or journal.stale_channels or journal.sorted_messages or journal.stale_keys)

    def _delete(self, rows: _Stale) -> None:
        # The rows that go take their ids with them: the sequence remembers, so that none is ever given twice.
        ledger = self._ledger
        self._execute("UPDATE sequence SET last = max(last, ?), told = max(told, ?)", (ledger.last, ledger.outbox.last))
        many = self._connection.executemany
        many(_PUT_CHANNEL, map(_row_of, rows.trimmed))
        many("DELETE FROM channels WHERE number = ?", rows.channels)
        many("DELETE FROM messages WHERE id = ?", [(id,) for id in rows.messages])
        many("DELETE FROM keys WHERE channel = ? AND key = ? AND until <= ?", sorted(rows.keys))

    def _shrink(self) -> bool:
        """Give some pages back that have been free for a while. True: there are more."""
        pages = min(self._spare - _SPARE_PAGES, _PAGES_AT_ONCE)
        if pages <= 0:
            return False
        self._execute(f"PRAGMA incremental_vacuum({pages})").fetchall()  # each row that is fetched is one page
        self._spare -= pages
        if self._spare > _SPARE_PAGES:
            return True
        self._checkpoints.cut()
        return False

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """See :meth:`Store.watch`. A data dir belongs to one process, so there is nobody to tell of."""
        self._ledger.resign(self._ledger.hub)
        self._ledger.hub = self._ledger.enlist()

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
        self._checkpoints.grown(pages)
        return apsw.SQLITE_OK


class _Stale:
    """Rows that one sweep writes and deletes."""

    __slots__ = ("channels", "keys", "messages", "trimmed")

    def __init__(self, trimmed: list[Channel]) -> None:
        self.trimmed = trimmed
        self.channels: list[tuple[int]] = []
        self.messages: list[int] = []
        self.keys: list[tuple[int, str, float]] = []


class _Checkpoints:
    """A thread that moves the write-ahead log into the database when it has grown, with a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._wanted = threading.Event()
        self._pages = 0
        self._moved = 0
        self._cut = False
        self._closing = False
        # It waits for nobody: a checkpoint that finds somebody in its way is made another time.
        self._connection = apsw.Connection(str(path), vfs=VFS)
        # A connection learns by its first read that there is a log; until then a checkpoint does nothing.
        self._connection.pragma("schema_version")
        self._thread = threading.Thread(target=self._run, name="pushline-checkpoints", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if sys.platform == "linux":  # where each thread has a niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            self._wanted.wait()
            if self._closing:
                return
            self._wanted.clear()
            try:
                self._move(apsw.SQLITE_CHECKPOINT_PASSIVE)
                # Once more for what came meanwhile, which is little: if nothing comes now, the log begins anew.
                self._move(apsw.SQLITE_CHECKPOINT_PASSIVE)
                if self._cut or self._pages >= _RESTART_PAGES:
                    self._move(apsw.SQLITE_CHECKPOINT_TRUNCATE if self._cut else apsw.SQLITE_CHECKPOINT_RESTART)
                    self._cut = False
            except apsw.Error:
                continue  # somebody is in the way, or the disk is full: the commits say so themselves

    def _move(self, mode: int) -> None:
        self._moved = self._connection.wal_checkpoint(mode=mode)[1]

    def grown(self, pages: int) -> None:
        """The log has ``pages`` pages: write them into the database, soon, if there are many new ones."""
        if pages < self._moved:
            self._moved = 0  # the log has begun anew
        if pages - self._moved >= _CHECKPOINT_PAGES:
            self._pages = pages
            self._wanted.set()

    def cut(self) -> None:
        """Much has become free: make both files as short as they can be, soon."""
        self._cut = True
        self._wanted.set()

    def close(self) -> None:
        """End the thread: in the middle of its work, since the store does the rest when it closes."""
        if self._closing:
            return
        self._closing = True
        self._wanted.set()
        self._connection.interrupt()
        self._thread.join()
        self._connection.close()


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
        channel.revoked,
        msgspec.json.encode(list(channel.leases)).decode() if channel.leases else None,
        channel.told,
    )


def _channel_of(row: Iterable[apsw.SQLiteValue]) -> Channel:
    number, client_id, first, last, dropped, newest, policy, live_until, acknowledged, page, fence, held, *rest = cast(
        "tuple[int, bytes, int, int, int, int, str, float, str | None, str, int, int, int, str | None, int]", row
    )
    channel = Channel(number, client_id.decode(), first)
    channel.last, channel.dropped, channel.newest_token = last, dropped, newest
    channel.policy, channel.live_until = Policy(policy), live_until
    if acknowledged:
        channel.acknowledged = msgspec.json.decode(acknowledged, type=dict[int, int])
    channel.page, channel.fence, channel.held = page, fence, bool(held)
    revoked, leases, told = cast("tuple[int, str | None, int]", rest)
    channel.revoked, channel.told = revoked, told
    if leases:  # of connections whose process has ended
        channel.leases = dict.fromkeys(msgspec.json.decode(leases, type=list[int]), 0)
    return channel


def _row_of_notice(notice: Notice) -> tuple[apsw.SQLiteValue, ...]:
    client_id = notice.client_id.encode()
    return notice.sequence, client_id, notice.connected, notice.time, notice.since, notice.given_up


def _notice_of(row: Iterable[apsw.SQLiteValue]) -> Notice:
    sequence, client_id, connected, time, since, given_up = cast("tuple[int, bytes, int, float, float, str]", row)
    return Notice(client_id.decode(), sequence, bool(connected), time, since, given_up)


def _told(error: apsw.Error) -> StoreError:
    """What the hub is told of an error that hit a write."""
    if isinstance(error, apsw.FullError | apsw.IOError):
        return StoreFull(f"SQLite: {error}")
    return StoreError(f"SQLite: {error}")


def _wait(count: int) -> bool:
    """Wait for who is in the way: most likely a checkpoint, which takes a few milliseconds."""
    time.sleep(0.001)
    return count < _BUSY_MILLISECONDS


def _unreadable(path: Path, error: apsw.Error) -> str:
    return (
        f"{path} cannot be read or brought to this version (SQLite: {error}). Mend that, or choose another --data-dir."
    )


def _open(path: Path) -> apsw.Connection:
    """The database at ``path``, made or brought to this version if need be."""
    try:
        connection = apsw.Connection(str(path), vfs=VFS)
    except apsw.CantOpenError:
        raise ConfigurationError(f"{path} cannot be opened. Choose another --data-dir.") from None
    try:
        connection.set_busy_handler(_wait)
        version = cast("int", connection.pragma("user_version"))
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise apsw.NotADBError("it has tables of another program")
        if version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"{path} was made by another version of Pushline (schema {version}, this one reads "
                f"{SCHEMA_VERSION}). Run that version, or choose another --data-dir."
            )
        _prepare(connection, version)
    except apsw.NotADBError:
        connection.close()
        sentence = f"{path} is not a database of Pushline. Choose another --data-dir."
        raise ConfigurationError(sentence) from None
    except apsw.BusyError:
        connection.close()
        sentence = f"{path} is open in another program. Close it there, or choose another --data-dir."
        raise ConfigurationError(sentence) from None
    except apsw.Error as error:
        connection.close()
        raise ConfigurationError(_unreadable(path, error)) from error
    except ConfigurationError:
        connection.close()
        raise
    return connection


def _prepare(connection: apsw.Connection, version: int) -> None:
    """Bring a database to this version: step by step, each of which is done again when it was interrupted."""
    if version == 0:
        connection.pragma("auto_vacuum", "INCREMENTAL")  # before there is any table it costs nothing
    connection.pragma("journal_mode", "WAL")
    for step in range(version, SCHEMA_VERSION):
        if version:
            log.info("the database is brought to the next version", extra={"version": step + 1})
        _STEPS[step](connection)
    connection.pragma("temp_store", "MEMORY")


def _make_tables(connection: apsw.Connection) -> None:
    with connection:
        connection.execute(_SCHEMA)
        connection.pragma("user_version", 1)


def _let_it_shrink(connection: apsw.Connection) -> None:
    if connection.pragma("auto_vacuum") != _INCREMENTAL:
        connection.pragma("auto_vacuum", "INCREMENTAL")
        connection.execute("VACUUM")  # all of it or nothing, but in no transaction with anything else
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.pragma("user_version", 2)


def _know_who_is_there(connection: apsw.Connection) -> None:
    with connection:
        connection.execute(_PRESENCE)
        connection.pragma("user_version", 3)


_INCREMENTAL: Final = 2

_STEPS: Final = (_make_tables, _let_it_shrink, _know_who_is_there)
"""What leads from each version of the schema to the next; 0 is an empty file. The version is written last."""


def open_store(url: str, options: StoreOptions) -> SqliteStore:
    """``--store sqlite``: the database is in the data dir."""
    return SqliteStore(options.data_dir / DATABASE, options.retention, options.room, options.durability)
