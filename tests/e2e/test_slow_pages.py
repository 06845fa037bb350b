"""Pages that read slowly, or not at all, or hang without a word lose nothing and cost the others nothing (G10)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bench.chaos.page import End

from pushline.client.requests import Item

from .conftest import MakePage, StartPushline
from .processes import PushlineProcess
from .proxy import Proxy
from .waiting import wait_for
from .wire import TRANSPORTS, Frame, LongPollPage, Page, Running, SsePage, WebSocketPage

pytestmark = pytest.mark.e2e

NORMAL = 1000
TOO_SLOW = 4513
INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0
SLACK_SECONDS = 2.0
"""What the machine may take on top, when it is busy."""
BUFFER_BYTES = 64 << 10
"""What the kernel takes for a page that does not read."""
OPTIONS = ("--ping-interval", str(INTERVAL_SECONDS), "--ping-timeout", str(TIMEOUT_SECONDS), "--grace", "0")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushlineProcess]:
    """A server that soon gives up pages that do not answer. Tests take client ids of their own."""
    process = PushlineProcess(tmp_path_factory.mktemp("impatient"), *OPTIONS)
    process.start()
    try:
        yield process
    finally:
        process.close()
    process.check_output()


def send_all(pushline: PushlineProcess, client_id: str, texts: list[str], at_once: int = 32) -> None:
    """Send messages to one client id, in batches."""
    for first in range(0, len(texts), at_once):
        items: list[Item] = [{"to": client_id, "data": text} for text in texts[first : first + at_once]]
        assert {result.status for result in pushline.client.send_many(items)} <= {"sent", "queued"}


def long_texts(count: int, size: int) -> list[str]:
    """Texts unlike each other."""
    return [f"{number} ".ljust(size, "x") for number in range(count)]


def time_to(page: Page, pushline: PushlineProcess, client_id: str, text: str) -> float:
    """The seconds from sending a message until the page has it."""
    began = time.monotonic()
    pushline.client.send_message(client_id, text)
    assert page.next_message() == text
    return time.monotonic() - began


class TestPagesThatDoNotRead:
    PAGES = 5  # of each of two transports
    KEPT_BYTES = 8 << 20
    GROWTH_BYTES = 48 << 20
    """The cache of the store and some requests. All that is kept for the pages is 80 MiB."""
    MESSAGE_BYTES = 32 << 10
    LATENCY_SECONDS = 1.0

    def test_they_cost_neither_memory_nor_the_others_time_and_lose_nothing(
        self, start_pushline: StartPushline, make_page: MakePage
    ) -> None:
        pushline = start_pushline(
            *("--ping-interval", "1", "--ping-timeout", "2", "--max-channel-bytes", str(2 * self.KEPT_BYTES)),
            *("--max-message-bytes", str(self.MESSAGE_BYTES)),
        )
        client = pushline.client
        texts = long_texts(self.KEPT_BYTES // self.MESSAGE_BYTES, self.MESSAGE_BYTES)
        other = make_page(WebSocketPage, pushline, client.create_channel("other"))
        other.connect()
        pages: dict[str, Page] = {}
        for kind in (WebSocketPage, SsePage):
            for number in range(self.PAGES):
                client_id = f"{kind.transport} {number}"
                token = client.create_channel(client_id)
                pages[client_id] = make_page(kind, pushline, token, buffer_bytes=BUFFER_BYTES)
                assert isinstance(pages[client_id].connect(), Frame)
        before = most = pushline.resident_bytes()
        latencies = []
        for client_id in pages:
            send_all(pushline, client_id, texts)
            most = max(most, pushline.resident_bytes())
            latencies.append(time_to(other, pushline, "other", f"beside {client_id}"))
        other.ack()
        wait_for(lambda: not any(client.get_client(each).connected for each in pages), "the server gives them up")
        most = max(most, pushline.resident_bytes())
        assert max(latencies) < self.LATENCY_SECONDS
        assert most - before < self.GROWTH_BYTES
        for client_id, page in pages.items():
            end = page.wait_for_end()
            assert end.code in (TOO_SLOW, 1006)  # it may have been cut before it could be told
            assert 0 < len(page.got) < len(texts)
            assert isinstance(opened := page.connect(), Frame)
            assert not opened.fields["gap"]
            while len(page.got) < len(texts):
                page.next_message()
                if page.caught_up:
                    page.ack()
            assert page.got == texts, client_id
            page.drop()

    @pytest.mark.parametrize("kind", [WebSocketPage, SsePage])
    def test_one_that_reads_when_it_was_given_up_learns_that_it_was_too_slow_and_resumes(
        self, impatient: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = impatient.client
        page = make_page(kind, impatient, client.create_channel(client_id), buffer_bytes=BUFFER_BYTES)
        page.connect()
        texts = long_texts(1000, 1000)
        began = time.monotonic()
        send_all(impatient, client_id, texts, at_once=500)
        wait_for(lambda: not client.get_client(client_id).connected, "the server gives the page up")
        assert time.monotonic() - began < INTERVAL_SECONDS + TIMEOUT_SECONDS + SLACK_SECONDS
        assert page.wait_for_end().code == TOO_SLOW
        assert 0 < len(page.got) < len(texts)
        assert isinstance(page.connect(), Frame)
        page.wait_for(texts)
        assert page.gaps == 0


class TestSlowPhones:
    BYTES_PER_SECOND = 192 << 10
    TEXTS = long_texts(1000, 1000)

    def test_those_that_take_many_timeouts_for_their_backlog_get_it_and_are_never_ended(
        self, impatient: PushlineProcess, client_id: str
    ) -> None:
        client = impatient.client
        with ExitStack() as stack:
            proxy = stack.enter_context(Proxy(impatient.port, bytes_per_second=self.BYTES_PER_SECOND))
            phones: dict[str, Running] = {}
            for kind in TRANSPORTS:
                for eager in (True, False):
                    own = f"{client_id} {kind.transport} {eager}"
                    page = kind(proxy.port, client.create_channel(own))
                    send_all(impatient, own, self.TEXTS, at_once=500)
                    phones[own] = Running(page, eager=eager)
            began = time.monotonic()
            for phone in phones.values():
                stack.enter_context(phone)
            for phone in phones.values():
                phone.wait_for(self.TEXTS)
            # Else this has tested nothing.
            assert time.monotonic() - began > 2 * (INTERVAL_SECONDS + TIMEOUT_SECONDS)
            for own, phone in phones.items():
                assert client.send_message(own, "live", wait=20).status == "delivered"
                phone.wait_for([*self.TEXTS, "live"])
                assert phone.ends == [], own
                assert phone.page.gaps == 0


class TestHalfOpenConnections:
    """Nothing gets through any more, and nobody is told."""

    def test_they_are_found_by_both_sides_within_interval_and_timeout(
        self, impatient: PushlineProcess, client_id: str
    ) -> None:
        client = impatient.client
        with Proxy(impatient.port) as proxy, ExitStack() as stack:
            named: dict[str, Running] = {}
            for kind in TRANSPORTS:
                own = f"{client_id} {kind.transport}"
                page = kind(proxy.port, client.create_channel(own))
                named[own] = stack.enter_context(Running(page))
            # Pages that answer are not given up.
            alive_until = time.monotonic() + 1.5 * (INTERVAL_SECONDS + TIMEOUT_SECONDS)
            while time.monotonic() < alive_until:
                time.sleep(0.2)
                assert all(client.get_client(own).connected for own in named)
            assert all(running.ends == [] or isinstance(running.page, LongPollPage) for running in named.values())
            proxy.hold()
            began = time.monotonic()
            for own in named:
                assert client.send_message(own, "into the silence").status == "sent"
            found: dict[str, float] = {}

            def all_found() -> bool:
                for own in named:
                    if own not in found and not client.get_client(own).connected:
                        found[own] = time.monotonic() - began
                return len(found) == len(named)

            wait_for(all_found, lambda: f"the server gives them up; {found}")
            assert max(found.values()) < INTERVAL_SECONDS + TIMEOUT_SECONDS + SLACK_SECONDS
            wait_for(lambda: all(running.ends for running in named.values()), "the pages give them up")
            proxy.mend()
            for running in named.values():
                running.wait_for(["into the silence"])
                assert running.page.gaps == 0

    @pytest.mark.parametrize("policy", ["replace", "reject"])
    @pytest.mark.parametrize("kind", TRANSPORTS, ids=lambda kind: kind.transport)
    def test_the_page_that_comes_back_takes_over_from_its_own_silently(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page], policy: str
    ) -> None:
        client = shared_pushline.client
        token = client.create_channel(client_id, policy=policy)
        with Proxy(shared_pushline.port) as proxy:
            hanging = make_page(kind, proxy, token)
            hanging.connect()
            client.send_message(client_id, "one")
            hanging.wait_for(["one"])
            if isinstance(hanging, LongPollPage):
                hanging.poll()
                wait_for(lambda: client.get_client(client_id).queued == 0, "the poll arrives, and acknowledges")
            proxy.hold()
            if not isinstance(hanging, LongPollPage):  # a poll would be over with it
                assert client.send_message(client_id, "two").status == "sent"
            back = make_page(kind, shared_pushline, token)
            back.page, back.cursor = hanging.page, hanging.cursor
            assert not back.enter().fields["gap"]
            if isinstance(hanging, LongPollPage):
                client.send_message(client_id, "two")
            back.wait_for(["two"])
            assert [each.page for each in client.get_client(client_id).connections] == [back.page]
            proxy.mend()
            self._check_silent(hanging)
            status = client.send_message(client_id, "three").status
            assert status == "sent" or isinstance(back, LongPollPage)  # that is between two polls
            back.wait_for(["two", "three"])

    def _check_silent(self, hanging: Page) -> None:
        """The older connection gets what was written to it before, and an end that is none to the page."""
        if isinstance(hanging, LongPollPage):
            assert hanging.next() == Frame("polled", {"cursor": hanging.cursor})
            assert hanging.got == ["one"]
        else:
            assert hanging.wait_for_end() == End(NORMAL)
            assert hanging.got == ["one", "two"]
