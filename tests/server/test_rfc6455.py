"""What RFC 6455 asks of a server, rule by rule, and frames of any bytes (contract, W1 and G10)."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.http.rig import Page, Peer, Rig, assert_problem, handshake_bytes
from websockets.frames import Frame, Opcode

from pushline.errors import ConnectionEnded
from pushline.protocol.codes import INVALID_TOKEN, TOKEN_EXPIRED
from pushline.protocol.tokens import TokenSigner
from pushline.transports.websocket import MAX_FRAME_BYTES

MASK = b"\x01\x02\x03\x04"
ACK = b'{"type":"ack","id":""}'


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = MASK, size: int | None = None) -> bytes:
    """A frame as one writes it by hand: its first byte, its payload, its mask, and the size that it claims."""
    size = len(payload) if size is None else size
    bit = 0x80 if mask is not None else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def close_frame(code: int | None, reason: bytes = b"") -> bytes:
    return frame(0x88, b"" if code is None else struct.pack("!H", code) + reason)


FIN_TEXT, FIN_CONT, TEXT, CONT, BINARY, PING, PONG = 0x81, 0x80, 0x01, 0x00, 0x82, 0x89, 0x8A

RESERVED = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
NO_CLOSES = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)
CLOSES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999)

BROKEN: dict[str, tuple[bytes, int]] = {
    "a frame without a mask (5.1)": (frame(FIN_TEXT, ACK, mask=None), 1002),
    "the first reserved bit (5.2)": (frame(FIN_TEXT | 0x40, ACK), 1002),
    "the second reserved bit (5.2)": (frame(FIN_TEXT | 0x20, ACK), 1002),
    "the third reserved bit (5.2)": (frame(FIN_TEXT | 0x10, ACK), 1002),
    "a reserved bit on a ping (5.2)": (frame(PING | 0x40), 1002),
    **{f"the reserved opcode {opcode} (5.2)": (frame(0x80 | opcode), 1002) for opcode in RESERVED},
    "a length beyond 63 bits (5.2)": (b"\x81\xff" + b"\xff" * 8 + MASK, 1009),
    "a continuation of nothing (5.4)": (frame(FIN_CONT, ACK), 1002),
    "a text within a text (5.4)": (frame(TEXT, b"{") + frame(FIN_TEXT, b"}"), 1002),
    "a ping in fragments (5.5)": (frame(0x09), 1002),
    "a ping that is too long (5.5)": (frame(PING, b"x" * 126), 1002),
    "a close of one byte (5.5.1)": (frame(0x88, b"\x03"), 1002),
    "a close that says no UTF-8 (5.5.1)": (close_frame(1000, b"\xff"), 1007),
    **{f"the close code {code} (7.4)": (close_frame(code), 1002) for code in NO_CLOSES},
    "a text that is too long (7.4.1)": (frame(FIN_TEXT, b"", size=MAX_FRAME_BYTES + 1), 1009),
    "fragments that are too long together (7.4.1)": (
        frame(TEXT, b"x" * MAX_FRAME_BYTES) + frame(CONT, b"", size=1),
        1009,
    ),
    "a text of four gigabytes (7.4.1)": (frame(FIN_TEXT, b"", size=1 << 32), 1009),
}  # fmt: skip

NOT_OURS: dict[str, bytes] = {
    "a binary message": frame(BINARY, ACK),
    "a text that is no UTF-8 (8.1)": frame(FIN_TEXT, b'{"type":"\xff"}'),
    "a text that is no UTF-8, in fragments": frame(TEXT, b'{"type":"\xc3') + frame(FIN_CONT, b'"}'),
    "a surrogate": frame(FIN_TEXT, b'{"type":"\xed\xa0\x80"}'),
    "an empty text": frame(FIN_TEXT),
    "no JSON": frame(FIN_TEXT, b"hello"),
    "JSON of another shape": frame(FIN_TEXT, b"[1]"),
    "a frame of no known type": frame(FIN_TEXT, b'{"type":"open"}'),
}


class TestBrokenRules:
    @pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN)
    @pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
    def test_end_the_connection_with_their_code(self, rig: Rig, data: bytes, code: int, step: int) -> None:
        page = rig.page("ann")
        for start in range(0, len(data), step):
            page.pipe.feed(data[start : start + step])
        assert page.close().code == code
        assert rig.ask("POST", "/v1/clients/ann/messages", {}, b"x").json["status"] == "queued"
        rig.clock.advance(6)
        assert page.pipe.closed
        assert rig.hub.counters.connections == 0

    @pytest.mark.parametrize("data", NOT_OURS.values(), ids=NOT_OURS)
    def test_of_this_wire_end_it_as_well(self, rig: Rig, data: bytes) -> None:
        page = rig.page("ann")
        page.pipe.feed(data)
        assert page.close().code == 4400

    def test_leave_nothing_behind_that_is_read(self, rig: Rig) -> None:
        page = rig.page("ann")
        page.pipe.feed(frame(FIN_TEXT | 0x40, ACK) + frame(FIN_TEXT, b'{"type":"leave","id":""}') * 100)
        assert page.close().code == 1002
        page.pipe.feed(frame(FIN_TEXT, ACK) * 1000)
        assert page.pipe.take() == b""


class TestKeptRules:
    def test_a_message_may_come_in_fragments_with_pings_between(self, rig: Rig) -> None:
        page = rig.page("ann")
        pieces = [frame(TEXT, ACK[:3]), frame(PING, b"a"), frame(CONT), frame(CONT, ACK[3:9]), frame(FIN_CONT, ACK[9:])]
        page.pipe.feed(b"".join(pieces))
        rig.clock.turn()
        assert page.pipe.take() == Frame(Opcode.PONG, b"a").serialize(mask=False)

    @pytest.mark.parametrize("payload", [b"", b"x" * 125, b"\0\xff"])
    def test_a_ping_is_answered_with_what_it_has(self, rig: Rig, payload: bytes) -> None:
        page = rig.page("ann")
        page.pipe.feed(frame(PING, payload))
        assert page.pipe.take() == Frame(Opcode.PONG, payload).serialize(mask=False)

    def test_a_pong_that_nobody_asked_for_is_nothing(self, rig: Rig) -> None:
        page = rig.page("ann")
        page.pipe.feed(frame(PONG, b"x") * 10)
        assert page.pipe.take() == b""
        assert not page.pipe.closed

    @pytest.mark.parametrize(
        ("code", "answered"),
        [(None, b"\x88\x00"), *((code, None) for code in CLOSES)],
    )
    def test_a_close_is_answered_with_its_code(self, rig: Rig, code: int | None, answered: bytes | None) -> None:
        page = rig.page("ann")
        page.pipe.feed(close_frame(code))
        assert page.pipe.take() == (answered or b"\x88\x02" + struct.pack("!H", code))
        assert page.pipe.closed

    def test_any_mask_will_do(self, rig: Rig) -> None:
        page = rig.page("ann")
        for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", MASK):
            page.pipe.feed(frame(FIN_TEXT, ACK, mask=mask))
        assert not page.pipe.closed

    @pytest.mark.parametrize(
        ("header", "value", "code"),
        [
            ("Sec-WebSocket-Key", "", "malformed_request"),
            ("Sec-WebSocket-Key", "c2hvcnQ=", "malformed_request"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", "malformed_request"),
            ("Sec-WebSocket-Version", "8", "upgrade_required"),
            ("Sec-WebSocket-Version", "13, 8", "upgrade_required"),
        ],
    )
    def test_a_handshake_that_is_not_whole_is_refused(self, rig: Rig, header: str, value: str, code: str) -> None:
        peer = Peer(rig)
        peer.write(handshake_bytes(rig.token("ann"), headers={header: value}))
        answer = peer.read()[0]
        assert_problem(answer, code)

    def test_extensions_are_offered_in_vain(self, rig: Rig) -> None:
        page = Page(
            rig, rig.token("ann"), headers={"Sec-WebSocket-Extensions": "permessage-deflate; server_max_window_bits=8"}
        )
        assert "sec-websocket-extensions" not in page.handshake.headers


FRAMES = [
    *(data for data, _ in BROKEN.values()),
    *NOT_OURS.values(),
    frame(FIN_TEXT, ACK),
    frame(PING),
    close_frame(1000),
]


class TestAnyFrames:
    @given(st.lists(st.one_of(st.sampled_from(FRAMES), st.binary(max_size=40)), max_size=6), st.integers(1, 50))
    def test_are_read_or_end_the_connection(self, pieces: list[bytes], step: int) -> None:
        rig = Rig()
        page, other = rig.page("ann"), rig.page("bob")
        data = b"".join(pieces)
        for start in range(0, len(data), step):
            if not page.pipe.closed:
                page.pipe.feed(data[start : start + step])
        rig.clock.turn()
        assert rig.ask("POST", "/v1/clients/bob/messages", {}, b"x").json["status"] == "sent"
        assert other.messages() == ["x"]
        rig.clock.advance(50)  # whoever does not answer the ping is let go, in the middle of a frame as well
        assert page.pipe.closed
        rig.hub.close(0)


def answered(data: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    """What a page is answered to frames that come in pieces, and whether its connection then ends."""
    rig = Rig()
    page = rig.page("ann")
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        if start < end and not page.pipe.closed:
            page.pipe.feed(data[start:end])
    rig.clock.turn()
    out, over = page.pipe.take(), page.pipe.ended or page.pipe.closed
    rig.hub.close(0)
    return out, over


GOOD = [
    frame(FIN_TEXT, ACK),
    frame(PING, b"x" * 125),
    frame(PONG),
    frame(TEXT, ACK[:3]) + frame(PING, b"a") + frame(CONT) + frame(FIN_CONT, ACK[3:]),
]


class TestCutFrames:
    @given(st.lists(st.sampled_from(GOOD), max_size=5), st.sampled_from(FRAMES), st.lists(st.integers(0, 400)))
    def test_are_answered_as_those_that_come_at_once(self, good: list[bytes], last: bytes, cuts: list[int]) -> None:
        """``last``: what comes behind the first one that ends a connection is not read alike."""
        data = b"".join([*good, last])
        assert answered(data, [cut for cut in cuts if cut < len(data)]) == answered(data, [])


SIGNER = TokenSigner(["the-token-secret-of-the-tests"])


class TestAnyTokensAndCursors:
    @given(st.one_of(st.text(max_size=80), st.from_regex(r"[A-Za-z0-9._-]{1,200}", fullmatch=True)))
    @example("\ud800")
    @example("a.1-1.9999999999.replace.x")
    def test_a_token_that_was_not_made_here_is_refused(self, token: str) -> None:
        with pytest.raises(ConnectionEnded) as refused:
            SIGNER.verify(token, 0)
        assert refused.value.code in (INVALID_TOKEN, TOKEN_EXPIRED)

    @given(st.data())
    def test_a_token_that_was_changed_is_refused(self, data: st.DataObject) -> None:
        rig = Rig()
        token = rig.token("ann")
        place = data.draw(st.integers(0, len(token) - 1))
        other = data.draw(
            st.sampled_from("ABCDEFGHabcdefgh0123456789.-_").filter(lambda letter: letter != token[place])
        )
        if place == len(token) - 1:  # base64: the last letter of 43 has two bits that say nothing
            return
        page = Page(rig, token[:place] + other + token[place + 1 :])
        assert page.close().code in (4401, 4408)
        rig.hub.close(0)

    @given(st.text(st.characters(max_codepoint=255, exclude_characters="#&\r\n \0"), max_size=60))
    @example("99999999999999999999-99999999999999")
    @example("-")
    @example("%ff%00")
    @example("+")
    def test_a_cursor_of_any_form_opens_with_a_gap(self, after: str) -> None:
        rig = Rig()
        query = f"page=p&wait=0&after={after}" if after else "page=p&wait=0"
        headers = {"Accept": "application/json", "Authorization": f"Bearer {rig.token('ann')}"}
        peer = Peer(rig)
        answer = peer.ask("GET", f"/_ah/channel/connect?{query}", headers)
        if answer.status == 200:
            assert answer.json["gap"] is bool(after)
        else:
            assert_problem(answer, "malformed_request")  # a byte that no address has
        rig.hub.close(0)
