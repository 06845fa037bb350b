"""An echo server out of Pushline's own parts: its front, its reader of frames, its writer.

The suite of Autobahn wants its messages back, and a page of Pushline gets none of what it sends. So this is a hub that
sends every text back to the page; all between hub and socket is what `pushline serve` has. Texts that are no UTF-8 and
binary messages end the connection with 4400, as there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from pushline.clock import LoopClock
from pushline.http.page import Origins
from pushline.http.request import Request
from pushline.hub import Hub, Outlet
from pushline.messages import Message
from pushline.protocol.codes import PROTOCOL_ERROR
from pushline.protocol.session import Session
from pushline.protocol.values import Close, Outgoing
from pushline.server.native import NativeFront
from pushline.server.wiring import Core
from pushline.settings import Settings
from pushline.stores.memory import MemoryStore
from pushline.transports import websocket
from pushline.transports.base import Door

LONGEST_BYTES = 1 << 20
"""The suite sends longer messages than a page does."""

KEY = "no application speaks to this"


class _Session:
    """What a transport asks of a session."""

    def __init__(self) -> None:
        self._items: list[Outgoing] = []

    def echo(self, text: bytes) -> None:
        message = Message(0, 0, text)
        message.wire = websocket.text_frame(text)
        self._items.append(message)

    def outgoing(self) -> list[Outgoing] | None:
        items, self._items = self._items, []
        return items or None

    def close(self, code: int) -> None:
        self._items.append(Close(code))

    def pong(self) -> None:
        """A page is asked nothing."""


class _Hub:
    """What a transport asks of the hub."""

    def __init__(self) -> None:
        self.at_turn_end: list[Callable[[], None]] = []

    def received(self, outlet: Outlet, text: bytes) -> None:
        session = cast("_Session", outlet.session)
        try:
            text.decode()
        except UnicodeDecodeError:
            session.close(PROTOCOL_ERROR)
        else:
            session.echo(text)
        outlet.flush()

    def disconnected(self, outlet: Outlet, *, orderly: bool) -> None:
        """Nobody is told."""

    def blocked(self, outlet: Outlet) -> None:
        """The loop keeps what the suite does not take at once."""

    unblocked = left = blocked


class _Door(Door):
    """Lets everybody in."""

    def connect(self, request: Request, token: str | None, outlet: Outlet) -> None:
        outlet.opened(cast("Session", _Session()))


async def serve(port: int) -> asyncio.Server:
    """Serve on a port of 127.0.0.1."""
    setattr(websocket, "MAX_FRAME_BYTES", LONGEST_BYTES)  # noqa: B010 - to mypy it is Final
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    core = Core(Settings(), store=MemoryStore(), api_keys=(KEY,), token_secrets=(KEY,), clock=clock)
    door = _Door(cast("Hub", _Hub()), clock, Origins(()))
    front: Any = NativeFront(core.app, door, clock)
    return await loop.create_server(front.connection, "127.0.0.1", port)
