"""The rules of tic-tac-toe: a game is a value that never changes, and a move makes the next one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal

Mark = Literal["X", "O"]

EMPTY: Final = " "
LINES: Final = (
    *((0, 1, 2), (3, 4, 5), (6, 7, 8)),
    *((0, 3, 6), (1, 4, 7), (2, 5, 8)),
    *((0, 4, 8), (2, 4, 6)),
)


class Refused(Exception):
    """Something that the rules do not allow. ``code`` is for programs, the text for the player."""

    code: ClassVar[str]
    sentence: ClassVar[str]

    def __str__(self) -> str:
        return self.sentence


class NotAPlayer(Refused):
    code = "not_a_player"
    sentence = "You are watching this game: only its two players can do that."


class NoSuchSquare(Refused):
    code = "no_such_square"
    sentence = "There is no such square."


class NoOpponent(Refused):
    code = "no_opponent"
    sentence = "The game begins when somebody has opened the invite link."


class GameOver(Refused):
    code = "game_over"
    sentence = "This round is over."


class OutOfTurn(Refused):
    code = "out_of_turn"
    sentence = "It is not your turn."


class SquareTaken(Refused):
    code = "square_taken"
    sentence = "That square is taken."


class NotOver(Refused):
    code = "not_over"
    sentence = "This round is not over yet."


@dataclass(frozen=True, slots=True)
class Player:
    """Who holds a seat, and how many rounds of this game they have won."""

    user: str
    wins: int = 0


@dataclass(frozen=True, slots=True)
class Game:
    """A game of any number of rounds. X begins; ``o`` is None until somebody has joined.

    ``board`` has a character for each square, row by row. ``version`` increases with every change, so that whoever is
    told of two states knows the newer one.
    """

    x: Player
    o: Player | None = None
    board: str = EMPTY * 9
    round: int = 1
    version: int = 1

    @property
    def turn(self) -> Mark:
        """Whose move it is, or would be if the round were not over."""
        return "X" if self.board.count("X") == self.board.count("O") else "O"

    @property
    def line(self) -> tuple[int, int, int] | None:
        """The three squares that won the round."""
        for line in LINES:
            if {self.board[square] for square in line} in ({"X"}, {"O"}):
                return line
        return None

    @property
    def winner(self) -> Mark | None:
        """Who has won the round: the one who has just moved."""
        if self.line is None:
            return None
        return "O" if self.turn == "X" else "X"

    @property
    def over(self) -> bool:
        """Whether the round is won or drawn."""
        return self.line is not None or EMPTY not in self.board

    def mark_of(self, user: str) -> Mark | None:
        """The side of ``user``, or None for somebody who only watches."""
        if user == self.x.user:
            return "X"
        return "O" if self.o is not None and user == self.o.user else None

    def join(self, user: str) -> Game:
        """Give the free seat to ``user``, unless it is taken or they have one."""
        if self.o is not None or user == self.x.user:
            return self
        return self._after(o=Player(user))

    def play(self, user: str, square: int) -> Game:
        """Put the mark of ``user`` on ``square``, 0 to 8. Raises :class:`Refused`."""
        mark = self.mark_of(user)
        if mark is None:
            raise NotAPlayer
        if not 0 <= square < len(self.board):
            raise NoSuchSquare
        if self.o is None:
            raise NoOpponent
        if self.over:
            raise GameOver
        if mark != self.turn:
            raise OutOfTurn
        if self.board[square] != EMPTY:
            raise SquareTaken
        moved = self._after(board=self.board[:square] + mark + self.board[square + 1 :])
        if moved.winner == "X":
            return replace(moved, x=replace(self.x, wins=self.x.wins + 1))
        if moved.winner == "O":
            return replace(moved, o=replace(self.o, wins=self.o.wins + 1))
        return moved

    def rematch(self, user: str, round: int) -> Game:
        """Begin the round after ``round``, with the sides swapped. Raises :class:`Refused`.

        Both players may ask for it: who comes second finds it begun.
        """
        if self.mark_of(user) is None:
            raise NotAPlayer
        if round < self.round:
            return self
        if not self.over or self.o is None:
            raise NotOver
        return self._after(x=self.o, o=self.x, board=EMPTY * 9, round=self.round + 1)

    def _after(self, **changes: Any) -> Game:
        return replace(self, version=self.version + 1, **changes)
