"""What the asynchronous client was asked to send: which of it goes now, together or alone, and what has to wait. Pure.

The rule: all that comes in one turn of the event loop goes in one batch, and a client id has one request under way at
a time. So its messages keep their order, whatever becomes of the requests, and no client id waits for another one.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pushline.client.sends import Part, Send

T = TypeVar("T")


class Batch(Generic[T]):
    """Sends that go together, with the tickets of those who asked; without a ``part`` one that no batch carries."""

    __slots__ = ("entries", "part")

    def __init__(self, part: Part | None) -> None:
        self.part = part
        self.entries: list[tuple[Send, T]] = []

    @property
    def alone(self) -> bool:
        """Whether it is one message, which goes by itself."""
        return len(self.entries) == 1


class Queue(Generic[T]):
    """The sends of one event loop that are not answered yet."""

    __slots__ = ("_behind", "_filling", "_taken", "_under_way", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[tuple[Send, T]] = []
        self._under_way: dict[str, Batch[T]] = {}
        self._behind: dict[str, list[tuple[Send, T]]] = {}
        self._taken: list[Batch[T]] = []
        self._filling: dict[bool, Batch[T]] = {}

    def add(self, send: Send, ticket: T) -> None:
        """Put a send behind the others to its client id."""
        self._waiting.append((send, ticket))

    def take(self) -> list[Batch[T]]:
        """What goes now. Each batch is under way from here until :meth:`finish`.

        Those with an idempotency key and those without go apart: only the former may be repeated.
        """
        waiting, self._waiting = self._waiting, []
        self._taken, self._filling = [], {}
        for send, ticket in waiting:
            batch = self._batch_for(send)
            if batch is None:
                self._behind.setdefault(send.client_id, []).append((send, ticket))
            else:
                batch.entries.append((send, ticket))
        return self._taken

    def finish(self, batch: Batch[T]) -> bool:
        """A batch is answered, or was given up. Returns whether something waited for that, and may be taken now."""
        released: list[tuple[Send, T]] = []
        for send, _ in batch.entries:
            if self._under_way.get(send.client_id) is batch:
                del self._under_way[send.client_id]
                released += self._behind.pop(send.client_id, ())
        self._waiting[:0] = released  # they are older than what waits for the next turn
        return bool(self._waiting)

    def _batch_for(self, send: Send) -> Batch[T] | None:
        """Where a send goes; None: behind another one to its client id."""
        owner = self._under_way.get(send.client_id)
        if send.client_id in self._behind:
            return None
        item, keyed = send.item(), send.key is not None
        batch = None if item is None else self._filling.get(keyed)
        if owner is not None and owner is not batch:
            return None
        if item is not None and batch is not None and batch.part is not None and batch.part.add(item, keyed=keyed):
            self._under_way[send.client_id] = batch
            return batch
        if owner is not None:  # that batch is full
            return None
        return self._new_batch(send, item)

    def _new_batch(self, send: Send, item: bytes | None) -> Batch[T]:
        batch: Batch[T] = Batch(None)
        self._taken.append(batch)
        if item is not None:
            keyed = send.key is not None
            batch.part = Part()
            batch.part.add(item, keyed=keyed)
            self._filling[keyed] = batch
        if send.wait is None:  # nobody wants to wait behind one that waits for a page
            self._under_way[send.client_id] = batch
        return batch
