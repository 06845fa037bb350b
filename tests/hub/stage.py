"""What the tests of the core stand on: a hub, its application, its pages and stores. No socket, time moved by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.stores.late import LateStore

from pushline.errors import StoreError
from pushline.hub import Hub
from pushline.messages import Append, Message, Policy, format_id
from pushline.protocol.frames import Ack, Gap, Leave, Open, Ping
from pushline.protocol.session import Session
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.protocol.values import Close, Heartbeat, Outgoing, Traffic
from pushline.stores.base import (
    ChannelState,
    ClientList,
    Event,
    Notice,
    NoticeList,
    Operation,
    Orphans,
    Outcome,
    Read,
    Reply,
    Store,
)
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock

T = TypeVar("T")

SIGNER = TokenSigner(["the secret of the tests"])
GRACE = 3.0


class Page:
    """A page, and the transport that writes to it: it notes what it gets."""

    session: Session
    name = "page"

    def __init__(self, hub: Hub, *, gone: bool = False) -> None:
        self.hub = hub
        self.gone = gone
        self.connected = False
        self.got: list[Outgoing] = []
        self.writes = 0
        self.code: int | None = None
        self.retry: int | None = None
        self.bytes = Traffic()
        self.takes: int | None = None
        self.token = ""
        self.number = ""

    # -- the transport -------------------------------------------------------------------------------------------

    def opened(self, session: Session) -> bool:
        if self.gone:
            return False
        self.session = session
        self.connected = True
        return True

    def refused(self, close: Close) -> None:
        self.code = close.code
        self.retry = close.retry

    def traffic(self) -> Traffic:
        return self.bytes

    def flush(self) -> None:
        items = self.session.outgoing()
        if items is None or not self.connected:
            return
        self.writes += 1
        self.got += items
        if self.takes is not None and len(self.texts) >= self.takes:
            self.hub.blocked(self)
        if isinstance(items[-1], Close):
            self.code, self.retry = items[-1].code, items[-1].retry
            self.drop()

    # -- the page ------------------------------------------------------------------------------------------------

    @property
    def open(self) -> Open:
        first = self.got[0]
        assert isinstance(first, Open)
        return first

    @property
    def messages(self) -> list[Message]:
        return [item for item in self.got if isinstance(item, Message)]

    @property
    def texts(self) -> list[str]:
        return [message.data.decode() for message in self.messages]

    @property
    def pings(self) -> int:
        return self.got.count(Ping())

    @property
    def last(self) -> Outgoing:
        return self.got[-1]

    @property
    def cursor(self) -> str:
        """The last id that came, as the page would resume with it."""
        ids = [
            format_id(item.id) if isinstance(item, Message) else item.cursor
            for item in self.got
            if isinstance(item, Message | Open | Gap)
        ]
        return ids[-1]

    def say(self, type: str, **members: str) -> None:
        self.hub.received(self, json.dumps({"type": type, **members}))

    def acknowledge(self, id: str | None = None) -> None:
        self.say("ack", id=self.cursor if id is None else id)

    def post(self, type: str, id: str | None = None, hub: Hub | None = None) -> None:
        """Send a frame by POST, to this hub or another one."""
        hub = hub or self.hub
        frame = (Leave if type == "leave" else Ack)(self.cursor if id is None else id)
        hub.posted(hub.verify(self.token), self.number, frame)

    def block(self, unsent: int = 0) -> None:
        """The page takes no more; so many bytes are on their way to it."""
        self.bytes = Traffic(self.bytes.taken, unsent)
        self.hub.blocked(self)

    def take(self, bytes: int) -> None:
        """The page takes some bytes, which makes no room for more."""
        self.bytes = Traffic(self.bytes.taken + bytes, self.bytes.unsent - bytes)

    def read_on(self) -> None:
        """The page takes everything again."""
        self.takes = None
        self.bytes = Traffic(self.bytes.taken + self.bytes.unsent)
        self.hub.unblocked(self)

    def drop(self, *, orderly: bool = False) -> None:
        self.connected = False
        self.hub.disconnected(self, orderly=orderly)


class Answers:
    """What one caller of the hub was told."""

    def __init__(self) -> None:
        self.sent: list[tuple[int | None, str]] = []
        self.created: list[tuple[str, Claims]] = []
        self.failed: list[StoreError] = []

    def note_sent(self, id: int | None, status: str) -> None:
        self.sent.append((id, status))

    def note_created(self, token: str, claims: Claims) -> None:
        self.created.append((token, claims))


class Stage:
    """A hub on a clock of its own or a shared one, and the application that speaks to it."""

    def __init__(
        self,
        store: Store | None = None,
        clock: FakeClock | None = None,
        *,
        interval: float = 25.0,
        timeout: float = 10.0,
        random: Callable[[], float] = lambda: 0.25,
        connect_rate: float = 0.0,
        max_per_client: int = 0,
        presence: bool = False,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = store or MemoryStore()
        self.hub = Hub(
            self.store,
            self.clock,
            SIGNER,
            heartbeat=Heartbeat(interval, timeout),
            grace=GRACE,
            random=random,
            connect_rate=connect_rate,
            max_per_client=max_per_client,
            presence=presence,
        )
        self.told: list[Notice] = []
        """What the application is told; it accepts everything at once, unless :attr:`deaf`."""
        self.deaf = False
        self.hub.announce = self.hear
        self.answers = Answers()

    def hear(self, notice: Notice) -> None:
        self.told.append(notice)
        if not self.deaf:
            self.hub.accepted(notice)

    def heard(self, client_id: str = "ann") -> list[bool]:
        """Whether somebody is there, as the application was told, one after the other."""
        return [notice.connected for notice in self.told if notice.client_id == client_id]

    def ask_to_create(self, client_id: str = "ann", seconds: int = 7200, policy: Policy = Policy.REPLACE) -> None:
        answers = self.answers
        self.hub.create_channel(client_id, seconds, policy, answers.note_created, answers.failed.append)

    def ask_to_send(self, text: str, client_id: str = "ann", key: str | None = None) -> None:
        answers = self.answers
        self.hub.send(Append(client_id, text.encode(), key), answers.note_sent, answers.failed.append)

    def ask_to_wait(
        self, text: str = "hello", client_id: str = "ann", *, seconds: float = 20.0, key: str | None = None
    ) -> list[str]:
        """Send a message and wait for its acknowledgement; the list gets what the answer says became of it."""
        statuses: list[str] = []

        def sent(id: int | None, status: str) -> None:
            self.answers.note_sent(id, status)
            statuses.append(status)

        message = Append(client_id, text.encode(), key, waited=True)
        self.hub.send_and_wait(message, seconds, sent, self.answers.failed.append)
        return statuses

    def wait(
        self, text: str = "hello", client_id: str = "ann", *, seconds: float = 20.0, key: str | None = None
    ) -> list[str]:
        statuses = self.ask_to_wait(text, client_id, seconds=seconds, key=key)
        self.clock.turn()
        return statuses

    def create(self, client_id: str = "ann", seconds: int = 7200, policy: Policy = Policy.REPLACE) -> str:
        self.ask_to_create(client_id, seconds, policy)
        self.clock.turn()
        return self.answers.created[-1][0]

    def send(self, text: str = "hello", client_id: str = "ann", key: str | None = None) -> str:
        """Send a message; what became of it."""
        self.ask_to_send(text, client_id, key)
        self.clock.turn()
        return self.answers.sent[-1][1]

    @property
    def last_id(self) -> int:
        id = self.answers.sent[-1][0]
        assert id is not None
        return id

    def ask_to_connect(self, token: str, page: str = "p", after: str | None = None, *, gone: bool = False) -> Page:
        outlet = Page(self.hub, gone=gone)
        outlet.token, outlet.number = token, page
        self.hub.connect(token, page, after, outlet)
        return outlet

    def connect(self, token: str, page: str = "p", after: str | None = None, *, gone: bool = False) -> Page:
        outlet = self.ask_to_connect(token, page, after, gone=gone)
        self.clock.turn()
        return outlet

    def kept(self, after: int = 0, client_id: str = "ann") -> list[str]:
        """What the store keeps of a channel."""
        read = self.store.read(client_id, after, self.clock.now())
        assert isinstance(read, Read)
        return [message.data.decode() for message in read.messages]


class Recording:
    """A store that notes its commits, and fails when it is told to."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.inner = store or MemoryStore()
        self.commits: list[Sequence[Operation]] = []
        self.sweeps: list[float] = []
        self.error: StoreError | None = None
        self.more = 0

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def commit(self, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        self._check()
        self.commits.append(operations)
        return self.inner.commit(operations, now)

    def read(self, client_id: str, after: int, now: float) -> Reply[Read]:
        self._check()
        return self.inner.read(client_id, after, now)

    def look(self, client_id: str, now: float) -> Reply[ChannelState | None]:
        self._check()
        return self.inner.look(client_id, now)

    def clients(self, prefix: str, after: str, connected: bool | None, limit: int, now: float) -> Reply[ClientList]:
        self._check()
        return self.inner.clients(prefix, after, connected, limit, now)

    def notices(self, after: int, limit: int) -> Reply[NoticeList]:
        self._check()
        return self.inner.notices(after, limit)

    def notices_of(self, client_id: str) -> Reply[Sequence[Notice]]:
        self._check()
        return self.inner.notices_of(client_id)

    def orphans(self) -> Orphans | None:
        return self.inner.orphans()

    def sweep(self, now: float) -> bool:
        self.sweeps.append(now)
        self._check()
        self.more -= 1
        return self.more >= 0

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.inner.watch(listener)

    def ready(self) -> bool:
        return self.error is None

    def close(self) -> None:
        self.inner.close()


class Late(LateStore):
    """A store that answers when the test says so; what is asked of it is done at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inner: MemoryStore | None = None) -> None:
        super().__init__(inner or MemoryStore(), loop)
        self.waiting: list[Callable[[], None]] = []
        self.listener: Callable[[Sequence[Event]], None] = lambda events: None
        self.error: StoreError | None = None

    def later(self, ask: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.loop.create_future()
        if (error := self.error) is not None:
            self.waiting.append(lambda: future.set_exception(error))
        else:
            answer = ask()
            self.waiting.append(lambda: future.set_result(answer))
        return future

    def answer(self, place: int = 0) -> None:
        """Let one answer arrive."""
        self.waiting.pop(place)()
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def settle(self, clock: FakeClock) -> None:
        """Let everything be asked and answered."""
        clock.turn()
        while self.waiting:
            self.answer()
            clock.turn()

    def sweep(self, now: float) -> bool:
        return False

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.listener = listener
        super().watch(listener)


class Deaf:
    """A store whose events can be lost on their way."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.deaf = False
        self.listener: Callable[[Sequence[Event]], None] = lambda events: None
        self.commit = inner.commit
        self.read = inner.read
        self.look = inner.look
        self.clients = inner.clients
        self.notices = inner.notices
        self.notices_of = inner.notices_of
        self.orphans = inner.orphans
        self.sweep = inner.sweep
        self.ready = inner.ready
        self.close = inner.close

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.listener = listener
        self.inner.watch(lambda events: None if self.deaf else listener(events))
