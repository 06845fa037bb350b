"""The page about a comparison: one file of HTML, with its tables and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from pushline.bench.statistics import Spread, short

from .plots import Plot, Point
from .results import Cell, Results, summary
from .rows import CPU, LINES, P99, ROWS, Column, Row
from .servers import OURS, SERVERS

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; max-width: 62rem; margin: 2rem auto }
body { padding: 0 1rem }
h2 { margin-top: 2.5rem }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #e4e7eb; vertical-align: top }
th:first-child, td:first-child { text-align: left }
tr.ours { font-weight: 600 }
small { color: #616e7c; font-weight: 400 }
svg { max-width: 100%; height: auto; display: block; margin: .5rem 0 }
.table { overflow-x: auto }
.wrong { color: #b00020; font-weight: 600 }
.look { background: #fff3c4; padding: .5rem .8rem }
"""

_METHOD: Final = (
    "The server runs on CPU 0, the load generator on CPU 1. Every run has a freshly started server. The servers "
    "take turns, so that a slow moment of the machine is everybody's. A second of the same load goes before what "
    "is counted.",
    "The main figure is the server's CPU: the time for which all its processes were running, from /proc, divided "
    "by the messages that came. It holds on a busy machine, where rates and latencies do not. Messages have 256 "
    "bytes. Each carries its number and its moment, and every one that comes is verified: where one was lost, "
    "doubled, out of order or refused, the table says so. Numbers are medians of the runs, and below them the "
    "least and the most.",
    "Every server has its default settings, but for the room that so many connections need, and access logs, "
    "which are off. Pages of Pushline acknowledge what they got, as those of browsers do. With its default store "
    "Pushline has each message in a database before it answers, and its numbers include this; nchan keeps some "
    "messages in memory, and the others forget a message once it is sent.",
    "The generator is one process of Python. Where it took more than 90 % of its CPU a rate may be its limit and "
    "not the server's: those rates are marked with *. Latencies include the generator's own time. Where messages "
    "are sent at fixed moments, a program that runs only when nothing else wants to keeps the server's CPU awake.",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A row and what was found for each server, in the servers' order."""

    row: Row
    cells: Mapping[str, Cell]
    errors: Mapping[str, str]


def measured(results: Results) -> list[Measured]:
    """All rows that there is something to say about."""
    found = []
    for row in ROWS.values():
        cells, errors = {}, {}
        for name in SERVERS:
            if (cell := summary(results.of(name, row.name))) is not None:
                cells[name] = cell
            elif error := results.error(name, row.name):
                errors[name] = error
        if cells or errors:
            found.append(Measured(row, cells, errors))
    return found


def losses(rows: Sequence[Measured]) -> list[str]:
    """Where another server's median is better than that of Pushline with its default store: a sentence each."""
    told = []
    for one in rows:
        if OURS not in one.cells:
            continue
        ours = one.cells[OURS].spreads
        for column in one.row.columns:
            better = [
                (SERVERS[name].title, cell.spreads[column.key])
                for name, cell in one.cells.items()
                if not SERVERS[name].ours
                and column.key in cell.spreads
                and column.key in ours
                and _better(cell.spreads[column.key], ours[column.key], column)
            ]
            if better:
                better.sort(key=lambda pair: pair[1].median, reverse=not column.less)
                unit = f" {column.unit}" if column.unit else ""
                others = ", ".join(
                    f"{title} {short(spread.median)}{_doubt(spread, ours[column.key])}" for title, spread in better
                )
                told.append(
                    f"{one.row.title}, {column.title}: Pushline {short(ours[column.key].median)}{unit}; {others}."
                )
    return told


def _better(one: Spread, other: Spread, column: Column) -> bool:
    return one.median < other.median if column.less else one.median > other.median


def _doubt(one: Spread, other: Spread) -> str:
    return " (the runs overlap)" if one.least <= other.most and other.least <= one.most else ""


def plots(rows: Sequence[Measured]) -> dict[str, Plot]:
    """By the row that each is shown with. Rows that differ in one number only are on lines."""
    found = {}
    for one in rows:
        column = one.row.columns[0]
        points = [
            Point(SERVERS[name].title, spread.median, spread.least, spread.most, SERVERS[name].ours)
            for name, cell in one.cells.items()
            if (spread := cell.spreads.get(column.key)) is not None
        ]
        if len(points) > 1 and not any(one.row.name in names for names in LINES.values()):
            found[one.row.name] = Plot(f"{one.row.title}: {column.title}", _axis(column), points)
    for number, names in LINES.items():
        line = [one.cells[OURS] for one in rows if one.row.name in names and OURS in one.cells]
        if len(line) > 1:
            for column in (CPU, P99):
                points = [_at(cell, column, number) for cell in line]
                title = f"{column.title} by {number}"
                found[title] = Plot(title, _axis(column), points, number)
    return found


def _at(cell: Cell, column: Column, number: str) -> Point:
    spread = cell.spreads[column.key]
    channels = cell.spreads.get("channels")
    size = int(channels.median) if channels and number.startswith("channels") else cell.pages
    return Point(str(size), spread.median, spread.least, spread.most)


def _axis(column: Column) -> str:
    return f"{column.title}, {column.unit}" if column.unit else column.title


def page(results: Results, machine: Mapping[str, str], drawn: Mapping[str, str], *, quick: bool) -> str:
    """The HTML. ``drawn``: SVG by the keys of :func:`plots`."""
    return "\n".join(_page(results, machine, drawn, quick))


def _page(results: Results, machine: Mapping[str, str], drawn: Mapping[str, str], quick: bool) -> Iterator[str]:
    rows = measured(results)
    yield '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>Pushline beside others</title><style>{_STYLE}</style><h1>Pushline beside others</h1>"
    if quick:
        yield '<p class="look">A look, not a measurement: short runs, a tenth of the pages.</p>'
    yield from _losses(rows)
    for one in rows:
        yield from _row(one, drawn)
    for number in LINES:
        yield from _line_plots(drawn, number)
    yield "<h2>Method</h2>" + "".join(f"<p>{escape(text)}</p>" for text in _METHOD)
    yield from _machine(results, machine)
    yield "</html>"


def _losses(rows: Sequence[Measured]) -> Iterator[str]:
    yield "<h2>Where Pushline loses</h2>"
    told = losses(rows)
    if told:
        yield f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in told)}</ul>"
    elif any(OURS in one.cells and len(one.cells) > 1 for one in rows):
        yield "<p>Nowhere among these rows.</p>"
    else:
        yield "<p>There is nothing to compare with.</p>"


