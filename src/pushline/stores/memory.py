"""The store that lives and dies with its process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pushline.errors import ConfigurationError
from pushline.messages import Append, Message
from pushline.stores.base import (
    Affirm,
    Arrived,
    Asked,
    ChannelState,
    Connect,
    Connected,
    Contested,
    Durability,
    Event,
    Held,
    Operation,
    Outcome,
    Published,
    Read,
    Retention,
    Room,
    StoreOptions,
)
from pushline.stores.ledger import Ledger


class MemoryStore:
    """Channels in memory. Fast, and gone at the end of the process.

    :meth:`peer` gives another hub its own handle on the same channels: hubs learn of each other through
    :meth:`watch` alone, as they do on a store beyond one machine.
    """

    __slots__ = ("_ledger", "_listener", "_peers")

    def __init__(self, retention: Retention | None = None, room: Room | None = None) -> None:
        self._ledger = Ledger(retention or Retention(), room or Room())
        self._listener: Callable[[Sequence[Event]], None] | None = None
        self._peers: list[MemoryStore] = [self]

    def peer(self) -> MemoryStore:
        """Another handle on the same channels, for another hub."""
        other = MemoryStore()
        other._ledger, other._peers = self._ledger, self._peers
        self._peers.append(other)
        self._ledger.handled = []
        return other

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`Store.commit`."""
        outcomes = self._ledger.do(operations, now)
        if len(self._peers) > 1:
            self._tell(operations, outcomes)
        return outcomes

    def _tell(self, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        ledger = self._ledger
        events: list[Event] = []
        for op, outcome in zip(operations, outcomes, strict=True):
            match op, outcome:
                case Append(), Message(id=id, previous=previous, data=data):
                    events.append(Published(op.client_id, Message(id, previous, data), op.waited))
                case Connect(), Connected(fence=fence, resumed=resumed, policy=policy):
                    events.append(Arrived(op.claims.client_id, fence, resumed, op.page, policy))
                case Connect(), Contested():
                    events.append(Asked(op.claims.client_id, outcome.fence))
                case Affirm(), _ if ledger.holds(op.client_id, op.fence):
                    events.append(Held(op.client_id, op.fence))
        if ledger.handled:
            events += ledger.handled
            ledger.handled = []
        if events:
            for peer in self._peers:
                if peer is not self and peer._listener is not None:
                    peer._listener(events)

    def read(self, client_id: str, after: int, now: float) -> Read:
        """See :meth:`Store.read`."""
        return self._ledger.read(client_id, after, now)

    def look(self, client_id: str, now: float) -> ChannelState | None:
        """See :meth:`Store.look`."""
        return self._ledger.look(client_id, now)

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
        if self in self._peers:
            self._peers.remove(self)
        if len(self._peers) < 2:
            self._ledger.handled = None


def open_store(url: str, options: StoreOptions) -> MemoryStore:
    """``--store memory``. It has no use for the data dir, and refuses to promise what only a disk can keep."""
    if options.durability is Durability.DISK:
        raise ConfigurationError(
            "--store memory keeps nothing on disk, so it cannot do --durability disk. Use --store sqlite for that."
        )
    return MemoryStore(options.retention, options.room)
