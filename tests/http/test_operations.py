"""A5: help, health, readiness, metrics."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.http.rig import BEARER, FailingStore, Page, Peer, Rig, assert_problem

from pushline.errors import StoreError
from pushline.transports.door import CONNECT

Samples = dict[tuple[str, ...], float]


def scrape(rig: Rig) -> Samples:
    """The metrics as Prometheus understands them: name and label values → value."""
    answer = rig.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation and family.type in ("counter", "gauge") for family in families)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


class TestHelp:
    def test_lists_every_route_that_exists_and_no_other(self, rig: Rig) -> None:
        text = Peer(rig).ask("GET", "/").text
        listed = set(re.findall(r"/[\w./{}]*", text.replace("Addresses under /v1 and", "")))
        named = {path for path in listed if path.startswith("/v1/clients/{client_id}")}
        routes = {path.decode() for path in rig.app._routes}
        assert listed - named == routes - {"/"} | {CONNECT.decode()}

    def test_lists_addresses_that_answer_as_it_says(self, rig: Rig) -> None:
        text = Peer(rig).ask("GET", "/").text
        rows = re.findall(r"^  (GET|POST|DELETE) +(/\S+)", text, re.M)
        assert len(rows) >= 8
        rig.token("{client_id}")
        for method, path in rows:
            assert rig.ask(method, quote(path)).status not in (404, 405), path
            assert rig.ask("PUT", quote(path)).status == 405, path

    def test_needs_no_key(self, rig: Rig) -> None:
        answer = Peer(rig).ask("GET", "/")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")


class TestHealth:
    def test_is_ok_while_the_process_is_up(self, rig: Rig) -> None:
        answer = Peer(rig).ask("GET", "/health")
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        rig.hub.close(0)
        assert Peer(rig).ask("GET", "/health").status == 200


class TestReady:
    def test_is_ready_when_the_store_answers(self) -> None:
        store = FailingStore()
        rig = Rig(store)
        assert Peer(rig).ask("GET", "/ready").json == {"status": "ready"}
        store.answers = False
        assert_problem(Peer(rig).ask("GET", "/ready"), "unavailable", "its store does not answer")

    def test_is_not_while_the_server_is_going_away(self, rig: Rig) -> None:
        rig.hub.close(0)
        answer = Peer(rig).ask("GET", "/ready")
        assert_problem(answer, "unavailable", "going away")
        assert int(answer.headers["retry-after"]) >= 1


class TestMetrics:
    def test_need_the_key(self, rig: Rig) -> None:
        assert_problem(Peer(rig).ask("GET", "/metrics"), "unauthorized")

    def test_are_there_before_anything_happened(self, rig: Rig) -> None:
        samples = scrape(rig)
        assert set(samples.values()) == {0.0}
        assert len(samples) == 24

    def test_count_what_became_of_messages(self, rig: Rig) -> None:
        rig.page("ann")
        rig.token("bob")
        for client_id in ("ann", "bob", "bob", "carl", "carl", "carl"):
            rig.ask("POST", f"/v1/clients/{client_id}/messages", {}, b"x")
        samples = scrape(rig)
        assert samples["pushline_sends_total", "sent"] == 1
        assert samples["pushline_sends_total", "queued"] == 2
        assert samples["pushline_sends_total", "no_channel"] == 3
        assert samples["pushline_tokens_total",] == 2

    def test_count_connections(self, rig: Rig) -> None:
        first = rig.page("ann")
        rig.page("ann")
        assert first.close().code == 4409
        Page(rig, "forged")
        rig.page("bob").pipe.drop()
        samples = scrape(rig)
        assert samples["pushline_connections",] == 1
        assert samples["pushline_connects_total", "opened"] == 3
        assert samples["pushline_connects_total", "refused"] == 1
        assert samples["pushline_replaced_total",] == 1

    def test_count_commits(self) -> None:
        store = FailingStore()
        rig = Rig(store)
        rig.token("ann")
        store.error = StoreError("broken")
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"x")
        samples = scrape(rig)
        assert samples["pushline_commits_total", "kept"] == 1
        assert samples["pushline_commits_total", "failed"] == 1

    def test_count_one_commit_for_all_that_a_turn_brings(self, rig: Rig) -> None:
        peers = [Peer(rig) for _ in range(3)]
        for peer in peers:
            key = BEARER["Authorization"].encode()
            peer.write(b"POST /v1/clients/ann/messages HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n" % key)
            peer.write(b"Content-Length: 1\r\n\r\nx")
        rig.clock.turn()
        assert scrape(rig)["pushline_commits_total", "kept"] == 1

    def test_name_nobody(self, rig: Rig) -> None:
        rig.page("a-name-of-a-person")
        assert "a-name-of-a-person" not in rig.ask("GET", "/metrics").text


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/metrics"])
def test_nothing_of_it_is_kept_by_caches(rig: Rig, path: str) -> None:
    assert rig.ask("GET", path).headers["cache-control"] == "no-store"
