"""What the page of a game asks for, in JSON: to join, to move, to play again, and how the game stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, request
from werkzeug.exceptions import HTTPException

from game import Game, NoSuchSquare, NotAPlayer, Refused
from games import Games, NoSuchGame
from live import Live, view
from security import CrossOrigin, NoCookie, known_visitor, refuse_other_origins

Json = dict[str, Any]


class NotJson(Refused):
    code = "not_json"
    sentence = "Send JSON, with Content-Type: application/json."


class Malformed(Refused):
    code = "malformed"

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f'Send a JSON object with a whole number "{self.name}".'


# Everything else does not fit the state of the game: 409.
STATUS: Final[dict[type[Refused], int]] = {
    Malformed: 400,
    NoSuchSquare: 400,
    CrossOrigin: 403,
    NoCookie: 403,
    NotAPlayer: 403,
    NoSuchGame: 404,
    NotJson: 415,
}


def api(games: Games, live: Live) -> Blueprint:
    """The routes. Each answers with the state of the game, or ``{"error": {"code": …, "message": …}}``."""
    routes = Blueprint("api", __name__, url_prefix="/games/<key>")

    @routes.before_request
    def check() -> None:
        # A form of another site can send a cookie, but neither this content type nor a false origin.
        refuse_other_origins()
        if request.method == "POST" and not request.is_json:
            raise NotJson

    @routes.get("/state")
    def state(key: str) -> Json:
        return view(games.find(key), known_visitor())

    @routes.post("/join")
    def join(key: str) -> Json:
        user = known_visitor()
        game = change(key, lambda game: game.join(user))
        if game.mark_of(user) is None:
            games.watch(key, user)
            game = games.find(key)  # read again: what changed before is not pushed to this page
        return view(game, user)

    @routes.post("/moves")
    def move(key: str) -> Json:
        user, square = known_visitor(), number("square")
        return view(change(key, lambda game: game.play(user, square)), user)

    @routes.post("/rematch")
    def rematch(key: str) -> Json:
        user, round = known_visitor(), number("round")
        return view(change(key, lambda game: game.rematch(user, round)), user)

    @routes.errorhandler(Refused)
    def refused(error: Refused) -> tuple[Json, int]:
        return {"error": {"code": error.code, "message": str(error)}}, STATUS.get(type(error), 409)

    @routes.errorhandler(HTTPException)
    def failed(error: HTTPException) -> tuple[Json, int]:
        code = error.name.lower().replace(" ", "_")
        return {"error": {"code": code, "message": error.description}}, error.code or 500

    def change(key: str, step: Callable[[Game], Game]) -> Game:
        """Change a game, and then tell everybody."""
        game, changed = games.change(key, step)
        if changed:
            games.forget(key, live.tell(key, game, games.spectators(key)))
        return game

    return routes


def number(name: str) -> int:
    """The whole number of this name in the body."""
    body = request.get_json(silent=True)
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(name)
    return value
