"""``python -m tools.schemathesis ST [OPTIONS]``: holds spec/openapi.yaml against what a real server answers.

``ST`` is the command of schemathesis, to which OPTIONS go. It makes requests that the description allows and others
that it does not, and looks whether answers are what it says. Besides, the server may not have told of an error or a
secret.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.processes import PushlineProcess, clean_environment

HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "spec/openapi.yaml"


def main(program: str, options: list[str]) -> int:
    """Run it against a server of its own, and return the exit status."""
    with tempfile.TemporaryDirectory(prefix="pushline-schemathesis-") as folder:
        server = PushlineProcess(Path(folder))
        server.start()
        try:
            key = f"Authorization: Bearer {server.api_key}"
            command = [program, "--config-file", str(HERE / "schemathesis.toml"), "run", str(SPEC), "--url", server.url]
            environment = clean_environment(SCHEMATHESIS_HOOKS=str(HERE / "hooks.py"))
            done = subprocess.run([*command, "--header", key, *options], cwd=folder, env=environment, check=False)  # noqa: S603
        finally:
            server.close()
        server.check_output()
        return done.returncode


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]).absolute()), sys.argv[2:]))
