"""What a load says about itself: statistics, the table, dialects, arguments."""

from __future__ import annotations

import io
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pushline.bench.asking import refusal
from pushline.bench.dialect import Dialect, PushlineDialect
from pushline.bench.faults import LoadFault
from pushline.bench.load import Outcome
from pushline.bench.pages import cursor_of
from pushline.bench.processes import ProcessTree
from pushline.bench.progress import Bar
from pushline.bench.report import table
from pushline.bench.run import Plan, Server
from pushline.bench.senders import Pattern
from pushline.bench.sockets import allow_sockets, resolve
from pushline.bench.statistics import Spread, quantile, short
from pushline.bench.wire import Answer
from pushline.cli import main

GOOD = Outcome(
    seconds=2.0,
    sent=100,
    accepted=100,
    received=100,
    doubled=0,
    disordered=0,
    strange=0,
    closed=0,
    generator=0.5,
    latencies=[1_000_000 * number for number in range(1, 101)],
)
KEY = "the-api-key-of-the-tests"


class TestStatistics:
    def test_quantiles(self) -> None:
        ordered = list(range(100))
        assert [quantile(ordered, part) for part in (0, 0.5, 0.99, 1.0)] == [0, 50, 99, 99]
        assert quantile([], 0.5) == 0
        assert quantile([7], 0.99) == 7

    def test_a_spread_is_shown_with_how_far_it_reaches(self) -> None:
        assert str(Spread.of([3, 1, 2])) == "2 (1–3)"
        assert str(Spread.of([2])) == "2"

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0, "0"), (0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12,346"), (5.0, "5")],
    )
    def test_numbers_have_the_digits_that_matter(self, value: float, text: str) -> None:
        assert short(value) == text


class TestTheOutcome:
    def test_a_good_one_has_no_faults(self) -> None:
        assert GOOD.faults == {}
        assert GOOD.rate == 50
        assert GOOD.latency(0.99) == 100

    def test_what_went_wrong_is_named(self) -> None:
        bad = replace(GOOD, accepted=99, received=90, doubled=1, disordered=2, strange=3, closed=4)
        assert bad.faults == {
            "lost": 9,
            "doubled": 1,
            "out of order": 2,
            "changed or misdelivered": 3,
            "refused": 1,
            "pages closed": 4,
        }

    def test_nothing_came(self) -> None:
        nothing = replace(GOOD, seconds=0.0, received=0, latencies=[])
        assert (nothing.rate, nothing.latency(0.5)) == (0.0, 0.0)
        assert "server" not in table(nothing, 1.0)


class TestTheTable:
    def test_it_says_everything(self) -> None:
        assert table(GOOD, 0.005).splitlines() == [
            "messages                100 of 100 came, in 2.0 s",
            "messages a second       50",
            "latency                 p50 51 ms   p90 91 ms   p99 100 ms   p99.9 100 ms   longest 100 ms",
            "lost                    0",
            "doubled                 0",
            "out of order            0",
            "server's CPU            50 µs a message",
            "this generator          50% of a CPU",
        ]

    def test_it_names_what_went_wrong(self) -> None:
        text = table(replace(GOOD, strange=1, closed=2, sent=101))
        for line in ("changed or misdelivered 1", "refused                 1", "pages closed            2"):
            assert line in text

    def test_it_says_when_the_generator_was_the_limit(self) -> None:
        assert "may have been the limit" in table(replace(GOOD, generator=0.95))
        assert "generator" not in table(replace(GOOD, generator=None))


class TestTheBar:
    def test_in_a_file_it_writes_a_line_for_each_step(self) -> None:
        stream = io.StringIO()
        bar = Bar(stream)
        for done in (0.0, 0.1, 0.2):
            bar("opening", done)
        bar("sending", 0.5)
        bar.clear()
        assert stream.getvalue() == "opening: 0%\nsending: 50%\n"

    def test_in_a_terminal_it_draws_over_itself_and_goes_away(self) -> None:
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        bar = Bar(stream, prefix="A1: ")
        bar("opening", 0.5)
        bar("sending", 1.5)
        bar.clear()
        drawn = stream.getvalue().split("\r")
        assert drawn[1] == "A1: opening  ████████████░░░░░░░░░░░░  50%"
        assert drawn[2].endswith("100%")
        assert drawn[3].strip() == ""


