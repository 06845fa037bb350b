"""Puts a server together from settings and secrets, and runs it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from pushline.clock import Clock, LoopClock
from pushline.errors import ConfigurationError
from pushline.http.api import Api
from pushline.http.app import App
from pushline.http.clients import Clients
from pushline.http.keys import ApiKeys
from pushline.http.operations import Operations
from pushline.http.page import Origins
from pushline.hub import Hub
from pushline.protocol.tokens import TokenSigner
from pushline.protocol.values import Heartbeat
from pushline.server.native import BACKLOG, NativeFront
from pushline.settings import Settings
from pushline.stores.base import Store
from pushline.transports.base import CLOSE_SECONDS, Door

CROWD: Final = 20
"""Fewer pages than that are no crowd: they are asked to come back within a part of the drain window."""

FAREWELL_SECONDS: Final = 2.0
"""How long the end waits for those who read the last answers slowly."""

DRAIN_LOOK_SECONDS: Final = 0.05

UNSENT_BYTES: Final = 128 << 10
"""What the kernel holds of one connection and has not sent yet: a page that is behind is fed from the store instead."""


def split_address(listen: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` (an IPv6 host in brackets). Raises :class:`ConfigurationError`."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535 or not host:
        raise ConfigurationError(f"--listen {listen} is not of the form HOST:PORT, such as 127.0.0.1:8080.")
    return host.removeprefix("[").removesuffix("]"), int(port)


class DataDir:
    """The folder of database and secrets, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"--data-dir {path} cannot be used: {error.strerror}.") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise ConfigurationError(
                f"--data-dir {path} belongs to a Pushline that is running. Stop it, or name another folder."
            ) from None

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


class Server:
    """A Pushline server: ``async with Server(…)`` it serves, on :attr:`url`."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        api_keys: tuple[str, ...],
        token_secrets: tuple[str, ...],
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._api_keys = api_keys
        self._token_secrets = token_secrets
        self._clock = clock
        self._hurry = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Server:
        settings = self._settings
        loop = asyncio.get_running_loop()
        clock = self._clock or LoopClock(loop)
        self.hub = hub = Hub(
            self._store,
            clock,
            TokenSigner(self._token_secrets),
            heartbeat=Heartbeat(settings.ping_interval, settings.ping_timeout),
            grace=settings.grace,
            random=random.random,
            connect_rate=settings.connect_rate,
        )
        keys = ApiKeys(self._api_keys)
        api = Api(hub, keys, max_message_bytes=settings.max_message_bytes)
        app = App(api, Clients(hub, keys), Operations(hub, keys), max_message_bytes=settings.max_message_bytes)
        self._door = Door(hub, clock, Origins(settings.allowed_origins))
        self._front = NativeFront(app, self._door, clock)
        host, port = split_address(settings.listen)
        try:
            self._listener = await loop.create_server(self._front.connection, host, port, backlog=BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"--listen {settings.listen} cannot be served: {reason}.") from None
        for listening in self._listener.sockets:  # what is accepted from it has the same
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Drain (G11): ask every page to come back, see them out, then answer the last requests and end."""
        # Who begins to wait before the listener closes sees out the connections as well.
        gone = asyncio.ensure_future(self._listener.wait_closed())
        await asyncio.sleep(0)
        crowd = min(1.0, self.hub.counters.connections / CROWD)
        self.hub.close(self._settings.drain_seconds * crowd)
        await self._wait(lambda: not self._door.wires, CLOSE_SECONDS)
        self._listener.close()
        self.hub.finish()
        self._front.close()
        await self._wait(gone.done, FAREWELL_SECONDS)
        gone.cancel()

    async def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end and not self._hurry.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), DRAIN_LOOK_SECONDS)

    def hurry(self) -> None:
        """End now: whoever has not answered yet is cut off."""
        self._hurry.set()
