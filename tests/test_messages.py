"""Ids and client ids (contract, section 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushline.messages import MAX_CLIENT_ID_BYTES, format_id, id_at, is_client_id, parse_id

numbers = st.integers(0, (1 << 63) - 1)


class TestIds:
    @given(numbers)
    def test_an_id_is_read_as_it_was_written(self, number: int) -> None:
        assert parse_id(format_id(number)) == number

    @given(numbers, numbers)
    def test_after_is_one_comparison(self, one: int, other: int) -> None:
        first, second = (tuple(map(int, format_id(number).split("-"))) for number in (one, other))
        assert (one < other) == (first < second)

    @given(st.text())
    def test_a_text_that_is_an_id_is_written_the_same(self, text: str) -> None:
        number = parse_id(text)
        assert number is None or format_id(number) == text

    def test_the_first_id_of_a_moment_shows_its_milliseconds(self) -> None:
        assert format_id(id_at(1_700_000_000.25)) == "1700000000250-0"

    def test_the_highest_id_fits_63_bits(self) -> None:
        assert parse_id(f"{(1 << 43) - 1}-{(1 << 20) - 1}") == (1 << 63) - 1
        assert parse_id(f"{1 << 43}-0") is None
        assert parse_id(f"0-{1 << 20}") is None


class TestClientIds:
    @pytest.mark.parametrize("text", ["a", " ", "\0", "room/ann?x=1", "🎲", "x" * 256, "ü" * 128, "🎲" * 64])
    def test_any_characters_will_do(self, text: str) -> None:
        assert is_client_id(text)

    @pytest.mark.parametrize("text", ["", "x" * 257, "ü" * 129, "🎲" * 65, "\ud800", "x\udfff"])
    def test_empty_too_long_and_no_utf_8_will_not(self, text: str) -> None:
        assert not is_client_id(text)

    @given(st.text(max_size=300))
    def test_what_counts_is_the_number_of_bytes(self, text: str) -> None:
        assert is_client_id(text) == (0 < len(text.encode(errors="surrogatepass")) <= MAX_CLIENT_ID_BYTES)
