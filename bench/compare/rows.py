"""What is measured: the rows of the comparison."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.chaos.line import HOST

from pushline.bench.asking import ask_all
from pushline.bench.dialect import PushlineDialect
from pushline.bench.load import Load, Outcome
from pushline.bench.pages import Progress
from pushline.bench.processes import ProcessTree
from pushline.bench.senders import Pattern
from pushline.bench.tally import Tally

from .servers import SERVER_CPU, PinnedServer, Pushline, Server, pinned

SIZE: Final = 256
SENDERS: Final = 4
WARM_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 2.0
AWAY_BATCH: Final = 100
_SPIN: Final = Path(__file__).with_name("spin.py")


@dataclass(frozen=True, slots=True)
class Column:
    """A number of a row: its key in the results, what it is called, its unit, and whether less of it is better."""

    key: str
    title: str
    unit: str
    less: bool = True


CPU: Final = Column("cpu_us", "server's CPU", "µs a message")
RATE: Final = Column("rate", "messages a second", "", less=False)
P50: Final = Column("p50_ms", "latency p50", "ms")
P99: Final = Column("p99_ms", "latency p99", "ms")
MEMORY: Final = Column("kib", "memory", "KiB a page")


@dataclass(slots=True)
class Run:
    """One run of a row on a server that was just started, and what it found."""

    server: Server
    process: PinnedServer
    pages: int
    seconds: float
    progress: Progress
    numbers: dict[str, float] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def opened(self, *, shared: bool = False, one_channel: bool = False, senders: int = SENDERS) -> Iterator[Load]:
        """All pages open, and the memory and CPU that it took the server."""
        tree = self.tree
        empty = tree.memory_kib()
        dialect = self.server.dialect(self.pages, shared=shared, one_channel=one_channel, progress=self.progress)
        before, bare = tree.cpu_seconds(), tree.memory_kib()
        with Load(dialect, Tally(self.pages, SIZE), (HOST, self.server.port), self.server.send_port) as load:
            seconds = load.open(self.progress)
            self.numbers["connect_us"] = (tree.cpu_seconds() - before) * 1e6 / self.pages
            self.numbers["connects"] = self.pages / seconds
            load.idle(SETTLE_SECONDS, self.progress, "settling")
            memory = tree.memory_kib()
            self.numbers["kib"] = (memory - empty) / self.pages
            self.numbers["connection_kib"] = (memory - bare) / self.pages
            load.connect_senders(min(senders, self.pages))
            yield load

    @property
    def tree(self) -> ProcessTree:
        """The server's processes."""
        return ProcessTree(self.process.pid)

    def note(self, outcome: Outcome, cpu_seconds: float) -> None:
        """What became of the messages."""
        self.numbers |= {
            "cpu_us": cpu_seconds * 1e6 / max(1, outcome.received),
            "rate": outcome.rate,
            "received": outcome.received,
            "p50_ms": outcome.latency(0.5),
            "p99_ms": outcome.latency(0.99),
            "p999_ms": outcome.latency(0.999),
            "longest_ms": outcome.latency(1.0),
            "server_cpu": cpu_seconds / outcome.seconds if outcome.seconds else 0.0,
        }
        if outcome.generator is not None:
            self.numbers["generator_cpu"] = outcome.generator
        self.faults |= outcome.faults


