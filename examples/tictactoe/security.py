"""Who is asking, and from where: cookies, the secret that signs them, and what a page may load."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import Response, request, session, url_for

from game import Refused

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_HOST: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


class NoCookie(Refused):
    code = "no_cookie"
    sentence = "Your browser sends no cookie, so the game cannot tell who you are. Allow cookies and reload the page."


class CrossOrigin(Refused):
    code = "cross_origin"
    sentence = "That request came from a page of another site."


def secret_key(beside: Path) -> str:
    """The key that signs cookies: ``TICTACTOE_SECRET``, else made once and kept beside the database."""
    given = os.environ.get("TICTACTOE_SECRET")
    if given:
        return given
    path = beside.with_name(f"{beside.name}.secret")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    made = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(made)
    return made


def visitor() -> str:
    """The random id of whoever asks, which a signed cookie keeps. Newcomers get one."""
    if "user" not in session:
        session["user"] = secrets.token_urlsafe(12)
        session.permanent = True
    return str(session["user"])


def known_visitor() -> str:
    """The same for requests that a page makes. Raises :class:`NoCookie` for a newcomer, who has no page."""
    if "user" not in session:
        raise NoCookie
    return visitor()


def refuse_other_origins() -> None:
    """Raise :class:`CrossOrigin` for a request that a page of another site caused. Browsers name it in ``Origin``."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and urlsplit(origin).netloc != request.host:
        raise CrossOrigin


def public_address(pushline: str, public: str | None) -> str:
    """The address at which the asking browser reaches Pushline.

    ``public`` if it is set. Else ``pushline``, the one that this program uses; but a phone that has come here by this
    machine's name in the network finds Pushline by that name, and not by ``127.0.0.1``.
    """
    if public:
        return public.rstrip("/")
    parts = urlsplit(pushline.rstrip("/"))
    asked = _HOST.fullmatch(request.host)
    if asked is None or parts.hostname not in _LOOPBACK or asked[1].strip("[]") in _LOOPBACK:
        return parts.geturl()
    host = asked[1] if parts.port is None else f"{asked[1]}:{parts.port}"
    return parts._replace(netloc=host).geturl()


def invite_link(key: str) -> str:
    """The address that makes its visitor the second player of a game.

    On this machine it takes the other one of its two names: a browser keeps their cookies apart, so two windows of one
    browser are two players.
    """
    parts = urlsplit(url_for("pages.game", key=key, _external=True))
    here = parts.hostname or ""
    other = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(here, here)
    return parts._replace(netloc=parts.netloc.replace(here, other, 1)).geturl()


def protect(response: Response, pushline: str) -> Response:
    """Let a page load its own files, and the script and the connection of Pushline, and nothing else."""
    push = urlsplit(pushline)
    origin = f"{push.scheme}://{push.netloc}"
    websocket = f"{'wss' if push.scheme == 'https' else 'ws'}://{push.netloc}"
    response.headers["Content-Security-Policy"] = "; ".join(
        [
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self'",
            f"script-src 'self' {origin}",
            f"connect-src 'self' {origin} {websocket}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
