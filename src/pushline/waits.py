"""Sends whose application waits until a page has acknowledged the message (contract, G6 and A2)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from pushline.clock import Clock, Timer
from pushline.messages import Status

LONGEST_SECONDS: Final = 30.0
"""How long an application may wait (A2)."""


class _Wait:
    __slots__ = ("id", "missed", "reply", "status", "timer")

    timer: Timer

    def __init__(self, id: int, status: Status, reply: Callable[[int, Status], None] | None) -> None:
        self.id = id
        self.status = status
        self.reply = reply
        self.missed: list[str] = []
        """The pages that were told that the message is missing."""

    def answer(self, status: Status) -> bool:
        self.timer.cancel()
        if self.reply is None:
            return False
        self.reply(self.id, status)
        return True


class Waits:
    """The sends that wait, by client id. False when there is none, so that whoever is not waited for pays nothing."""

    __slots__ = ("_clock", "_waits")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: dict[str, list[_Wait]] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def add(
        self, client_id: str, id: int, status: Status, seconds: float, reply: Callable[[int, Status], None]
    ) -> None:
        """Call ``reply`` once: with `delivered`, or with what is true of the message ``seconds`` from now."""
        self._add(client_id, _Wait(id, status, reply), seconds)

    def elsewhere(self, client_id: str, id: int) -> None:
        """At another hub a send waits: there is nobody to answer here, but whoever gets the message is asked."""
        self._add(client_id, _Wait(id, "queued", None), LONGEST_SECONDS)

    def _add(self, client_id: str, wait: _Wait, seconds: float) -> None:
        wait.timer = self._clock.call_later(seconds, lambda: self._over(client_id, wait))
        self._waits.setdefault(client_id, []).append(wait)

    def _over(self, client_id: str, wait: _Wait) -> None:
        self._take(client_id, lambda other: other is wait)
        wait.answer(wait.status)

    def _take(self, client_id: str, wanted: Callable[[_Wait], bool]) -> list[_Wait]:
        """Those that are wanted; they wait no longer."""
        waits = self._waits.get(client_id, [])
        taken = [wait for wait in waits if wanted(wait)]
        if len(taken) == len(waits):
            self._waits.pop(client_id, None)
        elif taken:
            self._waits[client_id] = [wait for wait in waits if not wanted(wait)]
        return taken

    def given(self, client_id: str, ids: Collection[int]) -> bool:
        """A connection of the client id was given these messages. True: one of them is waited for."""
        reached = [wait for wait in self._waits.get(client_id, ()) if wait.id in ids]
        for wait in reached:
            wait.status = "sent"
        return bool(reached)

    def missing(self, client_id: str, page: str, after: int, upto: int) -> None:
        """A page was told that what lies between two ids is missing: it will not acknowledge that."""
        for wait in self._waits.get(client_id, ()):
            if after < wait.id <= upto:
                wait.missed.append(page)

    def handled(self, client_id: str, page: str, after: int, id: int) -> int:
        """A page that was given what lies after one id has acknowledged another one. How many sends that answers.

        A page that is connected to another hub has the name "" here.
        """
        reached = self._take(client_id, lambda wait: after < wait.id <= id and page not in wait.missed)
        return sum(wait.answer("delivered") for wait in reached)

    def end(self) -> None:
        """Nobody can wait any longer: every send is answered with what is true now."""
        waits, self._waits = self._waits, {}
        for each in waits.values():
            for wait in each:
                wait.answer(wait.status)
