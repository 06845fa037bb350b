from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.hub.stage import Late, Stage

from pushline.stores.memory import MemoryStore


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def stages() -> tuple[Stage, Stage]:
    """Two hubs on one store."""
    store = MemoryStore()
    one = Stage(store)
    return one, Stage(store.peer(), one.clock)


@pytest.fixture
def late() -> Iterator[Late]:
    """A store that answers when the test says so."""
    with closing(asyncio.new_event_loop()) as loop:
        yield Late(loop)
