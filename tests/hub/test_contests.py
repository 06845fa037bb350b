"""Who keeps the place under ``reject`` (contract, G7): the page that has it, if it answers within two seconds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.hub.stage import GRACE, Deaf, Late, Page, Stage

from pushline.errors import ConnectionEnded
from pushline.hub import CONTEST_SECONDS
from pushline.messages import Policy
from pushline.protocol.codes import GOING_AWAY, NORMAL, REPLACED
from pushline.protocol.frames import Ping
from pushline.stores.base import Affirm, Asked, Held, Operation, Outcome
from pushline.stores.memory import MemoryStore


def reject(stage: Stage) -> str:
    return stage.create(policy=Policy.REJECT)


class TestAPageThatAnswers:
    def test_keeps_the_place_and_the_newcomer_is_told(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        newcomer = stage.connect(token, "q")
        assert holder.last == Ping()
        assert (newcomer.connected, newcomer.code) == (False, None)
        holder.acknowledge("")
        stage.clock.turn()
        assert (newcomer.connected, newcomer.code) == (False, REPLACED)
        assert holder.connected
        assert stage.send() == "sent"
        assert holder.texts == ["hello"]
        counters = stage.hub.counters
        assert (counters.connections_refused, counters.connections_replaced, counters.connections) == (1, 0, 1)

    def test_answers_all_who_want_its_place_at_once(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        newcomers = [stage.connect(token, name) for name in ("q", "r", "s")]
        holder.acknowledge("")
        stage.clock.turn()
        assert [page.code for page in newcomers] == [REPLACED] * 3

    def test_is_asked_again_by_the_next_one(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        for n in range(1, 4):
            newcomer = stage.connect(token, f"q{n}")
            assert holder.pings == n
            holder.acknowledge("")
            assert newcomer.code == REPLACED
        stage.clock.advance(5)
        assert holder.connected

    def test_may_answer_by_post(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        holder.post("ack")
        assert newcomer.code == REPLACED

    def test_may_answer_just_in_time(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        stage.clock.advance(CONTEST_SECONDS - 0.01)
        holder.acknowledge("")
        stage.clock.advance(5)
        assert newcomer.code == REPLACED
        assert holder.connected

    def test_answers_though_nothing_was_acknowledged_or_everything(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        stage.send()
        holder.acknowledge()
        newcomer = stage.connect(token, "q")
        holder.acknowledge()
        assert newcomer.code == REPLACED

    def test_does_not_answer_before_it_was_asked(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        holder.acknowledge("")
        newcomer = stage.connect(token, "q")
        stage.clock.advance(CONTEST_SECONDS)
        assert (newcomer.connected, holder.code) == (True, REPLACED)

    def test_by_a_frame_that_ends_it_keeps_nothing(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        holder.say("nonsense")
        assert not holder.connected
        stage.clock.advance(CONTEST_SECONDS)
        assert newcomer.connected

    def test_of_another_client_id_answers_for_itself_alone(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p")
        other = stage.connect(stage.create("bob", policy=Policy.REJECT), "b")
        newcomer = stage.connect(token, "q")
        other.acknowledge("")
        assert newcomer.code is None


class TestAPageThatDoesNot:
    def test_loses_the_place(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        stage.send("0")
        newcomer = stage.connect(token, "q")
        stage.clock.advance(CONTEST_SECONDS - 0.01)
        assert newcomer.got == []
        stage.clock.advance(0.01)
        assert newcomer.connected
        assert newcomer.texts == ["0"]
        assert holder.code == REPLACED
        holder.acknowledge()
        stage.clock.turn()
        assert stage.kept() == ["0"]

    def test_loses_it_to_the_first_of_several_who_now_has_to_be_asked_itself(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        first = stage.connect(token, "q")
        stage.clock.advance(1)
        second = stage.connect(token, "r")
        stage.clock.advance(1)
        assert (first.connected, holder.code) == (True, REPLACED)
        stage.clock.advance(1)
        assert (second.connected, second.code) == (False, None)
        first.acknowledge()
        assert second.code == REPLACED

    def test_loses_it_to_one_who_comes_after_another_that_did_not_stay(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p").drop()
        gone = stage.connect(token, "q")
        stage.hub.left(gone)
        last = stage.connect(token, "r")
        stage.clock.advance(CONTEST_SECONDS)
        assert last.connected
        assert not gone.connected

    def test_gets_it_back_when_it_comes_back_in_time(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        back = stage.connect(token, "p", holder.cursor)
        assert back.connected
        assert holder.code == NORMAL
        assert newcomer.code == REPLACED

    def test_and_whose_connection_broke_has_the_same_time(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        stage.clock.advance(0.5)
        holder.drop()
        stage.clock.advance(1)
        assert (newcomer.got, newcomer.code) == ([], None)
        back = stage.connect(token, "p", holder.cursor)
        assert back.connected
        stage.clock.advance(CONTEST_SECONDS)
        assert newcomer.code == REPLACED
        assert back.connected

    def test_and_whose_connection_was_broken_before_has_it_too(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        holder.drop()
        newcomer = stage.connect(token, "q")
        stage.clock.advance(1.9)
        assert newcomer.code is None
        assert stage.connect(token, "p", holder.cursor).connected
        stage.clock.advance(CONTEST_SECONDS)
        assert newcomer.code == REPLACED

    def test_and_vanished_leaves_it_to_the_newcomer(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        holder.drop()
        stage.clock.advance(CONTEST_SECONDS)
        assert newcomer.connected
        stage.clock.advance(GRACE + 1)  # the end of its grace takes nothing from the page that came
        assert stage.connect(token, "p", holder.cursor).code is None
        newcomer.acknowledge("")
        assert newcomer.connected
        assert stage.send() == "sent"

    def test_comes_back_and_is_the_newcomer(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        stage.clock.advance(CONTEST_SECONDS)
        back = stage.connect(token, "p", holder.cursor)
        assert newcomer.last == Ping()
        newcomer.acknowledge("")
        assert back.code == REPLACED

    @pytest.mark.parametrize("how", ["leave", "close", "late"])
    def test_because_it_leaves_makes_way_at_once(self, stage: Stage, how: str) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        match how:
            case "leave":
                holder.say("leave", id="")
            case "close":
                holder.drop(orderly=True)
            case _:
                holder.drop()
                holder.post("leave", "")
        stage.clock.turn()
        assert newcomer.connected
        assert newcomer.code is None


class TestTheNewcomer:
    def test_finds_a_free_place_without_asking(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p").drop(orderly=True)
        assert stage.connect(token, "q").connected

    def test_that_is_the_holder_itself_asks_nobody(self, stage: Stage) -> None:
        token = reject(stage)
        old = stage.connect(token, "p")
        assert stage.connect(token, "p").connected
        assert (old.code, old.pings) == (NORMAL, 0)

    def test_that_comes_again_while_it_waits_gets_the_place_once(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p")
        first = stage.connect(token, "q")
        stage.clock.advance(1)
        second = stage.connect(token, "q")
        stage.clock.advance(1)
        assert (first.code, second.code) == (NORMAL, None)
        assert second.connected
        assert stage.hub.counters.connections == 1

    def test_that_is_gone_meanwhile_takes_the_place_for_the_grace_time_at_most(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p")
        ghost = stage.connect(token, "q", gone=True)
        stage.clock.advance(CONTEST_SECONDS)
        assert not ghost.connected
        assert stage.hub.counters.connections == 0
        stage.clock.advance(GRACE)
        assert stage.connect(token, "r").connected

    def test_that_is_gone_meanwhile_costs_a_page_that_answers_nothing(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        stage.connect(token, "q", gone=True)
        holder.acknowledge("")
        stage.clock.advance(5)
        assert holder.connected
        assert stage.send() == "sent"

    def test_gets_no_message_while_it_waits(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        stage.send("0")
        assert newcomer.got == []
        assert holder.texts == ["0"]

    def test_whose_token_ends_while_it_waits_is_not_connected_for_long(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p")
        newcomer = stage.connect(stage.create(seconds=1, policy=Policy.REJECT), "q")
        stage.clock.advance(CONTEST_SECONDS + 0.2)
        assert not newcomer.connected

    def test_with_a_token_that_says_replace_takes_the_place(self, stage: Stage) -> None:
        holder = stage.connect(reject(stage), "p")
        newcomer = stage.connect(stage.create(policy=Policy.REPLACE), "q")
        assert newcomer.connected
        assert holder.code == REPLACED

    def test_without_a_name_and_cursor_contests_too(self, stage: Stage) -> None:
        token = reject(stage)
        holder, newcomer = stage.connect(token, "p"), stage.connect(token, "")
        holder.acknowledge("")
        assert newcomer.code == REPLACED


class TestAPollingPage:
    """Each poll is a connection in the place of the one before, so its fence moves."""

    def test_that_polls_again_keeps_the_place(self, stage: Stage) -> None:
        token = reject(stage)
        poll, newcomer = stage.connect(token, "p"), stage.connect(token, "q")
        for _ in range(3):
            stage.clock.advance(0.4)
            poll = stage.connect(token, "p", poll.cursor)
            assert poll.connected
            assert newcomer.code == REPLACED

    def test_between_two_polls_keeps_the_place(self, stage: Stage) -> None:
        token = reject(stage)
        poll = stage.connect(token, "p")
        poll.drop()
        newcomer = stage.connect(token, "q")
        stage.clock.advance(1.5)
        back = stage.connect(token, "p", poll.cursor)
        stage.clock.advance(1)
        assert back.connected
        assert newcomer.code == REPLACED

    def test_that_polls_at_the_other_hub_keeps_the_place(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        poll, newcomer = two.connect(token, "p"), one.connect(token, "q")
        back = two.connect(token, "p", poll.cursor)
        one.clock.advance(CONTEST_SECONDS)
        assert newcomer.code == REPLACED
        assert back.connected


class TestTheEnd:
    def test_whoever_waits_is_told_when_to_come_back(self) -> None:
        moments = iter([0.1, 0.2, 0.3])
        stage = Stage(random=lambda: next(moments))
        token = reject(stage)
        holder = stage.connect(token, "p")
        newcomers = [stage.connect(token, "q"), stage.connect(token, "r")]
        stage.hub.close(10.0)
        assert [(page.code, page.retry) for page in newcomers] == [(GOING_AWAY, 1000), (GOING_AWAY, 2000)]
        assert (holder.code, holder.retry) == (GOING_AWAY, 3000)
        stage.clock.advance(10)
        assert not any(page.connected for page in newcomers)

    def test_a_contest_that_was_asked_for_in_the_last_turn_is_told_too(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p")
        newcomer = stage.ask_to_connect(token, "q")
        stage.hub.close(2.0)
        assert newcomer.code == GOING_AWAY

    def test_the_holder_has_its_place_when_it_comes_to_the_next_process(self, stage: Stage) -> None:
        token = reject(stage)
        holder = stage.connect(token, "p")
        stage.connect(token, "q")
        stage.hub.close(2.0)
        after = Stage(stage.store, stage.clock)
        assert after.connect(token, "p", holder.cursor).connected

    def test_nobody_contests_while_the_hub_goes_away(self, stage: Stage) -> None:
        token = reject(stage)
        stage.connect(token, "p")
        stage.hub.close(2.0)
        with pytest.raises(ConnectionEnded) as ended:
            stage.ask_to_connect(token, "q")
        assert (ended.value.code, ended.value.retry) == (GOING_AWAY, 500)


class TestTwoHubs:
    """The holder at one hub, the newcomer at the other."""

    def test_a_page_that_answers_keeps_the_place(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder, newcomer = two.connect(token, "p"), one.connect(token, "q")
        assert holder.last == Ping()
        holder.acknowledge("")
        one.clock.turn()
        assert newcomer.code == REPLACED
        assert holder.connected
        assert one.send() == "queued"
        assert holder.texts == ["hello"]

    def test_a_page_that_does_not_loses_it(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder, newcomer = two.connect(token, "p"), one.connect(token, "q")
        one.clock.advance(CONTEST_SECONDS)
        assert newcomer.connected
        assert holder.code == REPLACED

    def test_newcomers_at_both_get_the_same_answer(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder = two.connect(token, "p")
        here, there = one.connect(token, "q"), two.connect(token, "r")
        holder.acknowledge("")
        one.clock.turn()
        assert (here.code, there.code) == (REPLACED, REPLACED)

    def test_of_newcomers_at_both_one_gets_the_place(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder = two.connect(token, "p")
        here, there = one.connect(token, "q"), two.connect(token, "r")
        one.clock.advance(CONTEST_SECONDS)
        assert holder.code == REPLACED
        (winner,) = (page for page in (here, there) if page.connected)
        (loser,) = (page for page in (here, there) if not page.connected)
        winner.acknowledge()
        one.clock.turn()
        assert loser.code == REPLACED

    def test_a_page_that_leaves_makes_way_within_the_time(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder, newcomer = two.connect(token, "p"), one.connect(token, "q")
        holder.say("leave", id="")
        one.clock.advance(CONTEST_SECONDS)
        assert newcomer.connected

    def test_a_page_that_vanished_there_has_the_time_to_come_back_here(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder, newcomer = two.connect(token, "p"), one.connect(token, "q")
        holder.drop()
        one.clock.advance(1)
        back = one.connect(token, "p", holder.cursor)
        one.clock.advance(CONTEST_SECONDS)
        assert back.connected
        assert newcomer.code == REPLACED
        one.clock.advance(GRACE)
        assert back.connected
        assert one.send() == "sent"

    def test_a_drain_of_the_holders_hub_gives_it_the_time_to_come_back(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = reject(one)
        holder, newcomer = two.connect(token, "p"), one.connect(token, "q")
        two.hub.close(1.0)
        one.clock.advance(0.25)
        back = one.connect(token, "p", holder.cursor)
        one.clock.advance(CONTEST_SECONDS)
        assert back.connected
        assert newcomer.code == REPLACED

    def test_what_nobody_hears_costs_the_newcomer_two_seconds_and_the_holder_its_place(self) -> None:
        """A hub that is cut off cannot ask: the store alone says who holds the place."""
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        token = reject(one)
        holder = two.connect(token, "p")
        deaf.deaf = True
        newcomer = one.connect(token, "q")
        one.clock.advance(CONTEST_SECONDS)
        assert newcomer.connected
        one.send()
        holder.acknowledge("")
        one.clock.turn()
        assert one.kept() == ["hello"]

    def test_late_news_of_an_answer_end_nobody(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        token = reject(one)
        newcomer = two.connect(token, "q")
        deaf.listener([Held("ann", newcomer.session.fence), Asked("ann", 1), Held("bob", 7)])
        assert newcomer.connected
        assert newcomer.pings == 0

    def test_an_answer_is_told_once_and_only_when_somebody_asked(
        self, stages: tuple[Stage, Stage], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = stages
        heard: list[object] = []
        token = reject(one)
        holder = two.connect(token, "p")
        commit = MemoryStore.commit

        def note(store: MemoryStore, operations: Sequence[Operation], now: float) -> list[Outcome]:
            heard.extend(operation for operation in operations if isinstance(operation, Affirm))
            return commit(store, operations, now)

        monkeypatch.setattr(MemoryStore, "commit", note)
        one.connect(token, "q")
        for _ in range(3):
            holder.acknowledge("")
            one.clock.turn()
        assert heard == [Affirm("ann", holder.session.fence)]


class TestAStoreThatAnswersLater:
    @pytest.fixture
    def stage(self, late: Late) -> Stage:
        return Stage(late)

    def begin(self, stage: Stage, late: Late) -> tuple[str, Page, Page]:
        """A holder, and a newcomer whose contest is asked for and not yet answered."""
        stage.ask_to_create(policy=Policy.REJECT)
        late.settle(stage.clock)
        token = stage.answers.created[-1][0]
        holder = stage.ask_to_connect(token, "p")
        late.settle(stage.clock)
        newcomer = stage.connect(token, "q")
        return token, holder, newcomer

    def test_it_is_the_same(self, stage: Stage, late: Late) -> None:
        _, holder, newcomer = self.begin(stage, late)
        late.settle(stage.clock)
        assert holder.last == Ping()
        holder.acknowledge("")
        late.settle(stage.clock)
        assert newcomer.code == REPLACED

    def test_a_holder_that_answers_while_its_place_is_being_taken_has_lost_it(self, stage: Stage, late: Late) -> None:
        _, holder, newcomer = self.begin(stage, late)
        late.settle(stage.clock)
        stage.clock.advance(CONTEST_SECONDS)
        holder.acknowledge("")
        late.settle(stage.clock)
        assert newcomer.connected
        assert holder.code == REPLACED

    def test_a_drain_before_the_store_answers_leaves_the_place_to_its_holder(self, stage: Stage, late: Late) -> None:
        token, holder, newcomer = self.begin(stage, late)
        stage.hub.close(2.0)
        late.settle(stage.clock)
        assert newcomer.code == GOING_AWAY
        stage.clock.advance(CONTEST_SECONDS)
        late.settle(stage.clock)
        after = Stage(late.inner, stage.clock)
        assert after.connect(token, "r").code is None
        assert after.connect(token, "p", holder.cursor).connected

    def test_a_holder_that_is_gone_before_the_store_answers_has_its_time(self, stage: Stage, late: Late) -> None:
        _, holder, newcomer = self.begin(stage, late)
        holder.drop()
        late.settle(stage.clock)
        assert newcomer.code is None
        stage.clock.advance(CONTEST_SECONDS)
        late.settle(stage.clock)
        assert newcomer.connected
