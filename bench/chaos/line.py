"""The network between one page and the server, which can be cut, and HTTP over it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Final, cast

import httptools

HOST: Final = "127.0.0.1"
_RESET: Final = struct.pack("ii", 1, 0)


class Cut(Enum):
    """How connections end."""

    RESET = "reset"  # by a TCP reset, as when a router forgets them
    CLOSE = "close"  # by a FIN and without a word, as when a program dies
    STALL = "stall"  # nothing gets through, and nobody is told; what was on its way is lost


class Line:
    """All connections of one page go over it. While it is down, none can be opened."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._holders = 0
        self._transports: set[asyncio.BaseTransport] = set()

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """A connection goes over the line, from here to :meth:`detach`."""
        if self._holders:  # it was being opened when the line went down
            _cut(transport, Cut.RESET)
        self._transports.add(transport)

    def detach(self, transport: asyncio.BaseTransport) -> None:
        """A connection has ended."""
        self._transports.discard(transport)

    def check(self) -> None:
        """Raise when no connection can be opened."""
        if self._holders:
            raise ConnectionRefusedError("The line is down.")

    @contextmanager
    def down(self, how: Cut) -> Iterator[None]:
        """The line is down as long as this is open."""
        self._holders += 1
        cut = list(self._transports)
        for transport in cut:
            _cut(transport, how)
        try:
            yield
        finally:
            for transport in cut if how is Cut.STALL else ():
                _cut(transport, Cut.RESET)
            self._holders -= 1

    async def dial(self) -> HttpConnection:
        """Open a connection for HTTP."""
        self.check()
        reader, writer = await asyncio.open_connection(HOST, self.port)
        return HttpConnection(self, reader, writer)


def _cut(transport: asyncio.BaseTransport, how: Cut) -> None:
    if transport.is_closing():
        return
    if how is Cut.CLOSE:
        transport.close()
        return
    stream = cast("asyncio.Transport", transport)
    if how is Cut.STALL:
        stream.pause_reading()
    else:
        plug = stream.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        stream.abort()


class Broken(ConnectionError):
    """The connection ended within an answer, or what came is no HTTP."""


class HttpConnection:
    """One connection that carries one request after the other.

    :meth:`ask`, then :meth:`chunk` until it is empty. All of them raise ``OSError`` when the connection breaks.
    """

    status = 0

    def __init__(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._line = line
        line.attach(writer.transport)
        self._parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._headed = self._complete = False

    @property
    def usable(self) -> bool:
        """Whether another request can go over it."""
        over = self._writer.transport.is_closing() or self._reader.at_eof()
        return not over and self.headers.get("connection") != "close"

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a request, and wait for the head of its answer: :attr:`status` and :attr:`headers`."""
        self.headers.clear()
        self._headed = self._complete = False
        lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {headers[name]}" for name in headers)]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        while not self._headed:
            await self._read()

    async def chunk(self) -> bytes:
        """More of the answer's body; empty at its end."""
        while not self._chunks and not self._complete:
            await self._read()
        body = b"".join(self._chunks)
        self._chunks.clear()
        return body

    async def body(self) -> bytes:
        """The whole of the answer's body."""
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def _read(self) -> None:
        data = await self._reader.read(1 << 16)
        if not data:
            raise Broken("The connection ended.")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Broken(f"This is no HTTP: {error}.") from None

    def close(self) -> None:
        """End it."""
        self._line.detach(self._writer.transport)
        self._writer.close()

    # -- the parser's side ---------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headed = self.status >= 200

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._complete = self._headed
