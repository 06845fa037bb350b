"""The native front: HTTP/1.1 on an event loop's own transports, parsed by httptools, as fast as Python gets.

All requests of one read are answered in one write; no task, no coroutine and no log line belongs to a request.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import httptools

from pushline.admission import RETRY_MS, Crowd, Tally
from pushline.clock import Clock, Timer
from pushline.errors import Problem
from pushline.http.app import App, cors
from pushline.http.page import refusal
from pushline.http.request import HEADERS, Request
from pushline.http.responses import Encoder, Later, Pending, problem_response
from pushline.http.values import Response, TooMany
from pushline.protocol.codes import TOO_MANY
from pushline.protocol.values import Close
from pushline.server.proxies import DIRECT, Proxies, ProxyHeader, address_of
from pushline.server.strict import examine, path_of
from pushline.transports.base import Door, Stream
from pushline.transports.door import CONNECT
from pushline.transports.door import answer as door_answer
from pushline.transports.longpoll import LongPollTransport
from pushline.transports.sse import SseTransport
from pushline.transports.websocket import Handshake, WebSocketTransport

MAX_URL_BYTES: Final = 8 << 10
MAX_HEADER_BYTES: Final = 16 << 10
MAX_PIPELINED: Final = 1024
LINGER_SECONDS: Final = 2.0
REQUEST_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 75.0
LOOK_SECONDS: Final = 1.0
"""How often connections are looked at for those that take too long."""

_EXAMINED: Final = (b"connection", b"transfer-encoding", b"upgrade")
"""A request that has one of these is looked at more closely."""

# Header names come in a few spellings; each of these costs one look-up, any other one more.
_ATTRIBUTES: Final[dict[bytes, str]] = {
    spelling: attribute
    for name, attribute in (HEADERS | {b"user-agent": ""}).items()
    if name not in _EXAMINED
    for spelling in (name, name.title())
}


_HOP: Final = (b"connection", b"expect", b"upgrade")
_NO_HOST: Final = b"\0"
_SLASH: Final = ord("/")
_HASH: Final = ord("#")
_READING: Final = 0
_NOTHING: Final = -1
"""So many bytes of a request are here while there is none."""

_REFUSED: Final = 1  # nothing more is read; earlier requests still get their answers
_ENDED: Final = 2


class _Refusal(Exception):
    """Raised inside the parser's callbacks: the request is answered with this and nothing more is read."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _TakenOver(Exception):
    """Raised inside the parser's callbacks: the connection belongs to an answer that goes on."""

    def __init__(self, stream: SseTransport, request: Request) -> None:
        self.stream = stream
        self.request = request


class NativeFront:
    """Makes the protocol of each connection, and writes what a turn of the loop has answered."""

    def __init__(
        self,
        app: App,
        door: Door,
        clock: Clock,
        *,
        request_seconds: float = REQUEST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        proxies: Proxies = DIRECT,
        crowd: Crowd | None = None,
        tally: Tally | None = None,
    ) -> None:
        """``request_seconds``: in which a request has to be there whole; ``idle_seconds``: without one.

        ``proxies`` are believed about whom they speak for; ``crowd`` counts who is here; ``tally`` what went wrong.
        """
        self.app = app
        self.door = door
        self.clock = clock
        self.request_seconds = request_seconds
        self.idle_seconds = idle_seconds
        self.proxies = proxies
        self.crowd = crowd or Crowd()
        self.tally = tally or Tally()
        self.left = self.crowd.leave
        self._look_timer: Timer | None = None
        self.encoder = Encoder(clock.now)
        self.encode = self.encoder.encode
        self.tell_time = self.encoder.tell_time
        self.connections: set[HttpConnection] = set()
        self.closed = False
        self._waiting: list[HttpConnection] = []
        door.hub.at_turn_end.append(self._write_answers)

    def close(self) -> None:
        """End every connection after what is on its way out, and those that come from now on at once."""
        self.closed = True
        for connection in list(self.connections):
            connection.close()

    def add(self, connection: HttpConnection) -> None:
        """A peer has connected: from now on it is looked at."""
        self.connections.add(connection)
        if self._look_timer is None:
            self._look_timer = self.clock.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """One timer for all connections, and nothing on the way of a request: who is late is found by looking."""
        self._look_timer = None
        now = self.clock.monotonic()
        for connection in list(self.connections):
            connection.look(now)
        if self.connections:
            self._look_timer = self.clock.call_later(LOOK_SECONDS, self._look)

    def connection(self) -> asyncio.Protocol:
        """The protocol of a new connection: a factory for ``loop.create_server``."""
        return cast("asyncio.Protocol", HttpConnection(self))

    def waits(self, connection: HttpConnection) -> None:
        """A connection has answers to write at the end of a turn."""
        self._waiting.append(connection)

    def _write_answers(self) -> None:
        self.tell_time()
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            if not connection.write_answers():
                self._waiting.append(connection)


