"""The seam between a session and the bytes of its connection.

A transport moves bytes in and out of one session and has no rule of its own. It promises the hub
(:class:`pushline.hub.Outlet`) and the session:

- what :meth:`Session.outgoing` yields is written in order and at once, in one write when it came in one turn;
- :meth:`Hub.blocked` is called when the peer takes less than is sent, and :meth:`Hub.unblocked` when that ends;
- frames of the page go to :meth:`Hub.received`, answers to RFC 6455 pings to :meth:`Session.pong`;
- :class:`Close` is the last thing written, and the peer has :data:`CLOSE_SECONDS` to answer it;
- a connection that was opened is told to :meth:`Hub.disconnected` exactly once: at once when either side ends it, or
  when it is gone;
- a connection that has gone before it was opened or refused is told to :meth:`Hub.left`.

:class:`pushline.testing.transports.TransportConformance` tests all of that.
"""

from __future__ import annotations

import re
import socket
import struct
import termios
from abc import ABC, abstractmethod
from collections.abc import Callable
from fcntl import ioctl
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from pushline.clock import Clock, Timer
from pushline.errors import ConnectionEnded
from pushline.http.page import Origins
from pushline.http.request import Request
from pushline.hub import Hub, Outlet
from pushline.protocol.codes import INVALID_TOKEN, ORIGIN_NOT_ALLOWED, PROTOCOL_ERROR, TOO_MANY
from pushline.protocol.session import Session
from pushline.protocol.values import Close, Traffic

CLOSE_SECONDS: Final = 5.0
"""How long a peer has to answer the end of a connection before it is cut."""

_PAGE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_BYTES_ACKED: Final = 120
"""Where ``struct tcp_info`` of Linux has the bytes that the peer has acknowledged."""


class Wire(Protocol):
    """What a transport writes to: the part of ``asyncio.Transport`` that it uses."""

    def write(self, data: bytes) -> None:
        """Send, or buffer, some bytes."""

    def can_write_eof(self) -> bool:
        """Whether one side of it can end before the other."""

    def write_eof(self) -> None:
        """Send what is buffered, then the end of this side."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close at once."""

    def get_write_buffer_size(self) -> int:
        """How many bytes are buffered."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The ``socket``, where there is one; ``taken``, how many bytes went out in all, where they are counted."""


def traffic(wire: Wire) -> Traffic:
    """What has become of the bytes that were written to ``wire``: ours, and those that the kernel has."""
    unsent = wire.get_write_buffer_size()
    sock = wire.get_extra_info("socket")
    if sock is None:
        return Traffic(wire.get_extra_info("taken", -unsent), unsent)
    try:
        unsent += struct.unpack("i", ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
        return Traffic(struct.unpack_from("Q", info, _BYTES_ACKED)[0], unsent)
    except (OSError, ValueError, struct.error):  # the connection has gone, or it is not TCP
        return Traffic(wire.get_extra_info("taken", -unsent), unsent)


class Door:
    """Where pages come in, over whatever transport: the checks and their order are the same for all of them.

    ``wires`` counts the connections that transports hold, until they are closed, and the polls that are still to come.
    """

    def __init__(self, hub: Hub, clock: Clock, origins: Origins) -> None:
        self.hub = hub
        self.clock = clock
        self.origins = origins
        self.wires = 0

    def expect(self, seconds: float) -> None:
        """For so long a page may come that has to be told how it goes on."""
        self.wires += 1
        self.clock.call_later(seconds, self._not_expected)

    def _not_expected(self) -> None:
        self.wires -= 1

    def admit(self, request: Request) -> None:
        """Raise :class:`ConnectionEnded` when pages of this origin may not connect (W7)."""
        if not self.origins.admit(request.origin, request.host):
            raise ConnectionEnded(ORIGIN_NOT_ALLOWED)

    def connect(self, request: Request, token: str | None, outlet: Outlet) -> None:
        """Connect the page that asks: ``outlet`` is opened or refused, now or later."""
        try:
            self.admit(request)
            query = parameters(request)
            page = query.get("page", "")
            if page and not is_page(page):
                raise ConnectionEnded(PROTOCOL_ERROR)
            if token is None:
                raise ConnectionEnded(INVALID_TOKEN)
            after = query.get("after")
            if request.last_event_id:
                after = request.last_event_id.decode("latin-1")
            self.hub.connect(token, page, after, outlet)
        except ConnectionEnded as ended:
            self.hub.refuse(outlet, ended)


def parameters(request: Request) -> dict[str, str]:
    """The query's parameters; those that are not known to a transport are nothing to it."""
    query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in query.items()}


def is_page(text: str) -> bool:
    """Whether ``text`` may name a page's socket (W1)."""
    return _PAGE.fullmatch(text) is not None


def bearer(request: Request) -> str | None:
    """The token of ``Authorization: Bearer <token>``, None when there is none."""
    scheme, _, token = request.authorization.decode("latin-1").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _nobody(address: str) -> None:
    """Nobody counts connections."""


CONNECTING: Final = 0
OPEN: Final = 1
CLOSING: Final = 2


class Stream(ABC):
    """What the transports that hold a connection of their own have in common: its phases, its buffer, its end.

    To the loop they are an :class:`asyncio.Protocol`, without being derived from it: so they can be compiled.
    """

    __slots__ = ("_close_timer", "_door", "_phase", "_wire", "address", "left", "retry", "session")

    session: Session
    name: str

    def __init__(self, door: Door, wire: Wire) -> None:
        self._door = door
        self._wire = wire
        self._phase = CONNECTING
        self._close_timer: Timer | None = None
        self.address = ""
        self.left: Callable[[str], None] = _nobody
        """Told ``address`` when the connection is gone, by whoever counts those."""
        self.retry = 0
        """Milliseconds after which to come back, when there is no room for this connection."""

    def _connect(self, request: Request, token: str | None) -> None:
        self._door.wires += 1
        if self.retry:
            self._door.hub.refuse(self, ConnectionEnded(TOO_MANY, self.retry))
        else:
            self._door.connect(request, token, self)

    def opened(self, session: Session) -> bool:
        """See :class:`Outlet`."""
        if self._phase is not CONNECTING:
            return False
        self.session = session
        self._phase = OPEN
        return True

    def traffic(self) -> Traffic:
        """See :class:`Outlet`."""
        return traffic(self._wire)

    def _leave(self, *, orderly: bool) -> None:
        """The connection is no longer good for messages; what is left is its end."""
        opened = self._phase is OPEN
        if self._phase is not CLOSING:
            self._phase = CLOSING
            self._close_timer = self._door.clock.call_later(CLOSE_SECONDS, self._wire.abort)
        if opened:
            self._door.hub.disconnected(self, orderly=orderly)

    @abstractmethod
    def refused(self, close: Close) -> None:
        """See :class:`Outlet`."""

    @abstractmethod
    def flush(self) -> None:
        """See :class:`Outlet`."""

    def pause_writing(self) -> None:
        """The kernel's buffer and ours are full: what comes now stays in the store."""
        if self._phase is OPEN:
            self._door.hub.blocked(self)

    def resume_writing(self) -> None:
        """The page reads on."""
        if self._phase is OPEN:
            self._door.hub.unblocked(self)

    def eof_received(self) -> None:  # noqa: B027 - there is nothing to do
        """The page sends no more: the connection ends."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        phase, self._phase = self._phase, CLOSING
        self._door.wires -= 1
        self.left(self.address)
        if self._close_timer is not None:
            self._close_timer.cancel()
        if phase is OPEN:
            self._door.hub.disconnected(self, orderly=False)
        elif phase is CONNECTING:
            self._door.hub.left(self)
