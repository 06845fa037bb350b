"""A server as a process that is killed and started again on the same port and data dir."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import aiohttp

from .line import HOST
from .plan import Plan

START_SECONDS: Final = 60.0
END_SECONDS: Final = 60.0
# Below those that outgoing connections get: one of them would keep a server that is restarted from its own port.
_PORTS: Final = range(20_000, 32_000)

_COMPLAINT: Final = re.compile(r"^\S+Z (?:warning|error) .*|^Traceback .*\n(?:[ |+].*\n)*.*", re.MULTILINE)


class ServerFault(Exception):
    """The server did not start, or ended by itself."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    chance = random.SystemRandom()
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = chance.choice(_PORTS)
            probe.bind((HOST, port))
            return port


def _abort(process: subprocess.Popen[bytes]) -> None:
    """End a program that hangs, and have it say where."""
    process.send_signal(signal.SIGABRT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)


class ServerProcess:
    """Counts what is done to it: :attr:`kills`, :attr:`terms`, and the seconds of each time it could not be reached.

    ``command`` is made of the port that the server has over all its lives.
    """

    def __init__(self, command: Callable[[int], list[str]], folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.kills = 0
        self.terms = 0
        self.downtimes: list[float] = []
        self._command = command(self.port)
        self._environment = dict(environment)
        self._output = folder / "output.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it has said, over all its starts."""
        return self._output.read_text(encoding="utf-8")

    @property
    def complaints(self) -> list[str]:
        """Warnings and errors that it logged, and tracebacks."""
        return _COMPLAINT.findall(self.output)

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises :class:`ServerFault`."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it takes no time, and runs our own program
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )
        try:
            async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
                while not await self._ready(session):
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await asyncio.to_thread(_abort, self._process)
            raise ServerFault(f"The server was not ready within {START_SECONDS:g} s: {self.output[-4000:]}") from None

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/ready", timeout=aiohttp.ClientTimeout(5)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def check(self) -> None:
        """Raise :class:`ServerFault` when it has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise ServerFault(f"The server ended by itself, with {code}: {self.output[-2000:]}")

    async def kill(self) -> None:
        """SIGKILL, and start it again."""
        self.kills += 1
        await self._restart(signal.SIGKILL, -signal.SIGKILL)

    async def term(self) -> None:
        """SIGTERM, wait until it has drained and ended, and start it again."""
        self.terms += 1
        await self._restart(signal.SIGTERM, 0)

    async def _restart(self, number: signal.Signals, expected: int) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        if (code := await self.end(number)) != expected:
            raise ServerFault(f"{number.name} ended the server with {code}: {self.output[-2000:]}")
        await self.start()
        self.downtimes.append(now() - began)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end. Returns the exit code. Raises :class:`ServerFault`."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return await asyncio.to_thread(process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            await asyncio.to_thread(_abort, process)
            raise ServerFault(
                f"{number.name} did not end the server within {END_SECONDS:g} s: {self.output[-4000:]}"
            ) from None
        finally:
            process.kill()  # nothing outlives the run
            process.wait()


def pushline_server(plan: Plan, folder: Path, api_key: str) -> ServerProcess:
    """`pushline serve` on a data dir in ``folder``."""
    settings = {
        "data-dir": folder / "data",
        "store": plan.store,
        "ping-interval": plan.ping_interval,
        "ping-timeout": plan.ping_timeout,
        "drain-seconds": plan.drain_seconds,
        "max-channel-messages": plan.kept,
        "log-level": "warning",
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PUSHLINE_")}
    return ServerProcess(
        lambda port: [sys.executable, "-m", "pushline", "serve", "--listen", f"{HOST}:{port}", *options],
        folder,
        {**environment, "PUSHLINE_API_KEY": api_key, "PYTHONFAULTHANDLER": "1"},
    )
