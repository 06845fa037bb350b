"""A store is found by its name, and one that is not known is refused with advice (contract, section 1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushline.errors import ConfigurationError
from pushline.messages import Append, Policy
from pushline.stores import STORES, open_store
from pushline.stores.base import ChannelState, Create, Durability, Full, Retention, Room, StoreOptions
from pushline.stores.memory import MemoryStore
from pushline.testing.stores import NOW


def test_the_memory_store_is_found_by_its_name(tmp_path: Path) -> None:
    store = open_store("memory", StoreOptions(tmp_path))
    assert isinstance(store, MemoryStore)
    store.close()


def test_a_store_is_found_by_the_word_before_the_colon(tmp_path: Path) -> None:
    store = open_store("memory://anything", StoreOptions(tmp_path))
    assert isinstance(store, MemoryStore)


@pytest.mark.parametrize("url", ["redis://localhost", "", "Memory", ":memory"])
def test_any_other_name_is_refused_in_a_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url, StoreOptions(tmp_path))
    assert str(refused.value) == f"--store {url} is not known. Use `memory` or `sqlite`."


def test_memory_cannot_promise_to_survive_a_power_cut(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store("memory", StoreOptions(tmp_path, durability=Durability.DISK))
    assert str(refused.value) == (
        "--store memory keeps nothing on disk, so it cannot do --durability disk. Use --store sqlite for that."
    )


@pytest.mark.parametrize("name", STORES)
def test_a_store_is_opened_with_its_limits(name: str, tmp_path: Path) -> None:
    store = open_store(name, StoreOptions(tmp_path, Retention(messages=1), Room(channels=1)))
    operations = [Create("ann", 60, Policy.SHARE), Create("bob", 60, Policy.SHARE)]
    outcomes = store.commit([*operations, Append("ann", b"0"), Append("ann", b"1")], NOW)
    state = store.look("ann", NOW)
    assert isinstance(outcomes, list)
    assert outcomes[1] == Full()
    assert isinstance(state, ChannelState)
    assert state.queued == 1
    store.close()


def test_every_store_of_the_table_opens(tmp_path: Path) -> None:
    for name in STORES:
        store = open_store(name, StoreOptions(tmp_path))
        assert store.ready()
        store.close()
