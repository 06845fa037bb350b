"""WebSocket keeps the promises of every transport, and those of RFC 6455 (contract, W1)."""

from __future__ import annotations

import logging

import msgspec
import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as Endpoint
from websockets.protocol import Side, State
from websockets.utils import accept_key

from pushline.errors import Problem
from pushline.http.request import Request
from pushline.messages import Policy
from pushline.protocol.codes import GOING_AWAY, INVALID_TOKEN, NORMAL, PROTOCOL_ERROR, REPLACED
from pushline.protocol.frames import Ack, Down, FreshToken, Open, Ping, Up, encode
from pushline.protocol.session import BLOCKED_SECONDS
from pushline.protocol.values import Close
from pushline.testing.pipe import MemoryPipe
from pushline.testing.transports import INTERVAL, TIMEOUT, FarEnd, Received, StreamConformance, TransportCase
from pushline.transports.base import CLOSE_SECONDS
from pushline.transports.websocket import MAX_FRAME_BYTES, Handshake, WebSocketTransport

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3


def request(*protocols: str, query: str = "", headers: dict[str, bytes] | None = None) -> Request:
    """A handshake as a front hands it on."""
    handshake = Request()
    handshake.method = b"GET"
    handshake.path = b"/_ah/channel/connect"
    handshake.query = query.encode()
    handshake.upgrade = b"websocket"
    handshake.connection = b"Upgrade"
    handshake.sec_websocket_version = b"13"
    handshake.sec_websocket_key = KEY
    handshake.sec_websocket_protocol = ", ".join(protocols).encode("latin-1")
    for name, value in (headers or {}).items():
        setattr(handshake, name, value)
    return handshake


