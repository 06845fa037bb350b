"""Whatever is asked of them, the memory store and the SQLite store answer the same, ids included.

Also when the database takes some commits and not others: then the SQLite store is as if those had never been asked.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushline.errors import StoreError
from pushline.messages import Append, Policy, format_id
from pushline.protocol.tokens import Claims
from pushline.stores.base import (
    Acknowledge,
    Affirm,
    Connect,
    Connected,
    Contested,
    Create,
    Operation,
    Outcome,
    Release,
    Retention,
    Room,
)
from pushline.stores.ledger import KEY_OVERHEAD, Ledger
from pushline.stores.memory import MemoryStore
from pushline.stores.sqlite import DATABASE, SqliteStore
from pushline.testing.stores import NOW

RETENTION = Retention(seconds=300, messages=6, bytes=200)
NARROW = Room(channels=2, messages=9, bytes=500)
FOLDERS = itertools.count()

names = st.sampled_from(["ann", "bob", "\0🎲"])
policies = st.sampled_from(list(Policy))
pages = st.sampled_from(["", "p", "q"])
texts = st.sampled_from([b"x", b"hello", b"y" * 60])
keys = st.sampled_from([None, None, "k", "l"])
ttls = st.sampled_from([None, None, 5.0, 500.0])
picks = st.integers(0, 7)

# One step: commits are made of operations; some name what an earlier step was answered, by counting back.
operations = st.one_of(
    st.tuples(st.just("create"), names, st.sampled_from([60, 600]), policies),
    st.tuples(st.just("append"), names, texts, keys, ttls),
    st.tuples(st.just("append"), names, texts, st.none(), st.none()),
    st.tuples(
        st.just("connect"), picks, pages, st.one_of(st.none(), st.just("odd"), picks), st.one_of(st.none(), picks)
    ),
    st.tuples(st.just("acknowledge"), picks, picks, picks),
    st.tuples(st.just("release"), names, picks),
    st.tuples(st.just("affirm"), names, picks),
)
commits = st.lists(operations, min_size=1, max_size=6)
steps = st.one_of(
    st.tuples(st.just("commit"), commits),
    st.tuples(st.just("fail"), commits),
    st.tuples(st.just("wait"), st.sampled_from([0.0005, 4.0, 59.5, 301.0, 601.0, -90.0])),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("read"), names, picks),
)
stories = st.lists(steps, min_size=5, max_size=40)


def state(ledger: Ledger) -> dict[str, object]:
    """All that a ledger knows of its channels, but for what a journal keeps in its place."""
    return {
        channel.client_id: (
            channel.first,
            channel.last,
            channel.dropped,
            channel.newest_token,
            channel.policy,
            channel.live_until,
            channel.acknowledged,
            channel.keys,
            channel.page,
            channel.fence,
            channel.held,
            [kept[:3] for kept in channel.kept],
            channel.bytes,
        )
        for channel in ledger.channels.values()
    }


def taken(ledger: Ledger) -> tuple[int, int]:
    """The messages and bytes that a ledger's channels have, counted one by one."""
    channels = ledger.channels.values()
    messages = [kept for channel in channels for kept in channel.kept]
    keys = [key for channel in channels for key in channel.keys or ()]
    size = sum(kept[2] for kept in messages) + sum(KEY_OVERHEAD + len(key.encode()) for key in keys)
    return len(messages), size


