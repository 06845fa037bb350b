"""Runs rows on servers, in alternation, each on a freshly started one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.chaos.server import ServerFault

from pushline.bench.faults import LoadFault
from pushline.bench.progress import Bar
from pushline.bench.statistics import short

from . import machine
from .results import Result, Results
from .rows import Row, Run
from .servers import Server

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: each row ``runs`` times on each server that it fits."""

    servers: Sequence[Server]
    rows: Sequence[Row]
    runs: int
    seconds: float

    def steps(self, results: Results) -> list[tuple[Row, Server]]:
        """What is left to do, in order: the servers take turns, so that a slow hour is everybody's."""
        return [
            (row, server)
            for number in range(self.runs)
            for row in self.rows
            for server in self.servers
            if row.fits(server) and results.done(server.name, row.name) <= number
        ]


def run(plan: Plan, results: Results, say: Say) -> None:
    """Do what is left of the plan. ``say`` is given a line for each run."""
    steps = plan.steps(results)
    versions = {server.name: server.version() for server in plan.servers}
    began = time.monotonic()
    for number, (row, server) in enumerate(steps):
        left = (time.monotonic() - began) / number * (len(steps) - number) if number else 0.0
        head = f"[{number + 1}/{len(steps)}{f', {left / 60:.0f} min left' if number else ''}] {row.name} {server.title}"
        bar = Bar(prefix=f"{head}: ")
        result = one(row, server, versions[server.name], plan.seconds, bar)
        bar.clear()
        results.add(result)
        say(f"{head}: {told(row, result)}")


def told(row: Row, result: Result) -> str:
    """A result in a line."""
    if result.error:
        return f"FAILED: {result.error}"
    numbers = [
        f"{column.title} {short(result.numbers[column.key])} {column.unit}".rstrip()
        for column in row.columns
        if column.key in result.numbers
    ]
    wrong = [f"{count:,} {name.upper()}" for name, count in result.faults.items()]
    return ", ".join([*numbers, *wrong])


def one(row: Row, server: Server, version: str, seconds: float, bar: Bar) -> Result:
    """One run. What fails is told by its result."""
    moment, load = machine.now(), machine.load_average()
    stolen, ticks = machine.stolen_and_all()
    error = ""
    with tempfile.TemporaryDirectory(prefix="pushline-bench-") as folder:
        process = server.process(Path(folder))
        measured = Run(server, process, row.pages, seconds, bar)
        try:
            asyncio.run(process.start())
            row.measure(measured)
        except (LoadFault, ServerFault, OSError) as fault:
            error = str(fault)
        finally:
            with contextlib.suppress(ServerFault):  # it was ended by force
                asyncio.run(process.end(signal.SIGTERM))
    stolen_after, ticks_after = machine.stolen_and_all()
    return Result(
        server=server.name,
        row=row.name,
        version=version,
        seconds=seconds,
        pages=row.pages,
        moment=moment,
        load=load,
        steal=(stolen_after - stolen) / max(1, ticks_after - ticks),
        numbers=measured.numbers,
        faults=measured.faults,
        error=error,
    )
