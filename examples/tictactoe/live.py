"""What Pushline does for the game: tokens for its pages, and every new state to everybody who looks at it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final, Protocol

from game import EMPTY, Game
from pushline import TargetResult
from pushline.client.requests import Item
from pushline.errors import ClientError

log = logging.getLogger(__name__)

# A page may stay open for a day. `share`: a player with two windows on one game sees it move in both.
TOKEN_MINUTES: Final = 24 * 60
POLICY: Final = "share"


class Push(Protocol):
    """The two calls of Pushline's SDK that the game needs."""

    def create_channel(self, client_id: str, duration_minutes: int, *, policy: str | None) -> str: ...

    def send_many(self, items: Iterable[Item]) -> list[TargetResult]: ...


class Live:
    """The live side of all games. A game goes on without it: who is told nothing sees the board at the next load."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def token(self, key: str, user: str) -> str:
        """The token for a page of ``user`` on a game, or an empty text while Pushline is away."""
        try:
            return self._push.create_channel(client_id(key, user), TOKEN_MINUTES, policy=POLICY)
        except ClientError as error:
            log.warning("No live page for game %s: %s", key, error)
            return ""

    def tell(self, key: str, game: Game, spectators: list[str]) -> list[str]:
        """Push the state of a game to players and spectators; return the spectators who have gone."""
        players = [player.user for player in (game.x, game.o) if player is not None]
        items = [_item(key, game, [user], view(game, user)) for user in players]
        if spectators:
            items.append(_item(key, game, spectators, view(game, None)))
        try:
            results = self._push.send_many(items)
        except ClientError as error:
            log.warning("The state of game %s was not pushed: %s", key, error)
            return []
        for result in results:
            if result.code is not None:
                log.warning("The state of game %s was refused: %s (%s)", key, result.detail, result.code)
        unreached = {result.to for result in results if result.status == "no_channel"}
        return [user for user in spectators if client_id(key, user) in unreached]


def client_id(key: str, user: str) -> str:
    """What Pushline calls ``user`` at a game: somebody who plays two games has two channels."""
    return f"game-{key}/{user}"


def view(game: Game, user: str | None) -> dict[str, Any]:
    """The state of a game as the page of ``user`` shows it."""
    return {
        "version": game.version,
        "round": game.round,
        "board": ["" if mark == EMPTY else mark for mark in game.board],
        "you": None if user is None else game.mark_of(user),
        "started": game.o is not None,
        "turn": game.turn,
        "over": game.over,
        "winner": game.winner,
        "line": game.line,
        "wins": {"X": game.x.wins, "O": 0 if game.o is None else game.o.wins},
    }


def _item(key: str, game: Game, users: list[str], state: dict[str, Any]) -> Item:
    # The version as idempotency key: the SDK may repeat the request, and nobody is told twice.
    return {"to": [client_id(key, user) for user in users], "json": state, "key": str(game.version)}
