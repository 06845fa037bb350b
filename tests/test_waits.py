"""The sends that wait, by themselves (contract, G6)."""

from __future__ import annotations

import pytest

from pushline.messages import Status
from pushline.testing import FakeClock
from pushline.waits import LONGEST_SECONDS, Waits


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waits = Waits(self.clock)
        self.answers: list[tuple[int, str]] = []

    def add(self, id: int, status: Status = "queued", seconds: float = 10.0, client_id: str = "ann") -> None:
        self.waits.add(client_id, id, status, seconds, lambda id, status: self.answers.append((id, status)))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_nobody_waits_at_first(rig: Rig) -> None:
    assert not rig.waits
    assert rig.waits.handled("ann", "p", 0, 9) == 0
    assert not rig.waits.given("ann", {1})


def test_one_that_is_acknowledged_is_answered_once(rig: Rig) -> None:
    rig.add(5)
    assert rig.waits
    assert rig.waits.handled("ann", "p", 4, 5) == 1
    assert rig.waits.handled("ann", "p", 4, 5) == 0
    rig.clock.advance(100)
    assert rig.answers == [(5, "delivered")]
    assert not rig.waits


@pytest.mark.parametrize(("after", "id"), [(0, 4), (5, 9), (6, 9)])
def test_one_outside_of_what_the_page_was_given_waits_on(rig: Rig, after: int, id: int) -> None:
    rig.add(5)
    assert rig.waits.handled("ann", "p", after, id) == 0
    assert rig.answers == []


def test_each_is_answered_at_its_own_end(rig: Rig) -> None:
    rig.add(1, "sent", 5)
    rig.add(2, "queued", 10)
    rig.clock.advance(5)
    assert rig.answers == [(1, "sent")]
    rig.clock.advance(5)
    assert rig.answers == [(1, "sent"), (2, "queued")]
    assert not rig.waits


def test_one_that_was_given_to_a_page_is_sent(rig: Rig) -> None:
    rig.add(1)
    rig.add(2)
    assert rig.waits.given("ann", {2, 3})
    rig.clock.advance(10)
    assert rig.answers == [(1, "queued"), (2, "sent")]


def test_one_that_a_page_was_told_as_missing_is_not_answered_by_that_page(rig: Rig) -> None:
    rig.add(1)
    rig.add(2)
    rig.add(3)
    rig.waits.missing("ann", "p", 1, 2)
    rig.waits.handled("ann", "p", 0, 3)
    assert rig.answers == [(1, "delivered"), (3, "delivered")]
    rig.waits.handled("ann", "q", 0, 3)
    assert rig.answers[-1] == (2, "delivered")


def test_a_page_at_another_hub_may_have_had_it(rig: Rig) -> None:
    rig.add(1)
    rig.waits.missing("ann", "p", 0, 1)
    rig.waits.handled("ann", "", 0, 1)
    assert rig.answers == [(1, "delivered")]


def test_what_waits_elsewhere_is_asked_for_and_not_counted(rig: Rig) -> None:
    rig.waits.elsewhere("ann", 1)
    assert rig.waits.given("ann", {1})
    rig.add(1)
    assert rig.waits.handled("ann", "p", 0, 1) == 1
    assert not rig.waits


def test_what_waits_elsewhere_is_forgotten_after_the_longest_time_to_wait(rig: Rig) -> None:
    rig.waits.elsewhere("ann", 1)
    rig.clock.advance(LONGEST_SECONDS)
    assert not rig.waits


def test_the_end_answers_all_with_what_is_true(rig: Rig) -> None:
    rig.add(1, "sent")
    rig.add(2, client_id="bob")
    rig.waits.elsewhere("bob", 3)
    rig.waits.end()
    assert rig.answers == [(1, "sent"), (2, "queued")]
    assert not rig.waits
    rig.clock.advance(100)
    assert len(rig.answers) == 2


def test_an_answer_may_begin_another_wait(rig: Rig) -> None:
    rig.waits.add("ann", 1, "sent", 10, lambda id, status: rig.add(2))
    rig.waits.handled("ann", "p", 0, 1)
    assert rig.waits.handled("ann", "p", 0, 2) == 1
