"""Whether what was sampled over a run stayed flat. Pure functions over numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

WARM_PART: Final = 0.1
"""The first part of a run, in which caches fill and pools grow: it is not judged."""
FEW: Final = 8
"""From fewer samples nothing can be said."""


@dataclass(frozen=True, slots=True)
class Trend:
    """What something was in the first quarter of a run, behind its warm part, and in the last one: the medians."""

    first: float
    last: float

    @property
    def growth(self) -> float:
        """How much more it is at the end."""
        return self.last - self.first


def trend(values: Sequence[float]) -> Trend | None:
    """The trend of values that were sampled evenly; None when they are too few."""
    judged = values[int(len(values) * WARM_PART) :]
    if len(judged) < FEW:
        return None
    quarter = len(judged) // 4
    return Trend(statistics.median(judged[:quarter]), statistics.median(judged[-quarter:]))


@dataclass(frozen=True, slots=True)
class Flat:
    """What may grow by a ``part`` of what it was, or by ``room``, whichever is more."""

    name: str
    part: float
    room: float

    def __call__(self, values: Sequence[float], shown: Callable[[float], str]) -> tuple[bool, str]:
        """Whether values stayed so, and a sentence about it."""
        found = trend(values)
        if found is None:
            return False, f"{self.name}: too few samples to judge; let it run longer"
        allowed = max(found.first * self.part, self.room)
        flat = found.growth <= allowed
        words = "flat" if flat else f"GROWS, by more than {shown(allowed)}"
        return (
            flat,
            f"{self.name}: {words}, {shown(found.first)} in the first quarter and {shown(found.last)} in the last",
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """What may go up and down, but never beyond ``most``."""

    name: str
    most: float

    def __call__(self, values: Sequence[float], shown: Callable[[float], str]) -> tuple[bool, str]:
        """Whether values stayed so, and a sentence about it."""
        most = max(values, default=0.0)
        within = most <= self.most
        return within, f"{self.name}: {'bounded' if within else 'BEYOND ' + shown(self.most)}, {shown(most)} at most"
