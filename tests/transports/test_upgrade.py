"""An HTTP connection that becomes a WebSocket, on the native front (contract, W1 and W7)."""

from __future__ import annotations

import json

import pytest
from websockets.frames import Frame, Opcode

from pushline.http.api import Api
from pushline.http.app import App
from pushline.http.keys import ApiKeys
from pushline.http.operations import Operations
from pushline.http.page import Origins
from pushline.hub import Hub
from pushline.messages import Policy
from pushline.protocol.session import Heartbeat
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.server.native import LINGER_SECONDS, NativeFront
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock, MemoryPipe

ORIGIN = "https://app.example.com"


class Upgrade:
    """A native front, and pages that ask it for a WebSocket."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.hub = Hub(
            MemoryStore(),
            self.clock,
            TokenSigner(["the secret of the tests"]),
            heartbeat=Heartbeat(25.0, 10.0),
            grace=3.0,
            random=lambda: 0.5,
        )
        keys = ApiKeys(["an API key for tests"])
        app = App(Api(self.hub, keys, max_message_bytes=32767), Operations(self.hub, keys), max_message_bytes=32767)
        self.front = NativeFront(app, self.hub, self.clock, Origins((ORIGIN,)))
        self.pipe = MemoryPipe(self.front.connection(), call_soon=self.clock.call_soon)

    def token(self) -> str:
        tokens: list[str] = []

        def created(token: str, claims: Claims) -> None:
            tokens.append(token)

        self.hub.create_channel("ann", 600, Policy.REPLACE, created, lambda error: None)
        self.clock.turn()
        return tokens[0]

    def handshake(self, token: str, **headers: str) -> bytes:
        lines = {
            "Host": "push.example.com",
            "Origin": ORIGIN,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": f"pushline.v1, pushline.token.{token}",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"GET /_ah/channel/connect?page=p HTTP/1.1\r\n{head}\r\n".encode()

    def ask(self, data: bytes) -> tuple[str, bytes]:
        """The head of the answer, and what comes behind it."""
        self.pipe.feed(data)
        self.clock.turn()
        head, _, rest = self.pipe.take().partition(b"\r\n\r\n")
        return head.decode(), rest


@pytest.fixture
def upgrade() -> Upgrade:
    return Upgrade()


def test_a_page_is_connected(upgrade: Upgrade) -> None:
    head, rest = upgrade.ask(upgrade.handshake(upgrade.token()))
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert b'{"type":"open","client_id":"ann"' in rest
    assert upgrade.hub.counters.connections == 1
    assert not upgrade.front.connections


def test_bytes_behind_the_handshake_are_frames(upgrade: Upgrade) -> None:
    ping = Frame(Opcode.PING, b"early").serialize(mask=True)
    _, rest = upgrade.ask(upgrade.handshake(upgrade.token()) + ping)
    assert rest.startswith(b"\x8a\x05early")


def test_a_handshake_may_come_byte_by_byte(upgrade: Upgrade) -> None:
    data = upgrade.handshake(upgrade.token()) + Frame(Opcode.PING, b"x").serialize(mask=True)
    for n in range(len(data)):
        upgrade.pipe.feed(data[n : n + 1])
    upgrade.clock.turn()
    assert upgrade.pipe.take().startswith(b"HTTP/1.1 101 ")
    assert upgrade.hub.counters.connections == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426, "upgrade_required"),
        ({"Sec_WebSocket_Key": "short"}, 400, "malformed_request"),
        ({"Upgrade": "h2c"}, 426, "upgrade_required"),
    ],
)
def test_a_handshake_that_is_none_is_answered_with_a_problem(
    upgrade: Upgrade, headers: dict[str, str], status: int, code: str
) -> None:
    head, body = upgrade.ask(upgrade.handshake(upgrade.token(), **headers))
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "access-control-allow-origin: *" in head.lower()
    assert json.loads(body)["code"] == code
    assert upgrade.pipe.ended
    upgrade.clock.advance(LINGER_SECONDS)
    assert upgrade.pipe.closed


@pytest.mark.parametrize(
    ("origin", "code"),
    [(ORIGIN, None), ("https://push.example.com", None), ("https://evil.example", 4403), ("null", 4403)],
)
def test_only_pages_of_the_listed_origins_and_the_own_host_are_admitted(
    upgrade: Upgrade, origin: str, code: int | None
) -> None:
    head, rest = upgrade.ask(upgrade.handshake(upgrade.token(), Origin=origin))
    assert head.startswith("HTTP/1.1 101 ")
    assert rest.startswith(b"\x81" if code is None else b"\x88\x02" + code.to_bytes(2, "big"))
