"""Server-sent events (contract, W5): for pages whose WebSockets are held back on the way.

The answer ends with its connection, so it needs no chunks, which proxies of HTTP/1.0 do not know.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pushline.http.page import CORS, refusal
from pushline.http.request import Request
from pushline.http.responses import Encoder
from pushline.http.values import Response
from pushline.messages import Message, id_bytes
from pushline.protocol.codes import CLOSES
from pushline.protocol.frames import Down, encode
from pushline.protocol.session import Session
from pushline.protocol.values import Close, Outgoing
from pushline.transports.base import CONNECTING, OPEN, Door, Stream, Wire, bearer

_HEAD: Final = Response(
    200,
    "text/event-stream",
    headers=(
        *CORS,
        ("Cache-Control", "no-store, no-transform"),
        ("X-Accel-Buffering", "no"),  # nginx holds back what it may buffer
    ),
)
_to_json: Final = msgspec.json.Encoder().encode


class SseTransport(Stream):
    """One answer that goes on, from the moment at which its request was read. Frames up come by POST (W3)."""

    __slots__ = ("_encoder",)

    name = "sse"

    def __init__(self, door: Door, wire: Wire, encoder: Encoder) -> None:
        super().__init__(door, wire)
        self._encoder = encoder

    def start(self, request: Request) -> None:
        """Connect the page that asked."""
        self._connect(request, bearer(request))

    # -- the hub's side ----------------------------------------------------------------------------------------

    def opened(self, session: Session) -> bool:
        """See :class:`Outlet`."""
        if not super().opened(session):
            return False
        self._wire.write(self._encoder.stream(_HEAD))
        return True

    def refused(self, close: Close) -> None:
        """See :class:`Outlet`."""
        if self._phase is CONNECTING:
            self._end(self._encoder.encode(refusal(close), close=True, head=False))

    def flush(self) -> None:
        """See :class:`Outlet`."""
        items = self.session.outgoing()
        if items is None or self._phase is not OPEN:
            return
        events = b"".join([_event(item) for item in items])
        if type(items[-1]) is Close:
            self._end(events)
        else:
            self._wire.write(events)

    def _end(self, last: bytes) -> None:
        self._wire.write(last)
        if self._wire.can_write_eof():
            self._wire.write_eof()
        else:
            self._wire.close()
        self._leave(orderly=False)

    # -- the peer's side ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes came that nobody asked for: the answer that goes on is the connection's last."""


def _event(item: Outgoing) -> bytes:
    if isinstance(item, Message):
        # As a JSON string, since an event cannot carry a carriage return or a NUL.
        return b"id: %b\ndata: %b\n\n" % (id_bytes(item.id), _to_json(item.data.decode()))
    if isinstance(item, Close):
        end: dict[str, object] = {"code": item.code, "reason": CLOSES[item.code].name}
        if item.retry is not None:
            end["retry"] = item.retry
        return b"event: close\ndata: %b\n\n" % _to_json(end)
    return b"event: %b\ndata: %b\n\n" % (_name(item), encode(item))


def _name(frame: Down) -> bytes:
    return str(frame.__struct_config__.tag).encode()
