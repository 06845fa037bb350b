"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Unpack

from pushline.client import here, requests, sends
from pushline.client.aio_connections import LoopConnections
from pushline.client.connections import Unconnected
from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse, Item
from pushline.client.results import CallbackList, ClientList, ClientState, SendResult, TargetResult
from pushline.client.retry import Tries
from pushline.client.sender import Sender
from pushline.client.sends import Send, SendOptions
from pushline.client.wire import BadAnswer
from pushline.messages import DEFAULT_DURATION_MINUTES


class AsyncClient:
    """The methods of :class:`pushline.Client` as coroutines: see there for arguments, results and errors.

    It may be used in several event loops, of threads or of forked children; each has connections of its own. Use it as
    an async context manager, or close it at the end, in each of them.

    Sends that are made in the same turn of the event loop go to Pushline together (contract, A3): what
    ``asyncio.gather`` or many requests at once ask for costs one request. Each returns its own result, or raises its
    own error. Messages to one client id keep the order in which their sends were called, though none was awaited yet; a
    send with ``wait`` is behind those before it, and nothing waits behind it.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        self._endpoint = Endpoint.find(url, api_key)
        self._timeout = timeout
        self._homes: dict[asyncio.AbstractEventLoop, _Home] = {}

    async def create_channel(
        self, client_id: str, duration_minutes: int = DEFAULT_DURATION_MINUTES, *, policy: str | None = None
    ) -> str:
        """Return a new token for ``client_id``: see :meth:`pushline.Client.create_channel`."""
        return requests.parse_token(await self._ask(requests.create_channel(client_id, duration_minutes, policy)))

    async def send_message(self, client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> SendResult:
        """Send a text to ``client_id``: see :meth:`pushline.Client.send_message`."""
        return await self._send(sends.of_text(client_id, message, **options))

    async def send_json(self, client_id: str, value: object, **options: Unpack[SendOptions]) -> SendResult:
        """Send a value as JSON to ``client_id``: see :meth:`pushline.Client.send_json`."""
        return await self._send(sends.of_value(client_id, value, **options))

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
        """Close the connections of this event loop, when what is under way is answered. A later call opens new ones."""
        home = self._homes.pop(asyncio.get_running_loop(), None)
        if home is not None:
            await home.sender.close()
            await home.connections.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient(url={self._endpoint.url!r})"

    async def _send(self, send: Send) -> SendResult:
        return await self._home().sender.send(send)

    async def _ask(self, request: ApiRequest) -> ApiResponse:
        tries = Tries(self._endpoint.url, request)
        while True:
            try:
                return await self._exchange(request)
            except (Unconnected, OSError, BadAnswer) as error:
                pause = tries.pause_after(error, sent=not isinstance(error, Unconnected))
            await asyncio.sleep(pause)

    async def _exchange(self, request: ApiRequest) -> ApiResponse:
        endpoint, seconds = self._endpoint, self._timeout + request.wait
        if (local := here.find(endpoint.url)) is not None:
            return await local.ask(request, endpoint.api_key, seconds)
        return await self._home().connections.exchange(request, seconds)

    def _home(self) -> _Home:
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is None:
            # A loop of a parent process is not closed here: what belongs to it is kept, and left alone.
            for closed in [each for each in list(self._homes) if each.is_closed()]:
                self._homes.pop(closed, None)
            home = self._homes[loop] = _Home(LoopConnections(self._endpoint), Sender(self._ask))
        return home


@dataclass(frozen=True, slots=True)
class _Home:
    """What there is in one event loop."""

    connections: LoopConnections
    sender: Sender
