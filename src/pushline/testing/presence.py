"""Tells an application in the process who is there, as Pushline posts it (contract, section 5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pushline.callbacks import Deliveries, Post, event_of, form, signature
from pushline.clock import Clock
from pushline.hub import Hub
from pushline.stores.base import Notice


@dataclass(frozen=True, slots=True)
class PresenceCall:
    """A POST that Pushline makes to the application: hand it to a test client of its framework."""

    path: str
    headers: dict[str, str]
    body: bytes


PresenceHandler = Callable[[PresenceCall], int]
"""Takes a call, and returns the status with which the application answers."""


def call_of(notice: Notice, secret: str) -> PresenceCall:
    """The POST of a notice, signed."""
    content_type, body = form(notice)
    # By the machine's clock and not by the test's: that is what the application looks at when it verifies.
    headers = {"Content-Type": content_type, **signature(secret, notice, int(time.time()), body)}
    return PresenceCall(f"/_ah/channel/{event_of(notice)}/", headers, body)


class InProcess:
    """Has ``post`` tell what ``hub`` announces, again and again until it is accepted."""

    def __init__(self, hub: Hub, clock: Clock, post: Post) -> None:
        self._deliveries = Deliveries(hub, clock, post, random=lambda: 0.5)

    async def close(self) -> None:
        """Tell no more."""
        self.stop()

    def stop(self) -> None:
        """Tell no more."""
        self._deliveries.stop()
