"""The import hook for one test, and nothing of it afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import pushline.appengine
from pushline.appengine import service


def _of_google() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "google"}


@pytest.fixture(autouse=True)
def fresh_imports() -> Iterator[None]:
    """Nobody has imported anything of Google, before and after."""
    finders, modules = list(sys.meta_path), _of_google()
    for name in modules:
        del sys.modules[name]
    yield
    sys.meta_path[:] = finders
    for name in _of_google():
        del sys.modules[name]
    sys.modules.update(modules)
    service.use(None)


@pytest.fixture
def installed() -> None:
    """The hook is there."""
    pushline.appengine.install()
