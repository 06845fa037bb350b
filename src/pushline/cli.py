"""The commands (contract, R2)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pushline import __version__
from pushline.client.endpoint import DEFAULT_URL, checked_url
from pushline.errors import ConfigurationError, ConnectionEnded, PushlineError
from pushline.messages import DEFAULT_DURATION_MINUTES
from pushline.settings import OF_A_SERVER_ALONE, Setting, Settings, settings_table

if TYPE_CHECKING:
    from pushline.client.sync import Client


class _Group(click.Group):
    """Commands whose errors are one sentence, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConnectionEnded as ended:
            from pushline.listen import sentence

            raise click.ClickException(sentence(ended)) from None
        except PushlineError as error:
            raise click.ClickException(str(error)) from None


def _say_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    hub = find_spec("pushline.hub")
    compiled = hub is not None and not str(hub.origin).endswith(".py")
    click.echo(f"pushline, version {__version__}, hot path {'compiled' if compiled else 'in Python'}")
    ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version, and whether the hot path is compiled.",
)
def main() -> None:
    """Push messages from a web application to individual browser pages, in real time.

    \b
    Start here:
      pushline demo            a game of tic-tac-toe, ready to play in two browser windows
      pushline serve           the server; it says what to do next
      pushline run hello:app   the server and the application `app` of hello.py, on one address
      pushline listen ann      a page in the terminal, for the client id `ann`
      pushline send ann hello  a message to her
    """


def _option_of(setting: Setting) -> Callable[[Callable[..., None]], Callable[..., None]]:
    default = f"  [{setting.variable}; default: {setting.shown_default or 'none'}]"
    return click.option(
        setting.flag,
        setting.name,
        type=setting.kind,
        is_flag=setting.kind is bool,
        multiple=setting.many,
        default=setting.default,
        envvar=setting.variable,
        metavar=setting.metavar or None,
        help=setting.help.replace("`", "") + default,
    )


