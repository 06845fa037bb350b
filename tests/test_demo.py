"""``pushline demo``: two programs, started and ended in order. Here they are fakes; tests/e2e plays with real ones."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from pushline import demo
from pushline.errors import ConfigurationError

KEY = "the-api-key-of-the-tests"


class FakeProcess:
    """A program that runs until it is ended, or ends by itself."""

    def __init__(self, world: World, name: str, *, stubborn: bool, returncode: int | None = None) -> None:
        self._world = world
        self.name = name
        self._stubborn = stubborn
        self.returncode = returncode
        self._ended = asyncio.Event()
        if returncode is not None:
            self._ended.set()

    def terminate(self) -> None:
        self._world.happened.append(f"terminate {self.name}")
        if not self._stubborn:
            self._end()

    def kill(self) -> None:
        self._world.happened.append(f"kill {self.name}")
        self._end()

    def _end(self) -> None:
        self.returncode = 0
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        return self.returncode or 0


class FakeWriter:
    def close(self) -> None: ...


class World:
    """The machine on which the demo runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.data_dir = tmp_path
        (tmp_path / "api-key").write_text(KEY)
        self.happened: list[str] = []
        self.said: list[str] = []
        self.started: list[tuple[list[str], dict[str, Any]]] = []
        self.taken: set[tuple[str, int]] = set()
        self.ends_at_once: set[str] = set()
        self.ends_later: set[str] = set()
        self.stubborn: set[str] = set()
        self.never_listens = False
        self.stop_when_ready = True
        self.processes: dict[str, FakeProcess] = {}
        sleep = asyncio.sleep

        async def start(*arguments: str, **options: Any) -> FakeProcess:
            name = "pushline" if "pushline" in arguments else "game"
            self.happened.append(f"start {name}")
            self.started.append((list(arguments), options))
            process = FakeProcess(
                self,
                name,
                stubborn=name in self.stubborn,
                returncode=1 if name in self.ends_at_once else None,
            )
            self.processes[name] = process
            return process

        async def connect(host: str, port: int) -> tuple[None, FakeWriter]:
            running = {"pushline": 8080, "game": 8000}
            listening = port in [running[name] for name in self.processes] and not self.never_listens
            if listening or (host, port) in self.taken:
                return None, FakeWriter()
            raise ConnectionRefusedError

        async def no_sleep(seconds: float) -> None:
            self.never_listens = False
            await sleep(0)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
        monkeypatch.setattr(asyncio, "open_connection", connect)
        monkeypatch.setattr(asyncio, "sleep", no_sleep)
        monkeypatch.delenv("PUSHLINE_API_KEY", raising=False)

    def announce(self, text: str) -> None:
        self.said.append(text)
        if "is ready" in text:
            for name in self.ends_later:
                self.processes[name]._end()
            if not self.ends_later and self.stop_when_ready:
                signal.raise_signal(signal.SIGTERM)

    def play(self, host: str = "127.0.0.1") -> None:
        demo.run(host=host, port=8000, pushline_port=8080, data_dir=self.data_dir, announce=self.announce)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


class TestPlaying:
    def test_starts_pushline_then_the_game_and_ends_them_the_other_way_round(self, world: World) -> None:
        world.play()
        assert world.happened == ["start pushline", "start game", "terminate game", "terminate pushline"]
        assert world.said[0] == "Starting Pushline and the game …"
        assert "http://127.0.0.1:8000" in world.said[1]
        assert world.said[2] == "Stopping."

    def test_tells_the_game_where_pushline_is_and_its_key(self, world: World) -> None:
        world.play()
        (serve, _), (play, options) = world.started
        assert serve[1:6] == ["-m", "pushline", "serve", "--listen", "127.0.0.1:8080"]
        assert serve[6:8] == ["--data-dir", str(world.data_dir)]
        assert play[1:4] == [str(demo.game_folder() / "app.py"), "--host", "127.0.0.1"]
        assert options["env"]["PUSHLINE_URL"] == "http://127.0.0.1:8080"
        assert options["env"]["PUSHLINE_API_KEY"] == KEY
        assert KEY not in " ".join(play)

    def test_waits_until_a_program_takes_connections(self, world: World) -> None:
        world.never_listens = True
        world.play()
        assert "terminate game" in world.happened

    @pytest.mark.parametrize(
        ("host", "shown"),
        [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("10.0.0.1", "10.0.0.1")],  # noqa: S104
    )
    def test_names_addresses_that_a_browser_can_open(self, world: World, host: str, shown: str) -> None:
        world.play(host)
        assert f" http://{shown}:8000\n" in world.said[1]
        assert f" http://{shown}:8080." in world.said[1]
        assert world.started[1][1]["env"]["PUSHLINE_URL"] == f"http://{shown}:8080"

    def test_kills_what_does_not_end(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demo, "STOP_SECONDS", 0)
        world.stubborn = {"game", "pushline"}
        world.play()
        assert world.happened[2:] == ["terminate game", "kill game", "terminate pushline", "kill pushline"]


class TestWhatCannotBePlayed:
    def refused(self, world: World) -> str:
        with pytest.raises(ConfigurationError) as caught:
            world.play()
        return str(caught.value)

    @pytest.mark.parametrize(("port", "flag"), [(8080, "--pushline-port"), (8000, "--port")])
    def test_is_on_a_port_that_is_taken(self, world: World, port: int, flag: str) -> None:
        world.taken = {("127.0.0.1", port)}
        sentence = self.refused(world)
        assert sentence == f"Port {port} is taken. Stop what is there, or choose another with {flag}."
        assert world.happened == []

    @pytest.mark.parametrize(("name", "said"), [("pushline", "Pushline"), ("game", "The game")])
    def test_is_with_a_program_that_does_not_start(
        self, world: World, name: str, said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.ends_at_once = {name}
        sentence = self.refused(world)
        assert sentence.startswith(f"{said} did not start on port ")
        assert f"terminate {name}" not in world.happened

    def test_is_with_a_program_that_never_takes_connections(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(demo, "START_SECONDS", 0)
        assert self.refused(world).startswith("Pushline did not start on port 8080;")
        assert world.happened == ["start pushline", "terminate pushline"]

    @pytest.mark.parametrize("name", ["pushline", "game"])
    def test_is_without_one_of_the_two(self, world: World, name: str) -> None:
        world.ends_later = {name}
        assert self.refused(world) == "One of the two programs ended by itself; the lines above say why."
        assert f"terminate {name}" not in world.happened

    @pytest.mark.parametrize("module", ["flask", "waitress"])
    def test_is_without_what_the_game_needs(self, world: World, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demo, "find_spec", lambda name: None if name == module else object())
        assert self.refused(world) == f"The game needs {module}. Install both: pip install 'pushline[demo]'."

    def test_is_without_the_game(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "is_file", lambda self: False)
        assert self.refused(world) == "The game is not there: this installation of Pushline is not complete."


def test_the_game_is_found_in_the_repository() -> None:
    assert (demo.game_folder() / "app.py").is_file()
