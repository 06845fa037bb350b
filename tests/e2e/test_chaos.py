"""Pages on every transport, while connections are cut and the server is killed and stopped (contract, G1 to G5, G11).

The run of a few seconds that `make test` has time for; ``python -m bench.chaos`` does longer ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from .processes import clean_environment

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = 66
MESSAGES: Final = 5000
RELOADS: Final = 30
FLOODS: Final = 3
PLAN: Final = {
    "pages": PAGES,
    "messages": MESSAGES,
    "seconds": 40,
    "longest-pause": 4,
    "kills": 2,
    "terms": 1,
    "drops": 60,
    "reloads": RELOADS,
    "floods": FLOODS,
    "ping-interval": 2,
    "drain-seconds": 2,
}
LIMIT_SECONDS: Final = 300
"""Far more than the run takes on a slow machine."""


def run_chaos(file: Path) -> dict[str, Any]:
    """Do the run, print its table, and return what it found."""
    options = [f"--{name}={value}" for name, value in PLAN.items()]
    done = subprocess.run(
        [sys.executable, "-m", "bench.chaos", "--json", str(file), *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
        timeout=LIMIT_SECONDS,
        check=False,
    )
    print(done.stderr, done.stdout, sep="\n")
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def test_what_was_accepted_reaches_every_page_once_and_in_order_whatever_breaks_meanwhile(tmp_path: Path) -> None:
    report = run_chaos(tmp_path / "report.json")
    assert report["good"], report["faults"]
    assert report["kills"] == 2
    assert report["terms"] == 1
    assert report["cuts"] == 60
    assert report["reloads"] == RELOADS
    assert report["floods"] == FLOODS
    assert report["sends"]["accepted"] == report["wanted"] >= MESSAGES
    assert report["sends"]["repeated"] > 0  # some answer was lost with the server, or nobody was there to give it
    assert report["overtaken"] == 0
    assert sorted(report["transports"]) == ["longpoll", "sse", "websocket"]
    gaps = 0
    for transport in report["transports"].values():
        verdict = transport["verdict"]
        assert transport["pages"] >= PAGES // 3  # one that is loaded again counts twice
        # Each of its pages lost its connection with the server, three times.
        assert transport["reconnects"] >= PAGES // 3
        assert verdict["received"] > MESSAGES // PAGES
        assert verdict["lost"] == verdict["doubled"] == verdict["disordered"] == verdict["strange"] == 0
        assert transport["ended"] == 0
        gaps += verdict["gaps"] - verdict["needless"]
    assert gaps >= FLOODS  # a page that was flooded has been told
