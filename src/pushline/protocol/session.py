"""What the server knows of one connection of a page, as a pure state machine.

Events go in (:meth:`Session.deliver`, :meth:`~Session.receive`, :meth:`~Session.pong`, :meth:`~Session.tick`) with the
time as an argument (seconds of a clock that never steps); frames come out (:meth:`Session.outgoing`), and the session
names the moment at which it wants to be asked again (:attr:`Session.deadline`). No transport has a rule of its own.

A session is *live* while it stands at the end of its channel: a message goes straight to the page. It falls *behind*
when a message does not follow on what the page has, or when the transport is full; then the hub feeds it from the
store until it has caught up. Both ways are joined by the id alone, so nothing is lost and nothing comes twice (G2, G3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pushline.messages import COUNTER_BITS, Message, format_id, parse_id
from pushline.protocol.codes import GOING_AWAY, NORMAL, PROTOCOL_ERROR, TOKEN_EXPIRED, TOO_SLOW
from pushline.protocol.frames import (
    Expiring,
    FreshToken,
    Gap,
    Leave,
    Open,
    Ping,
    TokenAccepted,
    UnknownFrame,
    Up,
    decode_up,
    seconds,
)
from pushline.protocol.tokens import Claims
from pushline.protocol.values import Acknowledged, Close, Heartbeat, Left, Outgoing, Traffic

BLOCKED_SECONDS: Final = 300.0
"""How long pongs without an ``ack`` keep a connection: an ``alert()``, a debugger, a long task (W4)."""

NOTICE_SECONDS: Final = 60.0
"""``expiring`` comes a tenth of the token's life before its end, at most this long (W2)."""


_NO_TRAFFIC: Final = Traffic()


