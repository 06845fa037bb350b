"""Which channels exist and which ids they hold: the rules of retention, place and sequence, written once.

The embedded stores share it: ``memory`` is a ledger, ``sqlite`` a ledger with a journal on disk, from which it comes
back after a restart. It is pure: no I/O, and the time is an argument.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from operator import itemgetter
from typing import Final

from pushline.messages import COUNTER_BITS, MAX_DURATION_MINUTES, Append, Message, Policy, id_at, parse_id
from pushline.protocol.codes import INVALID_TOKEN, REPLACED
from pushline.protocol.tokens import Claims
from pushline.stores.base import (
    Accepted,
    Acknowledge,
    ChannelState,
    Claim,
    ClientEntry,
    ClientList,
    Connect,
    Connected,
    Contested,
    Create,
    Drain,
    Full,
    GiveUp,
    Handled,
    Notice,
    Operation,
    Orphans,
    Outcome,
    Read,
    Refused,
    Release,
    Renew,
    Repeated,
    Retention,
    Retry,
    Revoke,
    Room,
    Settle,
    Waiting,
)
from pushline.stores.channels import NO_LEASES, Before, Channel, Journal, Kept
from pushline.stores.outbox import Outbox

KEY_SECONDS: Final = 600.0
"""How long an idempotency key is remembered (G1)."""

READ_BYTES: Final = 1 << 16
"""About how much one read returns: the high-water mark of a connection's send buffer."""

SWEEP_CHANNELS: Final = 500
"""How many channels one sweep looks at, at most."""

SWEEP_MESSAGES: Final = 2000
"""About how many messages one sweep lets go of: well under a millisecond, so that nothing waits for it."""

KEY_OVERHEAD: Final = 64
"""What a remembered idempotency key counts in the store's bytes, besides its own."""

LIST_CHANNELS: Final = 5000
"""How many channels one question for client ids looks at, at most."""

_MAX_TOKEN_SECONDS: Final = MAX_DURATION_MINUTES * 60


