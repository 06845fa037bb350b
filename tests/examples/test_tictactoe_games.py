"""Where the tic-tac-toe example keeps its games."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from game import Game, OutOfTurn, Player, Refused, SquareTaken
from games import MAX_SPECTATORS, Games, NoRoom, NoSuchGame


@pytest.fixture
def games(tmp_path: Path) -> Games:
    return Games(tmp_path / "games.sqlite3")


@pytest.fixture
def key(games: Games) -> str:
    """A game that ann and bob have begun."""
    key = games.create("ann")
    games.change(key, lambda game: game.join("bob"))
    return key


def race(games: Games, key: str, steps: list[Callable[[Game], Game]]) -> list[Game | Refused]:
    """Take the steps at once, each in a thread of its own."""
    outcomes: list[Game | Refused] = []
    gate = threading.Barrier(len(steps))

    def take(step: Callable[[Game], Game]) -> None:
        gate.wait()
        try:
            outcomes.append(games.change(key, step)[0])
        except Refused as refusal:
            outcomes.append(refusal)

    threads = [threading.Thread(target=take, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


class TestGames:
    def test_are_found_by_their_key(self, games: Games) -> None:
        assert games.find(games.create("ann")) == Game(Player("ann"))

    def test_are_told_apart(self, games: Games) -> None:
        assert games.create("ann") != games.create("ann")

    def test_survive_the_program(self, tmp_path: Path, games: Games, key: str) -> None:
        changed, _ = games.change(key, lambda game: game.play("ann", 4))
        assert Games(tmp_path / "games.sqlite3").find(key) == changed

    def test_that_do_not_exist_are_refused(self, games: Games) -> None:
        with pytest.raises(NoSuchGame, match="There is no such game"):
            games.find("nothing")
        with pytest.raises(NoSuchGame):
            games.change("nothing", lambda game: game)


class TestChanges:
    def test_tell_whether_there_was_one(self, games: Games, key: str) -> None:
        assert games.change(key, lambda game: game.join("eve")) == (games.find(key), False)
        _, changed = games.change(key, lambda game: game.play("ann", 0))
        assert changed

    def test_that_are_refused_leave_the_game_alone(self, games: Games, key: str) -> None:
        before = games.find(key)
        with pytest.raises(OutOfTurn):
            games.change(key, lambda game: game.play("bob", 0))
        assert games.find(key) == before

    def test_two_threads_that_take_one_square_are_one_too_many(self, games: Games, key: str) -> None:
        for square in range(4):
            player = "ann" if square % 2 == 0 else "bob"
            outcomes = race(games, key, [partial(Game.play, user=player, square=square)] * 4)
            assert sum(isinstance(outcome, Game) for outcome in outcomes) == 1
            assert all(isinstance(outcome, Game | OutOfTurn | SquareTaken) for outcome in outcomes)
        assert games.find(key).board == "XOXO     "

    def test_the_free_seat_is_given_once(self, games: Games) -> None:
        key = games.create("ann")
        race(games, key, [partial(Game.join, user=f"guest {number}") for number in range(8)])
        game = games.find(key)
        assert game.o is not None
        assert game.version == 2


class TestSpectators:
    def test_are_remembered_once_and_for_one_game(self, games: Games, key: str) -> None:
        games.watch(key, "eve")
        games.watch(key, "eve")
        assert games.spectators(key) == ["eve"]
        assert games.spectators(games.create("ann")) == []

    def test_are_forgotten_when_they_go(self, games: Games, key: str) -> None:
        games.watch(key, "eve")
        games.watch(key, "fay")
        games.forget(key, ["eve"])
        assert games.spectators(key) == ["fay"]

    def test_are_not_too_many(self, games: Games, key: str) -> None:
        for number in range(MAX_SPECTATORS):
            games.watch(key, f"guest {number}")
        with pytest.raises(NoRoom, match="no room for more"):
            games.watch(key, "eve")
        games.watch(key, "guest 7")