def masked(opcode: Opcode, data: bytes = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    """A frame as a page sends it."""
    return Frame(opcode, data, fin).serialize(mask=mask)


def close_frame(code: int) -> bytes:
    return masked(Opcode.CLOSE, code.to_bytes(2, "big"))


class WebSocketPage(FarEnd):
    """A page that speaks WebSocket, with the same library from the other side."""

    transport: WebSocketTransport

    def __init__(self, pipe: MemoryPipe, transport: WebSocketTransport) -> None:
        self.pipe = pipe
        self.transport = transport
        self.answer = ""
        self.pongs: list[bytes] = []
        self.endpoint = Endpoint(Side.CLIENT, state=State.OPEN, max_size=None)

    def reader(self) -> Endpoint | None:
        """What the server keeps to read frames of this page."""
        return self.transport._reader

    def frames(self) -> list[Frame]:
        """The frames that have come, after the answer to the handshake."""
        data = self.pipe.take()
        if not self.answer:
            head, _, data = data.partition(b"\r\n\r\n")
            self.answer = head.decode()
        self.endpoint.receive_data(data)
        assert self.endpoint.parser_exc is None
        return [frame for frame in self.endpoint.events_received() if isinstance(frame, Frame)]

    def receive(self) -> list[Received]:
        items: list[Received] = []
        for frame in self.frames():
            data = bytes(frame.data)
            match frame.opcode:
                case Opcode.TEXT if data.startswith(b"{"):
                    down: Down = msgspec.json.decode(data, type=Down)
                    items.append(down)
                case Opcode.TEXT:
                    id, _, text = data.decode().partition(" ")
                    items.append((id, text))
                case Opcode.CLOSE:
                    reason = data[2:].decode()
                    retry = int(reason.removeprefix("retry=")) if reason.startswith("retry=") else None
                    items.append(Close(int.from_bytes(data[:2], "big"), retry))
                case Opcode.PONG:
                    self.pongs.append(data)
                case _:
                    assert frame.opcode is Opcode.PING
        return items

    def say(self, frame: Up) -> None:
        self.pipe.feed(masked(Opcode.TEXT, encode(frame)))

    def say_nonsense(self) -> None:
        self.pipe.feed(masked(Opcode.TEXT, b"nonsense"))

    def pong(self) -> None:
        self.pipe.feed(masked(Opcode.PONG))

    def close(self) -> None:
        self.pipe.feed(close_frame(1000))


class WebSocketCase(TransportCase):
    """Pages that connect by WebSocket."""

    def connect(self, token: str, page: str = "p", after: str | None = None) -> WebSocketPage:
        query = f"page={page}" + (f"&after={after}" if after is not None else "")
        return self.ask(request("pushline.v1", f"pushline.token.{token}", query=query))

    def ask(self, handshake: Request) -> WebSocketPage:
        pipe = self.pipe()
        transport = WebSocketTransport(self.door, pipe)
        pipe.set_protocol(transport)
        transport.start(Handshake(handshake), handshake)
        return WebSocketPage(pipe, transport)

    def socket(self, token: str | None = None, page: str = "p") -> WebSocketPage:
        """A page that is connected."""
        far = self.connect(token or self.create(), page)
        self.clock.turn()
        (first,) = far.receive()
        assert isinstance(first, Open)
        return far


class TestWebSocket(WebSocketCase, StreamConformance):
    """The suite of every transport that holds a connection."""


class TestHandshake(WebSocketCase):
    """W1, and RFC 6455, section 4.2."""

    def test_it_is_answered_with_the_subprotocol_and_without_extensions(self) -> None:
        far = self.connect(self.create())
        self.clock.turn()
        far.receive()
        assert far.answer.split("\r\n") == [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {ACCEPT}",
            "Sec-WebSocket-Protocol: pushline.v1",
        ]
        assert accept_key(KEY.decode()) == ACCEPT

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("method", b"POST"),
            ("upgrade", b"h2c"),
            ("upgrade", b""),
            ("sec_websocket_version", b"8"),
            ("sec_websocket_version", b""),
        ],
    )
    def test_what_is_no_handshake_is_told_to_upgrade(self, header: str, value: bytes) -> None:
        with pytest.raises(Problem) as refused:
            Handshake(request("pushline.v1", headers={header: value}))
        assert refused.value.code == "upgrade_required"

    @pytest.mark.parametrize("key", [b"", b"x", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZQ==="])
    def test_a_key_that_is_none_is_refused(self, key: bytes) -> None:
        with pytest.raises(Problem) as refused:
            Handshake(request("pushline.v1", headers={"sec_websocket_key": key}))
        assert refused.value.code == "malformed_request"

    @pytest.mark.parametrize(("upgrade", "version"), [(b"WebSocket", b"13"), (b" websocket ", b" 13 ")])
    def test_case_and_spaces_do_not_matter(self, upgrade: bytes, version: bytes) -> None:
        assert b" 101 " in Handshake(request(headers={"upgrade": upgrade, "sec_websocket_version": version})).answer

    def test_the_token_is_among_the_subprotocols(self) -> None:
        assert Handshake(request("pushline.token.abc", "pushline.v1", "other")).token == "abc"

    @pytest.mark.parametrize(
        "protocols",
        [
            (),
            ("pushline.v1",),
            ("pushline.token.abc",),
            ("pushline.v1", "pushline.token.abc", "pushline.token.abd"),
            ("pushline.v2", "pushline.token.abc"),
        ],
    )
    def test_without_exactly_one_token_and_the_protocol_it_is_refused(self, protocols: tuple[str, ...]) -> None:
        far = self.ask(request(*protocols))
        assert far.receive() == [Close(INVALID_TOKEN)]
        assert ("Sec-WebSocket-Protocol" in far.answer) == ("pushline.v1" in protocols)

    def test_a_page_without_a_name_may_resume(self) -> None:
        token = self.create()
        first = self.ask(request("pushline.v1", f"pushline.token.{token}"))
        self.clock.turn()
        (opened,) = first.receive()
        assert isinstance(opened, Open)
        second = self.ask(request("pushline.v1", f"pushline.token.{token}", query=f"after={opened.cursor}"))
        self.clock.turn()
        assert first.receive() == [Close(NORMAL)]
        assert isinstance(second.last(), Open)


class TestFramesOfThePage(WebSocketCase):
    """RFC 6455, section 5: however the bytes come."""

    def conversation(self) -> tuple[WebSocketPage, bytes]:
        """A page that has two messages, and what it says: an acknowledgement in parts, a ping between them."""
        far = self.socket()
        self.send("0", "1")
        (first, _), _ = far.receive()  # type: ignore[misc]
        text = encode(Ack(first))
        parts = [
            masked(Opcode.TEXT, text[:7], fin=False),
            masked(Opcode.PING, b"between"),
            masked(Opcode.CONT, b"", fin=False),
            masked(Opcode.CONT, text[7:]),
            masked(Opcode.PING, b"behind"),
        ]
        return far, b"".join(parts)

    def understood(self, far: WebSocketPage) -> None:
        self.clock.turn()
        assert self.kept() == ["1"]
        assert far.receive() == []
        assert far.pongs == [b"between", b"behind"]
        assert far.reader() is None

    def test_all_in_one_segment(self) -> None:
        far, data = self.conversation()
        far.pipe.feed(data)
        self.understood(far)

    def test_byte_by_byte(self) -> None:
        far, data = self.conversation()
        for n in range(len(data)):
            far.pipe.feed(data[n : n + 1])
        self.understood(far)

    def test_cut_anywhere(self) -> None:
        for place in range(1, len(self.conversation()[1])):
            far, data = self.conversation()
            far.pipe.feed(data[:place])
            far.pipe.feed(data[place:])
            self.understood(far)

    def test_the_reader_is_let_go_when_it_holds_nothing(self) -> None:
        far = self.socket()
        for _ in range(3):
            far.pipe.feed(masked(Opcode.TEXT, b'{"type":"ack","id":""}'))
            assert far.reader() is None

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 1000, MAX_FRAME_BYTES])
    def test_the_reader_is_let_go_after_a_frame_of_any_size(self, size: int) -> None:
        far = self.socket()
        far.pipe.feed(masked(Opcode.PONG if size < 126 else Opcode.TEXT, self.padded(size)))
        assert far.reader() is None
        assert self.connections() == 1

    def padded(self, size: int) -> bytes:
        return b'{"type":"ack","id":""}'.ljust(size) if size > 125 else b"x" * size

    def test_the_reader_is_kept_while_a_frame_is_incomplete(self) -> None:
        far = self.socket()
        frame = masked(Opcode.TEXT, b'{"type":"ack","id":""}')
        far.pipe.feed(frame[:1])
        reader = far.reader()
        assert reader is not None
        far.pipe.feed(frame[1:-1])
        assert far.reader() is reader
        far.pipe.feed(frame[-1:])
        assert far.reader() is None

    def test_the_reader_is_kept_while_a_message_is_incomplete(self) -> None:
        far = self.socket()
        far.pipe.feed(masked(Opcode.TEXT, b'{"type":"ack",', fin=False))
        assert far.reader() is not None
        far.pipe.feed(masked(Opcode.CONT, b'"id":""}'))
        assert far.reader() is None
        assert self.connections() == 1

    def test_a_length_in_a_longer_form_than_needed_is_understood(self) -> None:
        far = self.socket()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        text = encode(Ack(id))
        far.pipe.feed(b"\x81\xfe" + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text)
        far.pipe.feed(masked(Opcode.PING, b"still there"))
        self.clock.turn()
        assert self.kept() == []
        assert far.receive() == []
        assert far.pongs == [b"still there"]

    def test_a_message_of_any_number_of_empty_parts_costs_no_memory(self) -> None:
        far = self.socket()
        far.pipe.feed(masked(Opcode.TEXT, b"", fin=False))
        far.pipe.feed(masked(Opcode.CONT, b"", fin=False) * 10_000)
        assert far.transport._parts is not None
        assert len(far.transport._parts) == 0
        far.pipe.feed(masked(Opcode.CONT, b'{"type":"ack","id":""}'))
        assert self.connections() == 1

    def test_a_ping_is_answered_with_its_data(self) -> None:
        far = self.socket()
        far.pipe.feed(masked(Opcode.PING, b"hello"))
        assert far.receive() == []
        assert far.pongs == [b"hello"]

    def test_frames_before_the_page_may_receive_are_read_over(self) -> None:
        far = self.connect(self.create())
        far.pipe.feed(masked(Opcode.TEXT, b"nonsense") + masked(Opcode.PING, b"hello"))
        self.clock.turn()
        (first,) = far.receive()
        assert isinstance(first, Open)
        assert far.pongs == [b"hello"]

    def test_frames_after_the_end_are_read_over(self) -> None:
        token = self.create()
        far = self.socket(token)
        self.socket(token, "q")
        far.say(FreshToken("forged"))
        far.pipe.feed(masked(Opcode.BINARY, b"x"))
        assert far.receive() == [Close(REPLACED)]


