"""What a page gets when its server, its network or the page itself goes down meanwhile (contract, G1 to G5 and G11)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from playwright.sync_api import Page

import pushline as sdk
from pushline.errors import Unreachable

from .conftest import OpenPage, StartPushline
from .pages import PageServer, script_page
from .processes import PushlineProcess
from .proxy import Proxy
from .waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.e2e


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def send_numbers(pushline: PushlineProcess, client_id: str, first: int, last: int) -> set[str]:
    """Send some numbers, one by one, and return what became of them.

    ``queued`` is no surprise behind an outage: a page that came back at its very end may poll for a minute (J4), and is
    away between two polls.
    """
    return {pushline.client.send_message(client_id, number).status for number in numbers(first, last)}


_PAUSE_SECONDS = 0.03
"""Between two numbers: a page may be away for half a minute before its channel has more than it may keep."""


class Sender:
    """An application in a thread of its own: it sends 1, 2, 3, …, and repeats what was not answered."""

    def __init__(self, pushline: PushlineProcess, client_id: str) -> None:
        self.last = 0
        """The number that was sent last, or is being sent."""
        self.statuses: set[str] = set()
        self._client = sdk.Client(pushline.url, pushline.api_key, timeout=5)
        self._client_id = client_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender")

    def _run(self) -> None:
        with self._client as client:
            while not self._stop.wait(_PAUSE_SECONDS):
                self.last += 1
                self._send(client, str(self.last))

    def _send(self, client: sdk.Client, number: str) -> None:
        for _ in count():
            try:
                result = client.send_message(self._client_id, number, idempotency_key=f"number-{number}")
            except Unreachable:
                continue
            self.statuses.add(result.status)
            return

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send while this is open. At its end everything that was sent has been answered."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(PATIENCE_SECONDS)
            assert not self._thread.is_alive()


class TestCrashOfTheServer:
    def test_the_socket_of_a_connected_page_gets_what_was_accepted_before_a_kill(
        self, open_page: OpenPage, pushline: PushlineProcess, proxy: Proxy
    ) -> None:
        page = open_page(script_page(proxy.url))
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        assert send_numbers(pushline, "ann", 1, 3) == {"sent"}
        page.wait_for_messages(numbers(1, 3))
        proxy.hold()  # what is sent from here on is accepted, and does not reach the page
        assert send_numbers(pushline, "ann", 4, 8) == {"sent"}
        pushline.kill9()
        proxy.cut()
        page.wait_for("onreconnecting")
        proxy.mend()
        pushline.restart()
        page.wait_for("onreconnect")
        assert send_numbers(pushline, "ann", 9, 10) <= {"sent", "queued"}
        page.wait_for_messages(numbers(1, 10))
        assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}

    def test_a_page_that_never_connected_gets_what_was_accepted_before_a_kill(
        self, open_page: OpenPage, pushline: PushlineProcess
    ) -> None:
        token = pushline.client.create_channel("ann")
        assert send_numbers(pushline, "ann", 1, 5) == {"queued"}
        pushline.kill9()
        pushline.restart()
        assert send_numbers(pushline, "ann", 6, 7) == {"queued"}
        page = open_page(script_page(pushline.url))
        page.listen(token)
        page.wait_for_messages(numbers(1, 7))
        assert set(page.names()) == {"onopen", "onmessage"}

    def test_a_fresh_page_with_the_same_token_gets_what_no_page_has_acknowledged(
        self, open_page: OpenPage, pushline: PushlineProcess, proxy: Proxy
    ) -> None:
        token = pushline.client.create_channel("ann")
        left = open_page(script_page(proxy.url))
        left.listen(token)
        left.wait_for("onopen")
        assert send_numbers(pushline, "ann", 1, 3) == {"sent"}
        left.wait_for_messages(numbers(1, 3))
        proxy.hold()
        assert send_numbers(pushline, "ann", 4, 6) == {"sent"}
        pushline.kill9()
        left.page.close()
        pushline.restart()
        assert send_numbers(pushline, "ann", 7, 8) == {"queued"}
        fresh = open_page(script_page(pushline.url))
        fresh.listen(token)
        wait_for(lambda: fresh.messages()[-1:] == ["8"], fresh.messages)
        got = fresh.messages()
        # Whether the first three were acknowledged before the crash is a matter of seconds.
        assert got == numbers(int(got[0]), 8)
        assert int(got[0]) in (1, 2, 3, 4)
        assert set(fresh.names()) == {"onopen", "onmessage"}

    def test_numbers_that_are_sent_through_two_crashes_arrive_once_and_in_order(
        self, open_page: OpenPage, pushline: PushlineProcess
    ) -> None:
        page = open_page(script_page(pushline.url))
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        sender = Sender(pushline, "ann")
        with sender.sending():
            for crashes in (1, 2):
                came = len(page.messages())
                page.wait_for("onmessage", times=came + 10)
                pushline.kill9()
                page.wait_for("onreconnecting", times=crashes)
                pushline.restart()
                page.wait_for("onreconnect", times=crashes)
            came = len(page.messages())
            page.wait_for("onmessage", times=came + 10)
        page.wait_for_messages(numbers(1, sender.last))
        assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}
        assert sender.statuses <= {"sent", "queued"}

    def test_sigterm_ends_the_server_with_0_and_its_pages_come_back_to_the_next_one(
        self, open_page: OpenPage, start_pushline: StartPushline
    ) -> None:
        pushline = start_pushline("--drain-seconds", "0")
        page = open_page(script_page(pushline.url))
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        sender = Sender(pushline, "ann")
        with sender.sending():
            page.wait_for("onmessage", times=10)
            assert pushline.terminate() == 0
            page.wait_for("onreconnecting")
            pushline.restart()
            page.wait_for("onreconnect")
        page.wait_for_messages(numbers(1, sender.last))
        assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}


class TestDropOfTheNetwork:
    @pytest.mark.parametrize("drop", [Proxy.cut, Proxy.reset])
    def test_the_socket_resumes_and_nothing_is_lost_or_doubled(
        self, open_page: OpenPage, pushline: PushlineProcess, proxy: Proxy, drop: Callable[[Proxy], None]
    ) -> None:
        page = open_page(script_page(proxy.url))
        page.listen(pushline.client.create_channel("ann"))
        page.wait_for("onopen")
        for drops in (1, 2):
            first = 10 * drops
            send_numbers(pushline, "ann", first, first + 2)
            drop(proxy)
            send_numbers(pushline, "ann", first + 3, first + 5)
            page.wait_for("onreconnecting", times=drops)
            send_numbers(pushline, "ann", first + 6, first + 8)
            proxy.mend()
            page.wait_for("onreconnect", times=drops)
            assert send_numbers(pushline, "ann", first + 9, first + 9) <= {"sent", "queued"}
        page.wait_for_messages(numbers(10, 29))
        assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}

    def test_a_network_that_falls_silent_is_noticed_by_both_sides(
        self, open_page: OpenPage, start_pushline: StartPushline
    ) -> None:
        pushline = start_pushline("--ping-interval", "1", "--ping-timeout", "2", "--grace", "0")
        with Proxy(pushline.port) as proxy:
            page = open_page(script_page(proxy.url))
            page.listen(pushline.client.create_channel("ann"))
            page.wait_for("onopen")
            proxy.hold()
            # Until the server gives the page up, what is sent is written to its connection, and lost there.
            sent = count(1)
            wait_for(
                lambda: pushline.client.send_message("ann", str(next(sent))).status == "queued", "the server notices"
            )
            page.wait_for("onreconnecting")
            proxy.mend()
            page.wait_for("onreconnect")
            page.wait_for_messages(numbers(1, next(sent) - 1))
            assert set(page.names()) == {"onopen", "onmessage", "onreconnecting", "onreconnect"}


class TestReload:
    """The page is left and loaded again while an application sends to it."""

    # Each load writes down what its application rendered and what it got: `localStorage` outlives it.
    RECORDER = """
      const load = Number(localStorage.getItem("loads") ?? 0);
      localStorage.setItem("loads", load + 1);
      localStorage.setItem(`rendered ${load}`, %d);
      const key = `got ${load}`;
      localStorage.setItem(key, "");
      new goog.appengine.Channel("%s").open({
        onmessage({ data }) { localStorage.setItem(key, localStorage.getItem(key) + data + " "); },
        ongap() { localStorage.setItem(key, localStorage.getItem(key) + "gap "); },
      });
    """

    @pytest.mark.parametrize("tokens", ["a token for each load", "one token"])
    def test_each_load_goes_on_where_its_application_rendered_it(
        self,
        new_page: Callable[..., Page],
        page_server: PageServer,
        shared_pushline: PushlineProcess,
        client_id: str,
        tokens: str,
    ) -> None:
        sender = Sender(shared_pushline, client_id)
        only = shared_pushline.client.create_channel(client_id)

        def render() -> str:
            # As applications do: first the token, then the state that the page begins with.
            if tokens == "one token":
                return script_page(shared_pushline.url, self.RECORDER % (0, only))
            token = shared_pushline.client.create_channel(client_id)
            return script_page(shared_pushline.url, self.RECORDER % (sender.last, token))

        page = new_page()

        def got() -> list[str]:
            text: str = page.evaluate("localStorage.getItem(key)")
            return text.split()

        page.goto(page_server.add(render))
        reloads = 5
        with sender.sending():
            for _ in range(reloads):
                wait_for(lambda: len(got()) >= 5, got)
                page.reload()
            wait_for(lambda: len(got()) >= 5, got)
        wait_for(lambda: got()[-1:] == [str(sender.last)], lambda: f"{sender.last} comes; {got()[-5:]}")
        loads = [self._load(page, number) for number in range(reloads + 1)]
        before = 0
        for rendered, came in loads:
            known = before if tokens == "one token" else rendered
            assert came[0] <= known + 1, loads
            assert came == list(range(came[0], came[-1] + 1)), loads
            before = came[-1]
        assert before == sender.last
        assert sender.statuses <= {"sent", "queued"}

    def test_the_page_that_is_left_takes_nothing_from_the_one_that_is_being_loaded(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        client = shared_pushline.client
        left = open_page(script_page(shared_pushline.url))
        left.listen(client.create_channel(client_id))
        left.wait_for("onopen")
        client.send_message(client_id, "before")
        rendered = client.create_channel(client_id)
        assert client.send_message(client_id, "meanwhile").status == "sent"
        left.wait_for_messages(["before", "meanwhile"])
        left.page.goto("about:blank")  # it acknowledges both when it goes
        wait_for(lambda: client.send_message(client_id, "after").status == "queued", "the page has gone")
        fresh = open_page(script_page(shared_pushline.url))
        fresh.listen(rendered)
        fresh.wait_for("onmessage", times=2)
        assert fresh.messages()[0] == "meanwhile"
        assert set(fresh.messages()[1:]) == {"after"}
        assert set(fresh.names()) == {"onopen", "onmessage"}

    def _load(self, page: Page, number: int) -> tuple[int, list[int]]:
        """What a load began with, and what it got."""
        rendered, got = page.evaluate(
            "(load) => [localStorage.getItem(`rendered ${load}`), localStorage.getItem(`got ${load}`)]", number
        )
        return int(rendered), [int(text) for text in got.split()]
