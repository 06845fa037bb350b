"""The one address that pages connect to: frames by POST (W3), origins and CORS (W7), codes (W8); over the front."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.http.rig import HOST, Answer, Page, Peer, Rig, assert_problem, parse_answers, request_bytes
from tests.http.test_app import assert_cors

from pushline.hub import LATE_SECONDS
from pushline.protocol.codes import CLOSES
from pushline.transports.door import CONNECT, MAX_POST_BYTES

ADDRESS = CONNECT.decode()
SITE = "https://app.example.com"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def post(rig: Rig, body: object, headers: dict[str, str] | None = None) -> Answer:
    """A frame by POST, as a beacon sends it."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Peer(rig).ask("POST", ADDRESS, {"Content-Type": "text/plain;charset=UTF-8"} | (headers or {}), data)


def said(token: str, type: str = "ack", page: str = "p", **fields: str) -> dict[str, str]:
    return {"token": token, "page": page, "type": type, **fields}


def assert_refused(answer: Answer, code: int) -> dict[str, Any]:
    """The refusal of W8 where there is a status."""
    kind = CLOSES[code]
    assert answer.status == kind.http
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert_cors(answer)
    body: dict[str, Any] = answer.json
    assert list(body) == ["type", "title", "status", "detail", "code", "close_code"]
    assert (body["status"], body["code"], body["close_code"]) == (kind.http, kind.name, code)
    assert body["type"] == f"urn:pushline:problem:{kind.name}"
    return body


class Listener:
    """A page that reads events, and its raw bytes."""

    def __init__(self, rig: Rig, token: str, headers: dict[str, str] | None = None, query: str = "?page=p") -> None:
        self.rig = rig
        self.peer = Peer(rig)
        self.peer.write(request_bytes("GET", ADDRESS + query, {"Authorization": f"Bearer {token}"} | (headers or {})))
        rig.clock.turn()
        head, separator, self.body = self.peer.pipe.take().partition(b"\r\n\r\n")
        whole = head + separator + (b"" if b"event-stream" in head else self.body)
        (self.answer,) = parse_answers(whole, iter([]))

    def events(self) -> list[tuple[str, Any]]:
        """The events that have come: `message` or the type, and what their data says."""
        self.rig.clock.turn()
        blocks = (self.body + self.peer.pipe.take()).decode().split("\n\n")
        self.body = b""
        events = []
        for block in blocks[:-1]:
            name, _, data = block.partition("\ndata: ")
            events.append((name.removeprefix("event: "), json.loads(data)))
        return events

    def ids(self) -> list[str]:
        return [name.removeprefix("id: ") for name, _ in self.events() if name.startswith("id: ")]


def poll(rig: Rig, token: str, headers: dict[str, str] | None = None, query: str = "?page=p") -> Answer:
    fields = {"Authorization": f"Bearer {token}", "Accept": "application/json"} | (headers or {})
    return Peer(rig).ask("GET", ADDRESS + query, fields)


def send(rig: Rig, text: str = "hello") -> str:
    return str(rig.ask("POST", "/v1/clients/ann/messages", {}, text.encode()).json["status"])


