"""Programs as their users run them: the commands of Pushline, and curl."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pushline

from .waiting import PATIENCE_SECONDS, wait_for

COMMAND: Final = str(Path(sys.executable).with_name("pushline"))

_TOKEN: Final = re.compile(
    r"[\w-]+\.\d{10,}-\d+\.\d{9,}\.(replace|share|reject)\.[\w-]{16,}|pushline\.token\.", re.ASCII
)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what the caller's shell says about a Pushline of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PUSHLINE_")} | more


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def curl(*arguments: str, body: bytes | None = None) -> bytes:
    """What curl prints. ``body`` is posted as it is."""
    posting = [] if body is None else ["--data-binary", "@-"]
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--noproxy", "*", "--max-time", "30", *posting, *arguments],
        input=body,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def run_pushline(
    *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=dict(environment or clean_environment()),
        cwd=cwd,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def find_tokens(text: str) -> list[str]:
    """Everything in ``text`` that looks like a token, whoever made it."""
    return [match[0] for match in _TOKEN.finditer(text)]


class Program:
    """A program that runs until it is stopped. Everything that it ever says is kept in one file."""

    def __init__(
        self,
        arguments: Sequence[str],
        output: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._folder = folder
        self._environment = dict(environment or clean_environment())
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. It may not be ready yet."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._folder,
            )

    @property
    def output(self) -> str:
        """What it has said, over all its starts."""
        return self._output.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        """Whether it has neither ended nor been stopped."""
        return self._process is not None and self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE_SECONDS)
        finally:
            self._process.kill()  # nothing outlives the tests
            self._process.wait()

    def end(self, number: signal.Signals) -> int:
        """Send it a signal, wait for its end, and return its exit code."""
        self.send_signal(number)
        return self.wait()

    # -- what it takes of the machine --------------------------------------------------------------------------

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def resident_bytes(self) -> int:
        """The memory that it has now."""
        return int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self._pid}/fd"))

    def children(self) -> dict[int, str]:
        """The processes that it has started and that run: their ids, and their command lines."""
        tasks = Path(f"/proc/{self._pid}/task").glob("*/children")
        ids = [int(id) for task in tasks for id in task.read_text().split()]
        return {id: Path(f"/proc/{id}/cmdline").read_text().replace("\0", " ") for id in ids}

    def limit_files(self, size: int = resource.RLIM_INFINITY) -> None:
        """No file of it may grow beyond ``size`` bytes: to the program it is as if the disk was full."""
        _, most = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size, most))

    def close(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, if it runs, as a service manager does. Then it ends with 0."""
        if self.running:
            assert self.end(number) == 0, self.output


class PushlineProcess(Program):
    """`pushline serve` on a port and a data dir that stay the same over its lives."""

    client: pushline.Client
    expected_errors = ""
    """What a line of its log has that tells of an error which the test brings about."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = folder / "data"
        settings = ["--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.data_dir), "--log-level", "debug"]
        super().__init__([COMMAND, "serve", *settings, *options], folder / "output.txt")

    def start(self) -> None:
        """Start it, and wait until it serves."""
        super().start()
        wait_for(self._ready, lambda: f"{self.url} serves. Its output: {self.output}")
        self.client = pushline.Client(self.url, self.api_key)

    def _ready(self) -> bool:
        assert self.running, self.output
        return self.status("/ready") == 200

    def status(self, path: str) -> int:
        """How it answers a GET, on a new connection; 0: not at all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    @property
    def api_key(self) -> str:
        """The key that it made."""
        return (self.data_dir / "api-key").read_text().strip()

    def wait(self) -> int:
        """See :class:`Program`."""
        code = super().wait()
        self.client.close()
        return code

    def kill9(self) -> None:
        """End it as a crash does: at once, and without a word."""
        assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def terminate(self) -> int:
        """End it as a service manager does, and return its exit code."""
        return self.end(signal.SIGTERM)

    def restart(self) -> None:
        """Start it again, on the same data dir and port."""
        assert not self.running
        self.start()

    def check_output(self) -> None:
        """Raise when it said a secret, or told of an error."""
        said = self.output
        for file in ("api-key", "secret", "webhook-secret"):
            kept = self.data_dir / file
            assert not kept.exists() or kept.read_text().strip() not in said, f"The output holds the {file}."
        assert find_tokens(said) == []
        assert "Traceback" not in said, said
        told = re.findall(r"^\S+Z (?:error|warning) .*", said, re.MULTILINE)
        assert [line for line in told if not (self.expected_errors and self.expected_errors in line)] == []
