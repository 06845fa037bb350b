"""The requests that the SDK makes and the answers that it reads (contract, sections 4 and 7)."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Unpack
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushline.client import requests, sends
from pushline.client.requests import ApiRequest, ApiResponse, Item
from pushline.client.results import ClientState, Connection, SendResult, TargetResult
from pushline.client.sends import SendOptions
from pushline.errors import RequestRefused

texts = st.text(st.characters(codec="utf-8"), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def answer(status: int, body: object, **headers: str) -> ApiResponse:
    return ApiResponse(
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        body if isinstance(body, bytes) else json.dumps(body).encode(),
    )


def sent_text(client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> ApiRequest:
    return requests.send(sends.of_text(client_id, message, **options))


def sent_json(client_id: str, value: object, **options: Unpack[SendOptions]) -> ApiRequest:
    return requests.send(sends.of_value(client_id, value, **options))


def queried(target: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(target).query, keep_blank_values=True, strict_parsing=True, errors="strict")


class TestCreateChannel:
    def test_asks_for_a_token_with_json(self) -> None:
        request = requests.create_channel("ann", 120, None)
        assert (request.method, request.target) == ("POST", "/v1/channels")
        assert request.headers == {"Content-Type": "application/json"}
        assert request.body == b'{"client_id":"ann","duration_minutes":120}'

    def test_names_a_policy_only_when_there_is_one(self) -> None:
        assert json.loads(requests.create_channel("ann", 5, "replace").body)["policy"] == "replace"

    def test_is_not_repeatable(self) -> None:
        assert not requests.create_channel("ann", 120, None).repeatable

    @given(client_id=texts)
    def test_carries_any_client_id(self, client_id: str) -> None:
        assert json.loads(requests.create_channel(client_id, 1, None).body)["client_id"] == client_id


class TestSendMessage:
    def test_names_the_client_id_in_the_query_because_paths_are_rewritten_on_the_way(self) -> None:
        request = sent_text("room/ann", "hello")
        assert (request.method, request.target) == ("POST", "/v1/clients/-/messages?client_id=room%2Fann")
        assert request.body == b"hello"

    def test_takes_bytes_as_they_are(self) -> None:
        assert sent_text("ann", b"\xc3\xbc").body == sent_text("ann", "ü").body

    @pytest.mark.parametrize(("ttl", "sent"), [(60, "60"), (0.5, "0.5")])
    def test_states_the_ttl_in_seconds(self, ttl: float, sent: str) -> None:
        assert queried(sent_text("ann", "hello", ttl=ttl).target)["ttl"] == [sent]

    @pytest.mark.parametrize(("wait", "sent"), [(30, "30"), (0.5, "0.5")])
    def test_states_for_how_long_it_waits(self, wait: float, sent: str) -> None:
        request = sent_text("ann", "hello", wait=wait)
        assert queried(request.target)["wait"] == [sent]
        assert request.wait == wait

    def test_waits_for_nothing_unless_it_is_asked_to(self) -> None:
        request = sent_json("ann", "hello", ttl=5)
        assert queried(request.target) == {"client_id": ["ann"], "ttl": ["5"]}
        assert request.wait == 0

    def test_may_wait_without_being_repeatable(self) -> None:
        assert not sent_text("ann", "hello", wait=5).repeatable
        assert sent_text("ann", "hello", wait=5, idempotency_key="k").repeatable

    def test_is_repeatable_with_an_idempotency_key_only(self) -> None:
        assert not sent_text("ann", "hello").repeatable
        keyed = sent_text("ann", "hello", idempotency_key="order-7")
        assert keyed.repeatable
        assert keyed.headers["Idempotency-Key"] == "order-7"

    @pytest.mark.parametrize("key", ["", "a b", "ü", "a\r\nX-Other: b", "k" * 256])
    def test_refuses_a_key_that_a_header_cannot_carry(self, key: str) -> None:
        with pytest.raises(
            ValueError, match=r"^An idempotency key is 1 to 255 printable ASCII characters without spaces"
        ):
            sent_text("ann", "hello", idempotency_key=key)

    @given(client_id=texts, message=texts)
    def test_any_client_id_and_any_text_survive(self, client_id: str, message: str) -> None:
        request = sent_text(client_id, message)
        assert queried(request.target) == {"client_id": [client_id]}
        assert request.body.decode() == message


class TestSendJson:
    def test_is_compact_and_keeps_characters(self) -> None:
        request = sent_json("ann", {"text": "grüß", "n": [1, 2]})
        assert request.body == '{"text":"grüß","n":[1,2]}'.encode()
        assert request.headers["Content-Type"] == "application/json"

    def test_knows_dataclasses_and_datetimes(self) -> None:
        value = {"result": SendResult("1-0", "sent"), "at": datetime(2030, 1, 2, tzinfo=UTC)}
        assert json.loads(sent_json("ann", value).body) == {
            "result": {"id": "1-0", "status": "sent"},
            "at": "2030-01-02T00:00:00Z",
        }

    @given(value=json_values)
    def test_any_value_survives(self, value: object) -> None:
        assert json.loads(sent_json("ann", value).body) == value


class TestGetClient:
    def test_asks_for_the_client_id_in_the_query(self) -> None:
        request = requests.get_client("room/ann")
        assert (request.method, request.target) == ("GET", "/v1/clients/-?client_id=room%2Fann")
        assert (request.body, request.wait) == (b"", 0)

    def test_is_repeatable(self) -> None:
        assert requests.get_client("ann").repeatable

    @given(client_id=texts)
    def test_any_client_id_survives(self, client_id: str) -> None:
        assert queried(requests.get_client(client_id).target) == {"client_id": [client_id]}


class TestTheOthers:
    @pytest.mark.parametrize(
        ("request_", "method", "target", "repeatable"),
        [
            (requests.list_clients(None, "", "", 100), "GET", "/v1/clients?prefix=&after=&limit=100", True),
            (
                requests.list_clients(False, "a&", "é", 5),
                "GET",
                "/v1/clients?prefix=a%26&after=%C3%A9&limit=5&connected=false",
                True,
            ),
            (requests.disconnect("room/ann"), "POST", "/v1/clients/-/disconnect?client_id=room%2Fann", False),
            (requests.revoke("room/ann"), "DELETE", "/v1/clients/-?client_id=room%2Fann", False),
            (requests.list_callbacks("", 100), "GET", "/v1/callbacks?after=0&limit=100", True),
            (requests.retry_callbacks(None), "POST", "/v1/callbacks/retry", True),
            (requests.retry_callbacks("a b"), "POST", "/v1/callbacks/retry?client_id=a%20b", True),
        ],
    )
    def test_are_asked_like_that(
        self, request_: requests.ApiRequest, method: str, target: str, repeatable: bool
    ) -> None:
        assert (request_.method, request_.target, request_.repeatable) == (method, target, repeatable)

    def test_what_is_done_has_no_body(self) -> None:
        requests.parse_done(requests.ApiResponse(204, {}, b""))
        with pytest.raises(RequestRefused, match="unexpected_answer"):
            requests.parse_done(requests.ApiResponse(200, {}, b"{}"))


class TestSendMany:
    def test_sends_the_items_as_they_are(self) -> None:
        request = requests.send_many(
            [{"to": ["ann", "bob"], "json": {"n": 1}, "key": "k"}, {"to": "eve", "data": "hi"}]
        )
        assert (request.method, request.target) == ("POST", "/v1/messages")
        assert json.loads(request.body) == {
            "messages": [{"to": ["ann", "bob"], "json": {"n": 1}, "key": "k"}, {"to": "eve", "data": "hi"}]
        }

    def test_takes_the_bytes_of_a_text(self) -> None:
        assert json.loads(requests.send_many([{"to": "ann", "data": "ü".encode()}]).body)["messages"][0]["data"] == "ü"

    @pytest.mark.parametrize(("keys", "repeatable"), [([True, True], True), ([True, False], False), ([False], False)])
    def test_is_repeatable_when_every_item_has_a_key(self, keys: list[bool], repeatable: bool) -> None:
        plain: Item = {"to": "ann", "data": "hello"}
        keyed: Item = {"to": "ann", "data": "hello", "key": "k"}
        assert requests.send_many([keyed if key else plain for key in keys]).repeatable is repeatable

    @given(to=texts, data=texts)
    def test_any_client_id_and_any_text_survive(self, to: str, data: str) -> None:
        assert json.loads(requests.send_many([{"to": to, "data": data}]).body)["messages"] == [{"to": to, "data": data}]


class TestAnswers:
    def test_a_token_is_a_plain_string(self) -> None:
        created = answer(201, {"client_id": "ann", "token": "abc.def", "expires_at": "2030-01-01T00:00:00Z"})
        assert requests.parse_token(created) == "abc.def"

    @pytest.mark.parametrize("result", [SendResult("1-0", "sent"), SendResult(None, "no_channel")])
    def test_a_send_says_what_became_of_it(self, result: SendResult) -> None:
        assert requests.parse_sent(answer(200, dataclasses.asdict(result))) == result

    def test_a_batch_says_it_for_each_target(self) -> None:
        body = {
            "results": [
                {"to": "ann", "id": "1-0", "status": "queued"},
                {"to": "bob", "id": None, "status": "no_channel"},
                {"to": "", "code": "invalid_client_id", "detail": "The client id is empty."},
            ]
        }
        assert requests.parse_sent_many(answer(200, body)) == [
            TargetResult("ann", "1-0", "queued"),
            TargetResult("bob", None, "no_channel"),
            TargetResult("", code="invalid_client_id", detail="The client id is empty."),
        ]

    def test_a_channel_is_read_with_its_connections(self) -> None:
        body = {
            "client_id": "ann",
            "connected": True,
            "connections": [
                {"transport": "websocket", "page": "a", "acknowledged": "1-0"},
                {"transport": "longpoll", "page": "b", "acknowledged": "2-0"},
            ],
            "queued": 3,
            "acknowledged": "2-0",
            "expires_at": "2030-01-02T03:04:05Z",
        }
        assert requests.parse_client(answer(200, body)) == ClientState(
            client_id="ann",
            connected=True,
            connections=[Connection("websocket", "a", "1-0"), Connection("longpoll", "b", "2-0")],
            queued=3,
            acknowledged="2-0",
            expires_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        )

    def test_a_channel_that_nobody_has_used_has_no_connections_and_nothing_acknowledged(self) -> None:
        body = {
            "client_id": "ann",
            "connected": False,
            "connections": [],
            "queued": 0,
            "acknowledged": None,
            "expires_at": "2030-01-02T03:04:05Z",
            "more": {"of": "a later version"},
        }
        state = requests.parse_client(answer(200, body))
        assert (state.connected, state.connections, state.acknowledged) == (False, [], None)

    def test_the_end_of_a_channel_is_a_moment_that_can_be_compared(self) -> None:
        body = {"client_id": "a", "connected": False, "connections": [], "queued": 0, "acknowledged": None}
        for text in ("2030-01-02T03:04:05Z", "2030-01-02T05:04:05+02:00"):
            state = requests.parse_client(answer(200, body | {"expires_at": text}))
            assert state.expires_at == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
        with pytest.raises(RequestRefused, match="unexpected_answer"):
            requests.parse_client(answer(200, body | {"expires_at": "tomorrow"}))

    def test_fields_of_a_later_version_are_passed_over(self) -> None:
        assert requests.parse_sent(answer(200, {"id": "1-0", "status": "delivered", "new": 1})).status == "delivered"


class TestRefusals:
    def test_a_problem_is_raised_with_its_data(self) -> None:
        problem = {
            "type": "about:blank",
            "title": "The message is empty or not UTF-8",
            "status": 400,
            "detail": "The message is empty.",
            "code": "invalid_message",
        }
        with pytest.raises(RequestRefused) as raised:
            requests.parse_sent(answer(400, problem, content_type="application/problem+json"))
        error = raised.value
        assert (error.status, error.code) == (400, "invalid_message")
        assert str(error) == "The message is empty or not UTF-8: The message is empty. (400 invalid_message)"

    @pytest.mark.parametrize("status", [200, 201, 400, 404, 502, 504])
    @pytest.mark.parametrize("body", [b"", b"<html>bearer secret</html>", b"[]", b'{"message":"secret"}', b"\xff"])
    def test_what_is_not_of_pushline_is_refused_without_repeating_it(self, status: int, body: bytes) -> None:
        with pytest.raises(RequestRefused) as raised:
            requests.parse_token(answer(status, body, content_type="text/html"))
        assert (raised.value.status, raised.value.code) == (status, "unexpected_answer")
        assert "secret" not in str(raised.value)

    def test_the_page_of_a_proxy_is_described(self) -> None:
        with pytest.raises(RequestRefused) as raised:
            requests.parse_sent(answer(502, b"<h1>Bad gateway</h1>", content_type="text/html"))
        assert str(raised.value) == (
            "The answer is not one of Pushline: It has status 502 and type text/html. Is PUSHLINE_URL the address of "
            "Pushline, and can a proxy before it reach Pushline? (502 unexpected_answer)"
        )

    def test_a_redirect_is_not_followed_and_says_where_it_leads(self) -> None:
        with pytest.raises(RequestRefused) as raised:
            requests.parse_sent(answer(308, b"", location="https://push.example/v1/channels"))
        assert raised.value.detail == (
            "It redirects to https://push.example/v1/channels, and redirects are not followed."
        )


def test_a_request_without_a_query_has_none_in_its_target() -> None:
    assert ApiRequest("GET", "/health").target == "/health"
