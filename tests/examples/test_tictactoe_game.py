"""The rules of the tic-tac-toe example."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from game import (
    EMPTY,
    LINES,
    Game,
    GameOver,
    Mark,
    NoOpponent,
    NoSuchSquare,
    NotAPlayer,
    NotOver,
    OutOfTurn,
    Player,
    Refused,
    SquareTaken,
)

DRAWN = (4, 0, 2, 6, 3, 5, 7, 1, 8)


def begun() -> Game:
    """A game in which ann is X and bob is O."""
    return Game(Player("ann")).join("bob")


def played(game: Game, *squares: int) -> Game:
    for square in squares:
        game = game.play(holder(game, game.turn), square)
    return game


def holder(game: Game, mark: Mark) -> str:
    seat = game.x if mark == "X" else game.o
    assert seat is not None
    return seat.user


class TestSeats:
    def test_who_begins_a_game_is_x(self) -> None:
        assert Game(Player("ann")).mark_of("ann") == "X"

    def test_who_joins_it_is_o(self) -> None:
        assert begun().mark_of("bob") == "O"

    @pytest.mark.parametrize("user", ["ann", "bob", "eve"])
    def test_nobody_joins_a_full_game(self, user: str) -> None:
        assert begun().join(user) == begun()

    def test_nobody_plays_against_themselves(self) -> None:
        assert Game(Player("ann")).join("ann").o is None

    def test_others_have_no_mark(self) -> None:
        assert begun().mark_of("eve") is None


class TestMoves:
    def test_x_begins_and_then_they_take_turns(self) -> None:
        game = begun()
        assert game.turn == "X"
        assert played(game, 0).turn == "O"
        assert played(game, 0, 1).turn == "X"

    @pytest.mark.parametrize("square", range(9))
    def test_a_mark_goes_where_it_was_put(self, square: int) -> None:
        board = played(begun(), square).board
        assert board[square] == "X"
        assert board.count(EMPTY) == 8

    def test_a_move_leaves_the_game_before_it_alone(self) -> None:
        game = begun()
        game.play("ann", 0)
        assert game.board == EMPTY * 9

    def test_every_change_makes_a_newer_version(self) -> None:
        alone = Game(Player("ann"))
        over = played(alone.join("bob"), *DRAWN)
        versions = [alone.version, alone.join("bob").version, over.version, over.rematch("ann", 1).version]
        assert versions == [1, 2, 11, 12]


class TestRefusals:
    @pytest.mark.parametrize(
        ("game", "user", "square", "refusal", "sentence"),
        [
            (begun(), "eve", 0, NotAPlayer, "You are watching this game: only its two players can do that."),
            (begun(), "ann", 9, NoSuchSquare, "There is no such square."),
            (begun(), "ann", -1, NoSuchSquare, "There is no such square."),
            (
                Game(Player("ann")),
                "ann",
                0,
                NoOpponent,
                "The game begins when somebody has opened the invite link.",
            ),
            (begun(), "bob", 0, OutOfTurn, "It is not your turn."),
            (played(begun(), 0), "ann", 1, OutOfTurn, "It is not your turn."),
            (played(begun(), 0), "bob", 0, SquareTaken, "That square is taken."),
            (played(begun(), 0, 3, 1, 4, 2), "bob", 5, GameOver, "This round is over."),
            (played(begun(), *DRAWN), "bob", 0, GameOver, "This round is over."),
        ],
    )
    def test_a_move_against_the_rules_is_refused_in_a_sentence(
        self, game: Game, user: str, square: int, refusal: type[Refused], sentence: str
    ) -> None:
        with pytest.raises(refusal) as raised:
            game.play(user, square)
        assert str(raised.value) == sentence


class TestTheEnd:
    @pytest.mark.parametrize("line", LINES)
    @pytest.mark.parametrize("winner", ["X", "O"])
    def test_three_in_a_row_win(self, line: tuple[int, int, int], winner: Mark) -> None:
        game = begun()
        others = next(
            squares
            for squares in permutations([square for square in range(9) if square not in line], 3)
            if set(squares) not in map(set, LINES)
        )
        game = played(game, others[0]) if winner == "O" else game
        for own, other in zip(line, others[1:] if winner == "O" else others[:2], strict=False):
            game = played(game, own, other)
        game = played(game, line[2])
        assert (game.over, game.winner, game.line) == (True, winner, line)

    @pytest.mark.parametrize("squares", [DRAWN, (0, 1, 2, 4, 3, 5, 7, 6, 8)])
    def test_a_full_board_without_three_is_a_draw(self, squares: tuple[int, ...]) -> None:
        game = played(begun(), *squares)
        assert (game.over, game.winner, game.line) == (True, None, None)

    def test_the_last_square_may_win(self) -> None:
        game = played(begun(), 0, 1, 2, 3, 4, 5, 7, 6, 8)
        assert EMPTY not in game.board
        assert game.winner == "X"

    def test_a_win_is_counted_and_a_draw_is_not(self) -> None:
        assert played(begun(), 0, 3, 1, 4, 2).x == Player("ann", wins=1)
        assert played(begun(), 0, 3, 1, 4, 8, 5).o == Player("bob", wins=1)
        drawn = played(begun(), *DRAWN)
        assert (drawn.x, drawn.o) == (Player("ann"), Player("bob"))

    @given(st.permutations(range(9)))
    def test_every_game_ends_with_one_winner_or_a_full_board(self, squares: list[int]) -> None:
        game = begun()
        for square in squares:
            if game.over:
                break
            game = played(game, square)
            assert game.board.count("X") - game.board.count("O") in (0, 1)
        assert game.over
        assert (game.winner is None) == (game.line is None)


class TestRematch:
    over = played(begun(), 0, 3, 1, 4, 2)

    @pytest.mark.parametrize("user", ["ann", "bob"])
    def test_swaps_the_sides_and_keeps_the_wins(self, user: str) -> None:
        again = self.over.rematch(user, 1)
        assert (again.x, again.o) == (Player("bob"), Player("ann", wins=1))
        assert (again.board, again.round, again.turn) == (EMPTY * 9, 2, "X")

    def test_asked_for_by_both_begins_once(self) -> None:
        again = self.over.rematch("ann", 1)
        assert again.rematch("bob", 1) == again

    @pytest.mark.parametrize("game", [begun(), Game(Player("ann"))])
    def test_waits_for_the_end_of_the_round(self, game: Game) -> None:
        with pytest.raises(NotOver, match="This round is not over yet"):
            game.rematch("ann", 1)

    def test_is_for_players(self) -> None:
        with pytest.raises(NotAPlayer):
            self.over.rematch("eve", 1)
