"""``python -m bench.sdk``: what a send costs the application's own process, by Pushline's SDK and by others.

Each way runs in a process of its own against a real server, all of them in turns, and the median counts.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from bench.chaos.line import HOST
from bench.chaos.server import ServerProcess

from pushline import Client

from .ways import CLIENT_IDS, WAYS, Target, Way

_WARM_UP = 300
_URL, _KEY = "PUSHLINE_URL", "PUSHLINE_API_KEY"


def measure(way: Way, target: Target, count: int) -> tuple[float, float]:
    """Microseconds of CPU of this process for each message, and of the clock."""
    with way.open(target) as send:
        send(_WARM_UP)
        cpu, wall = time.process_time(), time.perf_counter()
        send(count)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / count * 1e6, wall / count * 1e6


def _in_a_process(name: str, target: Target, count: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.sdk", "--messages", str(count), "--alone", name]
    environment = os.environ | {_URL: target.url, _KEY: target.key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise click.ClickException(f"{WAYS[name].title}: {done.stderr}")
    cpu, wall = map(float, done.stdout.split())
    return cpu, wall


def _title(way: Way) -> str:
    try:
        return f"{way.title} ({version(way.needs)})" if way.needs else way.title
    except PackageNotFoundError:
        return way.title


def _server(folder: Path, key: str) -> ServerProcess:
    data = str(folder / "data")
    return ServerProcess(
        lambda port: [
            *(sys.executable, "-m", "pushline", "serve", "--store", "memory", "--log-level", "warning"),
            *("--listen", f"{HOST}:{port}", "--data-dir", data, "--max-channel-messages", "10"),
        ],
        folder,
        os.environ | {_KEY: key},
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--way", "names", type=click.Choice(list(WAYS)), multiple=True, help="Only this one; may be repeated.")
@click.option("--messages", type=click.IntRange(100), default=3000, help="How many each run sends, in hundreds.")
@click.option("--runs", type=click.IntRange(1), default=5, help="Runs of each.")
@click.option("--alone", type=click.Choice(list(WAYS)), hidden=True)
def main(names: tuple[str, ...], messages: int, runs: int, alone: str | None) -> None:
    """Print a table of the CPU that one send costs the process that makes it, in microseconds.

    Libraries that are not installed are left out: `pip install httpx niquests requests urllib3`. (niquests replaces
    urllib3 by a fork of the same name: measure the two in environments of their own.)
    """
    messages -= messages % 100
    if alone:
        print(*measure(WAYS[alone], Target(os.environ[_URL], os.environ[_KEY]), messages))
        return
    chosen = {
        name: way
        for name, way in WAYS.items()
        if (not names or name in names) and (not way.needs or find_spec(way.needs) is not None)
    }
    with TemporaryDirectory() as folder:
        key = secrets.token_urlsafe(24)
        server = _server(Path(folder), key)
        asyncio.run(server.start())
        try:
            target = Target(server.url, key)
            with Client(target.url, key) as client:
                for client_id in CLIENT_IDS:
                    client.create_channel(client_id)
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
            for _ in range(runs):
                for name, runs_of_it in taken.items():
                    runs_of_it.append(_in_a_process(name, target, messages))
        finally:
            asyncio.run(server.end())
    _print(chosen, taken)


def _print(chosen: dict[str, Way], taken: dict[str, list[tuple[float, float]]]) -> None:
    width = max(len(_title(way)) for way in chosen.values())
    print(f"{'':{width}}   CPU µs   lowest  highest   clock µs")
    for name, way in chosen.items():
        cpus, walls = zip(*taken[name], strict=True)
        cpu, wall = statistics.median(cpus), statistics.median(walls)
        print(f"{_title(way):{width}} {cpu:8.1f} {min(cpus):8.1f} {max(cpus):8.1f} {wall:10.1f}")


if __name__ == "__main__":
    main()
