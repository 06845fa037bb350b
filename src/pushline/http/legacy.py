"""The wire of App Engine's development server, which native programs of its time speak (contract, A6).

``GET /_ah/channel/dev?command=connect&channel=TOKEN`` answers with a client number,
``?command=poll&channel=TOKEN&client=NUMBER`` with at most one message, raw, and ``?command=disconnect&…`` ends it. Off
unless ``--legacy-dev-wire``: its addresses hold tokens, so every log on the way has them. Pushline's own does not.

Polls do not wait. To the hub such a client is a connection like any other: a poll answers its pings and acknowledges
the message of the poll before. The wire has no cursor: it is kept here. After a restart of the server a client goes on
where its token's pages have acknowledged (G4), so one message may come twice; and a gap is not told.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from pushline.clock import Clock, Timer
from pushline.errors import ConnectionEnded, Problem
from pushline.http.page import CORS, Origins, refusal
from pushline.http.request import Request
from pushline.http.responses import Later
from pushline.http.values import Response
from pushline.hub import Hub
from pushline.messages import Message, format_id
from pushline.protocol.codes import CLOSES, NORMAL, ORIGIN_NOT_ALLOWED, TOKEN_EXPIRED
from pushline.protocol.frames import Ack, Leave, encode
from pushline.protocol.session import Session
from pushline.protocol.values import Close, Traffic

GONE_SECONDS: Final = 10.0
"""A client that has not polled for so long is gone, to the application. Programs poll twice a second."""

KEPT_SECONDS: Final = 300.0
"""For so long it may come back to its place: browsers let the timers of hidden pages run once a minute."""

MAX_WAITING: Final = 64
"""Messages that lie ready for a client's polls; what comes then waits in the store."""

_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_NOTHING: Final = Response(200, headers=CORS)


class DevWire:
    """The clients of this wire, by client id and number."""

    def __init__(self, hub: Hub, clock: Clock, origins: Origins) -> None:
        self._hub = hub
        self._clock = clock
        self._origins = origins
        self._clients: dict[tuple[str, str], _Client] = {}

    def get(self, request: Request) -> Response | Later:
        """``GET /_ah/channel/dev``. Raises :class:`Problem` for what is no command of this wire."""
        query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True)
        command, token, number = (query.get(name, [""])[0] for name in ("command", "channel", "client"))
        if command not in ("connect", "poll", "disconnect") or "channel" not in query:
            detail = "This address takes `command=connect`, `poll` or `disconnect`, each with a token as `channel`."
            raise Problem("malformed_request", detail)
        if command == "connect":
            number = str(secrets.randbelow(1 << 31))
        elif not _NUMBER.fullmatch(number):
            raise Problem("malformed_request", "`client` is the number that `command=connect` was answered with.")
        if request.method == b"HEAD":  # to look is not to take
            return _NOTHING
        try:
            if not self._origins.admit(request.origin, request.host):
                raise ConnectionEnded(ORIGIN_NOT_ALLOWED)
            place = (self._hub.verify(token).client_id, number)
            client = self._clients.get(place)
            if command != "disconnect" and (client is None or client.may_return):
                after = client.cursor if client is not None else ""
                client = _Client(self._hub, self._clock, self._clients, place, greets=command == "connect")
                self._hub.connect(token, f"dev-{number}", after or None, client)
                return client
        except ConnectionEnded as ended:
            self._hub.counters.connections_refused += 1
            return _refusal(Close(ended.code, ended.retry))
        if client is None:
            return _NOTHING
        return client.poll() if command == "poll" else client.leave()


_CONNECTING: Final = 0
_OPEN: Final = 1
_OVER: Final = 2