class TestLogs(WebSocketCase):
    """G9: tokens are never logged."""

    def test_what_a_page_says_is_in_no_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        far = self.socket()
        far.say(FreshToken(self.create()))
        far.pipe.feed(masked(Opcode.CONT, b"stray"))
        assert [record for record in caplog.records if record.name != "websockets.client"] == []


class TestFramesThatAreRefused(WebSocketCase):
    """Anything else closes: 4400 where the page breaks the wire's rules, RFC 6455's codes where it breaks its rules."""

    def answer(self, data: bytes) -> int:
        """The code with which the connection ends when the page sends some bytes."""
        far = self.socket()
        far.pipe.feed(data)
        end = far.last()
        assert isinstance(end, Close)
        assert self.connections() == 0
        self.clock.advance(CLOSE_SECONDS)
        assert far.is_over()
        return end.code

    @pytest.mark.parametrize("data", [b"", b"hello", b"{}", b'{"type":"subscribe"}', b"\xff\xfe"])
    def test_a_text_that_is_not_known(self, data: bytes) -> None:
        assert self.answer(masked(Opcode.TEXT, data)) == PROTOCOL_ERROR

    @pytest.mark.parametrize("fin", [True, False])
    def test_a_binary_message(self, fin: bool) -> None:
        assert self.answer(masked(Opcode.BINARY, b'{"type":"ack","id":""}', fin=fin)) == PROTOCOL_ERROR

    def test_a_message_that_is_too_large(self) -> None:
        assert self.answer(masked(Opcode.TEXT, b"x" * (MAX_FRAME_BYTES + 1))) == 1009

    def test_a_message_that_is_too_large_in_parts(self) -> None:
        part = b"x" * (MAX_FRAME_BYTES // 2 + 1)
        assert self.answer(masked(Opcode.TEXT, part, fin=False) + masked(Opcode.CONT, part)) == 1009

    def test_a_head_that_announces_too_much(self) -> None:
        assert self.answer(b"\x81\xff\x7f" + b"\xff" * 7) == 1009

    @pytest.mark.parametrize(
        "data",
        [
            masked(Opcode.TEXT, b'{"type":"ack","id":""}', mask=False),
            b"\xc1\x80\0\0\0\0",
            b"\x83\x80\0\0\0\0",
            masked(Opcode.CONT, b"of nothing"),
            masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"b"),
            b"\x09\x80\0\0\0\0",
            b"\x88\x81\0\0\0\0\0",
        ],
        ids=[
            "unmasked",
            "reserved bit",
            "reserved opcode",
            "stray part",
            "mixed parts",
            "ping in parts",
            "half a code",
        ],
    )
    def test_what_rfc_6455_does_not_know(self, data: bytes) -> None:
        assert self.answer(data) == 1002

    def test_what_comes_before_in_the_same_segment_counts(self) -> None:
        far = self.socket()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        far.pipe.feed(masked(Opcode.TEXT, encode(Ack(id))) + masked(Opcode.CONT, b"stray"))
        self.clock.turn()
        assert self.kept() == []

    def test_a_refused_message_and_a_broken_frame_in_one_segment(self) -> None:
        self.answer(masked(Opcode.TEXT, b"nonsense") + masked(Opcode.CONT, b"stray"))


