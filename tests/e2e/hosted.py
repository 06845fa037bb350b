"""A server in a thread of the test, whose time the test moves."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import uvloop

import pushline
from pushline.server.wiring import Server
from pushline.settings import Settings
from pushline.stores.memory import MemoryStore
from pushline.testing.clock import FakeClock

from .waiting import PATIENCE_SECONDS

API_KEY = "an-API-key-of-the-tests"
TOKEN_SECRET = "a-token-secret-of-the-tests"

# Pages answer pings in real time. With the longest interval that there is, two hours pass without a page being
# thought dead.
LONGEST_SECONDS = 3600.0


class HostedServer:
    """``with HostedServer(…)`` it serves, on :attr:`url`. Time stands still but for :meth:`advance`."""

    url: str
    client: pushline.Client

    def __init__(self, data_dir: Path) -> None:
        self._settings = Settings(
            listen="127.0.0.1:0", data_dir=data_dir, ping_interval=LONGEST_SECONDS, ping_timeout=LONGEST_SECONDS
        )
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hosted server")

    def __enter__(self) -> HostedServer:
        self._thread.start()
        assert self._serving.wait(PATIENCE_SECONDS)
        self.client = pushline.Client(self.url, API_KEY)
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._clock = FakeClock(call_soon=self._loop.call_soon)
        server = Server(
            self._settings,
            store=MemoryStore(),
            api_keys=(API_KEY,),
            token_secrets=(TOKEN_SECRET,),
            clock=self._clock,
        )
        async with server:
            self.url = server.url
            self._serving.set()
            await self._stop.wait()

    def advance(self, seconds: float) -> None:
        """Let time pass on the server."""
        asyncio.run_coroutine_threadsafe(self._advance(seconds), self._loop).result(PATIENCE_SECONDS)

    async def _advance(self, seconds: float) -> None:
        self._clock.advance(seconds)
