"""The values that cross every border: ids, client ids, policies, messages, statuses (contract, section 1)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Literal

MAX_CLIENT_ID_BYTES: Final = 256
DEFAULT_DURATION_MINUTES: Final = 120
MAX_DURATION_MINUTES: Final = 1440

Status = Literal["sent", "queued", "no_channel", "delivered"]
"""What became of a send (contract, G6)."""


class Policy(Enum):
    """Who receives when several pages of one client id are open (contract, G7)."""

    REPLACE = "replace"
    REJECT = "reject"
    SHARE = "share"


# An id is one 63-bit integer inside Pushline, so that "after" is one comparison and SQLite's rowid order is the order
# of sending: 43 bits of milliseconds (until the year 2248), 20 bits of counter. Outside it is `<milliseconds>-<n>`.
COUNTER_BITS: Final = 20
_COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1
_MAX_MS: Final = (1 << 43) - 1
_ID: Final = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,6})", re.ASCII)


def id_bytes(number: int) -> bytes:
    """The text of an id, ``<milliseconds>-<n>``, as it goes over the wire."""
    return b"%d-%d" % (number >> COUNTER_BITS, number & _COUNTER_MASK)


def format_id(number: int) -> str:
    """The text of an id: ``<milliseconds>-<n>``."""
    return id_bytes(number).decode()


def parse_id(text: str) -> int | None:
    """The number of an id, or None when ``text`` is not an id of this form."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    milliseconds, counter = int(match[1]), int(match[2])
    if milliseconds > _MAX_MS or counter > _COUNTER_MASK:
        return None
    return milliseconds << COUNTER_BITS | counter


def id_at(seconds: float) -> int:
    """The first id of a moment given in unix seconds."""
    return int(seconds * 1000) << COUNTER_BITS


def is_client_id(text: str) -> bool:
    """Whether ``text`` may name a receiver: 1 to 256 bytes of UTF-8, any characters."""
    if not text or len(text) > MAX_CLIENT_ID_BYTES:
        return False
    if text.isascii():
        return True
    try:
        return len(text.encode()) <= MAX_CLIENT_ID_BYTES
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        return False


class Message:
    """A message on its way to pages.

    ``id`` is its number, ``previous`` the channel's id before it, by which a session sees a hole, ``data`` its UTF-8
    bytes. ``wire`` belongs to the transports: the frame, built once even when many connections get it.
    """

    __slots__ = ("data", "id", "previous", "wire")

    def __init__(self, id: int, previous: int, data: bytes) -> None:
        self.id = id
        self.previous = previous
        self.data = data
        self.wire: bytes | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self.id == other.id and self.previous == other.previous and self.data == other.data

    def __repr__(self) -> str:
        return f"Message({self.id}, {self.previous}, {self.data!r})"


class Append:
    """What an application sends, for a store to keep → :class:`Message`; :class:`Repeated` when ``key`` was seen;
    :class:`Full` when there is no room; None when there is no channel.

    ``key``: an idempotency key, remembered per client id for ten minutes at least. ``ttl``: seconds to keep the
    message, in place of the store's retention. ``waited``: the application waits until a page has acknowledged it, so
    every hub asks its pages at once.
    """

    __slots__ = ("client_id", "data", "key", "ttl", "waited")

    def __init__(
        self, client_id: str, data: bytes, key: str | None = None, ttl: float | None = None, waited: bool = False
    ) -> None:
        self.client_id = client_id
        self.data = data
        self.key = key
        self.ttl = ttl
        self.waited = waited
