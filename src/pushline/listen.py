"""A page for the terminal: connects with a token and prints what comes, as `pushline listen` does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Origin, Subprotocol

from pushline.errors import ConnectionEnded, Unreachable
from pushline.http.request import MOUNTED_API
from pushline.protocol.codes import CLOSES, INVALID_TOKEN
from pushline.protocol.frames import SUBPROTOCOL, TOKEN_SUBPROTOCOL, Ack, encode
from pushline.protocol.tokens import is_token

ACK_SECONDS: Final = 4.0
MAX_PAUSE_SECONDS: Final = 32.0
_RETRY: Final = re.compile(r"retry=(\d{1,9})", re.ASCII)


class Listener:
    """Listens on one channel, and goes on after every drop until the server says that it is over.

    ``message`` is called with every message, ``notice`` with what else there is to tell.
    """

    def __init__(self, url: str, token: str, *, message: Callable[[str], None], notice: Callable[[str], None]) -> None:
        self._url = url
        self._address = url.replace("http", "ws", 1).rstrip("/").removesuffix(MOUNTED_API) + "/_ah/channel/connect"
        self._token = token
        self._page = secrets.token_urlsafe(12)
        self._cursor: str | None = None
        self._acknowledged: str | None = None
        self._tries = 0
        self._message = message
        self._notice = notice

    async def run(self) -> None:
        """Listen. Raises :class:`ConnectionEnded` with a code that ends the socket, :class:`Unreachable` at first."""
        if not is_token(self._token):  # no header could carry it
            raise ConnectionEnded(INVALID_TOKEN)
        while True:
            self._tries += 1
            moment: float | None = None  # at which the server wants it back
            try:
                await self._listen()
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else None
                if code is not None and 4400 <= code < 4500:
                    raise ConnectionEnded(code) from None
                if closed.rcvd is not None and (asked := _RETRY.fullmatch(closed.rcvd.reason)):
                    moment = int(asked[1]) / 1000
            except (OSError, InvalidHandshake, InvalidURI) as error:
                if self._cursor is None:
                    raise Unreachable(self._url, str(error)) from None
            self._notice("disconnected; coming back")
            pause = 0.5 * 2**self._tries if self._tries < 6 else MAX_PAUSE_SECONDS
            await asyncio.sleep(random.uniform(0, pause) if moment is None else moment)  # noqa: S311 - jitter

    async def _listen(self) -> None:
        query = {"page": self._page} if self._cursor is None else {"page": self._page, "after": self._cursor}
        subprotocols = [Subprotocol(SUBPROTOCOL), Subprotocol(TOKEN_SUBPROTOCOL + self._token)]
        async with connect(
            f"{self._address}?{urlencode(query)}",
            subprotocols=subprotocols,
            origin=Origin("/".join(self._url.split("/")[:3])),  # without a path
            compression=None,
            ping_interval=None,
        ) as socket:
            # No TaskGroup: it would wrap the end of the connection, which `run` wants to see, into an ExceptionGroup.
            acknowledging = asyncio.create_task(self._acknowledge(socket))
            try:
                async for text in socket:
                    await self._received(socket, str(text))
            finally:
                acknowledging.cancel()

    async def _received(self, socket: ClientConnection, text: str) -> None:
        if not text.startswith("{"):
            self._cursor, _, data = text.partition(" ")
            self._message(data)
            return
        frame = msgspec.json.decode(text, type=dict[str, object])
        match frame["type"]:
            case "open" | "gap":
                if frame["type"] == "gap" or frame["gap"]:
                    self._notice("some messages are missing here")
                self._cursor = str(frame["cursor"])
                self._tries = 0
            case "ping":
                await self._send_ack(socket)

    async def _acknowledge(self, socket: ClientConnection) -> None:
        while True:
            await asyncio.sleep(ACK_SECONDS)
            if self._cursor != self._acknowledged:
                with contextlib.suppress(ConnectionClosed):
                    await self._send_ack(socket)

    async def _send_ack(self, socket: ClientConnection) -> None:
        self._acknowledged = self._cursor
        await socket.send(encode(Ack(self._cursor or "")).decode())


def sentence(ended: ConnectionEnded) -> str:
    """What a close code means, for people."""
    close = CLOSES.get(ended.code)
    return f"{close.sentence if close else 'The server ended the connection.'} ({ended.code})"
