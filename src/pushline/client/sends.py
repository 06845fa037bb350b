"""One message to one client id, before it is a request: by itself (contract, A2) or as an item of a batch (A3)."""

from __future__ import annotations

import re
from typing import Final, TypedDict, Unpack

import msgspec

MAX_BATCH_ITEMS: Final = 10_000
# Pushline takes sixteen times as much. A front with the usual default does not.
MAX_BATCH_BYTES: Final = 1 << 20
_KEY: Final = re.compile(r"[!-~]{1,255}")
_MAX_TTL: Final = 1e9
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


class BatchOptions(TypedDict, total=False):
    """How one message of a batch is sent.

    A send that is repeated with the same ``idempotency_key`` takes effect once. ``ttl`` is the seconds for which the
    message is kept for a page that is away.
    """

    idempotency_key: str | None
    ttl: float | None


class SendOptions(BatchOptions, total=False):
    """How one message is sent.

    Besides the options of a batch: with ``wait`` the answer waits, for so many seconds at most (30 or less), until a
    page has acknowledged the message: its status is then ``"delivered"``.
    """

    wait: float | None


class Send:
    """A message on its way to Pushline. ``key`` is its idempotency key, ``wait`` the seconds that it waits on purpose.

    Raises :class:`ValueError` for what no request can carry: a key that is none, a lone surrogate.
    """

    __slots__ = ("client_id", "content_type", "data", "key", "ttl", "wait")

    def __init__(
        self,
        client_id: str,
        data: bytes,
        content_type: str,
        *,
        idempotency_key: str | None = None,
        ttl: float | None = None,
        wait: float | None = None,
    ) -> None:
        if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
            raise ValueError("An idempotency key is 1 to 255 printable ASCII characters without spaces.")
        client_id.encode()
        self.client_id = client_id
        self.data = data
        self.content_type = content_type
        self.key = idempotency_key
        self.ttl = ttl
        self.wait = wait

    def item(self) -> bytes | None:
        """It as an item of a batch; None when only a request of its own can carry it.

        That is one that waits. And one that is wrong in a way that would make a batch unreadable or mean something
        else there: Pushline refuses it by itself.
        """
        if self.wait is not None or not (self.ttl is None or 0 < self.ttl < _MAX_TTL):
            return None
        try:
            item: dict[str, object] = {"to": self.client_id, "data": self.data.decode()}
        except UnicodeDecodeError:
            return None
        if self.key is not None:
            item["key"] = self.key
        if self.ttl is not None:
            item["ttl"] = self.ttl
        return msgspec.json.encode(item)


def of_text(client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> Send:
    """A text, or its UTF-8 bytes."""
    return Send(client_id, message.encode() if isinstance(message, str) else message, _TEXT, **options)


def of_value(client_id: str, value: object, **options: Unpack[SendOptions]) -> Send:
    """A value as compact JSON."""
    return Send(client_id, msgspec.json.encode(value), _JSON, **options)


class Part:
    """The items of one request, within its limits. ``repeatable``: each of them has an idempotency key."""

    __slots__ = ("items", "repeatable", "size")

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.repeatable = True
        self.size = 0

    def add(self, item: bytes, *, keyed: bool) -> bool:
        """Take another item, if there is room. For the first one there always is."""
        if self.items and (len(self.items) == MAX_BATCH_ITEMS or self.size + len(item) > MAX_BATCH_BYTES):
            return False
        self.items.append(item)
        self.size += len(item)
        self.repeatable &= keyed
        return True
