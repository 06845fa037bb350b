"""One message as a request of its own, and as an item of a batch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushline.client import sends
from pushline.client.sends import MAX_BATCH_BYTES, MAX_BATCH_ITEMS, Part

texts = st.text(st.characters(codec="utf-8"), min_size=1)


class TestItems:
    @given(client_id=texts, message=texts)
    def test_any_client_id_and_any_text_survive(self, client_id: str, message: str) -> None:
        item = sends.of_text(client_id, message).item()
        assert item is not None
        assert json.loads(item) == {"to": client_id, "data": message}

    def test_carry_the_options_that_a_batch_knows(self) -> None:
        item = sends.of_text("ann", b"\xc3\xbc", idempotency_key="k", ttl=0.5).item()
        assert item == '{"to":"ann","data":"ü","key":"k","ttl":0.5}'.encode()

    def test_a_value_is_the_same_text_as_by_itself(self) -> None:
        send = sends.of_value("ann", {"n": [1, None], "text": "ü"})
        item = send.item()
        assert item is not None
        assert json.loads(item)["data"].encode() == send.data == '{"n":[1,null],"text":"ü"}'.encode()

    @pytest.mark.parametrize("wrong", [{"wait": 5}, {"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"ttl": 1e300}])
    def test_there_is_none_for_what_only_a_request_of_its_own_carries(self, wrong: dict[str, Any]) -> None:
        assert sends.of_text("ann", "hello", **wrong).item() is None

    def test_there_is_none_for_bytes_that_are_no_text(self) -> None:
        assert sends.of_text("ann", b"\xff").item() is None

    @pytest.mark.parametrize("wrong", [("a\ud800", "hello"), ("ann", "a\ud800")])
    def test_what_is_no_text_at_all_is_refused_at_once(self, wrong: tuple[str, str]) -> None:
        with pytest.raises(UnicodeEncodeError):
            sends.of_text(*wrong)


class TestParts:
    def test_take_as_many_items_as_pushline_does(self) -> None:
        part = Part()
        assert all(part.add(b"{}", keyed=True) for _ in range(MAX_BATCH_ITEMS))
        assert not part.add(b"{}", keyed=True)

    def test_take_as_many_bytes_as_a_front_does(self) -> None:
        part = Part()
        item = b"x" * (MAX_BATCH_BYTES // 4)
        assert [part.add(item, keyed=True) for _ in range(5)] == [True] * 4 + [False]
        assert part.size == MAX_BATCH_BYTES

    def test_take_the_first_item_whatever_its_size(self) -> None:
        part = Part()
        assert part.add(b"x" * (MAX_BATCH_BYTES + 1), keyed=True)
        assert not part.add(b"x", keyed=True)

    @pytest.mark.parametrize(("keyed", "repeatable"), [([True, True], True), ([True, False], False), ([False], False)])
    def test_may_be_repeated_when_every_item_has_a_key(self, keyed: list[bool], repeatable: bool) -> None:
        part = Part()
        for each in keyed:
            part.add(b"{}", keyed=each)
        assert part.repeatable is repeatable