class TestClosing(WebSocketCase):
    """RFC 6455, section 7, and G7."""

    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
    def test_a_close_is_answered_with_its_code_and_the_connection_ends(self, code: int) -> None:
        far = self.socket()
        far.pipe.feed(close_frame(code))
        assert far.receive() == [Close(code)]
        assert far.is_over()
        assert self.connections() == 0

    @pytest.mark.parametrize(
        ("data", "free"),
        [
            (close_frame(1000), True),
            (close_frame(1001), True),
            (close_frame(1002), False),
            (masked(Opcode.CLOSE), False),
        ],
        ids=["normal", "going away", "another code", "no code"],
    )
    def test_good_order_is_1000_and_1001(self, data: bytes, free: bool) -> None:
        token = self.create()
        loser = self.connect(token, "loser")
        self.clock.turn()
        (first,) = loser.receive()
        assert isinstance(first, Open)
        loser.pipe.drop()
        far = self.socket(token)
        far.pipe.feed(data)
        self.clock.turn()
        assert self.holds_its_place(token, first.cursor) == (not free)

    def test_a_message_and_a_close_in_one_segment(self) -> None:
        far = self.socket()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        far.pipe.feed(masked(Opcode.TEXT, encode(Ack(id))) + close_frame(1001))
        self.clock.turn()
        assert self.kept() == []
        assert far.receive() == [Close(1001)]
        assert far.is_over()
        assert self.connections() == 0

    def test_a_message_that_is_refused_and_a_close_in_one_segment(self) -> None:
        far = self.socket()
        far.pipe.feed(masked(Opcode.TEXT, b"nonsense") + close_frame(1001))
        assert far.receive() == [Close(1001)]
        assert far.is_over()
        assert self.connections() == 0

    def test_a_close_within_a_message_in_parts(self) -> None:
        far = self.socket()
        far.pipe.feed(masked(Opcode.TEXT, b"{", fin=False))
        far.pipe.feed(close_frame(1000))
        assert self.connections() == 0
        assert far.is_over()

    def test_a_close_that_crosses_the_servers(self) -> None:
        token = self.create()
        far = self.socket(token)
        self.socket(token, "q")
        far.pipe.feed(close_frame(1000))
        assert far.receive() == [Close(REPLACED)]
        assert far.is_over()

    def test_a_page_that_reads_nothing_more_is_cut(self) -> None:
        token = self.create()
        far = self.socket(token)
        self.stall(far)
        self.connect(token, "q")
        self.clock.turn()
        self.clock.advance(CLOSE_SECONDS)
        assert far.is_over()

    def test_a_connection_that_is_closing_takes_no_notice_of_its_buffer(self) -> None:
        token = self.create()
        far = self.socket(token)
        self.stall(far)
        far.say_nonsense()
        far.transport.resume_writing()
        far.transport.pause_writing()
        self.clock.turn()
        assert self.connections() == 0


