"""``google.appengine.api.channel``: names, keywords, errors, texts (contract, Y2). Its service is the stub."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import pushline.channel
from pushline.appengine import channel, service
from pushline.appengine.channel import (
    Error,
    InvalidChannelClientIdError,
    InvalidChannelTokenDurationError,
    InvalidMessageError,
)
from pushline.appengine.stub import ChannelServiceStub
from pushline.client.results import SendResult
from pushline.errors import ClientError, ConfigurationError, RequestRefused, Unreachable
from pushline.messages import Policy
from pushline.protocol.tokens import Claims, TokenSigner

NOT_STRINGS: list[Any] = [None, 7, 7.5, b"ann", ["ann"], ("ann", "bob"), {"ann": 1}]


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def stub(clock: Clock) -> Iterator[ChannelServiceStub]:
    stub = ChannelServiceStub(clock)
    service.use(stub.client)
    yield stub
    service.use(None)


class Failing:
    """A service that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def create_channel(self, client_id: str, duration_minutes: int, *, policy: str | None) -> str:
        raise self.error

    def send_message(self, client_id: str, message: str | bytes) -> SendResult:
        raise self.error


class TestNames:
    def test_are_the_old_ones(self) -> None:
        assert set(channel.__all__) == {
            "AppIdAliasRequired",
            "Error",
            "InvalidChannelClientIdError",
            "InvalidChannelTokenDurationError",
            "InvalidMessageError",
            "MAXIMUM_CLIENT_ID_LENGTH",
            "MAXIMUM_MESSAGE_LENGTH",
            "MAXIMUM_TOKEN_DURATION_MINUTES",
            "create_channel",
            "send_message",
        }

    def test_have_the_old_values(self) -> None:
        assert channel.MAXIMUM_CLIENT_ID_LENGTH == 256
        assert channel.MAXIMUM_TOKEN_DURATION_MINUTES == 24 * 60
        assert channel.MAXIMUM_MESSAGE_LENGTH == 32767

    def test_of_arguments_are_the_old_ones(self) -> None:
        assert list(inspect.signature(channel.create_channel).parameters) == ["client_id", "duration_minutes"]
        assert list(inspect.signature(channel.send_message).parameters) == ["client_id", "message"]
        token = channel.create_channel(client_id="ann", duration_minutes=60)
        channel.send_message(client_id=token, message="hello")

    @pytest.mark.parametrize("name", [name for name in channel.__all__ if name.endswith(("Error", "Required"))])
    def test_of_errors_are_below_one(self, name: str) -> None:
        error = getattr(channel, name)
        assert issubclass(error, channel.Error)
        assert channel.Error.__base__ is Exception


class TestAChannel:
    @pytest.mark.parametrize("minutes", [1, 1440, 120.0, 1440.0, True, None])
    def test_lasts_as_long_as_is_said(self, stub: ChannelServiceStub, clock: Clock, minutes: Any) -> None:
        token = channel.create_channel("ann", minutes)
        assert isinstance(token, str)
        clock.time += 60 * (120 if minutes is None else minutes) - 1
        assert stub.client_id_from_token(token) == "ann"
        clock.time += 1
        assert stub.client_id_from_token(token) is None

    def test_is_shared_by_its_pages(self, stub: ChannelServiceStub) -> None:
        assert f".{Policy.SHARE.value}." in channel.create_channel("ann")

    @pytest.mark.parametrize("client_id", ["a", "x" * 256, "ü" * 128, "a/b c&d=é+%", "💥" * 64])
    def test_takes_every_client_id(self, stub: ChannelServiceStub, client_id: str) -> None:
        assert stub.client_id_from_token(channel.create_channel(client_id)) == client_id

    @pytest.mark.parametrize("minutes", [1.5, "120", float("nan"), float("inf"), Fraction(3, 2), Decimal(2), [1]])
    def test_of_no_whole_minutes_is_refused(self, minutes: Any) -> None:
        with pytest.raises(InvalidChannelTokenDurationError) as caught:
            channel.create_channel("ann", minutes)
        assert str(caught.value) == "Argument duration_minutes must be integral"

    @pytest.mark.parametrize("minutes", [0, -1, 0.0, False])
    def test_of_no_time_is_refused(self, minutes: Any) -> None:
        with pytest.raises(InvalidChannelTokenDurationError) as caught:
            channel.create_channel("ann", minutes)
        assert str(caught.value) == "Argument duration_minutes must not be less than 1"

    @pytest.mark.parametrize("minutes", [1441, 1441.0, 10**9])
    def test_of_more_than_a_day_is_refused(self, minutes: Any) -> None:
        with pytest.raises(InvalidChannelTokenDurationError) as caught:
            channel.create_channel("ann", minutes)
        assert str(caught.value) == "Argument duration_minutes must be less than 1441"

    def test_is_refused_for_its_duration_before_the_service_sees_it(self) -> None:
        with pytest.raises(InvalidChannelTokenDurationError):
            channel.create_channel("", 0)


