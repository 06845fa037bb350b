"""WebSocket (contract, W1; RFC 6455).

Frames down are unmasked, and writing one is a few lines here. Frames up are read by a maintained parser, made when
bytes arrive and let go when it holds none: most connections are idle most of the time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as FrameReader
from websockets.protocol import Side, State
from websockets.utils import accept_key

from pushline.errors import Problem
from pushline.http.request import Request
from pushline.messages import Message, id_bytes
from pushline.protocol.codes import GOING_AWAY, NORMAL, PROTOCOL_ERROR
from pushline.protocol.frames import SUBPROTOCOL, TOKEN_SUBPROTOCOL, Ping, encode
from pushline.protocol.values import Close, Outgoing
from pushline.transports.base import CONNECTING, OPEN, Door, Stream, Wire

MAX_FRAME_BYTES: Final = 4096
"""The longest message that a page may send: a token and its JSON fit in well."""

_ORDERLY: Final = (NORMAL, GOING_AWAY)
_RFC_PING: Final = b"\x89\x00"
# The reader of frames logs what it reads when it may, and tokens are never logged (G9).
_LOG: Final = logging.getLogger("pushline.frames")
_LOG.setLevel(logging.WARNING)
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")


def _head(size: int) -> bytes:
    """The head of an unmasked text frame of ``size`` bytes (RFC 6455, section 5.2)."""
    if size < 126:
        return b"\x81%c" % size
    if size < 65536:
        return b"\x81\x7e%b" % size.to_bytes(2, "big")
    return b"\x81\x7f%b" % size.to_bytes(8, "big")


def text_frame(payload: bytes) -> bytes:
    """An unmasked text frame."""
    return _head(len(payload)) + payload


def message_frame(message: Message) -> bytes:
    """The frame of a message, made once however many connections get it: ``<id> <data>`` (W2)."""
    wire = message.wire
    if wire is None:
        id, data = id_bytes(message.id), message.data
        wire = message.wire = b"%b%b %b" % (_head(len(id) + 1 + len(data)), id, data)
    return wire


def offered(subprotocols: Sequence[str]) -> tuple[bool, str | None]:
    """Whether a handshake offers this wire, and the token that it brings along (W1)."""
    spoken = SUBPROTOCOL in subprotocols
    tokens = [name for name in subprotocols if name.startswith(TOKEN_SUBPROTOCOL)]
    return spoken, tokens[0][len(TOKEN_SUBPROTOCOL) :] if len(tokens) == 1 and spoken else None


class Handshake:
    """An opening handshake that can be answered: what it offers, and the bytes of the answer."""

    __slots__ = ("answer", "token")

    def __init__(self, request: Request) -> None:
        """Read a handshake. Raises :class:`Problem` when it is none that RFC 6455 (section 4.2.1) knows."""
        if request.method != b"GET" or request.upgrade.strip().lower() != b"websocket":
            raise Problem("upgrade_required", "This address takes GET with `Upgrade: websocket`.")
        if request.sec_websocket_version.strip() != b"13":
            raise Problem("upgrade_required", "This server speaks version 13 of WebSocket.")
        key = request.sec_websocket_key.strip()
        if not _KEY.fullmatch(key):
            raise Problem("malformed_request", "`Sec-WebSocket-Key` is not 16 bytes in base64.")
        names = [name.strip() for name in request.sec_websocket_protocol.decode("latin-1").split(",")]
        spoken, self.token = offered(names)
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(key.decode())}",
        ]
        if spoken:
            lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
        self.answer = "\r\n".join([*lines, "", ""]).encode()


class WebSocketTransport(Stream):
    """One WebSocket connection, from the moment at which its handshake was read."""

    __slots__ = ("_answer", "_parts", "_reader", "_unread")

    name = "websocket"

    def __init__(self, door: Door, wire: Wire) -> None:
        super().__init__(door, wire)
        self._reader: FrameReader | None = None
        self._unread = 0
        self._parts: bytearray | None = None
        self._answer = b""

    def start(self, handshake: Handshake, request: Request) -> None:
        """Answer the handshake and connect. The answer goes out at the end of the turn, with the first frame if it can.

        A refusal closes with its code, since browsers hide the status of a refused handshake.
        """
        self._answer = handshake.answer
        self._connect(request, handshake.token)
        self._door.clock.call_soon(self._answered)

    def _answered(self) -> None:
        """Who has to wait for the first frame does not wait for the answer."""
        if self._answer:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        """Write, behind the answer to the handshake."""
        answer, self._answer = self._answer, b""
        self._wire.write(answer + data)

    # -- the hub's side ----------------------------------------------------------------------------------------

    def refused(self, close: Close) -> None:
        """See :class:`Outlet`."""
        if self._phase is CONNECTING:
            self._close(close)

    def flush(self) -> None:
        """See :class:`Outlet`."""
        items = self.session.outgoing()
        if items is None or self._phase is not OPEN:
            return
        if len(items) == 1 and type(items[0]) is Message:  # never the first: a session opens with another frame
            self._wire.write(message_frame(items[0]))
            return
        frames = [self._frame(item) for item in items if type(item) is not Close]
        if frames:
            self._write(b"".join(frames))
        if type(items[-1]) is Close:
            self._close(items[-1])

    def _frame(self, item: Outgoing) -> bytes:
        if type(item) is Message:
            return message_frame(item)
        frame = text_frame(encode(item))
        # The RFC 6455 ping goes along: its pong tells a blocked script from a page that is gone (W4).
        return frame + _RFC_PING if type(item) is Ping else frame

    def _close(self, close: Close) -> None:
        reader = self._reader = self._reader or _reader()
        if reader.state is State.OPEN:  # the page may have closed in the segment that brought this about
            reader.send_close(close.code, close.reason)
        self._send(reader)
        self._leave(orderly=False)

    # -- the peer's side ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes came from the page."""
        reader = self._reader
        if reader is None:
            reader = self._reader = _reader()
            self._unread = 0
        reader.receive_data(data)
        if reader.state is State.OPEN:
            self._send(reader)  # pongs, ahead of what the message brings about that they came in the middle of
        self._unread += len(data)
        for frame in reader.events_received():
            assert isinstance(frame, Frame)  # noqa: S101 - a reader of frames has no other events
            self._unread -= _wire_size(frame)
            self._frame_received(frame)
        if reader.state is not State.OPEN:  # the page closes, or broke a rule of RFC 6455 and is told so
            self._leave(orderly=reader.close_rcvd is not None and reader.close_rcvd.code in _ORDERLY)
        elif self._unread == 0 and self._parts is None:
            self._reader = None
        self._send(reader)

    def _frame_received(self, frame: Frame) -> None:
        if self._phase is not OPEN:
            return
        match frame.opcode:
            case Opcode.TEXT if frame.fin:
                self._door.hub.received(self, bytes(frame.data))
            case Opcode.TEXT:
                self._parts = bytearray(frame.data)
            case Opcode.CONT if self._parts is not None:
                self._parts += frame.data
                if frame.fin:
                    text, self._parts = bytes(self._parts), None
                    self._door.hub.received(self, text)
            case Opcode.BINARY:
                self.session.close(PROTOCOL_ERROR)
                self.flush()
            case Opcode.PONG:
                self.session.pong()

    def _send(self, reader: FrameReader) -> None:
        for data in reader.data_to_send():
            if data:
                self._write(data)
            else:
                self._wire.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._reader = None
        self._answer = b""
        super().connection_lost(error)


def _reader() -> FrameReader:
    return FrameReader(Side.SERVER, state=State.OPEN, max_size=MAX_FRAME_BYTES, logger=_LOG)


def _wire_size(frame: Frame) -> int:
    """How many bytes a masked frame had, in the shortest form of its length (another form only keeps the reader)."""
    size = len(frame.data)
    return size + (6 if size < 126 else 8)
