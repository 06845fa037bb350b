"""``pushline demo``: starts Pushline and the tic-tac-toe game as the two programs that they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pushline.errors import ConfigurationError
from pushline.server.listener import reachable, reachable_url
from pushline.server.secrets import API_KEY, load

START_SECONDS: Final = 15.0
STOP_SECONDS: Final = 5.0


def game_folder() -> Path:
    """The folder of the game: in the package when Pushline was installed, in the repository before."""
    package = Path(__file__).resolve().parent
    for folder in (package / "examples" / "tictactoe", package.parent.parent / "examples" / "tictactoe"):
        if (folder / "app.py").is_file():
            return folder
    raise ConfigurationError("The game is not there: this installation of Pushline is not complete.")


def run(*, host: str, port: int, pushline_port: int, data_dir: Path, announce: Callable[[str], None]) -> None:
    """Play until Ctrl-C or SIGTERM. ``announce`` is given what there is to say.

    Raises :class:`ConfigurationError` when one of the two does not start.
    """
    for module in ("flask", "waitress"):
        if find_spec(module) is None:
            raise ConfigurationError(f"The game needs {module}. Install both: pip install 'pushline[demo]'.")
    asyncio.run(_run(game_folder(), host, port, pushline_port, data_dir, announce))


async def _run(
    game: Path, host: str, port: int, pushline_port: int, data_dir: Path, announce: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        for taken, flag in ((pushline_port, "--pushline-port"), (port, "--port")):
            if await _taken(host, taken):
                raise ConfigurationError(f"Port {taken} is taken. Stop what is there, or choose another with {flag}.")
        announce("Starting Pushline and the game …")
        serve = ["-m", "pushline", "serve", "--listen", f"{host}:{pushline_port}", "--data-dir", str(data_dir)]
        pushline = await _start(stack, [*serve, "--log-level", "warning"], dict(os.environ))
        await _listening(pushline, "Pushline", host, pushline_port)
        environment = {
            **os.environ,
            "PUSHLINE_URL": reachable_url(host, pushline_port),
            "PUSHLINE_API_KEY": load(API_KEY, os.environ, data_dir, make=False).values[0],
        }
        database = str(data_dir / "games.sqlite3")
        play = [str(game / "app.py"), "--host", host, "--port", str(port), "--database", database]
        program = await _start(stack, play, environment)
        await _listening(program, "The game", host, port)
        announce(_invitation(host, port, pushline_port))
        waits = [asyncio.ensure_future(wait) for wait in (stop.wait(), pushline.wait(), program.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not stop.is_set():
            raise ConfigurationError("One of the two programs ended by itself; the lines above say why.")
        announce("Stopping.")


async def _start(stack: contextlib.AsyncExitStack, arguments: list[str], environment: dict[str, str]) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,  # what they greet with is said better once, for both
        start_new_session=True,  # Ctrl-C comes to us alone, and we stop them in order
    )
    stack.push_async_callback(_stop, process)
    return process


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listening(process: Process, name: str, host: str, port: int) -> None:
    """Wait until a program takes connections."""
    end = asyncio.get_running_loop().time() + START_SECONDS
    while process.returncode is None and asyncio.get_running_loop().time() < end:
        if await _taken(host, port):
            return
        await asyncio.sleep(0.05)
    raise ConfigurationError(f"{name} did not start on port {port}; the lines above say why.")


async def _taken(host: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        _, writer = await asyncio.open_connection(reachable(host), port)
    except OSError:
        return False
    writer.close()
    return True


def _invitation(host: str, port: int, pushline_port: int) -> str:
    return f"""
  Tic-tac-toe is ready. Open this in two browser windows:

      {reachable_url(host, port)}

  Start a game in the first, and open its invite link in the second.
  Pushline itself is at {reachable_url(host, pushline_port)}. Stop with Ctrl-C.
"""
