"""The native front: HTTP/1.1 as peers speak it, well and badly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import ClassVar

import pytest
from tests.http.rig import BEARER, Peer, Rig, assert_problem, request_bytes

from pushline.server.native import LINGER_SECONDS, MAX_HEADER_BYTES, MAX_PIPELINED, MAX_URL_BYTES, HttpConnection
from pushline.stores.base import Operation, Outcome, Reply
from pushline.stores.memory import MemoryStore

HEALTH = request_bytes("GET", "/health")


def message(text: str, client_id: str = "ann", **headers: str) -> bytes:
    return request_bytes("POST", f"/v1/clients/{client_id}/messages", BEARER | headers, text.encode())


class SlowStore(MemoryStore):
    """Answers every commit when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[asyncio.Future[list[Outcome]], list[Outcome]]] = []
        self.slow = False

    def commit(self, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:  # type: ignore[override]
        outcomes = super().commit(operations, now)
        if not self.slow:
            return outcomes
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.waiting.append((future, outcomes))
        return future

    async def answer(self) -> None:
        """Answer the oldest commit."""
        future, outcomes = self.waiting.pop(0)
        future.set_result(outcomes)
        await asyncio.sleep(0)


class TestOneRequest:
    def test_may_be_split_at_every_byte(self, rig: Rig) -> None:
        rig.token("ann")
        whole = message("héllo", **{"Idempotency-Key": "k"})
        for split in range(1, len(whole)):
            peer = Peer(rig)
            peer.write(whole[:split])
            assert peer.read() == []
            peer.write(whole[split:])
            assert [answer.status for answer in peer.read()] == [200]
        assert rig.kept("ann") == ["héllo".encode()]

    def test_may_come_byte_by_byte(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        for byte in message("hello") * 2:
            peer.write(bytes([byte]))
        assert [answer.status for answer in peer.read()] == [200, 200]

    def test_may_have_a_chunked_body(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(request_bytes("POST", "/v1/clients/ann/messages", BEARER | {"Transfer-Encoding": "chunked"}))
        for piece in (b"5\r\nhel", b"lo\r\n", b"1;ext=1\r\n \r\n5\r", b"\nworld\r\n0\r\n\r\n"):
            peer.write(piece)
        assert peer.read()[0].status == 200
        assert rig.kept("ann") == [b"hello world"]

    def test_is_not_changed_by_what_trails_its_body(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("POST", "/v1/channels", {"Transfer-Encoding": "chunked"}))
        body = b'{"client_id":"ann"}'
        peer.write(b"%x\r\n%b\r\n0\r\nAuthorization: %b\r\n\r\n" % (len(body), body, BEARER["Authorization"].encode()))
        assert_problem(peer.read()[0], "unauthorized", "There is no")

    def test_may_write_its_headers_in_any_case(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(b"POST /v1/channels HTTP/1.1\r\nHOST: x\r\naUTHORIZATION: %b\r\n" % BEARER["Authorization"].encode())
        peer.write(b'CONTENT-length: 19\r\n\r\n{"client_id":"ann"}')
        assert peer.read()[0].status == 201

    def test_may_write_a_list_on_several_lines(self, rig: Rig) -> None:
        etag = Peer(rig).ask("GET", "/_ah/channel/jsapi").headers["etag"].encode()
        peer = Peer(rig)
        tags = b'If-None-Match: %b\r\nIf-None-Match: "x"\r\n' % etag
        peer.write(b"GET /_ah/channel/jsapi HTTP/1.1\r\nHost: x\r\n%b\r\n" % tags)
        assert [answer.status for answer in peer.read(heads=[True])] == [304]

    def test_gets_the_date_of_its_answer(self, rig: Rig) -> None:
        for passed in (0, 0.5, 1, 86_400, 40_000_000):
            rig.clock.step(passed)
            for path in ("/health", "/", "/v1/nothing"):  # the first is encoded in another way than the others
                date = parsedate_to_datetime(Peer(rig).ask("GET", path).headers["date"])
                assert date.timestamp() == int(rig.clock.now())

    def test_is_told_to_send_its_body_when_it_asks(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        head, _, body = message("hello", Expect="100-Continue").partition(b"\r\n\r\n")
        peer.write(head + b"\r\n\r\n")
        assert [(answer.status, answer.reason) for answer in peer.read()] == [(100, "Continue")]
        peer.write(body)
        assert [answer.status for answer in peer.read()] == [200]

    def test_is_told_to_send_its_body_behind_earlier_answers(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(HEALTH + message("hello", Expect="100-continue"))
        assert [answer.status for answer in peer.read()] == [200, 100, 200]


class TestPipelining:
    def test_answers_in_the_order_of_the_requests(self, rig: Rig) -> None:
        rig.page("ann")
        peer = Peer(rig)
        peer.write(
            HEALTH + message("1") + HEALTH + message("2", "bob") + request_bytes("HEAD", "/health") + message("3")
        )
        answers = peer.read(heads=[False, False, False, False, True, False])
        assert [answer.json.get("status") for answer in answers if answer.body] == [
            "ok",
            "sent",
            "ok",
            "no_channel",
            "sent",
        ]
        assert answers[4].headers["content-length"] == answers[0].headers["content-length"]

    def test_answers_several_requests_of_one_read_in_one_write(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        rig.token("ann")
        peer = Peer(rig)
        writes: list[bytes] = []
        monkeypatch.setattr(peer.pipe, "write", writes.append)
        peer.write(b"".join(message(str(number)) for number in range(16)))
        assert writes == []
        rig.clock.turn()
        assert len(writes) == 1
        assert writes[0].count(b"HTTP/1.1 200 OK") == 16
        peer.write(HEALTH * 16)
        assert len(writes) == 2
        assert rig.kept("ann") == [str(number).encode() for number in range(16)]

    def test_answers_nobody_before_the_commit(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(message("hello") + HEALTH)
        assert peer.pipe.take() == b""
        assert len(peer.read()) == 2

    def test_keeps_the_peers_apart(self, rig: Rig) -> None:
        peers = [Peer(rig) for _ in range(3)]
        for number, peer in enumerate(peers):
            peer.write(message("x", f"c{number}") * (number + 1))
        assert [len(peer.read()) for peer in peers] == [1, 2, 3]

    def test_may_be_deeper_than_the_limit_in_one_read(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig, high_water=1 << 30)
        peer.write(message("x") * (MAX_PIPELINED + 5))
        assert not peer.is_read()
        assert len(peer.read()) == MAX_PIPELINED + 5
        assert peer.is_read()

    def test_at_the_limit_is_not_read_on_before_answers_are_written(self, rig: Rig) -> None:
        peer = Peer(rig, high_water=1 << 30)
        peer.write(message("x") * (MAX_PIPELINED - 1))
        assert peer.is_read()
        peer.write(message("x"))
        assert not peer.is_read()
        peer.read()
        assert peer.is_read()


class TestASlowStore:
    """Its answers come turns later, and those of one connection wait for each other."""

    def run(self, scenario: Callable[[Rig, SlowStore], Awaitable[None]]) -> None:
        async def main() -> None:
            store = SlowStore()
            rig = Rig(store)
            rig.token("ann")
            store.slow = True
            await scenario(rig, store)
            rig.hub.close(0)

        asyncio.run(main())

    def test_leaves_the_order_of_answers_as_it_is(self) -> None:
        async def scenario(rig: Rig, store: SlowStore) -> None:
            peer = Peer(rig)
            peer.write(message("1"))
            assert peer.read() == []
            peer.write(HEALTH + message("2", "bob") + HEALTH)
            assert peer.read() == []
            await store.answer()
            assert [answer.json["status"] for answer in peer.read()] == ["queued", "ok"]
            await store.answer()
            assert [answer.json["status"] for answer in peer.read()] == ["no_channel", "ok"]

        self.run(scenario)

    def test_does_not_keep_others_waiting(self) -> None:
        async def scenario(rig: Rig, store: SlowStore) -> None:
            first, second = Peer(rig), Peer(rig)
            first.write(message("1"))
            rig.clock.turn()
            second.write(message("2"))
            rig.clock.turn()
            assert Peer(rig).ask("GET", "/health").status == 200
            await store.answer()
            assert (len(first.read()), len(second.read())) == (1, 0)
            await store.answer()
            assert (len(first.read()), len(second.read())) == (0, 1)

        self.run(scenario)

    def test_lets_a_crowded_connection_wait_until_there_is_room(self) -> None:
        async def scenario(rig: Rig, store: SlowStore) -> None:
            peer = Peer(rig, high_water=1 << 30)
            peer.write(message("x"))
            rig.clock.turn()
            peer.write(message("x") * MAX_PIPELINED)
            rig.clock.turn()
            assert not peer.is_read()
            await store.answer()
            assert len(peer.read()) == 1
            assert not peer.is_read()
            await store.answer()
            assert len(peer.read()) == MAX_PIPELINED
            assert peer.is_read()

        self.run(scenario)

    def test_does_not_read_on_for_a_peer_that_is_crowded_and_then_reads(self) -> None:
        async def scenario(rig: Rig, store: SlowStore) -> None:
            peer = Peer(rig, high_water=100)
            peer.write(message("x"))
            rig.clock.turn()
            peer.write(message("x") * MAX_PIPELINED)
            rig.clock.turn()
            await store.answer()
            assert len(peer.read()) == 1  # which made room below the high-water mark
            assert not peer.is_read()

        self.run(scenario)

    def test_answers_a_peer_that_has_sent_all_it_has_to_say(self) -> None:
        async def scenario(rig: Rig, store: SlowStore) -> None:
            peer = Peer(rig)
            peer.write(message("1") + HEALTH)
            rig.clock.turn()
            connection = peer.pipe.get_protocol()
            assert isinstance(connection, HttpConnection)
            assert connection.eof_received()
            await store.answer()
            answers = peer.read()
            assert [answer.headers.get("connection") for answer in answers] == [None, "close"]
            assert peer.pipe.closed

        self.run(scenario)

    def test_forgets_a_crowded_connection_that_is_lost(self) -> None:
        async def scenario(rig: Rig, store: SlowStore) -> None:
            lost, other = Peer(rig, high_water=1 << 30), Peer(rig)
            lost.write(message("x") * MAX_PIPELINED)
            other.write(message("x"))
            rig.clock.turn()
            lost.pipe.drop()
            await store.answer()
            assert lost.pipe.take() == b""
            assert not lost.is_read()  # a transport that is closed must not be asked to read
            assert len(other.read()) == 1

        self.run(scenario)


class TestTheEnd:
    @pytest.mark.parametrize(
        ("version", "connection", "ends"),
        [
            ("1.1", None, False),
            ("1.1", "keep-alive", False),
            ("1.1", "close", True),
            ("1.1", "Close", True),
            ("1.0", None, True),
            ("1.0", "keep-alive", False),
        ],
    )
    @pytest.mark.parametrize("path", ["/health", "/"])
    def test_of_a_connection_comes_when_the_peer_wants_it(
        self, rig: Rig, path: str, version: str, connection: str | None, ends: bool
    ) -> None:
        peer = Peer(rig)
        headers = {} if connection is None else {"Connection": connection}
        peer.write(request_bytes("GET", path, headers, version=version))
        (answer,) = peer.read()
        assert answer.status == 200
        assert peer.pipe.closed == ends
        assert answer.headers.get("connection") == ("close" if ends else None)
        assert (len(rig.front.connections) == 0) == ends

    def test_comes_after_the_answers_that_wait(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(message("1") + message("2", Connection="close"))
        assert not peer.pipe.closed
        answers = peer.read()
        assert [answer.headers.get("connection") for answer in answers] == [None, "close"]
        assert peer.pipe.closed

    @pytest.mark.parametrize(
        "last", [request_bytes("GET", "/health", {"Connection": "close"}), message("x", Connection="close")]
    )
    def test_leaves_what_follows_unanswered(self, rig: Rig, last: bytes) -> None:
        peer = Peer(rig)
        peer.write(last + HEALTH)
        assert len(peer.read()) == 1
        rig.clock.advance(LINGER_SECONDS)
        assert peer.pipe.closed
        assert peer.pipe.take() == b""

    def test_of_a_silent_peer_needs_no_answer(self, rig: Rig) -> None:
        peer = Peer(rig)
        connection = peer.pipe.get_protocol()
        assert isinstance(connection, HttpConnection)
        assert not connection.eof_received()

    def test_that_comes_unasked_leaves_the_message_sent(self, rig: Rig) -> None:
        page = rig.page("ann")
        peer = Peer(rig)
        peer.write(message("hello") + message("half")[:-2])
        peer.pipe.drop()
        rig.clock.turn()
        assert page.messages() == ["hello"]
        assert peer.pipe.take() == b""
        assert rig.kept("ann") == [b"hello"]

    def test_of_the_server_is_the_end_of_its_connections(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.ask("GET", "/health")
        for connection in list(rig.front.connections):
            connection.close()
        assert peer.pipe.closed
        assert rig.front.connections == set()


class TestPeersThatDoNotRead:
    def test_are_not_read_either(self, rig: Rig) -> None:
        peer = Peer(rig, high_water=1000)
        for _ in range(10):
            peer.write(HEALTH)
        assert not peer.is_read()
        assert len(peer.read()) == 10
        assert peer.is_read()
        assert peer.ask("GET", "/health").status == 200

    def test_get_all_their_answers_in_the_end(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig, high_water=1000)
        peer.write(message("x") * 100)
        rig.clock.turn()
        assert not peer.is_read()
        assert len(peer.read()) == 100
        assert peer.is_read()


class TestLimits:
    def test_an_address_has_one(self, rig: Rig) -> None:
        longest = "/" + "x" * (MAX_URL_BYTES - 1)
        assert_problem(Peer(rig).ask("GET", longest), "not_found")
        peer = Peer(rig)
        peer.write(request_bytes("GET", longest + "x"))
        assert_problem(peer.read()[0], "uri_too_long", "8192")
        assert peer.pipe.ended

    def test_an_address_that_never_ends_has_one(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(b"GET /")
        for _ in range(9):
            peer.write(b"x" * 1024)
        assert_problem(peer.read()[0], "uri_too_long")

    def test_headers_have_one(self, rig: Rig) -> None:
        size = MAX_HEADER_BYTES - len("Host" + "push.example.com" + "Cookie")
        assert Peer(rig).ask("GET", "/health", {"Cookie": "x" * size}).status == 200
        peer = Peer(rig)
        peer.write(request_bytes("GET", "/health", {"Cookie": "x" * (size + 1)}))
        assert_problem(peer.read()[0], "headers_too_large", "16384")
        assert peer.pipe.ended

    def test_many_small_headers_have_one_together(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("GET", "/health", {f"X-{number}": "y" for number in range(5000)}))
        assert_problem(peer.read()[0], "headers_too_large")

    @pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nCookie: ", b"GET / HTTP/1.1\r\n", b"\r\n", b"PO"])
    def test_a_line_that_never_ends_has_one(self, rig: Rig, start: bytes) -> None:
        peer = Peer(rig)
        peer.write(start)
        for _ in range(30):
            peer.write((b"\r\n" if start == b"\r\n" else b"x") * (1024 if start != b"\r\n" else 512))
        answers = peer.read()
        assert len(answers) == 1
        assert_problem(answers[0], "malformed_request" if start == b"PO" else "headers_too_large")
        assert peer.pipe.ended

    def test_a_trailer_that_never_ends_has_one(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("POST", "/v1/channels", {"Transfer-Encoding": "chunked"}) + b"1\r\nx\r\n0\r\nX: ")
        for _ in range(30):
            peer.write(b"x" * 1024)
        assert_problem(peer.read()[0], "headers_too_large")

    def test_a_long_body_is_no_long_header(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        batch = b'{"messages":[{"to":"ann","data":"x"}]}'.ljust(200_000)
        whole = request_bytes("POST", "/v1/messages", BEARER, batch)
        for start in range(0, len(whole), 1000):
            peer.write(whole[start : start + 1000])
        assert peer.read()[0].status == 200

    def test_many_requests_on_one_connection_are_no_long_header(self, rig: Rig) -> None:
        peer = Peer(rig)
        for _ in range(3):
            peer.write(HEALTH * 1000)
            assert len(peer.read()) == 1000

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_above_it_is_read_over_and_the_connection_goes_on(self, rig: Rig, chunked: bool) -> None:
        rig.token("ann")
        peer = Peer(rig)
        path = "/v1/clients/ann/messages"
        body = b"x" * 200_000
        if chunked:
            head = request_bytes("POST", path, BEARER | {"Transfer-Encoding": "chunked"})
            body = b"".join(b"2710\r\n" + body[:10_000] + b"\r\n" for _ in range(20)) + b"0\r\n\r\n"
        else:
            head = request_bytes("POST", path, BEARER | {"Content-Length": str(len(body))})
        peer.write(head)
        for start in range(0, len(body), 7000):
            peer.write(body[start : start + 7000])
        (answer,) = peer.read()
        assert_problem(answer, "message_too_long")
        assert peer.ask("POST", path, BEARER, b"short").json["status"] == "queued"
        assert rig.kept("ann") == [b"short"]


class TestNonsense:
    @pytest.mark.parametrize(
        "nonsense",
        [
            b"nonsense\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\0\xff" * 100,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )
    def test_is_refused_and_what_follows_read_over(self, rig: Rig, nonsense: bytes) -> None:
        peer = Peer(rig)
        peer.write(nonsense)
        (answer,) = peer.read()
        assert_problem(answer, "malformed_request", "not HTTP/1.1")
        assert answer.headers["connection"] == "close"
        assert peer.pipe.ended
        assert not peer.pipe.closed  # a reset would take the answer with it
        peer.write(HEALTH)
        assert peer.read() == []
        rig.clock.advance(LINGER_SECONDS)
        assert peer.pipe.closed

    def test_is_over_when_the_peer_ends_too(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(b"nonsense\r\n\r\n")
        connection = peer.pipe.get_protocol()
        assert isinstance(connection, HttpConnection)
        assert not connection.eof_received()
        peer.pipe.close()
        rig.clock.advance(LINGER_SECONDS)
        assert rig.front.connections == set()

    def test_does_not_take_the_answers_of_earlier_requests(self, rig: Rig) -> None:
        page = rig.page("ann")
        peer = Peer(rig)
        peer.write(HEALTH + message("hello") + HEALTH + b"nonsense\r\n\r\n")
        assert peer.pipe.take().count(b"HTTP/1.1") == 1
        sent, health, refusal = peer.read()
        assert (sent.json["status"], health.json["status"]) == ("sent", "ok")
        assert_problem(refusal, "malformed_request")
        assert peer.pipe.ended
        assert page.messages() == ["hello"]

    def test_is_refused_by_a_transport_that_cannot_end_one_side(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        peer = Peer(rig)
        monkeypatch.setattr(peer.pipe, "can_write_eof", lambda: False)
        peer.write(b"nonsense\r\n\r\n")
        assert len(peer.read()) == 1
        assert not peer.pipe.ended
        rig.clock.advance(LINGER_SECONDS)
        assert peer.pipe.closed


class TestOtherProtocols:
    H2C: ClassVar = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA",
    }

    def test_are_not_spoken_and_the_request_is_answered_as_plain(self, rig: Rig) -> None:
        peer = Peer(rig)
        for _ in range(3):
            answer = peer.ask("GET", "/health", self.H2C)
            assert (answer.status, answer.json) == (200, {"status": "ok"})
            assert "upgrade" not in answer.headers

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_are_not_spoken_with_a_body_either(self, rig: Rig, chunked: bool, together: bool) -> None:
        # as java.net.http and `curl --http2` ask
        rig.token("ann")
        peer = Peer(rig)
        headers = BEARER | self.H2C | {"Idempotency-Key": "k"}
        path = "/v1/clients/-/messages?client_id=ann"
        if chunked:
            whole = request_bytes("POST", path, headers | {"Transfer-Encoding": "chunked"}) + b"5\r\nhello\r\n0\r\n\r\n"
        else:
            whole = request_bytes("POST", path, headers, b"hello")
        whole += message("next") + HEALTH
        for piece in [whole] if together else [whole[n : n + 1] for n in range(len(whole))]:
            peer.write(piece)
        assert [answer.json["status"] for answer in peer.read()] == ["queued", "queued", "ok"]
        assert rig.kept("ann") == [b"hello", b"next"]

    def test_leave_the_rest_of_the_request_as_it_is(self, rig: Rig) -> None:
        peer = Peer(rig)
        headers = BEARER | {"Upgrade": "h2c", "Connection": "Upgrade, close", "Accept": "text/plain"}
        peer.write(request_bytes("POST", "/v1/channels", headers, b'{"client_id":"ann"}'))
        (answer,) = peer.read()
        assert (answer.status, answer.headers["content-type"]) == (201, "text/plain; charset=utf-8")
        assert answer.headers["connection"] == "close"
        assert peer.pipe.closed

    def test_may_wait_for_the_word_to_send_their_body(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(message("hello", **self.H2C, Expect="100-continue"))
        assert [answer.status for answer in peer.read()] == [100, 200]

    def test_wait_behind_earlier_answers(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(message("x") + request_bytes("GET", "/health", self.H2C) + message("y"))
        assert [answer.json["status"] for answer in peer.read()] == ["no_channel", "ok", "no_channel"]

    def test_may_be_asked_for_any_number_of_times_in_one_read(self, rig: Rig) -> None:
        peer = Peer(rig, high_water=1 << 30)
        peer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n" * 4000)
        assert len(peer.read()) == 4000

    def test_with_a_body_that_cannot_be_told_are_refused(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(request_bytes("POST", "/v1/messages", self.H2C | {"Transfer-Encoding": "gzip"}) + b"xyz")
        (answer,) = peer.read()
        assert_problem(answer, "malformed_request", "not HTTP/1.1")

    def test_of_a_proxy_are_refused(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(b"CONNECT push.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\nwhatever follows")
        (answer,) = peer.read()
        assert_problem(answer, "malformed_request", "no proxy")
        assert peer.pipe.ended

    def test_of_a_proxy_wait_behind_earlier_answers(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(message("x") + b"CONNECT push.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [answer.status for answer in peer.read()] == [200, 400]


class TestTheFrontsEnd:
    """The front closes what is connected, and what was accepted a moment too late."""

    def test_closes_every_connection_after_what_is_on_its_way(self, rig: Rig) -> None:
        idle, busy = Peer(rig), Peer(rig)
        busy.write(request_bytes("GET", "/health"))
        rig.front.close()
        assert [answer.status for answer in busy.read()] == [200]
        assert idle.pipe.closed
        assert busy.pipe.closed

    def test_answers_nobody_who_comes_later(self, rig: Rig) -> None:
        rig.front.close()
        late = Peer(rig)
        assert late.pipe.closed
        late.write(message("hello"))
        assert late.read() == []
        assert not rig.front.connections
