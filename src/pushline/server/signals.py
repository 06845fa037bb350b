"""SIGTERM and SIGINT in a program whose ASGI server has its own handlers for them.

Such a server closes its connections first and tells the program last, in ``lifespan.shutdown``. So the pages are asked
to come back before the server hears of the signal (contract, G11).
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final

Handler = Callable[[int, FrameType | None], object]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class SignalDrain:
    """Calls ``drain`` at the first signal and hands it on after that; a second one calls ``hurry`` and goes on at once.

    Only handlers in Python are put off, and only from the main thread, which alone may. A handler of the event loop's
    own (``loop.add_signal_handler``) hears of the signal in the same moment: pages are asked while its server ends.
    """

    def __init__(self, drain: Callable[[], Awaitable[None]], hurry: Callable[[], None]) -> None:
        self._drain = drain
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Handler] = {}
        self._draining: asyncio.Task[None] | None = None
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before) and before is not signal.default_int_handler:
                self._before[number] = before
                signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._heard, number)

    def _heard(self, number: int) -> None:
        if self._draining is None:
            self._draining = self._loop.create_task(self._drain_first(number))
        else:
            self._hurry()
            self._before[number](number, None)

    async def _drain_first(self, number: int) -> None:
        try:
            await self._drain()
        finally:
            self._before[number](number, None)

    def restore(self) -> None:
        """Leave the signals to whoever had them."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, before)
