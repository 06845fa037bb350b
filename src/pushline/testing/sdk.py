"""Answers in the process what the SDK asks, in place of a server at some address."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

from pushline import channel
from pushline.asgi import Pushline
from pushline.client.aio import AsyncClient
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.sync import Client

AnswerRequest = Callable[[str, ApiRequest], ApiResponse]
"""Answers a request to an address."""


@contextmanager
def answered_by(answer: AnswerRequest, environment: Mapping[str, str]) -> Iterator[None]:
    """Let ``answer`` answer every client of this process, also those that were made before, until the end.

    So it does for a :class:`pushline.asgi.Pushline` that is mounted. ``environment`` is that of clients that are made
    meanwhile.
    """

    def ask(client: Client, request: ApiRequest) -> ApiResponse:
        return answer(client._endpoint.url, request)

    async def ask_async(client: AsyncClient, request: ApiRequest) -> ApiResponse:
        return answer(client._endpoint.url, request)

    async def ask_mounted(client: Pushline, request: ApiRequest) -> ApiResponse:
        return answer("/_ah/pushline", request)

    with (
        patch.object(Client, "_ask", ask),
        patch.object(AsyncClient, "_ask", ask_async),
        patch.object(Pushline, "_ask", ask_mounted),
        patch.dict(os.environ, environment),
    ):
        channel._client.cache_clear()
        try:
            yield
        finally:
            channel._client.cache_clear()
