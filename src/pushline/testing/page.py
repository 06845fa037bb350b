"""A page in memory: what a test sees of it, what its user does, and what may go wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec

from pushline.protocol.codes import NORMAL
from pushline.protocol.frames import Leave
from pushline.testing.explain import Text, explain_page, matches
from pushline.testing.socket import Network, RefreshToken, Socket


class Page(Socket):
    """One page that was loaded with a token, and is connected as the page's script is: see :class:`Socket`."""

    def __init__(self, network: Network, name: str, token: str, refresh_token: RefreshToken | None = None) -> None:
        super().__init__(network, name, token, refresh_token)
        with network.baton:
            self._connect()
            self._clock.turn()

    # -- what a test sees ----------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``connecting`` before the first ``onopen``, ``open``, ``reconnecting`` or ``closed``."""
        if self.code is not None:
            return "closed"
        if not self.client_id:
            return "connecting"
        return "open" if self._opened else "reconnecting"

    @property
    def json(self) -> list[Any]:
        """The messages, read as JSON."""
        return [msgspec.json.decode(message) for message in self.messages]

    @property
    def connection(self) -> str:
        """``none``, ``good``, or ``half-open`` when nothing passes and neither side knows."""
        if self._wire is None:
            return "none"
        return "half-open" if self._wire.stuck else "good"

    @property
    def back_in(self) -> float | None:
        """The seconds until it tries to connect again; None when it does not wait for that."""
        return None if self._retry_at is None else self._retry_at - self._clock.monotonic()

    def assert_delivered(self, message: Text) -> None:
        """Raise :class:`AssertionError` with the reason, unless ``onmessage`` was called with ``message``.

        ``message`` is a text, its bytes, or a value that was sent as JSON.
        """
        __tracebackhide__ = True
        if not any(matches(message, text) for text in self.messages):
            raise AssertionError(explain_page(self, message))

    def __repr__(self) -> str:
        return f"<Page {self.name} of {self.client_id!r}, {self.state}, {len(self.messages)} messages>"

    # -- what a user does ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """``socket.close()``: it leaves in good order."""
        with self._network.baton:
            if self.code is None:
                self._say(Leave(self.cursor or ""))
                self._hang_up(self._wire)
                self._end(NORMAL)
            self._clock.turn()

    def leave(self) -> None:
        """The user goes to another page, reloads or closes the tab: what was handled is said, and that it leaves."""
        with self._network.baton:
            if self.code is None:
                if self._ack is not None:
                    self._acknowledge()
                wire = self._wire
                self._end(NORMAL)
                self._post(Leave(self.cursor or ""))
                self._hang_up(wire)
            self._clock.turn()

    def sleep(self) -> None:
        """The computer goes to sleep: nothing comes or goes, and nothing of the page runs, until :meth:`wake`."""
        with self._network.baton:
            self.asleep = True
            self.half_open()

    def wake(self) -> None:
        """The computer wakes up, and the page sees what has become of its connection."""
        with self._network.baton:
            self.asleep = False
            wire = self._wire
            if wire is not None:
                wire.stuck = False
                self._arrived(wire)
            if self._wire is None and self.code is None:
                self._connect()
            elif self._ack is not None:
                self._acknowledge()
            self._watch()
            self._clock.turn()

    # -- what may go wrong ---------------------------------------------------------------------------------------

    def drop(self) -> None:
        """The connection breaks, and both sides see it. Half a second later the page comes back."""
        with self._network.baton:
            self._drop()
            self._clock.turn()

    def half_open(self) -> None:
        """The connection breaks, and neither side sees it: nothing passes any more, and nobody is told."""
        with self._network.baton:
            if self._wire is not None:
                self._wire.stuck = True

    def go_offline(self) -> None:
        """There is no network: the connection breaks, and no other one comes about until :meth:`go_online`."""
        with self._network.baton:
            self.offline = True
            self._drop()
            self._clock.turn()

    def go_online(self) -> None:
        """There is a network again, and the page connects at once."""
        with self._network.baton:
            self.offline = False
            if self._wire is None and self.code is None:
                self._connect()
            self._clock.turn()

    def read_slowly(self, bytes_per_second: float = 0.0) -> None:
        """Take so many bytes in a second from now on, or none at all, until :meth:`read_on`."""
        with self._network.baton:
            self.rate = bytes_per_second
            self._trickle_on()

    def read_on(self) -> None:
        """Take all that comes again."""
        with self._network.baton:
            self.rate = None
            if self._wire is not None:
                self._arrived(self._wire)
            self._clock.turn()
