"""A store that has to wait answers with futures, and keeps the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tests.stores.late import LateStore

from pushline.stores.base import StoreOptions
from pushline.stores.memory import MemoryStore
from pushline.testing.stores import StoreConformance

T = TypeVar("T")


class NextTurn(LateStore):
    """Answers in the next turn of a loop of its own."""

    def __init__(self, options: StoreOptions) -> None:
        super().__init__(MemoryStore(options.retention, options.room), asyncio.new_event_loop())

    def later(self, ask: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.loop.create_future()
        self.loop.call_soon(future.set_result, ask())
        return future

    def close(self) -> None:
        super().close()
        self.loop.close()


class TestStoreThatAnswersLater(StoreConformance):
    def make_store(self, options: StoreOptions) -> NextTurn:
        return NextTurn(options)
