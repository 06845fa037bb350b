"""A store is found by its name, and one that is not known is refused with advice (contract, section 1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushline.errors import ConfigurationError
from pushline.stores import STORES, open_store
from pushline.stores.base import Retention
from pushline.stores.memory import MemoryStore


def test_the_memory_store_is_found_by_its_name(tmp_path: Path) -> None:
    store = open_store("memory", tmp_path, Retention())
    assert isinstance(store, MemoryStore)
    store.close()


def test_a_store_is_found_by_the_word_before_the_colon(tmp_path: Path) -> None:
    store = open_store("memory://anything", tmp_path, Retention())
    assert isinstance(store, MemoryStore)


@pytest.mark.parametrize("url", ["redis://localhost", "", "Memory", ":memory"])
def test_any_other_name_is_refused_in_a_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store(url, tmp_path, Retention())
    assert str(refused.value) == f"--store {url} is not known. Use `memory` or `sqlite`."


def test_every_store_of_the_table_opens(tmp_path: Path) -> None:
    for name in STORES:
        store = open_store(name, tmp_path, Retention())
        assert store.ready()
        store.close()
