"""Old programs against a real server (contract, Y2 and A6)."""

from __future__ import annotations

import http.client
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

import pushline.channel
from pushline.appengine import channel
from pushline.appengine.channel import Error

from .conftest import StartProgram, StartPushline
from .processes import Program, PushlineProcess, clean_environment, free_port
from .waiting import wait_for

pytestmark = pytest.mark.e2e

CHAT: Final = Path(__file__).parents[2] / "examples/migrated/chat.py"

NewPage = Callable[..., Page]


@pytest.fixture
def pointed(shared_pushline: PushlineProcess, monkeypatch: pytest.MonkeyPatch) -> PushlineProcess:
    """The environment names a server, as an old program's does."""
    monkeypatch.setenv("PUSHLINE_URL", shared_pushline.url)
    monkeypatch.setenv("PUSHLINE_API_KEY", shared_pushline.api_key)
    pushline.channel._client.cache_clear()
    return shared_pushline


def listens_on(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/nothing")
        return connection.getresponse().status == 404
    except OSError:
        return False
    finally:
        connection.close()


class TestTheMigratedChat:
    """examples/migrated/chat.py: an old program, its page, its presence handlers."""

    def test_is_a_chat(self, start_pushline: StartPushline, start_program: StartProgram, new_page: NewPage) -> None:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        server = start_pushline("--presence-url", address)
        program = start_program(
            [sys.executable, str(CHAT), str(port)],
            clean_environment(
                PUSHLINE_URL=server.url,
                PUSHLINE_API_KEY=server.api_key,
                PUSHLINE_WEBHOOK_SECRET=(server.data_dir / "webhook-secret").read_text(),
            ),
        )
        wait_for(lambda: listens_on(port), lambda: f"the chat serves. Its output: {program.output}")

        ann, bob = new_page(), new_page()
        ann.goto(f"{address}/?name=ann")
        self.shows(ann, "#here", "ann", program)
        bob.goto(f"{address}/?name=<b>bob</b>")
        for page in (ann, bob):
            self.shows(page, "#here", "<b>bob</b>, ann", program)

        ann.fill("#text", "hello & wêlcome")
        ann.press("#text", "Enter")
        for page in (ann, bob):
            self.shows(page, "#said", "ann: hello & wêlcome", program)

        bob.close()
        self.shows(ann, "#here", "ann", program)
        assert self.post(port, "/_ah/channel/connected/", {"from": "x", "event": "connected"}) == 403
        assert self.post(port, "/say", {"client": "x", "text": "hello"}) == 403
        program.end(signal.SIGINT)
        assert "Traceback" not in program.output

    def shows(self, page: Page, selector: str, text: str, program: Program) -> None:
        wait_for(
            lambda: page.inner_text(selector) == text,
            lambda: f"{text!r}, and not {page.inner_text(selector)!r}. The program said: {program.output}",
        )

    def post(self, port: int, path: str, form: dict[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
            return connection.getresponse().status
        finally:
            connection.close()


class TestTheOldApi:
    def test_sends_to_client_ids_and_to_tokens(self, pointed: PushlineProcess, client_id: str) -> None:
        token = channel.create_channel(client_id, duration_minutes=120.0)
        channel.send_message(client_id, "to the client id")
        channel.send_message(token, b"to the token")
        channel.send_message("nobody/" + client_id, "to nobody")
        assert pointed.client.get_client(client_id).queued == 2

    def test_takes_tokens_that_are_longer_than_any_client_id(self, pointed: PushlineProcess) -> None:
        client_id = "ü" * 128
        token = channel.create_channel(client_id)
        assert len(token) > channel.MAXIMUM_CLIENT_ID_LENGTH
        before = pointed.client.get_client(client_id).queued
        channel.send_message(token, "hello")
        assert pointed.client.get_client(client_id).queued == before + 1

    def test_says_when_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PUSHLINE_URL", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("PUSHLINE_API_KEY", "a-key-of-the-tests-only")
        pushline.channel._client.cache_clear()
        with pytest.raises(Error, match="could not be reached: Connection refused"):
            channel.send_message("ann", "hello")


class DevClient:
    """A program that speaks the wire of the old development server, over HTTP as it comes."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token
        self.number = ""
        self.number = self.ask("connect")

    def ask(self, command: str) -> str:
        query = urlencode({"command": command, "channel": self.token, "client": self.number})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/_ah/channel/dev?{query}")
            answer = connection.getresponse()
            assert answer.status == 200, answer.reason
            return answer.read().decode()
        finally:
            connection.close()

    def wait_for_message(self) -> str:
        """Poll until one is there."""
        return wait_for(lambda: self.ask("poll"), "a message came")


class TestTheDevWire:
    def test_outlives_the_server(self, start_pushline: StartPushline) -> None:
        server = start_pushline("--legacy-dev-wire")
        token = server.client.create_channel("ann", policy="share")
        program = DevClient(server.port, token)
        server.client.send_message("ann", "one")
        assert program.wait_for_message() == "one"
        assert program.ask("poll") == ""  # it has it
        server.client.send_message("ann", "two")
        server.kill9()
        server.restart()
        assert program.wait_for_message() == "two"
        program.ask("disconnect")
        assert not server.client.get_client("ann").connected