class TestAFrameByPost:
    """W3."""

    @pytest.mark.parametrize("type", ["ack", "leave"])
    def test_is_answered_with_204_and_nothing_else(self, rig: Rig, type: str) -> None:
        answer = post(rig, said(rig.token("ann"), type, id=""))
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        assert_cors(answer)

    @pytest.mark.parametrize("content_type", ["text/plain", "application/json", "nonsense", ""])
    def test_may_be_of_any_content_type(self, rig: Rig, content_type: str) -> None:
        answer = post(rig, said(rig.token("ann"), id=""), {"Content-Type": content_type})
        assert answer.status == 204

    def test_acknowledges_what_the_page_was_given_over_any_transport(self, rig: Rig) -> None:
        token = rig.token("ann")
        listener = Listener(rig, token)
        send(rig)
        (id,) = listener.ids()
        assert post(rig, said(token, id=id)).status == 204
        rig.clock.turn()
        assert rig.kept("ann") == []
        page = Page(rig, token, query="page=p")
        send(rig)
        (text,) = [text for text in page.read() if not text.startswith("{")]
        assert post(rig, said(token, id=text.partition(" ")[0])).status == 204
        rig.clock.turn()
        assert rig.kept("ann") == []

    def test_acknowledges_nothing_that_the_page_was_not_given(self, rig: Rig) -> None:
        token = rig.token("ann")
        Listener(rig, token)
        send(rig)
        assert post(rig, said(token, id="8000000000000-0")).status == 204
        rig.clock.turn()
        assert rig.kept("ann") == [b"hello"]

    def test_leaves_a_websocket_too(self, rig: Rig) -> None:
        token = rig.token("ann")
        page = Page(rig, token, query="page=p")
        assert post(rig, said(token, "leave", id="")).status == 204
        assert page.close().code == 1000
        assert rig.hub.counters.connections == 0

    def test_ends_the_events_of_a_page_that_leaves(self, rig: Rig) -> None:
        token = rig.token("ann")
        listener = Listener(rig, token)
        post(rig, said(token, "leave", id=""))
        assert listener.events()[-1] == ("close", {"code": 1000, "reason": "normal"})

    def test_gives_a_fresh_token_which_admits_itself(self, rig: Rig) -> None:
        listener = Listener(rig, rig.token("ann", duration_minutes=1))
        listener.events()
        assert post(rig, said(rig.token("ann", duration_minutes=5), "token")).status == 204
        assert listener.events() == [("token", {"type": "token", "expires_in": 300})]

    def test_with_members_that_are_not_known_is_taken(self, rig: Rig) -> None:
        assert post(rig, said(rig.token("ann"), id="", more="of it")).status == 204

    def test_of_a_page_that_is_not_there_is_passed_over(self, rig: Rig) -> None:
        token = rig.token("ann")
        for type in ("ack", "leave"):
            assert post(rig, said(token, type, page="nobody", id="1-0")).status == 204
        assert post(rig, said(rig.token("ann"), "token", page="nobody")).status == 204

    def test_goes_to_the_page_that_it_names_and_no_other(self, rig: Rig) -> None:
        token = rig.token("ann", policy="share")
        one, other = Listener(rig, token), Listener(rig, token, query="?page=q")
        post(rig, said(token, "leave", id=""))
        assert one.events()[-1][0] == "close"
        assert [name for name, _ in other.events()] == ["open"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"nonsense",
            b"[]",
            b"\xff\xfe",
            b'"' + b"x" * 100,
            b"[" * 2000,
            {},
            {"page": "p", "type": "ack", "id": ""},
            {"token": "TOKEN", "type": "ack", "id": ""},
            {"token": "TOKEN", "page": "p", "id": ""},
            {"token": "TOKEN", "page": "", "type": "ack", "id": ""},
            {"token": "TOKEN", "page": "a b", "type": "ack", "id": ""},
            {"token": "TOKEN", "page": "x" * 65, "type": "ack", "id": ""},
            {"token": "TOKEN", "page": 5, "type": "ack", "id": ""},
            {"token": "TOKEN", "page": "p", "type": "ack", "id": "nonsense"},
            {"token": "TOKEN", "page": "p", "type": "ack", "id": 5},
            {"token": "TOKEN", "page": "p", "type": "leave", "id": "5"},
            {"token": "TOKEN", "page": "p", "type": "subscribe", "id": ""},
            {"token": "TOKEN", "page": "p", "type": "", "id": ""},
        ],
    )
    def test_that_is_none_is_refused_and_changes_nothing(self, rig: Rig, body: bytes | dict[str, object]) -> None:
        token = rig.token("ann")
        listener = Listener(rig, token)
        if isinstance(body, dict) and body.get("token") == "TOKEN":
            body = {**body, "token": token}
        assert_refused(post(rig, body), 4400)
        assert [name for name, _ in listener.events()] == ["open"]

    def test_with_a_token_that_is_not_good_is_refused(self, rig: Rig) -> None:
        assert_refused(post(rig, said("forged", id="")), 4401)
        token = rig.token("ann", duration_minutes=1)
        rig.clock.advance(60)
        assert_refused(post(rig, said(token, id="")), 4408)
        assert_refused(post(rig, said(token, "leave", id="")), 4408)

    def test_with_a_token_of_another_client_id_reaches_nobody(self, rig: Rig) -> None:
        token, other = rig.token("ann"), rig.token("bob")
        listener = Listener(rig, token)
        assert post(rig, said(other, "leave", id="")).status == 204
        assert [name for name, _ in listener.events()] == ["open"]

    @pytest.mark.parametrize("size", [MAX_POST_BYTES + 1, 100_000])
    def test_that_is_too_large_is_refused(self, rig: Rig, size: int) -> None:
        token = rig.token("ann")
        body = msgspec.json.encode(said(token, id=""))
        assert post(rig, body.ljust(MAX_POST_BYTES)).status == 204
        answer = post(rig, body.ljust(size))
        assert_problem(answer, "body_too_large")
        assert_cors(answer)


