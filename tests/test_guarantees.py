"""The guarantees G1 to G10, as a model: random applications, pages, faults and clocks, and no socket.

The model knows what was accepted and what pages have said. Whatever happens, a socket gets the messages in the order
of their ids, each once, and none is missing of which it was not told; what was refused appears nowhere; and no answer
claims what is not so.

``SOAK=20`` runs twenty times as many examples.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pushline.errors import ConnectionEnded, StoreError, StoreFull
from pushline.hub import CONTEST_SECONDS, Hub
from pushline.messages import Append, Message, Policy, Status, format_id, id_at, parse_id
from pushline.protocol.codes import CLOSES, DISCONNECTED, INVALID_TOKEN, REPLACED, REVOKED, TOKEN_EXPIRED
from pushline.protocol.frames import Ack, Gap, Leave, Open, Ping
from pushline.protocol.session import Session
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.protocol.values import Close, Heartbeat, Outgoing, Traffic
from pushline.stores import ledger
from pushline.stores.base import (
    Acknowledge,
    Connect,
    Connected,
    Event,
    Notice,
    Operation,
    Outcome,
    Read,
    Repeated,
    Reply,
    Retention,
    Room,
    Store,
)
from pushline.stores.ledger import KEY_SECONDS, Ledger
from pushline.stores.memory import MemoryStore
from pushline.stores.sqlite import DATABASE, SqliteStore
from pushline.testing.clock import FakeClock, ProcessClock
from pushline.waits import Waits

SIGNER = TokenSigner(["the secret of the tests"])
POLICIES = {"ann": Policy.REPLACE, "bob": Policy.SHARE, "cid": Policy.REJECT, "dan": Policy.REPLACE}
RETENTION = Retention(seconds=900.0, messages=8, bytes=200_000)
ROOM = Room(channels=3, messages=12, bytes=300_000, notices=6)
GRACE = 3.0
KEYS = ("k", "l")

names = st.sampled_from(sorted(POLICIES))
picks = st.integers(0, 5)


class Channel:
    """What the model knows of a client id."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, Claims]] = []
        self.first = 0
        self.live_until = 0.0
        self.log: list[int] = []
        self.sizes: dict[int, int] = {}
        self.ends: dict[int, float] = {}
        """Messages with a ttl of their own, and when it ends."""
        self.keys: dict[str, tuple[int, float]] = {}
        self.fence = 0
        self.handled = 0
        """Up to here acknowledgements may have dropped messages (contract, Retention)."""
        self.acknowledged: dict[int, int] = {}
        self.revoked = 0
        self.ended_by_hand = False
        """Whether the application has ended its connections."""
        self.heard: list[Notice] = []
        """What the application was told, without repeats."""
        self.left_out = False
        """Whether something was given up since: then what comes next need not be the contrary."""
        self.gone_at = 0.0
        """When a connection of it ended last."""


class Socket:
    """What a page holds: it outlives its connections."""

    def __init__(self, number: int, name: str) -> None:
        self.page = f"page-{number}"
        self.client_id = name
        self.cursor: int | None = None
        self.received: list[int] = []
        self.said = 0
        """The highest id that it has acknowledged, in whatever way."""
        self.connection: Connection | None = None
        self.asked: Connection | None = None
        """A connection that is neither opened nor refused."""
        self.before: Connection | None = None
        """The one that it had last."""
        self.finished = False


@dataclass
class Waiting:
    """A send whose application waits."""

    hub: Hub
    until: float
    status: str = ""