class Ledger:
    """The channels of a store.

    With a journal, what the latest :meth:`do` did can be undone, since a journal may fail to keep it.
    """

    __slots__ = (
        "_before",
        "_free_before",
        "_free_bytes",
        "_free_messages",
        "_journal",
        "_kept_bytes",
        "_kept_messages",
        "_made_up",
        "_numbers",
        "_opened",
        "_orphans",
        "_owed",
        "_retention",
        "_room",
        "_sweep",
        "_tick",
        "back_by",
        "channels",
        "handled",
        "hub",
        "hubs",
        "hubs_given",
        "last",
        "outbox",
    )

    def __init__(self, retention: Retention, room: Room, journal: Journal | None = None) -> None:
        self._retention = retention
        self._kept_bytes, self._kept_messages = retention.bytes, retention.messages
        self._room = room
        # What is free is counted, not what is taken: so the hot path compares with 0.
        self._free_bytes, self._free_messages = room.bytes, room.messages
        self._journal = journal
        self._numbers = 0
        self._tick = 0.0
        """Until this unix time the next id is the last one plus one: its millisecond has an id already."""
        self._sweep: list[str] = []
        self._before: dict[Channel, Before] = {}
        self._opened: list[tuple[str, Channel | None]] = []
        self._free_before = (room.bytes, room.messages)
        self.channels: dict[str, Channel] = {}
        self.last = 0
        """The highest id that was ever given."""
        self.handled: list[Handled] | None = None
        """What was acknowledged since somebody emptied the list; None: nobody wants to know."""
        self.outbox = Outbox(room.notices, journal)
        self.back_by = 0.0
        """The unix time until which pages of a process that has ended were asked to come back."""
        self.hub = 0
        """The number of the hub that asks; 0 is that of hubs that have ended."""
        self.hubs: set[int] = set()
        """The numbers of those that live."""
        self.hubs_given = 0
        self._orphans = True
        """Whether a hub has ended, and nobody has looked what it left behind."""
        self._owed: dict[str, None] = {}
        """Client ids of which there was no room to tell something."""
        self._made_up: list[str] = []
        """Those of them whose turn has come in this commit."""

    def _next(self, now: float) -> int:
        self.last = max(self.last + 1, id_at(now))
        return self.last

    def lift(self, id: int, number: int = 0) -> None:
        """Give only ids above ``id`` and channel numbers above ``number`` from now on."""
        self.last = max(self.last, id)
        self._numbers = max(self._numbers, number)

    def do(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """Carry out operations in their order, at unix time ``now``."""
        if self._journal is not None:
            self._begin()
        return [self._append(op, now) if isinstance(op, Append) else self._do(op, now) for op in operations]

    def _do(self, operation: Operation, now: float) -> Outcome:
        match operation:
            case Create():
                return self._create(operation, now)
            case Connect():
                return self._connect(operation, now)
            case Acknowledge():
                self._acknowledge_from_page(operation)
            case Release():
                self._release(operation)
            case Settle():
                return self._settle(operation, now)
            case Renew():
                return self._renew(operation)
            case Revoke():
                return self._revoke(operation, now)
            case Claim():
                return self.outbox.claim(operation.client_id, self.hub)
            case Accepted():
                return self.outbox.accepted(operation.client_id, operation.sequence, self.hub) or self._owing(now)
            case GiveUp():
                return self.outbox.give_up(operation, self.hub) or self._owing(now)
            case Retry():
                return Waiting(self.outbox.retry(operation.client_id, now))
            case Drain():
                self.back_by = operation.until
                if self._journal is not None:
                    self._journal.drained()
            case _:  # an Affirm or a Dismiss changes nothing here; they matter to other hubs
                pass
        return None

    def _live(self, client_id: str, now: float) -> Channel | None:
        channel = self.channels.get(client_id)
        return None if channel is None or channel.live_until <= now else channel

    # -- undoing -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """What was done until now is kept, and will not be undone."""
        if self._before:
            self._before = {}
        if self._opened:
            self._opened = []
        self._free_before = (self._free_bytes, self._free_messages)
        if self.outbox.before:
            self.outbox.before = {}
        if self._made_up:
            self._made_up = []

    def _touch(self, channel: Channel) -> None:
        """Note how a channel is before it is changed. A plain message needs no note: its outcome says enough."""
        if self._journal is not None and channel not in self._before:
            self._before[channel] = Before(channel)

    def undo(self, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> list[Channel]:
        """Take back what the latest :meth:`do` did, but for the ids: those are not given again.

        Returns the channels that are again as they were.
        """
        for client_id, before in reversed(self._opened):
            if before is None:
                del self.channels[client_id]
            else:
                self.channels[client_id] = before
                self._touch(before)
        for note in self._before.values():
            note.restore()
        self.outbox.undo()
        self._owed.update(dict.fromkeys(self._made_up))
        for op, outcome in zip(reversed(operations), reversed(outcomes), strict=True):
            if type(op) is Append and type(outcome) is Message:
                channel = self.channels.get(op.client_id)
                if channel is not None and channel.last == outcome.id:  # else its channel is as it was already
                    channel.bytes -= channel.kept.pop()[2]
                    channel.last = outcome.previous
        self._free_bytes, self._free_messages = self._free_before
        changed = [channel for channel in self._before if self.channels.get(channel.client_id) is channel]
        self._begin()
        return changed

    # -- the room of the whole store ---------------------------------------------------------------------------

    def recount(self) -> None:
        """Count what all channels hold: they were put here from outside."""
        channels = self.channels.values()
        self._free_messages = self._room.messages - sum(len(channel.kept) for channel in channels)
        self._free_bytes = self._room.bytes - sum(channel.bytes for channel in channels)
        self._free_bytes -= sum(_size_of_key(key) for channel in channels for key in channel.keys or ())

    def _find_room(self, channel: Channel, size: int, needed: int, now: float) -> bool:
        """Whether a message of ``size`` bytes, which needs some more, finds room in place of what its channel drops.

        It looks at this channel alone, so that a full store costs little: a sweep comes to the others.
        """
        self._touch(channel)
        self._expire(channel, now)
        count, freed = self._excess(channel, 1, size)
        return self._free_bytes + freed >= needed and self._free_messages + count >= 1

    # -- channels and tokens -----------------------------------------------------------------------------------

    def _create(self, op: Create, now: float) -> Claims | Full:
        channel = self._live(op.client_id, now)
        if channel is None and len(self.channels) - (op.client_id in self.channels) >= self._room.channels:
            return Full()
        id = self._next(now)
        if channel is None:
            channel = self._open(op.client_id, id)
        else:
            self._touch(channel)
        expires_at = math.ceil(now + op.seconds)  # whole seconds, never less than was asked for
        channel.last = channel.newest_token = id
        _set_policy(channel, op.policy)
        self._live_until(channel, expires_at, now)
        return Claims(op.client_id, id, expires_at, op.policy)

    def _open(self, client_id: str, first: int) -> Channel:
        before = self.channels.get(client_id)
        if before is None:
            self._numbers += 1
            channel = Channel(self._numbers, client_id, first)
        else:
            channel = Channel(before.number, client_id, first)
            channel.inherit(before)
            self._free_messages += len(before.kept)
            self._free_bytes += before.bytes
        self.channels[client_id] = channel
        if self._journal is not None:
            self._opened.append((client_id, before))
            self._journal.opened(channel, before)
        return channel

    def _live_until(self, channel: Channel, expires_at: float, now: float) -> None:
        channel.live_until = max(channel.live_until, expires_at)
        if channel.acknowledged is not None:
            # No token lives longer than a day: what older ones acknowledged speaks for no page, and only the highest
            # says what became of a message.
            oldest, highest = id_at(now - _MAX_TOKEN_SECONDS), max(channel.acknowledged.values())
            channel.acknowledged = {t: a for t, a in channel.acknowledged.items() if t >= oldest or a == highest}
        self._changed(channel)

    def _changed(self, channel: Channel) -> None:
        if self._journal is not None:
            self._journal.changed(channel)

    def _end(self, channel: Channel) -> None:
        """Forget a channel that has no keys."""
        del self.channels[channel.client_id]
        self._free_messages += len(channel.kept)
        self._free_bytes += channel.bytes
        if self._journal is not None:
            self._journal.ended(channel)

    # -- messages ----------------------------------------------------------------------------------------------

    def _append(self, op: Append, now: float) -> Message | Repeated | Full | None:
        """Keep a message. The hot path: it asks for no more than it must."""
        channel = self.channels.get(op.client_id)
        if channel is None or channel.live_until <= now:
            return None
        data = op.data
        size = len(data)
        key = op.key
        if key is None:
            if (self._free_bytes < size or self._free_messages <= 0) and not self._find_room(channel, size, size, now):
                return Full()
        else:
            if (seen := self._seen(channel, key, now)) is not None:
                return Repeated(seen, self._was_handled(channel, seen), _keeps(channel, seen, now))
            needed = size + _size_of_key(key)
            if (self._free_bytes < needed or self._free_messages <= 0) and not self._find_room(
                channel, size, needed, now
            ):
                return Full()
        id = self.last + 1
        if now >= self._tick:  # as _next does, but not again in the same millisecond
            milliseconds = int(now * 1000)
            self._tick = (milliseconds + 1) / 1000
            floor = milliseconds << COUNTER_BITS
            if id < floor:
                id = floor
        self.last = id
        expires = 0.0
        if op.ttl is not None:
            self._touch(channel)
            expires = now + op.ttl
            channel.mortal = True
        if key is not None:
            self._remember(channel, key, id, now + KEY_SECONDS)
        message = Message(id, channel.last, data)
        channel.last = id
        kept = channel.kept
        if self._journal is None:
            kept.append((id, expires, size, data))
        else:
            kept.append((id, expires, size, None))
            self._journal.appended(channel, id, expires, data)
        channel.bytes += size
        self._free_bytes -= size
        self._free_messages -= 1
        if channel.bytes > self._kept_bytes or len(kept) > self._kept_messages:
            self._touch(channel)
            self.make_room(channel, now)
        return message

    def _seen(self, channel: Channel, key: str, now: float) -> int | None:
        entry = channel.keys.get(key) if channel.keys is not None else None
        return entry[0] if entry is not None and entry[1] > now else None

    def _remember(self, channel: Channel, key: str, id: int, until: float) -> None:
        self._touch(channel)
        if channel.keys is None:
            channel.keys = {}
        # Put at the end, even when it was there before: they lie in the order in which they may be forgotten.
        before = channel.keys.pop(key, None)
        channel.keys[key] = (id, until)
        if before is None:
            self._free_bytes -= _size_of_key(key)
        if self._journal is not None:
            self._before[channel].noted.append((key, before))
            self._journal.keyed(channel, key, id, until)

    def make_room(self, channel: Channel, now: float) -> None:
        """Drop the oldest messages of a channel that holds more than it may."""
        self._outlive(channel, now)
        self._drop(channel, self._excess(channel, 0, 0)[0])

    def _excess(self, channel: Channel, messages: int, size: int) -> tuple[int, int]:
        """How many messages a channel has to drop, and their bytes, when so much comes in addition."""
        kept = channel.kept
        count = max(0, len(kept) + messages - self._kept_messages)
        freed = sum(entry[2] for entry in kept[:count])
        over = channel.bytes + size - self._kept_bytes
        newest = len(kept) + messages - 1  # it stays, however long it is
        while freed < over and count < newest:
            freed += kept[count][2]
            count += 1
        return count, freed

    def _drop(self, channel: Channel, count: int) -> None:
        """Drop the ``count`` oldest messages."""
        if not count:
            return
        gone = channel.kept[:count]
        del channel.kept[:count]
        channel.dropped = max(channel.dropped, gone[-1][0])
        self._dropped(channel, gone)

    def _dropped(self, channel: Channel, gone: list[Kept]) -> None:
        size = sum(kept[2] for kept in gone)
        channel.bytes -= size
        self._free_bytes += size
        self._free_messages += len(gone)
        if self._journal is not None:
            self._journal.dropped(channel, [kept[0] for kept in gone])

    def _was_handled(self, channel: Channel, id: int) -> bool:
        """Whether a page has acknowledged an id: one of a token that is older than it."""
        acknowledged = channel.acknowledged
        return acknowledged is not None and any(token < id <= upto for token, upto in acknowledged.items())

    def _acknowledge(self, channel: Channel, token_id: int, id: int, after: int) -> None:
        acknowledged = channel.acknowledged or {}
        if id <= acknowledged.get(token_id, token_id) or id > channel.last:
            return
        self._touch(channel)
        acknowledged[token_id] = id
        channel.acknowledged = acknowledged
        if channel.policy is not Policy.SHARE:
            limit = id if token_id >= channel.newest_token else min(id, channel.newest_token)
            kept = channel.kept
            self._drop(channel, next((k for k, entry in enumerate(kept) if entry[0] > limit), len(kept)))
        self._changed(channel)
        if self.handled is not None:
            self.handled.append(Handled(channel.client_id, id, after))

    # -- reading -----------------------------------------------------------------------------------------------

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
        texts = fetch(wanted) if fetch is not None and wanted else [kept[3] or b"" for kept in wanted]
        gap = channel.dropped if channel.dropped > after else None
        before = [after, *(kept[0] for kept in wanted)]
        messages = [Message(kept[0], p, text) for kept, p, text in zip(wanted, before, texts, strict=False)]
        upto = max(after, channel.last) if complete else wanted[-1][0]
        return Read(messages, upto, gap, complete)

    def look(self, client_id: str, now: float) -> ChannelState | None:
        """What may be seen of a channel; None when it has ended, or never was."""
        channel = self._live(client_id, now)
        if channel is None:
            return None
        kept = channel.kept
        if channel.mortal:
            kept = [entry for entry in kept if not entry[1] or entry[1] > now]
        highest = max(channel.acknowledged.values(), default=0) if channel.acknowledged else 0
        return ChannelState(
            queued=len(kept) - self._expired(kept, now),
            acknowledged=highest if highest >= channel.first else None,
            expires_at=channel.live_until,
            policy=channel.policy,
        )

    # -- pages -------------------------------------------------------------------------------------------------

    def _connect(self, op: Connect, now: float) -> Connected | Refused | Contested:
        claims = op.claims
        if self._is_revoked(claims):
            return Refused(INVALID_TOKEN)
        channel = self._live(claims.client_id, now)
        lost = channel is None or claims.id > channel.last
        if channel is not None:
            rival = self._rival(channel, claims.policy if lost else channel.policy, op)
            if rival is not None:
                return rival  # and nothing has changed
            self._touch(channel)
        if channel is None or lost:
            # The token is good, so this store is not as it was when the token was made (G5). There is room for the
            # channel: it had it when the token was made, and no page can do anything about it.
            self.lift(claims.id)
            channel = channel or self._open(claims.client_id, claims.id)
            channel.last = channel.newest_token = claims.id
            _set_policy(channel, claims.policy)
        if lost or claims.expires_at > channel.live_until:
            self._live_until(channel, claims.expires_at, now)
        resumed = False
        shared = channel.policy is Policy.SHARE
        if not shared:
            resumed = _speaks_for_the_holder(channel, op)
            if not resumed:
                channel.page = op.page
            channel.held = True
        channel.fence = self._next(now)
        if not resumed:
            channel.since = channel.fence
        start, gap = self._start(channel, claims, op.after)
        if shared and channel.leases:
            channel.leases[channel.fence] = self.hub
        else:
            channel.leases = {channel.fence: self.hub}
        channel.vacated = 0
        notice = self._tell(channel, now) if op.tell and not channel.told else None
        self._changed(channel)
        return Connected(start, gap or lost, channel.fence, channel.policy, resumed, notice)

    def _rival(self, channel: Channel, policy: Policy, op: Connect) -> Refused | Contested | None:
        """Why a page does not get the place, when another holds it (G7)."""
        if policy is Policy.SHARE or not channel.held or _speaks_for_the_holder(channel, op):
            return None
        if policy is Policy.REPLACE:
            # With a cursor it was replaced while it was away: the loser does not fight back.
            return None if op.after is None else Refused(REPLACED)
        if op.displace == channel.fence:
            return None
        # The page that was asked has come back, or another one has got the place meanwhile and has to be asked itself.
        return Refused(REPLACED) if op.displace and op.displace >= channel.since else Contested(channel.fence)

    def _start(self, channel: Channel, claims: Claims, after: str | None) -> tuple[int, bool]:
        """Where a page begins (G4), and whether something before that is missing (G5)."""
        floor = max(channel.first, channel.dropped)
        if after is None:
            start = (channel.acknowledged or {}).get(claims.id, claims.id)
            return max(start, floor), start < floor
        cursor = parse_id(after)
        if cursor is None or cursor < floor or cursor > channel.last:
            return floor, True
        self._acknowledge(channel, claims.id, cursor, claims.id)
        return cursor, False

    def _acknowledge_from_page(self, op: Acknowledge) -> None:
        channel = self.channels.get(op.client_id)
        if channel is None:
            return
        if channel.policy is Policy.SHARE or channel.fence == op.fence:
            self._acknowledge(channel, op.token_id, op.id, op.after)

    def holds(self, client_id: str, fence: int) -> bool:
        """Whether a page holds the place of a channel under ``fence``."""
        channel = self.channels.get(client_id)
        return channel is not None and channel.held and channel.fence == fence

    def _release(self, op: Release) -> None:
        channel = self.channels.get(op.client_id)
        if channel is not None and self._let_go(channel, op.fence):
            channel.vacated = op.fence

    def _let_go(self, channel: Channel, fence: int) -> bool:
        """The connection of ``fence`` is over: whatever it holds is free. True: it held something."""
        held = channel.held and channel.fence == fence
        if not held and fence not in channel.leases:
            return False
        self._touch(channel)
        if held:
            channel.held = False
        if channel.leases.pop(fence, None) is not None and not channel.leases:
            channel.leases = NO_LEASES
        self._changed(channel)
        return True

    # -- presence (G8) -----------------------------------------------------------------------------------------

    def _settle(self, op: Settle, now: float) -> Notice | None:
        channel = self.channels.get(op.client_id)
        if channel is None:
            return None
        for fence in op.fences:
            self._let_go(channel, fence)
        self._touch(channel)
        if channel.vacated in op.fences:
            channel.vacated = 0
        # Somebody else may have left meanwhile: his time to come back is not over.
        if not op.tell or not channel.told or channel.leases or channel.vacated:
            return None
        notice = self._tell(channel, now)
        self._changed(channel)
        return notice

    def _tell(self, channel: Channel, now: float) -> Notice | None:
        """Put into the outbox that the state of a client id is not the one that was told."""
        connected = not channel.told
        sequence = self.outbox.put(channel.client_id, connected, now)
        if not sequence:
            self._owed[channel.client_id] = None
            return None
        channel.told = sequence if connected else 0
        return self.outbox.claim(channel.client_id, self.hub)

    def _owing(self, now: float) -> Notice | None:
        """Make up for one of the notices for which there was no room."""
        while self._owed and self.outbox.has_room():
            client_id, _ = self._owed.popitem()
            self._made_up.append(client_id)
            channel = self.channels.get(client_id)
            if channel is None or bool(channel.told) == bool(channel.leases):
                continue
            if channel.leases or not channel.vacated:  # else somebody has time to come back
                self._touch(channel)
                notice = self._tell(channel, now)
                self._changed(channel)
                return notice
        return None

    def enlist(self) -> int:
        """The number of a hub that begins."""
        self.hubs_given += 1
        self.hubs.add(self.hubs_given)
        return self.hubs_given

    def resign(self, hub: int) -> None:
        """A hub has ended."""
        self.hubs.discard(hub)
        self.outbox.disclaim(hub)
        self._orphans = True

    def orphans(self) -> Orphans | None:
        """What hubs that have ended left behind, when one of them has ended since the last time."""
        if not self._orphans:
            return None
        self._orphans = False
        alive = self.hubs
        connections: list[tuple[str, tuple[int, ...]]] = []
        for channel in self.channels.values():
            leases = channel.leases
            if leases:
                fences = [fence for fence, hub in leases.items() if hub not in alive]
                if channel.vacated:
                    fences.append(channel.vacated)
                if fences:
                    connections.append((channel.client_id, tuple(fences)))
            elif channel.told:
                connections.append((channel.client_id, (channel.vacated,)))
        return Orphans(connections, self.back_by, self.outbox.unclaimed())

    # -- what the application wants of a client id (A4) --------------------------------------------------------

    def _is_revoked(self, claims: Claims) -> bool:
        channel = self.channels.get(claims.client_id)
        return channel is not None and claims.id <= channel.revoked

    def _renew(self, op: Renew) -> Refused | None:
        return Refused(INVALID_TOKEN) if self._is_revoked(op.claims) else None

    def _revoke(self, op: Revoke, now: float) -> Full | None:
        channel = self.channels.get(op.client_id)
        if channel is None:
            # A store that was lost does not know of the tokens that are good: it remembers this all the same.
            if len(self.channels) >= self._room.channels:
                return Full()
            channel = self._open(op.client_id, self._next(now))
            channel.revoked = channel.first
        else:
            self._touch(channel)
            channel.revoked = channel.last = self._next(now)
        channel.live_until = 0.0  # whatever the clock will say
        self._drop(channel, len(channel.kept))
        self._changed(channel)
        return None

    def clients(self, names: Iterable[str], prefix: str, connected: bool | None, limit: int, now: float) -> ClientList:
        """Some client ids; ``names`` are those that come into question, in order."""
        entries: list[ClientEntry] = []
        last = ""
        for seen, name in enumerate(names):
            if not name.startswith(prefix):
                break
            if len(entries) == limit or seen == LIST_CHANNELS:
                return ClientList(entries, last)
            last = name
            channel = self._live(name, now)
            if channel is not None and connected in (None, bool(channel.leases)):
                entries.append(ClientEntry(name, bool(channel.leases), channel.live_until))
        return ClientList(entries, None)

    # -- what has ended ----------------------------------------------------------------------------------------

    def sweep(self, now: float) -> bool:
        """Forget what has ended in the next channels. True: more channels wait for their turn."""
        if not self._sweep:
            self._sweep = list(self.channels)
        waiting = self._sweep
        budget = SWEEP_MESSAGES
        for _ in range(min(SWEEP_CHANNELS, len(waiting))):
            channel = self.channels[waiting[-1]]
            budget -= self._expire(channel, now)
            if budget > 0 or channel.keys is None:  # else there may be more in this one
                waiting.pop()
            if channel.live_until <= now and channel.keys is None and not self._matters(channel, now):
                budget -= len(channel.kept)
                self._end(channel)
            if budget <= 0:
                break
        return bool(waiting)

    def _matters(self, channel: Channel, now: float) -> bool:
        """Whether something of a channel that has ended is still to be remembered."""
        if channel.leases or channel.told:
            return True
        return channel.revoked > id_at(now - _MAX_TOKEN_SECONDS - 1)  # its tokens would be good again

    def _expire(self, channel: Channel, now: float) -> int:
        """Let go of what has ended in a channel, but not of more than :data:`SWEEP_MESSAGES` keys. Returns how many."""
        before = len(channel.kept)
        self._outlive(channel, now)
        self._drop(channel, self._expired(channel.kept, now))
        return before - len(channel.kept) + self._forget_keys(channel, now)

    def _expired(self, kept: list[Kept], now: float) -> int:
        """How many of these messages are older than the store's retention.

        Only from the front, so that all that is kept lies above what was dropped: a message with a longer ttl of its
        own holds those behind it a little longer than promised.
        """
        oldest = id_at(now - self._retention.seconds)
        count = 0
        while count < len(kept) and not kept[count][1] and kept[count][0] < oldest:
            count += 1
        return count

    def _forget_keys(self, channel: Channel, now: float) -> int:
        keys = channel.keys
        if keys is None:
            return 0
        ended = [
            (key, entry)
            for key, entry in takewhile(lambda item: item[1][1] <= now, islice(keys.items(), SWEEP_MESSAGES))
        ]
        note = self._before.get(channel)
        for key, entry in ended:
            del keys[key]
            self._free_bytes += _size_of_key(key)
            if note is not None:
                note.noted.append((key, entry))
            if self._journal is not None:
                self._journal.forgot(channel, key, entry[1])
        if not keys:
            channel.keys = None
        return len(ended)

    def _outlive(self, channel: Channel, now: float) -> None:
        """Let go of what has ended by its own ttl: no gap (G5)."""
        if not channel.mortal:
            return
        ended = [kept for kept in channel.kept if kept[1] and kept[1] <= now]
        if ended:
            channel.kept = [kept for kept in channel.kept if not kept[1] or kept[1] > now]
            channel.mortal = any(kept[1] for kept in channel.kept)
            self._dropped(channel, ended)


def _set_policy(channel: Channel, policy: Policy) -> None:
    channel.policy = policy
    if policy is Policy.SHARE:  # nobody holds the place, whatever comes after
        channel.held = False


def _speaks_for_the_holder(channel: Channel, op: Connect) -> bool:
    """Whether it is the page that has the place. Without a name of its own a cursor speaks for that page (W1)."""
    return op.page == channel.page if op.page else op.after is not None


def _keeps(channel: Channel, id: int, now: float) -> bool:
    """Whether a channel still has a message."""
    kept = channel.kept
    at = bisect_left(kept, id, key=itemgetter(0))
    return at < len(kept) and kept[at][0] == id and (not kept[at][1] or kept[at][1] > now)


def _size_of_key(key: str) -> int:
    """What a remembered key counts in the store's bytes."""
    return KEY_OVERHEAD + len(key.encode())