class TestWhatThePageSays(WebSocketCase):
    """W3, where the frames of the page come over the connection itself."""

    def test_what_is_no_frame_ends_the_connection_with_4400(self) -> None:
        far = self.socket()
        far.say_nonsense()
        assert far.last() == Close(PROTOCOL_ERROR)
        assert self.connections() == 0

    def test_a_fresh_token_that_is_not_good_ends_the_connection_with_its_code(self) -> None:
        far = self.socket()
        far.say(FreshToken("forged"))
        assert far.last() == Close(INVALID_TOKEN)

    def test_a_fresh_token_of_another_client_id_ends_the_connection(self) -> None:
        far = self.socket()
        far.say(FreshToken(self.create(client_id="bob")))
        assert far.last() == Close(INVALID_TOKEN)


class TestPings(WebSocketCase):
    """W4: an RFC 6455 ping goes with the frame."""

    def test_a_page_whose_script_is_blocked_stays_for_some_minutes(self) -> None:
        far = self.socket()
        for _ in range(8):
            self.clock.advance(INTERVAL)
            assert far.receive() == [Ping()]
            far.pong()
        assert self.connections() == 1

    def test_a_page_whose_script_is_blocked_for_longer_is_given_up(self) -> None:
        far = self.socket()
        begun = self.clock.monotonic()
        came: list[Received] = []
        while self.connections():
            self.clock.advance(1)
            came += far.receive()
            far.pong()
        assert came[-1] == Close(GOING_AWAY)
        assert BLOCKED_SECONDS <= self.clock.monotonic() - begun <= BLOCKED_SECONDS + INTERVAL + TIMEOUT
        assert self.connections() == 0

    def test_the_browser_is_asked_too(self) -> None:
        far = self.socket()
        self.clock.advance(25)
        frame, ping = far.frames()
        assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, encode(Ping()))
        assert ping.opcode is Opcode.PING


class TestSizes(WebSocketCase):
    """RFC 6455, section 5.2: the head of a frame has one of three forms."""

    @pytest.mark.parametrize("size", [1, 100, 125, 126, 65_500, 65_535, 65_536, 200_000])
    def test_of_messages_are_any(self, size: int) -> None:
        far = self.socket()
        self.send("x" * size)
        assert far.texts() == ["x" * size]


class TestSharing(WebSocketCase):
    def test_the_frame_of_a_message_is_the_same_for_all(self) -> None:
        token = self.create(policy=Policy.SHARE)
        pages = [self.socket(token, name) for name in "pqr"]
        self.send("hello")
        assert len({page.pipe.take() for page in pages}) == 1
