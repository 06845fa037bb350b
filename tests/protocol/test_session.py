"""What the server knows of one connection of a page (contract, sections 2 and 3)."""

from __future__ import annotations

import json

import pytest

from pushline.messages import COUNTER_BITS, Message, Policy, format_id
from pushline.protocol.codes import GOING_AWAY, NORMAL, PROTOCOL_ERROR, TOKEN_EXPIRED, TOO_SLOW
from pushline.protocol.frames import Ack, Expiring, FreshToken, Gap, Open, Ping, TokenAccepted
from pushline.protocol.session import BLOCKED_SECONDS, Session
from pushline.protocol.tokens import Claims
from pushline.protocol.values import Acknowledged, Close, Heartbeat, Left, Outgoing, Traffic

NOW = 1000.0
MADE_AT = 1_700_000_000
INTERVAL, TIMEOUT = 25.0, 10.0


def an_id(number: int) -> int:
    """The id of a message: the token's is number 0."""
    return (MADE_AT * 1000 << COUNTER_BITS) + number


def claims(life: int = 7200, *, number: int = 0) -> Claims:
    return Claims("ann", an_id(number), MADE_AT + life, Policy.REPLACE)


def a_session(
    life: int = 7200,
    *,
    expires_in: float | None = None,
    start: int = 0,
    gap: bool = False,
    interval: float = INTERVAL,
    timeout: float = TIMEOUT,
    token: int = 0,
) -> Session:
    return Session(
        claims(life, number=token),
        page="p",
        fence=1,
        start=an_id(start),
        gap=gap,
        beat=Heartbeat(interval, timeout),
        expires_in=life if expires_in is None else expires_in,
        now=NOW,
    )


def live(
    life: int = 7200, *, expires_in: float | None = None, interval: float = INTERVAL, timeout: float = TIMEOUT
) -> Session:
    """A session at the end of its channel, whose ``open`` has been written."""
    session = a_session(life, expires_in=expires_in, interval=interval, timeout=timeout)
    session.feed([], session.position, gap=None, complete=True)
    session.outgoing()
    return session


def message(number: int, previous: int | None = None) -> Message:
    return Message(an_id(number), an_id(number - 1 if previous is None else previous), b"%d" % number)


def ack(session: Session, number: int, now: float = NOW) -> object:
    return session.receive(json.dumps({"type": "ack", "id": format_id(an_id(number))}), now)


def feed(session: Session, *messages: Message) -> bool:
    """Feed all that the store has. True: the session is behind all the same."""
    upto = messages[-1].id if messages else session.position
    session.feed(messages, upto, gap=None, complete=True)
    return session.behind


def out(session: Session) -> list[Outgoing]:
    return session.outgoing() or []


def numbers(items: list[Outgoing]) -> list[int]:
    return [item.id - an_id(0) for item in items if isinstance(item, Message)]


class TestOpening:
    """W2: ``open`` is the first frame."""

    def test_it_says_who_it_is_for_and_where_it_begins(self) -> None:
        session = a_session(start=7, gap=True, interval=25.0, timeout=0.5)
        assert out(session) == [
            Open(client_id="ann", cursor=format_id(an_id(7)), gap=True, ping=25, timeout=0.5, expires_in=7200)
        ]

    def test_it_comes_before_any_message(self) -> None:
        session = a_session()
        session.feed([message(1)], an_id(1), gap=None, complete=True)
        first, second = out(session)
        assert isinstance(first, Open)
        assert second == message(1)

    def test_what_goes_out_is_handed_over_once(self) -> None:
        session = a_session()
        assert session.outgoing() is not None
        assert session.outgoing() is None

    def test_a_token_that_is_over_in_a_moment_ends_in_no_seconds(self) -> None:
        (opened,) = out(a_session(expires_in=-0.7))
        assert isinstance(opened, Open)
        assert opened.expires_in == 0


