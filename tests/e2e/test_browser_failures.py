"""What users of such servers complain about, in both browsers: places that are fought for, sleep, scripts that hang,
networks that are bad or somebody else's (contract, G1 to G7, J3 to J6, W4 and W8).

A reload among messages, a network that falls silent and a server that crashes are in `test_crashes`, a page that is
left, one that comes out of the back/forward cache, and tokens that end, in `test_transports`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Playwright

from pushline.client.requests import Item

from .conftest import OpenPage, StartPushline
from .hosted import HostedServer
from .pages import Event, ListeningPage, PageServer, script_page
from .processes import PushlineProcess
from .proxy import Proxy
from .waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.e2e

TRANSPORTS: Final = ("websocket", "sse", "longpoll")
REPLACED: Final[list[Event]] = [{"name": "onerror", "code": 409, "description": "Replaced."}, {"name": "onclose"}]
INTERVAL_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 1.0
IMPATIENT: Final = ("--ping-interval", f"{INTERVAL_SECONDS}", "--ping-timeout", f"{TIMEOUT_SECONDS}", "--grace", "1")


def connects(pushline: PushlineProcess, outcome: str) -> int:
    """How many connections have begun with an outcome, as the server counts."""
    request = urllib.request.Request(  # noqa: S310 - of 127.0.0.1
        f"{pushline.url}/metrics", headers={"Authorization": f"Bearer {pushline.api_key}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        (count,) = re.findall(rf'^pushline_connects_total{{outcome="{outcome}"}} (\S+)$', answer.read().decode(), re.M)
    return int(float(count))


def transports(pushline: PushlineProcess, client_id: str) -> list[str]:
    """The transports of the pages of a client id."""
    return [connection.transport for connection in pushline.client.get_client(client_id).connections]


def check_alive(pushline: PushlineProcess, client_id: str, text: str) -> None:
    """Send a message, and raise when no page handles it."""
    assert pushline.client.send_message(client_id, text, wait=20).status == "delivered"


@pytest.fixture
def impatient(start_pushline: StartPushline) -> PushlineProcess:
    """A server that soon gives up pages that do not answer."""
    return start_pushline(*IMPATIENT)


@pytest.fixture
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A Chromium of the test's own, which keeps pages in its back/forward cache, and may be harmed."""
    running = playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox", "--disable-gpu"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield running
    running.close()


