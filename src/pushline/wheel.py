"""A timer wheel: one timer for all sessions, instead of one for each."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from pushline.clock import Clock, Timer

log = logging.getLogger("pushline.wheel")

SPOKES_PER_SECOND: Final = 10


class Alarmed(Protocol):
    """What the wheel asks of a session."""

    alarm: int
    closed: bool

    @property
    def deadline(self) -> float:
        """The moment, in seconds of the monotonic clock, at which it wants to be rung."""


class Rider(Protocol):
    """What rides on the wheel: something with a session. When that is closed it is rung no more."""

    @property
    def session(self) -> Alarmed: ...


R = TypeVar("R", bound=Rider)


class Wheel(Generic[R]):
    """Rings its riders at their sessions' deadlines, a tenth of a second at a time.

    A deadline that moved back costs nothing: the rider is asked when its old spoke comes by. The session's ``alarm``
    names the one spoke on which its rider sits.
    """

    __slots__ = ("_clock", "_due", "_ring", "_spokes", "_timer", "_timer_spoke")

    def __init__(self, clock: Clock, ring: Callable[[R, float], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._spokes: dict[int, dict[R, None]] = {}
        self._due: list[int] = []
        self._timer: Timer | None = None
        self._timer_spoke = 0

    def add(self, rider: R) -> None:
        """Ring ``rider`` at the deadline of its session; a deadline that it was added with before counts no more."""
        self.remove(rider)
        session = rider.session
        spoke = math.ceil(session.deadline * SPOKES_PER_SECOND)
        session.alarm = spoke
        riders = self._spokes.get(spoke)
        if riders is None:
            self._spokes[spoke] = {rider: None}
            heapq.heappush(self._due, spoke)
            self._wind()
        else:
            riders[rider] = None

    def remove(self, rider: R) -> None:
        """Let go of ``rider``, and of all that it holds."""
        riders = self._spokes.get(rider.session.alarm)
        if riders is not None:
            riders.pop(rider, None)

    def moved(self, rider: R) -> None:
        """The deadline of ``rider``'s session may have come nearer."""
        session = rider.session
        if session.deadline * SPOKES_PER_SECOND <= session.alarm - 1:
            self.add(rider)

    def _wind(self) -> None:
        first = self._due[0]
        if self._timer is not None:
            if self._timer_spoke <= first:
                return
            self._timer.cancel()
        self._timer_spoke = first
        # A loop's timer may fire a hair early; a millisecond keeps that from becoming a busy wait.
        delay = max(0.001, first / SPOKES_PER_SECOND - self._clock.monotonic())
        self._timer = self._clock.call_later(delay, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._due and self._due[0] <= now * SPOKES_PER_SECOND:
            spoke = heapq.heappop(self._due)
            for rider in self._spokes.pop(spoke):
                session = rider.session
                if session.closed:
                    continue
                # Compared as spokes, so that no rounding leaves a rider on this one for ever.
                if (deadline := session.deadline) * SPOKES_PER_SECOND <= spoke:
                    try:
                        self._ring(rider, max(now, deadline))
                    except Exception:  # one rider's fault is not the others'
                        log.exception("a session could not be rung")
                        continue
                if not session.closed:
                    self.add(rider)
        if self._due:
            self._wind()

    def stop(self) -> None:
        """Ring nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._spokes.clear()
        self._due.clear()
