"""What a page says by POST, while it is connected and just after (contract, W3)."""

from __future__ import annotations

import pytest
from tests.hub.stage import GRACE, Late, Page, Stage

from pushline.hub import LATE_SECONDS, SWEEP_SECONDS
from pushline.messages import Policy, format_id
from pushline.protocol.codes import NORMAL, PROTOCOL_ERROR, REPLACED
from pushline.protocol.frames import Ack, FreshToken, TokenAccepted


def with_a_message(stage: Stage) -> Page:
    page = stage.connect(stage.create())
    stage.send()
    return page


class TestWhileItIsConnected:
    def test_an_acknowledgement_counts(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.post("ack")
        stage.clock.turn()
        assert stage.kept() == []

    def test_it_answers_the_ping(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        for _ in range(5):
            stage.clock.advance(25)
            page.post("ack", "")
        assert page.connected

    def test_a_goodbye_ends_the_connection_in_good_order(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.post("leave")
        stage.clock.turn()
        assert page.code == NORMAL
        assert stage.kept() == []

    def test_a_fresh_token_is_taken(self, stage: Stage) -> None:
        page = stage.connect(stage.create(seconds=60))
        token = stage.create(seconds=600)
        stage.hub.posted(stage.hub.verify(token), "p", FreshToken(token))
        stage.clock.turn()
        assert page.last == TokenAccepted(expires_in=600)

    def test_what_is_no_id_ends_the_connection(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.post("ack", "nonsense")
        assert page.code == PROTOCOL_ERROR

    def test_a_page_speaks_for_itself_alone(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        p, q = stage.connect(token, "p"), stage.connect(token, "q")
        q.post("leave")
        assert (p.connected, q.connected) == (True, False)

    def test_a_page_that_nobody_knows_is_passed_over(self, stage: Stage) -> None:
        page = with_a_message(stage)
        stage.hub.posted(stage.hub.verify(page.token), "somebody", Ack(page.cursor))
        stage.clock.turn()
        assert page.connected
        assert stage.kept() == ["hello"]


class TestWhenItsConnectionIsOver:
    @pytest.mark.parametrize("orderly", [False, True])
    @pytest.mark.parametrize("type", ["ack", "leave"])
    def test_an_acknowledgement_still_counts(self, stage: Stage, type: str, orderly: bool) -> None:
        page = with_a_message(stage)
        page.drop(orderly=orderly)
        stage.clock.advance(1)
        page.post(type)
        stage.clock.turn()
        assert stage.kept() == []

    def test_it_counts_after_the_grace_time_too(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.drop()
        stage.clock.advance(GRACE + 1)
        page.post("ack")
        stage.clock.turn()
        assert stage.kept() == []

    def test_it_counts_for_a_while_only(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.drop()
        stage.clock.advance(LATE_SECONDS + SWEEP_SECONDS + 0.1)
        page.post("ack")
        stage.clock.turn()
        assert stage.kept() == ["hello"]
        assert stage.hub._late == {}

    def test_a_goodbye_leaves_the_place_free_at_once(self, stage: Stage) -> None:
        token = stage.create()
        loser = stage.connect(token, "p")
        loser.drop()
        holder = stage.connect(token, "q")
        holder.drop()
        assert stage.connect(token, "p", loser.cursor).code == REPLACED
        holder.post("leave", "")
        stage.clock.turn()
        assert stage.connect(token, "p", loser.cursor).connected

    def test_an_acknowledgement_alone_does_not(self, stage: Stage) -> None:
        token = stage.create()
        loser = stage.connect(token, "p")
        loser.drop()
        holder = stage.connect(token, "q")
        holder.drop()
        holder.post("ack", "")
        stage.clock.turn()
        assert stage.connect(token, "p", loser.cursor).code == REPLACED

    def test_a_page_that_came_back_is_the_one_that_is_spoken_to(self, stage: Stage) -> None:
        page = with_a_message(stage)
        before = page.open.cursor
        page.drop()
        back = stage.connect(page.token, "p", before)
        page.post("ack")
        stage.clock.turn()
        assert back.session.acknowledged == back.session.position
        assert stage.kept() == []

    def test_a_page_that_lost_its_place_acknowledges_nothing(self, stage: Stage) -> None:
        page = with_a_message(stage)
        other = stage.connect(page.token, "q")
        assert page.code == REPLACED
        page.post("ack")
        stage.clock.turn()
        assert stage.kept() == ["hello"]
        assert other.connected

    def test_nor_one_that_lost_it_after_it_had_gone(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.drop()
        other = stage.connect(page.token, "q")
        page.post("leave")
        stage.clock.turn()
        assert stage.kept() == ["hello"]
        stage.clock.advance(1)
        assert stage.connect(page.token, "p", page.cursor).code == REPLACED
        assert other.connected

    @pytest.mark.parametrize("id", ["8796093022207-0", "1-1", ""])
    def test_what_it_was_not_given_is_not_acknowledged(self, stage: Stage, id: str) -> None:
        page = with_a_message(stage)
        page.drop()
        page.post("ack", id)
        stage.clock.turn()
        assert stage.kept() == ["hello"]

    def test_the_same_may_come_twice(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.drop()
        page.post("leave")
        page.post("leave")
        stage.clock.turn()
        assert stage.kept() == []

    def test_a_message_that_came_after_the_connection_is_not_acknowledged(self, stage: Stage) -> None:
        page = with_a_message(stage)
        page.drop()
        stage.send("later")
        page.post("leave", format_id(stage.last_id))
        stage.clock.turn()
        assert stage.kept() == ["hello", "later"]

    def test_in_share_it_counts_for_the_tokens_next_page(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        page = stage.connect(token, "p")
        stage.send()
        page.drop()
        page.post("leave")
        stage.clock.turn()
        assert stage.connect(token, "q").texts == []

    def test_another_hub_knows_nothing_of_it(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = with_a_message(one)
        page.drop()
        page.post("leave", hub=two.hub)
        one.clock.turn()
        assert one.kept() == ["hello"]

    def test_while_the_hub_goes_away_it_is_passed_over(self, stage: Stage) -> None:
        page = with_a_message(stage)
        stage.hub.close(2.0)
        page.post("leave")
        stage.clock.turn()
        stage.hub.finish()

    def test_a_store_that_answers_later_keeps_it(self, late: Late) -> None:
        stage = Stage(late)
        stage.ask_to_create()
        late.settle(stage.clock)
        page = stage.ask_to_connect(stage.answers.created[-1][0])
        stage.ask_to_send("hello")
        late.settle(stage.clock)
        page.drop()
        page.post("leave")
        late.settle(stage.clock)
        state = late.inner.look("ann", stage.clock.now())
        assert state is not None
        assert state.queued == 0
