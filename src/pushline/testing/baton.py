"""A lock for what may call back: the holder may take it again, and lend it while it waits for somebody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Baton:
    """Whoever holds it may go on; a context manager.

    An application that is called under it may ask something in a thread of its own, and is waited for: so the holder
    lends it meanwhile (:meth:`lent`).
    """

    __slots__ = ("_depth", "_holder", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0
        self._depth = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._holder != me:
            self._lock.acquire()
            self._holder = me
        self._depth += 1

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._holder = 0
            self._lock.release()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Others may hold it meanwhile."""
        depth, self._depth, self._holder = self._depth, 0, 0
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._holder, self._depth = threading.get_ident(), depth
