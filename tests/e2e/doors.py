"""The SDK in the hands of a test, and a page that reads what was sent."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, Unpack
from urllib.parse import urlencode

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from pushline import AsyncClient, ClientState, SendResult
from pushline.client.sends import SendOptions

from .waiting import PATIENCE_SECONDS

T = TypeVar("T")


def run_apart(coroutine: Coroutine[Any, Any, T], run: Callable[..., Any] = asyncio.run) -> T:
    """Run in a thread, with an event loop of its own: the test's own may belong to a browser."""
    with ThreadPoolExecutor(1) as thread:
        result: T = thread.submit(run, coroutine).result(PATIENCE_SECONDS)
        return result


class AsyncDoor:
    """The asynchronous client, in an event loop of its own thread: the test's own may belong to a browser."""

    def __init__(self, url: str, api_key: str, **options: float) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asynchronous client")
        self._thread.start()
        self.client = AsyncClient(url, api_key, **options)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    def create_channel(self, client_id: str) -> str:
        return self.run(self.client.create_channel(client_id))

    def send_message(self, client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> SendResult:
        return self.run(self.client.send_message(client_id, message, **options))

    def get_client(self, client_id: str) -> ClientState:
        return self.run(self.client.get_client(client_id))

    def send_json(self, client_id: str, value: object) -> SendResult:
        return self.run(self.client.send_json(client_id, value))

    def close(self) -> None:
        self.run(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()


def receive(url: str, token: str, count: int) -> tuple[dict[str, Any], list[bytes]]:
    """Connect as a page does: the `open` frame, and the bytes of the next messages."""
    address = f"{url.replace('http', 'ws', 1)}/_ah/channel/connect?{urlencode({'page': 'test'})}"
    subprotocols = [Subprotocol("pushline.v1"), Subprotocol(f"pushline.token.{token}")]
    with connect(address, subprotocols=subprotocols, compression=None, proxy=None) as socket:
        assert socket.subprotocol == "pushline.v1"
        opened = json.loads(socket.recv(timeout=PATIENCE_SECONDS))
        frames = [socket.recv(timeout=PATIENCE_SECONDS, decode=False) for _ in range(count)]
        return opened, [frame.partition(b" ")[2] for frame in frames]
