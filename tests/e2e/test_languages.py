"""Senders in other languages: the programs of docs/how-to/send-from-other-languages.md, and a client that is generated.

They are run with the languages' own programs, against a real server.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from tests.test_docs import blocks

from .doors import receive
from .go import CHANNEL, go
from .processes import PushlineProcess, clean_environment

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).resolve().parents[2]
GUIDE: Final = (ROOT / "docs/how-to/send-from-other-languages.md").read_text(encoding="utf-8")
CLIENT_ID: Final = "room/ann & co"
"""To whom each program sends."""
NOBODYS_KEY: Final = "not-the-key-of-this-server"
PATH: Final = (
    f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # Node comes with the development packages
)

PROGRAMS: Final = {
    "curl": ("sh", "send.sh", ["sh"], "curl"),
    "PHP": ("php", "send.php", ["php"], "php-cli"),
    "Ruby": ("ruby", "send.rb", ["ruby"], "ruby"),
    "Node": ("js", "send.mjs", ["node"], "nodejs"),
    "Go": ("go", "main.go", ["go", "run"], "golang-go"),
}
"""The language of each one's code, the file to save it as, what runs it, and Debian's package of that."""


def section(heading: str) -> str:
    """What stands under a heading of the guide."""
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", GUIDE, re.M | re.S)
    return str(found)


def run(name: str, folder: Path, url: str, key: str, client_id: str) -> subprocess.CompletedProcess[str]:
    """Save a program of the guide, and run it to its end."""
    language, file, command, package = PROGRAMS[name]
    needed = "curl" if name == "curl" else command[0]
    assert shutil.which(needed, path=PATH), f"{needed} is not installed: apt-get install -y {package}"
    (program,) = blocks(section(name), language)
    assert program.count(CLIENT_ID) == 2
    (folder / file).write_text(program.replace(CLIENT_ID, client_id), encoding="utf-8")
    environment = clean_environment(PUSHLINE_URL=url, PUSHLINE_API_KEY=key, PATH=PATH, LC_ALL="C.UTF-8")
    if name == "Go":
        go("mod", "init", "sender", folder=folder)
        go("mod", "edit", f"-require={CHANNEL}@v0.0.0", f"-replace={CHANNEL}={ROOT / 'clients/go'}", folder=folder)
        return go("run", ".", folder=folder, environment=environment, check=False)
    return subprocess.run(
        [*command, file], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", PROGRAMS)
class TestPrograms:
    def test_it_makes_a_token_and_sends(self, name: str, shared_pushline: PushlineProcess, tmp_path: Path) -> None:
        client_id = f"room/{name} & cö"
        done = run(name, tmp_path, shared_pushline.url, shared_pushline.api_key, client_id)
        assert done.returncode == 0, done.stderr
        token, status = done.stdout.splitlines()
        assert "queued" in status
        opened, messages = receive(shared_pushline.url, token, 1)
        assert opened["client_id"] == client_id
        assert 3500 < opened["expires_in"] <= 3600
        assert messages == ["hello, ☃".encode()]

    def test_a_refusal_ends_it_with_its_code_and_without_the_key(
        self, name: str, shared_pushline: PushlineProcess, tmp_path: Path
    ) -> None:
        done = run(name, tmp_path, shared_pushline.url, NOBODYS_KEY, CLIENT_ID)
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert "unauthorized" in said
        assert NOBODYS_KEY not in said


def test_the_guide_has_no_other_programs() -> None:
    headings = re.findall(r"^## (.*)$", GUIDE, re.M)
    assert headings == [*PROGRAMS, "Any other language"]


class Generated:
    """A client that openapi-python-client has made of spec/openapi.yaml."""

    def __init__(self, url: str, key: str) -> None:
        self.models = importlib.import_module("pushline_api.models")
        self.types = importlib.import_module("pushline_api.types")
        package: Any = importlib.import_module("pushline_api")
        self._client = package.AuthenticatedClient(base_url=url, token=key)

    def close(self) -> None:
        self._client.get_httpx_client().close()

    def ask(self, name: str, *arguments: object, **more: object) -> tuple[int, Any]:
        """The status and the answer of an operation, such as ``clients.get_client``."""
        module: Any = importlib.import_module(f"pushline_api.api.{name}")
        answer = module.sync_detailed(*arguments, client=self._client, **more)
        return int(answer.status_code), answer.parsed

    def send(self, client_id: str, text: str, **more: object) -> tuple[int, Any]:
        body = self.types.File(payload=io.BytesIO(text.encode()))
        return self.ask("messages.send_message", "-", body=body, client_id_query=client_id, **more)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package `pushline_api`, made anew."""
    folder = tmp_path_factory.mktemp("generated")
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"]
    arguments = ["--path", str(ROOT / "spec/openapi.yaml"), "--output-path", str(folder / "pushline_api")]
    done = subprocess.run(
        [*command, *arguments], env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # It has no way to say that a body is text; bytes do.
    assert warnings_in(said) == ["Unsupported content type text/plain"], said
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "pushline_api"]:
        del sys.modules[name]


