"""Serves an application and its channels: the whole of ``pushline run`` (contract, R5)."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Final

import uvicorn
from uvicorn.supervisors import ChangeReload

from pushline import __version__, logs
from pushline.asgi import Pushline
from pushline.client import here
from pushline.errors import ConfigurationError
from pushline.hosting.program import find, load
from pushline.hosting.this_process import ThisProcess
from pushline.http.request import MOUNTED_API
from pushline.server.asgi_wire import Program
from pushline.server.listener import BACKLOG, reachable_url, split_address
from pushline.server.run import store_place
from pushline.server.secrets import API_KEY, TOKEN_SECRET, WEBHOOK_SECRET, Loaded
from pushline.server.secrets import load as load_secret
from pushline.server.wiring import DataDir
from pushline.settings import Settings

log = logging.getLogger("pushline.server")

URL: Final = "PUSHLINE_URL"

END_SECONDS: Final = 10
"""How long the end waits for what the application still answers, and then for its threads."""

RELOAD_SECONDS: Final = 3
"""The same of a reload: whoever changes a file looks at the screen."""

WATCHED: Final = ["*.py", "*.html", "*.jinja", "*.jinja2", "*.j2"]
"""A change of such a file in the current directory, or below it, loads the application again."""


class Hosted(Pushline):
    """A mounted Pushline that the SDK of its own process, which knows it by ``url``, asks without HTTP."""

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(presence=True, **asdict(settings))
        self._url = url

    async def start(self) -> None:
        """See :class:`Pushline`."""
        await super().start()
        assert self._running is not None  # noqa: S101 - it has started
        here.register(self._url, ThisProcess(partial(self._answer, self._running)))

    async def stop(self) -> None:
        """See :class:`Pushline`."""
        await self.drain()
        here.forget(self._url)
        await super().stop()


@dataclass(frozen=True, slots=True)
class Host:
    """What one process needs to know in order to serve ``name``, the application."""

    name: str
    settings: Settings
    environment: Mapping[str, str] = field(repr=False)
    """What the application finds in its environment besides what is there."""
    patience: int = END_SECONDS

    def load(self) -> Program:
        """The application. Raises :class:`ConfigurationError`, after the traceback of what broke in it."""
        os.environ.update(self.environment)
        try:
            return load(self.name)
        except ConfigurationError as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            raise

    def serve(self, program: Program, listener: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT. Raises :class:`ConfigurationError` when it does not start."""
        settings = self.settings
        server = uvicorn.Server(
            uvicorn.Config(
                Hosted(self.environment[URL], settings).mount(program),
                loop="uvloop",
                http="httptools",
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # contract, W1
                lifespan="on",
                log_config=None,
                access_log=False,  # addresses of the old wire have tokens
                server_header=False,
                workers=1,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                timeout_keep_alive=max(1, int(settings.idle_timeout)),
                timeout_graceful_shutdown=self.patience,
            )
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _heard)
        try:
            server.run(sockets=[listener])
        except SystemExit:
            raise ConfigurationError(f"{self.name} did not start: the lines above say why.") from None
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
        _end_within(self.patience)

    def serve_until_changed(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in a process of the reloader's, which ends it when a file has changed."""
        set_up_logs(self.settings)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            program = self.load()
            log.info("loaded", extra={"program": self.name})
            self.serve(program, *(sockets or []))
        except ConfigurationError as error:
            log.error("not loaded: it is tried again when a file changes", extra={"reason": str(error)})
            sys.exit(1)

    def serve_and_reload(self, listener: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT, each time that a file has changed in a new process.

        The listener stays open all the time: who connects meanwhile waits, and is not refused.
        """
        # Pages need no moments of their own, since nobody is refused.
        settings = replace(self.settings, drain_seconds=0.0)
        host = replace(self, settings=settings, patience=RELOAD_SECONDS)
        config = uvicorn.Config(self.name, reload=True, reload_includes=WATCHED, log_config=None, workers=1)
        ChangeReload(config, target=host.serve_until_changed, sockets=[listener]).run()


def run(name: str, settings: Settings, *, reload: bool, announce: Callable[[str], None]) -> None:
    """Serve the application ``name`` (``MODULE:APP``) until SIGTERM or SIGINT. ``announce`` gets the start message.

    Raises :class:`ConfigurationError` when settings, secrets, data dir, address or application do not allow it. With
    ``reload`` an application that breaks while it is loaded is waited for: it is about to be mended.
    """
    find(name)
    set_up_logs(settings)
    DataDir(settings.data_dir).release()  # whoever serves takes it
    with listen(settings.listen) as listener:
        url = reachable_url(split_address(settings.listen)[0], listener.getsockname()[1])
        secrets = {
            secret: load_secret(secret, os.environ, settings.data_dir, make=True)
            for secret in (API_KEY, TOKEN_SECRET, WEBHOOK_SECRET)
        }
        host = Host(name, settings, environment_of(url, secrets[API_KEY], secrets[WEBHOOK_SECRET], os.environ))
        message = start_message(name, url, settings, secrets[API_KEY], reload=reload)
        if reload:
            announce(message)
            host.serve_and_reload(listener)
        else:
            program = host.load()
            announce(message)
            host.serve(program, listener)


def listen(address: str) -> socket.socket:
    """A socket that listens on ``HOST:PORT``. Raises :class:`ConfigurationError`."""
    host, port = split_address(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"--listen {address} cannot be served: {reason}.") from None


def environment_of(url: str, api_key: Loaded, webhook: Loaded, environ: Mapping[str, str]) -> dict[str, str]:
    """What the application finds in its environment: the SDK needs no other configuration."""
    return {
        URL: url + MOUNTED_API,
        "PUSHLINE_PUBLIC_URL": environ.get("PUSHLINE_PUBLIC_URL") or url,
        API_KEY.variable: " ".join(api_key.values),
        WEBHOOK_SECRET.variable: " ".join(webhook.values),
    }


def set_up_logs(settings: Settings) -> None:
    """Log Pushline's events, and what goes wrong in the ASGI server, to standard error."""
    logs.set_up(settings.log_level, settings.log_format)
    ours, server = logging.getLogger("pushline"), logging.getLogger("uvicorn")
    server.handlers, server.propagate = ours.handlers, False
    server.setLevel(max(ours.level, logging.WARNING))  # below, it logs the headers of handshakes, with their tokens


def start_message(name: str, url: str, settings: Settings, api_key: Loaded, *, reload: bool) -> str:
    """What a newcomer needs to know now: what is at the address, and where the key is."""
    again = ", loaded again when a file changes" if reload else ""
    return f"""\
Pushline {__version__} runs {name} on {url}

  application   {name}{again}
  pages         <script src="/_ah/channel/jsapi"></script>, and all that it needs under /_ah/channel/
  presence      told to the application, by POST to /_ah/channel/connected/ and disconnected/
  API           {url}{MOUNTED_API}, with the key in {api_key.source}
  store         {store_place(settings)}

The application finds PUSHLINE_URL, PUSHLINE_API_KEY and PUSHLINE_WEBHOOK_SECRET in its environment.
Stop with Ctrl-C.
"""


def _heard(number: int, frame: object) -> None:
    """The server has heard of the signal as well. It raises it once more at its end, which is to be 0."""


def _end_within(seconds: float) -> None:
    """End the process after so many seconds, if a thread of the application still keeps it."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
