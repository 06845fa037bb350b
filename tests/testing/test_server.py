"""The server in memory: all of an application's requests end in it, and it may crash."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

import pushline.asgi
from pushline import AsyncClient, Client, channel, presence
from pushline.appengine import channel as old_channel
from pushline.errors import ConfigurationError, InvalidSignature, RequestRefused, Unreachable
from pushline.testing import Page, PresenceCall, PushlineServer


@pytest.fixture
def page(pushline_server: PushlineServer) -> Page:
    """A page of ann's."""
    return pushline_server.page(channel.create_channel("ann"))


class TestTheApplication:
    def test_needs_no_address_and_no_key(self, pushline_server: PushlineServer, page: Page) -> None:
        Client().send_message("ann", "by a client")
        channel.send_message("ann", "by the module")
        assert page.messages == ["by a client", "by the module"]

    def test_may_have_made_its_client_long_ago(self, page: Page) -> None:
        CLIENT_OF_LONG_AGO.send_message("ann", "hello")
        page.assert_delivered("hello")

    def test_may_be_asynchronous(self, page: Page) -> None:
        async def main() -> None:
            async with AsyncClient("https://push.example.com", "another-key-altogether") as client:
                assert (await client.send_message("ann", "hello", wait=3)).status == "delivered"

        asyncio.run(main())
        page.assert_delivered("hello")

    def test_may_have_pushline_mounted(self, page: Page) -> None:
        asyncio.run(pushline.asgi.Pushline(store="memory").send_message("ann", "from within"))
        page.assert_delivered("from within")

    def test_may_be_of_app_engines_time(self, pushline_server: PushlineServer) -> None:
        page = pushline_server.page(old_channel.create_channel("ann"))
        old_channel.send_message("ann", "hello")
        page.assert_delivered("hello")

    def test_may_send_from_many_threads(self, page: Page) -> None:
        def send(thread: int) -> None:
            for number in range(20):
                channel.send_message("ann", f"{thread}.{number}")

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(page.messages) == len(set(page.messages)) == 80
        for number in range(4):
            own = [text for text in page.messages if text.startswith(f"{number}.")]
            assert own == [f"{number}.{n}" for n in range(20)]

    def test_is_refused_as_by_a_real_server(self, pushline_server: PushlineServer) -> None:
        with pytest.raises(RequestRefused, match=r"413 message_too_long"):
            channel.send_message("ann", "x" * 40_000)
        with pytest.raises(RequestRefused, match="404 no_channel"):
            channel.get_client("ann")

    def test_can_be_looked_at(self, pushline_server: PushlineServer, page: Page) -> None:
        channel.send_message("ann", "one", idempotency_key="k")
        channel.send_message("ann", "one", idempotency_key="k")
        channel.send_message("bob", "two")
        assert [(each.client_id, each.message, each.id is None) for each in pushline_server.sent] == [
            ("ann", "one", False),
            ("bob", "two", True),
        ]


class TestItsTime:
    def test_stands_still(self, pushline_server: PushlineServer) -> None:
        before = pushline_server.now
        pushline_server.advance(1, minutes=1, hours=1, days=1)
        assert pushline_server.now - before == timedelta(days=1, seconds=3661)

    def test_passes_while_the_application_waits(self, pushline_server: PushlineServer) -> None:
        channel.create_channel("ann")
        before = pushline_server.now
        assert channel.send_message("ann", "hello", wait=20).status == "queued"
        assert pushline_server.now - before == timedelta(seconds=20)

    def test_does_not_pass_when_a_page_is_there(self, pushline_server: PushlineServer, page: Page) -> None:
        before = pushline_server.now
        assert channel.send_message("ann", "hello", wait=20).status == "delivered"
        assert pushline_server.now == before

    def test_passes_until_a_page_is_back(self, pushline_server: PushlineServer, page: Page) -> None:
        page.drop()
        before = pushline_server.now
        assert channel.send_message("ann", "hello", wait=20).status == "delivered"
        assert pushline_server.now - before < timedelta(seconds=1)


