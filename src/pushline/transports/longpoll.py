"""Long-poll (contract, W6): for pages to which nothing gets through that goes on.

Each poll is a connection of the page, in the place of the one before: it takes over from it, and its cursor
acknowledges, by the rules that hold for every connection. It is over when the page has not polled again within the
ping timeout after its answer.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pushline.clock import Timer
from pushline.errors import ConnectionEnded
from pushline.http.page import CORS, refusal
from pushline.http.request import Request
from pushline.http.responses import Later
from pushline.http.values import Response
from pushline.messages import Message, format_id
from pushline.protocol.codes import GOING_AWAY, NORMAL, PROTOCOL_ERROR
from pushline.protocol.frames import Gap, Open, Ping
from pushline.protocol.session import Session
from pushline.protocol.values import Close, Traffic
from pushline.transports.base import Door, Wire, bearer, parameters, traffic

MAX_ANSWER_BYTES: Final = 1 << 20
"""The longest answer. Only a message that is longer by itself makes a longer one."""

_BESIDES: Final = 4096  # more than an answer has besides its messages
NEXT_POLL_SECONDS: Final = 2.0
"""Within this a page that was answered polls again, over a slow line too."""

_CONNECTING: Final = 0
_HELD: Final = 1  # the poll is open
_ANSWERED: Final = 2  # the page has until the ping timeout to poll again
_OVER: Final = 3


class _Text(msgspec.Struct):
    id: str
    data: str


class _Answer(msgspec.Struct):
    client_id: str
    cursor: str
    gap: bool
    ping: int | float
    expires_in: int
    messages: list[msgspec.Raw]


class LongPollTransport(Later):
    """One poll, and the time in which the next one has to come."""

    __slots__ = (
        "_cursor",
        "_door",
        "_gap",
        "_last",
        "_messages",
        "_open",
        "_over",
        "_phase",
        "_room",
        "_taken",
        "_timer",
        "_wait",
        "_wire",
        "session",
    )

    session: Session
    name = "longpoll"

    def __init__(self, door: Door, wire: Wire) -> None:
        super().__init__()
        self._door = door
        self._wire = wire
        self._phase = _CONNECTING
        self._messages: list[msgspec.Raw] = []
        self._room = MAX_ANSWER_BYTES - _BESIDES
        self._cursor: str | None = None  # where the answer ends, when there was no room for more
        self._last = 0
        self._taken = 0
        self._open: Open | None = None
        self._gap = False
        self._over = False
        self._wait = 0.0
        self._timer: Timer | None = None

    def start(self, request: Request) -> None:
        """Connect the page that asked."""
        try:
            query = parameters(request)
            if not query.get("page"):
                raise ConnectionEnded(PROTOCOL_ERROR)
            self._wait = _seconds(query.get("wait", "0"))
        except ConnectionEnded as ended:
            self._door.hub.refuse(self, ended)
            return
        self._over = not ("after" in query or request.last_event_id)
        self._door.connect(request, bearer(request), self)

    # -- the hub's side ----------------------------------------------------------------------------------------

    def opened(self, session: Session) -> bool:
        """See :class:`Outlet`."""
        if self._phase is not _CONNECTING:
            return False
        self.session = session
        self._phase = _HELD
        return True

    def refused(self, close: Close) -> None:
        """See :class:`Outlet`."""
        if self._phase is _CONNECTING:
            self._phase = _OVER
            self.answer(refusal(close))

    def flush(self) -> None:
        """See :class:`Outlet`."""
        items = self.session.outgoing()
        if items is None or self._phase is _OVER:
            return
        for item in items:
            if type(item) is Message:
                self._add(item)
            elif type(item) is Open:
                self._open = item
                self._gap = item.gap
            elif type(item) is Gap:
                self._gap = True
            elif type(item) is Ping:
                self._over = True
        last = items[-1]
        if type(last) is Close:
            self._end(last)
        elif self._phase is _HELD and not (self.session.behind and not self._messages):
            self._regard()

    def traffic(self) -> Traffic:
        """See :class:`Outlet`."""
        now = traffic(self._wire)
        if self._phase is _ANSWERED and not now.unsent:
            now = Traffic(self._taken)  # an answer that was taken whole is no progress: the page has to poll again
        self._taken = now.taken
        return now

    def _add(self, message: Message) -> None:
        """Put a message into the answer, while there is room: what comes then waits in the store for the next poll."""
        if self._cursor is not None:
            return
        text = msgspec.json.encode(_Text(format_id(message.id), message.data.decode()))
        self._room -= len(text) + 1
        if self._room < 0 and self._messages:
            self._cursor = format_id(self._last)
            return
        self._messages.append(msgspec.Raw(text))
        self._last = message.id

    def _regard(self) -> None:
        """Answer when there is something to say or no time left; else wait for that."""
        if self._messages or self._gap or self._over or not self._wait:
            self._respond()
            # No poll, no life: what the page is asked by the answer itself it answers by polling again.
            self._door.hub.blocked(self)
        elif self._timer is None:
            wait = min(self._wait, self._open.ping if self._open else 0.0)
            self._timer = self._door.clock.call_later(wait, self._timeout)

    def _timeout(self) -> None:
        self._over = True
        self._regard()

    def _respond(self) -> None:
        self._stop(_ANSWERED)
        session, first = self.session, self._open
        ping = first.ping if first else 0
        body = _Answer(
            client_id=session.client_id,
            cursor=self._cursor or format_id(session.position),
            gap=self._gap,
            ping=ping,
            expires_in=session.expires_in(self._door.clock.monotonic()),
            messages=self._messages,
        )
        self._messages = []
        self.answer(Response(200, "application/json", msgspec.json.encode(body), CORS))

    def _end(self, close: Close) -> None:
        held = self._phase is _HELD
        if held and (self._messages or close.code == NORMAL):
            self._respond()  # a newer poll has taken over, or the next one will hear of the end
        elif held:
            self.answer(refusal(close))
        elif close.code == GOING_AWAY:
            self._door.expect(NEXT_POLL_SECONDS)  # which hears of it
        self._stop(_OVER)
        self._door.hub.disconnected(self, orderly=False)

    def _stop(self, phase: int) -> None:
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the peer's side ---------------------------------------------------------------------------------------

    def gone(self) -> None:
        """See :class:`Later`."""
        phase = self._phase
        if phase is _HELD or phase is _CONNECTING:
            self._stop(_OVER)
        if phase is _HELD:
            self._door.hub.disconnected(self, orderly=False)
        elif phase is _CONNECTING:
            self._door.hub.left(self)


def _seconds(text: str) -> float:
    """The time that a poll may be held. Raises :class:`ConnectionEnded`."""
    try:
        seconds = float(text)
    except ValueError:
        raise ConnectionEnded(PROTOCOL_ERROR) from None
    if not 0 <= seconds < 86400:  # NaN is none of them
        raise ConnectionEnded(PROTOCOL_ERROR)
    return seconds