class _Client(Later):
    """A client of this wire, and the answer to the request with which it came."""

    __slots__ = (
        "_clients",
        "_clock",
        "_closed",
        "_greets",
        "_hub",
        "_phase",
        "_place",
        "_timer",
        "_waiting",
        "cursor",
        "session",
    )

    session: Session
    name = "dev"

    def __init__(
        self, hub: Hub, clock: Clock, clients: dict[tuple[str, str], _Client], place: tuple[str, str], *, greets: bool
    ) -> None:
        super().__init__()
        self._hub = hub
        self._clock = clock
        self._clients = clients
        self._place = place
        self._greets = greets
        self._phase = _CONNECTING
        self._waiting: deque[Message] = deque()
        self._closed = Close(NORMAL)
        self.cursor = ""
        """The id of the last message that was given to it."""
        self._timer: Timer | None = None

    @property
    def may_return(self) -> bool:
        """Whether its next poll is to be a new connection."""
        return self._phase is _OVER and not CLOSES[self._closed.code].ends

    # -- the hub's side ----------------------------------------------------------------------------------------

    def opened(self, session: Session) -> bool:
        """See :class:`Outlet`."""
        if self._phase is not _CONNECTING:
            return False
        self.session = session
        self._phase = _OPEN
        before = self._clients.get(self._place)
        if before is not None:
            before._stop()
        self._clients[self._place] = self
        self._is_there()
        return True

    def refused(self, close: Close) -> None:
        """See :class:`Outlet`."""
        self._phase = _OVER
        self.answer(_refusal(close))

    def flush(self) -> None:
        """See :class:`Outlet`."""
        items = self.session.outgoing()
        if items is None or self._phase is _OVER:
            return
        self._waiting += [item for item in items if isinstance(item, Message)]
        if isinstance(items[-1], Close):
            self._end(items[-1])
        elif len(self._waiting) >= MAX_WAITING and self.session.writable:
            self._hub.blocked(self)
        if self.response is None:  # the first time: what the store has is there
            self.answer(_text(self._place[1].encode()) if self._greets else self._next())

    def traffic(self) -> Traffic:
        """See :class:`Outlet`."""
        return Traffic()

    def _end(self, close: Close) -> None:
        """The server has ended it. What ends a socket is told to every poll that comes (W8)."""
        self._closed = close
        self._leave()

    def _leave(self) -> None:
        """It is connected no more."""
        self._phase = _OVER
        self._waiting.clear()
        self._start(KEPT_SECONDS, self._forget)
        self._hub.disconnected(self, orderly=False)

    # -- the client's side -------------------------------------------------------------------------------------

    def poll(self) -> Response:
        """The next message, or nothing. It is a sign of life, and says that the message before was handled."""
        if self._phase is _OPEN:
            self._is_there()
            self._hub.received(self, encode(Ack(self.cursor)))
        if self._phase is _OPEN and not self._waiting and not self.session.writable:
            self._hub.unblocked(self)
        return self._next() if self._phase is _OPEN else _refusal(self._closed)

    def _next(self) -> Response:
        if not self._waiting:
            return _NOTHING
        message = self._waiting.popleft()
        self.cursor = format_id(message.id)
        return _text(message.data)

    def leave(self) -> Response:
        """It goes in good order."""
        if self._phase is _OPEN:
            self._hub.received(self, encode(Leave(self.cursor)))
        self._stop()
        self._forget()
        return _NOTHING

    def gone(self) -> None:
        """See :class:`Later`."""
        if self._phase is _CONNECTING:
            self._phase = _OVER
            self._hub.left(self)

    def _is_there(self) -> None:
        self._start(GONE_SECONDS, self._leave)

    def _start(self, seconds: float, act: Callable[[], None]) -> None:
        self._stop()
        self._timer = self._clock.call_later(seconds, act)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _forget(self) -> None:
        self._clients.pop(self._place, None)


def _text(data: bytes) -> Response:
    return Response(200, "text/plain; charset=utf-8", data, CORS)


def _refusal(close: Close) -> Response:
    """As everywhere (W8), but for the two texts that programs of this wire compare."""
    answer = refusal(close)
    if answer.status != HTTPStatus.UNAUTHORIZED:
        return answer
    text = "Token+timed+out." if close.code == TOKEN_EXPIRED else "Invalid+token."
    return Response(answer.status, "text/plain; charset=utf-8", text.encode(), answer.headers, reason=text)