class TestAClientId:
    CALLS: tuple[Callable[[Any], object], ...] = (
        channel.create_channel,
        lambda client_id: channel.send_message(client_id, "hello"),
    )

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("client_id", NOT_STRINGS, ids=repr)
    def test_is_a_string(self, call: Callable[[Any], object], client_id: Any) -> None:
        with pytest.raises(InvalidChannelClientIdError) as caught:
            call(client_id)
        assert str(caught.value) == f'"{client_id}" is not a string.'

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("client_id", ["x" * 257, "ü" * 129, "💥" * 65])
    def test_is_not_too_long_in_utf_8(self, call: Callable[[Any], object], client_id: str) -> None:
        with pytest.raises(InvalidChannelClientIdError) as caught:
            call(client_id)
        length = len(client_id.encode())
        assert str(caught.value) == f"Client id length {length} is greater than max length 256"

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("client_id", ["", "\ud800"])
    def test_is_refused_by_the_service_without_a_text(self, call: Callable[[Any], object], client_id: str) -> None:
        with pytest.raises(InvalidChannelClientIdError) as caught:
            call(client_id)
        assert str(caught.value) == ""


class TestAMessage:
    @pytest.mark.parametrize("message", ["hello", "x" * 32767, "ü" * 16383, "\x00", " ", "{}", "1-0 x"])
    def test_comes_as_it_was_sent(self, stub: ChannelServiceStub, message: str) -> None:
        token = self.connect(stub, "ann")
        assert channel.send_message("ann", message) is None  # type: ignore[func-returns-value]
        channel.send_message("ann", message.encode())
        assert stub.get_channel_messages(token) == [message, message]

    def test_to_nobody_is_no_error(self) -> None:
        channel.send_message("nobody", "hello")

    @pytest.mark.parametrize("message", [None, 7, ["hello"], {"a": 1}, bytearray(b"hello")], ids=repr)
    def test_is_a_string(self, message: Any) -> None:
        with pytest.raises(InvalidMessageError) as caught:
            channel.send_message("ann", message)
        assert str(caught.value) == "Message must be a string"

    @pytest.mark.parametrize("message", ["x" * 32768, "ü" * 16384, b"x" * 32768])
    def test_is_not_too_long_in_utf_8(self, message: str | bytes) -> None:
        with pytest.raises(InvalidMessageError) as caught:
            channel.send_message("ann", message)
        assert str(caught.value) == "Message must be no longer than 32767 chars"

    @pytest.mark.parametrize("message", ["", b"", b"\xff", "\ud800"])
    def test_is_refused_by_the_service_without_a_text(self, message: str | bytes) -> None:
        with pytest.raises(InvalidMessageError) as caught:
            channel.send_message("ann", message)
        assert str(caught.value) == ""

    def test_is_looked_at_after_the_client_id(self) -> None:
        with pytest.raises(InvalidChannelClientIdError):
            channel.send_message(7, 7)  # type: ignore[arg-type]

    def connect(self, stub: ChannelServiceStub, client_id: str) -> str:
        token = channel.create_channel(client_id)
        stub.connect_channel(token)
        return token


class TestATokenInPlaceOfAClientId:
    @pytest.mark.parametrize("client_id", ["ann", "ünï/cö@de", "x" * 256, "x"])
    def test_reaches_its_channel(self, stub: ChannelServiceStub, client_id: str) -> None:
        token = channel.create_channel(client_id)
        stub.connect_channel(token)
        channel.send_message(token, "hello")
        assert stub.get_channel_messages(token) == ["hello"]

    def test_of_a_channel_that_has_ended_is_no_error(self, clock: Clock) -> None:
        token = channel.create_channel("ann", 1)
        clock.time += 60
        channel.send_message(token, "hello")

    def test_never_takes_what_is_for_the_client_id_that_looks_like_it(self, stub: ChannelServiceStub) -> None:
        forged = TokenSigner(["a secret of somebody else"]).sign(Claims("ann", 1, 1_800_000_000, Policy.SHARE))
        for client_id in ("ann", forged):
            stub.connect_channel(channel.create_channel(client_id))
        channel.send_message(forged, "for the one with the odd name")
        assert stub.get_channel_messages(channel.create_channel(forged)) == ["for the one with the odd name"]
        assert stub.get_channel_messages(channel.create_channel("ann")) == []

    @pytest.mark.parametrize(
        "text",
        [
            "a.b.c.d.e",
            "YW5u.1-1.9.share",
            "YW5u.x.9.share.sig",
            "YW5u.1-1.9.nobody.sig",
            "_w.1-1.9.share.sig",
            ".1-1.9.share.s",
        ],
    )
    def test_is_no_more_than_a_client_id_when_it_is_none(self, stub: ChannelServiceStub, text: str) -> None:
        stub.connect_channel(channel.create_channel("ann"))
        channel.send_message(text, "hello")
        assert stub.get_channel_messages(channel.create_channel("ann")) == []


class TestFailures:
    @pytest.mark.parametrize(
        "error",
        [
            Unreachable("http://127.0.0.1:8080", "Connection refused"),
            RequestRefused(401, "unauthorized", "The API key is missing or wrong", "It is not the server's."),
            RequestRefused(507, "store_full", "The store cannot keep more", "There is no room."),
        ],
    )
    def test_are_errors_of_the_module(self, error: ClientError) -> None:
        service.use(Failing(error))
        for call in (channel.create_channel, lambda to: channel.send_message(to, "hello")):
            with pytest.raises(Error) as caught:
                call("ann")
            assert type(caught.value) is Error
            assert str(caught.value) == str(error)
            assert caught.value.__cause__ is error

    def test_of_the_configuration_are_not_hidden(self) -> None:
        service.use(Failing(ConfigurationError("There is no API key.")))
        with pytest.raises(ConfigurationError):
            channel.create_channel("ann")


def test_without_a_stub_the_service_is_the_sdk() -> None:
    service.use(None)
    assert service.current() is pushline.channel
