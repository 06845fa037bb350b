"""What the machine is, and how much of it others took."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

_PROC = Path("/proc")


def describe() -> dict[str, str]:
    """For people, by what it is called."""
    cpu = re.search(r"^model name\s*: (.*)$", (_PROC / "cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal: +(\d+) kB", (_PROC / "meminfo").read_text(), re.M)
    return {
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} of them",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        "system": f"{_distribution()}, Linux {platform.release()}",
        "generator": f"Python {platform.python_version()}",
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def now() -> str:
    """The moment, for results."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def stolen_and_all() -> tuple[int, int]:
    """Ticks that the machine was not given, and all ticks, since it started."""
    ticks = [int(word) for word in (_PROC / "stat").read_text().partition("\n")[0].split()[1:9]]
    return ticks[7], sum(ticks)
