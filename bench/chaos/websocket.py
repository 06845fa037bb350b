"""A page over WebSocket (contract, W1 to W4)."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar, NoReturn

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from .line import HOST
from .page import CONNECT, OPEN_SECONDS, End, Page


class WebSocketPage(Page):
    """Acknowledges by frames."""

    transport: ClassVar[str] = "websocket"
    _socket: ClientConnection

    async def connect(self) -> End:
        offer = [Subprotocol("pushline.v1"), Subprotocol(f"pushline.token.{self.token}")]
        try:
            self._socket = await connect(
                f"ws://{HOST}:{self.line.port}{CONNECT}?{self.query()}",
                subprotocols=offer,
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_SECONDS,
                close_timeout=1,
                proxy=None,
            )
        except (InvalidHandshake, ConnectionClosed, EOFError):
            return End()
        transport = self._socket.transport
        self.line.attach(transport)
        acknowledging = asyncio.create_task(self.acknowledge())
        try:
            await self._receive()
        except ConnectionClosed as closed:
            return End.of_reason(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else End()
        finally:
            acknowledging.cancel()
            self.line.detach(transport)
            transport.abort()

    async def _receive(self) -> NoReturn:
        patience = OPEN_SECONDS
        while True:
            async with asyncio.timeout(patience):
                text = await self._socket.recv()
            assert isinstance(text, str)  # noqa: S101
            if text.startswith("{"):
                frame = json.loads(text)
                patience = self.got_frame(frame["type"], frame) or patience
            else:
                id, _, data = text.partition(" ")
                self.got_message(id, data)

    async def send_ack(self, cursor: str) -> None:
        try:
            await self._socket.send(json.dumps({"type": "ack", "id": cursor}))
        except ConnectionClosed as closed:
            raise ConnectionResetError from closed
