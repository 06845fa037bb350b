"""``python -m bench.soak``: see ``--help``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from bench.chaos.server import ServerFault
from bench.compare.servers import GENERATOR_CPU, SERVER_CPU

from pushline.bench.faults import LoadFault
from pushline.bench.progress import Bar

from . import connects, messages
from .server import Watched, serving

_STORE = click.option("--store", default="sqlite", show_default=True, help="The store, as of `pushline serve`.")
_FILE = click.option("--json", "file", type=click.Path(path_type=Path), help="Write the result to this file, too.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Let a Pushline run for long, and see whether it stays as it is.

    Starts `pushline serve` on a port and a data dir of its own. Prints samples while it runs and a verdict at the end;
    the exit status is 1 when something grew that may not, or went wrong.
    """
    if {SERVER_CPU, GENERATOR_CPU} <= os.sched_getaffinity(0):
        os.sched_setaffinity(0, {GENERATOR_CPU})


@main.command(name="connects")
@click.option("--count", default=1_000_000, show_default=True, help="Pages that come and go.")
@click.option("--pages", default=1000, show_default=True, help="Client ids that they belong to, in turn.")
@click.option("--together", default=200, show_default=True, help="Pages that come at the same time.")
@click.option("--minutes", default=0.0, help="Go no further after so long.  [default: as long as it takes]")
@click.option("--settle", default=20.0, show_default=True, help="Seconds to wait for what stays behind the last page.")
@_STORE
@_FILE
def connects_command(store: str, file: Path | None, **options: Any) -> None:
    """Pages that come and go, a million of them: memory is flat.

    They come from many addresses of 127.0.0.0/8, over WebSocket, and go when they are open: by a reset, by the end of
    the connection, by a close frame, or by `leave`, in turn.
    """
    with _watched(store) as (server, bar):
        report = connects.run(connects.Plan(**options), server, bar, _said(bar))
    _tell(report.verdict(), asdict(report), file)


@main.command(name="messages")
@click.option("--minutes", default=30.0, show_default=True, help="How long messages are sent.")
@click.option("--rate", default=0.0, help="Messages a second.  [default: half of what the server can one at a time]")
@click.option("--pages", default=1000, show_default=True, help="Pages that are open.")
@click.option("--sample-seconds", default=30.0, show_default=True, help="How long a line of the table takes.")
@_STORE
@_FILE
def messages_command(store: str, file: Path | None, **options: Any) -> None:
    """Messages at half load: memory and latency are flat, the write-ahead log is bounded, and nothing is lost."""
    with _watched(store) as (server, bar):
        report = messages.run(messages.Plan(**options), server, bar, _said(bar))
    _tell(report.verdict(), asdict(report), file)


class _watched:
    """A server and a bar for its progress; what fails is told in a sentence."""

    def __init__(self, store: str) -> None:
        self._serving = serving(store)
        self._bar = Bar()

    def __enter__(self) -> tuple[Watched, Bar]:
        try:
            return self._serving.__enter__(), self._bar
        except ServerFault as fault:
            raise click.ClickException(str(fault)) from None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._bar.clear()
        self._serving.__exit__(kind, error, trace)
        if isinstance(error, LoadFault):
            raise click.ClickException(str(error)) from None


def _said(bar: Bar) -> Any:
    def say(line: str) -> None:
        if sys.stderr.isatty():
            bar.clear()
        click.echo(line)

    return say


def _tell(verdict: tuple[bool, list[str]], report: dict[str, Any], file: Path | None) -> None:
    good, lines = verdict
    click.echo("\n" + "\n".join(lines))
    if file is not None:
        file.write_text(json.dumps({"good": good, "verdict": lines, **report}, indent=2), encoding="utf-8")
    sys.exit(not good)


if __name__ == "__main__":
    main(prog_name="python -m bench.soak")