class TestACrash:
    def test_loses_nothing_that_was_answered(self, pushline_server: PushlineServer, page: Page) -> None:
        channel.send_message("ann", "one")
        page.drop()
        channel.send_message("ann", "two")
        pushline_server.crash()
        pushline_server.advance(1)
        assert page.state == "reconnecting"
        pushline_server.start()
        pushline_server.advance(2)
        assert page.messages == ["one", "two"]
        assert channel.send_message("ann", "three").status == "sent"
        assert [each.connected for each in pushline_server.presence] == [True]

    def test_is_seen_by_the_application(self, pushline_server: PushlineServer) -> None:
        pushline_server.crash()
        before = pushline_server.now
        with pytest.raises(Unreachable, match="Connection refused"):
            channel.create_channel("ann")
        assert pushline_server.now - before == timedelta(seconds=0.5)
        pushline_server.start()
        assert channel.create_channel("ann")

    def test_while_the_application_waits_is_an_error(self, pushline_server: PushlineServer, page: Page) -> None:
        page.half_open()
        pushline_server.clock.call_later(5, pushline_server.crash)
        with pytest.raises(Unreachable, match="Connection reset"):
            channel.send_message("ann", "hello", wait=20)
        pushline_server.start()
        pushline_server.advance(minutes=1)
        assert page.messages == ["hello"]

    def test_with_the_store_is_told_to_the_pages(self, pushline_server: PushlineServer, page: Page) -> None:
        channel.send_message("ann", "one")
        pushline_server.crash(lose_store=True)
        pushline_server.start()
        pushline_server.advance(1)
        assert page.events == ["open", "message", "reconnecting", "reconnect", "gap"]
        channel.send_message("ann", "two")
        assert page.messages == ["one", "two"]

    def test_of_one_that_is_down_is_nothing(self, pushline_server: PushlineServer) -> None:
        pushline_server.crash()
        pushline_server.crash()
        pushline_server.stop()
        pushline_server.start()
        pushline_server.start()
        assert channel.create_channel("ann")

    def test_before_a_page_was_opened(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann")
        pushline_server.crash()
        page = pushline_server.page(token)
        page.leave()
        page = pushline_server.page(token)
        assert page.state == "connecting"
        pushline_server.start()
        pushline_server.advance(2)
        assert page.state == "open"

    def test_of_which_nobody_is_told_who_was_there_before(self, pushline_server: PushlineServer, page: Page) -> None:
        page.sleep()
        pushline_server.crash()
        pushline_server.start()
        pushline_server.advance(minutes=1)
        assert [each.connected for each in pushline_server.presence] == [True, False]


class TestARestart:
    def test_asks_every_page_to_come_back_at_its_own_moment(self, pushline_server: PushlineServer) -> None:
        pages = [pushline_server.page(channel.create_channel(f"user {n}")) for n in range(20)]
        pushline_server.restart()
        moments = {page.back_in for page in pages}
        assert None not in moments
        assert len(moments) > 15
        pushline_server.advance(20)
        assert {page.state for page in pages} == {"open"}
        assert [each.connected for each in pushline_server.presence] == [True] * 20

    def test_answers_whoever_waits(self, pushline_server: PushlineServer, page: Page) -> None:
        page.half_open()
        pushline_server.clock.call_later(1, pushline_server.stop)
        assert channel.send_message("ann", "hello", wait=20).status == "sent"


class TestALostAnswer:
    def test_is_asked_for_again_with_an_idempotency_key(self, pushline_server: PushlineServer, page: Page) -> None:
        pushline_server.lose_next_answer()
        assert channel.send_message("ann", "hello", idempotency_key="k").status == "sent"
        assert page.messages == ["hello"]

    def test_is_an_error_without(self, pushline_server: PushlineServer, page: Page) -> None:
        pushline_server.lose_next_answer()
        with pytest.raises(Unreachable, match="Connection reset"):
            channel.send_message("ann", "hello")
        assert page.messages == ["hello"]


def test_a_full_store_refuses(pushline_server: PushlineServer, page: Page) -> None:
    pushline_server.fill_store()
    with pytest.raises(RequestRefused, match="507 store_full"):
        channel.send_message("ann", "hello")
    pushline_server.fill_store(False)
    assert channel.send_message("ann", "hello").status == "sent"
    assert page.messages == ["hello"]


class TestPresence:
    def test_is_listed(self, pushline_server: PushlineServer, page: Page) -> None:
        page.go_offline()
        pushline_server.advance(3)
        told = pushline_server.presence
        assert [(each.client_id, each.connected) for each in told] == [("ann", True), ("ann", False)]
        assert told[0].sequence < told[1].sequence

    def test_is_signed_for_the_application(self, pushline_server: PushlineServer) -> None:
        calls: list[PresenceCall] = []

        def handler(call: PresenceCall) -> int:
            calls.append(call)
            return 204

        pushline_server.on_presence = handler
        pushline_server.page(channel.create_channel("ann")).leave()
        pushline_server.advance(hours=1)
        assert [call.path for call in calls] == ["/_ah/channel/connected/", "/_ah/channel/disconnected/"]
        assert [presence.parse(call.headers, call.body) for call in calls] == pushline_server.presence
        with pytest.raises(InvalidSignature):
            presence.parse(calls[0].headers, calls[1].body)

    def test_the_page_receives_what_the_handler_sends(self, pushline_server: PushlineServer) -> None:
        pushline_server.on_presence = lambda call: len(channel.send_message("ann", "welcome").status) and 200
        page = pushline_server.page(channel.create_channel("ann"))
        assert page.messages == ["welcome"]

    def test_is_told_again_to_a_handler_that_fails(self, pushline_server: PushlineServer) -> None:
        statuses = [500, 503, 204]
        times: list[float] = []

        def handler(call: PresenceCall) -> int:
            times.append(pushline_server.clock.now())
            return statuses.pop(0)

        pushline_server.on_presence = handler
        pushline_server.page(channel.create_channel("ann"))
        assert channel.get_client("ann").callbacks[0].tries == 1
        pushline_server.advance(10)
        assert statuses == []
        assert times[1] - times[0] == pytest.approx(1.0)
        assert len(pushline_server.presence) == 1

    def test_is_told_no_more_when_there_is_no_handler(self, pushline_server: PushlineServer) -> None:
        calls: list[PresenceCall] = []
        pushline_server.on_presence = lambda call: calls.append(call) or 404  # type: ignore[func-returns-value]
        pushline_server.page(channel.create_channel("ann"))
        pushline_server.advance(10)
        assert len(calls) == 1

    def test_a_handler_may_send_from_a_thread_of_its_own(self, pushline_server: PushlineServer) -> None:
        def handler(call: PresenceCall) -> int:
            thread = threading.Thread(target=channel.send_message, args=("ann", "welcome"))
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
            return 200

        pushline_server.on_presence = handler
        assert pushline_server.page(channel.create_channel("ann")).messages == ["welcome"]

    def test_what_a_handler_raises_is_raised_in_the_test(self, pushline_server: PushlineServer) -> None:
        def handler(call: PresenceCall) -> int:
            raise ZeroDivisionError

        token = channel.create_channel("ann")
        pushline_server.on_presence = handler
        with pytest.raises(ZeroDivisionError):
            pushline_server.page(token)


class TestWithin:
    """What is in place only while it is in place."""

    def test_everything_is_as_before_afterwards(self) -> None:
        before = (Client._ask, AsyncClient._ask, dict(os.environ))
        with PushlineServer() as server:
            assert os.environ["PUSHLINE_API_KEY"] == server.api_key
            assert os.environ["PUSHLINE_URL"] == server.url
            assert os.environ["PUSHLINE_WEBHOOK_SECRET"] == server.webhook_secret
            channel.create_channel("ann")
        assert (Client._ask, AsyncClient._ask, dict(os.environ)) == before
        assert channel._client.cache_info().currsize == 0

    def test_settings_are_those_of_the_server(self) -> None:
        with PushlineServer(max_message_bytes=10, ping_interval=1, ping_timeout=1) as server:
            page = server.page(channel.create_channel("ann"))
            with pytest.raises(RequestRefused, match="413 message_too_long"):
                channel.send_message("ann", "x" * 11)
            page.half_open()
            server.advance(2.2)
            assert page.state == "reconnecting"

    @pytest.mark.parametrize(
        ("make", "error"),
        [
            (lambda: PushlineServer(grace=-1), ConfigurationError),
            (lambda: PushlineServer(colour="red"), TypeError),
        ],
    )
    def test_settings_that_cannot_be_are_refused(
        self, make: Callable[[], PushlineServer], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            make()


CLIENT_OF_LONG_AGO = Client("https://push.example.com", "the-key-of-production")