class TestOnePlace:
    FIGHTING: Final = """
      function fight(token) {
        const socket = listenTo(token);
        const tell = socket.onclose;
        socket.onclose = (event) => { tell(event); fight(token); };
      }
    """

    def test_of_two_tabs_that_race_and_reopen_whatever_happens_one_stays_and_it_is_quiet(
        self, browser: Browser, page_server: PageServer, pushline: PushlineProcess
    ) -> None:
        client = pushline.client
        token = client.create_channel("ann")
        address = page_server.add(lambda: script_page(pushline.url, self.FIGHTING))
        with ExitStack() as closing:
            context = browser.new_context()
            closing.callback(context.close)
            tabs = []
            for _ in range(2):
                tab = context.new_page()
                tab.clock.install()
                tab.goto(address)
                tabs.append(ListeningPage(tab))
            start = 1000 * (time.time() + 0.5)
            for page in tabs:
                page.page.evaluate(
                    "([token, start]) => { setTimeout(() => fight(token), start - Date.now()); }", [token, start]
                )
            wait_for(lambda: any("onclose" in page.names() for page in tabs), "one of them loses")
            (loser,) = (page for page in tabs if "onclose" in page.names())
            (winner,) = (page for page in tabs if page is not loser)
            loser.page.clock.fast_forward("10:00")  # and so it is for ever, while its user is elsewhere
            check_alive(pushline, "ann", "for the winner")
            check_alive(pushline, "ann", "still for the winner")
            assert loser.events() == [{"name": "onopen"}, *REPLACED]
            assert winner.names() == ["onopen", "onmessage", "onmessage"]
            assert (connects(pushline, "opened"), connects(pushline, "refused")) == (2, 0)
            loser.page.evaluate("dispatchEvent(new Event('focus'))")  # the user is back
            winner.wait_for("onclose")
            winner.page.clock.fast_forward("10:00")
            check_alive(pushline, "ann", "for the one that is looked at")
            assert winner.events()[-2:] == REPLACED
            assert loser.messages() == ["for the one that is looked at"]
            assert (connects(pushline, "opened"), connects(pushline, "refused")) == (3, 0)

    @pytest.mark.parametrize("lost", [False, True], ids=["its connection is still there", "its connection is lost"])
    def test_a_tab_that_wakes_after_another_has_taken_over_is_told_so_and_does_not_come_back(
        self, open_page: OpenPage, pushline: PushlineProcess, proxy: Proxy, lost: bool
    ) -> None:
        client = pushline.client
        frozen = open_page(script_page(proxy.url))
        frozen.listen(client.create_channel("ann"))
        check_alive(pushline, "ann", "for the old one")
        proxy.hold()
        newer = open_page(script_page(pushline.url))
        newer.listen(client.create_channel("ann"))
        newer.wait_for("onopen")
        check_alive(pushline, "ann", "for the new one")
        if lost:
            proxy.cut()
            frozen.wait_for("onreconnecting")
        proxy.mend()
        frozen.wait_for("onclose")
        began = connects(pushline, "opened"), connects(pushline, "refused")
        check_alive(pushline, "ann", "still for the new one")
        assert frozen.events()[-2:] == REPLACED
        assert frozen.messages() == ["for the old one"]
        assert frozen.names().count("onopen") + frozen.names().count("onreconnect") == 1
        assert newer.names() == ["onopen", "onmessage", "onmessage"]
        assert (connects(pushline, "opened"), connects(pushline, "refused")) == began

    def test_a_page_out_of_the_back_forward_cache_that_was_replaced_meanwhile_is_told_so(
        self, chromium: Browser, pushline: PushlineProcess
    ) -> None:
        client = pushline.client
        with PageServer(may_be_kept=True) as pages:
            address = pages.add(lambda: script_page(pushline.url))
            kept, newer = (ListeningPage(chromium.new_page()) for _ in range(2))
            kept.page.goto(address)
            kept.listen(client.create_channel("ann"))
            check_alive(pushline, "ann", "for the old one")
            kept.page.goto(pages.add(lambda: "<!doctype html><title>Another</title>"))
            wait_for(lambda: not client.get_client("ann").connected, "it is gone")
            newer.page.goto(address)
            newer.listen(client.create_channel("ann"))
            check_alive(pushline, "ann", "for the new one")
            kept.page.evaluate("setTimeout(() => history.back(), 50)")
            wait_for(lambda: kept.page.title() == "A page", "the page is back")
            kept.wait_for("onclose")
            assert kept.names() == ["onopen", "onmessage", "onreconnecting", "onerror", "onclose"]
            assert kept.events()[-2:] == REPLACED
            check_alive(pushline, "ann", "still for the new one")
            assert newer.names() == ["onopen", "onmessage", "onmessage"]