class TestAFrameThatComesLate:
    """W3: a beacon and the end of the connection race each other."""

    def lost(self, rig: Rig) -> tuple[str, str]:
        """The token of a page whose connection has broken, and the id of the message that it was given."""
        token = rig.token("ann")
        listener = Listener(rig, token)
        send(rig)
        (id,) = listener.ids()
        listener.peer.pipe.drop()
        assert rig.hub.counters.connections == 0
        return token, id

    @pytest.mark.parametrize("type", ["ack", "leave"])
    def test_acknowledges(self, rig: Rig, type: str) -> None:
        token, id = self.lost(rig)
        assert post(rig, said(token, type, id=id)).status == 204
        rig.clock.turn()
        assert rig.kept("ann") == []

    def test_acknowledges_after_a_websocket_was_closed_in_good_order_too(self, rig: Rig) -> None:
        # as Firefox does it: it has closed the WebSocket before `pagehide`
        token = rig.token("ann")
        page = Page(rig, token, query="page=p")
        page.read()
        send(rig)
        id = page.read()[0].partition(" ")[0]
        page.peer.write(b"\x88\x82\0\0\0\0\x03\xe9")
        assert rig.hub.counters.connections == 0
        assert post(rig, said(token, "leave", id=id)).status == 204
        rig.clock.turn()
        assert rig.kept("ann") == []

    def test_that_says_that_the_page_has_left_frees_its_place_at_once(self, rig: Rig) -> None:
        token = rig.token("ann")
        loser = Listener(rig, token, query="?page=loser")
        cursor = loser.events()[0][1]["cursor"]
        loser.peer.pipe.drop()
        holder = Listener(rig, token)
        holder.peer.pipe.drop()
        assert Listener(rig, token, {"Last-Event-ID": cursor}, "?page=loser").answer.status == 409
        assert post(rig, said(token, "leave", id="")).status == 204
        assert Listener(rig, token, {"Last-Event-ID": cursor}, "?page=loser").answer.status == 200

    def test_counts_for_some_seconds_only(self, rig: Rig) -> None:
        token, id = self.lost(rig)
        rig.clock.advance(2 * LATE_SECONDS)
        assert post(rig, said(token, id=id)).status == 204
        rig.clock.turn()
        assert rig.kept("ann") == [b"hello"]

    def test_of_a_page_that_has_lost_its_place_counts_nothing(self, rig: Rig) -> None:
        token = rig.token("ann")
        listener = Listener(rig, token)
        send(rig)
        (id,) = listener.ids()
        Listener(rig, token, query="?page=rival")
        post(rig, said(token, id=id))
        rig.clock.turn()
        assert rig.kept("ann") == [b"hello"]


class TestOrigins:
    """W7, on every transport and on POST."""

    def statuses(self, rig: Rig, headers: dict[str, str]) -> list[int]:
        """What an origin gets: the close code of a WebSocket, and the statuses of the others."""
        token = rig.token("ann", policy="share")
        page = Page(rig, token, headers=headers)
        page.read()
        closed = page._reader.close_rcvd
        return [
            closed.code if closed else 101,
            Listener(rig, token, headers).answer.status,
            poll(rig, token, headers, "?page=q").status,
            post(rig, said(token, id=""), headers).status,
        ]

    @pytest.mark.parametrize("origin", [None, "null", "https://any.example", "http://["])
    def test_are_all_admitted_when_none_is_listed(self, rig: Rig, origin: str | None) -> None:
        assert self.statuses(rig, {} if origin is None else {"Origin": origin}) == [101, 200, 200, 204]

    @pytest.mark.parametrize("origin", [SITE, f"https://{HOST}", f"http://{HOST.upper()}"])
    def test_that_are_listed_or_the_servers_own_are_admitted(self, origin: str) -> None:
        assert self.statuses(Rig(origins=[SITE]), {"Origin": origin}) == [101, 200, 200, 204]

    @pytest.mark.parametrize("origin", [None, "null", "https://other.example", "http://[", "http://app.example.com"])
    def test_that_are_others_are_refused(self, origin: str | None) -> None:
        assert self.statuses(Rig(origins=[SITE]), {} if origin is None else {"Origin": origin}) == [4403, 403, 403, 403]

    def test_that_are_others_learn_nothing_of_the_token(self) -> None:
        rig = Rig(origins=[SITE])
        assert_refused(poll(rig, "forged", {"Origin": "https://other.example"}), 4403)
        assert_refused(post(rig, said("forged", id=""), {"Origin": "https://other.example"}), 4403)

    def test_that_are_others_say_nothing(self) -> None:
        rig = Rig(origins=[SITE])
        token = rig.token("ann")
        listener = Listener(rig, token, {"Origin": SITE})
        post(rig, said(token, "leave", id=""), {"Origin": "https://other.example"})
        assert [name for name, _ in listener.events()] == ["open"]


