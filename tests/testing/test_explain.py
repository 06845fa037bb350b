"""What a test is told when a message did not arrive."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pushline import channel
from pushline.testing import Page, PushlineServer
from pushline.testing.explain import matches


@pytest.mark.parametrize(
    ("message", "text", "same"),
    [
        ("hello", "hello", True),
        (b"gr\xc3\xbc\xc3\x9fe", "grüße", True),
        ({"a": 1, "b": [None]}, '{"b":[null],"a":1}', True),
        ([1], "[1]", True),
        ("1", "1", True),
        ("hello", "hell", False),
        ({"a": 1}, "not JSON", False),
        ({"a": 1}, '{"a":2}', False),
    ],
)
def test_a_message_is_found_as_it_was_sent(message: str | bytes | dict[str, int], text: str, same: bool) -> None:
    assert matches(message, text) is same


def failure(call: Callable[[], None]) -> str:
    """What the assertion says."""
    with pytest.raises(AssertionError) as raised:
        call()
    return str(raised.value)


class TestAServer:
    def test_is_content_when_a_page_has_got_it(self, pushline_server: PushlineServer) -> None:
        pushline_server.page(channel.create_channel("ann"))
        channel.send_json("ann", {"turn": "X"})
        pushline_server.assert_delivered("ann", {"turn": "X"})
        pushline_server.assert_not_sent("bob", {"turn": "X"})
        assert failure(lambda: pushline_server.assert_not_sent("ann", {"turn": "X"})) == (
            "{'turn': 'X'} was sent to 'ann'."
        )

    def test_says_that_it_was_never_sent_and_what_was(self, pushline_server: PushlineServer) -> None:
        channel.create_channel("ann")
        for n in range(7):
            channel.send_message("ann", f"message {n}")
        assert failure(lambda: pushline_server.assert_delivered("ann", "hello")) == (
            "No page of 'ann' got 'hello'.\n"
            "It was never sent to 'ann'.\n"
            "What was sent: 7 messages, the last of them "
            "'message 2', 'message 3', 'message 4', 'message 5', 'message 6'."
        )

    def test_says_to_whom_else_it_was_sent(self, pushline_server: PushlineServer) -> None:
        channel.send_message("bob", "hello")
        text = failure(lambda: pushline_server.assert_delivered("ann", "hello"))
        assert text.endswith("It was sent to 'bob' instead.")

    def test_says_that_there_was_no_channel(self, pushline_server: PushlineServer) -> None:
        channel.send_message("ann", "hello")
        text = failure(lambda: pushline_server.assert_delivered("ann", "hello"))
        assert "answered `no_channel`" in text
        assert "Create the channel first" in text

    def test_says_that_no_page_was_opened(self, pushline_server: PushlineServer) -> None:
        channel.create_channel("ann")
        channel.send_message("ann", "hello")
        text = failure(lambda: pushline_server.assert_delivered("ann", "hello"))
        assert "Open one with `pushline_server.page(token)`" in text

    def test_says_that_the_client_id_may_be_a_slip(self, pushline_server: PushlineServer) -> None:
        channel.create_channel("game-1/ann")
        text = failure(lambda: pushline_server.assert_delivered("game-1/Ann", "hello"))
        assert "Nothing was sent to this client id at all." in text
        assert text.endswith("It has no channel; did you mean 'game-1/ann'?")
        text = failure(lambda: pushline_server.assert_delivered("zoe", "hello"))
        assert text.endswith("Those with a channel: 'game-1/ann'.")

    def test_says_what_has_become_of_each_page(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann")
        pushline_server.page(token)
        pushline_server.page(token).drop()
        channel.send_message("ann", "hello")
        _, kept, first, second = failure(lambda: pushline_server.assert_delivered("ann", "hello")).split("\n")
        assert kept == "It was sent and kept."
        assert first.startswith("page-1: It has ended with 4409: Another page of this client id holds the place.")
        assert 'policy="share"' in first
        assert second.startswith("page-2: It has no connection, and comes back as time passes")


def expire(server: PushlineServer, page: Page) -> None:
    server.advance(hours=2)


def fall_behind(server: PushlineServer, page: Page) -> None:
    page.drop()
    server.crash(lose_store=True)
    server.start()
    server.advance(1)


class TestAPage:
    @pytest.mark.parametrize(
        ("happening", "words"),
        [
            (lambda server, page: None, "It is connected. Was the message sent before its token was created"),
            (lambda server, page: page.close(), "closed by the test or left"),
            (lambda server, page: page.drop(), "`pushline_server.advance(seconds=1)`"),
            (lambda server, page: page.half_open(), "half-open, which shows as time passes"),
            (lambda server, page: page.sleep(), "`page.wake()`"),
            (lambda server, page: page.go_offline(), "`page.go_online()`"),
            (lambda server, page: page.read_slowly(7), "It takes 7 bytes a second: `page.read_on()`"),
            (expire, "It has ended with 4408: The token has expired. Give the page a `refresh_token`"),
            (fall_behind, "messages are missing (`gap`)"),
        ],
    )
    def test_says_what_is_wrong_with_it(
        self, pushline_server: PushlineServer, happening: Callable[[PushlineServer, Page], None], words: str
    ) -> None:
        page = pushline_server.page(channel.create_channel("ann"))
        channel.send_message("ann", "before")
        happening(pushline_server, page)
        first, situation, got = failure(lambda: page.assert_delivered("hello")).split("\n")
        assert first == "page-1 did not get 'hello'."
        assert words in situation
        assert got == "It got 'before'."

    def test_says_that_it_is_not_connected_yet(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann", policy="reject")
        pushline_server.page(token).half_open()
        page = pushline_server.page(token)
        text = failure(lambda: page.assert_delivered("x" * 1000))
        assert "not connected yet" in text
        assert len(text.split("\n")[0]) < 200
        assert text.endswith("It got no message at all.")

    def test_shows_itself(self, pushline_server: PushlineServer) -> None:
        page = pushline_server.page(channel.create_channel("ann"))
        assert repr(page) == "<Page page-1 of 'ann', open, 0 messages>"
        assert page.token not in repr(page)
