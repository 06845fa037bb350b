"""Server-sent events keep the promises of every transport, and those of W5."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from tests.http.rig import Answer, parse_answers

from pushline.http.request import Request
from pushline.http.responses import Encoder
from pushline.messages import format_id
from pushline.protocol.codes import (
    CLOSES,
    DISCONNECTED,
    GOING_AWAY,
    INVALID_TOKEN,
    ORIGIN_NOT_ALLOWED,
    PROTOCOL_ERROR,
    REPLACED,
    TOKEN_EXPIRED,
)
from pushline.protocol.frames import Ack, Down, FreshToken, Leave, Open, Ping, TokenAccepted
from pushline.protocol.values import Close
from pushline.testing.pipe import MemoryPipe
from pushline.testing.transports import INTERVAL, HttpPage, Received, StreamConformance, TransportCase
from pushline.transports.base import CLOSE_SECONDS, Door
from pushline.transports.door import answer
from pushline.transports.sse import SseTransport

_FRAMES: dict[str, type[Down]] = {str(kind.__struct_config__.tag): kind for kind in Down.__args__}


class EventStream:
    """Reads events as the HTML standard says (9.2.6), however the bytes are cut."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self._rest = b""

    def read(self, data: bytes) -> list[tuple[str, str, str]]:
        """The events that are complete: type, data, and the last event id at that time."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        assert b"\r" not in data, "another end of line: cut in two it would be read as two"
        events = []
        for block in blocks:
            kind, lines = "message", []
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                match name:
                    case "event":
                        kind = value
                    case "data":
                        lines.append(value)
                    case "id" if "\0" not in value:
                        self.last_event_id = value
                    case _:
                        pytest.fail(f"a field that is none: {line!r}")
            if lines:
                events.append((kind, "\n".join(lines), self.last_event_id))
        return events


def closed_by(refusal: Answer) -> Close:
    """The close code that a refusal by HTTP stands for."""
    retry = refusal.headers.get("retry-after")
    return Close(refusal.json["close_code"], None if retry is None else int(retry) * 1000)


class SsePage(HttpPage):
    """A page that reads events."""

    def __init__(self, door: Door, token: str, page: str, pipe: MemoryPipe) -> None:
        super().__init__(door, token, page)
        self.pipe = pipe
        self.head: Answer | None = None
        self.stream = EventStream()
        self.unread = b""

    def ask(self, request: Request) -> None:
        transport = answer(self.door, request, self.pipe, Encoder(self.door.clock.now))
        assert isinstance(transport, SseTransport)
        self.transport = transport
        self.pipe.set_protocol(transport)
        transport.start(request)

    def take(self) -> bytes:
        """The bytes of the body that have come."""
        data = self.unread + self.pipe.take()
        self.unread = b""
        if self.head is None and data:
            head, _, body = data.partition(b"\r\n\r\n")
            if b"content-length" in head.lower():
                (self.head,) = parse_answers(data, iter([False]))
                return b""
            (self.head,) = parse_answers(head + b"\r\n\r\n", iter([True]))
            return body
        return data

    def receive(self) -> list[Received]:
        first = self.head is None
        events = self.stream.read(self.take())
        if first and self.head is not None and self.head.status != 200:
            return [closed_by(self.head)]
        return [self.understood(*event) for event in events]

    def understood(self, kind: str, data: str, id: str) -> Received:
        if kind == "message":
            return (id, msgspec.json.decode(data, type=str))
        if kind == "close":
            end: dict[str, Any] = msgspec.json.decode(data)
            assert end["reason"] == CLOSES[end["code"]].name
            return Close(end["code"], end.get("retry"))
        frame = msgspec.json.decode(data, type=_FRAMES[kind])
        assert msgspec.json.decode(data)["type"] == kind
        return frame

    def close(self) -> None:
        self.pipe.end()


class SseCase(TransportCase):
    """Pages that connect by server-sent events."""

    def connect(self, token: str, page: str = "p", after: str | None = None) -> SsePage:
        far = SsePage(self.door, token, page, self.pipe())
        far.ask(far.request("text/event-stream", "", after))
        return far

    def listening(self, token: str | None = None, page: str = "p") -> SsePage:
        """A page that is connected and has read its ``open``."""
        far = self.connect(token or self.create(), page)
        self.clock.turn()
        (first,) = far.receive()
        assert isinstance(first, Open)
        return far

    def asked(self, request: Request) -> SsePage:
        """What becomes of a request."""
        far = SsePage(self.door, "", "p", self.pipe())
        far.ask(request)
        self.clock.turn()
        return far


class TestSse(SseCase, StreamConformance):
    """The suite of every transport that holds a connection."""


class TestTheAnswer(SseCase):
    """W5: what proxies and browsers have to know."""

    def test_has_the_headers_that_keep_it_going(self) -> None:
        head = self.listening().head
        assert head is not None
        assert (head.status, head.reason) == (200, "OK")
        assert head.headers == {
            "date": "Tue, 14 Nov 2023 22:13:20 GMT",
            "content-type": "text/event-stream",
            "access-control-allow-origin": "*",
            "access-control-expose-headers": "Retry-After",
            "vary": "Origin, Accept",
            "cache-control": "no-store, no-transform",
            "x-accel-buffering": "no",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            "referrer-policy": "no-referrer",
            "connection": "close",
        }
        assert len(head.header_list) == len(head.headers)

    def test_is_never_compressed(self) -> None:
        far = SsePage(self.door, self.create(), "p", self.pipe())
        far.ask(far.request("text/event-stream", ""))
        self.clock.turn()
        assert b"content-encoding" not in far.pipe.take().lower()

    def test_begins_at_once_and_not_with_the_first_message(self) -> None:
        far = self.connect(self.create())
        self.clock.turn()
        assert far.pipe.take().count(b"event: open\n") == 1

    @pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "", "text/html", "Text/Event-Stream, */*;q=0.1"])
    def test_is_for_whoever_does_not_ask_for_json(self, accept: str) -> None:
        far = SsePage(self.door, self.create(), "p", self.pipe())
        far.ask(far.request(accept, ""))
        self.clock.turn()
        assert isinstance(far.last(), Open)

    def test_takes_no_notice_of_what_the_peer_sends_on(self) -> None:
        far = self.listening()
        far.pipe.feed(b"GET /health HTTP/1.1\r\n\r\n")
        assert far.receive() == []
        assert self.send("hello") == ["sent"]
        assert far.texts() == ["hello"]


class TestEvents(SseCase):
    """W5: the frames, as the bytes that they are."""

    def test_open_is_the_frame_itself(self) -> None:
        far = self.connect(self.create())
        self.clock.turn()
        assert re.fullmatch(
            rb'event: open\ndata: \{"type":"open","client_id":"ann","cursor":"[0-9]+-[0-9]+","gap":false,"ping":25,'
            rb'"timeout":10,"expires_in":7200\}\n\n',
            far.take(),
        )

    @pytest.mark.parametrize(
        ("text", "data"),
        [
            ("hello", rb'"hello"'),
            ("a\r\nb\nc\rd", rb'"a\r\nb\nc\rd"'),
            ("nul \0", rb'"nul \u0000"'),
            ("\u2028\u2029 🎲 ü", '"\u2028\u2029 🎲 ü"'.encode()),
            ('"quoted" \\', rb'"\"quoted\" \\"'),
            ('{"type":"ping"}', rb'"{\"type\":\"ping\"}"'),
            ("\ufeff", b'"\xef\xbb\xbf"'),
        ],
    )
    def test_a_message_has_its_id_and_its_text_as_a_json_string(self, text: str, data: bytes) -> None:
        far = self.listening()
        self.send(text)
        id = format_id(self.store.read("ann", 0, self.clock.now()).messages[0].id)
        raw = far.take()
        assert raw == b"id: %b\ndata: %b\n\n" % (id.encode(), data)
        assert far.stream.read(raw) == [("message", data.decode(), id)]
        assert msgspec.json.decode(data, type=str) == text

    def test_other_frames_are_events_of_their_type(self) -> None:
        far = self.listening()
        self.clock.advance(INTERVAL)
        assert far.take() == b'event: ping\ndata: {"type":"ping"}\n\n'
        far.say(FreshToken(self.create(seconds=60)))
        self.clock.turn()
        assert far.take() == b'event: token\ndata: {"type":"token","expires_in":60}\n\n'

    def test_only_messages_move_the_last_event_id(self) -> None:
        far = self.listening()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        self.clock.advance(INTERVAL)
        assert far.receive() == [Ping()]
        assert far.stream.last_event_id == id

    def test_the_end_says_why_and_when_to_come_back(self) -> None:
        far = self.listening()
        self.hub.close(10.0)
        assert far.take() == b'event: close\ndata: {"code":1001,"reason":"going_away","retry":2500}\n\n'
        assert far.pipe.ended

    def test_the_end_says_when_to_come_back_only_where_that_is_known(self) -> None:
        token = self.create()
        far = self.listening(token)
        self.listening(token, "q")
        assert far.take() == b'event: close\ndata: {"code":4409,"reason":"replaced"}\n\n'

    def test_a_wire_that_cannot_end_one_side_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        far = self.listening()
        monkeypatch.setattr(far.pipe, "can_write_eof", lambda: False)
        self.end(far)
        assert far.receive() == [Close(DISCONNECTED)]
        assert far.is_over()


class TestTheCursor(SseCase):
    """W5: `Last-Event-ID`, or `after`."""

    def read(self, cursor_in_header: str | None, query: str = "") -> list[Received]:
        """What a page gets that comes back with a cursor."""
        far = SsePage(self.door, self.token, "p", self.pipe())
        far.ask(far.request("text/event-stream", query, cursor_in_header))
        self.clock.turn()
        return far.receive()

    @pytest.fixture(autouse=True)
    def _messages(self, _stage: None) -> None:
        self.token = self.create()
        far = self.listening(self.token)
        self.send("0", "1", "2")
        self.ids = [item[0] for item in far.receive() if isinstance(item, tuple)]
        far.pipe.drop()

    def texts_of(self, items: list[Received]) -> list[str]:
        return [item[1] for item in items if isinstance(item, tuple)]

    def test_is_in_the_header(self) -> None:
        assert self.texts_of(self.read(self.ids[1])) == ["2"]

    def test_or_in_the_query(self) -> None:
        assert self.texts_of(self.read(None, f"&after={self.ids[1]}")) == ["2"]

    def test_the_header_which_browsers_keep_up_to_date_counts_more(self) -> None:
        assert self.texts_of(self.read(self.ids[1], f"&after={self.ids[0]}")) == ["2"]

    def test_acknowledges(self) -> None:
        self.read(self.ids[1])
        assert self.kept() == ["2"]

    @pytest.mark.parametrize("cursor", ["nonsense", "5", "9999999999999-0", "\xff"])
    def test_that_is_none_is_a_gap(self, cursor: str) -> None:
        far = SsePage(self.door, self.token, "p", self.pipe())
        request = far.request("text/event-stream", "")
        request.last_event_id = cursor.encode("latin-1")
        far.ask(request)
        self.clock.turn()
        first = far.receive()[0]
        assert isinstance(first, Open)
        assert first.gap


class TestRefusals(SseCase):
    """W8, on HTTP: the status, and the code for who wants to know more."""

    def refused(self, far: SsePage) -> Answer:
        far.receive()
        assert far.head is not None
        assert far.head.headers["connection"] == "close"
        assert far.head.headers["access-control-allow-origin"] == "*"
        assert far.head.headers["cache-control"] == "no-store"
        self.clock.advance(CLOSE_SECONDS)
        assert far.is_over()
        return far.head

    def test_a_forged_token(self) -> None:
        far = self.connect("forged")
        head = self.refused(far)
        assert (head.status, head.json["close_code"]) == (401, INVALID_TOKEN)
        assert head.headers["content-type"] == "application/problem+json"
        assert head.headers["www-authenticate"].startswith("Bearer")
        assert "retry-after" not in head.headers

    @pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"Token x"])
    def test_no_token(self, header: bytes) -> None:
        self.create()
        request = SsePage(self.door, "", "p", self.pipe()).request("", "")
        request.authorization = header
        head = self.refused(self.asked(request))
        assert (head.status, head.json["close_code"]) == (401, INVALID_TOKEN)

    @pytest.mark.parametrize("form", ["bearer {}", "BEARER   {}", " Bearer {} "])
    def test_a_token_however_it_is_introduced_is_none(self, form: str) -> None:
        request = SsePage(self.door, "", "p", self.pipe()).request("", "")
        request.authorization = form.format(self.create()).encode()
        assert isinstance(self.asked(request).last(), Open)

    def test_a_token_in_the_address_is_no_token(self) -> None:
        request = SsePage(self.door, "", "p", self.pipe()).request("", f"&token={self.create()}")
        request.authorization = b""
        assert self.refused(self.asked(request)).status == 401

    def test_an_expired_token(self) -> None:
        token = self.create(seconds=1)
        self.clock.advance(1)
        head = self.refused(self.connect(token))
        assert (head.status, head.json["close_code"]) == (401, TOKEN_EXPIRED)

    def test_a_lost_place(self) -> None:
        token = self.create()
        cursor = format_id(self.signer.verify(token, self.clock.now()).id)
        self.listening(token, "holder")
        far = self.connect(token, "loser", cursor)
        self.clock.turn()
        head = self.refused(far)
        assert (head.status, head.json["close_code"]) == (409, REPLACED)

    def test_a_page_name_of_another_shape(self) -> None:
        head = self.refused(self.connect(self.create(), "a%20b"))
        assert (head.status, head.json["close_code"]) == (400, PROTOCOL_ERROR)

    def test_another_origin(self) -> None:
        self.stand(origins=["https://app.example.com"])
        request = SsePage(self.door, self.create(), "p", self.pipe()).request("", "")
        request.origin = b"https://evil.example"
        head = self.refused(self.asked(request))
        assert (head.status, head.json["close_code"]) == (403, ORIGIN_NOT_ALLOWED)

    def test_a_server_that_goes_away_says_when_to_come_back(self) -> None:
        token = self.create()
        self.hub.close(10.0)
        far = self.connect(token)
        head = self.refused(far)
        assert (head.status, head.json["close_code"], head.headers["retry-after"]) == (503, GOING_AWAY, "3")


class TestWhatThePageSays(SseCase):
    """W3 by POST, while the events go on."""

    def test_is_answered_with_204(self) -> None:
        far = self.listening()
        for frame in (Ack(""), FreshToken(self.create()), Leave("")):
            far.say(frame)
        assert [posted.status for posted in far.posted] == [204, 204, 204]

    def test_a_fresh_token_goes_on_where_the_old_one_ends(self) -> None:
        far = self.listening(self.create(seconds=30))
        self.clock.advance(10)
        far.say(FreshToken(self.create(seconds=600)))
        self.clock.turn()
        assert far.receive() == [TokenAccepted(expires_in=600)]
        self.clock.advance(21)
        assert self.connections() == 1

    def test_a_forged_token_says_nothing(self) -> None:
        far = self.listening()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        far.token = "forged"
        far.say(Ack(id))
        far.say(Leave(id))
        self.clock.turn()
        assert [posted.status for posted in far.posted] == [401, 401]
        assert self.kept() == ["0"]
        assert self.connections() == 1

    def test_another_page_says_nothing_for_this_one(self) -> None:
        far = self.listening()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        far.page = "another"
        far.say(Ack(id))
        self.clock.turn()
        assert self.kept() == ["0"]
        assert self.connections() == 1
