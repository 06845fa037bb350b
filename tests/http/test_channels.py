"""A1, ``POST /v1/channels``: a token, and the channel when there is none."""

from __future__ import annotations

import json
from datetime import datetime
from urllib.parse import quote_plus, urlencode

import pytest
from tests.http.rig import BEARER, Answer, Page, Peer, Rig, assert_problem
from websockets.frames import Frame, Opcode

from pushline.protocol.tokens import TokenSigner
from pushline.stores.base import Room
from pushline.stores.memory import MemoryStore

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
STRANGE_CLIENT_IDS = [
    "a",
    "-",
    "room/ann",
    "two words",
    "a&b=c",
    "100%",
    "a+b",
    ".",
    "..",
    "ann?x#y",
    "😀",
    "\0",
    "\r\n",
    "x" * 256,
    "é" * 128,
]


def create(rig: Rig, **fields: object) -> Answer:
    return rig.post_json("/v1/channels", fields)


def seconds_of(answer: Answer) -> float:
    return datetime.fromisoformat(answer.json["expires_at"]).timestamp()


class TestTheAnswer:
    def test_is_201_with_client_id_token_and_expiry(self, rig: Rig) -> None:
        answer = create(rig, client_id="ann")
        assert answer.status == 201
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert list(answer.json) == ["client_id", "token", "expires_at"]
        assert answer.json["client_id"] == "ann"

    def test_has_a_token_that_fits_a_subprotocol(self, rig: Rig) -> None:
        token = rig.token("\N{GRINNING FACE}" * 64)
        assert len(token) <= 1024
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")

    def test_has_an_expiry_as_rfc_3339_writes_it(self, rig: Rig) -> None:
        answer = create(rig, client_id="ann", duration_minutes=1)
        assert answer.json["expires_at"] == "2023-11-14T22:14:20Z"
        claims = TokenSigner(["the-token-secret-of-the-tests"]).verify(answer.json["token"], rig.clock.now())
        assert claims.expires_at == seconds_of(answer)

    def test_is_two_hours_when_nothing_is_said(self, rig: Rig) -> None:
        assert seconds_of(create(rig, client_id="ann")) == rig.clock.now() + 7200

    def test_is_the_bare_token_for_text_plain(self, rig: Rig) -> None:
        answer = rig.ask("POST", "/v1/channels", {"Accept": "text/plain"}, b'{"client_id":"ann"}')
        assert answer.status == 201
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert Page(rig, answer.text).read()[0].startswith('{"type":"open","client_id":"ann"')

    @pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain, application/json"])
    def test_is_json_when_json_is_welcome(self, rig: Rig, accept: str) -> None:
        answer = rig.ask("POST", "/v1/channels", {"Accept": accept}, b'{"client_id":"ann"}')
        assert answer.headers["content-type"] == "application/json"

    def test_is_a_problem_even_for_text_plain(self, rig: Rig) -> None:
        assert_problem(rig.ask("POST", "/v1/channels", {"Accept": "text/plain"}, b"{}"), "malformed_json", "client_id")


