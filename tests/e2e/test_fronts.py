"""Pages behind a real Caddy and a real HAProxy, set up as the documents say (contract, section 3)."""

from __future__ import annotations

import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

import pytest

from .conftest import MakePage, StartPushline
from .processes import Program, PushlineProcess, clean_environment, free_port
from .waiting import wait_for
from .wire import LongPollPage, Page, SsePage, WebSocketPage

pytestmark = pytest.mark.e2e

DOCUMENT: Final = Path(__file__).parents[2] / "docs/how-to/run-behind-caddy-or-haproxy.md"


class Front(Program):
    """A front on a port of its own."""

    port: int

    def start(self) -> None:
        """Start it, and wait until it listens."""
        super().start()
        wait_for(self._listening, lambda: f"it listens. Its output: {self.output}")

    def _listening(self) -> bool:
        assert self.running, self.output
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def documented(language: str, server: PushlineProcess, changes: dict[str, str]) -> str:
    """The document's configuration, before a certain server and with the changes that a test needs."""
    (block,) = re.findall(
        rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for before, after in {"127.0.0.1:8080": f"127.0.0.1:{server.port}", **changes}.items():
        assert block.count(before) == 1, before
        block = block.replace(before, after)
    return str(block)


def program(name: str) -> str:
    path = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    assert path is not None, f"{name} is not installed; `make system` installs what the tests need."
    return path


def caddy(folder: Path, server: PushlineProcess) -> Front:
    port = free_port()
    text = "{\n    admin off\n}\n" + documented("caddy", server, {"push.example.com {": f"http://127.0.0.1:{port} {{"})
    (folder / "Caddyfile").write_text(text)
    environment = clean_environment(HOME=str(folder), XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder))
    arguments = [program("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    front = Front(arguments, folder / "front.txt", environment)
    front.port = port
    return front


def haproxy(folder: Path, server: PushlineProcess, besides: str = "") -> Front:
    port = free_port()
    changes = {"bind :443 ssl crt /etc/haproxy/push.pem": f"bind 127.0.0.1:{port}"}
    text = documented("haproxy", server, changes).replace(" check\n", f" check{besides}\n")
    (folder / "haproxy.cfg").write_text("global\n    hard-stop-after 1s\n" + text)
    front = Front([program("haproxy"), "-f", str(folder / "haproxy.cfg"), "-db"], folder / "front.txt")
    front.port = port
    return front


def with_proxy_protocol(folder: Path, server: PushlineProcess) -> Front:
    return haproxy(folder, server, " send-proxy-v2")


StartFront = Callable[..., Front]


@pytest.fixture
def start_front(tmp_path: Path) -> Iterator[StartFront]:
    """Starts a front before a server. HAProxy ends with 143, which is right for it."""
    with ExitStack() as programs:

        def start(make: Callable[[Path, PushlineProcess], Front], server: PushlineProcess) -> Front:
            folder = tmp_path / "front"
            folder.mkdir()
            front = make(folder, server)

            def stop() -> None:
                if front.running:
                    front.end(signal.SIGTERM)

            programs.callback(stop)
            front.start()
            return front

        yield start


def behind(front: Front) -> PushlineProcess:
    """What a page dials: a page looks at the port alone."""
    return cast("PushlineProcess", front)


@pytest.mark.parametrize("make", [caddy, haproxy, with_proxy_protocol])
@pytest.mark.parametrize("kind", [WebSocketPage, SsePage, LongPollPage])
def test_messages_pass_at_once_and_are_acknowledged(
    start_pushline: StartPushline,
    start_front: StartFront,
    make_page: MakePage,
    make: Callable[[Path, PushlineProcess], Front],
    kind: type[Page],
) -> None:
    server = start_pushline("--trusted-proxy", "127.0.0.1")
    front = start_front(make, server)
    client = server.client
    page = make_page(kind, behind(front), client.create_channel("ann"))
    texts = ["before", "a\r\nb", "grüße 🎲", "x" * 32_767]
    client.send_message("ann", texts[0])
    page.enter()
    page.wait_for(texts[:1])
    for number, text in enumerate(texts[1:], 2):
        client.send_message("ann", text)
        page.wait_for(texts[:number])
    (connection,) = client.get_client("ann").connections
    assert connection.transport == page.transport


@pytest.mark.parametrize("make", [caddy, haproxy, with_proxy_protocol])
def test_limits_are_those_of_whom_the_front_names(
    start_pushline: StartPushline,
    start_front: StartFront,
    make_page: MakePage,
    make: Callable[[Path, PushlineProcess], Front],
) -> None:
    server = start_pushline("--trusted-proxy", "127.0.0.1", "--max-per-address", "2")
    front = start_front(make, server)
    token = server.client.create_channel("ann", policy="share")
    pages = [make_page(WebSocketPage, behind(front), token) for _ in range(3)]
    assert [type(page.connect()).__name__ for page in pages] == ["Frame", "Frame", "End"]
