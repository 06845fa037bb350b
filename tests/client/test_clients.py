"""What the synchronous and the asynchronous client do alike (contract, Y1): every test runs on both."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

import pushline
from pushline import channel
from pushline.client.aio_connections import LoopConnections
from pushline.client.connections import Unconnected
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.results import ClientList, Connection, ListedClient
from pushline.client.retry import PAUSES
from pushline.client.wire import BadAnswer
from pushline.errors import ConfigurationError, RequestRefused, Unreachable

URL = "http://push.example:8080/base"
KEY = "0123456789abcdef"
SENT = (200, {"id": "1-0", "status": "sent"})

STATE = {
    "client_id": "ann",
    "connected": True,
    "connections": [{"transport": "sse", "page": "a", "acknowledged": "1-0"}],
    "queued": 2,
    "acknowledged": "1-0",
    "expires_at": "2030-01-02T03:04:05Z",
}

CALLBACKS = {
    "waiting": 1,
    "given_up": 0,
    "no_handler": ["disconnected"],
    "callbacks": [
        {
            "client_id": "ann",
            "event": "connected",
            "sequence": 5,
            "time": 1,
            "given_up": False,
            "tries": 2,
            "error": "status 500",
        }
    ],
    "next": None,
}

Outcome = Exception | tuple[int, object]


class FarEnd:
    """Answers the requests of a client with what it was told, one outcome after the other."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.seen: list[ApiRequest] = []
        self.timeouts: list[float] = []

    def play(self, request: ApiRequest, timeout: float) -> ApiResponse:
        self.seen.append(request)
        self.timeouts.append(timeout)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        status, body = outcome
        return ApiResponse(status, {"content-type": "application/json"}, json.dumps(body).encode())


class Driver(Protocol):
    """One of the clients, on connections that reach the far end."""

    far_end: FarEnd

    def call(self, method: str, *arguments: Any, **options: Any) -> Any: ...


class SyncDriver:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.far_end = FarEnd()
        self.client = pushline.Client(URL, KEY)
        monkeypatch.setattr(self.client._connections, "exchange", self.far_end.play)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.client, method)(*arguments, **options)


class AsyncDriver:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.far_end = far_end = FarEnd()
        self.client = pushline.AsyncClient(URL, KEY)

        async def exchange(connections: LoopConnections, request: ApiRequest, seconds: float) -> ApiResponse:
            return far_end.play(request, seconds)

        monkeypatch.setattr(LoopConnections, "exchange", exchange)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        calling: Coroutine[Any, Any, Any] = getattr(self.client, method)(*arguments, **options)
        return asyncio.run(calling)


def failure(kind: str) -> Exception:
    """What the connections of either client raise."""
    if kind == "unconnected":
        error: Exception = Unconnected()
        error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return error
    broken = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return {"broken": broken, "late": TimeoutError(), "cut": BadAnswer("the server closed the connection")}[kind]


@pytest.fixture(params=[SyncDriver, AsyncDriver])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Driver:
    made: Driver = request.param(monkeypatch)
    return made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a client would have made."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


