"""The seam to what keeps channels and messages, and its promises.

A store is asked in batches: one :meth:`Store.commit` carries all that one turn of the event loop collected, and its
answer comes after everything in it is kept (G1). A store that can answer at once returns the answer itself; one that
has to wait (for a network, for a disk) returns a future. So an embedded store costs no task and no turn of the loop.

Every promise here is tested by :class:`pushline.testing.stores.StoreConformance`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from pushline.messages import Append, Message, Policy
from pushline.protocol.tokens import Claims

T = TypeVar("T")
Reply: TypeAlias = T | asyncio.Future[T]
"""An answer, or the future of one."""


# -- what a store is asked ---------------------------------------------------------------------------------------


class Create(msgspec.Struct, frozen=True, gc=False):
    """Make a token of a channel, and the channel when it does not exist → :class:`Claims`, or :class:`Full`."""

    client_id: str
    seconds: int
    policy: Policy


class Connect(msgspec.Struct, frozen=True):
    """Check a token against the channel and take the place (G7), in one step → :class:`Connected`, :class:`Refused`
    or, under ``reject`` when another page holds the place, :class:`Contested`.

    ``page`` names the page's socket ("" when it has no name); ``after`` is the cursor as it came, or None.
    ``displace``: the fence of the page that held the place and did not answer when it was asked: it loses it. When that
    page has come back meanwhile it is alive, and the newcomer is refused.
    """

    claims: Claims
    page: str
    after: str | None
    displace: int = 0


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    """A page has handled what lies behind ``after``, up to ``id`` → None. Counts only while ``fence`` holds the place.

    ``token_id``: the token under which it was given that (G4).
    """

    client_id: str
    token_id: int
    fence: int
    id: int
    after: int = 0


class Release(msgspec.Struct, frozen=True, gc=False):
    """The page that holds the place under ``fence`` has left it → None."""

    client_id: str
    fence: int


class Affirm(msgspec.Struct, frozen=True, gc=False):
    """The page that holds the place under ``fence`` has answered → None; other hubs hear :class:`Held`."""

    client_id: str
    fence: int


Operation = Create | Append | Connect | Acknowledge | Release | Affirm


# -- what it answers ---------------------------------------------------------------------------------------------


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """The message of this idempotency key was kept before, under ``id``; ``acknowledged``: a page has handled it."""

    id: int
    acknowledged: bool


class Full(msgspec.Struct, frozen=True, gc=False):
    """The store has as much as it may hold (:class:`Room`): nothing of this one operation was kept."""


class Connected(msgspec.Struct, frozen=True, gc=False):
    """The page may receive. ``start``: the id after which it begins; ``gap``: something before that is missing (G5).

    ``fence`` increases with every connection of the channel: it is the number under which the page holds the place.
    ``resumed``: it is the page that held the place before, so its older connection goes silently.
    """

    start: int
    gap: bool
    fence: int
    policy: Policy
    resumed: bool


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The page may not receive: a close code."""

    code: int


class Contested(msgspec.Struct, frozen=True, gc=False):
    """Another page holds the place under ``fence``, and keeps it if it answers when it is asked (``reject``, G7)."""

    fence: int


Outcome = Claims | Message | Repeated | Full | Connected | Refused | Contested | None


class ChannelState(msgspec.Struct, frozen=True):
    """A channel as the application may see it (A4).

    ``queued``: messages that are kept; ``acknowledged``: the highest id that a page has acknowledged, None before any;
    ``expires_at``: unix time at which its last token ends.
    """

    queued: int
    acknowledged: int | None
    expires_at: float
    policy: Policy


class Read(msgspec.Struct, frozen=True):
    """What a channel holds after an id.

    ``upto``: the id that the messages reach up to, all of what lies between having been told. ``gap``: the highest id
    that was dropped, when that is above the id that was asked for. ``complete``: nothing is waiting behind them.
    """

    messages: list[Message]
    upto: int
    gap: int | None
    complete: bool


class Published(msgspec.Struct, frozen=True, gc=False):
    """Another hub on the same store kept a message; ``waited``: its application waits for the acknowledgement."""

    client_id: str
    message: Message
    waited: bool = False


class Handled(msgspec.Struct, frozen=True, gc=False):
    """A page connected to another hub on the same store has acknowledged what lies behind ``after``, up to ``id``."""

    client_id: str
    id: int
    after: int


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A newcomer at another hub wants the place that is held under ``fence``: ask its page, and :class:`Affirm`."""

    client_id: str
    fence: int


class Held(msgspec.Struct, frozen=True, gc=False):
    """The page that holds the place under ``fence`` answered, at another hub: it keeps the place."""

    client_id: str
    fence: int


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A page connected to another hub on the same store, under ``fence``: it took the place, unless that is shared."""

    client_id: str
    fence: int
    resumed: bool
    page: str
    policy: Policy


class Hole(msgspec.Struct, frozen=True, gc=False):
    """Events of other hubs may have been missed: every live session's channel has to be read again."""


Event = Published | Arrived | Handled | Asked | Held | Hole


class Retention(msgspec.Struct, frozen=True):
    """How much is kept for pages that are away: seconds, and per channel messages and bytes; the oldest goes first."""

    seconds: float = 7200.0
    messages: int = 1000
    bytes: int = 1 << 20


class Room(msgspec.Struct, frozen=True):
    """How much the whole store may hold. What would go beyond is refused (:class:`Full`), and nothing is dropped."""

    channels: int = 2_000_000
    messages: int = 5_000_000
    bytes: int = 1 << 30


class Durability(Enum):
    """What a commit survives (G1): the end of the process, or a power cut as well."""

    PROCESS = "process"
    DISK = "disk"


class StoreOptions(msgspec.Struct, frozen=True):
    """How a store is opened. A store that has no use for one of them refuses it or passes over it, as it documents."""

    data_dir: Path
    retention: Retention = Retention()
    room: Room = Room()
    durability: Durability = Durability.PROCESS


class Store(Protocol):
    """Where channels and messages live.

    *Sequence.* Messages and tokens of one client id get ids from one increasing sequence, whatever the clock does and
    across restarts. *Atomicity.* The operations of one commit take effect in their order and together: after a crash
    all of them or none. *Visibility.* What was answered is in every later read of every hub on this store. *Order of
    answers.* Commits are answered in the order in which they were made.
    """

    def commit(self, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        """Do all of them at unix time ``now``; one outcome each, in order.

        Raises :class:`pushline.errors.StoreFull` when the disk has no room: then nothing of them was kept.
        """

    def read(self, client_id: str, after: int, now: float) -> Reply[Read]:
        """The next messages of a channel after an id, at most about 64 KiB of them at once."""

    def look(self, client_id: str, now: float) -> Reply[ChannelState | None]:
        """A channel as it is now; None when there is none with a live token."""

    def sweep(self, now: float) -> bool:
        """Forget some of what has ended or expired, without waiting. True: there is more to look at, ask again soon."""

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """Tell ``listener`` what other hubs on the same store do."""

    def ready(self) -> bool:
        """Whether the store answers, as far as is known without waiting."""

    def close(self) -> None:
        """Write what is waiting and let go of everything. Nothing may be asked afterwards."""
