"""A whole server in memory, and peers of it: no socket, no sleep, time moved by hand."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol as FrameReader
from websockets.protocol import Side, State

from pushline.admission import Crowd, Tally
from pushline.callbacks import Answer as PostAnswer
from pushline.callbacks import Deliveries, Result
from pushline.errors import StoreError
from pushline.http.api import Api
from pushline.http.app import App
from pushline.http.clients import Clients
from pushline.http.keys import ApiKeys
from pushline.http.operations import Operations
from pushline.http.page import Origins
from pushline.hub import Hub
from pushline.protocol.tokens import TokenSigner
from pushline.protocol.values import Heartbeat
from pushline.server.native import NativeFront
from pushline.server.proxies import Proxies
from pushline.stores.base import Notice, Operation, Outcome, Store
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock, MemoryPipe
from pushline.transports.base import Door

KEY = "the-api-key-of-the-tests"
OTHER_KEY = "another-good-key-of-the-tests"
BEARER = {"Authorization": f"Bearer {KEY}"}
HOST = "push.example.com"
CODES = json.loads((Path(__file__).parents[2] / "spec/codes.json").read_text())
PROBLEMS: dict[str, dict[str, Any]] = {row["code"]: row for row in CODES["problems"]}


class FailingStore(MemoryStore):
    """Fails as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.error: StoreError | None = None
        self.answers = True

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        if self.error is not None:
            raise self.error
        return super().commit(operations, now)

    def ready(self) -> bool:
        return self.answers


@dataclass
class Answer:
    """One response, as it came."""

    status: int
    reason: str
    header_list: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.header_list}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


def parse_answers(data: bytes, heads: Iterator[bool]) -> list[Answer]:
    """The responses in ``data``; ``heads`` says of each whether it answers a HEAD."""
    answers = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"half a response: {head!r}"
        line, *lines = head.decode("latin-1").split("\r\n")
        version, status, reason = line.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [(name, value) for name, _, value in (each.partition(": ") for each in lines)]
        answer = Answer(int(status), reason, pairs, b"")
        if int(status) >= 200 and not next(heads, False):
            size = int(answer.headers.get("content-length", 0))
            answer.body, data = data[:size], data[size:]
            assert len(answer.body) == size, "half a body"
        answers.append(answer)
    return answers


