"""Channels of the Pushline that the environment names (contract, Y1).

::

    from pushline import channel

    token = channel.create_channel("ann", duration_minutes=120)
    channel.send_message("ann", "hello")

These functions are the methods of one :class:`pushline.Client` for the whole process, made at the first call from
``PUSHLINE_URL`` and ``PUSHLINE_API_KEY``. They may be called from any thread, and on both sides of a fork. Inside an
event loop use :class:`pushline.AsyncClient`, whose methods have the same names.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Unpack

from pushline.client.batch import Batch
from pushline.client.requests import Item
from pushline.client.results import CallbackList, ClientList, ClientState, SendResult, TargetResult
from pushline.client.sends import SendOptions
from pushline.client.sync import Client
from pushline.messages import DEFAULT_DURATION_MINUTES

__all__ = [
    "batch",
    "create_channel",
    "disconnect",
    "get_client",
    "list_callbacks",
    "list_clients",
    "retry_callbacks",
    "revoke",
    "send_json",
    "send_many",
    "send_message",
]


def create_channel(
    client_id: str, duration_minutes: int = DEFAULT_DURATION_MINUTES, *, policy: str | None = None
) -> str:
    """Return a new token for ``client_id``: see :meth:`pushline.Client.create_channel`."""
    return _client().create_channel(client_id, duration_minutes, policy=policy)


def send_message(client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> SendResult:
    """Send a text to ``client_id``: see :meth:`pushline.Client.send_message`."""
    return _client().send_message(client_id, message, **options)


def send_json(client_id: str, value: object, **options: Unpack[SendOptions]) -> SendResult:
    """Send a value as JSON to ``client_id``: see :meth:`pushline.Client.send_json`."""
    return _client().send_json(client_id, value, **options)


def send_many(items: Iterable[Item]) -> list[TargetResult]:
    """Send several messages at once: see :meth:`pushline.Client.send_many`."""
    return _client().send_many(items)


def batch() -> Batch:
    """Collect messages in a block, and send them at its end: see :meth:`pushline.Client.batch`."""
    return _client().batch()


def get_client(client_id: str) -> ClientState:
    """Look up the channel of ``client_id``: see :meth:`pushline.Client.get_client`."""
    return _client().get_client(client_id)


def list_clients(
    *, connected: bool | None = None, prefix: str = "", after: str | None = None, limit: int = 100
) -> ClientList:
    """List the client ids that have a channel: see :meth:`pushline.Client.list_clients`."""
    return _client().list_clients(connected=connected, prefix=prefix, after=after, limit=limit)


def disconnect(client_id: str) -> None:
    """End the connections of ``client_id``: see :meth:`pushline.Client.disconnect`."""
    _client().disconnect(client_id)


def revoke(client_id: str) -> None:
    """Make every token of ``client_id`` void: see :meth:`pushline.Client.revoke`."""
    _client().revoke(client_id)


def list_callbacks(*, after: str | None = None, limit: int = 100) -> CallbackList:
    """List what the application was not told yet: see :meth:`pushline.Client.list_callbacks`."""
    return _client().list_callbacks(after=after, limit=limit)


def retry_callbacks(client_id: str | None = None) -> int:
    """Have sent again what was given up: see :meth:`pushline.Client.retry_callbacks`."""
    return _client().retry_callbacks(client_id)


@cache
def _client() -> Client:
    # No lock: threads that race here make a client too many, which is harmless, and a lock could be held while another
    # thread forks.
    return Client()
