"""What goes wrong between pages and server, on every transport and without a browser (contract, sections 2 and 3)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle, pairwise
from urllib.parse import urlencode

import pytest
from bench.chaos.page import End
from bench.chaos.sse import EventReader
from websockets.frames import Close, Opcode
from websockets.frames import Frame as WireFrame

from pushline.client.requests import Item

from .conftest import MakePage, StartProgram, StartPushline
from .processes import COMMAND, PushlineProcess
from .proxy import Proxy
from .test_crashes import Sender, numbers
from .waiting import wait_for
from .wire import TRANSPORTS, Frame, LongPollPage, Message, Page, Running, SsePage, WebSocketPage, up

pytestmark = pytest.mark.e2e

NORMAL = 1000
REPLACED = 4409
CONTEST_SECONDS = 2.0
SLACK_SECONDS = 2.0
"""What the machine may take on top, when it is busy."""

on_every_transport = pytest.mark.parametrize("kind", TRANSPORTS, ids=lambda kind: kind.transport)


class LastEventIdPage(SsePage):
    """Resumes as the `EventSource` of browsers does."""

    def _ask(self) -> None:
        self._reader = EventReader()
        self._request(urlencode({"page": self.page}), Last_Event_ID=self.cursor)


class TestManyConnections:
    PAGES = 500
    ROUNDS = 5
    MOST_ROUNDS = 20
    GROWTH_BYTES = 512 << 10
    """What two rounds may add: connections that leave half a KiB behind are found."""
    SPARE_DESCRIPTORS = 4
    """The store opens a file or two when it needs them."""

    def test_pages_that_come_all_at_once_and_vanish_leave_nothing_behind(
        self, start_pushline: StartPushline, make_page: MakePage
    ) -> None:
        # Some of what a connection has is let go when its next ping would have been due.
        pushline = start_pushline("--grace", "0", "--ping-interval", "1", "--ping-timeout", "1")
        pages: list[Page] = [
            make_page(kind, pushline, pushline.client.create_channel(f"page {number}"))
            for number, kind in zip(range(self.PAGES), cycle(TRANSPORTS))
        ]
        before = pushline.descriptors()
        memory: list[int] = []
        while len(memory) < self.ROUNDS or memory[-1] - memory[-3] >= self.GROWTH_BYTES:
            assert len(memory) < self.MOST_ROUNDS, f"Memory keeps growing: {memory}"
            for page in pages:
                page.open()
            for page in pages:
                assert isinstance(event := page.next(), Frame), event
            assert pushline.descriptors() > before + self.PAGES / 2
            for page in pages:
                page.drop()
            wait_for(
                lambda: pushline.descriptors() <= before + self.SPARE_DESCRIPTORS,
                lambda: f"{pushline.descriptors()} descriptors become {before} again",
            )
            memory.append(pushline.resident_bytes())


class TestFirstMessages:
    @on_every_transport
    def test_101_messages_wait_for_a_page_that_is_not_there_yet(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        page = make_page(kind, shared_pushline, client.create_channel(client_id))
        texts = numbers(1, 101)
        assert {client.send_message(client_id, text).status for text in texts} == {"queued"}
        page.enter()
        page.wait_for(texts)
        assert client.send_message(client_id, "102").status == "sent" or kind is LongPollPage
        page.wait_for([*texts, "102"])
        assert page.gaps == 0

    @on_every_transport
    def test_a_page_that_comes_back_before_and_after_any_message_misses_none_and_gets_none_twice(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        page = make_page(kind, shared_pushline, client.create_channel(client_id))
        for _ in range(3):
            page.enter()
        client.send_message(client_id, "one")
        page.wait_for(["one"])
        for _ in range(3):
            page.enter()
        page.drop()
        client.send_message(client_id, "two")
        for _ in range(2):  # the second time it has acknowledged by coming back, and nothing is new
            page.enter()
            page.wait_for(["one", "two"])
        client.send_message(client_id, "three")
        page.wait_for(["one", "two", "three"])
        assert page.gaps == 0

    @on_every_transport
    def test_a_new_page_gets_exactly_what_was_sent_after_its_token_while_the_old_one_is_still_there(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        old = make_page(kind, shared_pushline, client.create_channel(client_id))
        old.enter()
        for text in ("one", "two"):
            client.send_message(client_id, text)
        old.wait_for(["one", "two"])
        new = make_page(kind, shared_pushline, client.create_channel(client_id))
        for text in ("three", "four"):
            client.send_message(client_id, text)
        old.wait_for(["one", "two", "three", "four"])
        old.ack()
        new.enter()
        new.wait_for(["three", "four"])
        assert old.wait_for_end().code == REPLACED
        client.send_message(client_id, "five")
        new.wait_for(["three", "four", "five"])
        assert new.gaps == 0


class TestStrangeCursors:
    """G5: never an error, never silence."""

    KINDS = (*TRANSPORTS, LastEventIdPage)
    MALFORMED = ("x", "1", "1-", "-1", "1-1-1", "1-x", "01-1", "1e3-0", "9" * 30 + "-0", "0x1-0", "1 - 1", '{"a":1}')

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_cursor_of_no_known_form_is_a_gap(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        for number, cursor in enumerate(self.MALFORMED):
            self._check_gap(shared_pushline, make_page, f"{client_id} {number}", kind, cursor)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("cursor", ["1-1", "99999999999999-0"])
    def test_a_cursor_below_or_above_everything_is_a_gap(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page], cursor: str
    ) -> None:
        self._check_gap(shared_pushline, make_page, client_id, kind, cursor)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_cursor_of_another_channel_is_a_gap(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        client.create_channel(f"{client_id} another")
        older = client.send_message(f"{client_id} another", "of another channel").id
        assert older is not None
        self._check_gap(shared_pushline, make_page, client_id, kind, older)
        newer = client.send_message(f"{client_id} another", "of another channel").id
        assert newer is not None
        page = make_page(kind, shared_pushline, client.create_channel(f"{client_id} too"))
        page.cursor = client.send_message(f"{client_id} another", "of another channel").id or ""
        page.enter()
        assert page.gaps == 1

    def _check_gap(
        self, pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page], cursor: str
    ) -> None:
        client = pushline.client
        page = make_page(kind, pushline, client.create_channel(client_id))
        for text in ("one", "two"):
            client.send_message(client_id, text)
        page.cursor = cursor
        page.enter()
        page.wait_for(["one", "two"])
        assert page.gaps == 1, cursor
        client.send_message(client_id, "three")
        page.wait_for(["one", "two", "three"])
        page.enter()  # with the cursor that the server gave it
        assert page.gaps == 1
        page.drop()


class TestOnePlace:
    ROUNDS = 8

    @pytest.mark.parametrize("kinds", [*pairwise((*TRANSPORTS, WebSocketPage)), (WebSocketPage, WebSocketPage)])
    def test_of_two_pages_that_race_one_wins_and_the_other_is_told_once_and_does_not_come_back(
        self,
        shared_pushline: PushlineProcess,
        make_page: MakePage,
        client_id: str,
        kinds: tuple[type[Page], type[Page]],
    ) -> None:
        client = shared_pushline.client
        token = client.create_channel(client_id)
        for number in range(self.ROUNDS):
            racers = [make_page(kind, shared_pushline, token) for kind in kinds]
            for page in racers if number % 2 else reversed(racers):
                page.open()
            for page in racers:
                assert isinstance(event := page.next(), Frame), event
            client.send_message(client_id, f"for the winner {number}")
            last = [self._message_or_end(page) for page in racers]
            assert last.count(End(REPLACED)) == 1, last
            (message,) = (each for each in last if isinstance(each, Message))
            assert message.data == f"for the winner {number}"
            loser, winner = (racers[last.index(each)] for each in (End(REPLACED), message))
            # A program that fights back is the loser again, and the winner does not notice.
            assert loser.connect() == End(REPLACED)
            client.send_message(client_id, "still for the winner")
            assert winner.next_message() == "still for the winner"
            winner.ack()

    def _message_or_end(self, page: Page) -> Message | End:
        while isinstance(event := page.next(), Frame):
            pass
        return event

    @on_every_transport
    def test_a_page_that_answers_keeps_the_place_under_reject(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        holder = make_page(kind, shared_pushline, client.create_channel(client_id, policy="reject"))
        with Running(holder) as running:
            for newcomer_kind in TRANSPORTS:
                newcomer = make_page(newcomer_kind, shared_pushline, client.create_channel(client_id, policy="reject"))
                began = time.monotonic()
                assert newcomer.connect() == End(REPLACED)
                assert time.monotonic() - began < CONTEST_SECONDS
            assert client.send_message(client_id, "for the holder", wait=10).status == "delivered"
            running.wait_for(["for the holder"])
            assert running.ends == []

    def test_a_page_that_does_not_answer_loses_the_place_under_reject_within_two_seconds(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str
    ) -> None:
        client = shared_pushline.client
        contests: list[tuple[str, Page, Page]] = []
        for kind in TRANSPORTS:
            own = f"{client_id} {kind.transport}"
            holder, newcomer = (
                make_page(kind, shared_pushline, client.create_channel(own, policy="reject"), answers=False)
                for _ in range(2)
            )
            holder.enter()
            contests.append((own, holder, newcomer))
        began = time.monotonic()
        for _, _, newcomer in contests:
            newcomer.open()
        with pytest.raises(TimeoutError):
            contests[0][2].next(CONTEST_SECONDS * 0.8)
        for own, holder, newcomer in contests:
            assert isinstance(event := newcomer.next(), Frame), event
            assert time.monotonic() - began < CONTEST_SECONDS + SLACK_SECONDS
            client.send_message(own, "for the newcomer")
            newcomer.wait_for(["for the newcomer"])
            newcomer.answers = True
            with Running(newcomer):  # now it would stay
                assert holder.wait_for_end().code == REPLACED
            assert holder.got == []


class TestLostStore:
    def test_pages_come_back_with_a_gap_to_a_server_whose_database_was_deleted(
        self, pushline: PushlineProcess, make_page: MakePage
    ) -> None:
        client = pushline.client
        pages = {
            kind.transport: make_page(kind, pushline, client.create_channel(kind.transport)) for kind in TRANSPORTS
        }
        tokens = {client_id: page.token for client_id, page in pages.items()}
        for client_id, page in pages.items():
            page.enter()
            client.send_message(client_id, "before")
            page.wait_for(["before"])
            page.drop()
        fresh_token = client.create_channel("nobody yet")
        assert pushline.terminate() == 0
        files = list(pushline.data_dir.glob("*sqlite3*"))
        assert files
        for file in files:
            file.unlink()
        pushline.restart()
        for client_id, page in pages.items():
            page.enter()
            assert page.gaps == 1, client_id
            pushline.client.send_message(client_id, "after")
            page.wait_for(["before", "after"])
            page.enter()
            assert page.gaps == 1, client_id
            assert pushline.client.create_channel(client_id) != tokens[client_id]
        fresh = make_page(WebSocketPage, pushline, fresh_token)
        fresh.enter()
        assert fresh.gaps == 1
        assert pushline.client.send_message("nobody yet", "after").status == "sent"
        fresh.wait_for(["after"])


class TestSegments:
    """TCP cuts a stream of bytes wherever it likes."""

    def test_an_acknowledgement_and_a_close_in_one_segment_are_both_heard(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str
    ) -> None:
        client = shared_pushline.client
        page = make_page(WebSocketPage, shared_pushline, client.create_channel(client_id))
        page.enter()
        id = client.send_message(client_id, "one").id
        page.wait_for(["one"])
        page.send_raw(
            up("ack", page.cursor) + WireFrame(Opcode.CLOSE, Close(NORMAL, "").serialize()).serialize(mask=True)
        )
        assert page.wait_for_end().code == NORMAL
        state = client.get_client(client_id)
        assert (state.acknowledged, state.connected, state.queued) == (id, False, 0)

    def test_a_handshake_with_frames_behind_it_in_one_segment_is_answered(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str
    ) -> None:
        client = shared_pushline.client
        page = make_page(WebSocketPage, shared_pushline, client.create_channel(client_id))
        page.open(besides=up("ack") + up("ack"))
        assert isinstance(event := page.next(), Frame), event
        client.send_message(client_id, "one")
        page.wait_for(["one"])

    def test_a_frame_is_understood_wherever_it_is_split(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str
    ) -> None:
        client = shared_pushline.client
        page = make_page(WebSocketPage, shared_pushline, client.create_channel(client_id))
        page.enter()
        split = 1
        while True:
            id = client.send_message(client_id, f"number {split}").id
            assert page.next_message() == f"number {split}"
            frame = up("ack", page.cursor)
            if split == len(frame):
                break
            page.send_raw(frame[:split])
            # When this is answered, the server has read what came before.
            assert client.get_client(client_id).acknowledged != id
            page.send_raw(frame[split:])
            wait_for(lambda id=id: client.get_client(client_id).acknowledged == id, f"{frame!r} in two, at {split}")  # type: ignore[misc]
            split += 1
        for byte in frame:
            page.send_raw(bytes([byte]))
        wait_for(lambda: client.get_client(client_id).acknowledged == id, "a frame byte by byte")


class TestStatuses:
    """G6: true answers."""

    @on_every_transport
    def test_a_send_that_waits_is_delivered_when_the_page_has_acknowledged_it(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        page = make_page(kind, shared_pushline, client.create_channel(client_id))
        assert client.get_client(client_id).acknowledged is None
        with Running(page) as running:
            for number in range(1, 6):
                result = client.send_message(client_id, str(number), wait=20)
                assert result.status == "delivered"
                # Before it was, the page had it.
                assert running.page.got[-1] == str(number)
                assert client.get_client(client_id).acknowledged == result.id

    @on_every_transport
    def test_a_send_that_waits_in_vain_was_sent_or_queued_and_tells_so_in_time(
        self, shared_pushline: PushlineProcess, make_page: MakePage, client_id: str, kind: type[Page]
    ) -> None:
        client = shared_pushline.client
        page = make_page(kind, shared_pushline, client.create_channel(client_id), answers=False)
        page.enter()
        began = time.monotonic()
        sent = client.send_message(client_id, "read by nobody", wait=0.5)
        assert sent.status == "sent"
        assert 0.4 < time.monotonic() - began < 0.5 + SLACK_SECONDS
        state = client.get_client(client_id)
        assert (state.acknowledged, state.queued) == (None, 1)
        page.drop()
        # Between two polls nothing is written to a page: it may well come back.
        wait_for(lambda: kind is LongPollPage or not client.get_client(client_id).connected, "the page is gone")
        assert client.send_message(client_id, "away", wait=0.2).status == "queued"
        # A page that comes meanwhile and acknowledges answers it.
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(client.send_message, client_id, "soon", wait=20)
            wait_for(lambda: client.get_client(client_id).queued == 3, "the message is kept")
            page.answers = True
            with Running(page) as running:
                assert waiting.result().status == "delivered"
                running.wait_for(["read by nobody", "away", "soon"])


class TestKill:
    def test_a_repeat_after_a_kill_has_the_same_id_and_takes_effect_once(
        self, pushline: PushlineProcess, make_page: MakePage
    ) -> None:
        page = make_page(WebSocketPage, pushline, pushline.client.create_channel("ann"))
        first = pushline.client.send_message("ann", "once", idempotency_key="a-key")
        items: list[Item] = [{"to": "ann", "data": "once more", "key": "another-key"}]
        (second,) = pushline.client.send_many(items)
        pushline.kill9()
        pushline.restart()
        again = pushline.client.send_message("ann", "once", idempotency_key="a-key")
        assert (again.id, again.status) == (first.id, "queued")
        assert [result.id for result in pushline.client.send_many(items)] == [second.id]
        page.enter()
        assert pushline.client.send_message("ann", "last").status == "sent"
        page.wait_for(["once", "once more", "last"])

    def test_every_send_that_was_answered_arrives_once_on_every_transport(self, pushline: PushlineProcess) -> None:
        with ExitStack() as stack:
            running: dict[str, Running] = {}
            for kind in TRANSPORTS:
                page = kind(pushline.port, pushline.client.create_channel(kind.transport))
                running[kind.transport] = stack.enter_context(Running(page))
            senders = {client_id: Sender(pushline, client_id) for client_id in running}
            with ExitStack() as sending:
                for sender in senders.values():
                    sending.enter_context(sender.sending())
                for _ in range(2):
                    self._wait_for_more(running)
                    pushline.kill9()
                    pushline.restart()
                self._wait_for_more(running)
            for client_id, each in running.items():
                each.wait_for(numbers(1, senders[client_id].last))
                assert each.page.gaps == 0
                assert len(each.ends) >= 2
                assert senders[client_id].statuses <= {"sent", "queued"}

    def _wait_for_more(self, running: dict[str, Running]) -> None:
        came = {client_id: len(each.page.got) for client_id, each in running.items()}
        wait_for(
            lambda: all(len(each.page.got) >= came[client_id] + 20 for client_id, each in running.items()),
            lambda: {client_id: (len(each.page.got), each.ends) for client_id, each in running.items()},
        )


class TestPortal:
    """Something else answers in the server's place: a hotel that wants its guests to sign in, a proxy's error page."""

    @pytest.fixture
    def proxy(self, shared_pushline: PushlineProcess) -> Iterator[Proxy]:
        with Proxy(shared_pushline.port) as between:
            yield between

    def test_pushline_listen_keeps_trying_and_goes_on_where_it_was(
        self, shared_pushline: PushlineProcess, proxy: Proxy, start_program: StartProgram, client_id: str
    ) -> None:
        client = shared_pushline.client
        token = client.create_channel(client_id)
        client.send_message(client_id, "before")
        listener = start_program([COMMAND, "listen", "--url", proxy.url, "--token", token])
        wait_for(lambda: "before\n" in listener.output, lambda: listener.output)
        proxy.portal()
        client.send_message(client_id, "meanwhile")
        wait_for(lambda: proxy.signed_in >= 2 or not listener.running, lambda: listener.output)
        assert listener.running, listener.output
        proxy.mend()
        wait_for(lambda: "meanwhile\n" in listener.output or not listener.running, lambda: listener.output)
        client.send_message(client_id, "after")
        wait_for(lambda: "after\n" in listener.output or not listener.running, lambda: listener.output)
        lines = [line for line in listener.output.splitlines() if line in ("before", "meanwhile", "after")]
        assert lines == ["before", "meanwhile", "after"]
        assert "missing" not in listener.output
        assert "Traceback" not in listener.output
