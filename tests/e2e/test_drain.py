"""A server that is stopped sees its pages out, and lets them in again no faster than it can (contract, G11 and W8)."""

from __future__ import annotations

import heapq
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle

import pytest
from bench.chaos.page import End

from .conftest import MakePage, StartPushline
from .processes import PushlineProcess
from .test_crashes import Sender, numbers
from .waiting import wait_for
from .wire import TRANSPORTS, Page, Running, WebSocketPage

pytestmark = pytest.mark.e2e

GOING_AWAY = 1001
TOO_MANY = 4503
CLOSE_SECONDS = 5.0
"""How long a page may hold up the end (contract, W1: the echo of a close)."""
SLACK_SECONDS = 4.0
"""What the machine may take on top, when it is busy."""


def open_page(pushline: PushlineProcess, kind: type[Page], client_id: str, make_page: MakePage) -> Page:
    """A page that is connected, and has got the one message that was sent to it."""
    page = make_page(kind, pushline, pushline.client.create_channel(client_id))
    page.enter()
    pushline.client.send_message(client_id, "before")
    page.wait_for(["before"])
    page.ack()
    return page


def begin_to_drain(pushline: PushlineProcess) -> float:
    """Send SIGTERM, and return its time when the server says that it goes away."""
    began = time.monotonic()
    pushline.send_signal(signal.SIGTERM)
    wait_for(lambda: pushline.status("/ready") == 503, "/ready says that the server goes away", CLOSE_SECONDS)
    return began


class TestSigterm:
    EACH = 8
    DRAIN_SECONDS = 4

    def test_every_page_is_told_its_own_moment_while_the_application_is_still_served(
        self, start_pushline: StartPushline, make_page: MakePage
    ) -> None:
        pushline = start_pushline("--drain-seconds", str(self.DRAIN_SECONDS))
        named = {
            f"{kind.transport} {number}": open_page(pushline, kind, f"{kind.transport} {number}", make_page)
            for kind in TRANSPORTS
            for number in range(self.EACH)
        }
        # It never answers the close, so the server is there for as long as it waits for anyone.
        stubborn = open_page(pushline, WebSocketPage, "stubborn", make_page)
        with ThreadPoolExecutor() as threads:
            asked = time.monotonic()
            waited = threads.submit(pushline.client.send_message, "stubborn", "waited for", wait=30)
            wait_for(lambda: stubborn.next_message() == "waited for", "the message that is waited for")
            began = begin_to_drain(pushline)
            assert waited.result(CLOSE_SECONDS).status == "sent"
            assert time.monotonic() - asked < CLOSE_SECONDS
        ends = {client_id: page.wait_for_end() for client_id, page in named.items()}
        assert {end.code for end in ends.values()} == {GOING_AWAY}
        self._check_moments(ends)
        for kind in TRANSPORTS:  # nobody is let in
            newcomer = make_page(kind, pushline, pushline.client.create_channel(f"new {kind.transport}"))
            assert isinstance(refused := newcomer.connect(), End)
            assert refused.code == GOING_AWAY
            assert refused.retry is not None
            assert 0 <= refused.retry <= self.DRAIN_SECONDS
        for client_id in named:
            assert pushline.client.send_message(client_id, "meanwhile").status == "queued"
        assert pushline.client.send_message("stubborn", "meanwhile", wait=20).status == "queued"
        assert pushline.running
        assert pushline.status("/health") == 200
        assert pushline.wait() == 0
        took = time.monotonic() - began
        assert CLOSE_SECONDS - 0.5 < took < CLOSE_SECONDS + SLACK_SECONDS
        pushline.restart()
        for client_id, page in named.items():
            assert page.gaps == 0
            page.enter()
            assert pushline.client.send_message(client_id, "after").status == "sent"
            page.wait_for(["before", "meanwhile", "after"])
            assert page.gaps == 0

    def _check_moments(self, ends: dict[str, End]) -> None:
        exact: list[float] = []
        coarse: list[float] = []
        for client_id, end in ends.items():
            assert end.retry is not None, client_id
            assert 0 <= end.retry <= self.DRAIN_SECONDS
            (coarse if client_id.startswith("longpoll") else exact).append(end.retry)
        # Of 16 moments that chance has spread over the drain, all within a third of it: once in a million runs.
        assert len(set(exact)) > self.EACH
        assert max(exact) - min(exact) > self.DRAIN_SECONDS / 3
        assert len(set(coarse)) > 1  # `Retry-After` knows whole seconds only

    def test_a_second_one_ends_the_server_at_once(self, pushline: PushlineProcess, make_page: MakePage) -> None:
        stubborn = open_page(pushline, WebSocketPage, "stubborn", make_page)
        began = begin_to_drain(pushline)
        pushline.send_signal(signal.SIGTERM)
        assert pushline.wait() == 0
        assert time.monotonic() - began < CLOSE_SECONDS - 1
        assert stubborn.wait_for_end().code == GOING_AWAY

    def test_nothing_is_lost_or_doubled_when_it_comes_among_many_messages(self, start_pushline: StartPushline) -> None:
        pushline = start_pushline("--drain-seconds", "1")
        with ExitStack() as stack:
            running, senders = [], []
            for kind in TRANSPORTS:
                client_id = kind.transport
                page = kind(pushline.port, pushline.client.create_channel(client_id))
                running.append(stack.enter_context(Running(page)))
                senders.append(Sender(pushline, client_id))
            with ExitStack() as sending:
                for sender in senders:
                    sending.enter_context(sender.sending())
                wait_for(lambda: all(len(each.page.got) > 20 for each in running), "all pages are served")
                assert pushline.terminate() == 0
                pushline.restart()
                came = [len(each.page.got) for each in running]
                wait_for(
                    lambda: all(len(each.page.got) > n + 20 for each, n in zip(running, came, strict=True)),
                    "all pages are served again",
                )
            for each, sender in zip(running, senders, strict=True):
                each.wait_for(numbers(1, sender.last))
                assert sender.statuses <= {"sent", "queued"}
                assert each.page.gaps == 0
                assert GOING_AWAY in {end.code for end in each.ends}


