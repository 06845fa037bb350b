"""Sends of one turn of an event loop, against a whole server in memory: few requests, and to each its own answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.http.rig import Rig

from pushline.client import sends
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.results import SendResult
from pushline.client.sender import Sender
from pushline.client.sends import Send
from pushline.errors import RequestRefused, Unreachable

URL = "http://push.example"


class Asked:
    """What a sender asks the server for, one request after the other when the test lets them through."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.requests: list[ApiRequest] = []
        self.held: list[asyncio.Future[None]] = []
        self.holds = False
        self.error: Exception | None = None
        self.answer: ApiResponse | None = None

    async def __call__(self, request: ApiRequest) -> ApiResponse:
        self.requests.append(request)
        if self.holds:
            self.held.append(asyncio.get_running_loop().create_future())
            await self.held[-1]
        if self.error is not None:
            raise self.error
        if self.answer is not None:
            return self.answer
        answer = self.rig.ask(request.method, request.target, dict(request.headers), request.body)
        return ApiResponse(answer.status, answer.headers, answer.body)

    @property
    def kinds(self) -> list[str]:
        """Of each request, whether it is A2 or A3, and what of A3 is to whom."""
        return [
            "+".join(item["to"] for item in json.loads(request.body)["messages"])
            if request.target == "/v1/messages"
            else request.target.partition("client_id=")[2]
            for request in self.requests
        ]


@pytest.fixture
def asked(rig: Rig) -> Asked:
    for client_id in ("ann", "bob", "eve"):
        rig.token(client_id)
    return Asked(rig)