def request_bytes(
    method: str, target: str | bytes, headers: dict[str, str] | None = None, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request as a program writes it."""
    fields = {"Host": HOST, **(headers or {})}
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    address = target.encode("latin-1") if isinstance(target, str) else target
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")
    return b"%b %b HTTP/%b\r\n%b\r\n%b" % (method.encode(), address, version.encode(), lines, body)


class AddressedPipe(MemoryPipe):
    """A wire from an IP address, or over a Unix socket ("")."""

    def __init__(self, protocol: asyncio.BaseProtocol, address: str, *, high_water: int) -> None:
        self.address = address
        super().__init__(protocol, high_water=high_water)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peername" and self.address:
            return (self.address, 50_000)
        return default


class Peer:
    """A program at the other end of a connection."""

    def __init__(self, rig: Rig, *, high_water: int = 1 << 16, address: str = "") -> None:
        self._rig = rig
        self.pipe = AddressedPipe(rig.front.connection(), address, high_water=high_water)

    def write(self, data: bytes) -> None:
        self.pipe.feed(data)

    def is_read(self) -> bool:
        """Whether the server reads what this peer sends."""
        return self.pipe.reading

    def read(self, *, heads: Sequence[bool] = ()) -> list[Answer]:
        """What has been answered at the end of this turn."""
        self._rig.clock.turn()
        return parse_answers(self.pipe.take(), iter(heads))

    def ask(self, method: str, target: str | bytes, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        self.write(request_bytes(method, target, headers, body))
        (answer,) = self.read(heads=[method == "HEAD"])
        return answer


class Page:
    """A page with a WebSocket."""

    def __init__(
        self, rig: Rig, token: str, *, query: str = "", headers: dict[str, str] | None = None, address: str = ""
    ) -> None:
        self._rig = rig
        self.peer = Peer(rig, address=address)
        self.pipe = self.peer.pipe
        self._reader = FrameReader(Side.CLIENT, state=State.OPEN, max_size=None)
        self.peer.write(handshake_bytes(token, query=query, headers=headers))
        rig.clock.turn()
        head, _, rest = self.pipe.take().partition(b"\r\n\r\n")
        (self.handshake,) = parse_answers(head + b"\r\n\r\n", iter([True]))
        self._reader.receive_data(rest)

    def _frames(self) -> list[Frame]:
        self._rig.clock.turn()
        self._reader.receive_data(self.pipe.take())
        frames = self._reader.events_received()
        return [frame for frame in frames if isinstance(frame, Frame)]

    def read(self) -> list[str]:
        """The texts that came."""
        return [bytes(frame.data).decode() for frame in self._frames() if frame.opcode is Opcode.TEXT]

    def messages(self) -> list[str]:
        """The messages that came, without their ids."""
        return [text.partition(" ")[2] for text in self.read() if not text.startswith("{")]

    def close(self) -> Close:
        """How the server closed the connection."""
        self._frames()
        assert self._reader.close_rcvd is not None
        return self._reader.close_rcvd


def handshake_bytes(
    token: str, *, query: str = "", headers: dict[str, str] | None = None, path: str = "/_ah/channel/connect"
) -> bytes:
    """The opening handshake of a page."""
    return request_bytes(
        "GET",
        path + (f"?{query}" if query else ""),
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": f"pushline.v1, pushline.token.{token}",
            **(headers or {}),
        },
    )


class Rig:
    """The server."""

    def __init__(
        self,
        store: Store | None = None,
        *,
        keys: Sequence[str] = (KEY, OTHER_KEY),
        origins: Sequence[str] = (),
        max_message_bytes: int = 32767,
        presence: bool = False,
        send_rate: float = 0,
        crowd: Crowd | None = None,
        proxies: Sequence[str] = (),
        public: bool = False,
        open_metrics: bool = False,
        max_per_client: int = 0,
    ) -> None:
        self.clock = FakeClock()
        self.store = store or MemoryStore()
        tokens = TokenSigner(["the-token-secret-of-the-tests"])
        self.hub = Hub(
            self.store,
            self.clock,
            tokens,
            heartbeat=Heartbeat(25, 10),
            grace=3,
            random=lambda: 0.5,
            presence=presence,
            max_per_client=max_per_client,
        )
        self.tally = Tally()
        self.keys = api_keys = ApiKeys(keys, self.clock.monotonic, send_rate=send_rate, tally=self.tally)
        self.app = App(
            Api(self.hub, api_keys, max_message_bytes=max_message_bytes),
            Clients(self.hub, api_keys),
            Operations(self.hub, api_keys, self.tally),
            max_message_bytes=max_message_bytes,
            public=public,
            open_metrics=open_metrics,
        )
        self.door = Door(self.hub, self.clock, Origins(origins))
        self.front = NativeFront(
            self.app, self.door, self.clock, proxies=Proxies(proxies), crowd=crowd, tally=self.tally
        )

    def ask(self, method: str, target: str | bytes, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """One request on a connection of its own, as the application makes it."""
        return Peer(self).ask(method, target, BEARER | (headers or {}), body)

    def post_json(self, target: str, value: object) -> Answer:
        return self.ask("POST", target, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def token(self, client_id: str, **fields: object) -> str:
        """A token of a channel."""
        answer = self.post_json("/v1/channels", {"client_id": client_id, **fields})
        assert answer.status == 201, answer
        return str(answer.json["token"])

    def page(self, client_id: str, **fields: object) -> Page:
        """A page of a channel, opened."""
        page = Page(self, self.token(client_id, **fields))
        assert page.read()[0].startswith('{"type":"open"')
        return page

    def kept(self, client_id: str) -> list[bytes]:
        """What the store holds for a channel."""
        read = self.store.read(client_id, 0, self.clock.now())
        assert not hasattr(read, "result"), "the stores of these tests answer at once"
        return [message.data for message in read.messages]


class Application:
    """Is told who is there: it fails, until it is told to accept."""

    def __init__(self, rig: Rig) -> None:
        self.result = Result.FAILED
        self.posts = 0
        rig.hub.announce = Deliveries(rig.hub, rig.clock, self.post, lambda: 0.5).announce

    def post(self, notice: Notice, answer: PostAnswer) -> None:
        self.posts += 1
        answer(self.result, "status 500")


def assert_problem(answer: Answer, code: str, detail: str = "") -> None:
    """The answer is the RFC 9457 problem ``code`` as spec/codes.json has it, and ``detail`` a pattern in its detail."""
    known = PROBLEMS[code]
    body = answer.json
    assert list(body) == ["type", "title", "status", "detail", "code"]
    assert (body["code"], body["status"], body["title"]) == (code, known["status"], known["title"])
    assert body["type"] == f"urn:pushline:problem:{code}"
    assert answer.status == known["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert body["detail"].endswith("."), "a sentence"
    assert re.search(detail, body["detail"]), body["detail"]
    assert ("www-authenticate" in answer.headers) == (answer.status == 401)
    assert ("allow" in answer.headers) == (answer.status == 405)
    assert ("retry-after" in answer.headers) == (answer.status in (429, 503))
