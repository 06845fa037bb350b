"""A request, as much of it as is ever looked at."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from pushline.errors import Problem

MOUNTED_API: Final = "/_ah/pushline"
"""Where a mounted Pushline has the application's API, which is at ``/v1/`` otherwise (contract, R5)."""


class Request:
    """One HTTP request. Headers are as they came (b"" when they did not); path and query are still percent-encoded."""

    method: bytes = b""
    path: bytes = b""
    query: bytes = b""
    body: bytes = b""
    address: str = ""
    """Who asks: an IP address, "" for a Unix socket."""
    accept: bytes = b""
    authorization: bytes = b""
    connection: bytes = b""
    content_encoding: bytes = b""
    content_length: bytes = b""
    content_type: bytes = b""
    expect: bytes = b""
    host: bytes = b""
    idempotency_key: bytes | None = None
    """None when there is none: an empty one is a fault of the program."""
    if_none_match: bytes = b""
    last_event_id: bytes = b""
    origin: bytes = b""
    sec_websocket_key: bytes = b""
    sec_websocket_protocol: bytes = b""
    sec_websocket_version: bytes = b""
    transfer_encoding: bytes = b""
    upgrade: bytes = b""
    x_forwarded_for: bytes = b""

    def parameters(self, *known: str) -> dict[str, str]:
        """The query's parameters. Raises :class:`Problem` for one that is not ``known``, twice there or not UTF-8."""
        if not self.query:
            return {}
        return fields(self.query, "unknown_parameter", "The query parameter", known)


HEADERS: Final = {
    b"accept": "accept",
    b"authorization": "authorization",
    b"connection": "connection",
    b"content-encoding": "content_encoding",
    b"content-length": "content_length",
    b"content-type": "content_type",
    b"expect": "expect",
    b"host": "host",
    b"idempotency-key": "idempotency_key",
    b"if-none-match": "if_none_match",
    b"last-event-id": "last_event_id",
    b"origin": "origin",
    b"sec-websocket-key": "sec_websocket_key",
    b"sec-websocket-protocol": "sec_websocket_protocol",
    b"sec-websocket-version": "sec_websocket_version",
    b"transfer-encoding": "transfer_encoding",
    b"upgrade": "upgrade",
    b"x-forwarded-for": "x_forwarded_for",
}
"""The headers that are read, by their lower-case names, and the attributes of :class:`Request` that hold them."""


def fields(encoded: bytes, problem: str, noun: str, known: tuple[str, ...]) -> dict[str, str]:
    """The fields of a query or of a form (``application/x-www-form-urlencoded``), each of them ``known``.

    Raises :class:`Problem` ``problem`` about "``noun`` `name`" that is not known or there twice.
    """
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=16
        )
    except (UnicodeDecodeError, ValueError):
        raise Problem(
            "malformed_request", "The parameters are not percent-encoded UTF-8 of the form a=b&c=d."
        ) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            listed = ", ".join(f"`{each}`" for each in known) or "none"
            raise Problem(problem, f"{noun} `{name}` is not known here; known: {listed}.")
        if name in found:
            raise Problem("malformed_request", f"{noun} `{name}` is there twice.")
        found[name] = value
    return found
