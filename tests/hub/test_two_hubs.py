"""Two hubs on one store learn of each other through :meth:`Store.watch` alone."""

from __future__ import annotations

from collections.abc import Sequence

from tests.hub.stage import GRACE, Deaf, Stage

from pushline.messages import Policy
from pushline.protocol.codes import (
    NORMAL,
    REPLACED,
)
from pushline.stores.base import Arrived, Event, Hole
from pushline.stores.memory import MemoryStore


class TestTwoHubs:
    """Two hubs on one store learn of each other through :meth:`Store.watch` alone."""

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

    def test_a_page_that_shares_and_comes_back_at_the_other_hub_leaves_no_connection_behind(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        two = Stage(store.peer(), one.clock)
        token = one.create(policy=Policy.SHARE)
        old, other = one.connect(token, "p"), one.connect(token, "q")
        two.connect(token, "p", old.cursor)
        assert (old.code, other.code) == (NORMAL, None)

    def test_late_news_of_an_earlier_takeover_end_nobody(self) -> None:
        store = MemoryStore()
        one = Stage(store)
        deaf = Deaf(store.peer())
        two = Stage(deaf, one.clock)
        token = one.create()
        earlier = one.connect(token, "p")
        page = two.connect(token, "q")
        deaf.listener([Arrived("ann", earlier.session.fence, False, "p", Policy.REPLACE)])
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
