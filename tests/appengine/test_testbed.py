"""The testbed and its channel stub, as tests of old programs use them (contract, Y2)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest

import pushline.channel
from pushline.appengine import channel, service
from pushline.appengine.stub import ChannelServiceStub, InvalidTokenError, TokenTimedOutError
from pushline.appengine.testbed import NotActivatedError, StubNotSupportedError, Testbed


@pytest.fixture
def bed() -> Iterator[Testbed]:
    bed = Testbed()
    bed.activate()
    bed.init_channel_stub()
    yield bed
    bed.deactivate()


@pytest.fixture
def stub(bed: Testbed) -> ChannelServiceStub:
    stub = bed.get_stub("channel")
    assert isinstance(stub, ChannelServiceStub)
    return stub


class TestATestbed:
    def test_is_found_where_old_tests_look_for_it(self, installed: None) -> None:
        names: dict[str, Any] = {}
        exec("from google.appengine.ext import testbed", names)  # noqa: S102 - as such a test has it
        assert names["testbed"].Testbed is Testbed
        assert names["testbed"].CHANNEL_SERVICE_NAME == "channel"

    def test_puts_the_stub_in_place_until_it_is_deactivated(self) -> None:
        bed = Testbed()
        bed.activate()
        assert bed.get_stub("channel") is None
        bed.init_channel_stub()
        assert service.current() is not pushline.channel
        bed.deactivate()
        assert service.current() is pushline.channel

    def test_takes_the_stub_away_when_it_is_told(self, bed: Testbed) -> None:
        bed.init_channel_stub(enable=False)
        assert service.current() is pushline.channel
        assert bed.get_stub("channel") is None
        bed.init_channel_stub(enable=False)

    def test_makes_a_new_stub_each_time(self, bed: Testbed, stub: ChannelServiceStub) -> None:
        bed.init_all_stubs()
        again = bed.get_stub("channel")
        assert again is not stub
        assert again is not None

    def test_has_to_be_activated(self) -> None:
        bed = Testbed()
        calls: list[Callable[[], object]] = [bed.deactivate, bed.init_channel_stub, lambda: bed.get_stub("channel")]
        for call in calls:
            with pytest.raises(NotActivatedError):
                call()

    def test_says_where_other_stubs_are(self, bed: Testbed) -> None:
        with pytest.raises(StubNotSupportedError, match="`init_memcache_stub` is in Google's package"):
            bed.init_memcache_stub()
        with pytest.raises(StubNotSupportedError, match='The "memcache" service is not supported by testbed'):
            bed.get_stub("memcache")
        assert not hasattr(bed, "memcache")

    def test_brings_the_environment_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SERVER_SOFTWARE", "mine")
        before = dict(os.environ)
        bed = Testbed()
        bed.activate()
        bed.setup_env(app_id="game", current_version_id="testbed.version", server_software="theirs")
        assert (os.environ["APPLICATION_ID"], os.environ["CURRENT_VERSION_ID"]) == ("game", "testbed.version")
        assert os.environ["SERVER_SOFTWARE"] == "mine"
        bed.setup_env(overwrite=True, server_software="theirs")
        assert os.environ["SERVER_SOFTWARE"] == "theirs"
        bed.deactivate()
        assert dict(os.environ) == before


class TestTheStub:
    def test_holds_what_was_sent_until_it_is_taken(self, stub: ChannelServiceStub) -> None:
        token = channel.create_channel("ann")
        stub.connect_channel(token)
        assert not stub.has_channel_messages(token)
        for message in ("one", "two", "three"):
            channel.send_message("ann", message)
        assert stub.has_channel_messages(token)
        assert stub.get_channel_messages(token) == ["one", "two", "three"]
        assert stub.pop_first_message(token) == "one"
        assert stub.connect_and_pop_first_message(token) == "two"
        stub.clear_channel_messages(token)
        assert stub.get_channel_messages(token) == []
        assert stub.pop_first_message(token) is None

    def test_has_one_page_for_all_tokens_of_a_client_id(self, stub: ChannelServiceStub) -> None:
        first, second = channel.create_channel("ann"), channel.create_channel("ann")
        stub.connect_channel(first)
        stub.connect_channel(second)
        channel.send_message("ann", "hello")
        assert stub.get_channel_messages(first) == stub.get_channel_messages(second) == ["hello"]

    def test_holds_nothing_for_a_page_that_is_not_open(self, stub: ChannelServiceStub) -> None:
        token = channel.create_channel("ann")
        channel.send_message("ann", "hello")
        stub.clear_channel_messages(token)
        stub.disconnect_channel_event("ann")
        assert stub.get_channel_messages(token) is None
        assert not stub.has_channel_messages(token)
        assert stub.pop_first_message(token) is None

    def test_gives_a_page_what_was_sent_since_its_token(self, stub: ChannelServiceStub) -> None:
        token = channel.create_channel("ann")
        channel.send_message("ann", "hello")
        stub.connect_channel(token)
        assert stub.get_channel_messages(token) == ["hello"]

    def test_forgets_a_page_that_was_closed(self, stub: ChannelServiceStub) -> None:
        token = channel.create_channel("ann")
        stub.connect_channel(token)
        stub.disconnect_channel_event("ann")
        assert stub.get_channel_messages(token) is None
        stub.connect_channel(token)
        channel.send_message("ann", "again")
        assert stub.get_channel_messages(token) == ["again"]

    @pytest.mark.parametrize("token", ["", "forged", "YW5u.1-1.9.share.sig", "ann"])
    def test_tells_a_token_of_nobody(self, stub: ChannelServiceStub, token: str) -> None:
        for call in (
            stub.connect_channel,
            stub.connect_and_pop_first_message,
            stub.validate_token_and_extract_client_id,
        ):
            with pytest.raises(InvalidTokenError):
                call(token)
        assert stub.client_id_from_token(token) is None
        assert stub.get_channel_messages(token) is None

    def test_tells_a_token_that_has_expired(self) -> None:
        now = [1_700_000_000.0]
        stub = ChannelServiceStub(time_func=lambda: now[0])
        token = stub.client.create_channel("ann", 1)
        stub.connect_channel(token)
        now[0] += 60
        with pytest.raises(TokenTimedOutError):
            stub.connect_channel(token)
        assert stub.get_channel_messages(token) is None

    def test_closes_the_page_of_a_client_id_that_is_revoked(self, stub: ChannelServiceStub) -> None:
        token = channel.create_channel("ann")
        stub.connect_channel(token)
        stub.client.revoke("ann")
        assert stub.get_channel_messages(token) is None
        with pytest.raises(InvalidTokenError):
            stub.connect_channel(token)
        again = channel.create_channel("ann")
        stub.connect_channel(again)
        channel.send_message("ann", "hello")
        assert stub.get_channel_messages(again) == ["hello"]

    def test_takes_any_number_of_pages(self, stub: ChannelServiceStub) -> None:
        for n in range(6000):
            stub.connect_channel(channel.create_channel(str(n)))
        channel.send_message("5999", "hello")
        assert stub.get_channel_messages(channel.create_channel("5999")) == ["hello"]

    def test_may_be_called_by_any_thread(self, stub: ChannelServiceStub) -> None:
        token = channel.create_channel("ann")
        stub.connect_channel(token)
        sent = [[f"{number} {n}" for n in range(50)] for number in range(4)]
        threads = [threading.Thread(target=self.send_all, args=(messages,)) for messages in sent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        got = stub.get_channel_messages(token)
        assert got is not None
        assert sorted(got) == sorted(chain(*sent))
        for messages in sent:
            assert [message for message in got if message in messages] == messages

    def send_all(self, messages: list[str]) -> None:
        for message in messages:
            channel.send_message("ann", message)
