"""The ASGI front: what the native front answers, for a program's own server and in its own event loop (contract, R5).

The server has read the request; from there on the same handlers, transports and hub answer it. ASGI 3; one task, the
server's, belongs to a request or a connection.
"""

from __future__ import annotations

import asyncio
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from pushline.admission import Crowd
from pushline.errors import Problem
from pushline.http.request import HEADERS, MOUNTED_API, Request
from pushline.http.responses import Encoder, Later, Pending, problem_response
from pushline.http.values import Response
from pushline.server.asgi_websocket import AsgiWebSocket
from pushline.server.asgi_wire import AnswerWire, AsgiWire, Receive, Scope, Send, answer_events
from pushline.server.native import MAX_URL_BYTES
from pushline.server.wiring import Core
from pushline.transports.base import Stream
from pushline.transports.door import CONNECT
from pushline.transports.door import answer as door_answer
from pushline.transports.sse import SseTransport

_API: Final = MOUNTED_API.encode()
_PLACES: Final = (b"/v1/", b"/health", b"/ready", b"/metrics")


class AsgiFront:
    """Answers HTTP requests and WebSockets; ``path`` is theirs within the program, still percent-encoded."""

    def __init__(self, core: Core, crowd: Crowd) -> None:
        """``crowd`` counts the pages that hold a connection; how many others there may be is the server's affair."""
        self._clock = core.clock
        self._tally = core.tally
        self._crowd = crowd
        self._app = core.app
        self._door = core.door
        self._encoder = Encoder(core.clock.now)
        self._waiting: list[tuple[Pending, asyncio.Future[None]]] = []
        core.hub.at_turn_end.append(self._answer_waiting)

    async def http(self, scope: Scope, path: bytes, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = _request_of(scope, path)
        try:
            answer = await self._handle(request, receive, send)
        except _Gone:
            return
        if answer is None:
            return
        await self._send(answer, request, send)

    async def _send(self, answer: Response | bytes, request: Request, send: Send) -> None:
        encoded = self._encoder.encode(answer, close=False, head=request.method == b"HEAD")
        start, body = answer_events(encoded)
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _handle(self, request: Request, receive: Receive, send: Send) -> Response | bytes | None:
        """The answer, or None when it was given already: one that pages wait for."""
        if len(request.path) + len(request.query) > MAX_URL_BYTES:
            return problem_response(Problem("uri_too_long", f"The address is longer than {MAX_URL_BYTES} bytes."))
        if request.path.startswith(_API + b"/"):
            within = request.path[len(_API) :]
            if not within.startswith(_PLACES):
                detail = f"There is nothing at {request.path.decode('latin-1')}."
                return problem_response(Problem("not_found", detail))
            request.path = within
        limit = self._app.body_limit(request.path)
        body = await _body(receive, limit)
        if body is None:
            return self._app.too_large(request)
        request.body = body
        if request.path != CONNECT:
            return await self.answer(request, receive)
        wire = AnswerWire(send)
        answer = door_answer(self._door, request, wire, self._encoder)
        if isinstance(answer, SseTransport):
            wire.stream = answer
            self._enter(answer, request)
            answer.start(request)
            await self._hold(answer, wire, receive)
            return None
        assert not isinstance(answer, Stream)  # noqa: S101 - there is no other one
        with wire.answering():
            await self._send(await self._settle(answer, receive, wire), request, send)
        return None

    async def websocket(self, scope: Scope, path: bytes, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, until it is over."""
        if (await receive())["type"] != "websocket.connect":
            return
        if path != CONNECT:
            await send({"type": "websocket.close", "code": 1000})  # which a server answers with 403
            return
        wire = AsgiWire(send)
        wire.stream = websocket = AsgiWebSocket(self._door, wire)
        request = _request_of(scope, path)
        self._enter(websocket, request)
        websocket.start(scope.get("subprotocols", ()), request)
        await self._hold(websocket, wire, receive)

    def _enter(self, stream: Stream, request: Request) -> None:
        """Count a page; where there is no room for it, it is told when to come back."""
        crowd = self._crowd
        stream.left, stream.address = crowd.leave, request.address
        if not crowd.enter(request.address):
            self._tally.connections_refused += 1
            stream.retry = crowd.moment(self._clock.monotonic())

    async def _hold(self, stream: Stream, wire: AsgiWire, receive: Receive) -> None:
        """Read what comes, until the connection or the answer is over."""
        try:
            while True:
                event = await receive()
                if event["type"] == "websocket.receive" and isinstance(stream, AsgiWebSocket):
                    stream.received(event.get("text"))
                elif event["type"] == "websocket.disconnect" and isinstance(stream, AsgiWebSocket):
                    stream.closed(event.get("code", 1006))
                    return
                elif event["type"] == "http.disconnect":
                    return
        except asyncio.CancelledError:
            if not wire.aborted:
                raise
        finally:
            wire.stop()
            stream.connection_lost(None)

    # -- answers -----------------------------------------------------------------------------------------------

    async def answer(self, request: Request, receive: Receive | None = None) -> Response | bytes:
        """What the application's API says to a request. ``receive`` tells when whoever asked has gone."""
        return await self._settle(self._app.handle(request), receive)

    async def _settle(
        self, answer: Response | bytes | Pending, receive: Receive | None, wire: AnswerWire | None = None
    ) -> Response | bytes:
        if not isinstance(answer, Pending):
            return answer
        if answer.response is None:
            there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if isinstance(answer, Later):
                answer.tell = partial(_tell_later, there, answer, wire)
                await _wait_for_later(answer, there, receive)
            else:
                self._waiting.append((answer, there))
                await there
        if answer.response is None:
            raise _Gone
        return answer.response

    def _answer_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for answer, there in waiting:
            if answer.response is None:
                self._waiting.append((answer, there))
            else:
                _tell(there)


class _Gone(Exception):
    """Whoever asked has gone."""


async def _wait_for_later(answer: Later, there: asyncio.Future[None], receive: Receive | None) -> None:
    gone = None if receive is None else asyncio.ensure_future(receive())
    either: list[asyncio.Future[Any]] = [there] if gone is None else [there, gone]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if gone is not None:
            gone.cancel()
        if answer.response is None:
            answer.gone()


def _tell_later(there: asyncio.Future[None], answer: Later, wire: AnswerWire | None) -> None:
    if wire is not None and isinstance(answer.response, Response):
        wire.expect(len(answer.response.body))  # it is on its way from now on: the hub looks before it is sent
    _tell(there)


def _tell(there: asyncio.Future[None]) -> None:
    if not there.done():
        there.set_result(None)


def _request_of(scope: Scope, path: bytes) -> Request:
    request = Request()
    request.method = scope.get("method", "GET").encode("latin-1")
    request.path = path
    request.query = scope.get("query_string", b"")
    request.address = _address(scope)
    for name, value in scope["headers"]:
        if attribute := HEADERS.get(name):
            before = getattr(request, attribute)
            setattr(request, attribute, b"%b, %b" % (before, value) if before else value)
    return request


def _address(scope: Scope) -> str:
    """Who asks, as far as the server tells: some name sockets there, or what a proxy has said."""
    client = scope.get("client")
    try:
        return str(ip_address(client[0])) if client else ""
    except ValueError:
        return ""


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The body; None for one over ``limit``, which is read over so that the peer reads the answer."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            raise _Gone
        part = event.get("body", b"")
        size += len(part)
        if size > limit:
            parts.clear()
        elif part:
            parts.append(part)
        more = event.get("more_body", False)
    if size > limit:
        return None
    return parts[0] if len(parts) == 1 else b"".join(parts)
