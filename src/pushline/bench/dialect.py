"""How a server is spoken to: what opens a page, what sends to it, what it says to both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pushline.protocol.frames import SUBPROTOCOL, TOKEN_SUBPROTOCOL, Ack, encode

from .faults import LoadFault
from .wire import TEXT, post, split_answers, upgrade

CONNECT: Final = "/_ah/channel/connect"


class Dialect:
    """A WebSocket that is open at once and gets messages as they are; a POST of a message that any 2xx accepts.

    Others override what they do differently. Pages are numbers from 0.
    """

    opcode: int = TEXT
    hello: bytes = b""
    """What a sender says first."""
    waits_for_open: bool = False

    def __init__(self, host: str) -> None:
        self.host = host

    def handshake(self, page: int) -> bytes:
        """What opens the WebSocket of a page."""
        return upgrade(self.host, f"/ws/{page}")

    def greeting(self, page: int) -> bytes:
        """What a page says first, as the payload of a frame."""
        return b""

    def is_open(self, payload: bytes) -> bool:
        """Whether a frame says that the page is open now."""
        return True

    def reply(self, payload: bytes) -> bytes:
        """What a page says at once to a frame without a message, as the payload of a frame."""
        return b""

    def acknowledgement(self, payload: bytes) -> bytes:
        """What a page says some time after it got a message in this frame."""
        return b""

    def request(self, page: int, message: bytes) -> bytes:
        """Sends a message to a page."""
        return post(self.host, f"/send/{page}", len(message)) + message

    def request_all(self, message: bytes) -> bytes:
        """Sends a message to all pages."""
        return post(self.host, "/all", len(message)) + message

    def request_batch(self, pages: Sequence[int], messages: Sequence[bytes]) -> bytes:
        """Sends a message to each of some pages."""
        raise LoadFault("This server has no batches.")

    def split_answers(self, data: bytes, asked: Sequence[int]) -> tuple[list[int], bytes]:
        """How many messages each whole answer accepts, and the rest.

        ``asked`` says how many messages the requests have whose answers are due, in their order.
        """
        answers, rest = split_answers(data)
        return [
            self.accepted(answer.status, answer.body, count) for answer, count in zip(answers, asked, strict=False)
        ], rest

    def accepted(self, status: int, body: bytes, asked: int) -> int:
        """How many of the messages of a request its answer accepts."""
        return asked if 200 <= status < 300 else 0


class PushlineDialect(Dialect):
    """Pushline's own wire and HTTP API (contract, sections 3 and 4).

    ``tokens``: one for each page; pages that share a channel have the same one. Pages with ``cursors`` resume.
    """

    waits_for_open = True

    def __init__(
        self, host: str, prefix: str, api_key: str, client_ids: Sequence[str], tokens: Sequence[str] = ()
    ) -> None:
        super().__init__(host)
        self.tokens = tokens
        self.cursors: Sequence[str] = ()
        self._prefix = prefix
        self._client_ids = client_ids
        self._authorization = f"Authorization: Bearer {api_key}"
        self._heads: dict[int, bytes] = {}
        everybody = json.dumps(list(dict.fromkeys(client_ids)), separators=(",", ":"))
        self._all_pages = f'{{"messages":[{{"to":{everybody},"data":"'.encode()

    def handshake(self, page: int) -> bytes:
        after = f"&after={self.cursors[page]}" if self.cursors else ""
        offer = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}{self.tokens[page]}"
        return upgrade(self.host, f"{self._prefix}{CONNECT}?page=p{page}{after}", offer)

    def is_open(self, payload: bytes) -> bool:
        return payload.startswith(b'{"type":"open"')

    def reply(self, payload: bytes) -> bytes:
        return encode(Ack("")) if payload.startswith(b'{"type":"ping"') else b""

    def acknowledgement(self, payload: bytes) -> bytes:
        return encode(Ack(payload.partition(b" ")[0].decode()))

    def request(self, page: int, message: bytes) -> bytes:
        head = self._heads.get(page)
        if head is None:
            path = f"/v1/clients/{self._client_ids[page]}/messages"
            head = self._heads[page] = self._request(path, len(message))
        return head + message

    def request_all(self, message: bytes) -> bytes:
        return self._batch(self._all_pages + message + b'"}]}')

    def request_batch(self, pages: Sequence[int], messages: Sequence[bytes]) -> bytes:
        items = [
            b'{"to":"%b","data":"%b"}' % (self._client_ids[page].encode(), message)
            for page, message in zip(pages, messages, strict=True)
        ]
        return self._batch(b'{"messages":[' + b",".join(items) + b"]}")

    def accepted(self, status: int, body: bytes, asked: int) -> int:
        if status != 200:
            return 0
        pages_of_one = max(1, len(self.tokens) // len(self._client_ids))
        return min(asked, body.count(b'"id":"') * pages_of_one)  # no id: there is no channel

    def channel(self, client_id: str, policy: str) -> bytes:
        """Makes a channel; the answer is the token."""
        body = json.dumps({"client_id": client_id, "policy": policy}).encode()
        return self._request("/v1/channels", len(body), "Accept: text/plain") + body

    def revoke(self, client_id: str) -> bytes:
        """Ends a channel and its pages."""
        return self._request(f"/v1/clients/{client_id}", 0, method="DELETE")

    def _batch(self, body: bytes) -> bytes:
        return self._request("/v1/messages", len(body)) + body

    def _request(self, path: str, size: int, *headers: str, method: str = "POST") -> bytes:
        return post(self.host, self._prefix + path, size, self._authorization, *headers, method=method)
