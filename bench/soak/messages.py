"""Messages for a long time at half load: memory, latency and the write-ahead log stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pushline.bench.load import Load
from pushline.bench.pages import Progress
from pushline.bench.senders import Pattern
from pushline.bench.tally import Tally

from .server import Watched
from .verdict import Bound, Flat

SIZE: Final = 256
SENDERS: Final = 4
FULL_SECONDS: Final = 5.0
"""How long is measured what the server can."""

MEMORY: Final = Flat("memory", part=0.05, room=2.0)
LATENCY: Final = Flat("latency p99", part=0.5, room=2.0)
LOG: Final = Bound("write-ahead log", most=80.0)
"""The store begins it anew at 62.5 MiB, with the next commit that finds the disk ready."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. ``rate`` 0: half of what the server can one at a time."""

    minutes: float
    rate: float
    pages: int
    sample_seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the table."""

    minute: float
    rate: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    log_mib: float
    files_mib: float

    def __str__(self) -> str:
        return (
            f"{self.minute:7.1f} {self.rate:10,.0f} {self.p50_ms:9.2f} {self.p99_ms:9.2f} "
            f"{self.memory_mib:9.2f} {self.log_mib:8.2f} {self.files_mib:9.2f}"
        )


HEAD: Final = f"{'minute':>7} {'a second':>10} {'p50 ms':>9} {'p99 ms':>9} {'MiB':>9} {'log MiB':>8} {'files MiB':>9}"


@dataclass(slots=True)
class Report:
    """What came of it."""

    rate: float = 0.0
    sent: int = 0
    received: int = 0
    samples: list[Sample] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def verdict(self) -> tuple[bool, list[str]]:
        """Whether all is well, and sentences about it."""
        judged = [
            MEMORY([sample.memory_mib for sample in self.samples], _mib),
            LATENCY([sample.p99_ms for sample in self.samples], lambda ms: f"{ms:.2f} ms"),
            LOG([sample.log_mib for sample in self.samples], _mib),
        ]
        lines = [f"{self.received:,} of {self.sent:,} messages came, {self.rate:,.0f} a second"]
        lines += [line for _, line in judged]
        lines += [f"{count:,} {name.upper()}" for name, count in self.faults.items()]
        lines += [f"THE SERVER COMPLAINS: {line}" for line in self.complaints]
        return all(flat for flat, _ in judged) and not self.faults and not self.complaints, lines


def run(plan: Plan, server: Watched, progress: Progress, say: Callable[[str], None]) -> Report:
    """Do it. ``say`` is given a line for each sample. Raises :class:`LoadFault`."""
    report = Report(rate=plan.rate)
    dialect = server.dialect(plan.pages, progress)
    with Load(dialect, Tally(plan.pages, SIZE), server.address) as load:
        load.open(progress)
        load.connect_senders(SENDERS)
        if not report.rate:
            # One at a time: many in flight share commits, which messages that come at their own moments hardly do.
            full = load.send(Pattern(), FULL_SECONDS, progress, "measuring what it can")
            report.rate = full.rate / 2
        pattern = Pattern(rate=report.rate)
        say(HEAD)
        for number in range(max(1, round(plan.minutes * 60 / plan.sample_seconds))):
            done = f"minute {number * plan.sample_seconds / 60:.1f} of {plan.minutes:g}"
            outcome = load.send(pattern, plan.sample_seconds, progress, done)
            report.sent += outcome.sent
            report.received += outcome.received
            report.faults.update(outcome.faults)
            report.samples.append(
                Sample(
                    minute=(number + 1) * plan.sample_seconds / 60,
                    rate=outcome.rate,
                    p50_ms=outcome.latency(0.5),
                    p99_ms=outcome.latency(0.99),
                    memory_mib=server.memory_mib(),
                    log_mib=server.log_mib(),
                    files_mib=server.files_mib(),
                )
            )
            say(str(report.samples[-1]))
    report.complaints = server.complaints
    return report


def _mib(value: float) -> str:
    return f"{value:.1f} MiB"
