"""What every transport promises holds where an ASGI server moves the bytes (contract, R5).

That server is uvicorn: its own protocols, on a connection in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
import uvicorn
from tests.http.rig import Answer, parse_answers, request_bytes
from tests.transports.test_longpoll import PollingPage
from tests.transports.test_sse import SsePage
from tests.transports.test_websocket import WebSocketPage, masked
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from websockets.frames import Opcode

from pushline.admission import Crowd, Tally
from pushline.http.api import Api
from pushline.http.app import App
from pushline.http.clients import Clients
from pushline.http.keys import ApiKeys
from pushline.http.operations import Operations
from pushline.http.request import Request
from pushline.hub import Outlet
from pushline.messages import Policy
from pushline.protocol.codes import DISCONNECTED, PROTOCOL_ERROR, TOO_MANY, TOO_SLOW
from pushline.protocol.frames import Up, encode
from pushline.protocol.values import Close
from pushline.server.asgi import AsgiFront
from pushline.server.asgi_wire import Event, Receive, Scope, Send
from pushline.server.mounted import path_within
from pushline.testing.clock import FakeClock
from pushline.testing.pipe import MemoryPipe
from pushline.testing.transports import (
    TIMEOUT,
    FarEnd,
    Streaming,
    TransportCase,
    TransportConformance,
)
from pushline.transports.base import CLOSE_SECONDS
from pushline.transports.websocket import MAX_FRAME_BYTES

KEY = "an-API-key-of-the-tests"
CONNECT = "/_ah/channel/connect"
STEPS = 25
"""So many steps of the event loop take every task of a turn to where it waits for something else."""


class TurningClock(FakeClock):
    """A clock whose turns are those of an event loop as well."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop

    def settle(self) -> None:
        """Let every task go as far as it comes."""
        self.loop.run_until_complete(_steps())

    def turn(self) -> None:
        """See :class:`FakeClock`."""
        self.settle()
        while self._soon:
            super().turn()
            self.settle()


async def _steps() -> None:
    for _ in range(STEPS):
        await asyncio.sleep(0)


class Core:
    """What the front is made of, on the hub of the stage."""

    def __init__(self, case: AsgiCase) -> None:
        self.clock = case.clock
        self.hub = case.hub
        self.door = case.door
        self.tally = Tally()
        keys = ApiKeys((KEY,))
        api = Api(case.hub, keys, max_message_bytes=1 << 20)
        self.app = App(api, Clients(case.hub, keys), Operations(case.hub, keys, self.tally), max_message_bytes=1 << 20)


class AsgiPage(FarEnd):
    """A page whose server is uvicorn."""

    case: AsgiCase
    name: str

    @property
    def transport(self) -> Outlet:  # type: ignore[override]
        """The server's side of it, as it was last seen."""
        self.case.look()
        return self.case.seen[self.name]


class AsgiWebSocketPage(AsgiPage, WebSocketPage):  # type: ignore[misc]
    """A page that speaks WebSocket."""

    def __init__(self, case: AsgiCase, name: str) -> None:
        self.case, self.name, self.pipe = case, name, case.pipe()
        self.answer = ""
        self.pongs = []
        self.endpoint = WebSocketPage(self.pipe, None).endpoint  # type: ignore[arg-type]

    def frames(self) -> list[Any]:
        self.case.clock.settle()
        return super().frames() if self.pipe.get_write_buffer_size() else []

    def say(self, frame: Up) -> None:
        self.feed(masked(Opcode.TEXT, encode(frame)))

    def feed(self, data: bytes) -> None:
        self.case.clock.settle()
        if not self.pipe.closed:
            self.pipe.feed(data)
        self.case.clock.settle()

    def close(self) -> None:
        self.feed(masked(Opcode.CLOSE, (1000).to_bytes(2, "big")))