class TestCalls:
    def test_create_channel_returns_the_token(self, driver: Driver) -> None:
        driver.far_end.outcomes = [(201, {"client_id": "ann", "token": "abc", "expires_at": "…"})]
        assert driver.call("create_channel", "ann", duration_minutes=5, policy="share") == "abc"
        (request,) = driver.far_end.seen
        assert (request.method, request.target) == ("POST", "/v1/channels")
        assert json.loads(request.body) == {"client_id": "ann", "duration_minutes": 5, "policy": "share"}

    def test_create_channel_asks_for_two_hours_by_default(self, driver: Driver) -> None:
        driver.far_end.outcomes = [(201, {"token": "abc"})]
        driver.call("create_channel", "ann")
        assert json.loads(driver.far_end.seen[0].body) == {"client_id": "ann", "duration_minutes": 120}

    def test_send_message_says_what_became_of_it(self, driver: Driver) -> None:
        driver.far_end.outcomes = [SENT]
        sent = driver.call("send_message", "room/ann", "hello", idempotency_key="k", ttl=60)
        assert sent == pushline.SendResult("1-0", "sent")
        (request,) = driver.far_end.seen
        assert (request.method, request.target) == ("POST", "/v1/clients/-/messages?client_id=room%2Fann&ttl=60")
        assert (request.headers["Idempotency-Key"], request.body) == ("k", b"hello")

    def test_send_json_sends_the_value(self, driver: Driver) -> None:
        driver.far_end.outcomes = [SENT]
        driver.call("send_json", "ann", {"n": 1})
        assert driver.far_end.seen[0].body == b'{"n":1}'

    def test_send_many_returns_a_result_for_each_target(self, driver: Driver) -> None:
        driver.far_end.outcomes = [(200, {"results": [{"to": "ann", "id": "1-0", "status": "sent"}]})]
        sent = driver.call("send_many", [{"to": "ann", "data": "hello"}])
        assert sent == [pushline.TargetResult("ann", "1-0", "sent")]

    @pytest.mark.parametrize("method", ["send_message", "send_json"])
    def test_a_send_may_wait_until_a_page_has_acknowledged_it(self, driver: Driver, method: str) -> None:
        driver.far_end.outcomes = [(200, {"id": "1-0", "status": "delivered"})]
        assert driver.call(method, "ann", "hello", wait=12.5) == pushline.SendResult("1-0", "delivered")
        assert driver.far_end.seen[0].target == "/v1/clients/-/messages?client_id=ann&wait=12.5"

    def test_a_call_has_the_time_that_it_waits_on_purpose_besides_its_own(self, driver: Driver) -> None:
        driver.far_end.outcomes = [SENT, SENT, (200, STATE)]
        driver.call("send_message", "ann", "hello")
        driver.call("send_message", "ann", "hello", wait=30)
        driver.call("get_client", "ann")
        assert driver.far_end.timeouts == [10.0, 40.0, 10.0]

    def test_get_client_returns_the_state_of_the_channel(self, driver: Driver) -> None:
        driver.far_end.outcomes = [(200, STATE)]
        state = driver.call("get_client", "room/ann")
        assert state == pushline.ClientState(
            client_id="ann",
            connected=True,
            connections=[Connection("sse", "a", "1-0")],
            queued=2,
            acknowledged="1-0",
            expires_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        )
        (request,) = driver.far_end.seen
        assert (request.method, request.target, request.body) == ("GET", "/v1/clients/-?client_id=room%2Fann", b"")

    def test_the_others_return_what_they_say(self, driver: Driver) -> None:
        listed = {
            "clients": [{"client_id": "ann", "connected": True, "expires_at": "2030-01-02T03:04:05Z"}],
            "next": None,
        }
        driver.far_end.outcomes = [(200, listed), (204, None), (204, None), (200, CALLBACKS), (200, {"retried": 3})]
        found = driver.call("list_clients", connected=True, prefix="a")
        assert found == ClientList([ListedClient("ann", True, datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))], None)
        assert driver.call("disconnect", "ann") is None
        assert driver.call("revoke", "ann") is None
        kept = driver.call("list_callbacks", after="4", limit=2)
        assert (kept.waiting, kept.no_handler, kept.callbacks[0].error) == (1, ["disconnected"], "status 500")
        assert driver.call("retry_callbacks") == 3
        assert [(request.method, request.target) for request in driver.far_end.seen] == [
            ("GET", "/v1/clients?prefix=a&after=&limit=100&connected=true"),
            ("POST", "/v1/clients/-/disconnect?client_id=ann"),
            ("DELETE", "/v1/clients/-?client_id=ann"),
            ("GET", "/v1/callbacks?after=4&limit=2"),
            ("POST", "/v1/callbacks/retry"),
        ]

    def test_a_client_id_without_a_channel_is_a_refusal(self, driver: Driver) -> None:
        driver.far_end.outcomes = [(404, {"code": "no_channel", "title": "None", "detail": "None.", "status": 404})]
        with pytest.raises(RequestRefused) as refused:
            driver.call("get_client", "ann")
        assert (refused.value.status, refused.value.code) == (404, "no_channel")

    def test_a_refusal_is_raised_and_final(self, driver: Driver) -> None:
        driver.far_end.outcomes = [(503, {"code": "unavailable", "title": "Busy", "detail": "Wait.", "status": 503})]
        with pytest.raises(RequestRefused, match=r"^Busy: Wait\. \(503 unavailable\)$"):
            driver.call("send_message", "ann", "hello", idempotency_key="k")
        assert len(driver.far_end.seen) == 1


