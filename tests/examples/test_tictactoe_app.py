"""The tic-tac-toe example, but for the browser and Pushline."""

from __future__ import annotations

import html
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from game import Game, Player
from games import Games
from live import client_id, view
from pushline import TargetResult
from pushline.client.requests import Item
from pushline.errors import Unreachable
from security import secret_key

SITE = "http://127.0.0.1:8000"


class RecordingPush:
    """Pushline's part: remembers what it was asked, and says what it was told to say."""

    def __init__(self) -> None:
        self.channels: list[tuple[str, int, str | None]] = []
        self.sent: list[Item] = []
        self.gone: set[str] = set()
        self.refused: set[str] = set()
        self.away = False

    def create_channel(self, client_id: str, duration_minutes: int, *, policy: str | None) -> str:
        self._answer()
        self.channels.append((client_id, duration_minutes, policy))
        return f"token-of-{client_id}"

    def send_many(self, items: Iterable[Item]) -> list[TargetResult]:
        self._answer()
        items = list(items)
        self.sent += items
        return [self._result(to) for item in items for to in item["to"]]

    def last_states(self) -> dict[str, Any]:
        """The newest state that each client id was told."""
        return {to: item["json"] for item in self.sent for to in item["to"]}

    def _answer(self) -> None:
        if self.away:
            raise Unreachable("http://127.0.0.1:8080", "Connection refused")

    def _result(self, to: str) -> TargetResult:
        if to in self.refused:
            return TargetResult(to, code="store_full", detail="The store cannot keep more.")
        return TargetResult(to, None, "no_channel") if to in self.gone else TargetResult(to, "1-0", "sent")


