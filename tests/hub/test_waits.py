"""Sends that wait until a page has acknowledged the message (contract, G6, W4 and A2)."""

from __future__ import annotations

import pytest
from tests.hub.stage import Deaf, Late, Recording, Stage

from pushline.errors import StoreFull
from pushline.messages import Message, Policy, format_id
from pushline.protocol.frames import Gap, Ping
from pushline.stores.base import Hole, Retention, Room
from pushline.stores.memory import MemoryStore


class TestTheAnswer:
    """It is true, and it comes once."""

    def test_it_comes_when_the_page_has_acknowledged(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait()
        assert answer == []
        page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]
        assert stage.hub.counters.messages_delivered == 1
        stage.clock.advance(60)
        assert answer == ["delivered"]

    def test_it_says_sent_when_the_page_does_not_answer_in_time(self, stage: Stage) -> None:
        stage.connect(stage.create())
        answer = stage.wait(seconds=5)
        stage.clock.advance(4.9)
        assert answer == []
        stage.clock.advance(0.1)
        assert answer == ["sent"]
        assert stage.hub.counters.messages_delivered == 0

    def test_it_says_queued_when_no_page_comes_in_time(self, stage: Stage) -> None:
        stage.create()
        answer = stage.wait(seconds=5)
        stage.clock.advance(5)
        assert answer == ["queued"]

    def test_without_a_channel_nobody_waits(self, stage: Stage) -> None:
        assert stage.wait() == ["no_channel"]

    def test_a_store_that_keeps_nothing_is_told_at_once(self) -> None:
        stage = Stage(MemoryStore(room=Room(messages=0)))
        stage.create()
        assert stage.wait() == []
        assert [type(error) for error in stage.answers.failed] == [StoreFull]

    def test_a_commit_that_fails_is_told_at_once(self) -> None:
        store = Recording()
        stage = Stage(store)
        stage.create()
        store.error = StoreFull("no room")
        assert stage.wait() == []
        assert stage.answers.failed == [store.error]
        stage.clock.advance(60)
        assert stage.answers.sent == []

    def test_a_page_that_comes_in_time_makes_it_delivered(self, stage: Stage) -> None:
        token = stage.create()
        answer = stage.wait()
        stage.clock.advance(3)
        page = stage.connect(token)
        assert answer == []
        page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_a_page_that_came_and_did_not_answer_makes_it_sent(self, stage: Stage) -> None:
        token = stage.create()
        answer = stage.wait(seconds=5)
        stage.connect(token)
        stage.clock.advance(5)
        assert answer == ["sent"]

    def test_one_acknowledgement_answers_all_that_it_covers_and_no_more(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answers = [stage.wait(str(n)) for n in range(4)]
        page.acknowledge(format_id(page.messages[2].id))
        stage.clock.turn()
        assert answers == [["delivered"]] * 3 + [[]]
        assert stage.hub.counters.messages_delivered == 3

    def test_client_ids_do_not_mix(self, stage: Stage) -> None:
        ann, bob = stage.connect(stage.create("ann")), stage.connect(stage.create("bob"))
        to_ann, to_bob = stage.wait("0", "ann"), stage.wait("1", "bob")
        bob.acknowledge()
        stage.clock.turn()
        assert (to_ann, to_bob) == ([], ["delivered"])
        ann.acknowledge()
        stage.clock.turn()
        assert to_ann == ["delivered"]

    def test_in_share_one_page_is_enough(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        stage.connect(token, "p")
        other = stage.connect(token, "q")
        answer = stage.wait()
        other.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_in_reject_the_page_that_holds_the_place_is_asked(self, stage: Stage) -> None:
        page = stage.connect(stage.create(policy=Policy.REJECT))
        answer = stage.wait()
        page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_it_outlives_the_connection(self, stage: Stage) -> None:
        token = stage.create()
        page = stage.connect(token)
        answer = stage.wait()
        page.drop()
        assert answer == []
        stage.connect(token, "p", page.cursor)
        assert answer == ["delivered"]

    def test_a_cursor_before_the_message_does_not_answer_it(self, stage: Stage) -> None:
        token = stage.create()
        page = stage.connect(token)
        before = page.cursor
        answer = stage.wait()
        page.drop()
        back = stage.connect(token, "p", before)
        assert answer == []
        assert [type(item) for item in back.got[-2:]] == [Message, Ping]
        back.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_another_page_that_gets_the_message_answers_it(self, stage: Stage) -> None:
        token = stage.create()
        stage.connect(token, "p")
        answer = stage.wait()
        other = stage.connect(token, "q")
        assert other.texts == ["hello"]
        other.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_a_goodbye_answers_it(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait()
        page.say("leave", id=page.cursor)
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_an_acknowledgement_by_post_after_the_connection_answers_it(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait()
        page.drop()
        page.post("leave")
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_a_fresh_token_between_changes_nothing(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait()
        page.say("token", token=stage.create())
        page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_a_drain_answers_at_once_with_what_is_true(self, stage: Stage) -> None:
        stage.connect(stage.create("ann"))
        stage.create("bob")
        to_ann, to_bob = stage.wait("0", "ann"), stage.wait("1", "bob")
        stage.hub.close(2.0)
        assert (to_ann, to_bob) == (["sent"], ["queued"])
        stage.clock.advance(60)
        assert (to_ann, to_bob) == (["sent"], ["queued"])

    def test_while_the_hub_goes_away_nobody_waits(self, stage: Stage) -> None:
        stage.connect(stage.create())
        stage.hub.close(2.0)
        assert stage.wait() == ["queued"]

    def test_what_was_asked_before_the_drain_is_answered_by_it(self, stage: Stage) -> None:
        stage.connect(stage.create())
        answer = stage.ask_to_wait()
        stage.hub.close(2.0)
        assert answer == ["sent"]


class TestNoLies:
    """`delivered` means that a page was given the message and has said that it handled it."""

    def test_an_acknowledgement_of_something_else_is_none(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send("before")
        answer = stage.wait()
        page.acknowledge(format_id(page.messages[0].id))
        stage.clock.turn()
        page.acknowledge("")
        stage.clock.turn()
        assert answer == []

    def test_an_acknowledgement_of_what_the_page_was_not_given_is_none(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.block()
        answer = stage.wait(seconds=5)
        page.acknowledge(format_id(stage.hub._outlets["ann"][0].session.position + 100))
        stage.clock.turn()
        page.acknowledge("8796093022207-0")
        stage.clock.turn()
        assert answer == []
        stage.clock.advance(5)
        assert answer == ["queued"]

    def test_a_page_of_a_newer_token_says_nothing_about_what_was_sent_before_it(self, stage: Stage) -> None:
        stage.create()
        answer = stage.wait("for the page that left", seconds=5)
        page = stage.connect(stage.create())
        stage.send("for the page that came")
        page.acknowledge()
        stage.clock.turn()
        assert page.texts == ["for the page that came"]
        assert answer == []
        back = stage.connect(page.token, "p", page.cursor)
        assert back.connected
        stage.clock.advance(5)
        assert answer == ["queued"]

    def test_a_repeat_is_not_sent_because_a_page_of_a_newer_token_is_there(self, stage: Stage) -> None:
        stage.create()
        stage.send(key="k")
        stage.connect(stage.create())
        assert stage.send(key="k") == "queued"

    def test_a_message_that_was_dropped_before_the_page_read_it_is_not_delivered(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        page = stage.connect(stage.create())
        page.block()
        answer = stage.wait("lost", seconds=5)
        for n in range(4):
            stage.send(str(n))
        page.read_on()
        assert any(isinstance(item, Gap) for item in page.got)
        page.acknowledge()
        stage.clock.turn()
        assert answer == []
        stage.connect(page.token, "p", page.cursor)
        stage.clock.advance(5)
        assert answer == ["queued"]

    def test_a_page_that_was_told_of_a_gap_at_its_start_delivers_nothing_of_it(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        token = stage.create()
        answer = stage.wait("lost", seconds=5)
        for n in range(4):
            stage.send(str(n))
        page = stage.connect(token)
        assert page.open.gap
        page.acknowledge()
        stage.clock.turn()
        assert answer == []

    def test_in_share_a_page_that_missed_it_does_not_answer_for_one_that_has_it(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        token = stage.create(policy=Policy.SHARE)
        slow, other = stage.connect(token, "p"), stage.connect(token, "q")
        slow.block()
        answer = stage.wait("lost for one")
        for n in range(4):
            stage.send(str(n))
        slow.read_on()
        slow.acknowledge()
        stage.clock.turn()
        stage.connect(token, "p", slow.cursor)
        assert answer == []
        other.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    @pytest.mark.parametrize("cursor", [None, "own", "nonsense"])
    def test_a_page_that_was_told_at_its_start_does_not_answer_later_by_its_cursor(self, cursor: str | None) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        token = stage.create()
        page = stage.connect(token, "p")
        page.drop()
        answer = stage.wait("lost", seconds=5)
        for n in range(4):
            stage.send(str(n))
        back = stage.connect(token, "p" if cursor else "q", page.cursor if cursor == "own" else cursor)
        assert back.open.gap
        stage.connect(token, back.number, back.cursor)
        assert answer == []

    def test_a_page_that_begins_behind_it_does_not_answer_by_its_cursor(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        token = stage.create()
        page = stage.connect(token, "p")
        page.block()
        answer = stage.wait("lost", seconds=5)
        for n in range(4):
            stage.send(str(n))
        page.read_on()  # with a gap, and acknowledges what lies behind it
        page.acknowledge()
        stage.clock.turn()
        fresh = stage.connect(token, "q")
        assert not fresh.open.gap
        stage.connect(token, "q", fresh.cursor)
        assert answer == []
        stage.clock.advance(5)
        assert answer == ["queued"]

    def test_what_was_given_before_a_gap_is_delivered(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=2)))
        page = stage.connect(stage.create())
        answer = stage.wait("given")
        page.block()
        for n in range(4):
            stage.send(str(n))
        page.read_on()
        page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]


class TestThePing:
    """The page is asked right behind the message, on whatever connection gets it (W4)."""

    def test_it_goes_out_with_the_message(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.writes = 0
        stage.wait()
        assert [type(item) for item in page.got[-2:]] == [Message, Ping]
        assert page.writes == 1

    def test_a_message_that_nobody_waits_for_brings_none(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send()
        assert page.pings == 0

    def test_a_page_that_gets_it_later_is_asked_then(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.block()
        stage.wait()
        stage.wait()
        assert page.pings == 0
        page.read_on()
        assert [type(item) for item in page.got[-3:]] == [Message, Message, Ping]

    def test_a_page_that_does_not_read_is_not_asked_again_and_again(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.wait()
        page.block(100)
        for n in range(50):
            stage.wait(str(n))
        assert page.pings == 1

    def test_a_page_that_does_not_answer_it_is_gone_after_the_timeout(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.wait()
        stage.clock.advance(9.8)
        assert page.connected
        stage.clock.advance(0.3)
        assert not page.connected

    def test_a_page_that_answers_it_is_pinged_an_interval_later(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.clock.advance(20)
        stage.wait()
        page.acknowledge()
        stage.clock.turn()
        stage.clock.advance(24.8)
        assert page.pings == 1
        stage.clock.advance(0.3)
        assert page.pings == 2

    def test_an_answer_that_acknowledges_nothing_keeps_the_connection_and_the_wait(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait()
        page.acknowledge("")
        stage.clock.turn()
        stage.clock.advance(15)
        assert page.connected
        assert answer == []

    def test_in_share_every_page_is_asked(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        pages = [stage.connect(token, "p"), stage.connect(token, "q")]
        stage.wait()
        assert [page.pings for page in pages] == [1, 1]


class TestARepeat:
    """The same key again: the same message, and what is true of it by now."""

    def test_after_the_acknowledgement_it_is_delivered_at_once(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send(key="k")
        page.acknowledge()
        stage.clock.turn()
        assert stage.wait(key="k") == ["delivered"]
        assert page.texts == ["hello"]
        assert stage.hub.counters.messages_delivered == 1

    def test_before_it_both_wait(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        first, second = stage.wait(key="k"), stage.wait(key="k")
        assert page.texts == ["hello"]
        page.acknowledge()
        stage.clock.turn()
        assert (first, second) == (["delivered"], ["delivered"])

    def test_of_a_send_that_did_not_wait_it_waits(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send(key="k")
        answer = stage.wait(key="k")
        assert page.last == Ping()
        page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_that_does_not_wait_is_sent_when_it_was_delivered(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send(key="k")
        page.acknowledge()
        stage.clock.turn()
        page.drop(orderly=True)
        assert stage.send(key="k") == "sent"

    @pytest.mark.parametrize("acknowledged_first", [True, False])
    def test_in_the_turn_of_the_acknowledgement_it_is_delivered(self, stage: Stage, acknowledged_first: bool) -> None:
        page = stage.connect(stage.create())
        stage.send(key="k")
        if acknowledged_first:
            page.acknowledge()
            stage.clock.turn()
        answer = stage.ask_to_wait(key="k")
        if not acknowledged_first:
            page.acknowledge()
        stage.clock.turn()
        assert answer == ["delivered"]

    def test_after_a_restart_of_the_hub_it_is_delivered(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send(key="k")
        page.acknowledge()
        stage.clock.turn()
        assert Stage(stage.store, stage.clock).wait(key="k") == ["delivered"]


class TestTwoHubs:
    """The application asks one hub, the page is connected to the other."""

    def test_the_page_is_asked_and_its_answer_arrives(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = two.connect(one.create())
        answer = one.wait()
        assert [type(item) for item in page.got[-2:]] == [Message, Ping]
        page.acknowledge()
        one.clock.turn()
        assert answer == ["delivered"]
        assert [stage.hub.counters.messages_delivered for stage in stages] == [1, 0]

    def test_a_page_that_connects_there_meanwhile_is_asked_too(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        answer = one.wait()
        page = two.connect(token)
        assert [type(item) for item in page.got[-2:]] == [Message, Ping]
        page.acknowledge()
        one.clock.turn()
        assert answer == ["delivered"]

    def test_a_page_that_reads_slowly_there_is_asked_when_it_gets_it(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = two.connect(one.create())
        page.block()
        one.wait()
        assert page.pings == 0
        page.read_on()
        assert [type(item) for item in page.got[-2:]] == [Message, Ping]

    def test_what_another_hub_waits_for_is_asked_for_once(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = two.connect(one.create())
        page.block()
        one.wait()
        page.read_on()
        assert page.pings == 1

    def test_nobody_is_asked_when_the_time_to_wait_is_over(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        one.wait()
        one.clock.advance(31)
        assert two.connect(token).pings == 0

    def test_a_page_that_comes_back_there_with_its_cursor_answers(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create()
        page = one.connect(token)
        answer = one.wait()
        page.drop()
        two.connect(token, "p", page.cursor)
        assert answer == ["delivered"]

    def test_an_acknowledgement_that_counts_for_nothing_is_not_told(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = two.connect(one.create())
        one.send("before")
        answer = one.wait()
        page.acknowledge(format_id(page.messages[0].id))
        one.clock.turn()
        assert answer == []

    def test_in_share_a_page_of_either_hub_is_enough(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        token = one.create(policy=Policy.SHARE)
        one.connect(token, "p")
        there = two.connect(token, "q")
        answer = one.wait()
        there.acknowledge()
        one.clock.turn()
        assert answer == ["delivered"]

    def test_a_page_that_heard_nothing_of_it_gets_it_after_a_hole(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        page = two.connect(one.create())
        deaf.deaf = True
        answer = one.wait()
        deaf.deaf = False
        deaf.listener([Hole()])
        assert page.texts == ["hello"]
        page.acknowledge()
        one.clock.turn()
        assert answer == ["delivered"]

    def test_a_drain_of_the_hub_that_has_the_page_answers_nothing_here(self, stages: tuple[Stage, Stage]) -> None:
        one, two = stages
        page = two.connect(one.create())
        answer = one.wait()
        two.hub.close(2.0)
        assert answer == []
        one.connect(page.token, "p", page.cursor)
        assert answer == ["delivered"]


class TestAStoreThatAnswersLater:
    @pytest.fixture
    def stage(self, late: Late) -> Stage:
        return Stage(late)

    def test_the_page_is_asked_when_the_message_is_kept(self, stage: Stage, late: Late) -> None:
        stage.ask_to_create()
        late.settle(stage.clock)
        page = stage.ask_to_connect(stage.answers.created[-1][0])
        late.settle(stage.clock)
        answer = stage.wait()
        assert page.messages == []
        late.answer()
        assert [type(item) for item in page.got[-2:]] == [Message, Ping]
        page.acknowledge()
        stage.clock.turn()
        late.settle(stage.clock)
        assert answer == ["delivered"]

    def test_a_repeat_that_is_acknowledged_while_it_is_asked_is_delivered(self, stage: Stage, late: Late) -> None:
        stage.ask_to_create()
        late.settle(stage.clock)
        page = stage.ask_to_connect(stage.answers.created[-1][0])
        stage.ask_to_send("hello", key="k")
        late.settle(stage.clock)
        answer = stage.wait(key="k")
        page.acknowledge()
        stage.clock.turn()
        late.settle(stage.clock)
        assert answer == ["delivered"]
        assert page.texts == ["hello"]

    def test_a_drain_while_it_is_asked_is_answered_when_it_is_kept(self, stage: Stage, late: Late) -> None:
        stage.ask_to_create()
        late.settle(stage.clock)
        answer = stage.wait()
        stage.hub.close(2.0)
        assert answer == []
        late.answer()
        assert answer == ["queued"]
