"""The store that lives and dies with its process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pushline.messages import Message, Policy
from pushline.stores.base import (
    Append,
    Connect,
    Connected,
    Event,
    Operation,
    Outcome,
    Published,
    Read,
    Retention,
    Taken,
)
from pushline.stores.ledger import Ledger


class MemoryStore:
    """Channels in memory. Fast, and gone at the end of the process.

    :meth:`peer` gives another hub its own handle on the same channels: hubs learn of each other through
    :meth:`watch` alone, as they do on a store beyond one machine.
    """

    __slots__ = ("_ledger", "_listener", "_peers")

    def __init__(self, retention: Retention | None = None) -> None:
        self._ledger = Ledger(retention or Retention())
        self._listener: Callable[[Sequence[Event]], None] | None = None
        self._peers: list[MemoryStore] = [self]

    def peer(self) -> MemoryStore:
        """Another handle on the same channels, for another hub."""
        other = MemoryStore()
        other._ledger, other._peers = self._ledger, self._peers
        self._peers.append(other)
        return other

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`Store.commit`."""
        outcomes = self._ledger.do(operations, now)
        if len(self._peers) > 1:
            self._tell(operations, outcomes)
        return outcomes

    def _tell(self, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        events: list[Event] = []
        for op, outcome in zip(operations, outcomes, strict=True):
            match op, outcome:
                case Append(), Message(id=id, previous=previous, data=data):
                    events.append(Published(op.client_id, Message(id, previous, data)))
                case Connect(), Connected() if outcome.policy is not Policy.SHARE:
                    events.append(Taken(op.claims.client_id, outcome.fence, outcome.resumed))
        if events:
            for peer in self._peers:
                if peer is not self and peer._listener is not None:
                    peer._listener(events)

    def read(self, client_id: str, after: int, now: float) -> Read:
        """See :meth:`Store.read`."""
        return self._ledger.read(client_id, after, now)

    def sweep(self, now: float) -> bool:
        """See :meth:`Store.sweep`."""
        return self._ledger.sweep(now)

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """See :meth:`Store.watch`."""
        self._listener = listener

    def ready(self) -> bool:
        """See :meth:`Store.ready`."""
        return True

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._peers.remove(self)


def open_store(url: str, data_dir: Path, retention: Retention) -> MemoryStore:
    """``--store memory``."""
    return MemoryStore(retention)