class TestDelivery:
    """G2 and G3: in order, once, and nothing is left out."""

    def test_a_message_that_follows_goes_out_at_once(self) -> None:
        session = live()
        assert session.deliver(message(1))
        assert session.deliver(message(2))
        assert numbers(out(session)) == [1, 2]
        assert session.position == an_id(2)

    def test_a_message_behind_a_token_follows_too_when_that_was_read(self) -> None:
        session = live()
        session.feed([], an_id(1), gap=None, complete=True)
        assert session.deliver(message(2, previous=1))

    def test_a_message_that_it_has_does_not_come_twice(self) -> None:
        session = live()
        session.deliver(message(1))
        out(session)
        assert session.deliver(message(1))
        assert out(session) == []

    def test_a_message_behind_a_hole_waits_for_the_store(self) -> None:
        session = live()
        assert not session.deliver(message(3))
        assert session.behind
        assert out(session) == []

    def test_what_comes_while_it_is_behind_waits_too(self) -> None:
        session = a_session()
        assert session.behind
        assert not session.deliver(message(1))

    def test_a_page_that_takes_no_more_is_behind(self) -> None:
        session = live()
        session.writable = False
        assert not session.deliver(message(1))
        assert session.behind

    def test_a_connection_that_is_closed_takes_nothing(self) -> None:
        session = live()
        session.close(NORMAL)
        assert not session.deliver(message(1))
        assert out(session) == [Close(NORMAL)]


class TestFeeding:
    """What the store has is joined with what comes live by the id alone."""

    def test_it_has_caught_up_when_nothing_is_waiting(self) -> None:
        session = a_session()
        session.feed([message(1), message(2)], an_id(2), gap=None, complete=True)
        assert not session.behind
        assert numbers(out(session)) == [1, 2]

    def test_it_reads_on_while_something_is_waiting(self) -> None:
        session = a_session()
        session.feed([message(1)], an_id(1), gap=None, complete=False)
        assert session.behind

    def test_it_reads_on_when_a_message_came_while_the_store_was_reading(self) -> None:
        session = a_session()
        session.deliver(message(2))
        assert feed(session, message(1))
        assert not feed(session, message(2))
        assert numbers(out(session)) == [1, 2]

    def test_it_reads_on_when_messages_may_have_passed_it_by_while_the_store_was_reading(self) -> None:
        session = live()
        session.feeding = True
        session.missed()
        session.feeding = False
        assert feed(session)
        assert not feed(session)

    def test_it_reads_once_when_messages_may_have_passed_it_by(self) -> None:
        session = live()
        session.missed()
        assert session.behind
        assert not feed(session)

    def test_what_it_has_already_does_not_come_twice(self) -> None:
        session = a_session(start=2)
        session.feed([message(1), message(2), message(3)], an_id(3), gap=None, complete=True)
        assert numbers(out(session)) == [3]

    def test_its_position_reaches_over_ids_without_a_message(self) -> None:
        session = a_session()
        session.feed([message(1)], an_id(5), gap=None, complete=True)
        assert session.position == an_id(5)

    def test_its_position_never_goes_back(self) -> None:
        session = a_session(start=5)
        session.feed([], an_id(3), gap=an_id(2), complete=True)
        assert session.position == an_id(5)
        assert len(out(session)) == 1

    def test_a_gap_is_told_before_what_is_there_and_moves_the_cursor(self) -> None:
        session = live()
        session.feed([message(3)], an_id(3), gap=an_id(2), complete=True)
        assert out(session) == [Gap(cursor=format_id(an_id(2))), message(3)]

    def test_a_gap_alone_moves_the_cursor(self) -> None:
        session = live()
        session.feed([], an_id(2), gap=an_id(2), complete=True)
        assert out(session) == [Gap(cursor=format_id(an_id(2)))]
        assert ack(session, 2) == Acknowledged(an_id(2))

    def test_a_connection_that_is_closed_is_not_fed(self) -> None:
        session = live()
        session.close(NORMAL)
        session.feed([message(1)], an_id(1), gap=an_id(1), complete=True)
        assert out(session) == [Close(NORMAL)]


