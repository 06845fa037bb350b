"""Push messages from a web application to the browser pages of individual users, in real time.

The names of the Python SDK (contract, section 7). Each is loaded at its first use, so that a program pays for what it
uses only: the server needs no HTTP client, and a synchronous application needs no aiohttp.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushline import channel
    from pushline.client.aio import AsyncClient
    from pushline.client.results import ClientState, SendResult, TargetResult
    from pushline.client.sync import Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "ClientState", "SendResult", "TargetResult", "__version__", "channel"]

_HOMES = {
    "AsyncClient": "pushline.client.aio",
    "Client": "pushline.client.sync",
    "ClientState": "pushline.client.results",
    "SendResult": "pushline.client.results",
    "TargetResult": "pushline.client.results",
}


def __getattr__(name: str) -> object:
    if name == "channel":
        return import_module("pushline.channel")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
