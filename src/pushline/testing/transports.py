"""What every transport promises, as tests: a new transport's test file is a subclass that connects a page through it.

::

    class TestMyTransport(TransportConformance):
        def connect(self, token: str, page: str = "p", after: str | None = None) -> MyPage:
            ...  # a FarEnd that has asked self.door, over self.pipe()

:class:`StreamConformance` has what those promise besides that hold one connection for as long as the page receives.
The transport stands on a hub with a memory store and a clock that is moved by hand. No socket, no loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec
import pytest

from pushline.http.page import Origins
from pushline.http.request import Request
from pushline.http.responses import Encoder
from pushline.http.values import Response
from pushline.hub import CONTEST_SECONDS, Hub, Outlet
from pushline.messages import Append, Policy, format_id
from pushline.protocol.codes import (
    DISCONNECTED,
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    NORMAL,
    REPLACED,
    TOKEN_EXPIRED,
    TOO_MANY,
    TOO_SLOW,
)
from pushline.protocol.frames import Ack, Down, Expiring, FreshToken, Gap, Leave, Open, Ping, TokenAccepted, Up
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.protocol.values import Close, Heartbeat
from pushline.stores.base import Retention
from pushline.testing.clock import FakeClock
from pushline.testing.pipe import MemoryPipe
from pushline.testing.store import FillableStore
from pushline.transports.base import CLOSE_SECONDS, Door
from pushline.transports.door import CONNECT, answer

GRACE = 3.0
INTERVAL = 25.0
TIMEOUT = 10.0
SECRETS = ("the secret of the tests",)

Received = Down | Close | tuple[str, str]
"""What a page receives: a frame, the end, or a message as its id and text."""


class FarEnd(ABC):
    """The page's side of one connection, as the tests see it: ``pipe`` is the connection's, ``transport`` the server's
    side of it.
    """

    pipe: MemoryPipe
    transport: Outlet

    @abstractmethod
    def receive(self) -> list[Received]:
        """All that has come since it was last asked."""

    @abstractmethod
    def say(self, frame: Up) -> None:
        """Send a frame."""

    @abstractmethod
    def close(self) -> None:
        """End the page's side of the connection, or answer the end that the server has sent."""

    def is_over(self) -> bool:
        """Whether the server has cut the connection."""
        return self.pipe.closed

    # -- what tests ask about what came --------------------------------------------------------------------------

    def texts(self) -> list[str]:
        """The texts of the messages that came."""
        return [item[1] for item in self.receive() if isinstance(item, tuple)]

    def last(self) -> Received | None:
        """The last of what came."""
        items = self.receive()
        return items[-1] if items else None


class HttpPage(FarEnd):
    """The page's side of a transport on which nothing goes up: what the page says goes by POST (W3)."""

    def __init__(self, door: Door, token: str, page: str) -> None:
        self.door = door
        self.token = token
        self.page = page
        self.posted: list[Response] = []
        """The answers to what it has said."""

    def request(self, accept: str, query: str, after: str | None = None) -> Request:
        """What it asks for, as a front hands it on."""
        request = Request()
        request.method = b"GET"
        request.path = CONNECT
        request.query = f"page={self.page}{query}".encode()
        request.accept = accept.encode()
        request.authorization = f"Bearer {self.token}".encode()
        request.last_event_id = (after or "").encode()
        return request

    def say(self, frame: Up) -> None:
        """See :class:`FarEnd`."""
        request = Request()
        request.method = b"POST"
        request.path = CONNECT
        request.content_type = b"text/plain;charset=UTF-8"
        # A fresh token stands for itself, in the place of the one that admits other frames.
        admits = {"token": self.token, "page": self.page}
        request.body = msgspec.json.encode(admits | msgspec.to_builtins(frame))
        posted = answer(self.door, request, self.pipe, Encoder(self.door.clock.now))
        assert isinstance(posted, Response)
        self.posted.append(posted)