class TestTries:
    @pytest.mark.parametrize("kind", ["unconnected", "broken", "late", "cut"])
    def test_a_send_with_a_key_is_repeated(self, driver: Driver, pauses: list[float], kind: str) -> None:
        driver.far_end.outcomes = [failure(kind), failure(kind), SENT]
        assert driver.call("send_message", "ann", "hello", idempotency_key="k").id == "1-0"
        first, second, third = driver.far_end.seen
        assert first == second == third
        assert tuple(pauses) == PAUSES

    def test_a_look_up_is_repeated(self, driver: Driver, pauses: list[float]) -> None:
        driver.far_end.outcomes = [failure("broken"), failure("late"), (200, STATE)]
        assert driver.call("get_client", "ann").queued == 2
        assert tuple(pauses) == PAUSES

    def test_a_send_with_a_key_is_given_up_in_the_end(self, driver: Driver, pauses: list[float]) -> None:
        driver.far_end.outcomes = [failure("broken") for _ in range(3)]
        with pytest.raises(Unreachable, match="could not be reached: Connection reset by peer"):
            driver.call("send_message", "ann", "hello", idempotency_key="k")

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("broken", "Connection reset by peer"),
            ("late", "no answer in time"),
            ("cut", "the server closed the connection"),
        ],
    )
    @pytest.mark.parametrize("call", [("create_channel", "ann"), ("send_message", "ann", "hello")])
    def test_nothing_else_is_sent_twice(
        self, driver: Driver, pauses: list[float], kind: str, reason: str, call: tuple[str, ...]
    ) -> None:
        driver.far_end.outcomes = [failure(kind)]
        with pytest.raises(Unreachable, match=reason):
            driver.call(*call)
        assert pauses == []

    def test_what_found_nobody_is_tried_again(self, driver: Driver, pauses: list[float]) -> None:
        driver.far_end.outcomes = [failure("unconnected"), SENT]
        assert driver.call("send_message", "ann", "hello").status == "sent"
        assert pauses == [PAUSES[0]]


class TestTheKey:
    @pytest.mark.parametrize("client", [pushline.Client, pushline.AsyncClient])
    def test_is_in_no_text(self, client: type[pushline.Client] | type[pushline.AsyncClient]) -> None:
        assert repr(client(URL, KEY)) == f"{client.__name__}(url='{URL}')"

    @pytest.mark.parametrize("client", [pushline.Client, pushline.AsyncClient])
    def test_is_needed(
        self, client: type[pushline.Client] | type[pushline.AsyncClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("PUSHLINE_API_KEY", raising=False)
        monkeypatch.delenv("PUSHLINE_API_KEY_FILE", raising=False)
        with pytest.raises(ConfigurationError, match=r"^There is no API key"):
            client()


class TestTheModule:
    @pytest.fixture(autouse=True)
    def default_client(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("PUSHLINE_URL", URL)
        monkeypatch.setenv("PUSHLINE_API_KEY", KEY)
        channel._client.cache_clear()
        yield
        channel._client.cache_clear()

    def test_shares_one_client_of_the_environment(self) -> None:
        assert repr(channel._client()) == f"Client(url='{URL}')"
        assert channel._client() is channel._client()

    def test_gives_every_thread_a_client(self) -> None:
        clients: list[pushline.Client] = []
        threads = [threading.Thread(target=lambda: clients.append(channel._client())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(clients) == len(threads)

    @pytest.mark.parametrize(
        ("call", "outcome", "result"),
        [
            (lambda: channel.create_channel("ann", 5, policy="share"), (201, {"token": "abc"}), "abc"),
            (lambda: channel.send_message("ann", "hello", ttl=5), SENT, pushline.SendResult("1-0", "sent")),
            (lambda: channel.send_json("ann", [1], idempotency_key="k"), SENT, pushline.SendResult("1-0", "sent")),
            (lambda: channel.batch().results, (200, {"results": []}), []),
            (lambda: channel.send_many([{"to": "ann", "json": 1}]), (200, {"results": []}), []),
            (lambda: channel.send_message("ann", "hello", wait=5), SENT, pushline.SendResult("1-0", "sent")),
            (lambda: channel.get_client("ann").connections[0].transport, (200, STATE), "sse"),
            (lambda: channel.list_clients().next, (200, {"clients": [], "next": "x"}), "x"),
            (lambda: channel.disconnect("ann"), (204, None), None),
            (lambda: channel.revoke("ann"), (204, None), None),
            (lambda: channel.list_callbacks().callbacks[0].client_id, (200, CALLBACKS), "ann"),
            (lambda: channel.retry_callbacks("ann"), (200, {"retried": 1}), 1),
        ],
    )
    def test_has_the_methods_of_the_client(
        self, call: Callable[[], object], outcome: tuple[int, object], result: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver = SyncDriver(monkeypatch)
        driver.far_end.outcomes = [outcome]
        monkeypatch.setattr(channel, "Client", lambda: driver.client)
        assert call() == result
