"""The only source of time, and of "later"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will be called once, unless it is cancelled."""

    def cancel(self) -> None:
        """Forget it. Harmless when it was called already."""


class Clock(Protocol):
    """Time, and callbacks at a time. Whatever needs either is handed one of these."""

    def now(self) -> float:
        """Unix time in seconds. May step when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since some moment. Never steps."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once, ``delay`` seconds from now, whatever the machine's clock does."""

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call once, at the end of this turn of the event loop."""


class LoopClock:
    """The clock of a running event loop."""

    __slots__ = ("call_later", "call_soon", "monotonic", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now: Callable[[], float] = time.time
        self.monotonic: Callable[[], float] = time.monotonic
        self.call_later: Callable[[float, Callable[[], None]], Timer] = loop.call_later
        self.call_soon: Callable[[Callable[[], None]], object] = loop.call_soon