def _with_settings(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Options for all settings but those."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for setting in reversed([each for each in settings_table() if each.name not in without]):
            command = _option_of(setting)(command)
        return command

    return add


def _settings(values: dict[str, Any]) -> Settings:
    for setting in settings_table():
        if setting.name in values:
            setting.check(values[setting.name])
    return Settings(**values)


@main.command()
@_with_settings()
def serve(**values: Any) -> None:
    """Run the server.

    Secrets come from PUSHLINE_API_KEY and PUSHLINE_SECRET (or …_FILE, naming a file); if absent they are made once and
    kept in the data dir. Several values, separated by spaces or lines, are good at once: the first one signs.
    """
    from pushline.server.run import serve as run

    run(_settings(values), click.echo)


@main.command()
@click.argument("application", metavar="MODULE:APP")
@click.option(
    "--reload/--no-reload", default=True, show_default=True, help="Load the application again when a file changes."
)
@_with_settings(*OF_A_SERVER_ALONE)
def run(application: str, reload: bool, **values: Any) -> None:
    """Run an application and its channels together, on one address.

    APP is a WSGI or ASGI application (Flask, webapp2, FastAPI, Django, …) in MODULE.py of the current directory: for
    `app` in hello.py write hello:app, for what a function of it makes, hello:create_app().

    \b
    /_ah/channel/…   pages, which load <script src="/_ah/channel/jsapi"></script>
    /_ah/pushline/…  the API of `pushline serve`, for other programs
    all the rest     the application; it is told who is there, by POST to
                     /_ah/channel/connected/ and /_ah/channel/disconnected/

    The application needs no configuration: PUSHLINE_URL, PUSHLINE_API_KEY and PUSHLINE_WEBHOOK_SECRET are set for it,
    so that the SDK finds this server. Nor does one of App Engine's time need a change: its import
    google.appengine.api.channel works.

    What this command needs is installed by: pip install 'pushline[run]'
    """
    for package in ("a2wsgi", "uvicorn", "watchfiles"):
        if find_spec(package) is None:
            raise ConfigurationError(
                f"This needs the package {package}. Install all of it: pip install 'pushline[run]'."
            )
    from pushline.hosting.host import run as run_application

    run_application(application, _settings(values), reload=reload, announce=click.echo)


# -- commands that talk to a running server --------------------------------------------------------------------------


def _talks(command: Callable[..., None]) -> Callable[..., None]:
    url = click.option(
        "--url", default=DEFAULT_URL, envvar="PUSHLINE_URL", show_default=True, help="The server.  [PUSHLINE_URL]"
    )
    data_dir = click.option(
        "--data-dir",
        type=Path,
        default=Settings().data_dir,
        envvar="PUSHLINE_DATA_DIR",
        show_default=True,
        help="Where the server keeps its API key, if PUSHLINE_API_KEY does not give it.  [PUSHLINE_DATA_DIR]",
    )
    return url(data_dir(command))


def _utf8(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an argument that is not UTF-8: a shell hands on any bytes."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("It is not UTF-8.") from None
    return value


def _client(url: str, data_dir: Path) -> Client:
    from pushline.client.sync import Client
    from pushline.server.secrets import API_KEY, load

    return Client(url, load(API_KEY, os.environ, data_dir, make=False).values[0])


@main.command()
@click.argument("client_id", callback=_utf8)
@click.option("--minutes", default=DEFAULT_DURATION_MINUTES, show_default=True, help="How long the token lasts.")
@click.option(
    "--policy", default="replace", show_default=True, help="Who receives: replace (the newest page), share, reject."
)
@_talks
def token(client_id: str, minutes: int, policy: str, url: str, data_dir: Path) -> None:
    """Make a token for a page of CLIENT_ID, and print it."""
    with _client(url, data_dir) as client:
        click.echo(client.create_channel(client_id, minutes, policy=policy))


@main.command()
@click.argument("client_id", callback=_utf8)
@click.argument("message", callback=_utf8)
@click.option("--key", help="An idempotency key: a repeat with the same key takes effect once.")
@click.option("--ttl", type=float, metavar="SECONDS", help="How long to keep it for a page that is away.")
@click.option("--wait", type=float, metavar="SECONDS", help="Wait until a page has acknowledged it: `delivered`.")
@_talks
def send(
    client_id: str, message: str, key: str | None, ttl: float | None, wait: float | None, url: str, data_dir: Path
) -> None:
    """Send MESSAGE (- for standard input) to CLIENT_ID, and print what became of it.

    Exits with 1 when there is no channel of that client id: nobody has a token for it.
    """
    data = sys.stdin.buffer.read() if message == "-" else message
    with _client(url, data_dir) as client:
        try:
            result = client.send_message(client_id, data, idempotency_key=key, ttl=ttl, wait=wait)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--key") from None
    click.echo(result.status if result.id is None else f"{result.status} {result.id}")
    if result.id is None:
        sys.exit(1)


@main.command()
@click.option("--connected", is_flag=True, help="Only those whose page is connected.")
@click.option("--prefix", default="", callback=_utf8, help="Only those that begin with it.")
@_talks
def clients(connected: bool, prefix: str, url: str, data_dir: Path) -> None:
    """List the client ids that have a channel: a line has whether a page is connected, until when, the client id."""
    with _client(url, data_dir) as client:
        after: str | None = None
        while True:
            found = client.list_clients(connected=True if connected else None, prefix=prefix, after=after, limit=1000)
            for each in found.clients:
                state = "connected" if each.connected else "away"
                click.echo(f"{state:9}  {each.expires_at:%Y-%m-%dT%H:%M:%SZ}  {_line_of(each.client_id)}")
            after = found.next
            if after is None:
                return


@main.command()
@click.option(
    "--retry", metavar="CLIENT_ID", callback=_utf8, help="Send now what was given up, or waits, of this client id."
)
@click.option("--retry-all", is_flag=True, help="Send now everything that was given up or waits.")
@_talks
def callbacks(retry: str | None, retry_all: bool, url: str, data_dir: Path) -> None:
    """List what the application was not told yet of who is there, oldest first, or send it again.

    A line has the time, the event, what became of it so far, and the client id.
    """
    if retry is not None and retry_all:
        raise click.UsageError("Give --retry for one client id, or --retry-all for all of them.")
    with _client(url, data_dir) as client:
        if retry is not None or retry_all:
            count = client.retry_callbacks(retry)
            click.echo(
                f"{count} sent again"
                if count
                else "nothing to send again: nothing was given up, or waits for its next try"
            )
            return
        after: str | None = None
        while True:
            found = client.list_callbacks(after=after, limit=1000)
            for each in found.callbacks:
                tries = f"{each.tries} {'try' if each.tries == 1 else 'tries'}"
                state = "given up" if each.given_up else tries if each.tries else "waiting"
                why = f" ({each.error})" if each.error else ""
                moment = datetime.fromtimestamp(each.time, UTC)
                click.echo(f"{moment:%Y-%m-%dT%H:%M:%SZ}  {each.event:12}  {state}{why}  {_line_of(each.client_id)}")
            after = found.next
            if after is None:
                break
    for event in found.no_handler:
        click.echo(f"# the application has no handler for {event}", err=True)


def _line_of(client_id: str) -> str:
    """A client id as one line can show it: as JSON, when it has characters that a terminal could take amiss."""
    return client_id if client_id.isprintable() else json.dumps(client_id)


@main.command()
@click.argument("client_id", required=False, callback=_utf8)
@click.option("--token", "token_", metavar="TOKEN", help="Listen with this token; - reads it from standard input.")
@_talks
def listen(client_id: str | None, token_: str | None, url: str, data_dir: Path) -> None:
    """Be a page of CLIENT_ID (or of a --token) in the terminal: print every message, one per line, until Ctrl-C."""
    from pushline.listen import Listener

    if (client_id is None) == (token_ is None):
        raise click.UsageError("Name a CLIENT_ID, or give a --token.")
    if token_ == "-":  # noqa: S105 - a dash, no secret
        token_ = sys.stdin.readline().strip()
    if client_id is not None:
        with _client(url, data_dir) as client:
            token_ = client.create_channel(client_id)
    listener = Listener(
        checked_url(url), str(token_), message=click.echo, notice=lambda text: click.echo(f"# {text}", err=True)
    )
    click.echo(f"# listening on {url}", err=True)
    try:
        asyncio.run(listener.run())
    except KeyboardInterrupt:
        click.echo("", err=True)


@main.command()
@click.option("--pages", type=click.IntRange(1), default=1000, show_default=True, help="Pages that it opens.")
@click.option(
    "--connections", type=click.IntRange(1), default=4, show_default=True, help="Connections that it sends on."
)
@click.option(
    "--in-flight", type=click.IntRange(1), default=1, show_default=True, help="Requests on each before an answer."
)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=0.0,
    help="Messages a second, answered or not.  [default: as fast as they are answered]",
)
@click.option("--size", type=click.IntRange(1), default=256, show_default=True, help="Bytes of a message.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="How long it sends.")
@click.option("--pid", type=int, help="The server's process, on this machine: shows what a message costs its CPU.")
@_talks
def bench(
    pages: int,
    connections: int,
    in_flight: int,
    rate: float,
    size: int,
    seconds: float,
    pid: int | None,
    url: str,
    data_dir: Path,
) -> None:
    """Measure a server: open pages, send to them, and verify every message that comes.

    The pages have channels of their own, which are removed at the end. Messages are sent to one page after the other,
    and each carries its number and its moment: the table says how many came in a second, how late, and whether one
    was lost, doubled or out of order. Then the exit status is 1.
    """
    from pushline.bench.progress import Bar
    from pushline.bench.report import table
    from pushline.bench.run import Plan, run
    from pushline.bench.senders import Pattern
    from pushline.server.secrets import API_KEY, load

    plan = Plan(pages, connections, Pattern(in_flight=in_flight, rate=rate), size, seconds, pid)
    api_key = load(API_KEY, os.environ, data_dir, make=False).values[0]
    bar = Bar()
    try:
        outcome, cpu_seconds = run(plan, checked_url(url), api_key, bar)
    finally:
        bar.clear()
    click.echo(table(outcome, cpu_seconds))
    sys.exit(1 if outcome.faults else 0)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where both listen; 0.0.0.0 lets a phone join.")
@click.option("--port", default=8000, show_default=True, help="The game's port.")
@click.option("--pushline-port", default=8080, show_default=True, help="Pushline's port.")
@click.option(
    "--data-dir", type=Path, default=Path("pushline-demo"), show_default=True, help="Where games and messages are kept."
)
def demo(host: str, port: int, pushline_port: int, data_dir: Path) -> None:
    """Play tic-tac-toe: starts Pushline and the game together and prints the address to open in two windows."""
    from pushline.demo import run

    run(host=host, port=port, pushline_port=pushline_port, data_dir=data_dir, announce=click.echo)
