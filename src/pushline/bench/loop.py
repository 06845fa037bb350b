"""One epoll, and who is called when a socket of it is ready."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from typing import Final

TURN_SECONDS: Final = 0.01
STUCK_SECONDS: Final = 60.0
"""Who waits gives up when nothing has changed for so long."""

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT

Handler = Callable[[int], None]
"""Is given the events."""


def now_ns() -> int:
    """The clock of all moments of a load: nanoseconds."""
    return time.monotonic_ns()


class Loop:
    """Sockets by their descriptors. Level-triggered: what is left unread comes again."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self.every_turn: Callable[[], None] = lambda: None

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call ``handler`` when something happens there, in place of who was called before."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def turn(self, wait: float = TURN_SECONDS) -> None:
        """Call those whose sockets are ready, after at most ``wait`` seconds."""
        handlers = self._handlers
        for descriptor, events in self._epoll.poll(wait, 512):
            if (handler := handlers.get(descriptor)) is not None:  # an earlier one of this turn may have closed it
                handler(events)
        self.every_turn()

    def until(
        self, done: Callable[[], bool], state: Callable[[], object], patience: float = STUCK_SECONDS
    ) -> Iterator[None]:
        """Turn until it is done, or ``state`` has not changed for too long. Yields before each turn."""
        before, moved = state(), time.monotonic()
        while not done():
            yield
            self.turn()
            now = time.monotonic()
            if (after := state()) != before:
                before, moved = after, now
            elif now - moved > patience:
                return

    def close(self) -> None:
        """The sockets are closed by who opened them."""
        self._epoll.close()