class TestAcknowledging:
    """W3, and Retention: what was not sent to this page is not acknowledged."""

    def test_a_page_acknowledges_what_it_was_sent(self) -> None:
        session = live()
        session.deliver(message(1))
        assert ack(session, 1) == Acknowledged(an_id(1))

    def test_the_same_id_is_acknowledged_once(self) -> None:
        session = live()
        session.deliver(message(1))
        session.deliver(message(2))
        ack(session, 2)
        assert ack(session, 2) is None
        assert ack(session, 1) is None

    def test_what_was_not_sent_yet_is_not_acknowledged(self) -> None:
        session = live()
        session.deliver(message(1))
        assert ack(session, 2) is None
        assert session.deliver(message(2))
        assert ack(session, 2) == Acknowledged(an_id(2))

    def test_where_it_began_is_not_acknowledged_again(self) -> None:
        assert ack(live(), 0) is None

    def test_an_empty_id_acknowledges_nothing(self) -> None:
        session = live()
        session.deliver(message(1))
        assert session.receive('{"type":"ack","id":""}', NOW) is None
        assert not session.closed

    def test_a_page_that_leaves_acknowledges(self) -> None:
        session = live()
        session.deliver(message(1))
        text = json.dumps({"type": "leave", "id": format_id(an_id(1))})
        assert session.receive(text, NOW) == Left(an_id(1))
        assert session.outgoing() == [message(1), Close(NORMAL)]
        assert session.receive(text, NOW) is None

    def test_a_page_that_leaves_before_any_message_acknowledges_nothing(self) -> None:
        assert live().receive('{"type":"leave","id":""}', NOW) == Left(0)

    def test_a_fresh_token_is_handed_on(self) -> None:
        assert live().receive('{"type":"token","token":"x"}', NOW) == FreshToken("x")

    @pytest.mark.parametrize(
        "text",
        ["", "hello", "{}", '{"type":"subscribe"}', '{"type":"ack"}', '{"type":"ack","id":"1"}', b"\xff", "[]"],
    )
    def test_anything_else_ends_the_connection_with_4400(self, text: str | bytes) -> None:
        session = live()
        assert session.receive(text, NOW) is None
        assert session.closed
        assert out(session) == [Close(PROTOCOL_ERROR)]

    def test_a_connection_that_is_closed_hears_nothing(self) -> None:
        session = live()
        session.deliver(message(1))
        session.close(NORMAL)
        assert ack(session, 1) is None
        assert session.handle(Ack(format_id(an_id(1))), NOW) is None


class TestHeartbeat:
    """W4: one ping for all transports."""

    def beat(self, session: Session) -> list[Outgoing]:
        """Let the session do what is due at its deadline."""
        self.now = session.deadline
        session.tick(self.now)
        return out(session)

    def test_it_pings_after_each_interval(self) -> None:
        session = live()
        assert session.deadline == NOW + INTERVAL
        session.tick(NOW + INTERVAL - 0.1)
        assert out(session) == []
        assert self.beat(session) == [Ping()]

    def test_an_answer_keeps_the_connection(self) -> None:
        session = live()
        for _ in range(10):
            assert self.beat(session) == [Ping()]
            session.receive('{"type":"ack","id":""}', self.now + 1)
            assert session.deadline == self.now + 1 + INTERVAL

    def test_an_acknowledgement_between_pings_does_not_put_off_the_next(self) -> None:
        session = live()
        session.receive('{"type":"ack","id":""}', NOW + 20)
        assert session.deadline == NOW + INTERVAL

    def test_no_answer_within_the_timeout_ends_the_connection(self) -> None:
        session = live()
        self.beat(session)
        assert session.deadline == NOW + INTERVAL + TIMEOUT
        assert self.beat(session) == [Close(GOING_AWAY)]

    def test_a_pong_alone_keeps_the_connection_and_the_rhythm(self) -> None:
        session = live()
        for number in range(1, 5):
            assert self.beat(session) == [Ping()]
            assert self.now == NOW + number * INTERVAL
            session.pong()
            assert self.beat(session) == []
            assert not session.closed

    def test_a_pong_answers_only_the_last_ping(self) -> None:
        session = live()
        session.pong()
        self.beat(session)
        session.pong()
        self.beat(session)
        self.beat(session)
        assert self.beat(session) == [Close(GOING_AWAY)]

    def test_pongs_alone_keep_it_for_about_five_minutes(self) -> None:
        session = live()
        while not session.closed:
            self.beat(session)
            session.pong()
        assert BLOCKED_SECONDS <= self.now - NOW < BLOCKED_SECONDS + INTERVAL + TIMEOUT

    def test_an_answer_begins_the_five_minutes_anew(self) -> None:
        session = live()
        answered = 0.0
        for _ in range(30):
            self.beat(session)
            session.pong()
            if self.now - max(NOW, answered) > 250:
                session.receive('{"type":"ack","id":""}', self.now)
                answered = self.now
        assert not session.closed

    def test_pongs_keep_it_when_the_timeout_is_longer_than_the_interval(self) -> None:
        session = live(interval=5, timeout=10)
        assert self.beat(session) == [Ping()]
        session.pong()
        assert self.beat(session) == []
        assert self.beat(session) == [Ping()]

    def test_what_is_closed_does_not_tick(self) -> None:
        session = live()
        session.close(NORMAL)
        out(session)
        session.tick(NOW + 100_000)
        assert out(session) == []


