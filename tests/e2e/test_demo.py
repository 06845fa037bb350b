"""The tic-tac-toe game of `pushline demo`, played in browser windows (contract, section 9)."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page

from .processes import COMMAND, Program, find_tokens, free_port, run_pushline
from .waiting import wait_for

pytestmark = pytest.mark.e2e

PHONE: Final = {"width": 390, "height": 844}
SMALLEST_TAP: Final = 44
"""Fingers need squares of this many CSS pixels."""

NewPage = Callable[..., Page]


class Demo:
    """A `pushline demo` that runs."""

    def __init__(self, folder: Path, output: str = "output.txt") -> None:
        self.port, self.pushline_port = free_port(), free_port()
        self.data_dir = folder / "data"
        ports = ["--port", str(self.port), "--pushline-port", str(self.pushline_port)]
        self.program = Program([COMMAND, "demo", *ports, "--data-dir", str(self.data_dir)], folder / output)
        self.program.start()
        wait_for(self._ready, lambda: f"the demo is ready; it said: {self.program.output}")

    def _ready(self) -> bool:
        assert self.program.running, self.program.output
        return "is ready" in self.program.output

    @property
    def address(self) -> str:
        """The address that the demo tells its user to open."""
        match = re.search(r"^ +(http://\S+)$", self.program.output, re.MULTILINE)
        assert match is not None
        return match[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    assert running.program.end(signal.SIGTERM) == 0
    output = running.program.output
    assert "Traceback" not in output, output
    assert find_tokens(output) == []
    for name in ("api-key", "secret"):
        assert (running.data_dir / name).read_text().strip() not in output


class Window:
    """A window on a game."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def board(self) -> str:
        """The nine squares, `-` for an empty one."""
        marks = self.page.eval_on_selector_all(
            "[data-square]", "all => all.map((square) => [square.dataset.square, square.dataset.mark])"
        )
        return "".join(mark or "-" for _, mark in sorted(marks))

    @property
    def status(self) -> str:
        return self.page.inner_text("#status")

    @property
    def message(self) -> str:
        """What the server refused, in its words."""
        return self.page.inner_text("[role=alert]")

    def wait_for_board(self, board: str) -> None:
        wait_for(lambda: self.board == board, lambda: f"{board}; there is {self.board}, {self.status}")

    def wait_for_status(self, pattern: str) -> None:
        wait_for(lambda: re.search(pattern, self.status, re.IGNORECASE), lambda: f"{pattern}; there is {self.status!r}")

    def wait_until_live(self) -> None:
        self.page.wait_for_selector("[data-connection=live]")

    def click(self, square: int) -> None:
        """Click a square, whether the page thinks that it may be taken or not."""
        self.page.click(f'[data-square="{square}"]', force=True)

    def tap(self, square: int) -> None:
        """Tap a square, where the browser can be made to: Firefox takes no touches from Playwright."""
        act = self.page.click if self.browser_name == "firefox" else self.page.tap
        act(f'[data-square="{square}"]')

    @property
    def browser_name(self) -> str:
        browser = self.page.context.browser
        assert browser is not None
        return browser.browser_type.name


class Table:
    """A game between two windows."""

    def __init__(self, x: Window, o: Window, invite: str) -> None:
        self.x = x
        self.o = o
        self.invite = invite
        self.board = "-" * 9

    def play(self, squares: list[int]) -> None:
        """Let both move in turn, each when their own window shows that it is their turn."""
        for square in squares:
            mark = "X" if self.board.count("X") == self.board.count("O") else "O"
            mover = self.x if mark == "X" else self.o
            mover.wait_for_board(self.board)
            mover.click(square)
            self.board = self.board[:square] + mark + self.board[square + 1 :]
            for window in (self.x, self.o):
                window.wait_for_board(self.board)


def open_table(demo: Demo, new_page: NewPage, **options: object) -> Table:
    """Begin a game in one window and join it in another one, of somebody else."""
    x = Window(new_page(**options))
    x.page.goto(demo.address)
    x.page.click("#new-game")
    x.wait_until_live()
    invite = x.page.input_value("#invite")
    o = Window(new_page(**options))
    o.page.goto(invite)
    o.wait_until_live()
    x.wait_for_status("your turn")
    o.wait_for_status("friend.s turn")
    return Table(x, o, invite)


