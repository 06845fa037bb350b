"""What a real application is told of real pages (contract, G8 and section 5)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import pytest
from playwright.sync_api import Page

from pushline.presence import Presence, parse

from .conftest import MakePage, StartPushline
from .pages import ListeningPage, PageServer, script_page
from .processes import PushlineProcess, free_port, run_pushline
from .waiting import wait_for
from .wire import LongPollPage, SsePage, WebSocketPage
from .wire import Page as WirePage

pytestmark = pytest.mark.e2e

GRACE: Final = ("--grace", "0.5")


class Application:
    """``with Application()`` it takes callbacks on :attr:`url`, over HTTP/1.1, and verifies them."""

    def __init__(self) -> None:
        self.told: list[Presence] = []
        self.ids: list[str] = []
        self.status = 204
        self.connections = 0
        self.handle: Callable[[Presence], object] = lambda presence: None
        self.secret = ""
        application = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                application.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                presence = parse(self.headers.items(), body, secret=application.secret)
                assert self.path == f"/_ah/channel/{'connected' if presence.connected else 'disconnected'}/"
                application.ids.append(self.headers["webhook-id"])
                if application.status < 300:
                    application.told.append(presence)
                    application.handle(presence)
                self.send_response(application.status)
                if application.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._handler = Handler

    def __enter__(self) -> Application:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="application")
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def heard(self, client_id: str) -> list[bool]:
        return [presence.connected for presence in self.told if presence.client_id == client_id]

    def wait_for(self, client_id: str, *expected: bool) -> None:
        wait_for(lambda: len(self.heard(client_id)) >= len(expected), lambda: f"{expected}: {self.told}")
        assert self.heard(client_id) == list(expected)


@pytest.fixture
def application() -> Iterator[Application]:
    with Application() as running:
        yield running


@pytest.fixture
def told(start_pushline: StartPushline, application: Application, request: pytest.FixtureRequest) -> PushlineProcess:
    """A Pushline that tells the application."""
    grace = getattr(request, "param", GRACE)
    pushline = start_pushline("--presence-url", application.url, *grace)
    application.secret = (pushline.data_dir / "webhook-secret").read_text()
    pushline.expected_errors = "callback"  # the application may be gone before the last page
    return pushline


KINDS = (WebSocketPage, SsePage, LongPollPage)


@pytest.mark.parametrize("kind", KINDS)
def test_coming_and_going_is_told(
    told: PushlineProcess, application: Application, make_page: MakePage, kind: type[WirePage], client_id: str
) -> None:
    page = make_page(kind, told, told.client.create_channel(client_id))
    page.open()
    application.wait_for(client_id, True)
    page.drop()
    if kind is LongPollPage:
        page.post("leave")
    application.wait_for(client_id, True, False)
    assert [each.client_id for each in told.client.list_clients().clients] == [client_id]
    assert (told.data_dir / "webhook-secret").stat().st_mode & 0o777 == 0o600


def test_several_parts_are_sent_when_that_is_asked_for(
    start_pushline: StartPushline, application: Application, make_page: MakePage, client_id: str
) -> None:
    pushline = start_pushline("--presence-url", application.url, "--presence-format", "multipart")
    application.secret = (pushline.data_dir / "webhook-secret").read_text()
    make_page(WebSocketPage, pushline, pushline.client.create_channel(client_id)).open()
    application.wait_for(client_id, True)


def test_a_handler_that_sends_reaches_the_page(
    told: PushlineProcess, application: Application, make_page: MakePage, client_id: str
) -> None:
    """P3."""
    statuses: list[str] = []
    application.handle = lambda presence: statuses.append(told.client.send_message(presence.client_id, "hello").status)
    page = make_page(WebSocketPage, told, told.client.create_channel(client_id))
    page.open()
    page.wait_for(["hello"])
    wait_for(lambda: statuses, "the answer")
    assert statuses == ["sent"]


@pytest.mark.parametrize("told", [("--grace", "5")], indirect=True)  # time to come back, on a busy machine as well
def test_after_kill_9_exactly_what_is_missing_is_told(
    told: PushlineProcess, application: Application, make_page: MakePage
) -> None:
    tokens = {name: told.client.create_channel(name) for name in ("gone", "back")}
    for token in tokens.values():
        make_page(WebSocketPage, told, token).open()
    wait_for(lambda: len(application.told) == 2, "both were told")
    wait_for(lambda: not told.client.list_callbacks().callbacks, "and Pushline knows it: else they are told again")
    told.kill9()
    told.restart()
    back = make_page(WebSocketPage, told, tokens["back"])
    back.open()
    application.wait_for("gone", True, False)
    assert application.heard("back") == [True]
    assert len({presence.sequence for presence in application.told}) == len(application.told)
    for name in tokens:  # between client ids no order is promised (G8)
        sequences = [presence.sequence for presence in application.told if presence.client_id == name]
        assert sequences == sorted(sequences)


def test_an_application_that_is_away_is_told_later(
    start_pushline: StartPushline, make_page: MakePage, client_id: str
) -> None:
    application = Application()
    pushline = start_pushline("--presence-url", application.url, *GRACE)
    pushline.expected_errors = "callback"
    application.secret = (pushline.data_dir / "webhook-secret").read_text()
    page = make_page(WebSocketPage, pushline, pushline.client.create_channel(client_id))
    page.open()
    wait_for(lambda: pushline.client.list_callbacks().waiting, "it waits")
    assert pushline.client.send_message(client_id, "hello").status == "sent"  # nothing is slower for it
    pushline.kill9()
    pushline.restart()
    kept = wait_for(lambda: pushline.client.get_client(client_id).callbacks, "it is kept")
    assert (kept[0].event, kept[0].given_up) == ("connected", False)
    with application:
        application.wait_for(client_id, True, False)
    listed = pushline.client.list_callbacks()
    assert (listed.waiting, listed.callbacks) == (0, [])


def test_a_new_secret_signs_what_is_told_from_then_on(
    told: PushlineProcess, application: Application, make_page: MakePage
) -> None:
    """R3: also what waits for its next try."""
    old, new = application.secret, "a-new-webhook-secret-for-the-tests"
    application.status = 500
    make_page(WebSocketPage, told, told.client.create_channel("waiting")).open()
    wait_for(lambda: application.ids, "the first try")
    (told.data_dir / "webhook-secret").write_text(f"{new}\n{old}")
    told.send_signal(signal.SIGHUP)
    wait_for(lambda: "secrets read again" in told.output, lambda: told.output)
    application.secret = new
    application.status = 204
    application.wait_for("waiting", True)
    make_page(WebSocketPage, told, told.client.create_channel("ann")).open()
    application.wait_for("ann", True)
    assert new not in told.output


def test_a_redirect_is_a_failure_and_a_repeat_keeps_its_id(
    told: PushlineProcess, application: Application, make_page: MakePage, client_id: str
) -> None:
    application.status = 302
    make_page(WebSocketPage, told, told.client.create_channel(client_id)).open()
    wait_for(lambda: len(application.ids) == 2, "the second try")
    shown = run_pushline("callbacks", "--url", told.url, "--data-dir", str(told.data_dir))
    assert shown.returncode == 0, shown.stderr
    assert "status 302" in shown.stdout
    assert client_id in shown.stdout
    application.status = 204
    again = run_pushline("callbacks", "--retry", client_id, "--url", told.url, "--data-dir", str(told.data_dir))
    assert again.returncode == 0, again.stderr
    application.wait_for(client_id, True)
    assert len(set(application.ids)) == 1


def test_an_application_without_a_handler_is_not_asked_again(
    told: PushlineProcess, application: Application, make_page: MakePage, client_id: str
) -> None:
    application.status = 404
    make_page(WebSocketPage, told, told.client.create_channel(client_id)).open()
    wait_for(lambda: told.client.list_callbacks().no_handler == ["connected"], "it is known")
    assert told.client.list_callbacks().waiting == 0


def test_connections_are_kept(told: PushlineProcess, application: Application, make_page: MakePage) -> None:
    for n in range(5):
        make_page(WebSocketPage, told, told.client.create_channel(f"c{n}")).open()
        application.wait_for(f"c{n}", True)
    assert application.connections == 1


def test_a_page_that_is_loaded_anew_or_in_another_tab_tells_nothing(
    start_pushline: StartPushline,
    application: Application,
    new_page: Callable[..., Page],
    page_server: PageServer,
    client_id: str,
) -> None:
    pushline = start_pushline("--presence-url", application.url, "--grace", "5")
    application.secret = (pushline.data_dir / "webhook-secret").read_text()
    address = page_server.add(
        lambda: script_page(pushline.url, f"listenTo({pushline.client.create_channel(client_id)!r}, '');")
    )
    page = new_page()
    page.goto(address)
    ListeningPage(page).wait_for("onopen")
    application.wait_for(client_id, True)
    page.reload()
    ListeningPage(page).wait_for("onopen")
    other = page.context.new_page()
    other.goto(address)
    ListeningPage(other).wait_for("onopen")
    ListeningPage(page).wait_for("onclose")
    assert application.heard(client_id) == [True]
    other.close()
    page.close()
    application.wait_for(client_id, True, False)


def test_what_the_application_ends_stays_ended(
    told: PushlineProcess, application: Application, make_page: MakePage, client_id: str
) -> None:
    """A4."""
    token = told.client.create_channel(client_id)
    page = make_page(WebSocketPage, told, token)
    page.connect()
    told.client.disconnect(client_id)
    assert page.wait_for_end().code == 4411
    page = make_page(WebSocketPage, told, token)
    page.connect()
    told.client.revoke(client_id)
    assert page.wait_for_end().code == 4410
    told.kill9()
    told.restart()
    told.client.create_channel(client_id)
    page = make_page(WebSocketPage, told, token)
    assert page.connect().code == 4401  # type: ignore[union-attr]
