"""Where channels and messages live. One file per store; the seam is ``base``.

A store is found by the word before the colon in ``--store``, and its module is loaded only then.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from pushline.errors import ConfigurationError
from pushline.stores.base import Store, StoreOptions

STORES: Final = {"memory": "pushline.stores.memory", "sqlite": "pushline.stores.sqlite"}
"""The word of a store and its module, which has a function ``open_store(url, options)``."""


def open_store(url: str, options: StoreOptions) -> Store:
    """The store that ``url`` names.

    Raises :class:`ConfigurationError` with advice when there is none such, or it cannot do what the options ask for.
    """
    word = url.partition(":")[0]
    if word not in STORES:
        known = " or ".join(f"`{name}`" for name in sorted(STORES))
        raise ConfigurationError(f"--store {url} is not known. Use {known}.")
    return cast("Store", import_module(STORES[word]).open_store(url, options))
