"""HTTP/1.1 as the SDK writes and reads it. No socket: bytes in, bytes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.rig import KEY, Peer, Rig

from pushline.client import requests, sends
from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.wire import BadAnswer, Decoder, Encoder

SENT = b'{"id":"1-0","status":"sent"}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n" + SENT
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    + SENT[:5]
    + b"\r\n17\r\n"
    + SENT[5:]
    + b"\r\n0\r\n\r\n"
)
HINTED = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + PLAIN


def encoder(url: str) -> Encoder:
    return Encoder(Endpoint(url, KEY))


def decode(*parts: bytes) -> Decoder:
    decoder = Decoder()
    for part in parts:
        decoder.feed(part)
    return decoder


class TestRequests:
    def test_are_written_whole_with_the_key_and_their_length(self) -> None:
        request = requests.send(sends.of_text("room/ann", "ü", idempotency_key="k"))
        assert encoder("http://push.example:8080").encode(request) == (
            b"POST /v1/clients/-/messages?client_id=room%2Fann HTTP/1.1\r\n"
            b"Host: push.example:8080\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n"
            b"Accept: application/json\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Idempotency-Key: k\r\n"
            b"Content-Length: 2\r\n"
            b"\r\n\xc3\xbc"
        )

    @pytest.mark.parametrize(
        ("url", "host", "port", "secure", "named"),
        [
            ("http://push.example", "push.example", 80, False, "push.example"),
            ("https://push.example", "push.example", 443, True, "push.example"),
            ("https://push.example:8443", "push.example", 8443, True, "push.example:8443"),
            ("http://[::1]:8080", "::1", 8080, False, "[::1]:8080"),
            ("http://bücher.example", "xn--bcher-kva.example", 80, False, "xn--bcher-kva.example"),
        ],
    )
    def test_go_where_the_address_says(self, url: str, host: str, port: int, secure: bool, named: str) -> None:
        to = encoder(url)
        assert (to.host, to.port, to.secure) == (host, port, secure)
        assert f"\r\nHost: {named}\r\n".encode() in to.encode(ApiRequest("GET", "/ready"))

    def test_keep_the_path_of_the_address(self) -> None:
        written = encoder("https://app.example/_ah/push line/ü%20").encode(ApiRequest("GET", "/v1/clients"))
        assert written.startswith(b"GET /_ah/push%20line/%C3%BC%20/v1/clients HTTP/1.1\r\n")

    def test_a_name_that_is_none_is_left_to_whoever_looks_it_up(self) -> None:
        assert encoder(f"http://{'ü' * 64}.example").host.isascii()

    @given(client_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), message=st.text(min_size=1))
    def test_are_what_the_server_reads(self, client_id: str, message: str) -> None:
        message = message.encode(errors="replace").decode()
        rig = Rig()
        rig.token(client_id)
        peer = Peer(rig)
        peer.write(encoder("http://push.example").encode(requests.send(sends.of_text(client_id, message))))
        (answer,) = peer.read()
        assert answer.json["status"] == "queued"
        assert rig.kept(client_id) == [message.encode()]


class TestAnswers:
    @pytest.mark.parametrize("data", [PLAIN, CHUNKED, HINTED], ids=["length", "chunks", "interim"])
    @given(cuts=st.lists(st.integers(0, 200), max_size=6).map(sorted))
    def test_are_read_however_they_arrive(self, data: bytes, cuts: list[int]) -> None:
        ends = [*cuts, len(data)]
        parts = [data[begin:end] for begin, end in zip([0, *cuts], ends, strict=True)]
        decoder = decode(*filter(None, parts))
        assert decoder.answer is not None
        assert (decoder.answer.status, decoder.answer.body) == (200, SENT)
        assert decoder.reusable

    def test_have_their_headers_in_lower_case(self) -> None:
        assert decode(PLAIN).answer == ApiResponse(
            200, {"content-type": "application/json", "content-length": "28"}, SENT
        )

    @pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n"])
    def test_may_have_no_body(self, head: bytes) -> None:
        decoder = decode(head)
        assert decoder.answer is not None
        assert decoder.answer.body == b""
        assert decoder.reusable

    def test_without_a_length_end_with_the_connection(self) -> None:
        parts = [b"HTTP/1.1 502 Bad Gateway\r\n\r\n<h1>", b"</h1>"]
        assert decode(*parts).answer is None
        decoder = decode(*parts, b"")
        assert decoder.answer is not None
        assert (decoder.answer.status, decoder.answer.body) == (502, b"<h1></h1>")
        assert not decoder.reusable

    @pytest.mark.parametrize(
        "data",
        [
            PLAIN.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n"),
            PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
            PLAIN + PLAIN,
            PLAIN + b"x",
        ],
        ids=["closing", "HTTP/1.0", "two", "more"],
    )
    def test_may_be_the_last_of_their_connection(self, data: bytes) -> None:
        decoder = decode(data)
        assert decoder.answer is not None
        assert decoder.answer.body == SENT
        assert not decoder.reusable

    @pytest.mark.parametrize("data", [b"", PLAIN[:1], PLAIN[:30], PLAIN[:-1], CHUNKED[:-1], HINTED[:40]])
    def test_that_break_off_are_none(self, data: bytes) -> None:
        with pytest.raises(BadAnswer, match=r"^the server closed the connection before its answer was whole$"):
            decode(*filter(None, [data]), b"")

    @pytest.mark.parametrize(
        "data",
        [
            b"SSH-2.0-secret\r\n",
            b"\x15\x03\x01secret",
            b"HTTP/1.1 101 secret\r\nUpgrade: secret\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nsecret",
        ],
        ids=["ssh", "tls", "upgrade", "two lengths"],
    )
    def test_that_are_no_http_are_none_and_are_not_repeated(self, data: bytes) -> None:
        with pytest.raises(BadAnswer, match=r"^the answer is not HTTP$"):
            decode(data)
