"""Whom a connection is for, and how many there may be (contract, G10 and W8)."""

from __future__ import annotations

import struct
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.rig import BEARER, Page, Peer, Rig, assert_problem, handshake_bytes, request_bytes

from pushline.admission import RETRY_MS, SPARE, Crowd
from pushline.errors import ConfigurationError
from pushline.server.native import IDLE_SECONDS
from pushline.server.proxies import Proxies, read_header

FRONT = "10.1.2.3"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
WRONG = {"Authorization": "Bearer not-the-key-of-the-server"}


def version_2(address: bytes, family: int, *, command: int = 0x21, more: bytes = b"") -> bytes:
    body = address + address + b"\x12\x34\x00\x50" + more
    return V2 + struct.pack("!BBH", command, family, len(body)) + body


class TestTrust:
    def test_is_by_network(self) -> None:
        proxies = Proxies(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])
        assert [proxies.trusts(each) for each in ("10.255.0.1", "2001:db8::5", "192.0.2.7")] == [True] * 3
        assert [proxies.trusts(each) for each in ("11.0.0.1", "::1", "192.0.2.8", "", "nonsense")] == [False] * 5

    def test_of_a_unix_socket_is_said_by_name(self) -> None:
        assert Proxies(["unix"]).trusts("")
        assert not Proxies(["unix"]).trusts("10.0.0.1")

    @pytest.mark.parametrize("text", ["nonsense", "10.0.0.1/8", "10.0.0.0/33", ""])
    def test_in_what_is_no_network_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="--trusted-proxy"):
            Proxies([text])

    @pytest.mark.parametrize(
        ("header", "client"),
        [
            (b"192.0.2.1", "192.0.2.1"),
            (b"6.6.6.6, 192.0.2.1", "192.0.2.1"),  # the first one was written by whoever asked
            (b"192.0.2.1, 10.0.0.9", "192.0.2.1"),
            (b"192.0.2.1, 10.0.0.9 ,10.0.0.8", "192.0.2.1"),
            (b"2001:db8::1", "2001:db8::1"),
            (b"", ""),
            (b"unknown", ""),
            (b"192.0.2.1, unknown", ""),
            (b"192.0.2.1:5000", ""),
            (b"\xff", ""),
            (b"10.0.0.9, 10.0.0.8", "10.0.0.9"),  # somebody at a proxy itself
        ],
    )
    def test_ends_at_the_last_that_is_no_proxy(self, header: bytes, client: str) -> None:
        assert Proxies(["10.0.0.0/8"]).client_of(header) == client


