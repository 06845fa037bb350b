"""The guarantees G2 to G6, as a model: random applications, pages, crashes and clocks, and no socket.

The model knows what was accepted. Whatever happens, a socket gets the messages in the order of their ids, each once,
and none is missing of which it was not told.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pushline.errors import ConnectionEnded, StoreError
from pushline.hub import Hub
from pushline.messages import Message, Policy, format_id, id_at, parse_id
from pushline.protocol.codes import CLOSES, REPLACED, TOKEN_EXPIRED
from pushline.protocol.frames import Gap, Open, Ping
from pushline.protocol.session import Close, Heartbeat, Session
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.stores.base import Append, Operation, Outcome, Reply, Retention, Store
from pushline.stores.memory import MemoryStore
from pushline.stores.sqlite import DATABASE, SqliteStore
from pushline.testing import FakeClock

SIGNER = TokenSigner(["the secret of the tests"])
POLICIES = {"ann": Policy.REPLACE, "bob": Policy.SHARE}
RETENTION = Retention(seconds=900.0, messages=8, bytes=200_000)

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
        self.handled = 0
        """Up to here acknowledgements may have dropped messages (contract, Retention)."""
        self.acknowledged: dict[int, int] = {}


class Socket:
    """What a page holds: it outlives its connections."""

    def __init__(self, number: int, name: str) -> None:
        self.page = f"page-{number}"
        self.client_id = name
        self.cursor: int | None = None
        self.received: list[int] = []
        self.connection: Connection | None = None
        self.finished = False


class NotingStore:
    """A store that notes the messages which it keeps."""

    def __init__(self, store: Store, channels: dict[str, Channel]) -> None:
        self.inner = store
        self.channels = channels
        self.read = store.read
        self.sweep = store.sweep
        self.watch = store.watch
        self.ready = store.ready
        self.close = store.close

    def commit(self, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        outcomes = self.inner.commit(operations, now)
        assert isinstance(outcomes, list)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(operation, Append) and isinstance(outcome, Message):
                log = self.channels[operation.client_id].log
                assert not log or outcome.id > log[-1]  # G2
                log.append(outcome.id)
                self.channels[operation.client_id].sizes[outcome.id] = len(operation.data)
        return outcomes


class Connection:
    """One connection of a socket, as the hub and the page see it. It checks all that arrives."""

    session: Session

    def __init__(self, world: World, socket: Socket, claims: Claims) -> None:
        self.world = world
        self.socket = socket
        self.claims = claims
        self.hub = world.hub
        self.was = socket.cursor
        self.slow = False

    def opened(self, session: Session) -> bool:
        self.session = session
        self.socket.connection = self
        return True

    def refused(self, code: int) -> None:
        self.ended(code)

    def ended(self, code: int) -> None:
        self.socket.connection = None
        # An older connection of the same page goes with 1000, when the newer one has come.
        if CLOSES[code].ends:
            self.socket.finished = True
            self.world.check_end(self.socket, code)

    def flush(self) -> None:
        for item in self.session.outgoing() or ():
            match item:
                case Open():
                    self.check_open(item)
                case Gap(cursor=cursor):
                    self.check_gap(number(cursor))
                case Message(id=id):
                    self.check_message(id)
                case Ping():
                    self.world.clock.call_soon(self.answer)
                case Close(code=code):
                    if self.socket.connection is self:
                        self.ended(code)
                    self.hub.disconnected(self, orderly=False)
        if self.slow:
            self.session.writable = False

    def answer(self) -> None:
        if not self.session.closed:
            self.say("ack", "")

    def say(self, type: str, id: str) -> None:
        self.hub.received(self, json.dumps({"type": type, "id": id}))

    # -- what the guarantees say about what arrives --------------------------------------------------------------

    @property
    def channel(self) -> Channel:
        return self.world.channels[self.socket.client_id]

    def missing(self, after: int, before: int) -> list[int]:
        return [id for id in self.channel.log if after < id < before]

    def check_open(self, frame: Open) -> None:
        start = number(frame.cursor)
        channel, token = self.channel, self.claims.id
        wanted = self.was if self.was is not None else channel.acknowledged.get(token, token)
        if frame.gap:  # G5: told, and not without a reason
            missing = self.missing(wanted, start + 1)
            assert missing or wanted < channel.first, "a gap where nothing is missing"
            assert not missing or self.world.excused(channel, missing[-1]), "a message was dropped too early"
        else:  # G3 and G4
            assert start == wanted, "a start of its own choice"
            if start > channel.acknowledged.get(token, token):
                self.world.note_acknowledged(self.socket.client_id, token, start)
        self.socket.cursor = start

    def check_gap(self, cursor: int) -> None:
        assert self.socket.cursor is not None
        assert self.missing(self.socket.cursor, cursor + 1), "a gap where nothing is missing"
        self.socket.cursor = cursor

    def check_message(self, id: int) -> None:
        cursor, received = self.socket.cursor, self.socket.received
        assert cursor is not None, "a message before open"
        assert id > cursor, "a message twice, or out of order"
        assert not received or id > received[-1], "a message twice, or out of order"
        assert id in self.channel.log, "a message that nobody sent"
        assert not self.missing(cursor, id), "a message is missing and nothing was told"
        self.socket.cursor = id
        received.append(id)


def number(cursor: str) -> int:
    id = parse_id(cursor)
    assert id is not None
    return id


class World(RuleBasedStateMachine):
    """Applications and pages around one server."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.channels = {name: Channel() for name in POLICIES}
        self.sockets: list[Socket] = []
        self.latest = 0.0
        self.store = self.noting(self.make_store())
        self.start()

    def noting(self, store: Store) -> Store:
        """The store, whose commits tell the model what was accepted."""
        return NotingStore(store, self.channels)

    def make_store(self) -> Store:
        """An empty store."""
        raise NotImplementedError

    def crash_store(self) -> Store:
        """The store as the next process finds it."""
        raise NotImplementedError

    def start(self) -> None:
        """A new process, with a clock that knows no timers of the old one."""
        self.clock = FakeClock(now=self.clock.now())
        self.hub = Hub(self.store, self.clock, SIGNER, heartbeat=Heartbeat(25.0, 10.0), grace=3.0, random=lambda: 0.5)

    def live(self, name: str) -> bool:
        return self.channels[name].live_until > self.clock.now()

    def failed(self, error: StoreError) -> None:
        raise error

    # -- the application -----------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for name in POLICIES:
            self.create(name, 600)
            self.load(name, 0)

    @rule(name=names, seconds=st.sampled_from([60, 600, 3600]))
    def create(self, name: str, seconds: int) -> None:
        channel, begins = self.channels[name], not self.live(name)

        def created(token: str, claims: Claims) -> None:
            if begins:
                channel.first = claims.id
                channel.acknowledged.clear()
                channel.live_until = 0.0
            channel.tokens.append((token, claims))
            channel.live_until = max(channel.live_until, claims.expires_at)

        self.hub.create_channel(name, seconds, POLICIES[name], created, self.failed)
        self.clock.turn()

    @rule(name=names, count=st.sampled_from([1, 1, 3, 12]), size=st.sampled_from([5, 5, 30_000]))
    def send(self, name: str, count: int, size: int) -> None:
        answers: list[tuple[int | None, str]] = []

        def sent(id: int | None, status: str) -> None:
            answers.append((id, status))

        channel = self.channels[name]
        live, before = self.live(name), len(channel.log)
        reading = any(s.connection is not None and not s.connection.slow for s in self.sockets if s.client_id == name)
        for _ in range(count):
            self.hub.send(Append(name, b"x" * size), sent, self.failed)
        self.clock.turn()
        if live:  # G6
            status = "sent" if reading else "queued"
            assert answers == [(id, status) for id in channel.log[before:]]
            assert len(answers) == count
        else:
            assert answers == [(None, "no_channel")] * count
            assert len(channel.log) == before

    # -- pages ---------------------------------------------------------------------------------------------------

    def ask(self, socket: Socket, token: str, claims: Claims) -> None:
        connection = Connection(self, socket, claims)
        after = None if socket.cursor is None else format_id(socket.cursor)
        try:
            self.hub.connect(token, socket.page, after, connection)
        except ConnectionEnded:
            assert claims.expires_at <= self.clock.now()
            return
        assert claims.expires_at > self.clock.now()  # G9
        self.clock.turn()

    @rule(name=names, pick=picks)
    def load(self, name: str, pick: int) -> None:
        """A page is loaded with one of the tokens."""
        tokens = self.channels[name].tokens
        socket = Socket(len(self.sockets), name)
        self.sockets.append(socket)
        self.ask(socket, *tokens[-1 - pick % len(tokens)])

    def some(self, pick: int, *, connected: bool) -> Socket | None:
        found = [s for s in self.sockets if not s.finished and (s.connection is not None) == connected]
        return found[pick % len(found)] if found else None

    @rule(pick=picks, token=picks, connected=st.sampled_from([False, False, True]))
    def come_back(self, pick: int, token: int, connected: bool) -> None:
        """A page that is away comes back, or one of which the server does not know yet that it was away."""
        if (socket := self.some(pick, connected=connected)) is not None:
            tokens = self.channels[socket.client_id].tokens
            self.ask(socket, *tokens[-1 - token % len(tokens)])

    @rule(pick=picks, how=st.sampled_from(["break", "break", "close", "crash", "restart"]))
    def lose(self, pick: int, how: str) -> None:
        """Connections are lost: one of them, or with the server all."""
        if how in ("crash", "restart"):
            self.end(how)
            return
        socket = self.some(pick, connected=True)
        if socket is not None and socket.connection is not None:
            connection, socket.connection = socket.connection, None
            self.hub.disconnected(connection, orderly=how == "close")
            self.clock.turn()

    def end(self, how: str) -> None:
        """The server crashes, or ends in good order; another one is started."""
        if how == "restart":
            self.hub.close(2.0)
            assert not any(socket.connection for socket in self.sockets)
        for socket in self.sockets:
            socket.connection = None
        self.store = self.noting(self.crash_store())
        self.start()

    @rule(pick=picks, back=picks)
    def acknowledge(self, pick: int, back: int) -> None:
        socket = self.some(pick, connected=True)
        if socket is None or socket.connection is None or not socket.received:
            return
        id = socket.received[-1 - back % len(socket.received)]
        token, session = socket.connection.claims.id, socket.connection.session
        counts = session.acknowledged < id
        socket.connection.say("ack", format_id(id))
        self.clock.turn()
        if counts and id > self.channels[socket.client_id].acknowledged.get(token, token):
            self.note_acknowledged(socket.client_id, token, id)

    @rule(pick=picks)
    def stop_or_go_on_reading(self, pick: int) -> None:
        socket = self.some(pick, connected=True)
        if socket is not None and (connection := socket.connection) is not None:
            connection.slow = not connection.slow
            connection.session.writable = not connection.slow
            self.hub.feed(connection)
            self.clock.turn()

    def note_acknowledged(self, name: str, token: int, id: int) -> None:
        channel = self.channels[name]
        channel.acknowledged[token] = id
        if POLICIES[name] is not Policy.SHARE:  # the page being left never acknowledges for the one being loaded
            newest = max(claims.id for _, claims in channel.tokens)
            channel.handled = max(channel.handled, id if token == newest else min(id, newest))

    def excused(self, channel: Channel, id: int) -> bool:
        """Whether a message may have been dropped."""
        self.latest = max(self.latest, self.clock.now())
        later = [channel.sizes[other] for other in channel.log if other > id]
        return (
            id <= channel.handled
            or id < channel.first
            or len(later) >= RETENTION.messages
            or sum(later) + channel.sizes[id] > RETENTION.bytes
            or id < id_at(self.latest - RETENTION.seconds)
        )

    def check_end(self, socket: Socket, code: int) -> None:
        """Whether a socket that ended had to."""
        if code == REPLACED:  # G7: by another page, whose place it is now
            assert POLICIES[socket.client_id] is Policy.REPLACE
            assert any(s is not socket and s.client_id == socket.client_id for s in self.sockets)
        else:
            assert code == TOKEN_EXPIRED

    # -- time and fate -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 4.0, 30.0, 1000.0, -1.0, -600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, or the machine's clock is set back."""
        if seconds > 0:
            self.clock.advance(seconds)
        else:
            self.set_the_clock_back(-seconds)

    def set_the_clock_back(self, seconds: float) -> None:
        self.latest = max(self.latest, self.clock.now())
        now = self.clock.now() - seconds
        tokens = [claims for channel in self.channels.values() for _, claims in channel.tokens]
        if not any(now < claims.expires_at <= self.latest for claims in tokens):  # none comes back to life
            self.clock.step(-seconds)

    # -- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def a_page_that_reads_has_everything(self) -> None:
        """G3, G10: what is connected and reads has all that was accepted, or was told."""
        for socket in self.sockets:
            if socket.connection is not None and not socket.connection.slow:
                assert socket.cursor is not None
                left = [id for id in self.channels[socket.client_id].log if id > socket.cursor]
                assert not left, "a message is missing and nothing comes"

    @invariant()
    def one_page_holds_the_place(self) -> None:
        """G7."""
        for name, policy in POLICIES.items():
            connected = [s for s in self.sockets if s.client_id == name and s.connection is not None]
            assert policy is Policy.SHARE or len(connected) <= 1
        assert self.hub.counters.connections == sum(socket.connection is not None for socket in self.sockets)

    def teardown(self) -> None:
        self.store.close()


