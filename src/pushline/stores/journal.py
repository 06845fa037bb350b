"""The journal of a ledger as rows of a database."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappush

from pushline.stores.base import Notice
from pushline.stores.channels import Channel, Journal


class RowJournal(Journal):
    """What the ledger did since the last commit, as rows, and what is left to be deleted."""

    __slots__ = (
        "back_by_changed",
        "channels",
        "keys",
        "messages",
        "notices",
        "sorted_messages",
        "stale_channels",
        "stale_keys",
        "stale_messages",
        "trimmed",
    )

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, float, bytes]] = []
        self.channels: dict[Channel, None] = {}
        self.keys: list[tuple[int, str, int, float]] = []
        self.notices: dict[int, Notice | None] = {}
        """By sequence: the notice as it is now, None when it need not be told any more."""
        self.back_by_changed = False
        self.trimmed: dict[Channel, None] = {}
        """Channels whose rows do not say yet what they have dropped."""
        self.stale_messages: list[int] = []
        self.sorted_messages: list[int] = []
        """A heap of more of them: rows that lie side by side cost least to delete together."""
        self.stale_keys: list[tuple[int, str, float]] = []
        self.stale_channels: list[tuple[int]] = []

    def opened(self, channel: Channel, before: Channel | None) -> None:
        """See :class:`Journal`."""
        if before is not None:  # the row of this channel takes the place of the other's: they have one number
            self.channels.pop(before, None)
            self.trimmed.pop(before, None)
            self.stale_messages.extend(kept[0] for kept in before.kept)
        self.channels[channel] = None

    def appended(self, channel: Channel, id: int, expires: float, data: bytes) -> None:
        """See :class:`Journal`."""
        self.messages.append((id, channel.number, expires, data))

    def keyed(self, channel: Channel, key: str, id: int, until: float) -> None:
        """See :class:`Journal`."""
        self.keys.append((channel.number, key, id, until))

    def forgot(self, channel: Channel, key: str, until: float) -> None:
        """See :class:`Journal`."""
        self.stale_keys.append((channel.number, key, until))

    def noted(self, notice: Notice) -> None:
        """See :class:`Journal`."""
        self.notices[notice.sequence] = notice

    def unnoted(self, sequence: int) -> None:
        """See :class:`Journal`."""
        self.notices[sequence] = None

    def drained(self) -> None:
        """See :class:`Journal`."""
        self.back_by_changed = True

    def changed(self, channel: Channel) -> None:
        """See :class:`Journal`."""
        self.channels[channel] = None

    def dropped(self, channel: Channel, ids: list[int]) -> None:
        """See :class:`Journal`."""
        # Rows go in bulk, later. Until then a restart finds them and drops them again, by the same rules.
        self.stale_messages.extend(ids)
        self.trimmed[channel] = None

    def ended(self, channel: Channel) -> None:
        """See :class:`Journal`."""
        self.trimmed.pop(channel, None)
        self.stale_channels.append((channel.number,))
        self.stale_messages.extend(kept[0] for kept in channel.kept)

    def empty(self) -> bool:
        """Whether nothing has to be written."""
        return not (self.messages or self.channels or self.keys or self.notices or self.back_by_changed)

    def written(self) -> None:
        """Everything since the last commit is in the database."""
        for channel in self.channels:
            self.trimmed.pop(channel, None)
        self.channels = {}
        self.messages = []
        self.keys = []
        if self.notices:
            self.notices = {}
        self.back_by_changed = False

    def sort(self) -> None:
        """Put the messages that are to be deleted in the order of their rows."""
        for id in self.stale_messages:
            heappush(self.sorted_messages, id)
        self.stale_messages = []

    def mark(self) -> tuple[int, int]:
        """Where :meth:`undo` goes back to."""
        return len(self.stale_messages), len(self.stale_keys)

    def undo(self, mark: tuple[int, int], channels: Iterable[Channel]) -> None:
        """Nothing since the mark is in the database, nor will be; these channels are as they were before."""
        self.channels = {}
        self.messages = []
        self.keys = []
        self.notices = {}
        self.back_by_changed = False
        del self.stale_messages[mark[0] :]
        del self.stale_keys[mark[1] :]
        self.trimmed.update(dict.fromkeys(channels))  # some were, before: that is not known any more
