"""Whatever is asked of them, the memory store and the SQLite store answer the same, ids included."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushline.messages import Policy, format_id
from pushline.protocol.tokens import Claims
from pushline.stores.base import Acknowledge, Append, Connect, Connected, Create, Operation, Outcome, Release, Retention
from pushline.stores.memory import MemoryStore
from pushline.stores.sqlite import DATABASE, SqliteStore
from pushline.testing.stores import NOW

RETENTION = Retention(seconds=300, messages=6, bytes=200)
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
    st.tuples(st.just("connect"), picks, pages, st.one_of(st.none(), st.just("odd"), picks)),
    st.tuples(st.just("acknowledge"), picks, picks, picks),
    st.tuples(st.just("release"), names, picks),
)
steps = st.one_of(
    st.tuples(st.just("commit"), st.lists(operations, min_size=1, max_size=4)),
    st.tuples(st.just("wait"), st.sampled_from([0.0005, 4.0, 59.5, 301.0, 601.0, -90.0])),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("read"), names, picks),
)


class Pair:
    """Both stores, and what they have answered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / DATABASE
        self.memory = MemoryStore(RETENTION)
        self.sqlite = SqliteStore(self.path, RETENTION)
        self.now = NOW
        self.claims: list[Claims] = []
        self.fences = [0]
        self.ids = [0]
        self.mortal = False

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("commit", list() as wanted):
                asked = [operation for item in wanted if (operation := self.operation(item)) is not None]
                outcomes = self.memory.commit(asked, self.now)
                assert self.sqlite.commit(asked, self.now) == outcomes
                self.remember(outcomes)
            case ("wait", float() as seconds):
                self.now += seconds
            case ("sweep",):
                assert self.memory.sweep(self.now) == self.sqlite.sweep(self.now)
            case ("reopen",):
                if self.mortal:
                    # What was dropped for want of room is dropped again at the start, unless what has ended by its
                    # own ttl meanwhile leaves the room: then it is kept after all, which no page can tell.
                    self.step(("sweep",))
                self.sqlite.close()
                self.sqlite = SqliteStore(self.path, RETENTION)
            case ("read", str() as name, int() as back):
                self.read(name, self.back(self.ids, back))

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
        live = [claims for claims in self.claims if claims.expires_at > self.now]
        if not live:
            return None
        match item:
            case ("connect", int() as back, str() as page, after):
                cursor = format_id(self.back(self.ids, after)) if isinstance(after, int) else after
                assert cursor is None or isinstance(cursor, str)
                return Connect(live[-1 - back % len(live)], page, cursor)
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
            elif outcome is not None and hasattr(outcome, "id"):
                self.ids.append(outcome.id)

    def read(self, name: str, after: int) -> None:
        assert self.memory.read(name, after, self.now) == self.sqlite.read(name, after, self.now)

    def close(self) -> None:
        for name in ("ann", "bob", "\0🎲"):
            self.read(name, 0)
        self.memory.close()
        self.sqlite.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, min_size=5, max_size=40))
def test_both_stores_tell_the_same_story(folder: Path, story: list[tuple[object, ...]]) -> None:
    pair = Pair(folder / str(next(FOLDERS)))
    try:
        for step in story:
            pair.step(step)
    finally:
        pair.close()
