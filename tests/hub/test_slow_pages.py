"""Pages that read slowly, do not answer, or are not there any more (contract, W4 and G10)."""

from __future__ import annotations

import pytest
from tests.hub.stage import Page, Stage

from pushline.protocol.codes import GOING_AWAY, TOO_SLOW
from pushline.protocol.session import BLOCKED_SECONDS
from pushline.protocol.values import Traffic

INTERVAL, TIMEOUT = 25.0, 10.0


def blocked(stage: Stage, unsent: int = 100_000) -> Page:
    """A page that has got a message and takes no more."""
    page = stage.connect(stage.create())
    stage.send("before")
    page.block(unsent)
    return page


class TestAPageThatTakesBytesSlowly:
    def test_stays_for_as_long_as_it_takes_some(self, stage: Stage) -> None:
        page = blocked(stage)
        stage.send("waiting")
        for _ in range(60):
            stage.clock.advance(5)
            page.take(1)
        assert page.connected
        page.read_on()
        assert page.texts == ["before", "waiting"]

    def test_stays_when_it_takes_some_just_within_the_timeout(self, stage: Stage) -> None:
        page = blocked(stage)
        for _ in range(20):
            stage.clock.advance(TIMEOUT - 0.2)
            page.take(1)
            stage.clock.advance(0.2)
        assert page.connected

    def test_and_then_none_is_too_slow(self, stage: Stage) -> None:
        page = blocked(stage)
        for _ in range(12):
            stage.clock.advance(5)
            page.take(1)
        stage.clock.advance(2 * TIMEOUT + 0.2)
        assert page.code == TOO_SLOW

    def test_is_not_given_up_because_somebody_waits_for_it(self, stage: Stage) -> None:
        """A ping that lies behind much that is on its way cannot be answered soon."""
        page = stage.connect(stage.create())
        page.bytes = Traffic(0, 50_000)
        stage.wait(seconds=30)
        for _ in range(20):
            stage.clock.advance(5)
            page.take(1000)
        assert page.connected

    def test_is_not_given_up_when_it_blocks_while_a_ping_is_out(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.clock.advance(INTERVAL + 1)
        page.block(100_000)
        for _ in range(20):
            stage.clock.advance(4)
            page.take(100)
        assert page.connected

    def test_that_answers_in_the_end_is_pinged_as_ever(self, stage: Stage) -> None:
        page = blocked(stage)
        stage.clock.advance(5)
        page.read_on()
        stage.clock.advance(5.1)
        pings = page.pings
        page.acknowledge()
        stage.clock.advance(INTERVAL + 0.1)
        assert page.pings == pings + 1
        assert page.connected

    def test_costs_no_memory_while_it_does(self, stage: Stage) -> None:
        page = blocked(stage)
        got = len(page.got)
        for n in range(500):
            stage.send(str(n))
            stage.clock.advance(0.5)
            page.take(1)
        assert page.connected
        assert len(page.got) - got <= 250 / TIMEOUT + 1  # a ping now and then, and no message


class TestAPageThatTakesNone:
    def test_is_disconnected_after_the_ping_timeout(self, stage: Stage) -> None:
        page = blocked(stage)
        stage.clock.advance(TIMEOUT - 0.1)
        assert page.connected
        stage.clock.advance(0.2)
        assert page.code == TOO_SLOW

    def test_resumes_and_misses_nothing(self, stage: Stage) -> None:
        page = blocked(stage)
        stage.send("0")
        stage.clock.advance(TIMEOUT + 0.1)
        stage.send("1")
        back = stage.connect(page.token, "p", page.cursor)
        assert (back.open.gap, back.texts) == (False, ["0", "1"])

    def test_costs_the_others_nothing(self, stage: Stage) -> None:
        blocked(stage)
        bob = stage.connect(stage.create("bob"))
        for n in range(20):
            assert stage.send(str(n), "bob") == "sent"
            stage.clock.advance(0.6)
        assert len(bob.texts) == 20

    def test_and_reads_again_in_time_stays(self, stage: Stage) -> None:
        page = blocked(stage)
        stage.clock.advance(TIMEOUT - 0.1)
        page.read_on()
        stage.clock.advance(1)
        page.acknowledge()
        stage.clock.advance(INTERVAL)
        assert page.connected

    def test_is_asked_anew_each_time_it_blocks(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        for _ in range(20):
            page.block(1000)
            stage.clock.advance(TIMEOUT / 2)
            page.read_on()
            page.acknowledge("")
        page.block(1000)
        stage.clock.advance(TIMEOUT + 0.1)
        assert page.code == TOO_SLOW


class TestAPageThatIsNotThere:
    @pytest.mark.parametrize("unsent", [0, 500])
    def test_is_gone_within_interval_and_timeout(self, stage: Stage, unsent: int) -> None:
        """Half-open: nothing that was written since is taken, and no word comes."""
        page = stage.connect(stage.create())
        stage.clock.advance(1)
        page.bytes = Traffic(100, unsent)
        stage.clock.advance(INTERVAL + TIMEOUT - 0.8)
        assert not page.connected
        assert page.code in (GOING_AWAY, TOO_SLOW)

    def test_is_gone_after_the_timeout_when_somebody_waits_for_it(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait(seconds=30)
        stage.clock.advance(TIMEOUT + 0.1)
        assert not page.connected
        assert answer == []
        stage.clock.advance(20)
        assert answer == ["sent"]

    def test_is_gone_when_the_last_it_took_was_long_ago(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        page.bytes = Traffic(1000, 0)
        stage.clock.advance(INTERVAL + 0.1)
        page.bytes = Traffic(1000, 20)
        stage.clock.advance(TIMEOUT + 0.1)
        assert not page.connected


class TestAPageWhoseScriptIsBlocked:
    """An `alert()`, a debugger: the browser answers RFC 6455 pings, the page does not."""

    def beat(self, stage: Stage, page: Page, seconds: float) -> None:
        for _ in range(int(seconds)):
            stage.clock.advance(1)
            page.session.pong()

    def test_stays_for_up_to_five_minutes(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        self.beat(stage, page, BLOCKED_SECONDS - 1)
        assert page.connected
        self.beat(stage, page, INTERVAL + TIMEOUT + 1)
        assert page.code == GOING_AWAY

    def test_acknowledges_nothing(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        answer = stage.wait(seconds=30)
        self.beat(stage, page, 31)
        assert page.connected
        assert answer == ["sent"]
        assert stage.kept() == ["hello"]

    def test_that_goes_on_in_time_stays(self, stage: Stage) -> None:
        page = stage.connect(stage.create())
        stage.send()
        self.beat(stage, page, 250)
        page.acknowledge()
        self.beat(stage, page, 250)
        assert page.connected

    def test_and_whose_browser_takes_no_more_is_too_slow(self, stage: Stage) -> None:
        page = blocked(stage)
        stage.clock.advance(TIMEOUT + 0.1)
        assert page.code == TOO_SLOW