class TestTheBody:
    @pytest.mark.parametrize(
        "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"]
    )
    def test_is_json_whatever_its_content_type(self, rig: Rig, content_type: str) -> None:
        # curl calls every body a form
        answer = rig.ask("POST", "/v1/channels", {"Content-Type": content_type}, b' {"client_id":"ann"}')
        assert answer.json["client_id"] == "ann"

    def test_may_be_a_form(self, rig: Rig) -> None:
        body = urlencode({"client_id": "room/ann é+", "duration_minutes": "7", "policy": "share"}).encode()
        answer = rig.ask("POST", "/v1/channels", FORM, body)
        assert answer.json["client_id"] == "room/ann é+"
        assert seconds_of(answer) == rig.clock.now() + 420
        first, second = Page(rig, answer.json["token"]), Page(rig, answer.json["token"])
        rig.ask("POST", "/v1/clients/-/messages?client_id=" + quote_plus("room/ann é+"), {}, b"to both")
        assert first.messages() == second.messages() == ["to both"]

    def test_may_be_a_form_by_any_spelling_of_the_type(self, rig: Rig) -> None:
        headers = {"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=UTF-8"}
        assert rig.ask("POST", "/v1/channels", headers, b"client_id=ann").status == 201

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"nonsense",
            b"[]",
            b"{}",
            b'{"client_id":"ann"',
            b'{"client_id":"ann"} trailing',
            b'{"client_id":"ann","duration_minutes":NaN}',
            b'{"client_id":"ann","duration_minutes":1e999}',
            b'{"client_id":"\\ud800"}',
            b'{"client_id":"\xed\xa0\x80"}',
            b'{"client_id":"\xff"}',
            b'{"client_id":' + b"[" * 15_000 + b"]" * 15_000 + b"}",
        ],
    )
    def test_that_is_no_such_json_is_refused(self, rig: Rig, body: bytes) -> None:
        assert_problem(rig.ask("POST", "/v1/channels", {}, body), "malformed_json")

    @pytest.mark.parametrize(
        "body", [b"client_id", b"client_id=%ff", b"client_id=\xc3\xa9", b"client_id=a&client_id=b"]
    )
    def test_that_is_no_such_form_is_refused(self, rig: Rig, body: bytes) -> None:
        assert_problem(rig.ask("POST", "/v1/channels", FORM, body), "malformed_request")

    @pytest.mark.parametrize("body", [b"", b"policy=share"])
    def test_that_is_a_form_without_client_id_is_refused(self, rig: Rig, body: bytes) -> None:
        assert_problem(rig.ask("POST", "/v1/channels", FORM, body), "malformed_json", "`client_id`")

    def test_with_an_unknown_field_is_refused_by_its_name(self, rig: Rig) -> None:
        assert_problem(create(rig, client_id="ann", durationMinutes=5), "unknown_field", "`durationMinutes`")
        answer = rig.ask("POST", "/v1/channels", FORM, b"client_id=ann&minutes=5")
        assert_problem(answer, "unknown_field", "`minutes`")

    def test_with_an_unknown_parameter_in_the_address_is_refused_by_its_name(self, rig: Rig) -> None:
        answer = rig.ask("POST", "/v1/channels?client_id=ann", {}, b'{"client_id":"ann"}')
        assert_problem(answer, "unknown_parameter", "`client_id`")

    def test_that_is_too_large_is_refused(self, rig: Rig) -> None:
        assert_problem(rig.ask("POST", "/v1/channels", {}, b" " * 40_000), "body_too_large", "32767")


class TestTheDuration:
    @pytest.mark.parametrize("minutes", ["1", "1440", "120.0", "1.2e2"])
    def test_is_a_whole_number_of_minutes(self, rig: Rig, minutes: str) -> None:
        answer = rig.ask("POST", "/v1/channels", {}, b'{"client_id":"ann","duration_minutes":%b}' % minutes.encode())
        assert seconds_of(answer) == rig.clock.now() + float(minutes) * 60

    @pytest.mark.parametrize(
        "minutes",
        ["0", "-1", "1441", "1.5", "0.5", '"120"', "true", "null", "[1]", "{}", "1e300", "9" * 400, "-0", "1440.5"],
    )
    def test_that_is_another_is_refused(self, rig: Rig, minutes: str) -> None:
        answer = rig.ask("POST", "/v1/channels", {}, b'{"client_id":"ann","duration_minutes":%b}' % minutes.encode())
        assert_problem(answer, "invalid_duration", "1 to 1440")

    @pytest.mark.parametrize("minutes", ["0", "1441", "1.5", "", "two", "%D9%A1", "1_0", "nan", "inf", "9" * 5000])
    def test_that_is_another_in_a_form_is_refused(self, rig: Rig, minutes: str) -> None:
        answer = rig.ask("POST", "/v1/channels", FORM, f"client_id=ann&duration_minutes={minutes}".encode())
        assert_problem(answer, "invalid_duration", "1 to 1440")