class TestCors:
    """W7: every answer, errors included."""

    def test_is_on_every_answer_of_the_address(self, rig: Rig) -> None:
        token = rig.token("ann")
        for answer in (
            Listener(rig, token).answer,
            poll(rig, token),
            Listener(rig, "forged").answer,
            poll(rig, "forged"),
            poll(rig, token, query=""),
            post(rig, said(token, id="")),
            post(rig, said("forged", id="")),
            post(rig, b"nonsense"),
            post(rig, b"x" * 5000),
            post(rig, b"x" * 50_000),
            *(Peer(rig).ask(method, ADDRESS) for method in ("OPTIONS", "HEAD", "PUT", "DELETE", "PATCH")),
        ):
            assert_cors(answer)
            assert answer.headers["cache-control"].startswith("no-store")

    def test_is_on_what_is_said_when_the_server_goes_away(self, rig: Rig) -> None:
        token = rig.token("ann")
        rig.hub.close(10)
        for answer in (Listener(rig, token).answer, poll(rig, token)):
            assert_refused(answer, 1001)
            assert answer.headers["retry-after"] == "5"

    @pytest.mark.parametrize("origins", [[], [SITE]])
    def test_preflight_needs_neither_token_nor_a_listed_origin(self, origins: list[str]) -> None:
        answer = Peer(Rig(origins=origins)).ask("OPTIONS", ADDRESS, {"Origin": "https://other.example"})
        assert answer.status == 204
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "Authorization, Last-Event-ID, Content-Type"
        assert answer.headers["access-control-max-age"] == "7200"


class TestMethods:
    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
    def test_that_are_others_are_refused_with_those_that_are_taken(self, rig: Rig, method: str) -> None:
        peer = Peer(rig)
        answer = peer.ask(method, ADDRESS, {"Authorization": f"Bearer {rig.token('ann')}"})
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST, OPTIONS")
        if method != "HEAD":
            assert_problem(answer, "method_not_allowed", f"does not take {method}; it takes GET, POST, OPTIONS")
        assert peer.ask("GET", "/health").status == 200
        assert rig.hub.counters.connections_opened == 0


class TestTheQuery:
    """W1: the same words on every transport."""

    def opened(self, rig: Rig, token: str, query: str) -> list[bool | int]:
        """Of each transport whether it says that there is a gap; or how it refuses."""
        page = Page(rig, token, query=query)
        texts = page.read()
        listener = Listener(rig, token, query=f"?{query}")
        answer = poll(rig, token, query=f"?{query}")
        return [
            json.loads(texts[0])["gap"] if texts else page.close().code,
            listener.events()[0][1]["gap"] if listener.answer.status == 200 else listener.answer.json["close_code"],
            answer.json["gap"] if answer.status == 200 else answer.json["close_code"],
        ]

    def test_names_the_page(self, rig: Rig) -> None:
        token = rig.token("ann")
        assert self.opened(rig, token, "page=a-b_1") == [False] * 3
        assert rig.hub.counters.connections_replaced == 0

    def test_may_have_the_cursor(self, rig: Rig) -> None:
        token = rig.token("ann")
        (frame,) = Page(rig, token, query="page=p").read()
        assert self.opened(rig, token, f"page=p&after={json.loads(frame)['cursor']}") == [False] * 3

    @pytest.mark.parametrize("after", ["", "nonsense", "1-2", "9999999999999-0", "%FF", "%00"])
    def test_with_a_cursor_that_is_none_is_a_gap(self, rig: Rig, after: str) -> None:
        assert self.opened(rig, rig.token("ann"), f"page=p&after={after}") == [True] * 3

    @pytest.mark.parametrize("page", ["a%20b", "x" * 65, "%C3%BC", "a/b", "%00", "a.b"])
    def test_with_a_page_name_of_another_shape_is_refused(self, rig: Rig, page: str) -> None:
        assert self.opened(rig, rig.token("ann"), f"page={page}") == [4400] * 3

    def test_with_other_parameters_is_taken(self, rig: Rig) -> None:
        assert self.opened(rig, rig.token("ann"), "page=p&version=7&%FF=%FF&x") == [False] * 3

    def test_of_a_nameless_page_is_for_what_goes_on_alone(self, rig: Rig) -> None:
        assert self.opened(rig, rig.token("ann"), "") == [False, False, 4400]


def test_tokens_in_the_address_admit_nobody(rig: Rig) -> None:
    token = rig.token("ann")
    answer = Peer(rig).ask("GET", f"{ADDRESS}?page=p&token={token}")
    assert_refused(answer, 4401)
