"""What pages get over HTTP: the script and the module (A6), and refusals (W8). And which origins may connect (W7)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Final

import msgspec

from pushline.errors import ConfigurationError
from pushline.http.request import Request
from pushline.http.values import Headers, Response
from pushline.protocol.codes import CLOSES, TOO_MANY
from pushline.protocol.values import Close

CORS: Final[Headers] = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Retry-After"),
    ("Vary", "Origin, Accept"),
)
"""On every answer under the page's addresses, errors included. No cookie is read, so `*` gives nothing away."""

PREFLIGHT: Final = Response(
    204,
    headers=(
        *CORS,
        ("Access-Control-Allow-Methods", "GET, POST"),
        ("Access-Control-Allow-Headers", "Authorization, Last-Event-ID, Content-Type"),
        ("Access-Control-Max-Age", "7200"),
    ),
)


_ORIGIN: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://[^/?#\s]+/?|null)", re.IGNORECASE)


def refusal(close: Close) -> Response:
    """How a connection is refused where there is a status: a problem whose ``code`` is the name of the close code.

    Its further member ``close_code`` tells a page that this server speaks, and no proxy or portal in its place.
    """
    kind = CLOSES[close.code]
    status = kind.http or CLOSES[TOO_MANY].http or 0
    headers: Headers = CORS
    if status == HTTPStatus.UNAUTHORIZED:
        headers = (("WWW-Authenticate", 'Bearer realm="pushline"'), *headers)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = (("Retry-After", str(math.ceil((close.retry or 0) / 1000))), *headers)
    body = {
        "type": f"urn:pushline:problem:{kind.name}",
        "title": kind.sentence.removesuffix("."),
        "status": status,
        "detail": kind.client,
        "code": kind.name,
        "close_code": kind.code,
    }
    return Response(status, "application/problem+json", msgspec.json.encode(body), headers)


class Script:
    """A file that pages load, with its ETag."""

    __slots__ = ("_etag", "_found", "_unchanged")

    def __init__(self, name: str) -> None:
        body = files("pushline").joinpath("static", name).read_bytes()
        self._etag = '"' + hashlib.sha256(body).hexdigest()[:32] + '"'
        headers: Headers = (
            ("ETag", self._etag),
            ("Cache-Control", "no-cache"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
            *CORS,
        )
        self._found = Response(200, "text/javascript; charset=utf-8", body, headers)
        self._unchanged = Response(304, headers=headers)

    def get(self, request: Request) -> Response:
        """The file, or 304 when the page has it."""
        seen = request.if_none_match.decode("latin-1")
        known = seen.strip() == "*" or any(tag.strip().removeprefix("W/") == self._etag for tag in seen.split(","))
        return self._unchanged if known else self._found


class Origins:
    """Which origins may connect: any, or the listed ones and the server's own host (W7).

    Raises :class:`ConfigurationError` for one that no browser would ever send.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed: Sequence[str]) -> None:
        for origin in allowed:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"--allowed-origin {origin} is not an origin, such as https://app.example.com."
                )
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def admit(self, origin: bytes, host: bytes) -> bool:
        """Whether a page of ``origin`` (b"" for none) may connect to a server that it calls ``host``."""
        if not self._allowed:
            return True
        text = origin.decode("latin-1").lower()
        if text in self._allowed:
            return True
        return bool(host) and text.partition("://")[2] == host.decode("latin-1").lower()
