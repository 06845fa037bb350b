"""A clock that a test moves by hand: two hours pass in no time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

ROUNDING: Final = 1e-6
"""Seconds by which sums of times may be off."""


def _never() -> bool:
    return False


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
        self._monotonic = 1000.0
        self._epoch = now - self._monotonic  # no sum of many steps: two hours are two hours to the last bit
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = count()
        self._soon: deque[Callable[[], None]] = deque()
        self._call_soon = call_soon or self._soon.append

    def now(self) -> float:
        """See :class:`pushline.clock.Clock`."""
        return self._epoch + self._monotonic

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
        """Carry out what was put off to the end of the turn, and what that puts off in turn, until nothing is left.

        What is carried out may call it, too.
        """
        while self._soon:
            self._soon.popleft()()

    def advance(self, seconds: float, until: Callable[[], bool] = _never) -> None:
        """Let time pass: every timer that comes due is called at its moment, each in a turn of its own.

        It stops as soon as ``until`` is true. What is called may call it, too: that time counts once.
        """
        self.turn()
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end + ROUNDING:
            if until():
                return
            when, _, timer = heapq.heappop(self._timers)
            self._monotonic = max(min(when, end), self._monotonic)
            if timer.callback is not None:
                timer.callback()
                self.turn()
        if not until():
            self._monotonic = max(end, self._monotonic)

    def step(self, seconds: float) -> None:
        """Set the machine's clock: unix time jumps, and nothing else happens."""
        self._epoch += seconds


class ProcessClock:
    """A :class:`FakeClock` as one process has it: :meth:`kill` ends that, and all that it has put off."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.alive = True
        self.now = clock.now
        self.monotonic = clock.monotonic

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        """See :class:`pushline.clock.Clock`."""
        return self._clock.call_later(delay, partial(self._call, callback))

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See :class:`pushline.clock.Clock`."""
        self._clock.call_soon(partial(self._call, callback))

    def _call(self, callback: Callable[[], None]) -> None:
        if self.alive:
            callback()

    def kill(self) -> None:
        """Nothing is called any more."""
        self.alive = False
