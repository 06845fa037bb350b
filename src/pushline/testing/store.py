"""A store in memory that can be full, and that notes what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pushline.errors import StoreFull
from pushline.messages import Append, Message, format_id
from pushline.stores.base import Operation, Outcome, Retention, Room
from pushline.stores.memory import MemoryStore


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the application has sent. ``id`` is None when nothing was kept: the client id had no channel."""

    client_id: str
    message: str
    id: str | None


class FillableStore(MemoryStore):
    """A memory store that can be full."""

    __slots__ = ("full",)

    def __init__(self, retention: Retention | None = None, room: Room | None = None) -> None:
        super().__init__(retention, room)
        self.full = False

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`pushline.stores.base.Store.commit`."""
        if self.full:
            raise StoreFull("no room")
        return super().commit(operations, now)


class NotingStore(FillableStore):
    """The same; ``note`` is told of every message that is sent, once however often that is repeated."""

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[Sent], None], retention: Retention, room: Room) -> None:
        super().__init__(retention, room)
        self._note = note

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`pushline.stores.base.Store.commit`."""
        outcomes = super().commit(operations, now)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(operation, Append) and (outcome is None or isinstance(outcome, Message)):
                id = None if outcome is None else format_id(outcome.id)
                self._note(Sent(operation.client_id, operation.data.decode(), id))
        return outcomes