class TransportCase:
    """The stage alone, for tests of what one transport promises besides."""

    def connect(self, token: str, page: str = "p", after: str | None = None) -> FarEnd:
        """A page that has asked for a connection: the hub answers at the end of the turn."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _stage(self) -> None:
        self.stand()

    def make_clock(self) -> FakeClock:
        """The clock of a new stage."""
        return FakeClock()

    def stand(self, *, origins: Sequence[str] = (), connect_rate: float = 0.0) -> None:
        """Set the stage anew."""
        self.clock = self.make_clock()
        self.store = FillableStore(Retention(messages=50))
        self.signer = TokenSigner(SECRETS)
        self.hub = Hub(
            self.store,
            self.clock,
            self.signer,
            heartbeat=Heartbeat(INTERVAL, TIMEOUT),
            grace=GRACE,
            random=lambda: 0.25,
            connect_rate=connect_rate,
        )
        self.door = Door(self.hub, self.clock, Origins(origins))
        self.statuses: list[str] = []
        self.failures: list[Exception] = []

    def pipe(self) -> MemoryPipe:
        """A connection on which nothing was said yet."""
        return MemoryPipe(asyncio.Protocol(), call_soon=self.clock.call_soon)

    # -- the application -----------------------------------------------------------------------------------------

    def create(self, seconds: int = 7200, policy: Policy = Policy.REPLACE, client_id: str = "ann") -> str:
        """A token."""
        tokens: list[str] = []

        def created(token: str, claims: Claims) -> None:
            tokens.append(token)

        self.hub.create_channel(client_id, seconds, policy, created, self.failures.append)
        self.clock.turn()
        return tokens[0]

    def send(self, *texts: str) -> list[str]:
        """Send messages in one turn; what became of each."""
        del self.statuses[:]
        for text in texts:
            self.hub.send(Append("ann", text.encode()), self._sent, self.failures.append)
        self.clock.turn()
        return self.statuses

    def _sent(self, id: int | None, status: str) -> None:
        self.statuses.append(status)

    def kept(self) -> list[str]:
        """What the store keeps."""
        return [message.data.decode() for message in self.store.read("ann", 0, self.clock.now()).messages]

    # -- pages ---------------------------------------------------------------------------------------------------

    def opened(self, token: str | None = None, page: str = "p", after: str | None = None) -> FarEnd:
        """A page that is connected and has read its ``open``."""
        far = self.connect(token or self.create(), page, after)
        self.clock.turn()
        first, *rest = far.receive()
        assert isinstance(first, Open)
        assert not rest
        self.clock.turn()  # a page may ask anew as soon as it has read
        return far

    def connections(self) -> int:
        """How many connections the hub knows."""
        return self.hub.counters.connections

    def everything(self, far: FarEnd) -> list[Received]:
        """All that comes when the page reads on until nothing more comes."""
        items: list[Received] = []
        while came := far.receive():
            items += came
            self.clock.turn()
        return items

    def stall(self, far: FarEnd) -> None:
        """Send until the page's connection is full."""
        for _ in range(100):
            if self.send("x" * 20_000) == ["queued"]:
                return
        pytest.fail("the connection was never full")

    def end(self, far: FarEnd, code: int = DISCONNECTED) -> None:
        """The server ends the connection of a page."""
        far.transport.session.close(code)
        far.transport.flush()

    def holds_its_place(self, token: str, cursor: str) -> bool:
        """Whether a page that lost its place is refused when it comes back."""
        far = self.connect(token, "loser", cursor)
        self.clock.turn()
        return far.last() == Close(REPLACED)


