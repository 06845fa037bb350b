"""A TCP proxy between a page and its server: the network, as bad as a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from .waiting import PATIENCE_SECONDS

_SIGN_IN: Final = b"<!doctype html><title>Welcome</title><p>Sign in to use this network."
_PORTAL: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_SIGN_IN)
) + _SIGN_IN
_SLOW_BUFFER_BYTES: Final = 16 << 10
_SLOW_STEPS: Final = 20  # a second


class Proxy:
    """``with Proxy(port)`` it passes connections on to a port of 127.0.0.1, until it is told otherwise.

    ``bytes_per_second``: how fast answers go through each connection, and little of them waits on the way. 0: as fast
    as they come.
    """

    url: str
    port: int

    def __init__(self, port: int, *, bytes_per_second: int = 0) -> None:
        self._target = port
        self._rate = bytes_per_second
        self.signed_in = 0
        """How many requests were answered by :meth:`portal`."""
        self._portal = False
        self._down = False
        self._lose_answer = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._serving.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._do(self._stop.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    # -- what a test does to the network -----------------------------------------------------------------------

    def cut(self) -> None:
        """End all connections in good order, and every new one at once, until :meth:`mend`."""
        self._do(self._cut)

    def reset(self) -> None:
        """End all connections by a TCP reset, and every new one at once, until :meth:`mend`."""
        self._do(self._reset)

    def hold(self) -> None:
        """Keep all connections, and let nothing through, until :meth:`mend`. Nobody is told."""
        self._do(self._flows.clear)

    def portal(self) -> None:
        """End all connections, and answer every request in the server's place, until :meth:`mend`."""
        self._do(self._be_portal)

    def lose_next_answer(self) -> None:
        """Let the next request through, and reset its connection in place of the answer."""
        self._do(self._lose_next_answer)

    def mend(self) -> None:
        """Let everything through again."""
        self._do(self._mend)

    # -- on the loop of the thread -----------------------------------------------------------------------------

    def _do(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        acting: Coroutine[Any, Any, None] = act()
        asyncio.run_coroutine_threadsafe(acting, self._loop).result(PATIENCE_SECONDS)

    def _cut(self) -> None:
        self._down = True
        for writer in self._writers:
            writer.close()

    def _reset(self) -> None:
        self._down = True
        for writer in self._writers:
            _reset(writer)

    def _lose_next_answer(self) -> None:
        self._lose_answer = True

    def _be_portal(self) -> None:
        self._reset()
        self._down = False
        self._portal = True

    def _mend(self) -> None:
        self._down = False
        self._portal = False
        self._flows.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
            self._serving.set()
            await self._stop.wait()
            server.close()
            self._cut()
            self._flows.set()
            if connections := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(connections, timeout=PATIENCE_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._portal:
            await self._answer(reader, writer)
            return
        try:
            if self._down:
                raise ConnectionError
            far_reader, far_writer = await self._connect()
        except OSError:
            _reset(writer)
            return
        pair = {writer, far_writer}
        self._writers |= pair
        ways = [
            asyncio.create_task(self._pass_on(reader, far_writer, answers=False)),
            asyncio.create_task(self._pass_on(far_reader, writer, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()  # what was held back is lost with the connection
            self._writers -= pair
            for end in pair:
                end.close()
            await asyncio.gather(*ways, *(end.wait_closed() for end in pair), return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not self._rate:
            return await asyncio.open_connection("127.0.0.1", self._target)
        plug = socket.socket()
        plug.setblocking(False)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", self._target))
        return await asyncio.open_connection(sock=plug, limit=_SLOW_BUFFER_BYTES)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_PORTAL)
            await writer.drain()
            self.signed_in += 1
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        slow = self._rate if answers else 0
        while data := await reader.read(slow // _SLOW_STEPS or 1 << 16):
            await self._flows.wait()
            if slow:
                await asyncio.sleep(len(data) / slow)
            if answers and self._lose_answer:
                self._lose_answer = False
                _reset(writer)
                return
            writer.write(data)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    plug = writer.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
