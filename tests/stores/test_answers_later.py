"""A store that has to wait answers with futures, and keeps the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from pushline.stores.base import (
    ChannelState,
    ClientList,
    Event,
    Notice,
    NoticeList,
    Operation,
    Orphans,
    Outcome,
    Read,
    StoreOptions,
)
from pushline.stores.memory import MemoryStore
from pushline.testing.stores import StoreConformance

T = TypeVar("T")


class LateStore:
    """A memory store that answers in the next turn of its loop."""

    def __init__(self, options: StoreOptions) -> None:
        self._store = MemoryStore(options.retention, options.room)
        self._loop = asyncio.new_event_loop()

    def _later(self, answer: T) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._loop.call_soon(future.set_result, answer)
        return future

    def commit(self, operations: Sequence[Operation], now: float) -> asyncio.Future[list[Outcome]]:
        return self._later(self._store.commit(operations, now))

    def read(self, client_id: str, after: int, now: float) -> asyncio.Future[Read]:
        return self._later(self._store.read(client_id, after, now))

    def look(self, client_id: str, now: float) -> asyncio.Future[ChannelState | None]:
        return self._later(self._store.look(client_id, now))

    def clients(
        self, prefix: str, after: str, connected: bool | None, limit: int, now: float
    ) -> asyncio.Future[ClientList]:
        return self._later(self._store.clients(prefix, after, connected, limit, now))

    def notices(self, after: int, limit: int) -> asyncio.Future[NoticeList]:
        return self._later(self._store.notices(after, limit))

    def notices_of(self, client_id: str) -> asyncio.Future[Sequence[Notice]]:
        return self._later(self._store.notices_of(client_id))

    def orphans(self) -> Orphans | None:
        return self._store.orphans()

    def sweep(self, now: float) -> bool:
        return self._store.sweep(now)

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self._store.watch(listener)

    def ready(self) -> bool:
        return self._store.ready()

    def close(self) -> None:
        self._store.close()
        self._loop.close()


class TestStoreThatAnswersLater(StoreConformance):
    def make_store(self, options: StoreOptions) -> LateStore:
        return LateStore(options)
