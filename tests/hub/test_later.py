"""The hub on a store that answers later, as one on a network does."""

from __future__ import annotations

import pytest
from tests.hub.stage import Late, Page, Stage

from pushline.errors import StoreError, StoreFull
from pushline.messages import Append, Message
from pushline.protocol.codes import (
    INTERNAL_ERROR,
)
from pushline.protocol.frames import Open
from pushline.stores.base import Hole


class TestAStoreThatAnswersLater:
    """The seam is asynchronous: a store on a network works the same."""

    @pytest.fixture
    def store(self, late: Late) -> Late:
        return late

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