class TestGame:
    def test_a_game_to_the_win_and_the_next_round(self, demo: Demo, new_page: NewPage, tmp_path: Path) -> None:
        table = open_table(demo, new_page)
        table.play([4, 0, 2, 1])
        table.x.page.screenshot(path=tmp_path / "mid-game.png")
        table.play([6])
        table.x.wait_for_status("you win")
        table.o.wait_for_status("friend wins")
        assert table.x.board == "OOX-X-X--"
        table.x.page.screenshot(path=tmp_path / "won.png")
        for window in (table.x, table.o):
            assert window.page.eval_on_selector_all("[data-square][data-win]", "all => all.length") == 3
        table.o.page.click("#play-again")
        for window in (table.x, table.o):
            window.wait_for_board("-" * 9)
        # The sides have been swapped.
        table.o.wait_for_status("your turn")
        table.o.click(8)
        table.x.wait_for_board("--------X")

    def test_a_game_to_a_draw(self, demo: Demo, new_page: NewPage) -> None:
        table = open_table(demo, new_page)
        table.play([0, 1, 2, 4, 3, 5, 7, 6, 8])
        for window in (table.x, table.o):
            window.wait_for_status("draw")
            assert window.page.is_visible("#play-again")

    def test_a_reload_in_the_middle_keeps_the_board(self, demo: Demo, new_page: NewPage) -> None:
        table = open_table(demo, new_page)
        table.play([4, 0])
        for window in (table.x, table.o):
            window.page.reload()
            window.wait_for_board(table.board)
            window.wait_until_live()
        table.play([8, 2, 1])
        table.o.wait_for_status("your turn")

    def test_a_move_out_of_turn_and_a_taken_square_are_refused_in_words(self, demo: Demo, new_page: NewPage) -> None:
        table = open_table(demo, new_page)
        table.o.click(4)
        wait_for(lambda: "turn" in table.o.message, lambda: table.o.message)
        table.play([4])
        table.o.click(4)
        wait_for(lambda: "taken" in table.o.message, lambda: table.o.message)
        for window in (table.x, table.o):
            assert window.board == "----X----"
        # It is still O's turn, and the words go away with the next move.
        table.play([0])
        wait_for(lambda: table.o.message == "", lambda: table.o.message)

    def test_a_third_visitor_watches_and_cannot_move(self, demo: Demo, new_page: NewPage) -> None:
        table = open_table(demo, new_page)
        table.play([4])
        third = Window(new_page())
        third.page.goto(table.invite)
        third.wait_until_live()
        third.wait_for_board("----X----")
        third.click(0)
        wait_for(lambda: "watching" in third.message, lambda: third.message)
        assert third.page.is_hidden("#play-again")
        table.play([0, 8])
        third.wait_for_board("O---X---X")

    def test_two_windows_of_one_player_show_the_same(self, demo: Demo, new_page: NewPage) -> None:
        table = open_table(demo, new_page)
        second = Window(table.x.page.context.new_page())
        second.page.goto(table.x.page.url)
        second.wait_until_live()
        table.play([4, 0])
        second.wait_for_board("O---X----")
        second.click(8)
        for window in (table.x, table.o, second):
            window.wait_for_board("O---X---X")

    def test_it_is_played_on_a_phone(self, demo: Demo, new_page: NewPage, tmp_path: Path) -> None:
        table = open_table(demo, new_page, viewport=PHONE, has_touch=True)
        page = table.o.page
        page.screenshot(path=tmp_path / "phone.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for square in range(9):
            box = page.locator(f'[data-square="{square}"]').bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= SMALLEST_TAP
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= PHONE["height"]
            # Nothing lies over it.
            assert page.evaluate(
                "([x, y]) => document.elementFromPoint(x, y).closest('[data-square]')?.dataset.square",
                [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2],
            ) == str(square)
        table.x.tap(4)
        table.o.wait_for_board("----X----")
        table.o.tap(0)
        table.x.wait_for_board("O---X----")

    def test_a_game_that_there_is_not_is_said_in_words(self, demo: Demo, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{demo.address}/games/nosuchgame")
        assert "There is no such game" in page.inner_text("main")


class TestCommand:
    def test_a_port_in_use_is_a_sentence(self, demo: Demo, tmp_path: Path) -> None:
        for ports in (["--port", str(demo.port)], ["--pushline-port", str(demo.pushline_port)]):
            free = ["--port", str(free_port()), "--pushline-port", str(free_port())]
            refused = run_pushline("demo", *free, *ports, "--data-dir", str(tmp_path / "data"))
            assert refused.returncode == 1
            assert "Traceback" not in refused.stderr
            assert refused.stderr.splitlines()[-1].startswith("Error: ")

    def test_ctrl_c_ends_it_with_0_and_the_next_one_knows_the_games(self, tmp_path: Path) -> None:
        first = Demo(tmp_path, "first.txt")
        assert first.program.end(signal.SIGINT) == 0
        assert (first.data_dir / "games.sqlite3").exists()
        second = Demo(tmp_path, "second.txt")
        assert second.program.end(signal.SIGTERM) == 0
