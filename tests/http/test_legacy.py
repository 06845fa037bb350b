"""The wire of App Engine's development server (contract, A6), for programs that speak nothing newer."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import pytest
from tests.http.rig import KEY, Answer, Page, Peer, Rig, assert_problem, request_bytes

from pushline.http.legacy import GONE_SECONDS, KEPT_SECONDS, MAX_WAITING
from pushline.server.native import NativeFront
from pushline.server.wiring import Core
from pushline.settings import Settings
from pushline.stores.base import Retention, Store
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock

DEV = "/_ah/channel/dev"
POLL_SECONDS = 0.5


class DevRig(Rig):
    """A server with that wire."""

    def __init__(self, store: Store | None = None, *, origins: Sequence[str] = (), on: bool = True) -> None:
        self.clock = FakeClock()
        self.store = store or MemoryStore()
        settings = Settings(legacy_dev_wire=on, allowed_origins=tuple(origins))
        core = Core(settings, store=self.store, api_keys=(KEY,), token_secrets=("a secret",), clock=self.clock)
        self.hub, self.app, self.door = core.hub, core.app, core.door
        self.front = NativeFront(core.app, core.door, core.clock)

    def dev(self, method: str = "GET", headers: dict[str, str] | None = None, **query: str) -> Answer:
        return Peer(self).ask(method, f"{DEV}?{urlencode(query)}", headers)

    def send(self, client_id: str, message: str, query: str = "") -> str:
        answer = self.ask("POST", f"/v1/clients/{client_id}/messages{query}", {}, message.encode())
        return str(answer.json["status"])

    def is_connected(self, client_id: str) -> bool:
        return bool(self.ask("GET", f"/v1/clients/{client_id}").json["connected"])

    def dies_and_comes_back(self) -> DevRig:
        """Another process on the same store."""
        again = DevRig(self.store)
        again.clock.step(self.clock.now() - again.clock.now() + 1)
        return again


class Client:
    """A program of the old days."""

    def __init__(self, rig: DevRig, token: str) -> None:
        self.rig = rig
        self.token = token
        answer = rig.dev(command="connect", channel=token)
        assert answer.status == 200, answer
        self.number = answer.text
        assert int(self.number) >= 0

    def poll(self) -> Answer:
        return self.rig.dev(command="poll", channel=self.token, client=self.number)

    def takes(self, polls: int) -> list[str]:
        """What so many polls bring, at the pace of such programs."""
        got = []
        for _ in range(polls):
            self.rig.clock.advance(POLL_SECONDS)
            answer = self.poll()
            assert answer.status == 200, answer
            got.append(answer.text)
        return got

    def leaves(self) -> None:
        answer = self.rig.dev(command="disconnect", channel=self.token, client=self.number)
        assert (answer.status, answer.body) == (200, b"")


@pytest.fixture
def rig() -> DevRig:
    return DevRig()


def open_client(rig: DevRig, client_id: str = "ann", policy: str = "share") -> Client:
    return Client(rig, rig.token(client_id, policy=policy))


class TestTheWire:
    def test_is_off_unless_it_is_asked_for(self) -> None:
        rig = DevRig(on=False)
        answer = rig.dev(command="connect", channel=rig.token("ann"))
        assert_problem(answer, "not_found")
        assert Settings().legacy_dev_wire is False

    def test_brings_one_message_a_poll_as_it_was_sent(self, rig: DevRig) -> None:
        client = open_client(rig)
        texts = ["hello", "<b>two\r\nlines</b>", "ünï\x00"]
        assert [rig.send("ann", text) for text in texts] == ["sent"] * 3
        assert client.takes(4) == [*texts, ""]

    def test_brings_what_was_sent_since_the_token(self, rig: DevRig) -> None:
        token = rig.token("ann", policy="share")
        rig.send("ann", "early")
        assert Client(rig, token).takes(2) == ["early", ""]

    def test_gives_texts_that_no_browser_takes_for_more(self, rig: DevRig) -> None:
        client = open_client(rig)
        rig.send("ann", "<script>")
        for answer in (client.poll(), client.poll(), rig.dev(command="connect", channel=client.token)):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers.get("content-type") in (None, "text/plain; charset=utf-8")

    def test_serves_several_clients_of_one_token(self, rig: DevRig) -> None:
        first = open_client(rig)
        second = Client(rig, first.token)
        assert first.number != second.number
        rig.send("ann", "hello")
        assert (first.takes(2), second.takes(2)) == (["hello", ""], ["hello", ""])

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"command": "connect"},
            {"channel": "token"},
            {"command": "listen", "channel": "token"},
            {"command": "poll", "channel": "token"},
            {"command": "poll", "channel": "token", "client": "one"},
            {"command": "disconnect", "channel": "token", "client": "1" * 11},
        ],
    )
    def test_refuses_what_is_no_command(self, rig: DevRig, query: dict[str, str]) -> None:
        answer = Peer(rig).ask("GET", f"{DEV}?{urlencode(query)}")
        assert_problem(answer, "malformed_request")
        assert answer.headers["access-control-allow-origin"] == "*"

    def test_takes_only_get(self, rig: DevRig) -> None:
        assert rig.dev("POST", command="poll", channel="token").status == 405
        assert rig.dev("OPTIONS").status == 204

    def test_takes_nothing_away_from_who_only_looks(self, rig: DevRig) -> None:
        client = open_client(rig)
        rig.send("ann", "hello")
        looked = rig.dev("HEAD", command="poll", channel=client.token, client=client.number)
        assert (looked.status, looked.body) == (200, b"")
        assert client.takes(1) == ["hello"]


class TestAToken:
    def test_of_nobody_is_told_as_programs_compare_it(self, rig: DevRig) -> None:
        for command in ("connect", "poll", "disconnect"):
            answer = rig.dev(command=command, channel="forged", client="1")
            assert (answer.status, answer.reason, answer.text) == (401, "Invalid+token.", "Invalid+token.")
            assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_that_has_expired_is_told_as_well(self, rig: DevRig) -> None:
        token = rig.token("ann", duration_minutes=1)
        rig.clock.advance(60)
        answer = rig.dev(command="connect", channel=token)
        assert (answer.status, answer.reason, answer.text) == (401, "Token+timed+out.", "Token+timed+out.")

    def test_that_expires_meanwhile_ends_the_client(self, rig: DevRig) -> None:
        client = Client(rig, rig.token("ann", duration_minutes=1, policy="share"))
        assert client.takes(118) == [""] * 118
        rig.clock.advance(1)
        answer = client.poll()
        assert (answer.status, answer.reason, answer.text) == (401, "Token+timed+out.", "Token+timed+out.")

    def test_does_not_serve_a_client_of_another_one(self, rig: DevRig) -> None:
        client = open_client(rig, "ann")
        rig.send("ann", "for ann")
        rig.token("bob")
        other = rig.dev(command="poll", channel=rig.token("bob"), client=client.number)
        assert (other.status, other.text) == (200, "")
        assert client.takes(1) == ["for ann"]


class TestAClient:
    def test_is_connected_while_it_polls(self, rig: DevRig) -> None:
        client = open_client(rig)
        assert rig.is_connected("ann")
        client.takes(200)
        assert rig.is_connected("ann")
        rig.clock.advance(GONE_SECONDS)
        assert not rig.is_connected("ann")

    def test_that_leaves_is_gone(self, rig: DevRig) -> None:
        client = open_client(rig)
        client.leaves()
        assert not rig.is_connected("ann")
        client.leaves()

    def test_says_with_its_next_poll_that_it_has_a_message(self, rig: DevRig) -> None:
        client = open_client(rig)
        peer = Peer(rig)
        peer.write(
            b"POST /v1/clients/ann/messages?wait=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
            b"Content-Length: 5\r\n\r\nhello" % KEY.encode()
        )
        assert peer.read() == []
        assert client.takes(1) == ["hello"]
        assert peer.read() == []
        client.takes(1)
        (answer,) = peer.read()
        assert answer.json["status"] == "delivered"

    @pytest.mark.parametrize("pause", [GONE_SECONDS + 1, 60.0, KEPT_SECONDS - 1])
    def test_that_polls_seldom_gets_each_message_once(self, rig: DevRig, pause: float) -> None:
        client = open_client(rig)
        got = []
        for text in ("one", "two", "three"):
            rig.send("ann", text)
            got.append(client.poll().text)
            rig.clock.advance(pause)
        assert [*got, client.poll().text, client.poll().text] == ["one", "two", "three", "", ""]

    def test_is_forgotten_in_the_end(self, rig: DevRig) -> None:
        open_client(rig).takes(1)
        rig.clock.advance(GONE_SECONDS + KEPT_SECONDS)
        route = rig.app._routes[DEV.encode()][b"GET"]
        assert route.__self__._clients == {}  # type: ignore[attr-defined]

    def test_goes_on_after_a_restart_and_loses_nothing(self, rig: DevRig) -> None:
        client = open_client(rig)
        for text in ("one", "two", "three"):
            rig.send("ann", text)
        assert client.takes(2) == ["one", "two"]
        client.rig = rig.dies_and_comes_back()
        assert client.takes(3) == ["two", "three", ""]

    def test_is_asked_to_come_back_when_the_server_goes_away(self, rig: DevRig) -> None:
        client = open_client(rig)
        rig.hub.close(0)
        for _ in range(2):
            answer = client.poll()
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 0

    def test_that_is_behind_is_fed_from_the_store(self, rig: DevRig) -> None:
        client = open_client(rig)
        texts = [f"{n} " + "x" * 2000 for n in range(3 * MAX_WAITING)]
        for text in texts:
            rig.send("ann", text)
        assert client.takes(len(texts) + 1) == [*texts, ""]

    def test_whose_messages_were_dropped_goes_on_with_the_next(self) -> None:
        rig = DevRig(MemoryStore(Retention(messages=2)))
        token = rig.token("ann", policy="share")
        for text in ("one", "two", "three"):
            rig.send("ann", text)
        assert Client(rig, token).takes(3) == ["two", "three", ""]

    def test_that_loses_its_place_is_told_at_every_poll(self, rig: DevRig) -> None:
        client = open_client(rig, policy="replace")
        page = Page(rig, client.token)
        assert page.read()[0].startswith('{"type":"open"')
        for _ in range(20):
            rig.clock.advance(POLL_SECONDS)
            assert client.poll().status == 409
        assert rig.send("ann", "hello") == "sent"
        assert page.messages() == ["hello"]

    def test_does_not_get_the_place_of_a_page_that_keeps_it(self, rig: DevRig) -> None:
        token = rig.token("ann", policy="reject")
        Page(rig, token, query="page=a")
        peer = self.knock(rig, token)
        assert peer.read() == []
        there = {"token": token, "page": "a", "type": "ack", "id": ""}
        assert rig.post_json("/_ah/channel/connect", there).status == 204
        (answer,) = peer.read()
        assert answer.status == 409

    def test_gets_the_place_of_a_page_that_does_not_answer(self, rig: DevRig) -> None:
        token = rig.token("ann", policy="reject")
        Page(rig, token)
        peer = self.knock(rig, token)
        rig.clock.advance(3)
        (answer,) = peer.read()
        assert answer.status == 200

    def test_that_goes_while_it_waits_for_the_place_does_not_get_it(self, rig: DevRig) -> None:
        token = rig.token("ann", policy="reject")
        Page(rig, token)
        peer = self.knock(rig, token)
        peer.pipe.drop()
        rig.clock.advance(3)
        (connection,) = rig.ask("GET", "/v1/clients/ann").json["connections"]
        assert connection["transport"] == "websocket"

    def test_that_goes_at_once_is_not_connected(self, rig: DevRig) -> None:
        token = rig.token("ann", policy="share")
        peer = Peer(rig)
        peer.write(request_bytes("GET", f"{DEV}?command=connect&channel={token}"))
        peer.pipe.drop()
        rig.clock.turn()
        assert not rig.is_connected("ann")

    def knock(self, rig: DevRig, token: str) -> Peer:
        """Ask for the place, which may take a while."""
        peer = Peer(rig)
        peer.write(request_bytes("GET", f"{DEV}?command=connect&channel={token}"))
        rig.clock.turn()
        return peer

    def test_shows_as_what_it_is(self, rig: DevRig) -> None:
        client = open_client(rig)
        (connection,) = rig.ask("GET", "/v1/clients/ann").json["connections"]
        assert (connection["transport"], connection["page"]) == ("dev", f"dev-{client.number}")


class TestOrigins:
    def test_are_checked_as_on_every_wire(self) -> None:
        rig = DevRig(origins=["https://app.example.com"])
        token = rig.token("ann")
        refused = rig.dev(headers={"Origin": "https://evil.example"}, command="connect", channel=token)
        assert refused.status == 403
        admitted = rig.dev(headers={"Origin": "https://app.example.com"}, command="connect", channel=token)
        assert admitted.status == 200
