"""The seam between a session and the bytes of its connection.

A transport moves bytes in and out of one session and has no rule of its own. It promises the hub
(:class:`pushline.hub.Outlet`) and the session:

- what :meth:`Session.outgoing` yields is written in order and at once, in one write when it came in one turn;
- ``session.writable`` is false while the peer takes less than is sent; when that ends, :meth:`Hub.feed` is called;
- frames of the page go to :meth:`Hub.received`, answers to RFC 6455 pings to :meth:`Session.pong`;
- :class:`Close` is the last thing written, and the peer has :data:`CLOSE_SECONDS` to answer it;
- a connection that was opened is told to :meth:`Hub.disconnected` exactly once: at once when either side ends it, or
  when it is gone.

:class:`pushline.testing.transports.TransportConformance` tests all of that.
"""

from __future__ import annotations

from typing import Final, Protocol

from pushline.hub import Outlet

CLOSE_SECONDS: Final = 5.0
"""How long a peer has to answer a close frame before the connection is cut."""


class Wire(Protocol):
    """What a transport writes to: the part of ``asyncio.Transport`` that it uses."""

    def write(self, data: bytes) -> None:
        """Send, or buffer, some bytes."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close at once."""


class Transport(Outlet, Protocol):
    """A transport as the front sees it."""

    def data_received(self, data: bytes) -> None:
        """Bytes came from the peer."""

    def pause_writing(self) -> None:
        """The peer takes less than is sent."""

    def resume_writing(self) -> None:
        """The peer takes more again."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
