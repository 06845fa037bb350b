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
from typing import Any, Final, Protocol

from pushline.admission import RETRY_MS, Admission
from pushline.clock import Clock, Timer
from pushline.errors import ConnectionEnded, StoreError, StoreFull
from pushline.messages import Append, Message, Policy, Status, parse_id
from pushline.protocol.codes import (
    DISCONNECTED,
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    NORMAL,
    REPLACED,
    REVOKED,
    TOO_MANY,
)
from pushline.protocol.frames import FreshToken, Leave, Up
from pushline.protocol.session import Session
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.protocol.values import Acknowledged, Close, Heartbeat, Left, Traffic
from pushline.stores.base import (
    Accepted,
    Acknowledge,
    Affirm,
    Arrived,
    Asked,
    ChannelState,
    Claim,
    ClientList,
    Connect,
    Connected,
    Contested,
    Create,
    Dismiss,
    Dismissed,
    Drain,
    Event,
    Full,
    GiveUp,
    Handled,
    Held,
    Notice,
    NoticeList,
    Operation,
    Outcome,
    Published,
    Read,
    Refused,
    Release,
    Renew,
    Repeated,
    Reply,
    Retry,
    Revoke,
    Settle,
    Store,
    Waiting,
)
from pushline.waits import Waits
from pushline.wheel import Wheel

log = logging.getLogger("pushline.hub")

SWEEP_SECONDS: Final = 5.0
SWEEP_AGAIN_SECONDS: Final = 0.05

IN_TIME_SECONDS: Final = 0.005
"""How long what nobody waits for may wait itself, for a commit that is made anyway: where that matters there is one."""

SETTLE_AT_ONCE: Final = 200
"""How many connections of an ended process are settled in one turn."""

CONTEST_SECONDS: Final = 2.0
"""How long a page that holds the place under ``reject`` has to answer when a newcomer wants it (G7)."""

LONGEST_DRAIN_SECONDS: Final = 3600.0
"""Pages that a process before asked to come back are not waited for any longer, whatever the clock says meanwhile."""

LATE_SECONDS: Final = 10.0
"""How long after its connection a page's last acknowledgement may arrive by POST (W3)."""


class Outlet(Protocol):
    """What the hub needs of a transport (``pushline.transports.base``)."""

    session: Session
    """The session, from :meth:`opened` on."""

    name: str
    """What kind of transport it is, as the application may see it."""

    def opened(self, session: Session) -> bool:
        """The page may receive. False: it has gone meanwhile."""

    def refused(self, close: Close) -> None:
        """The page may not receive: end the connection like that."""

    def flush(self) -> None:
        """Write what the session has to say."""

    def traffic(self) -> Traffic:
        """What has become of the bytes that were written."""


class Courier(Protocol):
    """What may be asked of whoever tells the application what the hub announces (``pushline.callbacks``)."""

    no_handler: set[str]
    """The events for which the application has no handler."""

    def tries_of(self, client_id: str, sequence: int) -> tuple[int, str]:
        """How often a notice that is under way was tried in vain, and why the last time."""

    def hurry(self, client_id: str | None) -> int:
        """Try now what waits for its next try, of one client id or of all (None). Returns how many those are."""


class Counters:
    """What happened since the start. Plain numbers: a metric is only made of them when somebody asks."""

    __slots__ = (
        "callbacks_accepted",
        "callbacks_failed",
        "callbacks_given_up",
        "callbacks_no_handler",
        "channels_created",
        "commits",
        "commits_failed",
        "connections",
        "connections_crowded",
        "connections_opened",
        "connections_refused",
        "connections_replaced",
        "messages_delivered",
        "messages_no_channel",
        "messages_queued",
        "messages_sent",
    )

    def __init__(self) -> None:
        self.channels_created = 0
        self.messages_sent = 0
        self.messages_queued = 0
        self.messages_no_channel = 0
        self.messages_delivered = 0
        self.connections = 0
        self.connections_opened = 0
        self.connections_refused = 0
        self.connections_crowded = 0
        self.connections_replaced = 0
        self.commits = 0
        self.commits_failed = 0
        self.callbacks_accepted = 0
        self.callbacks_no_handler = 0
        self.callbacks_failed = 0
        self.callbacks_given_up = 0


