"""Very many pages come and go: the memory of the server stays as it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pushline.bench.loop import Loop
from pushline.bench.pages import Progress
from pushline.bench.sockets import allow_sockets

from .crowd import WAYS, Crowd
from .server import Watched
from .verdict import Flat

SAMPLES: Final = 40
MEMORY: Final = Flat("memory", part=0.03, room=2.0)
SPARE_DESCRIPTORS: Final = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, at most ``minutes`` (0: as long as it takes).

    ``settle``: seconds after the last page. What it may still say by POST is waited for ten of them, and then swept.
    """

    count: int
    pages: int
    together: int
    minutes: float
    settle: float


@dataclass(slots=True)
class Report:
    """What came of it: ``samples`` are visits made so far, and the memory of the server then (MiB)."""

    ways: tuple[str, ...] = WAYS
    done: int = 0
    failed: int = 0
    complaint: str = ""
    seconds: float = 0.0
    samples: list[tuple[int, float]] = field(default_factory=list)
    settled_mib: float = 0.0
    """At the very end."""
    descriptors: tuple[int, int] = (0, 0)
    """Before and after."""
    complaints: list[str] = field(default_factory=list)

    def verdict(self) -> tuple[bool, list[str]]:
        """Whether all is well, and sentences about it."""
        flat, memory = MEMORY([mib for _, mib in self.samples], lambda mib: f"{mib:.1f} MiB")
        before, after = self.descriptors
        gone = after <= before + SPARE_DESCRIPTORS
        rate = self.done / max(self.seconds, 1)
        lines = [
            f"{self.done:,} pages came and went in {self.seconds:,.0f} s, {rate:,.0f} a second",
            memory,
            f"memory some time after the last one: {self.settled_mib:.1f} MiB",
            f"descriptors: {before} before, {after} after" + ("" if gone else " THAT STAY"),
        ]
        if self.failed:
            lines.append(f"{self.failed:,} PAGES DID NOT GET IN. {self.complaint}")
        lines += [f"THE SERVER COMPLAINS: {line}" for line in self.complaints]
        return flat and gone and not self.failed and not self.complaints, lines


def run(plan: Plan, server: Watched, progress: Progress, say: Callable[[str], None]) -> Report:
    """Do it. ``say`` is given a line for each sample. Raises :class:`LoadFault`."""
    allow_sockets(plan.together)
    report, loop = Report(), Loop()
    dialect = server.dialect(plan.pages, progress)
    before = server.descriptors()
    crowd = Crowd(loop, dialect, server.address, plan.pages, plan.together)
    began = time.monotonic()
    end = began + plan.minutes * 60 if plan.minutes else float("inf")
    step = max(1, plan.count // SAMPLES)
    try:
        for number in range(0, plan.count, step):
            for _ in crowd.visit(min(step, plan.count - number)):
                progress("pages come and go", crowd.done / plan.count)
            report.samples.append((crowd.done, server.memory_mib()))
            say(f"{crowd.done:>12,} pages   {report.samples[-1][1]:8.2f} MiB   {time.monotonic() - began:7.0f} s")
            if time.monotonic() > end or crowd.failed > step:
                break
        report.seconds = time.monotonic() - began
        time.sleep(plan.settle)
    finally:
        crowd.close()
        loop.close()
    report.done, report.failed, report.complaint = crowd.done, crowd.failed, crowd.complaint
    report.settled_mib = server.memory_mib()
    report.descriptors = (before, server.descriptors())
    report.complaints = server.complaints
    return report
