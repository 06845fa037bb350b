"""Which channels exist and which ids they hold: the rules of retention, place and sequence, written once.

The embedded stores share it: ``memory`` is a ledger, ``sqlite`` a ledger with a journal on disk, from which it comes
back after a restart. It is pure: no I/O, and the time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from pushline.messages import COUNTER_BITS, MAX_DURATION_MINUTES, Message, Policy, id_at, parse_id
from pushline.protocol.codes import REPLACED
from pushline.protocol.tokens import Claims
from pushline.stores.base import (
    Acknowledge,
    Append,
    Connect,
    Connected,
    Create,
    Operation,
    Outcome,
    Read,
    Refused,
    Release,
    Repeated,
    Retention,
)

KEY_SECONDS: Final = 600.0
"""How long an idempotency key is remembered (G1)."""

READ_BYTES: Final = 1 << 16
"""About how much one read returns: the high-water mark of a connection's send buffer."""

SWEEP_CHANNELS: Final = 500
"""How many channels one sweep looks at: well under a millisecond, so that nothing waits for it."""

_MAX_TOKEN_SECONDS: Final = MAX_DURATION_MINUTES * 60

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
        "live_until",
        "mortal",
        "newest_token",
        "number",
        "page",
        "policy",
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
        self.held = False
        """Whether ``page`` holds the place, under ``fence``."""
        self.kept: list[Kept] = []
        self.bytes = 0
        self.mortal = False
        """Whether a message with a ttl of its own may be among the kept: else nobody need look for one."""


class Journal(Protocol):
    """What a ledger tells a store that keeps it on disk."""

    def opened(self, channel: Channel) -> None:
        """A channel began."""

    def appended(self, channel: Channel, id: int, expires: float, data: bytes) -> None:
        """A message was kept. Its data stays with the journal."""

    def keyed(self, channel: Channel, key: str, id: int, until: float) -> None:
        """An idempotency key is to be remembered."""

    def changed(self, channel: Channel) -> None:
        """A field of the channel that has to survive has another value."""

    def dropped(self, channel: Channel, ids: list[int]) -> None:
        """These messages are no longer kept."""

    def ended(self, channel: Channel) -> None:
        """The channel is over: it and its messages can be forgotten."""


