"""What a run does: the options of the command."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

LATE_SECONDS: Final = 30.0
TRANSPORTS: Final = ("websocket", "sse", "longpoll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run. Equal plans do the same, as far as a machine with other work repeats itself.

    ``drops`` is the number of connections that are cut, ``reloads`` the number of pages that are left and loaded again
    with a new token, ``floods`` the number of pages that are cut and meanwhile sent more than their channel keeps, so
    that they have to be told of a gap.
    """

    pages: int = 500
    messages: int = 20_000
    seconds: float = 120.0
    seed: int = 1
    transports: tuple[str, ...] = TRANSPORTS
    store: str = "sqlite"
    peer: str = "pushline"
    kills: int = 2
    terms: int = 1
    drops: int = 500
    reloads: int = 100
    floods: int = 3
    drop_seconds: float = 2.0
    longest_pause: float = 30.0
    kept: int = 200
    ping_interval: float = 5.0
    ping_timeout: float = 5.0
    drain_seconds: float = 3.0

    def chance(self, of: object) -> random.Random:
        """Random numbers of their own for one part of the run, so that no part changes what another one does."""
        return random.Random(f"{self.seed} {of}")  # noqa: S311 - they are to be repeated

    @property
    def sending_seconds(self) -> float:
        """For how long messages are sent; the rest is for opening the pages and for their catching up."""
        return self.seconds * 0.55

    @property
    def last_send_seconds(self) -> float:
        """When sending ends even if the server was too slow to take everything."""
        return self.sending_seconds + LATE_SECONDS
