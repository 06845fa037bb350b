"""What goes together, what goes alone and what waits, without an event loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pushline.client import sends
from pushline.client.queue import Batch, Queue
from pushline.client.sends import MAX_BATCH_BYTES


class Sending:
    """A queue, with numbers for tickets."""

    def __init__(self) -> None:
        self.queue: Queue[int] = Queue()
        self.count = 0

    def add(self, client_id: str, message: str | bytes = "hello", **options: Any) -> None:
        self.queue.add(sends.of_text(client_id, message, **options), self.count)
        self.count += 1

    def take(self) -> list[Batch[int]]:
        return self.queue.take()


def tickets(batches: list[Batch[int]]) -> list[list[int]]:
    return [[ticket for _, ticket in batch.entries] for batch in batches]


@pytest.fixture
def sending() -> Sending:
    return Sending()


class TestTogether:
    def test_goes_what_came_in_one_turn_in_its_order(self, sending: Sending) -> None:
        for client_id in ("ann", "bob", "ann"):
            sending.add(client_id)
        (batch,) = sending.take()
        assert tickets([batch]) == [[0, 1, 2]]
        assert batch.part is not None
        assert len(batch.part.items) == 3
        assert not batch.alone

    def test_one_message_is_alone(self, sending: Sending) -> None:
        sending.add("ann")
        (batch,) = sending.take()
        assert batch.alone

    def test_nothing_is_taken_twice(self, sending: Sending) -> None:
        sending.add("ann")
        sending.take()
        assert sending.take() == []

    def test_what_may_be_repeated_and_what_may_not_go_apart(self, sending: Sending) -> None:
        for number, client_id in enumerate("abcd"):
            sending.add(client_id, idempotency_key="k" if number % 2 else None)
        batches = sending.take()
        assert tickets(batches) == [[0, 2], [1, 3]]
        assert [batch.part is not None and batch.part.repeatable for batch in batches] == [False, True]

    @pytest.mark.parametrize("option", [{"wait": 5}, {"ttl": -1}])
    def test_what_no_batch_carries_goes_alone(self, sending: Sending, option: dict[str, Any]) -> None:
        sending.add("ann", **option)
        sending.add("bob")
        sending.add("eve")
        batches = sending.take()
        assert tickets(batches) == [[0], [1, 2]]
        assert batches[0].part is None

    def test_what_is_too_much_for_one_request_goes_in_two(self, sending: Sending) -> None:
        for client_id in "abcd":
            sending.add(client_id, "x" * (MAX_BATCH_BYTES // 2 - 100))
        assert tickets(sending.take()) == [[0, 1], [2, 3]]


class TestOrder:
    def test_a_client_id_has_one_request_at_a_time_and_the_others_do_not_wait(self, sending: Sending) -> None:
        sending.add("ann")
        (first,) = sending.take()
        sending.add("ann")
        sending.add("bob")
        sending.add("ann")
        (second,) = sending.take()
        assert tickets([second]) == [[2]]
        assert not sending.queue.finish(second)
        assert sending.queue.finish(first)
        assert tickets(sending.take()) == [[1, 3]]

    def test_a_message_waits_for_the_one_before_it_that_goes_apart(self, sending: Sending) -> None:
        sending.add("ann", idempotency_key="k")
        sending.add("ann")
        sending.add("ann", idempotency_key="l")
        (keyed,) = sending.take()
        assert tickets([keyed]) == [[0]]
        assert sending.queue.finish(keyed)
        (plain,) = sending.take()
        assert tickets([plain]) == [[1]]
        assert sending.queue.finish(plain)
        assert tickets(sending.take()) == [[2]]

    def test_a_message_waits_for_the_one_before_it_that_filled_a_request(self, sending: Sending) -> None:
        for _ in range(3):
            sending.add("ann", "x" * (MAX_BATCH_BYTES // 2 - 100))
        sending.add("bob")
        (full,) = sending.take()
        assert tickets([full]) == [[0, 1, 3]]  # a short one has room
        sending.queue.finish(full)
        assert tickets(sending.take()) == [[2]]

    def test_what_waits_for_a_page_is_behind_the_others_and_holds_nothing_up(self, sending: Sending) -> None:
        sending.add("ann")
        sending.add("ann", wait=30)
        (first,) = sending.take()
        assert tickets([first]) == [[0]]
        sending.queue.finish(first)
        (waiting,) = sending.take()
        assert tickets([waiting]) == [[1]]
        sending.add("ann")
        assert tickets(sending.take()) == [[2]]
        assert not sending.queue.finish(waiting)


class AnyOrder(RuleBasedStateMachine):
    """Whatever is asked for in whatever turns, and answered in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = Sending()
        self.added: list[str] = []
        self.gone: list[int] = []
        self.under_way: list[Batch[int]] = []

    @rule(
        client_id=st.sampled_from("abc"),
        keyed=st.booleans(),
        size=st.sampled_from([1, 1, MAX_BATCH_BYTES // 2]),
        ttl=st.sampled_from([None, 5, -1]),
    )
    def send(self, client_id: str, keyed: bool, size: int, ttl: float | None) -> None:
        self.sending.add(client_id, "x" * size, idempotency_key="k" if keyed else None, ttl=ttl)
        self.added.append(client_id)

    @rule()
    def turn(self) -> None:
        for batch in self.sending.take():
            self.under_way.append(batch)
            self.gone += [ticket for _, ticket in batch.entries]

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if self.under_way:
            which = data.draw(st.integers(0, len(self.under_way) - 1))
            self.sending.queue.finish(self.under_way.pop(which))

    @invariant()
    def the_messages_of_each_client_id_go_in_their_order(self) -> None:
        for client_id in "abc":
            mine = [ticket for ticket in self.gone if self.added[ticket] == client_id]
            assert mine == [ticket for ticket, to in enumerate(self.added) if to == client_id][: len(mine)]

    @invariant()
    def no_client_id_has_two_requests_under_way(self) -> None:
        to = [{send.client_id for send, _ in batch.entries} for batch in self.under_way]
        assert sum(map(len, to)) == len(set().union(*to))

    @invariant()
    def a_batch_is_of_one_kind_and_fits(self) -> None:
        for batch in self.under_way:
            assert len({send.key is None for send, _ in batch.entries}) == 1
            assert batch.alone or (batch.part is not None and batch.part.size <= MAX_BATCH_BYTES)

    def teardown(self) -> None:
        """In the end everything goes."""
        self.turn()
        while self.under_way:
            self.sending.queue.finish(self.under_way.pop())
            self.turn()
        assert sorted(self.gone) == list(range(len(self.added)))
        self.the_messages_of_each_client_id_go_in_their_order()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=30)
