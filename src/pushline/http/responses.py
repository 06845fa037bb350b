"""Responses: their bytes, and the promise of one that waits for a commit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec

from pushline.errors import Problem
from pushline.http.values import Headers, Response, TooMany
from pushline.protocol.codes import PROBLEMS

# What RFC 9110 wants said along with a status.
_BESIDES: Final[dict[int, Headers]] = {
    HTTPStatus.UNAUTHORIZED: (("WWW-Authenticate", 'Bearer realm="pushline"'),),
    HTTPStatus.UPGRADE_REQUIRED: (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (("Retry-After", "5"),),
    HTTPStatus.SERVICE_UNAVAILABLE: (("Retry-After", "2"),),
}
_SAFE: Final = (
    "X-Content-Type-Options: nosniff",
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy: no-referrer",
)
"""On every answer that a browser might show: none of them is a page, and none may become one."""

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Pending:
    """An answer that waits for the hub: ``response`` is there at the end of the turn in which its commit was done.

    Bytes are the JSON of a plain answer with status 200: what the hot path answers.

    ``close`` and ``head`` belong to the front: the connection ends with it; it goes without its body.
    """

    __slots__ = ("close", "head", "response")

    def __init__(self, response: Response | bytes | None = None) -> None:
        self.response = response
        self.close = False
        self.head = False


class Later(Pending):
    """An answer that comes in some later turn, or on a timer. The front sets ``tell``, and hears by it."""

    __slots__ = ("tell",)

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[], None] = _nobody

    def answer(self, response: Response | bytes) -> None:
        """It is there."""
        self.response = response
        self.tell()

    def gone(self) -> None:
        """Whoever asked has gone."""


def _nobody() -> None:
    """Nobody has asked yet."""


def json_response(status: int, value: object, headers: Headers = ()) -> Response:
    """An answer in JSON."""
    return Response(status, "application/json", msgspec.json.encode(value), headers)


def problem_response(problem: Problem, headers: Headers = ()) -> Response:
    """A refusal as RFC 9457 has it, with the stable ``code`` besides (contract, section 4)."""
    kind = PROBLEMS[problem.code]
    body = {
        "type": f"urn:pushline:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": kind.code,
    }
    besides = _BESIDES.get(kind.status, ())
    if isinstance(problem, TooMany):
        besides = (("Retry-After", str(math.ceil(problem.retry_after))),)
    headers = (*besides, *headers)
    return Response(kind.status, "application/problem+json", msgspec.json.encode(body), headers)


def http_date(now: float) -> str:
    """The moment ``now`` (unix seconds) as RFC 9110 writes it, whatever the locale."""
    t = time.gmtime(now)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


class Encoder:
    """Makes the bytes of HTTP/1.1 responses. The front tells it once a turn that time passes (:meth:`tell_time`)."""

    __slots__ = ("_date", "_hot", "_now", "_second")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = -1
        self.tell_time()

    def tell_time(self) -> None:
        """Make the date of the responses anew, when a second has passed."""
        now = self._now()
        if int(now) != self._second:
            self._second = int(now)
            self._date = http_date(now)
            self._hot = (
                f"HTTP/1.1 200 OK\r\nDate: {self._date}\r\nContent-Type: application/json\r\n"
                "Cache-Control: no-store\r\nContent-Length: "
            ).encode()

    def stream(self, response: Response) -> bytes:
        """The head of a response whose body goes on until its connection ends."""
        return self._head(response, ["Connection: close"])

    def encode(self, response: Response | bytes, *, close: bool, head: bool) -> bytes:
        """The response's bytes; ``close``: the connection ends with it; ``head``: without its body."""
        if isinstance(response, bytes):
            if not close and not head:
                return b"%b%d\r\n\r\n%b" % (self._hot, len(response), response)
            response = Response(200, "application/json", response)
        body = response.body
        more: list[str] = []
        if response.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            more.append(f"Content-Length: {len(body)}")
        if close:
            more.append("Connection: close")
        text = self._head(response, more)
        return text if head else text + body

    def _head(self, response: Response, more: list[str]) -> bytes:
        self.tell_time()
        lines = [f"HTTP/1.1 {response.status} {response.reason or _PHRASES[response.status]}", f"Date: {self._date}"]
        if response.content_type:
            lines.append(f"Content-Type: {response.content_type}")
        lines += _SAFE
        lines += [f"{name}: {value}" for name, value in response.headers]
        if not any(name == "Cache-Control" for name, _ in response.headers):
            lines.append("Cache-Control: no-store")
        return "\r\n".join([*lines, *more, "", ""]).encode()