class Session:
    """One connection of a page: see the module.

    ``start`` is the id after which it begins, ``position`` the one up to which everything was given to the transport,
    ``acknowledged`` the one up to which the page has handled it; ``behind`` says that the store has more for it,
    ``feeding`` that it is being read, ``writable`` that the transport takes more; ``fence`` is the number under which
    the page holds its place, ``alarm`` belongs to the wheel that calls :meth:`tick`.
    """

    __slots__ = (
        "_answered_at",
        "_awaiting",
        "_beat",
        "_known",
        "_missed",
        "_next_beat",
        "_notice_at",
        "_out",
        "_ponged",
        "_tokens",
        "_traffic",
        "acknowledged",
        "alarm",
        "behind",
        "client_id",
        "closed",
        "expires_at",
        "feeding",
        "fence",
        "page",
        "position",
        "start",
        "writable",
    )

    def __init__(
        self,
        claims: Claims,
        *,
        page: str,
        fence: int,
        start: int,
        gap: bool,
        beat: Heartbeat,
        expires_in: float,
        now: float,
    ) -> None:
        self.client_id = claims.client_id
        self.page = page
        self.fence = fence
        self.start = start
        self._tokens: tuple[int, ...] = ()
        self.position = start
        self.acknowledged = start
        self.alarm = 0
        self.behind = True  # until the first feed says that nothing is waiting
        self.feeding = False
        self.writable = True
        self.closed = False
        self._beat = beat
        self._known = 0
        self._missed = False
        self._awaiting = False
        self._ponged = False
        self._traffic = _NO_TRAFFIC
        self._answered_at = now
        self._next_beat = now + beat.interval
        self._accept(claims, expires_in, now)
        self._out: list[Outgoing] | None = [
            Open(
                client_id=claims.client_id,
                cursor=format_id(start),
                gap=gap,
                ping=seconds(beat.interval),
                timeout=seconds(beat.timeout),
                expires_in=self.expires_in(now),
            )
        ]

    def _accept(self, claims: Claims, expires_in: float, now: float) -> None:
        self._tokens = (*self._tokens, claims.id)
        self.expires_at = now + expires_in
        # The digits of the token's id spread the notices of tokens made at one moment, so that pages do not refresh
        # as one.
        jitter = 1 - claims.id % 997 / 4000
        life = max(expires_in, claims.expires_at - (claims.id >> COUNTER_BITS) / 1000)
        self._notice_at = self.expires_at - jitter * min(NOTICE_SECONDS, life / 10)

    def expires_in(self, now: float) -> int:
        """The seconds until its token ends."""
        return max(0, int(self.expires_at - now + 0.001))  # whole seconds, and never one too many

    def _put(self, item: Outgoing) -> None:
        if self._out is None:
            self._out = [item]
        else:
            self._out.append(item)

    def outgoing(self) -> list[Outgoing] | None:
        """What the transport has to write now, in order; it is handed over once. None: nothing."""
        out, self._out = self._out, None
        return out

    # -- messages ----------------------------------------------------------------------------------------------

    def deliver(self, message: Message) -> bool:
        """Give the page a message that was just kept. False: it will come from the store, later."""
        if self.behind or self.closed:
            self._known = message.id
            return False
        if message.previous > self.position or not self.writable:
            self.behind = True
            self._known = message.id
            return False
        if message.id > self.position:
            self.position = message.id
            if self._out is None:
                self._out = [message]
            else:
                self._out.append(message)
        return True

    def feed(self, messages: Sequence[Message], upto: int, *, gap: int | None, complete: bool) -> None:
        """Give the page what the store had after its position: ``messages``, which reach up to the id ``upto``.

        ``gap``: something before this id is missing. ``complete``: nothing was waiting behind them.
        """
        if self.closed:
            return
        if gap is not None and gap > self.position:
            self.position = gap
            self._put(Gap(cursor=format_id(gap)))
        for message in messages:
            if message.id > self.position:
                self.position = message.id
                self._put(message)
        self.position = max(self.position, upto)
        # A message that came while the store was reading is not in what it read.
        self.behind = not complete or self._missed or self._known > self.position
        self._missed = False

    def missed(self) -> None:
        """Messages may have passed it by. What is being read at the moment is not the last word either."""
        self.behind = True
        self._missed = self.feeding

    # -- the page ----------------------------------------------------------------------------------------------

    def receive(self, text: str | bytes, now: float) -> Acknowledged | Left | FreshToken | None:
        """The text of a frame from the page: see :meth:`handle`. Anything unknown closes with 4400."""
        if self.closed:
            return None
        try:
            frame = decode_up(text)
        except UnknownFrame:
            self.close(PROTOCOL_ERROR)
            return None
        return self.handle(frame, now)

    def handle(self, frame: Up, now: float) -> Acknowledged | Left | FreshToken | None:
        """A frame from the page. What it means to the hub is returned."""
        if self.closed:
            return None
        if isinstance(frame, FreshToken):
            return frame
        number = parse_id(frame.id)
        if number is None and frame.id:
            self.close(PROTOCOL_ERROR)
            return None
        self._answered(now)
        id = self.acknowledge(number or 0)
        if isinstance(frame, Leave):
            self.close(NORMAL)
            return Left(id)
        return Acknowledged(id) if id else None

    def acknowledge(self, id: int) -> int:
        """The page has handled everything up to ``id``. Returns it, or 0 when that is nothing new.

        An id that this page was not given acknowledges nothing (contract, Retention).
        """
        if not self.acknowledged < id <= self.position:
            return 0
        self.acknowledged = id
        return id

    def given(self, id: int) -> bool:
        """Whether a message with this id went out over this connection, or was told as missing."""
        return self.start < id <= self.position

    def handled(self, id: int) -> bool:
        """Whether it did, and the page has acknowledged it."""
        return self.start < id <= self.acknowledged

    def token_of(self, id: int) -> int:
        """The token under which it was given a message: what is older than a fresh token came under one before (G4)."""
        return max((token for token in self._tokens if token < id), default=self._tokens[0])

    def _answered(self, now: float) -> None:
        self._answered_at = now
        self._ponged = False
        if self._awaiting:
            self._awaiting = False
            self._next_beat = now + self._beat.interval

    def pong(self) -> None:
        """An RFC 6455 pong: the browser is there, its script may be blocked."""
        self._ponged = True

    def refresh(self, claims: Claims, expires_in: float, now: float) -> None:
        """Go on with a fresh token of the same client id, which ends in ``expires_in`` seconds."""
        self._accept(claims, expires_in, now)
        self._put(TokenAccepted(expires_in=self.expires_in(now)))

    # -- time --------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """The moment at which :meth:`tick` wants to be called."""
        return min(self._next_beat, self._notice_at, self.expires_at)

    def tick(self, now: float, traffic: Traffic = _NO_TRAFFIC) -> None:
        """Do what is due at ``now``: ping, say that the token ends, close. ``traffic`` is the transport's."""
        if self.closed:
            return
        if now >= self.expires_at:
            self.close(TOKEN_EXPIRED)
            return
        if now >= self._notice_at:
            self._notice_at = self.expires_at
            self._put(Expiring(expires_in=self.expires_in(now)))
        if now >= self._next_beat:
            self._heartbeat(now, traffic)

    def _heartbeat(self, now: float, traffic: Traffic) -> None:
        before, self._traffic = self._traffic, traffic
        if not self._awaiting:
            self._ask(now)
        elif before.unsent and traffic.taken > before.taken:
            self._ask(now)  # slow, and alive: what it answers to lay behind what it has taken meanwhile (G10)
        elif self._ponged and now - self._answered_at < BLOCKED_SECONDS:
            self._ponged = False
            self._awaiting = False
            self._next_beat = now + max(0.0, self._beat.interval - self._beat.timeout)
        elif before.unsent and traffic.unsent:
            self.close(TOO_SLOW)
        else:
            # Half-open or dead: the page, if there is one, comes back and resumes.
            self.close(GOING_AWAY)

    def _ask(self, now: float) -> None:
        self._awaiting = True
        self._ponged = False
        self._next_beat = now + self._beat.timeout
        self._put(Ping())

    def probe(self, now: float, traffic: Traffic) -> None:
        """Ask the page now whether it is there and what it has handled, not only when the next ping is due."""
        if self.closed:
            return
        if self._awaiting:
            self._put(Ping())
        else:
            self._traffic = traffic
            self._ask(now)

    def blocked(self, now: float, traffic: Traffic) -> None:
        """The transport takes no more: the page has the ping timeout to take some of what it was given (G10)."""
        self.writable = False
        if not self._awaiting:
            self._awaiting = True
            self._ponged = False
            self._traffic = traffic
            self._next_beat = now + self._beat.timeout
        elif not self._traffic.unsent:
            self._traffic = traffic  # it was asked when nothing was on its way: what it takes from now on is progress

    def close(self, code: int, retry: int | None = None) -> None:
        """End the connection with a close code, after what is on its way out."""
        if not self.closed:
            self.closed = True
            self._put(Close(code, retry))
