"""The server of a long run: started for it, watched, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.chaos.line import HOST
from bench.chaos.server import ServerFault
from bench.compare.servers import PinnedServer, Pushline

from pushline.bench.dialect import PushlineDialect
from pushline.bench.pages import Progress
from pushline.bench.processes import ProcessTree

MIB: Final = 1 << 20


class _Soaked(Pushline):
    def _command(self, folder: Path) -> list[str]:
        return [*super()._command(folder), "--connect-rate", "0", "--log-level", "warning"]


class Watched:
    """A server that runs, and what it takes."""

    def __init__(self, server: Pushline, process: PinnedServer, folder: Path) -> None:
        self._server = server
        self._process = process
        self._folder = folder
        self._tree = ProcessTree(process.pid)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return HOST, self._server.port

    def dialect(self, pages: int, progress: Progress) -> PushlineDialect:
        """How it is spoken to by so many pages, each with a channel of its own."""
        return self._server.dialect(pages, shared=False, one_channel=False, progress=progress)

    def memory_mib(self) -> float:
        """Its own memory, without files (PSS)."""
        return self._tree.memory_kib() / 1024

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def log_mib(self) -> float:
        """The write-ahead log of its database."""
        return sum(file.stat().st_size for file in self._folder.glob("data/*-wal")) / MIB

    def files_mib(self) -> float:
        """All that is in its data dir."""
        return sum(file.stat().st_size for file in self._folder.glob("data/*")) / MIB

    @property
    def complaints(self) -> list[str]:
        """Warnings and errors that it logged."""
        return self._process.complaints


@contextlib.contextmanager
def serving(store: str) -> Iterator[Watched]:
    """A fresh Pushline on a data dir of its own. Raises :class:`ServerFault`."""
    server = _Soaked("pushline", "Pushline", store)
    with tempfile.TemporaryDirectory(prefix="pushline-soak-") as folder:
        process = server.process(Path(folder))
        try:
            asyncio.run(process.start())
            yield Watched(server, process, Path(folder))
        finally:
            with contextlib.suppress(ServerFault):  # it was ended by force
                asyncio.run(process.end(signal.SIGTERM))