class MemoryWorld(World):
    """The hub crashes, the store does not."""

    def make_store(self) -> MemoryStore:
        self.memory = MemoryStore(RETENTION)
        return self.memory

    def crash_store(self) -> MemoryStore:
        return self.memory


class SqliteWorld(World):
    """A crash leaves the files as they are: ``kill -9``."""

    def make_store(self) -> SqliteStore:
        self.folder = Path(tempfile.mkdtemp(prefix="pushline-"))
        self.processes = 0
        return SqliteStore(self.data_dir() / DATABASE, RETENTION)

    def data_dir(self) -> Path:
        path = self.folder / str(self.processes)
        path.mkdir(exist_ok=True)
        return path

    def crash_store(self) -> SqliteStore:
        before = self.data_dir()
        self.processes += 1
        shutil.copytree(before, self.data_dir(), dirs_exist_ok=True)
        self.store.close()
        shutil.rmtree(before)
        return SqliteStore(self.data_dir() / DATABASE, RETENTION)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


SETTINGS = settings(
    max_examples=250, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

TestGuaranteesOfMemory = MemoryWorld.TestCase
TestGuaranteesOfMemory.settings = SETTINGS
TestGuaranteesOfSqlite = SqliteWorld.TestCase
TestGuaranteesOfSqlite.settings = SETTINGS
