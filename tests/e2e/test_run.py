"""`pushline run`: real applications and their channels on one address (contract, R5)."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page as BrowserPage
from websockets.sync.client import connect

import pushline

from .processes import COMMAND, Program, clean_environment, find_tokens, free_port, run_pushline
from .waiting import wait_for

pytestmark = pytest.mark.e2e

PAGE: Final = '''
PAGE = """<!doctype html><meta charset="utf-8"><title>A page</title><ul id="messages"></ul>
<script src="/_ah/channel/jsapi"></script>
<script>
  const seen = [];
  const note = (text) => seen.push(text);
  new goog.appengine.Channel(TOKEN).open({
    onopen: () => note("(open)"), onmessage: ({ data }) => note(data), ongap: () => note("(gap)"),
    onerror: ({ code }) => note(`(error ${code})`), onclose: () => note("(close)"),
  });
</script>"""
'''

OLD: Final = f"""
import json
import time

from flask import Flask, request
from google.appengine.api import channel

app = Flask(__name__)
VERSION = "1"
{PAGE}

@app.get("/")
def page():
    return PAGE.replace("TOKEN", json.dumps(channel.create_channel("ann")))

@app.post("/say")
def say():
    channel.send_message("ann", request.get_data())
    return VERSION

@app.post("/hang")
def hang():
    time.sleep(3600)

@app.post("/_ah/channel/connected/")
def connected():
    note("connected")
    channel.send_message(request.form["from"], "welcome")
    return ""

@app.post("/_ah/channel/disconnected/")
def disconnected():
    note("disconnected")
    return ""

def note(event):
    with open("told.txt", "a") as told:
        told.write(f"{{request.form['from']}} {{event}}\\n")
"""
"""A WSGI application of App Engine's time: it knows nothing of Pushline."""

NEW: Final = f"""
import json

import pushline
from pushline.errors import ConfigurationError
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse
from pushline import channel
from pushline.presence import parse

app = FastAPI()
client = pushline.AsyncClient()
VERSION = "1"
{PAGE}

@app.get("/", response_class=HTMLResponse)
async def page():
    return PAGE.replace("TOKEN", json.dumps(await client.create_channel("ann")))

@app.post("/say", response_class=PlainTextResponse)
async def say(request: Request):
    await client.send_message("ann", await request.body())
    return VERSION

@app.post("/_ah/channel/connected/")
@app.post("/_ah/channel/disconnected/")
async def presence(request: Request):
    told = parse(request.headers, await request.body())
    with open("told.txt", "a") as file:
        file.write(f"{{told.client_id}} {{'connected' if told.connected else 'disconnected'}}\\n")
    if told.connected:
        await client.send_message(told.client_id, "welcome")

@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())

@app.post("/waits")
async def waits():
    try:
        channel.send_message("ann", "never")
    except ConfigurationError as error:
        return str(error)

@app.post("/works")
def works():
    return channel.send_message("nobody", "from a thread").status
"""
"""An ASGI application, with the SDK in both its forms."""


class Application(Program):
    """`pushline run app:app`, on a port that stays the same."""

    def __init__(self, folder: Path, code: str, *options: str) -> None:
        self.folder = folder
        self.code = folder / "app.py"
        self.code.write_text(code)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [COMMAND, "run", "app:app", "--listen", f"127.0.0.1:{self.port}", *options]
        super().__init__(command, folder / "output.txt", clean_environment(), folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        super().start()
        wait_for(lambda: self.ask("GET", "/_ah/pushline/ready")[0] == 200, lambda: self.output)
        self.client = pushline.Client(f"{self.url}/_ah/pushline", (self.folder / "pushline-data/api-key").read_text())

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Status and body of an answer; 0 when there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body.encode() or None)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            assert self.running, self.output
            return 0, ""
        finally:
            connection.close()

    def say(self, text: str) -> str:
        """Have the application send a message; its version."""
        while True:
            status, body = self.ask("POST", "/say", text)
            if status:
                assert status == 200, self.output
                return body
            # It came in the moment of a reload, and was closed before it was read.

    def is_free(self) -> bool:
        """Whether nobody listens on its port any more."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    @property
    def told(self) -> list[str]:
        """What the application was told of who is there."""
        file = self.folder / "told.txt"
        return file.read_text().splitlines() if file.exists() else []


Start = Callable[..., Application]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an application."""
    with ExitStack() as running:

        def begin(code: str, *options: str) -> Application:
            application = Application(tmp_path, code, *options)
            running.callback(application.close)
            application.start()
            running.callback(application.client.close)
            return application

        yield begin


