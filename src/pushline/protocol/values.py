"""The values that a session takes and gives."""

from __future__ import annotations

import msgspec

from pushline.messages import Message
from pushline.protocol.frames import Down


class Heartbeat(msgspec.Struct, frozen=True):
    """The seconds between pings and the seconds that a page has to answer one; shared by all sessions."""

    interval: float
    timeout: float


class Acknowledged(msgspec.Struct, frozen=True):
    """The page has handled every message up to ``id``."""

    id: int


class Left(msgspec.Struct, frozen=True):
    """The page goes away in good order, having handled every message up to ``id`` (0: nothing to acknowledge)."""

    id: int


class Traffic(msgspec.Struct, frozen=True, gc=False):
    """What has become of the bytes that a connection was given.

    ``taken`` grows when the peer takes some (only its growth means anything), ``unsent`` are on their way.
    """

    taken: int = 0
    unsent: int = 0


class Close(msgspec.Struct, frozen=True):
    """The last thing that goes out: the close code and, for those that ask to come back, the moment in ms."""

    code: int
    retry: int | None = None

    @property
    def reason(self) -> str:
        """The reason as it goes over the wire (W8)."""
        return "" if self.retry is None else f"retry={self.retry}"


Outgoing = Message | Down | Close
