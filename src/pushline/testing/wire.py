"""The page's end of a connection in memory, and what may go wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlencode

from pushline.clock import Clock
from pushline.protocol.frames import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from pushline.testing.pipe import MemoryPipe

HOST = "pushline.test"


class PageWire(MemoryPipe):
    """A connection that tells its page when there is something to read, or the end.

    ``clock`` is that of the server's process. While it is ``stuck`` nothing passes in either direction, and neither
    side is told.
    """

    def __init__(self, protocol: asyncio.BaseProtocol, clock: Clock, arrived: Callable[[PageWire], None]) -> None:
        self.stuck = False
        self._later = clock.call_soon
        self._arrived = arrived
        super().__init__(protocol, call_soon=clock.call_soon)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See :class:`asyncio.WriteTransport`."""
        super().write(data)
        self._tell()

    def _close(self) -> None:
        super()._close()
        self._tell()

    def _tell(self) -> None:
        self._later(lambda: self._arrived(self))

    def say(self, data: bytes) -> None:
        """The page sends some bytes, as far as they get."""
        if data and not self.stuck and not self.closed:
            self.feed(data)

    def break_off(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """The server's process is gone, and with it what was on its way. The page learns of that, the server not."""
        if not self.closed:
            self.closed = True
            self._buffer.clear()
            call_soon(lambda: self._arrived(self))


def handshake_bytes(token: str, page: str, after: str | None) -> bytes:
    """The opening handshake of a page (contract, W1)."""
    query = {"page": page} if after is None else {"page": page, "after": after}
    lines = [
        f"GET /_ah/channel/connect?{urlencode(query)} HTTP/1.1",
        f"Host: {HOST}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}{token}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
