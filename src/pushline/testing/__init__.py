"""For tests of Pushline and of programs that use it: a server in memory with pages, a clock moved by hand, a wire in
memory, conformance suites.

Each name is loaded at its first use: pytest loads this package in every program that has Pushline installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushline.testing.clock import FakeClock
    from pushline.testing.page import Page
    from pushline.testing.pipe import MemoryPipe
    from pushline.testing.presence import PresenceCall
    from pushline.testing.server import PushlineServer
    from pushline.testing.store import Sent

__all__ = ["FakeClock", "MemoryPipe", "Page", "PresenceCall", "PushlineServer", "Sent"]

_HOMES = {
    "FakeClock": "pushline.testing.clock",
    "MemoryPipe": "pushline.testing.pipe",
    "Page": "pushline.testing.page",
    "PresenceCall": "pushline.testing.presence",
    "PushlineServer": "pushline.testing.server",
    "Sent": "pushline.testing.store",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
