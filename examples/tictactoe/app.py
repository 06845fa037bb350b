"""Tic-tac-toe for two browsers, with Pushline: ``python app.py --help``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import waitress  # type: ignore[import-untyped]
from flask import Flask, Response, render_template

from api import STATUS, api
from game import Refused
from games import Games
from live import Live, Push
from pages import pages
from pushline import Client
from pushline.errors import ConfigurationError
from security import protect, public_address, secret_key

DEFAULT_PUSHLINE = "http://127.0.0.1:8080"


def create_app(database: Path, push: Push, *, pushline: str = DEFAULT_PUSHLINE, public: str | None = None) -> Flask:
    """The web program: games in ``database``, pushed by ``push``.

    ``pushline`` is the address of Pushline for this program, ``public`` the one for browsers if it is another.
    """
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secret_key(database),
        SESSION_COOKIE_NAME="tictactoe",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=4096,
    )
    games, live = Games(database), Live(push)
    app.register_blueprint(pages(games, live, pushline, public))
    app.register_blueprint(api(games, live))

    @app.errorhandler(Refused)
    def refused(error: Refused) -> tuple[str, int]:
        return render_template("problem.html", sentence=error), STATUS.get(type(error), 409)

    @app.errorhandler(404)
    def not_found(_: Exception) -> tuple[str, int]:
        return render_template("problem.html", sentence="There is nothing at this address."), 404

    @app.after_request
    def secure(response: Response) -> Response:
        return protect(response, public_address(pushline, public))

    return app


def main() -> None:
    """Serve the game until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        description="Tic-tac-toe for two browsers.",
        epilog="Pushline is found by PUSHLINE_URL and PUSHLINE_API_KEY. "
        "PUSHLINE_PUBLIC_URL is its address for browsers, if that is another one.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve on (%(default)s; 0.0.0.0: all)")
    parser.add_argument("--port", default=8000, type=int, help="the port to serve on (%(default)s; 0: a free one)")
    parser.add_argument("--database", default=Path("games.sqlite3"), type=Path, help="the file of games (%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        push = Client(timeout=3)
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family)
    except (ConfigurationError, OSError) as error:
        sys.exit(str(error))
    app = create_app(
        options.database,
        push,
        pushline=os.environ.get("PUSHLINE_URL") or DEFAULT_PUSHLINE,
        public=os.environ.get("PUSHLINE_PUBLIC_URL"),
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"Tic-tac-toe is on http://{host}:{listener.getsockname()[1]}/", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    waitress.serve(app, sockets=[listener], threads=8, ident=None, _quiet=True)


if __name__ == "__main__":
    main()
