"""Pages that speak the wire on every transport, one step at a time, as a test wants it (contract, section 3).

A :class:`Page` does nothing by itself: it reads when it is asked for the next event, and answers pings then, if it
answers them at all. :class:`Running` lets one live as the program of a real page does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import secrets
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

import httptools
from bench.chaos.page import End
from bench.chaos.sse import EventReader
from websockets.client import ClientProtocol
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from .waiting import PATIENCE_SECONDS, wait_for

HOST: Final = "127.0.0.1"
CONNECT: Final = "/_ah/channel/connect"
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Message:
    """A message came."""

    id: str
    data: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Any other frame came. An answer to a poll is ``open`` or nothing, its messages, and ``polled``."""

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)


Event = Message | Frame | End
"""``End(1006)``: the connection broke."""


class Page(ABC):
    """A socket of a page. ``answers``: it answers each ping when it reads it. ``buffer_bytes``: how much the kernel
    takes for it while it does not read (0: as much as it likes).

    ``cursor`` and ``got`` are what it has handled, ``gaps`` counts what it was told to be missing.
    """

    transport: ClassVar[str]

    def __init__(self, port: int, token: str, *, answers: bool = True, buffer_bytes: int = 0) -> None:
        self.port = port
        self.token = token
        self.answers = answers
        self._buffer_bytes = buffer_bytes
        self.page = secrets.token_urlsafe(12)
        self.cursor = ""
        self.got: list[str] = []
        self.gaps = 0
        self.heard_at = 0.0
        self.patience = PATIENCE_SECONDS
        """The seconds of silence after which the connection is dead (W4)."""
        self._besides = b""
        self._socket: socket.socket | None = None
        self._inbox: deque[Event] = deque()

    # -- the connection ------------------------------------------------------------------------------------------

    def open(self, *, besides: bytes = b"") -> None:
        """Ask to connect, at the cursor if there is one. The answer is the next event. Raises ``OSError``.

        ``besides``: further bytes that go along.
        """
        self.drop()
        self._inbox.clear()
        self._dial()
        self._besides = besides
        self._ask()
        self._besides = b""

    def connect(self) -> Event:
        """Connect, and return the first event."""
        self.open()
        return self.next()

    def enter(self) -> Frame:
        """Connect, be let in, and be ready for what comes: a page that polls is waiting for its next answer.

        Returns ``open``.
        """
        opened = self.connect()
        assert isinstance(opened, Frame), opened
        while not self.caught_up:
            self.next()
        self._prepare()
        return opened

    def drop(self) -> None:
        """Be gone without a word."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.close()
            self._socket = None

    def _dial(self) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_SECONDS)
        if self._buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect((HOST, self.port))
        self.heard_at = time.monotonic()

    def send_raw(self, data: bytes) -> None:
        """Send some bytes as they are. Raises ``OSError``."""
        assert self._socket is not None
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.sendall(data + self._besides)

    def query(self, **more: str) -> str:
        """The query of a connection."""
        return urlencode({"page": self.page, **({"after": self.cursor} if self.cursor else {}), **more})

    @abstractmethod
    def _ask(self) -> None:
        """Send what opens a connection."""

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Bytes came: put what they say into the inbox."""

    def _broken(self) -> None:
        """The server, or the network, has ended the connection."""
        self._inbox.append(End())

    def _prepare(self) -> None:  # noqa: B027 - where events come by themselves, nothing need be done
        """The next event is wanted, and none is there."""

    # -- what comes ----------------------------------------------------------------------------------------------

    def next(self, seconds: float = PATIENCE_SECONDS) -> Event:
        """The next event. Raises ``TimeoutError`` when none comes; another call goes on."""
        end = time.monotonic() + seconds
        while not self._inbox:
            self._prepare()
            assert self._socket is not None
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError(f"{self.transport}: nothing came within {seconds:g} s after {self.got}") from None
            except OSError:
                data = b""
            if data:
                self.heard_at = time.monotonic()
                self._feed(data)
            else:
                self._broken()
        event = self._inbox.popleft()
        self._handle(event)
        return event

    @property
    def caught_up(self) -> bool:
        """Whether everything that was read was handled."""
        return not self._inbox

    def _handle(self, event: Event) -> None:
        if isinstance(event, Message):
            self.cursor = event.id
            self.got.append(event.data)
        elif isinstance(event, Frame):
            self.cursor = event.fields.get("cursor", self.cursor)
            self.gaps += event.type == "gap" or event.fields.get("gap", False)
            if event.type == "open":
                self.patience = self._patience(event.fields)
            if event.type == "ping" and self.answers:
                self.ack()

    def _patience(self, opened: Mapping[str, Any]) -> float:
        return float(opened["ping"]) + float(opened["timeout"])

    def next_message(self) -> str:
        """Read until a message has come. Raises when the connection ends before."""
        event = self._next_of((Message, End))
        assert isinstance(event, Message), event
        return event.data

    def wait_for(self, texts: Sequence[str]) -> None:
        """Read until as many messages came as these, and raise when others did."""
        while len(self.got) < len(texts):
            self.next_message()
        while self._inbox and isinstance(self._inbox[0], Frame):  # what came along
            self.next()
        assert self.got == list(texts)

    def wait_for_end(self) -> End:
        """Read until the connection ends, and tell how."""
        event = self._next_of((End,))
        assert isinstance(event, End)
        return event

    def _next_of(self, kinds: tuple[type[Event], ...]) -> Event:
        end = time.monotonic() + PATIENCE_SECONDS
        while not isinstance(event := self.next(max(0.0, end - time.monotonic())), kinds):
            pass
        return event

    # -- what goes up --------------------------------------------------------------------------------------------

    @abstractmethod
    def ack(self) -> None:
        """Acknowledge everything that it has handled."""

    def post(self, type: str, id: str = "") -> int:
        """Send a frame by a request of its own, and return the status of its answer. Raises ``OSError``."""
        body = json.dumps({"token": self.token, "page": self.page, "type": type, "id": id})
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", CONNECT, body, {"Content-Type": "text/plain;charset=UTF-8"})
            return connection.getresponse().status
        except http.client.HTTPException as error:
            raise ConnectionResetError from error
        finally:
            connection.close()


