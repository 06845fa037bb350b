"""The core: takes messages in, has the store keep them, and hands them to the sessions of connected pages.

The hub is handed a store and a clock and picks neither. All that one turn of the event loop asks of it goes to the
store in one commit, at the end of the turn; nothing is answered, and nothing reaches a page, before that commit is
done (G1). The answers and the frames of a turn are collected and written at its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from pushline.clock import Clock
from pushline.errors import ConnectionEnded, StoreError
from pushline.messages import Message, Policy, Status
from pushline.protocol.codes import GOING_AWAY, INTERNAL_ERROR, INVALID_TOKEN, NORMAL, REPLACED
from pushline.protocol.frames import FreshToken
from pushline.protocol.session import Acknowledged, Heartbeat, Left, Session
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.stores.base import (
    Acknowledge,
    Append,
    Connect,
    Connected,
    Create,
    Event,
    Operation,
    Outcome,
    Published,
    Read,
    Refused,
    Release,
    Repeated,
    Store,
    Taken,
)
from pushline.wheel import Wheel

log = logging.getLogger("pushline.hub")

SWEEP_SECONDS: Final = 5.0
SWEEP_AGAIN_SECONDS: Final = 0.05


class Outlet(Protocol):
    """What the hub needs of a transport (``pushline.transports.base``)."""

    session: Session
    """The session, from :meth:`opened` on."""

    def opened(self, session: Session) -> bool:
        """The page may receive. False: it has gone meanwhile."""

    def refused(self, code: int) -> None:
        """The page may not receive: end the connection with a close code."""

    def flush(self) -> None:
        """Write what the session has to say."""


class Counters(msgspec.Struct):
    """What happened since the start. Plain numbers: a metric is only made of them when somebody asks."""

    channels_created: int = 0
    messages_sent: int = 0
    messages_queued: int = 0
    messages_no_channel: int = 0
    connections: int = 0
    connections_opened: int = 0
    connections_refused: int = 0
    connections_replaced: int = 0
    commits: int = 0
    commits_failed: int = 0


Created = Callable[[str, Claims], None]
"""Called once with the token and what it says."""

Sent = Callable[[int | None, Status], None]
"""Called once with the message's id (None: nothing was kept) and what became of it."""

Failed = Callable[[StoreError], None]
"""Called once, in place of the answer, when the store kept nothing."""

_Reply = tuple[Callable[..., None], Failed]


def _nobody(*answer: object) -> None:
    """Told of what no one asked to hear about."""


_NOBODY: Final[_Reply] = (_nobody, _nobody)