class Pair:
    """Both stores, and what they have answered."""

    def __init__(self, folder: Path, room: Room) -> None:
        folder.mkdir()
        self.path = folder / DATABASE
        self.room = room
        self.memory = MemoryStore(RETENTION, room)
        self.sqlite = SqliteStore(self.path, RETENTION, room)
        self.now = NOW
        self.claims: list[Claims] = []
        self.fences = [0]
        self.ids = [0]
        self.mortal = False

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("commit", list() as wanted):
                asked = self.asked(wanted)
                outcomes = self.memory.commit(asked, self.now)
                assert self.sqlite.commit(asked, self.now) == outcomes
                self.remember(outcomes)
                self.compare()
            case ("fail", list() as wanted):
                self.fail(self.asked(wanted))
                self.compare()
            case ("wait", float() as seconds):
                self.now += seconds
            case ("sweep",):
                assert self.memory.sweep(self.now) == self.sqlite.sweep(self.now)
            case ("reopen",):
                if self.mortal or self.room == NARROW:
                    # What was dropped for want of room is dropped again at the start, unless what has ended by its
                    # own ttl meanwhile leaves the room: then it is kept after all, which no page can tell.
                    self.step(("sweep",))
                self.sqlite.close()
                self.sqlite = SqliteStore(self.path, RETENTION, self.room)
                ledger = self.sqlite._ledger
                assert ledger.last >= max(*self.fences, *self.ids)
                ledger.lift(self.memory._ledger.last)  # ids of commits that failed were never told to anybody
            case ("read", str() as name, int() as back):
                self.read(name, self.back(self.ids, back))

    def asked(self, wanted: list[tuple[object, ...]]) -> list[Operation]:
        return [operation for item in wanted if (operation := self.operation(item)) is not None]

    def fail(self, asked: list[Operation]) -> None:
        """The database does not take a commit."""
        ledger = self.sqlite._ledger
        connection = self.sqlite._connection
        connection.set_commit_hook(lambda: True)
        try:
            outcomes = self.sqlite.commit(asked, self.now)
        except StoreError:
            self.memory._ledger.lift(ledger.last)  # ids that were given are not given again
        else:  # there was nothing to write
            assert self.memory.commit(asked, self.now) == outcomes
        finally:
            connection.set_commit_hook(None)

    def compare(self) -> None:
        """Both know the same, and have counted right what it takes."""
        memory, sqlite = self.memory._ledger, self.sqlite._ledger
        assert state(sqlite) == state(memory)
        assert sqlite.last == memory.last
        for ledger in (memory, sqlite):
            messages, size = taken(ledger)
            assert self.room.messages - ledger._free_messages == messages <= self.room.messages
            assert self.room.bytes - ledger._free_bytes == size <= self.room.bytes

    def back(self, things: list[int], count: int) -> int:
        return things[-1 - count % len(things)]

    def operation(self, item: tuple[object, ...]) -> Operation | None:
        match item:
            case ("create", str() as name, int() as seconds, Policy() as policy):
                return Create(name, seconds, policy)
            case ("append", str() as name, bytes() as data, key, ttl):
                assert key is None or isinstance(key, str)
                assert ttl is None or isinstance(ttl, float)
                self.mortal = self.mortal or ttl is not None
                return Append(name, data, key, ttl)
            case ("release", str() as name, int() as back):
                return Release(name, self.back(self.fences, back))
            case ("affirm", str() as name, int() as back):
                return Affirm(name, self.back(self.fences, back))
        live = [claims for claims in self.claims if claims.expires_at > self.now]
        if not live:
            return None
        match item:
            case ("connect", int() as back, str() as page, after, fence):
                cursor = format_id(self.back(self.ids, after)) if isinstance(after, int) else after
                assert cursor is None or isinstance(cursor, str)
                displace = self.back(self.fences, fence) if isinstance(fence, int) else 0
                return Connect(live[-1 - back % len(live)], page, cursor, displace)
            case ("acknowledge", int() as token, int() as fence, int() as id):
                claims = live[-1 - token % len(live)]
                return Acknowledge(claims.client_id, claims.id, self.back(self.fences, fence), self.back(self.ids, id))
        raise AssertionError(item)

    def remember(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Claims):
                self.claims.append(outcome)
            if isinstance(outcome, Connected):
                self.fences.append(outcome.fence)
            elif isinstance(outcome, Contested):
                assert outcome.fence in self.fences
            elif outcome is not None and hasattr(outcome, "id"):
                self.ids.append(outcome.id)

    def read(self, name: str, after: int) -> None:
        assert self.memory.read(name, after, self.now) == self.sqlite.read(name, after, self.now)
        assert self.memory.look(name, self.now) == self.sqlite.look(name, self.now)

    def close(self) -> None:
        for name in ("ann", "bob", "\0🎲"):
            self.read(name, 0)
        self.memory.close()
        self.sqlite.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.mark.parametrize("room", [Room(), NARROW], ids=["wide", "narrow"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories)
def test_both_stores_tell_the_same_story(folder: Path, room: Room, story: list[tuple[object, ...]]) -> None:
    pair = Pair(folder / str(next(FOLDERS)), room)
    try:
        for step in story:
            pair.step(step)
    finally:
        pair.close()