Created = Callable[[str, Claims], None]
"""Called once with the token and what it says."""

Sent = Callable[[int | None, Status], None]
"""Called once with the message's id (None: nothing was kept) and what became of it."""

Listed = Callable[[ClientList], None]
"""Called once with client ids that have a channel."""

Announce = Callable[[Notice], None]
"""Called with what the application is to be told now: it waits in the store until :meth:`Hub.accepted`, or is given up
(:meth:`Hub.give_up`), and what comes next of its client id is announced then."""

Looked = Callable[[ChannelState | None, Sequence[Outlet]], None]
"""Called once with what the store knows of a channel (None: nothing) and with its connections here."""

Failed = Callable[[StoreError], None]
"""Called once, in place of the answer, when the store kept nothing."""

_Reply = tuple[Callable[..., None], Failed]


def _nobody(*answer: object) -> None:
    """Told of what no one asked to hear about."""


_NOBODY: Final[_Reply] = (_nobody, _nobody)


class _Contest:
    """A newcomer that waits whether the page which holds the place answers (G7, ``reject``).

    ``ask``: what it does when that has not answered, or is gone: it asks for the place once more.
    """

    __slots__ = ("ask", "outlet", "timer")

    timer: Timer

    def __init__(self, outlet: Outlet, ask: Callable[[], None]) -> None:
        self.outlet = outlet
        self.ask = ask