class AsgiSsePage(AsgiPage, SsePage):
    """A page that reads events, in the chunks in which uvicorn sends them."""

    def __init__(self, case: AsgiCase, token: str, name: str) -> None:
        SsePage.__init__(self, case.door, token, name, case.pipe())
        self.case, self.name = case, name
        self.raw = b""

    def ask(self, request: Request) -> None:
        self.pipe.feed(wire_form(request))

    def say(self, frame: Up) -> None:
        self.case.post(self.token, self.page, frame)

    def take(self) -> bytes:
        self.case.clock.settle()
        self.raw += self.pipe.take()
        if self.head is None:
            head, end, rest = self.raw.partition(b"\r\n\r\n")
            if not end:
                return b""
            if b"content-length" in head:
                (self.head,) = parse_answers(self.raw, iter([False]))
                return b""
            (self.head,) = parse_answers(head + end, iter([True]))
            self.raw = rest
        body = b""
        while b"\r\n" in self.raw:
            size, _, rest = self.raw.partition(b"\r\n")
            count = int(size, 16)
            if len(rest) < count + 2:
                break
            body, self.raw = body + rest[:count], rest[count + 2 :]
        return body


class AsgiPollingPage(AsgiPage, PollingPage):
    """A page that polls."""

    def __init__(self, case: AsgiCase, token: str, name: str) -> None:
        PollingPage.__init__(self, case.door, token, name, MemoryPipe(asyncio.Protocol()))
        self.case, self.name, self.pipe = case, name, case.pipe()

    def ask(self, request: Request) -> None:
        if not self.pipe.closed:
            self.pipe.feed(wire_form(request))
            self.case.clock.settle()

    def say(self, frame: Up) -> None:
        self.case.post(self.token, self.page, frame)

    def answers(self) -> list[Answer]:
        self.case.clock.settle()
        return super().answers()


def wire_form(request: Request) -> bytes:
    """The bytes of a request, as a page sends them."""
    headers = {"Authorization": request.authorization.decode(), "Accept": request.accept.decode()}
    if request.last_event_id:
        headers["Last-Event-ID"] = request.last_event_id.decode()
    return request_bytes(request.method.decode(), f"{CONNECT}?{request.query.decode()}", headers, request.body)


