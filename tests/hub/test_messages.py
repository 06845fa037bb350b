"""What becomes of messages (contract, G1, G6 and G10)."""

from __future__ import annotations

import logging

import pytest
from tests.hub.stage import SIGNER, Recording, Stage

from pushline.errors import StoreError, StoreFull
from pushline.messages import Message, Policy
from pushline.protocol.codes import (
    INTERNAL_ERROR,
    NORMAL,
    PROTOCOL_ERROR,
    REPLACED,
)
from pushline.protocol.frames import Gap, Open
from pushline.stores.base import Retention, Room
from pushline.stores.memory import MemoryStore


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
        page.hub.blocked(page)
        assert stage.send() == "queued"
        page.read_on()
        assert page.texts == ["hello"]

    def test_to_one_page_of_several_it_is_sent(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        slow, quick = stage.connect(token, "p"), stage.connect(token, "q")
        slow.hub.blocked(slow)
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

    @pytest.mark.parametrize("handled", [False, True])
    def test_a_repeat_of_what_went_with_a_revoked_channel_is_sent_only_if_it_was_handled(
        self, stage: Stage, handled: bool
    ) -> None:
        page = stage.connect(stage.create())
        stage.send(key="k")
        first = stage.last_id
        if handled:
            page.acknowledge()
        stage.hub.revoke("ann", lambda: None, stage.answers.failed.append)
        stage.clock.turn()
        fresh = stage.create()
        fresh_page = stage.connect(fresh, "q")
        assert stage.send(key="k") == ("sent" if handled else "no_channel")
        assert stage.answers.sent[-1][0] == (first if handled else None)
        assert stage.wait(key="k") == ["delivered" if handled else "no_channel"]
        assert fresh_page.texts == []

    def test_a_repeat_of_what_was_dropped_is_not_queued(self, stage: Stage) -> None:
        stage.create()
        stage.send(key="k")
        for _ in range(1000):
            stage.send()
        assert stage.send(key="k") == "no_channel"

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
        page.hub.blocked(page)
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

    def test_in_share_a_page_acknowledges_when_it_leaves(self, stage: Stage) -> None:
        token = stage.create(policy=Policy.SHARE)
        page = stage.connect(token, "p")
        stage.send("0")
        page.say("leave", id=page.cursor)
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
        page.hub.blocked(page)
        for n in range(4):
            stage.send(str(n) * 30_000)
        page.read_on()
        assert stage.send("last") == "sent"
        assert [text[0] for text in page.texts] == ["0", "1", "2", "3", "l"]
        ids = [message.id for message in page.messages]
        assert ids == sorted(set(ids))

    def test_a_page_that_has_caught_up_is_written_to_at_once(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.hub.blocked(page)
        stage.send("0")
        page.read_on()
        assert stage.send("1") == "sent"
        assert page.texts == ["0", "1"]

    def test_what_was_dropped_while_it_took_nothing_is_told(self) -> None:
        stage = Stage(MemoryStore(Retention(messages=3)))
        page = stage.connect(stage.create())
        stage.send("seen")
        page.hub.blocked(page)
        for n in range(9):
            stage.send(str(n))
        page.read_on()
        kinds = [type(item) for item in page.got]
        assert kinds[:3] == [Open, Message, Gap]
        assert page.texts == ["seen", *stage.kept()]

    def test_a_page_that_is_gone_is_not_fed(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.hub.blocked(page)
        stage.send()
        page.drop()
        page.read_on()
        assert page.texts == []


class TestAFullStore:
    """507: what finds no room is refused alone, and everything else of the turn is kept (:class:`Full`)."""

    def test_a_message_that_finds_no_room_is_refused(self) -> None:
        stage = Stage(MemoryStore(room=Room(messages=1)))
        page = stage.connect(stage.create())
        assert stage.send("0") == "sent"
        stage.ask_to_send("1")
        stage.clock.turn()
        assert [type(error) for error in stage.answers.failed] == [StoreFull]
        assert len(stage.answers.sent) == 1
        assert page.texts == ["0"]
        assert stage.kept() == ["0"]
        counters = stage.hub.counters
        assert (counters.messages_sent, counters.messages_queued, counters.commits_failed) == (1, 0, 0)

    def test_the_others_of_its_turn_are_kept(self) -> None:
        stage = Stage(MemoryStore(room=Room(messages=2)))
        stage.create()
        for n in range(4):
            stage.ask_to_send(str(n))
        stage.clock.turn()
        assert stage.kept() == ["0", "1"]
        assert (len(stage.answers.sent), len(stage.answers.failed)) == (2, 2)

    def test_there_is_room_again_when_a_page_has_acknowledged(self) -> None:
        stage = Stage(MemoryStore(room=Room(messages=1)))
        page = stage.connect(stage.create())
        stage.send("0")
        page.acknowledge()
        assert stage.send("1") == "sent"
        assert page.texts == ["0", "1"]

    def test_a_channel_that_finds_no_room_is_refused(self) -> None:
        stage = Stage(MemoryStore(room=Room(channels=1)))
        stage.create("ann")
        stage.ask_to_create("bob")
        stage.ask_to_create("ann")
        stage.clock.turn()
        assert [type(error) for error in stage.answers.failed] == [StoreFull]
        assert len(stage.answers.created) == 2
        assert stage.hub.counters.channels_created == 2
