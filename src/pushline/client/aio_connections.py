"""The connections of the asynchronous client, all of one event loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, cast

from pushline.client.connections import Unconnected, tls_context
from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.wire import BadAnswer, Decoder, Encoder

_MOST: Final = 100
_GOODBYE_SECONDS: Final = 1.0


class LoopConnections:
    """At most so many connections to one server; who wants another one waits. Each waits here between two requests."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._encoder = Encoder(endpoint)
        self._tls: ssl.SSLContext | None = None
        self._idle: list[_Connection] = []
        self._places = asyncio.Semaphore(_MOST)
        self._closed = False

    async def exchange(self, request: ApiRequest, seconds: float) -> ApiResponse:
        """Ask, and read the answer, in so many seconds from the moment that there is a connection.

        Raises :class:`Unconnected`; :class:`OSError` and :class:`BadAnswer` when the request may have arrived.
        """
        async with self._places:
            connection = self._take() or await self._connect(seconds)
            try:
                async with asyncio.timeout(seconds):
                    answer = await connection.ask(self._encoder.encode(request))
            except BaseException:
                connection.transport.abort()
                raise
            if connection.reusable and not self._closed:
                self._idle.append(connection)
            else:
                connection.transport.close()
            return answer

    async def close(self) -> None:
        """Close those that are idle, and the others when they are."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.transport.close()
        if idle:
            await asyncio.wait([connection.gone for connection in idle], timeout=_GOODBYE_SECONDS)

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()  # that which was used last: the others may close
            if connection.reusable:
                return connection
        return None

    async def _connect(self, seconds: float) -> _Connection:
        to = self._encoder
        if to.secure and self._tls is None:
            self._tls = tls_context()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, to.host, to.port, ssl=self._tls
                )
        except (OSError, UnicodeError) as error:  # the latter: a name that no lookup takes
            raise Unconnected from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.reusable = True
        self._loop = loop
        self._decoder = Decoder()
        self._answer: asyncio.Future[ApiResponse] | None = None

    async def ask(self, request: bytes) -> ApiResponse:
        """Send a request, and read its answer. Raises :class:`OSError` and :class:`BadAnswer`."""
        self._decoder = Decoder()
        answer: asyncio.Future[ApiResponse] = self._loop.create_future()
        self._answer = answer
        self.transport.write(request)
        try:
            return await answer
        finally:
            self._answer = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._answer is None or self._answer.done():  # nobody has asked for it
            self.reusable = False
            self.transport.abort()
        else:
            self._read(data, self._answer)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self.reusable = False
        if self._answer is not None and not self._answer.done():
            if error is None:
                self._read(b"", self._answer)
            else:
                self._answer.set_exception(error)
        self.gone.set_result(None)

    def _read(self, data: bytes, answer: asyncio.Future[ApiResponse]) -> None:
        decoder = self._decoder
        try:
            decoder.feed(data)
        except BadAnswer as error:
            answer.set_exception(error)
        else:
            if decoder.answer is not None:
                self.reusable &= decoder.reusable
                answer.set_result(decoder.answer)
