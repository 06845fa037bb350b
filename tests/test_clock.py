"""The clock of a loop, and the one that tests move by hand."""

from __future__ import annotations

import asyncio
import time

import pytest

from pushline.clock import Clock, LoopClock
from pushline.testing import FakeClock


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
