"""Requests that two readers could understand in two ways, and those that never end (RFC 9112; contract, G10).

What is refused here was tried against the parser first: many of them pass it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.http.rig import BEARER, Peer, Rig, assert_problem, handshake_bytes, parse_answers, request_bytes

from pushline.server.native import IDLE_SECONDS, LINGER_SECONDS, LOOK_SECONDS, REQUEST_SECONDS

AUTHORIZED = b"POST /v1/clients/ann/messages HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n" % (
    BEARER["Authorization"].encode()
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n"
CHUNKED = AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\n"
CONNECT = b"GET /_ah/channel/connect HTTP/1.1\r\nHost: x\r\n"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

REFUSED: dict[str, bytes] = {
    # two ways to tell where the body ends (RFC 9112, 6.3)
    "length and chunks": AUTHORIZED + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": AUTHORIZED + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": AUTHORIZED + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "the same length twice": AUTHORIZED + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": AUTHORIZED + b"Content-Length: 1, 1\r\n\r\nx",
    "a length with a sign": AUTHORIZED + b"Content-Length: +1\r\n\r\nx",
    "a length in hexadecimal": AUTHORIZED + b"Content-Length: 0x1\r\n\r\nx",
    "a length in two parts": AUTHORIZED + b"Content-Length: 1 1\r\n\r\nx",
    "a length of nothing": AUTHORIZED + b"Content-Length: \r\n\r\nx",
    "a length beyond all numbers": AUTHORIZED + b"Content-Length: 99999999999999999999999\r\n\r\nx",
    # a coding that somebody may overlook (6.1)
    "chunks in chunks": AUTHORIZED + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks after identity": AUTHORIZED + b"Transfer-Encoding: identity, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks after gzip": AUTHORIZED + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks after nothing": AUTHORIZED + b"Transfer-Encoding: ,chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks before gzip": AUTHORIZED + b"Transfer-Encoding: chunked, gzip\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks before nothing": AUTHORIZED + b"Transfer-Encoding: chunked,\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "something like chunks": AUTHORIZED + b"Transfer-Encoding: xchunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "chunks in quotes": AUTHORIZED + b'Transfer-Encoding: "chunked"\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    "chunks behind a vertical tab": AUTHORIZED + b"Transfer-Encoding: \x0bchunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "a space before the colon": AUTHORIZED + b"Transfer-Encoding : chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "an empty coding": AUTHORIZED + b"Transfer-Encoding:\r\nContent-Length: 1\r\n\r\nx",
    "identity": AUTHORIZED + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
    "chunks of HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"1\r\nx\r\n0\r\n\r\n",
    # chunks (7.1)
    "a chunk that ends too late": CHUNKED + b"1\r\nxy\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"1\r\nx0\r\n\r\n",
    "a chunk's size in another form": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "a chunk's size with a sign": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "a chunk's size with an underscore": CHUNKED + b"1_0\r\nx\r\n0\r\n\r\n",
    "a chunk's size with a space": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "a chunk's size behind a space": CHUNKED + b" 1\r\nx\r\n0\r\n\r\n",
    "a chunk's size that overflows": CHUNKED + b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "no chunk's size": CHUNKED + b"\r\nx\r\n0\r\n\r\n",
    "an extension over a line's end": CHUNKED + b'1;a="b\r\n"\r\nx\r\n0\r\n\r\n',
    "an extension before a bare LF": CHUNKED + b"1;a\nx\r\n0\r\n\r\n",
    "a bare LF behind a chunk's size": CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "a bare LF behind a chunk": CHUNKED + b"1\r\nx\n0\r\n\r\n",
    "bare LFs at the end": CHUNKED + b"1\r\nx\r\n0\n\n",
    "a length in the trailer": CHUNKED + b"1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n",
    "a coding in the trailer": CHUNKED + b"1\r\nx\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
    # lines (2.2 and 5)
    "a folded header": HEALTH + b"A: b\r\n c\r\n\r\n",
    "a folded coding": AUTHORIZED + b"Transfer-Encoding:\r\n chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "a header that begins with a space": b"GET /health HTTP/1.1\r\n Host: x\r\n\r\n",
    "bare LFs everywhere": HEALTH.replace(b"\r\n", b"\n") + b"\n",
    "a bare LF behind the request line": b"GET /health HTTP/1.1\nHost: x\r\n\r\n",
    "a bare LF behind a header": b"GET /health HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "a bare LF behind the headers": HEALTH + b"\n",
    "a bare CR in a header": HEALTH + b"A: b\rc\r\n\r\n",
    "a CR too many": b"GET /health HTTP/1.1\r\nHost: x\r\r\n\r\n",
    "a NUL in a header": HEALTH + b"A: b\0c\r\n\r\n",
    "a control character in a header": HEALTH + b"A: b\x01c\r\n\r\n",
    "a control character in a name": HEALTH + b"A\x01: b\r\n\r\n",
    "a space in a name": HEALTH + b"A B: c\r\n\r\n",
    "a header without a colon": HEALTH + b"Abc\r\n\r\n",
    "a header without a name": HEALTH + b": c\r\n\r\n",
    # the target (3.2)
    "another host in the target": b"GET http://evil.example/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a user in the target": b"GET http://a@x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "another scheme": b"GET ftp://x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "only a host": b"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /health#x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the target": b"GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab in the target": b"GET /health\tx HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the target": b"GET /health\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a byte beyond ASCII in the target": b"GET /health\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a backslash": b"GET \\health HTTP/1.1\r\nHost: x\r\n\r\n",
    # the host (3.2)
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "an empty host": b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a path in the host": b"GET /health HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "a user in the host": b"GET /health HTTP/1.1\r\nHost: a@x\r\n\r\n",
    # versions (2.3)
    "no version": b"GET /health\r\n\r\n",
    "HTTP/0.9": b"GET /health HTTP/0.9\r\nHost: x\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2.0 that stays": b"GET /health HTTP/2.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/01.1": b"GET /health HTTP/01.1\r\nHost: x\r\n\r\n",
    "http in small letters": b"GET /health http/1.1\r\nHost: x\r\n\r\n",
    "a method in small letters": b"get /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space before the method": b" GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    # what follows a handshake are frames (RFC 6455, 4.1)
    "a handshake with a body": CONNECT + b"Content-Length: 5\r\n%b\r\nabcde" % UPGRADE,
    "a handshake with chunks": CONNECT + b"Transfer-Encoding: chunked\r\n%b\r\n0\r\n\r\n" % UPGRADE,
    "a handshake of HTTP/1.0": b"GET /_ah/channel/connect HTTP/1.0\r\nHost: x\r\n%b\r\n" % UPGRADE,
}  # fmt: skip

TAKEN: dict[str, bytes] = {
    "an extension, which is passed over": CHUNKED + b'1;a="b"\r\nx\r\n0\r\n\r\n',
    "zeros before a chunk's size": CHUNKED + b"0001\r\nx\r\n0\r\n\r\n",
    "chunks in any case": AUTHORIZED + b"Transfer-Encoding: ChUnKeD\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "a tab behind a length": AUTHORIZED + b"Content-Length: 1\t\r\n\r\nx",
    "the server's own absolute address": b"GET HTTP://X/health?a HTTP/1.1\r\nHost: x\r\n\r\n",
    "its root": b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute address with a port": b"GET http://x:80/health HTTP/1.1\r\nHost: x:80\r\n\r\n",
    "an IPv6 host": b"GET /health HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + HEALTH + b"\r\n",
    "HTTP/1.0 without a host": b"GET /health HTTP/1.0\r\n\r\n",
    "a GET with a body": HEALTH + b"Content-Length: 3\r\n\r\nxyz",
}


class TestRequestsThatCanBeReadInTwoWays:
    @pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
    def test_are_refused_and_nothing_behind_them_is_read(self, rig: Rig, data: bytes) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(data + HEALTH + b"\r\n")
        (answer,) = peer.read()
        assert_problem(answer, "malformed_request")
        assert peer.pipe.ended
        assert rig.kept("ann") == []
        rig.clock.advance(LINGER_SECONDS)
        assert peer.pipe.closed

    @pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
    def test_are_refused_behind_a_good_one_too(self, rig: Rig, data: bytes) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(HEALTH + b"\r\n" + data)
        good, bad = peer.read()
        assert good.status == 200
        assert_problem(bad, "malformed_request")
        assert rig.kept("ann") == []

    @pytest.mark.parametrize("data", TAKEN.values(), ids=TAKEN)
    def test_are_not_these(self, rig: Rig, data: bytes) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(data)
        (answer,) = peer.read()
        assert answer.status == 200

    def test_an_absolute_address_ends_at_its_query(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(b"GET http://x?/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "Pushline" in peer.read()[0].text  # GET /, and not GET /health

    def test_a_header_of_another_spelling_is_another_header(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(AUTHORIZED + b"Content_Length: 1\r\n\r\n")
        assert_problem(peer.read()[0], "invalid_message")


def slowly(rig: Rig, peer: Peer, pieces: Sequence[bytes], seconds: float) -> None:
    """Write piece by piece, so many seconds apart, as long as anybody reads."""
    for piece in pieces:
        if peer.pipe.ended or peer.pipe.closed:
            return
        peer.write(piece)
        rig.clock.advance(seconds)


BYTES = [bytes([byte]) for byte in range(ord("a"), ord("z"))]


class TestSlowPeers:
    """A byte now and then keeps nothing open (slowloris): a request has a time in which it is there whole."""

    @pytest.mark.parametrize(
        "start",
        [
            b"GET /health HTTP/1.1\r\nHost: x\r\nA: ",
            b"GET /",
            AUTHORIZED + b"Content-Length: 1000\r\n\r\n",
            CHUNKED + b"ff\r\n",
            CHUNKED + b"1;",
            CHUNKED + b"0\r\nX: ",
            handshake_bytes("x")[:-4] + b"; ",
        ],
        ids=["headers", "address", "body", "chunk", "extension", "trailer", "handshake"],
    )
    def test_are_told_so_and_let_go(self, rig: Rig, start: bytes) -> None:
        peer = Peer(rig)
        slowly(rig, peer, [start, *BYTES], REQUEST_SECONDS / 10)
        (answer,) = peer.read()
        assert_problem(answer, "request_timeout", "within 30 seconds")
        assert answer.headers["connection"] == "close"
        assert peer.pipe.ended
        rig.clock.advance(LINGER_SECONDS)
        assert peer.pipe.closed
        assert rig.front.connections == set()
        assert rig.front.tally.timeouts == 1

    def test_have_their_whole_time(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(HEALTH)
        rig.clock.advance(REQUEST_SECONDS - LOOK_SECONDS)
        peer.write(b"\r\n")
        assert peer.read()[0].status == 200

    def test_who_say_nothing_are_let_go_without_a_word(self, rig: Rig) -> None:
        peer = Peer(rig)
        rig.clock.advance(REQUEST_SECONDS + LOOK_SECONDS + 1)
        assert peer.pipe.closed
        assert peer.pipe.take() == b""

    def test_have_a_new_time_with_each_request(self, rig: Rig) -> None:
        peer = Peer(rig)
        for _ in range(10):
            peer.write(HEALTH)
            rig.clock.advance(REQUEST_SECONDS - 5)
            peer.write(b"\r\n")
            assert peer.read()[0].status == 200

    def test_who_ask_no_more_are_let_go_after_a_longer_time(self, rig: Rig) -> None:
        peer = Peer(rig)
        assert peer.ask("GET", "/health").status == 200
        rig.clock.advance(IDLE_SECONDS - LOOK_SECONDS)
        assert rig.front.connections
        rig.clock.advance(2 * LOOK_SECONDS)
        assert peer.pipe.closed
        assert peer.pipe.take() == b""
        assert rig.front.tally.timeouts == 0

    def test_who_do_not_read_their_answers_are_cut_off(self, rig: Rig) -> None:
        peer = Peer(rig, high_water=1000)
        peer.write((HEALTH + b"\r\n") * 100)
        rig.clock.advance(REQUEST_SECONDS + 2 * LOOK_SECONDS)
        assert peer.pipe.closed
        assert rig.front.connections == set()
        assert rig.front.tally.timeouts == 1

    def test_who_do_not_read_the_last_answer_are_cut_off_too(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("GET", "/_ah/channel/jsapi"))
        rig.clock.advance(REQUEST_SECONDS + 2 * LOOK_SECONDS)
        assert peer.pipe.closed

    def test_who_read_a_little_now_and_then_stay(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("GET", "/_ah/channel/jsapi"))
        for _ in range(20):
            rig.clock.advance(REQUEST_SECONDS / 2)
            assert peer.pipe.take(100)
        assert not peer.pipe.closed

    def test_who_wait_for_an_answer_stay(self, rig: Rig) -> None:
        page = rig.page("ann")
        peer = Peer(rig)
        peer.write(request_bytes("POST", "/v1/clients/ann/messages?wait=30", BEARER, b"x"))
        rig.clock.advance(29)
        page.pipe.take()
        assert not peer.pipe.closed
        rig.clock.advance(2)
        assert len(peer.read()) == 1

    def test_are_not_looked_for_when_nobody_is_here(self, rig: Rig) -> None:
        rig.page("ann").pipe.drop()
        rig.clock.advance(IDLE_SECONDS * 2)
        assert rig.front._look_timer is None


GOOD = [
    HEALTH + b"\r\n",
    AUTHORIZED + b"Content-Length: 5\r\n\r\nhello",
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    b"GET /v1/clients/ann HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"OPTIONS /_ah/channel/connect HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /_ah/channel/connect?page=p&wait=0 HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n",
]
PIECES = [*GOOD, *REFUSED.values(), *TAKEN.values(), handshake_bytes("x"), b"\0", b"\r\n", b"a" * 9000]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests, good and bad, with a part of them replaced by something else."""
    data = b"".join(draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data = data[:start] + draw(st.binary(max_size=6)) + data[end:]
    return data


def answered(data: bytes, cuts: Sequence[int]) -> tuple[bytes, bool, list[bytes]]:
    """What a server answers to ``data`` that comes in pieces, whether it then reads no more, and what it has kept."""
    rig = Rig()
    rig.token("ann")
    peer = Peer(rig)
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        if start < end and not peer.pipe.closed:
            peer.write(data[start:end])
    rig.clock.turn()
    over = peer.pipe.ended or peer.pipe.closed
    out = re.sub(rb"\d{13}-\d+", b"<id>", peer.pipe.take())
    kept = rig.kept("ann")
    rig.hub.close(0)
    return out, over, kept


class TestAnyBytes:
    @given(streams(), st.lists(st.integers(0, 400), max_size=5))
    @example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2, [26, 27])
    def test_are_answered_alike_however_they_are_cut(self, data: bytes, cuts: list[int]) -> None:
        whole = answered(data, [])
        pieces = answered(data, [cut for cut in cuts if cut < len(data)])
        assert statuses(pieces[0]) == statuses(whole[0])
        assert pieces[2] == whole[2]

    @given(st.binary(max_size=300))
    def test_are_answered_whole_or_not_at_all(self, data: bytes) -> None:
        out, over, _ = answered(data, [])
        answers = parse_answers(out, iter(()))
        assert all(answer.status in (400, 404, 405, 408, 431) for answer in answers)
        assert over or not answers or answers[-1].status in (404, 405)


def statuses(out: bytes) -> list[bytes]:
    """The statuses of answers, but for the word to send on: that depends on when the body comes."""
    return [status for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", out) if status != b"100"]
