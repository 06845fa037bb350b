"""A database of an older version is brought to this one, in place, and nothing in it is lost."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from tests.stores.disk import append, create, sweep, texts

from pushline.errors import ConfigurationError
from pushline.messages import Append, Policy
from pushline.protocol.tokens import Claims
from pushline.stores import sqlite
from pushline.stores.base import ChannelState, Connect, Connected, Repeated, Settle
from pushline.stores.sqlite import DATABASE, SCHEMA_VERSION, SqliteStore
from pushline.testing.stores import NOW

VERSION_1 = """
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

FIRST = 1_782_579_200_000_000_000
"""An id of about the time of the tests."""

ACKNOWLEDGED = f'{{"{FIRST + 1}":{FIRST + 2}}}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database as version 1 has left it: ann's three messages are kept, bob's channel is shared."""
    path = tmp_path / DATABASE
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    connection.execute(VERSION_1)
    connection.execute("UPDATE sequence SET last = ?", (FIRST + 100,))
    connection.executemany(
        "INSERT INTO channels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (1, b"ann", FIRST, FIRST, FIRST + 10, FIRST, "replace", NOW + 60, None, "p", FIRST + 5, 1),
            (
                2,
                b"b\0b",
                FIRST + 1,
                FIRST + 1,
                0,
                FIRST + 1,
                "share",
                NOW + 99,
                f'{{"{FIRST + 1}":{FIRST + 2}}}',
                "",
                0,
                0,
            ),
        ],
    )
    connection.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, ?)",
        [
            (FIRST + 2, 2, 0.0, b"shared"),
            (FIRST + 9, 1, 0.0, b"dropped"),
            *((FIRST + 20 + n, 1, 0.0, b"%d" % n * 5000) for n in range(3)),
            (FIRST + 30, 7, 0.0, b"of a channel that has ended"),
        ],
    )
    connection.executemany(
        "INSERT INTO keys VALUES (?, ?, ?, ?)",
        [(1, "k", FIRST + 20, NOW + 300), (2, "l", FIRST + 2, NOW + 300), (7, "m", FIRST + 30, NOW)],
    )
    connection.pragma("user_version", 1)
    connection.close()
    return path


def version(path: Path) -> tuple[object, object]:
    connection = apsw.Connection(str(path))
    try:
        return connection.pragma("user_version"), connection.pragma("auto_vacuum")
    finally:
        connection.close()


def check(store: SqliteStore) -> None:
    assert texts(store) == [b"%d" % n * 5000 for n in range(3)]
    assert store.read("ann", FIRST, NOW).gap == FIRST + 10
    assert texts(store, "b\0b") == [b"shared"]
    assert store.look("b\0b", NOW) == ChannelState(1, FIRST + 2, NOW + 99, Policy.SHARE)
    repeated = [
        Repeated(FIRST + 20, acknowledged=False, kept=True),
        Repeated(FIRST + 2, acknowledged=True, kept=True),
    ]
    assert store.commit([Append("ann", b"", "k"), Append("b\0b", b"", "l")], NOW) == repeated
    (connected,) = store.commit([Connect(Claims("ann", FIRST, int(NOW + 60), Policy.REPLACE), "p", None)], NOW)
    assert isinstance(connected, Connected)
    assert connected.resumed
    assert connected.fence > FIRST + 100
    create(store, "eve")
    append(store, b"hello", "eve")
    assert texts(store, "eve") == [b"hello"]
    sweep(store, NOW)
    store.close()


def test_version_1_comes_out_as_live_channels_messages_and_keys(path: Path) -> None:
    check(SqliteStore(path))
    assert version(path) == (SCHEMA_VERSION, 2)
    store = SqliteStore(path)
    assert len(texts(store)) == 3
    assert texts(store, "eve") == [b"hello"]
    store.close()


@pytest.mark.parametrize("step", ["begun", "done but for its version"])
def test_a_step_that_was_interrupted_is_done_again(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    first, second, *others = sqlite._STEPS

    def interrupted(connection: apsw.Connection) -> None:
        if step != "begun":
            second(connection)
            connection.pragma("user_version", 1)
        raise apsw.IOError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_STEPS", (first, interrupted, *others))
        with pytest.raises(ConfigurationError, match="the power went"):
            SqliteStore(path)
    assert version(path)[0] == 1
    check(SqliteStore(path))


def test_no_room_for_it_is_told_in_a_sentence_and_leaves_what_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(connection: apsw.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    with monkeypatch.context() as patch:
        patch.setattr(apsw, "connection_hooks", [narrow])
        with pytest.raises(ConfigurationError) as refused:
            SqliteStore(path)
    assert str(refused.value) == (
        f"{path} cannot be read or brought to this version (SQLite: database or disk is full). "
        "Mend that, or choose another --data-dir."
    )
    check(SqliteStore(path))


@pytest.mark.parametrize("step", [1, 2])
def test_who_held_a_place_in_an_older_version_has_the_grace_to_come_back(path: Path, step: int) -> None:
    if step == 2:
        connection = apsw.Connection(str(path))
        sqlite._STEPS[1](connection)
        assert connection.pragma("user_version") == 2
        connection.close()
    store = SqliteStore(path)
    orphans = store.orphans()
    assert orphans is not None
    assert orphans.connections == [("ann", (FIRST + 5,))]
    assert orphans.notices == []
    assert store.commit([Settle("ann", (FIRST + 5,), tell=True)], NOW) == [None]  # nobody was told that she is there
    claims = Claims("ann", FIRST, int(NOW + 60), Policy.REPLACE)
    (connected,) = store.commit([Connect(claims, "another", None, tell=True)], NOW)
    assert isinstance(connected, Connected)
    assert connected.notice is not None
    assert connected.notice.connected
    store.close()


def test_a_new_database_has_this_version_and_can_shrink(tmp_path: Path) -> None:
    SqliteStore(tmp_path / DATABASE).close()
    assert version(tmp_path / DATABASE) == (SCHEMA_VERSION, 2)


def test_a_new_database_that_was_not_finished_is_finished(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    connection.close()
    SqliteStore(path).close()
    assert version(path) == (SCHEMA_VERSION, 2)
