"""Pages that come, stay until they are open, and go, one after the other and many at the same time."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Final

from pushline.bench.dialect import PushlineDialect
from pushline.bench.loop import READABLE, WRITABLE, Loop
from pushline.bench.sockets import READ_BYTES, Address, begin_to_dial
from pushline.bench.wire import CLOSE, TEXT, frame, split_frames, split_upgraded
from pushline.protocol.frames import Leave, encode

WAYS: Final = ("reset", "cut", "closed", "left")
"""How pages go, in turn: by a reset, by the end of the connection, by a close frame, by ``leave``."""

_RESET: Final = struct.pack("ii", 1, 0)
_NORMAL: Final = (1000).to_bytes(2, "big")


class _Visit:
    __slots__ = ("number", "page", "rest", "socket", "upgraded")

    def __init__(self, number: int, page: int, connection: socket.socket) -> None:
        self.number = number
        self.page = page
        self.socket = connection
        self.upgraded = False
        self.rest = b""


class Crowd:
    """``count`` visits, ``together`` at the same time. A page comes again when all others have been there."""

    def __init__(self, loop: Loop, dialect: PushlineDialect, address: Address, pages: int, together: int) -> None:
        self._loop = loop
        self._dialect = dialect
        self._address = address
        self._pages = pages
        self._together = together
        self._here: set[_Visit] = set()
        self._begun = 0
        self.done = 0
        """Visits of pages that were open, and are over."""
        self.failed = 0
        """Visits that ended before they were open."""
        self.complaint = ""
        """What the first one of those was told."""

    def visit(self, count: int) -> Iterator[None]:
        """Make so many visits. Yields after each turn; ends early when nothing goes on any more."""
        end = self._begun + count
        for _ in self._loop.until(
            lambda: self._begun == end and not self._here, lambda: (self._begun, self.done, self.failed)
        ):
            while self._begun < end and len(self._here) < self._together:
                self._come()
            yield

    def close(self) -> None:
        """Nobody is there any more."""
        for visit in list(self._here):
            self._forget(visit)

    def _come(self) -> None:
        visit = _Visit(self._begun, self._begun % self._pages, begin_to_dial(self._address, self._begun))
        self._begun += 1
        self._here.add(visit)
        self._loop.watch(visit.socket.fileno(), WRITABLE, lambda events: self._connected(visit))

    def _connected(self, visit: _Visit) -> None:
        if visit.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._fail(visit, "The server refuses connections.")
            return
        self._loop.watch(visit.socket.fileno(), READABLE, lambda events: self._read(visit))
        self._write(visit, self._dialect.handshake(visit.page))

    def _read(self, visit: _Visit) -> None:
        try:
            data = visit.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._fail(visit, "The server cut a page.")
            return
        data, visit.rest = visit.rest + data, b""
        if not visit.upgraded:
            after = split_upgraded(data)
            if after is None:
                visit.rest = data
                return
            visit.upgraded, data = True, after
        frames, visit.rest = split_frames(data)
        for opcode, payload in frames:
            if opcode == CLOSE:
                code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
                self._fail(visit, f"The server closed a page with {code} {reason}".rstrip() + ".")
                return
            if self._dialect.is_open(payload):
                self._go(visit)
                return

    def _go(self, visit: _Visit) -> None:
        way = WAYS[visit.number % len(WAYS)]
        if way == "reset":
            visit.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif way == "closed":
            self._write(visit, frame(CLOSE, _NORMAL))
        elif way == "left":
            self._write(visit, frame(TEXT, encode(Leave(""))))
        self._forget(visit)
        self.done += 1

    def _fail(self, visit: _Visit, complaint: str) -> None:
        self.failed += 1
        self.complaint = self.complaint or complaint
        self._forget(visit)

    def _forget(self, visit: _Visit) -> None:
        self._here.discard(visit)
        self._loop.forget(visit.socket.fileno())
        visit.socket.close()

    def _write(self, visit: _Visit, data: bytes) -> None:
        with contextlib.suppress(OSError):  # that it is cut is read at its turn
            visit.socket.send(data)