def warnings_in(said: str) -> list[str]:
    """What the generator could not do, each in a line."""
    return re.findall(r"^WARNING .*\n\n(.*)$", said, re.M)


@pytest.fixture
def client(generated: None, shared_pushline: PushlineProcess) -> Iterator[Generated]:
    with closing(Generated(shared_pushline.url, shared_pushline.api_key)) as client:
        yield client


class TestGeneratedClient:
    def test_it_sends_what_arrives(self, client: Generated, shared_pushline: PushlineProcess, client_id: str) -> None:
        wanted = client.models.ChannelRequest(client_id=client_id, policy=client.models.ChannelRequestPolicy.SHARE)
        status, channel = client.ask("channels.create_channel", body=wanted)
        assert (status, channel.client_id) == (201, client_id)
        assert channel.expires_at.tzinfo is not None
        _, first = client.send(client_id, "one", idempotency_key="k", ttl=600.0)
        _, again = client.send(client_id, "one", idempotency_key="k")
        assert (again.id, str(again.status)) == (first.id, "queued")
        item = client.models.Item
        batch = client.models.Batch(
            messages=[
                item(to=[client_id, "nobody-at-all"], json={"turn": "X"}),
                item(to=client_id, data=""),
            ]
        )
        status, answer = client.ask("messages.send_messages", body=batch)
        sent, nobody, refused = answer.results
        assert (status, str(sent.status), str(nobody.status), nobody.id) == (200, "queued", "no_channel", None)
        assert (refused.to, refused.code) == (client_id, "invalid_message")
        _, messages = receive(shared_pushline.url, channel.token, 2)
        assert messages == [b"one", b'{"turn":"X"}']

    def test_it_sees_who_is_there_and_sends_them_away(self, client: Generated, client_id: str) -> None:
        client.ask("channels.create_channel", body=client.models.ChannelRequest(client_id=client_id))
        status, state = client.ask("clients.get_client", "-", client_id_query=client_id)
        assert (status, state.client_id, state.connected, state.connections, state.callbacks) == (
            *(200, client_id, False, [], []),
        )
        _, found = client.ask("clients.list_clients", prefix=client_id, connected=False, limit=10)
        assert [(each.client_id, each.connected) for each in found.clients] == [(client_id, False)]
        assert found.next_ is None
        assert client.ask("clients.disconnect", "-", client_id_query=client_id)[0] == 204
        assert client.ask("clients.revoke", "-", client_id_query=client_id)[0] == 204
        status, problem = client.ask("clients.get_client", "-", client_id_query=client_id)
        assert (status, problem.code) == (404, "no_channel")

    def test_refusals_are_problems(self, client: Generated, shared_pushline: PushlineProcess) -> None:
        with closing(Generated(shared_pushline.url, NOBODYS_KEY)) as stranger:
            refused = stranger.send("ann", "hello")
        for status, code, answer in (
            (400, "invalid_client_id", client.send("x" * 257, "hello")),
            (400, "invalid_wait", client.send("ann", "hello", wait=31.0)),
            (413, "message_too_long", client.send("ann", "x" * 32_768)),
            (401, "unauthorized", refused),
        ):
            assert (answer[0], answer[1].code, answer[1].status) == (status, code, status)

    def test_it_asks_after_the_server(self, client: Generated) -> None:
        assert client.ask("operations.health")[1].status == "ok"
        assert client.ask("operations.ready")[1].status == "ready"
        assert "pushline_connections" in client.ask("operations.metrics")[1]
        assert "/v1/channels" in client.ask("operations.help_")[1]
        assert client.ask("callbacks.list_callbacks")[1].callbacks == []
        assert client.ask("callbacks.retry_callbacks")[1].retried == 0