class TestTheDialectOfPushline:
    def dialect(self, *tokens: str) -> PushlineDialect:
        return PushlineDialect("h:1", "/push", KEY, ["a", "b"], tokens)

    def test_a_page_shows_its_token_in_a_header_and_resumes_with_its_cursor(self) -> None:
        dialect = self.dialect("token-a", "token-b")
        first = dialect.handshake(1).decode()
        assert first.startswith("GET /push/_ah/channel/connect?page=p1 HTTP/1.1\r\n")
        assert "Sec-WebSocket-Protocol: pushline.v1, pushline.token.token-b\r\n" in first
        dialect.cursors = ["1-0", "2-0"]
        assert dialect.handshake(1).startswith(b"GET /push/_ah/channel/connect?page=p1&after=2-0 HTTP/1.1\r\n")

    def test_the_key_is_in_a_header_alone(self) -> None:
        dialect = self.dialect()
        for request in (dialect.request(0, b"m"), dialect.channel("a", "share"), dialect.revoke("a")):
            assert KEY not in request.partition(b"\r\n")[0].decode()
            assert f"Authorization: Bearer {KEY}\r\n".encode() in request

    def test_batches(self) -> None:
        dialect = self.dialect()
        one_each = dialect.request_batch([1, 0], [b"m", b"n"])
        assert one_each.endswith(b'{"messages":[{"to":"b","data":"m"},{"to":"a","data":"n"}]}')
        assert dialect.request_all(b"m").endswith(b'{"messages":[{"to":["a","b"],"data":"m"}]}')

    def test_a_message_without_an_id_is_not_accepted(self) -> None:
        body = b'{"results":[{"to":"a","id":"1-0","status":"sent"},{"to":"b","id":null,"status":"no_channel"}]}'
        assert self.dialect().accepted(200, body, 2) == 1
        assert self.dialect().accepted(429, body, 2) == 0

    def test_one_message_is_accepted_for_each_page_of_a_channel(self) -> None:
        dialect = PushlineDialect("h:1", "", KEY, ["a"], ["t"] * 50)
        assert dialect.accepted(200, b'{"results":[{"to":"a","id":"1-0","status":"sent"}]}', 50) == 50

    def test_frames(self) -> None:
        dialect = self.dialect()
        assert dialect.is_open(b'{"type":"open","client_id":"a"}')
        assert dialect.reply(b'{"type":"ping"}') == b'{"type":"ack","id":""}'
        assert dialect.reply(b'{"type":"expiring","expires_in":1}') == b""
        assert dialect.acknowledgement(b"12-3 hello") == b'{"type":"ack","id":"12-3"}'

    def test_the_cursor_of_a_page(self) -> None:
        assert cursor_of(b"12-3 hello") == "12-3"
        assert cursor_of(b'{"type":"open","client_id":"a","cursor":"5-0","gap":false}') == "5-0"
        assert cursor_of(b"{}") == ""

    def test_other_servers_have_no_batches(self) -> None:
        with pytest.raises(LoadFault, match="no batches"):
            Dialect("h:1").request_batch([0], [b"m"])


class TestProcesses:
    def test_what_a_process_has_started_counts(self, tmp_path: Path) -> None:
        for pid, parent, nanoseconds, own in ((1, 0, 9, 9), (5, 1, 100, 30), (6, 5, 20, 4), (7, 6, 3, 2), (8, 1, 9, 9)):
            task = tmp_path / str(pid) / "task" / str(pid)
            task.mkdir(parents=True)
            (task / "schedstat").write_text(f"{nanoseconds * 10**9} 5 5\n")
            (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1\n")
            rollup = f"Pss:   900 kB\nPss_Anon:   {own} kB\nPss_File:   800 kB\nPss_Shmem:   1 kB\n"
            (tmp_path / str(pid) / "smaps_rollup").write_text(rollup)
        tree = ProcessTree(5, tmp_path)
        assert tree.cpu_seconds() == 123
        assert tree.memory_kib() == 30 + 4 + 2 + 3

    def test_a_thread_that_has_ended_does_not(self, tmp_path: Path) -> None:
        (tmp_path / "5" / "task" / "5").mkdir(parents=True)
        (tmp_path / "5" / "task" / "5" / "schedstat").write_text("")
        assert ProcessTree(5, tmp_path).cpu_seconds() == 0

    def test_one_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(LoadFault, match="no process 5"):
            ProcessTree(5, tmp_path).cpu_seconds()


class TestArguments:
    def plan(self, **values: Any) -> Plan:
        return Plan(**{"pages": 10, "senders": 2, "pattern": Pattern(), "size": 64, "seconds": 1.0, **values})

    def test_a_message_has_room_for_what_is_verified(self) -> None:
        with pytest.raises(LoadFault, match="at least 34 bytes"):
            self.plan(size=33)

    def test_each_connection_has_pages_of_its_own(self) -> None:
        with pytest.raises(LoadFault, match="pages of its own"):
            self.plan(senders=11)

    def test_an_address_is_taken_apart(self) -> None:
        server = Server.at("http://push.example.com/a/")
        assert (server.address, server.prefix) == (("push.example.com", 80), "/a")
        assert Server.at("http://127.0.0.1:8080").name == "127.0.0.1:8080"

    def test_tls_is_refused_in_a_sentence(self) -> None:
        with pytest.raises(LoadFault, match="no TLS"):
            Server.at("https://push.example.com")

    def test_more_pages_than_descriptors_are_refused_in_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
        with pytest.raises(LoadFault, match="1,024 descriptors, so at most 924 pages"):
            allow_sockets(925)
        allow_sockets(100)
        allow_sockets(924)
        assert given == [(1024, 1024)]

    def test_a_name_without_an_address_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def find(*_: object) -> None:
            raise OSError(-2, "Name or service not known")

        monkeypatch.setattr("socket.getaddrinfo", find)
        with pytest.raises(LoadFault, match=r"no address for nowhere\.invalid: Name or service"):
            resolve("nowhere.invalid", 80)

    def test_a_refused_key_is_told_and_not_shown(self) -> None:
        assert refusal(Answer(401, b"{}")) == "The server refuses the API key (401)."
        assert refusal(Answer(507, b"full")) == "The server answers with 507: full"

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--size", "10"], "at least 34 bytes"),
            (["--pages", "2"], "pages of its own"),
            (["--url", "https://push.example.com"], "no TLS"),
            (["--url", "nonsense"], "no address of Pushline"),
            (["--pages", "0"], "--pages"),
        ],
    )
    def test_the_command_says_what_is_wrong(self, options: list[str], sentence: str) -> None:
        done = CliRunner().invoke(main, ["bench", *options], env={"PUSHLINE_API_KEY": KEY})
        assert done.exit_code != 0
        assert sentence in done.output
        assert KEY not in done.output
