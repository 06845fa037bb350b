"""A channel as the ledger has it, as it was before a commit touched it, and who is told what changes in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from pushline.messages import Policy
from pushline.stores.base import Notice

NO_LEASES: Final[dict[int, int]] = {}
"""What the channels have in common where nobody is there, most of them: it stays empty."""

# A message that is kept: id, unix time at which its own ttl ends (0: the channel's retention), size, data (None: the
# journal has it). A tuple of plain values, since the garbage collector does not follow those.
Kept = tuple[int, float, int, bytes | None]


class Channel:
    """A channel and what it holds."""

    __slots__ = (
        "acknowledged",
        "bytes",
        "client_id",
        "dropped",
        "fence",
        "first",
        "held",
        "kept",
        "keys",
        "last",
        "leases",
        "live_until",
        "mortal",
        "newest_token",
        "number",
        "page",
        "policy",
        "revoked",
        "since",
        "told",
        "vacated",
    )

    def __init__(self, number: int, client_id: str, first: int) -> None:
        self.number = number
        self.client_id = client_id
        self.first = first
        """The id of its first token."""
        self.last = first
        """The highest id of a message or token."""
        self.dropped = 0
        """The highest id of a message that is no longer kept, for whatever reason but its own ttl (G5)."""
        self.newest_token = first
        self.policy = Policy.REPLACE
        self.live_until = 0.0
        """The unix time at which its last token ends."""
        self.acknowledged: dict[int, int] | None = None
        """Token id → the id up to which its pages have acknowledged (G4)."""
        self.keys: dict[str, tuple[int, float]] | None = None
        """Idempotency key → id of its message, unix time at which it may be forgotten."""
        self.page = ""
        self.fence = 0
        self.since = 0
        """The fence under which ``page`` got the place; its own later connections move on from there."""
        self.held = False
        """Whether ``page`` holds the place, under ``fence``."""
        self.kept: list[Kept] = []
        self.bytes = 0
        self.mortal = False
        """Whether a message with a ttl of its own may be among the kept: else nobody need look for one."""
        self.revoked = 0
        """No token with this id or a lower one is good."""
        self.leases = NO_LEASES
        """The connections for which somebody counts as there: fence → number of their hub, 0 when that has ended."""
        self.vacated = 0
        """The fence of the connection that left last, until its time to come back is over; then 0."""
        self.told = 0
        """The sequence of `connected` when the application was told last that somebody is there, else 0."""

    def inherit(self, before: Channel) -> None:
        """Take over what belongs to the client id, not to one channel of it."""
        self.keys = before.keys  # (G1)
        if before.keys and before.acknowledged:
            self.acknowledged = dict(before.acknowledged)  # what became of the messages that the keys stand for
        self.revoked = before.revoked
        self.leases, self.vacated, self.told = _copied(before.leases), before.vacated, before.told


def _copied(leases: dict[int, int]) -> dict[int, int]:
    return leases.copy() if leases else NO_LEASES


class Before:
    """A channel as it was before a commit touched it.

    Everything is copied but the keys, which may be many: what happens to one of them is noted.
    """

    __slots__ = ("_fields", "_kept", "_keys", "channel", "noted")

    def __init__(self, channel: Channel) -> None:
        acknowledged = channel.acknowledged
        self.channel = channel
        self._fields = (
            channel.last,
            channel.dropped,
            channel.newest_token,
            channel.policy,
            channel.live_until,
            None if acknowledged is None else dict(acknowledged),
            channel.page,
            channel.fence,
            channel.since,
            channel.held,
            channel.bytes,
            channel.mortal,
            channel.revoked,
            _copied(channel.leases),
            channel.vacated,
            channel.told,
        )
        self._kept = channel.kept.copy()
        self._keys = channel.keys
        self.noted: list[tuple[str, tuple[int, float] | None]] = []
        """Keys that were put among those that were there, and what they stood for before."""

    def restore(self) -> None:
        channel = self.channel
        (
            channel.last,
            channel.dropped,
            channel.newest_token,
            channel.policy,
            channel.live_until,
            channel.acknowledged,
            channel.page,
            channel.fence,
            channel.since,
            channel.held,
            channel.bytes,
            channel.mortal,
            channel.revoked,
            channel.leases,
            channel.vacated,
            channel.told,
        ) = self._fields
        channel.kept = self._kept
        channel.keys = keys = self._keys
        if keys is not None:
            for key, entry in reversed(self.noted):
                if entry is None:
                    del keys[key]
                else:
                    keys[key] = entry


class Journal(ABC):
    """What a ledger tells a store that keeps it on disk."""

    __slots__ = ()

    @abstractmethod
    def opened(self, channel: Channel, before: Channel | None) -> None:
        """A channel began, in place of one of the same client id and number, or of none. It has its keys."""

    @abstractmethod
    def appended(self, channel: Channel, id: int, expires: float, data: bytes) -> None:
        """A message was kept. Its data stays with the journal."""

    @abstractmethod
    def keyed(self, channel: Channel, key: str, id: int, until: float) -> None:
        """An idempotency key is to be remembered."""

    @abstractmethod
    def noted(self, notice: Notice) -> None:
        """A notice is to be told, or what is known of it has changed."""

    @abstractmethod
    def unnoted(self, sequence: int) -> None:
        """A notice need not be told any more."""

    @abstractmethod
    def drained(self) -> None:
        """There is another time by which pages come back."""

    @abstractmethod
    def changed(self, channel: Channel) -> None:
        """A field of the channel that has to survive has another value."""

    @abstractmethod
    def dropped(self, channel: Channel, ids: list[int]) -> None:
        """These messages are no longer kept."""

    @abstractmethod
    def forgot(self, channel: Channel, key: str, until: float) -> None:
        """An idempotency key need not be remembered, if it still ends then."""

    @abstractmethod
    def ended(self, channel: Channel) -> None:
        """The channel is over, and has no keys: it and its messages can be forgotten."""
