"""One timer for all sessions."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable

import pytest

from pushline.testing import FakeClock
from pushline.testing.clock import FakeTimer
from pushline.wheel import SPOKES_PER_SECOND, Wheel


class Rider:
    """A rider that is its own session."""

    def __init__(self, deadline: float, every: float | None = None) -> None:
        self.deadline = deadline
        self.every = every
        self.alarm = 0
        self.closed = False
        self.faulty = False
        self.rung: list[float] = []

    @property
    def session(self) -> Rider:
        return self


class Bench:
    """A wheel on a clock, and how many timers it has asked for."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.start = self.clock.monotonic()
        self.wheel: Wheel[Rider] = Wheel(self.clock, self.ring)

    def ring(self, rider: Rider, now: float) -> None:
        if rider.faulty:
            raise OSError("the connection has just gone")
        rider.rung.append(round(now - self.start, 6))
        if rider.every is None:
            rider.closed = True
        else:
            rider.deadline = now + rider.every

    def rider(self, delay: float, every: float | None = None) -> Rider:
        rider = Rider(self.start + delay, every)
        self.wheel.add(rider)
        return rider


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestRinging:
    def test_a_rider_is_rung_at_its_deadline(self, bench: Bench) -> None:
        rider = bench.rider(25)
        bench.clock.advance(24.9)
        assert rider.rung == []
        bench.clock.advance(0.1)
        assert rider.rung == [25.0]

    def test_a_rider_is_never_rung_early_and_at_most_a_tenth_of_a_second_late(self, bench: Bench) -> None:
        riders = [(delay / 7, bench.rider(delay / 7)) for delay in range(1, 200)]
        bench.clock.advance(100)
        for delay, rider in riders:
            assert len(rider.rung) == 1
            assert 0 <= rider.rung[0] - delay + 1e-6 < 0.11

    def test_a_deadline_in_the_past_rings_at_once(self, bench: Bench) -> None:
        rider = bench.rider(-5)
        bench.clock.advance(0.01)
        assert len(rider.rung) == 1

    def test_a_rider_is_rung_again_and_again(self, bench: Bench) -> None:
        rider = bench.rider(1, every=1)
        bench.clock.advance(3)
        assert rider.rung == [1.0, 2.0, 3.0]

    def test_a_rider_that_is_closed_gets_off(self, bench: Bench) -> None:
        rider = bench.rider(1, every=1)
        rider.closed = True
        bench.clock.advance(10)
        assert rider.rung == []

    def test_a_wheel_that_was_stopped_rings_nobody(self, bench: Bench) -> None:
        bench.wheel.stop()
        rider = bench.rider(1)
        bench.wheel.stop()
        bench.clock.advance(10)
        assert rider.rung == []


class TestDeadlinesThatMove:
    def test_one_that_moved_back_is_kept(self, bench: Bench) -> None:
        rider = bench.rider(1)
        rider.deadline += 5
        bench.clock.advance(5.9)
        assert rider.rung == []
        bench.clock.advance(0.1)
        assert rider.rung == [6.0]

    def test_one_that_came_nearer_is_kept_once_the_wheel_is_told(self, bench: Bench) -> None:
        rider = bench.rider(100, every=50)
        rider.deadline -= 95
        bench.wheel.moved(rider)
        bench.clock.advance(100)
        assert rider.rung == [5.0, 55.0]

    def test_telling_it_of_any_other_changes_nothing(self, bench: Bench) -> None:
        rider = bench.rider(5, every=5)
        bench.wheel.moved(rider)
        rider.deadline += 1
        bench.wheel.moved(rider)
        bench.clock.advance(12)
        assert rider.rung == [6.0, 11.0]

    def test_one_that_was_added_twice_rings_once(self, bench: Bench) -> None:
        rider = bench.rider(5, every=5)
        bench.wheel.add(rider)
        bench.clock.advance(12)
        assert rider.rung == [5.0, 10.0]

    def test_one_that_was_added_often_rides_once(self, bench: Bench) -> None:
        rider = bench.rider(5, every=5)
        for _ in range(10):
            rider.deadline -= 0.1
            bench.wheel.moved(rider)
        assert sum(len(riders) for riders in bench.wheel._spokes.values()) == 1

    def test_one_that_was_removed_is_let_go_of_at_once(self, bench: Bench) -> None:
        rider, other = bench.rider(25), bench.rider(25)
        gone = weakref.ref(rider)
        bench.wheel.remove(rider)
        del rider
        assert gone() is None
        bench.clock.advance(25)
        assert other.rung == [25.0]

    def test_the_fault_of_one_is_not_that_of_the_others(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        faulty, others = bench.rider(5, every=5), [bench.rider(5, every=5), bench.rider(6, every=5)]
        faulty.faulty = True
        bench.clock.advance(12)
        assert [rider.rung for rider in others] == [[5.0, 10.0], [6.0, 11.0]]
        assert "a session could not be rung" in caplog.text

    def test_the_nearest_comes_first(self, bench: Bench) -> None:
        far, near = bench.rider(10), bench.rider(1)
        bench.clock.advance(5)
        assert (far.rung, near.rung) == ([], [1.0])
        bench.clock.advance(5)
        assert far.rung == [10.0]


class EarlyClock(FakeClock):
    """A clock whose timers fire the smallest possible moment before their time."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self.waiting: Callable[[], None] | None = None

    def monotonic(self) -> float:
        return self.at

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        self.waiting = callback
        return FakeTimer(callback)


class TestRounding:
    def test_a_timer_that_is_a_hair_early_is_no_endless_loop(self) -> None:
        # deadlines of which the smallest number below, counted in spokes, is the same spoke
        hard = [
            spoke / SPOKES_PER_SECOND
            for spoke in range(10_000, 20_000)
            if math.nextafter(spoke / SPOKES_PER_SECOND, 0) * SPOKES_PER_SECOND >= spoke
        ]
        assert hard
        for deadline in hard[:50]:
            clock = EarlyClock()
            wheel: Wheel[Rider] = Wheel(clock, self.ring)
            rider = Rider(deadline)
            wheel.add(rider)
            clock.at = math.nextafter(deadline, 0)
            assert clock.waiting is not None
            clock.waiting()
            assert rider.rung == [deadline]

    def ring(self, rider: Rider, now: float) -> None:
        rider.rung.append(now)
        rider.closed = True

    def test_a_timer_that_is_early_by_more_waits_on(self) -> None:
        clock = EarlyClock()
        wheel: Wheel[Rider] = Wheel(clock, self.ring)
        rider = Rider(1000.0)
        wheel.add(rider)
        clock.at = 999.9999
        assert clock.waiting is not None
        clock.waiting()
        assert rider.rung == []
        clock.at = 1000.0
        clock.waiting()
        assert rider.rung == [1000.0]
