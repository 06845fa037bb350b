"""What every transport promises, as tests: a new transport's test file is a subclass that connects a page through it.

::

    class TestMyTransport(TransportConformance):
        def connect(self, token: str, page: str = "p", after: str | None = None) -> MyPage:
            ...  # a FarEnd that has asked, over self.pipe()

The transport stands on a hub with a memory store and a clock that is moved by hand. No socket, no loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest

from pushline.errors import StoreFull
from pushline.hub import Hub
from pushline.messages import Policy, format_id
from pushline.protocol.codes import (
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    NORMAL,
    PROTOCOL_ERROR,
    REPLACED,
    TOKEN_EXPIRED,
)
from pushline.protocol.frames import Ack, Down, Expiring, FreshToken, Gap, Leave, Open, Ping, TokenAccepted, Up
from pushline.protocol.session import Close, Heartbeat
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.stores.base import Append, Operation, Outcome, Retention
from pushline.stores.memory import MemoryStore
from pushline.testing.clock import FakeClock
from pushline.testing.pipe import MemoryPipe
from pushline.transports.base import CLOSE_SECONDS

GRACE = 3.0
INTERVAL = 25.0
TIMEOUT = 10.0
SECRETS = ("the secret of the tests",)

Received = Down | Close | tuple[str, str]
"""What a page receives: a frame, the end, or a message as its id and text."""


class FarEnd(ABC):
    """The page's side of one connection, as the tests see it: ``pipe`` is the connection's."""

    pipe: MemoryPipe

    @abstractmethod
    def receive(self) -> list[Received]:
        """All that has come since it was last asked."""

    @abstractmethod
    def say(self, frame: Up) -> None:
        """Send a frame."""

    @abstractmethod
    def say_nonsense(self) -> None:
        """Send what is none of the frames that a page may send."""

    @abstractmethod
    def pong(self) -> None:
        """Show that the browser lives while its script does not answer."""

    @abstractmethod
    def close(self) -> None:
        """End the connection in good order, or answer the end that the server has sent."""

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


class FillableStore(MemoryStore):
    """A memory store that can be full."""

    __slots__ = ("full",)

    def __init__(self, retention: Retention | None = None) -> None:
        super().__init__(retention)
        self.full = False

    def commit(self, operations: Sequence[Operation], now: float) -> list[Outcome]:
        """See :meth:`pushline.stores.base.Store.commit`."""
        if self.full:
            raise StoreFull("no room")
        return super().commit(operations, now)


class TransportCase:
    """The stage alone, for tests of what one transport promises besides."""

    def connect(self, token: str, page: str = "p", after: str | None = None) -> FarEnd:
        """A page that has asked for a connection: the hub answers at the end of the turn."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _stand(self) -> None:
        self.clock = FakeClock()
        self.store = FillableStore(Retention(messages=50))
        self.signer = TokenSigner(SECRETS)
        self.hub = Hub(
            self.store,
            self.clock,
            self.signer,
            heartbeat=Heartbeat(INTERVAL, TIMEOUT),
            grace=GRACE,
            random=lambda: 0.25,
        )
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
        return far

    def connections(self) -> int:
        """How many connections the hub knows."""
        return self.hub.counters.connections

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

    def test_every_kind_of_frame_arrives(self) -> None:
        far = self.opened(self.create(seconds=100))
        self.clock.advance(INTERVAL)
        assert far.receive() == [Ping()]
        far.say(Ack(""))
        far.say(FreshToken(self.create(seconds=20)))
        assert far.receive() == [TokenAccepted(expires_in=20)]
        self.clock.advance(19)
        assert any(isinstance(item, Expiring) for item in far.receive())

    def test_a_gap_arrives_before_what_is_there(self) -> None:
        far = self.opened()
        self.stall(far)
        for n in range(200):
            self.send(str(n))
        items = self.drained(far)
        place = next(n for n, item in enumerate(items) if isinstance(item, Gap))
        gap = items[place]
        assert isinstance(gap, Gap)
        rest = items[place + 1 :]
        assert rest
        assert all(isinstance(item, tuple) for item in rest)
        assert items[-1][1] == "199"  # type: ignore[index]

    # -- a page that reads slowly --------------------------------------------------------------------------------

    def stall(self, far: FarEnd) -> None:
        """Send until the page's connection is full."""
        for _ in range(100):
            if self.send("x" * 20_000) == ["queued"]:
                return
        pytest.fail("the connection was never full")

    def drained(self, far: FarEnd) -> list[Received]:
        """All that comes when the page reads on until nothing more comes."""
        items: list[Received] = []
        while came := far.receive():
            items += came
            self.clock.turn()
        return items

    def test_a_page_that_reads_slowly_gets_everything_in_order_and_once(self) -> None:
        far = self.opened()
        self.stall(far)
        sent = 0
        for n in range(10):
            assert self.send(str(n)) == ["queued"]
            sent += 1
        texts = [item[1] for item in self.drained(far) if isinstance(item, tuple)]
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


