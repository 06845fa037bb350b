"""HTTP/1.1 from the side that asks, pure: requests to bytes, bytes to answers. httptools does the parsing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import httptools

from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse

_OF_A_PATH: Final = "/%:@!$&'()*+,;=-._~"


class BadAnswer(Exception):
    """What came is no whole answer of HTTP. The sentence never repeats what came."""


class Encoder:
    """Writes the requests to one server, which listens at ``host`` and ``port``, with TLS where it is ``secure``."""

    __slots__ = ("_fixed", "_path", "host", "port", "secure")

    def __init__(self, endpoint: Endpoint) -> None:
        parts = urlsplit(endpoint.url)
        self.secure = parts.scheme == "https"
        self.host = _ascii(parts.hostname or "")
        self.port = parts.port or (443 if self.secure else 80)
        named = f"[{self.host}]" if ":" in self.host else self.host
        fixed = {"Host": f"{named}:{parts.port}" if parts.port else named, **endpoint.headers}
        self._fixed = _lines(fixed)
        self._path = quote(parts.path, safe=_OF_A_PATH).encode()

    def encode(self, request: ApiRequest) -> bytes:
        """A whole request."""
        return b"%b %b%b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
            request.method.encode(),
            self._path,
            request.target.encode(),
            self._fixed,
            _lines(request.headers),
            len(request.body),
            request.body,
        )


class Decoder:
    """Reads one answer. ``answer`` is None until it is whole; ``reusable``: another one may come after it."""

    __slots__ = ("_body", "_framed", "_headers", "_lasting", "_parser", "answer", "reusable")

    def __init__(self) -> None:
        self.answer: ApiResponse | None = None
        self.reusable = False
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._framed = True
        self._lasting = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what came; nothing means that the server has closed. Raises :class:`BadAnswer`."""
        if not data:
            self._close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if self.answer is None:
                raise BadAnswer("the answer is not HTTP") from None

    def _close(self) -> None:
        if self._framed:
            raise BadAnswer("the server closed the connection before its answer was whole")
        self._take()

    def _take(self) -> None:
        self.answer = ApiResponse(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self.reusable = self._lasting

    # -- what httptools calls ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The answer begins, or what follows an interim one (RFC 9110, 15.2). Behind the answer nothing may come."""
        if self.answer is None:
            self._headers = {}
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head, or of what stands behind a chunked body."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there. Without a length the body ends with the connection (RFC 9112, 6.3)."""
        self._framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._lasting = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it is an interim one or a second one."""
        if self.answer is None and self._parser.get_status_code() >= 200:
            self._take()
        self._framed = True


def _ascii(host: str) -> str:
    # A name that is none is found out when it is looked up.
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return quote(host)


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
