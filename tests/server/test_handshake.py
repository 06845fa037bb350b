"""How an HTTP connection becomes a WebSocket (W1, W7), over the native front."""

from __future__ import annotations

import json

import pytest
from tests.http.rig import BEARER, HOST, KEY, Page, Peer, Rig, assert_problem, handshake_bytes, request_bytes
from websockets.frames import Frame, Opcode

from pushline.hub import CONTEST_SECONDS
from pushline.server.native import LINGER_SECONDS


class TestTheHandshake:
    def test_is_answered_as_rfc_6455_says(self, rig: Rig) -> None:
        page = Page(rig, rig.token("ann"))
        assert (page.handshake.status, page.handshake.reason) == (101, "Switching Protocols")
        headers = page.handshake.headers
        assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of its section 1.3
        assert headers["sec-websocket-protocol"] == "pushline.v1"
        assert headers["upgrade"] == "websocket"
        assert headers["connection"] == "Upgrade"
        assert "sec-websocket-extensions" not in headers

    def test_is_followed_by_the_open_frame(self, rig: Rig) -> None:
        (frame,) = Page(rig, rig.token("ann")).read()
        opened = json.loads(frame)
        assert list(opened) == ["type", "client_id", "cursor", "gap", "ping", "timeout", "expires_in"]
        assert (opened["client_id"], opened["gap"], opened["expires_in"]) == ("ann", False, 7200)

    def test_is_answered_in_one_write_with_the_open_frame(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(handshake_bytes(token))
        rig.clock.turn()
        assert peer.pipe.writes == 1
        written = peer.pipe.take()
        assert written.startswith(b"HTTP/1.1 101 ")
        assert b'{"type":"open"' in written

    def test_is_answered_while_another_page_is_asked_for_its_place(self, rig: Rig) -> None:
        token = rig.token("ann", policy="reject")
        Page(rig, token, query="page=first")
        peer = Peer(rig)
        peer.write(handshake_bytes(token, query="page=second"))
        rig.clock.turn()
        head, separator, frames = peer.pipe.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert separator
        assert not frames
        rig.clock.advance(CONTEST_SECONDS)
        assert b'{"type":"open"' in peer.pipe.take()

    def test_is_not_answered_to_a_page_that_has_gone(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(handshake_bytes(token))
        peer.pipe.drop()
        rig.clock.turn()
        assert peer.pipe.writes == 0
        assert rig.hub.counters.connections == 0

    @pytest.mark.parametrize("split", range(1, 300, 7))
    def test_may_be_split_anywhere(self, rig: Rig, split: int) -> None:
        whole = handshake_bytes(rig.token("ann"))
        peer = Peer(rig)
        peer.write(whole[:split])
        peer.write(whole[split:])
        rig.clock.turn()
        assert b'{"type":"open"' in peer.pipe.take()

    def test_may_name_its_subprotocols_on_several_lines(self, rig: Rig) -> None:
        peer = Peer(rig)
        whole = handshake_bytes(rig.token("ann"))
        peer.write(whole.replace(b"pushline.v1, ", b"pushline.v1\r\nSec-WebSocket-Protocol: "))
        rig.clock.turn()
        assert b'{"type":"open"' in peer.pipe.take()

    def test_may_come_behind_other_requests(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("GET", "/health") + handshake_bytes(rig.token("ann")))
        rig.clock.turn()
        written = peer.pipe.take()
        assert written.index(b"HTTP/1.1 200 OK") < written.index(b"HTTP/1.1 101 ") < written.index(b'{"type":"open"')

    def test_may_be_followed_by_frames_in_the_same_read(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(handshake_bytes(rig.token("ann")) + Frame(Opcode.PING, b"early").serialize(mask=True))
        rig.clock.turn()
        written = peer.pipe.take()
        assert written.startswith(b"HTTP/1.1 101 ")
        assert Frame(Opcode.PONG, b"early").serialize(mask=False) in written

    def test_ends_the_http_connection(self, rig: Rig) -> None:
        token = rig.token("ann")
        before = set(rig.front.connections)
        page = Page(rig, token)
        assert rig.front.connections == before
        page.pipe.drop()
        assert rig.hub.counters.connections == 0

    def test_behind_answers_that_wait_is_answered_as_plain(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(request_bytes("POST", "/v1/clients/ann/messages", BEARER, b"x") + handshake_bytes(token))
        sent, refused = peer.read()
        assert sent.json["status"] == "queued"
        assert_problem(refused, "upgrade_required")
        peer.write(handshake_bytes(token))
        rig.clock.turn()
        assert peer.pipe.take().startswith(b"HTTP/1.1 101 ")


class TestAHandshakeThatIsNone:
    @pytest.mark.parametrize(
        ("headers", "code", "detail"),
        [
            ({"Sec-WebSocket-Version": "8"}, "upgrade_required", "version 13"),
            ({"Sec-WebSocket-Key": "short"}, "malformed_request", "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": ""}, "malformed_request", "Sec-WebSocket-Key"),
        ],
    )
    def test_is_refused_with_what_it_lacks(self, rig: Rig, headers: dict[str, str], code: str, detail: str) -> None:
        peer = Peer(rig)
        peer.write(handshake_bytes(rig.token("ann"), headers=headers))
        (answer,) = peer.read()
        assert_problem(answer, code, detail)
        assert answer.headers["access-control-allow-origin"] == "*"
        if code == "upgrade_required":
            assert answer.headers["sec-websocket-version"] == "13"
            assert answer.headers["upgrade"] == "websocket"
        rig.clock.advance(LINGER_SECONDS)
        assert peer.pipe.closed

    @pytest.mark.parametrize(
        "headers",
        [{"Upgrade": "h3"}, {"Upgrade": ""}, {"Upgrade": "", "Connection": "close"}, {"Connection": "keep-alive"}],
        ids=["another protocol", "no protocol", "as nginx passes it on", "no upgrade"],
    )
    def test_that_a_proxy_has_stripped_is_told_the_cause(self, rig: Rig, headers: dict[str, str]) -> None:
        peer = Peer(rig)
        peer.write(handshake_bytes(rig.token("ann"), headers=headers).replace(b"Upgrade: \r\n", b""))
        (answer,) = peer.read()
        assert_problem(answer, "upgrade_required", "without `Upgrade: websocket`: a proxy on the way")
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert rig.door.wires == 0

    def test_is_refused_when_it_posts(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(handshake_bytes(rig.token("ann")).replace(b"GET", b"POST", 1))
        assert_problem(peer.read()[0], "upgrade_required", "takes GET")

    @pytest.mark.parametrize("path", ["/", "/health", "/_ah/channel/jsapi"])
    def test_is_answered_as_plain_elsewhere(self, rig: Rig, path: str) -> None:
        peer = Peer(rig)
        for _ in range(2):
            peer.write(handshake_bytes("x", path=path))
            assert [answer.status for answer in peer.read()] == [200]


class TestRefusals:
    """Browsers hide the status of a refused handshake: each is accepted, and closed with its code."""

    def test_of_a_forged_token_close_with_4401(self, rig: Rig) -> None:
        page = Page(rig, "forged")
        assert page.handshake.status == 101
        assert page.close().code == 4401

    def test_of_no_token_close_with_4401(self, rig: Rig) -> None:
        page = Page(rig, "", headers={"Sec-WebSocket-Protocol": "pushline.v1"})
        assert page.close().code == 4401

    def test_of_an_expired_token_close_with_4408(self, rig: Rig) -> None:
        token = rig.token("ann", duration_minutes=1)
        rig.clock.advance(60)
        assert Page(rig, token).close().code == 4408

    def test_of_a_nameless_page_close_with_4400(self, rig: Rig) -> None:
        assert Page(rig, rig.token("ann"), query="page=with%20spaces").close().code == 4400

    def test_are_not_for_the_api_key(self, rig: Rig) -> None:
        assert Page(rig, KEY, headers=BEARER).close().code == 4401

    def test_wait_for_the_echo_and_not_longer(self, rig: Rig) -> None:
        page = Page(rig, "forged")
        assert not page.pipe.closed
        rig.clock.advance(5)
        assert page.pipe.closed


class TestOrigins:
    @pytest.mark.parametrize("origin", [None, "null", "https://any.example", "http://["])
    def test_are_all_admitted_when_none_is_listed(self, rig: Rig, origin: str | None) -> None:
        headers = {} if origin is None else {"Origin": origin}
        assert Page(rig, rig.token("ann"), headers=headers).read()[0].startswith('{"type":"open"')

    @pytest.mark.parametrize("origin", ["https://app.example.com", f"https://{HOST}", f"http://{HOST.upper()}"])
    def test_that_are_listed_or_the_servers_own_are_admitted(self, origin: str) -> None:
        rig = Rig(origins=["https://app.example.com"])
        page = Page(rig, rig.token("ann"), headers={"Origin": origin})
        assert page.read()[0].startswith('{"type":"open"')

    @pytest.mark.parametrize("origin", [None, "null", "https://other.example", "http://[", "http://app.example.com"])
    def test_that_are_others_are_refused_with_4403(self, origin: str | None) -> None:
        rig = Rig(origins=["https://app.example.com"])
        headers = {} if origin is None else {"Origin": origin}
        page = Page(rig, rig.token("ann"), headers=headers)
        assert page.handshake.status == 101
        assert page.close().code == 4403
        assert rig.hub.counters.connections_refused == 1
