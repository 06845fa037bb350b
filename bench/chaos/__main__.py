"""``python -m bench.chaos``: see ``--help``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click
import uvloop

from .plan import TRANSPORTS, Plan
from .run import run
from .server import ServerFault

_DEFAULT = Plan()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--pages", default=_DEFAULT.pages, help="Pages that are open, evenly over the transports.")
@click.option("--messages", default=_DEFAULT.messages, help="Messages that are sent to random client ids.")
@click.option("--seconds", default=_DEFAULT.seconds, help="How long the run takes; messages are sent for half of it.")
@click.option("--seed", default=_DEFAULT.seed, help="What chance is made of: another number, another run.")
@click.option(
    "--transport", "transports", type=click.Choice(TRANSPORTS), multiple=True, default=TRANSPORTS,
    help="How pages connect; may be repeated.",
)  # fmt: skip
@click.option(
    "--store", default=_DEFAULT.store, help="The store, as of `pushline serve`. `memory` needs --kills 0 --terms 0."
)
@click.option("--kills", default=_DEFAULT.kills, help="How often the server is ended by SIGKILL and started again.")
@click.option("--terms", default=_DEFAULT.terms, help="How often it is ended by SIGTERM, drains, and is started again.")
@click.option("--drops", default=None, type=int, help="How many connections are cut.  [default: one for each page]")
@click.option("--reloads", default=_DEFAULT.reloads, help="How many pages are left and loaded again with a new token.")
@click.option("--floods", default=_DEFAULT.floods, help="How many pages are cut and sent more than a channel keeps.")
@click.option("--longest-pause", default=_DEFAULT.longest_pause, help="Seconds that a page pauses between two tries.")
@click.option("--kept", default=_DEFAULT.kept, help="How many messages a channel keeps (the server's setting).")
@click.option("--ping-interval", default=_DEFAULT.ping_interval, help="The server's setting.")
@click.option("--ping-timeout", default=_DEFAULT.ping_timeout, help="The server's setting.")
@click.option("--drain-seconds", default=_DEFAULT.drain_seconds, help="The server's setting.")
@click.option(
    "--peer",
    type=click.Choice(("pushline", "socketio")),
    default=_DEFAULT.peer,
    help="Another server in its place: Socket.IO with connection state recovery, installed by npm for the run.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the result to this file, too.")
@click.option("--quiet", is_flag=True, help="No lines of progress.")
def main(file: Path | None, quiet: bool, drops: int | None, **options: object) -> None:
    """Break a Pushline again and again, and see whether it keeps its word.

    Starts `pushline serve` on a port and a data dir of its own, opens pages on WebSocket, SSE and long-poll, and sends
    messages, one by one and in batches, each with an idempotency key that is repeated until it is answered. Meanwhile
    connections are cut (by a reset, without a word, or by silence), and the server is killed, stopped and started
    again. At the end every page's messages are compared with what was accepted for its client id.

    Prints a table. The exit status is 1 when a message was lost without a word, came twice or out of order, when a
    socket was ended, or when the server said something that the protocol does not know.

    \b
      python -m bench.chaos                                       two minutes
      python -m bench.chaos --pages 60 --messages 5000 --seconds 40
      python -m bench.chaos --transport sse --kills 10 --seed 7   one transport, more trouble
    """
    plan = Plan(drops=_pages_of(options) if drops is None else drops, **options)  # type: ignore[arg-type]
    if plan.store == "memory" and (plan.kills or plan.terms):
        raise click.UsageError("The store `memory` forgets at each restart: give --kills 0 --terms 0 with it.")
    if plan.peer != "pushline" and plan.transports != ("websocket",):
        plan = replace(plan, transports=("websocket",), reloads=0)
    try:
        report = uvloop.run(run(plan, (lambda line: None) if quiet else (lambda line: click.echo(line, err=True))))
    except ServerFault as fault:
        raise click.ClickException(str(fault)) from None
    click.echo(report.table())
    if file is not None:
        file.write_text(json.dumps(report.as_json(), indent=2, ensure_ascii=False), encoding="utf-8")
    sys.exit(not report.good)


def _pages_of(options: dict[str, object]) -> int:
    pages = options["pages"]
    assert isinstance(pages, int)  # noqa: S101
    return pages


if __name__ == "__main__":
    main(prog_name="python -m bench.chaos")