@dataclass(frozen=True, slots=True)
class Row:
    """``only_ours``: what the others have no equal of. The first column is the one that is drawn."""

    name: str
    title: str
    text: str
    pages: int
    columns: tuple[Column, ...]
    measure: Callable[[Run], None]
    only_ours: bool = False
    only_kept: bool = False
    """Only for what outlives a kill."""

    def fits(self, server: Server) -> bool:
        """Whether it is measured on this server."""
        return (server.ours or not self.only_ours) and (server.keeps or not self.only_kept)

    def smaller(self, factor: int) -> Row:
        """With fewer pages."""
        return replace(self, pages=max(SENDERS, self.pages // factor))


# -- how -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sending:
    """Opens pages and sends to them. ``awake``: see :func:`kept_awake`."""

    pattern: Pattern
    shared: bool = False
    one_channel: bool = False
    senders: int = SENDERS
    awake: bool = False

    def __call__(self, run: Run) -> None:
        opened = run.opened(shared=self.shared, one_channel=self.one_channel, senders=self.senders)
        with opened as load, kept_awake() if self.awake else contextlib.nullcontext():
            load.send(self.pattern, min(WARM_SECONDS, run.seconds), run.progress, "warming up")
            before = run.tree.cpu_seconds()
            outcome = load.send(self.pattern, run.seconds, run.progress)
            run.note(outcome, run.tree.cpu_seconds() - before)


@dataclass(frozen=True, slots=True)
class Beside:
    """Sends as ``sending`` does, on a server that has ``times`` as many channels more as there are pages."""

    times: int
    sending: Sending

    def __call__(self, run: Run) -> None:
        assert isinstance(run.server, Pushline)  # noqa: S101
        run.server.fill(run.pages * self.times, run.progress)
        run.numbers["channels"] = run.pages * (self.times + 1)
        self.sending(run)


def idle(run: Run) -> None:
    """Opens pages, and sends nothing."""
    with run.opened() as load:
        before = run.tree.cpu_seconds()
        load.idle(run.seconds, run.progress, "idle")
        run.numbers["idle_ms"] = (run.tree.cpu_seconds() - before) * 1e3 / run.seconds
        if load.pages.closed:
            run.faults["pages closed"] = load.pages.closed


def come_back(run: Run) -> None:
    """Sends each page a message while it is away, kills the server, and lets all pages come back at once."""
    dialect = run.server.dialect(run.pages, shared=False, one_channel=False, progress=run.progress)
    assert isinstance(dialect, PushlineDialect)  # noqa: S101
    tally = Tally(run.pages, SIZE)
    with Load(dialect, tally, (HOST, run.server.port)) as load:
        load.open(run.progress)
        dialect.cursors = load.pages.cursors()
        load.pages.close()
        numbers = [range(run.pages)[first : first + AWAY_BATCH] for first in range(0, run.pages, AWAY_BATCH)]
        requests = [dialect.request_batch(pages, [tally.stamp(page, 0) for page in pages]) for pages in numbers]
        for done, _ in enumerate(ask_all((HOST, run.server.port), requests)):
            run.progress("sending while they are away", done / len(requests))
        asyncio.run(run.process.kill())
        before = run.tree.cpu_seconds()
        seconds = load.open_for(run.pages, run.progress)
        run.numbers |= {
            "all_seconds": seconds,
            "back_us": (run.tree.cpu_seconds() - before) * 1e6 / run.pages,
            "told_later": load.pages.retried,
            "start_seconds": run.process.downtimes[-1],
        }
        counts = {
            "lost": run.pages - tally.received,
            "doubled": tally.doubled,
            "out of order": tally.disordered,
            "changed or misdelivered": tally.strange,
            "pages closed": load.pages.closed,
        }
        run.faults |= {name: count for name, count in counts.items() if count}


@contextlib.contextmanager
def kept_awake() -> Iterator[None]:
    """Keeps the server's CPU from falling asleep between two messages: a virtual one takes long to wake.

    A program that runs only when nothing else wants to (SCHED_IDLE) spins on it. It takes no time from the server.
    """
    command = [*pinned(SERVER_CPU), sys.executable, str(_SPIN)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as spinner:  # noqa: S603
        try:
            assert spinner.stdout is not None  # noqa: S101
            spinner.stdout.readline()
            yield
        finally:
            spinner.kill()


# -- the rows ------------------------------------------------------------------------------------------------

_STEADY: Final = Pattern(rate=1000, to="random")
_AFTER: Final = (CPU, P50, P99, MEMORY)


def _beside(name: str, times: int) -> Row:
    title = f"1,000 messages a second to 1,000 pages, beside {1000 * times:,} other channels"
    text = "Each of the others has a message that waits and no page. CPU and latency, by how much the store holds."
    measure = Beside(times, Sending(_STEADY, awake=True))
    return Row(name, title, text, 1000, (CPU, P50, P99), measure, only_ours=True, only_kept=True)


def _steady(name: str, pages: int) -> Row:
    title = f"1,000 messages a second to random ones of {pages:,} pages"
    text = "CPU and latency, by how many pages are open beside those that get something."
    return Row(name, title, text, pages, _AFTER, Sending(_STEADY, awake=True), only_ours=True, only_kept=True)


ROWS: Final[dict[str, Row]] = {
    row.name: row
    for row in (
        Row(
            "A1",
            "One message at a time",
            "Four connections, one request in flight on each, 1,000 pages.",
            1000,
            (CPU, RATE, P50, P99),
            Sending(Pattern()),
        ),
        Row(
            "A16",
            "Sixteen in flight",
            "The same with sixteen requests in flight on each connection.",
            1000,
            (CPU, RATE, P50, P99),
            Sending(Pattern(in_flight=16)),
        ),
        Row(
            "A3",
            "Batches of 100",
            "Each request has 100 messages to different pages (contract, A3).",
            1000,
            (CPU, RATE, P50, P99),
            Sending(Pattern(batch=100)),
            only_ours=True,
        ),
        Row(
            "E",
            "One message to 1,000 pages",
            "Each message goes to every page; to Pushline it is one request with a list of client ids. "
            "A delivery counts as a message.",
            1000,
            (CPU, RATE, P50, P99),
            Sending(Pattern(to="all"), shared=True, senders=1),
        ),
        Row(
            "ES",
            "One message to 1,000 pages of one channel",
            "Each message goes to every page of one client id with the policy share. A delivery counts as a message.",
            1000,
            (CPU, RATE, P50, P99),
            Sending(Pattern(to="all"), shared=True, one_channel=True, senders=1),
            only_ours=True,
        ),
        Row(
            "BW",
            "Latency at 1,000 messages a second",
            "Sent at fixed moments, answered or not; a latency counts from the moment at which a message was due.",
            1000,
            (P99, P50, Column("p999_ms", "latency p99.9", "ms"), CPU),
            Sending(Pattern(rate=1000), awake=True),
        ),
        Row(
            "C",
            "10,000 idle pages",
            "Memory (PSS of all processes, without files) includes what a page needs before it connects: "
            "at Pushline, its channel.",
            10_000,
            (
                MEMORY,
                Column("connect_us", "CPU to accept", "µs a page"),
                Column("connects", "accepted a second", "", less=False),
                Column("idle_ms", "CPU when idle", "ms a second"),
            ),
            idle,
        ),
        _steady("C1", 1000),
        _steady("C5", 5000),
        _steady("C10", 10_000),
        _steady("C19", 19_000),
        _beside("S10", 10),
        _beside("S100", 100),
        _beside("S1000", 1000),
        Row(
            "R",
            "15,000 pages come back at once",
            "Each was sent a message while it was away; then the server was killed and started again. "
            "From the moment at which it was ready.",
            15_000,
            (
                Column("all_seconds", "until the last has its message", "s"),
                Column("back_us", "server's CPU", "µs a page"),
                Column("told_later", "told to come later", "times"),
                Column("start_seconds", "killed and ready again", "s"),
            ),
            come_back,
            only_ours=True,
            only_kept=True,
        ),
    )
}
LINES: Final = {"open pages": ("C1", "C5", "C10", "C19"), "channels in the store": ("C1", "S10", "S100", "S1000")}
"""The rows that differ in nothing but one number, by what that number is."""
