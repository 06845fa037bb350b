"""The core: what becomes of messages and pages (contract, section 2), on a memory store and without any socket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import pytest

from pushline.errors import ConnectionEnded, StoreError, StoreFull
from pushline.hub import SWEEP_AGAIN_SECONDS, SWEEP_SECONDS, Hub
from pushline.messages import Message, Policy, format_id
from pushline.protocol.codes import (
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    NORMAL,
    PROTOCOL_ERROR,
    REPLACED,
    TOKEN_EXPIRED,
)
from pushline.protocol.frames import Expiring, Gap, Open, Ping, TokenAccepted
from pushline.protocol.session import Close, Heartbeat, Outgoing, Session
from pushline.protocol.tokens import Claims, TokenSigner
from pushline.stores.base import Append, Event, Hole, Operation, Outcome, Read, Reply, Retention, Store, Taken
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock

T = TypeVar("T")

SIGNER = TokenSigner(["the secret of the tests"])
GRACE = 3.0


class Page:
    """A page, and the transport that writes to it: it notes what it gets."""

    session: Session

    def __init__(self, hub: Hub, *, gone: bool = False) -> None:
        self.hub = hub
        self.gone = gone
        self.connected = False
        self.got: list[Outgoing] = []
        self.writes = 0
        self.code: int | None = None
        self.takes: int | None = None

    # -- the transport -------------------------------------------------------------------------------------------

    def opened(self, session: Session) -> bool:
        if self.gone:
            return False
        self.session = session
        self.connected = True
        return True

    def refused(self, code: int) -> None:
        self.code = code

    def flush(self) -> None:
        items = self.session.outgoing()
        if items is None or not self.connected:
            return
        self.writes += 1
        self.got += items
        if self.takes is not None and len(self.texts) >= self.takes:
            self.session.writable = False
        if isinstance(items[-1], Close):
            self.code = items[-1].code
            self.drop()

    # -- the page ------------------------------------------------------------------------------------------------

    @property
    def open(self) -> Open:
        first = self.got[0]
        assert isinstance(first, Open)
        return first

    @property
    def messages(self) -> list[Message]:
        return [item for item in self.got if isinstance(item, Message)]

    @property
    def texts(self) -> list[str]:
        return [message.data.decode() for message in self.messages]

    @property
    def last(self) -> Outgoing:
        return self.got[-1]

    @property
    def cursor(self) -> str:
        """The last id that came, as the page would resume with it."""
        ids = [
            format_id(item.id) if isinstance(item, Message) else item.cursor
            for item in self.got
            if isinstance(item, Message | Open | Gap)
        ]
        return ids[-1]

    def say(self, type: str, **members: str) -> None:
        self.hub.received(self, json.dumps({"type": type, **members}))

    def acknowledge(self, id: str | None = None) -> None:
        self.say("ack", id=self.cursor if id is None else id)

    def read_on(self) -> None:
        """The page takes everything again."""
        self.takes = None
        self.session.writable = True
        self.hub.feed(self)

    def drop(self, *, orderly: bool = False) -> None:
        self.connected = False
        self.hub.disconnected(self, orderly=orderly)


class Answers:
    """What one caller of the hub was told."""

    def __init__(self) -> None:
        self.sent: list[tuple[int | None, str]] = []
        self.created: list[tuple[str, Claims]] = []
        self.failed: list[StoreError] = []

    def note_sent(self, id: int | None, status: str) -> None:
        self.sent.append((id, status))

    def note_created(self, token: str, claims: Claims) -> None:
        self.created.append((token, claims))


class Stage:
    """A hub on a clock of its own or a shared one, and the application that speaks to it."""

    def __init__(
        self,
        store: Store | None = None,
        clock: FakeClock | None = None,
        *,
        interval: float = 25.0,
        timeout: float = 10.0,
        random: Callable[[], float] = lambda: 0.25,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = store or MemoryStore()
        self.hub = Hub(
            self.store,
            self.clock,
            SIGNER,
            heartbeat=Heartbeat(interval, timeout),
            grace=GRACE,
            random=random,
        )
        self.answers = Answers()

    def ask_to_create(self, client_id: str = "ann", seconds: int = 7200, policy: Policy = Policy.REPLACE) -> None:
        answers = self.answers
        self.hub.create_channel(client_id, seconds, policy, answers.note_created, answers.failed.append)

    def ask_to_send(self, text: str, client_id: str = "ann", key: str | None = None) -> None:
        answers = self.answers
        self.hub.send(Append(client_id, text.encode(), key), answers.note_sent, answers.failed.append)

    def create(self, client_id: str = "ann", seconds: int = 7200, policy: Policy = Policy.REPLACE) -> str:
        self.ask_to_create(client_id, seconds, policy)
        self.clock.turn()
        return self.answers.created[-1][0]

    def send(self, text: str = "hello", client_id: str = "ann", key: str | None = None) -> str:
        """Send a message; what became of it."""
        self.ask_to_send(text, client_id, key)
        self.clock.turn()
        return self.answers.sent[-1][1]

    @property
    def last_id(self) -> int:
        id = self.answers.sent[-1][0]
        assert id is not None
        return id

    def ask_to_connect(self, token: str, page: str = "p", after: str | None = None, *, gone: bool = False) -> Page:
        outlet = Page(self.hub, gone=gone)
        self.hub.connect(token, page, after, outlet)
        return outlet

    def connect(self, token: str, page: str = "p", after: str | None = None, *, gone: bool = False) -> Page:
        outlet = self.ask_to_connect(token, page, after, gone=gone)
        self.clock.turn()
        return outlet

    def kept(self, after: int = 0, client_id: str = "ann") -> list[str]:
        """What the store keeps of a channel."""
        read = self.store.read(client_id, after, self.clock.now())
        assert isinstance(read, Read)
        return [message.data.decode() for message in read.messages]


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestChannels:
    """A1."""

    def test_a_token_that_was_made_connects(self, stage: Stage) -> None:
        token = stage.create("ann", 600, Policy.SHARE)
        claims = SIGNER.verify(token, stage.clock.now())
        assert stage.answers.created == [(token, claims)]
        assert (claims.client_id, claims.policy) == ("ann", Policy.SHARE)
        assert claims.expires_at == stage.clock.now() + 600
        assert stage.connect(token).connected

    def test_tokens_are_counted(self, stage: Stage) -> None:
        stage.create()
        stage.create()
        assert stage.hub.counters.channels_created == 2


class TestStatuses:
    """G6: a send says what became of it."""

    def test_without_a_channel_nothing_was_kept(self, stage: Stage) -> None:
        assert stage.send() == "no_channel"
        assert stage.answers.sent == [(None, "no_channel")]

    def test_for_a_page_that_is_away_it_is_queued(self, stage: Stage) -> None:
        stage.create()
        assert stage.send() == "queued"
        assert stage.kept() == ["hello"]

    def test_to_a_page_that_is_there_it_is_sent(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        assert stage.send("hello") == "sent"
        assert page.texts == ["hello"]
        assert page.messages[0].id == stage.last_id

    def test_to_a_page_that_takes_no_more_it_is_queued(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.session.writable = False
        assert stage.send() == "queued"
        page.read_on()
        assert page.texts == ["hello"]

    def test_to_one_page_of_several_it_is_sent(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        slow, quick = stage.connect(token, "p"), stage.connect(token, "q")
        slow.session.writable = False
        assert stage.send() == "sent"
        assert (slow.texts, quick.texts) == ([], ["hello"])

    def test_to_a_page_that_is_being_closed_it_is_queued(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.session.close(NORMAL)
        assert stage.send() == "queued"
        assert page.texts == []

    def test_after_a_newer_token_it_is_sent_all_the_same(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.create()
        assert stage.send("0") == "sent"
        assert stage.send("1") == "sent"
        assert page.texts == ["0", "1"]

    def test_to_a_page_that_has_just_gone_it_is_queued(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.drop()
        assert stage.send() == "queued"

    def test_a_repeat_gets_the_id_of_the_first_and_a_status_that_is_true_by_now(self, stage: Stage) -> None:
        token = stage.create()
        assert stage.send(key="k") == "queued"
        first = stage.last_id
        assert stage.send(key="k") == "queued"
        page = stage.connect(token)
        assert stage.send(key="k") == "sent"
        assert stage.last_id == first
        assert page.texts == ["hello"]

    def test_statuses_are_counted(self, stage: Stage) -> None:
        stage.send()
        token = stage.create()
        stage.send()
        stage.send()
        stage.connect(token)
        for _ in range(3):
            stage.send()
        counters = stage.hub.counters
        assert (counters.messages_no_channel, counters.messages_queued, counters.messages_sent) == (1, 2, 3)

    def test_client_ids_do_not_mix(self, stage: Stage) -> None:
        ann, bob = stage.connect(stage.create("ann")), stage.connect(stage.create("bob"))
        stage.send("to ann", "ann")
        stage.send("to bob", "bob")
        assert (ann.texts, bob.texts) == (["to ann"], ["to bob"])


class Recording:
    """A store that notes its commits, and fails when it is told to."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.inner = store or MemoryStore()
        self.commits: list[Sequence[Operation]] = []
        self.sweeps: list[float] = []
        self.error: StoreError | None = None
        self.more = 0

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def commit(self, operations: Sequence[Operation], now: float) -> Reply[list[Outcome]]:
        self._check()
        self.commits.append(operations)
        return self.inner.commit(operations, now)

    def read(self, client_id: str, after: int, now: float) -> Reply[Read]:
        self._check()
        return self.inner.read(client_id, after, now)

    def sweep(self, now: float) -> bool:
        self.sweeps.append(now)
        self._check()
        self.more -= 1
        return self.more >= 0

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.inner.watch(listener)

    def ready(self) -> bool:
        return self.error is None

    def close(self) -> None:
        self.inner.close()