class TestProbes:
    """W4: the page is asked now, not only when the next ping is due."""

    def test_a_page_is_asked_and_has_the_timeout_to_answer(self) -> None:
        session = live()
        session.probe(NOW + 5, Traffic())
        assert out(session) == [Ping()]
        assert session.deadline == NOW + 5 + TIMEOUT
        session.tick(NOW + 5 + TIMEOUT)
        assert out(session) == [Close(GOING_AWAY)]

    def test_an_answer_begins_a_new_interval(self) -> None:
        session = live()
        session.probe(NOW + 5, Traffic())
        session.receive('{"type":"ack","id":""}', NOW + 6)
        assert session.deadline == NOW + 6 + INTERVAL

    def test_a_page_that_owes_an_answer_is_asked_again_and_gets_no_more_time(self) -> None:
        session = live()
        session.probe(NOW, Traffic())
        session.probe(NOW + 9, Traffic())
        assert out(session) == [Ping(), Ping()]
        assert session.deadline == NOW + TIMEOUT

    def test_what_it_takes_meanwhile_counts_from_the_moment_it_was_asked(self) -> None:
        session = live()
        session.probe(NOW, Traffic(1000, 500))
        session.tick(NOW + TIMEOUT, Traffic(1100, 400))
        assert out(session) == [Ping(), Ping()]
        assert session.deadline == NOW + 2 * TIMEOUT

    def test_what_is_closed_is_not_asked(self) -> None:
        session = live()
        session.close(NORMAL)
        session.probe(NOW, Traffic())
        assert out(session) == [Close(NORMAL)]


class TestProgress:
    """G10: any progress counts as life; none for the ping timeout ends the connection."""

    def test_a_page_that_takes_some_of_what_was_on_its_way_is_asked_again(self) -> None:
        session = live()
        session.tick(NOW + INTERVAL, Traffic(0, 100))
        now, traffic = NOW + INTERVAL, Traffic(0, 100)
        for _ in range(50):
            now, traffic = now + TIMEOUT, Traffic(traffic.taken + 1, 100)
            session.tick(now, traffic)
        assert not session.closed
        session.tick(now + TIMEOUT, traffic)
        assert out(session)[-1] == Close(TOO_SLOW)

    def test_bytes_that_were_taken_before_it_was_asked_are_no_life(self) -> None:
        session = live()
        session.tick(NOW + INTERVAL, Traffic(1000, 0))
        session.tick(NOW + INTERVAL + TIMEOUT, Traffic(1017, 0))  # the kernel at the other end took the ping
        assert out(session)[-1] == Close(GOING_AWAY)

    def test_a_page_that_takes_no_more_has_the_timeout(self) -> None:
        session = live()
        session.blocked(NOW + 3, Traffic(0, 100))
        assert not session.writable
        assert session.deadline == NOW + 3 + TIMEOUT
        session.tick(NOW + 3 + TIMEOUT, Traffic(0, 100))
        assert out(session) == [Close(TOO_SLOW)]

    def test_a_page_that_takes_no_more_while_it_is_asked_has_no_more_time_and_may_make_progress(self) -> None:
        session = live()
        session.tick(NOW + INTERVAL, Traffic(0, 0))
        session.blocked(NOW + INTERVAL + 1, Traffic(10, 100))
        assert session.deadline == NOW + INTERVAL + TIMEOUT
        session.tick(NOW + INTERVAL + TIMEOUT, Traffic(20, 90))
        assert not session.closed

    def test_a_page_that_was_asked_with_something_on_its_way_is_measured_from_there(self) -> None:
        session = live()
        session.tick(NOW + INTERVAL, Traffic(0, 50))
        session.blocked(NOW + INTERVAL + 1, Traffic(10, 100))
        session.tick(NOW + INTERVAL + TIMEOUT, Traffic(10, 100))
        assert not session.closed

    def test_a_page_that_reads_again_is_asked_whether_it_is_there(self) -> None:
        session = live()
        session.blocked(NOW, Traffic(0, 100))
        session.writable = True
        session.tick(NOW + TIMEOUT, Traffic(100, 0))
        assert out(session) == [Ping()]
        session.tick(NOW + 2 * TIMEOUT, Traffic(117, 0))
        assert out(session) == [Close(GOING_AWAY)]


