"""The Go package and its game of tic-tac-toe, with a real server and in real browsers."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from .conftest import StartPushline
from .go import go
from .processes import Program, PushlineProcess, clean_environment, find_tokens, free_port
from .waiting import wait_for

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "clients/go"
GAME: Final = ROOT / "examples/go-tictactoe"

NewPage = Callable[..., Page]


def environment_of(pushline: PushlineProcess, **more: str) -> dict[str, str]:
    """What a Go program finds a server by."""
    return clean_environment(
        PUSHLINE_URL=pushline.url, PUSHLINE_API_KEY_FILE=str(pushline.data_dir / "api-key"), **more
    )


def run_tests(pushline: PushlineProcess, *arguments: str, **more: str) -> list[tuple[str, str]]:
    """What became of each of the package's tests."""
    command = ["test", "-count=1", "-v", "-timeout=120s", *arguments, "./..."]
    done = go(*command, folder=PACKAGE, environment=environment_of(pushline, **more))
    return re.findall(r"^--- (\w+): (\w+)", done.stdout, re.M)


@pytest.mark.parametrize("folder", [PACKAGE, GAME], ids=lambda folder: str(folder.name))
class TestSources:
    def test_it_is_formatted_and_vetted(self, folder: Path) -> None:
        go("vet", "./...", folder=folder)
        unformatted = subprocess.run(["gofmt", "-l", "."], cwd=folder, capture_output=True, text=True, check=True)
        assert unformatted.stdout == ""

    def test_it_needs_nothing_but_the_standard_library(self, folder: Path) -> None:
        listed = go("list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...", folder=folder)
        assert set(listed.stdout.split()) <= {"pushline.dev/channel", "tictactoe"}
        assert not (folder / "go.sum").exists()


class TestPackage:
    def test_its_tests_pass_against_a_server(self, shared_pushline: PushlineProcess) -> None:
        outcomes = run_tests(shared_pushline)
        assert len(outcomes) > 15
        assert {name for outcome, name in outcomes if outcome != "PASS"} == {"TestCallbacksOfAServerAreVerified"}

    def test_it_verifies_the_callbacks_of_a_server(self, start_pushline: StartPushline) -> None:
        address = f"127.0.0.1:{free_port()}"
        # A page that polls is there until the ping timeout after its last answer.
        times = ["--grace", "0.5", "--ping-interval", "2", "--ping-timeout", "1"]
        pushline = start_pushline("--presence-url", f"http://{address}", *times)
        outcomes = run_tests(
            pushline,
            "-run=Callbacks",
            PUSHLINE_TEST_PRESENCE=address,
            PUSHLINE_WEBHOOK_SECRET_FILE=str(pushline.data_dir / "webhook-secret"),
        )
        assert outcomes == [("PASS", "TestCallbacksOfAServerAreVerified")]

    def test_the_readme_names_what_there_is(self) -> None:
        exported = go("doc", "-all", ".", folder=PACKAGE).stdout
        readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
        named = set(re.findall(r"`(?:channel\.|\*channel\.)?([A-Z]\w+)[`(]", readme))
        assert named >= {"Create", "Send", "SendJSON", "Duration", "WithPolicy", "IdempotencyKey", "TTL", "Wait"}
        for name in named:
            if not name.startswith("PUSHLINE_"):
                assert re.search(rf"\b{name}\b", exported), name


class Game:
    """The program of the example, serving."""

    def __init__(self, program: Path, pushline: PushlineProcess, folder: Path) -> None:
        self.program = Program([str(program), "-listen", "127.0.0.1:0"], folder / "game.txt", environment_of(pushline))
        self.program.start()
        wait_for(lambda: "http://" in self.program.output, lambda: f"the game serves; it said: {self.program.output}")
        (self.address,) = re.findall(r"http://\S+", self.program.output)


@pytest.fixture(scope="module")
def game_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("go") / "tictactoe"
    go("build", "-o", str(program), ".", folder=GAME)
    return program


@pytest.fixture
def game(game_program: Path, pushline: PushlineProcess, tmp_path: Path) -> Iterator[Game]:
    running = Game(game_program, pushline, tmp_path)
    yield running
    assert running.program.running, running.program.output
    assert running.program.end(signal.SIGTERM) == -signal.SIGTERM
    said = running.program.output
    assert find_tokens(said) == []
    assert pushline.api_key not in said
    assert "panic" not in said


def click(page: Page, square: int) -> None:
    page.click(f'[data-square="{square}"]')


def expect_board(board: str, *pages: Page) -> None:
    """All pages show nine marks, `-` for an empty one."""
    for page in pages:
        for square, mark in enumerate(board):
            expect(page.locator(f'[data-square="{square}"]')).to_have_text(mark.replace("-", ""))


def expect_status(page: Page, text: str) -> None:
    expect(page.locator("#status")).to_have_text(text)


class TestGame:
    def test_its_own_tests_pass(self) -> None:
        go("test", "-count=1", ".", folder=GAME)

    def test_it_is_played_to_the_win(
        self, game: Game, pushline: PushlineProcess, new_page: NewPage, tmp_path: Path
    ) -> None:
        x, o = new_page(), new_page()
        x.goto(game.address)
        expect_status(x, "Waiting for another player to join")
        o.goto(x.url)
        expect_status(x, "Your move")
        expect_status(o, "Your friend’s move")
        click(o, 0)  # it is not O's turn
        click(x, 4)
        expect_board("----X----", x, o)
        click(o, 0)
        expect_board("O---X----", x, o)
        x.reload()
        expect_board("O---X----", x)
        watcher = new_page()
        watcher.goto(x.url)
        expect(watcher.locator("body")).to_contain_text("Both seats are taken")
        # A move that is made while Pushline is away reaches both when it is back.
        pushline.kill9()
        click(x, 2)
        wait_for(lambda: "could not be reached" in game.program.output, lambda: game.program.output)
        pushline.restart()
        expect(o.locator('[data-square="2"]')).to_have_text("X", timeout=30_000)
        expect(x.locator('[data-square="2"]')).to_have_text("X", timeout=30_000)
        click(o, 1)
        expect_board("OOX-X----", x, o)
        click(x, 6)
        expect_board("OOX-X-X--", x, o)
        expect_status(x, "You won!")
        expect_status(o, "You lost.")
        expect(x.locator(".won")).to_have_count(3)
        x.screenshot(path=tmp_path / "won.png")
