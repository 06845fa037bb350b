"""What every store promises, as tests: the whole test file of a new store is a subclass that makes one.

::

    class TestMyStore(StoreConformance):
        def make_store(self, options: StoreOptions) -> Store:
            return MyStore(options)

A store that keeps what it was told beyond its process takes :class:`RestartingStoreConformance` as well: the same
tests, with a restart before everything that is asked. One that several hubs share takes
:class:`SharedStoreConformance`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import pytest

from pushline.messages import Append, Message, Policy, format_id, id_at
from pushline.protocol.codes import INVALID_TOKEN, REPLACED
from pushline.protocol.tokens import Claims
from pushline.stores.base import (
    Accepted,
    Acknowledge,
    Affirm,
    Arrived,
    Asked,
    ChannelState,
    Claim,
    Connect,
    Connected,
    Contested,
    Create,
    Dismiss,
    Dismissed,
    Drain,
    Event,
    Full,
    GiveUp,
    Handled,
    Held,
    Notice,
    Operation,
    Outcome,
    Published,
    Read,
    Refused,
    Release,
    Renew,
    Repeated,
    Reply,
    Retention,
    Retry,
    Revoke,
    Room,
    Settle,
    Store,
    StoreOptions,
    Waiting,
)

T = TypeVar("T")

NOW = 1_700_000_000.0
DAY = 86_400
LONG_AFTER = 1 << 62
"""An id that no store will reach."""


class StoreCase:
    """The verbs in which the tests speak to a store, at the unix time :attr:`now`."""

    store: Store
    options: StoreOptions
    now: float

    def make_store(self, options: StoreOptions) -> Store:
        """A store; where it persists, what it keeps is in ``data_dir``, which may hold something from before."""
        raise NotImplementedError

    def reopen(self, store: Store) -> Store:
        """The store after the end of its process."""
        store.close()
        return self.make_store(self.options)

    @pytest.fixture(autouse=True)
    def _stand(self, tmp_path: Path) -> Iterator[None]:
        self.now = NOW
        self._tmp_path = tmp_path
        self._folders = 0
        self.open()
        yield
        self.store.close()

    def open(self, retention: Retention | None = None, room: Room | None = None) -> None:
        """Go on with an empty store."""
        if self._folders:
            self.store.close()
        self._folders += 1
        folder = self._tmp_path / str(self._folders)
        folder.mkdir()
        self.options = StoreOptions(folder, retention or Retention(), room or Room())
        self.store = self.make_store(self.options)

    def asking(self) -> Store:
        """The store that is asked next."""
        return self.store

    def answer(self, reply: Reply[T]) -> T:
        """What the store answers, now or later."""
        if isinstance(reply, asyncio.Future):
            return cast("T", reply.get_loop().run_until_complete(reply))
        return reply

    # -- asking --------------------------------------------------------------------------------------------------

    def do(self, *operations: Operation) -> list[Outcome]:
        """Commit some operations together."""
        return self.answer(self.asking().commit(operations, self.now))

    def create(self, client_id: str = "ann", *, minutes: int = 120, policy: Policy = Policy.REPLACE) -> Claims:
        """A token."""
        (outcome,) = self.do(Create(client_id, minutes * 60, policy))
        assert isinstance(outcome, Claims)
        return outcome

    def append(
        self, text: str = "hello", client_id: str = "ann", *, key: str | None = None, ttl: float | None = None
    ) -> Message:
        """A message that is kept."""
        (outcome,) = self.do(Append(client_id, text.encode(), key, ttl))
        assert isinstance(outcome, Message)
        return outcome

    def connect(self, claims: Claims, page: str = "", after: str | int | None = None) -> Connected:
        """A page that may receive."""
        outcome = self.try_to_connect(claims, page, after)
        assert isinstance(outcome, Connected)
        return outcome

    def try_to_connect(
        self, claims: Claims, page: str = "", after: str | int | None = None, displace: int = 0
    ) -> Outcome:
        """A page that perhaps may receive."""
        cursor = format_id(after) if isinstance(after, int) else after
        (outcome,) = self.do(Connect(claims, page, cursor, displace))
        return outcome

    def contest(self, claims: Claims, page: str = "", after: str | int | None = None) -> int:
        """A page that finds the place held under ``reject``: the fence of the page that holds it."""
        outcome = self.try_to_connect(claims, page, after)
        assert isinstance(outcome, Contested)
        return outcome.fence

    def start(self, claims: Claims, page: str = "", after: str | int | None = None) -> tuple[int, bool]:
        """Where a page that connects begins, and whether it is told a gap."""
        connected = self.connect(claims, page, after)
        return connected.start, connected.gap

    def acknowledge(self, claims: Claims, connected: Connected, id: int) -> None:
        """A page has handled everything up to an id."""
        assert self.do(Acknowledge(claims.client_id, claims.id, connected.fence, id)) == [None]

    def release(self, connected: Connected, client_id: str = "ann") -> None:
        """A page has left its place."""
        assert self.do(Release(client_id, connected.fence)) == [None]

    def read(self, after: int = 0, client_id: str = "ann") -> Read:
        """What a channel holds after an id."""
        return self.answer(self.asking().read(client_id, after, self.now))

    def read_all(self, after: int = 0, client_id: str = "ann") -> list[Message]:
        """All that a channel holds after an id, read as a page is fed."""
        messages: list[Message] = []
        while True:
            read = self.read(after, client_id)
            messages += read.messages
            after = read.upto
            if read.complete:
                return messages

    def look(self, client_id: str = "ann") -> ChannelState | None:
        """A channel as the application may see it."""
        return self.answer(self.asking().look(client_id, self.now))

    def texts(self, after: int = 0, client_id: str = "ann") -> list[str]:
        """The texts of all that a channel holds after an id."""
        return [message.data.decode() for message in self.read_all(after, client_id)]

    def sweep(self) -> None:
        """Sweep until nothing is left to look at."""
        store = self.asking()
        while store.sweep(self.now):
            pass


class Ids(StoreCase):
    """One increasing sequence (contract, section 1)."""

    def test_ids_come_from_time(self) -> None:
        assert self.create().id >= id_at(NOW)
        self.now += 10
        assert self.append().id >= id_at(NOW + 10)

    def test_messages_and_tokens_share_one_increasing_sequence(self) -> None:
        ids = [self.create().id, self.append().id, self.create().id, self.append().id, self.append().id]
        assert ids == sorted(set(ids))

    def test_ids_increase_in_one_commit(self) -> None:
        outcomes = self.do(
            Create("ann", 60, Policy.REPLACE), *[Append("ann", b"x")] * 3, Create("ann", 60, Policy.REPLACE)
        )
        ids = [outcome.id for outcome in outcomes if isinstance(outcome, Claims | Message)]
        assert len(ids) == 5
        assert ids == sorted(set(ids))

    def test_a_message_names_the_id_before_it_so_that_a_hole_is_seen(self) -> None:
        token = self.create()
        first = self.append()
        second = self.append()
        newer = self.create()
        third = self.append()
        assert [first.previous, second.previous, third.previous] == [token.id, first.id, newer.id]

    def test_a_clock_that_steps_back_does_not_move_the_sequence(self) -> None:
        last = self.create(minutes=1440).id
        for step in (0, -3600, -7 * DAY, 0, -1):
            self.now = NOW + step
            for id in (self.append().id, self.create().id):
                assert id > last
                last = id

    def test_a_clock_that_was_ahead_for_a_while_leaves_the_sequence_increasing(self) -> None:
        self.now = NOW + 400 * DAY
        ahead = self.create(minutes=1440).id
        self.now = NOW
        assert self.append().id > ahead

    def test_ids_increase_after_the_channel_has_ended(self) -> None:
        self.create(minutes=1)
        last = self.append().id
        self.now += 61
        assert self.create().id > last

    def test_ids_increase_after_everything_was_swept_and_the_clock_stepped_back(self) -> None:
        token = self.create(minutes=1)
        message = self.append()
        fence = self.connect(token).fence
        self.now += DAY
        self.sweep()
        self.now = NOW - DAY
        assert self.create().id > max(message.id, fence)

    def test_fences_increase_with_every_connection(self) -> None:
        token = self.create()
        fences = [self.connect(token).fence for _ in range(3)]
        assert fences == sorted(set(fences))


class Commits(StoreCase):
    """The operations of a commit take effect in their order and are answered in it (G1, G2)."""

    def test_an_empty_commit_is_answered_with_nothing(self) -> None:
        assert self.do() == []

    def test_each_operation_sees_what_those_before_it_did(self) -> None:
        nobody, token, message = self.do(
            Append("ann", b"too early"), Create("ann", 60, Policy.REPLACE), Append("ann", b"hello")
        )
        assert nobody is None
        assert isinstance(token, Claims)
        assert isinstance(message, Message)
        assert token.id < message.id
        assert self.texts() == ["hello"]

    def test_one_commit_serves_many_channels(self) -> None:
        names = [f"client {n}" for n in range(50)]
        self.do(*[Create(name, 60, Policy.REPLACE) for name in names])
        self.do(*[Append(name, name.encode()) for name in names])
        assert [self.texts(client_id=name) for name in names] == [[name] for name in names]

    def test_what_was_answered_is_in_the_next_read(self) -> None:
        token = self.create()
        for number in range(3):
            message = self.append(str(number))
            assert self.read(token.id).upto == message.id
        assert self.texts() == ["0", "1", "2"]

    def test_the_data_comes_back_byte_for_byte(self) -> None:
        self.create()
        data = ["\0", " ", "grüße 🎲\r\n\0end", "{}", "x" * 32767]
        for text in data:
            self.append(text)
        assert self.texts() == data

    @pytest.mark.parametrize("client_id", ["\0", "a\0b", "🎲" * 64, "ü/../%2F", " ", "ANN", "x" * 256])
    def test_any_client_id_has_a_channel_of_its_own(self, client_id: str) -> None:
        self.create("ann")
        self.create("a")
        token = self.create(client_id)
        assert token.client_id == client_id
        self.append("mine", client_id)
        self.append("theirs", "ann")
        assert self.texts(client_id=client_id) == ["mine"]
        assert self.texts(client_id="ann") == ["theirs"]
        assert self.texts(client_id="a") == []


class Channels(StoreCase):
    """A channel exists from its first token until its last one has expired (contract, section 1)."""

    def test_a_message_without_a_channel_is_not_kept(self) -> None:
        assert self.do(Append("ann", b"hello")) == [None]
        self.create()
        assert self.texts() == []

    def test_a_token_says_what_was_asked_for(self) -> None:
        token = self.create("ann", minutes=5, policy=Policy.SHARE)
        assert (token.client_id, token.expires_at, token.policy) == ("ann", NOW + 300, Policy.SHARE)

    @pytest.mark.parametrize("fraction", [0.0005, 0.25, 0.9995])
    def test_a_token_lives_for_whole_seconds_and_never_less_than_was_asked_for(self, fraction: float) -> None:
        self.now += fraction
        assert 60 <= self.create(minutes=1).expires_at - self.now < 61

    def test_a_channel_ends_with_its_last_token(self) -> None:
        self.create(minutes=2)
        self.create(minutes=1)
        self.now = NOW + 119.5
        self.append()
        self.now = NOW + 120
        assert self.do(Append("ann", b"hello")) == [None]

    def test_a_channel_that_has_ended_shows_nothing(self) -> None:
        self.create(minutes=1)
        self.append()
        self.now += 60
        assert self.read(7) == Read([], 7, None, complete=True)

    def test_a_channel_that_was_never_made_shows_nothing(self) -> None:
        assert self.read(7, "nobody") == Read([], 7, None, complete=True)

    @pytest.mark.parametrize("swept", [False, True])
    def test_a_new_channel_shows_nothing_of_the_one_before(self, swept: bool) -> None:
        old = self.create(minutes=1)
        self.append("old")
        self.now += 60
        if swept:
            self.sweep()
        new = self.create()
        self.append("new")
        assert self.texts(old.id) == ["new"]
        assert self.connect(new, after=old.id).gap

    def test_a_sweep_leaves_what_lives(self) -> None:
        self.create("ann", minutes=1)
        self.create("bob", minutes=60)
        self.append("hello", "bob")
        self.now += 60
        self.sweep()
        assert self.do(Append("ann", b"hello")) == [None]
        assert self.texts(client_id="bob") == ["hello"]

    def test_a_sweep_comes_through_thousands_of_channels(self) -> None:
        names = [f"client {n}" for n in range(2100)]
        self.do(*[Create(name, 60 if n % 2 else 120, Policy.REPLACE) for n, name in enumerate(names)])
        self.do(*[Append(name, b"x") for name in names])
        self.now += 60
        self.sweep()
        outcomes = self.do(*[Append(name, b"y") for name in names])
        assert [outcome is None for outcome in outcomes] == [n % 2 == 1 for n in range(2100)]

    def test_a_store_that_answers_is_ready(self) -> None:
        assert self.asking().ready()

    def test_a_store_may_be_closed_twice(self) -> None:
        self.create()
        self.store.close()
        self.store.close()


class Keys(StoreCase):
    """An idempotency key makes a repeated send take effect once (G1)."""

    def test_a_repeat_is_answered_with_the_id_of_the_first(self) -> None:
        self.create()
        first = self.append("hello", key="k")
        assert self.do(Append("ann", b"other", "k")) == [Repeated(first.id, acknowledged=False, kept=True)]
        assert self.texts() == ["hello"]

    def test_a_repeat_in_the_same_commit_is_seen(self) -> None:
        self.create()
        first, second = self.do(Append("ann", b"hello", "k"), Append("ann", b"hello", "k"))
        assert isinstance(first, Message)
        assert second == Repeated(first.id, acknowledged=False, kept=True)

    def test_a_key_is_remembered_for_ten_minutes(self) -> None:
        self.create()
        first = self.append(key="k")
        self.now += 599
        self.sweep()
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(first.id, acknowledged=False, kept=True)]

    def test_a_key_may_be_used_again_much_later(self) -> None:
        self.create()
        first = self.append(key="k")
        self.now += 3600
        assert self.append("again", key="k").id > first.id
        self.sweep()
        assert isinstance(self.do(Append("ann", b"hello", "k"))[0], Repeated)

    def test_a_key_outlives_its_message(self) -> None:
        token = self.create()
        first = self.append(key="k")
        self.acknowledge(token, self.connect(token), first.id)
        assert self.texts() == []
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(first.id, acknowledged=True, kept=False)]

    @pytest.mark.parametrize("swept", [False, True])
    def test_a_key_outlives_its_channel(self, swept: bool) -> None:
        self.create(minutes=1)
        first = self.append(key="k")
        self.now += 61
        if swept:
            self.sweep()
        self.create()
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(first.id, acknowledged=False, kept=False)]
        self.now += 540
        self.append("again", key="k")

    def test_a_key_that_was_used_again_is_remembered_from_then_on(self) -> None:
        self.create()
        self.append(key="k")
        self.now += 601
        second = self.append(key="k")
        self.sweep()
        self.now += 599
        self.sweep()
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(second.id, acknowledged=False, kept=True)]

    @pytest.mark.parametrize("policy", Policy)
    def test_a_repeat_says_whether_a_page_has_acknowledged_the_first(self, policy: Policy) -> None:
        token = self.create(policy=policy)
        first = self.append("0", key="k")
        second = self.append("1", key="l")
        self.acknowledge(token, self.connect(token, "p"), first.id)
        repeats = self.do(Append("ann", b"0", "k"), Append("ann", b"1", "l"))
        kept = policy is Policy.SHARE
        assert repeats == [
            Repeated(first.id, acknowledged=True, kept=kept),
            Repeated(second.id, acknowledged=False, kept=True),
        ]
        self.connect(token, "p", second.id)
        assert self.do(Append("ann", b"1", "l")) == [Repeated(second.id, acknowledged=True, kept=kept)]

    def test_a_page_of_any_token_acknowledges_what_is_repeated(self) -> None:
        older = self.create()
        self.create()
        message = self.append(key="k")
        self.acknowledge(older, self.connect(older), message.id)
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(message.id, acknowledged=True, kept=True)]

    def test_an_acknowledgement_in_a_later_channel_says_nothing_of_one_before(self) -> None:
        self.create(minutes=1)
        lost = self.append(key="k")
        self.now += 61
        token = self.create()
        self.acknowledge(token, self.connect(token), self.append().id)
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(lost.id, acknowledged=False, kept=False)]

    def test_an_acknowledgement_says_nothing_of_what_lies_before_its_token(self) -> None:
        self.create()
        lost = self.append(key="k")
        token = self.create()
        self.acknowledge(token, self.connect(token), self.append().id)
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(lost.id, acknowledged=False, kept=False)]

    @pytest.mark.parametrize("handled", [False, True])
    @pytest.mark.parametrize("ended", ["revoked", "expired"])
    def test_what_went_with_its_channel_is_not_sent_again(self, ended: str, handled: bool) -> None:
        token = self.create(minutes=1)
        first = self.append(key="k")
        if handled:
            self.acknowledge(token, self.connect(token), first.id)
        if ended == "revoked":
            self.do(Revoke("ann"))
        else:
            self.now += 61
        assert self.do(Append("ann", b"hello", "k")) == [None]
        fresh = self.create()
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(first.id, acknowledged=handled, kept=False)]
        state = self.look()
        assert state is not None
        assert (state.queued, state.acknowledged) == (0, None)
        assert self.connect(fresh).start == fresh.id
        assert self.append("again", key="l").id > first.id

    def test_a_repeat_says_whether_the_first_is_kept(self) -> None:
        self.open(Retention(messages=2))
        self.create()
        short, dropped, last = self.append(key="s", ttl=5), self.append(key="d"), self.append(key="l")
        self.append()
        self.now += 5
        repeats = self.do(*(Append("ann", b"hello", key) for key in "sdl"))
        assert repeats == [
            Repeated(short.id, acknowledged=False, kept=False),
            Repeated(dropped.id, acknowledged=False, kept=False),
            Repeated(last.id, acknowledged=False, kept=True),
        ]

    def test_keys_of_different_client_ids_are_different(self) -> None:
        self.create("ann")
        self.create("bob")
        self.append(client_id="ann", key="k")
        self.append(client_id="bob", key="k")

    def test_no_channel_is_not_remembered(self) -> None:
        assert self.do(Append("ann", b"hello", "k")) == [None]
        self.create()
        self.append(key="k")

    def test_a_key_may_have_any_characters(self) -> None:
        self.create()
        for key in ("\0", "a\0b", "a\0c", "🎲", " "):
            message = self.append(key=key)
            assert self.do(Append("ann", b"hello", key)) == [Repeated(message.id, acknowledged=False, kept=True)]


class Keeping(StoreCase):
    """What is kept, and for how long (contract, Retention)."""

    def test_beyond_its_number_of_messages_a_channel_drops_the_oldest(self) -> None:
        self.open(Retention(messages=8))
        self.create()
        sent = [self.append(str(n)) for n in range(30)]
        texts = self.texts()
        assert texts == [str(n) for n in range(30)][-len(texts) :]
        assert 1 <= len(texts) <= 8
        assert self.read().gap == sent[-len(texts) - 1].id

    def test_exactly_the_number_of_messages_is_kept(self) -> None:
        self.open(Retention(messages=8))
        self.create()
        for n in range(8):
            self.append(str(n))
        assert self.texts() == [str(n) for n in range(8)]
        assert self.read().gap is None

    def test_a_channel_may_keep_one_message(self) -> None:
        self.open(Retention(messages=1))
        self.create()
        first = self.append("0")
        self.append("1")
        assert self.texts() == ["1"]
        assert self.read().gap == first.id

    def test_beyond_its_bytes_a_channel_drops_the_oldest(self) -> None:
        self.open(Retention(bytes=100))
        self.create()
        sent = [self.append(str(n) * 10) for n in range(10)]
        assert len(self.texts()) == 10
        self.append("x" * 35)
        texts = self.texts()
        assert texts == [str(n) * 10 for n in range(4, 10)] + ["x" * 35]
        assert self.read().gap == sent[3].id

    def test_a_message_larger_than_all_room_is_kept_alone(self) -> None:
        self.open(Retention(bytes=100))
        self.create()
        self.append("small")
        self.append("x" * 1000)
        assert self.texts() == ["x" * 1000]

    def test_the_limits_of_one_channel_do_not_touch_another(self) -> None:
        self.open(Retention(messages=2))
        self.create("ann")
        self.create("bob")
        self.append("hello", "bob")
        for n in range(10):
            self.append(str(n), "ann")
        assert self.texts(client_id="bob") == ["hello"]

    def test_what_is_older_than_the_retention_goes(self) -> None:
        self.open(Retention(seconds=600))
        self.create()
        old = self.append("old")
        self.now += 301
        self.append("young")
        self.now += 300
        self.sweep()
        assert self.texts() == ["young"]
        assert self.read().gap == old.id

    def test_what_is_not_older_than_the_retention_stays(self) -> None:
        self.open(Retention(seconds=600))
        self.create()
        self.append("old")
        self.now += 600
        self.sweep()
        assert self.texts() == ["old"]

    def test_a_message_is_not_read_after_its_ttl(self) -> None:
        self.create()
        self.append("short", ttl=10)
        self.append("long")
        self.now += 9.9
        assert self.texts() == ["short", "long"]
        self.now += 0.1
        assert self.texts() == ["long"]

    def test_a_ttl_beyond_the_retention_keeps_a_message(self) -> None:
        self.open(Retention(seconds=600))
        self.create()
        self.append("kept", ttl=3600)
        self.now += 3599
        self.sweep()
        assert self.texts() == ["kept"]

    def test_what_ends_by_its_own_ttl_is_no_gap(self) -> None:
        token = self.create()
        self.append("short", ttl=10)
        self.append("long")
        self.now += 10
        for _ in range(2):
            assert self.read(token.id).gap is None
            assert not self.connect(token).gap
            self.sweep()

    def test_what_ended_by_its_own_ttl_makes_room_without_a_gap(self) -> None:
        self.open(Retention(messages=4))
        self.create()
        for _ in range(3):
            self.append("short", ttl=10)
        self.append("long")
        self.now += 10
        self.append("longer")
        assert self.texts() == ["long", "longer"]
        assert self.read().gap is None

    def test_room_that_was_swept_free_is_free(self) -> None:
        self.open(Retention(bytes=100))
        self.create()
        self.append("x" * 90, ttl=10)
        self.now += 10
        self.sweep()
        self.append("a" * 50)
        self.append("b" * 50)
        assert len(self.texts()) == 2


class Reads(StoreCase):
    """A page is fed in portions (G10)."""

    def test_a_read_starts_behind_the_id(self) -> None:
        self.create()
        sent = [self.append(str(n)) for n in range(5)]
        assert self.texts(sent[2].id) == ["3", "4"]
        assert self.texts(sent[4].id) == []

    def test_a_read_reaches_up_to_the_last_id(self) -> None:
        token = self.create()
        message = self.append()
        newer = self.create()
        assert self.read(token.id).upto == newer.id
        assert self.read(message.id) == Read([], newer.id, None, complete=True)

    def test_a_read_behind_the_end_goes_nowhere(self) -> None:
        self.create()
        assert self.read(LONG_AFTER) == Read([], LONG_AFTER, None, complete=True)

    def test_much_is_read_in_portions_and_nothing_is_left_out_or_doubled(self) -> None:
        self.create()
        sent = [self.append(str(n) * 20_000) for n in range(10)]
        read = self.read()
        assert not read.complete
        assert read.upto == read.messages[-1].id
        assert 1 < sum(len(message.data) for message in read.messages) <= 1 << 16
        assert [message.id for message in self.read_all()] == [message.id for message in sent]

    def test_a_message_larger_than_a_portion_comes_alone(self) -> None:
        self.create()
        self.append("x" * 100_000)
        self.append("y")
        read = self.read()
        assert [len(message.data) for message in read.messages] == [100_000]
        assert not read.complete
        assert self.read(read.upto).complete

    def test_a_gap_is_told_until_the_reader_is_past_it(self) -> None:
        self.open(Retention(messages=1))
        token = self.create()
        dropped = self.append("0")
        self.append("1")
        assert self.read(token.id).gap == dropped.id
        assert self.read(dropped.id - 1).gap == dropped.id
        assert self.read(dropped.id).gap is None


class Starts(StoreCase):
    """Where a page begins, and what it is told is missing (G4, G5)."""

    def test_a_page_without_a_cursor_starts_at_its_token(self) -> None:
        first = self.create()
        self.append()
        second = self.create()
        self.append()
        for token in (first, second):
            assert self.start(token) == (token.id, False)

    def test_a_page_without_a_cursor_starts_where_pages_of_its_token_have_acknowledged(self) -> None:
        token = self.create(policy=Policy.SHARE)
        first = self.append()
        self.append()
        self.acknowledge(token, self.connect(token), first.id)
        assert self.start(token) == (first.id, False)

    def test_what_pages_of_another_token_have_acknowledged_moves_no_start(self) -> None:
        left = self.create(policy=Policy.SHARE)
        loaded = self.create(policy=Policy.SHARE)
        message = self.append()
        self.acknowledge(left, self.connect(left), message.id)
        assert self.connect(loaded).start == loaded.id

    def test_a_page_without_a_cursor_is_told_what_was_dropped_since_its_token(self) -> None:
        self.open(Retention(messages=1))
        token = self.create()
        dropped = self.append()
        self.append()
        assert self.start(token) == (dropped.id, True)

    def test_what_was_dropped_before_its_token_is_no_gap_to_a_page(self) -> None:
        self.open(Retention(messages=1))
        self.create()
        self.append()
        self.append()
        token = self.create()
        assert self.start(token) == (token.id, False)

    def test_a_cursor_is_where_a_page_goes_on(self) -> None:
        token = self.create()
        message = self.append()
        self.append()
        for cursor in (token.id, message.id):
            assert self.start(token, "p", cursor) == (cursor, False)

    def test_a_cursor_below_what_was_dropped_is_a_gap(self) -> None:
        self.open(Retention(messages=1))
        token = self.create()
        dropped = self.append()
        self.append()
        assert self.start(token, "p", dropped.id) == (dropped.id, False)
        assert self.start(token, "p", dropped.id - 1) == (dropped.id, True)

    def test_a_cursor_below_the_channels_first_id_is_a_gap(self) -> None:
        token = self.create()
        assert self.start(token, "p", token.id - 1) == (token.id, True)

    def test_a_cursor_above_the_channels_last_id_is_a_gap(self) -> None:
        token = self.create()
        message = self.append()
        assert self.start(token, "p", message.id + 1) == (token.id, True)
        assert self.start(token, "p", message.id) == (message.id, False)

    @pytest.mark.parametrize("cursor", ["", "x", "1", "-1", "1-1048576", "١-٠", "\0", "9" * 1000, "1-0 "])
    def test_a_cursor_of_no_known_form_is_a_gap(self, cursor: str) -> None:
        token = self.create()
        self.append()
        assert self.start(token, "p", cursor) == (token.id, True)

    def test_a_cursor_that_is_a_gap_acknowledges_nothing(self) -> None:
        token = self.create()
        self.append("kept")
        self.connect(token, "p", LONG_AFTER)
        assert self.texts() == ["kept"]


class Looks(StoreCase):
    """What the application may see of a channel (A4)."""

    def test_of_no_channel_nothing_is_seen(self) -> None:
        assert self.look("nobody") is None
        self.create(minutes=1)
        self.now += 60
        assert self.look() is None
        self.sweep()
        assert self.look() is None

    def test_a_channel_lives_until_its_last_token_ends_with_the_policy_of_the_newest(self) -> None:
        last = self.create(minutes=60, policy=Policy.SHARE)
        assert self.look() == ChannelState(0, None, last.expires_at, Policy.SHARE)
        self.create(minutes=1, policy=Policy.REJECT)
        assert self.look() == ChannelState(0, None, last.expires_at, Policy.REJECT)

    def test_what_is_kept_is_counted(self) -> None:
        token = self.create()
        sent = [self.append() for _ in range(3)]
        state = self.look()
        assert state is not None
        assert (state.queued, state.acknowledged) == (3, None)
        self.acknowledge(token, self.connect(token), sent[1].id)
        state = self.look()
        assert state is not None
        assert (state.queued, state.acknowledged) == (1, sent[1].id)

    def test_what_was_dropped_for_want_of_room_is_not_counted(self) -> None:
        self.open(Retention(messages=2))
        self.create()
        for _ in range(5):
            self.append()
        state = self.look()
        assert state is not None
        assert state.queued == 2

    def test_the_highest_acknowledged_id_is_told_whichever_page_it_came_from(self) -> None:
        older = self.create(policy=Policy.SHARE)
        newer = self.create(policy=Policy.SHARE)
        first, second = self.append(), self.append()
        self.acknowledge(older, self.connect(older), second.id)
        self.acknowledge(newer, self.connect(newer), first.id)
        state = self.look()
        assert state is not None
        assert (state.queued, state.acknowledged) == (2, second.id)

    @pytest.mark.parametrize("swept", [False, True])
    def test_what_has_ended_is_not_counted(self, swept: bool) -> None:
        self.open(Retention(seconds=600))
        self.create()
        self.append("old")
        self.append("short", ttl=10)
        self.append("long", ttl=3600)
        self.append("behind")
        for passed, queued in ((9, 4), (1, 3), (590.5, 2), (3000, 0)):
            self.now += passed
            if swept:
                self.sweep()
            state = self.look()
            assert state is not None
            assert state.queued == queued

    def test_what_was_acknowledged_long_ago_is_still_told(self) -> None:
        token = self.create(minutes=1440)
        message = self.append()
        self.acknowledge(token, self.connect(token), message.id)
        self.now += DAY - 1
        self.create(minutes=1440)
        self.now += 2
        self.create()
        state = self.look()
        assert state is not None
        assert state.acknowledged == message.id

    def test_looking_changes_nothing(self) -> None:
        token = self.create()
        page = self.connect(token, "p")
        message = self.append()
        self.look()
        assert self.texts() == ["hello"]
        self.acknowledge(token, page, message.id)
        assert self.texts() == []


class Rooms(StoreCase):
    """What the whole store may hold; what would go beyond is refused alone (G10)."""

    def is_full(self, client_id: str = "ann", size: int = 1, key: str | None = None) -> bool:
        (outcome,) = self.do(Append(client_id, b"x" * size, key))
        assert isinstance(outcome, Message | Full)
        return isinstance(outcome, Full)

    def test_so_many_messages_are_kept_and_no_more(self) -> None:
        self.open(room=Room(messages=3))
        for name in ("ann", "bob"):
            self.create(name)
        self.append("0")
        self.append("1", "bob")
        assert not self.is_full()
        assert self.is_full("ann")
        assert self.is_full("bob")
        assert self.texts() == ["0", "x"]
        assert self.texts(client_id="bob") == ["1"]

    def test_so_many_bytes_are_kept_and_no_more(self) -> None:
        self.open(room=Room(bytes=100))
        for name in ("ann", "bob"):
            self.create(name)
        self.append("x" * 60)
        assert self.is_full("bob", 41)
        assert not self.is_full("bob", 40)
        assert self.is_full("ann", 1)

    def test_so_many_channels_are_made_and_no_more(self) -> None:
        self.open(room=Room(channels=2))
        self.create("ann", minutes=1)
        self.create("bob")
        assert self.do(Create("eve", 60, Policy.REPLACE)) == [Full()]
        assert self.do(Append("eve", b"hello")) == [None]
        self.create("bob")
        self.now += 60
        self.create("ann", minutes=1)  # its channel has ended, and leaves its room
        self.now += 60
        self.sweep()
        self.create("eve")

    def test_a_refused_operation_is_refused_alone(self) -> None:
        self.open(room=Room(channels=1, messages=2))
        token, refused, first, second, third, again = self.do(
            Create("ann", 60, Policy.REPLACE),
            Create("bob", 60, Policy.REPLACE),
            *[Append("ann", b"%d" % n) for n in range(3)],
            Create("ann", 60, Policy.SHARE),
        )
        assert isinstance(token, Claims)
        assert refused == third == Full()
        assert isinstance(first, Message)
        assert isinstance(second, Message)
        assert isinstance(again, Claims)
        assert self.texts() == ["0", "1"]

    def test_a_message_that_was_refused_leaves_nothing_behind(self) -> None:
        self.open(room=Room(messages=1))
        token = self.create()
        first = self.append("0")
        assert self.is_full(key="k")
        self.acknowledge(token, self.connect(token), first.id)
        last = self.append("1", key="k")
        assert last.previous == first.id
        assert self.texts() == ["1"]

    def test_a_repeat_needs_no_room(self) -> None:
        self.open(room=Room(messages=1))
        self.create()
        first = self.append(key="k")
        assert self.do(Append("ann", b"hello", "k")) == [Repeated(first.id, acknowledged=False, kept=True)]

    def test_keys_take_room_too(self) -> None:
        self.open(room=Room(bytes=1000))
        token = self.create()
        page = self.connect(token)
        taken = 0
        while not self.is_full(key=f"key {taken}"):
            taken += 1
            self.acknowledge(token, page, self.read().upto)
        assert 1 <= taken <= 100
        self.now += 601
        assert not self.is_full(key="another")

    def test_room_comes_back_with_an_acknowledgement(self) -> None:
        self.open(room=Room(messages=2, bytes=100))
        token = self.create()
        page = self.connect(token)
        for _ in range(5):
            self.append("x" * 50)
            message = self.append("x" * 50)
            assert self.is_full()
            self.acknowledge(token, page, message.id)

    def test_room_comes_back_with_the_end_of_a_channel(self) -> None:
        self.open(room=Room(messages=2, bytes=100))
        for _ in range(3):
            self.create("ann", minutes=1)
            self.create("bob")
            self.append("x" * 100)
            assert self.is_full("bob")
            self.now += 60
            self.sweep()
            assert not self.is_full("bob", 50)
            self.create("ann", minutes=1)
            assert not self.is_full("ann", 50)
            self.now += 7300
            self.sweep()

    def test_room_comes_back_with_a_new_channel_of_the_same_name(self) -> None:
        self.open(room=Room(messages=1))
        self.create("ann", minutes=1)
        self.append()
        self.now += 60
        self.create("ann")
        assert not self.is_full()

    def test_room_comes_back_with_retention(self) -> None:
        self.open(Retention(seconds=600), Room(messages=1))
        self.create("ann")
        self.create("bob")
        self.append()
        self.now += 601
        assert self.is_full("bob")
        self.sweep()
        assert not self.is_full("bob")

    @pytest.mark.parametrize("ttl", [None, 5])
    def test_what_has_ended_in_a_channel_makes_room_for_it_at_once(self, ttl: float | None) -> None:
        self.open(Retention(seconds=600), Room(messages=1))
        self.create()
        self.append(ttl=ttl)
        assert self.is_full()
        self.now += 601
        assert not self.is_full()

    def test_what_a_channel_drops_makes_room_for_what_comes(self) -> None:
        self.open(Retention(messages=2, bytes=100), Room(messages=3, bytes=150))
        self.create("ann")
        self.create("bob")
        self.append("0", "bob")
        for n in range(5):
            self.append(str(n), "ann")
        assert self.texts() == ["3", "4"]
        assert self.is_full("bob")
        self.append("x" * 99, "ann")
        assert self.texts() == ["4", "x" * 99]
        assert self.is_full("ann", 150)
        assert self.texts() == ["4", "x" * 99]

    def test_a_lost_channel_is_opened_again_whether_there_is_room_or_not(self) -> None:
        token = self.create("ann")
        self.open(room=Room(channels=1))
        self.create("bob")
        assert self.connect(token).gap


class LostStores(StoreCase):
    """A good token whose channel the store does not know opens it again, with a gap (G5)."""

    def test_a_token_opens_its_channel_again_as_it_was(self) -> None:
        token = self.create(minutes=10, policy=Policy.SHARE)
        self.open()
        connected = self.connect(token)
        assert (connected.start, connected.gap, connected.policy) == (token.id, True, Policy.SHARE)
        self.now += 599
        self.append("hello")
        assert self.texts(token.id) == ["hello"]
        self.now += 1
        assert self.do(Append("ann", b"too late")) == [None]

    @pytest.mark.parametrize("known", [False, True])
    def test_ids_go_on_above_the_token(self, known: bool) -> None:
        self.now += DAY
        token = self.create()
        self.now -= DAY
        self.open()
        if known:
            self.create()
        connected = self.connect(token)
        assert connected.gap
        assert connected.fence > token.id
        assert self.append().id > token.id
        assert self.create().id > token.id

    def test_a_cursor_from_before_is_a_gap(self) -> None:
        token = self.create()
        cursor = self.append().id
        self.open()
        assert self.connect(token, "p", cursor).gap

    def test_a_channel_that_was_made_anew_tells_the_pages_of_before(self) -> None:
        token = self.create()
        cursor = self.append().id
        self.now += 1
        self.open()
        newer = self.create()
        for after in (None, cursor):
            assert self.start(token, "p", after) == (newer.id, True)

    def test_a_channel_that_was_made_anew_lives_as_long_as_the_tokens_of_before(self) -> None:
        token = self.create(minutes=60)
        self.open()
        self.now += 1
        self.create(minutes=1)
        self.connect(token)
        self.now += 3000
        self.append("hello")

    @pytest.mark.parametrize("policy", [Policy.REPLACE, Policy.REJECT])
    def test_a_page_that_does_not_get_the_place_leaves_the_gap_to_who_does(self, policy: Policy) -> None:
        self.now += DAY
        token = self.create(policy=policy)
        self.now -= DAY
        self.open()
        holder = self.connect(self.create(policy=policy), "p")
        outcome = self.try_to_connect(token, "q", token.id)
        assert outcome == (Refused(REPLACED) if policy is Policy.REPLACE else Contested(holder.fence))
        self.release(holder)
        connected = self.connect(token, "q")
        assert connected.gap
        assert connected.fence > token.id

    def test_the_second_connection_is_told_no_gap(self) -> None:
        token = self.create()
        self.open()
        start = self.connect(token, "p").start
        assert not self.connect(token, "p").gap
        assert not self.connect(token, "p", start).gap


class Acknowledgements(StoreCase):
    """What an acknowledgement drops (contract, Retention)."""

    @pytest.mark.parametrize("policy", [Policy.REPLACE, Policy.REJECT])
    def test_a_page_of_the_newest_token_drops_what_it_has_handled(self, policy: Policy) -> None:
        token = self.create(policy=policy)
        first = self.append("0")
        self.append("1")
        self.acknowledge(token, self.connect(token), first.id)
        assert self.texts() == ["1"]
        assert self.read().gap == first.id

    def test_a_page_of_an_older_token_drops_only_what_lies_before_the_newest(self) -> None:
        older = self.create()
        self.append("0")
        page = self.connect(older)
        newest = self.create()
        last = self.append("1")
        self.acknowledge(older, page, last.id)
        assert self.texts() == ["1"]
        assert self.start(newest) == (newest.id, False)

    def test_in_share_everything_is_kept(self) -> None:
        token = self.create(policy=Policy.SHARE)
        first = self.append("0")
        page = self.connect(token)
        self.connect(token)
        self.acknowledge(token, page, first.id)
        assert self.texts() == ["0"]
        assert self.connect(token).start == first.id

    def test_the_newest_tokens_policy_is_the_channels(self) -> None:
        self.create(policy=Policy.REPLACE)
        token = self.create(policy=Policy.SHARE)
        first = self.append("0")
        page = self.connect(token)
        assert page.policy is Policy.SHARE
        self.acknowledge(token, page, first.id)
        assert self.texts() == ["0"]

    def test_a_page_that_lost_its_place_acknowledges_nothing(self) -> None:
        token = self.create()
        message = self.append("0")
        loser = self.connect(token, "p")
        self.connect(token, "q")
        self.acknowledge(token, loser, message.id)
        assert self.texts() == ["0"]
        assert self.connect(token, "r").start == token.id

    def test_an_id_that_does_not_exist_yet_acknowledges_nothing(self) -> None:
        token = self.create()
        message = self.append("0")
        page = self.connect(token)
        self.acknowledge(token, page, message.id + 1)
        self.append("1")
        assert self.texts() == ["0", "1"]
        assert self.connect(token).start == token.id

    def test_an_id_before_the_token_acknowledges_nothing(self) -> None:
        self.create()
        message = self.append("0")
        token = self.create()
        self.acknowledge(token, self.connect(token), message.id)
        assert self.texts() == ["0"]

    def test_an_acknowledgement_does_not_go_back(self) -> None:
        token = self.create(policy=Policy.SHARE)
        first = self.append("0")
        second = self.append("1")
        page = self.connect(token)
        self.acknowledge(token, page, second.id)
        self.acknowledge(token, page, first.id)
        assert self.connect(token).start == second.id

    def test_a_cursor_acknowledges(self) -> None:
        token = self.create()
        first = self.append("0")
        self.append("1")
        self.connect(token, "p", first.id)
        assert self.texts() == ["1"]

    def test_acknowledging_on_a_channel_that_nobody_knows_is_harmless(self) -> None:
        token = self.create()
        page = self.connect(token)
        self.open()
        self.acknowledge(token, page, token.id)
        self.release(page)
        assert self.texts() == []

    def test_what_tokens_of_days_ago_acknowledged_is_forgotten_and_the_rest_is_not(self) -> None:
        old = self.create(minutes=1440, policy=Policy.SHARE)
        self.append("0")
        self.acknowledge(old, self.connect(old), self.append("1").id)
        self.now += DAY - 10
        young = self.create(minutes=1440, policy=Policy.SHARE)
        message = self.append("2")
        self.acknowledge(young, self.connect(young), message.id)
        self.now += 20
        self.create(policy=Policy.SHARE)
        assert self.connect(young).start == message.id


class Places(StoreCase):
    """Who holds the place (G7)."""

    def test_a_newcomer_takes_the_place(self) -> None:
        token = self.create()
        assert not self.connect(token, "p").resumed
        assert not self.connect(token, "q").resumed

    def test_a_page_that_was_replaced_while_it_was_away_is_refused(self) -> None:
        token = self.create()
        self.connect(token, "p")
        self.connect(token, "q")
        assert self.try_to_connect(token, "p", token.id) == Refused(REPLACED)
        assert self.try_to_connect(token, "p", "malformed") == Refused(REPLACED)

    def test_a_refused_page_changes_nothing(self) -> None:
        token = self.create()
        message = self.append("0")
        self.connect(token, "p")
        holder = self.connect(token, "q")
        self.try_to_connect(token, "p", message.id)
        assert self.texts() == ["0"]
        self.acknowledge(token, holder, message.id)
        assert self.texts() == []

    def test_a_page_that_is_replaced_and_loaded_anew_is_a_newcomer(self) -> None:
        token = self.create()
        self.connect(token, "p")
        self.connect(token, "q")
        assert not self.connect(token, "p").resumed
        assert self.try_to_connect(token, "q", token.id) == Refused(REPLACED)

    @pytest.mark.parametrize("cursor", [False, True])
    def test_a_page_is_never_its_own_rival(self, cursor: bool) -> None:
        token = self.create()
        self.connect(token, "p")
        assert self.connect(token, "p", token.id if cursor else None).resumed

    def test_a_place_that_was_left_is_free_to_resume(self) -> None:
        token = self.create()
        self.connect(token, "p")
        self.release(self.connect(token, "q"))
        back = self.connect(token, "p", token.id)
        assert not back.resumed
        assert self.try_to_connect(token, "q", token.id) == Refused(REPLACED)

    def test_the_page_that_left_may_come_back_too(self) -> None:
        token = self.create()
        self.release(self.connect(token, "p"))
        assert self.connect(token, "p", token.id).resumed
        assert self.try_to_connect(token, "q", token.id) == Refused(REPLACED)

    def test_only_the_newest_connection_leaves_the_place(self) -> None:
        token = self.create()
        older = self.connect(token, "p")
        self.connect(token, "p", token.id)
        self.release(older)
        assert self.try_to_connect(token, "q", token.id) == Refused(REPLACED)

    def test_a_cursor_without_a_page_name_speaks_for_the_holder(self) -> None:
        token = self.create()
        self.connect(token, "p")
        assert self.connect(token, "", token.id).resumed
        assert self.connect(token, "p", token.id).resumed

    def test_neither_name_nor_cursor_is_a_newcomer(self) -> None:
        token = self.create()
        self.connect(token)
        assert not self.connect(token).resumed

    def test_a_place_that_was_taken_without_a_name_is_held(self) -> None:
        token = self.create()
        self.connect(token, "p")
        self.connect(token)
        assert self.try_to_connect(token, "p", token.id) == Refused(REPLACED)

    def test_in_share_nobody_is_a_rival(self) -> None:
        token = self.create(policy=Policy.SHARE)
        for page, cursor in (("p", None), ("q", None), ("p", token.id), ("", token.id)):
            connected = self.connect(token, page, cursor)
            assert not connected.resumed
            assert connected.policy is Policy.SHARE


class Contests(StoreCase):
    """Under ``reject`` the page that holds the place keeps it, if it answers (G7)."""

    @pytest.mark.parametrize("cursor", ["none", "good", "malformed"])
    @pytest.mark.parametrize("page", ["q", ""])
    def test_whoever_finds_the_place_held_has_to_ask(self, page: str, cursor: str) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.connect(token, "p")
        after = {"none": None, "good": token.id, "malformed": "malformed"}[cursor]
        if page or cursor == "none":
            assert self.contest(token, page, after) == holder.fence
        else:  # a cursor without a name speaks for the page that holds the place
            assert self.connect(token, page, after).resumed

    def test_a_place_that_was_shared_meanwhile_is_held_by_nobody(self) -> None:
        self.connect(self.create(policy=Policy.REJECT), "p")
        self.connect(self.create(policy=Policy.SHARE), "q")
        assert not self.connect(self.create(policy=Policy.REJECT), "r").resumed

    def test_a_place_that_nobody_holds_is_taken(self) -> None:
        token = self.create(policy=Policy.REJECT)
        assert not self.connect(token, "p").resumed
        self.release(self.connect(token, "p"))
        assert not self.connect(token, "q", token.id).resumed
        assert self.contest(token, "p")

    @pytest.mark.parametrize("cursor", [False, True])
    def test_the_page_that_holds_the_place_resumes(self, cursor: bool) -> None:
        token = self.create(policy=Policy.REJECT)
        self.connect(token, "p")
        self.contest(token, "q")
        connected = self.connect(token, "p", token.id if cursor else None)
        assert connected.resumed
        assert connected.policy is Policy.REJECT

    def test_asking_changes_nothing(self) -> None:
        token = self.create(policy=Policy.REJECT)
        message = self.append("0")
        holder = self.connect(token, "p")
        for after in (None, message.id, "malformed"):
            assert self.contest(token, "q", after) == holder.fence
        assert self.texts() == ["0"]
        state = self.look()
        assert state is not None
        assert state.acknowledged is None
        self.acknowledge(token, holder, message.id)
        assert self.texts() == []
        self.release(holder)
        assert not self.connect(token, "q").resumed

    @pytest.mark.parametrize("cursor", [False, True])
    def test_a_page_that_did_not_answer_loses_its_place(self, cursor: bool) -> None:
        token = self.create(policy=Policy.REJECT)
        message = self.append("0")
        fence = self.connect(token, "p").fence
        connected = self.try_to_connect(token, "q", message.id if cursor else None, fence)
        assert isinstance(connected, Connected)
        assert not connected.resumed
        assert connected.fence > fence
        assert connected.start == (message.id if cursor else token.id)
        assert self.texts() == ([] if cursor else ["0"])
        assert self.contest(token, "p", token.id) == connected.fence
        assert self.connect(token, "q", message.id).resumed

    def test_a_page_that_connected_anew_meanwhile_is_alive(self) -> None:
        token = self.create(policy=Policy.REJECT)
        fence = self.contest(token, "q") if self.connect(token, "p") else 0
        newer = self.connect(token, "p", token.id)
        for after in (None, token.id):
            assert self.try_to_connect(token, "q", after, fence) == Refused(REPLACED)
        assert self.contest(token, "q") == newer.fence

    def test_a_page_that_left_meanwhile_has_left_the_place(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.connect(token, "p")
        fence = self.contest(token, "q")
        self.release(holder)
        assert isinstance(self.try_to_connect(token, "q", None, fence), Connected)

    def test_of_two_that_asked_one_gets_the_place(self) -> None:
        token = self.create(policy=Policy.REJECT)
        self.connect(token, "p")
        fence = self.contest(token, "q")
        outcomes = self.do(Connect(token, "q", None, fence), Connect(token, "r", None, fence))
        assert isinstance(outcomes[0], Connected)
        assert outcomes[1] == Contested(outcomes[0].fence)  # and now that one has to be asked

    def test_the_newest_tokens_policy_decides(self) -> None:
        self.create(policy=Policy.REPLACE)
        older = self.create(policy=Policy.REJECT)
        holder = self.connect(older, "p")
        assert self.contest(older, "q") == holder.fence
        newer = self.create(policy=Policy.REPLACE)
        assert self.try_to_connect(older, "q", older.id) == Refused(REPLACED)
        assert not self.connect(newer, "q").resumed

    def test_displacing_means_nothing_elsewhere(self) -> None:
        for policy in (Policy.REPLACE, Policy.SHARE):
            token = self.create(policy=policy)
            self.connect(token, "p")
            assert isinstance(self.try_to_connect(token, "q", None, 7), Connected)

    def test_an_answer_of_the_holder_changes_nothing(self) -> None:
        token = self.create(policy=Policy.REJECT)
        holder = self.connect(token, "p")
        assert self.do(Affirm("ann", holder.fence), Affirm("ann", 7), Affirm("nobody", 7)) == [None, None, None]
        assert self.contest(token, "q") == holder.fence


class Presence(StoreCase):
    """Who is there, and what the application is told of it (contract, G8)."""

    def come(self, claims: Claims, page: str = "p") -> Connected:
        """A page that connects, where the application wants to know."""
        (outcome,) = self.do(Connect(claims, page, None, tell=True))
        assert isinstance(outcome, Connected)
        return outcome

    def settle(self, *fences: int, tell: bool = True) -> Outcome:
        """The time to come back is over."""
        (outcome,) = self.do(Settle("ann", fences, tell))
        return outcome

    def waiting(self) -> list[tuple[bool, str]]:
        """What the application was not told yet: whether somebody is there, and why it was given up."""
        notices = self.answer(self.asking().notices_of("ann"))
        listed = self.answer(self.asking().notices(0, 100))
        assert listed.notices == list(notices)
        assert listed.waiting + listed.given_up == len(notices)
        return [(notice.connected, notice.given_up) for notice in notices]

    def test_coming_and_going_are_told_in_turn(self) -> None:
        token = self.create()
        sequences = []
        for _ in range(3):
            page = self.come(token)
            assert page.notice is not None
            assert page.notice.connected
            assert self.do(Accepted("ann", page.notice.sequence)) == [None]
            self.release(page)
            self.now += 5
            gone = self.settle(page.fence)
            assert isinstance(gone, Notice)
            assert (gone.client_id, gone.connected, gone.time) == ("ann", False, self.now)
            assert self.do(Accepted("ann", gone.sequence)) == [None]
            sequences += [page.notice.sequence, gone.sequence]
        assert sequences == sorted(set(sequences))
        assert self.waiting() == []

    def test_sequences_increase_whatever_the_clock_does(self) -> None:
        first = self.come(self.create()).notice
        assert first is not None
        self.do(Accepted("ann", first.sequence))
        self.now -= 3000
        second = self.come(self.create("bob")).notice
        assert second is not None
        assert second.sequence > first.sequence

    def test_who_comes_back_in_time_tells_nothing(self) -> None:
        token = self.create()
        page = self.come(token)
        self.release(page)
        again = self.come(token, "q")
        assert again.notice is None
        assert self.settle(page.fence) is None
        assert self.waiting() == [(True, "")]

    def test_settling_frees_the_place_as_well(self) -> None:
        token = self.create(policy=Policy.REJECT)
        page = self.connect(token, "p")
        assert self.settle(page.fence, tell=False) is None
        self.connect(token, "q")

    def test_in_share_the_last_one_counts(self) -> None:
        token = self.create(policy=Policy.SHARE)
        pages = [self.come(token, f"p{n}") for n in range(2)]
        assert self.settle(pages[1].fence) is None
        self.settle(pages[0].fence)
        assert self.waiting() == [(True, ""), (False, "")]

    def test_where_nobody_listens_nothing_waits(self) -> None:
        page = self.connect(self.create(), "p")
        assert page.notice is None
        self.settle(page.fence, tell=False)
        assert self.waiting() == []

    def test_they_are_accepted_in_order(self) -> None:
        page = self.come(self.create())
        self.settle(page.fence)
        assert page.notice is not None
        assert self.do(Accepted("ann", page.notice.sequence + 1)) == [None]  # it is not its turn
        (following,) = self.do(Accepted("ann", page.notice.sequence))
        assert isinstance(following, Notice)
        assert not following.connected
        assert self.do(Accepted("ann", page.notice.sequence)) == [None]  # it has been
        assert self.waiting() == [(False, "")]

    def test_what_is_given_up_is_kept_until_there_is_something_newer(self) -> None:
        page = self.come(self.create())
        assert page.notice is not None
        self.do(GiveUp("ann", page.notice.sequence, "status 500"))
        assert self.waiting() == [(True, "status 500")]
        self.settle(page.fence)
        assert self.waiting() == [(False, "")]

    def test_what_is_given_up_can_wait_again(self) -> None:
        page = self.come(self.create())
        assert page.notice is not None
        self.do(GiveUp("ann", page.notice.sequence, "status 500"))
        self.now += 5000
        assert self.do(Retry("bob"), Retry("ann"), Retry(None)) == [Waiting([]), Waiting(["ann"]), Waiting([])]
        (again,) = self.do(Claim("ann"))
        assert isinstance(again, Notice)
        assert (again.sequence, again.since) == (page.notice.sequence, self.now)

    def test_of_what_waits_behind_it_the_newest_is_told(self) -> None:
        token = self.create()
        page = self.come(token)
        first = page.notice
        assert first is not None
        for _ in range(2):
            self.settle(page.fence)
            page = self.come(token)
        (following,) = self.do(GiveUp("ann", first.sequence, "no connection"))
        assert isinstance(following, Notice)
        assert following.connected
        assert self.waiting() == [(True, "")]

    def test_a_queue_is_bounded_and_still_alternates(self) -> None:
        token = self.create()
        for _ in range(20):
            self.settle(self.come(token).fence)
        waiting = [connected for connected, _ in self.waiting()]
        assert len(waiting) <= 16
        assert waiting == [True, False] * (len(waiting) // 2)

    def test_the_outbox_is_bounded_and_what_was_given_up_goes_first(self) -> None:
        self.open(room=Room(notices=1))
        first = self.come(self.create()).notice
        assert first is not None
        self.do(GiveUp("ann", first.sequence, "status 500"))
        (other,) = self.do(Connect(self.create("bob"), "p", None, tell=True))
        assert isinstance(other, Connected)
        assert other.notice is not None
        assert self.waiting_of_all() == ["bob"]

    def waiting_of_all(self) -> list[str]:
        return [notice.client_id for notice in self.answer(self.asking().notices(0, 100)).notices]

    def test_a_channel_that_has_ended_is_remembered_until_that_is_told(self) -> None:
        page = self.come(self.create(minutes=1))
        self.now += 1000
        self.sweep()
        self.settle(page.fence)
        assert self.waiting() == [(True, ""), (False, "")]


class Revocations(StoreCase):
    """Tokens that the application has made void (contract, A4 and G9)."""

    def test_a_revoked_token_connects_nothing(self) -> None:
        old = self.create()
        self.append()
        assert self.do(Revoke("ann")) == [None]
        assert self.look() is None
        assert self.try_to_connect(old) == Refused(INVALID_TOKEN)
        fresh = self.create()
        assert self.try_to_connect(old) == Refused(INVALID_TOKEN)
        assert self.do(Renew(old), Renew(fresh)) == [Refused(INVALID_TOKEN), None]
        assert self.connect(fresh).start == fresh.id

    def test_whatever_the_clock_does(self) -> None:
        old = self.create()
        self.do(Revoke("ann"))
        self.now -= 1000
        assert self.look() is None
        assert self.try_to_connect(old) == Refused(INVALID_TOKEN)

    def test_it_is_remembered_for_as_long_as_tokens_live(self) -> None:
        old = self.create(minutes=1440)
        self.do(Revoke("ann"))
        self.now += DAY - 1
        self.sweep()
        assert self.try_to_connect(old) == Refused(INVALID_TOKEN)

    def test_a_store_that_was_lost_remembers_it_from_then_on(self) -> None:
        old = self.create()
        self.open()
        self.do(Revoke("ann"))
        assert self.try_to_connect(old) == Refused(INVALID_TOKEN)

    def test_there_may_be_no_room_for_that(self) -> None:
        self.open(room=Room(channels=1))
        self.create()
        assert self.do(Revoke("bob"), Revoke("ann")) == [Full(), None]

    def test_dismissing_changes_nothing_here(self) -> None:
        old = self.create()
        assert self.do(Dismiss("ann"), Drain(self.now)) == [None, None]
        self.connect(old)


class Lists(StoreCase):
    """The client ids that have a channel (contract, A4)."""

    def names(self, prefix: str = "", after: str = "", connected: bool | None = None, limit: int = 100) -> list[str]:
        """The client ids of a list, and `…` when it goes on."""
        found = self.answer(self.asking().clients(prefix, after, connected, limit, self.now))
        return [entry.client_id for entry in found.entries] + ([f"… {found.next}"] if found.next is not None else [])

    def test_they_come_in_the_order_of_their_utf_8(self) -> None:
        for name in ("b", "a\0b", "é", "a", "😀", "\uffff", "B"):
            self.create(name)
        assert self.names() == ["B", "a", "a\0b", "b", "é", "\uffff", "😀"]

    def test_a_list_goes_on_behind_its_last_one(self) -> None:
        for n in range(5):
            self.create(f"c{n}")
        assert self.names(limit=2) == ["c0", "c1", "… c1"]
        assert self.names(limit=2, after="c1") == ["c2", "c3", "… c3"]
        assert self.names(limit=2, after="c3") == ["c4"]

    def test_a_prefix_and_whether_somebody_is_there_choose(self) -> None:
        for name in ("room/ann", "room/bob", "roon", "a"):
            token = self.create(name)
            if name != "room/bob":
                self.connect(token, "p")
        assert self.names("room/") == ["room/ann", "room/bob"]
        assert self.names("room/", connected=True) == ["room/ann"]
        assert self.names(connected=False) == ["room/bob"]
        assert self.names("room/", after="room/ann") == ["room/bob"]
        assert self.names("z") == []

    def test_what_has_ended_is_not_there(self) -> None:
        self.create(minutes=1)
        self.create("bob")
        self.now += 100
        assert self.names() == ["bob"]


class StoreConformance(
    Ids,
    Commits,
    Channels,
    Keys,
    Keeping,
    Reads,
    Starts,
    Looks,
    Rooms,
    LostStores,
    Acknowledgements,
    Places,
    Contests,
    Presence,
    Revocations,
    Lists,
):
    """Everything that :class:`pushline.stores.base.Store` promises to one hub: see the module."""


class RestartingStoreConformance(StoreConformance):
    """The same of a store that keeps what it answered (G1): it is opened again before everything that is asked.

    ``reopen`` may be overridden with a ruder end than ``close``.
    """

    def asking(self) -> Store:
        """A store that was opened just now."""
        self.store = self.reopen(self.store)
        return self.store


class SharedStoreConformance(StoreCase):
    """What a store that several hubs share tells each of them about the others (:meth:`Store.watch`)."""

    def make_peer(self, store: Store) -> Store:
        """Another handle on what ``store`` keeps, as another hub has it."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let events arrive that are on their way. Nothing to do for a store that tells at once."""

    def listen(self, store: Store) -> list[Event]:
        """What ``store`` tells from now on."""
        heard: list[Event] = []

        def listener(events: Sequence[Event]) -> None:
            heard.extend(events)

        store.watch(listener)
        return heard

    def test_what_one_hub_keeps_another_reads(self) -> None:
        peer = self.make_peer(self.store)
        self.create()
        message = self.append("hello")
        assert self.answer(peer.read("ann", 0, self.now)).messages == [Message(message.id, 0, b"hello")]
        peer.close()

    def test_a_message_is_told_to_the_others_with_the_id_before_it(self) -> None:
        peer = self.make_peer(self.store)
        mine, theirs = self.listen(self.store), self.listen(peer)
        token = self.create()
        message = self.append("hello")
        self.settle()
        assert theirs == [Published("ann", Message(message.id, token.id, b"hello"))]
        assert mine == []
        peer.close()

    def test_that_connections_are_to_end_is_told(self) -> None:
        peer = self.make_peer(self.store)
        mine, theirs = self.listen(self.store), self.listen(peer)
        self.create()
        self.do(Revoke("ann"), Dismiss("bob"))
        self.settle()
        assert theirs == [Dismissed("ann", revoked=True), Dismissed("bob", revoked=False)]
        assert mine == []
        peer.close()

    def test_what_a_hub_that_ended_left_behind_is_told_once(self) -> None:
        peer = self.make_peer(self.store)
        self.listen(self.store)
        self.listen(peer)
        peer.orphans()
        token = self.create()
        (page,) = self.do(Connect(token, "p", None, tell=True))
        assert isinstance(page, Connected)
        assert peer.orphans() is None
        self.store.close()
        self.store = peer
        orphans = peer.orphans()
        assert orphans is not None
        assert orphans.connections == [("ann", (page.fence,))]
        assert orphans.notices == ["ann"]
        assert peer.orphans() is None
        (notice,) = self.do(Claim("ann"))
        assert notice == page.notice
        assert self.do(Claim("ann")) == [None]

    def test_that_the_application_waits_is_told(self) -> None:
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        self.create()
        self.do(Append("ann", b"0", waited=True), Append("ann", b"1"))
        self.settle()
        assert [event.waited for event in heard if isinstance(event, Published)] == [True, False]
        peer.close()

    @pytest.mark.parametrize("policy", Policy)
    def test_what_was_acknowledged_is_told(self, policy: Policy) -> None:
        peer = self.make_peer(self.store)
        token = self.create(policy=policy)
        page = self.connect(token, "p")
        first, second = self.append("0"), self.append("1")
        mine, theirs = self.listen(self.store), self.listen(peer)
        self.acknowledge(token, page, first.id)
        self.settle()
        assert theirs == [Handled("ann", first.id, 0)]
        self.acknowledge(token, page, first.id)
        self.acknowledge(token, page, second.id + 1)
        self.settle()
        assert len(theirs) == 1
        self.connect(token, "p", second.id)
        self.settle()
        assert Handled("ann", second.id, token.id) in theirs
        assert not any(isinstance(event, Handled) for event in mine)
        peer.close()

    def test_what_a_page_without_the_place_acknowledges_is_not_told(self) -> None:
        peer = self.make_peer(self.store)
        token = self.create()
        loser = self.connect(token, "p")
        self.connect(token, "q")
        message = self.append()
        heard = self.listen(peer)
        self.acknowledge(token, loser, message.id)
        self.settle()
        assert heard == []
        peer.close()

    def test_what_was_acknowledged_is_told_after_the_message_itself(self) -> None:
        peer = self.make_peer(self.store)
        token = self.create()
        page = self.connect(token, "p")
        message = self.append("0")
        heard = self.listen(peer)
        _, later = self.do(Acknowledge("ann", token.id, page.fence, message.id), Append("ann", b"1"))
        assert isinstance(later, Message)
        self.do(Append("ann", b"2"), Acknowledge("ann", token.id, page.fence, later.id))
        self.settle()
        published = [event.message.id if isinstance(event, Published) else 0 for event in heard]
        assert published.index(later.id) < heard.index(Handled("ann", later.id, 0))
        peer.close()

    def test_a_place_that_is_contested_is_told_to_those_who_can_ask_its_page(self) -> None:
        peer = self.make_peer(self.store)
        token = self.create(policy=Policy.REJECT)
        holder = self.connect(token, "p")
        mine, theirs = self.listen(self.store), self.listen(peer)
        assert self.contest(token, "q") == holder.fence
        self.settle()
        assert theirs == [Asked("ann", holder.fence)]
        assert mine == []
        peer.close()

    def test_that_the_holder_answered_is_told_to_those_who_asked(self) -> None:
        peer = self.make_peer(self.store)
        token = self.create(policy=Policy.REJECT)
        older = self.connect(token, "p")
        holder = self.connect(token, "p", token.id)
        mine, theirs = self.listen(self.store), self.listen(peer)
        self.do(Affirm("ann", holder.fence), Affirm("ann", older.fence), Affirm("nobody", 7))
        self.settle()
        assert theirs == [Held("ann", holder.fence)]
        assert mine == []
        self.release(holder)
        self.do(Affirm("ann", holder.fence))
        self.settle()
        assert len(theirs) == 1
        peer.close()

    def test_a_page_that_was_displaced_hears_that_its_place_was_taken(self) -> None:
        peer = self.make_peer(self.store)
        token = self.create(policy=Policy.REJECT)
        fence = self.connect(token, "p").fence
        heard = self.listen(peer)
        taken = self.try_to_connect(token, "q", None, fence)
        assert isinstance(taken, Connected)
        self.settle()
        assert heard == [Arrived("ann", taken.fence, False, "q", Policy.REJECT)]
        peer.close()

    def test_messages_are_told_in_the_order_of_their_ids(self) -> None:
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        self.create()
        self.do(*[Append("ann", b"%d" % n) for n in range(5)])
        self.settle()
        ids = [event.message.id for event in heard if isinstance(event, Published)]
        assert len(ids) == 5
        assert ids == sorted(ids)
        peer.close()

    def test_what_was_not_kept_is_not_told(self) -> None:
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        self.do(Append("ann", b"no channel"))
        self.create()
        self.append(key="k")
        self.settle()
        assert len(heard) == 1
        self.do(Append("ann", b"hello", "k"))
        self.settle()
        assert len(heard) == 1
        peer.close()

    def test_a_place_that_was_taken_is_told(self) -> None:
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        token = self.create()
        first = self.connect(token, "p")
        second = self.connect(token, "p", token.id)
        third = self.connect(token, "q")
        self.settle()
        assert heard == [
            Arrived("ann", first.fence, False, "p", Policy.REPLACE),
            Arrived("ann", second.fence, True, "p", Policy.REPLACE),
            Arrived("ann", third.fence, False, "q", Policy.REPLACE),
        ]
        peer.close()

    def test_a_page_that_was_refused_is_not_told(self) -> None:
        token = self.create()
        self.connect(token, "p")
        self.connect(token, "q")
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        self.try_to_connect(token, "p", token.id)
        self.settle()
        assert heard == []
        peer.close()

    def test_a_page_that_shares_is_told_by_its_name(self) -> None:
        token = self.create(policy=Policy.SHARE)
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        page = self.connect(token, "p")
        self.settle()
        assert heard == [Arrived("ann", page.fence, False, "p", Policy.SHARE)]
        peer.close()

    def test_a_place_that_was_lost_to_a_page_of_another_hub_acknowledges_nothing(self) -> None:
        peer = self.make_peer(self.store)
        token = self.create()
        message = self.append("hello")
        loser = self.connect(token, "p")
        self.answer(peer.commit([Connect(token, "q", None)], self.now))
        self.acknowledge(token, loser, message.id)
        assert self.texts() == ["hello"]
        peer.close()

    def test_a_handle_that_was_closed_hears_nothing(self) -> None:
        peer = self.make_peer(self.store)
        heard = self.listen(peer)
        peer.close()
        self.create()
        self.append()
        self.settle()
        assert heard == []

    def test_of_several_handles_those_that_are_left_go_on_hearing(self) -> None:
        first, second = self.make_peer(self.store), self.make_peer(self.store)
        heard = self.listen(second)
        first.close()
        token = self.create()
        page = self.connect(token, "p")
        message = self.append()
        self.acknowledge(token, page, message.id)
        self.settle()
        assert heard[-1] == Handled("ann", message.id, 0)
        second.close()

    def test_a_handle_that_does_not_listen_misses_nothing_it_reads(self) -> None:
        peer = self.make_peer(self.store)
        self.create()
        self.append("hello")
        assert [message.data for message in self.answer(peer.read("ann", 0, self.now)).messages] == [b"hello"]
        peer.close()