class Writing(TransportCase):
    """What the session yields is written in order and at once, in one write when it came in one turn."""

    def test_the_first_frame_is_open(self) -> None:
        far = self.connect(self.create())
        self.clock.turn()
        (first,) = far.receive()
        assert isinstance(first, Open)
        assert (first.client_id, first.gap, first.ping, first.timeout, first.expires_in) == ("ann", False, 25, 10, 7200)

    def test_what_waits_comes_behind_it(self) -> None:
        token = self.create()
        self.send("0", "1")
        far = self.connect(token)
        self.clock.turn()
        first, *rest = far.receive()
        assert isinstance(first, Open)
        assert [item[1] for item in rest if isinstance(item, tuple)] == ["0", "1"]

    def test_a_message_comes_with_its_id_and_as_it_was_sent(self) -> None:
        far = self.opened()
        texts = [" ", "grüße 🎲\r\n\0end", '{"type":"ping"}', "x" * 32767]
        for text in texts:
            assert self.send(text) == ["sent"]
            ((id, came),) = far.receive()  # type: ignore[misc]
            assert came == text
            far.say(Ack(id))
            self.clock.turn()
            assert self.kept() == []

    def test_messages_of_one_turn_are_one_write(self) -> None:
        far = self.opened()
        before = far.pipe.writes
        assert self.send(*"01234") == ["sent"] * 5
        assert far.pipe.writes == before + 1
        assert far.texts() == list("01234")

    def test_a_gap_arrives_before_what_is_there(self) -> None:
        far = self.opened()
        self.stall(far)
        for n in range(200):
            self.send(str(n))
        items = self.everything(far)
        place = next(n for n, item in enumerate(items) if isinstance(item, Gap))
        gap = items[place]
        assert isinstance(gap, Gap)
        rest = items[place + 1 :]
        assert rest
        assert all(isinstance(item, tuple) for item in rest)
        assert items[-1][1] == "199"  # type: ignore[index]

    def test_a_page_that_reads_slowly_gets_everything_in_order_and_once(self) -> None:
        far = self.opened()
        self.stall(far)
        sent = 0
        for n in range(10):
            assert self.send(str(n)) == ["queued"]
            sent += 1
        texts = [item[1] for item in self.everything(far) if isinstance(item, tuple)]
        assert texts[-sent:] == [str(n) for n in range(sent)]
        assert texts[:-sent] == ["x" * 20_000] * (len(texts) - sent)
        assert self.send("live") == ["sent"]
        assert far.texts() == ["live"]

    def test_a_page_that_reads_slowly_does_not_fill_the_servers_memory(self) -> None:
        token = self.create()
        for n in range(40):
            self.send(str(n) * 10_000)
        far = self.connect(token)
        self.clock.turn()
        assert len(far.pipe.take()) < 3 << 16

    def test_a_page_that_takes_nothing_for_the_ping_timeout_is_disconnected(self) -> None:
        far = self.opened()
        self.stall(far)
        self.clock.advance(TIMEOUT - 0.1)
        assert self.connections() == 1
        self.clock.advance(0.2)
        assert self.connections() == 0
        assert far.transport.session.closed

    def test_a_page_that_takes_some_of_it_is_alive(self) -> None:
        far = self.opened()
        self.stall(far)
        for _ in range(5):
            self.clock.advance(TIMEOUT - 1)
            far.pipe.take(1000)
        assert self.connections() == 1


class Reading(TransportCase):
    """Frames of the page go to the hub, and pongs to the session."""

    def test_an_acknowledgement_arrives(self) -> None:
        far = self.opened()
        self.send("0")
        ((id, _),) = far.receive()  # type: ignore[misc]
        assert self.send("1") == ["sent"]
        far.say(Ack(id))
        self.clock.turn()
        assert self.kept() == ["1"]

    def test_a_page_that_answers_pings_stays(self) -> None:
        far = self.opened()
        for _ in range(20):
            self.clock.advance(INTERVAL)
            assert far.receive() == [Ping()]
            far.say(Ack(""))
        assert self.connections() == 1

    def test_a_page_that_does_not_answer_is_gone(self) -> None:
        far = self.opened()
        self.clock.advance(INTERVAL + TIMEOUT - 0.1)
        assert self.connections() == 1
        self.clock.advance(0.2)
        assert self.connections() == 0
        assert far.receive()[0] == Ping()