def up(type: str, id: str = "") -> bytes:
    """The bytes of a frame that a page sends over a WebSocket."""
    return WireFrame(Opcode.TEXT, json.dumps({"type": type, "id": id}).encode()).serialize(mask=True)


class WebSocketPage(Page):
    """W1 to W3. It answers RFC 6455 pings and closes when it reads them."""

    transport: ClassVar[str] = "websocket"

    def _ask(self) -> None:
        offer = [Subprotocol("pushline.v1"), Subprotocol(f"pushline.token.{self.token}")]
        uri = parse_uri(f"ws://{HOST}:{self.port}{CONNECT}?{self.query()}")
        self._protocol = ClientProtocol(uri, subprotocols=offer, max_size=None)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.send_raw(data)

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, WireFrame) and event.opcode is Opcode.TEXT:
                self._inbox.append(_of_text(bytes(event.data).decode()))
            elif isinstance(event, WireFrame) and event.opcode is Opcode.CLOSE:
                told = self._protocol.close_rcvd
                assert told is not None
                self._inbox.append(End.of_reason(told.code, told.reason))
        if self._protocol.handshake_exc is not None:
            self._inbox.append(End())
        with contextlib.suppress(OSError):
            self._flush()

    def ack(self) -> None:
        self.send_raw(up("ack", self.cursor))


def _of_text(text: str) -> Event:
    if text.startswith("{"):
        fields = json.loads(text)
        return Frame(fields["type"], fields)
    id, _, data = text.partition(" ")
    return Message(id, data)


