"""The page of the terminal, at the end of connections that are played to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidURI
from websockets.frames import Close

from pushline import listen
from pushline.errors import ConnectionEnded, Unreachable
from pushline.listen import Listener, sentence
from pushline.protocol.codes import CLOSES

TOKEN = "a.token"
URL = "http://push.example.com:8080/base/"
OPEN = '{"type":"open","client_id":"ann","cursor":"5-0","gap":false,"ping":25,"timeout":10,"expires_in":60}'
BROKEN = ConnectionClosedError(None, None)


def closed(code: int, reason: str = "") -> ConnectionClosedError:
    return ConnectionClosedError(Close(code, reason), None)


class FakeSocket:
    """Plays texts, and raises what is an exception; then the connection ends in good order."""

    def __init__(self, script: Sequence[str | Exception]) -> None:
        self._script = script
        self.sent: list[dict[str, str]] = []
        self.broken = False

    async def __aiter__(self) -> AsyncIterator[str]:
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            yield item
            for _ in range(3):
                await asyncio.sleep(0)

    async def send(self, text: str) -> None:
        if self.broken:
            raise BROKEN
        self.sent.append(msgspec.json.decode(text))


class World:
    """The connections that a listener makes, one after the other, and what it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections: list[FakeSocket | Exception] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[str] = []
        self.notices: list[str] = []
        self.pauses: list[float] = []
        """The longest that each pause may have been, where the listener chose it."""
        self.slept: list[float] = []

        @asynccontextmanager
        async def connect(address: str, **options: Any) -> AsyncIterator[FakeSocket]:
            self.asked.append((address, options))
            connection = self.connections.pop(0)
            if isinstance(connection, Exception):
                raise connection
            yield connection

        def uniform(low: float, high: float) -> float:
            self.pauses.append(high)
            return low

        monkeypatch.setattr(listen, "connect", connect)
        monkeypatch.setattr(random, "uniform", uniform)

    def sleep_no_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note the pauses that a listener makes, and make none of them."""
        sleep = asyncio.sleep

        async def note(seconds: float) -> None:
            pause = seconds > 0 and seconds != listen.ACK_SECONDS
            if pause:
                self.slept.append(seconds)
            await sleep(0 if pause else seconds)

        monkeypatch.setattr(asyncio, "sleep", note)

    def play(self, *connections: FakeSocket | Exception | Sequence[str | Exception], token: str = TOKEN) -> None:
        self.connections = [c if isinstance(c, FakeSocket | Exception) else FakeSocket(c) for c in connections]
        listener = Listener(URL, token, message=self.messages.append, notice=self.notices.append)
        asyncio.run(listener.run())

    def play_to_the_end(
        self, *connections: FakeSocket | Exception | Sequence[str | Exception], code: int = 4409
    ) -> None:
        """Play connections, and one more that ends the socket."""
        with pytest.raises(ConnectionEnded) as caught:
            self.play(*connections, [closed(code)])
        assert caught.value.code == code
        assert self.connections == []

    def queries(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(address).query) for address, _ in self.asked]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class TestTheConnection:
    def test_is_a_page_of_the_wire(self, world: World) -> None:
        world.play_to_the_end()
        ((address, options),) = world.asked
        assert address.startswith("ws://push.example.com:8080/base/_ah/channel/connect?page=")
        assert "a.token" not in address
        assert options["subprotocols"] == ["pushline.v1", "pushline.token.a.token"]
        assert options["origin"] == "http://push.example.com:8080"
        assert options["compression"] is None

    def test_is_on_the_same_origin_where_pushline_is_mounted(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{__name__}.URL", "http://127.0.0.1:8080/_ah/pushline")
        world.play_to_the_end()
        assert world.asked[0][0].startswith("ws://127.0.0.1:8080/_ah/channel/connect?page=")

    def test_is_encrypted_where_the_server_is(self, world: World) -> None:
        listener = Listener("https://push.example.com", "x", message=print, notice=print)
        world.connections = [FakeSocket([closed(4401)])]
        with pytest.raises(ConnectionEnded):
            asyncio.run(listener.run())
        assert world.asked[0][0].startswith("wss://push.example.com/_ah/")
        assert world.asked[0][1]["origin"] == "https://push.example.com"

    @pytest.mark.parametrize("token", ["", "two words", "a\r\nb", "é", "x" * 1025])
    def test_is_not_made_with_what_is_no_token(self, world: World, token: str) -> None:
        with pytest.raises(ConnectionEnded) as caught:
            world.play(token=token)
        assert caught.value.code == 4401
        assert world.asked == []

    @pytest.mark.parametrize(
        "error", [OSError("no route"), TimeoutError("no answer"), InvalidMessage("no HTTP"), InvalidURI("x", "no URI")]
    )
    def test_that_never_came_about_is_an_error(self, world: World, error: Exception) -> None:
        with pytest.raises(Unreachable) as caught:
            world.play(error)
        assert caught.value.url == URL
        assert "no " in caught.value.reason


class TestMessages:
    def test_are_handed_on_as_they_were_sent(self, world: World) -> None:
        world.play_to_the_end([OPEN, "6-0 hello", "7-0  two  spaces ", '8-0 {"type":"ping"}', "9-0 "])
        assert world.messages == ["hello", " two  spaces ", '{"type":"ping"}', ""]

    def test_that_are_missing_are_noticed(self, world: World) -> None:
        world.play_to_the_end([OPEN.replace("false", "true"), '{"type":"gap","cursor":"9-0"}'])
        assert world.notices[:2] == ["some messages are missing here"] * 2
        assert world.queries()[1]["after"] == ["9-0"]

    def test_are_acknowledged_after_a_while_several_at_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listen, "ACK_SECONDS", 0)
        socket = FakeSocket([OPEN, "6-0 a", "7-0 b", '{"type":"unknown"}', '{"type":"unknown"}'])
        world.play_to_the_end(socket)
        assert socket.sent == [{"type": "ack", "id": id} for id in ("5-0", "6-0", "7-0")]

    def test_are_not_acknowledged_on_a_connection_that_is_gone(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listen, "ACK_SECONDS", 0)
        socket = FakeSocket([OPEN, "6-0 a"])
        socket.broken = True
        world.play_to_the_end(socket)
        assert world.queries()[1]["after"] == ["6-0"]


class TestFrames:
    def test_a_ping_is_answered_with_the_cursor(self, world: World) -> None:
        socket = FakeSocket(['{"type":"ping"}', OPEN, '{"type":"ping"}', "6-0 a", '{"type":"ping"}'])
        world.play_to_the_end(socket)
        assert [frame["id"] for frame in socket.sent] == ["", "5-0", "6-0"]

    def test_of_types_that_are_not_known_are_ignored(self, world: World) -> None:
        socket = FakeSocket([OPEN, '{"type":"expiring","expires_in":5}', '{"type":"new"}'])
        world.play_to_the_end(socket)
        assert (world.messages, socket.sent) == ([], [])


class TestTheEnd:
    @pytest.mark.parametrize("code", [code for code, close in CLOSES.items() if close.ends])
    def test_comes_with_every_code_that_ends_the_socket(self, world: World, code: int) -> None:
        world.play_to_the_end([OPEN, "6-0 a"], code=code)

    @pytest.mark.parametrize("code", [code for code, close in CLOSES.items() if not close.ends])
    def test_comes_with_no_other(self, world: World, code: int) -> None:
        world.play_to_the_end([OPEN, closed(code)], [OPEN, BROKEN], [OPEN])
        assert world.notices == ["disconnected; coming back"] * 3

    def test_is_told_in_a_sentence(self) -> None:
        assert sentence(ConnectionEnded(4408)) == "The token has expired. (4408)"
        assert str(ConnectionEnded(4408)) == "closed with 4408"
        assert sentence(ConnectionEnded(4499)) == "The server ended the connection. (4499)"


class TestComingBack:
    def test_resumes_where_it_was_as_the_same_page(self, world: World) -> None:
        world.play_to_the_end([OPEN, "6-0 a", BROKEN], [OPEN.replace("5-0", "6-0"), "7-0 b"], OSError("down"))
        queries = world.queries()
        assert [query.get("after") for query in queries] == [None, ["6-0"], ["7-0"], ["7-0"]]
        assert len({query["page"][0] for query in queries}) == 1
        assert world.messages == ["a", "b"]

    def test_takes_longer_after_each_failure_and_not_for_ever(self, world: World) -> None:
        down = OSError("down")
        world.play_to_the_end([OPEN], *[down] * 8, [OPEN], [closed(4503)], *[down] * 2000)
        assert world.pauses[:12] == [0.5, 1, 2, 4, 8, 16, 32, 32, 32, 0.5, 1, 2]
        assert world.pauses[-1] == 32

    def test_takes_longer_when_the_server_lets_nobody_in(self, world: World) -> None:
        world.play_to_the_end([OPEN], [closed(4503)], [closed(1011)], [closed(4503)])
        assert world.pauses == [0.5, 1, 2, 4]

    @pytest.mark.parametrize("code", [1001, 4503])
    def test_waits_as_long_as_the_server_says(self, world: World, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        world.sleep_no_longer(monkeypatch)
        world.play_to_the_end([OPEN, "6-0 a", closed(code, "retry=1500")], [closed(code, "retry=20")])
        assert world.slept == [1.5, 0.02]
        assert world.pauses == []
        assert [query.get("after") for query in world.queries()] == [None, ["6-0"], ["6-0"]]

    @pytest.mark.parametrize("reason", ["", "retry=", "retry=-1", "retry=1.5", "retry=9999999999", "going away"])
    def test_makes_a_pause_of_its_own_when_the_server_names_none(self, world: World, reason: str) -> None:
        world.play_to_the_end([OPEN, closed(1001, reason)])
        assert world.pauses == [0.5]
