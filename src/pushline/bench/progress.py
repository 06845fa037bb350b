"""What a long step tells: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

BAR_CELLS: Final = 24
REDRAW_SECONDS: Final = 0.1
LINE_SECONDS: Final = 10.0


class Bar:
    """Callable with what is going on and how much of it is done, 0 to 1. Writes little, however often it is called."""

    def __init__(self, stream: TextIO = sys.stderr, prefix: str = "") -> None:
        self.prefix = prefix
        self._stream = stream
        self._terminal = stream.isatty()
        self._what = ""
        self._next = 0.0
        self._drawn = 0

    def __call__(self, what: str, done: float) -> None:
        now = time.monotonic()
        if what == self._what and now < self._next:
            return
        self._what = what
        self._next = now + (REDRAW_SECONDS if self._terminal else LINE_SECONDS)
        text = f"{self.prefix}{what}"
        if self._terminal:
            full = int(BAR_CELLS * min(1.0, done))
            self._draw(f"{text}  {'█' * full}{'░' * (BAR_CELLS - full)} {min(1.0, done):4.0%}")
        else:
            self._stream.write(f"{text}: {min(1.0, done):.0%}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Take the bar away, before something else is written."""
        if self._terminal and self._drawn:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()
        self._drawn, self._what = 0, ""

    def _draw(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._drawn))
        self._stream.flush()
        self._drawn = len(text)
