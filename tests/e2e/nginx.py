"""A real nginx in front of a server, with a configuration of the tests' own."""

from __future__ import annotations

import os
import re
import shutil
import socket
from pathlib import Path
from typing import Final

from .processes import Program, free_port
from .waiting import wait_for

_MAIN: Final = """
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
pid {folder}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 256; }}
http {{
    log_format short '$status $request_method $uri';
    access_log {folder}/access.log short;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


class Nginx(Program):
    """nginx on a port of its own. ``server`` and ``http`` are what its blocks of these names have in them."""

    def __init__(self, folder: Path, server: str, http: str = "") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "access.log"
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "nginx is not installed; `make system` installs what the tests need."
        user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not write here
        configuration = folder / "nginx.conf"
        configuration.write_text(_MAIN.format(folder=folder, user=user, http=http, port=self.port, server=server))
        super().__init__([program, "-p", str(folder), "-c", str(configuration), "-e", "stderr"], folder / "output.txt")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        super().start()
        wait_for(self._listening, lambda: f"nginx listens. Its output: {self.output}")

    def _listening(self) -> bool:
        assert self.running, self.output
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def answers(self, status: int) -> int:
        """How many requests it has answered with a status."""
        return len(re.findall(rf"^{status} ", self._log.read_text(), re.MULTILINE))

    def workers(self) -> set[str]:
        """The processes that serve now, by their ids."""
        return set(Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split())
