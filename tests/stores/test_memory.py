"""The memory store keeps the promises of every store."""

from __future__ import annotations

from pushline.stores.base import Store, StoreOptions
from pushline.stores.memory import MemoryStore
from pushline.testing.stores import SharedStoreConformance, StoreConformance


class TestMemoryStore(StoreConformance):
    def make_store(self, options: StoreOptions) -> MemoryStore:
        return MemoryStore(options.retention, options.room)


class TestMemoryStoreOfSeveralHubs(SharedStoreConformance):
    def make_store(self, options: StoreOptions) -> MemoryStore:
        return MemoryStore(options.retention, options.room)

    def make_peer(self, store: Store) -> Store:
        assert isinstance(store, MemoryStore)
        return store.peer()
