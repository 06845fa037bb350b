"""Pushlines that run in this very process: they are asked without HTTP, which would wait for itself when they end."""

from __future__ import annotations

import os
from typing import Final, Protocol

from pushline.client.requests import ApiRequest, ApiResponse


class Here(Protocol):
    """A Pushline of this process."""

    async def ask(self, request: ApiRequest, key: str, seconds: float) -> ApiResponse:
        """Its answer, in any event loop. Raises :class:`TimeoutError` after so many seconds."""

    def ask_and_wait(self, request: ApiRequest, key: str, seconds: float) -> ApiResponse:
        """Its answer, in any thread but its own. Raises :class:`TimeoutError` after so many seconds.

        Raises :class:`ConfigurationError` in its own thread, which would wait for itself.
        """


_here: Final[dict[tuple[int, str], Here]] = {}


def register(url: str, here: Here) -> None:
    """From now on who uses the Pushline at ``url`` asks ``here``."""
    _here[os.getpid(), url] = here


def forget(url: str) -> None:
    """Nobody does any more."""
    _here.pop((os.getpid(), url), None)


def find(url: str) -> Here | None:
    """The Pushline at ``url``, when it is one of this process, and not only of the process that it was forked from."""
    return _here.get((os.getpid(), url))