class TestAllPagesAtOnce:
    PAGES = 300
    RATE = 20
    BURST_SECONDS = 5
    """So many seconds' worth are let in at once."""

    def test_they_are_let_in_one_after_the_other_and_nothing_is_lost(
        self, start_pushline: StartPushline, make_page: MakePage
    ) -> None:
        pushline = start_pushline("--connect-rate", str(self.RATE))
        pages = [
            make_page(kind, pushline, pushline.client.create_channel(f"page {number}"))
            for number, kind in zip(range(self.PAGES), cycle(TRANSPORTS))
        ]
        sent = pushline.client.send_many([{"to": f"page {n}", "data": f"for {n}"} for n in range(self.PAGES)])
        assert {result.status for result in sent} == {"queued"}
        pushline.kill9()
        pushline.restart()
        began = time.monotonic()
        refusals = self._come_in(pages)
        took = time.monotonic() - began
        # The server counts from the first of them on; it lets nobody in before there is room.
        late = self.PAGES - self.RATE * self.BURST_SECONDS
        assert took > late / self.RATE - 1
        counts = [len(each) for each in refusals.values()]
        assert sum(count > 0 for count in counts) > late - self.RATE * 2
        assert max(counts) <= 2
        assert sum(count == 2 for count in counts) <= self.PAGES // 20
        moments = [end.retry for page, each in refusals.items() for end in each if isinstance(page, WebSocketPage)]
        assert len(set(moments)) == len(moments)
        for number, page in enumerate(pages):
            page.wait_for([f"for {number}"])
            assert page.gaps == 0

    def _come_in(self, pages: list[Page]) -> dict[Page, list[End]]:
        """Let pages connect, and come back when they are told to. How each of them was refused."""
        refusals: dict[Page, list[End]] = {page: [] for page in pages}
        for page in pages:
            page.open()
        waiting: list[tuple[float, int]] = []
        for number, page in enumerate(pages):
            self._look(page, number, refusals[page], waiting)
        while waiting:
            moment, number = heapq.heappop(waiting)
            time.sleep(max(0.0, moment - time.monotonic()))
            pages[number].open()
            self._look(pages[number], number, refusals[pages[number]], waiting)
        return refusals

    def _look(self, page: Page, number: int, refused: list[End], waiting: list[tuple[float, int]]) -> None:
        event = page.next()
        if isinstance(event, End):
            assert event.code == TOO_MANY
            assert event.retry is not None
            assert 0 < event.retry < self.PAGES / self.RATE
            refused.append(event)
            heapq.heappush(waiting, (time.monotonic() + event.retry, number))