class NotingStore:
    """A store that notes what it keeps, and fails when it is told to."""

    def __init__(self, store: Store, world: World, process: ProcessClock) -> None:
        self.inner = store
        self.world = world
        self.process = process
        self.answers = 0
        self.sweep = store.sweep
        self.look = store.look
        self.clients = store.clients
        self.notices = store.notices
        self.notices_of = store.notices_of
        self.orphans = store.orphans
        self.ready = store.ready
        self.close = store.close

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        """What another process did is heard a little later, as over a network."""
        self.inner.watch(lambda events: self.process.call_soon(partial(listener, events)))

    def read(self, client_id: str, after: int, now: float) -> Reply[Read]:
        if self.world.failing == "read":
            raise StoreError("a read that fails")
        return self.inner.read(client_id, after, now)

    def commit(self, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        if self.world.failing == "commit":
            outcomes = self.world.fail_to_commit(self.inner, operations, now)
        else:
            outcomes = self.inner.commit(operations, now)
        assert isinstance(outcomes, list)
        for operation, outcome in zip(operations, outcomes, strict=True):
            match operation, outcome:
                case Append(), Message():
                    self.note_kept(operation, outcome, now)
                    self.answers += 1
                case Append(), Repeated():
                    self.answers += not (operation.waited and outcome.acknowledged)
                case Append(), None:
                    self.answers += 1
                case Connect(), Connected():
                    channel = self.world.channels[operation.claims.client_id]
                    assert outcome.fence > channel.fence
                    channel.fence = outcome.fence
                    if operation.after is not None and not outcome.gap:
                        self.note_handled(operation.claims.client_id, operation.claims.id, outcome.start)
                case Acknowledge(), None:
                    channel = self.world.channels[operation.client_id]
                    if POLICIES[operation.client_id] is Policy.SHARE or operation.fence == channel.fence:
                        self.note_handled(operation.client_id, operation.token_id, operation.id)
        return outcomes

    def note_kept(self, operation: Append, message: Message, now: float) -> None:
        channel = self.world.channels[operation.client_id]
        assert channel.live_until > now
        assert not channel.log or message.id > channel.log[-1]  # G2
        channel.log.append(message.id)
        channel.sizes[message.id] = len(operation.data)
        if operation.ttl is not None:
            channel.ends[message.id] = now + operation.ttl
        if operation.key is not None:
            _, until = channel.keys.get(operation.key, (0, 0.0))
            assert self.world.now() >= until, "a key was forgotten too early"  # G1
            channel.keys[operation.key] = (message.id, now + KEY_SECONDS)

    def note_handled(self, name: str, token: int, id: int) -> None:
        world = self.world
        assert world.said(name, id, received=False), "nobody has acknowledged that"
        channel = world.channels[name]
        if id <= channel.acknowledged.get(token, token):
            return
        channel.acknowledged[token] = id
        if POLICIES[name] is not Policy.SHARE:  # the page being left never acknowledges for the one being loaded
            newest = max(claims.id for _, claims in channel.tokens)
            channel.handled = max(channel.handled, id if token == newest else min(id, newest))


class Connection:
    """One connection of a socket, as the hub and the page see it. It checks all that arrives."""

    session: Session
    name = "model"

    def __init__(self, world: World, socket: Socket, claims: Claims, hub: Hub) -> None:
        self.world = world
        self.socket = socket
        self.claims = claims
        self.hub = hub
        self.was = socket.cursor
        self.ends_at = world.clock.monotonic() + claims.expires_at - world.clock.now()
        self.got: list[Outgoing] = []
        self.lost = False
        """What it brings never arrives at the page."""
        self.given_up = False
        self.slow = False
        self.frozen = False
        self.owes = False
        self.taken = 0

    # -- the transport -------------------------------------------------------------------------------------------

    def opened(self, session: Session) -> bool:
        if self.given_up:
            return False
        self.session = session
        self.socket.asked = None
        self.socket.connection = self
        return True

    def refused(self, close: Close) -> None:
        if not self.given_up:
            self.socket.asked = None
            self.ended(close.code)

    def traffic(self) -> Traffic:
        return Traffic(self.taken, 1000 if self.slow else 0)

    def ended(self, code: int) -> None:
        if self.socket.connection is self:
            self.socket.connection = None
            self.socket.before = self
            self.world.gone(self.socket)
        # An older connection of the same page goes with 1000, when the newer one has come.
        if CLOSES[code].ends:
            self.socket.finished = True
            self.world.check_end(self, code)

    def flush(self) -> None:
        for item in self.session.outgoing() or ():
            self.got.append(item)
            match item:
                case Close(code=code):
                    if self.socket.connection is self:
                        self.ended(code)
                    self.hub.disconnected(self, orderly=False)
                case Ping():
                    self.owes = True
                    self.world.clock.call_soon(self.answer)
                case _ if not self.lost and self.socket.connection is self:
                    self.arrived(item)
        if self.slow and not self.session.closed:
            self.session.writable = False

    def arrived(self, item: Outgoing) -> None:
        match item:
            case Open():
                self.check_open(item)
            case Gap(cursor=cursor):
                self.check_gap(number(cursor))
            case Message(id=id):
                self.check_message(id)

    # -- the page ------------------------------------------------------------------------------------------------

    @property
    def answers(self) -> bool:
        return not (self.slow or self.frozen or self.lost)

    def answer(self) -> None:
        if self.owes and self.answers and self.socket.connection is self and not self.session.closed:
            self.owes = False
            self.say("ack", self.socket.cursor)

    def say(self, type: str, id: int | None) -> None:
        if id is not None:
            self.socket.said = max(self.socket.said, id)
        self.hub.received(self, json.dumps({"type": type, "id": "" if id is None else format_id(id)}))

    def read(self, *, on: bool) -> None:
        if on and self.slow:
            self.taken += 1000
            self.slow = False
            self.hub.unblocked(self)
        elif not on and not self.slow:
            self.slow = True
            self.hub.blocked(self)

    def refresh(self, token: str, claims: Claims) -> None:
        self.claims = claims
        self.ends_at = self.world.clock.monotonic() + claims.expires_at - self.world.clock.now()
        self.hub.received(self, json.dumps({"type": "token", "token": token}))

    # -- what the guarantees say about what arrives --------------------------------------------------------------

    @property
    def channel(self) -> Channel:
        return self.world.channels[self.socket.client_id]

    def missing(self, after: int, before: int, *, must: bool) -> list[int]:
        """The messages between two ids; ``must``: without those that may have ended by their own ttl."""
        found = [id for id in self.channel.log if after < id < before]
        latest = self.world.now()
        return [id for id in found if not must or self.channel.ends.get(id, latest + 1) > latest]

    def check_open(self, frame: Open) -> None:
        start = number(frame.cursor)
        channel, token = self.channel, self.claims.id
        wanted = self.was if self.was is not None else channel.acknowledged.get(token, token)
        if frame.gap:  # G5: told, and not without a reason
            assert self.missing(wanted, start + 1, must=False) or wanted < channel.first, (
                "a gap where nothing is missing"
            )
            missing = self.missing(wanted, start + 1, must=True)
            assert not missing or self.world.excused(channel, missing[-1]), "a message was dropped too early"
        else:  # G3 and G4
            assert start == wanted, "a start of its own choice"
        self.socket.cursor = start

    def check_gap(self, cursor: int) -> None:
        assert self.socket.cursor is not None
        assert self.missing(self.socket.cursor, cursor + 1, must=False), "a gap where nothing is missing"
        missing = self.missing(self.socket.cursor, cursor + 1, must=True)
        assert not missing or self.world.excused(self.channel, missing[-1]), "a message was dropped too early"
        self.socket.cursor = cursor

    def check_message(self, id: int) -> None:
        cursor, received = self.socket.cursor, self.socket.received
        assert cursor is not None, "a message before open"
        assert id > cursor, "a message twice, or out of order"
        assert not received or id > received[-1], "a message twice, or out of order"
        assert id in self.channel.sizes, "a message that nobody sent"
        assert not self.missing(cursor, id, must=True), "a message is missing and nothing was told"
        self.socket.cursor = id
        received.append(id)


def number(cursor: str) -> int:
    id = parse_id(cursor)
    assert id is not None
    return id


class World(RuleBasedStateMachine):
    """Applications and pages around a server, or two of them on one store."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.channels = {name: Channel() for name in POLICIES}
        self.sockets: list[Socket] = []
        self.waiting: list[Waiting] = []
        self.failing = ""
        self.latest = 0.0
        self.processes: list[tuple[ProcessClock, Hub, NotingStore]] = []
        self.deaf = False
        self.untold: list[tuple[Hub, Notice]] = []
        """What the application was told, or not, and has not accepted."""
        for store in self.make_stores():
            self.start(store)

    def make_stores(self) -> list[Store]:
        """An empty store; or handles on it, one for each process."""
        raise NotImplementedError

    def crash_store(self, store: Store) -> Store:
        """The store as the next process finds it."""
        raise NotImplementedError

    def fail_to_commit(self, store: Store, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        """Ask a store whose disk is full."""
        raise StoreFull("a commit that fails")

    def start(self, store: Store) -> None:
        process = ProcessClock(self.clock)
        noting = NotingStore(store, self, process)
        hub = Hub(
            noting, process, SIGNER, heartbeat=Heartbeat(25.0, 10.0), grace=GRACE, random=lambda: 0.5, presence=True
        )
        hub.announce = partial(self.told, hub)
        self.processes.append((process, hub, noting))

    def hub(self, pick: int) -> Hub:
        return self.processes[pick % len(self.processes)][1]

    def now(self) -> float:
        """The latest time that it ever was."""
        self.latest = max(self.latest, self.clock.now())
        return self.latest

    def live(self, name: str) -> bool:
        return self.channels[name].live_until > self.clock.now()

    def kept(self, name: str, id: int) -> bool:
        """Whether a message is there for a page that comes."""
        read = self.processes[0][2].inner.read(name, id - 1, self.clock.now())
        assert isinstance(read, Read)
        return any(message.id == id for message in read.messages[:1])

    def said(self, name: str, id: int, *, received: bool) -> bool:
        """Whether a page has acknowledged an id, or even a message that it has received."""
        return any(s.said >= id and (not received or id in s.received) for s in self.sockets if s.client_id == name)

    @contextmanager
    def faulty(self, what: str) -> Iterator[None]:
        self.failing = what
        yield
        self.failing = ""

    # -- who is there --------------------------------------------------------------------------------------------

    def gone(self, socket: Socket) -> None:
        self.channels[socket.client_id].gone_at = self.clock.monotonic()

    def told(self, hub: Hub, notice: Notice) -> None:
        """The application is told something; it may be deaf, and then it may have heard all the same."""
        if self.deaf:
            self.untold.append((hub, notice))
            if notice.sequence % 2:
                self.hear(notice)
            return
        self.hear(notice)
        hub.accepted(notice)

    def hear(self, notice: Notice) -> None:
        channel = self.channels[notice.client_id]
        last = channel.heard[-1] if channel.heard else None
        if last is not None and notice.sequence == last.sequence:
            assert notice.connected == last.connected  # a repeat
            return
        assert last is None or notice.sequence > last.sequence, "told out of order"  # P1, P4
        if not channel.left_out:
            assert notice.connected != (last is not None and last.connected), "not told alternately"  # G8
        if not notice.connected and abs(notice.time - self.clock.now()) < 1e-6:  # it is news
            assert not self.connections(notice.client_id), "somebody is there"
            assert self.clock.monotonic() > channel.gone_at + GRACE - 1e-6, "told before the time to come back was over"
        channel.left_out = False
        channel.heard.append(notice)

    @rule(what=st.sampled_from(["deaf", "hear", "hear", "give up"]))
    def the_application(self, what: str) -> None:
        """The application is not there, or is there again, or was not there for too long."""
        self.deaf = what != "hear"
        untold, self.untold = self.untold, []
        for hub, notice in untold:
            if what == "give up":
                self.channels[notice.client_id].left_out = True
                hub.give_up(notice, "status 500")
            else:
                self.told(hub, notice)
        self.clock.turn()

    @rule()
    def everything_settles(self) -> None:
        """G8: no ghosts. In the end what was told is what is true."""
        self.the_application("hear")
        for hub in [hub for _, hub, _ in self.processes]:
            hub.retry(None, lambda count: None, lambda error: None)
        self.now()
        for _ in range(8):
            self.clock.advance(20)
            truth = {name: bool(self.connections(name)) for name in POLICIES}
            if truth == {name: bool(c.heard and c.heard[-1].connected) for name, c in self.channels.items()}:
                return
        told = {name: bool(c.heard and c.heard[-1].connected) for name, c in self.channels.items()}
        raise AssertionError(f"what was told is not true: {told} and {truth}")

    @rule(name=names, how=st.sampled_from(["revoke", "disconnect"]), at=picks)
    def end_by_hand(self, name: str, how: str, at: int) -> None:
        """A4."""
        channel, hub = self.channels[name], self.hub(at)
        done: list[bool] = []
        there = self.connections(name)
        newest = max((claims.id for _, claims in channel.tokens), default=0)
        channel.ended_by_hand = True
        before, until = channel.revoked, channel.live_until
        if how == "revoke":
            channel.revoked, channel.live_until = newest, 0.0
            hub.revoke(name, lambda: done.append(True), lambda error: None)
        else:
            hub.dismiss(name, lambda: done.append(True), lambda error: None)
        self.clock.turn()
        if done:
            # One that was waiting for the place may have got it.
            assert not set(there) & set(self.connections(name)), "a connection that was ended goes on"
            assert how == "disconnect" or not self.connections(name)
        else:
            channel.revoked, channel.live_until = before, until

    # -- the application -----------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for name in ("ann", "bob", "cid"):
            self.create(name, 3600, 0)
            self.load(name, 0, 0)

    @rule(name=names, seconds=st.sampled_from([60, 600, 3600, 7200]), at=picks)
    def create(self, name: str, seconds: int, at: int) -> None:
        channel, begins = self.channels[name], not self.live(name)
        failed: list[StoreError] = []

        def created(token: str, claims: Claims) -> None:
            if begins:
                channel.first = claims.id
                channel.acknowledged.clear()
                channel.live_until = 0.0
            channel.tokens.append((token, claims))
            channel.live_until = max(channel.live_until, claims.expires_at)

        before = len(channel.tokens)
        self.hub(at).create_channel(name, seconds, POLICIES[name], created, failed.append)
        self.clock.turn()
        assert len(channel.tokens) == before + (not failed)
        assert not failed or begins, "a channel that exists was refused"

    def append(
        self, name: str, at: int, *, size: int = 5, key: str | None = None, ttl: float | None = None
    ) -> Callable[[], None]:
        """Ask to send a message. Called after the turn, what is returned checks the answer (G6)."""
        channel, hub, now = self.channels[name], self.hub(at), self.clock.now()
        seen = channel.keys.get(key or "", (0, 0.0))
        answers: list[tuple[int | None, str]] = []
        failed: list[StoreError] = []
        reading = [c for c in self.connections(name) if c.hub is hub and not c.slow]
        live, kept = self.live(name), self.kept(name, seen[0])
        hub.send(Append(name, b"x" * size, key, ttl), lambda id, status: answers.append((id, status)), failed.append)

        def check() -> None:
            assert len(answers) + len(failed) == 1
            if failed:
                return
            ((id, status),) = answers
            if not live:
                assert (id, status) == (None, "no_channel")
            elif id == seen[0]:
                assert seen[1] > now, "a key was remembered too long"
                assert status == "sent" or (status == "queued" and kept)
            elif id is None:
                assert status == "no_channel"
                assert seen[1] > now, "a message to a live channel was not kept"
                assert not self.kept(name, seen[0])
            else:
                assert id in channel.sizes
                abandoned = len(self.processes) > 1 and POLICIES[name] is Policy.SHARE  # see the totals below
                assert status == ("sent" if reading else "queued") or (abandoned and status == "sent")

        return check

    @rule(name=names, count=st.sampled_from([1, 1, 3, 12]), size=st.sampled_from([5, 5, 30_000]), at=picks)
    def send(self, name: str, count: int, size: int, at: int) -> None:
        before = len(self.channels[name].log)
        checks = [self.append(name, at, size=size) for _ in range(count)]
        self.clock.turn()
        for check in checks:
            check()
        assert len(self.channels[name].log) - before <= count

    @rule(
        sends=st.lists(
            st.tuples(names, st.sampled_from([None, *KEYS]), st.sampled_from([None, 2.0, 50.0])),
            min_size=2,
            max_size=6,
            unique_by=lambda send: send[:2],
        ),
        at=picks,
    )
    def send_a_batch(self, sends: list[tuple[str, str | None, float | None]], at: int) -> None:
        """Messages to several client ids in one turn, some with a key, which is repeated, or with a ttl."""
        checks = [self.append(name, at, key=key, ttl=ttl) for name, key, ttl in sends]
        self.clock.turn()
        for check in checks:
            check()

    @rule(name=names, key=st.sampled_from([None, None, *KEYS]), seconds=st.sampled_from([1.0, 5.0, 30.0]), at=picks)
    def send_and_wait(self, name: str, key: str | None, seconds: float, at: int) -> None:
        hub, channel = self.hub(at), self.channels[name]
        waiting = Waiting(hub, self.clock.monotonic() + seconds)
        repeated = channel.keys.get(key or "", (0, 0.0))[1] > self.clock.now()
        there = [c for c in self.connections(name) if c.answers and not c.owes]

        def sent(id: int | None, status: Status) -> None:
            assert not waiting.status, "answered twice"
            waiting.status = status
            if status == "delivered":  # G6: of a repeat the store knows only up to where somebody acknowledged
                assert id is not None
                assert self.said(name, id, received=not repeated and len(self.processes) == 1), "nobody handled that"

        def failed(error: StoreError) -> None:
            waiting.status = "failed"

        self.waiting.append(waiting)
        self.hub(at).send_and_wait(Append(name, b"waited", key, waited=True), seconds, sent, failed)
        self.clock.turn()
        if there and not repeated and waiting.status not in ("failed", "no_channel"):
            self.clock.turn()
            assert waiting.status == "delivered", "a page was there, and was not asked"

    @rule(name=names, count=st.sampled_from([1, 3]), key=st.sampled_from([None, *KEYS]), at=picks)
    def send_and_fail(self, name: str, count: int, key: str | None, at: int) -> None:
        """G1: what the disk did not keep is told, and appears nowhere."""
        before, live = len(self.channels[name].log), self.live(name)
        answers: list[object] = []
        failed: list[StoreError] = []
        with self.faulty("commit"):
            for _ in range(count):
                message = Append(name, b"lost", key)
                self.hub(at).send(message, lambda id, status: answers.append((id, status)), failed.append)
            self.clock.turn()
        assert len(answers) + len(failed) == count
        assert len(self.channels[name].log) == before
        assert failed or not live or key, "accepted though it was not kept"

    # -- pages ---------------------------------------------------------------------------------------------------

    def connections(self, name: str) -> list[Connection]:
        return [s.connection for s in self.sockets if s.client_id == name and s.connection is not None]

    def ask(self, socket: Socket, token: str, claims: Claims, at: int, *, lost: bool = False) -> Connection | None:
        if socket.asked is not None:  # a page has one connection under way
            socket.asked.given_up = True
            socket.asked = None
        connection = Connection(self, socket, claims, self.hub(at))
        connection.lost = lost
        after = None if socket.cursor is None else format_id(socket.cursor)
        if socket.cursor is not None:
            socket.said = max(socket.said, socket.cursor)
        try:
            self.hub(at).connect(token, socket.page, after, connection)
        except ConnectionEnded:
            assert claims.expires_at <= self.clock.now()
            return None
        assert claims.expires_at > self.clock.now()  # G9
        socket.asked = connection
        self.clock.turn()
        return connection

    @rule(name=names, pick=picks, at=picks)
    def load(self, name: str, pick: int, at: int) -> None:
        """A page is loaded with one of the tokens."""
        tokens = self.channels[name].tokens
        if not tokens:
            return
        socket = Socket(len(self.sockets), name)
        self.sockets.append(socket)
        self.ask(socket, *tokens[-1 - pick % len(tokens)], at)

    def some(self, pick: int, *, connected: bool) -> Socket | None:
        found = [s for s in self.sockets if not s.finished and (s.connection is not None) == connected]
        return found[pick % len(found)] if found else None

    def one(self, pick: int) -> Connection | None:
        """A connection of some page."""
        socket = self.some(pick, connected=True)
        return None if socket is None else socket.connection

    @rule(
        pick=picks,
        token=picks,
        connected=st.sampled_from([False, False, True]),
        fault=st.sampled_from(["", "", "", "commit", "read"]),
        at=picks,
    )
    def come_back(self, pick: int, token: int, connected: bool, fault: str, at: int) -> None:
        """A page that is away comes back, or one of which the server does not know yet that it was away."""
        if (socket := self.some(pick, connected=connected and not fault)) is not None:
            tokens = self.channels[socket.client_id].tokens
            with self.faulty(fault):
                self.ask(socket, *tokens[-1 - token % len(tokens)], at)
            assert not fault or socket.connection is None
            if socket.asked is not None:  # it wants a place that another page holds
                assert POLICIES[socket.client_id] is Policy.REJECT

    @rule(pick=picks, token=picks, connected=st.booleans(), at=picks)
    def poll_twice(self, pick: int, token: int, connected: bool, at: int) -> None:
        """W6: the answer of a poll is lost; the same cursor gets the same messages and the same gap again."""
        if (socket := self.some(pick, connected=connected)) is None:
            return
        tokens = self.channels[socket.client_id].tokens
        first = self.ask(socket, *tokens[-1 - token % len(tokens)], at, lost=True)
        if first is None or socket.connection is not first:
            return
        second = self.ask(socket, *tokens[-1 - token % len(tokens)], at + 1)
        assert second is not None
        assert socket.connection is second, "a page was its own rival"  # G7
        told = [item for item in second.got if isinstance(item, Message | Open | Gap)]
        assert [item for item in first.got if isinstance(item, Message | Open | Gap)] == told

    @rule(pick=picks, how=st.sampled_from(["break", "break", "close", "leave", "crash", "restart"]), at=picks)
    def lose(self, pick: int, how: str, at: int) -> None:
        """Connections are lost: one of them, or with the server all."""
        if how in ("crash", "restart"):
            self.end(how, at)
        elif (connection := self.one(pick)) is not None:
            if how == "leave":
                connection.say("leave", connection.socket.cursor)
            else:
                connection.socket.connection = None
                connection.socket.before = connection
                self.gone(connection.socket)
                connection.hub.disconnected(connection, orderly=how == "close")
            self.clock.turn()
            assert connection.socket.connection is None

    @rule(pick=picks, type=st.sampled_from([Ack, Leave]))
    def say_by_post(self, pick: int, type: Callable[[str], Ack | Leave]) -> None:
        """W3: a page says what it has handled, though its connection has gone."""
        socket = self.some(pick, connected=False)
        if socket is None or socket.before is None or socket.cursor is None:
            return
        socket.said = max(socket.said, socket.cursor)
        socket.before.hub.posted(socket.before.claims, socket.page, type(format_id(socket.cursor)))
        self.clock.turn()

    def end(self, how: str, at: int) -> None:
        """A server crashes, or ends in good order; another one is started."""
        process, hub, noting = self.processes.pop(at % len(self.processes))
        if how == "restart":
            hub.close(2.0)
            assert not any(s.connection is not None and s.connection.hub is hub for s in self.sockets)
            assert all(w.status for w in self.waiting if w.hub is hub)  # a drain answers waits at once
            hub.finish()
        process.kill()
        self.untold = [(other, notice) for other, notice in self.untold if other is not hub]
        self.waiting = [w for w in self.waiting if w.hub is not hub]
        for socket in self.sockets:
            if socket.connection is not None and socket.connection.hub is hub:
                socket.connection = None
                self.gone(socket)
            if socket.asked is not None and socket.asked.hub is hub:
                socket.asked = None
            if socket.before is not None and socket.before.hub is hub:
                socket.before = None
        self.start(self.crash_store(noting.inner))

    @rule(pick=picks, back=picks, fault=st.sampled_from(["", "", "commit"]))
    def acknowledge(self, pick: int, back: int, fault: str) -> None:
        """One that is not kept shows a new page those messages again, and does no other harm."""
        connection = self.one(pick)
        if connection is not None and (received := connection.socket.received):
            with self.faulty(fault):
                connection.say("ack", received[-1 - back % len(received)])
                self.clock.turn()

    @rule(pick=picks, id=st.sampled_from(["8796093022207-0", "1-0"]))
    def acknowledge_what_was_never_given(self, pick: int, id: str) -> None:
        if (connection := self.one(pick)) is not None:
            before = {name: channel.handled for name, channel in self.channels.items()}
            connection.hub.received(connection, json.dumps({"type": "ack", "id": id}))
            self.clock.turn()
            assert before == {name: channel.handled for name, channel in self.channels.items()}

    @rule(pick=picks)
    def refresh(self, pick: int) -> None:
        """A page is given the newest token of its channel."""
        if (connection := self.one(pick)) is not None:
            token, claims = self.channels[connection.socket.client_id].tokens[-1]
            if claims.expires_at > self.clock.now():
                connection.refresh(token, claims)
                self.clock.turn()
                revoked = claims.id <= self.channels[connection.socket.client_id].revoked
                assert (connection.socket.connection is connection) == (not revoked)

    @rule(pick=picks, what=st.sampled_from(["block", "block", "take", "freeze"]))
    def stop_or_go_on(self, pick: int, what: str) -> None:
        """A page takes no more bytes, or a few, or its script runs no more; or it goes on."""
        if (connection := self.one(pick)) is None:
            return
        if what == "freeze":
            connection.frozen = not connection.frozen
        elif what == "take":
            connection.taken += 10
        else:
            connection.read(on=connection.slow)
        self.clock.call_soon(connection.answer)
        self.clock.turn()

    @rule(
        pick=picks, count=st.sampled_from([2, 9, 20]), size=st.sampled_from([5, 30_000]), wait=st.booleans(), at=picks
    )
    def fall_behind(self, pick: int, count: int, size: int, wait: bool, at: int) -> None:
        """Much comes while a page takes no more, perhaps more than is kept for it."""
        if (connection := self.one(pick)) is not None:
            connection.read(on=False)
            name = connection.socket.client_id
            if wait:
                self.send_and_wait(name, None, 5.0, at)
            self.send(name, count, size, at)
            if connection.socket.connection is connection:
                connection.read(on=True)
                self.clock.call_soon(connection.answer)
                self.clock.turn()

    def excused(self, channel: Channel, id: int) -> bool:
        """Whether a message may have been dropped."""
        later = [channel.sizes[other] for other in channel.log if other > id]
        return (
            id <= channel.handled
            or id < channel.first
            or len(later) >= RETENTION.messages
            or sum(later) + channel.sizes[id] > RETENTION.bytes
            or id < id_at(self.now() - RETENTION.seconds)
        )

    def check_end(self, connection: Connection, code: int) -> None:
        """Whether a socket that ended had to."""
        socket = connection.socket
        if code == REPLACED:  # G7: by another page, whose place it is now
            policy = POLICIES[socket.client_id]
            assert policy is not Policy.SHARE
            assert any(s is not socket and s.client_id == socket.client_id for s in self.sockets)
            if policy is Policy.REJECT and hasattr(connection, "session"):
                assert not connection.answers or connection.owes, "a page that answers has lost its place"
        elif code in (INVALID_TOKEN, REVOKED):
            channel = self.channels[socket.client_id]
            assert connection.claims.id <= channel.revoked, "a token that is good was refused"
            assert code == INVALID_TOKEN or channel.ended_by_hand
        elif code == DISCONNECTED:
            assert self.channels[socket.client_id].ended_by_hand
        else:
            assert code == TOKEN_EXPIRED
            assert self.clock.monotonic() > connection.ends_at - 1e-6, "ended before its token"

    # -- time and fate -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 0.5, CONTEST_SECONDS, 4.0, 11.0, 30.0, 300.0, 1000.0, -1.0, -600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, or the machine's clock is set back."""
        self.now()
        if seconds > 0:
            self.clock.advance(seconds)
        else:
            self.set_the_clock_back(-seconds)

    def set_the_clock_back(self, seconds: float) -> None:
        now, latest = self.clock.now() - seconds, self.now()
        tokens = [claims for channel in self.channels.values() for _, claims in channel.tokens]
        if not any(now < claims.expires_at <= latest for claims in tokens):  # none comes back to life
            self.clock.step(-seconds)

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def a_page_that_reads_has_everything(self) -> None:
        """G3, G10: what is connected and reads has all that was accepted, or was told."""
        for socket in self.sockets:
            connection = socket.connection
            if connection is not None and not connection.slow and not connection.lost:
                assert socket.cursor is not None
                log = self.channels[socket.client_id].log
                left = connection.missing(socket.cursor, log[-1] + 1 if log else 0, must=True)
                assert not left, "a message is missing and nothing comes"

    @invariant()
    def one_page_holds_the_place(self) -> None:
        """G7."""
        for name, policy in POLICIES.items():
            assert policy is Policy.SHARE or len(self.connections(name)) <= 1
        for _, hub, noting in self.processes:
            connected = sum(s.connection is not None and s.connection.hub is hub for s in self.sockets)
            counters = hub.counters
            # In `share` another hub does not hear that a page has come back here; its ping finds it out.
            assert counters.connections == connected or len(self.processes) > 1
            assert counters.messages_sent + counters.messages_queued + counters.messages_no_channel == noting.answers

    @invariant()
    def nobody_waits_too_long(self) -> None:
        """G6, and G7: whoever wants a place knows within two seconds; G9: no token outlives its second."""
        now = self.clock.monotonic()
        assert all(w.status for w in self.waiting if w.until < now - 1e-6)
        self.waiting = [w for w in self.waiting if not w.status]
        for socket in self.sockets:
            if socket.connection is not None:
                assert now < socket.connection.ends_at + 0.2

    def teardown(self) -> None:
        for process, _, noting in self.processes:
            process.kill()
            noting.close()


class MemoryWorld(World):
    """The hub crashes, the store does not."""

    def make_stores(self) -> list[Store]:
        return [MemoryStore(RETENTION, ROOM)]

    def crash_store(self, store: Store) -> Store:
        return store


class TwoHubsWorld(World):
    """Two hubs over one store, of which one crashes while the other goes on."""

    def make_stores(self) -> list[Store]:
        self.memory = MemoryStore(RETENTION, ROOM)
        return [self.memory.peer(), self.memory.peer()]

    def crash_store(self, store: Store) -> Store:
        store.close()
        return self.memory.peer()


class SqliteWorld(World):
    """A crash leaves the files as they are: ``kill -9``."""

    def make_stores(self) -> list[Store]:
        self.folder = Path(tempfile.mkdtemp(prefix="pushline-"))
        self.number = 0
        return [self.open()]

    def open(self) -> SqliteStore:
        return SqliteStore(self.data_dir() / DATABASE, RETENTION, ROOM)

    def data_dir(self) -> Path:
        path = self.folder / str(self.number)
        path.mkdir(exist_ok=True)
        return path

    def crash_store(self, store: Store) -> Store:
        before = self.data_dir()
        self.number += 1
        shutil.copytree(before, self.data_dir(), dirs_exist_ok=True)
        store.close()
        shutil.rmtree(before)
        return self.open()

    def fail_to_commit(self, store: Store, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        def write(journal: object) -> None:
            raise apsw.FullError("a disk that is full")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_write", write)
            return store.commit(operations, now)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


def how_much(examples: int) -> settings:
    return settings(
        max_examples=examples * int(os.environ.get("SOAK", "1")),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


TestGuaranteesOfMemory = MemoryWorld.TestCase
TestGuaranteesOfMemory.settings = how_much(150)
TestGuaranteesOfTwoHubs = TwoHubsWorld.TestCase
TestGuaranteesOfTwoHubs.settings = how_much(120)
TestGuaranteesOfSqlite = SqliteWorld.TestCase
TestGuaranteesOfSqlite.settings = how_much(80)


# -- whether the model would notice ----------------------------------------------------------------------------------

_feed, _deliver, _given, _not_kept = Session.feed, Session.deliver, Waits.given, Hub._not_kept


def feed_less(session: Session, messages: Sequence[Message], upto: int, *, gap: int | None, complete: bool) -> None:
    _feed(session, messages[1:], upto, gap=gap, complete=complete)


def feed_without_gaps(
    session: Session, messages: Sequence[Message], upto: int, *, gap: int | None, complete: bool
) -> None:
    _feed(session, messages, upto, gap=None, complete=complete)


def deliver_twice(session: Session, message: Message) -> bool:
    delivered = _deliver(session, message)
    if delivered and not session.closed:
        session._put(message)
    return delivered


def take_what_was_given_for_handled(waits: Waits, client_id: str, ids: set[int]) -> bool:
    found = _given(waits, client_id, ids)
    waits.handled(client_id, "", 0, max(ids, default=0))
    return found


def answer_what_was_not_kept(hub: Hub, replies: list[Any], error: StoreError) -> None:
    for reply, _ in replies:
        with suppress(TypeError):  # it asked for something else
            reply(1, "queued")


def hear_no_answer(hub: Hub, place: tuple[str, int], *, here: bool) -> None:
    """The page that holds the place has answered in vain."""


def acknowledge_everything(hub: Hub, session: Session, fence: int, id: int) -> None:
    hub._submit(Acknowledge(session.client_id, session.token_of(id), fence, session.position + 1000))


def settle_nothing(hub: Hub, client_id: str, fences: tuple[int, ...]) -> None:
    """Nobody is told that somebody has gone."""


def settle_at_once(hub: Hub, seconds: float, client_id: str, fences: tuple[int, ...]) -> None:
    hub._settle(client_id, fences)


def adopt_nothing(hub: Hub) -> None:
    """What a process leaves behind is nobody's."""


def go_on_with_what_is_revoked(ledger: Ledger, claims: Claims) -> bool:
    return False


def keep_everything(channel: object, id: int, now: float) -> bool:
    return True


@pytest.mark.patches
@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (ledger, "_keeps", keep_everything),
        (Hub, "_settle", settle_nothing),
        (Hub, "_settle_later", settle_at_once),
        (Hub, "_adopt", adopt_nothing),
        (Ledger, "_is_revoked", go_on_with_what_is_revoked),
        (Session, "feed", feed_less),
        (Session, "feed", feed_without_gaps),
        (Session, "deliver", deliver_twice),
        (Waits, "given", take_what_was_given_for_handled),
        (Hub, "_not_kept", answer_what_was_not_kept),
        (Hub, "_affirmed", hear_no_answer),
        (Hub, "_acknowledge", acknowledge_everything),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_the_model_finds_a_fault(owner: object, name: str, fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            MemoryWorld,
            settings=settings(
                max_examples=500,
                stateful_step_count=50,
                deadline=None,
                database=None,
                derandomize=True,
                report_multiple_bugs=False,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