class HttpConnection:
    """One HTTP connection, until it ends or becomes a WebSocket. To the loop it is an :class:`asyncio.Protocol`."""

    __slots__ = (
        "_address",
        "_body",
        "_body_bytes",
        "_body_limit",
        "_close",
        "_crowded",
        "_front",
        "_full",
        "_header_bytes",
        "_host",
        "_out",
        "_parser",
        "_phase",
        "_proxied",
        "_request",
        "_seen",
        "_seen_idle",
        "_since",
        "_transport",
        "_unfinished",
        "_unread",
        "_url",
        "_waiting",
    )

    __deletable__ = ("_parser",)  # said to mypyc

    _transport: asyncio.Transport

    def __init__(self, front: NativeFront) -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[Pending] = []
        self._out: list[bytes] = []
        self._phase = _READING
        self._full = False
        self._close = False
        self._host = _NO_HOST  # the last one that was examined: mostly it is the next one as well
        self._address = ""
        self._proxied = False
        self._crowded = False
        self.on_message_begin()
        self._unfinished = _NOTHING
        self._seen = self._request
        self._seen_idle = True
        self._unread = 0
        self._since = front.clock.monotonic()

    # -- the loop's side ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer connected."""
        front = self._front
        self._transport = cast("asyncio.Transport", transport)
        front.add(self)
        peer = address_of(self._transport)
        self._proxied = front.proxies.trusts(peer)
        if self._proxied:  # whom it speaks for is not known yet
            transport.set_protocol(cast("asyncio.BaseProtocol", ProxyHeader(self, self._transport)))
        else:
            self._address = peer
        self._crowded = not front.crowd.enter(self._address)
        if front.closed:  # it was accepted while the listener was closing
            self.close()
        elif self._crowded and front.crowd.packed(self._address):
            front.tally.connections_refused += 1
            self._transport.abort()

    def speaks_for(self, address: str) -> None:
        """A trusted proxy has said, ahead of all requests, for whom this connection is."""
        crowd = self._front.crowd
        crowd.leave(self._address)
        self._address = address
        self._proxied = False
        self._crowded = not crowd.enter(address)

    def data_received(self, data: bytes) -> None:
        """Bytes came: answer every request that is complete, and write the answers that need no commit."""
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _TakenOver):
                self._hand_over(cause.stream, cause.request)
                return
            self._refuse(
                cause.problem
                if isinstance(cause, _Refusal)
                else Problem("malformed_request", f"The request is not HTTP/1.1: {error}.")
            )
        # The parser holds a header until its line ends, and calls nobody before.
        if self._unfinished > MAX_URL_BYTES + MAX_HEADER_BYTES:
            self._refuse(_headers_too_large())
        self._write()

    def _feed(self, data: bytes | memoryview) -> None:
        while self._phase is _READING:
            self._unfinished += len(data)
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                read = upgrade.args[0]
            data = memoryview(data)[read:]
            self._upgraded(data)

    def pause_writing(self) -> None:
        """The peer asks faster than it reads the answers: read no more of it until it does."""
        self._full = True
        self._regulate()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._full = False
        self._regulate()

    def _regulate(self) -> None:
        """Read on, unless this connection has enough on its way out."""
        if self._transport.is_closing():
            return
        if self._full or len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer sends no more. It still gets the answers that wait, and the connection ends with the last.

        A page that was polling has gone: it is how browsers and proxies take a request back.
        """
        waiting = self._waiting
        if not waiting or isinstance(waiting[-1], LongPollTransport):
            return False
        waiting[-1].close = True
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone. What was asked is done all the same."""
        self._end()
        self._front.crowd.leave(self._address)
        for pending in self._waiting:
            if isinstance(pending, Later):
                pending.gone()

    def look(self, now: float) -> None:
        """End the connection when its peer takes too long: to ask, to read the answers, to ask again."""
        if self._phase is _REFUSED:
            return  # it has LINGER_SECONDS
        front = self._front
        request, idle = self._request, self._unfinished < 0
        unread = self._transport.get_write_buffer_size()
        changed = request is not self._seen or idle is not self._seen_idle or unread != self._unread
        if changed or (self._waiting and not unread):
            self._seen, self._seen_idle, self._unread = request, idle, unread
            self._since = now
            return
        patient = idle and not unread and request.method != b""  # it has asked before
        limit = front.idle_seconds if patient else front.request_seconds
        if now - self._since < limit:
            return
        if not patient:
            front.tally.timeouts += 1
        if unread:
            self._transport.abort()
        elif not idle:
            detail = f"The request was not there whole within {limit:g} seconds."
            self._refuse(Problem("request_timeout", detail))
            self._write()
        else:
            self._transport.close()

    def _end(self) -> None:
        self._phase = _ENDED
        self._front.connections.discard(self)
        del self._parser  # it refers back to this object

    # -- the parser's side: one request ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._request = Request()
        self._url = b""
        self._header_bytes = 0
        self._unfinished = 0
        self._body: bytes | bytearray = b""
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > MAX_URL_BYTES:
            raise _Refusal(Problem("uri_too_long", f"The address is longer than {MAX_URL_BYTES} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _Refusal(_headers_too_large())
        attribute = _ATTRIBUTES.get(name)
        if attribute is None:
            name = name.lower()
            attribute = HEADERS.get(name)
            if name in _EXAMINED:
                self._host = _NO_HOST
        request = self._request
        if attribute and not request.method:  # what trails the body is not looked at (RFC 9110, 6.5.1)
            before = getattr(request, attribute)
            setattr(request, attribute, b"%b, %b" % (before, value) if before else value)

    def on_headers_complete(self) -> None:
        request = self._request
        parser = self._parser
        request.method = parser.get_method()
        self._close = not parser.should_keep_alive()
        host, url = request.host, self._url
        try:
            if self._close or host != self._host:
                examine(request, parser.get_http_version())
                self._host = host
            if url[0] != _SLASH or _HASH in url:
                url = path_of(url, request)
        except Problem as problem:
            raise _Refusal(problem) from None
        request.path, _, request.query = url.partition(b"?")
        request.address = self._front.proxies.client_of(request.x_forwarded_for) if self._proxied else self._address
        self._body_limit = self._front.app.body_limit(request.path)
        if request.expect and request.expect.lower() == b"100-continue" and not self._waiting:
            self._out.append(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._body_limit:
            self._body = b""  # the rest is read over, so that the peer reads the answer
        elif not self._body:
            self._body = body
        else:
            self._body = bytearray(self._body) if type(self._body) is bytes else self._body
            self._body += body

    def on_message_complete(self) -> None:
        self._unfinished = _NOTHING
        if self._parser.should_upgrade():
            return  # the parser stops here: see `_upgraded`
        request = self._request
        request.body = self._body if type(self._body) is bytes else bytes(self._body)
        app = self._front.app
        answer: Response | bytes | Pending
        if self._crowded:
            answer = self._refuse_crowded(request)
        elif self._body_bytes > self._body_limit:
            answer = app.too_large(request)
        elif request.path == CONNECT:
            answer = self._connect(request)
        else:
            answer = app.handle(request)
        if isinstance(answer, Later) and answer.response is not None:
            answer = answer.response  # it came sooner than it might have
        close = self._close
        head = request.method == b"HEAD"
        if isinstance(answer, Pending):
            pending = answer
        elif self._waiting:
            pending = Pending(answer)  # it waits too, behind the answers to earlier requests
        else:
            self._front.tell_time()
            self._answer(answer, head=head, close=close)
            return
        pending.close = close
        pending.head = head
        if isinstance(pending, Later):
            pending.tell = self._answered_later
        elif not self._waiting:
            self._front.waits(self)
        self._waiting.append(pending)
        if len(self._waiting) == MAX_PIPELINED:
            self._regulate()

    def _refuse_crowded(self, request: Request) -> Response:
        """More connections are here than may be: this one ends with its first answer."""
        front = self._front
        front.tally.connections_refused += 1
        self._close = True
        if request.path == CONNECT:
            return refusal(Close(TOO_MANY, front.crowd.moment(front.clock.monotonic())))
        detail = "There are more connections than may be, in all or from this address: use fewer."
        return problem_response(TooMany("too_many_connections", detail, RETRY_MS / 1000), cors(request.path))

    def _connect(self, request: Request) -> Response | Pending:
        answer = door_answer(self._front.door, request, self._transport, self._front.encoder)
        if isinstance(answer, SseTransport):
            if self._waiting:
                detail = "Events are not sent behind answers that are still waited for: ask on another connection."
                return problem_response(Problem("malformed_request", detail), cors(request.path))
            raise _TakenOver(answer, request)
        return cast("Response | Later", answer)

    # -- answers -----------------------------------------------------------------------------------------------

    def _answered_later(self) -> None:
        """An answer that nobody could wait for at the end of a turn is there."""
        if not self.write_answers():
            self._front.waits(self)

    def write_answers(self) -> bool:
        """Write the answers that are there, in the order of their requests.

        True: none is missing, or the next one tells when it is there.
        """
        waiting = self._waiting
        crowded = len(waiting) >= MAX_PIPELINED
        while waiting and (response := waiting[0].response) is not None:
            pending = waiting.pop(0)
            if self._phase is not _ENDED:
                self._answer(response, head=pending.head, close=pending.close)
        self._write()
        if crowded:
            self._regulate()
        return not waiting or isinstance(waiting[0], Later)

    def _answer(self, response: Response | bytes, *, head: bool, close: bool) -> None:
        self._out.append(self._front.encode(response, close=close, head=head))
        if close:
            self._write()
            self._hang_up()

    def _hang_up(self) -> None:
        transport = self._transport
        if self._phase is _REFUSED:
            # Closing with unread data makes the kernel reset the connection, and the answer is lost (RFC 9112, 9.6).
            if transport.can_write_eof():
                transport.write_eof()
            self._front.clock.call_later(LINGER_SECONDS, transport.abort)
        else:
            transport.close()
        self._phase = _ENDED

    def _write(self) -> None:
        out = self._out
        if out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            self._out = []

    def _refuse(self, problem: Problem) -> None:
        """Answer in turn, and read no more: nothing that follows can be told apart."""
        if self._phase is not _READING:
            return
        self._phase = _REFUSED
        response = problem_response(problem, cors(self._url))
        if self._waiting:
            refusal = Pending(response)
            refusal.close = True
            self._waiting.append(refusal)
        else:
            self._answer(response, head=False, close=True)

    # -- upgrade -----------------------------------------------------------------------------------------------

    def _upgraded(self, rest: memoryview) -> None:
        """The parser stopped behind the head of a request that asks for another protocol."""
        request = self._request
        if request.method == b"CONNECT":
            self._refuse(Problem("malformed_request", "This server is no proxy: it does not take CONNECT."))
        elif request.path == CONNECT and not self._waiting and request.upgrade.strip().lower() == b"websocket":
            self._switch(request, rest)
        else:
            # Answered as if it asked for nothing. The parser has passed over the body, if there is one, so a new one
            # reads the head without the question.
            head = _plain_head(request, self._url, keep_alive=not self._close)
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(head)

    def _switch(self, request: Request, rest: memoryview) -> None:
        try:
            if request.transfer_encoding or request.content_length not in (b"", b"0"):
                raise Problem("malformed_request", "A handshake has no body: what follows it are frames.")
            handshake = Handshake(request)
        except Problem as problem:
            self._refuse(problem)
            return
        websocket = WebSocketTransport(self._front.door, self._transport)
        self._give_away(websocket, request)
        websocket.start(handshake, request)
        if rest:
            websocket.data_received(bytes(rest))

    def _hand_over(self, stream: SseTransport, request: Request) -> None:
        self._give_away(stream, request)
        stream.start(request)

    def _give_away(self, stream: Stream, request: Request) -> None:
        """From now on the connection is a page's."""
        front = self._front
        crowd = front.crowd
        if self._proxied:  # the page is somebody else than the proxy
            crowd.leave(self._address)
            self._crowded = not crowd.enter(request.address)
        stream.left = front.left
        stream.address = request.address
        if self._crowded:
            front.tally.connections_refused += 1
            stream.retry = crowd.moment(front.clock.monotonic())
        self._write()
        transport = self._transport
        self._end()
        transport.set_protocol(cast("asyncio.BaseProtocol", stream))  # it has what the loop calls

    def close(self) -> None:
        """The server ends: so does the connection, after what is on its way out."""
        self._phase = _ENDED
        self._transport.close()


def _headers_too_large() -> Problem:
    return Problem("headers_too_large", f"The headers are larger than {MAX_HEADER_BYTES} bytes.")


def _plain_head(request: Request, url: bytes, *, keep_alive: bool) -> bytes:
    """The head of ``request`` without what concerns this one hop."""
    lines = [b"%b %b HTTP/1.1" % (request.method, url)]
    for name, attribute in HEADERS.items():
        if (value := getattr(request, attribute)) and name not in _HOP:
            lines.append(b"%b: %b" % (name, value))
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b""])