class TestSleep:
    PAGE: Final = """
      const offered = [];
      window.WebSocket = class extends WebSocket {
        constructor(address, protocols) {
          super(address, protocols);
          offered.push(protocols[1].replace("pushline.token.", ""));
        }
      };
      let fresh, asked = 0;
      const refreshing = (token) => listen(new goog.appengine.Channel(token, {
        refreshToken: async () => { asked += 1; return fresh; },
      }));
    """

    @pytest.mark.parametrize("seen", [True, False], ids=["the network went before", "the network went meanwhile"])
    def test_a_computer_that_sleeps_past_the_end_of_a_token_comes_back_with_a_fresh_one(
        self,
        new_page: Callable[..., Page],
        page_server: PageServer,
        hosted: HostedServer,
        seen: bool,
    ) -> None:
        client = hosted.client
        with Proxy(int(hosted.url.rpartition(":")[2])) as proxy:
            page = ListeningPage(new_page())
            page.page.clock.install()
            page.page.goto(page_server.add(lambda: script_page(proxy.url, self.PAGE)))
            first = client.create_channel("ann", duration_minutes=2)
            client.create_channel("ann")  # of another page, so that messages are kept
            page.page.evaluate("(token) => { refreshing(token); }", first)
            page.wait_for("onopen")
            client.send_message("ann", "before")
            page.wait_for_messages(["before"])
            page.page.clock.pause_at(page.page.evaluate("Date.now()") / 1000 + 1)
            if seen:
                proxy.cut()
                page.wait_for("onreconnecting")
            else:
                proxy.hold()
            client.send_message("ann", "meanwhile")
            hosted.advance(1800)
            fresh = client.create_channel("ann")
            page.page.evaluate("(token) => { fresh = token; }", fresh)
            if seen:
                proxy.mend()
            page.page.clock.fast_forward(1800_000)
            page.page.clock.resume()
            if not seen:  # the page believes in its connection, and hands the fresh token to nobody
                wait_for(lambda: page.page.evaluate("asked") == 1, "it is asked")
                proxy.cut()
                page.wait_for("onreconnecting")
                proxy.mend()
            page.wait_for_messages(["before", "meanwhile"])
            assert client.send_message("ann", "after").status == "sent"
            page.wait_for_messages(["before", "meanwhile", "after"])
            assert page.names() == ["onopen", "onmessage", "onreconnecting", "onreconnect", "onmessage", "onmessage"]
            assert page.page.evaluate("offered") == [first, fresh]
            assert page.page.evaluate("asked") == 1


class TestBlockedScripts:
    BLOCKED_SECONDS: Final = 2 * (INTERVAL_SECONDS + TIMEOUT_SECONDS)
    BLOCK: Final = """([address, seconds]) => {
      setTimeout(() => {
        const request = new XMLHttpRequest();
        request.open("GET", address, false);
        request.send();
        const end = Date.now() + 1000 * seconds;
        while (Date.now() < end);
      }, 0);
    }"""

    def test_one_that_goes_on_later_has_kept_its_connection_and_gets_everything(
        self, open_page: OpenPage, page_server: PageServer, impatient: PushlineProcess
    ) -> None:
        page = open_page(script_page(impatient.url))
        page.listen(impatient.client.create_channel("ann"))
        self._block(page, page_server, impatient, self.BLOCKED_SECONDS + 2)
        self._check_kept(impatient)
        page.wait_for_messages(["handled", "one", "two"])
        check_alive(impatient, "ann", "three")
        assert page.names() == ["onopen", *["onmessage"] * 4]
        assert impatient.client.get_client("ann").queued == 0

    def test_what_one_that_is_killed_had_not_handled_is_there_for_the_next_page(
        self, chromium: Browser, page_server: PageServer, impatient: PushlineProcess
    ) -> None:
        client = impatient.client
        token = client.create_channel("ann")
        address = page_server.add(lambda: script_page(impatient.url))
        page = ListeningPage(chromium.new_page())
        page.page.goto(address)
        page.listen(token)
        self._block(page, page_server, impatient, 3600)
        self._check_kept(impatient)
        for process in chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]:
            if process["type"] == "renderer":
                os.kill(process["id"], signal.SIGKILL)
        wait_for(lambda: not client.get_client("ann").connected, "the server notices")
        assert client.get_client("ann").queued == 2
        fresh = ListeningPage(chromium.new_page())
        fresh.page.goto(address)
        fresh.listen(token)
        fresh.wait_for_messages(["one", "two"])
        check_alive(impatient, "ann", "three")
        assert fresh.names() == ["onopen", *["onmessage"] * 3]

    def _block(self, page: ListeningPage, page_server: PageServer, pushline: PushlineProcess, seconds: float) -> None:
        """Let its script hang, and send to it then."""
        check_alive(pushline, "ann", "handled")
        begun = threading.Event()

        def begin() -> str:
            begun.set()
            return ""

        page.page.evaluate(self.BLOCK, [page_server.add(begin), seconds])
        assert begun.wait(PATIENCE_SECONDS)
        for text in ("one", "two"):
            assert pushline.client.send_message("ann", text).status == "sent"

    def _check_kept(self, pushline: PushlineProcess) -> None:
        """The page keeps its connection for longer than one that is gone does, and acknowledges nothing."""
        (before,) = pushline.client.get_client("ann").connections
        end = time.monotonic() + self.BLOCKED_SECONDS
        while time.monotonic() < end:
            state = pushline.client.get_client("ann")
            assert (state.connections, state.queued) == ([before], 2)
            time.sleep(0.1)


