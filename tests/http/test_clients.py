"""A4 and the callbacks that wait: what the application asks about its client ids."""

from __future__ import annotations

import pytest
from tests.http.rig import Answer, Application, Rig, assert_problem

from pushline.callbacks import TRY_SECONDS, Result
from pushline.errors import StoreError
from pushline.hub import IN_TIME_SECONDS
from pushline.stores.base import Room
from pushline.stores.memory import MemoryStore


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [entry["client_id"] for entry in answer.json["clients"]]


class TestListing:
    def test_has_what_is_asked_for(self, rig: Rig) -> None:
        rig.page("ann")
        for name in ("bob", "a b", "é"):
            rig.token(name)
        answer = rig.ask("GET", "/v1/clients")
        assert names(answer) == ["a b", "ann", "bob", "é"]
        assert list(answer.json["clients"][0]) == ["client_id", "connected", "expires_at"]
        assert names(rig.ask("GET", "/v1/clients?connected=true")) == ["ann"]
        assert names(rig.ask("GET", "/v1/clients?connected=false&prefix=%C3%A9")) == ["é"]
        first = rig.ask("GET", "/v1/clients?limit=3")
        assert first.json["next"] == "bob"
        rest = rig.ask("GET", "/v1/clients?limit=3&after=bob")
        assert (names(rest), rest.json["next"]) == (["é"], None)

    @pytest.mark.parametrize(
        ("target", "code"),
        [
            ("/v1/clients?connected=yes", "invalid_parameter"),
            ("/v1/clients?limit=0", "invalid_parameter"),
            ("/v1/clients?limit=1001", "invalid_parameter"),
            ("/v1/clients?limit=-1", "invalid_parameter"),
            ("/v1/clients?limit=99999", "invalid_parameter"),
            ("/v1/clients?state=x", "unknown_parameter"),
            ("/v1/callbacks?after=x", "invalid_parameter"),
            ("/v1/callbacks?limit=x", "invalid_parameter"),
        ],
    )
    def test_what_it_does_not_know_is_refused(self, rig: Rig, target: str, code: str) -> None:
        assert_problem(rig.ask("GET", target), code)


class TestEnding:
    @pytest.mark.parametrize(
        ("method", "target", "code"),
        [
            ("POST", "/v1/clients/ann/disconnect", 4411),
            ("POST", "/v1/clients/-/disconnect?client_id=ann", 4411),
            ("DELETE", "/v1/clients/ann", 4410),
            ("DELETE", "/v1/clients/-?client_id=ann", 4410),
        ],
    )
    def test_ends_every_connection(self, rig: Rig, method: str, target: str, code: int) -> None:
        page = rig.page("ann")
        answer = rig.ask(method, target)
        assert (answer.status, answer.body) == (204, b"")
        assert page.close().code == code
        assert rig.ask("GET", "/v1/clients/ann").status == (200 if code == 4411 else 404)

    def test_a_revoked_client_id_has_no_channel(self, rig: Rig) -> None:
        rig.token("ann")
        rig.ask("DELETE", "/v1/clients/ann")
        assert names(rig.ask("GET", "/v1/clients")) == []
        assert rig.ask("POST", "/v1/clients/ann/messages", body=b"hello").json["status"] == "no_channel"

    @pytest.mark.parametrize(
        ("method", "target", "allow"),
        [
            ("GET", "/v1/clients/ann/disconnect", "POST"),
            ("PUT", "/v1/clients/ann", "HEAD, GET, DELETE"),
            ("POST", "/v1/clients", "HEAD, GET"),
            ("GET", "/v1/callbacks/retry", "POST"),
        ],
    )
    def test_other_methods_are_told_what_there_is(self, rig: Rig, method: str, target: str, allow: str) -> None:
        answer = rig.ask(method, target)
        assert_problem(answer, "method_not_allowed")
        assert answer.headers["allow"] == allow

    def test_a_store_without_room_for_it_says_so(self) -> None:
        rig = Rig(MemoryStore(room=Room(channels=1)))
        rig.token("ann")
        assert_problem(rig.ask("DELETE", "/v1/clients/bob"), "store_full")


class TestCallbacks:
    @pytest.mark.parametrize("query", ["", "?client_id=ann"])
    def test_what_was_not_accepted_is_shown_and_tried_again_at_once(self, query: str) -> None:
        rig = Rig(presence=True)
        application = Application(rig)
        rig.page("ann")
        (shown,) = rig.ask("GET", "/v1/clients/ann").json["callbacks"]
        assert shown == {
            "event": "connected",
            "sequence": shown["sequence"],
            "time": int(rig.clock.now()),
            "given_up": False,
            "tries": 1,
            "error": "status 500",
        }
        listed = rig.ask("GET", "/v1/callbacks").json
        assert listed == {
            "waiting": 1,
            "given_up": 0,
            "no_handler": [],
            "callbacks": [{"client_id": "ann", **shown}],
            "next": None,
        }
        assert 'pushline_callbacks_kept{state="waiting"} 1.0' in rig.ask("GET", "/metrics").text
        application.result = Result.ACCEPTED
        assert rig.ask("POST", f"/v1/callbacks/retry{query}").json == {"retried": 1}
        assert application.posts == 2
        assert rig.ask("GET", "/v1/callbacks").json["callbacks"] == []
        assert rig.ask("POST", f"/v1/callbacks/retry{query}").json == {"retried": 0}

    def test_the_list_goes_on(self) -> None:
        rig = Rig(presence=True)
        Application(rig)
        for name in ("ann", "bob"):
            rig.page(name)
        first = rig.ask("GET", "/v1/callbacks?limit=1").json
        rest = rig.ask("GET", f"/v1/callbacks?after={first['next']}").json
        assert [each["client_id"] for each in first["callbacks"] + rest["callbacks"]] == ["ann", "bob"]

    def test_what_was_given_up_and_what_waits_is_counted(self) -> None:
        rig = Rig(presence=True)
        application = Application(rig)
        rig.page("ann")
        rig.clock.advance(2 * TRY_SECONDS)
        rig.page("bob")
        assert [each["given_up"] for each in rig.ask("GET", "/v1/callbacks").json["callbacks"]] == [True, False]
        assert rig.ask("POST", "/v1/callbacks/retry?client_id=cid").json == {"retried": 0}
        application.result = Result.ACCEPTED
        assert rig.ask("POST", "/v1/callbacks/retry").json == {"retried": 2}
        rig.clock.advance(IN_TIME_SECONDS)
        assert rig.ask("GET", "/v1/callbacks").json["callbacks"] == []

    def test_a_server_that_tells_nobody_sends_nothing_again(self) -> None:
        rig = Rig(presence=True)
        application = Application(rig)
        rig.page("ann")
        rig.clock.advance(2 * TRY_SECONDS)
        rig.hub.courier = None
        assert rig.ask("POST", "/v1/callbacks/retry").json == {"retried": 0}
        assert rig.ask("GET", "/v1/callbacks").json["given_up"] == 1
        assert application.result is Result.FAILED

    def test_nothing_to_retry(self, rig: Rig) -> None:
        assert rig.ask("POST", "/v1/callbacks/retry").json == {"retried": 0}

    def test_a_store_that_fails_says_so(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object) -> None:
            raise StoreError("it fails")

        monkeypatch.setattr(MemoryStore, "clients", fail)
        assert_problem(rig.ask("GET", "/v1/clients"), "internal_error")
