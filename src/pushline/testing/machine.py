"""The machine of a test's Pushline: a process that may be killed, what it keeps, and the ways to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from pushline.callbacks import Answer
from pushline.clock import Clock
from pushline.hub import Hub
from pushline.server.native import NativeFront
from pushline.server.run import store_options
from pushline.server.wiring import Core
from pushline.settings import Settings
from pushline.stores.base import Notice
from pushline.testing.baton import Baton
from pushline.testing.clock import FakeClock, ProcessClock
from pushline.testing.pipe import MemoryPipe
from pushline.testing.presence import InProcess
from pushline.testing.store import NotingStore, Sent
from pushline.testing.wire import PageWire

API_KEY: Final = "the-api-key-of-the-tests"
TOKEN_SECRET: Final = "the-token-secret-of-the-tests"  # noqa: S105 - nothing is kept by it

Tell = Callable[[Notice, Answer], None]
"""Tells the application who is there, and answers with what became of that."""


class Process:
    """One life of the server."""

    callbacks: InProcess

    def __init__(self, settings: Settings, store: NotingStore, clock: FakeClock, tell: Tell) -> None:
        self.clock = ProcessClock(clock)
        self.wires: list[PageWire] = []
        self._tell = tell
        self.core = Core(
            settings,
            store=store,
            api_keys=(API_KEY,),
            token_secrets=(TOKEN_SECRET,),
            clock=self.clock,
            make_callbacks=self._callbacks,
        )
        self.front = NativeFront(self.core.app, self.core.door, self.clock)

    def _callbacks(self, hub: Hub, clock: Clock) -> InProcess:
        self.callbacks = InProcess(hub, clock, self._post)
        return self.callbacks

    def _post(self, notice: Notice, answer: Answer) -> None:
        # Later: the application may ask something, and the hub is in the middle of something.
        self.clock.call_soon(partial(self._tell, notice, answer))


class Machine:
    """Where the process runs, and what outlives it: the store and the clock.

    Whoever calls it holds its ``baton``. ``note`` is told of every message that is sent, ``tell`` of who is there.
    """

    def __init__(self, settings: Settings, clock: FakeClock, note: Callable[[Sent], None], tell: Tell) -> None:
        self.clock = clock
        self.baton = Baton()
        self._settings = settings
        self._note = note
        self._tell = tell
        self._process: Process | None = None
        self.store: NotingStore
        self.wipe()

    def wipe(self) -> None:
        """Begin with an empty store."""
        options = store_options(self._settings)
        self.store = NotingStore(self._note, options.retention, options.room)

    # -- the process ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process, if it does not run."""
        if self._process is None:
            self._process = Process(self._settings, self.store, self.clock, self._tell)

    def kill(self) -> None:
        """End the process without a word."""
        process, self._process = self._process, None
        if process is not None:
            process.clock.kill()
            for wire in process.wires:
                wire.break_off(self.clock.call_soon)

    def terminate(self) -> None:
        """End the process as SIGTERM does, in no time: who reads slowly is cut off."""
        process = self._process
        if process is None:
            return
        process.core.say_goodbye()
        self.clock.turn()
        process.callbacks.stop()
        process.core.hub.finish()
        self.clock.turn()
        process.front.close()
        self.kill()

    # -- the ways to it ------------------------------------------------------------------------------------------

    def dial(self, arrived: Callable[[PageWire], None]) -> PageWire | None:
        """See :class:`pushline.testing.socket.Network`."""
        process = self._process
        if process is None:
            return None
        wire = PageWire(process.front.connection(), process.clock, arrived)
        process.wires = [*(each for each in process.wires if not each.closed), wire]
        return wire

    def exchange(self, request: bytes, wait: float = 0.0) -> bytes:
        """The bytes that answer a request, on a connection of its own. Raises :class:`ConnectionError`.

        When it is answered later, time passes until then, ``wait`` seconds at most.
        """
        process = self._process
        if process is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        pipe = MemoryPipe(process.front.connection())
        pipe.feed(request)
        self.clock.turn()
        if wait:
            self.clock.advance(wait, until=lambda: bool(pipe.get_write_buffer_size()) or not process.clock.alive)
        answer = pipe.take()
        if process.clock.alive:
            pipe.end()
        if not answer:
            raise reset()
        return answer


def reset() -> ConnectionError:
    """The connection was reset: nobody knows what has become of what was asked."""
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
