"""What transports write to where an ASGI server has the connection: events, sent one after the other.

``await send(event)`` is the signal that a peer takes less than is sent; what waits for it is counted here, and at
:data:`HIGH_BYTES` the hub hears of it, so that the rest stays in the store (contract, G10).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

from pushline.server.listener import UNSENT_BYTES

log = logging.getLogger("pushline.server")

Event = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Program = Callable[..., Awaitable[None]]
"""An ASGI program. Each framework has types of its own for the same three arguments."""

HIGH_BYTES: Final = 64 << 10
"""So much may wait for a page before the rest is left in the store."""

LOW_BYTES: Final = 16 << 10
"""When no more than that waits, the page is fed again."""

_HOP: Final = (b"connection", b"date")
"""What belongs to the server's connection, or what it says itself."""


class Paused(Protocol):
    """Who is told that the peer takes less than is sent, and when that ends: every transport."""

    def pause_writing(self) -> None:
        """Enough waits."""

    def resume_writing(self) -> None:
        """There is room again."""


class AsgiWire:
    """The connection of one WebSocket, or of one answer that goes on. It is made in the server's task for it.

    Where the server's ``send`` belongs to an object with the loop's transport, as uvicorn's does, the connection is
    looked at as closely as the native front looks: what the kernel has, what the peer has taken, and it can be cut.
    Elsewhere an event counts as taken when ``send`` returns; those are counted here.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._events: deque[tuple[Event, int]] = deque()
        self._unsent = 0
        self._taken = 0
        self._paused = False
        self._closing = False
        self._sending: asyncio.Task[None] | None = None
        self._transport = _transport_of(send)
        self.stream: Paused | None = None
        self.aborted = False
        """The server's task was cancelled from here, since nothing else ends the connection."""

    def put(self, event: Event, size: int) -> None:
        """Send an event of ``size`` bytes, after those before it."""
        if self._closing:
            return
        self._events.append((event, size))
        self._unsent += size
        if self._unsent > HIGH_BYTES and not self._paused and self.stream is not None:
            self._paused = True
            self.stream.pause_writing()
        if self._sending is None:
            self._sending = self._loop.create_task(self._send_events())

    async def _send_events(self) -> None:
        try:
            while self._events:
                event, size = self._events.popleft()
                await self._send(event)
                self._unsent -= size
                self._taken += size
                if self._paused and self._unsent <= LOW_BYTES and self.stream is not None:
                    self._paused = False
                    self.stream.resume_writing()
        except OSError:
            self._closing = True  # the peer has gone: `receive` tells
        except Exception:
            log.exception("an event could not be sent")
            self.abort()
        finally:
            self._sending = None

    def stop(self) -> None:
        """The connection is over: nothing is sent any more."""
        self._closing = True
        self._events.clear()
        if self._sending is not None:
            self._sending.cancel()

    # -- pushline.transports.base.Wire -------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See :class:`pushline.transports.base.Wire`."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """See :class:`pushline.transports.base.Wire`: an answer that ends is over on both sides."""
        return False

    def write_eof(self) -> None:
        """See :class:`pushline.transports.base.Wire`."""
        raise NotImplementedError

    def close(self) -> None:
        """See :class:`pushline.transports.base.Wire`."""
        self._closing = True

    def abort(self) -> None:
        """See :class:`pushline.transports.base.Wire`."""
        self._closing = True
        self._events.clear()
        if self._transport is not None:
            self._transport.abort()
        elif self._task is not None:
            self.aborted = True
            self._task.cancel()

    def get_write_buffer_size(self) -> int:
        """See :class:`pushline.transports.base.Wire`."""
        return self._unsent + (0 if self._transport is None else self._transport.get_write_buffer_size())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See :class:`pushline.transports.base.Wire`."""
        transport = self._transport
        if name == "taken":
            return self._taken - (0 if transport is None else transport.get_write_buffer_size())
        return default if transport is None else transport.get_extra_info(name, default)


class AnswerWire(AsgiWire):
    """The wire of an answer that goes on: what transports write is HTTP/1.1, its head first."""

    def __init__(self, send: Send) -> None:
        super().__init__(send)
        self._begun = False

    def write(self, data: bytes) -> None:
        """See :class:`pushline.transports.base.Wire`."""
        if not self._begun:
            self._begun = True
            start, data = answer_events(data)
            self.put(start, 0)
        if data:
            self.put({"type": "http.response.body", "body": data, "more_body": True}, len(data))

    def expect(self, size: int) -> None:
        """An answer of so many bytes is about to be sent: to a poll, which the front sends whole."""
        self._unsent += size

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Within it, it is."""
        try:
            yield
            self._taken += self._unsent
        finally:
            self._unsent = 0

    def close(self) -> None:
        """See :class:`pushline.transports.base.Wire`."""
        self.put({"type": "http.response.body", "body": b"", "more_body": False}, 0)
        super().close()


def answer_events(answer: bytes) -> tuple[Event, bytes]:
    """The start of an answer and its body, of the bytes that :class:`pushline.http.responses.Encoder` makes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        if (name := name.lower()) not in _HOP:
            headers.append((name, value))
    return {"type": "http.response.start", "status": int(status[9:12]), "headers": headers}, body


def _transport_of(send: Send) -> asyncio.Transport | None:
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.Transport):
        return None
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError, AttributeError):  # it is gone, or not TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return transport
