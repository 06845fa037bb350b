"""The clock of a loop, and the one that tests move by hand."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from pushline.clock import Clock, LoopClock
from pushline.testing.clock import FakeClock, ProcessClock


class TestLoopClock:
    def test_it_tells_the_machines_time(self) -> None:
        loop = asyncio.new_event_loop()
        clock: Clock = LoopClock(loop)
        assert abs(clock.now() - time.time()) < 60
        assert abs(clock.monotonic() - time.monotonic()) < 60
        loop.close()

    def test_it_calls_later_and_soon_in_the_loop(self) -> None:
        async def main() -> list[str]:
            loop = asyncio.get_running_loop()
            clock: Clock = LoopClock(loop)
            called: list[str] = []
            done = asyncio.Event()
            clock.call_later(0, done.set)
            clock.call_later(0, lambda: called.append("never")).cancel()
            clock.call_soon(lambda: called.append("soon"))
            await done.wait()
            return called

        assert asyncio.run(main()) == ["soon"]


class TestFakeClock:
    def test_it_stands_still(self) -> None:
        clock: Clock = FakeClock(now=1000.0)
        assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic())

    def test_time_passes_when_it_is_moved(self) -> None:
        clock = FakeClock(now=1000.0)
        before = clock.monotonic()
        clock.advance(7200)
        assert (clock.now(), clock.monotonic() - before) == (8200.0, 7200.0)

    def test_timers_are_called_at_their_moments_in_order(self) -> None:
        clock = FakeClock(now=0.0)
        called: list[tuple[str, float]] = []
        for name, delay in (("b", 2.0), ("a", 1.0), ("c", 2.0), ("past", -1.0), ("late", 2.5)):
            clock.call_later(delay, lambda name=name: called.append((name, clock.now())))  # type: ignore[misc]
        clock.advance(2)
        assert called == [("past", 0.0), ("a", 1.0), ("b", 2.0), ("c", 2.0)]

    def test_a_timer_that_a_timer_sets_is_called_in_the_same_advance(self) -> None:
        clock = FakeClock(now=0.0)
        called: list[float] = []

        def tick() -> None:
            called.append(clock.now())
            clock.call_later(1, tick)

        tick()
        clock.advance(3)
        assert called == [0.0, 1.0, 2.0, 3.0]

    def test_a_timer_that_was_cancelled_is_not_called(self) -> None:
        clock = FakeClock()
        timer = clock.call_later(1, lambda: pytest.fail("called"))
        timer.cancel()
        timer.cancel()
        clock.advance(2)

    def test_what_is_put_off_to_the_end_of_the_turn_waits_for_it(self) -> None:
        clock = FakeClock()
        called: list[str] = []

        def first() -> None:
            called.append("first")
            clock.call_soon(lambda: called.append("third"))

        clock.call_soon(first)
        clock.call_soon(lambda: called.append("second"))
        assert called == []
        clock.turn()
        assert called == ["first", "second", "third"]

    def test_every_timer_has_a_turn_of_its_own(self) -> None:
        clock = FakeClock()
        called: list[str] = []
        for name in ("a", "b"):
            clock.call_later(1, lambda name=name: clock.call_soon(lambda: called.append(name)))  # type: ignore[misc]
        clock.call_later(1, lambda: called.append("c"))
        clock.advance(1)
        assert called == ["a", "b", "c"]

    def test_turns_may_be_those_of_a_loop(self) -> None:
        put_off: list[object] = []
        clock = FakeClock(call_soon=put_off.append)
        clock.call_soon(print)
        clock.turn()
        assert put_off == [print]

    def test_a_step_moves_unix_time_and_nothing_else(self) -> None:
        clock = FakeClock(now=1000.0)
        before = clock.monotonic()
        clock.call_later(1, lambda: pytest.fail("called"))
        clock.step(-500)
        assert (clock.now(), clock.monotonic()) == (500.0, before)
        clock.step(1000)
        assert clock.now() == 1500.0

    def test_what_it_calls_may_let_time_pass_and_that_counts_once(self) -> None:
        clock = FakeClock()
        start, called = clock.monotonic(), list[float]()
        clock.call_later(1, lambda: clock.advance(3))
        clock.call_later(2, lambda: called.append(clock.monotonic() - start))
        clock.advance(2)
        assert called == [2]
        assert clock.monotonic() - start == 4

    def test_what_is_put_off_in_a_turn_may_carry_the_turn_on(self) -> None:
        clock = FakeClock()
        called: list[str] = []

        def first() -> None:
            clock.turn()
            called.append("first")

        clock.call_soon(first)
        clock.call_soon(lambda: called.append("second"))
        clock.turn()
        assert called == ["second", "first"]

    def test_it_stops_as_soon_as_it_has_what_it_waits_for(self) -> None:
        clock = FakeClock()
        start, called = clock.monotonic(), list[int]()
        for seconds in (1, 2, 3):
            clock.call_later(seconds, partial(called.append, seconds))
        clock.advance(10, until=lambda: 2 in called)
        assert (called, clock.monotonic() - start) == ([1, 2], 2)
        clock.advance(10, until=lambda: 3 in called)
        clock.advance(10, until=lambda: 4 in called)
        assert (called, clock.monotonic() - start) == ([1, 2, 3], 13)

    def test_a_day_of_small_steps_is_a_day(self) -> None:
        clock = FakeClock(now=1_795_532_544.0)
        end = clock.now() + 86_400

        def again() -> None:
            clock.call_later(0.1, again)

        again()
        clock.advance(86_400)
        assert clock.now() == end


class TestProcessClock:
    def test_it_is_the_clock_until_its_process_ends(self) -> None:
        clock = FakeClock()
        process: Clock = (one := ProcessClock(clock))
        called: list[str] = []
        process.call_later(1, lambda: called.append("later"))
        process.call_later(1, lambda: called.append("never")).cancel()
        process.call_later(3, lambda: called.append("too late"))
        process.call_soon(lambda: called.append("soon"))
        clock.advance(2)
        process.call_soon(lambda: called.append("too late"))
        one.kill()
        clock.advance(2)
        assert called == ["soon", "later"]
        assert (process.now(), process.monotonic()) == (clock.now(), clock.monotonic())
