"""Long-poll keeps the promises of every transport that make sense for it, and those of W6."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.http.rig import Answer, parse_answers
from tests.transports.test_sse import closed_by

from pushline.http.request import Request
from pushline.http.responses import Encoder
from pushline.http.values import Response
from pushline.messages import Append, Message, Policy, format_id
from pushline.protocol.codes import (
    DISCONNECTED,
    GOING_AWAY,
    INVALID_TOKEN,
    NORMAL,
    ORIGIN_NOT_ALLOWED,
    PROTOCOL_ERROR,
    REPLACED,
    TOKEN_EXPIRED,
)
from pushline.protocol.frames import Ack, FreshToken, Gap, Leave, Open, Ping
from pushline.protocol.values import Close
from pushline.testing.pipe import MemoryPipe
from pushline.testing.transports import (
    GRACE,
    INTERVAL,
    TIMEOUT,
    HttpPage,
    Received,
    TransportCase,
    TransportConformance,
)
from pushline.transports.base import Door
from pushline.transports.door import answer
from pushline.transports.longpoll import MAX_ANSWER_BYTES, NEXT_POLL_SECONDS, LongPollTransport


class Connection(asyncio.Protocol):
    """As much of a front as a poll needs."""

    def __init__(self) -> None:
        self.polls: list[LongPollTransport] = []

    def connection_lost(self, error: Exception | None) -> None:
        for poll in self.polls:
            if poll.response is None:
                poll.gone()


class PollingPage(HttpPage):
    """A page that polls: it asks again with its cursor as soon as it has read an answer."""

    def __init__(self, door: Door, token: str, page: str, pipe: MemoryPipe) -> None:
        super().__init__(door, token, page)
        self.pipe = pipe
        self.connection = Connection()
        pipe.set_protocol(self.connection)
        self.cursor: str | None = None
        self.is_open = False
        self.wait = INTERVAL

    def poll(self, after: str | None = None, query: str | None = None) -> None:
        """Ask, on the same connection."""
        self.ask(self.request("application/json", f"&wait={self.wait:g}" if query is None else query, after))

    def ask(self, request: Request) -> None:
        encoder = Encoder(self.door.clock.now)
        poll = answer(self.door, request, self.pipe, encoder)
        assert isinstance(poll, LongPollTransport)
        self.transport = poll
        self.connection.polls.append(poll)

        def tell() -> None:
            assert isinstance(poll.response, Response)
            self.pipe.write(encoder.encode(poll.response, close=False, head=False))

        poll.tell = tell
        if poll.response is not None:
            tell()

    def answers(self) -> list[Answer]:
        """The answers that have come; nothing is asked again."""
        return parse_answers(self.pipe.take(), iter([]))

    def receive(self) -> list[Received]:
        items: list[Received] = []
        for each in self.answers():
            if each.status != 200:
                items.append(closed_by(each))
                continue
            items += self.understood(each.json)
            self.cursor = each.json["cursor"]
            self.poll(self.cursor)
        return items

    def understood(self, body: dict[str, Any]) -> list[Received]:
        """What an answer says, in the words of the other transports."""
        items: list[Received] = [(each["id"], each["data"]) for each in body["messages"]]
        if not self.is_open:
            self.is_open = True
            fields = {name: body[name] for name in ("client_id", "cursor", "gap", "ping", "expires_in")}
            return [Open(timeout=TIMEOUT, **fields), *items]
        if body["gap"]:
            items.insert(0, Gap(body["cursor"]))
        return items or [Ping()]  # it has nothing to say: it wants to know whether the page is there

    def close(self) -> None:
        self.pipe.drop()


class PollCase(TransportCase):
    """Pages that connect by long-poll."""

    def connect(self, token: str, page: str = "p", after: str | None = None) -> PollingPage:
        far = PollingPage(self.door, token, page, self.pipe())
        far.poll(after)
        return far

    def one(self, far: PollingPage) -> Answer:
        """The answer to the poll that is open; nothing is asked again."""
        self.clock.turn()
        (answer,) = far.answers()
        return answer

    def ready(self, token: str | None = None, page: str = "p") -> PollingPage:
        """A page that has had its first answer, and has asked nothing since."""
        far = self.connect(token or self.create(), page)
        far.cursor = self.one(far).json["cursor"]
        return far

    def polling(self, token: str | None = None, page: str = "p") -> PollingPage:
        """A page whose poll is open."""
        far = self.ready(token, page)
        far.poll(far.cursor)
        self.clock.turn()
        assert far.answers() == []
        return far

    def texts_in(self, answer: Answer) -> list[str]:
        assert answer.status == 200, answer
        return [each["data"] for each in answer.json["messages"]]


class TestLongPoll(PollCase, TransportConformance):
    """The suite of every transport."""


class TestTheAnswer(PollCase):
    def test_has_its_keys_in_order(self) -> None:
        token = self.create()
        self.send("0", "a\r\nb\0 \u2028 🎲")
        answer = self.one(self.connect(token))
        assert answer.status == 200
        assert list(answer.json) == ["client_id", "cursor", "gap", "ping", "expires_in", "messages"]
        assert [list(each) for each in answer.json["messages"]] == [["id", "data"]] * 2
        assert self.texts_in(answer) == ["0", "a\r\nb\0 \u2028 🎲"]
        assert (answer.json["client_id"], answer.json["gap"]) == ("ann", False)
        assert (answer.json["ping"], answer.json["expires_in"]) == (25, 7200)
        assert answer.json["cursor"] == answer.json["messages"][-1]["id"]

    def test_is_json_that_pages_of_any_origin_may_read_and_nobody_keeps(self) -> None:
        headers = self.one(self.connect(self.create())).headers
        assert headers["content-type"] == "application/json"
        assert headers["access-control-allow-origin"] == "*"
        assert headers["vary"] == "Origin, Accept"
        assert headers["cache-control"] == "no-store"
        assert "content-encoding" not in headers

    @pytest.mark.parametrize("accept", ["application/json", "Application/JSON", "application/json, text/plain;q=0.5"])
    def test_is_for_whoever_asks_for_json(self, accept: str) -> None:
        far = PollingPage(self.door, self.create(), "p", self.pipe())
        far.ask(far.request(accept, ""))
        assert self.one(far).json["messages"] == []

    def test_says_how_long_the_token_lives_by_now(self) -> None:
        far = self.ready(self.create(seconds=100))
        self.clock.advance(5)
        far.poll(far.cursor, "")
        assert self.one(far).json["expires_in"] == 95

    def test_is_at_most_a_mebibyte_and_the_rest_comes_next(self) -> None:
        far = self.polling()
        texts = [f"{n}" + "\0" * 5000 for n in range(40)]  # each NUL is six bytes in JSON
        self.send(*texts)
        first = self.one(far)
        assert len(first.body) <= MAX_ANSWER_BYTES
        assert 30 < len(first.json["messages"]) < 40
        assert first.json["cursor"] == first.json["messages"][-1]["id"]
        far.poll(first.json["cursor"])
        assert self.texts_in(first) + self.texts_in(self.one(far)) == texts

    def test_is_longer_only_when_one_message_is(self) -> None:
        far = self.polling()
        self.hub.send(Append("ann", b"\0" * 200_000), self._sent, self.failures.append)
        (message,) = self.one(far).json["messages"]
        assert message["data"] == "\0" * 200_000


class TestTheWait(PollCase):
    def test_without_a_cursor_is_none(self) -> None:
        assert self.texts_in(self.one(self.connect(self.create()))) == []

    def test_is_none_when_nothing_is_said_of_it(self) -> None:
        far = self.ready()
        far.poll(far.cursor, "")
        assert self.texts_in(self.one(far)) == []

    def test_may_be_none_by_its_own_words(self) -> None:
        far = self.ready()
        far.poll(far.cursor, "&wait=0")
        assert self.texts_in(self.one(far)) == []

    @pytest.mark.parametrize("wait", [0.5, 10, 24])
    def test_is_honoured(self, wait: float) -> None:
        far = self.ready()
        far.poll(far.cursor, f"&wait={wait}")
        self.clock.advance(wait - 0.01)
        assert far.answers() == []
        self.clock.advance(0.02)
        answer = self.one(far)
        assert self.texts_in(answer) == []
        assert answer.json["cursor"] == far.cursor

    @pytest.mark.parametrize("wait", ["25", "26", "600", "1e4"])
    def test_is_at_most_the_ping_interval(self, wait: str) -> None:
        far = self.ready()
        far.poll(far.cursor, f"&wait={wait}")
        self.clock.advance(INTERVAL - 0.01)
        assert far.answers() == []
        self.clock.advance(0.11)
        assert self.texts_in(self.one(far)) == []

    @pytest.mark.parametrize("wait", ["", "x", "-1", "nan", "inf", "1e400", "86400"])
    def test_that_is_no_time_is_refused(self, wait: str) -> None:
        far = self.ready()
        far.poll(far.cursor, f"&wait={wait}")
        assert closed_by(self.one(far)) == Close(PROTOCOL_ERROR)

    def test_ends_with_the_first_message(self) -> None:
        far = self.polling()
        self.clock.advance(7)
        assert self.send("hello", "again") == ["sent", "sent"]
        assert self.texts_in(self.one(far)) == ["hello", "again"]

    def test_is_none_when_something_is_there(self) -> None:
        token = self.create()
        far = self.ready(token)
        self.send("waiting")
        far.poll(far.cursor)
        assert self.texts_in(self.one(far)) == ["waiting"]

    def test_is_none_when_something_is_missing(self) -> None:
        far = self.ready()
        far.poll("1-0")
        answer = self.one(far)
        assert (answer.json["gap"], answer.json["messages"]) == (True, [])

    def test_ends_with_a_gap_that_shows_meanwhile(self) -> None:
        far = self.polling()
        missing = self.signer.verify(far.token, self.clock.now()).id + 5
        far.transport.session.missed()
        far.transport.session.feed([], missing, gap=missing, complete=True)
        far.transport.flush()
        answer = self.one(far)
        assert (answer.json["gap"], answer.json["cursor"], answer.json["messages"]) == (True, format_id(missing), [])

    def test_goes_on_while_the_store_is_asked_for_what_is_there(self) -> None:
        far = self.polling()
        session = far.transport.session
        session.missed()
        session.feeding = True
        self.hub.probe(far.transport)
        assert far.answers() == []  # though somebody wants to know whether the page is there
        message = Message(session.position + 1, session.position, b"hello")
        session.feed([message], message.id, gap=None, complete=True)
        far.transport.flush()
        assert self.texts_in(self.one(far)) == ["hello"]

    def test_ends_when_the_application_waits_for_the_page(self) -> None:
        answered: list[tuple[int | None, str]] = []
        far = self.polling()

        def sent(id: int | None, status: str) -> None:
            answered.append((id, status))

        self.hub.send_and_wait(Append("ann", b"hello", waited=True), 30, sent, self.failures.append)
        first = self.one(far)
        assert self.texts_in(first) == ["hello"]
        assert answered == []
        far.poll(first.json["cursor"])
        self.clock.turn()
        assert [status for _, status in answered] == ["delivered"]


class TestTheCursor(PollCase):
    def test_may_be_in_the_header_or_in_the_query(self) -> None:
        token = self.create()
        far = self.ready(token)
        self.send("0", "1")
        far.poll(far.cursor)
        first, _ = self.one(far).json["messages"]
        far.poll(None, f"&after={first['id']}")
        assert self.texts_in(self.one(far)) == ["1"]
        far.poll(first["id"], "&after=1-0")
        assert self.texts_in(self.one(far)) == ["1"]

    def test_of_the_next_poll_acknowledges_and_the_answer_does_not(self) -> None:
        far = self.ready()
        self.send("0", "1")
        far.poll(far.cursor)
        answer = self.one(far)
        assert self.kept() == ["0", "1"]
        far.poll(answer.json["cursor"])
        self.clock.turn()
        assert self.kept() == []

    def test_that_is_the_same_gets_the_same_messages_again(self) -> None:
        far = self.ready()
        self.send("0", "1")
        bodies = []
        for _ in range(3):
            far.poll(far.cursor)
            bodies.append(self.one(far).body)
        assert bodies[0] == bodies[1] == bodies[2]
        assert b'"data":"1"' in bodies[0]

    def test_that_is_the_same_gets_the_same_gap_again(self) -> None:
        far = self.ready()
        self.send(*(str(n) for n in range(60)))  # the store of these tests keeps 50
        bodies = []
        for _ in range(3):
            far.poll(far.cursor)
            bodies.append(self.one(far))
        assert len({body.body for body in bodies}) == 1
        assert bodies[0].json["gap"]
        assert self.texts_in(bodies[0]) == [str(n) for n in range(10, 60)]
        far.poll(bodies[0].json["cursor"])
        self.clock.turn()
        assert far.answers() == []  # and the next one has none

    @pytest.mark.parametrize("cursor", ["nonsense", "9999999999999-0"])
    def test_of_no_known_form_is_a_gap_at_once(self, cursor: str) -> None:
        far = self.ready()
        far.poll(cursor)
        answer = self.one(far)
        assert answer.json["gap"]
        far.poll(answer.json["cursor"])
        self.clock.turn()
        assert far.answers() == []

    def test_moves_with_an_empty_answer_over_what_has_ended(self) -> None:
        far = self.ready()
        self.hub.send(Append("ann", b"short", ttl=1), self._sent, self.failures.append)
        self.clock.turn()
        self.clock.advance(2)
        far.poll(far.cursor, "&wait=0")
        answer = self.one(far)
        assert (answer.json["gap"], answer.json["messages"]) == (False, [])


class TestThePage(PollCase):
    @pytest.mark.parametrize("page", ["", "a%20b", "x" * 65])
    def test_has_to_have_a_name(self, page: str) -> None:
        far = self.connect(self.create(), page)
        assert closed_by(self.one(far)) == Close(PROTOCOL_ERROR)
        assert self.hub.counters.connections_refused == 1

    def test_has_to_have_a_name_in_a_query_without_one_too(self) -> None:
        far = PollingPage(self.door, self.create(), "p", self.pipe())
        request = far.request("application/json", "")
        request.query = b""
        far.ask(request)
        assert closed_by(self.one(far)) == Close(PROTOCOL_ERROR)

    def test_may_send_parameters_that_are_not_known_here(self) -> None:
        far = self.ready()
        far.poll(far.cursor, "&_=1700000000&x")
        assert self.one(far).status == 200

    def test_that_polls_anew_ends_its_older_poll_with_an_empty_answer(self) -> None:
        token = self.create()
        older = self.polling(token)
        newer = PollingPage(self.door, token, "p", self.pipe())
        newer.poll(older.cursor)
        ended = self.one(older)
        assert (ended.status, ended.json["messages"], ended.json["gap"]) == (200, [], False)
        assert ended.json["cursor"] == older.cursor
        assert newer.answers() == []
        assert self.connections() == 1
        assert self.send("hello") == ["sent"]
        assert self.texts_in(self.one(newer)) == ["hello"]
        assert older.answers() == []

    def test_that_polls_twice_in_one_turn_gets_everything_by_the_later_one(self) -> None:
        token = self.create()
        first = self.ready(token)
        second = PollingPage(self.door, token, "p", self.pipe())
        first.poll(first.cursor)
        second.poll(first.cursor)
        assert self.texts_in(self.one(first)) == []
        assert self.send("hello") == ["sent"]
        assert self.texts_in(self.one(second)) == ["hello"]
        assert self.connections() == 1

    def test_that_polls_twice_while_messages_wait_gets_them_twice_and_acknowledges_none(self) -> None:
        token = self.create()
        first = self.ready(token)
        self.send("hello")
        second = PollingPage(self.door, token, "p", self.pipe())
        first.poll(first.cursor)
        second.poll(first.cursor)
        assert self.texts_in(self.one(first)) == self.texts_in(self.one(second)) == ["hello"]
        assert self.kept() == ["hello"]
        assert self.connections() == 1

    def test_takes_over_from_its_older_poll_without_a_word_to_others(self) -> None:
        far = self.polling()
        for _ in range(5):
            far.poll(far.cursor)
            self.clock.turn()
        assert [answer.status for answer in far.answers()] == [200] * 5
        assert self.hub.counters.connections_replaced == 0

    def test_that_goes_during_a_poll_is_gone(self) -> None:
        far = self.polling()
        far.pipe.drop()
        assert self.connections() == 0
        assert self.send("hello") == ["queued"]
        self.clock.advance(INTERVAL + TIMEOUT)
        assert self.connections() == 0

    def test_that_goes_after_its_answer_is_there_until_the_ping_timeout(self) -> None:
        far = self.ready()
        far.pipe.drop()
        self.clock.advance(TIMEOUT - 0.1)
        assert self.connections() == 1
        self.clock.advance(0.2)
        assert self.connections() == 0

    def test_that_goes_before_its_poll_is_open_is_nobody(self) -> None:
        far = self.ready()
        far.poll(far.cursor)
        far.pipe.drop()
        self.clock.turn()
        assert self.connections() == 0
        assert self.send("hello") == ["queued"]


class TestPresence(PollCase):
    """W6: a polling page is connected while a poll is open, and until the ping timeout after its answer."""

    def test_is_there_while_a_poll_is_open(self) -> None:
        far = self.polling()
        self.clock.advance(INTERVAL - 0.1)
        assert self.connections() == 1
        assert self.send("hello") == ["sent"]
        assert self.texts_in(self.one(far)) == ["hello"]

    def test_is_there_until_the_ping_timeout_after_an_answer(self) -> None:
        far = self.polling()
        self.send("hello")
        self.one(far)
        self.clock.advance(TIMEOUT - 0.1)
        assert self.connections() == 1
        self.clock.advance(0.2)
        assert self.connections() == 0

    def test_is_as_long_after_an_answer_that_was_written_in_parts(self) -> None:
        far = self.polling()
        self.send("x" * 30_000)
        self.clock.advance(1)
        far.pipe.take()
        self.clock.advance(TIMEOUT - 1.1)
        assert self.connections() == 1
        self.clock.advance(0.2)
        assert self.connections() == 0

    def test_is_there_while_a_long_answer_is_read_slowly(self) -> None:
        far = self.polling()
        self.send(*["x" * 30_000] * 5)
        for _ in range(4):
            self.clock.advance(TIMEOUT - 1)
            assert len(far.pipe.take(30_000)) == 30_000
        assert self.connections() == 1
        far.pipe.take()
        self.clock.advance(2 * TIMEOUT)
        assert self.connections() == 0

    def test_is_over_when_nothing_of_a_long_answer_is_read(self) -> None:
        far = self.polling()
        self.send(*["x" * 30_000] * 5)
        self.clock.advance(TIMEOUT + 0.1)
        assert self.connections() == 0
        assert far.transport.session.closed

    def test_goes_on_with_each_poll(self) -> None:
        far = self.ready()
        for _ in range(50):
            self.clock.advance(TIMEOUT - 1)
            far.poll(far.cursor, "&wait=0")
            self.one(far)
            assert self.connections() == 1

    def test_between_two_polls_keeps_messages_for_the_next(self) -> None:
        far = self.ready()
        assert self.send("hello") == ["queued"]
        far.poll(far.cursor)
        assert self.texts_in(self.one(far)) == ["hello"]

    def test_is_kept_for_the_grace_time_by_who_polls_late(self) -> None:
        token = self.create()
        loser = self.ready(token, "loser")
        holder = self.ready(token, "holder")
        self.clock.advance(TIMEOUT + 0.1)
        assert self.connections() == 0
        assert self.holds_its_place(token, loser.cursor or "")
        self.clock.advance(GRACE)
        assert not self.holds_its_place(token, loser.cursor or "")
        assert holder.answers() == []


class TestRejecting(PollCase):
    """G7: under ``reject`` a polling page answers by polling again."""

    def test_an_open_poll_is_answered_and_who_polls_again_keeps_the_place(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.polling(token, "holder")
        newcomer = self.connect(token, "newcomer")
        assert self.texts_in(self.one(holder)) == []
        holder.poll(holder.cursor)
        self.clock.turn()
        assert closed_by(self.one(newcomer)) == Close(REPLACED)
        assert holder.answers() == []
        assert self.send("hello") == ["sent"]
        assert self.texts_in(self.one(holder)) == ["hello"]

    def test_who_is_between_two_polls_keeps_it_too(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.ready(token, "holder")
        newcomer = self.connect(token, "newcomer")
        self.clock.advance(1.9)
        assert newcomer.answers() == []
        holder.poll(holder.cursor)
        assert closed_by(self.one(newcomer)) == Close(REPLACED)

    def test_who_does_not_poll_again_within_two_seconds_loses_it(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.polling(token, "holder")
        newcomer = self.connect(token, "newcomer")
        self.clock.advance(2)
        assert newcomer.answers()[0].status == 200
        assert self.texts_in(self.one(holder)) == []
        holder.poll(holder.cursor)
        self.clock.advance(2)
        assert newcomer.answers() == []


class TestTheEnd(PollCase):
    @pytest.mark.parametrize(
        ("code", "status"), [(REPLACED, 409), (DISCONNECTED, 409), (TOKEN_EXPIRED, 401), (GOING_AWAY, 503)]
    )
    def test_of_an_open_poll_is_a_status(self, code: int, status: int) -> None:
        far = self.polling()
        self.end(far, code)
        answer = self.one(far)
        assert (answer.status, answer.json["close_code"]) == (status, code)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert self.connections() == 0

    def test_that_comes_with_messages_is_told_to_the_next_poll(self) -> None:
        token = self.create()
        far = self.polling(token)
        newcomer = PollingPage(self.door, token, "newcomer", self.pipe())
        self.hub.send(Append("ann", b"last"), self._sent, self.failures.append)
        newcomer.poll()
        first = self.one(far)
        assert self.texts_in(first) == ["last"]
        far.poll(first.json["cursor"])
        assert closed_by(self.one(far)) == Close(REPLACED)

    def test_between_two_polls_is_told_to_the_next(self) -> None:
        token = self.create(seconds=20)
        far = self.ready(token)
        for _ in range(3):
            self.clock.advance(6)
            far.poll(far.cursor, "&wait=0")
            self.one(far)
        self.clock.advance(6)
        far.poll(far.cursor)
        assert closed_by(self.one(far)) == Close(TOKEN_EXPIRED)

    def test_of_the_server_is_told_with_the_moment_to_come_back(self) -> None:
        token = self.create()
        far, away = self.polling(token), self.ready(self.create(client_id="bob"))
        self.hub.close(20.0)
        assert closed_by(self.one(far)) == Close(GOING_AWAY, 5000)
        assert self.door.wires == 1  # one page is between two polls, and waited for
        away.poll(away.cursor)
        assert closed_by(self.one(away)) == Close(GOING_AWAY, 5000)
        assert self.connections() == 0
        self.clock.advance(NEXT_POLL_SECONDS)
        assert self.door.wires == 0

    def test_after_a_leave_is_an_empty_answer(self) -> None:
        far = self.polling()
        far.say(Leave(""))
        assert self.texts_in(self.one(far)) == []
        assert self.connections() == 0
        assert closed_by(self.one(self.connect("forged"))) == Close(INVALID_TOKEN)

    def test_in_good_order_is_no_code(self) -> None:
        far = self.polling()
        self.end(far, NORMAL)
        assert self.texts_in(self.one(far)) == []


class TestRefusals(PollCase):
    def test_by_origin(self) -> None:
        self.stand(origins=["https://app.example.com"])
        far = PollingPage(self.door, self.create(), "p", self.pipe())
        request = far.request("application/json", "")
        request.origin = b"https://evil.example"
        far.ask(request)
        answer = self.one(far)
        assert (answer.status, answer.json["close_code"]) == (403, ORIGIN_NOT_ALLOWED)

    def test_of_a_lost_place(self) -> None:
        token = self.create()
        loser = self.ready(token, "loser")
        self.ready(token, "holder")
        loser.poll(loser.cursor)
        answer = self.one(loser)
        assert (answer.status, answer.json["close_code"]) == (409, REPLACED)

    def test_without_a_token(self) -> None:
        far = PollingPage(self.door, "", "p", self.pipe())
        request = far.request("application/json", "")
        request.authorization = b""
        far.ask(request)
        answer = self.one(far)
        assert (answer.status, answer.json["close_code"]) == (401, INVALID_TOKEN)

    def test_of_who_has_gone_meanwhile_are_written_nowhere(self) -> None:
        token = self.create()
        self.store.full = True
        far = self.connect(token)
        far.pipe.drop()
        self.clock.turn()
        assert far.answers() == []


class TestWhatThePageSays(PollCase):
    """W3 by POST, between and during polls."""

    def test_an_acknowledgement_during_a_poll_counts(self) -> None:
        far = self.ready()
        self.send("0", "1")
        far.poll(far.cursor)
        first, _ = self.one(far).json["messages"]
        far.say(Ack(first["id"]))
        self.clock.turn()
        assert self.kept() == ["1"]
        assert far.answers() == []

    def test_a_fresh_token_holds_for_the_poll_that_is_open(self) -> None:
        far = self.polling(self.create(seconds=20))
        far.say(FreshToken(self.create(seconds=600)))
        assert far.posted[0].status == 204
        self.clock.advance(21)
        assert far.answers() == []
        self.send("hello")
        answer = self.one(far)
        assert self.texts_in(answer) == ["hello"]
        assert answer.json["expires_in"] == 579

    def test_an_acknowledgement_after_the_poll_was_lost_counts(self) -> None:
        far = self.polling()
        self.send("0")
        id = self.one(far).json["messages"][0]["id"]
        self.clock.advance(TIMEOUT + 0.1)
        assert self.connections() == 0
        far.say(Ack(id))
        self.clock.turn()
        assert self.kept() == []

    def test_a_leave_between_two_polls_frees_the_place(self) -> None:
        token = self.create()
        cursor = format_id(self.signer.verify(token, self.clock.now()).id)
        far = self.ready(token, "loser")
        holder = self.ready(token, "holder")
        holder.say(Leave(""))
        self.clock.turn()
        assert not self.holds_its_place(token, cursor)
        assert far.answers() == []
