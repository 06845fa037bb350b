"""A store whose answers come later, as those of one on another machine do."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
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
)
from pushline.stores.memory import MemoryStore

T = TypeVar("T")


class LateStore(ABC):
    """The memory store, which is asked at once; :meth:`later` decides when its answers come."""

    def __init__(self, inner: MemoryStore, loop: asyncio.AbstractEventLoop) -> None:
        self.inner = inner
        self.loop = loop

    @abstractmethod
    def later(self, ask: Callable[[], T]) -> asyncio.Future[T]:
        """Ask, and promise the answer."""

    def commit(self, operations: Sequence[Operation], now: float) -> asyncio.Future[list[Outcome]]:
        return self.later(lambda: self.inner.commit(operations, now))

    def read(self, client_id: str, after: int, now: float) -> asyncio.Future[Read]:
        return self.later(lambda: self.inner.read(client_id, after, now))

    def look(self, client_id: str, now: float) -> asyncio.Future[ChannelState | None]:
        return self.later(lambda: self.inner.look(client_id, now))

    def clients(
        self, prefix: str, after: str, connected: bool | None, limit: int, now: float
    ) -> asyncio.Future[ClientList]:
        return self.later(lambda: self.inner.clients(prefix, after, connected, limit, now))

    def notices(self, after: int, limit: int) -> asyncio.Future[NoticeList]:
        return self.later(lambda: self.inner.notices(after, limit))

    def notices_of(self, client_id: str) -> asyncio.Future[Sequence[Notice]]:
        return self.later(lambda: self.inner.notices_of(client_id))

    def orphans(self) -> Orphans | None:
        return self.inner.orphans()

    def sweep(self, now: float) -> bool:
        return self.inner.sweep(now)

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.inner.watch(listener)

    def ready(self) -> bool:
        return self.inner.ready()

    def close(self) -> None:
        self.inner.close()
