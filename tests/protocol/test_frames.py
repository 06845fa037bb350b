"""The frames of the wire against the golden vectors, in both directions (contract, W2 and W3)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushline.messages import Message, format_id, parse_id
from pushline.protocol.frames import Ack, Down, UnknownFrame, Up, decode_up, encode, seconds
from pushline.transports.websocket import message_frame

VECTORS = json.loads((Path(__file__).parents[2] / "spec" / "frames.json").read_text())


def vectors(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


class TestFramesDown:
    """W2."""

    @vectors("down")
    def test_a_frame_is_written_as_its_vector(self, vector: dict[str, Any]) -> None:
        frame: Down = msgspec.convert(vector["frame"], Down)
        assert encode(frame).decode() == vector["text"]

    @vectors("down")
    def test_a_vector_is_read_as_its_frame(self, vector: dict[str, Any]) -> None:
        frame: Down = msgspec.json.decode(vector["text"], type=Down)
        assert msgspec.to_builtins(frame) == vector["frame"]

    @vectors("down")
    def test_its_first_character_tells_it_from_a_message(self, vector: dict[str, Any]) -> None:
        assert vector["text"].startswith("{")

    def test_every_frame_has_a_vector(self) -> None:
        assert {vector["frame"]["type"] for vector in VECTORS["down"]} == {"open", "gap", "ping", "expiring", "token"}


class TestMessages:
    """W2: the id, one space, the data as sent."""

    def message(self, vector: dict[str, Any]) -> Message:
        number = parse_id(vector["id"])
        assert number is not None
        return Message(number, 0, vector["data"].encode())

    @vectors("messages")
    def test_a_message_is_written_as_its_vector(self, vector: dict[str, Any]) -> None:
        frame = message_frame(self.message(vector))
        assert frame[:1] == b"\x81"
        assert frame[1] == len(frame) - 2
        assert frame[2:].decode() == vector["text"]

    @vectors("messages")
    def test_a_vector_is_read_by_cutting_it_at_the_first_space(self, vector: dict[str, Any]) -> None:
        assert tuple(vector["text"].split(" ", 1)) == (vector["id"], vector["data"])

    def test_the_frame_of_a_message_is_made_once(self) -> None:
        message = Message(1 << 20, 0, b"hello")
        assert message_frame(message) is message_frame(message)

    @pytest.mark.parametrize(
        ("size", "head"),
        [
            (1, b"\x81\x05"),
            (121, b"\x81\x7d"),
            (122, b"\x81\x7e\x00\x7e"),
            (65531, b"\x81\x7e\xff\xff"),
            (65532, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ],
    )
    def test_the_length_takes_its_shortest_form(self, size: int, head: bytes) -> None:
        frame = message_frame(Message(1 << 20, 0, b"x" * size))
        assert frame == head + b"1-0 " + b"x" * size


class TestFramesUp:
    """W3."""

    @vectors("up")
    def test_a_vector_is_read_as_its_frame(self, vector: dict[str, Any]) -> None:
        expected: Up = msgspec.convert(vector["frame"], Up)
        assert decode_up(vector["text"]) == expected
        assert decode_up(vector["text"].encode()) == expected

    @vectors("up")
    def test_a_frame_is_written_as_its_vector(self, vector: dict[str, Any]) -> None:
        frame: Up = msgspec.convert(vector["frame"], Up)
        assert encode(frame).decode() == vector["text"]

    @vectors("refused_up")
    def test_anything_else_is_refused(self, vector: dict[str, Any]) -> None:
        with pytest.raises(UnknownFrame):
            decode_up(vector["text"])

    @pytest.mark.parametrize("text", [b"\xff", b'{"type":"ack","id":"\xff"}', b'{"type":"ack","id":"\xed\xa0\x80"}'])
    def test_what_is_not_utf_8_is_refused(self, text: bytes) -> None:
        with pytest.raises(UnknownFrame):
            decode_up(text)

    @given(st.one_of(st.text(), st.binary()))
    def test_nothing_else_is_ever_raised(self, text: str | bytes) -> None:
        with suppress(UnknownFrame):
            decode_up(text)

    def test_a_fresh_token_is_not_shown(self) -> None:
        shown = decode_up('{"type":"token","token":"the-token-of-the-tests"}')
        assert f"{shown} {shown!r}" == "FreshToken() FreshToken()"

    def test_members_that_are_not_known_are_read_over(self) -> None:
        assert decode_up('{"later":[1],"type":"ack","id":"1-0"}') == Ack("1-0")


class TestIds:
    @pytest.mark.parametrize("text", VECTORS["ids"]["valid"])
    def test_an_id_is_read_and_written_the_same(self, text: str) -> None:
        number = parse_id(text)
        assert number is not None
        assert format_id(number) == text

    @pytest.mark.parametrize("text", VECTORS["ids"]["invalid"])
    def test_anything_else_is_no_id(self, text: str) -> None:
        assert parse_id(text) is None


class TestSeconds:
    @pytest.mark.parametrize(("value", "shown"), [(25.0, "25"), (25, "25"), (0.5, "0.5"), (0.0, "0")])
    def test_whole_seconds_are_shown_without_a_fraction(self, value: float, shown: str) -> None:
        assert msgspec.json.encode(seconds(value)).decode() == shown
