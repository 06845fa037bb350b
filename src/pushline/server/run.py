"""Runs a server in the foreground: the whole of ``pushline serve`` (contract, R1 and R3)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shlex
import signal
from collections.abc import Callable
from typing import Final

import uvloop

from pushline import __version__, logs
from pushline.errors import ConfigurationError
from pushline.server.listener import UNIX
from pushline.server.secrets import API_KEY, TOKEN_SECRET, WEBHOOK_SECRET, Loaded, load
from pushline.server.wiring import DataDir, Server
from pushline.settings import Settings
from pushline.stores import open_store
from pushline.stores.base import Durability, Retention, Room, StoreOptions

log = logging.getLogger("pushline.server")

_YOUNG: Final = 50_000
"""How many new objects the garbage collector looks at together. A turn makes thousands when a message goes to a
thousand pages, and nearly all are gone at its end: with Python's 700 a tenth of the CPU went into looking at them."""


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. ``announce`` is given the start message.

    Raises :class:`PushlineError` when the settings, the secrets or the data dir do not allow it.
    """
    logs.set_up(settings.log_level, settings.log_format)
    os.umask(0o077)  # messages and secrets are the owner's alone
    data_dir = DataDir(settings.data_dir)
    try:
        api_key, secret, webhook = _secrets(settings, make=True)
        uvloop.run(_serve(settings, api_key, secret, webhook, announce))
    finally:
        data_dir.release()


async def _serve(
    settings: Settings, api_key: Loaded, secret: Loaded, webhook: Loaded | None, announce: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    store = open_store(settings.store, store_options(settings))
    try:
        server = Server(
            settings,
            store=store,
            api_keys=api_key.values,
            token_secrets=secret.values,
            webhook_secrets=_values(webhook),
        )

        def signalled() -> None:
            if stop.is_set():
                server.hurry()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signalled)

        def renew() -> None:
            try:
                keys, secrets, webhooks = _secrets(settings, make=False)
                server.renew(keys.values, secrets.values, _values(webhooks))
            except ConfigurationError as error:
                log.error("the secrets stay as they were", extra={"reason": str(error)})
            else:
                counts = {"api_keys": len(keys.values), "secrets": len(secrets.values)}
                log.info("secrets read again", extra=counts | {"webhook_secrets": len(_values(webhooks))})

        loop.add_signal_handler(signal.SIGHUP, renew)
        async with server:
            _spare_the_collector()
            announce(start_message(server.url, settings, api_key, secret, webhook, api_url=server.api_url))
            log.info("serving", extra={"url": server.url, "store": settings.store})
            await stop.wait()
            log.info("stopping", extra={"connections": server.hub.counters.connections})
    finally:
        store.close()
    log.info("stopped")


def _secrets(settings: Settings, *, make: bool) -> tuple[Loaded, Loaded, Loaded | None]:
    """API keys, token secrets and webhook secrets as they are now. Raises :class:`ConfigurationError`."""
    return (
        load(API_KEY, os.environ, settings.data_dir, make=make),
        load(TOKEN_SECRET, os.environ, settings.data_dir, make=make),
        load(WEBHOOK_SECRET, os.environ, settings.data_dir, make=make) if settings.presence_url else None,
    )


def _values(secret: Loaded | None) -> tuple[str, ...]:
    return () if secret is None else secret.values


def store_options(settings: Settings) -> StoreOptions:
    """How the settings want their store. Raises :class:`ConfigurationError`."""
    try:
        durability = Durability(settings.durability)
    except ValueError:
        known = " or ".join(f"`{each.value}`" for each in Durability)
        raise ConfigurationError(f"--durability {settings.durability} is not known. Use {known}.") from None
    return StoreOptions(
        data_dir=settings.data_dir,
        retention=Retention(settings.retention * 60, settings.max_channel_messages, settings.max_channel_bytes),
        room=Room(
            settings.max_store_channels,
            settings.max_store_messages,
            settings.max_store_bytes,
            settings.max_store_callbacks,
        ),
        durability=durability,
    )


def store_place(settings: Settings) -> str:
    """The store and where it is, for people."""
    return settings.store + (f", in {settings.data_dir}" if settings.store == "sqlite" else "")


def _spare_the_collector() -> None:
    """What was made until now, with a large store all its channels, stays: look at it no more, and at the rest less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def start_message(
    url: str,
    settings: Settings,
    api_key: Loaded,
    secret: Loaded,
    webhook: Loaded | None = None,
    *,
    api_url: str = "",
) -> str:
    """What a newcomer needs to know now: the address, where the key is, and lines that work when pasted."""
    several = len(api_key.values) > 1
    if api_key.source == API_KEY.variable:
        key = f"${{{API_KEY.variable}%%[[:space:]]*}}" if several else f"${API_KEY.variable}"
    else:
        path = shlex.quote(api_key.source)
        key = f"$(awk 'NF {{print $1; exit}}' {path})" if several else f"$(cat {path})"
    api = api_url or url
    if api.startswith(UNIX):
        api = f"--unix-socket {shlex.quote(api.removeprefix(UNIX))} http://localhost"
    presence = (
        f"\n  callbacks     to {settings.presence_url}, signed with {webhook.source}" if webhook is not None else ""
    )
    return f"""\
Pushline {__version__} serves on {url}

  API key       {api_key.source}
  token secret  {secret.source}
  store         {store_place(settings)}{presence}

Make a token for the client id `ann`, then send her a message:

  curl -H "Authorization: Bearer {key}" -d '{{"client_id": "ann"}}' {api}/v1/channels
  curl -H "Authorization: Bearer {key}" -d 'hello' {api}/v1/clients/ann/messages

See it arrive: `pushline listen ann` in another terminal, or a page with {url}/_ah/channel/jsapi
Stop with Ctrl-C.
"""
