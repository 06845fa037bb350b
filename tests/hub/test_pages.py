"""What becomes of pages (contract, G3, G4, G5, G7 and G9)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.hub.stage import GRACE, Late, Page, Recording, Stage

from pushline.errors import ConnectionEnded, StoreError
from pushline.hub import CONTEST_SECONDS, SWEEP_AGAIN_SECONDS, SWEEP_SECONDS, Outlet
from pushline.messages import Policy, format_id
from pushline.protocol.codes import (
    GOING_AWAY,
    INVALID_TOKEN,
    NORMAL,
    PROTOCOL_ERROR,
    REPLACED,
    TOKEN_EXPIRED,
    TOO_MANY,
)
from pushline.protocol.frames import Expiring, Open, Ping, TokenAccepted
from pushline.stores.base import ChannelState, ClientList, Retention
from pushline.stores.memory import MemoryStore


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
        stage.hub.refuse(page, ConnectionEnded(INVALID_TOKEN))
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
        assert holder.code == NORMAL
        assert stage.connect(token, "p", loser.cursor).connected

    def test_a_page_that_was_gone_before_it_could_be_told_leaves_the_place_free(self, stage: Stage) -> None:
        token = stage.create()
        old = stage.connect(token, "p")
        ghost = stage.connect(token, "q", gone=True)
        assert not ghost.connected
        assert old.code == REPLACED
        assert stage.hub.counters.connections == 0
        assert stage.connect(token, "p", old.cursor).connected

    def test_a_page_that_came_back_and_was_gone_again_keeps_its_place_for_the_grace_time(self, stage: Stage) -> None:
        token = stage.create()
        old = stage.connect(token, "p")
        holder = stage.connect(token, "q")
        holder.drop()
        assert not stage.connect(token, "q", holder.cursor, gone=True).connected
        assert stage.connect(token, "p", old.cursor).code == REPLACED
        stage.clock.advance(GRACE)
        assert stage.connect(token, "p", old.cursor).connected


class TestFreshTokens:
    """W3, G9: a fresh token for the same client id keeps the socket."""

    def test_it_is_accepted_and_moves_the_end(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=60))
        self.answer_pings(stage, page, 50)
        page.say("token", token=stage.create(seconds=600))
        stage.clock.turn()
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

    def test_what_is_older_than_the_fresh_token_is_acknowledged_all_the_same(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send("older")
        page.say("token", token=stage.create())
        stage.send("newer")
        page.acknowledge(format_id(page.messages[0].id))
        stage.clock.turn()
        assert stage.kept() == ["newer"]

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


class TestTooManyAtOnce:
    """W8: who comes too early is told when to come."""

    def refused(self, stage: Stage, token: str, count: int) -> list[int]:
        ends: list[ConnectionEnded] = []
        for n in range(count):
            try:
                stage.connect(token, f"p{n}")
            except ConnectionEnded as ended:
                ends.append(ended)
        assert all(ended.code == TOO_MANY for ended in ends)
        return [ended.retry or 0 for ended in ends]

    def test_each_is_given_a_moment_of_its_own(self) -> None:
        stage = Stage(connect_rate=2.0)
        retries = self.refused(stage, stage.create(policy=Policy.SHARE), 30)
        assert len(retries) == pytest.approx(20, abs=1)
        assert retries == sorted(set(retries))
        assert retries[0] > 0

    def test_everybody_gets_in_at_its_moment(self) -> None:
        stage = Stage(connect_rate=2.0)
        token = stage.create(policy=Policy.SHARE)
        before = 0
        for n, retry in enumerate(self.refused(stage, token, 30)):
            stage.clock.advance((retry - before) / 1000)
            before = retry
            assert stage.connect(token, f"q{n}").connected

    def test_without_a_rate_everybody_gets_in(self, stage: Stage) -> None:
        assert self.refused(stage, stage.create(policy=Policy.SHARE), 500) == []

    def test_whoever_has_no_token_takes_nobodys_turn(self) -> None:
        stage = Stage(connect_rate=2.0)
        token = stage.create()
        for _ in range(100):
            with pytest.raises(ConnectionEnded) as ended:
                stage.connect("forged")
            assert ended.value.code == INVALID_TOKEN
        assert stage.connect(token).connected

    def test_a_hub_that_goes_away_says_so_first(self) -> None:
        stage = Stage(connect_rate=1.0)
        token = stage.create(policy=Policy.SHARE)
        self.refused(stage, token, 30)
        stage.hub.close(2.0)
        with pytest.raises(ConnectionEnded) as ended:
            stage.connect(token)
        assert (ended.value.code, ended.value.retry) == (GOING_AWAY, 500)


class TestManyOfOneClientId:
    """W8: one client id has so many connections, and the next one is told to come later."""

    def crowded(self, policy: Policy = Policy.SHARE) -> tuple[Stage, str, list[Page]]:
        stage = Stage(max_per_client=3)
        token = stage.create(policy=policy)
        return stage, token, [stage.connect(token, f"p{n}") for n in range(3)]

    def test_the_one_that_is_too_many_is_told_when_to_come_back(self) -> None:
        stage, token, pages = self.crowded()
        late = stage.connect(token, "q")
        assert (late.connected, late.code, late.retry) == (False, TOO_MANY, 6250)
        assert all(page.connected for page in pages)
        assert (stage.hub.counters.connections_crowded, stage.hub.counters.connections_refused) == (1, 1)
        assert stage.hub.counters.connections == 3

    def test_nothing_of_it_stays(self) -> None:
        stage, token, pages = self.crowded()
        for n in range(20):
            stage.connect(token, f"q{n}")
        for page in pages:
            page.drop(orderly=True)
        stage.clock.advance(GRACE + 1)
        connected: list[ClientList] = []
        stage.hub.list_clients("", "", True, 10, connected.append, stage.answers.failed.append)
        assert connected[0].entries == []

    def test_it_gets_in_when_another_one_has_left(self) -> None:
        stage, token, pages = self.crowded()
        pages[1].drop()
        assert stage.connect(token, "q").connected
        assert stage.connect(token, "r").code == TOO_MANY

    def test_those_of_one_moment_are_counted_one_by_one(self) -> None:
        stage = Stage(max_per_client=3)
        token = stage.create(policy=Policy.SHARE)
        pages = [stage.ask_to_connect(token, f"p{n}") for n in range(10)]
        stage.clock.turn()
        assert [page.connected for page in pages] == [True] * 3 + [False] * 7

    def test_a_page_is_never_one_too_many_for_itself(self) -> None:
        stage, token, pages = self.crowded()
        stage.send("0")
        back = stage.connect(token, "p1", pages[1].cursor)
        assert (back.connected, pages[1].code) == (True, NORMAL)
        assert stage.connect(token, "p2").connected

    def test_a_page_that_vanished_and_finds_no_room_is_not_told_that_it_lost_anything(self) -> None:
        stage, token, pages = self.crowded()
        stage.send("0")
        cursor = pages[0].cursor
        pages[0].drop()
        stage.connect(token, "q")
        back = stage.connect(token, "p0", cursor)
        assert back.code == TOO_MANY
        stage.send("1")
        pages[1].drop()
        again = stage.connect(token, "p0", cursor)
        assert (again.open.gap, again.texts) == (False, ["1"])

    def test_where_the_newest_page_has_the_place_nobody_is_too_many(self) -> None:
        stage, token, _ = self.crowded(Policy.REPLACE)
        assert all(stage.connect(token, f"q{n}").connected for n in range(20))

    def test_those_who_wait_for_the_place_are_counted_as_well(self) -> None:
        stage = Stage(max_per_client=3)
        token = stage.create(policy=Policy.REJECT)
        stage.connect(token)
        pages = [stage.connect(token, f"q{n}") for n in range(5)]
        assert [page.code for page in pages] == [None] * 3 + [TOO_MANY] * 2
        stage.clock.advance(CONTEST_SECONDS)
        assert sum(page.connected for page in pages) == 1

    def test_other_client_ids_have_their_own(self) -> None:
        stage, _, _ = self.crowded()
        assert stage.connect(stage.create("bob", policy=Policy.SHARE)).connected

    def test_the_application_is_not_told_of_it(self) -> None:
        stage = Stage(max_per_client=1, presence=True)
        token = stage.create(policy=Policy.SHARE)
        stage.connect(token)
        stage.connect(token, "q")
        stage.clock.advance(GRACE + 1)
        assert stage.heard() == [True]

    def test_without_a_limit_everybody_gets_in(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        assert all(stage.connect(token, f"p{n}").connected for n in range(300))


class TestLeaving:
    """W3: ``leave`` ends the session."""

    def test_the_connection_ends_in_good_order_behind_what_was_on_its_way(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.ask_to_send("0")
        page.say("leave", id="")
        assert page.code == NORMAL
        stage.clock.turn()
        assert stage.answers.sent[-1][1] == "queued"
        assert stage.hub.counters.connections == 0

    def test_nothing_that_comes_afterwards_counts(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send("0")
        page.say("leave", id="")
        page.say("ack", id=page.cursor)
        stage.clock.turn()
        assert stage.kept() == ["0"]

    def test_a_page_that_comes_back_all_the_same_goes_on(self, stage: Stage) -> None:
        """A page that the browser brings back from its cache says that it leaves, and then does not."""
        page = stage.connect(stage.create())
        stage.send("0")
        page.say("leave", id=page.cursor)
        stage.send("1")
        back = stage.connect(page.token, "p", page.cursor)
        assert (back.open.gap, back.texts) == (False, ["1"])

    def test_an_id_that_is_none_is_an_error(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.say("leave", id="nonsense")
        assert page.code == PROTOCOL_ERROR


class TestLookingUp:
    """A4: what the application may know of a channel."""

    def look(self, stage: Stage, client_id: str = "ann") -> tuple[ChannelState | None, list[str]]:
        found: list[tuple[ChannelState | None, list[str]]] = []

        def looked(state: ChannelState | None, outlets: Sequence[Outlet]) -> None:
            found.append((state, [outlet.name for outlet in outlets]))

        stage.hub.look(client_id, looked, stage.answers.failed.append)
        return found[-1]

    def test_its_state_and_its_connections_here(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        stage.connect(token, "p")
        stage.connect(token, "q")
        stage.send()
        state, names = self.look(stage)
        assert state is not None
        assert (state.queued, state.acknowledged, state.policy) == (1, None, Policy.SHARE)
        assert names == ["page", "page"]

    def test_it_sees_what_was_said_earlier_in_the_same_turn(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send()
        page.acknowledge()
        state, _ = self.look(stage)
        assert state is not None
        assert (format_id(state.acknowledged or 0), state.queued) == (page.cursor, 0)

    def test_one_that_does_not_exist(self, stage: Stage) -> None:
        assert self.look(stage) == (None, [])

    def test_a_store_that_fails_is_told(self) -> None:
        store = Recording()
        stage = Stage(store)
        store.error = StoreError("a reason")
        stage.hub.look("ann", lambda state, outlets: None, stage.answers.failed.append)
        assert stage.answers.failed == [store.error]

    def test_a_store_that_answers_or_fails_later(self, late: Late) -> None:
        stage = Stage(late)
        found: list[ChannelState | None] = []
        stage.hub.look("ann", lambda state, outlets: found.append(state), stage.answers.failed.append)
        late.settle(stage.clock)
        assert found == [None]
        late.error = StoreError("a reason")
        stage.hub.look("ann", lambda state, outlets: found.append(state), stage.answers.failed.append)
        late.settle(stage.clock)
        assert (found, stage.answers.failed) == ([None], [late.error])