class Ending(TransportCase):
    """Nothing is written behind the end, and the hub is told once that a connection is over."""

    def test_the_end_comes_after_what_is_on_its_way(self) -> None:
        far = self.opened()
        self.send("last")
        self.hub.close(4.0)
        (_, text), end = self.everything(far)  # type: ignore[misc]
        assert text == "last"
        assert end == Close(GOING_AWAY, 1000)

    def test_nothing_comes_after_the_end(self) -> None:
        token = self.create()
        far = self.opened(token)
        self.opened(token, "q")
        assert far.receive() == [Close(REPLACED)]
        self.send("hello")
        self.clock.advance(1)
        assert far.receive() == []

    def test_the_hub_is_told_at_once_when_the_server_ends_it(self) -> None:
        far = self.opened()
        self.end(far)
        assert self.connections() == 0
        assert self.send("hello") == ["queued"]
        assert far.receive() == [Close(DISCONNECTED)]

    def test_a_connection_that_breaks_is_told_once(self) -> None:
        token = self.create(policy=Policy.SHARE)
        far, other = self.opened(token, "p"), self.opened(token, "q")
        far.pipe.drop()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 1
        assert self.send("hello") == ["sent"]
        assert other.texts() == ["hello"]

    def test_a_connection_that_breaks_after_its_end_is_told_once(self) -> None:
        token = self.create(policy=Policy.SHARE)
        far = self.opened(token, "p")
        self.opened(token, "q")
        self.end(far)
        far.pipe.drop()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 1

    def test_a_page_that_closes_is_told_once_and_the_connection_ends(self) -> None:
        token = self.create(policy=Policy.SHARE)
        far = self.opened(token, "p")
        self.opened(token, "q")
        far.close()
        self.clock.turn()
        assert self.connections() == 1
        assert far.is_over()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 1

    def test_a_page_whose_token_expires_is_closed_at_that_second(self) -> None:
        far = self.opened(self.create(seconds=20))
        self.clock.advance(19.9)
        assert self.connections() == 1
        self.clock.advance(0.2)
        assert far.last() == Close(TOKEN_EXPIRED)


class Leaving(TransportCase):
    """How a page leaves decides for how long it keeps its place (G7)."""

    def holder(self) -> tuple[str, str, FarEnd]:
        """A page that has replaced another one, while that was away."""
        token = self.create()
        cursor = format_id(self.signer.verify(token, self.clock.now()).id)
        loser = self.opened(token, "loser")
        loser.pipe.drop()
        self.clock.turn()
        return token, cursor, self.opened(token, "holder")

    def test_a_page_that_says_that_it_leaves_leaves_its_place_free(self) -> None:
        token, cursor, far = self.holder()
        far.say(Leave(""))
        far.pipe.drop()
        self.clock.turn()
        assert not self.holds_its_place(token, cursor)

    def test_a_page_that_vanishes_keeps_its_place_for_a_while(self) -> None:
        token, cursor, far = self.holder()
        far.pipe.drop()
        self.clock.turn()
        assert self.holds_its_place(token, cursor)
        self.clock.advance(GRACE)
        assert not self.holds_its_place(token, cursor)