def seen(page: BrowserPage) -> list[str]:
    """What the page's socket has told it."""
    texts: list[str] = page.evaluate("seen")
    return texts


class TestServing:
    @pytest.mark.parametrize(
        ("code", "options"), [(OLD, []), (NEW, ["--no-reload"])], ids=["WSGI of App Engine's time", "ASGI"]
    )
    def test_an_unchanged_application_reaches_its_page_and_is_told_who_is_there(
        self, start: Start, new_page: Callable[..., BrowserPage], code: str, options: list[str]
    ) -> None:
        application = start(code, *options)
        page = new_page()
        page.goto(application.url)
        wait_for(lambda: seen(page) == ["(open)", "welcome"], lambda: f"{seen(page)} {application.output}")
        assert [each.transport for each in application.client.get_client("ann").connections] == ["websocket"]
        assert application.say("hello é") == "1"
        wait_for(lambda: seen(page)[2:] == ["hello é"], lambda: f"{seen(page)}")
        for path in ("/_ah/channel/connected/", "/_ah/channel/disconnected/"):
            assert application.ask("POST", path, "from=eve")[0] == 404
        page.goto("about:blank")
        wait_for(lambda: application.told == ["ann connected", "ann disconnected"], lambda: f"{application.told}")
        assert application.end(signal.SIGTERM) == 0
        assert "Traceback" not in application.output
        assert find_tokens(application.output) == []

    def test_a_websocket_of_the_applications_own_is_its_own(self, start: Start) -> None:
        application = start(NEW)
        with connect(f"ws://127.0.0.1:{application.port}/echo") as websocket:
            websocket.send("as before")
            assert websocket.recv(10) == "as before"

    def test_a_call_that_would_wait_for_its_own_thread_is_refused_at_once(self, start: Start) -> None:
        application = start(NEW)
        before = time.monotonic()
        assert "use pushline.AsyncClient" in application.ask("POST", "/waits")[1]
        assert time.monotonic() - before < 5
        assert application.ask("POST", "/works") == (200, '"no_channel"')

    def test_the_program_of_the_guide_does_what_it_says(
        self, start: Start, new_page: Callable[..., BrowserPage]
    ) -> None:
        guide = Path(__file__).parents[2] / "docs/how-to/run-beside-an-application.md"
        (program,) = re.findall(r"^```python\n(.*?)^```", guide.read_text(encoding="utf-8"), re.M | re.S)
        application = start(program)
        page = new_page()
        page.goto(application.url)
        wait_for(lambda: application.client.get_client("ann").connected, lambda: application.output)
        assert application.ask("POST", "/hello") == (200, "sent")
        wait_for(lambda: page.inner_text("body") == "hello", lambda: page.content())

    def test_listen_is_a_page_of_it_by_the_address_of_the_api(self, start: Start, tmp_path: Path) -> None:
        application = start(OLD, "--no-reload")
        arguments = ["listen", "ann", "--url", f"{application.url}/_ah/pushline"]
        page = Program([COMMAND, *arguments], tmp_path / "listen.txt", clean_environment(), tmp_path)
        page.start()
        wait_for(lambda: "welcome" in page.output, lambda: page.output)
        page.end(signal.SIGINT)


