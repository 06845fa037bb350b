"""How the SDK asks the Pushline of its own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from pushline.client.requests import ApiRequest, ApiResponse
from pushline.errors import ConfigurationError

Answer = Callable[[ApiRequest, str], Awaitable[ApiResponse]]
"""Answers a request that shows an API key."""


class ThisProcess:
    """Asks the Pushline of this process, in whose event loop it is made, without HTTP."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def ask(self, request: ApiRequest, key: str, seconds: float) -> ApiResponse:
        """See :class:`pushline.client.here.Here`."""
        answering = self._said(request, key)
        if threading.get_ident() == self._thread:
            return await asyncio.wait_for(answering, seconds)
        return await asyncio.wait_for(
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answering, self._loop)), seconds
        )

    def ask_and_wait(self, request: ApiRequest, key: str, seconds: float) -> ApiResponse:
        """See :class:`pushline.client.here.Here`."""
        if threading.get_ident() == self._thread:
            raise ConfigurationError(
                "This call would wait for Pushline in the very thread that has to answer: `pushline run` serves both. "
                "In `async def` use pushline.AsyncClient, whose methods have the same names, or make it a plain `def`."
            )
        return asyncio.run_coroutine_threadsafe(self._said(request, key), self._loop).result(seconds)

    async def _said(self, request: ApiRequest, key: str) -> ApiResponse:
        return await self._answer(request, key)
