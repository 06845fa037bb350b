"""Callbacks as applications in other languages read them: what each one's own parser of forms makes of a client id.

They are run with the languages' own programs, on the bodies that Pushline posts (contract, P1).
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pushline.callbacks import form, multipart
from pushline.messages import MAX_CLIENT_ID_BYTES
from pushline.stores.base import Notice

from .conftest import StartProgram
from .go import go
from .processes import clean_environment, free_port
from .waiting import wait_for

pytestmark = pytest.mark.e2e

FORMS: Final = Path(__file__).with_name("forms")
PATH: Final = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # Node is among the development packages

CLIENT_IDS: Final = (
    "ann",
    "0",
    "null",
    "room/ann & co",
    "a&b=c+d%20e;f,g?h#i",
    "%",
    "%zz%00%",
    "+ +",
    "  spaces  ",
    "from[]",
    "a.b[c]",
    '"quoted" \'twice\' \\" \\',
    'name="event"',
    "one\ntwo\r\nthree\rfour",
    "\n",
    "\r",
    "\r\n",
    "ends in a line\r\n",
    "ends in half of one\r",
    "--",
    "\r\n--pushline",
    "\r\n\r\n",
    '\r\nContent-Disposition: form-data; name="event"\r\n\r\nx',
    "".join(map(chr, [*range(1, 32), 127])),
    "a\0b",
    "né e\u0301",
    "☃ 😀 👩‍👩‍👧 \U0010ffff",
    "\ufeffmark \u0085 \u2028 \u2029 \ufffd",
    "\u202eright to left",
    "x" * MAX_CLIENT_ID_BYTES,
    "😀" * (MAX_CLIENT_ID_BYTES // 4),
    "&" * MAX_CLIENT_ID_BYTES,
)
NOTICES: Final = [
    Notice(client_id, 1_764_000_000_000_000 + number, number % 2 == 0, 1_764_000_000.5, 0.0)
    for number, client_id in enumerate(CLIENT_IDS)
]
BODIES: Final = {"urlencoded": form, "multipart": multipart}

Body = tuple[str, bytes]
"""Content type and body."""


def expected(notice: Notice) -> str:
    event = "connected" if notice.connected else "disconnected"
    return f"{notice.client_id.encode().hex()} {event} {notice.sequence} {int(notice.time)}"


def lines_of(bodies: list[Body]) -> str:
    return "".join(f"{kind}\t{body.hex()}\n" for kind, body in bodies)


def run(command: list[str], bodies: list[Body], package: str) -> list[str]:
    """What a program of `forms/` prints for each body."""
    assert shutil.which(command[0], path=PATH), f"{command[0]} is not installed: apt-get install -y {package}"
    done = subprocess.run(
        command, cwd=FORMS, env=clean_environment(PATH=PATH), input=lines_of(bodies), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_go(bodies: list[Body], folder: Path) -> list[str]:
    shutil.copy(FORMS / "form.go", folder)
    go("mod", "init", "form", folder=folder)
    go("build", "-o", "form", ".", folder=folder)
    return run([str(folder / "form")], bodies, "golang-go")


def ask_php(bodies: list[Body], start_program: StartProgram) -> list[str]:
    """PHP reads forms only of requests."""
    assert shutil.which("php"), "php is not installed: apt-get install -y php-cli"
    port = free_port()
    server = start_program(["php", "-S", f"127.0.0.1:{port}", str(FORMS / "form.php")], clean_environment())
    wait_for(lambda: "started" in server.output, lambda: server.output)
    answers = []
    for kind, body in bodies:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/_ah/channel/connected/", body, {"Content-Type": kind})
        answers.append(connection.getresponse().read().decode().strip())
        connection.close()
    return answers


READERS: Final[dict[str, Callable[[list[Body], Path, StartProgram], list[str]]]] = {
    "PHP": lambda bodies, folder, start_program: ask_php(bodies, start_program),
    "Go": lambda bodies, folder, start_program: run_go(bodies, folder),
    "Ruby": lambda bodies, folder, start_program: run(["ruby", "form.rb"], bodies, "ruby"),
    "Node": lambda bodies, folder, start_program: run(["node", "form.mjs"], bodies, "nodejs"),
    "Java": lambda bodies, folder, start_program: run(["java", "Form.java"], bodies, "default-jdk-headless"),
}
KINDS: Final = [(name, kind) for name in READERS for kind in BODIES if (name, kind) != ("Java", "multipart")]
"""Java has no parser of multipart of its own."""


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_client_id_arrives_unaltered(name: str, kind: str, tmp_path: Path, start_program: StartProgram) -> None:
    bodies = [BODIES[kind](notice) for notice in NOTICES]
    read = READERS[name](bodies, tmp_path, start_program)
    assert dict(zip(CLIENT_IDS, read, strict=True)) == {notice.client_id: expected(notice) for notice in NOTICES}