def run(asked: Asked, play: Callable[[Sender], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        sender = Sender(asked)
        result = await play(sender)
        await sender.close()
        return result

    return asyncio.run(main())


def send_all(asked: Asked, *messages: Send) -> list[SendResult | BaseException]:
    """What becomes of messages that are sent in one turn."""

    async def play(sender: Sender) -> Any:
        return await asyncio.gather(*map(sender.send, messages), return_exceptions=True)

    results: list[SendResult | BaseException] = run(asked, play)
    return results


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class TestTogether:
    def test_the_sends_of_one_turn_are_one_request_and_each_has_its_result(self, asked: Asked) -> None:
        results = send_all(
            asked,
            sends.of_text("ann", "one"),
            sends.of_text("nobody", "lost"),
            sends.of_value("bob", {"n": 1}),
            sends.of_text("ann", "two"),
        )
        assert asked.kinds == ["ann+nobody+bob+ann"]
        assert [result.status for result in results if isinstance(result, SendResult)] == [
            "queued", "no_channel", "queued", "queued",
        ]  # fmt: skip
        assert results[1] == SendResult(None, "no_channel")
        assert len({result.id for result in results if isinstance(result, SendResult)}) == 4
        assert asked.rig.kept("ann") == [b"one", b"two"]
        assert asked.rig.kept("bob") == [b'{"n":1}']

    def test_one_send_in_a_turn_is_a_request_for_one_message(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            await sender.send(sends.of_text("ann", "one"))
            await sender.send(sends.of_text("ann", "two"))

        run(asked, play)
        assert asked.kinds == ["ann", "ann"]
        assert asked.rig.kept("ann") == [b"one", b"two"]

    def test_sends_of_many_tasks_and_generations_of_them_come_together(self, asked: Asked) -> None:
        async def talk(sender: Sender, client_id: str) -> None:
            for number in range(3):
                await sender.send(sends.of_text(client_id, str(number)))

        async def play(sender: Sender) -> None:
            async with asyncio.TaskGroup() as group:
                for client_id in ("ann", "bob", "eve"):
                    group.create_task(talk(sender, client_id))

        run(asked, play)
        assert asked.kinds == ["ann+bob+eve"] * 3

    def test_keys_and_lifetimes_go_with_them(self, asked: Asked) -> None:
        again = [
            sends.of_text("ann", "one", idempotency_key="k"),
            sends.of_text("bob", "two", idempotency_key="k", ttl=5),
        ]
        first, second = send_all(asked, *again), send_all(asked, *again)
        assert first == second
        assert asked.rig.kept("ann") == [b"one"]
        asked.rig.clock.advance(6)
        assert asked.rig.kept("bob") == []

    @pytest.mark.parametrize("option", [{"wait": 0.5}, {"ttl": 0}])
    def test_what_no_batch_carries_goes_alone(self, asked: Asked, option: dict[str, float]) -> None:
        asked.answer = ApiResponse(200, {}, b'{"id":"1-0","status":"delivered"}')
        assert send_all(asked, sends.of_text("ann", "one", **option), sends.of_text("bob", "two"))[0] == SendResult(  # type: ignore[arg-type]
            "1-0", "delivered"
        )
        assert asked.kinds == [f"ann&{name}={value}" for name, value in option.items()] + ["bob"]


class TestFailures:
    def test_a_bad_message_fails_alone_as_if_it_had_been_sent_alone(self, asked: Asked) -> None:
        bad = [sends.of_text("bob", ""), sends.of_text("x" * 257, "hello"), sends.of_text("bob", "x" * 40_000)]
        alone = [send_all(asked, message)[0] for message in bad]
        ok, *together = send_all(asked, sends.of_text("ann", "one"), *bad)
        assert isinstance(ok, SendResult)
        assert asked.kinds[-1].startswith("ann+bob+xxx")
        for one, other in zip(alone, together, strict=True):
            assert isinstance(one, RequestRefused)
            assert isinstance(other, RequestRefused)
            assert other.args[:3] == one.args[:3]
        assert asked.rig.kept("ann") == [b"one"]

    def test_a_code_of_a_later_version_is_a_refusal_too(self, asked: Asked) -> None:
        body = {
            "results": [{"to": "ann", "code": "new", "detail": "New."}, {"to": "bob", "id": "1-0", "status": "sent"}]
        }
        asked.answer = ApiResponse(200, {}, json.dumps(body).encode())
        refused, sent = send_all(asked, sends.of_text("ann", "one"), sends.of_text("bob", "two"))
        assert isinstance(refused, RequestRefused)
        assert (refused.status, refused.code, refused.detail) == (400, "new", "New.")
        assert sent == SendResult("1-0", "sent")

    @pytest.mark.parametrize("results", [[], [{"to": "ann", "id": "1-0", "status": "sent"}] * 3])
    def test_an_answer_that_is_about_something_else_is_none(self, asked: Asked, results: list[Any]) -> None:
        asked.answer = ApiResponse(200, {}, json.dumps({"results": results}).encode())
        for result in send_all(asked, sends.of_text("ann", "one"), sends.of_text("bob", "two")):
            assert isinstance(result, RequestRefused)
            assert result.code == "unexpected_answer"

    def test_when_the_request_fails_each_has_an_error_of_its_own(self, asked: Asked) -> None:
        asked.error = Unreachable(URL, "Connection refused")
        asked.error.__cause__ = ConnectionRefusedError(111, "Connection refused")
        one, two = send_all(asked, sends.of_text("ann", "one"), sends.of_text("bob", "two"))
        assert isinstance(one, Unreachable)
        assert isinstance(two, Unreachable)
        assert one is not two
        assert one.args == two.args == (URL, "Connection refused")
        assert one.__cause__ is asked.error.__cause__

    def test_after_a_failure_the_next_ones_go(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            asked.holds = True
            first = [asyncio.ensure_future(sender.send(sends.of_text(to, "one"))) for to in ("ann", "bob")]
            await turns()
            second = asyncio.ensure_future(sender.send(sends.of_text("ann", "two")))
            await turns()
            assert asked.kinds == ["ann+bob"]
            asked.holds = False
            asked.held[0].set_exception(Unreachable(URL, "Connection refused"))
            assert (await second).status == "queued"
            for task in first:
                with pytest.raises(Unreachable):
                    await task

        run(asked, play)
        assert asked.rig.kept("ann") == [b"two"]


class TestOrder:
    def test_messages_to_one_client_id_go_one_after_the_other_and_the_others_do_not_wait(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            asked.holds = True
            sending = [asyncio.ensure_future(sender.send(sends.of_text("ann", "1")))]
            await turns()
            for client_id, message in (("ann", "2"), ("bob", "1"), ("ann", "3")):
                sending.append(asyncio.ensure_future(sender.send(sends.of_text(client_id, message))))
                await turns()
            assert asked.kinds == ["ann", "bob"]
            asked.holds = False
            for held in asked.held:
                held.set_result(None)
            await asyncio.gather(*sending)
            assert asked.kinds == ["ann", "bob", "ann+ann"]

        run(asked, play)
        assert asked.rig.kept("ann") == [b"1", b"2", b"3"]


class TestCancelling:
    def test_before_its_turn_ends_sends_nothing(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            sending = asyncio.ensure_future(sender.send(sends.of_text("ann", "one")))
            await turns(1)
            sending.cancel()
            await asyncio.wait([sending])
            assert sending.cancelled()
            await sender.send(sends.of_text("ann", "two"))

        run(asked, play)
        assert asked.rig.kept("ann") == [b"two"]

    def test_in_the_moment_of_its_turn_holds_nothing_up(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            for count in range(4):
                sending = asyncio.ensure_future(sender.send(sends.of_text("ann", "one")))
                await turns(count)
                sending.cancel()
                await asyncio.wait([sending])
                await asyncio.wait_for(sender.send(sends.of_text("ann", "two")), 1)

        run(asked, play)
        assert asked.rig.kept("ann").count(b"two") == 4

    def test_one_of_several_leaves_the_others_alone(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            asked.holds = True
            one, two = (asyncio.ensure_future(sender.send(sends.of_text(to, "hello"))) for to in ("ann", "bob"))
            await turns()
            one.cancel()
            await turns()
            asked.held[0].set_result(None)
            assert (await two).status == "queued"
            assert one.cancelled()

        run(asked, play)
        assert asked.kinds == ["ann+bob"]

    def test_closing_waits_for_what_somebody_waits_for_and_gives_up_the_rest(self, asked: Asked) -> None:
        async def play(sender: Sender) -> None:
            asked.holds = True
            given_up = [asyncio.ensure_future(sender.send(sends.of_text(to, "no"))) for to in ("ann", "bob")]
            await turns()
            wanted = [asyncio.ensure_future(sender.send(sends.of_text("eve", text))) for text in "ab"]
            await turns()
            assert asked.kinds == ["ann+bob", "eve+eve"]
            for task in given_up:
                task.cancel()
            await turns()
            closing = asyncio.ensure_future(sender.close())
            await turns()
            assert asked.held[0].cancelled()
            assert not closing.done()
            asked.held[1].set_result(None)
            await closing
            assert [(await task).status for task in wanted] == ["queued", "queued"]

        run(asked, play)
        assert asked.rig.kept("ann") == []
