"""When a request is made again, and what is said when it is not (contract, Y1)."""

from __future__ import annotations

import os
import socket

import pytest

from pushline.client import requests, sends
from pushline.client.retry import PAUSES, Tries
from pushline.errors import Unreachable

URL = "http://127.0.0.1:8080"
KEYED = requests.send(sends.of_text("ann", "hello", idempotency_key="k"))
KEYLESS = requests.send(sends.of_text("ann", "hello"))
REFUSED = ConnectionRefusedError(111, os.strerror(111))


class TestTheRule:
    @pytest.mark.parametrize("sent", [True, False])
    def test_a_request_with_a_key_is_repeated_after_growing_pauses_and_then_given_up(self, sent: bool) -> None:
        tries = Tries(URL, KEYED)
        assert tuple(tries.pause_after(REFUSED, sent=sent) for _ in PAUSES) == PAUSES
        with pytest.raises(Unreachable):
            tries.pause_after(REFUSED, sent=sent)

    def test_a_request_without_a_key_is_not_repeated_once_it_may_have_arrived(self) -> None:
        with pytest.raises(Unreachable):
            Tries(URL, KEYLESS).pause_after(REFUSED, sent=True)

    def test_a_request_that_found_nobody_is_repeated(self) -> None:
        assert Tries(URL, KEYLESS).pause_after(REFUSED, sent=False) == PAUSES[0]


class TestTheSentence:
    def reason(self, error: Exception) -> str:
        with pytest.raises(Unreachable) as raised:
            Tries(URL, KEYLESS).pause_after(error, sent=True)
        assert raised.value.__cause__ is error
        return raised.value.reason

    def test_names_the_address_and_what_to_check(self) -> None:
        with pytest.raises(Unreachable) as raised:
            Tries(URL, KEYLESS).pause_after(REFUSED, sent=True)
        assert str(raised.value) == (
            "Pushline at http://127.0.0.1:8080 could not be reached: Connection refused. "
            "Is `pushline serve` running there?"
        )

    def test_is_that_of_the_system_however_deep_it_lies(self) -> None:
        wrapped = OSError(111, "Connect call failed ('127.0.0.1', 8080)")
        outer = RuntimeError("HTTPConnection(host='127.0.0.1', port=8080): failed", wrapped)
        assert self.reason(outer) == "Connection refused"

    def test_follows_the_cause_of_an_error(self) -> None:
        outer = RuntimeError("failed")
        outer.__cause__ = socket.gaierror(-2, "Name or service not known")
        assert self.reason(outer) == "Name or service not known"

    def test_never_follows_an_error_that_the_caller_is_handling(self) -> None:
        error = RuntimeError("Server disconnected")
        error.__context__ = FileNotFoundError(2, "No such file or directory")
        assert self.reason(error) == "Server disconnected"

    def test_says_that_time_was_up(self) -> None:
        assert self.reason(TimeoutError()) == "no answer in time"

    def test_is_one_line_without_a_full_stop(self) -> None:
        assert self.reason(RuntimeError("Not enough data:\n  3 of 50 bytes.")) == "Not enough data: 3 of 50 bytes"

    def test_is_the_name_of_an_error_that_says_nothing(self) -> None:
        assert self.reason(RuntimeError()) == "RuntimeError"