class TestThePolicy:
    def test_replace_is_what_nothing_said_means(self, rig: Rig) -> None:
        first, second = rig.page("ann"), rig.page("ann")
        assert first.close().code == 4409
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
        assert second.messages() == ["hello"]

    def test_share_is_for_every_page(self, rig: Rig) -> None:
        first, second = rig.page("ann", policy="share"), rig.page("ann", policy="share")
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
        assert first.messages() == second.messages() == ["hello"]

    @pytest.mark.parametrize("policy", ["first", "", "REPLACE", None, 1, [], {}])
    def test_that_is_another_is_refused(self, rig: Rig, policy: object) -> None:
        assert_problem(create(rig, client_id="ann", policy=policy), "invalid_policy", "`replace`, `reject`, `share`")

    def test_reject_is_for_the_page_that_came_first(self, rig: Rig) -> None:
        first = rig.page("ann", policy="reject")
        second = Page(rig, rig.token("ann", policy="reject"))
        assert first.read() == ['{"type":"ping"}']
        first.peer.write(Frame(Opcode.TEXT, b'{"type":"ack","id":""}').serialize(mask=True))
        assert second.close().code == 4409
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
        assert first.messages() == ["hello"]

    def test_of_a_store_that_has_no_room_is_nothing(self) -> None:
        rig = Rig(MemoryStore(room=Room(channels=1)))
        rig.token("ann")
        assert_problem(create(rig, client_id="bob"), "store_full", "nothing of this request was kept")
        assert create(rig, client_id="ann").status == 201


class TestTheClientId:
    @pytest.mark.parametrize("client_id", STRANGE_CLIENT_IDS)
    def test_may_have_any_characters(self, rig: Rig, client_id: str) -> None:
        assert create(rig, client_id=client_id).json["client_id"] == client_id
        form = rig.ask("POST", "/v1/channels", FORM, urlencode({"client_id": client_id}).encode())
        assert form.json["client_id"] == client_id

    @pytest.mark.parametrize("client_id", ["", "x" * 257, "é" * 129, 5, None, ["ann"], True])
    def test_that_is_another_is_refused(self, rig: Rig, client_id: object) -> None:
        assert_problem(create(rig, client_id=client_id), "invalid_client_id", "1 to 256 bytes")

    def test_that_was_refused_made_no_channel(self, rig: Rig) -> None:
        create(rig, client_id="x" * 257)
        assert rig.hub.counters.channels_created == 0


class TestTheKey:
    @pytest.mark.parametrize(
        ("header", "detail"),
        [
            (None, "There is no `Authorization"),
            ("", "There is no `Authorization"),
            ("Basic YTpi", "not of the form"),
            ("the-api-key-of-the-tests", "not of the form"),
            ("Bearer", "not of the form"),
            ("Bearer wrong-key-of-the-tests", "not the server's"),
            ("Bearer the-api-key-of-the-test", "not the server's"),
            ("Bearer the-api-key-of-the-tests, Bearer the-api-key-of-the-tests", "not the server's"),
            ("Bearer \xff\xfe", "not the server's"),
        ],
    )
    def test_that_is_missing_or_wrong_is_refused(self, rig: Rig, header: str | None, detail: str) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = Peer(rig).ask("POST", "/v1/channels", headers, b'{"client_id":"ann"}')
        assert_problem(answer, "unauthorized", detail)
        assert answer.headers["www-authenticate"] == 'Bearer realm="pushline"'

    @pytest.mark.parametrize(
        "header",
        [
            "Bearer the-api-key-of-the-tests",
            "bearer the-api-key-of-the-tests",
            "BEARER   the-api-key-of-the-tests",
            "Bearer another-good-key-of-the-tests",
            "bearer another-good-key-of-the-tests",
        ],
    )
    def test_that_is_any_of_the_servers_is_good(self, rig: Rig, header: str) -> None:
        answer = Peer(rig).ask("POST", "/v1/channels", {"Authorization": header}, b'{"client_id":"ann"}')
        assert answer.status == 201

    @pytest.mark.parametrize(
        ("method", "target"),
        [("POST", "/v1/channels"), ("POST", "/v1/messages"), ("POST", "/v1/clients/a/messages"), ("GET", "/metrics")],
    )
    def test_is_wanted_before_anything_else_is_looked_at(self, rig: Rig, method: str, target: str) -> None:
        assert_problem(Peer(rig).ask(method, f"{target}?bad=1", {}, b"nonsense"), "unauthorized")

    def test_never_shows_in_an_answer(self, rig: Rig) -> None:
        answer = Peer(rig).ask("POST", "/v1/channels", {"Authorization": "Bearer my-secret-key"}, b"{}")
        assert b"my-secret-key" not in answer.body
        assert json.loads(answer.body)["code"] == "unauthorized"
        assert BEARER["Authorization"] not in repr([getattr(rig.front.app, name) for name in dir(rig.front.app)])