class TestTheProxyProtocol:
    @pytest.mark.parametrize(
        ("data", "address"),
        [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 80\r\n", "192.0.2.1"),
            (b"PROXY TCP6 2001:db8::1 ::1 5000 80\r\n", "2001:db8::1"),
            (b"PROXY UNKNOWN\r\n", ""),
            (b"PROXY UNKNOWN ffff::1 ffff::1 1 1\r\n", ""),
            (version_2(b"\xc0\x00\x02\x01", 0x11), "192.0.2.1"),
            (version_2(b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01", 0x21, more=b"tlvs"), "2001:db8::1"),
            (version_2(b"\xc0\x00\x02\x01", 0x11, command=0x20), ""),
            (version_2(b"", 0x00), ""),
        ],
    )
    def test_names_the_peer(self, data: bytes, address: str) -> None:
        assert read_header(data + b"GET") == (len(data), address)
        for size in range(len(data)):
            assert read_header(data[:size]) is None

    @pytest.mark.parametrize(
        "data",
        [
            b"PROXY TCP4 192.0.2.1\r\n",
            b"PROXY TCP4 nonsense 10.0.0.1 5000 80\r\n",
            b"PROXY TCP5 192.0.2.1 10.0.0.1 5000 80\r\n",
            b"PROXY \xff\r\n",
            b"PROXY " + b"x" * 200,
            V2 + b"\x11\x11\x00\x0c" + bytes(12),
            V2 + b"\x21\x11\xff\xff",
        ],
    )
    def test_that_is_broken_ends_the_connection(self, data: bytes) -> None:
        rig = Rig(proxies=[FRONT])
        peer = Peer(rig, address=FRONT)
        peer.write(data)
        assert peer.pipe.closed
        assert peer.pipe.take() == b""
        assert rig.front.connections == set()

    @given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2, V2 + b"\x21"]))
    def test_of_any_bytes_is_read_or_refused(self, data: bytes, start: bytes) -> None:
        try:
            read = read_header(start + data)
        except ValueError:
            return
        assert read is None or read[0] <= len(start + data)

    @pytest.mark.parametrize("step", [1, 1000])
    def test_goes_ahead_of_all_requests(self, step: int) -> None:
        rig = Rig(proxies=[FRONT])
        peer = Peer(rig, address=FRONT)
        data = version_2(b"\xc0\x00\x02\x01", 0x11) + request_bytes("GET", "/v1/clients/ann", WRONG) * 11
        for start in range(0, len(data), step):
            peer.write(data[start : start + step])
        assert [answer.status for answer in peer.read()] == [401] * 10 + [429]
        assert Peer(rig, address="192.0.2.1").ask("GET", "/v1/clients/ann", WRONG).status == 429

    def test_is_not_heard_from_others(self, rig: Rig) -> None:
        peer = Peer(rig, address=FRONT)
        peer.write(b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 80\r\n" + request_bytes("GET", "/health"))
        assert_problem(peer.read()[0], "malformed_request")

    def test_that_does_not_come_whole_is_not_waited_for(self) -> None:
        rig = Rig(proxies=[FRONT])
        peer = Peer(rig, address=FRONT)
        peer.write(b"PROXY TC")
        rig.clock.advance(40)
        assert peer.pipe.closed


class TestForwardedFor:
    HEADERS: ClassVar = {"X-Forwarded-For": "192.0.2.1", **WRONG}

    def test_says_who_asks_when_a_trusted_proxy_writes_it(self) -> None:
        rig = Rig(proxies=["10.0.0.0/8"])
        peer = Peer(rig, address=FRONT)
        for _ in range(20):
            peer.ask("GET", "/v1/clients/ann", self.HEADERS)
        assert peer.ask("GET", "/v1/clients/ann", self.HEADERS).status == 429
        assert peer.ask("GET", "/v1/clients/ann", self.HEADERS | {"X-Forwarded-For": "192.0.2.2"}).status == 401

    def test_says_nothing_when_somebody_else_writes_it(self, rig: Rig) -> None:
        peer = Peer(rig, address=FRONT)
        statuses = [
            peer.ask("GET", "/v1/clients/ann", self.HEADERS | {"X-Forwarded-For": f"192.0.2.{n}"}).status
            for n in range(11)
        ]
        assert statuses == [401] * 10 + [429]


SSE = {"Accept": "text/event-stream"}


class TestTooManyConnections:
    def test_of_one_address_are_refused_with_their_moment(self) -> None:
        rig = Rig(crowd=Crowd(most_each=2))
        token = rig.token("ann", policy="share")
        pages = [Page(rig, token, address="192.0.2.1") for _ in range(3)]
        assert [bool(page.read()) for page in pages[:2]] == [True, True]
        close = pages[2].close()
        assert close.code == 4503
        assert RETRY_MS <= int(close.reason.removeprefix("retry=")) < 2 * RETRY_MS
        assert Page(rig, token, address="192.0.2.2").read()
        assert rig.tally.connections_refused == 1
        pages[0].pipe.drop()
        pages[2].pipe.drop()
        assert Page(rig, token, address="192.0.2.1").read()

    def test_are_those_of_all_transports_and_of_applications(self) -> None:
        rig = Rig(crowd=Crowd(most_each=1))
        token = rig.token("ann")
        assert Page(rig, token, address="192.0.2.1").read()
        peer = Peer(rig, address="192.0.2.1")
        answer = peer.ask("GET", "/health")
        assert_problem(answer, "too_many_connections")
        assert answer.headers["connection"] == "close"
        assert peer.pipe.closed
        for headers in (SSE, {"Accept": "application/json"}):
            peer = Peer(rig, address="192.0.2.1")
            answer = peer.ask("GET", "/_ah/channel/connect?page=p", headers | {"Authorization": f"Bearer {token}"})
            assert (answer.status, answer.json["close_code"]) == (503, 4503)
            assert int(answer.headers["retry-after"]) >= 5
            assert peer.pipe.closed

    def test_in_all_are_refused_the_same_way(self) -> None:
        rig = Rig(crowd=Crowd(most=3))
        peers = [Peer(rig, address=f"192.0.2.{number}") for number in range(4)]
        assert [peer.ask("GET", "/health").status for peer in peers] == [200, 200, 200, 429]
        peers[0].pipe.drop()
        assert Peer(rig).ask("GET", "/health").status == 200

    def test_by_far_end_at_once(self) -> None:
        rig = Rig(crowd=Crowd(most_each=1))
        peers = [Peer(rig, address="192.0.2.1") for _ in range(SPARE + 5)]
        assert [peer.pipe.closed for peer in peers] == [False] * (SPARE + 1) + [True] * 4
        assert peers[-1].pipe.take() == b""
        for peer in peers:
            peer.pipe.drop()
        assert rig.front.crowd.total == 0
        assert rig.front.crowd._each == {}

    def test_behind_a_proxy_are_counted_by_whom_it_names(self) -> None:
        rig = Rig(crowd=Crowd(most_each=1), proxies=[FRONT])
        token = rig.token("ann", policy="share")
        first = Page(rig, token, address=FRONT, headers={"X-Forwarded-For": "192.0.2.1"})
        assert first.read()
        second = Page(rig, token, address=FRONT, headers={"X-Forwarded-For": "192.0.2.1"})
        assert second.close().code == 4503
        other = Page(rig, token, address=FRONT, headers={"X-Forwarded-For": "192.0.2.2"})
        assert other.read()
        peer = Peer(rig, address=FRONT)
        peer.write(version_2(b"\xc0\x00\x02\x01", 0x11) + handshake_bytes(token))
        rig.clock.turn()
        assert b"retry=" in peer.pipe.take()
        for page in (first, second, other):
            page.pipe.drop()
        peer.pipe.drop()
        assert rig.front.crowd._each == {}

    def test_never_let_the_count_drift(self) -> None:
        rig = Rig(crowd=Crowd(most=100, most_each=100), proxies=[FRONT])
        token = rig.token("ann")
        for address in (FRONT, "192.0.2.1", ""):
            for request in (
                handshake_bytes(token),
                handshake_bytes("forged"),
                request_bytes("GET", "/_ah/channel/connect", SSE | {"Authorization": f"Bearer {token}"}),
                request_bytes("GET", "/health", {"Connection": "close"}),
                request_bytes("POST", "/v1/clients/ann/messages?wait=1", BEARER, b"x"),
                b"nonsense\r\n\r\n",
                b"",
            ):
                peer = Peer(rig, address=address)
                if request:
                    peer.write(request)
                rig.clock.turn()
                peer.pipe.drop()
        rig.clock.advance(IDLE_SECONDS + 5)
        assert rig.front.crowd.total == 0
        assert rig.front.crowd._each == {}


class TestTwoAddresses:
    """`--api-listen`: the application's API is not on the public address."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v1/channels"),
            ("POST", "/v1/messages"),
            ("POST", "/v1/clients/ann/messages"),
            ("GET", "/v1/clients/ann"),
            ("DELETE", "/v1/clients/ann"),
            ("POST", "/v1/clients/ann/disconnect"),
            ("GET", "/v1/clients"),
            ("GET", "/metrics"),
        ],
    )
    def test_the_public_one_has_nothing_of_the_api(self, method: str, path: str) -> None:
        assert_problem(Rig(public=True).ask(method, path, {}, b"x"), "not_found")

    def test_the_public_one_has_what_pages_and_balancers_need(self) -> None:
        rig = Rig(public=True)
        for path in ("/health", "/ready", "/_ah/channel/jsapi", "/_ah/channel/pushline.mjs", "/"):
            assert Peer(rig).ask("GET", path).status == 200
        assert Page(rig, "forged").close().code == 4401

    def test_the_applications_own_has_metrics_without_a_key(self) -> None:
        rig = Rig(open_metrics=True)
        assert Peer(rig).ask("GET", "/metrics").status == 200
        assert_problem(Peer(rig).ask("POST", "/v1/channels"), "unauthorized")
