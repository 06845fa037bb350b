"""WebSocket where an ASGI server reads and writes the frames (contract, W1; RFC 6455).

What ASGI does not offer degrades: pings of RFC 6455 are the server's own, and their pongs are not seen. So a page whose
script is blocked loses its connection after ping interval and timeout, as one that is gone does, and resumes (W4).
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Final, Protocol

from pushline.http.request import Request
from pushline.messages import Message, format_id
from pushline.protocol.codes import GOING_AWAY, NORMAL, PROTOCOL_ERROR
from pushline.protocol.frames import SUBPROTOCOL, encode
from pushline.protocol.values import Close
from pushline.transports.base import CONNECTING, OPEN, Door, Stream, Wire
from pushline.transports.websocket import MAX_FRAME_BYTES, offered

_ORDERLY: Final = (NORMAL, GOING_AWAY)
_TOO_LONG: Final = 1009


class Events(Wire, Protocol):
    """The wire: it takes the events of ASGI."""

    def put(self, event: MutableMapping[str, Any], size: int) -> None:
        """Send an event of ``size`` bytes, after those before it."""


class AsgiWebSocket(Stream):
    """One WebSocket connection, from its ``websocket.connect`` on."""

    __slots__ = ("_events",)

    name = "websocket"

    def __init__(self, door: Door, wire: Events) -> None:
        super().__init__(door, wire)
        self._events = wire

    def start(self, subprotocols: Sequence[str], request: Request) -> None:
        """Accept and connect. A refusal closes with its code, since browsers hide the status of a refused handshake."""
        spoken, token = offered(subprotocols)
        self._events.put({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if spoken else None}, 0)
        self._connect(request, token)

    # -- the hub's side ----------------------------------------------------------------------------------------

    def refused(self, close: Close) -> None:
        """See :class:`Outlet`."""
        if self._phase is CONNECTING:
            self._close(close.code, close.reason)

    def flush(self) -> None:
        """See :class:`Outlet`."""
        items = self.session.outgoing()
        if items is None or self._phase is not OPEN:
            return
        for item in items:
            if isinstance(item, Message):
                text = f"{format_id(item.id)} {item.data.decode()}"
                self._events.put({"type": "websocket.send", "text": text}, len(item.data))
            elif isinstance(item, Close):
                self._close(item.code, item.reason)
            else:
                frame = encode(item)
                self._events.put({"type": "websocket.send", "text": frame.decode()}, len(frame))

    def _close(self, code: int, reason: str) -> None:
        self._events.put({"type": "websocket.close", "code": code, "reason": reason}, 0)
        self._events.close()
        self._leave(orderly=False)

    # -- the page's side ---------------------------------------------------------------------------------------

    def received(self, text: str | None) -> None:
        """A message came from the page; None: one of bytes, which no page sends."""
        if self._phase is not OPEN:
            return
        if text is None:
            self.session.close(PROTOCOL_ERROR)
            self.flush()
        elif len(text) > MAX_FRAME_BYTES:
            self._close(_TOO_LONG, "")
        else:
            self._door.hub.received(self, text)

    def closed(self, code: int) -> None:
        """The page has closed, or its connection is gone."""
        self._leave(orderly=code in _ORDERLY)
