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
    page has come back meanwhile it is alive, and the newcomer is refused. ``tell``: the application wants to know that
    somebody is there (G8).
    """

    claims: Claims
    page: str
    after: str | None
    displace: int = 0
    tell: bool = False


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
    """The page that was connected under ``fence`` has left, and its place is free → None.

    The application hears of that later (:class:`Settle`): the page may be loading anew.
    """

    client_id: str
    fence: int


class Affirm(msgspec.Struct, frozen=True, gc=False):
    """The page that holds the place under ``fence`` has answered → None; other hubs hear :class:`Held`."""

    client_id: str
    fence: int


class Settle(msgspec.Struct, frozen=True):
    """The connections of these fences have ended, and their time to come back is over → :class:`Notice` or None.

    What they still hold is free. ``tell``: when nobody is there now, and the last that went was one of them, the
    application is told so (G8).
    """

    client_id: str
    fences: tuple[int, ...]
    tell: bool


class Renew(msgspec.Struct, frozen=True):
    """A connected page goes on with another token → None, or :class:`Refused` when that was revoked."""

    claims: Claims


class Revoke(msgspec.Struct, frozen=True, gc=False):
    """Every token of the client id that was made until now is void (A4) → None, or :class:`Full`.

    Its channel has ended. Other hubs hear :class:`Dismissed`.
    """

    client_id: str


class Dismiss(msgspec.Struct, frozen=True, gc=False):
    """The connections of the client id are to end (A4) → None; other hubs hear :class:`Dismissed`."""

    client_id: str


class Claim(msgspec.Struct, frozen=True, gc=False):
    """This hub wants to tell the application what waits for a client id → the oldest :class:`Notice`.

    None when nothing waits, or another hub does that.
    """

    client_id: str


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The application has accepted a notice, or has no use for it → the next :class:`Notice` that this hub delivers."""

    client_id: str
    sequence: int


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """A notice was tried for long enough (P1) → the next :class:`Notice` that this hub delivers, or None.

    Of those that wait behind it only the newest is still told: the state as it is now. ``reason`` is for people.
    """

    client_id: str
    sequence: int
    reason: str


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Notices that were given up wait again: those of one client id, or of all (None) → :class:`Waiting`."""

    client_id: str | None


class Drain(msgspec.Struct, frozen=True, gc=False):
    """The pages of this hub were asked to come back by the unix time ``until``, to another process (G8) → None."""

    until: float


Operation = (
    Create
    | Append
    | Connect
    | Acknowledge
    | Release
    | Affirm
    | Settle
    | Renew
    | Revoke
    | Dismiss
    | Claim
    | Accepted
    | GiveUp
    | Retry
    | Drain
)


# -- what it answers ---------------------------------------------------------------------------------------------


class Notice(msgspec.Struct, frozen=True, gc=False):
    """What the application is to be told of a client id: somebody is there (``connected``), or nobody any more.

    ``sequence`` is a number of microseconds that increases for ever in one store; ``time`` the unix time at which it
    came true; ``since`` the unix time from which the tries count; ``given_up`` says why it is not tried any more, and
    is empty as long as it is.
    """

    client_id: str
    sequence: int
    connected: bool
    time: float
    since: float
    given_up: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """Client ids for which something waits to be told."""

    client_ids: list[str]


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """The message of this idempotency key was kept before, under ``id``; ``acknowledged``: a page has handled it.

    ``kept``: it is there still. One that is neither was dropped, or its channel has ended: no page will get it (G6).
    """

    id: int
    acknowledged: bool
    kept: bool


class Full(msgspec.Struct, frozen=True, gc=False):
    """The store has as much as it may hold (:class:`Room`): nothing of this one operation was kept."""


class Connected(msgspec.Struct, frozen=True, gc=False):
    """The page may receive. ``start``: the id after which it begins; ``gap``: something before that is missing (G5).

    ``fence`` increases with every connection of the channel: it is the number under which the page holds the place.
    ``resumed``: it is the page that held the place before, so its older connection goes silently. ``notice``: what
    this hub has to tell the application now.
    """

    start: int
    gap: bool
    fence: int
    policy: Policy
    resumed: bool
    notice: Notice | None = None


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The page may not receive: a close code."""

    code: int


