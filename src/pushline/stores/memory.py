"""The store that lives and dies with its process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nsmallest

from pushline.errors import ConfigurationError
from pushline.messages import Append, Message
from pushline.stores.base import (
    Affirm,
    Arrived,
    Asked,
    ChannelState,
    ClientList,
    Connect,
    Connected,
    Contested,
    Dismiss,
    Dismissed,
    Durability,
    Event,
    Full,
    Held,
    Notice,
    NoticeList,
    Operation,
    Orphans,
    Outcome,
    Published,
    Read,
    Retention,
    Revoke,
    Room,
    StoreOptions,
)
from pushline.stores.ledger import LIST_CHANNELS, Ledger


class MemoryStore:
    """Channels in memory. Fast, and gone at the end of the process.

    :meth:`peer` gives another hub its own handle on the same channels: hubs learn of each other through
    :meth:`watch` alone, as they do on a store beyond one machine.
    """

    __slots__ = ("_hub", "_ledger", "_listener", "_peers")

    def __init__(self, retention: Retention | None = None, room: Room | None = None) -> None:
        self._ledger = Ledger(retention or Retention(), room or Room())
        self._listener: Callable[[Sequence[Event]], None] | None = None
        self._peers: list[MemoryStore] = [self]
        self._hub = 0

    def peer(self) -> MemoryStore:
        """Another handle on the same channels, for another hub."""
        other = MemoryStore()
        other._ledger, other._peers = self._ledger, self._peers
        self._peers.append(other)
        self._ledger.handled = []
        return other

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`Store.commit`."""
        self._ledger.hub = self._hub
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
                case ((Revoke() | Dismiss()), _) if type(outcome) is not Full:
                    events.append(Dismissed(op.client_id, type(op) is Revoke))
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

    def clients(self, prefix: str, after: str, connected: bool | None, limit: int, now: float) -> ClientList:
        """See :meth:`Store.clients`."""
        # Not all of them in order: that would take a second where there are a million.
        names = (name for name in self._ledger.channels if name > after and name.startswith(prefix))
        return self._ledger.clients(nsmallest(LIST_CHANNELS + 1, names), prefix, connected, limit, now)

    def notices(self, after: int, limit: int) -> NoticeList:
        """See :meth:`Store.notices`."""
        return self._ledger.outbox.page(after, limit)

    def notices_of(self, client_id: str) -> list[Notice]:
        """See :meth:`Store.notices_of`."""
        return self._ledger.outbox.of(client_id)

    def orphans(self) -> Orphans | None:
        """See :meth:`Store.orphans`."""
        return self._ledger.orphans()

    def sweep(self, now: float) -> bool:
        """See :meth:`Store.sweep`."""
        return self._ledger.sweep(now)

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """See :meth:`Store.watch`."""
        if self._hub:
            self._ledger.resign(self._hub)
        self._hub = self._ledger.enlist()
        self._listener = listener

    def ready(self) -> bool:
        """See :meth:`Store.ready`."""
        return True

    def close(self) -> None:
        """See :meth:`Store.close`."""
        if self in self._peers:
            self._peers.remove(self)
            self._ledger.resign(self._hub)
        if len(self._peers) < 2:
            self._ledger.handled = None


def open_store(url: str, options: StoreOptions) -> MemoryStore:
    """``--store memory``. It has no use for the data dir, and refuses to promise what only a disk can keep."""
    if options.durability is Durability.DISK:
        raise ConfigurationError(
            "--store memory keeps nothing on disk, so it cannot do --durability disk. Use --store sqlite for that."
        )
    return MemoryStore(options.retention, options.room)
