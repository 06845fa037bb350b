"""How a hub goes away (contract, G11)."""

from __future__ import annotations

import pytest
from tests.hub.stage import GRACE, Late, Recording, Stage

from pushline.errors import ConnectionEnded
from pushline.hub import SWEEP_SECONDS
from pushline.messages import Message
from pushline.protocol.codes import (
    GOING_AWAY,
    REPLACED,
)
from pushline.protocol.frames import Open, Ping
from pushline.protocol.values import Close


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

    def test_nobody_else_comes_in_and_each_is_told_when_to_come_back(self) -> None:
        moments = iter([0.0, 0.25, 0.5])
        stage = Stage(random=lambda: next(moments))
        token = stage.create()
        stage.hub.close(8.0)
        for retry in (0, 2000, 4000):
            with pytest.raises(ConnectionEnded) as ended:
                stage.connect(token)
            assert (ended.value.code, ended.value.retry) == (GOING_AWAY, retry)

    def test_a_page_whose_connection_was_asked_for_in_the_last_turn_is_opened_and_asked_to_come_back(
        self, stage: Stage
    ) -> None:
        token = stage.create()
        page = stage.ask_to_connect(token)
        stage.hub.close(2.0)
        assert [type(item) for item in page.got] == [Open, Close]
        assert page.code == GOING_AWAY

    def test_a_page_whose_store_answers_too_late_is_asked_to_come_back(self, late: Late) -> None:
        stage = Stage(late)
        stage.ask_to_create()
        late.settle(stage.clock)
        page = stage.connect(stage.answers.created[-1][0])
        stage.hub.close(2.0)
        late.settle(stage.clock)
        assert (page.got, page.code, page.retry) == ([], GOING_AWAY, 500)
        assert stage.hub.counters.connections == 0

    def test_the_application_is_answered_until_the_end(self, stage: Stage) -> None:
        stage.create()
        stage.hub.close(2.0)
        assert stage.send("0") == "queued"
        stage.ask_to_send("1")
        stage.hub.finish()
        assert [status for _, status in stage.answers.sent] == ["queued", "queued"]
        assert stage.kept() == ["0", "1"]

    def test_no_message_is_lost_or_doubled(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send("0")
        stage.ask_to_send("1")
        stage.hub.close(2.0)
        stage.send("2")
        stage.hub.finish()
        after = Stage(stage.store, stage.clock)
        after.send("3")
        back = after.connect(page.token, "p", page.cursor)
        assert (page.texts, back.open.gap, back.texts) == (["0", "1"], False, ["2", "3"])

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
