"""Pages behind a real nginx, as it comes and as the documents set it up, in both browsers (contract, J3, J4 and W5)."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page

from .conftest import OpenPage, StartPushline
from .nginx import Nginx
from .pages import ListeningPage, script_page
from .processes import PushlineProcess
from .test_crashes import Sender, numbers
from .waiting import wait_for

pytestmark = pytest.mark.e2e

DOCUMENT: Final = Path(__file__).parents[2] / "docs/how-to/run-behind-nginx.md"
AS_IT_COMES: Final = "location / {{ proxy_pass {server}; }}"
BUFFERING: Final = "location / {{ proxy_pass {server}; proxy_ignore_headers X-Accel-Buffering; }}"

StartNginx = Callable[..., Nginx]


def documented(server: str) -> tuple[str, str]:
    """What the document puts into the http block and into the server block, with the address of a server."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    block, places = re.subn(r"http://127\.0\.0\.1:8080", server, block)
    assert places == 1, block
    found = re.fullmatch(r"# in the http block\n(.*)# in the server block\n(.*)", block, re.DOTALL)
    assert found is not None, block
    return found[1], found[2]


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[StartNginx]:
    """Starts nginx before a server, in the way that a configuration names; ``documented`` is the document's."""
    with ExitStack() as programs:

        def start(pushline: PushlineProcess, configuration: str, besides: str = "") -> Nginx:
            http, server = "", configuration.format(server=pushline.url)
            if configuration == "documented":
                http, server = documented(pushline.url)
            (tmp_path / "nginx").mkdir()
            nginx = Nginx(tmp_path / "nginx", server + besides, http)
            programs.callback(nginx.close)
            nginx.start()
            return nginx

        yield start


def transport_of(pushline: PushlineProcess, client_id: str) -> str:
    """The transport of the one page of a client id."""
    (connection,) = pushline.client.get_client(client_id).connections
    return connection.transport


class TestTransports:
    """Which way pages find, and that it is good in both directions."""

    @pytest.mark.parametrize(
        ("configuration", "transport"),
        [(AS_IT_COMES, "sse"), (BUFFERING, "longpoll"), ("documented", "websocket")],
        ids=["as it comes", "streams held back", "as documented"],
    )
    def test_messages_arrive_at_once_and_are_acknowledged(
        self,
        open_page: OpenPage,
        shared_pushline: PushlineProcess,
        start_nginx: StartNginx,
        client_id: str,
        configuration: str,
        transport: str,
    ) -> None:
        client = shared_pushline.client
        nginx = start_nginx(shared_pushline, configuration)
        page = open_page(script_page(nginx.url))
        token = client.create_channel(client_id)
        assert client.send_message(client_id, "before").status == "queued"
        page.listen(token)
        page.wait_for_messages(["before"])
        texts = ["before"]
        for text in ["a\r\nb\x00c", "grüße 🎲", "x" * 32_767]:
            # Each is handled while nothing else is on its way: a buffer would hold it back for ever.
            sent = client.send_message(client_id, text, wait=10)
            assert sent.status == "delivered"
            texts.append(text)
            page.wait_for_messages(texts)
            state = client.get_client(client_id)
            assert (state.acknowledged, state.queued) == (sent.id, 0)
        assert transport_of(shared_pushline, client_id) == transport
        assert page.names() == ["onopen", *["onmessage"] * len(texts)]

    def test_behind_the_documented_one_a_page_beside_the_application_is_of_the_servers_own_origin(
        self, new_page: Callable[..., Page], start_pushline: StartPushline, start_nginx: StartNginx, tmp_path: Path
    ) -> None:
        pushline = start_pushline("--allowed-origin", "https://elsewhere.example")
        (tmp_path / "page.html").write_text(script_page(""), encoding="utf-8")
        nginx = start_nginx(pushline, "documented", f"location / {{ root {tmp_path}; }}")
        page = ListeningPage(new_page())
        page.page.goto(f"{nginx.url}/page.html")
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        assert pushline.client.send_message("ann", "hello", wait=10).status == "delivered"
        page.wait_for_messages(["hello"])
        assert transport_of(pushline, "ann") == "websocket"


class TestInterruptions:
    @pytest.mark.parametrize("configuration", [AS_IT_COMES, "documented"], ids=["sse", "websocket"])
    def test_nothing_is_lost_or_doubled_when_nginx_is_reloaded_and_restarted(
        self,
        open_page: OpenPage,
        shared_pushline: PushlineProcess,
        start_nginx: StartNginx,
        client_id: str,
        configuration: str,
    ) -> None:
        nginx = start_nginx(shared_pushline, configuration)
        page = open_page(script_page(nginx.url))
        page.listen(shared_pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        transport = transport_of(shared_pushline, client_id)
        sender = Sender(shared_pushline, client_id)
        with sender.sending():
            page.wait_for("onmessage", times=10)
            before = nginx.workers()
            nginx.send_signal(signal.SIGHUP)
            wait_for(lambda: not nginx.workers() & before, "another worker serves, and the old one has ended")
            page.wait_for("onreconnect")
            self._wait_for_more(page)
            assert transport_of(shared_pushline, client_id) == transport
            assert nginx.end(signal.SIGTERM) == 0
            page.wait_for("onreconnecting", times=2)
            nginx.start()
            page.wait_for("onreconnect", times=2)
            self._wait_for_more(page)
        page.wait_for_messages(numbers(1, sender.last))
        assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}
        assert sender.statuses <= {"sent", "queued"}

    @pytest.mark.parametrize(
        ("configuration", "end"),
        [(AS_IT_COMES, PushlineProcess.kill9), ("documented", PushlineProcess.terminate)],
        ids=["sse, killed", "websocket, terminated"],
    )
    def test_while_it_answers_502_the_page_keeps_trying_and_comes_back_by_itself(
        self,
        open_page: OpenPage,
        start_pushline: StartPushline,
        start_nginx: StartNginx,
        configuration: str,
        end: Callable[[PushlineProcess], object],
    ) -> None:
        pushline = start_pushline("--drain-seconds", "0.5")
        nginx = start_nginx(pushline, configuration)
        page = open_page(script_page(nginx.url))
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        pushline.client.send_message("ann", "before")
        page.wait_for_messages(["before"])
        end(pushline)
        wait_for(lambda: nginx.answers(502) >= 4, "it has tried every way, and again")
        pushline.restart()
        assert pushline.client.send_message("ann", "after").status in ("sent", "queued")
        page.wait_for_messages(["before", "after"])
        assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}

    def _wait_for_more(self, page: ListeningPage) -> None:
        page.wait_for("onmessage", times=len(page.messages()) + 10)