class Hub:
    """The channels of a store and the pages that are connected to this process.

    ``grace``: seconds that a page which vanished without a word keeps its place, and after which the application is
    told that nobody is there. ``connect_rate``: pages that may connect in a second, ``max_per_client``: connections
    that one client id may have here, 0 for any number. ``random`` spreads what must not happen at one moment.
    ``presence``: the application is told who is there (G8), by :attr:`announce`.
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
        connect_rate: float = 0.0,
        max_per_client: int = 0,
        presence: bool = False,
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
        self._in_time: list[tuple[Operation, _Reply]] = []
        self._wheel: Wheel[Outlet] = Wheel(clock, self._ring)
        self._sweep_timer = clock.call_later(SWEEP_SECONDS, self._sweep)
        self._admission = Admission(connect_rate)
        self._max_per_client = max_per_client
        self._waits = Waits(clock)
        # By client id and the fence of the page that is asked: the newcomers here, or none when another hub has them.
        self._contests: dict[tuple[str, int], list[_Contest]] = {}
        # By client id and page: when a connection ended, its session, and the fence under which it held the place.
        self._late: dict[tuple[str, str], tuple[float, Session, int]] = {}
        # By client id: until when a page that was told to come back later has time for it.
        self._expected: dict[str, float] = {}
        self._presence = presence
        self.announce: Announce = _nobody
        self.courier: Courier | None = None
        self._spread = 0.0
        self.closing = False
        self.counters = Counters()
        self.at_turn_end: list[Callable[[], None]] = []
        """Called after the answers of a turn were given: whoever collects output writes it now."""
        store.watch(self._heard)
        self._adopt()

    # -- the turn ----------------------------------------------------------------------------------------------

    def _submit(self, operation: Operation, reply: _Reply = _NOBODY) -> None:
        operations = self._operations
        operations.append(operation)
        self._replies.append(reply)
        if len(operations) == 1:
            self._clock.call_soon(self._turn)

    def _submit_in_time(self, operation: Operation, reply: _Reply) -> None:
        """Submit with the next commit, but in :data:`IN_TIME_SECONDS` at the latest: a commit of its own costs more."""
        self._in_time.append((operation, reply))
        if len(self._in_time) == 1:
            self._clock.call_later(IN_TIME_SECONDS, self._turn)

    def _turn(self) -> None:
        operations, replies = self._operations, self._replies
        if self._in_time:  # they came first
            waiting, self._in_time = self._in_time, []
            operations = [operation for operation, _ in waiting] + operations
            replies = [reply for _, reply in waiting] + replies
        if not operations:  # done already, for somebody who looked, or the hub was closed
            return
        self._operations, self._replies = [], []
        self.counters.commits += 1
        try:
            outcomes = self._store.commit(operations, self._clock.now())
        except StoreError as error:
            self._not_kept(replies, error)
            return
        if isinstance(outcomes, list):
            self._kept(operations, replies, outcomes)
        else:
            outcomes.add_done_callback(partial(self._kept_later, operations, replies))

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
        for number, operation in enumerate(operations):
            outcome, reply = outcomes[number], replies[number]
            if isinstance(operation, Append):
                self._publish(operation, outcome, reply, touched)
            else:
                reply[0](outcome)
        for outlet in touched:
            outlet.flush()
        for write in self.at_turn_end:
            write()

    # -- channels and messages ---------------------------------------------------------------------------------

    def create_channel(self, client_id: str, seconds: int, policy: Policy, reply: Created, failed: Failed) -> None:
        """Make a token that lives for ``seconds``, and its channel when there is none (A1)."""

        def created(claims: Claims | Full) -> None:
            if isinstance(claims, Full):
                failed(_full())
                return
            self.counters.channels_created += 1
            reply(self._tokens.sign(claims), claims)

        self._submit(Create(client_id, seconds, policy), (created, failed))

    def send(self, message: Append, reply: Sent, failed: Failed) -> None:
        """Keep a message and hand it to the connected pages of its client id (A2)."""
        self._submit(message, (reply, failed))

    def send_and_wait(self, message: Append, seconds: float, reply: Sent, failed: Failed) -> None:
        """The same; the reply waits, for so long at most, until a page has acknowledged the message (G6)."""

        def sent(number: int | None, status: Status) -> None:
            if number is None or status == "delivered" or self.closing:
                reply(number, status)
                return
            outlets = self._outlets.get(message.client_id, ())
            if any(outlet.session.handled(number) for outlet in outlets):  # while the store was asked about a repeat
                self.counters.messages_delivered += 1
                reply(number, "delivered")
                return
            self._waits.add(message.client_id, number, status, seconds, reply)
            for outlet in outlets:
                if outlet.session.given(number):
                    self.probe(outlet)  # right behind the message (W4)

        self._submit(message, (sent, failed))

    def probe(self, outlet: Outlet) -> None:
        """Ask a page now whether it is there and what it has handled."""
        outlet.session.probe(self._clock.monotonic(), outlet.traffic())
        self._wheel.moved(outlet)
        outlet.flush()

    def _publish(self, operation: Append, outcome: Outcome, reply: _Reply, touched: list[Outlet]) -> None:
        outlets = self._outlets.get(operation.client_id)
        number: int | None
        status: Status
        if isinstance(outcome, Message):
            number = outcome.id
            written = outlets is not None and self._deliver(outlets, outcome, touched)
        elif type(outcome) is Repeated:
            if operation.waited and outcome.acknowledged:
                self.counters.messages_delivered += 1
                reply[0](outcome.id, "delivered")
                return
            written = outcome.acknowledged or (
                outlets is not None and any(outlet.session.given(outcome.id) for outlet in outlets)
            )
            number = outcome.id if written or outcome.kept else None  # it went with its channel, or was dropped
        elif type(outcome) is Full:
            reply[1](_full())
            return
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

    def look(
        self, client_id: str, reply: Callable[[ChannelState | None, Sequence[Outlet]], None], failed: Failed
    ) -> None:
        """Look a channel up: its state in the store, and its connections to this process (A4)."""

        def looked(state: ChannelState | None) -> None:
            reply(state, self._outlets.get(client_id, ()))

        now = self._clock.now()
        self._ask(lambda: self._store.look(client_id, now), looked, failed)

    # -- pages -------------------------------------------------------------------------------------------------

    def connect(self, token: str, page: str, after: str | None, outlet: Outlet) -> None:
        """Connect a page with a token; ``page`` names its socket, ``after`` is its cursor (W1).

        Calls ``outlet.opened`` or ``outlet.refused`` at the end of the turn or, when another page is asked whether it
        keeps its place, later. Raises :class:`ConnectionEnded` when the page may not receive: the server goes away,
        too many come at once, or the token alone says so.
        """
        if self.closing:
            raise ConnectionEnded(GOING_AWAY, self._moment())
        claims = self._tokens.verify(token, self._clock.now())
        wait = self._admission.admit(self._clock.monotonic())  # whoever has no token takes nobody's turn
        if wait:
            if self._presence:
                self._expected[claims.client_id] = self._clock.monotonic() + wait + self._grace
            raise ConnectionEnded(TOO_MANY, int(wait * 1000) + 1)
        self._connect(Connect(claims, page, after, tell=self._presence), outlet)

    def _connect(self, asked: Connect, outlet: Outlet) -> None:
        self._submit(asked, (partial(self._connected, asked, outlet), partial(self._connect_failed, outlet)))

    def _connect_failed(self, outlet: Outlet, error: StoreError) -> None:
        outlet.refused(Close(INTERNAL_ERROR))

    def _connected(self, asked: Connect, outlet: Outlet, outcome: Connected | Refused | Contested) -> None:
        if isinstance(outcome, Contested) and not self.closing:
            self._contest(asked, outlet, outcome.fence)
            return
        if isinstance(outcome, Connected) and outcome.notice is not None:
            self._clock.call_soon(partial(self._next, outcome.notice))  # when the page receives already (P3)
        if isinstance(outcome, Refused | Contested) or self.closing:
            code, retry = (outcome.code, None) if isinstance(outcome, Refused) else (GOING_AWAY, self._moment())
            self.refuse(outlet, ConnectionEnded(code, retry))
            return
        claims = asked.claims
        session = Session(
            claims,
            page=asked.page,
            fence=outcome.fence,
            start=outcome.start,
            gap=outcome.gap,
            beat=self._heartbeat,
            expires_in=claims.expires_at - self._clock.now(),
            now=self._clock.monotonic(),
        )
        self._replace(self._outlets.get(claims.client_id, ()), asked.page, outcome.policy, outcome.resumed)
        if self._waits:
            if outcome.gap or asked.after is None:
                self._waits.missing(claims.client_id, asked.page, _before(asked, outcome.start), outcome.start)
            else:
                self._handled(session, claims.id, outcome.start)
        crowded = self._crowded(self._outlets.get(claims.client_id, ()))
        if crowded or not outlet.opened(session):
            if outcome.resumed:
                self._release_later(session)
            else:
                self._release(session)  # a page that never was there
            if crowded:
                self._refuse_crowded(outlet)
            return
        self._outlets[claims.client_id] = (*self._outlets.get(claims.client_id, ()), outlet)
        self.counters.connections += 1
        self.counters.connections_opened += 1
        self._wheel.add(outlet)
        self.feed(outlet)

    def refuse(self, outlet: Outlet, ended: ConnectionEnded) -> None:
        """Refuse a connection, and count it."""
        self.counters.connections_refused += 1
        outlet.refused(Close(ended.code, ended.retry))

    def _crowded(self, present: Sequence[object]) -> bool:
        """Whether a client id has as many connections here as it may.

        Asked when a newcomer has replaced what it replaces: so a page is never one too many for itself.
        """
        return 0 < self._max_per_client <= len(present)

    def _refuse_crowded(self, outlet: Outlet) -> None:
        self.counters.connections_crowded += 1
        self.refuse(outlet, ConnectionEnded(TOO_MANY, RETRY_MS + int(self._random() * RETRY_MS)))

    def _moment(self) -> int:
        """The milliseconds after which one page is asked to come back when the server goes away."""
        return int(self._random() * self._spread * 1000)

    # -- who keeps the place under `reject` --------------------------------------------------------------------

    def _contest(self, asked: Connect, outlet: Outlet, fence: int) -> None:
        """Another page holds the place: it keeps it if it answers within two seconds."""
        place = (asked.claims.client_id, fence)
        if self._crowded(self._contests.get(place, ())):
            self._refuse_crowded(outlet)
            return
        again = Connect(asked.claims, asked.page, asked.after, displace=fence, tell=self._presence)
        contest = _Contest(outlet, partial(self._connect, again, outlet))
        contest.timer = self._clock.call_later(CONTEST_SECONDS, partial(self._unanswered, place, contest))
        self._contests.setdefault(place, []).append(contest)
        self._ask_holder(place)

    def left(self, outlet: Outlet) -> None:
        """A page has gone before it was opened or refused: it does not want the place any more."""
        for place, contests in list(self._contests.items()):
            for contest in contests:
                if contest.outlet is outlet:
                    contest.timer.cancel()
                    self._give_up(place, contest)
                    return

    def _unanswered(self, place: tuple[str, int], contest: _Contest) -> None:
        self._give_up(place, contest)
        contest.ask()

    def _give_up(self, place: tuple[str, int], contest: _Contest) -> None:
        contests = self._contests[place]
        contests.remove(contest)
        if not contests:
            del self._contests[place]

    def _ask_holder(self, place: tuple[str, int]) -> None:
        for outlet in self._outlets.get(place[0], ()):
            if outlet.session.fence == place[1]:
                self.probe(outlet)

    def _affirmed(self, place: tuple[str, int], *, here: bool) -> None:
        """The page that holds a place has answered; ``here``: to this hub, and others may want to know."""
        contests = self._contests.pop(place, None)
        if contests is None:
            return
        if here:
            self._submit(Affirm(*place))
        for contest in contests:
            contest.timer.cancel()
            self.refuse(contest.outlet, ConnectionEnded(REPLACED))

    def _vacated(self, session: Session) -> None:
        """The page has no connection any more, or lost its place: whoever wants that asks the store again."""
        if self._contests:
            for contest in self._contests.pop((session.client_id, session.fence), ()):
                contest.timer.cancel()
                contest.ask()

    def _replace(self, rivals: Sequence[Outlet], page: str, policy: Policy, resumed: bool) -> None:
        """End those connections that a newcomer of ``page`` replaces."""
        for rival in rivals:
            own = bool(page) and rival.session.page == page
            if own and policy is Policy.SHARE:
                self._settle(rival.session.client_id, (rival.session.fence,))  # the newer one counts for it
            if own or policy is not Policy.SHARE:
                self._end(rival, silently=own or resumed)

    def _end(self, rival: Outlet, *, silently: bool) -> None:
        # A page is never its own rival (G7): its older connection is not told that it lost the place.
        session = rival.session
        self._vacated(session)
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
        before = session.position
        session.feed(read.messages, read.upto, gap=read.gap, complete=read.complete)
        if self._waits and not session.closed:
            if read.gap is not None:
                self._waits.missing(session.client_id, session.page, before, read.gap)
            if self._waits.given(session.client_id, {message.id for message in read.messages}):
                self.probe(outlet)
        outlet.flush()
        if session.behind:
            self._clock.call_soon(partial(self.feed, outlet))

    def blocked(self, outlet: Outlet) -> None:
        """The transport takes no more for now: what comes stays in the store."""
        outlet.session.blocked(self._clock.monotonic(), outlet.traffic())
        self._wheel.moved(outlet)

    def unblocked(self, outlet: Outlet) -> None:
        """The transport takes more again."""
        outlet.session.writable = True
        self.feed(outlet)

    def received(self, outlet: Outlet, text: str | bytes) -> None:
        """A page sent a frame (W3)."""
        self._handle(outlet, outlet.session.receive(text, self._clock.monotonic()))

    def posted(self, claims: Claims, page: str, frame: Up) -> None:
        """A page sent a frame by POST, over whatever it receives (W3). One that comes too late is passed over."""
        for outlet in self._outlets.get(claims.client_id, ()):
            if outlet.session.page == page:
                self._handle(outlet, outlet.session.handle(frame, self._clock.monotonic()))
                return
        late = self._late.get((claims.client_id, page))
        if late is not None and not isinstance(frame, FreshToken) and not self.closing:
            _, session, fence = late
            if id := session.acknowledge(parse_id(frame.id) or 0):
                self._acknowledge(session, fence, id)
            if isinstance(frame, Leave):
                self._release(session)

    def verify(self, token: str) -> Claims:
        """What a token says. Raises :class:`ConnectionEnded`."""
        return self._tokens.verify(token, self._clock.now())

    def _handle(self, outlet: Outlet, said: Acknowledged | Left | FreshToken | None) -> None:
        session = outlet.session
        match said:
            case Acknowledged(id=id):
                self._acknowledge(session, session.fence, id)
            case Left(id=id):
                if id:
                    self._acknowledge(session, session.fence, id)
                self._release(session)
            case FreshToken(token=token):
                self._refresh(outlet, token)
        if self._contests and not session.closed:
            self._affirmed((session.client_id, session.fence), here=True)
        self._wheel.moved(outlet)
        outlet.flush()

    def _acknowledge(self, session: Session, fence: int, id: int) -> None:
        acknowledge = Acknowledge(session.client_id, session.token_of(id), fence, id, session.start)
        if self._waits:  # who is told `delivered` and looks then finds it; it is as true when it could not be kept
            handled = partial(self._handled, session, session.start, id)
            self._submit(acknowledge, (handled, handled))
        else:
            self._submit(acknowledge)

    def _handled(self, session: Session, after: int, id: int, _: object = None) -> None:
        self.counters.messages_delivered += self._waits.handled(session.client_id, session.page, after, id)

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
        self._submit(Renew(claims), (partial(self._renewed, outlet, claims), partial(self._not_renewed, outlet)))

    def _renewed(self, outlet: Outlet, claims: Claims, refused: Refused | None) -> None:
        session = outlet.session
        if session.closed:
            return
        if refused is not None:
            session.close(refused.code)
        else:
            session.refresh(claims, claims.expires_at - self._clock.now(), self._clock.monotonic())
            self._wheel.moved(outlet)
        outlet.flush()

    def _not_renewed(self, outlet: Outlet, error: StoreError) -> None:
        outlet.session.close(INTERNAL_ERROR)  # the page comes back with its token
        outlet.flush()

    def disconnected(self, outlet: Outlet, *, orderly: bool) -> None:
        """A connection that was opened is over; ``orderly``: the page said so (close 1000 or 1001)."""
        session = outlet.session
        session.closed = True
        self._wheel.remove(outlet)
        rest = tuple(other for other in self._outlets[session.client_id] if other is not outlet)
        if rest:
            self._outlets[session.client_id] = rest
        else:
            del self._outlets[session.client_id]
        self.counters.connections -= 1
        self._departed(session, orderly)
        if orderly:
            self._release(session)
        else:
            self._release_later(session)

    def _departed(self, session: Session, orderly: bool) -> None:
        """What the page may still say by POST: how far it has come, and that it leaves."""
        if session.fence and session.page and (not orderly or session.acknowledged < session.position):
            late = (self._clock.monotonic(), session, session.fence)
            self._late[session.client_id, session.page] = late

    def _release_later(self, session: Session) -> None:
        # Whoever wants its place waits on: the page may come back within the time that it has to answer.
        if session.fence:
            self._clock.call_later(self._grace, partial(self._vanished, session))

    def _release(self, session: Session) -> None:
        """The page leaves its place; it may be loading anew."""
        if session.fence and not self.closing:
            self._submit(Release(session.client_id, session.fence))
            self._settle_later(self._grace, session.client_id, (session.fence,))
            self._vacated(session)
            session.fence = 0

    # -- who is there (G8) -------------------------------------------------------------------------------------

    def _vanished(self, session: Session) -> None:
        """A page that vanished has not come back in time."""
        if session.fence and not self.closing:
            self._settle(session.client_id, (session.fence,))
            self._vacated(session)
            session.fence = 0

    def _settle_later(self, seconds: float, client_id: str, fences: tuple[int, ...]) -> None:
        if self._presence:
            self._clock.call_later(seconds, partial(self._settle, client_id, fences))

    def _settle(self, client_id: str, fences: tuple[int, ...]) -> None:
        """Connections have ended, and the time in which their pages could come back as well."""
        if self.closing:
            return
        if self._expected:
            more = self._expected.get(client_id, 0.0) - self._clock.monotonic()
            if more > 0:
                self._clock.call_later(more, partial(self._settle, client_id, fences))
                return

        def failed(error: StoreError) -> None:
            self._clock.call_later(SWEEP_SECONDS, partial(self._settle, client_id, fences))

        self._submit(Settle(client_id, fences, self._presence), (self._next, failed))

    def _next(self, notice: Notice | None) -> None:
        if notice is not None and not self.closing:
            self.announce(notice)

    def _adopt(self) -> None:
        """Care for what processes that have ended left behind."""
        orphans = self._store.orphans()
        if orphans is None:
            return
        if self._presence:
            for client_id in orphans.notices:
                self._claim(client_id)
        if orphans.connections:
            more = min(max(0.0, orphans.back_by - self._clock.now()), LONGEST_DRAIN_SECONDS)
            self._clock.call_later(more + self._grace, partial(self._settle_all, orphans.connections))

    def _claim(self, client_id: str) -> None:
        """Announce what waits for a client id, unless another hub does."""

        def failed(error: StoreError) -> None:
            if not self.closing:
                self._clock.call_later(SWEEP_SECONDS, partial(self._claim, client_id))

        self._submit(Claim(client_id), (self._next, failed))

    def _settle_all(self, connections: list[tuple[str, tuple[int, ...]]]) -> None:
        """Settle some at a time, so that nobody waits for a long turn."""
        for client_id, fences in connections[:SETTLE_AT_ONCE]:
            self._settle(client_id, fences)
        if len(connections) > SETTLE_AT_ONCE:
            self._clock.call_later(SWEEP_AGAIN_SECONDS, partial(self._settle_all, connections[SETTLE_AT_ONCE:]))

    def accepted(self, notice: Notice) -> None:
        """The application knows what was announced: announce what comes next of its client id."""
        self._dealt_with(Accepted(notice.client_id, notice.sequence), self._submit_in_time)

    def give_up(self, notice: Notice, reason: str) -> None:
        """The application could not be told what was announced; ``reason`` is for people (P1)."""
        self._dealt_with(GiveUp(notice.client_id, notice.sequence, reason), self._submit)

    def _dealt_with(self, operation: Accepted | GiveUp, submit: Callable[[Operation, _Reply], None]) -> None:
        def failed(error: StoreError) -> None:
            if not self.closing:  # else the next process tells it again
                self._clock.call_later(SWEEP_SECONDS, partial(self._dealt_with, operation, submit))

        submit(operation, (self._next, failed))

    def retry(self, client_id: str | None, reply: Callable[[int], None], failed: Failed) -> None:
        """Announce anew what was given up, of one client id or of all of them; the reply is how many those are."""

        def waiting(outcome: Waiting) -> None:
            for name in outcome.client_ids:
                self._claim(name)
            reply(len(outcome.client_ids))

        self._submit(Retry(client_id), (waiting, failed))

    def list_notices(self, after: int, limit: int, reply: Callable[[NoticeList], None], failed: Failed) -> None:
        """What the application was not told yet."""
        self._ask(lambda: self._store.notices(after, limit), reply, failed)

    def notices_of(self, client_id: str, reply: Callable[[Sequence[Notice]], None], failed: Failed) -> None:
        """What the application was not told yet of one client id."""
        self._ask(lambda: self._store.notices_of(client_id), reply, failed)

    # -- what the application wants of a client id (A4) --------------------------------------------------------

    def revoke(self, client_id: str, reply: Callable[[], None], failed: Failed) -> None:
        """Make every token of a client id void, and end its connections."""

        def revoked(outcome: Full | None) -> None:
            if outcome is not None:
                failed(_full())
                return
            self._dismiss(client_id, REVOKED)
            reply()

        self._submit(Revoke(client_id), (revoked, failed))

    def dismiss(self, client_id: str, reply: Callable[[], None], failed: Failed) -> None:
        """End the connections of a client id."""

        def dismissed(outcome: None) -> None:
            self._dismiss(client_id, DISCONNECTED)
            reply()

        self._submit(Dismiss(client_id), (dismissed, failed))

    def _dismiss(self, client_id: str, code: int) -> None:
        for outlet in self._outlets.get(client_id, ()):
            self._release(outlet.session)  # it does not come back
            outlet.session.close(code)
            outlet.flush()

    def list_clients(
        self, prefix: str, after: str, connected: bool | None, limit: int, reply: Listed, failed: Failed
    ) -> None:
        """Some of the client ids that have a channel, and those after them."""
        now = self._clock.now()
        self._ask(lambda: self._store.clients(prefix, after, connected, limit, now), reply, failed)

    def _ask(self, ask: Callable[[], Reply[Any]], reply: Callable[[Any], None], failed: Failed) -> None:
        """Ask the store something, and hand on what it answers, now or later."""
        self._turn()  # whoever looks sees all that was said before
        try:
            answer = ask()
        except StoreError as error:
            failed(error)
            return
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(partial(_answered_later, reply, failed))
        else:
            reply(answer)

    def ready(self) -> bool:
        """Whether the store answers, and the hub is not going away."""
        return not self.closing and self._store.ready()

    # -- other hubs, time, the end -----------------------------------------------------------------------------

    def _heard(self, events: Sequence[Event]) -> None:
        touched: list[Outlet] = []
        for event in events:
            match event:
                case Published(client_id=client_id, message=message, waited=waited):
                    if waited and not self.closing:
                        self._waits.elsewhere(client_id, message.id)
                    direct: list[Outlet] = []
                    self._deliver(self._outlets.get(client_id, ()), message, direct)
                    touched += direct
                    if waited:
                        for outlet in direct:
                            self.probe(outlet)
                case Arrived():
                    self._arrived(event)
                case Handled(client_id=client_id, id=id, after=after):
                    self.counters.messages_delivered += self._waits.handled(client_id, "", after, id)
                case Asked(client_id=client_id, fence=fence):
                    if any(outlet.session.fence == fence for outlet in self._outlets.get(client_id, ())):
                        self._contests.setdefault((client_id, fence), [])
                        self._ask_holder((client_id, fence))
                case Held(client_id=client_id, fence=fence):
                    self._affirmed((client_id, fence), here=False)
                case Dismissed(client_id=client_id, revoked=revoked):
                    self._dismiss(client_id, REVOKED if revoked else DISCONNECTED)
                case _:  # a hole
                    for outlets in list(self._outlets.values()):
                        for outlet in outlets:
                            outlet.session.missed()
                            self.feed(outlet)
        for outlet in touched:
            outlet.flush()

    def _arrived(self, page: Arrived) -> None:
        older = [outlet for outlet in self._outlets.get(page.client_id, ()) if outlet.session.fence < page.fence]
        self._replace(older, page.page, page.policy, page.resumed)

    def _ring(self, outlet: Outlet, now: float) -> None:
        outlet.session.tick(now, outlet.traffic())
        outlet.flush()

    def _sweep(self) -> None:
        if self.closing:
            return
        self._forget_late()
        try:
            self._adopt()
            more = self._store.sweep(self._clock.now())
        except StoreError as error:
            log.error("sweep failed", extra={"error": str(error)})
            more = False
        self._sweep_timer = self._clock.call_later(SWEEP_AGAIN_SECONDS if more else SWEEP_SECONDS, self._sweep)

    def _forget_late(self) -> None:
        oldest = self._clock.monotonic() - LATE_SECONDS
        self._late = {key: late for key, late in self._late.items() if late[0] > oldest}
        if self._expected:
            now = self._clock.monotonic()
            self._expected = {name: until for name, until in self._expected.items() if until > now}

    def close(self, spread: float) -> None:
        """Ask every page to come back, each at its own moment within ``spread`` seconds, and let no other one in (G11).

        The application is still answered, until :meth:`finish`; those of its sends that wait are answered at once.
        """
        self._spread = spread
        if self._outlets:
            self._submit(Drain(self._clock.now() + spread))
        self._turn()
        self.closing = True
        self._sweep_timer.cancel()
        self._wheel.stop()
        self._waits.end()
        contests, self._contests = self._contests, {}
        for each in contests.values():
            for contest in each:
                contest.timer.cancel()
                self.refuse(contest.outlet, ConnectionEnded(GOING_AWAY, self._moment()))
        for outlets in list(self._outlets.values()):
            for outlet in outlets:
                outlet.session.close(GOING_AWAY, retry=self._moment())
                outlet.flush()

    def finish(self) -> None:
        """Keep and answer what was asked until now."""
        self._turn()


def _answered_later(reply: Callable[[Any], None], failed: Failed, future: asyncio.Future[Any]) -> None:
    try:
        answer = future.result()
    except StoreError as error:
        failed(error)
    else:
        reply(answer)


def _before(asked: Connect, start: int) -> int:
    """The id after which a page is not given what lies before its start: one that begins anew has got nothing."""
    cursor = parse_id(asked.after or "")
    return cursor if cursor is not None and cursor <= start else 0


def _full() -> StoreFull:
    return StoreFull("the store has as much as it may hold")