class TestReloading:
    """A change of the application takes effect, and its pages notice nothing (G3, G8)."""

    def test_loses_nothing_of_an_open_page(self, start: Start, new_page: Callable[..., BrowserPage]) -> None:
        application = start(OLD)
        page = new_page()
        page.goto(application.url)
        wait_for(lambda: "welcome" in seen(page), lambda: f"{seen(page)} {application.output}")
        sent: list[str] = []
        for version in ("2", "3"):
            application.code.write_text(re.sub('VERSION = ".*"', f'VERSION = "{version}"', OLD))
            end = time.monotonic() + 30
            while time.monotonic() < end:
                sent.append(f"{len(sent)}")
                if application.say(sent[-1]) == version:
                    break
                time.sleep(0.02)
            else:
                pytest.fail(application.output)
        wait_for(lambda: seen(page)[2:] == sent, lambda: f"{seen(page)} {sent}")
        assert seen(page)[:2] == ["(open)", "welcome"]
        assert application.told == ["ann connected"]

    def test_waits_for_an_application_that_is_broken(self, start: Start, new_page: Callable[..., BrowserPage]) -> None:
        application = start(OLD)
        page = new_page()
        page.goto(application.url)
        wait_for(lambda: "welcome" in seen(page), lambda: f"{seen(page)} {application.output}")
        application.code.write_text(OLD + "\nnonsense(\n")
        wait_for(lambda: "not loaded" in application.output, lambda: application.output)
        assert "SyntaxError" in application.output
        assert "importlib" not in application.output
        application.code.write_text(OLD)
        assert application.say("mended") == "1"
        wait_for(lambda: seen(page) == ["(open)", "welcome", "mended"], lambda: f"{seen(page)}")

    @pytest.mark.parametrize("end", ["change", "SIGTERM"])
    def test_does_not_wait_for_ever_for_an_answer(self, start: Start, end: str) -> None:
        application = start(OLD)
        with socket.create_connection(("127.0.0.1", application.port)) as asking:
            asking.sendall(b"POST /hang HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            time.sleep(0.2)
            if end == "SIGTERM":
                assert application.end(signal.SIGTERM) == 0
            else:
                application.code.write_text(OLD.replace('VERSION = "1"', 'VERSION = "2"'))
                wait_for(lambda: application.say("hello") == "2", lambda: application.output)

    def test_ends_with_0_and_leaves_nothing_behind(self, start: Start) -> None:
        application = start(OLD)
        assert application.end(signal.SIGINT) == 0
        application.start()
        application.end(signal.SIGKILL)
        wait_for(application.is_free, lambda: application.output)
        application.start()


class TestRefusing:
    """What cannot be run is said in a sentence."""

    @pytest.mark.parametrize("options", [[], ["--no-reload"]], ids=["reload", "no reload"])
    def test_what_cannot_begin(self, tmp_path: Path, start: Start, options: list[str]) -> None:
        application = start(OLD, *options)
        for arguments, sentence in (
            (["nothing:app"], f"There is no module nothing. It is looked for in {tmp_path}"),
            (["app.py"], "app.py is not of the form MODULE:APP."),
            (["app:app"], "--data-dir pushline-data belongs to a Pushline that is running."),
            (["app:app", "--data-dir", "b", "--listen", f"127.0.0.1:{application.port}"], "Address already in use"),
        ):
            done = run_pushline("run", *arguments, *options, cwd=tmp_path)
            assert done.returncode == 1
            assert done.stderr.startswith("Error: ")
            assert sentence in done.stderr
            assert done.stdout == ""

    def test_what_breaks_while_it_is_loaded(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").write_text("from flask import Flask\napi = Flask(__name__)\n1 / 0 if False else None\n")
        (tmp_path / "bad.py").write_text("app = undefined\n")
        listen = ["--listen", "127.0.0.1:0", "--no-reload"]
        done = run_pushline("run", "app:app", *listen, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (1, "Error: app has no `app`. Did you mean `app:api`?\n")
        done = run_pushline("run", "bad:app", *listen, cwd=tmp_path)
        assert done.stderr.startswith('Traceback (most recent call last):\n  File "' + os.fspath(tmp_path / "bad.py"))
        assert done.stderr.endswith("Error: bad cannot be imported (NameError): the lines above say where.\n")

    def test_an_application_that_fails_to_start(self, tmp_path: Path) -> None:
        (tmp_path / "app.py").write_text(
            "async def app(scope, receive, send):\n"
            "    await receive()\n"
            "    await send({'type': 'lifespan.startup.failed', 'message': 'there is no database'})\n"
        )
        done = run_pushline("run", "app:app", "--listen", "127.0.0.1:0", "--no-reload", cwd=tmp_path)
        assert done.returncode == 1
        assert "there is no database" in done.stderr
        assert done.stderr.endswith("Error: app:app did not start: the lines above say why.\n")