class Ledger:
    """The channels of a store."""

    __slots__ = ("_journal", "_numbers", "_retention", "_sweep", "channels", "last")

    def __init__(self, retention: Retention, journal: Journal | None = None) -> None:
        self._retention = retention
        self._journal = journal
        self._numbers = 0
        self._sweep: list[str] = []
        self.channels: dict[str, Channel] = {}
        self.last = 0
        """The highest id that was ever given."""

    def _next(self, now: float) -> int:
        self.last = max(self.last + 1, id_at(now))
        return self.last

    def lift(self, id: int, number: int = 0) -> None:
        """Give only ids above ``id`` and channel numbers above ``number`` from now on."""
        self.last = max(self.last, id)
        self._numbers = max(self._numbers, number)

    def do(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """Carry out operations in their order, at unix time ``now``."""
        return [self._append(op, now) if isinstance(op, Append) else self._do(op, now) for op in operations]

    def _do(self, operation: Create | Connect | Acknowledge | Release, now: float) -> Outcome:
        match operation:
            case Create():
                return self._create(operation, now)
            case Connect():
                return self._connect(operation, now)
            case Acknowledge():
                self._acknowledge_from_page(operation)
            case _:
                self._release(operation)
        return None

    def _live(self, client_id: str, now: float) -> Channel | None:
        channel = self.channels.get(client_id)
        return None if channel is None or channel.live_until <= now else channel

    # -- channels and tokens -----------------------------------------------------------------------------------

    def _create(self, op: Create, now: float) -> Claims:
        channel = self._live(op.client_id, now)
        id = self._next(now)
        if channel is None:
            channel = self._open(op.client_id, id)
        expires_at = math.ceil(now + op.seconds)  # whole seconds, never less than was asked for
        channel.last = channel.newest_token = id
        channel.policy = op.policy
        self._live_until(channel, expires_at, now)
        return Claims(op.client_id, id, expires_at, op.policy)

    def _open(self, client_id: str, first: int) -> Channel:
        stale = self.channels.get(client_id)
        if stale is not None:
            self._end(stale)
        self._numbers += 1
        channel = self.channels[client_id] = Channel(self._numbers, client_id, first)
        if self._journal is not None:
            self._journal.opened(channel)
        if stale is not None and stale.keys is not None:  # keys are the client id's, not the channel's (G1)
            for key, (id, until) in stale.keys.items():
                self._remember(channel, key, id, until)
        return channel

    def _live_until(self, channel: Channel, expires_at: float, now: float) -> None:
        channel.live_until = max(channel.live_until, expires_at)
        if channel.acknowledged is not None:
            # No token lives longer than a day: what older ones acknowledged speaks for nobody.
            oldest = id_at(now - _MAX_TOKEN_SECONDS)
            channel.acknowledged = {t: a for t, a in channel.acknowledged.items() if t >= oldest} or None
        self._changed(channel)

    def _changed(self, channel: Channel) -> None:
        if self._journal is not None:
            self._journal.changed(channel)

    def _end(self, channel: Channel) -> None:
        del self.channels[channel.client_id]
        if self._journal is not None:
            self._journal.ended(channel)

    # -- messages ----------------------------------------------------------------------------------------------

    def _append(self, op: Append, now: float) -> Message | Repeated | None:
        """Keep a message. The hot path: it asks for no more than it must."""
        channel = self.channels.get(op.client_id)
        if channel is None or channel.live_until <= now:
            return None
        if op.key is not None and (seen := self._seen(channel, op.key, now)) is not None:
            return Repeated(seen)
        id = self.last + 1
        floor = int(now * 1000) << COUNTER_BITS
        if id < floor:
            id = floor
        self.last = id
        data = op.data
        size = len(data)
        expires = 0.0
        if op.ttl is not None:
            expires = now + op.ttl
            channel.mortal = True
        message = Message(id, channel.last, data)
        channel.last = id
        if self._journal is None:
            channel.kept.append((id, expires, size, data))
        else:
            channel.kept.append((id, expires, size, None))
            self._journal.appended(channel, id, expires, data)
        channel.bytes += size
        if op.key is not None:
            self._remember(channel, op.key, id, now + KEY_SECONDS)
        retention = self._retention
        if channel.bytes > retention.bytes or len(channel.kept) > retention.messages:
            self.make_room(channel, now)
        return message

    def _seen(self, channel: Channel, key: str, now: float) -> int | None:
        entry = channel.keys.get(key) if channel.keys is not None else None
        return entry[0] if entry is not None and entry[1] > now else None

    def _remember(self, channel: Channel, key: str, id: int, until: float) -> None:
        if channel.keys is None:
            channel.keys = {}
        channel.keys[key] = (id, until)
        if self._journal is not None:
            self._journal.keyed(channel, key, id, until)

    def make_room(self, channel: Channel, now: float) -> None:
        """Drop the oldest messages of a channel that holds more than it may."""
        self._outlive(channel, now)
        kept, size = channel.kept, channel.bytes
        count = max(0, len(kept) - self._retention.messages)
        size -= sum(entry[2] for entry in kept[:count])
        while size > self._retention.bytes and count < len(kept) - 1:  # the newest stays, however long it is
            size -= kept[count][2]
            count += 1
        self._drop(channel, count)

    def _drop(self, channel: Channel, count: int) -> None:
        """Drop the ``count`` oldest messages."""
        if not count:
            return
        gone = channel.kept[:count]
        del channel.kept[:count]
        channel.bytes -= sum(kept[2] for kept in gone)
        channel.dropped = max(channel.dropped, gone[-1][0])
        if self._journal is not None:
            self._journal.dropped(channel, [kept[0] for kept in gone])

    def _acknowledge(self, channel: Channel, token_id: int, id: int) -> None:
        acknowledged = channel.acknowledged or {}
        if id <= acknowledged.get(token_id, token_id) or id > channel.last:
            return
        acknowledged[token_id] = id
        channel.acknowledged = acknowledged
        if channel.policy is not Policy.SHARE:
            limit = id if token_id >= channel.newest_token else min(id, channel.newest_token)
            kept = channel.kept
            self._drop(channel, next((k for k, entry in enumerate(kept) if entry[0] > limit), len(kept)))
        self._changed(channel)

    def read(
        self, client_id: str, after: int, now: float, fetch: Callable[[list[Kept]], list[bytes]] | None = None
    ) -> Read:
        """What the channel holds after an id. ``fetch`` gets the data of messages that a journal has."""
        channel = self._live(client_id, now)
        if channel is None:
            return Read([], after, None, complete=True)
        wanted: list[Kept] = []
        size = 0
        complete = True
        for kept in channel.kept:
            if kept[0] <= after or (kept[1] and kept[1] <= now):
                continue
            if wanted and size + kept[2] > READ_BYTES:
                complete = False
                break
            wanted.append(kept)
            size += kept[2]
        texts = [kept[3] or b"" for kept in wanted] if fetch is None else fetch(wanted)
        gap = channel.dropped if channel.dropped > after else None
        before = [after, *(kept[0] for kept in wanted)]
        messages = [Message(kept[0], p, text) for kept, p, text in zip(wanted, before, texts, strict=False)]
        upto = max(after, channel.last) if complete else wanted[-1][0]
        return Read(messages, upto, gap, complete)

    # -- pages -------------------------------------------------------------------------------------------------

    def _connect(self, op: Connect, now: float) -> Connected | Refused:
        claims = op.claims
        channel = self._live(claims.client_id, now)
        lost = channel is None or claims.id > channel.last
        if channel is None or lost:
            # The token is good, so this store is not as it was when the token was made (G5).
            self.lift(claims.id)
            channel = channel or self._open(claims.client_id, claims.id)
            channel.last = channel.newest_token = claims.id
            channel.policy = claims.policy
        if lost or claims.expires_at > channel.live_until:
            self._live_until(channel, claims.expires_at, now)
        resumed = False
        if channel.policy is not Policy.SHARE:
            # Without a name of its own a cursor speaks for the page that holds the place (W1).
            resumed = op.page == channel.page if op.page else op.after is not None
            if channel.held and not resumed and op.after is not None:
                return Refused(REPLACED)  # replaced while it was away: the loser does not fight back (G7)
            if not resumed:
                channel.page = op.page
            channel.held = True
        channel.fence = self._next(now)
        start, gap = self._start(channel, claims, op.after)
        self._changed(channel)
        return Connected(start, gap or lost, channel.fence, channel.policy, resumed)

    def _start(self, channel: Channel, claims: Claims, after: str | None) -> tuple[int, bool]:
        """Where a page begins (G4), and whether something before that is missing (G5)."""
        floor = max(channel.first, channel.dropped)
        if after is None:
            start = (channel.acknowledged or {}).get(claims.id, claims.id)
            return max(start, floor), start < floor
        cursor = parse_id(after)
        if cursor is None or cursor < floor or cursor > channel.last:
            return floor, True
        self._acknowledge(channel, claims.id, cursor)
        return cursor, False

    def _acknowledge_from_page(self, op: Acknowledge) -> None:
        channel = self.channels.get(op.client_id)
        if channel is None:
            return
        if channel.policy is Policy.SHARE or channel.fence == op.fence:
            self._acknowledge(channel, op.token_id, op.id)

    def _release(self, op: Release) -> None:
        channel = self.channels.get(op.client_id)
        if channel is not None and channel.held and channel.fence == op.fence:
            channel.held = False
            self._changed(channel)

    # -- what has ended ----------------------------------------------------------------------------------------

    def sweep(self, now: float) -> bool:
        """Forget what has ended in the next channels. True: more channels wait for their turn."""
        if not self._sweep:
            self._sweep = list(self.channels)
        for client_id in islice(reversed(self._sweep), SWEEP_CHANNELS):
            channel = self.channels[client_id]
            self._expire(channel, now)
            if channel.live_until <= now and channel.keys is None:
                self._end(channel)
        del self._sweep[-SWEEP_CHANNELS:]
        return bool(self._sweep)

    def _expire(self, channel: Channel, now: float) -> None:
        if channel.keys is not None:
            channel.keys = {key: entry for key, entry in channel.keys.items() if entry[1] > now} or None
        self._outlive(channel, now)
        # Only from the front, so that all that is kept lies above what was dropped: a message with a longer ttl of
        # its own holds those behind it a little longer than promised.
        oldest = id_at(now - self._retention.seconds)
        expired = 0
        while expired < len(channel.kept) and not channel.kept[expired][1] and channel.kept[expired][0] < oldest:
            expired += 1
        self._drop(channel, expired)

    def _outlive(self, channel: Channel, now: float) -> None:
        """Let go of what has ended by its own ttl: no gap (G5)."""
        if not channel.mortal:
            return
        ended = [kept for kept in channel.kept if kept[1] and kept[1] <= now]
        if ended:
            channel.kept = [kept for kept in channel.kept if not kept[1] or kept[1] > now]
            channel.mortal = any(kept[1] for kept in channel.kept)
            channel.bytes -= sum(kept[2] for kept in ended)
            if self._journal is not None:
                self._journal.dropped(channel, [kept[0] for kept in ended])
