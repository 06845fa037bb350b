"""Browsers, servers, the network between them, and pages."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from .hosted import HostedServer
from .pages import ListeningPage, PageServer
from .processes import Program, PushlineProcess
from .proxy import Proxy
from .wire import Page as WirePage

BROWSERS: Final = ("chromium", "firefox")

_CHROMIUM_ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NOT_OF_SCRIPTS: Final = ("ws://", "Same Origin Policy", "blocked an inline style")
"""What Firefox reports besides script errors: connections that end, and the style that a screenshot brings."""

OpenPage = Callable[[str], ListeningPage]
StartPushline = Callable[..., PushlineProcess]
StartProgram = Callable[..., Program]
MakePage = Callable[..., WirePage]


@pytest.fixture(scope="package", autouse=True)
def interruptible() -> None:
    """Programs can be interrupted, also when a shell runs the tests in the background: it has them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# -- browsers ----------------------------------------------------------------------------------------------------
# Of the package and not of the session: Playwright holds the thread's event loop, and other tests run their own.


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package", params=BROWSERS)
def browser(request: pytest.FixtureRequest, playwright: Playwright) -> Iterator[Browser]:
    """Each of the browsers, started once. One that is not installed is a failure."""
    program = {"chromium": "chromium", "firefox": "firefox-esr"}[request.param]
    path = shutil.which(program)
    assert path is not None, f"{program} is not installed; `make` installs what the tests need."
    if request.param == "chromium":
        running = playwright.chromium.launch(executable_path=path, args=_CHROMIUM_ARGUMENTS)
    else:
        running = playwright.firefox.launch(channel="moz-firefox", executable_path=path)
    yield running
    running.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an empty page in a context of its own: another user, with other cookies. It may not have script errors."""
    errors: list[str] = []
    with ExitStack() as contexts:

        def new(**options: object) -> Page:
            context = browser.new_context(**options)  # type: ignore[arg-type]
            contexts.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            return page

        yield new
    assert [error for error in errors if not any(word in error for word in NOT_OF_SCRIPTS)] == []


@pytest.fixture
def open_page(new_page: Callable[..., Page], page_server: PageServer) -> OpenPage:
    """Opens a page that is made of some HTML, on another origin than Pushline's."""

    def open(html: str) -> ListeningPage:
        page = new_page()
        page.goto(page_server.add(lambda: html))
        return ListeningPage(page)

    return open


@pytest.fixture(scope="package")
def page_server() -> Iterator[PageServer]:
    with PageServer() as server:
        yield server


# -- servers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def shared_pushline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushlineProcess]:
    """A `pushline serve` for all tests that do nothing to it. They take client ids of their own."""
    process = PushlineProcess(tmp_path_factory.mktemp("pushline"))
    process.start()
    try:
        yield process
    finally:
        process.close()
    process.check_output()


@pytest.fixture
def start_pushline(tmp_path: Path) -> Iterator[StartPushline]:
    """Starts a `pushline serve` with further options, on a data dir of its own, in a folder of a certain name."""
    with ExitStack() as processes:

        def start(*options: str, folder: str = "pushline") -> PushlineProcess:
            (tmp_path / folder).mkdir()
            process = PushlineProcess(tmp_path / folder, *options)
            processes.callback(process.check_output)
            processes.callback(process.close)
            process.start()
            return process

        yield start


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[StartProgram]:
    """Starts a program. What still runs when the test is over is ended as by Ctrl-C."""
    with ExitStack() as programs:
        numbers = count(1)

        def start(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Program:
            program = Program(arguments, tmp_path / f"output-{next(numbers)}.txt", environment)
            programs.callback(program.close, signal.SIGINT)
            program.start()
            return program

        yield start


@pytest.fixture
def pushline(start_pushline: StartPushline) -> PushlineProcess:
    """A `pushline serve` that the test may kill."""
    return start_pushline()


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[HostedServer]:
    """A server whose time the test moves."""
    with HostedServer(tmp_path) as server:
        yield server


@pytest.fixture
def proxy(pushline: PushlineProcess) -> Iterator[Proxy]:
    """The network between ``pushline`` and the page."""
    with Proxy(pushline.port) as between:
        yield between


@pytest.fixture
def make_page() -> Iterator[MakePage]:
    """Makes a page without a browser, on a transport, to be driven step by step. It is gone when the test is over."""
    with ExitStack() as pages:

        def make(
            kind: type[WirePage],
            server: PushlineProcess | Proxy,
            token: str,
            *,
            answers: bool = True,
            buffer_bytes: int = 0,
        ) -> WirePage:
            page = kind(server.port, token, answers=answers, buffer_bytes=buffer_bytes)
            pages.callback(page.drop)
            return page

        yield make


@pytest.fixture
def client_id(request: pytest.FixtureRequest) -> str:
    """A client id that no other test has, and that is no plain word."""
    return f"{request.node.name}/ünï & cö@example.com"
