"""Puts a server together from settings and secrets, and runs it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
from pathlib import Path
from typing import Final

from pushline.clock import Clock, LoopClock
from pushline.errors import ConfigurationError
from pushline.http.api import Api
from pushline.http.app import App
from pushline.http.keys import ApiKeys
from pushline.http.operations import Operations
from pushline.http.page import Origins
from pushline.hub import Hub
from pushline.protocol.session import Heartbeat
from pushline.protocol.tokens import TokenSigner
from pushline.server.native import BACKLOG, NativeFront
from pushline.settings import Settings
from pushline.stores.base import Store

DRAIN_SPREAD_SECONDS: Final = 2.0
"""Pages are asked to come back at moments spread over this long."""

FAREWELL_SECONDS: Final = 2.0
"""How long the end waits for pages to answer that."""


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
        )
        keys = ApiKeys(self._api_keys)
        api = Api(hub, keys, max_message_bytes=settings.max_message_bytes)
        app = App(api, Operations(hub, keys), max_message_bytes=settings.max_message_bytes)
        self._front = NativeFront(app, hub, clock, Origins(settings.allowed_origins))
        host, port = split_address(settings.listen)
        try:
            self._listener = await loop.create_server(self._front.connection, host, port, backlog=BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"--listen {settings.listen} cannot be served: {reason}.") from None
        port = self._listener.sockets[0].getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        # Who begins to wait before the listener closes sees out the connections as well.
        gone = asyncio.ensure_future(self._listener.wait_closed())
        await asyncio.sleep(0)
        self._listener.close()
        self.hub.close(DRAIN_SPREAD_SECONDS)
        for connection in list(self._front.connections):
            connection.close()
        await asyncio.wait([gone], timeout=FAREWELL_SECONDS)
        gone.cancel()
