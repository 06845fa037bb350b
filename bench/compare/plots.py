"""Plots as SVG, drawn by a program of its own: matplotlib is none of Pushline's dependencies."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from .servers import INSTALLED

_SCRIPT: Final = Path(__file__).with_name("draw.py")


@dataclass(frozen=True, slots=True)
class Point:
    """A bar, or a point of a line, at the number that its name is."""

    name: str
    median: float
    least: float
    most: float
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Plot:
    """``x`` is what the points of a line stand over; None: bars."""

    title: str
    unit: str
    points: Sequence[Point]
    x: str | None = None


def draw(plots: Sequence[Plot], python: Path = INSTALLED / "venv" / "bin" / "python") -> list[str]:
    """The SVG of each plot; nothing where matplotlib is not installed."""
    if not python.exists():
        return []
    done = subprocess.run(  # noqa: S603
        [str(python), str(_SCRIPT)],
        input=json.dumps([asdict(plot) for plot in plots]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return []
    drawn: list[str] = json.loads(done.stdout)
    return drawn
