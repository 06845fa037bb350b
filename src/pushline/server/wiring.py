"""Puts a server together from settings and secrets, and runs it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pushline.admission import Crowd, Tally
from pushline.clock import Clock, LoopClock
from pushline.errors import ConfigurationError
from pushline.http.api import Api
from pushline.http.app import App
from pushline.http.clients import Clients
from pushline.http.keys import ApiKeys
from pushline.http.legacy import DevWire
from pushline.http.operations import Operations
from pushline.http.page import Origins
from pushline.hub import Hub
from pushline.protocol.tokens import TokenSigner
from pushline.protocol.values import Heartbeat
from pushline.server.listener import Listener, listen
from pushline.server.native import NativeFront
from pushline.server.proxies import Proxies
from pushline.server.tls import Tls
from pushline.settings import Settings
from pushline.stores.base import Store
from pushline.transports.base import CLOSE_SECONDS, Door

if TYPE_CHECKING:
    from pushline.callbacks import Callbacks


class Telling(Protocol):
    """What tells the application who is there."""

    async def close(self) -> None:
        """Tell no more."""


MakeCallbacks = Callable[[Hub, Clock], Telling]

CROWD: Final = 20
"""Fewer pages than that are no crowd: they are asked to come back within a part of the drain window."""

FAREWELL_SECONDS: Final = 2.0
"""How long the end waits for those who read the last answers slowly."""

DRAIN_LOOK_SECONDS: Final = 0.05


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


class _Signer(TokenSigner):
    """A signer whose secrets can be changed while it serves."""

    def renew(self, secrets: tuple[str, ...]) -> None:
        super().__init__(secrets)


class Core:
    """What answers, whichever front asks: the hub on its store, the handlers, the door for pages."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        api_keys: tuple[str, ...],
        token_secrets: tuple[str, ...],
        clock: Clock,
        webhook_secrets: tuple[str, ...] = (),
        make_callbacks: MakeCallbacks | None = None,
        prefix: str = "",
    ) -> None:
        """``make_callbacks``: who tells the application who is there, when that is not at ``--presence-url``.

        ``prefix``: where the API begins, when that is not the root.
        """
        self.clock = clock
        self.signer = _Signer(token_secrets)
        self.tally = Tally()
        self.hub = hub = Hub(
            store,
            clock,
            self.signer,
            heartbeat=Heartbeat(settings.ping_interval, settings.ping_timeout),
            grace=settings.grace,
            random=random.random,
            connect_rate=settings.connect_rate,
            max_per_client=settings.max_per_client,
            presence=bool(settings.presence_url or make_callbacks),
        )
        self._callbacks: Telling | None = None
        self.webhooks: Callbacks | None = None
        """Tells the application at ``--presence-url``."""
        if make_callbacks is not None:
            self._callbacks = make_callbacks(hub, clock)
        elif settings.presence_url:
            self._callbacks = self.webhooks = callbacks_to(settings, hub, clock, webhook_secrets)
        self.keys = keys = ApiKeys(api_keys, clock.monotonic, send_rate=settings.send_rate, tally=self.tally)
        api = Api(hub, keys, max_message_bytes=settings.max_message_bytes)
        origins = Origins(settings.allowed_origins)
        make_app = partial(
            App,
            api,
            Clients(hub, keys),
            Operations(hub, keys, self.tally),
            max_message_bytes=settings.max_message_bytes,
            dev_wire=DevWire(hub, clock, origins) if settings.legacy_dev_wire else None,
            prefix=prefix,
        )
        self.app = make_app(public=bool(settings.api_listen))
        self.private_app = make_app(open_metrics=True)
        self.door = Door(hub, clock, origins)
        self._drain_seconds = settings.drain_seconds

    def say_goodbye(self) -> None:
        """Ask every page to come back at a moment of its own, and let no other one in."""
        crowd = min(1.0, self.hub.counters.connections / CROWD)
        self.hub.close(self._drain_seconds * crowd)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Ask every page to come back and see them out (G11), or as far as that goes until ``hurry`` is set."""
        self.say_goodbye()
        await wait(lambda: not self.door.wires, CLOSE_SECONDS, hurry)
        if self._callbacks is not None:
            await self._callbacks.close()


def callbacks_to(settings: Settings, hub: Hub, clock: Clock, secrets: tuple[str, ...]) -> Callbacks:
    """What tells the application at ``--presence-url`` who is there. Raises :class:`ConfigurationError`."""
    from pushline.callbacks import Callbacks  # noqa: PLC0415 - an HTTP client, for those who use it

    return Callbacks(settings.presence_url, settings.presence_format, secrets, hub, clock, random.random)


async def wait(done: Callable[[], bool], seconds: float, hurry: asyncio.Event) -> None:
    """Wait until something is done, for so long at most, and no longer than until ``hurry`` is set."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end and not hurry.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), DRAIN_LOOK_SECONDS)


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
        webhook_secrets: tuple[str, ...] = (),
    ) -> None:
        self._settings = settings
        self._webhook_secrets = webhook_secrets
        self._store = store
        self._api_keys = api_keys
        self._token_secrets = token_secrets
        self._clock = clock
        self._hurry = asyncio.Event()
        self.url = ""
        self.api_url = ""
        """Where the application's API is, when it has an address of its own."""

    async def __aenter__(self) -> Server:
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._core = core = Core(
            settings,
            store=self._store,
            api_keys=self._api_keys,
            token_secrets=self._token_secrets,
            clock=self._clock or LoopClock(loop),
            webhook_secrets=self._webhook_secrets,
        )
        self.hub, self._door = core.hub, core.door
        make_front = partial(
            NativeFront,
            door=core.door,
            clock=core.clock,
            request_seconds=settings.request_timeout,
            idle_seconds=settings.idle_timeout,
            proxies=Proxies(settings.trusted_proxies),
            tally=core.tally,
        )
        self._tls = Tls(settings.tls_cert, settings.tls_key) if settings.tls_cert or settings.tls_key else None
        context = None if self._tls is None else self._tls.context
        # The application's own address has no part in the limits on those who come from outside.
        self._front = make_front(core.app, crowd=Crowd(settings.max_connections, settings.max_per_address))
        self._private_front = make_front(core.private_app)
        self._listener = await listen(
            self._front.connection,
            "--listen",
            settings.listen,
            context=context,
            patience=settings.request_timeout if context else None,
        )
        self._private_listener: Listener | None = None
        if settings.api_listen:
            try:
                self._private_listener = await listen(
                    self._private_front.connection, "--api-listen", settings.api_listen
                )
            except ConfigurationError:
                self._listener.close()
                raise
            self.api_url = self._private_listener.url("http")
        self.url = self._listener.url("https" if context else "http")
        return self

    def renew(
        self, api_keys: tuple[str, ...], token_secrets: tuple[str, ...], webhook_secrets: tuple[str, ...] = ()
    ) -> None:
        """Go on with other secrets, and with the certificate as its files have it now (R3). No connection ends.

        ``webhook_secrets`` are wanted where there is a ``--presence-url``. Raises :class:`ConfigurationError` when one
        of them is no good; then everything stays as it was.
        """
        core = self._core
        ApiKeys(api_keys)
        if self._tls is not None:
            self._tls.reload()
        core.keys.replace(api_keys)
        core.signer.renew(token_secrets)
        if core.webhooks is not None:
            core.webhooks.renew(webhook_secrets)

    async def __aexit__(self, *exception: object) -> None:
        """Drain (G11): ask every page to come back, see them out, then answer the last requests and end."""
        # Who begins to wait before the listener closes sees out the connections as well.
        gone = asyncio.ensure_future(self._listener.wait_closed())
        await asyncio.sleep(0)
        await self._core.drain(self._hurry)
        self._listener.close()
        if self._private_listener is not None:
            self._private_listener.close()
        self.hub.finish()
        self._front.close()
        self._private_front.close()
        await wait(gone.done, FAREWELL_SECONDS, self._hurry)
        gone.cancel()

    def hurry(self) -> None:
        """End now: whoever has not answered yet is cut off."""
        self._hurry.set()
