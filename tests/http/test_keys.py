"""Who may use the application's API, and for what (contract, section 4; R3)."""

from __future__ import annotations

import pytest
from tests.http.rig import BEARER, KEY, Peer, Rig, assert_problem, request_bytes

from pushline.errors import ConfigurationError
from pushline.http.keys import ATTEMPTS_AT_ONCE, ATTEMPTS_PER_SECOND, SCOPES, ApiKey

SENDER = "shop:send:the-key-of-the-shop"
WATCHER = "prometheus:metrics:the-key-of-prometheus"
OWNER = "owner:all:the-key-of-the-owner"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def rig() -> Rig:
    return Rig(keys=(KEY, SENDER, WATCHER, OWNER))


def statuses(rig: Rig, key: str) -> list[int]:
    """How a key is answered that sends, sends many, makes a token, looks up, revokes, and reads metrics."""
    asked = [
        ("POST", "/v1/clients/ann/messages", b"hello"),
        ("POST", "/v1/messages", b'{"messages":[{"to":"ann","data":"x"}]}'),
        ("POST", "/v1/channels", b'{"client_id":"ann"}'),
        ("GET", "/v1/clients/ann", b""),
        ("DELETE", "/v1/clients/ann", b""),
        ("GET", "/metrics", b""),
    ]
    return [Peer(rig).ask(method, target, bearer(key), body).status for method, target, body in asked]


class TestScopes:
    @pytest.mark.parametrize("key", [KEY, OWNER, OWNER.rpartition(":")[2]])
    def test_all_may_do_everything(self, rig: Rig, key: str) -> None:
        assert all(status < 300 for status in statuses(rig, key))

    @pytest.mark.parametrize("key", [SENDER, SENDER.rpartition(":")[2]])
    def test_send_may_send_alone(self, rig: Rig, key: str) -> None:
        assert statuses(rig, key) == [200, 200, 403, 403, 403, 403]

    @pytest.mark.parametrize("key", [WATCHER, WATCHER.rpartition(":")[2]])
    def test_metrics_may_read_metrics_alone(self, rig: Rig, key: str) -> None:
        assert statuses(rig, key) == [403, 403, 403, 403, 403, 200]

    def test_a_refusal_names_the_key_by_its_name(self, rig: Rig) -> None:
        answer = Peer(rig).ask("GET", "/metrics", {"Authorization": f"bearer  {SENDER}"})
        assert_problem(answer, "forbidden", "`shop` is good for `send` alone")
        assert "the-key-of" not in answer.text
        assert rig.tally.forbidden == 1