class AsgiCase(TransportCase):
    """The stage, with uvicorn before it."""

    clock: TurningClock
    loop: Any = None

    @pytest.fixture(autouse=True)
    def _loop(self) -> Iterator[None]:
        yield
        self.end_tasks()
        asyncio.set_event_loop(None)
        self.loop.close()

    def end_tasks(self) -> None:
        """End what still waits: the pages of a test that is over."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.clock.settle()

    def make_clock(self) -> TurningClock:
        self.loop = asyncio.new_event_loop() if self.loop is None else self.loop
        asyncio.set_event_loop(self.loop)  # uvicorn's WebSockets look for it there
        return TurningClock(self.loop)

    def stand(self, *, origins: Sequence[str] = (), connect_rate: float = 0.0) -> None:
        super().stand(origins=origins, connect_rate=connect_rate)
        self.seen: dict[str, Outlet] = {}
        self.crowd = Crowd(self.most)
        self.front = AsgiFront(Core(self), self.crowd)  # type: ignore[arg-type]
        self.server = ServerState()
        self.config = uvicorn.Config(
            self.program,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            ws_per_message_deflate=False,
        )
        self.config.load()

    most = 0

    async def program(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_within(scope)
        assert path is not None
        await (self.front.http if scope["type"] == "http" else self.front.websocket)(scope, path, receive, send)

    def pipe(self) -> MemoryPipe:
        protocol = HttpToolsProtocol(self.config, self.server, {}, self.loop)
        return MemoryPipe(protocol, call_soon=self.clock.call_soon)

    def look(self) -> None:
        """Remember who is connected."""
        for outlet in self.hub._outlets.get("ann", ()):
            self.seen[outlet.session.page] = outlet

    def opened(self, token: str | None = None, page: str = "p", after: str | None = None) -> FarEnd:
        far = super().opened(token, page, after)
        self.look()
        return far

    def ask(self, data: bytes) -> Answer:
        """The answer to a request on a connection of its own."""
        pipe = self.pipe()
        pipe.feed(data)
        self.clock.turn()
        (answer,) = parse_answers(pipe.take(), iter([False]))
        return answer

    def post(self, token: str, page: str, frame: Up) -> None:
        body = msgspec.json.encode({"token": token, "page": page} | msgspec.to_builtins(frame))
        pipe = self.pipe()
        pipe.feed(request_bytes("POST", CONNECT, {"Content-Type": "text/plain"}, body))
        self.clock.settle()
        assert parse_answers(pipe.take(), iter([False]))[0].status in (204, 401)


class WebSocketCase(AsgiCase):
    def connect(self, token: str, page: str = "p", after: str | None = None) -> AsgiWebSocketPage:
        far = AsgiWebSocketPage(self, page)
        query = f"page={page}" + (f"&after={after}" if after is not None else "")
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": f"pushline.v1, pushline.token.{token}",
        }
        far.pipe.feed(request_bytes("GET", f"{CONNECT}?{query}", headers))
        return far


class SseCase(AsgiCase):
    def connect(self, token: str, page: str = "p", after: str | None = None) -> AsgiSsePage:
        far = AsgiSsePage(self, token, page)
        far.ask(far.request("text/event-stream", "", after))
        return far


class PollCase(AsgiCase):
    def connect(self, token: str, page: str = "p", after: str | None = None) -> AsgiPollingPage:
        far = AsgiPollingPage(self, token, page)
        far.poll(after)
        return far


class TestWebSocket(WebSocketCase, TransportConformance, Streaming):
    """The suite of every transport that holds a connection; where ASGI can do less, the test says what."""

    def test_messages_of_one_turn_are_one_write(self) -> None:
        """A message is an event, and a server writes each by itself."""
        far = self.opened()
        assert self.send(*"01234") == ["sent"] * 5
        assert far.texts() == list("01234")

    def test_a_page_that_was_too_slow_is_told_so_and_what_it_missed_is_kept(self) -> None:
        """The end waits behind what the server has not written yet."""
        token = self.create()
        far = self.opened(token)
        self.stall(far)
        self.clock.advance(TIMEOUT)
        assert self.connections() == 0
        assert self.everything(far)[-1] == Close(TOO_SLOW)
        assert "x" * 20_000 in self.everything_of(token)

    def test_a_page_that_was_too_slow_and_reads_no_more_is_cut(self) -> None:
        far = self.opened()
        self.stall(far)
        self.clock.advance(TIMEOUT + CLOSE_SECONDS)
        self.clock.turn()
        assert far.is_over()
        assert self.door.wires == 0

    def test_a_page_that_does_not_answer_the_end_is_cut_after_some_seconds(self) -> None:
        """Waiting for the answer, and cutting the connection, is the server's part."""
        far = self.opened()
        self.end(far)
        self.clock.turn()
        assert far.receive() == [Close(DISCONNECTED)]
        assert not far.is_over()
        assert self.door.wires == 0

    def test_a_page_that_does_not_answer_a_refusal_is_cut_after_some_seconds(self) -> None:
        far = self.connect("forged")
        self.clock.turn()
        assert not far.is_over()
        assert self.door.wires == 0

    def test_the_door_knows_how_many_connections_there_are(self) -> None:
        token = self.create(policy=Policy.SHARE)
        ends = [self.drops, self.closes, self.is_ended, self.leaves, self.is_too_slow]
        pages = [self.opened(token, f"p{n}") for n in range(len(ends))]
        assert self.door.wires == self.crowd.total == len(ends)
        for page, end in zip(pages, ends, strict=True):
            end(page)
        self.clock.advance(TIMEOUT + CLOSE_SECONDS)
        self.clock.turn()
        assert self.door.wires == self.crowd.total == 0


class TestWebSocketBesides(WebSocketCase):
    """What is ASGI's own in it."""

    def test_the_subprotocol_is_answered_and_never_the_token(self) -> None:
        token = self.create()
        far = self.connect(token)
        self.clock.turn()
        far.receive()
        assert "sec-websocket-protocol: pushline.v1" in far.answer.lower()
        assert token not in far.answer

    def test_a_page_that_closes_in_good_order_frees_its_place(self) -> None:
        token = self.create(policy=Policy.REJECT)
        self.opened(token, "p").close()
        self.clock.turn()
        self.opened(token, "q")

    def test_a_frame_of_bytes_is_a_protocol_error(self) -> None:
        far = self.opened()
        assert isinstance(far, AsgiWebSocketPage)
        far.feed(masked(Opcode.BINARY, b"x"))
        assert far.receive() == [Close(PROTOCOL_ERROR)]

    def test_a_message_that_no_page_sends_is_too_long(self) -> None:
        far = self.opened()
        assert isinstance(far, AsgiWebSocketPage)
        far.feed(masked(Opcode.TEXT, b"x" * (MAX_FRAME_BYTES + 1)))
        assert far.receive() == [Close(1009)]
        assert self.connections() == 0

    def test_a_page_that_is_one_too_many_is_told_when_to_come(self) -> None:
        self.most = 1
        self.stand()
        token = self.create(policy=Policy.SHARE)
        self.opened(token, "p")
        far = self.connect(token, "q")
        self.clock.turn()
        end = far.last()
        assert isinstance(end, Close)
        assert (end.code, bool(end.retry)) == (TOO_MANY, True)

    def test_another_address_is_no_websocket(self) -> None:
        far = AsgiWebSocketPage(self, "p")
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        far.pipe.feed(request_bytes("GET", "/_ah/channel/jsapi", headers))
        self.clock.turn()
        assert far.pipe.take().startswith(b"HTTP/1.1 403")


