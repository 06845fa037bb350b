"""The native front and what pages ask of it: answers that come later, answers that go on, connections that are lost."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.http.rig import BEARER, Answer, Page, Peer, Rig, assert_problem, parse_answers, request_bytes
from websockets.frames import Frame, Opcode

from pushline.server.native import LINGER_SECONDS, MAX_PIPELINED, HttpConnection
from pushline.transports.base import CLOSE_SECONDS
from pushline.transports.door import CONNECT

HEALTH = request_bytes("GET", "/health")


def message(text: str, client_id: str = "ann", query: str = "", **headers: str) -> bytes:
    return request_bytes("POST", f"/v1/clients/{client_id}/messages{query}", BEARER | headers, text.encode())


def connect(token: str, query: str = "", version: str = "1.1", **headers: str) -> bytes:
    """A page asks for events."""
    fields = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): each for name, each in headers.items()}
    return request_bytes("GET", f"{CONNECT.decode()}?page=p{query}", fields, version=version)


def poll(token: str, cursor: str | None = None, version: str = "1.1", **headers: str) -> bytes:
    """A page polls; with a cursor for as long as it may."""
    query = "" if cursor is None else f"&after={cursor}&wait=25"
    return connect(token, query, version, Accept="application/json", **headers)


def polling(rig: Rig, token: str) -> Peer:
    """A page whose poll is open."""
    peer = Peer(rig)
    peer.write(poll(token))
    (first,) = peer.read()
    peer.write(poll(token, first.json["cursor"]))
    assert peer.read() == []
    return peer


def listening(rig: Rig, token: str) -> Peer:
    """A page that gets events."""
    peer = Peer(rig)
    peer.write(connect(token))
    rig.clock.turn()
    assert b"event: open\n" in peer.pipe.take()
    return peer


def acknowledge(page: Page, id: str) -> None:
    page.peer.write(Frame(Opcode.TEXT, json.dumps({"type": "ack", "id": id}).encode()).serialize(mask=True))


class TestAnAnswerThatComesLater:
    def test_keeps_those_behind_it_waiting(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = polling(rig, token)
        peer.write(HEALTH + message("to bob", "bob") + HEALTH)
        assert peer.read() == []
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
        answers = peer.read()
        assert [each["data"] for each in answers[0].json["messages"]] == ["hello"]
        assert [answer.json.get("status") for answer in answers[1:]] == ["ok", "no_channel", "ok"]

    def test_waits_for_those_before_it(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(HEALTH + message("x", "bob") + poll(token) + message("y", "bob"))
        answers = peer.read()
        assert [answer.json.get("status", answer.json.get("messages")) for answer in answers] == [
            "ok",
            "no_channel",
            [],
            "no_channel",
        ]

    def test_that_is_there_first_waits_for_the_commit_before_it(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(message("x", "bob") + poll("forged") + HEALTH)
        assert peer.pipe.take() == b""
        assert [answer.status for answer in peer.read()] == [200, 401, 200]

    def test_that_is_known_at_once_is_written_at_once(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(poll("forged"))
        (answer,) = parse_answers(peer.pipe.take(), iter([]))
        assert answer.json["close_code"] == 4401
        assert peer.ask("GET", "/health").status == 200

    def test_comes_behind_another_that_is_waited_for(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(message("hello", query="?wait=5") + message("there", "bob", query="?wait=5") + HEALTH)
        assert peer.read() == []
        page = Page(rig, token)
        (text,) = [text for text in page.read() if not text.startswith("{")]
        acknowledge(page, text.partition(" ")[0])
        assert [answer.json["status"] for answer in peer.read()] == ["delivered", "no_channel", "ok"]

    @pytest.mark.patches
    @pytest.mark.parametrize("before", [b"", message("x", "bob")], ids=["first", "behind another"])
    def test_costs_nothing_at_the_turns_in_which_it_is_waited_for(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, before: bytes
    ) -> None:
        peers = [Peer(rig) for _ in range(20)]
        for n, peer in enumerate(peers):
            rig.token(f"c{n}")
            peer.write(before + message("x", f"c{n}", "?wait=30"))
            assert len(peer.read()) == bool(before)
        looked: list[HttpConnection] = []
        write_answers = HttpConnection.write_answers

        def counted(connection: HttpConnection) -> bool:
            looked.append(connection)
            return write_answers(connection)

        rig.ask("POST", "/v1/clients/bob/messages", {}, b"x")
        monkeypatch.setattr(HttpConnection, "write_answers", counted)
        for _ in range(5):
            rig.ask("POST", "/v1/clients/bob/messages", {}, b"x")
        assert len(looked) == 5  # those that asked
        rig.clock.advance(30)
        assert len(looked) == 5 + 20
        assert [len(peer.read()) for peer in peers] == [1] * 20

    def test_that_is_there_before_the_next_ones_commit_does_not_lose_it(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = polling(rig, token)
        peer.write(message("x", "bob"))
        leave(rig, token)
        ended, sent = peer.read()
        assert (ended.json["messages"], sent.json["status"]) == ([], "no_channel")

    def test_of_which_there_are_many_stops_the_reading(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig, high_water=1 << 30)
        peer.write(message("x", query="?wait=5") * MAX_PIPELINED)
        assert not peer.is_read()
        assert peer.read() == []
        assert not peer.is_read()
        rig.clock.advance(5)
        assert [answer.json["status"] for answer in peer.read()] == ["queued"] * MAX_PIPELINED
        assert peer.is_read()

    @pytest.mark.parametrize(("version", "connection"), [("1.1", "close"), ("1.0", "")])
    def test_ends_the_connection_of_who_wants_it(self, rig: Rig, version: str, connection: str) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(poll(token))
        cursor = peer.read()[0].json["cursor"]
        headers = {"Connection": connection} if connection else {}
        peer.write(poll(token, cursor, version, **headers))
        assert peer.read() == []
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
        (answer,) = peer.read()
        assert answer.headers["connection"] == "close"
        assert peer.pipe.closed
        assert rig.hub.counters.connections == 1  # until the ping timeout
        rig.clock.advance(10.1)
        assert rig.hub.counters.connections == 0


class TestAPollWhosePeerGoes:
    def test_is_over_when_the_connection_breaks(self, rig: Rig) -> None:
        peer = polling(rig, rig.token("ann"))
        peer.pipe.drop()
        assert rig.hub.counters.connections == 0
        assert rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello").json["status"] == "queued"
        assert peer.pipe.take() == b""

    def test_is_over_when_the_peer_ends_its_side(self, rig: Rig) -> None:
        # browsers and proxies take a request back by closing
        peer = polling(rig, rig.token("ann"))
        peer.pipe.end()
        assert peer.pipe.closed
        assert rig.hub.counters.connections == 0
        assert rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello").json["status"] == "queued"

    def test_is_over_before_it_was_opened(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(poll(rig.token("ann")))
        peer.pipe.drop()
        rig.clock.turn()
        assert rig.hub.counters.connections == 0

    def test_is_over_behind_an_answer_that_waits(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(message("x", query="?wait=30") + poll(token))
        rig.clock.turn()
        peer.pipe.drop()
        rig.clock.advance(31)
        assert rig.hub.counters.connections == 0
        assert peer.pipe.take() == b""

    def test_that_was_answered_stays_for_the_ping_timeout_and_hurts_nobody(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(poll(token))
        assert len(peer.read()) == 1
        peer.pipe.drop()
        page = rig.page("bob")
        rig.clock.advance(9.9)
        assert rig.hub.counters.connections == 2
        rig.clock.advance(0.2)
        assert rig.hub.counters.connections == 1
        rig.clock.advance(15)
        assert page.read() == ['{"type":"ping"}']

    def test_does_not_take_the_answers_of_an_application_that_ends_its_side(self, rig: Rig) -> None:
        rig.token("ann")
        peer = Peer(rig)
        peer.write(message("x", query="?wait=5"))
        rig.clock.turn()
        peer.pipe.end()
        assert not peer.pipe.closed
        rig.clock.advance(5)
        (answer,) = peer.read()
        assert (answer.json["status"], answer.headers["connection"]) == ("queued", "close")
        assert peer.pipe.closed


class TestEvents:
    def test_take_the_connection_over(self, rig: Rig) -> None:
        token = rig.token("ann")
        before = set(rig.front.connections)
        peer = listening(rig, token)
        assert rig.front.connections == before
        assert rig.door.wires == 1
        rig.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
        assert peer.pipe.take().endswith(b'\ndata: "hello"\n\n')

    def test_come_behind_earlier_answers(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(HEALTH + connect(token))
        rig.clock.turn()
        written = peer.pipe.take()
        assert written.index(b'{"status":"ok"}') < written.index(b"text/event-stream") < written.index(b"event: open")

    def test_come_behind_answers_that_are_not_read_yet(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig, high_water=50)
        peer.write(HEALTH * 3 + connect(token))
        rig.clock.turn()
        assert peer.pipe.take().count(b"HTTP/1.1 200 OK") == 4

    def test_are_refused_behind_answers_that_are_waited_for(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(message("x") + connect(token) + HEALTH)
        sent, refused, health = peer.read()
        assert (sent.json["status"], health.status) == ("queued", 200)
        assert_problem(refused, "malformed_request", "on another connection")
        assert refused.headers["access-control-allow-origin"] == "*"
        assert rig.door.wires == 0
        peer.write(connect(token))
        rig.clock.turn()
        assert b"event: open" in peer.pipe.take()

    def test_are_refused_behind_an_open_poll(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = polling(rig, token)
        peer.write(connect(token))
        rig.clock.advance(25.1)
        assert [answer.status for answer in peer.read()] == [200, 400]

    def test_may_be_asked_for_with_a_head_that_comes_byte_by_byte(self, rig: Rig) -> None:
        whole = connect(rig.token("ann"))
        peer = Peer(rig)
        for byte in whole:
            peer.write(bytes([byte]))
        rig.clock.turn()
        assert b"event: open" in peer.pipe.take()

    def test_are_what_follows_when_another_protocol_is_offered(self, rig: Rig) -> None:
        peer = Peer(rig)
        upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAoAAAAAIA"}
        peer.write(connect(rig.token("ann"), **upgrade))
        rig.clock.turn()
        head, _, events = peer.pipe.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"upgrade" not in head.lower()
        assert events.startswith(b"event: open\n")
        assert rig.hub.counters.connections == 1

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    @pytest.mark.parametrize("connection", [None, "close", "keep-alive"])
    def test_end_with_their_connection_whatever_was_asked(self, rig: Rig, version: str, connection: str | None) -> None:
        headers = {} if connection is None else {"Connection": connection}
        peer = Peer(rig)
        peer.write(connect(rig.token("ann"), version=version, **headers))
        rig.clock.turn()
        head = peer.pipe.take().partition(b"\r\n\r\n")[0]
        assert b"\r\nConnection: close" in head
        assert b"ransfer-Encoding" not in head
        assert b"Content-Length" not in head
        assert not peer.pipe.closed
        assert not peer.pipe.ended

    def test_that_are_refused_end_the_connection_after_the_answer(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(connect("forged") + HEALTH)
        (answer,) = peer.read()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert peer.pipe.ended
        assert rig.front.connections == set()
        rig.clock.advance(CLOSE_SECONDS)
        assert peer.pipe.closed
        assert rig.door.wires == 0

    def test_of_a_poll_that_offers_another_protocol_are_none(self, rig: Rig) -> None:
        peer = Peer(rig)
        peer.write(poll(rig.token("ann"), Connection="Upgrade", Upgrade="h2c"))
        assert peer.read()[0].json["messages"] == []


class TestTheWires:
    """The door counts connections until they are closed, however that comes."""

    ENDS: tuple[tuple[str, Callable[[Rig, Peer, str], None]], ...] = (
        ("breaks", lambda rig, peer, token: peer.pipe.drop()),
        ("is ended by the peer", lambda rig, peer, token: peer.pipe.end()),
        ("is replaced", lambda rig, peer, token: rig.page("ann").pipe.drop()),
        ("is given up", lambda rig, peer, token: rig.clock.advance(40)),
        ("is left", lambda rig, peer, token: leave(rig, token)),
        ("is drained", lambda rig, peer, token: rig.hub.close(0)),
        ("expires", lambda rig, peer, token: rig.clock.advance(7200)),
    )

    @pytest.mark.parametrize("end", [end for _, end in ENDS], ids=[name for name, _ in ENDS])
    @pytest.mark.parametrize("kind", ["websocket", "sse", "longpoll"])
    def test_are_none_in_the_end(self, rig: Rig, kind: str, end: Callable[[Rig, Peer, str], None]) -> None:
        token = rig.token("ann")
        if kind == "websocket":
            peer = Page(rig, token, query="page=p").peer
        else:
            peer = listening(rig, token) if kind == "sse" else polling(rig, token)
        assert rig.door.wires == (kind != "longpoll")  # polls are the front's connections
        end(rig, peer, token)
        rig.clock.advance(CLOSE_SECONDS + LINGER_SECONDS + 10)
        assert rig.door.wires == 0
        assert rig.hub.counters.connections == 0

    @pytest.mark.parametrize("data", [connect("forged"), poll("forged"), connect("forged", "&page=q")])
    def test_of_who_is_refused_are_none(self, rig: Rig, data: bytes) -> None:
        peer = Peer(rig)
        peer.write(data)
        rig.clock.advance(CLOSE_SECONDS)
        assert rig.door.wires == 0

    def test_of_who_goes_before_the_answer_are_none(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = Peer(rig)
        peer.write(connect(token))
        assert rig.door.wires == 1
        peer.pipe.drop()
        rig.clock.turn()
        assert rig.door.wires == 0
        assert rig.hub.counters.connections == 0


def leave(rig: Rig, token: str) -> None:
    body = json.dumps({"token": token, "page": "p", "type": "leave", "id": ""}).encode()
    assert Peer(rig).ask("POST", CONNECT.decode(), {"Content-Type": "text/plain"}, body).status == 204


class TestASendThatWaits:
    """A2, ``wait=<seconds>``."""

    def send(self, rig: Rig, text: str = "hello", wait: str = "5", **headers: str) -> Peer:
        peer = Peer(rig)
        peer.write(message(text, query=f"?wait={wait}", **headers))
        rig.clock.turn()
        return peer

    def answer(self, peer: Peer) -> Answer:
        (answer,) = peer.read()
        assert answer.status == 200
        assert list(answer.json) == ["id", "status"]
        return answer

    def test_is_delivered_when_a_page_has_acknowledged_it(self, rig: Rig) -> None:
        page = rig.page("ann")
        peer = self.send(rig)
        text, ping = page.read()
        assert (text.partition(" ")[2], ping) == ("hello", '{"type":"ping"}')
        assert peer.read() == []
        acknowledge(page, text.partition(" ")[0])
        answer = self.answer(peer)
        assert answer.json == {"id": text.partition(" ")[0], "status": "delivered"}

    def test_is_delivered_by_events_and_a_frame_by_post(self, rig: Rig) -> None:
        token = rig.token("ann")
        page = listening(rig, token)
        peer = self.send(rig)
        events = page.pipe.take().decode()
        assert events.endswith('event: ping\ndata: {"type":"ping"}\n\n')
        id = events.partition("id: ")[2].partition("\n")[0]
        body = json.dumps({"token": token, "page": "p", "type": "ack", "id": id}).encode()
        assert Peer(rig).ask("POST", CONNECT.decode(), {}, body).status == 204
        assert self.answer(peer).json["status"] == "delivered"

    def test_is_delivered_by_the_next_poll(self, rig: Rig) -> None:
        token = rig.token("ann")
        page = polling(rig, token)
        peer = self.send(rig)
        (got,) = page.read()
        assert peer.read() == []
        page.write(poll(token, got.json["cursor"]))
        assert self.answer(peer).json["status"] == "delivered"

    def test_is_sent_when_nobody_acknowledges_it_in_time(self, rig: Rig) -> None:
        rig.page("ann")
        peer = self.send(rig)
        rig.clock.advance(4.9)
        assert peer.read() == []
        rig.clock.advance(0.1)
        assert self.answer(peer).json["status"] == "sent"

    def test_is_queued_when_no_page_comes_in_time(self, rig: Rig) -> None:
        rig.token("ann")
        peer = self.send(rig)
        rig.clock.advance(4.9)
        assert peer.read() == []
        rig.clock.advance(0.1)
        assert self.answer(peer).json["status"] == "queued"

    def test_is_sent_when_a_page_comes_in_time(self, rig: Rig) -> None:
        token = rig.token("ann")
        peer = self.send(rig)
        rig.clock.advance(1)
        assert Page(rig, token).messages() == ["hello"]
        rig.clock.advance(4)
        assert self.answer(peer).json["status"] == "sent"

    def test_is_no_channel_at_once(self, rig: Rig) -> None:
        assert self.answer(self.send(rig)).json == {"id": None, "status": "no_channel"}

    @pytest.mark.parametrize("wait", ["30", "0.5", "1e1"])
    def test_may_wait_for_half_a_minute(self, rig: Rig, wait: str) -> None:
        rig.token("ann")
        peer = self.send(rig, wait=wait)
        rig.clock.advance(float(wait) - 0.01)
        assert peer.read() == []
        rig.clock.advance(0.01)
        assert self.answer(peer).json["status"] == "queued"

    @pytest.mark.parametrize("wait", ["0", "-1", "30.1", "31", "nan", "inf", "", "five", "1_0", "+5", "true"])
    def test_with_another_wait_is_refused_and_keeps_nothing(self, rig: Rig, wait: str) -> None:
        rig.token("ann")
        assert_problem(self.send(rig, wait=wait).read()[0], "invalid_wait", "above 0 and at most 30")
        assert_problem(rig.ask("POST", f"/v1/clients/nobody/messages?wait={wait}", {}, b"x"), "invalid_wait")
        assert rig.kept("ann") == []

    def test_is_answered_at_once_when_the_server_drains(self, rig: Rig) -> None:
        rig.token("bob")
        rig.page("ann")
        sent, queued = self.send(rig), Peer(rig)
        queued.write(message("x", "bob", "?wait=30"))
        rig.clock.turn()
        rig.hub.close(10)
        assert self.answer(sent).json["status"] == "sent"
        assert self.answer(queued).json["status"] == "queued"

    def test_is_answered_at_once_while_the_server_drains(self, rig: Rig) -> None:
        rig.token("ann")
        rig.hub.close(10)
        assert self.answer(self.send(rig)).json["status"] == "queued"
        assert rig.kept("ann") == [b"hello"]

    def test_again_waits_for_the_same_message(self, rig: Rig) -> None:
        page = rig.page("ann")
        key = {"Idempotency-Key": "k"}
        first = self.send(rig, **key)
        rig.clock.advance(5)
        told = self.answer(first).json
        assert told["status"] == "sent"
        again = self.send(rig, "another body", **key)
        assert again.read() == []
        acknowledge(page, told["id"])
        assert self.answer(again).json == {"id": told["id"], "status": "delivered"}
        assert self.answer(self.send(rig, **key)).json == {"id": told["id"], "status": "delivered"}
        assert page.messages() == ["hello"]

    def test_several_of_one_page_are_each_answered_when_it_is_their_turn(self, rig: Rig) -> None:
        page = rig.page("ann")
        peers = [self.send(rig, str(n)) for n in range(3)]
        ids = [text.partition(" ")[0] for text in page.read() if not text.startswith("{")]
        acknowledge(page, ids[1])
        assert [len(peer.read()) for peer in peers] == [1, 1, 0]
        acknowledge(page, ids[2])
        assert self.answer(peers[2]).json == {"id": ids[2], "status": "delivered"}

    def test_of_an_application_that_has_gone_is_forgotten(self, rig: Rig) -> None:
        page = rig.page("ann")
        peer = self.send(rig)
        peer.pipe.drop()
        text = page.read()[0]
        acknowledge(page, text.partition(" ")[0])
        rig.clock.advance(6)
        assert peer.pipe.take() == b""
        assert rig.kept("ann") == []

    def test_is_counted(self, rig: Rig) -> None:
        page = rig.page("ann")
        peer = self.send(rig)
        acknowledge(page, page.read()[0].partition(" ")[0])
        self.answer(peer)
        assert rig.hub.counters.messages_delivered == 1
