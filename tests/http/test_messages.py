"""A2, ``POST /v1/clients/{client_id}/messages``: the body is the message."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from tests.http.rig import BEARER, Answer, FailingStore, Page, Peer, Rig, assert_problem
from tests.http.test_channels import STRANGE_CLIENT_IDS

from pushline.errors import StoreError, StoreFull
from pushline.messages import parse_id
from pushline.stores.base import Room
from pushline.stores.memory import MemoryStore


def send(
    rig: Rig, client_id: str = "ann", body: bytes = b"hello", query: str = "", headers: dict[str, str] | None = None
) -> Answer:
    return rig.ask("POST", f"/v1/clients/{client_id}/messages{query}", headers, body)


class TestTheStatus:
    def test_is_sent_when_a_page_is_connected(self, rig: Rig) -> None:
        page = rig.page("ann")
        answer = send(rig)
        assert answer.status == 200
        assert list(answer.json) == ["id", "status"]
        assert answer.json["status"] == "sent"
        assert page.read() == [f"{answer.json['id']} hello"]

    def test_is_queued_when_the_page_is_away(self, rig: Rig) -> None:
        rig.token("ann")
        assert send(rig).json["status"] == "queued"
        assert rig.kept("ann") == [b"hello"]

    def test_is_no_channel_when_nobody_has_a_token(self, rig: Rig) -> None:
        answer = send(rig)
        assert (answer.status, answer.json) == (200, {"id": None, "status": "no_channel"})

    def test_is_no_channel_when_the_last_token_has_expired(self, rig: Rig) -> None:
        rig.token("ann", duration_minutes=1)
        rig.clock.advance(61)
        assert send(rig).json == {"id": None, "status": "no_channel"}

    def test_comes_with_an_id_that_increases(self, rig: Rig) -> None:
        rig.token("ann")
        numbers = [parse_id(send(rig).json["id"]) or 0 for _ in range(5)]
        assert numbers == sorted(set(numbers))
        assert 0 not in numbers

    def test_is_not_said_when_nothing_was_kept(self) -> None:
        store = FailingStore()
        rig = Rig(store)
        rig.token("ann")
        store.error = StoreFull("the disk is full")
        assert_problem(send(rig), "store_full", "nothing of this request was kept")
        store.error = StoreError("the disk burns")
        assert_problem(send(rig), "internal_error", "nothing of this request was kept")
        assert_problem(rig.post_json("/v1/channels", {"client_id": "ann"}), "internal_error")
        store.error = None
        assert send(rig).json["status"] == "queued"
        assert rig.kept("ann") == [b"hello"]

    def test_is_not_said_when_the_store_has_no_room(self) -> None:
        rig = Rig(MemoryStore(room=Room(messages=1)))
        rig.token("ann")
        assert send(rig).json["status"] == "queued"
        for query in ("", "?wait=5"):
            answer = send(rig, query=query)
            assert_problem(answer, "store_full", "nothing of this request was kept")
            assert answer.status == 507
        assert rig.kept("ann") == [b"hello"]
        assert send(rig, "nobody").json["status"] == "no_channel"


class TestTheClientId:
    @pytest.mark.parametrize("client_id", STRANGE_CLIENT_IDS)
    def test_may_be_percent_encoded_in_the_path(self, rig: Rig, client_id: str) -> None:
        rig.token(client_id)
        assert send(rig, quote(client_id, safe="")).json["status"] == "queued"
        assert rig.kept(client_id) == [b"hello"]

    @pytest.mark.parametrize("client_id", STRANGE_CLIENT_IDS)
    def test_may_stand_in_the_query_behind_a_dash(self, rig: Rig, client_id: str) -> None:
        rig.token(client_id)
        assert send(rig, "-", query="?" + urlencode({"client_id": client_id})).json["status"] == "queued"
        assert rig.kept(client_id) == [b"hello"]

    def test_is_a_dash_when_the_query_says_nothing(self, rig: Rig) -> None:
        rig.token("-")
        assert send(rig, "-", query="?ttl=5").json["status"] == "queued"
        assert rig.kept("-") == [b"hello"]

    def test_in_the_path_keeps_its_plus(self, rig: Rig) -> None:
        rig.token("a+b")
        assert send(rig, "a+b").json["status"] == "queued"
        assert send(rig, "-", query="?client_id=a+b").json["status"] == "no_channel"

    def test_cannot_be_in_both_places(self, rig: Rig) -> None:
        assert_problem(send(rig, "ann", query="?client_id=bob"), "malformed_request", "either in the path or")
        assert_problem(send(rig, "-", query="?client_id=ann&client_id=bob"), "malformed_request", "twice")

    @pytest.mark.parametrize("encoded", ["%ff", "%ED%A0%80", "%C3", "x" * 257, "%C3%A9" * 129, "é" * 200])
    def test_in_the_path_that_is_none_is_refused(self, rig: Rig, encoded: str) -> None:
        assert_problem(send(rig, quote(encoded, safe="%")), "invalid_client_id")

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("?client_id=", "invalid_client_id"),
            ("?client_id=" + "x" * 257, "invalid_client_id"),
            ("?client_id=%ff", "malformed_request"),
            ("?client_id", "malformed_request"),
            ("?" + "&".join(f"a{n}=1" for n in range(20)), "malformed_request"),
        ],
    )
    def test_in_the_query_that_is_none_is_refused(self, rig: Rig, query: str, code: str) -> None:
        assert_problem(send(rig, "-", query=query), code)

    def test_that_is_raw_utf8_in_the_path_is_no_http(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write("POST /v1/clients/é/messages HTTP/1.1\r\n".encode())
        assert_problem(peer.read()[0], "malformed_request")

    @pytest.mark.parametrize("path", ["/v1/clients//messages", "/v1/clients/a/b/messages"])
    def test_that_is_missing_or_several_is_at_no_address(self, rig: Rig, path: str) -> None:
        assert_problem(rig.ask("POST", path, {}, b"hello"), "not_found")

    def test_is_checked_before_the_channel_is_looked_up(self, rig: Rig) -> None:
        assert_problem(send(rig, "nobody", b"\xff"), "invalid_message")
        assert_problem(send(rig, "nobody", query="?ttl=0"), "invalid_ttl")


class TestTheBody:
    @pytest.mark.parametrize(
        "content_type",
        ["text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"],
    )
    def test_is_the_message_whatever_its_content_type(self, rig: Rig, content_type: str) -> None:
        page = rig.page("ann")
        send(rig, body=b"a=b&c=%20+ d", headers={"Content-Type": content_type})
        assert page.messages() == ["a=b&c=%20+ d"]

    @pytest.mark.parametrize("text", ["x", "\0", " \r\n\t ", "{}", '{"type":"ping"}', "\ufeff", "\u2028", "😀" * 8191])
    def test_arrives_as_it_was_sent(self, rig: Rig, text: str) -> None:
        page = rig.page("ann")
        assert send(rig, body=text.encode()).json["status"] == "sent"
        assert page.messages() == [text]

    @pytest.mark.parametrize("size", [1, 125, 126, 127, 16384, 32766, 32767])
    def test_may_have_any_size_up_to_the_limit(self, rig: Rig, size: int) -> None:
        page = rig.page("ann")
        assert send(rig, body=b"x" * size).status == 200
        assert page.messages() == ["x" * size]

    @pytest.mark.parametrize("size", [32768, 32769, 100_000])
    def test_above_the_limit_is_refused(self, rig: Rig, size: int) -> None:
        rig.token("ann")
        assert_problem(send(rig, body=b"x" * size), "message_too_long", "32767")
        assert rig.kept("ann") == []

    def test_is_measured_in_bytes(self, rig: Rig) -> None:
        rig.token("ann")
        assert send(rig, body="é".encode() * 16383).status == 200
        assert_problem(send(rig, body="é".encode() * 16384), "message_too_long")

    def test_above_a_small_limit_of_the_settings_is_refused(self) -> None:
        rig = Rig(max_message_bytes=10)
        rig.token("ann")
        assert send(rig, body=b"x" * 10).status == 200
        assert_problem(send(rig, body=b"x" * 11), "message_too_long", "11 bytes; this server takes at most 10")

    def test_that_is_empty_is_refused(self, rig: Rig) -> None:
        assert_problem(send(rig, body=b""), "invalid_message", "empty")

    @pytest.mark.parametrize(
        ("body", "byte"),
        [(b"\xff", 0), (b"abc\xff", 3), (b"a\xed\xa0\x80", 1), ("é".encode()[:1], 0), (b"\xc0\x80", 0)],
    )
    def test_that_is_not_utf8_is_refused_with_the_place(self, rig: Rig, body: bytes, byte: int) -> None:
        assert_problem(send(rig, body=body), "invalid_message", f"not UTF-8 at byte {byte}\\.")

    @pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, identity"])
    def test_that_is_encoded_is_refused(self, rig: Rig, encoding: str) -> None:
        answer = send(rig, headers={"Content-Encoding": encoding})
        assert_problem(answer, "unsupported_encoding", f"`{encoding}`")

    def test_that_is_encoded_as_itself_is_taken(self, rig: Rig) -> None:
        assert send(rig, headers={"Content-Encoding": "Identity"}).status == 200


class TestTheKey:
    def test_makes_a_repeat_take_effect_once(self, rig: Rig) -> None:
        page = rig.page("ann")
        first = send(rig, headers={"Idempotency-Key": "order-7"})
        again = send(rig, body=b"another body", headers={"Idempotency-Key": "order-7"})
        assert first.json == again.json
        assert first.json["status"] == "sent"
        assert page.messages() == ["hello"]

    def test_tells_a_repeat_what_is_true_by_now(self, rig: Rig) -> None:
        token = rig.token("ann")
        first = send(rig, headers={"Idempotency-Key": "k"})
        assert first.json["status"] == "queued"
        assert Page(rig, token).messages() == ["hello"]
        again = send(rig, headers={"Idempotency-Key": "k"})
        assert again.json == {"id": first.json["id"], "status": "sent"}

    def test_tells_a_repeat_that_a_page_of_a_newer_token_did_not_get_it(self, rig: Rig) -> None:
        rig.token("ann")
        first = send(rig, headers={"Idempotency-Key": "k"})
        assert rig.page("ann").messages() == []
        again = send(rig, headers={"Idempotency-Key": "k"})
        assert again.json == {"id": first.json["id"], "status": "queued"}

    def test_belongs_to_its_client_id(self, rig: Rig) -> None:
        rig.token("ann")
        rig.token("bob")
        ids = {send(rig, client_id, headers={"Idempotency-Key": "k"}).json["id"] for client_id in ("ann", "bob")}
        assert len(ids) == 2

    def test_is_not_remembered_when_there_is_no_channel(self, rig: Rig) -> None:
        assert send(rig, headers={"Idempotency-Key": "k"}).json["status"] == "no_channel"
        rig.token("ann")
        assert send(rig, headers={"Idempotency-Key": "k"}).json["status"] == "queued"

    def test_is_the_same_in_a_header_and_in_a_batch(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        key = "Schlüssel".encode().decode("latin-1")
        first = peer.ask("POST", "/v1/clients/ann/messages", {**BEARER, "Idempotency-Key": key}, b"hello")
        batch = rig.post_json("/v1/messages", {"messages": [{"to": "ann", "data": "hello", "key": "Schlüssel"}]})
        assert batch.json["results"][0]["id"] == first.json["id"]

    @pytest.mark.parametrize("key", ["k", "k" * 255, "\u00c3\u00a9" * 127])
    def test_has_up_to_255_bytes(self, rig: Rig, key: str) -> None:
        rig.token("ann")
        assert send(rig, headers={"Idempotency-Key": key}).status == 200

    @pytest.mark.parametrize("key", ["", "k" * 256, "\u00c3\u00a9" * 128, "\xff"])
    def test_that_is_another_is_refused(self, rig: Rig, key: str) -> None:
        assert_problem(send(rig, headers={"Idempotency-Key": key}), "invalid_key", "1 to 255 bytes")


class TestTheTtl:
    @pytest.mark.parametrize("ttl", ["1", "0.5", "1e3", "604800", "5.0"])
    def test_is_a_number_of_seconds(self, rig: Rig, ttl: str) -> None:
        rig.token("ann", duration_minutes=1440)
        assert send(rig, query=f"?ttl={ttl}").json["status"] == "queued"
        assert rig.kept("ann") == [b"hello"]
        rig.clock.advance(float(ttl))
        assert rig.kept("ann") == []

    @pytest.mark.parametrize(
        "ttl", ["0", "-1", "604801", "nan", "inf", "1e400", "", "five", "true", "%D9%A1", "1_0", "+5", "9" * 5000]
    )
    def test_that_is_another_is_refused(self, rig: Rig, ttl: str) -> None:
        assert_problem(send(rig, query=f"?ttl={ttl}"), "invalid_ttl", "above 0 and at most 604800")


class TestTheAddress:
    def test_takes_no_other_parameters(self, rig: Rig) -> None:
        assert_problem(send(rig, query="?tll=5"), "unknown_parameter", "`tll`")

    def test_takes_an_empty_query(self, rig: Rig) -> None:
        assert send(rig, query="?").status == 200

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
    def test_takes_no_other_method(self, rig: Rig, method: str) -> None:
        answer = rig.ask(method, "/v1/clients/ann/messages")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        if method != "HEAD":
            assert_problem(answer, "method_not_allowed", f"does not take {method}; it takes POST")

    def test_is_not_for_pages_of_other_origins(self, rig: Rig) -> None:
        assert "access-control-allow-origin" not in send(rig).headers
