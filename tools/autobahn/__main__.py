"""``python -m tools.autobahn WSTEST``: the fuzzing client of Autobahn against Pushline's WebSocket.

``WSTEST`` is the command of the package autobahntestsuite. Prints what came of it; the exit status is 1 when
something went another way that Pushline does not mean.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import uvloop
from tests.e2e.processes import free_port

from .echo import serve

CASES: Final = [*(f"{group}.*" for group in range(1, 8)), "10.*"]
"""9 is about speed and messages of megabytes, 12 and 13 about compression, which is not negotiated."""

WELL: Final = ("OK", "INFORMATIONAL", "NON-STRICT")

OWN_WAYS: Final = {
    "1.2.": (4400, "a binary message is none of this wire"),
    "6.": (4400, "a text that is no UTF-8 ends the connection as any other that is none of this wire (1007 there)"),
    "7.1.5": (1002, "who closes in the middle of a message breaks the message off (1000 there)"),
}
"""Where Pushline means to do something else: which cases, with which close code, and why."""


async def run(program: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What the suite says, by case."""
    port = free_port()
    specification = {
        "outdir": str(folder),
        "servers": [{"agent": "Pushline", "url": f"ws://127.0.0.1:{port}/_ah/channel/connect"}],
        "cases": CASES,
    }
    (folder / "spec.json").write_text(json.dumps(specification))
    async with await serve(port):
        suite = await asyncio.create_subprocess_exec(
            program, "-m", "fuzzingclient", "-s", str(folder / "spec.json"), stdout=sys.stderr
        )
        if await suite.wait():
            raise SystemExit("The suite has failed.")
    cases: dict[str, dict[str, Any]] = json.loads((folder / "index.json").read_text())["Pushline"]
    return cases


def own_way(name: str, case: dict[str, Any]) -> str:
    """Why a case goes as it goes, when Pushline means it; else ""."""
    for beginning, (code, why) in OWN_WAYS.items():
        if name.startswith(beginning) and case["remoteCloseCode"] == code:
            return why
    return ""


def main(program: str) -> int:
    """Run the suite, print what came of it, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="pushline-autobahn-") as folder:
        cases = uvloop.run(run(program, Path(folder)))
    ways: Counter[str] = Counter()
    failed = []
    for name, case in cases.items():
        if case["behavior"] in WELL and case["behaviorClose"] in WELL:
            ways["as the suite wants it"] += 1
        elif why := own_way(name, case):
            ways[why] += 1
        else:
            failed.append(f"{name}: {case['behavior']}, at the end {case['behaviorClose']} {case['remoteCloseCode']}")
    for way, count in ways.most_common():
        print(f"{count:4} {way}")
    print(f"{len(failed):4} failed")
    print("\n".join(failed))
    return bool(failed) or not cases


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]).absolute())))
