"""The results of runs, as JSON lines: each is added at once, so that an interruption loses nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pushline.bench.statistics import Spread


class UnreadableResults(Exception):
    """A file is no results, or of other settings. The sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a row on a server. ``error`` says why there are no numbers."""

    server: str
    row: str
    version: str
    seconds: float
    pages: int
    moment: str
    load: float = 0.0
    """The machine's load average at the beginning."""
    steal: float = 0.0
    """The part of its time that the machine was not given, 0 to 1, while the run lasted."""
    numbers: dict[str, float] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    error: str = ""

    def as_line(self) -> str:
        """JSON without a line break."""
        return json.dumps(asdict(self), ensure_ascii=False)


class Results:
    """All runs of a folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "results.jsonl"
        self.all = read_results(self.file)

    def add(self, result: Result) -> None:
        """Keep it, in the file too."""
        self.all.append(result)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(result.as_line() + "\n")

    def done(self, server: str, row: str) -> int:
        """How many runs have numbers."""
        return len(self.of(server, row))

    def of(self, server: str, row: str) -> list[Result]:
        """Those that have numbers."""
        return [result for result in self.all if (result.server, result.row) == (server, row) and not result.error]

    def error(self, server: str, row: str) -> str:
        """Why there are no numbers: what was said last."""
        errors = [result.error for result in self.all if (result.server, result.row) == (server, row) and result.error]
        return errors[-1] if errors else ""

    def check_seconds(self, seconds: float) -> None:
        """Raise :class:`UnreadableResults` when there are runs of another length: they do not belong together."""
        others = {result.seconds for result in self.all} - {seconds}
        if others:
            raise UnreadableResults(
                f"{self.file} has runs of {min(others):g} s: continue them with --seconds {min(others):g},"
                " or give another --output."
            )


def read_results(file: Path) -> list[Result]:
    """What a file has; nothing when it is not there. Raises :class:`UnreadableResults`."""
    if not file.exists():
        return []
    results = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            results.append(Result(**json.loads(line)))
        except (ValueError, TypeError):
            raise UnreadableResults(f"Line {number} of {file} is no result: remove it.") from None
    return results


@dataclass(frozen=True, slots=True)
class Cell:
    """What runs have of one number, and what went wrong in them."""

    runs: int
    pages: int
    spreads: dict[str, Spread]
    faults: dict[str, int]


def summary(results: Sequence[Result]) -> Cell | None:
    """Of the runs of one row on one server; None of none."""
    if not results:
        return None
    keys: Iterable[str] = dict.fromkeys(key for result in results for key in result.numbers)
    spreads = {key: Spread.of([result.numbers[key] for result in results if key in result.numbers]) for key in keys}
    faults: Counter[str] = Counter()
    for result in results:
        faults.update(result.faults)
    return Cell(len(results), results[0].pages, spreads, dict(faults))
