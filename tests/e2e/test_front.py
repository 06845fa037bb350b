"""The native front among peers that do not do what they should: the others do not notice."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .processes import PushlineProcess
from .waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e

HALVES = [
    b"",
    b"P",
    b"POST /v1/clients/ann/mess",
    b"POST /v1/clients/ann/messages HTTP/1.1\r\nContent-Len",
    b"POST /v1/clients/ann/messages HTTP/1.1\r\nContent-Length: 1000\r\n\r\nhalf a bo",
    b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf a chunk",
    b"GET /_ah/channel/connect HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebS",
]
NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
    b"\x00\xff" * 500,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"POST /v1/channels HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/channels HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"POST /v1/channels HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
]
OTHERS_WAIT_SECONDS = 10.0
"""How long an ordinary request may take beside all that."""

Sockets = Iterator[ExitStack]


@pytest.fixture
def open_sockets() -> Sockets:
    with ExitStack() as stack:
        yield stack


def send_raw(stack: ExitStack, pushline: PushlineProcess, data: bytes) -> socket.socket:
    """Open a connection, send some bytes, and leave it open."""
    raw = stack.enter_context(socket.create_connection(("127.0.0.1", pushline.port), PATIENCE_SECONDS))
    raw.sendall(data)
    return raw


def read_to_end(raw: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    while part := raw.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def check_that_others_are_served(pushline: PushlineProcess, client_id: str) -> None:
    client = type(pushline.client)(pushline.url, pushline.api_key, timeout=OTHERS_WAIT_SECONDS)
    with client:
        client.create_channel(client_id)
        assert client.send_message(client_id, "hello").status == "queued"


class TestOthersAreServed:
    def test_while_requests_stay_half_finished(
        self, shared_pushline: PushlineProcess, open_sockets: ExitStack, client_id: str
    ) -> None:
        for data in HALVES * 10:
            send_raw(open_sockets, shared_pushline, data)
        check_that_others_are_served(shared_pushline, client_id)

    def test_after_requests_were_broken_off(
        self, shared_pushline: PushlineProcess, open_sockets: ExitStack, client_id: str
    ) -> None:
        for data in HALVES:
            raw = send_raw(open_sockets, shared_pushline, data)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()  # a reset
        check_that_others_are_served(shared_pushline, client_id)

    @pytest.mark.parametrize("data", NONSENSE, ids=lambda data: repr(data[:24]))
    def test_after_nonsense_which_is_answered_with_a_problem_and_the_end(
        self, shared_pushline: PushlineProcess, open_sockets: ExitStack, client_id: str, data: bytes
    ) -> None:
        raw = open_sockets.enter_context(
            socket.create_connection(("127.0.0.1", shared_pushline.port), PATIENCE_SECONDS)
        )
        raw.sendall(data)
        answer = read_to_end(raw)
        assert answer.startswith(b"HTTP/1.1 4"), answer
        assert b"application/problem+json" in answer
        check_that_others_are_served(shared_pushline, client_id)


def test_a_request_that_comes_byte_by_byte_is_answered(
    shared_pushline: PushlineProcess, open_sockets: ExitStack, client_id: str
) -> None:
    shared_pushline.client.create_channel(client_id)
    head = (
        "POST /v1/clients/-/messages?client_id=ann HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n"
        f"Authorization: Bearer {shared_pushline.api_key}\r\n\r\n"
    )
    raw = send_raw(open_sockets, shared_pushline, b"")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in f"{head}hello".encode():
        raw.sendall(bytes([byte]))
    assert read_to_end(raw).startswith(b"HTTP/1.1 200 OK\r\n")


def test_requests_of_one_write_are_answered_in_their_order(
    shared_pushline: PushlineProcess, open_sockets: ExitStack
) -> None:
    paths = ["/health", "/nowhere", "/ready", "/v1/channels"]
    close = "Connection: close\r\n"
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n{close if path == paths[-1] else ''}\r\n" for path in paths)
    answer = read_to_end(send_raw(open_sockets, shared_pushline, requests.encode()))
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200", b"404", b"200", b"405"]
