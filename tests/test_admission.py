"""How many pages may connect at once (contract, W8)."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from itertools import pairwise

import pytest

from pushline.admission import BURST_SECONDS, Admission

RATE = 10.0
BURST = int(RATE * BURST_SECONDS)


def refused(admission: Admission, count: int, now: float) -> list[float]:
    """The waits of those that are not admitted of so many who come at one moment."""
    waits = [admission.admit(now) for _ in range(count)]
    return [wait for wait in waits if wait]


def test_without_a_rate_everybody_comes_in() -> None:
    assert refused(Admission(0), 100_000, 5.0) == []


def test_some_seconds_worth_come_in_at_once() -> None:
    admission = Admission(RATE)
    assert len(refused(admission, 1000, 100.0)) == pytest.approx(1000 - BURST, abs=1)


def test_those_who_come_within_the_rate_always_come_in() -> None:
    admission = Admission(RATE)
    assert not any(admission.admit(100.0 + n / RATE) for n in range(10_000))


def test_each_who_is_refused_gets_a_moment_of_its_own() -> None:
    waits = refused(Admission(RATE), 500, 100.0)
    assert all(wait > 0 for wait in waits)
    assert waits == sorted(set(waits))
    gaps = [later - earlier for earlier, later in pairwise(waits)]
    assert gaps == pytest.approx([1 / RATE] * len(gaps))


@pytest.mark.parametrize("newcomers", [0, 40])
@pytest.mark.parametrize("rate", [1.0, 10.0, 500.0, 1 / 3])
def test_everybody_who_comes_back_at_its_moment_gets_in(rate: float, newcomers: int) -> None:
    """Also when others come meanwhile, who take the turns of some that were promised them."""
    admission = Admission(rate)
    pages = [(100.0, n, 0) for n in range(int(rate * BURST_SECONDS) + 60)]
    pages += [(100.0 + 2 * n / rate, 1000 + n, 0) for n in range(newcomers)]
    heapq.heapify(pages)
    tries: list[int] = []
    admitted: list[float] = []
    while pages:
        now, number, tried = heapq.heappop(pages)
        wait = admission.admit(now)
        if wait:
            assert tried < 20
            heapq.heappush(pages, (now + (int(wait * 1000) + 1) / 1000, number, tried + 1))
        else:
            tries.append(tried)
            admitted.append(now)
    assert newcomers or max(tries) == 1
    for n, first in enumerate(admitted):  # never more than the burst and the rate
        assert bisect_left(admitted, first + 1.0) - n <= rate * (BURST_SECONDS + 1) + 2


def test_those_who_do_not_come_back_keep_nobody_out() -> None:
    admission = Admission(RATE)
    refused(admission, 100_000, 100.0)
    assert admission.admit(100.0 + 1 / RATE + 0.001) == 0


def test_a_quiet_time_allows_no_more_than_the_burst() -> None:
    admission = Admission(RATE)
    admission.admit(1.0)
    assert len(refused(admission, 1000, 1_000_000.0)) == pytest.approx(1000 - BURST, abs=1)


def test_over_a_long_time_the_rate_holds() -> None:
    admission = Admission(RATE)
    moments = sorted(n * 0.6180339887 % 1 * 100 for n in range(5000))
    admitted = sum(not admission.admit(moment) for moment in moments)
    assert admitted <= RATE * 100 + BURST + 1
