"""The tally finds what it looks for: it is given what goes wrong."""

from __future__ import annotations

from pushline.bench.tally import EVERYBODY, MARK_BYTES, Tally

SIZE = 64


class Line:
    """Two pages, and what was sent to them, to be read in any order."""

    def __init__(self, sent: int, to: int = 0) -> None:
        self.tally = Tally(2, SIZE)
        self.messages = [self.tally.stamp(to, number) for number in range(sent)]

    def read(self, *numbers: int, page: int = 0) -> Tally:
        for number in numbers:
            assert self.tally.read(page, self.messages[number], 1000)
        return self.tally


def counts(tally: Tally) -> tuple[int, int, int, int]:
    return tally.received, tally.doubled, tally.disordered, tally.strange


class TestTheTally:
    def test_everything_once_and_in_order(self) -> None:
        tally = Line(3).read(0, 1, 2)
        assert counts(tally) == (3, 0, 0, 0)
        assert tally.latencies == [1000, 999, 998]
        assert tally.last == 1000

    def test_one_that_is_missing_does_not_count(self) -> None:
        assert counts(Line(3).read(0, 2)) == (2, 0, 0, 0)

    def test_one_that_comes_late_is_out_of_order_and_counts(self) -> None:
        assert counts(Line(3).read(0, 2, 1)) == (3, 0, 1, 0)

    def test_one_that_comes_twice_counts_once(self) -> None:
        assert counts(Line(3).read(0, 0, 1, 2, 1)) == (3, 2, 0, 0)
        assert counts(Line(3).read(2, 1, 1)) == (2, 1, 1, 0)

    def test_one_of_another_page_is_strange(self) -> None:
        assert counts(Line(1).read(0, page=1)) == (0, 0, 0, 1)

    def test_one_that_was_changed_or_cut_is_strange(self) -> None:
        tally = Line(0).tally
        message = tally.stamp(0, 0)
        for wrong in (message[:-1] + b"y", message[:-1], b"@@zzzzzz" + message[8:], b"@@"):
            assert tally.read(0, wrong, 0)
        assert counts(tally) == (0, 0, 0, 4)

    def test_one_to_all_pages_counts_for_each(self) -> None:
        line = Line(2, to=EVERYBODY)
        line.read(0, 1)
        assert counts(line.read(0, 1, page=1)) == (4, 0, 0, 0)

    def test_several_may_be_in_one_frame_with_other_things_around(self) -> None:
        tally = Tally(1, SIZE)
        both = b"MSG " + tally.stamp(0, 0) + b"\r\nMSG " + tally.stamp(0, 0) + b'"]'
        assert tally.read(0, both, 0)
        assert counts(tally) == (2, 0, 0, 0)

    def test_a_frame_without_one_is_not_noted(self) -> None:
        tally = Tally(1, SIZE)
        assert not tally.read(0, b'{"type":"ping"}', 0)
        assert counts(tally) == (0, 0, 0, 0)

    def test_messages_have_the_size_that_is_asked_for(self) -> None:
        assert len(Tally(1, SIZE).stamp(0, 2**62)) == SIZE
        assert len(Tally(1, MARK_BYTES).stamp(0, 0)) == MARK_BYTES

    def test_a_new_count_goes_on_with_the_numbers(self) -> None:
        line = Line(2)
        line.read(0)
        line.tally.begin()
        assert counts(line.read(1)) == (1, 0, 0, 0)