class Refusing(TransportCase):
    """A refusal reaches the page with its code, and nothing is left of the connection."""

    def refused(self, far: FarEnd, code: int, retry: int | None = None) -> None:
        self.clock.turn()
        assert far.receive() == [Close(code, retry)]
        assert self.connections() == 0
        assert self.hub.counters.connections_refused == 1

    def test_a_token_that_is_forged(self) -> None:
        self.refused(self.connect("forged"), INVALID_TOKEN)

    def test_a_token_that_has_expired(self) -> None:
        token = self.create(seconds=1)
        self.clock.advance(1)
        self.refused(self.connect(token), TOKEN_EXPIRED)

    def test_a_page_that_lost_its_place(self) -> None:
        token = self.create()
        cursor = format_id(self.signer.verify(token, self.clock.now()).id)
        self.opened(token, "p")
        holder = self.opened(token, "q")
        far = self.connect(token, "p", cursor)
        self.clock.turn()
        assert far.receive() == [Close(REPLACED)]
        assert holder.receive() == []

    def test_a_page_that_comes_while_the_server_goes_away(self) -> None:
        token = self.create()
        self.hub.close(8.0)
        self.refused(self.connect(token), GOING_AWAY, 2000)

    def test_a_page_that_is_one_too_many(self) -> None:
        self.stand(connect_rate=1)
        token = self.create()
        end = None
        while not isinstance(end, Close):
            far = self.connect(token)
            self.clock.turn()
            end = far.last()
        assert end.code == TOO_MANY
        assert end.retry is not None
        self.clock.advance(end.retry / 1000)
        self.opened(token)

    def test_a_store_that_cannot_keep_the_place(self) -> None:
        token = self.create()
        self.store.full = True
        far = self.connect(token)
        self.clock.turn()
        assert far.receive() == [Close(INTERNAL_ERROR)]
        assert self.connections() == 0

    def test_a_page_that_has_gone_before_it_is_refused(self) -> None:
        token = self.create()
        self.store.full = True
        far = self.connect(token)
        far.pipe.drop()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 0

    def test_a_page_that_has_gone_before_it_could_be_opened(self) -> None:
        token = self.create()
        far = self.connect(token)
        far.pipe.drop()
        self.clock.turn()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 0
        assert self.send("hello") == ["queued"]

    def test_a_page_that_wants_the_place_of_one_that_answers(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.opened(token, "holder")
        far = self.connect(token, "newcomer")
        self.clock.turn()
        assert far.receive() == []
        assert holder.receive() == [Ping()]
        holder.say(Ack(""))
        self.clock.advance(CONTEST_SECONDS)
        assert far.receive() == [Close(REPLACED)]
        assert self.send("hello") == ["sent"]
        assert holder.texts() == ["hello"]

    def test_a_page_that_does_not_answer_loses_its_place_to_another(self) -> None:
        token = self.create(policy=Policy.REJECT)
        self.opened(token, "holder")
        far = self.connect(token, "newcomer")
        self.clock.advance(CONTEST_SECONDS - 0.1)
        assert far.receive() == []
        self.clock.advance(0.1)
        assert isinstance(far.receive()[0], Open)
        assert self.send("hello") == ["sent"]
        assert far.texts() == ["hello"]

    def test_a_page_that_waits_for_a_place_and_goes_takes_none(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.opened(token, "holder")
        far = self.connect(token, "newcomer")
        self.clock.turn()
        far.pipe.drop()
        holder.pipe.drop()
        self.clock.advance(TIMEOUT + GRACE)  # a polling page has the timeout to poll again
        assert self.connections() == 0
        assert isinstance(self.opened(token, "third"), FarEnd)


class TransportConformance(Writing, Reading, Ending, Leaving, Refusing):
    """Everything that :mod:`pushline.transports.base` promises: see the module."""


class Streaming(TransportCase):
    """What is promised by transports that hold one connection: its frames, and an end that is waited for."""

    def test_every_kind_of_frame_arrives(self) -> None:
        far = self.opened(self.create(seconds=100))
        self.clock.advance(INTERVAL)
        assert far.receive() == [Ping()]
        far.say(Ack(""))
        far.say(FreshToken(self.create(seconds=20)))
        self.clock.turn()
        assert far.receive() == [TokenAccepted(expires_in=20)]
        self.clock.advance(19)
        assert any(isinstance(item, Expiring) for item in far.receive())

    def test_a_page_may_acknowledge_some_of_what_came(self) -> None:
        far = self.opened()
        self.send("0", "1", "2")
        _, (second, _), _ = far.receive()  # type: ignore[misc]
        far.say(Ack(second))
        self.clock.turn()
        assert self.kept() == ["2"]

    def test_a_page_that_does_not_answer_is_told_that_it_is_given_up(self) -> None:
        far = self.opened()
        self.clock.advance(INTERVAL + TIMEOUT)
        assert far.receive() == [Ping(), Close(GOING_AWAY)]

    def test_a_page_that_was_too_slow_is_told_so_and_what_it_missed_is_kept(self) -> None:
        token = self.create()
        far = self.opened(token)
        self.stall(far)
        self.clock.advance(TIMEOUT)
        assert far.last() == Close(TOO_SLOW)
        self.clock.advance(CLOSE_SECONDS)
        assert far.is_over()
        assert "x" * 20_000 in self.everything_of(token)

    def everything_of(self, token: str) -> list[str]:
        """The texts that a page gets which begins anew."""
        far = self.connect(token, "another")
        self.clock.turn()
        return [item[1] for item in self.everything(far) if isinstance(item, tuple)]

    def test_a_page_that_says_that_it_leaves_is_told_that_this_was_good_order(self) -> None:
        far = self.opened()
        far.say(Leave(""))
        assert far.receive() == [Close(NORMAL)]
        assert self.connections() == 0

    def test_a_page_that_comes_back_takes_the_place_of_its_older_connection(self) -> None:
        token = self.create()
        older = self.opened(token, "p")
        cursor = format_id(self.signer.verify(token, self.clock.now()).id)
        newer = self.opened(token, "p", cursor)
        assert older.receive() == [Close(NORMAL)]
        assert self.send("hello") == ["sent"]
        assert newer.texts() == ["hello"]
        assert self.connections() == 1

    def test_a_page_that_answers_the_end_is_let_go_at_once(self) -> None:
        far = self.opened()
        self.end(far)
        far.receive()
        assert not far.is_over()
        far.close()
        assert far.is_over()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 0

    def test_a_page_that_does_not_answer_the_end_is_cut_after_some_seconds(self) -> None:
        far = self.opened()
        self.end(far)
        self.clock.advance(CLOSE_SECONDS - 0.1)
        assert not far.is_over()
        self.clock.advance(0.1)
        assert far.is_over()
        assert self.connections() == 0

    def test_a_page_that_answers_a_refusal_is_let_go_at_once(self) -> None:
        far = self.connect("forged")
        self.clock.turn()
        far.receive()
        assert not far.is_over()
        far.close()
        assert far.is_over()

    def test_a_page_that_does_not_answer_a_refusal_is_cut_after_some_seconds(self) -> None:
        far = self.connect("forged")
        self.clock.advance(CLOSE_SECONDS - 0.1)
        assert not far.is_over()
        self.clock.advance(0.1)
        assert far.is_over()

    def test_the_door_knows_how_many_connections_there_are(self) -> None:
        token = self.create(policy=Policy.SHARE)
        ends = [self.drops, self.closes, self.is_ended, self.leaves, self.is_too_slow]
        pages = [self.opened(token, f"p{n}") for n in range(len(ends))]
        refused = self.connect("forged")
        assert self.door.wires == len(ends) + 1
        for page, end in zip(pages, ends, strict=True):
            end(page)
        refused.close()
        self.clock.advance(TIMEOUT + CLOSE_SECONDS)
        assert self.door.wires == 0

    def drops(self, far: FarEnd) -> None:
        far.pipe.drop()

    def closes(self, far: FarEnd) -> None:
        far.close()

    def is_ended(self, far: FarEnd) -> None:
        self.end(far)

    def leaves(self, far: FarEnd) -> None:
        far.say(Leave(""))

    def is_too_slow(self, far: FarEnd) -> None:
        self.stall(far)


class StreamConformance(TransportConformance, Streaming):
    """Everything that a transport promises which holds one connection for as long as the page receives."""