class TestNetworks:
    SLOW_BYTES_PER_SECOND: Final = 100 << 10
    TIMEOUT_SECONDS: Final = 2.0
    BACKLOG: Final = [f"{number} ".ljust(1000, "x") for number in range(500)]
    PAGE: Final = """
      const listenBy = (transport, token) =>
        listen(new goog.appengine.Channel(token, { transports: [transport] }), transport);
    """

    def test_a_backlog_comes_over_a_slow_link_in_order_and_the_connection_is_not_given_up(
        self, open_page: OpenPage, start_pushline: StartPushline
    ) -> None:
        pushline = start_pushline("--ping-interval", "1", "--ping-timeout", f"{self.TIMEOUT_SECONDS}")
        with Proxy(pushline.port, bytes_per_second=self.SLOW_BYTES_PER_SECOND) as proxy:
            page = open_page(script_page(proxy.url, self.PAGE))
            for transport in TRANSPORTS:
                token = pushline.client.create_channel(transport)
                items: list[Item] = [{"to": transport, "data": text} for text in self.BACKLOG]
                assert {result.status for result in pushline.client.send_many(items)} == {"queued"}
                page.page.evaluate("([transport, token]) => { listenBy(transport, token); }", [transport, token])
            began = time.monotonic()
            for transport in TRANSPORTS:
                page.wait_for_messages(self.BACKLOG, transport)
            # Else this has tested nothing.
            assert time.monotonic() - began > INTERVAL_SECONDS + self.TIMEOUT_SECONDS
            for transport in TRANSPORTS:
                check_alive(pushline, transport, "live")
                assert transports(pushline, transport) == [transport]
                assert page.names(transport) == ["onopen", *["onmessage"] * (len(self.BACKLOG) + 1)]

    def test_being_offline_for_a_moment_does_not_end_a_socket_and_it_is_back_soon_after(
        self, open_page: OpenPage, pushline: PushlineProcess, proxy: Proxy
    ) -> None:
        page = open_page(script_page(proxy.url))
        page.listen(pushline.client.create_channel("ann"))
        check_alive(pushline, "ann", "before")
        page.page.context.set_offline(True)
        wait_for(lambda: not page.page.evaluate("navigator.onLine"), "the page is offline")
        proxy.cut()
        page.wait_for("onreconnecting")
        (reconnecting,) = (event for event in page.events() if event["name"] == "onreconnecting")
        assert reconnecting["delay"] > 20_000  # for there is no network
        assert pushline.client.send_message("ann", "meanwhile").status == "queued"
        proxy.mend()
        began = time.monotonic()
        page.page.context.set_offline(False)
        page.wait_for_messages(["before", "meanwhile"])
        assert time.monotonic() - began < 10
        check_alive(pushline, "ann", "after")
        assert page.names() == ["onopen", "onmessage", "onreconnecting", "onreconnect", "onmessage", "onmessage"]
        assert transports(pushline, "ann") == ["websocket"]


