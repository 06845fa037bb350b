"""Pushline in real programs of five frameworks, under real ASGI servers (contract, R5)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page as BrowserPage

import pushline

from .processes import Program, clean_environment, find_tokens, free_port
from .waiting import wait_for
from .wire import Frame, LongPollPage, Page, SsePage, WebSocketPage

pytestmark = pytest.mark.e2e

PROGRAMS: Final = Path(__file__).resolve().parents[2] / "examples" / "mounted"
FRAMEWORKS: Final = ("fastapi", "starlette", "litestar", "django", "quart")
TRANSPORTS: Final[tuple[type[Page], ...]] = (WebSocketPage, SsePage, LongPollPage)
HYPERCORN: Final = ("hypercorn", "quart")


class Mounted(Program):
    """An example under its server, on a port and a data dir of its own."""

    def __init__(self, server: str, framework: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = folder / "data"
        program = Path(sys.executable).with_name(server)
        where = ["--bind", f"127.0.0.1:{self.port}"] if server == "hypercorn" else ["--port", str(self.port)]
        environment = clean_environment(PUSHLINE_DATA_DIR=str(self.data_dir), PYTHONPATH=os.fspath(PROGRAMS))
        super().__init__([str(program), f"{framework}_app:app", *where], folder / "output.txt", environment)

    def start(self) -> None:
        """Start it, and wait until it serves."""
        super().start()
        wait_for(lambda: self.status("GET", "/_ah/pushline/ready") == 200, lambda: self.output)
        key = (self.data_dir / "api-key").read_text().strip()
        self.client = pushline.Client(f"{self.url}/_ah/pushline", key)

    def status(self, method: str, path: str) -> int:
        """How it answers, on a new connection; 0: not at all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        except OSError:
            assert self.running, self.output
            return 0
        finally:
            connection.close()

    def hello(self) -> str:
        """Have the program send its message; what became of it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/hello")
            status: str = json.loads(connection.getresponse().read())["status"]
            return status
        finally:
            connection.close()


@pytest.fixture(params=[("uvicorn", framework) for framework in FRAMEWORKS] + [HYPERCORN], ids="-".join)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mounted]:
    """Each of the programs."""
    server, framework = request.param
    with_pages = Mounted(server, framework, tmp_path)
    with_pages.start()
    yield with_pages
    with_pages.client.close()
    if with_pages.running:
        code = with_pages.end(signal.SIGTERM)
        assert code in (0, -signal.SIGTERM), with_pages.output  # uvicorn ends by the signal that ended it
    assert find_tokens(with_pages.output) == []
    assert "Traceback" not in with_pages.output or request.param == HYPERCORN, with_pages.output


def test_a_page_gets_what_the_program_sends_on_every_transport(program: Mounted) -> None:
    for n, kind in enumerate(TRANSPORTS):
        client_id = f"ann {n}/ü"
        token = program.client.create_channel(client_id)
        assert program.client.send_message(client_id, "before").status == "queued"
        page = kind(program.port, token)
        try:
            page.enter()
            page.wait_for(["before"])
            assert program.client.send_message(client_id, "live ü").status == "sent"
            page.wait_for(["before", "live ü"])
            page.ack()
            page.drop()
            assert program.client.send_message(client_id, "meanwhile").status in ("sent", "queued")
            page.enter()
            page.wait_for(["before", "live ü", "meanwhile"])
            assert page.gaps == 0
        finally:
            page.drop()


def test_a_page_in_a_browser_gets_what_the_programs_own_code_sends(
    program: Mounted, new_page: Callable[..., BrowserPage]
) -> None:
    page = new_page()
    page.goto(program.url)
    wait_for(lambda: program.client.get_client("ann").connected, "the page is connected")
    assert [each.transport for each in program.client.get_client("ann").connections] == ["websocket"]
    page.click("#ask")
    page.wait_for_selector("li")
    assert program.hello() == "sent"
    page.wait_for_selector("li:nth-child(2)")
    first, second = page.locator("li").all_inner_texts()
    assert first == second
    assert first.startswith("hello from ")


def test_only_pushline_calls_the_presence_handlers(program: Mounted) -> None:
    for path in ("/_ah/channel/connected/", "/_ah/channel/disconnected/", "/%5Fah/channel/connected/"):
        assert program.status("POST", path) == 404
    assert program.status("GET", "/v1/channels") == 404


class TestTheEnd:
    """Pages are asked to come back, and nothing is lost over a restart (G1, G11)."""

    @pytest.mark.parametrize("program", [("uvicorn", "starlette")], indirect=True, ids="-".join)
    def test_pages_are_told_when_to_come_back_before_the_server_ends(self, program: Mounted) -> None:
        pages: list[Page] = []
        for kind in TRANSPORTS:
            token = program.client.create_channel(kind.transport)
            page = kind(program.port, token)
            page.enter()
            pages.append(page)
        program.send_signal(signal.SIGTERM)
        ends = [page.wait_for_end() for page in pages]
        assert {end.code for end in ends} <= {1001, 4503}
        assert all(end.retry is not None for end in ends)
        for page in pages:
            page.drop()
        before = time.monotonic()
        assert program.wait() == -signal.SIGTERM
        assert time.monotonic() - before < 10
        assert "Traceback" not in program.output

    def test_what_was_accepted_survives_a_restart(self, program: Mounted) -> None:
        token = program.client.create_channel("bob")
        page = WebSocketPage(program.port, token)
        page.enter()
        program.client.send_message("bob", "0")
        page.wait_for(["0"])
        page.ack()
        page.drop()
        program.client.send_message("bob", "1")
        program.end(signal.SIGKILL)
        program.start()
        opened = page.enter()
        assert isinstance(opened, Frame)
        page.wait_for(["0", "1"])
        assert page.gaps == 0
        page.drop()
