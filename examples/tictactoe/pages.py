"""What a browser opens: the start page, and the page of a game."""

from __future__ import annotations

from flask import Blueprint, make_response, redirect, render_template, url_for
from werkzeug.wrappers import Response

from games import Games
from live import Live, view
from security import invite_link, public_address, refuse_other_origins, visitor


def pages(games: Games, live: Live, pushline: str, public: str | None) -> Blueprint:
    """The pages. ``pushline`` and ``public`` are its addresses, for this program and for browsers."""
    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def start() -> str:
        visitor()
        return render_template("start.html")

    @routes.post("/games")
    def create() -> Response:
        refuse_other_origins()
        return redirect(url_for("pages.game", key=games.create(visitor())), 303)

    @routes.get("/games/<key>")
    def game(key: str) -> Response:
        user = visitor()
        games.find(key)  # no channel for a game that there is not
        token = live.token(key, user)
        # Read after the token was made: what changes from here on is pushed to the page.
        state = view(games.find(key), user)
        page = make_response(
            render_template(
                "game.html",
                token=token,
                state=state,
                address=url_for("pages.game", key=key),
                invite=invite_link(key),
                script=f"{public_address(pushline, public)}/_ah/channel/jsapi",
            )
        )
        page.headers["Cache-Control"] = "no-store"
        return page

    return routes
