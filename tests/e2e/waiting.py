"""Waiting for what must happen, instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS: Final = 40.0
"""Far more than anything takes on a slow machine: only a failure waits so long."""


def wait_for(condition: Callable[[], T], what: str | Callable[[], object], seconds: float = PATIENCE_SECONDS) -> T:
    """Ask ``condition`` until it is true, and return what it said. ``what`` tells the reader of a failure."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"This did not happen within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)
    return answer
