"""Which address is answered by whom; problems; what is said when a handler has a fault."""

from __future__ import annotations

import json
import logging
import re

import msgspec
import pytest
from tests.http.rig import PROBLEMS, Answer, Peer, Rig, assert_problem

from pushline.errors import Problem
from pushline.http.responses import Pending, problem_response
from pushline.http.values import Response
from pushline.protocol.codes import PROBLEMS as GENERATED
from pushline.stores.memory import MemoryStore

PAGE_ADDRESSES = ["/_ah/channel/jsapi", "/_ah/channel/pushline.mjs", "/_ah/channel/connect"]


def assert_cors(answer: Answer) -> None:
    """Pages of any origin may read the answer (W7)."""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    assert answer.headers["vary"] == "Origin, Accept"
    assert "access-control-allow-credentials" not in answer.headers


class TestProblems:
    @pytest.mark.parametrize("code", PROBLEMS)
    def test_say_what_the_register_says(self, code: str) -> None:
        response = problem_response(Problem(code, "A sentence."))
        headers = [("Content-Type", response.content_type), ("Cache-Control", "no-store"), *response.headers]
        if response.status == 405:
            headers.append(("Allow", "GET"))
        assert_problem(Answer(response.status, "", headers, response.body), code)

    def test_of_the_code_are_those_of_the_register(self) -> None:
        assert {code: (each.status, each.title) for code, each in GENERATED.items()} == {
            code: (each["status"], each["title"]) for code, each in PROBLEMS.items()
        }

    def test_say_their_code_and_their_sentence(self) -> None:
        assert str(Problem("not_found", "There is nothing.")) == "not_found: There is nothing."

    def test_carry_what_was_asked_safely(self, rig: Rig) -> None:
        answer = rig.ask("GET", '/"}\\%00')
        assert_problem(answer, "not_found")
        assert json.loads(answer.body)["detail"].startswith('There is nothing at /"}\\%00;')


class TestAddresses:
    @pytest.mark.parametrize(
        "path",
        ["/v1", "/v1/channels/", "/V1/channels", "//", "/_ah", "/_ah/channel/connected/", "/v1/clients/", "*"],
    )
    def test_that_are_none_are_not_found(self, rig: Rig, path: str) -> None:
        assert_problem(rig.ask("GET", path), "not_found", re.escape(f"nothing at {path};"))

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("POST", "/", "HEAD, GET"),
            ("DELETE", "/health", "HEAD, GET"),
            ("PUT", "/metrics", "HEAD, GET"),
            ("GET", "/v1/channels", "POST"),
            ("OPTIONS", "/v1/messages", "POST"),
            ("POST", "/_ah/channel/jsapi", "HEAD, GET, OPTIONS"),
            ("PUT", "/_ah/channel/connect", "GET, POST, OPTIONS"),
        ],
    )
    def test_name_the_methods_that_they_take(self, rig: Rig, method: str, path: str, allow: str) -> None:
        answer = rig.ask(method, path)
        assert_problem(answer, "method_not_allowed", f"does not take {method}; it takes {allow}")
        assert answer.headers["allow"] == allow

    @pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics", "/_ah/channel/jsapi", "/nowhere"])
    def test_answer_head_as_get_without_the_body(self, rig: Rig, path: str) -> None:
        get, head = rig.ask("GET", path), rig.ask("HEAD", path)
        assert head.body == b""
        assert (head.status, head.header_list) == (get.status, get.header_list)

    def test_may_be_absolute(self, rig: Rig) -> None:
        assert rig.ask("GET", "http://push.example.com/health").json == {"status": "ok"}
        assert rig.ask("GET", "http://push.example.com").text.startswith("Pushline pushes")
        assert_problem(rig.ask("GET", "http://push.example.com/v1/x?y"), "not_found", "nothing at /v1/x;")


class TestFaults:
    def test_are_logged_and_answered_without_their_cause(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*arguments: object) -> None:
            raise ZeroDivisionError("a secret of the code")

        monkeypatch.setattr(MemoryStore, "look", fail)
        monkeypatch.setattr(logging.getLogger("pushline"), "propagate", True)
        answer = rig.ask("GET", "/v1/clients/ann")
        assert_problem(answer, "internal_error", "The server's log has the cause")
        assert b"secret" not in answer.body
        (record,) = caplog.records
        assert record.exc_info is not None
        assert vars(record)["path"] == "/v1/clients/ann"

    def test_of_one_request_leave_the_connection_as_it_is(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        peer = Peer(rig)
        with monkeypatch.context() as patch:
            patch.setattr(MemoryStore, "ready", lambda self: 1 / 0)
            assert_problem(peer.ask("GET", "/ready"), "internal_error")
        assert peer.ask("GET", "/ready").status == 200


class TestCors:
    @pytest.mark.parametrize("path", PAGE_ADDRESSES)
    def test_is_on_every_answer_to_a_page(self, rig: Rig, path: str) -> None:
        for answer in (
            rig.ask("GET", path),
            rig.ask("DELETE", path),
            rig.ask("OPTIONS", path),
            rig.ask("POST", path, {}, b"x" * 40_000),
            rig.ask("GET", path, {"Content-Encoding": "gzip"}),
        ):
            assert_cors(answer)

    def test_is_on_what_is_not_there(self, rig: Rig) -> None:
        answer = rig.ask("GET", "/_ah/channel/nothing")
        assert_problem(answer, "not_found")
        assert_cors(answer)

    @pytest.mark.parametrize("path", [*PAGE_ADDRESSES, "/_ah/channel/nothing"])
    def test_is_on_what_the_front_refuses(self, rig: Rig, path: str) -> None:
        peer = Peer(rig)
        peer.write(b"GET %b HTTP/1.1\r\nCookie: %b\r\n\r\n" % (path.encode(), b"x" * 20_000))
        (answer,) = peer.read()
        assert_problem(answer, "headers_too_large")
        assert_cors(answer)

    @pytest.mark.parametrize("path", PAGE_ADDRESSES)
    def test_preflight_needs_no_token(self, rig: Rig, path: str) -> None:
        headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
        answer = Peer(rig).ask("OPTIONS", path, headers)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "Authorization, Last-Event-ID, Content-Type"
        assert answer.headers["access-control-max-age"] == "7200"
        assert answer.headers["cache-control"] == "no-store"
        assert "content-length" not in answer.headers
        assert_cors(answer)

    @pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/v1/channels", "/nowhere"])
    def test_is_on_nothing_else(self, rig: Rig, path: str) -> None:
        assert not [name for name in rig.ask("GET", path).headers if name.startswith("access-control")]


class TestResponses:
    def test_are_values(self) -> None:
        response = Response(200)
        with pytest.raises(AttributeError):
            response.status = 404  # type: ignore[misc]
        assert msgspec.structs.astuple(response) == (200, "", b"", (), "")

    def test_that_wait_have_none_yet(self) -> None:
        assert Pending().response is None
        assert Pending(Response(204)).response == Response(204)
