"""Pages that no WebSocket gets through to, that come and go, and whose tokens end, in both browsers (J3 to J6, W3)."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request

from .conftest import OpenPage, StartPushline
from .hosted import HostedServer
from .pages import ListeningPage, PageServer, script_page
from .processes import PushlineProcess
from .proxy import Proxy
from .waiting import wait_for

pytestmark = pytest.mark.e2e

_UPGRADE: Final = re.compile(rb"\r\nUpgrade:[^\r\n]*", re.IGNORECASE)
_STREAM: Final = b"text/event-stream"


class StrippingProxy(Proxy):
    """The network of a company: its proxy passes no ``Upgrade`` on, and may keep event streams until they end."""

    def __init__(self, port: int, *, buffers: bool = False) -> None:
        super().__init__(port)
        self._buffers = buffers

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(1 << 16):
            await self._flows.wait()
            if answers and self._buffers and b"Content-Type: " + _STREAM in data:
                data += await reader.read()
            writer.write(data if answers else _UPGRADE.sub(b"", data))
            await writer.drain()


@pytest.fixture
def stripping(pushline: PushlineProcess) -> Iterator[Proxy]:
    with StrippingProxy(pushline.port) as between:
        yield between


@pytest.fixture
def buffering(pushline: PushlineProcess) -> Iterator[Proxy]:
    with StrippingProxy(pushline.port, buffers=True) as between:
        yield between


@pytest.fixture
def keepable(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageServer]:
    """Serves pages that browsers may keep: what may not be stored is not kept in the back/forward cache, either."""
    send_header = BaseHTTPRequestHandler.send_header

    def send(handler: BaseHTTPRequestHandler, name: str, value: str) -> None:
        if name != "Cache-Control":
            send_header(handler, name, value)

    monkeypatch.setattr(BaseHTTPRequestHandler, "send_header", send)
    with PageServer() as server:
        yield server


def wait_for_request(page: ListeningPage, seen: list[str], part: str) -> None:
    """Wait until the page has asked for something. What it asks for is seen only while Playwright is at work."""
    wait_for(lambda: page.names() is not None and any(part in request for request in seen), lambda: (part, seen))


def requests_of(page: ListeningPage) -> list[str]:
    """What the page asks the server for from now on: `GET <Accept> <wait>` or `POST <frame>`, one after the other."""
    seen: list[str] = []

    def note(request: Request) -> None:
        if "/connect" not in request.url:
            return
        if request.method == "POST":
            seen.append(f"POST {request.post_data}")
        elif request.method == "GET":
            wait = re.search(r"wait=(\d+)", request.url)
            accept = request.headers.get("accept", "")
            if accept != "*/*":  # Firefox tells of WebSockets, too
                seen.append(f"GET {accept}" + (f" {wait[1]}" if wait else ""))

    page.page.on("request", note)
    return seen


class TestLadder:
    def test_a_page_without_websockets_takes_sse(
        self, open_page: OpenPage, pushline: PushlineProcess, stripping: Proxy, client_id: str
    ) -> None:
        page = open_page(script_page(stripping.url))
        asked = requests_of(page)
        page.listen(pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        hard = ["a\r\nb\x00c", "grüße 🎲", "{", "x" * 32_767]
        for text in hard:
            assert pushline.client.send_message(client_id, text).status == "sent"
        page.wait_for_messages(hard)
        assert page.names() == ["onopen", *["onmessage"] * len(hard)]
        assert "GET text/event-stream" in asked
        assert not any("json" in request for request in asked)
        wait_for_request(page, asked, "POST")
        wait_for(lambda: pushline.client.get_client(client_id).queued == 0, "it took effect")

    def test_a_page_whose_streams_are_buffered_takes_long_poll(
        self, open_page: OpenPage, pushline: PushlineProcess, buffering: Proxy, client_id: str
    ) -> None:
        page = open_page(script_page(buffering.url))
        asked = requests_of(page)
        page.listen(pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        for number in range(5):
            pushline.client.send_message(client_id, str(number))
        page.wait_for_messages([str(number) for number in range(5)])
        assert page.names() == ["onopen", *["onmessage"] * 5]
        assert asked[:2] == ["GET text/event-stream", "GET application/json 0"]
        assert set(asked[2:]) == {"GET application/json 25"}
        wait_for(lambda: pushline.client.get_client(client_id).queued == 0, "the next poll acknowledges")

    def test_what_worked_is_remembered_over_a_reload(
        self, open_page: OpenPage, pushline: PushlineProcess, buffering: Proxy, client_id: str
    ) -> None:
        page = open_page(script_page(buffering.url))
        page.listen(pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        page.page.reload()
        asked = requests_of(page)
        page.listen(pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        assert asked[0] == "GET application/json 0"

    @pytest.mark.parametrize("buffers", [False, True], ids=["sse", "longpoll"])
    def test_a_server_that_crashes_loses_and_doubles_nothing(
        self, open_page: OpenPage, pushline: PushlineProcess, client_id: str, buffers: bool
    ) -> None:
        with StrippingProxy(pushline.port, buffers=buffers) as between:
            page = open_page(script_page(between.url))
            page.listen(pushline.client.create_channel(client_id))
            page.wait_for("onopen")
            pushline.client.send_message(client_id, "before")
            page.wait_for_messages(["before"])
            pushline.end(signal.SIGKILL)
            page.wait_for("onreconnecting")
            pushline.start()
            pushline.client.send_message(client_id, "after")
            page.wait_for_messages(["before", "after"])
            assert "ongap" not in page.names()

    @pytest.mark.parametrize("buffers", [False, True], ids=["sse", "longpoll"])
    def test_a_page_that_is_replaced_is_told_so(
        self, open_page: OpenPage, pushline: PushlineProcess, client_id: str, buffers: bool
    ) -> None:
        with StrippingProxy(pushline.port, buffers=buffers) as between:
            older, newer = (open_page(script_page(between.url)) for _ in range(2))
            older.listen(pushline.client.create_channel(client_id))
            older.wait_for("onopen")
            newer.listen(pushline.client.create_channel(client_id))
            newer.wait_for("onopen")
            older.wait_for("onclose")
            replaced = [{"name": "onerror", "code": 409, "description": "Replaced."}, {"name": "onclose"}]
            assert older.events() == [{"name": "onopen"}, *replaced]
            assert newer.names() == ["onopen"]

    @pytest.mark.parametrize("transport", ["sse", "longpoll"])
    def test_a_websocket_takes_over_in_the_middle_of_messages_and_none_is_lost_or_doubled(
        self, new_page: Callable[..., Page], page_server: PageServer, pushline: PushlineProcess, transport: str
    ) -> None:
        page = ListeningPage(new_page())
        page.page.goto(page_server.add(lambda: "<!doctype html><title>Before</title>"))
        # What a page remembers that came to this transport nearly a minute ago.
        page.page.evaluate(
            """([address, transport]) => sessionStorage.setItem(`pushline ${address}`, JSON.stringify(
                { transport, trialAt: Date.now() + 3000, trialPause: 60_000, savedAt: Date.now() }))""",
            [f"{pushline.url.replace('http', 'ws')}/_ah/channel/connect", transport],
        )
        page.page.goto(page_server.add(lambda: script_page(pushline.url)))
        asked = requests_of(page)
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        assert asked[0] == {"sse": "GET text/event-stream", "longpoll": "GET application/json 0"}[transport]

        def transports() -> list[str]:
            return [connection.transport for connection in pushline.client.get_client("ann").connections]

        sent = 0
        while transports() != ["websocket"] or sent < 100:
            pushline.client.send_message("ann", str(sent))
            sent += 1
            assert sent < 10_000
        for more in range(sent, sent + 20):
            pushline.client.send_message("ann", str(more))
        page.wait_for_messages([str(number) for number in range(sent + 20)])
        assert set(page.names()) == {"onopen", "onmessage"}

    def test_seven_pages_leave_the_site_usable(
        self, browser: Browser, page_server: PageServer, pushline: PushlineProcess, stripping: Proxy
    ) -> None:
        address = page_server.add(lambda: script_page(stripping.url))
        with ExitStack() as closing:
            context = browser.new_context()
            closing.callback(context.close)
            pages = []
            for number in range(7):
                tab = context.new_page()
                tab.goto(address)
                pages.append(ListeningPage(tab))
                pages[-1].listen(pushline.client.create_channel(f"tab {number}"))
                pages[-1].wait_for("onopen")
            for number, page in enumerate(pages):
                pushline.client.send_message(f"tab {number}", "hello")
                page.wait_for_messages(["hello"])
                seconds = page.page.evaluate(
                    """async (url) => {
                        const began = performance.now();
                        await fetch(`${url}/_ah/channel/jsapi`, { cache: "no-store" });
                        return (performance.now() - began) / 1000;
                    }""",
                    stripping.url,
                )
                assert seconds < 3, f"page {number} had to wait for a connection"


class TestLeaving:
    def test_a_page_that_goes_leaves_its_place_at_once(
        self, open_page: OpenPage, pushline: PushlineProcess, stripping: Proxy, client_id: str
    ) -> None:
        for url in (pushline.url, stripping.url):
            page = open_page(script_page(url))
            page.listen(pushline.client.create_channel(client_id))
            page.wait_for("onopen")
            pushline.client.send_message(client_id, "seen")
            page.wait_for_messages(["seen"])
            page.page.goto("about:blank")
            wait_for(lambda: not pushline.client.get_client(client_id).connected, "it is gone", seconds=2)
            wait_for(lambda: pushline.client.get_client(client_id).queued == 0, "it has acknowledged")

    def test_a_page_out_of_the_back_forward_cache_goes_on(
        self, playwright: Playwright, keepable: PageServer, pushline: PushlineProcess, client_id: str
    ) -> None:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        try:
            page = ListeningPage(browser.new_page())
            page.page.goto(keepable.add(lambda: script_page(pushline.url)))
            page.listen(pushline.client.create_channel(client_id))
            page.wait_for("onopen")
            pushline.client.send_message(client_id, "before")
            page.wait_for_messages(["before"])
            page.page.goto(keepable.add(lambda: "<!doctype html><title>Another</title>"))
            wait_for(lambda: not pushline.client.get_client(client_id).connected, "it is gone")
            pushline.client.send_message(client_id, "meanwhile")
            page.page.evaluate("setTimeout(() => history.back(), 50)")
            wait_for(lambda: page.page.title() == "A page", "the page is back")
            page.wait_for_messages(["before", "meanwhile"])
            assert page.names() == ["onopen", "onmessage", "onreconnecting", "onreconnect", "onmessage"]
        finally:
            browser.close()


class TestRefreshing:
    PAGE: Final = """
      let given = 0;
      const refreshing = (first, fresh) => listen(new goog.appengine.Channel(first, {
        refreshToken: async () => { given += 1; return fresh; },
      }));
    """

    def test_a_fresh_token_goes_up_on_the_connection_that_is_there(
        self, open_page: OpenPage, start_pushline: StartPushline, client_id: str
    ) -> None:
        pushline = start_pushline()
        with Proxy(pushline.port) as websocket, StrippingProxy(pushline.port) as sse:
            pages = []
            for number, between in enumerate((websocket, sse)):
                page = open_page(script_page(between.url, self.PAGE))
                first = pushline.client.create_channel(f"{client_id} {number}", duration_minutes=1)
                fresh = pushline.client.create_channel(f"{client_id} {number}", duration_minutes=60)
                page.page.evaluate("([first, fresh]) => { refreshing(first, fresh); }", [first, fresh])
                page.wait_for("onopen")
                pages.append(page)
            for page in pages:
                wait_for(lambda page=page: page.page.evaluate("given") == 1, "it is asked", seconds=70)  # type: ignore[misc]
            pages[0].page.wait_for_timeout(8000)  # the first token is over by then
            for number, page in enumerate(pages):
                pushline.client.send_message(f"{client_id} {number}", "still here")
                page.wait_for_messages(["still here"])
                assert page.names() == ["onopen", "onmessage"]
                assert page.page.evaluate("given") == 1

    def test_a_page_with_an_expired_token_gets_a_fresh_one_and_opens(
        self, open_page: OpenPage, hosted: HostedServer
    ) -> None:
        page = open_page(script_page(hosted.url, self.PAGE))
        expired = hosted.client.create_channel("ann", duration_minutes=1)
        hosted.advance(120)
        fresh = hosted.client.create_channel("ann")
        page.page.evaluate("([first, fresh]) => { refreshing(first, fresh); }", [expired, fresh])
        page.wait_for("onopen")
        assert page.names() == ["onopen"]
        assert page.page.evaluate("given") == 1

    def test_one_whose_fresh_token_has_expired_too_hears_of_it_once(
        self, open_page: OpenPage, hosted: HostedServer
    ) -> None:
        page = open_page(script_page(hosted.url, self.PAGE))
        expired = [hosted.client.create_channel("ann", duration_minutes=1) for _ in range(2)]
        hosted.advance(120)
        page.page.evaluate("([first, fresh]) => { refreshing(first, fresh); }", expired)
        page.wait_for("onclose")
        assert page.events() == [
            {"name": "onerror", "code": 401, "description": "Token+timed+out."},
            {"name": "onclose"},
        ]