class Visitor:
    """A browser with a cookie of its own."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._client.get(path, base_url=SITE, **options)

    def post(self, path: str, body: object = None, **options: Any) -> TestResponse:
        return self._client.post(path, base_url=SITE, **({"json": body} if body is not None else {}), **options)

    def begin(self) -> str:
        """Begin a game and open its page; return the path."""
        path = self.post("/games").headers["Location"]
        self.get(path)
        return path

    def join(self, path: str) -> TestResponse:
        self.get(path)
        return self.post(f"{path}/join", {})

    def move(self, path: str, square: object) -> TestResponse:
        return self.post(f"{path}/moves", {"square": square})

    @property
    def user(self) -> str:
        with self._client.session_transaction(base_url=SITE) as session:
            return str(session["user"])


def shown(page: TestResponse) -> dict[str, str]:
    """The data that the page of a game hands to its script."""
    return {name: html.unescape(value) for name, _, value in re.findall(r"data-(\w+)=(['\"])(.*?)\2", page.text)}


def error(response: TestResponse) -> tuple[int, str]:
    body: dict[str, dict[str, str]] = response.get_json()
    assert body["error"]["message"]
    return response.status_code, body["error"]["code"]


@pytest.fixture
def push() -> RecordingPush:
    return RecordingPush()


@pytest.fixture
def app(tmp_path: Path, push: RecordingPush) -> Flask:
    return create_app(tmp_path / "games.sqlite3", push)


@pytest.fixture
def ann(app: Flask) -> Visitor:
    return Visitor(app)


@pytest.fixture
def bob(app: Flask) -> Visitor:
    return Visitor(app)


@pytest.fixture
def eve(app: Flask) -> Visitor:
    return Visitor(app)


@pytest.fixture
def path(ann: Visitor, bob: Visitor) -> str:
    """A game that ann and bob have begun."""
    path = ann.begin()
    bob.join(path)
    return path


class TestBeginning:
    def test_the_start_page_offers_a_new_game(self, ann: Visitor) -> None:
        page = ann.get("/")
        assert page.status_code == 200
        assert 'id="new-game"' in page.text

    def test_a_new_game_has_a_page_of_its_own(self, ann: Visitor) -> None:
        created = ann.post("/games")
        assert created.status_code == 303
        page = ann.get(created.headers["Location"])
        assert page.headers["Cache-Control"] == "no-store"
        assert json.loads(shown(page)["state"])["you"] == "X"

    def test_the_page_has_a_token_for_its_visitor_at_this_game(self, ann: Visitor, push: RecordingPush) -> None:
        path = ann.begin()
        mine = client_id(path.removeprefix("/games/"), ann.user)
        assert push.channels == [(mine, 1440, "share")]
        assert shown(ann.get(path))["token"] == f"token-of-{mine}"

    def test_looking_at_a_game_takes_no_seat(self, ann: Visitor, bob: Visitor) -> None:
        path = ann.begin()
        assert json.loads(shown(bob.get(path))["state"])["started"] is False

    def test_who_joins_first_is_o(self, ann: Visitor, bob: Visitor) -> None:
        state = bob.join(ann.begin()).get_json()
        assert (state["you"], state["started"]) == ("O", True)

    def test_both_players_are_told_that_it_has_begun(self, ann: Visitor, bob: Visitor, push: RecordingPush) -> None:
        path = ann.begin()
        bob.join(path)
        key = path.removeprefix("/games/")
        assert {to: state["you"] for to, state in push.last_states().items()} == {
            client_id(key, ann.user): "X",
            client_id(key, bob.user): "O",
        }

    def test_a_second_window_of_a_player_is_the_same_player(self, ann: Visitor, path: str) -> None:
        assert ann.join(path).get_json()["you"] == "X"


class TestMoves:
    def test_answer_with_the_new_state(self, ann: Visitor, path: str) -> None:
        state = ann.move(path, 4).get_json()
        assert (state["board"][4], state["turn"], state["version"]) == ("X", "O", 3)

    def test_are_told_to_everybody(
        self, ann: Visitor, bob: Visitor, eve: Visitor, path: str, push: RecordingPush
    ) -> None:
        eve.join(path)
        answer = ann.move(path, 4).get_json()
        key = path.removeprefix("/games/")
        assert push.last_states() == {
            client_id(key, ann.user): answer,
            client_id(key, bob.user): {**answer, "you": "O"},
            client_id(key, eve.user): {**answer, "you": None},
        }

    def test_are_told_with_their_version_as_idempotency_key(self, ann: Visitor, path: str, push: RecordingPush) -> None:
        ann.move(path, 4)
        assert {item["key"] for item in push.sent[-2:]} == {"3"}

    def test_are_there_after_a_reload(self, ann: Visitor, bob: Visitor, path: str) -> None:
        ann.move(path, 4)
        assert json.loads(shown(bob.get(path))["state"])["board"] == ["", "", "", "", "X", "", "", "", ""]

    def test_lead_to_a_win_and_a_rematch_with_swapped_sides(self, ann: Visitor, bob: Visitor, path: str) -> None:
        for player, square in [(ann, 0), (bob, 3), (ann, 1), (bob, 4)]:
            player.move(path, square)
        won = ann.move(path, 2).get_json()
        assert (won["over"], won["winner"], won["line"], won["wins"]) == (True, "X", [0, 1, 2], {"X": 1, "O": 0})
        again = ann.post(f"{path}/rematch", {"round": 1}).get_json()
        assert (again["you"], again["turn"], again["round"], again["wins"]) == ("O", "X", 2, {"X": 0, "O": 1})
        assert bob.post(f"{path}/rematch", {"round": 1}).get_json() == {**again, "you": "X"}


class TestRefusals:
    def test_out_of_turn(self, bob: Visitor, path: str) -> None:
        assert error(bob.move(path, 0)) == (409, "out_of_turn")

    def test_a_taken_square(self, ann: Visitor, bob: Visitor, path: str) -> None:
        ann.move(path, 0)
        assert error(bob.move(path, 0)) == (409, "square_taken")

    def test_a_finished_round(self, ann: Visitor, bob: Visitor, path: str) -> None:
        for player, square in [(ann, 0), (bob, 3), (ann, 1), (bob, 4), (ann, 2)]:
            player.move(path, square)
        assert error(bob.move(path, 5)) == (409, "game_over")

    def test_nobody_to_play_with(self, ann: Visitor) -> None:
        assert error(ann.move(ann.begin(), 0)) == (409, "no_opponent")

    def test_a_rematch_before_the_end(self, ann: Visitor, path: str) -> None:
        assert error(ann.post(f"{path}/rematch", {"round": 1})) == (409, "not_over")

    @pytest.mark.parametrize("action", ["moves", "rematch"])
    def test_spectators(self, eve: Visitor, path: str, action: str) -> None:
        eve.join(path)
        assert error(eve.post(f"{path}/{action}", {"square": 0, "round": 1})) == (403, "not_a_player")

    def test_no_such_square(self, ann: Visitor, path: str) -> None:
        assert error(ann.move(path, 9)) == (400, "no_such_square")

    @pytest.mark.parametrize("body", [{}, [], 4, {"square": "4"}, {"square": None}, {"square": 4.0}, {"square": True}])
    def test_a_malformed_move(self, ann: Visitor, path: str, body: object) -> None:
        response = ann.post(f"{path}/moves", body)
        assert error(response) == (400, "malformed")
        assert response.get_json()["error"]["message"] == 'Send a JSON object with a whole number "square".'

    def test_what_is_no_json(self, ann: Visitor, path: str) -> None:
        assert error(ann.post(f"{path}/moves", data=b"{", content_type="application/json")) == (400, "malformed")

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
    def test_what_does_not_say_that_it_is_json(self, ann: Visitor, path: str, content_type: str | None) -> None:
        response = ann.post(f"{path}/moves", data=b'{"square": 0}', content_type=content_type)
        assert error(response) == (415, "not_json")

    def test_a_body_that_no_move_needs(self, ann: Visitor, path: str) -> None:
        assert error(ann.post(f"{path}/moves", {"square": " " * 5000}))[0] == 413

    @pytest.mark.parametrize("action", ["state", "join", "moves", "rematch"])
    def test_a_game_that_does_not_exist(self, ann: Visitor, action: str) -> None:
        ann.get("/")
        address = f"/games/nothing/{action}"
        response = ann.get(address) if action == "state" else ann.post(address, {"square": 0, "round": 1})
        assert error(response) == (404, "no_such_game")

    def test_a_browser_without_cookies(self, eve: Visitor, path: str) -> None:
        assert error(eve.post(f"{path}/join", {})) == (403, "no_cookie")

    @pytest.mark.parametrize("address", ["/games/nothing", "/nothing"])
    def test_an_address_where_nothing_is(self, ann: Visitor, push: RecordingPush, address: str) -> None:
        page = ann.get(address)
        assert (page.status_code, page.mimetype) == (404, "text/html")
        assert push.channels == []


class TestSpectators:
    def test_see_the_game_and_are_nobody(self, eve: Visitor, path: str) -> None:
        state = eve.join(path).get_json()
        assert (state["you"], state["started"]) == (None, True)

    def test_who_have_gone_are_told_no_more(self, ann: Visitor, eve: Visitor, path: str, push: RecordingPush) -> None:
        eve.join(path)
        hers = client_id(path.removeprefix("/games/"), eve.user)
        push.gone.add(hers)
        ann.move(path, 0)
        push.sent.clear()
        push.gone.clear()
        ann.move(path, 1)
        assert hers not in push.last_states()


class TestWithoutPushline:
    def test_a_move_stands_and_is_shown_at_the_next_load(
        self, ann: Visitor, bob: Visitor, path: str, push: RecordingPush, caplog: pytest.LogCaptureFixture
    ) -> None:
        push.away = True
        assert ann.move(path, 0).status_code == 200
        assert "was not pushed: Pushline at http://127.0.0.1:8080 could not be reached" in caplog.text
        assert bob.get(f"{path}/state").get_json()["board"][0] == "X"

    def test_a_page_is_shown_without_a_token(
        self, ann: Visitor, path: str, push: RecordingPush, caplog: pytest.LogCaptureFixture
    ) -> None:
        push.away = True
        page = ann.get(path)
        assert (page.status_code, shown(page)["token"]) == (200, "")
        assert "No live page for game" in caplog.text

    def test_a_refused_target_is_logged(
        self, ann: Visitor, path: str, push: RecordingPush, caplog: pytest.LogCaptureFixture
    ) -> None:
        push.refused.add(client_id(path.removeprefix("/games/"), ann.user))
        ann.move(path, 0)
        assert "was refused: The store cannot keep more. (store_full)" in caplog.text


class TestSecurity:
    def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(self, ann: Visitor) -> None:
        cookie = ann.get("/").headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie

    def test_a_forged_cookie_is_nobody(self, ann: Visitor, app: Flask, path: str) -> None:
        thief = app.test_client()
        thief.set_cookie("tictactoe", "eyJ1c2VyIjoiYW5uIn0.aaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaa", domain="127.0.0.1")
        assert error(thief.post(f"{path}/moves", json={"square": 0}, base_url=SITE)) == (403, "no_cookie")

    @pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8001", "null"])
    def test_pages_of_other_origins_cause_nothing(self, ann: Visitor, path: str, origin: str) -> None:
        move = ann.post(f"{path}/moves", {"square": 0}, headers={"Origin": origin})
        assert error(move) == (403, "cross_origin")
        assert ann.post("/games", headers={"Origin": origin}).status_code == 403

    def test_pages_of_this_origin_do(self, ann: Visitor, path: str) -> None:
        assert ann.post(f"{path}/moves", {"square": 0}, headers={"Origin": SITE}).status_code == 200

    def test_a_page_loads_its_own_files_and_pushline_only(self, ann: Visitor) -> None:
        headers = ann.get("/").headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self' http://127.0.0.1:8080; "
            "connect-src 'self' http://127.0.0.1:8080 ws://127.0.0.1:8080; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"

    def test_the_secret_is_made_once_and_is_its_owners(self, tmp_path: Path) -> None:
        made = secret_key(tmp_path / "games.sqlite3")
        assert len(made) >= 32
        assert secret_key(tmp_path / "games.sqlite3") == made
        assert stat.S_IMODE((tmp_path / "games.sqlite3.secret").stat().st_mode) == 0o600

    def test_the_secret_may_come_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TICTACTOE_SECRET", "given")
        assert secret_key(tmp_path / "games.sqlite3") == "given"
        assert list(tmp_path.iterdir()) == []


class TestAddresses:
    @pytest.mark.parametrize(
        ("pushline", "public", "host", "script"),
        [
            ("http://127.0.0.1:8080", None, "127.0.0.1:8000", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080", None, "localhost:8000", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080", None, "192.168.1.7:8000", "http://192.168.1.7:8080"),
            ("http://localhost:8080", None, "desk.local", "http://desk.local:8080"),
            ("http://127.0.0.1:8080", None, "[fd00::7]:8000", "http://[fd00::7]:8080"),
            ("http://127.0.0.1", None, "192.168.1.7", "http://192.168.1.7"),
            ("https://push.example/base/", None, "192.168.1.7:8000", "https://push.example/base"),
            ("http://127.0.0.1:8080", "https://push.example/", "192.168.1.7:8000", "https://push.example"),
        ],
    )
    def test_a_browser_finds_pushline_where_it_can_reach_it(
        self, tmp_path: Path, push: RecordingPush, pushline: str, public: str | None, host: str, script: str
    ) -> None:
        app = create_app(tmp_path / "games.sqlite3", push, pushline=pushline, public=public)
        key = Games(tmp_path / "games.sqlite3").create("ann")
        page = app.test_client().get(f"/games/{key}", base_url=f"http://{host}")
        assert f'<script src="{script}/_ah/channel/jsapi" defer>' in page.text

    def test_a_secure_pushline_is_connected_to_securely(self, tmp_path: Path, push: RecordingPush) -> None:
        app = create_app(tmp_path / "games.sqlite3", push, public="https://push.example")
        policy = app.test_client().get("/").headers["Content-Security-Policy"]
        assert "connect-src 'self' https://push.example wss://push.example" in policy

    @pytest.mark.parametrize(
        ("host", "invited"),
        [
            ("127.0.0.1:8000", "localhost:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
            ("192.168.1.7:8000", "192.168.1.7:8000"),
        ],
    )
    def test_the_invite_link_leads_to_another_player_even_in_the_same_browser(
        self, app: Flask, host: str, invited: str
    ) -> None:
        client = app.test_client()
        path = client.post("/games", base_url=f"http://{host}").headers["Location"]
        page = client.get(path, base_url=f"http://{host}")
        assert f'id="invite" type="text" value="http://{invited}{path}"' in page.text


class TestTheView:
    def test_of_a_game_that_waits(self) -> None:
        assert view(Game(Player("ann")), "ann") == {
            "version": 1,
            "round": 1,
            "board": [""] * 9,
            "you": "X",
            "started": False,
            "turn": "X",
            "over": False,
            "winner": None,
            "line": None,
            "wins": {"X": 0, "O": 0},
        }

    def test_names_no_user(self) -> None:
        assert "ann" not in json.dumps(view(Game(Player("ann")).join("bob"), "bob"))


class TestTheProgram:
    def test_says_what_is_missing(self, tmp_path: Path) -> None:
        program = Path(sys.modules["app"].__file__ or "")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHLINE_")}
        ended = subprocess.run(
            [sys.executable, program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith("There is no API key: pass api_key, or set PUSHLINE_API_KEY")
        assert list(tmp_path.iterdir()) == []
