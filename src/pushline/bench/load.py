"""A load: pages, what is sent to them, and what became of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .dialect import Dialect
from .faults import LoadFault
from .loop import Loop, now_ns
from .pages import TOGETHER, Pages, Progress
from .senders import Pattern, Senders
from .sockets import allow_sockets, resolve
from .statistics import quantile
from .tally import Tally

QUIET_SECONDS: Final = 2.0
"""What has not come when nothing came for so long is lost."""
AT_ONCE: Final = 1000
"""Connections that are being made at the same time when all pages come at once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the messages. ``latencies`` are nanoseconds, in order."""

    seconds: float
    """From the first one on its way to the last one that came."""
    sent: int
    accepted: int
    received: int
    doubled: int
    disordered: int
    strange: int
    closed: int
    generator: float | None
    """How much of one CPU the generator took while it sent, 0 to 1. None: it kept time, and takes what there is."""
    latencies: Sequence[int]

    @property
    def refused(self) -> int:
        """Messages that the server did not accept."""
        return self.sent - self.accepted

    @property
    def lost(self) -> int:
        """Messages that were accepted, and never came."""
        return max(0, self.accepted - self.received)

    @property
    def rate(self) -> float:
        """Messages a second that came."""
        return self.received / self.seconds if self.seconds > 0 else 0.0

    @property
    def faults(self) -> dict[str, int]:
        """What went wrong, by what it is called; nothing of what did not happen."""
        counts = {
            "lost": self.lost,
            "doubled": self.doubled,
            "out of order": self.disordered,
            "changed or misdelivered": self.strange,
            "refused": self.refused,
            "pages closed": self.closed,
        }
        return {name: count for name, count in counts.items() if count}

    def latency(self, part: float) -> float:
        """Milliseconds within which this part of the messages came, 0 to 1."""
        return quantile(self.latencies, part) / 1e6


class Load:
    """The pages of a server at an address, and who sends to them. ``send_port`` is another one, where it has two.

    Raises :class:`LoadFault` when there may not be so many sockets.
    """

    def __init__(self, dialect: Dialect, tally: Tally, address: tuple[str, int], send_port: int | None = None) -> None:
        allow_sockets(tally.pages)
        page_address = resolve(*address)
        self._dialect = dialect
        self._tally = tally
        self._send_address = (page_address[0], send_port or page_address[1])
        self._loop = Loop()
        self._senders: Senders | None = None
        self.pages = Pages(self._loop, dialect, tally, page_address)

    def __enter__(self) -> Load:
        gc.disable()  # a collection over so many pages would be in the latencies
        return self

    def __exit__(self, *exception: object) -> None:
        gc.enable()
        self.pages.close()
        if self._senders is not None:
            self._senders.close()
        self._loop.close()

    def open(self, progress: Progress, together: int = TOGETHER) -> float:
        """Open all pages; returns the seconds it took. Raises :class:`LoadFault` when one cannot be opened."""
        began = time.monotonic()
        self.pages.open(progress, together)
        return time.monotonic() - began

    def open_for(self, wanted: int, progress: Progress) -> float:
        """Open all pages at once, and wait for so many messages; returns the seconds until the last one that came.

        Raises :class:`LoadFault` when a page cannot be opened.
        """
        self._tally.begin()
        began = now_ns()
        self.pages.open(progress, AT_ONCE)
        tally = self._tally
        for _ in self._loop.until(lambda: tally.received >= wanted, lambda: tally.received):
            progress("waiting for their messages", tally.received / wanted)
        return (tally.last - began) / 1e9

    def idle(self, seconds: float, progress: Progress, what: str) -> None:
        """Answer pings, and do nothing else."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            progress(what, passed / seconds)
            self._loop.turn()

    def connect_senders(self, count: int) -> None:
        """Make the connections that messages are sent on. Raises :class:`LoadFault` when it cannot."""
        self._senders = Senders(self._loop, self._dialect, self._tally, self._send_address, count)

    def send(self, pattern: Pattern, seconds: float, progress: Progress, what: str = "sending") -> Outcome:
        """Send for so long, and wait for the answers and the messages. Raises :class:`LoadFault` when none comes."""
        senders, tally, turn = self._senders, self._tally, self._loop.turn
        assert senders is not None, "connect_senders() comes first"  # noqa: S101
        tally.begin()
        senders.begin()
        closed, busy, began = self.pages.closed, time.process_time(), now_ns()
        end = began + int(seconds * 1e9)
        while (now := now_ns()) < end:
            turn(senders.fill(pattern, began))
            progress(what, (now - began) / (end - began))
        senders.stop()
        spent = (time.process_time() - busy) / ((now - began) / 1e9)
        for _ in self._loop.until(
            lambda: not senders.unanswered and tally.received >= senders.accepted,
            lambda: (senders.unanswered, tally.received),
            QUIET_SECONDS,
        ):
            pass
        if senders.unanswered:
            raise LoadFault(f"The server left {senders.unanswered:,} requests without an answer.")
        return Outcome(
            seconds=(max(tally.last, began) - began) / 1e9,
            sent=senders.sent,
            accepted=senders.accepted,
            received=tally.received,
            doubled=tally.doubled,
            disordered=tally.disordered,
            strange=tally.strange,
            closed=self.pages.closed - closed,
            generator=None if pattern.rate else spent,
            latencies=sorted(tally.latencies),
        )
