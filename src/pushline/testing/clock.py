"""A clock that a test moves by hand: two hours pass in no time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class FakeTimer:
    """A callback of a :class:`FakeClock`, until it is called or cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget it."""
        self.callback = None


class FakeClock:
    """Stands still until :meth:`advance` moves it.

    ``call_soon`` puts callbacks into a turn that :meth:`turn` carries out. Given ``call_soon`` of a running event loop,
    turns are the loop's own, and only time stands still.
    """

    def __init__(self, now: float = 1_700_000_000.0, call_soon: Callable[[Callable[[], None]], object] | None = None):
        self._now = now
        self._monotonic = 1000.0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = count()
        self._soon: list[Callable[[], None]] = []
        self._call_soon = call_soon or self._soon.append

    def now(self) -> float:
        """See :class:`pushline.clock.Clock`."""
        return self._now

    def monotonic(self) -> float:
        """See :class:`pushline.clock.Clock`."""
        return self._monotonic

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        """See :class:`pushline.clock.Clock`."""
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self._monotonic + max(0.0, delay), next(self._order), timer))
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See :class:`pushline.clock.Clock`."""
        self._call_soon(callback)

    def turn(self) -> None:
        """Carry out what was put off to the end of the turn, and what that puts off in turn, until nothing is left."""
        while self._soon:
            callbacks, self._soon[:] = self._soon[:], []
            for callback in callbacks:
                callback()

    def advance(self, seconds: float) -> None:
        """Let time pass: every timer that comes due is called at its moment, each in a turn of its own."""
        self.turn()
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self._now += max(0.0, when - self._monotonic)
            self._monotonic = max(when, self._monotonic)
            if timer.callback is not None:
                timer.callback()
                self.turn()
        self._now += end - self._monotonic
        self._monotonic = end

    def step(self, seconds: float) -> None:
        """Set the machine's clock: unix time jumps, and nothing else happens."""
        self._now += seconds
