"""The examples that are one file each: what their users see, in real browsers."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page

from .conftest import StartProgram, StartPushline
from .processes import Program, PushlineProcess, clean_environment, find_tokens, free_port
from .waiting import wait_for

pytestmark = pytest.mark.e2e

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
FORM: Final = "application/x-www-form-urlencoded"
IN_CHROMIUM: Final = pytest.mark.parametrize("browser", ["chromium"], indirect=True)

NewPage = Callable[..., Page]


class Example:
    """One of the examples beside a Pushline of its own."""

    def __init__(self, program: Program, port: int, server: PushlineProcess) -> None:
        self.program = program
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.server = server
        wait_for(lambda: self.ask("GET", "/") == 200, lambda: f"it serves. Its output: {program.output}")

    def ask(self, method: str, path: str, body: str = "", content_type: str = "application/json") -> int:
        """How it answers a request that no browser makes; 0: not at all."""
        return self.answer(method, path, body, content_type)[0]

    def answer(self, method: str, path: str, body: str = "", content_type: str = FORM) -> tuple[int, Mapping[str, str]]:
        """The same with the headers of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders())
        except OSError:
            assert self.program.running, self.program.output
            return 0, {}
        finally:
            connection.close()

    def shows(self, page: Page, selector: str, text: str) -> None:
        """Wait until an element has this text."""
        wait_for(
            lambda: page.inner_text(selector) == text,
            lambda: f"{text!r}, and not {page.inner_text(selector)!r}. The program said: {self.program.output}",
        )

    def has(self, page: Page, selector: str, text: str) -> None:
        """Wait until an element has this text in it."""
        wait_for(
            lambda: text in page.inner_text(selector),
            lambda: f"{text!r} in {page.inner_text(selector)!r}. The program said: {self.program.output}",
        )


StartExample = Callable[..., Example]


@pytest.fixture
def start_example(start_pushline: StartPushline, start_program: StartProgram) -> Iterator[StartExample]:
    """Starts an example. When the test is over it has told no secret, and its page loads nothing but its own."""
    started: list[Example] = []

    def start(name: str, *options: str, **environment: str) -> Example:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        server = start_pushline(*[option.format(address=address) for option in options])
        arguments = [sys.executable, str(EXAMPLES / name), str(port)]
        settings = {"PUSHLINE_URL": server.url, "PUSHLINE_API_KEY": server.api_key, **environment}
        if options:
            settings["PUSHLINE_WEBHOOK_SECRET"] = (server.data_dir / "webhook-secret").read_text()
        started.append(Example(start_program(arguments, clean_environment(**settings)), port, server))
        return started[-1]

    yield start
    for example in started:
        policy = {name.lower(): value for name, value in example.answer("GET", "/")[1].items()}[
            "content-security-policy"
        ]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        output = example.program.output
        assert "Traceback" not in output, output
        assert find_tokens(output) == []
        assert example.server.api_key not in output


@pytest.fixture
def chat(start_example: StartExample) -> Example:
    example = start_example("chat.py", "--presence-url", "{address}", "--grace", "0.5")
    example.server.expected_errors = "callback"  # the program may be gone before the last page
    return example


@IN_CHROMIUM
class TestChat:
    def enter(self, chat: Example, page: Page, name: str) -> None:
        page.goto(chat.url)
        page.fill("#name", name)
        page.press("#name", "Enter")
        page.wait_for_selector("[data-state=live]")

    def say(self, page: Page, text: str) -> None:
        page.fill("#text", text)
        page.press("#text", "Enter")

    def test_who_is_here_and_what_is_said_is_seen_by_all(
        self, chat: Example, new_page: NewPage, tmp_path: Path
    ) -> None:
        ann, bob = new_page(), new_page()
        ann.goto(chat.url)
        ann.wait_for_selector("#name:focus")
        ann.screenshot(path=tmp_path / "chat-enter.png")
        self.enter(chat, ann, "ann")
        chat.shows(ann, "#here", "ann")
        self.enter(chat, bob, "<b>bob</b>")
        for page in (ann, bob):
            chat.shows(page, "#here", "<b>bob</b>\nann")
        chat.has(ann, "#said", "<b>bob</b> is here")

        self.say(ann, "hello & wêlcome")
        self.say(bob, "<img src=x>")
        for page in (ann, bob):
            chat.has(page, "#said", "hello & wêlcome")
            chat.has(page, "#said", "<img src=x>")
        ann.screenshot(path=tmp_path / "chat.png")

        bob.close()
        chat.has(ann, "#said", "<b>bob</b> has left")
        chat.shows(ann, "#here", "ann")

    def test_a_page_that_is_loaded_anew_shows_each_line_once(self, chat: Example, new_page: NewPage) -> None:
        ann, bob = new_page(), new_page()
        self.enter(chat, ann, "ann")
        self.enter(chat, bob, "bob")
        chat.has(ann, "#said", "bob is here")
        for number in range(5):
            self.say(bob, f"line {number}")
            if number == 2:
                ann.reload()
        ann.wait_for_selector("[data-state=live]")
        self.say(ann, "I am back")
        for page in (ann, bob):
            chat.has(page, "#said", "I am back")
        said = ann.locator("#said li:not(.event)").all_inner_texts()
        assert said == [*(f"bob: line {number}" for number in range(5)), "ann: I am back"]
        assert "left" not in bob.inner_text("#said")  # a reload is no leaving

    def test_it_outlives_pushline(self, chat: Example, new_page: NewPage) -> None:
        ann, bob = new_page(), new_page()
        self.enter(chat, ann, "ann")
        self.enter(chat, bob, "bob")
        chat.server.kill9()
        self.say(ann, "is somebody there?")
        chat.shows(ann, "#problem", "Nobody could be reached just now. Please try again.")
        assert ann.input_value("#text") == "is somebody there?"
        chat.server.restart()
        ann.press("#text", "Enter")
        chat.has(bob, "#said", "is somebody there?")


def test_who_is_not_in_the_chat_is_refused(chat: Example) -> None:
    assert chat.ask("POST", "/join", "{}") == 401
    assert chat.ask("POST", "/say", '{"text": "hello"}') == 401
    assert chat.ask("POST", "/say", "x" * 20_000) == 413
    forged = "from=chat%2Fx%2Fbob&event=connected&sequence=1&time=1"
    assert chat.ask("POST", "/_ah/channel/connected/", forged, FORM) == 401
