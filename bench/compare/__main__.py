"""``python -m bench.compare``: see ``--help``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from . import machine
from .page import measured, page, plots
from .plots import draw
from .results import Results, UnreadableResults
from .rows import ROWS, Row
from .run import Plan, run
from .servers import GENERATOR_CPU, SERVER_CPU, SERVERS, Server

QUICK_SECONDS = 1.0
QUICK_FACTOR = 10
FOLDER = Path(__file__).resolve().parents[1] / "results"


def _lists(title: str, entries: dict[str, str]) -> str:
    width = max(map(len, entries))
    return "\n".join([f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in entries.items())])


_EPILOG = "\b\n" + "\n\n\b\n".join(
    (
        _lists("Servers", {server.name: server.title for server in SERVERS.values()}),
        _lists("Rows", {row.name: row.title for row in ROWS.values()}),
        "Examples:\n"
        "  python -m bench.compare --quick --server pushline --server nchan --row A1\n"
        "  python -m bench.compare                 everything, about a hundred minutes\n"
        "  python -m bench.compare --page          the page again, from the results that are there",
    )
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True}, epilog=_EPILOG)
@click.option(
    "--server", "servers", type=click.Choice(list(SERVERS)), multiple=True, help="Only this one; may be repeated."
)
@click.option("--row", "rows", type=click.Choice(list(ROWS)), multiple=True, help="Only this one; may be repeated.")
@click.option("--runs", type=click.IntRange(1), default=5, help="Runs of each row on each server.")
@click.option("--seconds", type=click.FloatRange(0.2), default=4.0, help="How long each run sends.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The folder of results.jsonl and index.html.  [default: bench/results]",
)
@click.option(
    "--quick", is_flag=True, help="A look: one run of a second, a tenth of the pages, in a folder of its own."
)
@click.option("--page", "only_page", is_flag=True, help="Measure nothing; write the page from what is in the folder.")
def main(
    servers: Sequence[str],
    rows: Sequence[str],
    runs: int,
    seconds: float,
    output: Path | None,
    quick: bool,
    only_page: bool,
) -> None:
    """Measure Pushline beside other servers with the same load, and write a page about it.

    Each result is added to results.jsonl at once: interrupt it as you like, and the same command does what is left.
    A run that failed is tried again then.
    """
    folder = output or (FOLDER / "quick" if quick else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    if quick:
        runs, seconds = 1, QUICK_SECONDS
    try:
        results = Results(folder)
        if not only_page:
            results.check_seconds(seconds)
            plan = Plan(_installed(servers), _chosen(rows, quick), runs, seconds)
            _pin()
            (folder / "machine.json").write_text(json.dumps(machine.describe(), indent=2), encoding="utf-8")
            steps = len(plan.steps(results))
            what = f"{steps} runs to do" if steps else "Nothing is left to do: remove the folder to measure again"
            click.echo(f"{what}; results in {folder}", err=True)
            run(plan, results, click.echo)
    except UnreadableResults as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("\nInterrupted: the same command goes on from here.", err=True)
        sys.exit(130)
    click.echo(f"The page is {_write_page(folder, results, quick)}")
    sys.exit(1 if any(result.faults for result in results.all if SERVERS[result.server].ours) else 0)


def _chosen(rows: Sequence[str], quick: bool) -> list[Row]:
    chosen = [row for name, row in ROWS.items() if name in rows or not rows]
    return [row.smaller(QUICK_FACTOR) for row in chosen] if quick else chosen


def _installed(names: Sequence[str]) -> list[Server]:
    chosen = [server for name, server in SERVERS.items() if name in names or not names]
    missing = [text for server in chosen if (text := server.missing())]
    if missing:
        raise click.ClickException("\n".join(missing) + "\nOr name with --server those that are there.")
    return chosen


def _pin() -> None:
    """Keep to the CPU of the generator. There has to be another one for the server."""
    if not {SERVER_CPU, GENERATOR_CPU} <= os.sched_getaffinity(0):
        raise click.ClickException(f"Two CPUs are needed: {SERVER_CPU} for the server, {GENERATOR_CPU} for the load.")
    if shutil.which("taskset") is None:
        raise click.ClickException("taskset is missing: apt-get install -y util-linux")
    os.sched_setaffinity(0, {GENERATOR_CPU})


def _write_page(folder: Path, results: Results, quick: bool) -> Path:
    described = folder / "machine.json"
    known = json.loads(described.read_text(encoding="utf-8")) if described.exists() else {}
    wanted = plots(measured(results))
    drawn = draw(list(wanted.values()))
    if not drawn:
        click.echo("The page has no plots: matplotlib is not installed. `make bench` installs it.", err=True)
    file = folder / "index.html"
    file.write_text(page(results, known, dict(zip(wanted, drawn, strict=False)), quick=quick), encoding="utf-8")
    return file


if __name__ == "__main__":
    main(prog_name="python -m bench.compare")
