"""Marks messages, and verifies those that come: how many, in which order, to whom, how late, and whether unchanged."""

from __future__ import annotations

from typing import Final

MARK_BYTES: Final = 34
"""What the mark takes of a message: ``@@`` page, number and moment in hexadecimal ``@@``."""

EVERYBODY: Final = 0xFFFFFF
"""Stands for the page in the mark of a message to all of them."""


class Tally:
    """Counts for ``pages`` pages and messages of ``size`` bytes.

    The messages of each page are numbered from 1. Moments are nanoseconds of a clock of the caller's, and travel in the
    message, so a latency is that of a message which came and never guessed from an answer.
    """

    def __init__(self, pages: int, size: int) -> None:
        self.pages = pages
        self._sent = [0] * pages
        self._sent_to_all = 0
        self._next = [1] * pages
        self._missing: list[set[int] | None] = [None] * pages
        self._size = size
        self._pad = b"x" * (size - MARK_BYTES)
        self.last = 0
        """The moment at which the latest message came."""
        self.begin()

    def begin(self) -> None:
        """Count from here."""
        self.latencies: list[int] = []
        self.doubled = 0
        self.disordered = 0
        self.strange = 0
        """Messages of another page, or with another text than was sent."""

    @property
    def received(self) -> int:
        """Messages that came for the first time."""
        return len(self.latencies)

    def stamp(self, page: int, moment: int) -> bytes:
        """The next message to a page."""
        if page == EVERYBODY:
            number = self._sent_to_all = self._sent_to_all + 1
        else:
            number = self._sent[page] = self._sent[page] + 1
        return b"@@%06x%08x%016x@@%b" % (page, number, moment, self._pad)

    def read(self, page: int, payload: bytes, now: int) -> bool:
        """Note the messages of a frame. Returns whether there is one."""
        start = payload.find(b"@@")
        if start < 0:
            return False
        while start >= 0:
            end = start + self._size
            self._note(page, payload[start:end], now)
            start = payload.find(b"@@", end)
        return True

    def _note(self, page: int, message: bytes, now: int) -> None:
        try:
            to, number, moment = int(message[2:8], 16), int(message[8:16], 16), int(message[16:32], 16)
        except ValueError:
            self.strange += 1
            return
        if message[MARK_BYTES:] != self._pad or to not in (page, EVERYBODY):
            self.strange += 1
            return
        expected = self._next[page]
        if number == expected:
            self._next[page] = number + 1
        elif number > expected:
            missing = self._missing[page] = self._missing[page] or set()
            missing.update(range(expected, number))
            self._next[page] = number + 1
        else:
            late = self._missing[page]
            if late is None or number not in late:
                self.doubled += 1
                return
            late.remove(number)
            self.disordered += 1
        self.last = now
        self.latencies.append(now - moment)
