"""The documents cannot lie: what they show is carried out, what they name exists, what exists is named."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import urlsplit

import click
import pytest

import pushline.appengine
import pushline.testing
from pushline import AsyncClient, Client, callbacks, channel
from pushline.cli import main
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.errors import RequestRefused, Unreachable
from pushline.http.api import MAX_KEY_BYTES, MAX_TARGETS, MAX_WAIT_SECONDS, Api
from pushline.http.app import App
from pushline.http.clients import MAX_LIST_LIMIT, Clients
from pushline.http.keys import ApiKeys
from pushline.http.operations import Operations
from pushline.http.page import Origins
from pushline.hub import Hub
from pushline.messages import MAX_CLIENT_ID_BYTES, MAX_DURATION_MINUTES, Append, Policy
from pushline.presence import parse
from pushline.protocol.codes import CLOSES, PROBLEMS
from pushline.protocol.tokens import TokenSigner
from pushline.protocol.values import Heartbeat
from pushline.server.native import MAX_PIPELINED, NativeFront
from pushline.server.secrets import API_KEY, TOKEN_SECRET, WEBHOOK_SECRET
from pushline.settings import OF_A_SERVER_ALONE, Settings, settings_table
from pushline.stores import STORES
from pushline.stores.base import Create, Store, StoreOptions
from pushline.stores.memory import MemoryStore
from pushline.stores.outbox import QUEUE_NOTICES
from pushline.stores.sqlite import DATABASE
from pushline.testing import FakeClock, MemoryPipe, PushlineServer, plugin
from pushline.testing import Page as PageOfTests
from pushline.transports.base import Door
from pushline.transports.door import MAX_POST_BYTES
from pushline.transports.websocket import MAX_FRAME_BYTES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
KEY = "the-api-key-of-the-documents"
NOW = 1763957135.0  # that of spec/frames.json

PAGES = sorted(
    path
    for folder in (ROOT, DOCS, *(ROOT / name for name in ("spec", "examples", "bench", "clients")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.M | re.S)
"""Fenced code: how far it is indented, its language, its text."""


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced code of some languages."""
    return [dedent(code) for _, language, code in FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """The code within the lines of a page."""
    return re.findall(r"`([^`]+)`", FENCE.sub("", text))


def section(text: str, heading: str) -> str:
    """What stands under a heading of level two."""
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return str(found)


class Server:
    """A whole server in memory, at a moment that does not pass."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=NOW)
        tokens = TokenSigner(["the-token-secret-of-the-documents"])
        self.hub = Hub(MemoryStore(), self.clock, tokens, heartbeat=Heartbeat(25, 10), grace=3, random=lambda: 0.5)
        keys, longest = ApiKeys((KEY,)), Settings().max_message_bytes
        self.app = App(
            Api(self.hub, keys, max_message_bytes=longest),
            Clients(self.hub, keys),
            Operations(self.hub, keys),
            max_message_bytes=longest,
        )
        self.front = NativeFront(self.app, Door(self.hub, self.clock, Origins(())), self.clock)

    def write(self, request: bytes, meanwhile: Callable[[], object] = lambda: None) -> bytes:
        """The bytes that answer a request, and what happens before they are there."""
        pipe = MemoryPipe(self.front.connection())
        pipe.feed(request)
        self.clock.turn()
        meanwhile()
        self.clock.turn()
        return pipe.take()

    def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes = b"",
        meanwhile: Callable[[], object] = lambda: None,
    ) -> ApiResponse:
        """The answer to a request."""
        named = {"Host": "127.0.0.1:8080", **headers, "Content-Length": str(len(body))}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        written = self.write("\r\n".join(lines).encode() + body, meanwhile)
        head, _, answer = written.partition(b"\r\n\r\n")
        status, *rest = head.decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in rest)
        return ApiResponse(int(status.split()[1]), {name.lower(): value for name, value in pairs}, answer)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.hub.close(0)


class TestHttpReference:
    """docs/reference/http.md is what the handlers do."""

    PAGE = read("docs/reference/http.md")

    def test_every_example_is_answered_as_shown(self, server: Server) -> None:
        shown = blocks(self.PAGE, "http")
        assert len(shown) % 2 == 0
        token, pages = "", []
        for request, expected in zip(shown[::2], shown[1::2], strict=True):
            (method, target, _), headers, body = parse_http(request)
            (_, status, *_), wanted, text = parse_http(expected)
            if "wait=" in target:  # a page is open, and acknowledges
                pages.append(Page(server, token))
                answer = server.ask(method, target, headers, body, pages[-1].acknowledge)
            else:
                answer = server.ask(method, target, headers, body)
            token = token or json.loads(answer.body or b"{}").get("token", "")
            assert answer.status == int(status), request
            for header, value in wanted.items():
                assert answer.headers[header.lower()] == value, request
            assert answer.body == text, request

    def test_every_route_is_there_and_nothing_else(self, server: Server) -> None:
        headings = set(re.findall(r"^### `([A-Z]+) (\S+)`$", self.PAGE, re.M))
        routes = {
            (method.decode(), path.decode())
            for path, methods in server.app._routes.items()
            for method in methods
            if method != b"OPTIONS"
        }
        routes |= {("POST", "/v1/clients/{client_id}/messages"), ("POST", "/v1/clients/{client_id}/disconnect")}
        routes |= {("GET", "/v1/clients/{client_id}"), ("DELETE", "/v1/clients/{client_id}")}
        routes |= {(method, "/_ah/channel/connect") for method in ("GET", "POST")}
        assert headings == routes
        for method, path in headings:
            assert server.ask(method, path, {"Accept": "application/json"}).status not in (404, 405)

    def test_the_help_of_the_server_names_the_same_addresses(self, server: Server) -> None:
        words = server.ask("GET", "/", {}).body.decode().split()
        for path in re.findall(r"^### `[A-Z]+ (/\S+)`$", self.PAGE, re.M):
            assert path in words

    def test_every_problem_is_there_with_its_status(self) -> None:
        rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", self.PAGE, re.M))
        for status, code in rows:
            assert PROBLEMS[code].status == int(status)
        for code in PROBLEMS:
            assert f"`{code}`" in self.PAGE

    def test_every_metric_is_there(self, server: Server) -> None:
        answer = server.ask("GET", "/metrics", {"Authorization": f"Bearer {KEY}"})
        names = {re.split(r"[ {]", line)[0] for line in answer.body.decode().splitlines() if not line.startswith("#")}
        assert names == set(re.findall(r"^\| `(pushline_\w+)", self.PAGE, re.M))


class TestReadme:
    """The first screen of README.md is what one sees."""

    PAGE = read("README.md")

    def test_the_sender_and_curl_and_the_page_do_what_is_shown(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (program,) = blocks(self.PAGE, "python")
        (printed,) = blocks(self.PAGE, "text")[:1]
        (terminal,) = blocks(self.PAGE, "console")
        names, output = run_sender(program, server, monkeypatch)
        assert output == printed
        for command, expected in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", terminal, re.M):
            assert curl(command, server) == expected.removesuffix("\n")
        assert [data for data in Page(server, names["token"]).messages if data] == ["hello", "hello"]

    def test_the_page_uses_what_the_script_has(self, server: Server) -> None:
        (page,) = blocks(self.PAGE, "html")
        assert set(re.findall(r"\bon[a-z]+", page)) <= javascript_names("Handlers")
        (source,) = re.findall(r'src="([^"]+)"', page)
        script = server.ask("GET", urlsplit(source).path, {})
        assert script.status == 200
        assert b"appengine" in script.body

    def test_its_commands_are_targets_of_the_makefile(self) -> None:
        assert set(re.findall(r"^make (\w+)", self.PAGE, re.M)) <= make_targets()


class TestProtocol:
    """spec/protocol.md is the wire."""

    PAGE = read("spec/protocol.md")
    VECTORS = json.loads(read("spec/frames.json"))

    def test_the_examples_are_the_golden_vectors(self) -> None:
        examples = [text.strip() for text in blocks(self.PAGE, "json")]
        vectors = {row["text"]: row["frame"]["type"] for row in self.VECTORS["down"] + self.VECTORS["up"]}
        assert set(examples) <= set(vectors)
        for kind in ("down", "up"):
            assert {row["frame"]["type"] for row in self.VECTORS[kind]} <= {vectors[text] for text in examples}
        message = blocks(self.PAGE, "text")[0].removesuffix("\n")
        assert message in {row["text"] for row in self.VECTORS["messages"]}

    def test_its_requests_are_answered_byte_by_byte_as_shown(self, server: Server) -> None:
        key = {"Authorization": f"Bearer {KEY}"}
        server.ask("POST", "/v1/channels", key, b'{"client_id":"ann"}')
        shown = [self.wire_of(text) for text in blocks(self.PAGE, "http")]
        (handshake, switched), *others = zip(shown[::2], shown[1::2], strict=True)
        answer = server.write(handshake)
        assert answer.startswith(switched)
        opened = [text.decode() for _, text in frames(answer.removeprefix(switched))]
        assert opened == [blocks(self.PAGE, "json")[0].strip()]
        for message in (b"hello", b"two\nlines"):  # as the page says, they are sent meanwhile
            server.ask("POST", "/v1/clients/ann/messages", key, message)
        for request, answer in others:
            assert server.write(request) == answer

    def wire_of(self, text: str) -> bytes:
        """The bytes of a request or an answer that is shown."""
        head, _, body = text.partition("\n\n")
        body = body if "text/event-stream\n" in head else body.removesuffix("\n")
        return (head.removesuffix("\n").replace("\n", "\r\n") + "\r\n\r\n" + body).encode()

    def test_the_client_compiles(self) -> None:
        (program,) = blocks(self.PAGE, "python")
        client: dict[str, Any] = {"__name__": "client"}
        exec(compile(program, "protocol.md", "exec"), client)  # noqa: S102 - it is a document of ours
        assert callable(client["Page"].run)

    def test_every_frame_type_that_the_client_handles_exists(self) -> None:
        (program,) = blocks(self.PAGE, "python")
        types = {row["frame"]["type"] for row in self.VECTORS["down"]}
        for named in re.findall(r'frame\["type"\] (?:==|in) (\(?".*?)(?=:)', program):
            assert set(re.findall(r'"(\w+)"', named)) <= types


class TestCommands:
    """docs/reference/commands.md is what the commands are, and no page uses another one."""

    PAGE = read("docs/reference/commands.md")
    COMMANDS: ClassVar = ("serve", "run", "token", "send", "clients", "callbacks", "listen", "bench", "demo")

    def test_every_command_is_there_and_nothing_else(self) -> None:
        assert re.findall(r"^## pushline (\w+)$", self.PAGE, re.M) == list(self.COMMANDS)
        assert set(commands()) == set(self.COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS[2:])
    def test_every_option_is_there_and_nothing_else(self, name: str) -> None:
        listed = re.findall(r"^\| `(--[a-z-]+)` \|", section(self.PAGE, f"pushline {name}"), re.M)
        assert listed == [flag for flag in flags_of(name) if flag != "--help"]

    def test_every_option_of_serve_is_in_the_settings(self) -> None:
        listed = re.findall(r"^\| `(--[a-z-]+)` \|", read("docs/reference/settings.md"), re.M)
        assert listed == [flag for flag in flags_of("serve") if flag != "--help"]

    def test_the_options_of_run_are_its_own_and_settings_but_for_those_that_are_named(self) -> None:
        text = section(self.PAGE, "pushline run")
        own = re.findall(r"^\| `(--[a-z-]+)` \|", text, re.M)
        named = re.findall(r"`(--[a-z-]+)`", text[text.index("It has no ") : text.index(": there is one address")])
        settings = [setting.flag for setting in settings_table()]
        assert named == [setting.flag for setting in settings_table() if setting.name in OF_A_SERVER_ALONE]
        assert flags_of("run") == [*own, *(flag for flag in settings if flag not in named), "--help"]

    @pytest.mark.parametrize("path", PAGES, ids=name_of)
    def test_a_page_uses_commands_and_options_that_exist(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        code = [*blocks(text, "sh", "console", "ini", "text"), *spans(text)]
        for name, rest in re.findall(r"\bpushline ([a-z]+)\b([^|\n`]*)", "\n".join(code)):
            assert name in commands(), f"pushline {name}"
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= set(flags_of(name)), f"pushline {name}{rest}"
        known = {flag for name in commands() for flag in flags_of(name)} | {"--version", *FLAGS_OF_OTHERS}
        for flag in re.findall(r"^--[a-z-]+", "\n".join(spans(text)), re.M):
            assert flag in known

    @pytest.mark.parametrize("path", PAGES, ids=name_of)
    def test_a_page_names_variables_that_exist(self, path: Path) -> None:
        secrets = {secret.variable + end for secret in (API_KEY, TOKEN_SECRET, WEBHOOK_SECRET) for end in ("", "_FILE")}
        known = secrets | {setting.variable for setting in settings_table()} | {"PUSHLINE_URL"}
        known |= {"PUSHLINE_PUBLIC_URL", "PUSHLINE_BIN"}  # of the game and of the benchmark
        assert set(re.findall(r"PUSHLINE_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))) <= known


FLAGS_OF_OTHERS = {"--data-binary", "--fail-with-body", "--preload"}
"""Options of curl and gunicorn that pages talk about."""


class TestPython:
    """docs/reference/python.md is the SDK."""

    PAGE = read("docs/reference/python.md")

    @pytest.mark.parametrize("home", [Client, AsyncClient, channel])
    def test_every_function_is_there_with_its_arguments(self, home: type | ModuleType) -> None:
        headings = set(re.findall(r"^### `(.+)`$", self.PAGE, re.M))
        names = channel.__all__ if home is channel else [name for name in vars(home) if name[0] != "_"]
        signatures = {f"{name}{shape(getattr(home, name))}" for name in names}
        headings -= {f"pushline.presence.parse{shape(parse)}"}
        headings -= {"batch()"} if home is AsyncClient else set()
        assert signatures == headings - ({"close()"} if home is channel else set())

    @pytest.mark.parametrize("home", [Client, AsyncClient])
    def test_the_clients_are_made_as_shown(self, home: type) -> None:
        assert f"`{home.__name__}{shape(home)}`" in self.PAGE

    def test_the_first_program_runs(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        names, _ = run_sender(blocks(self.PAGE, "python")[0], server, monkeypatch)
        assert Page(server, names["token"]).messages == ["hello", '{"turn":"X"}', "hello, both"]


class TestTesting:
    """docs/reference/testing.md is pushline.testing."""

    PAGE = read("docs/reference/testing.md")

    @pytest.mark.parametrize("home", [PushlineServer, PageOfTests])
    def test_every_method_and_attribute_is_there_and_nothing_else(
        self, home: type, pushline_server: PushlineServer
    ) -> None:
        part = section(self.PAGE, home.__name__)
        thing = pushline_server if home is PushlineServer else pushline_server.page(channel.create_channel("ann"))
        names = {name for name in (*vars(thing), *vars(home)) if name[0] != "_"}
        methods = {name for name in names if callable(getattr(home, name, None))}
        assert set(re.findall(r"^### `(.+)`$", part, re.M)) == {
            f"{name}{shape(getattr(home, name))}" for name in methods
        }
        assert set(re.findall(r"^\| `(\w+)` \|", part, re.M)) == names - methods

    def test_every_fixture_is_there_and_nothing_else(self) -> None:
        listed = re.findall(r"^\| `(\w+)` \|", section(self.PAGE, "Fixtures"), re.M)
        assert set(listed) == {name for name in vars(plugin) if name.startswith("pushline_")}

    def test_every_public_name_is_there(self) -> None:
        assert all(f"{name}" in self.PAGE for name in pushline.testing.__all__)

    def test_every_event_is_one_that_pages_are_told(self) -> None:
        (events,) = re.findall(r"^\| `events` \| .*: (.*) \|$", self.PAGE, re.M)
        assert {f"on{event}" for event in re.findall(r"`(\w+)`", events)} == javascript_names("Handlers")


class TestJavascript:
    """docs/reference/javascript.md is what js/src/socket.js declares."""

    PAGE = read("docs/reference/javascript.md")

    def test_every_handler_is_there_and_nothing_else(self) -> None:
        assert set(re.findall(r"^\| `(on\w+)\(", self.PAGE, re.M)) == javascript_names("Handlers")

    def test_every_option_is_there_and_nothing_else(self) -> None:
        options = self.PAGE.split("## `new Channel", 1)[1].split("## `channel.open")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", options, re.M)) == javascript_names("Options")


class TestCodes:
    """docs/reference/codes.md and settings.md are made from what the code uses."""

    PAGE = read("docs/reference/codes.md")

    @pytest.mark.parametrize("code", CLOSES)
    def test_every_close_code_is_there(self, code: int) -> None:
        assert f"| {code} | `{CLOSES[code].name}` |" in self.PAGE

    @pytest.mark.parametrize("code", PROBLEMS)
    def test_every_problem_code_is_there(self, code: str) -> None:
        assert f"| {PROBLEMS[code].status} | `{code}` |" in self.PAGE

    def test_every_setting_is_there_with_its_variable(self) -> None:
        page = read("docs/reference/settings.md")
        for setting in settings_table():
            assert f"| `{setting.flag}` | `{setting.variable}` |" in page


class TestLimits:
    """docs/reference/limits.md names what the code refuses with, and has every limit that can be set."""

    PAGE = read("docs/reference/limits.md")

    def test_every_refusal_has_its_status(self) -> None:
        refusals = re.findall(r"\b(\d{3}) ((?:`\w+`(?:, )?)+)", self.PAGE)
        assert len(refusals) > 10
        for status, codes in refusals:
            for code in re.findall(r"\w+", codes):
                assert (PROBLEMS[code].status, code) == (int(status), code)

    def test_every_close_code_exists(self) -> None:
        closes = {int(code) for code in re.findall(r"(?<![\d,])(?:10|4[45])\d\d(?![\d,])", self.PAGE)}
        assert closes - set(CLOSES) == {1009}  # of RFC 6455 itself

    def test_every_setting_that_is_a_limit_is_there(self) -> None:
        limits = [setting for setting in settings_table() if setting.name.startswith(("max_", "ret", "conn", "drain"))]
        assert len(limits) > 8
        for setting in limits:
            assert f"`{setting.flag}`" in self.PAGE

    @pytest.mark.parametrize(
        ("shown", "limit"),
        [
            ("1 to 256 bytes of UTF-8", MAX_CLIENT_ID_BYTES),
            ("1 to 1440 minutes", MAX_DURATION_MINUTES),
            ("1 to 32,767 bytes", Settings().max_message_bytes),
            ("10,000 targets", MAX_TARGETS),
            ("idempotency key: 255 bytes", MAX_KEY_BYTES),
            ("`wait`: 30 seconds", MAX_WAIT_SECONDS),
            ("a frame of a page: 4,096 bytes", MAX_POST_BYTES),
            ("a frame of a page: 4,096 bytes", MAX_FRAME_BYTES),
            ("1,024 requests", MAX_PIPELINED),
            ("120 minutes", int(Settings().retention)),
            ("messages of one channel: 1,000", Settings().max_channel_messages),
            ("whole store: 2,000,000", Settings().max_store_channels),
            ("whole store: 5,000,000", Settings().max_store_messages),
            ("the whole store: 100,000", Settings().max_store_callbacks),
            ("wait for one client id: 16", QUEUE_NOTICES),
            ("at one moment: 100,", callbacks.AT_ONCE),
            ("each for 10 seconds", int(callbacks.ANSWER_SECONDS)),
            ("callbacks: 1,000 entries", MAX_LIST_LIMIT),
            ("connects a second: 5,000", int(Settings().connect_rate)),
            ("for 10 seconds", int(Settings().ping_timeout)),
        ],
    )
    def test_the_numbers_are_those_of_the_code(self, shown: str, limit: int) -> None:
        assert shown in self.PAGE
        assert limit in [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", shown)]


class TestHowTo:
    """The programs of docs/how-to and of the tutorial."""

    def test_the_store_is_one(self) -> None:
        page = read("docs/how-to/write-a-store.md")
        program, table, _ = blocks(page, "python")
        names: dict[str, Any] = {}
        exec(program, names)  # noqa: S102 - it is a document of ours
        store = names["open_store"]("plain", StoreOptions(ROOT))
        (claims,) = store.commit([Create("ann", 60, Policy.REPLACE)], NOW)
        (message,) = store.commit([Append("ann", b"hello")], NOW)
        assert [kept.data for kept in store.read("ann", claims.id, NOW).messages] == [b"hello"]
        assert store.look("ann", NOW).queued == 1
        assert all(callable(getattr(store, name)) for name in vars(Store) if name[0] != "_")
        assert message.id > claims.id
        exec(table, names)  # noqa: S102 - it is a document of ours
        assert names["STORES"] == {**STORES, "plain": "pushline.stores.plain"}

    def test_the_tests_of_an_application_pass(self, pytester: pytest.Pytester) -> None:
        *programs, _ = blocks(read("docs/how-to/test-an-application.md"), "python")  # the last one has a socket
        files = {f"test_{number}": program for number, program in enumerate(programs)}
        pytester.makepyfile(**files)
        result = pytester.runpytest_inprocess("-p", "pushline.testing.plugin")
        result.assert_outcomes(passed="\n".join(programs).count("def test_"))

    def test_the_failure_is_the_one_that_is_shown(self, pushline_server: PushlineServer) -> None:
        (shown,) = blocks(read("docs/how-to/test-an-application.md"), "text")
        pushline_server.page(channel.create_channel("bob")).drop()
        channel.send_json("bob", {"player": "ann", "took": 4})
        with pytest.raises(AssertionError) as raised:
            pushline_server.assert_delivered("bob", {"player": "ann", "took": 4})
        assert shown == f"AssertionError: {raised.value}\n"

    def test_a_web_application_sends_in_batches(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        names: dict[str, Any] = {}
        exec("\n".join(blocks(read("docs/how-to/send-from-a-web-application.md"), "python")), names)  # noqa: S102 - as above
        game = {"id": 7, "turn": 2}
        with sending_to(server, monkeypatch) as world:
            token = channel.create_channel("ann")
            for _ in range(2):  # it may repeat its own work
                assert names["try_to_tell"](game, ["ann", "bob"]) == ["bob"]
            assert [data for data in Page(server, token).messages if data] == ['{"id":7,"turn":2}']
            world.down = True
            assert names["try_to_tell"](game, ["ann", "bob"]) == ["ann", "bob"]
            assert callable(names["lifespan"])

    def test_what_nobody_has_taken_is_told_by_mail(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        programs = blocks(read("docs/how-to/know-that-it-arrived.md"), "python")
        mails: list[str] = []

        def send_mail(client_id: str, text: str) -> None:
            mails.append(f"{text}, {client_id}")

        with sending_to(server, monkeypatch) as world:
            names: dict[str, Any] = {"RequestRefused": RequestRefused}
            exec("\n".join(programs), names)  # noqa: S102 - it is a document of ours
            tell, has_arrived, is_there = names["tell"], names["has_arrived"], names["is_there"]
            assert not is_there("ann")
            assert tell("ann", "hello", "k0", send_mail) == "no_channel"
            token = channel.create_channel("ann")
            assert not is_there("ann")
            world.meanwhile = lambda: server.clock.advance(5)
            assert tell("ann", "bye", "k1", send_mail) == "queued"
            assert mails == ["hello, ann", "bye, ann"]
            page = Page(server, token)
            world.meanwhile = page.acknowledge
            assert is_there("ann")
            assert tell("ann", "here", "k2", send_mail) == "delivered"
            assert len(mails) == 2
            assert has_arrived("ann", "here", "k2")
            world.down = True
            assert tell("ann", "lost", "k3", send_mail) == "unknown"
            assert mails[2:] == ["lost, ann"]

    def test_a_send_across_a_restart_is_repeated(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        (program,) = blocks(read("docs/how-to/restart-without-loss.md"), "python")
        names: dict[str, Any] = {}
        with sending_to(server, monkeypatch) as world:
            exec(program, names)  # noqa: S102 - it is a document of ours
            channel.create_channel("ann")
            world.down = True
            monkeypatch.setattr("time.sleep", lambda seconds: setattr(world, "down", False))
            assert names["send_for_sure"]("ann", "hello", "k").status == "queued"
            world.down = True
            monkeypatch.setattr("time.sleep", lambda seconds: None)
            with pytest.raises(Unreachable):
                names["send_for_sure"]("ann", "hello", "k", patience=-1)

    def test_a_fresh_token_is_given_to_who_has_logged_in(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        (program,) = blocks(read("docs/how-to/survive-sleep.md"), "python")
        names: dict[str, Any] = {"__name__": "application"}
        exec(program, names)  # noqa: S102 - it is a document of ours
        with sending_to(server, monkeypatch), names["app"].test_client() as browser:
            assert browser.post("/channel-token").status_code == 401
            with browser.session_transaction() as session:
                session["user"] = "ann"
            answer = browser.post("/channel-token")
            channel.send_message("ann", "hello")
        assert answer.content_type == "text/plain"
        assert Page(server, answer.text).messages == ["hello"]

    @pytest.mark.parametrize("path", [path for path in PAGES if blocks(path.read_text(), "html")], ids=name_of)
    def test_every_page_uses_what_the_script_has(self, path: Path) -> None:
        known = javascript_names("Handlers") | javascript_names("Options")
        for page in blocks(path.read_text(encoding="utf-8"), "html", "js"):
            calls = re.findall(r"^\s+(\w+)(?=\(.*\) \{|: async)", page, re.M)
            assert set(calls) <= known, path

    @pytest.mark.parametrize("path", PAGES, ids=name_of)
    def test_every_program_compiles_and_imports_what_exists(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
        pushline.appengine.install()  # a guide is about it
        for program in blocks(path.read_text(encoding="utf-8"), "python"):
            tree = ast.parse(program)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module != "pushline.stores.plain":
                    module = import_module(str(node.module))
                    for alias in node.names:
                        assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}"), alias.name


class TestNames:
    """What pages name exists, and what the code cites is written."""

    @pytest.mark.parametrize("path", PAGES, ids=name_of)
    def test_every_relative_link_leads_somewhere(self, path: Path) -> None:
        text = FENCE.sub("", path.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = path if not parts.path else (path.parent / parts.path).resolve()
            assert target.exists(), link
            assert target.is_relative_to(ROOT), link
            if parts.fragment:
                assert parts.fragment in anchors(target), link

    @pytest.mark.parametrize("path", PAGES, ids=name_of)
    def test_every_python_name_can_be_imported(self, path: Path) -> None:
        for name in spans(path.read_text(encoding="utf-8")):
            if re.fullmatch(r"pushline(\.\w+)+", name) and name not in ("pushline.v1", DATABASE):
                resolve(name)

    def test_every_page_of_the_docs_is_in_their_index(self) -> None:
        index = read("docs/README.md")
        for path in DOCS.rglob("*.md"):
            if path != DOCS / "README.md":
                assert f"({path.relative_to(DOCS)})" in index

    def test_every_example_is_in_their_list_and_nothing_else(self) -> None:
        listed = re.findall(r"^\| \[[\w.-]+\]\(([\w.-]+)(?:/README\.md)?\) \|", read("examples/README.md"), re.M)
        there = [path for path in (ROOT / "examples").iterdir() if path.suffix == ".py" or any(path.glob("*.*"))]
        assert sorted(listed) == sorted(path.name for path in there if path.name != "__pycache__")

    def test_every_clause_that_the_code_cites_is_in_the_contract(self) -> None:
        contract = read("docs/reference/contract.md")
        written = set(re.findall(r"\*\*([A-Z]\d+)\b", contract))
        sources = [*ROOT.glob("src/**/*.py"), *ROOT.glob("js/src/**/*.js"), *ROOT.glob("spec/*.json")]
        for path in sources:
            cited = set(re.findall(r"\b[GWAJYR]\d{1,2}\b", path.read_text(encoding="utf-8")))
            assert cited <= written, name_of(path)

    def test_every_clause_of_the_wire_is_in_its_document(self) -> None:
        protocol = read("spec/protocol.md")
        for clause in ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8"):
            assert f"\n## {clause} " in protocol

    def test_every_target_of_the_makefile_is_in_contributing_and_nothing_else(self) -> None:
        assert set(re.findall(r"^\| `make (\w+)` \|", read("CONTRIBUTING.md"), re.M)) == make_targets()

    def test_every_dependency_has_its_reason(self) -> None:
        project = tomllib.loads(read("pyproject.toml"))
        extras = project["project"]["optional-dependencies"]
        groups = project["dependency-groups"]
        every = [*project["project"]["dependencies"], *chain(*extras.values()), *chain(*groups.values())]
        reasons = read("docs/decisions/0002-dependencies.md")
        for requirement in every:
            if isinstance(requirement, str):
                name = re.split(r"[=<>\[]", requirement)[0]
                assert re.search(rf"\b{name}\b", reasons), name


# -- verbs -------------------------------------------------------------------------------------------------------


def commands() -> Mapping[str, click.Command]:
    assert isinstance(main, click.Group)
    return main.commands


def flags_of(name: str) -> list[str]:
    options = [param for param in commands()[name].params if isinstance(param, click.Option)]
    return [flag for option in options for flag in (option.opts[0], *option.secondary_opts)] + ["--help"]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9]+):.*## ", read("Makefile"), re.M))


def javascript_names(typedef: str) -> set[str]:
    """The properties of a type that js/src/socket.js declares."""
    (comment,) = re.findall(rf"@typedef {{object}} {typedef}\n(.*?)\*/", read("js/src/socket.js"), re.S)
    return set(re.findall(r"@property .*\[(\w+)\]", comment))


def shape(function: Any) -> str:
    """The arguments of a function, without their types."""
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(parameters)).replace("'", '"')


def resolve(name: str) -> object:
    """The module, or the member of one, that a dotted name stands for."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        home, _, member = name.rpartition(".")
        return getattr(resolve(home), member)


def anchors(path: Path) -> set[str]:
    """The fragments that the headings of a page can be reached by."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class World:
    """Where the SDK sends to, and what happens before an answer is there."""

    def __init__(self) -> None:
        self.down = False
        self.meanwhile: Callable[[], object] = lambda: None


@contextlib.contextmanager
def sending_to(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Let `pushline.channel` reach a server in memory."""
    world = World()

    def exchange(client: Client, request: ApiRequest) -> ApiResponse:
        if world.down:
            raise Unreachable("http://127.0.0.1:8080", "Connection refused")
        headers = {**client._endpoint.headers, **request.headers}
        meanwhile = world.meanwhile if request.wait else lambda: None
        return server.ask(request.method, request.target, headers, request.body, meanwhile)

    monkeypatch.setattr(Client, "_exchange", exchange)
    monkeypatch.setenv("PUSHLINE_API_KEY", KEY)
    channel._client.cache_clear()
    yield world
    channel._client.cache_clear()


def run_sender(program: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Run a program that uses the SDK, against a server in memory: its names, and what it printed."""
    names: dict[str, Any] = {}
    output = io.StringIO()
    with sending_to(server, monkeypatch), contextlib.redirect_stdout(output):
        exec(program, names)  # noqa: S102 - it is a document of ours
    return names, output.getvalue()


def curl(command: str, server: Server) -> str:
    """What a command line with curl prints."""
    program, *words = shlex.split(command.replace("$(cat pushline-data/api-key)", KEY))
    assert program == "curl"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body, address = "", ""
    while words:
        match words.pop(0):
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                body = words.pop(0)
            case word:
                address = word
    return server.ask("POST", urlsplit(address).path, headers, body.encode()).body.decode()


class Page:
    """A page that has connected with a token, and what it got."""

    def __init__(self, server: Server, token: str) -> None:
        head = [
            "GET /_ah/channel/connect?page=a HTTP/1.1",
            "Host: 127.0.0.1:8080",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Sec-WebSocket-Protocol: pushline.v1, pushline.token.{token}",
        ]
        self._server, self._token = server, token
        self._pipe = MemoryPipe(server.front.connection())
        self._pipe.feed("\r\n".join([*head, "", ""]).encode())
        self.messages: list[str] = []
        self.cursor = ""
        self._read(self._pipe_after_a_turn().partition(b"\r\n\r\n")[2])

    def _pipe_after_a_turn(self) -> bytes:
        self._server.clock.turn()
        return self._pipe.take()

    def _read(self, data: bytes) -> None:
        texts = [text.decode() for opcode, text in frames(data) if opcode == 1]
        for id, _, message in (text.partition(" ") for text in texts if not text.startswith("{")):
            self.cursor = id
            self.messages.append(message)

    def acknowledge(self) -> None:
        """Say that everything which has come was handled."""
        self._read(self._pipe_after_a_turn())
        ack = {"token": self._token, "page": "a", "type": "ack", "id": self.cursor}
        assert self._server.ask("POST", "/_ah/channel/connect", {}, json.dumps(ack).encode()).status == 204


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of unmasked WebSocket frames."""
    while data:
        size, head = data[1], 2
        if size == 126:
            size, head = int.from_bytes(data[2:4], "big"), 4
        yield data[0] & 0x0F, data[head : head + size]
        data = data[head + size :]


def parse_http(text: str) -> tuple[list[str], dict[str, str], bytes]:
    """First line, headers and body of a request or an answer as a document shows it."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.strip().split("\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if "Authorization" in headers:
        headers["Authorization"] = headers["Authorization"].replace("<API key>", KEY)
    return first.split(" ", 2), headers, body.removesuffix("\n").encode()