class TestWhatItWasGiven:
    """G6: what an acknowledgement speaks of."""

    def test_begins_behind_its_start_and_ends_where_it_stands(self) -> None:
        session = a_session(start=5)
        session.deliver(message(6))
        feed(session, message(6), message(7))
        assert [session.given(an_id(n)) for n in range(4, 9)] == [False, False, True, True, False]

    def test_is_handled_when_it_says_so(self) -> None:
        session = a_session(start=5)
        feed(session, message(6), message(7))
        assert not session.handled(an_id(5))
        ack(session, 6)
        assert [session.handled(an_id(n)) for n in range(4, 9)] == [False, False, True, False, False]


class TestExpiry:
    """G9 and W2: a notice, then the end."""

    def test_it_is_closed_at_the_second_at_which_its_token_expires(self) -> None:
        session = live(10)
        session.tick(NOW + 9.999)
        assert not session.closed
        session.tick(NOW + 10)
        assert out(session)[-1] == Close(TOKEN_EXPIRED)

    def test_its_deadline_is_the_expiry_when_that_is_next(self) -> None:
        session = live(10)
        session.tick(session.deadline)
        assert session.deadline == NOW + 10

    @pytest.mark.parametrize(("life", "notice"), [(60, 6.0), (600, 60.0), (7200, 60.0), (86_400, 60.0)])
    def test_a_notice_comes_a_tenth_of_the_life_before_and_at_most_a_minute(self, life: int, notice: float) -> None:
        session = live(life, interval=1e9)
        remaining = NOW + life - session.deadline
        assert notice * 0.7 <= remaining <= notice
        session.tick(session.deadline)
        assert out(session) == [Expiring(expires_in=int(remaining))]
        assert session.deadline == NOW + life

    def test_a_page_is_never_promised_a_second_too_many(self) -> None:
        # a token lasts until a whole second, so at its making up to one more than was asked for
        (opened,) = out(a_session(7200, expires_in=7200.9))
        assert isinstance(opened, Open)
        assert opened.expires_in == 7200

    def test_the_life_is_the_tokens_and_not_the_connections(self) -> None:
        session = live(7200, expires_in=100.0, interval=1e9)
        assert 45 <= NOW + 100 - session.deadline <= 60

    def test_a_page_that_connects_within_the_notice_is_told_at_once(self) -> None:
        session = live(7200, expires_in=20.0)
        assert session.deadline <= NOW
        session.tick(NOW)
        assert out(session) == [Expiring(expires_in=20)]

    def test_a_clock_that_was_ahead_when_the_token_was_made_spoils_no_notice(self) -> None:
        session = live(-5000, expires_in=600.0, interval=1e9)
        assert 45 <= NOW + 600 - session.deadline <= 60

    def test_notices_of_tokens_made_together_are_spread(self) -> None:
        deadlines = {a_session(token=number, interval=1e9).deadline for number in range(100)}
        assert len(deadlines) == 100

    def test_a_notice_is_given_once(self) -> None:
        session = live(7200, interval=1e9)
        session.tick(session.deadline)
        out(session)
        session.tick(NOW + 7199)
        assert out(session) == []

    def test_a_ping_and_a_notice_may_come_together(self) -> None:
        session = live(7200)
        session.tick(NOW + 7190)
        assert out(session) == [Expiring(expires_in=10), Ping()]

    def test_a_fresh_token_moves_the_end_and_is_answered(self) -> None:
        session = live(60, interval=1e9)
        session.tick(session.deadline)
        out(session)
        session.refresh(claims(7200, number=1), 7200.0, NOW + 59)
        assert out(session) == [TokenAccepted(expires_in=7200)]
        assert session.token_of(an_id(2)) == an_id(1)
        assert session.token_of(an_id(1)) == an_id(0)
        session.tick(NOW + 60)
        assert not session.closed
        session.tick(session.deadline)
        (notice,) = out(session)
        assert isinstance(notice, Expiring)


class TestTheEnd:
    """W8."""

    def test_a_close_comes_after_what_is_on_its_way(self) -> None:
        session = live()
        session.deliver(message(1))
        session.close(GOING_AWAY, retry=500)
        assert out(session) == [message(1), Close(GOING_AWAY, 500)]

    def test_the_first_close_counts(self) -> None:
        session = live()
        session.close(NORMAL)
        session.close(PROTOCOL_ERROR)
        assert out(session) == [Close(NORMAL)]

    @pytest.mark.parametrize(("retry", "reason"), [(None, ""), (0, "retry=0"), (1500, "retry=1500")])
    def test_the_reason_says_when_to_come_back(self, retry: int | None, reason: str) -> None:
        assert Close(GOING_AWAY, retry).reason == reason
