"""Who carries out the calls of the old API: the Pushline that the environment names, or a stub of the testbed."""

from __future__ import annotations

from typing import Protocol

from pushline import channel
from pushline.client.results import SendResult


class Service(Protocol):
    """The part of :class:`pushline.Client` that the old API needs."""

    def create_channel(self, client_id: str, duration_minutes: int, *, policy: str | None) -> str:
        """See :meth:`pushline.Client.create_channel`."""

    def send_message(self, client_id: str, message: str | bytes) -> SendResult:
        """See :meth:`pushline.Client.send_message`."""


_stub: Service | None = None


def current() -> Service:
    """Who does it now."""
    return channel if _stub is None else _stub


def use(stub: Service | None) -> None:
    """From now on ``stub`` does it; None: Pushline itself."""
    global _stub
    _stub = stub
