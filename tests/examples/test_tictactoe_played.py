"""Tic-tac-toe as its players see it: the program and its pages, with Pushline in memory."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from pushline import Client
from pushline.protocol.codes import TOKEN_EXPIRED
from pushline.testing import Page, PushlineServer

SITE = "http://127.0.0.1:8000"
State = dict[str, Any]


class Player:
    """A browser that has a game open: its cookie, its page's socket, and the states that were pushed to it."""

    def __init__(self, app: Flask, pushline_server: PushlineServer) -> None:
        self._browser = app.test_client()
        self._server = pushline_server
        self.socket: Page

    def begin(self) -> str:
        """Begin a game and open its page; return the path."""
        path = self._browser.post("/games", base_url=SITE).headers["Location"]
        self.open(path)
        return path

    def open(self, path: str) -> None:
        """Open the page of a game, or load it anew: its script joins, if there is a free seat."""
        answer = self._browser.get(path, base_url=SITE)
        shown = {name: html.unescape(value) for name, _, value in re.findall(r"data-(\w+)=(['\"])(.*?)\2", answer.text)}
        before = getattr(self, "socket", None)
        if before is not None:
            before.leave()
        self.path = path
        self.socket = self._server.page(shown["token"])
        self.post("join")

    def post(self, action: str, **values: object) -> State:
        answer = self._browser.post(f"{self.path}/{action}", base_url=SITE, json=values)
        assert answer.status_code == 200, answer.text
        state: State = answer.get_json()
        return state

    def move(self, square: int) -> State:
        """Move, and return the state that the program answers with."""
        return self.post("moves", square=square)

    @property
    def boards(self) -> list[str]:
        """The boards that were pushed to the page, one after the other."""
        return ["".join(mark or "." for mark in state["board"]) for state in self.socket.json]

    @property
    def last(self) -> State:
        """The newest state that was pushed to the page."""
        state: State = self.socket.json[-1]
        return state


@pytest.fixture
def app(tmp_path: Path, pushline_server: PushlineServer) -> Flask:
    return create_app(tmp_path / "games.sqlite3", Client(timeout=3))


@pytest.fixture
def ann(app: Flask, pushline_server: PushlineServer) -> Player:
    return Player(app, pushline_server)


@pytest.fixture
def bob(app: Flask, ann: Player, pushline_server: PushlineServer) -> Player:
    """The second player, who has followed ann's invite link: it is her move."""
    bob = Player(app, pushline_server)
    bob.open(ann.begin())
    return bob


@pytest.fixture
def eve(app: Flask, bob: Player, pushline_server: PushlineServer) -> Player:
    """Somebody who looks on."""
    eve = Player(app, pushline_server)
    eve.open(bob.path)
    return eve


class TestAGame:
    def test_begins_on_both_pages_when_the_second_player_is_there(self, ann: Player, bob: Player) -> None:
        assert (ann.last["started"], ann.last["you"]) == (True, "X")
        assert (bob.last["started"], bob.last["you"]) == (True, "O")

    def test_is_pushed_move_by_move_to_both(self, ann: Player, bob: Player) -> None:
        for player, square in ((ann, 4), (bob, 0), (ann, 8)):
            player.move(square)
        played = [".........", "....X....", "O...X....", "O...X...X"]
        assert (ann.boards, bob.boards) == (played, played)

    def test_is_won_on_every_page(self, ann: Player, bob: Player, eve: Player, pushline_server: PushlineServer) -> None:
        for player, square in ((ann, 0), (bob, 3), (ann, 1), (bob, 4), (ann, 2)):
            player.move(square)
        for player in (ann, bob, eve):
            assert (player.last["winner"], player.last["line"]) == ("X", [0, 1, 2])
        assert eve.last["you"] is None

    def test_against_the_rules_is_pushed_to_nobody(self, ann: Player, bob: Player) -> None:
        with pytest.raises(AssertionError, match="not your turn"):
            bob.move(0)
        assert bob.boards == ann.boards == ["........."]

    def test_is_played_again_with_the_sides_swapped(self, ann: Player, bob: Player) -> None:
        for player, square in ((ann, 0), (bob, 3), (ann, 1), (bob, 4), (ann, 2)):
            player.move(square)
        bob.post("rematch", round=1)
        bob.move(4)
        assert (bob.last["you"], ann.last["you"]) == ("X", "O")
        assert ann.boards[-2:] == [".........", "....X...."]

    def test_in_two_windows_of_one_player_moves_in_both(
        self, ann: Player, bob: Player, pushline_server: PushlineServer
    ) -> None:
        second = pushline_server.page(ann.socket.token)
        bob_sees = ann.move(4) | {"you": "O"}
        bob.socket.assert_delivered(bob_sees)
        second.assert_delivered(bob_sees | {"you": "X"})
        ann.socket.assert_delivered(bob_sees | {"you": "X"})


