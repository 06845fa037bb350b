"""How many may come: pages at once, requests under one name, connections of one address (contract, W8 and G10)."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushline.admission import BURST_SECONDS, MAX_NAMES, RETRY_MS, SPARE, Admission, Crowd, Rates, block_of

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


class TestRates:
    """So many a second under each name, and some of them at once."""

    def admitted(self, rates: Rates, count: int, now: float, name: str = "a") -> int:
        return sum(not rates.admit(name, now) for _ in range(count))

    def test_without_a_rate_everything_comes(self) -> None:
        rates = Rates(0, 0)
        assert self.admitted(rates, 1000, 0.0) == 1000
        assert rates.wait("a", 0.0, 1e9) == 0

    def test_a_burst_comes_at_once_and_the_rest_at_the_rate(self) -> None:
        rates = Rates(2.0, 10.0)
        assert self.admitted(rates, 100, 0.0) == 10
        assert self.admitted(rates, 100, 3.0) == 6
        assert self.admitted(rates, 100, 1000.0) == 10  # a quiet time allows no more than the burst

    def test_who_waits_as_long_as_it_is_told_comes_in(self) -> None:
        rates = Rates(0.2, 10.0)
        assert self.admitted(rates, 10, 0.0) == 10
        wait = rates.admit("a", 1.0)
        assert wait == pytest.approx(4.0)
        assert rates.admit("a", 1.0 + wait / 2) > 0
        assert rates.admit("a", 1.0 + wait) == 0

    def test_who_is_refused_owes_no_more_for_it(self) -> None:
        rates = Rates(1.0, 1.0)
        rates.admit("a", 0.0)
        assert self.admitted(rates, 100, 0.5) == 0
        assert rates.admit("a", 1.0) == 0

    def test_names_have_their_own(self) -> None:
        rates = Rates(1.0, 3.0)
        assert self.admitted(rates, 10, 0.0, "a") == 3
        assert self.admitted(rates, 10, 0.0, "b") == 3

    def test_several_at_once_come_together_or_not_at_all(self) -> None:
        rates = Rates(1.0, 10.0)
        assert rates.admit("a", 0.0, 8) == 0
        assert rates.admit("a", 0.0, 3) == pytest.approx(1.0)
        assert rates.admit("a", 0.0, 2) == 0

    def test_more_than_a_burst_comes_when_nothing_is_owed(self) -> None:
        rates = Rates(1.0, 10.0)
        assert rates.admit("a", 0.0, 500) == 0
        assert rates.admit("a", 0.0, 500) == pytest.approx(500.0)
        assert rates.admit("a", 500.0, 500) == 0

    def test_asking_counts_nothing(self) -> None:
        rates = Rates(1.0, 1.0)
        assert [rates.wait("a", 0.0) for _ in range(100)] == [0.0] * 100
        rates.spend("a", 0.0)
        assert rates.wait("a", 0.0) > 0

    def test_of_many_names_the_oldest_is_forgotten(self) -> None:
        rates = Rates(1.0, 1.0)
        for number in range(MAX_NAMES):
            rates.spend(f"n{number}", 0.0)
        assert rates.wait("n0", 0.0) > 0
        rates.spend("one more", 0.0)
        assert rates.wait("n0", 0.0) == 0
        assert rates.wait("n1", 0.0) > 0
        assert len(rates._ahead) == MAX_NAMES

    @given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 4)), max_size=60))
    def test_never_more_than_the_burst_and_the_rate(self, steps: list[tuple[float, int]]) -> None:
        rates, now, admitted = Rates(2.0, 6.0), 0.0, 0
        for pause, count in steps:
            now += pause
            if not rates.admit("a", now, count):
                admitted += count
            assert admitted <= 6 + 2 * now + 1e-6


class TestCrowd:
    """So many connections in all, and of one address."""

    def test_counts_and_lets_everybody_in_without_a_limit(self) -> None:
        crowd = Crowd()
        assert all(crowd.enter("192.0.2.1") for _ in range(1000))
        assert crowd.total == 1000
        assert not crowd.packed("192.0.2.1")

    def test_the_one_above_the_limit_does_not_fit_and_is_counted(self) -> None:
        crowd = Crowd(most=2)
        assert [crowd.enter(address) for address in ("192.0.2.1", "", "192.0.2.3")] == [True, True, False]
        assert crowd.total == 3
        crowd.leave("192.0.2.3")
        assert not crowd.enter("")
        crowd.leave("")
        crowd.leave("")
        assert crowd.enter("192.0.2.4")

    def test_each_address_has_its_own_limit(self) -> None:
        crowd = Crowd(most_each=2)
        assert [crowd.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
        assert crowd.enter("192.0.2.2")
        crowd.leave("192.0.2.1")
        crowd.leave("192.0.2.1")
        assert crowd.enter("192.0.2.1")

    def test_who_has_no_address_has_no_limit_of_one(self) -> None:
        crowd = Crowd(most_each=1)
        assert all(crowd.enter("") for _ in range(10))
        assert not crowd.packed("")

    def test_a_household_of_ipv6_is_one(self) -> None:
        crowd = Crowd(most_each=2)
        assert crowd.enter("2001:db8:1:2::1")
        assert crowd.enter("2001:db8:1:2:ffff::9")
        assert not crowd.enter("2001:db8:1:2:3:4:5:6")
        assert crowd.enter("2001:db8:1:3::1")
        assert block_of("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
        assert block_of("192.0.2.1") == "192.0.2.1"

    def test_is_packed_when_not_even_an_answer_can_be_given(self) -> None:
        for crowd in (Crowd(most=3), Crowd(most_each=3)):
            for _ in range(3 + SPARE):
                crowd.enter("192.0.2.1")
            assert not crowd.packed("192.0.2.1")
            crowd.enter("192.0.2.1")
            assert crowd.packed("192.0.2.1")

    @given(st.lists(st.sampled_from(["", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]), max_size=40))
    def test_remembers_nobody_who_has_left(self, addresses: list[str]) -> None:
        crowd = Crowd(most=5, most_each=2)
        for address in addresses:
            crowd.enter(address)
        for address in reversed(addresses):
            crowd.leave(address)
        assert (crowd.total, crowd._each) == (0, {})

    def test_those_who_come_again_do_so_at_moments_of_their_own(self) -> None:
        moments = {Crowd().moment(now / 1000) for now in range(0, 5000, 7)}
        assert len(moments) > 500
        assert RETRY_MS <= min(moments) <= max(moments) < 2 * RETRY_MS
