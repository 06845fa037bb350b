"""A3, ``POST /v1/messages``: many messages to many client ids in one request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.http.rig import Answer, FailingStore, Rig, assert_problem

from pushline.errors import StoreError, StoreFull
from pushline.http.api import MAX_BATCH_BYTES, MAX_TARGETS
from pushline.stores.base import Room
from pushline.stores.memory import MemoryStore


def post(rig: Rig, *items: object) -> Answer:
    return rig.post_json("/v1/messages", {"messages": list(items)})


def results(rig: Rig, *items: object) -> list[dict[str, Any]]:
    answer = post(rig, *items)
    assert answer.status == 200, answer
    assert list(answer.json) == ["results"]
    return list(answer.json["results"])


def assert_refused(result: dict[str, Any], to: object, code: str) -> None:
    assert list(result) == ["to", "code", "detail"]
    assert (result["to"], result["code"]) == (to, code)
    assert result["detail"].endswith(".")


class TestTheResults:
    def test_are_one_for_each_target_in_order(self, rig: Rig) -> None:
        page = rig.page("ann")
        rig.token("bob")
        answers = results(rig, {"to": ["ann", "bob", "carl"], "data": "1"}, {"to": "bob", "data": "2"})
        assert [(each["to"], each["status"]) for each in answers] == [
            ("ann", "sent"),
            ("bob", "queued"),
            ("carl", "no_channel"),
            ("bob", "queued"),
        ]
        assert [list(each) for each in answers] == [["to", "id", "status"]] * 4
        assert [each["id"] is None for each in answers] == [False, False, True, False]
        assert page.messages() == ["1"]
        assert rig.kept("bob") == [b"1", b"2"]

    def test_of_nothing_are_none(self, rig: Rig) -> None:
        assert results(rig) == []
        assert results(rig, {"to": [], "data": "x"}) == []

    def test_tell_a_target_twice_when_it_is_there_twice(self, rig: Rig) -> None:
        page = rig.page("ann")
        assert [each["status"] for each in results(rig, {"to": ["ann", "ann"], "data": "x"})] == ["sent", "sent"]
        assert page.messages() == ["x", "x"]

    def test_keep_the_order_of_refused_and_sent(self, rig: Rig) -> None:
        rig.page("ann")
        answers = results(rig, {"to": "ann", "data": ""}, {"to": ["", "ann"], "data": "x"}, {"to": "bob"})
        assert [each.get("code", each.get("status")) for each in answers] == [
            "invalid_message",
            "invalid_client_id",
            "sent",
            "malformed_json",
        ]

    def test_are_a_problem_when_nothing_was_kept(self) -> None:
        store = FailingStore()
        rig = Rig(store)
        store.error = StoreFull("full")
        assert_problem(post(rig, {"to": ["ann", "bob"], "data": "x"}), "store_full")
        store.error = StoreError("broken")
        assert_problem(post(rig, {"to": ["ann", "bob"], "data": "x"}), "internal_error")

    def test_say_for_which_items_the_store_was_full(self) -> None:
        rig = Rig(MemoryStore(room=Room(messages=2)))
        rig.token("ann")
        rig.token("bob")
        answers = results(rig, {"to": ["ann", "nobody", "ann", "bob"], "data": "x"}, {"to": "bob", "data": ""})
        assert [each.get("status", each.get("code")) for each in answers] == [
            "queued",
            "no_channel",
            "queued",
            "store_full",
            "invalid_message",
        ]
        assert_refused(answers[3], "bob", "store_full")
        assert rig.kept("ann") == [b"x", b"x"]
        assert rig.kept("bob") == []

    def test_are_a_problem_when_the_store_was_full_for_all(self) -> None:
        rig = Rig(MemoryStore(room=Room(messages=0)))
        rig.token("ann")
        answer = post(rig, {"to": ["ann", "ann"], "data": "x"}, {"to": "ann", "data": "y"})
        assert_problem(answer, "store_full", "nothing of this request was kept")
        assert answer.status == 507
        assert rig.kept("ann") == []

    def test_of_a_repeat_are_what_they_were_however_full_the_store_is_by_now(self) -> None:
        rig = Rig(MemoryStore(room=Room(messages=1)))
        rig.token("ann")
        first = results(rig, {"to": "ann", "data": "x", "key": "k"})
        assert results(rig, {"to": "ann", "data": "x", "key": "k"}) == first
        assert_problem(post(rig, {"to": "ann", "data": "y"}), "store_full")


class TestAnItem:
    def test_may_have_any_json_in_place_of_data(self, rig: Rig) -> None:
        page = rig.page("ann")
        body = b'{"messages":[{"to":"ann","json":{"b": [1, 2.50, null], "a":"\xc3\xa9"}},{"to":"ann","json":null}]}'
        assert rig.ask("POST", "/v1/messages", {}, body).status == 200
        assert page.messages() == ['{"b": [1, 2.50, null], "a":"é"}', "null"]

    def test_may_have_a_key_and_a_ttl(self, rig: Rig) -> None:
        rig.token("ann")
        item = {"to": "ann", "data": "x", "key": "k", "ttl": 5}
        first, again = results(rig, item, item)
        assert first == again
        assert rig.kept("ann") == [b"x"]
        rig.clock.advance(5)
        assert rig.kept("ann") == []

    def test_may_have_no_key_and_no_ttl_by_null(self, rig: Rig) -> None:
        rig.token("ann")
        assert results(rig, {"to": "ann", "data": "x", "key": None, "ttl": None})[0]["status"] == "queued"

    def test_has_a_key_for_each_of_its_targets(self, rig: Rig) -> None:
        rig.token("ann")
        rig.token("bob")
        assert [each["status"] for each in results(rig, {"to": ["ann", "bob"], "data": "x", "key": "k"})] == [
            "queued"
        ] * 2

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({}, "malformed_json"),
            ({"data": "x", "json": 1}, "malformed_json"),
            ({"data": "x", "json": None}, "malformed_json"),
            ({"data": 5}, "malformed_json"),
            ({"data": None}, "malformed_json"),
            ({"data": "x", "when": 5}, "unknown_field"),
            ({"data": ""}, "invalid_message"),
            ({"data": "x" * 32768}, "message_too_long"),
            ({"json": "x" * 32766}, "message_too_long"),
            ({"data": "x", "key": ""}, "invalid_key"),
            ({"data": "x", "key": "k" * 256}, "invalid_key"),
            ({"data": "x", "key": 5}, "malformed_json"),
            ({"data": "x", "ttl": 0}, "invalid_ttl"),
            ({"data": "x", "ttl": 604801}, "invalid_ttl"),
            ({"data": "x", "ttl": 10**400}, "invalid_ttl"),
            ({"data": "x", "ttl": "5"}, "malformed_json"),
            ({"data": "x", "ttl": True}, "malformed_json"),
        ],
    )
    def test_that_is_bad_fails_alone(self, rig: Rig, fields: dict[str, object], code: str) -> None:
        rig.token("ann")
        before, *bad, after = results(
            rig, {"to": "ann", "data": "1"}, {"to": ["ann", "bob"], **fields}, {"to": "ann", "data": "2"}
        )
        for result, to in zip(bad, ["ann", "bob"], strict=True):
            assert_refused(result, to, code)
        assert before["status"] == after["status"] == "queued"
        assert rig.kept("ann") == [b"1", b"2"]

    @pytest.mark.parametrize("client_id", ["", "x" * 257, "é" * 129])
    def test_with_a_bad_client_id_in_its_list_serves_the_others(self, rig: Rig, client_id: str) -> None:
        rig.token("ann")
        bad, good = results(rig, {"to": [client_id, "ann"], "data": "x"})
        assert_refused(bad, client_id, "invalid_client_id")
        assert good["status"] == "queued"

    @pytest.mark.parametrize("item", [{"data": "x"}, {"to": 5, "data": "x"}, {"to": [5], "data": "x"}, 5, [], None])
    def test_for_nobody_that_can_be_told_has_a_result_all_the_same(self, rig: Rig, item: object) -> None:
        rig.token("ann")
        bad, good = results(rig, item, {"to": "ann", "data": "x"})
        assert_refused(bad, None, "malformed_json")
        assert good["status"] == "queued"

    @pytest.mark.parametrize("data", [b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"'])
    def test_that_is_no_utf8_keeps_nothing_of_it(self, rig: Rig, data: bytes) -> None:
        rig.token("ann")
        answer = rig.ask("POST", "/v1/messages", {}, b'{"messages":[{"to":"ann","data":%b}]}' % data)
        assert b'"status"' not in answer.body or answer.status == 400
        assert rig.kept("ann") == []

    def test_with_json_that_is_no_utf8_fails_alone(self, rig: Rig) -> None:
        rig.token("ann")
        body = b'{"messages":[{"to":"ann","json":"\xff"},{"to":"ann","data":"x"}]}'
        bad, good = rig.ask("POST", "/v1/messages", {}, body).json["results"]
        assert_refused(bad, "ann", "invalid_message")
        assert good["status"] == "queued"


class TestTheEnvelope:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "malformed_json"),
            (b"[]", "malformed_json"),
            (b"{}", "malformed_json"),
            (b'{"messages":{}}', "malformed_json"),
            (b'{"messages":[', "malformed_json"),
            (b'{"messages":[]} x', "malformed_json"),
            (b'{"messages":[],"more":1}', "unknown_field"),
            (b'{"messages":[{"to":"ann","json":' + b"[" * 15_000 + b"]" * 15_000 + b"}]}", "malformed_json"),
        ],
    )
    def test_that_is_malformed_is_refused(self, rig: Rig, body: bytes, code: str) -> None:
        assert_problem(rig.ask("POST", "/v1/messages", {}, body), code)

    def test_takes_no_parameters(self, rig: Rig) -> None:
        answer = rig.ask("POST", "/v1/messages?ttl=5", {}, b'{"messages":[]}')
        assert_problem(answer, "unknown_parameter", "`ttl`")

    def test_takes_ten_thousand_targets(self, rig: Rig) -> None:
        targets = [str(number) for number in range(MAX_TARGETS - 1)]
        answers = results(rig, {"to": targets, "data": "x"}, {"to": "last", "data": "x"})
        assert [each["to"] for each in answers] == [*targets, "last"]

    @pytest.mark.parametrize(
        "items",
        [
            [{"to": ["x"] * (MAX_TARGETS + 1), "data": "x"}],
            [{"to": ["x"] * MAX_TARGETS, "data": "x"}, {"to": "x", "data": "x"}],
            [{"to": ["x"] * MAX_TARGETS, "data": ""}, {"to": "x", "data": "x"}],
            [{"to": "x", "data": "x"}] * (MAX_TARGETS + 1),
        ],
    )
    def test_takes_no_more_and_then_keeps_nothing(self, rig: Rig, items: list[object]) -> None:
        rig.token("x")
        assert_problem(post(rig, *items), "too_many_targets", "10000")
        assert rig.kept("x") == []

    def test_takes_16_mib(self, rig: Rig) -> None:
        rig.token("ann")
        body = json.dumps({"messages": [{"to": "ann", "data": "x"}]}).encode()
        assert rig.ask("POST", "/v1/messages", {}, body.ljust(MAX_BATCH_BYTES)).status == 200
        assert_problem(
            rig.ask("POST", "/v1/messages", {}, body.ljust(MAX_BATCH_BYTES + 1)), "body_too_large", "16777216"
        )
        assert rig.kept("ann") == [b"x"]


class TestLoneSurrogates:
    """JSON can write half a character, UTF-8 cannot: whatever has one is refused."""

    @pytest.mark.parametrize("half", [r"\ud800", r"\udfff", r"\ud800\ud800", r"\udc00\ud800", r"\ud800x"])
    @pytest.mark.parametrize(
        "item", ['{"to":"ann","data":"x","key":"%s"}', '{"to":"ann","data":"%s"}', '{"to":["%s","ann"],"data":"x"}']
    )
    def test_that_are_escaped_make_no_json(self, rig: Rig, item: str, half: str) -> None:
        rig.token("ann")
        body = f'{{"messages":[{item % half},{{"to":"ann","data":"good"}}]}}'.encode()
        assert_problem(rig.ask("POST", "/v1/messages", {}, body), "malformed_json")
        assert rig.kept("ann") == []

    @pytest.mark.parametrize("item", [b'{"to":"ann","data":"x","key":"%b"}', b'{"to":"ann","data":"%b"}'])
    def test_that_are_written_out_fail_alone(self, rig: Rig, item: bytes) -> None:
        rig.token("ann")
        body = b'{"messages":[%b,{"to":"ann","data":"good"}]}' % (item % b"\xed\xa0\x80")
        bad, good = rig.ask("POST", "/v1/messages", {}, body).json["results"]
        assert (bad["code"], good["status"]) == ("malformed_json", "queued")
        assert rig.kept("ann") == [b"good"]

    def test_make_no_channel(self, rig: Rig) -> None:
        assert_problem(rig.ask("POST", "/v1/channels", {}, rb'{"client_id":"\ud800"}'), "malformed_json")