class Contested(msgspec.Struct, frozen=True, gc=False):
    """Another page holds the place under ``fence``, and keeps it if it answers when it is asked (``reject``, G7)."""

    fence: int


Outcome = Claims | Message | Repeated | Full | Connected | Refused | Contested | Notice | Waiting | None


class ChannelState(msgspec.Struct, frozen=True):
    """A channel as the application may see it (A4).

    ``queued``: messages that are kept; ``acknowledged``: the highest id that a page has acknowledged, None before any;
    ``expires_at``: unix time at which its last token ends.
    """

    queued: int
    acknowledged: int | None
    expires_at: float
    policy: Policy


class ClientEntry(msgspec.Struct, frozen=True, gc=False):
    """A client id that has a channel: whether somebody is there, and the unix time at which its last token ends."""

    client_id: str
    connected: bool
    expires_at: float


class ClientList(msgspec.Struct, frozen=True):
    """Some client ids in the order of their UTF-8, and where to go on (None: that was all)."""

    entries: list[ClientEntry]
    next: str | None


class NoticeList(msgspec.Struct, frozen=True):
    """Some of the notices that were not accepted yet, oldest first, and how many there are: waiting, and given up."""

    notices: list[Notice]
    waiting: int
    given_up: int


class Orphans(msgspec.Struct, frozen=True):
    """What processes that have ended left behind.

    ``connections``: client ids, and the fences of their connections that have no process any more (0 for what was left
    in good order, and not told yet); they have until ``back_by`` (unix time), and the grace, to come back.
    ``notices``: client ids for which something waits to be told.
    """

    connections: list[tuple[str, tuple[int, ...]]]
    back_by: float
    notices: list[str]


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


class Dismissed(msgspec.Struct, frozen=True, gc=False):
    """At another hub the application has ended the connections of a client id; ``revoked``: its tokens as well."""

    client_id: str
    revoked: bool


class Hole(msgspec.Struct, frozen=True, gc=False):
    """Events of other hubs may have been missed: every live session's channel has to be read again."""


Event = Published | Arrived | Handled | Asked | Held | Dismissed | Hole


class Retention(msgspec.Struct, frozen=True):
    """How much is kept for pages that are away: seconds, and per channel messages and bytes; the oldest goes first."""

    seconds: float = 7200.0
    messages: int = 1000
    bytes: int = 1 << 20


class Room(msgspec.Struct, frozen=True):
    """How much the whole store may hold. What would go beyond is refused (:class:`Full`), and nothing is dropped.

    Beyond ``notices`` those that were given up go first; when all of them wait, a change is told when there is room,
    if it is still true then.
    """

    channels: int = 2_000_000
    messages: int = 5_000_000
    bytes: int = 1 << 30
    notices: int = 100_000


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

    def clients(self, prefix: str, after: str, connected: bool | None, limit: int, now: float) -> Reply[ClientList]:
        """Client ids that have a channel, begin with ``prefix``, lie behind ``after`` and are ``connected`` or not.

        At most ``limit``, and perhaps fewer than that although there are more: so that no question takes long.
        """

    def notices(self, after: int, limit: int) -> Reply[NoticeList]:
        """The notices with a sequence above ``after`` that were not accepted yet."""

    def notices_of(self, client_id: str) -> Reply[Sequence[Notice]]:
        """The notices of one client id that were not accepted yet, oldest first."""

    def orphans(self) -> Orphans | None:
        """What other processes have left behind since the last time, without waiting; None when there is nothing."""

    def sweep(self, now: float) -> bool:
        """Forget some of what has ended or expired, without waiting. True: there is more to look at, ask again soon."""

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """Tell ``listener`` what other hubs on the same store do.

        Called once by each hub, at its start. Who was told here before has ended.
        """

    def ready(self) -> bool:
        """Whether the store answers, as far as is known without waiting."""

    def close(self) -> None:
        """Write what is waiting and let go of everything. Nothing may be asked afterwards."""
