"""The chaos command finds what it looks for: its judge is given what went wrong, and its readers what is awkward."""

from __future__ import annotations

import pytest
from bench.chaos.judge import Accepted, Gap, Received, Seen, Verdict, judge, overtaken, parse_id
from bench.chaos.page import End
from bench.chaos.sse import EventReader


def accepted(*numbers: int) -> list[Accepted]:
    return [Accepted((number, 0), f"text {number}", number, number + 0.5) for number in numbers]


def received(*numbers: int) -> list[Seen]:
    return [Received((number, 0), f"text {number}") for number in numbers]


def gap(number: int) -> Gap:
    return Gap((number, 0))


class TestTheJudge:
    def test_everything_once_and_in_order_is_good(self) -> None:
        verdict = judge(accepted(1, 2, 3), received(1, 2, 3))
        assert verdict == Verdict(received=3)
        assert verdict.good

    def test_nothing_was_sent_and_nothing_came(self) -> None:
        assert judge([], []) == Verdict()

    @pytest.mark.parametrize("came", [(2, 3), (1, 3), (1, 2)])
    def test_a_message_that_never_came_is_lost(self, came: tuple[int, ...]) -> None:
        verdict = judge(accepted(1, 2, 3), received(*came))
        assert verdict == Verdict(received=2, lost=1)
        assert not verdict.good

    def test_a_message_that_came_twice_is_doubled(self) -> None:
        verdict = judge(accepted(1, 2), received(1, 2, 1))
        assert verdict == Verdict(received=3, doubled=1)
        assert not verdict.good

    def test_a_text_that_came_under_two_ids_is_doubled_and_was_accepted_under_one(self) -> None:
        verdict = judge(accepted(1), [Received((1, 0), "text 1"), Received((2, 0), "text 1")])
        assert verdict == Verdict(received=2, doubled=1, strange=1)

    def test_a_message_that_came_after_a_later_one_is_out_of_order(self) -> None:
        verdict = judge(accepted(1, 2, 3), received(1, 3, 2))
        assert verdict == Verdict(received=3, disordered=1)
        assert not verdict.good

    def test_ids_are_compared_as_numbers(self) -> None:
        ids = [parse_id("9-9"), parse_id("9-10"), parse_id("10-0")]
        messages = [Accepted(id, str(id), 0, 1) for id in ids]
        assert judge(messages, [Received(id, str(id)) for id in ids]).good

    def test_what_is_no_id_is_refused(self) -> None:
        with pytest.raises(ValueError, match="is no id"):
            parse_id("1")

    def test_a_message_that_nobody_sent_is_strange(self) -> None:
        assert judge(accepted(1), received(1, 2)) == Verdict(received=2, strange=1)

    def test_a_message_whose_text_was_changed_is_strange(self) -> None:
        assert judge(accepted(1), [Received((1, 0), "text")]) == Verdict(received=1, strange=1)


class TestGaps:
    def test_a_gap_tells_what_is_missing_before_it(self) -> None:
        verdict = judge(accepted(1, 2, 3, 4), [*received(1), gap(3), *received(4)])
        assert verdict == Verdict(received=2, told=2, gaps=1)
        assert verdict.good

    def test_a_gap_at_the_beginning_tells_it_as_well(self) -> None:
        assert judge(accepted(1, 2), [gap(1), *received(2)]) == Verdict(received=1, told=1, gaps=1)

    def test_a_gap_does_not_tell_what_is_missing_after_it(self) -> None:
        verdict = judge(accepted(1, 2, 3, 4), [*received(1), gap(2), *received(4)])
        assert verdict == Verdict(received=2, told=1, lost=1, gaps=1)
        assert not verdict.good

    def test_a_gap_does_not_tell_what_was_missing_before_the_page_had_come_so_far(self) -> None:
        verdict = judge(accepted(1, 2, 3, 4), [*received(2), gap(3), *received(4)])
        assert verdict == Verdict(received=2, told=1, lost=1, gaps=1)

    def test_a_gap_in_which_nothing_is_missing_is_needless(self) -> None:
        verdict = judge(accepted(1, 2), [*received(1), gap(1), *received(2)])
        assert verdict == Verdict(received=2, gaps=1, needless=1)
        assert verdict.good

    def test_verdicts_of_several_pages_are_added(self) -> None:
        whole = judge(accepted(1, 2), received(1))
        whole += judge(accepted(1, 2), [gap(1), *received(2, 2)])
        assert whole == Verdict(received=3, lost=1, doubled=1, told=1, gaps=1)


class TestTheOrderOfSends:
    def test_ids_that_follow_on_the_answers_are_good(self) -> None:
        assert overtaken(accepted(1, 2, 3)) == 0

    def test_sends_at_one_time_may_have_any_order(self) -> None:
        assert overtaken([Accepted((2, 0), "", 1, 3), Accepted((1, 0), "", 2, 4)]) == 0

    def test_a_send_after_an_answer_with_a_smaller_id_was_overtaken(self) -> None:
        assert overtaken([Accepted((2, 0), "", 1, 2), Accepted((1, 0), "", 3, 4), Accepted((3, 0), "", 5, 6)]) == 1


class TestWhatPagesRead:
    STREAM = (
        b'\xef\xbb\xbf: a comment\nid: 1-0\ndata: "a\\r\\nb"\n\nevent: ping\ndata: {"type":\ndata:"ping"}\n\n'
        b'retry: 5\n\nid: 2-0\r\ndata:"\xc3\xbc"\r\n\r\nevent: left out\n\nid: 3-0\rdata: 3\r\r'
    )
    EVENTS = (
        ("", "1-0", '"a\\r\\nb"'),
        ("ping", "1-0", '{"type":\n"ping"}'),
        ("", "2-0", '"ü"'),
    )

    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_events_are_read_however_they_are_cut(self, size: int) -> None:
        reader = EventReader()
        stream = self.STREAM + b": the last line end was a whole one\n"
        chunks = [stream[first : first + size] for first in range(0, len(stream), size)]
        events = [event for chunk in chunks for event in reader.feed(chunk)]
        assert events == [*self.EVENTS, ("", "3-0", "3")]

    def test_a_code_of_44_ends_the_socket_and_no_other(self) -> None:
        assert [code for code in (1000, 1001, 1006, 1011, 4400, 4409, 4499, 4503, 4513) if End(code).final] == [
            4400,
            4409,
            4499,
        ]

    def test_the_pause_that_a_reason_names_is_kept(self) -> None:
        assert End.of_reason(1001, "retry=1500") == End(1001, 1.5)
        assert End.of_reason(1001, "going away") == End(1001)
