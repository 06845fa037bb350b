"""The memory store keeps the promises of every store."""

from __future__ import annotations

from pathlib import Path

from pushline.stores.base import Retention, Store
from pushline.stores.memory import MemoryStore
from pushline.testing.stores import SharedStoreConformance, StoreConformance


class TestMemoryStore(StoreConformance):
    def make_store(self, folder: Path, retention: Retention) -> MemoryStore:
        return MemoryStore(retention)


class TestMemoryStoreOfSeveralHubs(SharedStoreConformance):
    def make_store(self, folder: Path, retention: Retention) -> MemoryStore:
        return MemoryStore(retention)

    def make_peer(self, store: Store) -> Store:
        assert isinstance(store, MemoryStore)
        return store.peer()
