"""A wire in memory: what a protocol writes can be read, and what a peer does can be said. No socket, no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast


def _at_once(callback: Callable[[], None]) -> None:
    callback()


class MemoryPipe(asyncio.Transport):
    """The transport of one connection, for protocols of asyncio.

    ``high_water``: bytes that may lie unread before the protocol is told to pause; :meth:`take` reads them.
    ``call_soon``: by which a protocol that closes learns that it has closed; an event loop tells it in a later turn.
    """

    def __init__(
        self,
        protocol: asyncio.BaseProtocol,
        *,
        high_water: int = 1 << 16,
        call_soon: Callable[[Callable[[], None]], object] = _at_once,
    ) -> None:
        super().__init__()
        self._protocol = cast("asyncio.Protocol", protocol)
        self._high_water = high_water
        self._call_soon = call_soon
        self._paused = False
        self._buffer = bytearray()
        self.writes = 0
        """How many times the protocol has written."""
        self.reading = True
        self.ended = False
        """Whether the protocol has sent the end of its side."""
        self.closed = False
        protocol.connection_made(self)

    # -- the protocol's side -----------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See :class:`asyncio.WriteTransport`."""
        if self.closed:
            return
        self.writes += 1
        self._buffer += data
        if len(self._buffer) > self._high_water and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._close()

    def abort(self) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._close()

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self._call_soon(partial(self._protocol.connection_lost, None))

    def is_closing(self) -> bool:
        """See :class:`asyncio.BaseTransport`."""
        return self.closed

    def can_write_eof(self) -> bool:
        """See :class:`asyncio.WriteTransport`."""
        return True

    def write_eof(self) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self.ended = True

    def pause_reading(self) -> None:
        """See :class:`asyncio.ReadTransport`."""
        self.reading = False

    def resume_reading(self) -> None:
        """See :class:`asyncio.ReadTransport`."""
        self.reading = True

    def get_write_buffer_size(self) -> int:
        """See :class:`asyncio.WriteTransport`."""
        return len(self._buffer)

    def set_protocol(self, protocol: object) -> None:
        """See :class:`asyncio.BaseTransport`: whatever has the methods of a protocol."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See :class:`asyncio.BaseTransport`."""
        return self._protocol

    # -- the peer's side ---------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """The peer sends some bytes."""
        self._protocol.data_received(data)

    def take(self, size: int | None = None) -> bytes:
        """The peer reads all that was written until now, or ``size`` bytes of it at most."""
        data = bytes(self._buffer[:size])
        del self._buffer[: len(data)]
        if self._paused and not self.closed and len(self._buffer) <= self._high_water // 4:
            self._paused = False
            self._protocol.resume_writing()
        return data

    def end(self) -> None:
        """The peer ends its side: it sends no more, and a protocol that does not mind may still write."""
        if not self.closed and not self._protocol.eof_received():
            self._close()

    def drop(self) -> None:
        """The connection breaks without a word."""
        if not self.closed:
            self.closed = True
            self._protocol.connection_lost(ConnectionResetError())