class Reading(TransportCase):
    """Frames of the page go to the hub, and pongs to the session."""

    def test_an_acknowledgement_arrives(self) -> None:
        far = self.opened()
        self.send("0", "1")
        (first, _), _ = far.receive()  # type: ignore[misc]
        far.say(Ack(first))
        self.clock.turn()
        assert self.kept() == ["1"]

    def test_what_is_no_frame_ends_the_connection_with_4400(self) -> None:
        far = self.opened()
        far.say_nonsense()
        assert far.last() == Close(PROTOCOL_ERROR)
        assert self.connections() == 0

    def test_a_fresh_token_that_is_not_good_ends_the_connection_with_its_code(self) -> None:
        far = self.opened()
        far.say(FreshToken("forged"))
        assert far.last() == Close(INVALID_TOKEN)

    def test_a_page_that_answers_pings_stays(self) -> None:
        far = self.opened()
        for _ in range(20):
            self.clock.advance(INTERVAL)
            assert far.receive() == [Ping()]
            far.say(Ack(""))
        assert self.connections() == 1

    def test_a_page_that_does_not_answer_is_gone(self) -> None:
        far = self.opened()
        self.clock.advance(INTERVAL + TIMEOUT)
        assert far.receive() == [Ping(), Close(GOING_AWAY)]
        assert self.connections() == 0

    def test_a_page_whose_script_is_blocked_stays_for_some_minutes(self) -> None:
        far = self.opened()
        for _ in range(8):
            self.clock.advance(INTERVAL)
            assert far.receive() == [Ping()]
            far.pong()
        assert self.connections() == 1


class Ending(TransportCase):
    """Close is the last thing written, and the hub is told once that a connection is over."""

    def test_the_end_comes_after_what_is_on_its_way(self) -> None:
        far = self.opened()
        self.send("last")
        self.hub.close(2.0)
        (_, text), end = far.receive()  # type: ignore[misc]
        assert text == "last"
        assert end == Close(GOING_AWAY, 500)

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
        far.say_nonsense()
        assert self.connections() == 0
        assert self.send("hello") == ["queued"]

    def test_a_page_that_answers_the_end_is_let_go_at_once(self) -> None:
        far = self.opened()
        far.say_nonsense()
        far.receive()
        assert not far.is_over()
        far.close()
        assert far.is_over()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 0

    def test_a_page_that_does_not_answer_the_end_is_cut_after_some_seconds(self) -> None:
        far = self.opened()
        far.say_nonsense()
        self.clock.advance(CLOSE_SECONDS - 0.1)
        assert not far.is_over()
        self.clock.advance(0.1)
        assert far.is_over()
        assert self.connections() == 0

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
        far.say_nonsense()
        far.pipe.drop()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 1

    def test_a_page_that_closes_is_told_once_and_the_connection_ends(self) -> None:
        token = self.create(policy=Policy.SHARE)
        far = self.opened(token, "p")
        self.opened(token, "q")
        far.close()
        assert self.connections() == 1
        assert far.is_over()
        self.clock.advance(2 * CLOSE_SECONDS)
        assert self.connections() == 1

    def test_a_page_whose_token_expires_is_closed_at_that_second(self) -> None:
        far = self.opened(self.create(seconds=20))
        self.clock.advance(20.1)
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

    def test_a_page_that_closes_in_good_order_leaves_its_place_free(self) -> None:
        token, cursor, far = self.holder()
        far.close()
        self.clock.turn()
        assert not self.holds_its_place(token, cursor)

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
    """A refusal reaches the page with its code, and the connection ends."""

    def refused(self, far: FarEnd, code: int) -> None:
        self.clock.turn()
        assert far.receive() == [Close(code)]
        assert self.connections() == 0
        assert not far.is_over()
        self.clock.advance(CLOSE_SECONDS)
        assert far.is_over()
        assert self.connections() == 0

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

    def test_a_store_that_cannot_keep_the_place(self) -> None:
        token = self.create()
        self.store.full = True
        self.refused(self.connect(token), INTERNAL_ERROR)

    def test_a_page_that_answers_a_refusal_is_let_go_at_once(self) -> None:
        far = self.connect("forged")
        self.clock.turn()
        far.receive()
        far.close()
        assert far.is_over()

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

    def test_a_page_that_comes_back_takes_the_place_of_its_older_connection(self) -> None:
        token = self.create()
        older = self.opened(token, "p")
        cursor = format_id(self.signer.verify(token, self.clock.now()).id)
        newer = self.opened(token, "p", cursor)
        assert older.receive() == [Close(NORMAL)]
        assert self.send("hello") == ["sent"]
        assert newer.texts() == ["hello"]
        assert self.connections() == 1


class TransportConformance(Writing, Reading, Ending, Leaving, Refusing):
    """Everything that :mod:`pushline.transports.base` promises: see the module."""
