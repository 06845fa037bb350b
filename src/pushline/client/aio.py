"""The client for programs with an event loop, over aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Unpack

import aiohttp
from yarl import URL

from pushline.client import here, requests
from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse, Item, SendOptions
from pushline.client.results import CallbackList, ClientList, ClientState, SendResult, TargetResult
from pushline.client.retry import Tries
from pushline.messages import DEFAULT_DURATION_MINUTES


class AsyncClient:
    """The methods of :class:`pushline.Client` as coroutines: see there for arguments, results and errors.

    One client belongs to one event loop, that of its first call, in which it opens its connections. Use it as an async
    context manager, or close it at the end.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        self._endpoint = Endpoint.find(url, api_key)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def create_channel(
        self, client_id: str, duration_minutes: int = DEFAULT_DURATION_MINUTES, *, policy: str | None = None
    ) -> str:
        """Return a new token for ``client_id``: see :meth:`pushline.Client.create_channel`."""
        return requests.parse_token(await self._ask(requests.create_channel(client_id, duration_minutes, policy)))

    async def send_message(self, client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> SendResult:
        """Send a text to ``client_id``: see :meth:`pushline.Client.send_message`."""
        return requests.parse_sent(await self._ask(requests.send_message(client_id, message, **options)))

    async def send_json(self, client_id: str, value: object, **options: Unpack[SendOptions]) -> SendResult:
        """Send a value as JSON to ``client_id``: see :meth:`pushline.Client.send_json`."""
        return requests.parse_sent(await self._ask(requests.send_json(client_id, value, **options)))

    async def send_many(self, items: Iterable[Item]) -> list[TargetResult]:
        """Send several messages at once: see :meth:`pushline.Client.send_many`."""
        return requests.parse_sent_many(await self._ask(requests.send_many(items)))

    async def get_client(self, client_id: str) -> ClientState:
        """Look up the channel of ``client_id``: see :meth:`pushline.Client.get_client`."""
        return requests.parse_client(await self._ask(requests.get_client(client_id)))

    async def list_clients(
        self, *, connected: bool | None = None, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> ClientList:
        """List the client ids that have a channel: see :meth:`pushline.Client.list_clients`."""
        return requests.parse_list(await self._ask(requests.list_clients(connected, prefix, after or "", limit)))

    async def disconnect(self, client_id: str) -> None:
        """End the connections of ``client_id``: see :meth:`pushline.Client.disconnect`."""
        requests.parse_done(await self._ask(requests.disconnect(client_id)))

    async def revoke(self, client_id: str) -> None:
        """Make every token of ``client_id`` void: see :meth:`pushline.Client.revoke`."""
        requests.parse_done(await self._ask(requests.revoke(client_id)))

    async def list_callbacks(self, *, after: str | None = None, limit: int = 100) -> CallbackList:
        """List what the application was not told yet: see :meth:`pushline.Client.list_callbacks`."""
        return requests.parse_callbacks(await self._ask(requests.list_callbacks(after or "", limit)))

    async def retry_callbacks(self, client_id: str | None = None) -> int:
        """Have sent again what was given up: see :meth:`pushline.Client.retry_callbacks`."""
        return requests.parse_retried(await self._ask(requests.retry_callbacks(client_id)))

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient(url={self._endpoint.url!r})"

    async def _ask(self, request: ApiRequest) -> ApiResponse:
        tries = Tries(self._endpoint.url, request)
        while True:
            try:
                return await self._exchange(request)
            except (aiohttp.ClientError, TimeoutError) as error:
                pause = tries.pause_after(error, sent=not isinstance(error, aiohttp.ClientConnectorError))
            await asyncio.sleep(pause)

    async def _exchange(self, request: ApiRequest) -> ApiResponse:
        endpoint, seconds = self._endpoint, self._timeout + request.wait
        if (local := here.find(endpoint.url)) is not None:
            return await local.ask(request, endpoint.api_key, seconds)
        if self._session is None:
            self._session = self._open_session()
        async with self._session.request(
            request.method,
            URL(endpoint.url + request.target, encoded=True),
            data=request.body,
            timeout=aiohttp.ClientTimeout(total=seconds),
            headers=request.headers,
            allow_redirects=False,
        ) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return ApiResponse(answer.status, headers, await answer.read())

    def _open_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._endpoint.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