class TestALine:
    @pytest.mark.parametrize(
        "text",
        [
            "shop:sned:the-key-of-the-shop",
            "shop:the-key-of-the-shop",
            ":send:the-key-of-the-shop",
            "a name:send:the-key-of-the-shop",
            "shop:send:short",
            "shop::the-key-of-the-shop",
        ],
    )
    def test_of_another_form_is_refused_and_not_shown(self, text: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            ApiKey(text, 1)
        assert "the-key-of" not in str(refused.value)
        assert "short" not in str(refused.value)

    def test_may_have_colons_in_its_key(self) -> None:
        assert ApiKey("shop:send:the:key:of:the:shop", 1).shown[0] == b"the:key:of:the:shop"

    @pytest.mark.parametrize("scope", SCOPES)
    def test_has_one_of_the_scopes(self, scope: str) -> None:
        assert ApiKey(f"shop:{scope}:the-key-of-the-shop", 1).scope == scope


class TestReplacing:
    def test_makes_new_keys_good_and_old_ones_bad_on_open_connections(self, rig: Rig) -> None:
        peer = Peer(rig)
        assert peer.ask("POST", "/v1/channels", BEARER, b'{"client_id":"ann"}').status == 201
        rig.keys.replace(["quite-another-key-than-before"])
        assert_problem(peer.ask("POST", "/v1/channels", BEARER, b'{"client_id":"ann"}'), "unauthorized")
        fresh = bearer("quite-another-key-than-before")
        assert peer.ask("POST", "/v1/channels", fresh, b'{"client_id":"ann"}').status == 201

    def test_by_something_that_is_no_key_changes_nothing(self, rig: Rig) -> None:
        with pytest.raises(ConfigurationError):
            rig.keys.replace(["shop:sned:the-key-of-the-shop"])
        assert Peer(rig).ask("POST", "/v1/channels", BEARER, b'{"client_id":"ann"}').status == 201


class TestFailedAttempts:
    WRONG = request_bytes("GET", "/v1/clients/ann", bearer("not-the-key-of-the-server"))

    def fail(self, rig: Rig, count: int, address: str) -> list[int]:
        peer = Peer(rig, address=address)
        peer.write(self.WRONG * count)
        return [answer.status for answer in peer.read()]

    def test_are_told_to_wait_when_they_are_many(self, rig: Rig) -> None:
        burst = int(ATTEMPTS_AT_ONCE)
        assert self.fail(rig, burst + 3, "192.0.2.1") == [401] * burst + [429] * 3
        assert (rig.tally.attempts_failed, rig.tally.attempts_limited) == (burst, 3)
        rig.clock.advance(1 / ATTEMPTS_PER_SECOND)
        assert self.fail(rig, 2, "192.0.2.1") == [401, 429]

    def test_are_told_when(self, rig: Rig) -> None:
        self.fail(rig, 20, "192.0.2.1")
        answer = Peer(rig, address="192.0.2.1").ask("GET", "/v1/clients/ann")
        assert_problem(answer, "too_many_attempts", "too often")
        assert int(answer.headers["retry-after"]) == 1 / ATTEMPTS_PER_SECOND

    def test_of_one_address_are_not_those_of_another(self, rig: Rig) -> None:
        self.fail(rig, 20, "192.0.2.1")
        assert self.fail(rig, 1, "192.0.2.2") == [401]
        self.fail(rig, 20, "2001:db8::1")
        assert self.fail(rig, 1, "2001:db8::2") == [429]  # the same household
        assert self.fail(rig, 1, "2001:db8:0:1::1") == [401]

    def test_never_stand_in_the_way_of_a_good_key(self, rig: Rig) -> None:
        self.fail(rig, 100, "192.0.2.1")
        peer = Peer(rig, address="192.0.2.1")
        assert peer.ask("POST", "/v1/channels", BEARER, b'{"client_id":"ann"}').status == 201


class TestTheRateOfSends:
    def test_is_that_of_each_key(self) -> None:
        rig = Rig(keys=(KEY, SENDER), send_rate=2)
        path = "/v1/clients/ann/messages"
        assert [Peer(rig).ask("POST", path, bearer(SENDER), b"x").status for _ in range(12)] == [200] * 10 + [429] * 2
        answer = Peer(rig).ask("POST", path, bearer(SENDER), b"x")
        assert_problem(answer, "too_many_sends", "`shop`")
        assert answer.headers["retry-after"] == "1"
        assert rig.tally.sends_limited == 3
        assert Peer(rig).ask("POST", path, BEARER, b"x").status == 200
        rig.clock.advance(0.5)
        assert Peer(rig).ask("POST", path, bearer(SENDER), b"x").status == 200

    def test_counts_the_targets_of_a_batch(self) -> None:
        rig = Rig(send_rate=2)
        rig.token("a")
        batch = {"messages": [{"to": ["a", "b", "c"], "data": "x"}] * 3}
        assert rig.post_json("/v1/messages", batch).status == 200
        assert_problem(rig.post_json("/v1/messages", batch), "too_many_sends")
        assert len(rig.kept("a")) == 3
        large = {"messages": [{"to": ["a"], "data": "x"}] * 100}  # more than ever fit: then, when nothing is owed
        rig.clock.advance(10)
        assert rig.post_json("/v1/messages", large).status == 200
        assert_problem(rig.post_json("/v1/messages", batch), "too_many_sends")

    def test_does_not_count_what_is_refused(self) -> None:
        rig = Rig(send_rate=1)
        for _ in range(20):
            assert rig.ask("POST", "/v1/clients/ann/messages", {}, b"").status == 400
        assert rig.ask("POST", "/v1/clients/ann/messages", {}, b"x").status == 200
