"""The pages of a load: they connect, read what comes, answer pings, and acknowledge."""

from __future__ import annotations

import contextlib
import heapq
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from .dialect import Dialect
from .faults import LoadFault
from .loop import READABLE, WRITABLE, Loop, now_ns
from .sockets import READ_BYTES, Address, begin_to_dial
from .tally import Tally
from .wire import BINARY, CLOSE, PING, PONG, frame, split_frames, split_upgraded

ACKNOWLEDGE_SECONDS: Final = 4.0
"""A page acknowledges within five seconds (contract, W4)."""
TOGETHER: Final = 64
"""Pages that open at the same time."""
_RETRY: Final = re.compile(rb"retry=(\d{1,9})")
_CURSOR: Final = re.compile(rb'"cursor":"([^"]*)"')

Progress = Callable[[str, float], None]
"""Is given what is going on, and how much of it is done, 0 to 1."""


class _Page:
    __slots__ = ("acknowledging", "last", "number", "open", "rest", "socket", "upgraded")

    def __init__(self, number: int) -> None:
        self.number = number
        self.socket: socket.socket | None = None
        self.upgraded = self.open = self.acknowledging = False
        self.rest = b""
        self.last = b""


class Pages:
    """As many as ``tally`` counts for. Every message that comes is noted there."""

    def __init__(self, loop: Loop, dialect: Dialect, tally: Tally, address: Address) -> None:
        self._loop = loop
        self._dialect = dialect
        self._tally = tally
        self._address = address
        self._pages = [_Page(number) for number in range(tally.pages)]
        self._due: deque[tuple[float, _Page]] = deque()
        self._later: list[tuple[float, int]] = []
        self._opened = 0
        self._opening = 0
        self._complaint = ""
        self.closed = 0
        """Open pages that the server closed."""
        self.retried = 0
        """Pages that were told to come back later, each time."""
        loop.every_turn = self._acknowledge_due

    def __len__(self) -> int:
        return len(self._pages)

    def open(self, progress: Progress, together: int = TOGETHER) -> None:
        """Open all of them; one that is told to come back later does so. Raises :class:`LoadFault` when one cannot."""
        count = len(self._pages)
        waiting = deque(self._pages)
        for _ in self._loop.until(lambda: self._opened == count, lambda: (self._opened, self.retried)):
            progress(f"opening {count:,} pages", self._opened / count)
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                waiting.appendleft(self._pages[heapq.heappop(self._later)[1]])
            while waiting and self._opening < together:
                self._connect(waiting.popleft())
            if not (waiting or self._opening or self._later):
                break
        if self._opened < count:
            reason = self._complaint or "The server does not answer the others."
            raise LoadFault(f"{self._opened:,} of {count:,} pages could be opened. {reason}")

    def close(self) -> None:
        """Leave without a word, all of them."""
        for page in self._pages:
            self._forget(page)
        self._due.clear()
        self._later.clear()

    def cursors(self) -> list[str]:
        """What each would resume with, on the wire of Pushline."""
        return [cursor_of(page.last) for page in self._pages]

    # -- connecting ----------------------------------------------------------------------------------------------

    def _connect(self, page: _Page) -> None:
        page.socket = begin_to_dial(self._address, page.number)
        page.upgraded, page.rest = False, b""
        self._opening += 1
        self._loop.watch(page.socket.fileno(), WRITABLE, lambda events: self._connected(page))

    def _connected(self, page: _Page) -> None:
        assert page.socket is not None  # noqa: S101
        if page.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop(page, "The server refuses connections.")
            return
        self._write(page, self._dialect.handshake(page.number))
        self._loop.watch(page.socket.fileno(), READABLE, lambda events: self._read(page))

    def _switch(self, page: _Page, data: bytes) -> bytes:
        """Read the answer to the handshake, and return what follows it."""
        after = split_upgraded(data)
        if after is None:
            page.rest = data
            return b""
        page.upgraded = True
        if greeting := self._dialect.greeting(page.number):
            self._write(page, frame(self._dialect.opcode, greeting))
        if not self._dialect.waits_for_open:
            self._is_open(page)
        return after

    def _is_open(self, page: _Page) -> None:
        page.open = True
        self._opening -= 1
        self._opened += 1

    # -- what comes ----------------------------------------------------------------------------------------------

    def _read(self, page: _Page) -> None:
        assert page.socket is not None  # noqa: S101
        try:
            data = page.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(page, "The server cut a page.")
            return
        now = now_ns()
        if page.rest:
            data, page.rest = page.rest + data, b""
        if not page.upgraded:
            data = self._switch(page, data)
        if not page.upgraded:
            return
        frames, page.rest = split_frames(data)
        for opcode, payload in frames:
            if opcode <= BINARY:
                self._take(page, payload, now)
            elif opcode == PING:
                self._write(page, frame(PONG, payload))
            elif opcode == CLOSE:
                self._closed(page, payload)
                return

    def _take(self, page: _Page, payload: bytes, now: int) -> None:
        if self._tally.read(page.number, payload, now):
            page.last = payload
            if not page.acknowledging:
                page.acknowledging = True
                self._due.append((now / 1e9 + ACKNOWLEDGE_SECONDS, page))
            return
        if not page.open and self._dialect.is_open(payload):
            self._is_open(page)
            page.last = payload
        if reply := self._dialect.reply(payload):
            self._write(page, frame(self._dialect.opcode, reply))

    def _acknowledge_due(self) -> None:
        if not self._due:
            return
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            page = self._due.popleft()[1]
            page.acknowledging = False
            if page.socket is not None and (text := self._dialect.acknowledgement(page.last)):
                self._write(page, frame(self._dialect.opcode, text))

    def _write(self, page: _Page, data: bytes) -> None:
        assert page.socket is not None  # noqa: S101
        with contextlib.suppress(OSError):  # that it is cut is read at its turn
            page.socket.send(data)

    # -- ends ----------------------------------------------------------------------------------------------------

    def _closed(self, page: _Page, payload: bytes) -> None:
        self._write(page, frame(CLOSE, payload[:2]))
        asked = None if page.open else _RETRY.fullmatch(payload[2:])
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
        self._drop(page, f"The server closed a page with {code} {reason}".rstrip() + ".")
        if asked:
            self.retried += 1
            heapq.heappush(self._later, (time.monotonic() + int(asked[1]) / 1000, page.number))

    def _drop(self, page: _Page, complaint: str) -> None:
        self.closed += page.open
        self._complaint = self._complaint or complaint
        self._forget(page)

    def _forget(self, page: _Page) -> None:
        if page.socket is None:
            return
        self._loop.forget(page.socket.fileno())
        page.socket.close()
        page.socket = None
        if page.open:
            self._opened -= 1
        else:
            self._opening -= 1
        page.open = page.acknowledging = False


def cursor_of(payload: bytes) -> str:
    """The cursor after the frame of a message, or of ``open``."""
    if payload.startswith(b"{"):
        found = _CURSOR.search(payload)
        return found[1].decode() if found else ""
    return payload.partition(b" ")[0].decode()
