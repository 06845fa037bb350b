"""What the generator reads and writes: WebSocket frames (RFC 6455) and answers of HTTP/1.1, as much as servers send.

Pure functions over bytes. Each takes what was read so far and returns what is whole, and the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .faults import LoadFault

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MAX_HEAD_BYTES: Final = 65_536
_SWITCHED: Final = b"HTTP/1.1 101 "
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP/1.1."""

    status: int
    body: bytes


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Opcode and payload of each whole frame of a server, and the rest. Raises :class:`LoadFault`."""
    found: list[tuple[int, bytes]] = []
    start, end = 0, len(data)
    while end - start >= 2:
        first, size = data[start], data[start + 1]
        head = start + 2
        if size >= 126:
            head += 2 if size == 126 else 8
            if head > end:
                break
            size = int.from_bytes(data[start + 2 : head], "big")
        if not first & 0x80 or not first & 0x0F:
            raise LoadFault("The server sends messages in fragments, which this generator does not read.")
        if head + size > end:
            break
        found.append((first & 0x0F, data[head : head + size]))
        start = head + size
    return found, data[start:]


def frame(opcode: int, payload: bytes) -> bytes:
    """A frame of a client. Its mask is zero: a server takes the same pains to remove it."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + bytes(4) + payload
    return bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big") + bytes(4) + payload


def upgrade(host: str, path: str, *headers: str) -> bytes:
    """The request that opens a WebSocket."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def split_upgraded(data: bytes) -> bytes | None:
    """What follows the answer to :func:`upgrade`; None: it is not whole. Raises :class:`LoadFault` when refused."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise LoadFault("The server answers with an endless head.")
        return None
    if not data.startswith(_SWITCHED):
        line = data.partition(b"\r\n")[0].decode("latin-1")
        raise LoadFault(f"The server opens no WebSocket. It answers {line!r}.")
    return data[end + 4 :]


def post(host: str, path: str, size: int, *headers: str, method: str = "POST") -> bytes:
    """The head of a request with a body of ``size`` bytes."""
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {size}", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def split_answers(data: bytes) -> tuple[list[Answer], bytes]:
    """Each whole answer, and the rest. Raises :class:`LoadFault` at what is no HTTP."""
    found: list[Answer] = []
    while data:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            break
        head = data[: end + 2]
        if not head.startswith(b"HTTP/1."):
            raise LoadFault("The server does not answer in HTTP/1.1.")
        status = int(head[9:12])
        if (length := _LENGTH.search(head)) is not None:
            body, rest = _sized(data[end + 4 :], int(length[1]))
        elif _CHUNKED.search(head):
            body, rest = _chunked(data[end + 4 :])
        else:
            body, rest = b"", data[end + 4 :]
        if body is None:
            break
        found.append(Answer(status, body))
        data = rest
    return found, data


def _sized(data: bytes, size: int) -> tuple[bytes | None, bytes]:
    return (None, data) if len(data) < size else (data[:size], data[size:])


def _chunked(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while (end := data.find(b"\r\n")) >= 0:
        size = int(data[:end].partition(b";")[0], 16)
        if len(data) < end + 4 + size:
            break
        body += data[end + 2 : end + 2 + size]
        data = data[end + 4 + size :]
        if not size:
            return body, data
    return None, data
