"""Pushline inside a program of its own: mounted into FastAPI, Starlette, Litestar, Django or Quart (contract, R5).

::

    from pushline.asgi import Pushline

    pushline = Pushline()
    app = pushline.mount(app)  # any ASGI program

    await pushline.send_message("ann", "hello")

One process, one event loop, one lifespan: Pushline starts with the program and ends with it. Pages connect to
``/_ah/channel/``; other programs use the API at ``/_ah/pushline/v1/``.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pushline.admission import Crowd
from pushline.client import requests, sends
from pushline.client.aio import AsyncClient
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.results import SendResult
from pushline.clock import Clock, LoopClock
from pushline.errors import ConfigurationError
from pushline.http.request import HEADERS, MOUNTED_API, Request
from pushline.hub import Hub
from pushline.server.asgi import AsgiFront
from pushline.server.asgi_wire import Program, Receive, Scope, Send
from pushline.server.mounted import Mounted
from pushline.server.mounted_presence import ProgramCallbacks, ProgramPoster
from pushline.server.run import store_options
from pushline.server.secrets import API_KEY, TOKEN_SECRET, WEBHOOK_SECRET, load
from pushline.server.signals import SignalDrain
from pushline.server.wiring import Core, DataDir
from pushline.settings import Settings, settings_table
from pushline.stores import open_store

__all__ = ["Pushline"]


@dataclass(slots=True)
class _Running:
    """What there is between start and stop."""

    loop: asyncio.AbstractEventLoop
    key: str
    core: Core
    front: AsgiFront
    hurry: asyncio.Event
    draining: asyncio.Task[None] | None = None
    resources: ExitStack = field(default_factory=ExitStack)


class Pushline(AsyncClient):
    """A Pushline server without a listener of its own.

    ``settings`` are those of ``pushline serve`` by their names with underscores (``data_dir``, ``allowed_origins``,
    ``drain_seconds``, …); what is not given comes from ``PUSHLINE_…``, secrets as with ``pushline serve``. Of no use
    here are ``listen`` and those of the log, which is the program's. Raises :class:`ConfigurationError`.

    It starts and stops with the lifespan of the ASGI server; where there is none, ``async with pushline:`` does it. The
    program sends by the methods of :class:`pushline.AsyncClient`, with the same results and errors and without HTTP;
    they may be awaited in any event loop of the process.

    ``presence``: the program's own handlers at ``/_ah/channel/connected/`` and ``disconnected/`` are told who is there
    (section 5 of the contract), in process and signed: :func:`pushline.presence.parse` reads what they get.
    """

    def __init__(self, *, presence: bool = False, **settings: Any) -> None:
        self._settings = _settings_of(settings, os.environ)
        if presence and self._settings.presence_url:
            raise ConfigurationError("Presence is told to this program or to --presence-url: choose one.")
        self._presence = presence
        self._program: Program | None = None
        self._running: _Running | None = None
        self._alone = Mounted(self, None)

    # -- the program -------------------------------------------------------------------------------------------

    def mount(self, program: Program) -> Program:
        """The program, with Pushline under ``/_ah/channel/`` and ``/_ah/pushline/``: serve what is returned."""
        self._program = program
        return Mounted(self, program)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pushline as an ASGI program by itself, for a router's ``mount("/_ah", pushline)``."""
        await self._alone(scope, receive, send)

    @property
    def front(self) -> AsgiFront | None:
        """What answers, while it runs."""
        return None if self._running is None else self._running.front

    # -- start and stop ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store. Raises :class:`ConfigurationError`, as when another process has the data dir."""
        if self._running is not None:
            raise ConfigurationError("This Pushline is running already.")
        with ExitStack() as undo:
            self._running = self._start(undo)
            self._running.resources = undo.pop_all()

    def _start(self, undo: ExitStack) -> _Running:
        settings = self._settings
        undo.callback(DataDir(settings.data_dir).release)
        keys = load(API_KEY, os.environ, settings.data_dir, make=True).values
        token_secrets = load(TOKEN_SECRET, os.environ, settings.data_dir, make=True).values
        webhook_secrets: tuple[str, ...] = ()
        if settings.presence_url or self._presence:
            webhook_secrets = load(WEBHOOK_SECRET, os.environ, settings.data_dir, make=True).values
        store = open_store(settings.store, store_options(settings))
        undo.callback(store.close)
        own_key = secrets.token_urlsafe(32)  # this process uses the API by it, and nobody else knows it
        loop = asyncio.get_running_loop()
        core = Core(
            settings,
            store=store,
            api_keys=(*keys, own_key),
            token_secrets=token_secrets,
            webhook_secrets=webhook_secrets,
            clock=LoopClock(loop),
            make_callbacks=self._callbacks if self._presence else None,
            prefix=MOUNTED_API,
        )
        front = AsgiFront(core, Crowd(settings.max_connections, settings.max_per_address))
        running = _Running(loop, own_key, core, front, asyncio.Event())
        undo.callback(SignalDrain(self.drain, running.hurry.set).restore)
        return running

    def _callbacks(self, hub: Hub, clock: Clock) -> ProgramCallbacks:
        if self._program is None:
            raise ConfigurationError("`presence` needs a program to tell: give it to `mount`.")
        multipart = self._settings.presence_format == "multipart"
        poster = ProgramPoster(self._program, self._webhook_secrets, clock, multipart=multipart)
        return ProgramCallbacks(poster, hub, clock, random.random)

    def _webhook_secrets(self) -> tuple[str, ...]:
        return load(WEBHOOK_SECRET, os.environ, self._settings.data_dir, make=False).values

    async def drain(self) -> None:
        """Ask every page to come back, each at its own moment, and see them out (G11). Sends go on."""
        running = self._running
        if running is None:
            return
        if running.draining is None:
            running.draining = running.loop.create_task(running.core.drain(running.hurry))
        await asyncio.shield(running.draining)

    async def stop(self) -> None:
        """Drain, answer the last requests, close the store."""
        await self.drain()
        running, self._running = self._running, None
        if running is None:
            return
        running.core.hub.finish()
        running.resources.close()

    async def __aenter__(self) -> Pushline:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def close(self) -> None:
        """See :meth:`stop`."""
        await self.stop()

    def __repr__(self) -> str:
        return f"Pushline(store={self._settings.store!r}, running={self._running is not None})"

    # -- the application: what AsyncClient asks by HTTP is asked in process ------------------------------------

    async def _send(self, send: sends.Send) -> SendResult:
        return requests.parse_sent(await self._ask(requests.send(send)))  # the hub itself gathers for a turn

    async def _ask(self, asked: ApiRequest) -> ApiResponse:
        running = self._running
        if running is None:
            raise ConfigurationError(
                "Pushline is not running in this program: serve what `mount` returned, by a server with a lifespan, "
                "or use `async with pushline:`."
            )
        answering = self._answer(running, asked, running.key)
        if asyncio.get_running_loop() is running.loop:
            return await answering
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answering, running.loop))

    @staticmethod
    async def _answer(running: _Running, asked: ApiRequest, key: str) -> ApiResponse:
        request = Request()
        request.method = asked.method.encode()
        path, _, query = asked.target.partition("?")
        request.path, request.query = path.encode(), query.encode()
        request.body = asked.body
        request.authorization = b"Bearer " + key.encode()
        for name, value in asked.headers.items():
            setattr(request, HEADERS[name.lower().encode()], value.encode())
        answer = await running.front.answer(request)
        if isinstance(answer, bytes):
            return ApiResponse(200, {}, answer)
        return ApiResponse(answer.status, {}, answer.body)


def _settings_of(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """What is given, and the rest from the environment. Raises :class:`ConfigurationError`."""
    values = dict(given)
    for setting in settings_table():
        text = environ.get(setting.variable, "")
        if setting.name not in values and text:
            try:
                values[setting.name] = tuple(text.split()) if setting.many else setting.kind(text)
            except ValueError:
                raise ConfigurationError(f"{setting.variable} is no {setting.kind.__name__}: {text!r}.") from None
        if setting.name in values:
            setting.check(values[setting.name])
    try:
        return Settings(**values)
    except TypeError:
        unknown = ", ".join(sorted(set(values) - {setting.name for setting in settings_table()}))
        raise ConfigurationError(f"There is no setting {unknown}; docs/reference/settings.md lists them.") from None
