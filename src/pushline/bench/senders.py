"""The connections of a load that messages are sent on."""

from __future__ import annotations

import random
import socket
from collections import deque
from dataclasses import dataclass
from typing import Final

from .dialect import Dialect
from .faults import LoadFault
from .loop import READABLE, TURN_SECONDS, WRITABLE, Loop, now_ns
from .sockets import READ_BYTES, Address, dial
from .tally import EVERYBODY, Tally

BEHIND: Final = 2
"""A message to all pages waits until all but so many earlier ones have come."""
_CUT: Final = "The server closed a connection that messages are sent on."


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is sent: with ``in_flight`` requests on each connection as fast as they are answered, or ``rate`` a second.

    With a rate a latency counts from the moment at which the message was due, so that a server which stops for a while
    is not given fewer. ``batch``: messages of one request. ``to``: one page after the other (``turn``), ``random``
    ones, or each message to ``all``.
    """

    in_flight: int = 1
    rate: float = 0.0
    batch: int = 1
    to: str = "turn"


class _Sender:
    """It has pages of its own, so that what one page gets has one order."""

    __slots__ = ("answers", "asked", "pages", "socket", "turn", "unsent")

    def __init__(self, connection: socket.socket, pages: range) -> None:
        self.socket = connection
        self.pages = pages
        self.turn = 0
        self.asked: deque[int] = deque()
        self.answers = b""
        self.unsent = b""


class Senders:
    """``count`` connections. Raises :class:`LoadFault` when they cannot be made."""

    def __init__(self, loop: Loop, dialect: Dialect, tally: Tally, address: Address, count: int) -> None:
        self._loop = loop
        self._dialect = dialect
        self._tally = tally
        self._chance = random.Random(1)  # noqa: S311 - which page is next
        self._senders: list[_Sender] = []
        self._closed_loop: Pattern | None = None
        self.sent = 0
        self.accepted = 0
        for number in range(count):
            self._add(dial(address), range(number, tally.pages, count))

    def close(self) -> None:
        """Close them."""
        for sender in self._senders:
            self._loop.forget(sender.socket.fileno())
            sender.socket.close()

    @property
    def unanswered(self) -> int:
        """Requests whose answers are due."""
        return sum(len(sender.asked) for sender in self._senders)

    def begin(self) -> None:
        """Count from here."""
        self.sent = self.accepted = 0

    def stop(self) -> None:
        """Send nothing any more."""
        self._closed_loop = None

    def fill(self, pattern: Pattern, began: int) -> float:
        """Send what is due, since ``began``. Returns the seconds for which nothing else will be."""
        if pattern.rate:
            return self._keep_time(pattern, began)
        self._closed_loop = pattern
        for sender in self._senders:
            self._refill(sender, pattern)
        return TURN_SECONDS

    def _refill(self, sender: _Sender, pattern: Pattern) -> None:
        requests = []
        while len(sender.asked) < pattern.in_flight:
            if pattern.to == "all" and self.sent - self._tally.received >= BEHIND * self._tally.pages:
                break
            requests.append(self._request(sender, pattern, now_ns()))
        if requests:
            self._write(sender, b"".join(requests))

    def _keep_time(self, pattern: Pattern, began: int) -> float:
        due = 1 + int((now_ns() - began) * pattern.rate / 1e9)
        while self.sent < due:
            moment = began + int(self.sent * 1e9 / pattern.rate)
            sender = self._senders[self.sent % len(self._senders)]
            self._write(sender, self._request(sender, pattern, moment))
        wait = began / 1e9 + self.sent / pattern.rate - now_ns() / 1e9
        return max(0.0, min(TURN_SECONDS, wait - 0.001))  # epoll counts in milliseconds: the last one is spun away

    def _request(self, sender: _Sender, pattern: Pattern, moment: int) -> bytes:
        stamp, asked = self._tally.stamp, pattern.batch
        if pattern.to == "all":
            request, asked = self._dialect.request_all(stamp(EVERYBODY, moment)), self._tally.pages
        elif asked > 1:
            pages = [self._next_page(sender, pattern) for _ in range(asked)]
            request = self._dialect.request_batch(pages, [stamp(page, moment) for page in pages])
        else:
            page = self._next_page(sender, pattern)
            request = self._dialect.request(page, stamp(page, moment))
        sender.asked.append(asked)
        self.sent += asked
        return request

    def _next_page(self, sender: _Sender, pattern: Pattern) -> int:
        if pattern.to == "random":
            return sender.pages[int(self._chance.random() * len(sender.pages))]
        sender.turn = (sender.turn + 1) % len(sender.pages)
        return sender.pages[sender.turn]

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _add(self, connection: socket.socket, pages: range) -> None:
        if self._dialect.hello:
            connection.sendall(self._dialect.hello)
            said = b""
            while not self._dialect.split_answers(said, (1,))[0]:
                if not (data := connection.recv(READ_BYTES)):
                    raise LoadFault(_CUT)
                said += data
        connection.setblocking(False)
        sender = _Sender(connection, pages)
        self._senders.append(sender)
        self._loop.watch(connection.fileno(), READABLE, lambda events: self._event(sender, events))

    def _write(self, sender: _Sender, data: bytes) -> None:
        if sender.unsent:
            sender.unsent += data
            return
        try:
            written = sender.socket.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            raise LoadFault(_CUT) from None
        if written < len(data):
            sender.unsent = data[written:]
            events = READABLE | WRITABLE
            self._loop.watch(sender.socket.fileno(), events, lambda events: self._event(sender, events))

    def _event(self, sender: _Sender, events: int) -> None:
        if events & WRITABLE:
            unsent, sender.unsent = sender.unsent, b""
            self._loop.watch(sender.socket.fileno(), READABLE, lambda events: self._event(sender, events))
            self._write(sender, unsent)
        if events & ~WRITABLE:
            self._read(sender)

    def _read(self, sender: _Sender) -> None:
        try:
            data = sender.socket.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            raise LoadFault(_CUT)
        accepted, sender.answers = self._dialect.split_answers(sender.answers + data, sender.asked)
        for count in accepted:
            sender.asked.popleft()
            self.accepted += count
        if self._closed_loop is not None:  # at once, and not after the others' turns: a server sees no bursts of ours
            self._refill(sender, self._closed_loop)
