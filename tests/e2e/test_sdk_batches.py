"""Messages that the SDK sends together, to a real server that also dies on the way (contract, Y1, A3, G1)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pushline import AsyncClient, Client, SendResult
from pushline.client.batch import Batch
from pushline.errors import RequestRefused, Unreachable

from .conftest import StartPushline
from .doors import AsyncDoor, receive, run_apart
from .processes import PushlineProcess
from .proxy import Proxy
from .waiting import wait_for

pytestmark = pytest.mark.e2e

NAMES = [f"batch-{number}" for number in range(20)]


@pytest.fixture
def door(shared_pushline: PushlineProcess) -> Iterator[AsyncDoor]:
    door = AsyncDoor(shared_pushline.url, shared_pushline.api_key)
    yield door
    door.close()


class TestOneTurn:
    def test_each_message_has_its_own_result_and_arrives_in_the_order_of_the_calls(
        self, shared_pushline: PushlineProcess, door: AsyncDoor
    ) -> None:
        tokens = {name: shared_pushline.client.create_channel(name) for name in NAMES}

        async def send() -> list[SendResult]:
            sending = [door.client.send_message(name, f"{turn}") for turn in range(30) for name in NAMES]
            return await asyncio.gather(*sending)

        results = door.run(send())
        assert {result.status for result in results} == {"queued"}
        assert len({result.id for result in results}) == len(results)
        for name, token in tokens.items():
            assert receive(shared_pushline.url, token, 30)[1] == [b"%d" % turn for turn in range(30)], name

    def test_a_bad_one_fails_alone(self, shared_pushline: PushlineProcess, door: AsyncDoor) -> None:
        shared_pushline.client.create_channel("bad-1")

        async def send() -> list[SendResult | BaseException]:
            wrong = [("bad-1", ""), ("x" * 257, "hello"), ("bad-1", "x" * 32_768), ("nobody", "hello")]
            sending = [door.client.send_message(*each) for each in [("bad-1", "good"), *wrong]]
            return await asyncio.gather(*sending, return_exceptions=True)

        good, empty, unnamed, long, lost = door.run(send())
        assert isinstance(good, SendResult)
        assert lost == SendResult(None, "no_channel")
        codes = [(error.status, error.code) for error in (empty, unnamed, long) if isinstance(error, RequestRefused)]
        assert codes == [(400, "invalid_message"), (400, "invalid_client_id"), (413, "message_too_long")]

    def test_a_wrong_key_is_told_to_each(self, shared_pushline: PushlineProcess) -> None:
        async def send() -> list[SendResult | BaseException]:
            async with AsyncClient(shared_pushline.url, "a-wrong-key-of-good-length") as client:
                sending = [client.send_message(name, "hello") for name in NAMES]
                return await asyncio.gather(*sending, return_exceptions=True)

        for error in run_apart(send()):
            assert isinstance(error, RequestRefused)
            assert error.code == "unauthorized"


class TestABlock:
    def test_sends_at_its_end(self, shared_pushline: PushlineProcess) -> None:
        client = shared_pushline.client
        token = client.create_channel("block")
        with client.batch() as batch:
            batch.send_message("block", "one")
            batch.send_message("nobody", "two")
            batch.send_json("block", {"n": 3}, ttl=60)
            batch.send_message("block", "")
            assert client.get_client("block").queued == 0
        first, second, third, fourth = batch.results
        assert [each.status for each in batch.results] == ["queued", "no_channel", "queued", None]
        assert [each.to for each in (first, second, third)] == ["block", "nobody", "block"]
        assert fourth.code == "invalid_message"
        assert receive(shared_pushline.url, token, 2)[1] == [b"one", b'{"n":3}']

    def test_that_raises_sends_nothing(self, shared_pushline: PushlineProcess) -> None:
        client = shared_pushline.client
        client.create_channel("block that raises")

        def fill(batch: Batch) -> None:
            with batch:
                batch.send_message("block that raises", "one")
                batch.send_message("block that raises", b"\xff")

        batch = client.batch()
        with pytest.raises(ValueError, match="A batch takes texts in UTF-8"):
            fill(batch)
        assert batch.results == []
        assert client.get_client("block that raises").queued == 0

    def test_of_more_than_one_request_takes_sends_all_in_order(self, shared_pushline: PushlineProcess) -> None:
        client = shared_pushline.client
        tokens = {name: client.create_channel(f"large-{name}") for name in NAMES}
        with client.batch() as batch:
            for number in range(11_000):
                batch.send_message(f"large-{NAMES[number % len(NAMES)]}", f"{number}".rjust(200))
        assert [each.status for each in batch.results] == ["queued"] * 11_000
        for place, token in enumerate(tokens.values()):
            messages = receive(shared_pushline.url, token, 550)[1]
            assert [int(each) for each in messages] == list(range(place, 11_000, len(NAMES)))


class TestALostAnswer:
    def test_with_keys_each_message_takes_effect_once(self, pushline: PushlineProcess, proxy: Proxy) -> None:
        token = pushline.client.create_channel("ann")
        asynchronous = AsyncDoor(proxy.url, pushline.api_key)
        with ExitStack() as stack:
            client = stack.enter_context(Client(proxy.url, pushline.api_key))
            stack.callback(asynchronous.close)

            async def send() -> list[SendResult]:
                sending = asynchronous.client.send_message
                return await asyncio.gather(*(sending("ann", each, idempotency_key=each) for each in "abc"))

            proxy.lose_next_answer()
            assert [result.status for result in asynchronous.run(send())] == ["queued"] * 3
            proxy.lose_next_answer()
            with client.batch() as batch:
                for each in "def":
                    batch.send_message("ann", each, idempotency_key=each)
            assert [result.status for result in batch.results] == ["queued"] * 3
        assert pushline.client.get_client("ann").queued == 6
        assert receive(pushline.url, token, 6)[1] == [b"a", b"b", b"c", b"d", b"e", b"f"]

    def test_without_keys_nobody_tries_again_and_everybody_is_told(
        self, pushline: PushlineProcess, proxy: Proxy
    ) -> None:
        pushline.client.create_channel("ann")
        asynchronous = AsyncDoor(proxy.url, pushline.api_key)
        with ExitStack() as stack:
            client = stack.enter_context(Client(proxy.url, pushline.api_key))
            stack.callback(asynchronous.close)

            async def send() -> list[SendResult | BaseException]:
                sending = [asynchronous.client.send_message("ann", each) for each in "abc"]
                return await asyncio.gather(*sending, return_exceptions=True)

            proxy.lose_next_answer()
            outcomes = asynchronous.run(send())
            assert [type(each) for each in outcomes] == [Unreachable] * 3
            assert len(set(map(id, outcomes))) == 3
            proxy.lose_next_answer()
            with pytest.raises(Unreachable), client.batch() as batch:
                batch.send_message("ann", "d")
            assert batch.results == []
        assert pushline.client.get_client("ann").queued == 4


class Load:
    """Messages with keys to many client ids, again and again. What fails is sent again, until all are accepted."""

    def __init__(self) -> None:
        self.sent = 0
        self.failures = 0
        self.stopped = threading.Event()

    def run(self, send_round: Callable[[list[str]], None]) -> None:
        """Send rounds, each of which has five messages to each client id, until it is stopped."""
        while not self.stopped.is_set():
            texts = [f"{self.sent + number}" for number in range(5)]
            while True:
                try:
                    send_round(texts)
                    break
                except Unreachable:
                    self.failures += 1
            self.sent += len(texts)


class TestADeath:
    """`kill -9` in the middle of batches."""

    @pytest.mark.parametrize("kind", ["Client.batch", "AsyncClient"])
    def test_with_keys_each_message_arrives_once_and_in_order(self, kind: str, start_pushline: StartPushline) -> None:
        process = start_pushline("--max-channel-messages", "100000", "--max-channel-bytes", str(16 << 20))
        tokens = {name: process.client.create_channel(name) for name in NAMES}
        load = Load()
        with ExitStack() as stack:
            client = stack.enter_context(Client(process.url, process.api_key))
            asynchronous = AsyncDoor(process.url, process.api_key)
            stack.callback(asynchronous.close)

            def send_block(texts: list[str]) -> None:
                with client.batch() as batch:
                    for name in NAMES:
                        for each in texts:
                            batch.send_message(name, each, idempotency_key=each)
                assert {result.status for result in batch.results} == {"queued"}

            async def send_turn(texts: list[str]) -> None:
                send = asynchronous.client.send_message
                await asyncio.gather(*(send(name, each, idempotency_key=each) for name in NAMES for each in texts))

            send_round = send_block if kind == "Client.batch" else lambda texts: asynchronous.run(send_turn(texts))
            sending = threading.Thread(target=load.run, args=(send_round,))
            sending.start()
            try:
                for patient in (False, True, False, True):
                    before, failures = load.sent, load.failures
                    wait_for(lambda before=before: load.sent >= before + 25, "it sends")  # type: ignore[misc]
                    process.kill9()
                    if patient:  # longer than the client tries by itself
                        wait_for(lambda failures=failures: load.failures > failures, "it fails")  # type: ignore[misc]
                    process.restart()
            finally:
                load.stopped.set()
                sending.join()
        for name, token in tokens.items():
            assert process.client.get_client(name).queued == load.sent
            messages = receive(process.url, token, load.sent)[1]
            assert messages == [b"%d" % number for number in range(load.sent)], name
