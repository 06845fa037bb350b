"""The Python SDK against a real server: what it sends is what a client of the wire gets (contract, section 7)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar, Unpack

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pushline import Client, ClientState, SendResult, channel
from pushline.client.sends import SendOptions
from pushline.errors import RequestRefused, Unreachable

from .conftest import StartProgram
from .doors import AsyncDoor, receive
from .processes import COMMAND, PushlineProcess, free_port
from .proxy import Proxy
from .waiting import wait_for

pytestmark = pytest.mark.e2e

T = TypeVar("T")

HARD_CLIENT_IDS: Final = [
    "-",
    ".",
    "..",
    "../../v1/channels",
    "a/b",
    "/",
    "//",
    "%2F",
    "%",
    "+",
    " ",
    "a b+c",
    "?client_id=bob&ttl=1",
    "#x",
    "ann@example.com",
    "ünïcödé",
    "e\u0301",
    "\u00e9",
    "\x00",
    "\r\nX-Injected: yes",
    "\u2028",
    "\ufeff",
    "💥" * 64,
    "x" * 256,
]
HARD_TEXTS: Final = ["\x00", "\r\n", " ", "1-0 x", '{"type":"open"}', "\ufeff", "💥", "ü" * 16_383 + "x", "x" * 32_767]

CLIENT_IDS: Final = st.text(min_size=1, max_size=256).filter(lambda text: len(text.encode()) <= 256)
TEXTS: Final = st.text(min_size=1, max_size=300)
EXAMPLES: Final = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Door(Protocol):
    """One of the ways into the SDK."""

    def create_channel(self, client_id: str) -> str: ...

    def send_message(self, client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> SendResult: ...

    def send_json(self, client_id: str, value: object) -> SendResult: ...

    def get_client(self, client_id: str) -> ClientState: ...


@pytest.fixture(scope="module")
def door(request: pytest.FixtureRequest, shared_pushline: PushlineProcess) -> Iterator[Door]:
    with ExitStack() as stack:
        url, api_key = shared_pushline.url, shared_pushline.api_key
        if request.param == "Client":
            yield stack.enter_context(Client(url, api_key))
        elif request.param == "AsyncClient":
            asynchronous = AsyncDoor(url, api_key)
            stack.callback(asynchronous.close)
            yield asynchronous
        else:
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            environment.setenv("PUSHLINE_URL", url)
            environment.setenv("PUSHLINE_API_KEY", api_key)
            yield _fresh_module(stack)


def _fresh_module(stack: ExitStack) -> ModuleType:
    """The functions of the module, with a client that is made of the environment as it is now."""
    channel._client.cache_clear()
    stack.callback(channel._client.cache_clear)
    stack.callback(lambda: channel._client().close())
    return channel


through_each_door = pytest.mark.parametrize("door", ["Client", "AsyncClient", "pushline.channel"], indirect=True)


class TestDelivery:
    @through_each_door
    @EXAMPLES
    @given(client_id=CLIENT_IDS, text=TEXTS)
    @example(client_id="ann", text="x" * 32_767)
    def test_any_text_arrives_at_any_client_id(
        self, door: Door, shared_pushline: PushlineProcess, client_id: str, text: str
    ) -> None:
        self._check(door, shared_pushline, client_id, [text])

    @through_each_door
    @pytest.mark.parametrize("client_id", HARD_CLIENT_IDS, ids=ascii)
    def test_hard_texts_arrive_at_hard_client_ids(
        self, door: Door, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        self._check(door, shared_pushline, client_id, HARD_TEXTS)

    def _check(self, door: Door, pushline: PushlineProcess, client_id: str, texts: list[str]) -> None:
        token = door.create_channel(client_id)
        results = [door.send_message(client_id, text) for text in texts]
        assert {result.status for result in results} == {"queued"}
        opened, messages = receive(pushline.url, token, len(texts))
        assert (opened["type"], opened["client_id"], opened["gap"]) == ("open", client_id, False)
        assert messages == [text.encode() for text in texts]

    @through_each_door
    def test_bytes_and_json_arrive_too(self, door: Door, shared_pushline: PushlineProcess, client_id: str) -> None:
        token = door.create_channel(client_id)
        door.send_message(client_id, "ü\x00".encode())
        door.send_json(client_id, {"ü": [1, None, "💥"]})
        _, messages = receive(shared_pushline.url, token, 2)
        assert messages == ["ü\x00".encode(), '{"ü":[1,null,"💥"]}'.encode()]

    @through_each_door
    def test_a_client_id_without_a_channel_is_said_to_have_none(
        self, door: Door, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        assert door.send_message(client_id, "hello") == SendResult(id=None, status="no_channel")


class TestArrival:
    @through_each_door
    def test_a_send_waits_until_a_page_has_acknowledged_it_and_a_look_up_says_so_too(
        self, door: Door, shared_pushline: PushlineProcess, start_program: StartProgram, client_id: str
    ) -> None:
        token = door.create_channel(client_id)
        listener = start_program([COMMAND, "listen", "--token", token, "--url", shared_pushline.url])
        first = door.send_message(client_id, "hello", wait=30)
        assert first.status == "delivered"
        wait_for(lambda: "hello\n" in listener.output, lambda: listener.output)
        state = door.get_client(client_id)
        assert (state.client_id, state.connected, state.queued) == (client_id, True, 0)
        assert [(each.transport, each.acknowledged) for each in state.connections] == [("websocket", first.id)]
        assert state.acknowledged == first.id
        left = state.expires_at - datetime.now(UTC)
        assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2, seconds=1)  # whole seconds, never less
        assert listener.end(signal.SIGINT) == 0
        wait_for(lambda: not door.get_client(client_id).connected, lambda: door.get_client(client_id))

    @through_each_door
    def test_what_nobody_acknowledges_is_queued_when_the_wait_is_over(
        self, door: Door, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        door.create_channel(client_id)
        began = time.monotonic()
        sent = door.send_message(client_id, "hello", wait=0.3, idempotency_key="k")
        assert sent.status == "queued"
        assert time.monotonic() - began >= 0.3
        state = door.get_client(client_id)
        assert (state.connected, state.connections, state.queued, state.acknowledged) == (False, [], 1, None)

    def test_a_wait_may_be_longer_than_the_timeout_of_the_client(
        self, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        asynchronous = AsyncDoor(shared_pushline.url, shared_pushline.api_key, timeout=0.5)
        with ExitStack() as stack:
            client = stack.enter_context(Client(shared_pushline.url, shared_pushline.api_key, timeout=0.5))
            stack.callback(asynchronous.close)
            client.create_channel(client_id)
            assert client.send_message(client_id, "hello", wait=1).status == "queued"
            assert asynchronous.send_message(client_id, "hello", wait=1).status == "queued"

    @through_each_door
    @pytest.mark.parametrize("client_id", HARD_CLIENT_IDS, ids=ascii)
    def test_any_client_id_can_be_looked_up(self, door: Door, shared_pushline: PushlineProcess, client_id: str) -> None:
        door.create_channel(client_id)
        assert door.get_client(client_id).client_id == client_id

    @through_each_door
    def test_a_client_id_without_a_channel_is_a_refusal(
        self, door: Door, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        with pytest.raises(RequestRefused) as refusal:
            door.get_client(client_id)
        assert (refusal.value.status, refusal.value.code) == (404, "no_channel")


class TestFailure:
    @through_each_door
    def test_what_the_server_refuses_is_an_error_with_its_code(
        self, door: Door, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        wrongs: list[tuple[Callable[[], object], int, str]] = [
            (lambda: door.create_channel(""), 400, "invalid_client_id"),
            (lambda: door.send_message("x" * 257, "hello"), 400, "invalid_client_id"),
            (lambda: door.send_message(client_id, ""), 400, "invalid_message"),
            (lambda: door.send_message(client_id, b"\xff"), 400, "invalid_message"),
            (lambda: door.send_message(client_id, "x" * 32_768), 413, "message_too_long"),
            (lambda: door.send_message(client_id, "hello", wait=31), 400, "invalid_wait"),
            (lambda: door.get_client("x" * 257), 400, "invalid_client_id"),
        ]
        for wrong, status, code in wrongs:
            with pytest.raises(RequestRefused) as refusal:
                wrong()
            assert (refusal.value.status, refusal.value.code) == (status, code)

    def test_a_wrong_key_is_refused_and_not_repeated_in_the_error(
        self, shared_pushline: PushlineProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = "a-wrong-key-of-good-length"
        monkeypatch.setenv("PUSHLINE_URL", shared_pushline.url)
        monkeypatch.setenv("PUSHLINE_API_KEY", wrong)
        with ExitStack() as stack:
            asynchronous = AsyncDoor(shared_pushline.url, wrong)
            stack.callback(asynchronous.close)
            doors: list[Any] = [stack.enter_context(Client()), asynchronous, _fresh_module(stack)]
            for door in doors:
                for ask in (door.create_channel, partial(door.send_message, message="hello")):
                    with pytest.raises(RequestRefused) as refusal:
                        ask("ann")
                    assert (refusal.value.status, refusal.value.code) == (401, "unauthorized")
                    assert wrong not in str(refusal.value)

    def test_a_server_that_is_down_is_unreachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("PUSHLINE_URL", nowhere)
        monkeypatch.setenv("PUSHLINE_API_KEY", "a-key-that-nobody-asks")
        with ExitStack() as stack:
            asynchronous = AsyncDoor(nowhere, "a-key-that-nobody-asks")
            stack.callback(asynchronous.close)
            doors: list[Any] = [stack.enter_context(Client()), asynchronous, _fresh_module(stack)]
            for door in doors:
                with pytest.raises(Unreachable, match="Connection refused") as error:
                    door.send_message("ann", "hello")
                assert error.value.url == nowhere

    def test_a_send_whose_answer_was_lost_takes_effect_once(self, pushline: PushlineProcess, proxy: Proxy) -> None:
        token = pushline.client.create_channel("ann")
        asynchronous = AsyncDoor(proxy.url, pushline.api_key)
        with ExitStack() as stack:
            client = stack.enter_context(Client(proxy.url, pushline.api_key))
            stack.callback(asynchronous.close)
            proxy.lose_next_answer()
            assert client.send_message("ann", "one", idempotency_key="1").status == "queued"
            proxy.lose_next_answer()
            with pytest.raises(Unreachable):
                client.send_message("ann", "two")
            proxy.lose_next_answer()
            repeated = asynchronous.run(asynchronous.client.send_message("ann", "three", idempotency_key="3"))
            assert repeated.status == "queued"
            proxy.lose_next_answer()
            with pytest.raises(Unreachable):
                asynchronous.send_message("ann", "four")
            pushline.client.send_message("ann", "five")
        _, messages = receive(pushline.url, token, 5)
        assert messages == [b"one", b"two", b"three", b"four", b"five"]

    def test_a_client_goes_on_after_a_restart_of_the_server(self, pushline: PushlineProcess) -> None:
        asynchronous = AsyncDoor(pushline.url, pushline.api_key)
        with ExitStack() as stack:
            client = stack.enter_context(Client(pushline.url, pushline.api_key))
            stack.callback(asynchronous.close)
            for door in (client, asynchronous):
                door.create_channel("ann")
            pushline.kill9()
            pushline.restart()
            for door in (client, asynchronous):
                assert door.create_channel("ann")
                assert door.send_message("ann", "hello").status == "queued"