class TestSse(SseCase, TransportConformance):
    """The suite, and what ends with the answer instead of the connection."""

    def test_the_end_leaves_the_connection_for_the_next_request(self) -> None:
        far = self.opened()
        self.end(far)
        self.clock.turn()
        assert far.receive() == [Close(DISCONNECTED)]
        assert self.door.wires == self.crowd.total == 0
        far.pipe.feed(request_bytes("GET", "/_ah/channel/jsapi"))
        self.clock.turn()
        assert b"HTTP/1.1 200" in far.pipe.take()

    def test_a_page_that_was_too_slow_and_reads_no_more_is_cut(self) -> None:
        far = self.opened()
        self.stall(far)
        self.clock.advance(TIMEOUT + CLOSE_SECONDS)
        self.clock.turn()
        assert far.is_over()
        assert self.door.wires == 0

    def test_it_may_not_be_buffered_and_names_no_hop(self) -> None:
        far = self.opened()
        assert isinstance(far, AsgiSsePage)
        assert far.head is not None
        headers = far.head.headers
        assert headers["x-accel-buffering"] == "no"
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["content-type"] == "text/event-stream"
        assert "connection" not in headers
        assert "date" not in headers  # the server says it, when it runs


class TestLongPoll(PollCase, TransportConformance):
    """The suite."""

    def test_messages_of_one_turn_are_one_write(self) -> None:
        """The server writes head and body each by itself."""
        far = self.opened()
        assert self.send(*"01234") == ["sent"] * 5
        assert far.texts() == list("01234")


class Elsewhere(AsgiCase):
    """A server that lets nobody see its transport."""

    async def program(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hidden(event: Event) -> None:
            await send(event)

        await super().program(scope, receive, hidden)

    def test_a_page_that_takes_some_of_it_is_alive(self) -> None:
        """What a page reads within an event is not seen: it is ended, and resumes."""
        token = self.create()
        far = self.opened(token)
        self.stall(far)
        for _ in range(5):
            self.clock.advance(TIMEOUT - 1)
            far.pipe.take(1000)
        assert self.connections() == 0
        assert any("x" in text for text in self.opened_again(token))

    def test_a_page_that_takes_as_much_as_comes_is_alive(self) -> None:
        """It is never done, and what has gone out is counted, not only what is left."""
        far = self.opened()
        self.stall(far)
        for _ in range(12):
            self.clock.advance(TIMEOUT - 1)
            far.pipe.take(90_000)
            self.clock.turn()
            for _ in range(5):
                self.send("y" * 20_000)  # an event each
            assert self.connections() == 1

    def opened_again(self, token: str) -> list[str]:
        far = self.connect(token, "another")
        self.clock.turn()
        return [item[1] for item in self.everything(far) if isinstance(item, tuple)]

    def test_a_page_that_reads_no_more_costs_its_task(self) -> None:
        far = self.opened()
        self.stall(far)
        self.clock.advance(TIMEOUT + CLOSE_SECONDS)
        self.clock.turn()
        assert self.door.wires == 0
        assert asyncio.all_tasks(self.loop) == set()


class TestWebSocketElsewhere(Elsewhere, TestWebSocket):
    """The suite, where less can be seen."""

    def test_a_page_that_was_too_slow_and_reads_no_more_is_cut(self) -> None:
        self.test_a_page_that_reads_no_more_costs_its_task()


class TestSseElsewhere(Elsewhere, TestSse):
    """The suite, where less can be seen."""

    def test_a_page_that_was_too_slow_and_reads_no_more_is_cut(self) -> None:
        self.test_a_page_that_reads_no_more_costs_its_task()