class TestAPlayer:
    def test_who_reloads_in_the_middle_goes_on(self, ann: Player, bob: Player, pushline_server: PushlineServer) -> None:
        ann.move(4)
        bob.open(bob.path)
        bob.move(0)
        ann.move(8)
        assert bob.boards == ["O...X....", "O...X...X"]
        assert ann.boards[-1] == "O...X...X"
        pushline_server.advance(minutes=1)
        assert all(each.connected for each in pushline_server.presence), "nobody was told that bob had gone"

    @pytest.mark.parametrize("happens", [Page.drop, Page.half_open, Page.sleep, Page.go_offline])
    def test_whose_network_fails_sees_every_move_once_and_in_order(
        self, ann: Player, bob: Player, pushline_server: PushlineServer, happens: Callable[[Page], None]
    ) -> None:
        happens(bob.socket)
        ann.move(4)
        pushline_server.advance(minutes=5)
        bob.socket.wake()
        bob.socket.go_online()
        bob.move(0)
        ann.move(8)
        pushline_server.advance(minutes=1)
        assert bob.boards == ann.boards == [".........", "....X....", "O...X....", "O...X...X"]

    def test_who_thinks_for_two_hours_is_still_there(
        self, ann: Player, bob: Player, pushline_server: PushlineServer
    ) -> None:
        pushline_server.advance(hours=2)
        bob.socket.assert_delivered(ann.move(4) | {"you": "O"})
        assert bob.socket.events.count("reconnecting") == 0

    def test_who_comes_back_the_next_day_loads_the_page_anew(
        self, ann: Player, bob: Player, pushline_server: PushlineServer
    ) -> None:
        pushline_server.advance(days=1)
        assert ann.socket.code == bob.socket.code == TOKEN_EXPIRED
        ann.open(ann.path)
        ann.move(4)
        assert bob.boards == ["........."]
        bob.open(bob.path)
        bob.move(0)
        assert ann.boards == ["....X....", "O...X...."]
        assert bob.boards == ["O...X...."]

    def test_who_only_watched_and_has_gone_is_forgotten(
        self, ann: Player, eve: Player, pushline_server: PushlineServer
    ) -> None:
        pushline_server.advance(days=1)
        channels = len(pushline_server.sent)
        ann.open(ann.path)
        ann.move(4)
        told = [each.id is not None for each in pushline_server.sent[channels:]]
        assert told == [True, False, False], "ann; bob and eve, whose tokens have expired"


class TestPushline:
    def test_crashes_in_the_middle_and_nobody_misses_a_move(
        self, ann: Player, bob: Player, pushline_server: PushlineServer
    ) -> None:
        ann.move(4)
        bob.socket.drop()
        pushline_server.crash()
        pushline_server.start()
        bob.move(0)
        pushline_server.advance(2)
        ann.move(8)
        assert ann.boards == bob.boards == [".........", "....X....", "O...X....", "O...X...X"]

    def test_is_upgraded_in_the_middle(self, ann: Player, bob: Player, pushline_server: PushlineServer) -> None:
        ann.move(4)
        pushline_server.restart()
        bob.move(0)
        pushline_server.advance(30)
        assert ann.boards == bob.boards == [".........", "....X....", "O...X...."]

    def test_is_away_and_the_game_goes_on_without(
        self, ann: Player, bob: Player, pushline_server: PushlineServer
    ) -> None:
        pushline_server.crash()
        assert ann.move(4)["board"][4] == "X"
        assert ann.boards == ["........."]
        pushline_server.start()
        pushline_server.advance(5)
        assert ann.socket.events[-2:] == ["reconnecting", "reconnect"], "its script now asks how the game stands"
        bob.move(0)
        assert ann.boards == [".........", "O...X...."]

    def test_does_not_answer_and_the_sdk_asks_again(
        self, ann: Player, bob: Player, pushline_server: PushlineServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        pushline_server.lose_next_answer()
        ann.move(4)
        assert bob.boards == [".........", "....X...."], "pushed once"
        assert not caplog.records, "it was safe to ask again: the version is the idempotency key"