def _row(one: Measured, drawn: Mapping[str, str]) -> Iterator[str]:
    row = one.row
    columns = [column for column in row.columns if any(column.key in cell.spreads for cell in one.cells.values())]
    yield f'<h2 id="{row.name}">{escape(row.title)} <small>{row.name}</small></h2><p>{escape(row.text)}</p>'
    yield drawn.get(row.name, "")
    yield '<div class="table"><table><tr><th></th>'
    yield "".join(f"<th>{escape(column.title)}<br><small>{escape(column.unit)}</small></th>" for column in columns)
    yield "<th>runs</th><th>verified</th></tr>"
    for name, cell in one.cells.items():
        kind = ' class="ours"' if SERVERS[name].ours else ""
        cells = "".join(f"<td>{_cell(cell, column)}</td>" for column in columns)
        wrong = ", ".join(f"{count:,} {what}" for what, count in cell.faults.items())
        verdict = f'<span class="wrong">{escape(wrong)}</span>' if wrong else "all came"
        yield f"<tr{kind}><td>{escape(SERVERS[name].title)}</td>{cells}<td>{cell.runs}</td><td>{verdict}</td></tr>"
    yield "</table></div>"
    for name, error in one.errors.items():
        yield f'<p class="wrong">{escape(SERVERS[name].title)} was not measured: {escape(error)}</p>'


def _cell(cell: Cell, column: Column) -> str:
    spread = cell.spreads.get(column.key)
    if spread is None:
        return "–"
    busy = cell.spreads.get("generator_cpu")
    mark = "*" if column.key == "rate" and busy is not None and busy.median > 0.9 else ""
    reach = "" if cell.runs == 1 else f"<br><small>{short(spread.least)}–{short(spread.most)}</small>"
    return f"{short(spread.median)}{mark}{reach}"


def _line_plots(drawn: Mapping[str, str], number: str) -> Iterator[str]:
    found = [svg for key, svg in drawn.items() if key.endswith(f" by {number}")]
    if found:
        yield f"<h2>By {number}</h2>" + "".join(found)


def _machine(results: Results, machine: Mapping[str, str]) -> Iterator[str]:
    versions = {result.server: result.version for result in results.all}
    moments = sorted(result.moment for result in results.all)
    rows = {
        **machine,
        "measured": f"{moments[0]} to {moments[-1]}" if moments else "",
        "seconds of a run": ", ".join(f"{seconds:g}" for seconds in sorted({result.seconds for result in results.all})),
        "load average": str(Spread.of([result.load for result in results.all])) if results.all else "",
        "stolen time": f"{max((result.steal for result in results.all), default=0):.1%} of a run at most",
        **{SERVERS[name].title: version for name, version in versions.items() if name in SERVERS},
    }
    yield "<h2>Machine and versions</h2><table>"
    for name, text in rows.items():
        yield f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>"
    yield "</table>"
