"""An asynchronous program behind a test client that runs it in a thread and an event loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI, Request

from pushline import AsyncClient, channel, presence
from pushline.testing import PresenceCall, PushlineServer

Post = Callable[..., httpx.Response]


@pytest.fixture
def post() -> Iterator[Post]:
    """Posts to a program that greets who comes, and gives tokens."""
    app, client = FastAPI(), AsyncClient("https://push.example.com", "a-key-of-production")

    @app.post("/token")
    async def token() -> str:
        return await client.create_channel("ann", 10)

    @app.post("/_ah/channel/connected/", status_code=204)
    async def connected(request: Request) -> None:
        told = presence.parse(request.headers, await request.body())
        await client.send_message(told.client_id, "welcome", wait=5)

    async def exchange(path: str, headers: dict[str, str] | None, content: bytes) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.test") as browser:
            return await browser.post(path, headers=headers, content=content)

    with start_blocking_portal() as portal:
        yield lambda path, headers=None, content=b"": portal.call(exchange, path, headers, content)


def test_it_greets_and_gives_fresh_tokens(pushline_server: PushlineServer, post: Post) -> None:
    def handler(call: PresenceCall) -> int:
        return post(call.path, call.headers, call.body).status_code

    def token() -> str:
        return str(post("/token").json())

    pushline_server.on_presence = handler
    page = pushline_server.page(token(), refresh_token=token)
    assert page.messages == ["welcome"]
    pushline_server.advance(hours=1)
    assert page.events == ["open", "message"]
    assert channel.get_client("ann").callbacks == []