class Hub:
    """The channels of a store and the pages that are connected to this process.

    ``grace``: seconds that a page which vanished without a word keeps its place. ``random`` spreads what must not
    happen at one moment.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tokens: TokenSigner,
        *,
        heartbeat: Heartbeat,
        grace: float,
        random: Callable[[], float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._heartbeat = heartbeat
        self._grace = grace
        self._random = random
        self._outlets: dict[str, tuple[Outlet, ...]] = {}
        self._operations: list[Operation] = []
        self._replies: list[_Reply] = []
        self._wheel: Wheel[Outlet] = Wheel(clock, self._ring)
        self._sweep_timer = clock.call_later(SWEEP_SECONDS, self._sweep)
        self.closing = False
        self.counters = Counters()
        self.at_turn_end: list[Callable[[], None]] = []
        """Called after the answers of a turn were given: whoever collects output writes it now."""
        store.watch(self._heard)

    # -- the turn ----------------------------------------------------------------------------------------------

    def _submit(self, operation: Operation, reply: _Reply = _NOBODY) -> None:
        operations = self._operations
        operations.append(operation)
        self._replies.append(reply)
        if len(operations) == 1:
            self._clock.call_soon(self._turn)

    def _turn(self) -> None:
        operations, replies = self._operations, self._replies
        if not operations:  # the hub was closed meanwhile
            return
        self._operations, self._replies = [], []
        self.counters.commits += 1
        try:
            outcomes = self._store.commit(operations, self._clock.now())
        except StoreError as error:
            self._not_kept(replies, error)
            return
        if isinstance(outcomes, asyncio.Future):
            outcomes.add_done_callback(partial(self._kept_later, operations, replies))
        else:
            self._kept(operations, replies, outcomes)

    def _kept_later(
        self, operations: list[Operation], replies: list[_Reply], outcomes: asyncio.Future[list[Outcome]]
    ) -> None:
        try:
            kept = outcomes.result()
        except StoreError as error:
            self._not_kept(replies, error)
        else:
            self._kept(operations, replies, kept)

    def _not_kept(self, replies: list[_Reply], error: StoreError) -> None:
        self.counters.commits_failed += 1
        log.error("commit failed", extra={"error": str(error), "operations": len(replies)})
        for _, failed in replies:
            failed(error)
        for write in self.at_turn_end:
            write()

    def _kept(self, operations: list[Operation], replies: list[_Reply], outcomes: list[Outcome]) -> None:
        touched: list[Outlet] = []
        for operation, reply, outcome in zip(operations, replies, outcomes, strict=True):
            if type(operation) is Append:
                self._publish(operation.client_id, outcome, reply, touched)
            else:
                reply[0](outcome)
        for outlet in touched:
            outlet.flush()
        for write in self.at_turn_end:
            write()

    # -- channels and messages ---------------------------------------------------------------------------------

    def create_channel(self, client_id: str, seconds: int, policy: Policy, reply: Created, failed: Failed) -> None:
        """Make a token that lives for ``seconds``, and its channel when there is none (A1)."""

        def created(claims: Claims) -> None:
            self.counters.channels_created += 1
            reply(self._tokens.sign(claims), claims)

        self._submit(Create(client_id, seconds, policy), (created, failed))

    def send(self, message: Append, reply: Sent, failed: Failed) -> None:
        """Keep a message and hand it to the connected pages of its client id (A2)."""
        self._submit(message, (reply, failed))

    def _publish(
        self,
        client_id: str,
        outcome: Outcome,
        reply: _Reply,
        touched: list[Outlet],
    ) -> None:
        outlets = self._outlets.get(client_id)
        number: int | None
        status: Status
        if type(outcome) is Message:
            number = outcome.id
            written = outlets is not None and self._deliver(outlets, outcome, touched)
        elif type(outcome) is Repeated:
            number = outcome.id
            written = outlets is not None and any(outlet.session.position >= number for outlet in outlets)
        else:
            number, written = None, False
        counters = self.counters
        if written:
            status = "sent"
            counters.messages_sent += 1
        elif number is not None:
            status = "queued"
            counters.messages_queued += 1
        else:
            status = "no_channel"
            counters.messages_no_channel += 1
        reply[0](number, status)

    def _deliver(self, outlets: tuple[Outlet, ...], message: Message, touched: list[Outlet]) -> bool:
        """Hand a message to pages. True: at least one connection gets it in this turn."""
        written = False
        for outlet in outlets:
            session = outlet.session
            if session.deliver(message):
                touched.append(outlet)
                written = True
            elif session.behind:
                self.feed(outlet)
                written = written or session.position >= message.id
        return written

    # -- pages -------------------------------------------------------------------------------------------------

    def connect(self, token: str, page: str, after: str | None, outlet: Outlet) -> None:
        """Connect a page with a token; ``page`` names its socket, ``after`` is its cursor (W1).

        Calls ``outlet.opened`` or ``outlet.refused`` at the end of the turn. Raises :class:`ConnectionEnded` when the
        token alone says that the page may not receive.
        """
        claims = self._tokens.verify(token, self._clock.now())
        failed = partial(self._connect_failed, outlet)
        self._submit(Connect(claims, page, after), (partial(self._connected, claims, page, outlet), failed))

    def _connect_failed(self, outlet: Outlet, error: StoreError) -> None:
        outlet.refused(INTERNAL_ERROR)

    def _connected(self, claims: Claims, page: str, outlet: Outlet, outcome: Connected | Refused) -> None:
        if isinstance(outcome, Refused):
            self.refuse(outlet, outcome.code)
            return
        now = self._clock.monotonic()
        session = Session(
            claims,
            page=page,
            fence=outcome.fence,
            start=outcome.start,
            gap=outcome.gap,
            beat=self._heartbeat,
            expires_in=claims.expires_at - self._clock.now(),
            now=now,
        )
        self._replace(session, outcome.policy, outcome.resumed)
        if not outlet.opened(session):
            self._release_later(session)
            return
        self._outlets[claims.client_id] = (*self._outlets.get(claims.client_id, ()), outlet)
        self.counters.connections += 1
        self.counters.connections_opened += 1
        self._wheel.add(outlet)
        self.feed(outlet)

    def refuse(self, outlet: Outlet, code: int) -> None:
        """Refuse a connection with a close code, and count it."""
        self.counters.connections_refused += 1
        outlet.refused(code)

    def _replace(self, newcomer: Session, policy: Policy, resumed: bool) -> None:
        """End the connections that a newcomer replaces."""
        for rival in self._outlets.get(newcomer.client_id, ()):
            own = bool(newcomer.page) and rival.session.page == newcomer.page
            if own or policy is not Policy.SHARE:
                self._end(rival, silently=own or resumed)

    def _end(self, rival: Outlet, *, silently: bool) -> None:
        # A page is never its own rival (G7): its older connection is not told that it lost the place.
        session = rival.session
        session.fence = 0
        session.close(NORMAL if silently else REPLACED)
        self.counters.connections_replaced += not silently
        rival.flush()

    def feed(self, outlet: Outlet) -> None:
        """Read on for a session that is behind, when its transport takes more."""
        session = outlet.session
        if session.feeding or not session.behind or not session.writable or session.closed or self.closing:
            return
        session.feeding = True
        try:
            read = self._store.read(session.client_id, session.position, self._clock.now())
        except StoreError as error:
            self._not_fed(outlet, error)
            return
        if isinstance(read, asyncio.Future):
            read.add_done_callback(partial(self._fed_later, outlet))
        else:
            self._fed(outlet, read)

    def _fed_later(self, outlet: Outlet, read: asyncio.Future[Read]) -> None:
        try:
            answer = read.result()
        except StoreError as error:
            self._not_fed(outlet, error)
        else:
            self._fed(outlet, answer)

    def _not_fed(self, outlet: Outlet, error: StoreError) -> None:
        log.error("read failed", extra={"error": str(error)})
        outlet.session.close(INTERNAL_ERROR)  # the page comes back and resumes
        outlet.flush()

    def _fed(self, outlet: Outlet, read: Read) -> None:
        session = outlet.session
        session.feeding = False
        session.feed(read.messages, read.upto, gap=read.gap, complete=read.complete)
        outlet.flush()
        if session.behind:
            self._clock.call_soon(partial(self.feed, outlet))

    def received(self, outlet: Outlet, text: str | bytes) -> None:
        """A page sent a frame (W3)."""
        session = outlet.session
        match session.receive(text, self._clock.monotonic()):
            case Acknowledged(id=id):
                self._acknowledge(session, id)
            case Left(id=id):
                if id:
                    self._acknowledge(session, id)
                self._release(session)
            case FreshToken(token=token):
                self._refresh(outlet, token)
        self._wheel.moved(outlet)
        outlet.flush()

    def _acknowledge(self, session: Session, id: int) -> None:
        self._submit(Acknowledge(session.client_id, session.token_id, session.fence, id))

    def _refresh(self, outlet: Outlet, token: str) -> None:
        session = outlet.session
        now = self._clock.now()
        try:
            claims = self._tokens.verify(token, now)
        except ConnectionEnded as ended:
            session.close(ended.code)
            return
        if claims.client_id != session.client_id:
            session.close(INVALID_TOKEN)
            return
        session.refresh(claims, claims.expires_at - now, self._clock.monotonic())

    def disconnected(self, outlet: Outlet, *, orderly: bool) -> None:
        """A connection that was opened is over; ``orderly``: the page said so (close 1000 or 1001)."""
        session = outlet.session
        session.closed = True
        rest = tuple(other for other in self._outlets[session.client_id] if other is not outlet)
        if rest:
            self._outlets[session.client_id] = rest
        else:
            del self._outlets[session.client_id]
        self.counters.connections -= 1
        if orderly:
            self._release(session)
        else:
            self._release_later(session)

    def _release_later(self, session: Session) -> None:
        if session.fence:
            self._clock.call_later(self._grace, partial(self._release, session))

    def _release(self, session: Session) -> None:
        """The page leaves its place."""
        if session.fence and not self.closing:
            self._submit(Release(session.client_id, session.fence))
            session.fence = 0

    def ready(self) -> bool:
        """Whether the store answers, and the hub is not going away."""
        return not self.closing and self._store.ready()

    # -- other hubs, time, the end -----------------------------------------------------------------------------

    def _heard(self, events: Sequence[Event]) -> None:
        touched: list[Outlet] = []
        for event in events:
            match event:
                case Published(client_id=client_id, message=message):
                    self._deliver(self._outlets.get(client_id, ()), message, touched)
                case Taken(client_id=client_id, fence=fence, resumed=resumed):
                    self._taken(client_id, fence, resumed)
                case _:  # a hole
                    for outlets in list(self._outlets.values()):
                        for outlet in outlets:
                            outlet.session.missed()
                            self.feed(outlet)
        for outlet in touched:
            outlet.flush()

    def _taken(self, client_id: str, fence: int, resumed: bool) -> None:
        for rival in self._outlets.get(client_id, ()):
            if rival.session.fence < fence:
                self._end(rival, silently=resumed)

    def _ring(self, outlet: Outlet, now: float) -> None:
        outlet.session.tick(now)
        outlet.flush()

    def _sweep(self) -> None:
        if self.closing:
            return
        try:
            more = self._store.sweep(self._clock.now())
        except StoreError as error:
            log.error("sweep failed", extra={"error": str(error)})
            more = False
        self._sweep_timer = self._clock.call_later(SWEEP_AGAIN_SECONDS if more else SWEEP_SECONDS, self._sweep)

    def close(self, spread: float) -> None:
        """Ask every page to come back, each at its own moment within ``spread`` seconds, and take no more work."""
        self._turn()
        self.closing = True
        self._sweep_timer.cancel()
        self._wheel.stop()
        for outlets in list(self._outlets.values()):
            for outlet in outlets:
                outlet.session.close(GOING_AWAY, retry=int(self._random() * spread * 1000))
                outlet.flush()
