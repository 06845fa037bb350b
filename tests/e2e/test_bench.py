"""The load generator against a real server: the command for one's own, and the comparison over Pushline alone."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from .conftest import StartProgram, StartPushline
from .processes import COMMAND, clean_environment, find_tokens, free_port, run_pushline
from .waiting import wait_for

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).parents[2]
LIMIT_SECONDS: Final = 300
"""Far more than a comparison of two short rows takes on a slow machine."""


def row(output: str, name: str) -> str:
    """What the table says about something."""
    (found,) = re.findall(rf"^{re.escape(name)}  +(.*)$", output, re.M)
    return str(found)


class TestTheCommand:
    @pytest.mark.parametrize("load", [[], ["--in-flight", "16"], ["--rate", "200"]], ids=["one", "sixteen", "steady"])
    def test_every_message_comes_once_and_in_order(self, start_pushline: StartPushline, load: list[str]) -> None:
        server = start_pushline()
        where = ["--url", server.url, "--data-dir", str(server.data_dir), "--pid", str(server._pid)]
        done = run_pushline("bench", *where, "--pages", "60", "--seconds", "2", *load)
        assert done.returncode == 0, done.stdout + done.stderr
        came, sent = re.findall(r"[\d,]+", row(done.stdout, "messages"))[:2]
        assert came == sent != "0"
        assert [row(done.stdout, name) for name in ("lost", "doubled", "out of order")] == ["0", "0", "0"]
        assert row(done.stdout, "latency").startswith("p50 ")
        assert row(done.stdout, "server's CPU").endswith(" µs a message")
        assert "opening 60 pages" in done.stderr
        assert server.api_key not in done.stdout + done.stderr
        assert find_tokens(done.stdout + done.stderr) == []
        assert server.client.list_clients().clients == []  # it takes away what it has made

    def test_pages_that_are_told_to_come_later_do(self, start_pushline: StartPushline) -> None:
        server = start_pushline("--connect-rate", "10")
        where = ["--url", server.url, "--data-dir", str(server.data_dir)]
        done = run_pushline("bench", *where, "--pages", "70", "--seconds", "0.5")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_pings_are_answered_and_messages_acknowledged(self, start_pushline: StartPushline) -> None:
        server = start_pushline("--ping-interval", "1", "--ping-timeout", "1")
        where = ["--url", server.url, "--data-dir", str(server.data_dir)]
        done = run_pushline("bench", *where, "--pages", "8", "--rate", "40", "--seconds", "6")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_long_messages_that_fill_the_sockets(self, start_pushline: StartPushline) -> None:
        server = start_pushline()
        where = ["--url", server.url, "--data-dir", str(server.data_dir)]
        load = ["--pages", "64", "--size", "32000", "--in-flight", "16", "--seconds", "1"]
        done = run_pushline("bench", *where, *load)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_wrong_key_and_a_server_that_is_not_there_are_a_sentence(self, start_pushline: StartPushline) -> None:
        server = start_pushline()
        wrong = clean_environment(PUSHLINE_API_KEY="some-other-key-0123456789")
        done = run_pushline("bench", "--url", server.url, environment=wrong)
        assert (done.returncode, "refuses the API key" in done.stderr) == (1, True)
        done = run_pushline("bench", "--url", f"http://127.0.0.1:{free_port()}", environment=wrong)
        assert (done.returncode, "cannot be reached" in done.stderr) == (1, True)
        assert "Traceback" not in done.stderr

    def test_a_server_that_goes_away_is_a_sentence(
        self, start_pushline: StartPushline, start_program: StartProgram
    ) -> None:
        server = start_pushline()
        where = ["--url", server.url, "--data-dir", str(server.data_dir)]
        program = start_program([COMMAND, "bench", *where, "--pages", "8", "--seconds", "60"])
        wait_for(lambda: "sending" in program.output, lambda: program.output)
        server.end(signal.SIGKILL)
        assert program.wait() == 1
        assert "Error: The server c" in program.output
        assert "Traceback" not in program.output


class TestTheComparison:
    def compare(self, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench.compare", "--output", str(folder), *options],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def test_a_look_at_pushline_alone_writes_a_page_and_goes_on_where_it_was(self, tmp_path: Path) -> None:
        rows = [word for name in ("A1", "A3", "ES", "R") for word in ("--row", name)]
        done = self.compare(tmp_path, "--quick", "--server", "pushline", *rows)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
        results = {result["row"]: result for result in map(json.loads, lines)}
        assert sorted(results) == ["A1", "A3", "ES", "R"]
        for result in results.values():
            assert (result["faults"], result["error"]) == ({}, "")
        assert results["A1"]["numbers"]["cpu_us"] > 0
        assert results["R"]["numbers"]["all_seconds"] > 0
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        for part in ("One message at a time", "Batches of 100", "all came", "A look, not a measurement"):
            assert part in page
        again = self.compare(tmp_path, "--quick", "--server", "pushline", *rows)
        assert "Nothing is left to do" in again.stderr

    def test_the_page_can_be_made_again(self, tmp_path: Path) -> None:
        done = self.compare(tmp_path, "--page")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "index.html").exists()


class TestLongRuns:
    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bench.soak", *arguments],
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd=ROOT,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert find_tokens(done.stdout + done.stderr) == []
        return done.stdout

    def test_pages_come_and_go(self) -> None:
        said = self.run("connects", "--count", "400", "--pages", "20", "--together", "20", "--settle", "1")
        assert "400 pages came and went in" in said
        assert "DID NOT GET IN" not in said
        assert "COMPLAINS" not in said
        assert "THAT STAY" not in said
        assert re.search(r"^memory: ", said, re.M)

    def test_messages_come_at_a_rate(self) -> None:
        said = self.run("messages", "--minutes", "0.1", "--sample-seconds", "0.5", "--rate", "50", "--pages", "8")
        came, sent = re.findall(r"^(\d+) of (\d+) messages came, 50 a second$", said, re.M)[0]
        assert came == sent != "0"
        assert len(re.findall(r"^ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$", said, re.M)) == 12
        assert "COMPLAINS" not in said
