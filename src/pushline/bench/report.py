"""The table of ``pushline bench``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .load import Outcome
from .statistics import short

BUSY: Final = 0.9
"""A generator that takes so much of a CPU may have been the limit."""


def table(outcome: Outcome, cpu_seconds: float | None = None) -> str:
    """What came of a load, for people. ``cpu_seconds``: what the server took meanwhile, where it is known."""
    return "\n".join(f"{name:<24}{text}" for name, text in _lines(outcome, cpu_seconds))


def _lines(outcome: Outcome, cpu_seconds: float | None) -> Iterator[tuple[str, str]]:
    yield "messages", f"{outcome.received:,} of {outcome.sent:,} came, in {outcome.seconds:.1f} s"
    yield "messages a second", f"{outcome.rate:,.0f}"
    yield (
        "latency",
        "   ".join(f"p{part * 100:g} {short(outcome.latency(part))} ms" for part in (0.5, 0.9, 0.99, 0.999))
        + f"   longest {short(outcome.latency(1.0))} ms",
    )
    yield "lost", f"{outcome.lost:,}"
    yield "doubled", f"{outcome.doubled:,}"
    yield "out of order", f"{outcome.disordered:,}"
    for name in ("changed or misdelivered", "refused", "pages closed"):
        if name in outcome.faults:
            yield name, f"{outcome.faults[name]:,}"
    if cpu_seconds is not None and outcome.received:
        yield "server's CPU", f"{short(cpu_seconds * 1e6 / outcome.received)} µs a message"
    if outcome.generator is None:
        return
    busy = f"{outcome.generator:.0%} of a CPU"
    if outcome.generator > BUSY:
        busy += ": it may have been the limit of messages a second, and it lengthens latencies"
    yield "this generator", busy
