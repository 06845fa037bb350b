"""What the application is still to be told of its client ids: in order for each of them, and bounded.

Part of the ledger, and as pure: no I/O, and the time is an argument. A queue has notices that wait or, when even the
newest could not be told, that one alone, given up: it goes when there is something newer to tell.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import Final, Protocol

import msgspec

from pushline.stores.base import GiveUp, Notice, NoticeList

QUEUE_NOTICES: Final = 16
"""How many notices of one client id wait, at most. Beyond that the oldest pair behind the first one is left out, a
`connected` and a `disconnected`: what is told still alternates and ends with what is true."""


class NoticeJournal(Protocol):
    """What an outbox needs of the journal of a ledger."""

    def noted(self, notice: Notice) -> None:
        """A notice is to be told, or what is known of it has changed."""

    def unnoted(self, sequence: int) -> None:
        """A notice need not be told any more."""


class Outbox:
    """The notices that were not accepted yet, and which hub delivers those of a client id."""

    def __init__(self, limit: int, journal: NoticeJournal | None) -> None:
        self._limit = limit
        self._journal = journal
        self._queues: dict[str, list[Notice]] = {}
        self._claims: dict[str, int] = {}
        self._parked: dict[str, None] = {}
        """Client ids whose notice was given up, the oldest first."""
        self._size = 0
        self.before: dict[str, tuple[list[Notice], int | None, bool]] = {}
        """What :meth:`undo` goes back to: by client id its queue, who delivers it, whether it was given up."""
        self.last = 0
        """The highest sequence that was ever given."""

    # -- coming back, and undoing ------------------------------------------------------------------------------

    def load(self, notice: Notice) -> None:
        """Take a notice from the journal, in the order of sequences."""
        self._queues.setdefault(notice.client_id, []).append(notice)
        self._size += 1
        self.last = max(self.last, notice.sequence)
        if notice.given_up:
            self._parked[notice.client_id] = None

    def undo(self) -> None:
        """Take back what was done since :attr:`before` was empty."""
        for client_id, (queue, claim, parked) in self.before.items():
            self._size += len(queue) - len(self._queues.get(client_id, ()))
            self._queues.pop(client_id, None)
            self._claims.pop(client_id, None)
            self._parked.pop(client_id, None)
            if queue:
                self._queues[client_id] = queue
            if claim is not None:
                self._claims[client_id] = claim
            if parked:
                self._parked[client_id] = None
        self.before = {}

    def _touch(self, client_id: str) -> list[Notice]:
        queue = self._queues.get(client_id)
        if self._journal is not None and client_id not in self.before:
            parked = client_id in self._parked
            self.before[client_id] = (list(queue or ()), self._claims.get(client_id), parked)
        if queue is None:
            queue = self._queues[client_id] = []
        return queue

    # -- the journal -------------------------------------------------------------------------------------------

    def _add(self, queue: list[Notice], notice: Notice) -> None:
        queue.append(notice)
        self._size += 1
        if self._journal is not None:
            self._journal.noted(notice)

    def _replace(self, queue: list[Notice], notice: Notice) -> None:
        queue[0] = notice
        if self._journal is not None:
            self._journal.noted(notice)

    def _remove(self, queue: list[Notice], start: int, count: int) -> None:
        if self._journal is not None:
            for notice in queue[start : start + count]:
                self._journal.unnoted(notice.sequence)
        self._size -= len(queue[start : start + count])
        del queue[start : start + count]

    def _drop(self, client_id: str) -> None:
        """Forget the notice of a client id that was given up."""
        queue = self._touch(client_id)
        self._parked.pop(client_id)
        self._remove(queue, 0, len(queue))
        del self._queues[client_id]

    # -- what is to be told ------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether one more notice may wait."""
        return self._size < self._limit or bool(self._parked)

    def put(self, client_id: str, connected: bool, now: float) -> int:
        """Let a notice wait. Its sequence, or 0 when there is no room."""
        if client_id in self._parked:
            self._drop(client_id)
        if self._size >= self._limit:
            if not self._parked:
                return 0
            self._drop(next(iter(self._parked)))
        self.last = max(self.last + 1, int(now * 1e6))
        queue = self._touch(client_id)
        self._add(queue, Notice(client_id, self.last, connected, now, now))
        if len(queue) > QUEUE_NOTICES:
            self._remove(queue, 1, 2)
        return self.last

    def claim(self, client_id: str, hub: int) -> Notice | None:
        """The oldest notice that waits for a client id, for a hub to deliver; None when another one does that."""
        if client_id in self._claims or client_id in self._parked or client_id not in self._queues:
            return None
        queue = self._touch(client_id)
        self._claims[client_id] = hub
        return queue[0]

    def accepted(self, client_id: str, sequence: int, hub: int) -> Notice | None:
        """The first notice need not wait any more. The next one, for the same hub."""
        queue = self._delivered(client_id, sequence, hub)
        if queue is None:
            return None
        self._remove(queue, 0, 1)
        if queue:
            self._claims[client_id] = hub
            return queue[0]
        self._forget(client_id)
        return None

    def _forget(self, client_id: str) -> None:
        del self._queues[client_id]
        self._claims.pop(client_id, None)

    def give_up(self, op: GiveUp, hub: int) -> Notice | None:
        """The first notice is not tried any more, nor those between it and the newest. That one, for the same hub."""
        queue = self._delivered(op.client_id, op.sequence, hub)
        if queue is None:
            return None
        if len(queue) > 1:
            self._remove(queue, 0, len(queue) - 1)
            self._claims[op.client_id] = hub
            return queue[0]
        self._replace(queue, msgspec.structs.replace(queue[0], given_up=op.reason))
        self._parked[op.client_id] = None
        self._claims.pop(op.client_id, None)
        return None

    def _delivered(self, client_id: str, sequence: int, hub: int) -> list[Notice] | None:
        """The queue whose first notice a hub has delivered; None when that was not its turn."""
        queue = self._queues.get(client_id)
        if not queue or queue[0].sequence != sequence or self._claims.get(client_id, hub) != hub:
            return None
        return self._touch(client_id)

    def retry(self, client_id: str | None, now: float) -> list[str]:
        """Let what was given up wait again. The client ids."""
        names = list(self._parked) if client_id is None else [name for name in [client_id] if name in self._parked]
        for name in names:
            queue = self._touch(name)
            self._replace(queue, msgspec.structs.replace(queue[0], given_up="", since=now))
            del self._parked[name]
        return names

    # -- who delivers ------------------------------------------------------------------------------------------

    def disclaim(self, hub: int) -> None:
        """A hub has ended: what it delivered waits for another one."""
        self._claims = {name: other for name, other in self._claims.items() if other != hub}

    def unclaimed(self) -> list[str]:
        """The client ids for which something waits and nobody delivers it."""
        return [name for name in self._queues if name not in self._claims and name not in self._parked]

    # -- looking -----------------------------------------------------------------------------------------------

    def of(self, client_id: str) -> list[Notice]:
        """The notices of one client id."""
        return list(self._queues.get(client_id, ()))

    def page(self, after: int, limit: int) -> NoticeList:
        """The oldest notices above a sequence."""
        found = (notice for queue in self._queues.values() for notice in queue if notice.sequence > after)
        notices = nsmallest(limit, found, key=lambda notice: notice.sequence)
        return NoticeList(notices, self._size - len(self._parked), len(self._parked))
