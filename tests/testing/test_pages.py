"""Pages in memory: they live on the wire as the page's script does, and everything may happen to them."""

from __future__ import annotations

import pytest

from pushline import channel
from pushline.errors import Unreachable
from pushline.protocol.codes import (
    DISCONNECTED,
    INVALID_TOKEN,
    NORMAL,
    REPLACED,
    REVOKED,
    TOKEN_EXPIRED,
)
from pushline.testing import Page, PushlineServer

INTERVAL, TIMEOUT, GRACE = 25.0, 10.0, 3.0


@pytest.fixture
def page(pushline_server: PushlineServer) -> Page:
    """A page of ann's."""
    return pushline_server.page(channel.create_channel("ann"))


def send(*texts: str, client_id: str = "ann") -> list[str]:
    """Send texts; what became of each."""
    return [channel.send_message(client_id, text).status for text in texts]


class TestAPage:
    def test_opens_and_receives(self, page: Page) -> None:
        assert (page.state, page.client_id, page.events) == ("open", "ann", ["open"])
        assert send("one", "two") == ["sent", "sent"]
        assert page.messages == ["one", "two"]
        assert page.events == ["open", "message", "message"]

    def test_gets_what_was_sent_since_its_token_was_made(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann")
        assert send("early") == ["queued"]
        assert pushline_server.page(token).messages == ["early"]

    def test_acknowledges_within_five_seconds(self, pushline_server: PushlineServer, page: Page) -> None:
        send("one")
        assert channel.get_client("ann").queued == 1
        pushline_server.advance(5)
        assert channel.get_client("ann").queued == 0

    def test_reads_json(self, page: Page) -> None:
        channel.send_json("ann", {"turn": "X"})
        channel.send_json("ann", [1, 2])
        assert page.json == [{"turn": "X"}, [1, 2]]

    def test_answers_pings_for_hours(self, pushline_server: PushlineServer, page: Page) -> None:
        pushline_server.advance(hours=1.9)
        assert (page.state, page.events) == ("open", ["open"])

    def test_receives_again_what_a_page_before_it_has_not_acknowledged(
        self, pushline_server: PushlineServer, page: Page
    ) -> None:
        send("one")
        again = pushline_server.page(page.token)
        assert again.messages == ["one"]
        assert page.code == REPLACED

    def test_waits_for_the_place_that_another_page_keeps(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann", policy="reject")
        first = pushline_server.page(token)
        assert pushline_server.page(token).code == REPLACED
        first.half_open()
        second = pushline_server.page(token)
        assert second.state == "connecting"
        pushline_server.advance(2.1)
        assert second.state == "open"

    def test_shares(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann", policy="share")
        pages = [pushline_server.page(token) for _ in range(3)]
        send("to all")
        assert [page.messages for page in pages] == [["to all"]] * 3


class TestTheEndOfAPage:
    def test_comes_when_its_token_expires(self, pushline_server: PushlineServer, page: Page) -> None:
        pushline_server.advance(hours=2)
        assert (page.state, page.code) == ("closed", TOKEN_EXPIRED)
        assert page.events == ["open", "error", "close"]

    @pytest.mark.parametrize("token", ["nonsense", "a.1-1.2.replace.c2lnbmF0dXJl"])
    def test_comes_at_once_with_a_token_that_is_none(self, pushline_server: PushlineServer, token: str) -> None:
        page = pushline_server.page(token)
        assert (page.state, page.code, page.events) == ("closed", INVALID_TOKEN, ["error", "close"])

    def test_comes_when_the_application_says_so(self, pushline_server: PushlineServer, page: Page) -> None:
        channel.disconnect("ann")
        assert page.code == DISCONNECTED
        again = pushline_server.page(page.token)
        channel.revoke("ann")
        assert again.code == REVOKED

    def test_closed_in_good_order_leaves_its_place(self, pushline_server: PushlineServer, page: Page) -> None:
        send("one")
        page.close()
        assert (page.state, page.code, page.events[-1]) == ("closed", NORMAL, "close")
        assert channel.get_client("ann").queued == 0
        assert send("two") == ["queued"]
        page.close()
        pushline_server.advance(GRACE)
        assert [each.connected for each in pushline_server.presence] == [True, False]

    def test_reloaded_it_is_the_same_user_who_has_never_gone(self, pushline_server: PushlineServer, page: Page) -> None:
        send("one")
        again = pushline_server.reload(page, channel.create_channel("ann"))
        pushline_server.advance(minutes=1)
        send("two")
        assert (page.messages, again.messages) == (["one"], ["two"])
        assert [each.connected for each in pushline_server.presence] == [True]

    def test_comes_when_there_was_no_connection_until_its_token_had_expired(
        self, pushline_server: PushlineServer, page: Page
    ) -> None:
        page.go_offline()
        pushline_server.advance(hours=2)
        assert page.state == "reconnecting"
        pushline_server.advance(minutes=1)
        assert page.code == 503


class TestAFreshToken:
    def test_is_asked_for_before_the_old_one_expires(self, pushline_server: PushlineServer) -> None:
        asked: list[float] = []

        def refresh() -> str:
            asked.append(pushline_server.clock.now())
            return channel.create_channel("ann", 120)

        page = pushline_server.page(channel.create_channel("ann", 120), refresh_token=refresh)
        first = page.token
        pushline_server.advance(hours=24)
        assert (page.state, page.events) == ("open", ["open"])
        assert page.token != first
        assert 12 <= len(asked) <= 13
        assert send("late") == ["sent"]
        page.assert_delivered("late")

    def test_keeps_messages_in_order_that_are_sent_while_it_is_made(self, pushline_server: PushlineServer) -> None:
        def refresh() -> str:
            channel.send_message("ann", "second")
            return channel.create_channel("ann")

        page = pushline_server.page(channel.create_channel("ann", 10), refresh_token=refresh)
        pushline_server.advance(minutes=9, seconds=-5)
        page.read_slowly()
        pushline_server.advance(21)  # in which it is told that its token expires
        channel.send_message("ann", "first")
        page.read_on()
        assert page.messages == ["first", "second"]
        assert page.events == ["open", "message", "message"]

    def test_is_asked_for_again_when_there_is_none(self, pushline_server: PushlineServer) -> None:
        tokens = [channel.create_channel("ann", 60)]

        def refresh() -> str:
            if len(tokens) < 4:
                tokens.append(tokens[0])
                raise Unreachable("http://app.test", "Connection refused")
            return channel.create_channel("ann", 60)

        page = pushline_server.page(tokens[0], refresh_token=refresh)
        pushline_server.advance(minutes=61)
        assert (page.state, page.events) == ("open", ["open"])

    def test_is_asked_for_once_more_when_the_old_one_has_expired(self, pushline_server: PushlineServer) -> None:
        page = pushline_server.page(
            channel.create_channel("ann", 10), refresh_token=lambda: channel.create_channel("ann")
        )
        page.sleep()
        pushline_server.advance(hours=1)
        page.wake()
        assert page.state == "open"
        # The channel had ended with its token: what was in it is gone.
        assert page.events == ["open", "reconnecting", "reconnect", "gap"]

    def test_is_asked_for_a_last_time_when_the_server_says_that_the_old_one_has_expired(
        self, pushline_server: PushlineServer
    ) -> None:
        start = pushline_server.clock.now()

        def refresh() -> str:
            if pushline_server.clock.now() < start + 600:
                raise Unreachable("http://app.test", "Connection refused")
            return channel.create_channel("ann", 10)

        page = pushline_server.page(channel.create_channel("ann", 10), refresh_token=refresh)
        pushline_server.advance(minutes=11)
        assert (page.state, page.events[:3]) == ("open", ["open", "reconnecting", "reconnect"])

    def test_that_is_the_old_one_helps_nobody(self, pushline_server: PushlineServer) -> None:
        token = channel.create_channel("ann", 10)
        page = pushline_server.page(token, refresh_token=lambda: token)
        pushline_server.advance(minutes=10)
        assert page.code == TOKEN_EXPIRED

    def test_after_the_old_one_timed_out_on_a_page_without_network(self, pushline_server: PushlineServer) -> None:
        page = pushline_server.page(
            channel.create_channel("ann", 10), refresh_token=lambda: channel.create_channel("ann")
        )
        page.go_offline()
        pushline_server.advance(hours=1)
        assert page.state == "reconnecting"
        page.go_online()
        assert page.state == "open"


class TestAConnectionThatBreaks:
    def test_is_made_again_and_nothing_is_lost_or_doubled(self, pushline_server: PushlineServer, page: Page) -> None:
        send("one")
        page.drop()
        assert page.state == "reconnecting"
        assert send("two", "three") == ["queued", "queued"]
        assert page.messages == ["one"]
        pushline_server.advance(1)
        assert page.messages == ["one", "two", "three"]
        assert page.events == ["open", "message", "reconnecting", "reconnect", "message", "message"]
        assert [each.connected for each in pushline_server.presence] == [True]

    def test_unnoticed_is_found_out_by_both_sides(self, pushline_server: PushlineServer, page: Page) -> None:
        page.half_open()
        assert send("into the void") == ["sent"]
        assert page.messages == []
        assert page.state == "open"
        pushline_server.advance(INTERVAL + TIMEOUT + 1)
        assert page.messages == ["into the void"]
        assert page.events == ["open", "reconnecting", "reconnect", "message"]

    def test_without_a_network_stays_away(self, pushline_server: PushlineServer, page: Page) -> None:
        page.go_offline()
        pushline_server.advance(minutes=10)
        assert page.state == "reconnecting"
        assert [each.connected for each in pushline_server.presence] == [True, False]
        send("one")
        page.go_online()
        assert page.messages == ["one"]
        assert [each.connected for each in pushline_server.presence] == [True, False, True]

    @pytest.mark.parametrize("minutes", [0.1, 10])
    def test_in_sleep_is_looked_at_on_waking(self, pushline_server: PushlineServer, page: Page, minutes: float) -> None:
        send("one")
        page.sleep()
        pushline_server.advance(minutes=minutes)
        send("two")
        assert page.messages == ["one"]
        page.wake()
        pushline_server.advance(minutes=1)
        assert page.messages == ["one", "two"]
        assert page.state == "open"
        assert channel.get_client("ann").queued == 0

    def test_of_a_page_that_is_closed_is_nothing(self, pushline_server: PushlineServer, page: Page) -> None:
        page.leave()
        for act in (page.drop, page.half_open, page.read_on, page.go_offline, page.go_online, page.leave):
            act()
        page.sleep()
        page.wake()
        pushline_server.advance(minutes=1)
        assert page.events == ["open", "close"]


class TestASlowReader:
    def test_costs_the_others_nothing_and_gets_everything(self, pushline_server: PushlineServer, page: Page) -> None:
        other = pushline_server.page(channel.create_channel("bob"))
        page.read_slowly(20_000)
        texts = [f"{n}:{'x' * 10_000}" for n in range(20)]
        statuses = send(*texts)
        assert statuses[0] == "sent"
        assert statuses[-1] == "queued"
        assert send("quick", client_id="bob") == ["sent"]
        assert other.messages == ["quick"]
        pushline_server.advance(3)
        assert 0 < len(page.messages) < 20
        pushline_server.advance(30)
        assert page.messages == texts
        assert page.events.count("reconnecting") == 0

    def test_that_takes_nothing_is_ended_and_resumes(self, pushline_server: PushlineServer, page: Page) -> None:
        page.read_slowly()
        texts = [f"{n}:{'x' * 10_000}" for n in range(20)]
        send(*texts)
        pushline_server.advance(TIMEOUT + 1)
        assert page.messages == []
        assert not channel.get_client("ann").connected
        page.read_on()
        pushline_server.advance(1)
        assert page.messages == texts

    def test_that_takes_nothing_gives_its_connection_up_itself(
        self, pushline_server: PushlineServer, page: Page
    ) -> None:
        page.read_slowly()
        pushline_server.advance(INTERVAL + TIMEOUT + 0.1)
        assert (page.state, page.events) == ("reconnecting", ["open", "reconnecting"])
        page.read_on()
        pushline_server.advance(1)
        assert page.state == "open"

    def test_is_slow_from_the_first_byte(self, pushline_server: PushlineServer, page: Page) -> None:
        page.read_slowly(50)
        page.drop()
        pushline_server.advance(4)
        assert page.state == "reconnecting"
        pushline_server.advance(10)
        assert page.state == "open"

    def test_may_become_slower_and_faster(self, pushline_server: PushlineServer, page: Page) -> None:
        page.read_slowly(100)
        page.read_slowly(10)
        send("x" * 100)
        pushline_server.advance(2)
        assert page.messages == []
        page.read_on()
        assert page.messages == ["x" * 100]


class TestAGap:
    @pytest.fixture
    def pushline_settings(self) -> dict[str, int]:
        return {"max_channel_messages": 2}

    def test_is_told_before_what_is_there(self, pushline_server: PushlineServer, page: Page) -> None:
        page.drop()
        send("one", "two", "three")
        pushline_server.advance(1)
        assert page.events == ["open", "reconnecting", "reconnect", "gap", "message", "message"]
        assert page.messages == ["two", "three"]

    def test_is_told_while_connected(self, pushline_server: PushlineServer, page: Page) -> None:
        page.read_slowly()
        send(*(f"{n}:{'x' * 30_000}" for n in range(9)))
        page.read_on()
        assert "gap" in page.events
        assert page.messages[-1].startswith("8:")
        assert page.events.count("reconnecting") == 0
