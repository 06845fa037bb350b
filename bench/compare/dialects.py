"""How the other servers are spoken to. With ``shared`` every page gets what is sent to all."""

from __future__ import annotations

from collections.abc import Sequence

from pushline.bench.dialect import Dialect
from pushline.bench.wire import BINARY, post, upgrade


class NchanDialect(Dialect):
    """nchan, with the addresses of peers/nchan.conf."""

    def __init__(self, host: str, shared: bool) -> None:
        super().__init__(host)
        self._shared = shared

    def handshake(self, page: int) -> bytes:
        return upgrade(self.host, f"/sub?id={'all' if self._shared else page}")

    def request(self, page: int, message: bytes) -> bytes:
        return post(self.host, f"/pub?id={page}", len(message)) + message

    def request_all(self, message: bytes) -> bytes:
        return post(self.host, "/pub?id=all", len(message)) + message


class ChannelsDialect(Dialect):
    """The program for Django Channels: a page is in one group."""

    def __init__(self, host: str, shared: bool) -> None:
        super().__init__(host)
        self._shared = shared

    def handshake(self, page: int) -> bytes:
        return upgrade(self.host, f"/ws/{'all' if self._shared else page}")

    def request_all(self, message: bytes) -> bytes:
        return post(self.host, "/send/all", len(message)) + message


class SocketIoDialect(Dialect):
    """Version 5 of the protocol of Socket.IO over WebSocket."""

    waits_for_open = True

    def handshake(self, page: int) -> bytes:
        return upgrade(self.host, f"/socket.io/?EIO=4&transport=websocket&id={page}")

    def greeting(self, page: int) -> bytes:
        return b"40"

    def is_open(self, payload: bytes) -> bool:
        return payload.startswith(b"40")

    def reply(self, payload: bytes) -> bytes:
        return b"3" if payload == b"2" else b""


class NatsDialect(Dialect):
    """The protocol of NATS: pages speak it over WebSocket, senders over TCP, where each message is answered."""

    opcode = BINARY
    hello = b'CONNECT {"verbose":true,"pedantic":false}\r\n'
    waits_for_open = True

    def __init__(self, host: str, shared: bool) -> None:
        super().__init__(host)
        self._shared = shared

    def handshake(self, page: int) -> bytes:
        return upgrade(self.host, "/")

    def greeting(self, page: int) -> bytes:
        subject = b"all" if self._shared else b"page.%d" % page
        return b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %b 1\r\nPING\r\n' % subject

    def is_open(self, payload: bytes) -> bool:
        return b"PONG\r\n" in payload

    def reply(self, payload: bytes) -> bytes:
        return b"PONG\r\n" if payload == b"PING\r\n" else b""

    def request(self, page: int, message: bytes) -> bytes:
        return b"PUB page.%d %d\r\n%b\r\n" % (page, len(message), message)

    def request_all(self, message: bytes) -> bytes:
        return b"PUB all %d\r\n%b\r\n" % (len(message), message)

    def split_answers(self, data: bytes, asked: Sequence[int]) -> tuple[list[int], bytes]:
        *lines, rest = data.split(b"\r\n")
        answers = [line for line in lines if line.startswith((b"+OK", b"-ERR"))]
        return [count if line == b"+OK" else 0 for line, count in zip(answers, asked, strict=False)], rest