class Portal(Proxy):
    """A network that answers in the server's place, in its own way, and lets scripts of any origin read it."""

    ANSWERS: Final = {
        "a page": b"200 OK\r\nContent-Type: text/html\r\n\r\n<!doctype html><title>Welcome</title><p>Sign in",
        "a redirect": b"302 Found\r\nLocation: /sign-in\r\n\r\n",
        "JSON": b'200 OK\r\nContent-Type: application/json\r\n\r\n{"error":"sign in","messages":null}',
        "a refusal": b'401 Unauthorized\r\nContent-Type: application/problem+json\r\n\r\n{"title":"Sign in"}',
        "an empty stream": b"200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    }
    CORS: Final = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: Authorization, Content-Type\r\n"

    def __init__(self, port: int, answer: str) -> None:
        super().__init__(port)
        self._page = self.ANSWERS[answer]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            preflight = (await reader.readuntil(b"\r\n\r\n")).startswith(b"OPTIONS")
            status, _, rest = (b"204 No Content\r\n\r\n" if preflight else self._page).partition(b"\r\n")
            writer.write(b"HTTP/1.1 %b\r\nConnection: close\r\n%b%b" % (status, self.CORS, rest))
            await writer.drain()
            self.signed_in += not preflight
        writer.close()


class TestPortal:
    """Something else answers in the server's place: a login page, a proxy's error."""

    PAGE: Final = """
      const listenAt = (url, token, label) => listen(new goog.appengine.Channel(token, { url }), label);
    """

    def test_pages_keep_trying_and_come_back_when_it_is_gone(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        client = shared_pushline.client
        page = open_page(script_page(shared_pushline.url, self.PAGE))
        with ExitStack() as stack:
            portals = {answer: stack.enter_context(Portal(shared_pushline.port, answer)) for answer in Portal.ANSWERS}
            for answer, portal in portals.items():
                token = client.create_channel(f"{client_id} {answer}")
                page.page.evaluate("(told) => { listenAt(...told); }", [portal.url, token, answer])
                check_alive(shared_pushline, f"{client_id} {answer}", "before")
            for portal in portals.values():
                portal.portal()
            for answer, portal in portals.items():
                client.send_message(f"{client_id} {answer}", "meanwhile")
                wait_for(lambda portal=portal: self._tried(portal), lambda answer=answer: page.events(answer))  # type: ignore[misc]
                portal.mend()
            for answer in portals:
                page.wait_for_messages(["before", "meanwhile"], answer)
                check_alive(shared_pushline, f"{client_id} {answer}", "after")
                assert set(page.names(answer)) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}, answer
                assert transports(shared_pushline, f"{client_id} {answer}") == ["websocket"], answer

    def _tried(self, portal: Portal) -> bool:
        """Whether the page has tried all ways twice, and is not in the middle of them: it keeps one that opens then."""
        return portal.signed_in >= 2 * len(TRANSPORTS) and portal.signed_in % len(TRANSPORTS) == 0


class TestTooManyAtOnce:
    TABS: Final = 2
    SOCKETS: Final = [f"socket {number}" for number in range(5)]

    def test_no_page_that_has_to_wait_takes_that_for_a_network_without_websockets(
        self, open_page: OpenPage, start_pushline: StartPushline
    ) -> None:
        pushline = start_pushline("--connect-rate", "1")
        tabs = [open_page(script_page(pushline.url)) for _ in range(self.TABS)]
        for number, page in enumerate(tabs):
            tokens = {socket: pushline.client.create_channel(f"{socket} of {number}") for socket in self.SOCKETS}
            page.page.evaluate("(tokens) => { for (const name in tokens) listenTo(tokens[name], name); }", tokens)
        for number, page in enumerate(tabs):
            for socket in self.SOCKETS:
                page.wait_for("onopen", socket)
                check_alive(pushline, f"{socket} of {number}", "hello")
                assert transports(pushline, f"{socket} of {number}") == ["websocket"]
                assert set(page.names(socket)) <= {"onopen", "onmessage", "onreconnecting"}
        assert connects(pushline, "refused") > 0
