"""Long runs: what is flat, and what is said at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from bench.soak import connects, messages
from bench.soak.__main__ import main
from bench.soak.verdict import FEW, Flat, trend
from click.testing import CliRunner

FLAT = Flat("memory", part=0.1, room=2.0)


def judge(values: Sequence[float]) -> tuple[bool, str]:
    return FLAT(values, lambda value: f"{value:g}")


class TestFlat:
    @pytest.mark.parametrize(
        "values",
        [
            [10.0] * 20,
            [1.0, 5.0, *[10.0] * 18],  # it was cold
            [10.0, 20.0, 30.0] * 20,  # it goes up and down
            [10.0] * 10 + [11.9] * 10,  # within the room
            [100.0] * 10 + [109.0] * 10,  # within the part
            [*[10.0] * 19, 1000.0],  # once
            [30.0 - number for number in range(20)],
        ],
    )
    def test_what_does_not_grow(self, values: list[float]) -> None:
        assert judge(values)[0]

    @pytest.mark.parametrize(
        "values",
        [
            [10.0 + number / 5 for number in range(20)],
            [10.0] * 10 + [12.1] * 10,
            [100.0] * 10 + [111.0] * 10,
        ],
    )
    def test_what_grows(self, values: list[float]) -> None:
        flat, sentence = judge(values)
        assert not flat
        assert "memory: GROWS, by more than" in sentence

    def test_of_few_samples_nothing_is_said(self) -> None:
        assert trend([1.0] * (FEW - 1)) is None
        assert judge([1.0]) == (False, "memory: too few samples to judge; let it run longer")


class TestConnects:
    def report(self, **values: object) -> connects.Report:
        samples = [(number * 100, 25.0) for number in range(1, 41)]
        good = {"done": 4000, "seconds": 2.0, "samples": samples, "settled_mib": 25.0, "descriptors": (20, 21)}
        return connects.Report(**(good | values))  # type: ignore[arg-type]

    def test_a_good_run(self) -> None:
        good, lines = self.report().verdict()
        assert good
        assert lines[0] == "4,000 pages came and went in 2 s, 2,000 a second"

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"samples": [(n, 25.0 + n) for n in range(40)]}, "memory: GROWS"),
            ({"descriptors": (20, 60)}, "60 after THAT STAY"),
            ({"failed": 1, "complaint": "The server cut a page."}, "1 PAGES DID NOT GET IN. The server cut a page."),
            ({"complaints": ["error x"]}, "THE SERVER COMPLAINS: error x"),
        ],
    )
    def test_a_bad_one(self, values: dict[str, object], sentence: str) -> None:
        good, lines = self.report(**values).verdict()
        assert not good
        assert sentence in "\n".join(lines)


class TestMessages:
    def report(self, **changes: float) -> messages.Report:
        """``changes``: how much more of something each sample has than the one before."""
        still = {"rate": 100.0, "p50_ms": 1.0, "p99_ms": 2.0, "memory_mib": 30.0, "log_mib": 4.0, "files_mib": 9.0}
        samples = [
            messages.Sample(minute, **{name: value + minute * changes.get(name, 0.0) for name, value in still.items()})
            for minute in range(20)
        ]
        return messages.Report(100.0, 1000, 1000, samples)

    def test_a_good_run(self) -> None:
        good, lines = self.report().verdict()
        assert good
        assert [line.partition(":")[0] for line in lines[1:]] == ["memory", "latency p99", "write-ahead log"]

    @pytest.mark.parametrize(("name", "growth"), [("memory_mib", 1.0), ("p99_ms", 1.0), ("log_mib", 5.0)])
    def test_what_grows_is_told(self, name: str, growth: float) -> None:
        good, lines = self.report(**{name: growth}).verdict()
        assert not good
        assert sum("GROWS" in line or "BEYOND" in line for line in lines) == 1

    def test_the_log_may_go_up_and_down_within_its_bound(self) -> None:
        good, lines = self.report(log_mib=3.0).verdict()
        assert good
        assert "write-ahead log: bounded, 61.0 MiB at most" in lines

    def test_what_is_lost_is_told(self) -> None:
        report = self.report()
        report.faults = Counter({"lost": 3})
        good, lines = report.verdict()
        assert not good
        assert "3 LOST" in lines

    def test_a_line_is_as_wide_as_its_head(self) -> None:
        assert len(str(self.report().samples[0])) == len(messages.HEAD)


@pytest.mark.parametrize("command", [[], ["connects"], ["messages"]])
def test_there_is_help(command: list[str]) -> None:
    told = CliRunner().invoke(main, [*command, "--help"])
    assert told.exit_code == 0
