"""Go, as Debian has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CHANNEL: Final = "pushline.dev/channel"
"""The module in clients/go."""

# Everything is here: nothing is asked of a network, and no C compiler is needed.
_ALONE: Final = {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}


def go(
    *arguments: str, folder: Path, environment: Mapping[str, str] = os.environ, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the program `go` in a folder, to its end. ``check``: it has to succeed."""
    assert shutil.which("go"), "go is not installed: apt-get install -y golang-go"
    done = subprocess.run(
        ["go", *arguments],
        cwd=folder,
        env={**environment, **_ALONE},
        capture_output=True,
        text=True,
        timeout=300,  # the first time it may have to compile its own library
        check=False,
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done
