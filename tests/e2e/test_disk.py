"""The store in want: a full disk, a full store, crashes, and room that comes back (contract, G1 and G10)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count, cycle
from pathlib import Path

import pytest
from bench.chaos.page import End

from pushline.client.requests import Item
from pushline.errors import RequestRefused

from .conftest import MakePage, StartPushline
from .processes import PushlineProcess
from .test_crashes import numbers
from .waiting import wait_for
from .wire import TRANSPORTS, LongPollPage, Page, Running, WebSocketPage

pytestmark = pytest.mark.e2e

INTERNAL_ERROR = 1011
FULL = (507, "store_full")
MIB = 1 << 20
DISK_BYTES = 6 * MIB
ROOM_BYTES = 64 * MIB


class SmallDisk:
    """A server whose files find room for :data:`DISK_BYTES`, until it is given more."""

    def __init__(self, pushline: PushlineProcess, *, mounted: bool) -> None:
        self.pushline = pushline
        self._mounted = mounted
        if not mounted:
            pushline.limit_files(DISK_BYTES)

    def grow(self) -> None:
        """Make room."""
        if self._mounted:
            assert run("mount", "-o", f"remount,size={ROOM_BYTES}", str(self.pushline.data_dir))
        else:
            self.pushline.limit_files()


def run(*command: str) -> bool:
    """Whether a program ended well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["a limit for each file", "a file system of its own"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A server on a small disk. Where nothing may be mounted, a limit stands in for the file system as well."""
    process = PushlineProcess(tmp_path)
    process.expected_errors = "commit failed"
    process.data_dir.mkdir()
    folder = str(process.data_dir)
    mounted = request.param == "a file system of its own" and run(
        "mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "pushline-test", folder
    )
    with ExitStack() as stack:
        if mounted:
            stack.callback(run, "umount", folder)
        stack.callback(process.check_output)
        stack.callback(process.close)
        process.start()
        yield SmallDisk(process, mounted=mounted)


def refusal(ask: Callable[[], object]) -> tuple[int, str] | None:
    """Whether, and how, the application is refused."""
    try:
        ask()
    except RequestRefused as refused:
        return refused.status, refused.code
    return None


class TestFullDisk:
    TEXT_BYTES = 16_000
    REFUSALS = 20

    def test_it_refuses_what_it_cannot_keep_loses_nothing_else_and_goes_on_when_there_is_room(
        self, disk: SmallDisk, make_page: MakePage
    ) -> None:
        pushline, client = disk.pushline, disk.pushline.client
        tokens = {f"page {number}": client.create_channel(f"page {number}") for number in range(9)}
        pages = {
            client_id: make_page(kind, pushline, token)
            for (client_id, token), kind in zip(tokens.items(), cycle(TRANSPORTS), strict=False)
        }
        connected = {client_id: page for client_id, page in pages.items() if not isinstance(page, LongPollPage)}
        for page in connected.values():
            page.enter()
        accepted = self._fill(pushline, list(pages))
        assert all(accepted.values())

        # Who is connected gets all there is; who comes now is let in, or asked to come back.
        for client_id, page in connected.items():
            page.wait_for(accepted[client_id])
        for kind in TRANSPORTS:
            event = make_page(kind, pushline, tokens["page 2"]).connect()
            assert not isinstance(event, End) or event.code == INTERNAL_ERROR
        assert pushline.status("/health") == 200

        disk.grow()
        for client_id in pages:
            assert refusal(lambda client_id=client_id: client.send_message(client_id, "room again")) is None  # type: ignore[misc]
            accepted[client_id].append("room again")
        for page in connected.values():
            page.ack()
        wait_for(lambda: all(client.get_client(each).queued < 2 for each in connected), "the acknowledgements count")
        pushline.kill9()
        pushline.restart()
        for client_id, page in pages.items():
            page.enter()
            page.wait_for(accepted[client_id])
            assert page.gaps == 0, client_id

    def _fill(self, pushline: PushlineProcess, client_ids: list[str]) -> dict[str, list[str]]:
        """Send until one send after the other is refused. What was accepted, by client id."""
        accepted: dict[str, list[str]] = {client_id: [] for client_id in client_ids}
        refused = 0
        for number in count():
            assert number < 2 * DISK_BYTES // self.TEXT_BYTES, "The disk never became full."
            client_id = client_ids[number % len(client_ids)]
            text = f"{number} ".ljust(self.TEXT_BYTES, "x")
            told = refusal(lambda client_id=client_id, text=text: pushline.client.send_message(client_id, text))  # type: ignore[misc]
            if told is None:
                accepted[client_id].append(text)
                refused = 0
            else:
                assert told == FULL
                refused += 1
            if refused == self.REFUSALS:
                return accepted
        raise AssertionError


class TestFullStore:
    MOST = 20

    def test_its_limit_of_messages_refuses_until_some_were_acknowledged(
        self, start_pushline: StartPushline, make_page: MakePage
    ) -> None:
        pushline = start_pushline("--max-store-messages", str(self.MOST))
        client = pushline.client
        ann, bob = (make_page(WebSocketPage, pushline, client.create_channel(name)) for name in ("ann", "bob"))
        texts = numbers(1, self.MOST)
        for text in texts:
            assert client.send_message("ann", text).status == "queued"
        for client_id in ("ann", "bob"):
            assert refusal(lambda client_id=client_id: client.send_message(client_id, "too many")) == FULL  # type: ignore[misc]
        items: list[Item] = [{"to": "ann", "data": "too many"}, {"to": "bob", "data": "too many"}]
        assert refusal(lambda: client.send_many(items)) == FULL
        some: list[Item] = [{"to": "nobody", "data": "no channel"}, {"to": "bob", "data": "too many"}]
        told = [(result.status, result.code) for result in client.send_many(some)]
        assert told == [("no_channel", None), (None, "store_full")]
        # What there is outlives a crash, and so does the limit.
        pushline.kill9()
        pushline.restart()
        client = pushline.client
        assert refusal(lambda: client.send_message("bob", "too many")) == FULL
        ann.enter()
        ann.wait_for(texts)
        ann.ack()
        wait_for(lambda: client.get_client("ann").queued == 0, "the acknowledgement counts")
        assert client.send_message("bob", "room again").status == "queued"
        assert client.send_message("ann", "room again").status == "sent"
        bob.enter()
        bob.wait_for(["room again"])
        ann.wait_for([*texts, "room again"])
        assert ann.gaps == bob.gaps == 0


class TestDurability:
    def test_with_disk_everything_that_was_answered_is_there_after_kills(self, start_pushline: StartPushline) -> None:
        pushline = start_pushline("--durability", "disk")
        pages = [kind(pushline.port, pushline.client.create_channel(kind.transport)) for kind in TRANSPORTS]
        texts: list[str] = []
        for _ in range(2):
            for number in numbers(1, 30):
                texts.append(f"{len(texts)} {number}")
                for page in pages:
                    pushline.client.send_message(page.transport, texts[-1])
            pushline.kill9()
            pushline.restart()
        with ExitStack() as stack:
            for running in [stack.enter_context(Running(page)) for page in pages]:
                running.wait_for(texts)
                assert running.page.gaps == 0


class TestRoomThatComesBack:
    BACKLOG_BYTES = 24 * MIB
    TEXT_BYTES = 30_000
    CHANNELS = 8
    SECONDS = 30.0

    def test_the_file_shrinks_when_a_large_backlog_was_acknowledged(self, start_pushline: StartPushline) -> None:
        pushline = start_pushline("--max-channel-bytes", str(self.BACKLOG_BYTES))
        client = pushline.client
        pages: dict[str, Page] = {}
        for number, kind in zip(range(self.CHANNELS), cycle(TRANSPORTS), strict=False):
            pages[f"page {number}"] = kind(pushline.port, client.create_channel(f"page {number}"))
        each = self.BACKLOG_BYTES // self.TEXT_BYTES // len(pages)
        texts = [f"{number} ".ljust(self.TEXT_BYTES, "x") for number in range(each)]
        for client_id in pages:
            for first in range(0, each, 25):
                items: list[Item] = [{"to": client_id, "data": text} for text in texts[first : first + 25]]
                assert {result.status for result in client.send_many(items)} == {"queued"}
        full = self._size(pushline)
        assert full > self.BACKLOG_BYTES * 0.9
        with ExitStack() as stack:
            for running in [stack.enter_context(Running(page)) for page in pages.values()]:
                running.wait_for(texts)
            wait_for(lambda: all(client.get_client(each).queued == 0 for each in pages), "they acknowledge")
            wait_for(lambda: self._size(pushline) < full / 3, lambda: f"{self._size(pushline)} of {full}", self.SECONDS)
            for client_id in pages:
                assert client.send_message(client_id, "after", wait=10).status == "delivered"

    def _size(self, pushline: PushlineProcess) -> int:
        return sum(file.stat().st_size for file in pushline.data_dir.glob("pushline.sqlite3*"))
