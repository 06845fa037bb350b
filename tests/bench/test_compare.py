"""The comparison: its dialects, its results, its page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from bench.compare.__main__ import main
from bench.compare.dialects import ChannelsDialect, NatsDialect, NchanDialect, SocketIoDialect
from bench.compare.page import losses, measured, page, plots
from bench.compare.results import Result, Results, UnreadableResults, summary
from bench.compare.rows import ROWS
from bench.compare.run import Plan, told
from bench.compare.servers import SERVERS, configured, is_fresh
from click.testing import CliRunner

from pushline.bench.tally import Tally


def result(
    server: str, row: str = "A1", error: str = "", faults: dict[str, int] | None = None, **numbers: float
) -> Result:
    pages = ROWS[row].pages
    return Result(server, row, "1.0", 4.0, pages, "2026-01-01T00:00:00+00:00", 0.5, 0.01, numbers, faults or {}, error)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


class TestDialects:
    def test_nats_answers_each_message_with_a_line(self) -> None:
        dialect = NatsDialect("h:1", shared=False)
        data = b"INFO {}\r\n+OK\r\n-ERR 'x'\r\n+O"
        assert dialect.split_answers(data, (1, 1, 1)) == ([1, 0], b"+O")
        assert dialect.request(7, b"hello") == b"PUB page.7 5\r\nhello\r\n"
        assert dialect.is_open(b"PONG\r\n")
        assert dialect.reply(b"PING\r\n") == b"PONG\r\n"

    def test_several_messages_of_nats_in_one_frame_are_verified(self) -> None:
        tally = Tally(1, 64)
        messages = [tally.stamp(0, 0) for _ in range(3)]
        assert tally.read(0, b"".join(b"MSG page.0 1 64\r\n%b\r\n" % message for message in messages), 0)
        assert tally.received == 3

    def test_socket_io_is_open_when_it_says_so(self) -> None:
        dialect = SocketIoDialect("h:1")
        assert [dialect.is_open(text) for text in (b'0{"sid":"a"}', b'40{"sid":"b"}')] == [False, True]
        assert [dialect.reply(text) for text in (b"2", b"40{}")] == [b"3", b""]

    @pytest.mark.parametrize(
        ("dialect", "own", "all_"),
        [(NchanDialect, b"/sub?id=3 ", b"/sub?id=all "), (ChannelsDialect, b"/ws/3 ", b"/ws/all ")],
    )
    def test_a_page_gets_its_own_messages_or_those_to_all(
        self, dialect: type[NchanDialect | ChannelsDialect], own: bytes, all_: bytes
    ) -> None:
        assert own in dialect("h:1", shared=False).handshake(3)
        assert all_ in dialect("h:1", shared=True).handshake(3)


class TestResults:
    def test_they_are_there_again_after_an_interruption(self, results: Results, tmp_path: Path) -> None:
        results.add(result("nchan", cpu_us=1.0))
        results.add(result("nchan", cpu_us=3.0, faults={"lost": 1}))
        again = Results(tmp_path)
        assert again.all == results.all
        cell = summary(again.of("nchan", "A1"))
        assert cell is not None
        assert (cell.runs, str(cell.spreads["cpu_us"]), cell.faults) == (2, "2 (1–3)", {"lost": 1})

    def test_a_run_that_failed_is_done_again(self, results: Results) -> None:
        rows, servers = [ROWS["A1"], ROWS["A3"]], [SERVERS["pushline"], SERVERS["nchan"]]
        plan = Plan(servers, rows, runs=2, seconds=4.0)
        assert [(row.name, server.name) for row, server in plan.steps(results)] == [
            ("A1", "pushline"),
            ("A1", "nchan"),
            ("A3", "pushline"),
        ] * 2
        results.add(result("nchan", error="it did not start"))
        results.add(result("pushline", cpu_us=1.0))
        assert len(plan.steps(results)) == 5
        assert results.error("nchan", "A1") == "it did not start"

    def test_what_belongs_to_other_runs_is_refused(self, results: Results) -> None:
        results.add(result("nchan"))
        results.check_seconds(4.0)
        with pytest.raises(UnreadableResults, match="runs of 4 s"):
            results.check_seconds(1.0)

    @pytest.mark.parametrize("line", ["{", "[]", '{"server": "x"}'])
    def test_a_line_that_is_no_result_is_named(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "results.jsonl").write_text(line + "\n")
        with pytest.raises(UnreadableResults, match="Line 1"):
            Results(tmp_path)

    def test_nothing_has_no_summary(self) -> None:
        assert summary([]) is None

    def test_a_run_is_told_in_a_line(self) -> None:
        good = result("nchan", cpu_us=40.0, rate=20_000.0, faults={"lost": 2})
        assert told(ROWS["A1"], good) == "server's CPU 40 µs a message, messages a second 20,000, 2 LOST"
        assert told(ROWS["A1"], result("nchan", error="no")) == "FAILED: no"


class TestThePage:
    @pytest.fixture
    def compared(self, results: Results) -> Results:
        for number in range(3):
            results.add(result("pushline", cpu_us=60.0 + number, rate=9000.0, p99_ms=1.0, generator_cpu=0.5))
            results.add(result("nchan", cpu_us=40.0, rate=30_000.0, p99_ms=2.0, generator_cpu=0.95))
            results.add(result("fastapi", cpu_us=61.5, rate=500.0, p99_ms=9.0, faults={"lost": 7}))
            for row in ("C1", "C5"):
                results.add(result("pushline", row, cpu_us=100.0, p99_ms=1.0 + number))
        results.add(result("nats", error="<it> did not start"))
        return results

    def test_it_says_where_pushline_loses(self, compared: Results) -> None:
        assert losses(measured(compared)) == [
            "One message at a time, server's CPU: Pushline 61 µs a message; nchan 40.",
            "One message at a time, messages a second: Pushline 9,000; nchan 30,000.",
        ]

    def test_it_says_when_the_runs_overlap(self, results: Results) -> None:
        for ours, others in ((60.0, 50.0), (70.0, 65.0)):
            results.add(result("pushline", cpu_us=ours))
            results.add(result("nchan", cpu_us=others))
        assert losses(measured(results)) == [
            "One message at a time, server's CPU: Pushline 65 µs a message; nchan 57.5 (the runs overlap)."
        ]

    def test_it_stands_alone_and_has_everything(self, compared: Results) -> None:
        drawn = {"A1": "<svg>bars</svg>", "server's CPU by open pages": "<svg>line</svg>"}
        text = page(compared, {"processor": "a & b"}, drawn, quick=False)
        for part in ("<svg>bars</svg>", "<svg>line</svg>", "a &amp; b", "21 lost", "<small>60–62</small>", "30,000*"):
            assert part in text
        assert "&lt;it&gt; did not start" in text
        assert "A look" not in text
        assert not re.search(r"(src|href)=", text)

    def test_a_look_says_that_it_is_one(self, results: Results) -> None:
        text = page(results, {}, {}, quick=True)
        assert "A look, not a measurement" in text
        assert "nothing to compare with" in text

    def test_who_wins_everywhere_says_so(self, results: Results) -> None:
        results.add(result("pushline", cpu_us=1.0))
        results.add(result("nchan", cpu_us=2.0))
        assert "Nowhere among these rows" in page(results, {}, {}, quick=False)

    def test_each_row_has_bars_and_the_number_of_pages_lines(self, compared: Results) -> None:
        drawn = plots(measured(compared))
        assert list(drawn) == ["A1", "server's CPU by open pages", "latency p99 by open pages"]
        assert [(point.name, point.ours) for point in drawn["A1"].points] == [
            ("Pushline", True),
            ("nchan", False),
            ("FastAPI", False),
        ]
        assert [point.name for point in drawn["latency p99 by open pages"].points] == ["1000", "5000"]

    def test_rows_with_more_channels_in_the_store_are_on_a_line_of_their_own(self, results: Results) -> None:
        results.add(result("pushline", "C1", cpu_us=1.0, p99_ms=1.0))
        results.add(result("pushline", "S10", cpu_us=1.0, p99_ms=1.0, channels=11_000))
        drawn = plots(measured(results))
        assert [point.name for point in drawn["latency p99 by channels in the store"].points] == ["1000", "11000"]


class TestServers:
    def test_what_only_pushline_has_is_measured_on_it_alone(self) -> None:
        fitting = {row.name: [name for name, server in SERVERS.items() if row.fits(server)] for row in ROWS.values()}
        assert fitting["A1"] == list(SERVERS)
        assert fitting["A3"] == ["pushline", "pushline-memory"]
        assert fitting["R"] == fitting["C19"] == ["pushline"]

    def test_a_smaller_row_is_the_same_with_fewer_pages(self) -> None:
        assert ROWS["C"].smaller(10).pages == 1000
        assert ROWS["A1"].smaller(1000).pages == 4

    def test_a_configuration_has_its_places_filled(self, tmp_path: Path) -> None:
        file = configured("nats.conf", tmp_path, PORT="1", SEND_PORT="2")
        assert "127.0.0.1:1" in file.read_text()
        assert (
            "@" not in configured("nchan.conf", tmp_path, PORT="1", FOLDER="/x").read_text().partition("load_module")[2]
        )

    def test_a_compiled_pushline_older_than_its_source_is_not_the_one(self, tmp_path: Path) -> None:
        compiled, source = tmp_path / "compiled", tmp_path / "src"
        source.mkdir()
        file = source / "a.py"
        file.touch()
        assert not is_fresh(compiled, source)
        compiled.mkdir()
        assert is_fresh(compiled, source)
        later = compiled.stat().st_mtime + 10
        os.utime(file, (later, later))
        assert not is_fresh(compiled, source)

    def test_a_server_that_is_missing_is_named_with_what_installs_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bench.compare.servers.INSTALLED", tmp_path)
        done = CliRunner().invoke(main, ["--server", "fastapi", "--server", "ws", "--output", str(tmp_path)])
        assert done.exit_code == 1
        assert "FastAPI is not installed: `make bench` installs it." in done.output
        assert "ws is not installed: `make bench` installs it." in done.output
