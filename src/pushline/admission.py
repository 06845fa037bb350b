"""How many pages may connect at once: who comes too early is told when to come (contract, W8)."""

from __future__ import annotations

from typing import Final

BURST_SECONDS: Final = 5.0
"""So many seconds' worth of connections may come at one moment."""


class Admission:
    """Admits ``rate`` connections a second, and those of some seconds at once (0: all of them).

    It is a generic cell rate algorithm: one number says how far ahead of the rate the admitted ones are, another one
    which moments were already given away.
    """

    __slots__ = ("_ahead", "_burst", "_promised", "_spacing")

    def __init__(self, rate: float) -> None:
        self._spacing = 1 / rate if rate else 0.0
        self._burst = BURST_SECONDS if rate else 0.0
        self._ahead = 0.0
        self._promised = 0.0

    def admit(self, now: float) -> float:
        """0: come in. Else the seconds after which to come back, for everybody other ones."""
        ahead = max(self._ahead, now)
        if ahead - now <= self._burst:
            self._ahead = ahead + self._spacing
            return 0.0
        self._promised = max(self._promised, ahead - self._burst) + self._spacing
        return self._promised - now