class _HttpPage(Page):
    """What the transports over HTTP have in common."""

    accept: ClassVar[str]

    def _request(self, target: str, **headers: str) -> None:
        lines = [
            f"GET {CONNECT}?{target} HTTP/1.1",
            f"Host: {HOST}:{self.port}",
            f"Accept: {self.accept}",
            f"Authorization: Bearer {self.token}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = b""
        self.send_raw("\r\n".join([*lines, "", ""]).encode())

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._broken()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() == 200:
            self._answered()
        else:
            # A body of another shape, or a status without `Retry-After` where one belongs, is a failure of the test.
            code = json.loads(self._body)["close_code"]
            away = self._parser.get_status_code() == 503
            self._inbox.append(End(code, float(self._headers["retry-after"]) if away else None))

    def _answered(self) -> None:
        """The body of an answer with 200 is complete."""
        raise AssertionError("A stream has no end but that of its connection.")


class SsePage(_HttpPage):
    """W5: it reads a stream, and sends frames by requests."""

    transport: ClassVar[str] = "sse"
    accept = "text/event-stream"

    def _ask(self) -> None:
        self._reader = EventReader()
        self._request(self.query())

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != 200:
            super().on_body(body)
            return
        for event, id, data in self._reader.feed(body):
            value = json.loads(data)
            if event == "":
                self._inbox.append(Message(id, value))
            elif event == "close":
                retry = value.get("retry")
                self._inbox.append(End(value["code"], None if retry is None else retry / 1000))
            else:
                self._inbox.append(Frame(event, value))

    def ack(self) -> None:
        self.post("ack", self.cursor)


class LongPollPage(_HttpPage):
    """W6: it asks for the next answer when it has handled the one before."""

    transport: ClassVar[str] = "longpoll"
    accept = "application/json"
    _wait = 0.0
    _asking = _first = False

    def _ask(self) -> None:
        self._first = True
        self._wait = 0.0
        self.poll()

    def poll(self) -> None:
        """Ask, and do not wait for the answer."""
        self._asking = True
        self._request(self.query(wait=f"{self._wait:g}"))

    def _prepare(self) -> None:
        if not self._asking:
            try:
                self.poll()
            except OSError:
                self._broken()

    def _broken(self) -> None:
        self._asking = False
        super()._broken()

    def on_message_complete(self) -> None:
        self._asking = False
        super().on_message_complete()

    def _answered(self) -> None:
        answer = json.loads(self._body)
        messages, cursor = answer.pop("messages"), answer.pop("cursor")
        self._wait = float(answer["ping"])
        if self._first:
            self._inbox.append(Frame("open", answer))
        elif answer["gap"]:
            self._inbox.append(Frame("gap"))
        self._first = False
        self._inbox.extend(Message(message["id"], message["data"]) for message in messages)
        self._inbox.append(Frame("polled", {"cursor": cursor}))

    def _patience(self, opened: Mapping[str, Any]) -> float:
        return 2 * float(opened["ping"])

    def ack(self) -> None:
        if self._asking:
            self.post("ack", self.cursor)
        else:
            self.poll()


TRANSPORTS: Final[tuple[type[Page], ...]] = (WebSocketPage, SsePage, LongPollPage)


class Running:
    """``with Running(page)`` it lives in a thread: it reads, acknowledges, and comes back whenever it has to.

    ``ends``: how its connections ended, but for the last. ``eager``: it acknowledges whatever it has read at once; else
    only when it is asked.
    """

    def __init__(self, page: Page, *, eager: bool = True) -> None:
        self.page = page
        self._eager = eager
        self.ends: list[End] = []
        self.opened = 0
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"{page.transport} page")

    def __enter__(self) -> Running:
        self._thread.start()
        wait_for(lambda: self.opened or self._failure, "the page connects")
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def wait_for(self, texts: Sequence[str], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until as many messages came as these, and raise when others did."""
        got = self.page.got
        wait_for(
            lambda: len(got) >= len(texts) or self._failure,
            lambda: f"{self.page.transport}: {len(texts)} messages; {len(got)} came, the ends were {self.ends}",
            seconds,
        )
        assert got == list(texts)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                end = self._live()
                self.page.drop()
                if self._stop.is_set():
                    return
                self.ends.append(end)
                if end.final:
                    return
                pause = random.uniform(0.05, 0.3)  # noqa: S311 - jitter
                self._stop.wait(pause if end.retry is None else end.retry)
        except BaseException as failure:
            self._failure = failure
            self.page.drop()

    def _live(self) -> End:
        """One connection."""
        page = self.page
        try:
            page.open()
        except OSError:
            return End()
        while not self._stop.is_set():
            try:
                event = page.next(0.2)
            except TimeoutError:
                if time.monotonic() - page.heard_at > page.patience:
                    return End()
                continue
            if isinstance(event, End):
                return event
            if isinstance(event, Frame):
                self.opened += event.type == "open"
            elif self._eager and page.caught_up:
                with contextlib.suppress(OSError):
                    page.ack()
        return End()