class TestTheTurn:
    """All of one turn is one commit, and nothing is answered or written before it (G1)."""

    def test_everything_of_a_turn_is_one_commit(self) -> None:
        store = Recording()
        stage = Stage(store)
        token = stage.create()
        stage.ask_to_create("bob")
        stage.ask_to_send("0")
        stage.ask_to_connect(token)
        stage.ask_to_send("1")
        stage.clock.turn()
        assert [len(operations) for operations in store.commits] == [1, 4]
        assert stage.hub.counters.commits == 2

    def test_answers_come_in_the_order_of_asking(self, stage: Stage) -> None:
        stage.create()
        for n in range(5):
            stage.ask_to_send(str(n))
        stage.clock.turn()
        ids = [id for id, _ in stage.answers.sent]
        assert len(ids) == 5
        assert ids == sorted(ids, key=lambda id: id or 0)

    def test_nothing_is_answered_before_the_end_of_the_turn(self, stage: Stage) -> None:
        stage.create()
        stage.ask_to_send("hello")
        assert stage.answers.sent == []
        assert stage.kept() == []

    def test_the_messages_of_a_turn_are_one_write(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.writes = 0
        for n in range(5):
            stage.ask_to_send(str(n))
        stage.clock.turn()
        assert page.texts == ["0", "1", "2", "3", "4"]
        assert page.writes == 1

    def test_whoever_collects_output_is_called_after_the_answers(self, stage: Stage) -> None:
        seen: list[int] = []
        stage.hub.at_turn_end.append(lambda: seen.append(len(stage.answers.sent)))
        stage.create()
        stage.ask_to_send("0")
        stage.ask_to_send("1")
        stage.clock.turn()
        assert seen == [0, 2]

    def test_a_message_and_the_page_that_connects_after_it_meet_once(self, stage: Stage) -> None:
        token = stage.create()
        stage.ask_to_send("0")
        page = stage.ask_to_connect(token)
        stage.ask_to_send("1")
        stage.clock.turn()
        assert page.texts == ["0", "1"]
        assert [status for _, status in stage.answers.sent] == ["queued", "sent"]

    def test_a_message_before_a_takeover_reaches_both_pages(self, stage: Stage) -> None:
        token = stage.create()
        old = stage.connect(token, "p")
        stage.ask_to_send("0")
        new = stage.ask_to_connect(token, "q")
        stage.clock.turn()
        assert (old.texts, new.texts) == (["0"], ["0"])
        assert old.code == REPLACED


class TestFailures:
    """What the store did not keep is answered with the failure, and to nobody else."""

    def test_every_caller_of_the_turn_is_told(self) -> None:
        store = Recording()
        stage = Stage(store)
        token = stage.create()
        other = stage.connect(token)
        stage.send("before")
        ends: list[str] = []
        stage.hub.at_turn_end.append(lambda: ends.append("end"))
        store.error = StoreFull("no room")
        stage.ask_to_send("lost")
        stage.ask_to_create("bob")
        page = stage.ask_to_connect(token, "q")
        other.acknowledge()
        stage.clock.turn()
        assert stage.answers.failed == [store.error] * 2
        assert len(stage.answers.sent) == 1
        assert page.code == INTERNAL_ERROR
        assert ends == ["end"]
        assert stage.hub.counters.commits_failed == 1

    def test_the_next_turn_goes_on(self) -> None:
        store = Recording()
        stage = Stage(store)
        page = stage.connect(stage.create())
        store.error = StoreFull("no room")
        stage.ask_to_send("lost")
        stage.clock.turn()
        store.error = None
        assert stage.send("kept") == "sent"
        assert page.texts == ["kept"]

    def test_it_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        store = Recording()
        stage = Stage(store)
        store.error = StoreError("a reason")
        stage.ask_to_send("hello")
        with caplog.at_level(logging.ERROR, logger="pushline.hub"):
            stage.clock.turn()
        (record,) = caplog.records
        assert record.getMessage() == "commit failed"

    def test_a_read_that_fails_asks_the_page_to_come_back(self) -> None:
        store = Recording()
        stage = Stage(store)
        token = stage.create()
        page = stage.connect(token)
        page.session.writable = False
        stage.send()
        store.error = StoreError("a reason")
        page.read_on()
        assert page.code == INTERNAL_ERROR
        store.error = None
        assert stage.connect(token, "p", page.cursor).texts == ["hello"]

    def test_a_hub_whose_store_does_not_answer_is_not_ready(self) -> None:
        store = Recording()
        stage = Stage(store)
        assert stage.hub.ready()
        store.error = StoreError("a reason")
        assert not stage.hub.ready()


class TestConnecting:
    """G3, G4, G5 and G9."""

    def test_a_page_is_told_who_it_is_for_and_what_waits(self, stage: Stage) -> None:
        token = stage.create(seconds=600)
        stage.send("0")
        stage.send("1")
        page = stage.connect(token)
        assert (page.open.client_id, page.open.gap, page.open.expires_in) == ("ann", False, 600)
        assert (page.open.ping, page.open.timeout) == (25, 10)
        assert page.texts == ["0", "1"]

    def test_a_page_does_not_get_what_was_sent_before_its_token(self, stage: Stage) -> None:
        stage.create()
        stage.send("old")
        token = stage.create()
        stage.send("new")
        assert stage.connect(token).texts == ["new"]

    def test_a_page_goes_on_at_its_cursor(self, stage: Stage) -> None:
        page = stage.connect(token := stage.create())
        stage.send("0")
        page.drop()
        stage.send("1")
        back = stage.connect(token, "p", page.cursor)
        assert not back.open.gap
        assert back.texts == ["1"]

    def test_a_page_whose_messages_were_dropped_is_told(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        token = stage.create()
        for n in range(5):
            stage.send(str(n))
        page = stage.connect(token)
        assert page.open.gap
        assert page.texts == stage.kept()

    @pytest.mark.parametrize("token", ["", "forged", "ü", "x" * 2000])
    def test_a_token_that_is_not_good_is_refused_before_anything_is_asked(self, stage: Stage, token: str) -> None:
        with pytest.raises(ConnectionEnded) as ended:
            stage.ask_to_connect(token)
        assert ended.value.code == INVALID_TOKEN

    def test_a_token_that_has_expired_is_refused(self, stage: Stage) -> None:
        token = stage.create(seconds=60)
        stage.clock.advance(60)
        with pytest.raises(ConnectionEnded) as ended:
            stage.ask_to_connect(token)
        assert ended.value.code == TOKEN_EXPIRED

    def test_a_refusal_is_counted(self, stage: Stage) -> None:
        page = Page(stage.hub)
        stage.hub.refuse(page, INVALID_TOKEN)
        assert page.code == INVALID_TOKEN
        assert stage.hub.counters.connections_refused == 1

    def test_connections_are_counted(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        first = stage.connect(token, "p")
        stage.connect(token, "q")
        first.drop()
        counters = stage.hub.counters
        assert (counters.connections, counters.connections_opened) == (1, 2)


class TestPlaces:
    """G7: one page."""

    def test_the_newest_page_holds_the_place_and_the_loser_is_told(self, stage: Stage) -> None:
        token = stage.create()
        old, new = stage.connect(token, "p"), stage.connect(token, "q")
        assert old.code == REPLACED
        assert new.connected
        assert stage.send() == "sent"
        assert (old.texts, new.texts) == ([], ["hello"])
        assert stage.hub.counters.connections_replaced == 1

    def test_a_page_is_never_its_own_rival(self, stage: Stage) -> None:
        token = stage.create()
        old = stage.connect(token, "p")
        new = stage.connect(token, "p", old.cursor)
        assert old.code == NORMAL
        assert new.connected
        assert stage.hub.counters.connections_replaced == 0

    def test_a_cursor_without_a_name_speaks_for_the_holder(self, stage: Stage) -> None:
        token = stage.create()
        old = stage.connect(token, "")
        stage.connect(token, "", old.cursor)
        assert old.code == NORMAL

    def test_a_page_that_was_replaced_while_it_was_away_is_refused(self, stage: Stage) -> None:
        token = stage.create()
        loser = stage.connect(token, "p")
        loser.drop()
        stage.connect(token, "q")
        assert stage.connect(token, "p", loser.cursor).code == REPLACED
        assert stage.hub.counters.connections_refused == 1

    def test_in_share_every_page_gets_every_message(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        pages = [stage.connect(token, name) for name in ("p", "q", "")]
        stage.send()
        assert [page.texts for page in pages] == [["hello"]] * 3

    def test_in_share_a_page_is_still_not_its_own_rival(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        old, other = stage.connect(token, "p"), stage.connect(token, "q")
        stage.connect(token, "p", old.cursor)
        assert old.code == NORMAL
        assert other.connected

    def loser_of(self, stage: Stage) -> tuple[str, Page, Page]:
        """A page that lost its place to another while it was away."""
        token = stage.create()
        loser = stage.connect(token, "p")
        loser.drop()
        return token, loser, stage.connect(token, "q")

    def test_a_page_that_vanished_keeps_its_place_for_the_grace_time(self, stage: Stage) -> None:
        token, loser, holder = self.loser_of(stage)
        holder.drop()
        stage.clock.advance(GRACE - 0.1)
        assert stage.connect(token, "p", loser.cursor).code == REPLACED
        stage.clock.advance(0.1)
        assert stage.connect(token, "p", loser.cursor).connected

    def test_a_page_that_came_back_within_the_grace_time_keeps_its_place(self, stage: Stage) -> None:
        token, loser, holder = self.loser_of(stage)
        holder.drop()
        stage.clock.advance(1)
        assert stage.connect(token, "q", holder.cursor).connected
        stage.clock.advance(GRACE + 1)
        assert stage.connect(token, "p", loser.cursor).code == REPLACED

    def test_a_page_that_closed_in_good_order_has_left_its_place_free(self, stage: Stage) -> None:
        token, loser, holder = self.loser_of(stage)
        holder.drop(orderly=True)
        assert stage.connect(token, "p", loser.cursor).connected

    def test_a_page_that_said_that_it_leaves_has_left_its_place_free(self, stage: Stage) -> None:
        token, loser, holder = self.loser_of(stage)
        holder.say("leave", id="")
        holder.drop()
        assert stage.connect(token, "p", loser.cursor).connected

    def test_a_page_that_was_gone_before_it_could_be_told_took_the_place_for_the_grace_time(self, stage: Stage) -> None:
        token = stage.create()
        old = stage.connect(token, "p")
        ghost = stage.connect(token, "q", gone=True)
        assert not ghost.connected
        assert old.code == REPLACED
        assert stage.hub.counters.connections == 0
        assert stage.connect(token, "p", old.cursor).code == REPLACED
        stage.clock.advance(GRACE)
        assert stage.connect(token, "p", old.cursor).connected


class TestAcknowledging:
    """Retention, and W3."""

    def test_what_a_page_has_handled_is_dropped(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send("0")
        page.acknowledge()
        stage.send("1")
        assert stage.kept() == ["1"]

    def test_a_page_that_leaves_acknowledges(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send("0")
        page.say("leave", id=page.cursor)
        stage.clock.turn()
        assert stage.kept() == []

    def test_a_page_that_lost_its_place_acknowledges_nothing(self, stage: Stage) -> None:
        token = stage.create()
        page = stage.connect(token, "p")
        stage.send("0")
        page.acknowledge()
        stage.ask_to_connect(token, "q")
        stage.clock.turn()
        assert stage.kept() == []
        stage.send("1")
        page.acknowledge()
        stage.clock.turn()
        assert stage.kept() == ["1"]

    def test_a_frame_that_is_not_known_ends_the_connection(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.say("subscribe")
        assert page.code == PROTOCOL_ERROR

    def test_in_share_a_page_may_acknowledge_after_it_left(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        page = stage.connect(token, "p")
        stage.send("0")
        page.say("leave", id="")
        page.acknowledge()
        stage.clock.turn()
        assert stage.connect(token, "q").texts == []


class TestFeeding:
    """G10: a page that is behind is fed from the store, at the pace it reads."""

    def test_much_is_fed_in_portions_in_order_and_once(self, stage: Stage) -> None:
        token = stage.create()
        texts = [str(n) * 20_000 for n in range(10)]
        for text in texts:
            stage.send(text)
        page = stage.connect(token)
        assert page.texts == texts
        assert page.writes > 2

    def test_the_others_are_served_between_two_portions(self, stage: Stage) -> None:
        token = stage.create()
        for n in range(20):
            stage.send(str(n) * 30_000)
        page = stage.ask_to_connect(token)
        seen: list[int] = []
        stage.clock.call_soon(lambda: stage.clock.call_soon(lambda: seen.append(len(page.messages))))
        stage.clock.turn()
        assert 0 < seen[0] < 20
        assert len(page.messages) == 20

    def test_a_page_that_takes_no_more_is_not_fed(self, stage: Stage) -> None:
        token = stage.create()
        for n in range(10):
            stage.send(str(n) * 30_000)
        page = stage.ask_to_connect(token)
        page.takes = 3
        stage.clock.turn()
        assert 3 <= len(page.messages) < 10
        page.read_on()
        stage.clock.turn()
        assert [text[0] for text in page.texts] == list("0123456789")

    def test_what_comes_meanwhile_comes_in_its_turn(self, stage: Stage) -> None:
        token = stage.create()
        page = stage.connect(token)
        page.session.writable = False
        for n in range(4):
            stage.send(str(n) * 30_000)
        page.read_on()
        assert stage.send("last") == "sent"
        assert [text[0] for text in page.texts] == ["0", "1", "2", "3", "l"]
        ids = [message.id for message in page.messages]
        assert ids == sorted(set(ids))

    def test_a_page_that_has_caught_up_is_written_to_at_once(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.session.writable = False
        stage.send("0")
        page.read_on()
        assert stage.send("1") == "sent"
        assert page.texts == ["0", "1"]

    def test_what_was_dropped_while_it_took_nothing_is_told(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=3)))
        page = stage.connect(stage.create())
        stage.send("seen")
        page.session.writable = False
        for n in range(9):
            stage.send(str(n))
        page.read_on()
        kinds = [type(item) for item in page.got]
        assert kinds[:3] == [Open, Message, Gap]
        assert page.texts == ["seen", *stage.kept()]

    def test_a_page_that_is_gone_is_not_fed(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.session.writable = False
        stage.send()
        page.drop()
        page.read_on()
        assert page.texts == []


class TestFreshTokens:
    """W3, G9: a fresh token for the same client id keeps the socket."""

    def test_it_is_accepted_and_moves_the_end(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=60))
        self.answer_pings(stage, page, 50)
        page.say("token", token=stage.create(seconds=600))
        assert page.last == TokenAccepted(expires_in=600)
        self.answer_pings(stage, page, 599)
        assert page.connected
        stage.clock.advance(2)
        assert page.code == TOKEN_EXPIRED

    def answer_pings(self, stage: Stage, page: Page, seconds: int) -> None:
        for _ in range(seconds):
            stage.clock.advance(1)
            page.acknowledge("")

    def test_a_shorter_token_ends_sooner(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=7200))
        page.say("token", token=stage.create(seconds=5))
        stage.clock.advance(5.1)
        assert page.code == TOKEN_EXPIRED

    @pytest.mark.parametrize("other", ["forged", ""])
    def test_one_that_is_not_good_ends_the_socket(self, stage: Stage, other: str) -> None:
        page = stage.connect(stage.create())
        page.say("token", token=other)
        assert page.code == INVALID_TOKEN

    def test_one_of_another_client_id_ends_the_socket(self, stage: Stage) -> None:
        page = stage.connect(stage.create("ann"))
        page.say("token", token=stage.create("bob"))
        assert page.code == INVALID_TOKEN

    def test_one_that_has_expired_ends_the_socket(self, stage: Stage) -> None:
        old = stage.create(seconds=1)
        page = stage.connect(stage.create())
        stage.clock.advance(1)
        page.say("token", token=old)
        assert page.code == TOKEN_EXPIRED

    def test_messages_go_on_under_the_fresh_token(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.say("token", token=stage.create())
        assert stage.send() == "sent"
        page.acknowledge()
        stage.clock.turn()
        assert stage.kept() == []


class TestTime:
    """W4, G9, and what is done besides."""

    def test_a_page_is_pinged_and_stays_while_it_answers(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        for _ in range(10):
            stage.clock.advance(25)
            assert page.last == Ping()
            page.acknowledge("")
        assert page.connected

    @pytest.mark.parametrize(("interval", "timeout"), [(2.0, 10.0), (25.0, 10.0), (10.0, 10.0)])
    def test_a_page_that_answers_is_pinged_after_every_interval(self, interval: float, timeout: float) -> None:
        stage = Stage(interval=interval, timeout=timeout)
        page = stage.connect(stage.create())
        for number in range(1, 10):
            stage.clock.advance(interval)
            assert page.got.count(Ping()) == number
            page.acknowledge("")

    def test_a_page_that_does_not_answer_is_asked_to_come_back(self, stage: Stage) -> None:
        token = stage.create()
        page = stage.connect(token)
        stage.clock.advance(35)
        assert page.code == GOING_AWAY
        assert stage.send() == "queued"
        assert stage.connect(token, "p", page.cursor).texts == ["hello"]

    def test_a_page_is_closed_at_the_second_at_which_its_token_expires(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=20))
        stage.clock.advance(19.8)
        assert [type(item) for item in page.got] == [Open, Expiring]
        stage.clock.advance(0.3)
        assert page.code == TOKEN_EXPIRED

    def test_a_step_of_the_machines_clock_ends_no_connection(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=600))
        stage.clock.step(3600)
        stage.clock.advance(25)
        page.acknowledge("")
        stage.clock.step(-7200)
        stage.clock.advance(24)
        assert page.connected

    def test_the_store_is_swept_regularly(self) -> None:
        store = Recording()
        stage = Stage(store)
        stage.clock.advance(3 * SWEEP_SECONDS)
        assert len(store.sweeps) == 3

    def test_a_store_that_has_more_to_look_at_is_asked_again_soon(self) -> None:
        store = Recording()
        stage = Stage(store)
        store.more = 4
        stage.clock.advance(SWEEP_SECONDS + 4 * SWEEP_AGAIN_SECONDS + 0.01)
        assert len(store.sweeps) == 5

    def test_a_sweep_that_fails_is_tried_again_later(self) -> None:
        store = Recording()
        stage = Stage(store)
        store.error = StoreError("a reason")
        stage.clock.advance(2 * SWEEP_SECONDS)
        assert len(store.sweeps) == 2


class TestTheEnd:
    """G11, as far as it goes: every page is asked to come back at its own moment."""

    def test_every_page_is_told_when_to_come_back(self) -> None:
        moments = iter([0.0, 0.5, 0.999])
        stage = Stage(random=lambda: next(moments))
        pages = [stage.connect(stage.create(name)) for name in ("ann", "bob", "cid")]
        stage.hub.close(2.0)
        assert [page.last for page in pages] == [
            Close(GOING_AWAY, 0),
            Close(GOING_AWAY, 1000),
            Close(GOING_AWAY, 1998),
        ]
        assert stage.hub.counters.connections == 0

    def test_what_was_asked_before_is_answered_and_written_before(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.ask_to_send("last")
        stage.hub.close(2.0)
        assert stage.answers.sent[-1][1] == "sent"
        assert [type(item) for item in page.got] == [Open, Message, Close]
        stage.clock.turn()

    def test_nothing_is_done_afterwards(self) -> None:
        store = Recording()
        stage = Stage(store)
        page = stage.connect(stage.create())
        stage.hub.close(2.0)
        done = len(store.commits)
        stage.clock.advance(3600)
        assert len(store.commits) == done
        assert store.sweeps == []
        assert page.got.count(Ping()) == 0

    def test_a_sweep_that_is_under_way_stops_nothing(self) -> None:
        store = Recording()
        stage = Stage(store)
        store.more = 1
        stage.clock.advance(SWEEP_SECONDS)
        stage.hub.close(2.0)
        stage.hub._sweep()
        assert len(store.sweeps) == 1

    def test_a_hub_that_goes_away_is_not_ready(self, stage: Stage) -> None:
        stage.hub.close(2.0)
        assert not stage.hub.ready()

    def test_pages_keep_their_places_for_the_next_process(self, stage: Stage) -> None:
        token = stage.create()
        loser = stage.connect(token, "p")
        loser.drop()
        holder = stage.connect(token, "q")
        stage.hub.close(2.0)
        stage.clock.advance(GRACE)
        after = Stage(stage.store, stage.clock)
        assert after.connect(token, "p", loser.cursor).code == REPLACED
        assert after.connect(token, "q", holder.cursor).connected


class Late:
    """A store that answers when the test says so; what is asked of it is done at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.inner = MemoryStore()
        self.loop = loop
        self.waiting: list[Callable[[], None]] = []
        self.listener: Callable[[Sequence[Event]], None] = lambda events: None

    def _later(self, answer: T) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.loop.create_future()
        self.waiting.append(lambda: future.set_result(answer))
        return future

    def _never(self, error: StoreError) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.loop.create_future()
        self.waiting.append(lambda: future.set_exception(error))
        return future

    error: StoreError | None = None

    def commit(self, operations: Sequence[Operation], now: float) -> asyncio.Future[list[Outcome]]:
        if self.error is not None:
            return self._never(self.error)
        return self._later(self.inner.commit(operations, now))

    def read(self, client_id: str, after: int, now: float) -> asyncio.Future[Read]:
        if self.error is not None:
            return self._never(self.error)
        return self._later(self.inner.read(client_id, after, now))

    def answer(self, place: int = 0) -> None:
        """Let one answer arrive."""
        self.waiting.pop(place)()
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def sweep(self, now: float) -> bool:
        return False

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.listener = listener
        self.inner.watch(listener)

    def ready(self) -> bool:
        return True

    def close(self) -> None:
        self.inner.close()


class TestAStoreThatAnswersLater:
    """The seam is asynchronous: a store on a network works the same."""

    @pytest.fixture
    def store(self) -> Iterator[Late]:
        with closing(asyncio.new_event_loop()) as loop:
            yield Late(loop)

    @pytest.fixture
    def stage(self, store: Late) -> Stage:
        return Stage(store)

    def create(self, stage: Stage, store: Late) -> str:
        stage.ask_to_create()
        stage.clock.turn()
        store.answer()
        return stage.answers.created[-1][0]

    def connect(self, stage: Stage, store: Late, token: str) -> Page:
        page = stage.connect(token)
        store.answer()
        store.answer()
        return page

    def test_nothing_is_answered_before_the_store_answers(self, stage: Stage, store: Late) -> None:
        page = self.connect(stage, store, self.create(stage, store))
        stage.ask_to_send("hello")
        stage.clock.turn()
        assert stage.answers.sent == []
        assert page.texts == []
        store.answer()
        assert stage.answers.sent[-1][1] == "sent"
        assert page.texts == ["hello"]

    def test_commits_go_out_one_after_the_other_and_need_not_wait_for_each_other(
        self, stage: Stage, store: Late
    ) -> None:
        page = self.connect(stage, store, self.create(stage, store))
        for n in range(3):
            stage.ask_to_send(str(n))
            stage.clock.turn()
        assert len(store.waiting) == 3
        for _ in range(3):
            store.answer()
        assert page.texts == ["0", "1", "2"]

    def test_a_page_is_told_to_open_before_it_is_fed(self, stage: Stage, store: Late) -> None:
        token = self.create(stage, store)
        stage.ask_to_send("0")
        stage.clock.turn()
        store.answer()
        page = stage.connect(token)
        assert page.got == []
        store.answer()
        store.answer()
        assert [type(item) for item in page.got] == [Open, Message]

    def test_a_message_that_is_published_while_a_read_is_under_way_comes_once_and_in_order(
        self, stage: Stage, store: Late
    ) -> None:
        token = self.create(stage, store)
        stage.ask_to_send("0")
        stage.clock.turn()
        store.answer()
        page = stage.connect(token)
        store.answer()  # connected; the read has seen "0" alone
        stage.ask_to_send("1")
        stage.clock.turn()
        store.answer(1)
        assert stage.answers.sent[-1][1] == "queued"
        store.answer()
        stage.clock.turn()
        store.answer()
        assert page.texts == ["0", "1"]
        assert store.waiting == []
        stage.ask_to_send("2")
        stage.clock.turn()
        store.answer()
        assert stage.answers.sent[-1][1] == "sent"
        assert page.texts == ["0", "1", "2"]

    def test_a_read_that_answers_after_the_page_has_gone_harms_nobody(self, stage: Stage, store: Late) -> None:
        token = self.create(stage, store)
        page = stage.connect(token)
        store.answer()
        page.drop()
        store.answer()
        assert page.messages == []

    def test_a_hole_while_a_read_is_under_way_is_read_again(self, stage: Stage, store: Late) -> None:
        token = self.create(stage, store)
        page = stage.connect(token)
        store.answer()
        store.inner.commit([Append("ann", b"from another hub")], stage.clock.now())
        store.listener([Hole()])
        store.answer()
        stage.clock.turn()
        store.answer()
        assert page.texts == ["from another hub"]

    def test_a_commit_that_fails_is_told(self, stage: Stage, store: Late) -> None:
        self.create(stage, store)
        store.error = StoreFull("no room")
        stage.ask_to_send("lost")
        stage.clock.turn()
        store.answer()
        assert stage.answers.failed == [store.error]

    def test_a_read_that_fails_asks_the_page_to_come_back(self, stage: Stage, store: Late) -> None:
        token = self.create(stage, store)
        page = stage.ask_to_connect(token)
        stage.clock.turn()
        store.error = StoreError("a reason")
        store.answer()
        store.answer()
        assert page.code == INTERNAL_ERROR


class Deaf:
    """A store whose events can be lost on their way."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.deaf = False
        self.listener: Callable[[Sequence[Event]], None] = lambda events: None
        self.commit = inner.commit
        self.read = inner.read
        self.sweep = inner.sweep
        self.ready = inner.ready
        self.close = inner.close

    def watch(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self.listener = listener
        self.inner.watch(lambda events: None if self.deaf else listener(events))


class TestTwoHubs:
    """Two hubs on one store learn of each other through :meth:`Store.watch` alone."""

    @pytest.fixture
    def stages(self) -> tuple[Stage, Stage]:
        store = MemoryStore()
        one = Stage(store)
        return one, Stage(store.peer(), one.clock)

    def test_a_message_reaches_a_page_of_the_other_hub(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = two.connect(one.create())
        one.send("0")
        two.send("1")
        one.send("2")
        assert page.texts == ["0", "1", "2"]

    def test_pages_of_both_hubs_share(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create(policy=Policy.SHARE)
        pages = [one.connect(token, "p"), two.connect(token, "q")]
        for n in range(4):
            stages[n % 2].send(str(n))
        assert [page.texts for page in pages] == [["0", "1", "2", "3"]] * 2

    def test_a_takeover_at_the_other_hub_is_told_to_the_loser(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        old = one.connect(token, "p")
        new = two.connect(token, "q")
        assert old.code == REPLACED
        assert new.connected
        one.clock.advance(GRACE + 1)
        assert one.connect(token, "p", old.cursor).code == REPLACED

    def test_a_page_that_comes_back_at_the_other_hub_is_not_its_own_rival(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        old = one.connect(token, "p")
        one.send("0")
        new = two.connect(token, "p", old.cursor)
        assert old.code == NORMAL
        one.send("1")
        assert (old.texts, new.texts) == (["0"], ["1"])

    def test_a_page_that_vanished_and_came_back_at_the_other_hub_keeps_its_place(
        self, stages: tuple[Stage, Stage]
    ) -> None:
        one, two = stages
        token = one.create()
        loser = two.connect(token, "q")
        old = one.connect(token, "p")
        old.drop()
        two.connect(token, "p", old.cursor)
        one.clock.advance(GRACE + 1)
        assert one.connect(token, "q", loser.cursor).code == REPLACED

    def test_news_of_a_takeover_do_not_end_the_page_that_took_over(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        two.connect(token, "q")
        new = one.connect(token, "p")
        assert new.connected

    def test_late_news_of_an_earlier_takeover_end_nobody(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        token = one.create()
        earlier = one.connect(token, "p")
        page = two.connect(token, "q")
        deaf.listener([Taken("ann", earlier.session.fence, resumed=False)])
        assert page.connected

    def test_a_page_finds_again_what_was_lost_on_the_way(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        page = two.connect(one.create())
        deaf.deaf = True
        one.send("0")
        one.send("1")
        assert page.texts == []
        deaf.deaf = False
        one.send("2")
        assert page.texts == ["0", "1", "2"]

    def test_after_a_hole_every_channel_is_read_again(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        ann, bob = two.connect(one.create("ann")), two.connect(one.create("bob"))
        deaf.deaf = True
        one.send("to ann", "ann")
        one.send("to bob", "bob")
        deaf.listener([Hole()])
        assert (ann.texts, bob.texts) == (["to ann"], ["to bob"])

    def test_a_message_that_was_heard_after_it_was_read_comes_once(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        page = two.connect(one.create())
        late: list[Sequence[Event]] = []
        deaf.inner.watch(late.append)
        one.send("0")
        one.send("1")
        for events in reversed(late):
            deaf.listener(events)
        assert page.texts == ["0", "1"]
