"""A TCP proxy between a page and its server: the network, as bad as a test wants it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from .waiting import PATIENCE_SECONDS


class Proxy:
    """``with Proxy(port)`` it passes connections on to a port of 127.0.0.1, until it is told otherwise."""

    url: str

    def __init__(self, port: int) -> None:
        self._target = port
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

    def _mend(self) -> None:
        self._down = False
        self._flows.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._serving.set()
            await self._stop.wait()
            server.close()
            self._cut()
            self._flows.set()
            if connections := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(connections, timeout=PATIENCE_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._down:
                raise ConnectionError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
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

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(1 << 16):
            await self._flows.wait()
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
