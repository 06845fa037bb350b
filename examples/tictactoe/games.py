"""Where games are kept: a SQLite file that any number of threads may use."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from game import Game, Player, Refused

MAX_SPECTATORS: Final = 100

_KEY_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_KEY_LENGTH: Final = 10

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS games (
    key TEXT PRIMARY KEY,
    x TEXT NOT NULL, x_wins INTEGER NOT NULL,
    o TEXT, o_wins INTEGER,
    board TEXT NOT NULL, round INTEGER NOT NULL, version INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS spectators (
    key TEXT NOT NULL REFERENCES games, user TEXT NOT NULL, PRIMARY KEY (key, user)
) STRICT, WITHOUT ROWID;
"""


class NoSuchGame(Refused):
    code = "no_such_game"
    sentence = "There is no such game. Begin a new one."


class NoRoom(Refused):
    code = "no_room"
    sentence = "So many people watch this game that there is no room for more."


class Games:
    """All games. What a method changes, it changes in one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as database:
            database.executescript(_SCHEMA)

    def create(self, user: str) -> str:
        """Begin a game in which ``user`` is X, and return its key."""
        key = "".join(secrets.choice(_KEY_LETTERS) for _ in range(_KEY_LENGTH))
        with self._transaction() as database:
            database.execute("INSERT INTO games VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (key, *_row(Game(Player(user)))))
        return key

    def find(self, key: str) -> Game:
        """The game of this key. Raises :class:`NoSuchGame`."""
        with closing(self._connect()) as database:
            return _find(database, key)

    def change(self, key: str, step: Callable[[Game], Game]) -> tuple[Game, bool]:
        """Replace a game by what ``step`` makes of it; return that, and whether it is another.

        Nobody else changes the game meanwhile. When ``step`` raises, the game stays as it was.
        """
        with self._transaction() as database:
            before = _find(database, key)
            after = step(before)
            database.execute(
                "UPDATE games SET (x, x_wins, o, o_wins, board, round, version) = (?, ?, ?, ?, ?, ?, ?) WHERE key = ?",
                (*_row(after), key),
            )
        return after, after != before

    def watch(self, key: str, user: str) -> None:
        """Remember a spectator. Raises :class:`NoRoom`."""
        with self._transaction() as database:
            watching = _spectators(database, key)
            if len(watching) >= MAX_SPECTATORS and user not in watching:
                raise NoRoom
            database.execute("INSERT OR IGNORE INTO spectators VALUES (?, ?)", (key, user))

    def spectators(self, key: str) -> list[str]:
        """Who watches a game."""
        with closing(self._connect()) as database:
            return _spectators(database, key)

    def forget(self, key: str, users: Iterable[str]) -> None:
        """Remove spectators who have gone."""
        with self._transaction() as database:
            database.executemany("DELETE FROM spectators WHERE key = ? AND user = ?", [(key, user) for user in users])

    def _connect(self) -> sqlite3.Connection:
        # One for each call: it is cheap, and no thread meets another's.
        return sqlite3.connect(self._path, isolation_level=None, timeout=10)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")  # what it reads is still true when it writes
            yield database


def _find(database: sqlite3.Connection, key: str) -> Game:
    row = database.execute(
        "SELECT x, x_wins, o, o_wins, board, round, version FROM games WHERE key = ?", (key,)
    ).fetchone()
    if row is None:
        raise NoSuchGame
    x, x_wins, o, o_wins, *rest = row
    return Game(Player(x, x_wins), None if o is None else Player(o, o_wins), *rest)


def _row(game: Game) -> tuple[object, ...]:
    x, o = game.x, game.o
    return (x.user, x.wins, o and o.user, o and o.wins, game.board, game.round, game.version)


def _spectators(database: sqlite3.Connection, key: str) -> list[str]:
    return [user for (user,) in database.execute("SELECT user FROM spectators WHERE key = ?", (key,))]
