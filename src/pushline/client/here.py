"""Pushlines that run in this very process: they are asked without HTTP, which would wait for itself when they end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from pushline.client.requests import ApiRequest, ApiResponse
from pushline.errors import ConfigurationError

Answer = Callable[[ApiRequest, str], Awaitable[ApiResponse]]
"""Answers a request that shows an API key."""


class Here:
    """A Pushline of this process. It is made in its own event loop."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def ask(self, request: ApiRequest, key: str, seconds: float) -> ApiResponse:
        """Its answer, in any event loop. Raises :class:`TimeoutError` after so many seconds."""
        answering = self._said(request, key)
        if threading.get_ident() == self._thread:
            return await asyncio.wait_for(answering, seconds)
        return await asyncio.wait_for(
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answering, self._loop)), seconds
        )

    def ask_and_wait(self, request: ApiRequest, key: str, seconds: float) -> ApiResponse:
        """Its answer, in any thread but its own. Raises :class:`TimeoutError` after so many seconds.

        Raises :class:`ConfigurationError` in its own thread, which would wait for itself.
        """
        if threading.get_ident() == self._thread:
            raise ConfigurationError(
                "This call would wait for Pushline in the very thread that has to answer: `pushline run` serves both. "
                "In `async def` use pushline.AsyncClient, whose methods have the same names, or make it a plain `def`."
            )
        return asyncio.run_coroutine_threadsafe(self._said(request, key), self._loop).result(seconds)

    async def _said(self, request: ApiRequest, key: str) -> ApiResponse:
        return await self._answer(request, key)


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
