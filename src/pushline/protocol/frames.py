"""The frames of the wire, version 1 (contract, W2 and W3), and their texts.

A message is the text ``<id> <data>``; every other frame is a JSON object, so the first character tells them apart.
``spec/frames.json`` holds golden vectors of all of them.
"""

from __future__ import annotations

from typing import Final

import msgspec

SUBPROTOCOL: Final = "pushline.v1"
TOKEN_SUBPROTOCOL: Final = "pushline.token."  # noqa: S105 - the name of a subprotocol, no secret


class _Frame(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """A JSON object whose first member is its type."""


class Open(_Frame, frozen=True):
    """The first frame of a connection: who it is for and after which id it begins. Times are seconds."""

    client_id: str
    cursor: str
    gap: bool
    ping: int | float
    timeout: int | float
    expires_in: int


class Gap(_Frame, frozen=True):
    """Something before ``cursor`` is missing; the cursor becomes the page's."""

    cursor: str


class Ping(_Frame, frozen=True):
    """Answered at once with an ``ack`` (W4)."""


class Expiring(_Frame, frozen=True):
    """The token ends in ``expires_in`` seconds."""

    expires_in: int


class TokenAccepted(_Frame, frozen=True, tag="token"):
    """A fresh token was accepted; it ends in ``expires_in`` seconds."""

    expires_in: int


class Ack(_Frame, frozen=True):
    """Everything up to ``id`` was handed on; ``""`` before any message."""

    id: str


class Leave(_Frame, frozen=True):
    """The page goes away in good order; acknowledges like :class:`Ack`."""

    id: str


class FreshToken(_Frame, frozen=True, tag="token"):
    """A fresh token for the same client id."""

    token: str

    def __repr__(self) -> str:
        return "FreshToken()"  # a traceback or a log line may show it (G9)


Down = Open | Gap | Ping | Expiring | TokenAccepted
Up = Ack | Leave | FreshToken

encode = msgspec.json.Encoder().encode
"""The compact JSON of a frame, keys in the order shown in W2."""

_up_decoder: Final[msgspec.json.Decoder[Up]] = msgspec.json.Decoder(Up)


class UnknownFrame(ValueError):
    """What came is none of the frames that a page may send."""


def decode_up(text: str | bytes) -> Up:
    """The frame that a page sent. Raises :class:`UnknownFrame`."""
    try:
        return _up_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnknownFrame(str(error)) from None


def seconds(value: float) -> int | float:
    """A number of seconds as the wire shows it: whole ones without a fraction."""
    return int(value) if value == int(value) else value
