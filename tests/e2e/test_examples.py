"""The examples that are one file each: what their users see, in real browsers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page

from .conftest import StartProgram, StartPushline
from .processes import Program, PushlineProcess, clean_environment, find_tokens, free_port
from .waiting import wait_for

pytestmark = pytest.mark.e2e

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
JSON: Final = "application/json"
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

    def ask(self, method: str, path: str, body: str = "", content_type: str = JSON, **headers: str) -> int:
        """How it answers a request that no browser makes; 0: not at all."""
        try:
            with self._answer(method, path, body, {"Content-Type": content_type, **headers}) as answer:
                return answer.status
        except OSError:
            assert self.program.running, self.program.output
            return 0

    def read(self, path: str) -> str:
        """What is there."""
        with self._answer("GET", path) as answer:
            return answer.read().decode()

    def policy(self) -> str:
        """What its page may load."""
        with self._answer("GET", "/") as answer:
            return answer.headers["Content-Security-Policy"]

    @contextmanager
    def _answer(
        self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            yield connection.getresponse()
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
        policy = example.policy()
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        example.program.close(signal.SIGINT)
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


@pytest.fixture
def drawing(start_example: StartExample) -> Example:
    return start_example("drawing.py")


class TestDrawing:
    """The picture of a page is what its canvas holds. What its user has just drawn lies above, until it comes back."""

    PICTURE: Final = """(async () => {
        const pixels = document.getElementById("picture").getContext("2d").getImageData(0, 0, 1600, 1000).data;
        return [...new Uint8Array(await crypto.subtle.digest("SHA-256", pixels))].join("-");
    })()"""
    ALL_CAME_BACK: Final = """
        !document.getElementById("mine").getContext("2d").getImageData(0, 0, 1600, 1000).data.some(Boolean)
    """

    def enter(self, drawing: Example, page: Page) -> str:
        """Open the page, and return a digest of its picture."""
        page.goto(drawing.url)
        page.wait_for_selector("[data-state=live]")
        return self.picture(page)

    def picture(self, page: Page) -> str:
        return str(page.evaluate(self.PICTURE))

    def draw(self, page: Page, colour: str, *points: tuple[float, float]) -> None:
        """Draw a stroke. Points are parts of the canvas."""
        page.check(f'[name=colour][value="{colour}"]')
        box = page.locator("#mine").bounding_box()
        assert box is not None
        (x, y), *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(x, y, steps=8)
        page.mouse.up()

    def agree(self, drawing: Example, *pages: Page) -> str:
        """Wait until all has come back to everybody, and all see the same. Return that."""
        wait_for(
            lambda: all(page.evaluate(self.ALL_CAME_BACK) for page in pages),
            lambda: f"what was drawn came back. The program said: {drawing.program.output}",
        )
        wait_for(
            lambda: len({self.picture(page) for page in pages}) == 1,
            lambda: f"all pictures are the same. The program said: {drawing.program.output}",
        )
        return self.picture(pages[0])

    def colour_at(self, page: Page, x: float, y: float) -> str:
        data = page.evaluate(
            "([x, y]) => [...document.getElementById('picture').getContext('2d').getImageData(x, y, 1, 1).data]",
            [round(x * 1600), round(y * 1000)],
        )
        return "#" + "".join(f"{value:02x}" for value in data[:3]) if data[3] else ""

    def test_two_browsers_draw_and_a_third_gets_the_picture(
        self, drawing: Example, new_page: NewPage, tmp_path: Path
    ) -> None:
        ann, bob = new_page(), new_page()
        empty = self.enter(drawing, ann)
        assert self.enter(drawing, bob) == empty
        self.draw(ann, "#d33f49", (0.1, 0.5), (0.9, 0.5))
        self.agree(drawing, ann, bob)
        self.draw(bob, "#3d6fd9", (0.5, 0.1), (0.5, 0.9))  # above hers, on both pages
        seen = self.agree(drawing, ann, bob)
        for page in (ann, bob):
            assert self.colour_at(page, 0.2, 0.5) == "#d33f49"
            assert self.colour_at(page, 0.5, 0.2) == "#3d6fd9"
            assert self.colour_at(page, 0.5, 0.5) == "#3d6fd9"
        ann.screenshot(path=tmp_path / "drawing.png")

        late = new_page(color_scheme="dark", viewport={"width": 390, "height": 844})
        assert self.enter(drawing, late) == seen
        late.screenshot(path=tmp_path / "drawing-late.png")
        bob.reload()
        bob.wait_for_selector("[data-state=live]")
        assert self.picture(bob) == seen
        late.click("#clear")
        wait_for(lambda: self.agree(drawing, ann, bob, late) == empty, "the picture is new")

    def test_strokes_that_cross_at_the_same_time_lie_in_one_order(self, drawing: Example, new_page: NewPage) -> None:
        ann, bob = new_page(), new_page()
        empty = self.enter(drawing, ann)
        self.enter(drawing, bob)
        scribble = """([page, colour]) => {
            const mine = document.getElementById("mine"), box = mine.getBoundingClientRect();
            mine.setPointerCapture = () => {};  // these events come from no pointer
            document.querySelector(`[value="${colour}"]`).checked = true;
            const at = (type, x, y) => mine.dispatchEvent(new PointerEvent(type, { isPrimary: true, button: 0,
                clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
            let n = 0;
            at("pointerdown", 0.5, 0.5);
            const timer = setInterval(() => {
                n += 1;
                at("pointermove", 0.5 + 0.4 * Math.sin(n * 1.3 + page), 0.5 + 0.4 * Math.cos(n * 2.1 + page));
                if (n === 200) { at("pointerup", 0.5, 0.5); clearInterval(timer); window.scribbled = true; }
            }, 5);
        }"""
        ann.evaluate(scribble, [0, "#d33f49"])
        bob.evaluate(scribble, [1, "#2f9e63"])
        wait_for(lambda: all(page.evaluate("window.scribbled") for page in (ann, bob)), "it is drawn")
        seen = self.agree(drawing, ann, bob)
        assert seen != empty
        assert self.enter(drawing, new_page()) == seen

    def test_it_outlives_pushline(self, drawing: Example, new_page: NewPage) -> None:
        ann, bob = new_page(), new_page()
        empty = self.enter(drawing, ann)
        self.enter(drawing, bob)
        drawing.server.kill9()
        self.draw(ann, "#d33f49", (0.1, 0.5))
        drawing.has(ann, "#problem", "that was not drawn")
        drawing.server.restart()
        assert self.agree(drawing, ann, bob) == empty
        self.draw(ann, "#d33f49", (0.1, 0.5))
        wait_for(lambda: self.agree(drawing, ann, bob) != empty, lambda: drawing.program.output)
        assert self.colour_at(bob, 0.1, 0.5) == "#d33f49"


def test_what_is_no_stroke_is_refused(drawing: Example) -> None:
    piece = {"page": "me", "number": 1, "colour": "#d33f49", "width": 4, "points": [1, 1]}
    assert drawing.ask("POST", "/draw", json.dumps([piece])) == 204
    assert drawing.ask("POST", "/draw", json.dumps([piece]), "text/plain") == 415
    mistakes: list[dict[str, object]] = [
        {"colour": "red;"},
        {"width": 1000},
        {"points": []},
        {"page": "<b>"},
        {"more": 1},
    ]
    for wrong in mistakes:
        assert drawing.ask("POST", "/draw", json.dumps([piece | wrong])) == 400
    assert drawing.ask("POST", "/draw", "[" + " " * 20_000 + "]") == 413


@pytest.fixture
def notifications(start_example: StartExample, tmp_path: Path) -> Example:
    (tmp_path / "mail").mkdir()
    return start_example(
        "notifications.py",
        EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
        EMAIL_FILE_PATH=str(tmp_path / "mail"),
    )


@IN_CHROMIUM
class TestNotifications:
    def sign_in(self, notifications: Example, page: Page, name: str) -> None:
        page.goto(notifications.url)
        page.click(f"text={name}")
        page.wait_for_selector("[data-state=live]")

    def send(self, page: Page, name: str, text: str) -> None:
        page.select_option("[name=to]", name)
        page.fill("[name=text]", text)
        page.press("[name=text]", "Enter")

    def mails(self, folder: Path) -> list[tuple[str, str]]:
        """Whom e-mails went to, and their first lines, in their order."""
        files = sorted((folder / "mail").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        mails = [message_from_bytes(file.read_bytes(), policy=default) for file in files]
        return [(str(mail["To"]), str(mail.get_content()).splitlines()[0]) for mail in mails]

    def test_a_notification_goes_to_the_page_and_stays_there(
        self, notifications: Example, new_page: NewPage, tmp_path: Path
    ) -> None:
        ann, bob = new_page(), new_page()
        self.sign_in(notifications, ann, "ann")
        self.sign_in(notifications, bob, "bob")
        self.send(bob, "ann", "<b>hello</b> & wêlcome")
        notifications.shows(bob, "#outcome", "The page of ann has it.")
        assert ann.locator("#notes p").all_inner_texts() == ["<b>hello</b> & wêlcome"]
        self.send(bob, "ann", "two")
        notifications.has(ann, "#notes", "two")
        bob.screenshot(path=tmp_path / "notifications-sender.png")
        for _ in range(2):
            ann.screenshot(path=tmp_path / "notifications.png")
            ann.reload()
            ann.wait_for_selector("[data-state=live]")
            assert ann.locator("#notes p").all_inner_texts() == ["two", "<b>hello</b> & wêlcome"]
        assert self.mails(tmp_path) == []

    def test_an_e_mail_goes_out_when_no_page_takes_it(
        self, notifications: Example, new_page: NewPage, tmp_path: Path
    ) -> None:
        ann, bob = new_page(), new_page()
        bob.goto(notifications.url)
        bob.screenshot(path=tmp_path / "notifications-who.png")
        self.sign_in(notifications, bob, "bob")
        self.send(bob, "eve", "are you there?")  # nobody has a token
        notifications.shows(bob, "#outcome", "eve has no page open: an e-mail went to eve@example.com.")
        self.sign_in(notifications, ann, "ann")
        ann.goto("about:blank")
        self.send(bob, "ann", "you have just gone")  # her token is good, but no page comes back in time
        notifications.shows(bob, "#outcome", "No page of ann took it in time: an e-mail went to ann@example.com.")
        ann.goto(notifications.url)
        notifications.has(ann, "#notes", "you have just gone")
        ann.wait_for_selector("[data-state=live]")
        ann.click("text=Sign out")
        ann.wait_for_selector("text=Who are you?")
        self.send(bob, "ann", "you have signed out")
        notifications.shows(bob, "#outcome", "ann has no page open: an e-mail went to ann@example.com.")
        notifications.server.kill9()
        self.send(bob, "eve", "is this thing on?")
        notifications.shows(bob, "#outcome", "No page of eve took it in time: an e-mail went to eve@example.com.")
        assert self.mails(tmp_path) == [
            ("eve@example.com", "are you there?"),
            ("ann@example.com", "you have just gone"),
            ("ann@example.com", "you have signed out"),
            ("eve@example.com", "is this thing on?"),
        ]


def test_a_notification_of_another_site_is_refused(notifications: Example) -> None:
    for path in ("/sign-in", "/sign-out", "/send", "/token"):
        assert notifications.ask("POST", path, "name=ann&to=bob&text=hello", FORM) == 403


@pytest.fixture
def progress(start_example: StartExample) -> Example:
    return start_example("progress.py")


@IN_CHROMIUM
class TestProgress:
    def begin(self, progress: Example, page: Page, size: str) -> None:
        page.goto(progress.url)
        page.select_option("[name=size]", size)
        page.click("text=Start")
        page.wait_for_selector("[data-state=live]")

    def done(self, page: Page) -> int:
        """How far the bar is."""
        return int(page.evaluate("document.getElementById('bar').value"))

    def test_a_job_is_seen_to_its_end_over_a_reload_and_by_others(
        self, progress: Example, new_page: NewPage, tmp_path: Path
    ) -> None:
        page, other = new_page(), new_page(color_scheme="dark")
        page.goto(progress.url)
        page.screenshot(path=tmp_path / "progress-start.png")
        self.begin(progress, page, "1000000")
        other.goto(page.url)
        seen = [wait_for(lambda: self.done(page), lambda: progress.program.output)]
        page.reload()
        seen.append(self.done(page))
        other.screenshot(path=tmp_path / "progress.png")
        while seen[-1] < 100:
            wait_for(lambda: self.done(page) > seen[-1], lambda: progress.program.output)
            seen.append(self.done(page))
        assert seen == sorted(seen)
        assert len(set(seen)) > 3, "it grows before the user's eyes"
        for each in (page, other):
            progress.shows(each, "#said", "There are 78,498.")
            progress.shows(each, "#percent", "100 %")
        other.screenshot(path=tmp_path / "progress-end.png")
        page.reload()
        progress.shows(page, "#said", "There are 78,498.")

    def test_a_job_whose_process_dies_is_said_to_have_ended(self, progress: Example, new_page: NewPage) -> None:
        page = new_page()
        self.begin(progress, page, "10000000")
        wait_for(lambda: self.done(page), lambda: progress.program.output)
        (worker,) = [id for id, line in progress.program.children().items() if "spawn_main" in line]
        os.kill(worker, signal.SIGKILL)
        progress.shows(page, "#said", "The job has ended before its time.")

    def test_what_pushline_was_not_there_for_is_caught_up(self, progress: Example, new_page: NewPage) -> None:
        page = new_page()
        self.begin(progress, page, "1000000")
        progress.server.kill9()
        job = page.url.removeprefix(progress.url)
        wait_for(lambda: '"finished"' in progress.read(f"{job}/state"), lambda: progress.program.output, 120)
        assert "There are" not in page.inner_text("#said")
        progress.server.restart()
        progress.shows(page, "#said", "There are 78,498.")


def test_a_job_of_no_size_or_of_another_site_is_refused(progress: Example) -> None:
    for form in ("", "size=1", "size=many", "size=99999999999"):
        assert progress.ask("POST", "/jobs", form, FORM) == 400
    assert progress.ask("POST", "/jobs", "size=" + "1" * 5000, FORM) == 413
    assert progress.ask("GET", "/jobs/none") == 404
    assert progress.ask("POST", "/jobs", "size=1000", FORM, Origin="http://example.com") == 403
