"""The commands: what they print, what they exit with. Servers are in memory."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.http.rig import KEY, Application, Page, Peer, Rig

import pushline
import pushline.hub
from pushline.callbacks import TRY_SECONDS
from pushline.callbacks import Result as Became
from pushline.cli import main
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.sync import Client
from pushline.errors import ConnectionEnded, Unreachable
from pushline.server.secrets import API_KEY
from pushline.settings import Settings

COMMANDS = sorted(main.commands)


def run(*arguments: str, input: str | bytes | None = None, **environment: str | None) -> Result:
    """Run a command. An exception that is no error of click's would be a traceback, and fails the test."""
    return CliRunner().invoke(
        main, list(arguments), input=input, env={API_KEY.variable: KEY} | environment, catch_exceptions=False
    )


def moment(seconds: float) -> str:
    """A unix time as lists show it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The server that every client reaches."""
    rig = Rig(presence=True)

    def exchange(client: Client, request: ApiRequest) -> ApiResponse:
        headers = {**client._endpoint.headers, **request.headers}
        answer = Peer(rig).ask(request.method, request.target, headers, request.body)
        return ApiResponse(answer.status, answer.headers, answer.body)

    monkeypatch.setattr(Client, "_exchange", exchange)
    return rig


@pytest.fixture
def listened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The addresses and tokens that were listened with; what they print."""
    seen: list[tuple[str, str]] = []

    class FakeListener:
        def __init__(
            self, url: str, token: str, *, message: Callable[[str], None], notice: Callable[[str], None]
        ) -> None:
            seen.append((url, token))
            message("héllo")
            notice("a notice")

        async def run(self) -> None:
            raise ConnectionEnded(4409)

    monkeypatch.setattr("pushline.listen.Listener", FakeListener)
    return seen


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_every_command_teaches(self, command: str) -> None:
        for flag in ("--help", "-h"):
            result = run(command, flag)
            assert result.exit_code == 0
            assert result.output.startswith(f"Usage: main {command} ")
        text = main.commands[command].help
        assert text is not None
        assert len(text.split(".")[0].split()) >= 3
        for parameter in main.commands[command].params:
            if isinstance(parameter, click.Option):
                assert parameter.help, parameter.name

    def test_of_the_program_lists_every_command_and_where_to_start(self) -> None:
        text = run("--help").output
        for command in COMMANDS:
            assert re.search(rf"^  {command} +\w.*\.$", text, re.M), command
        starts = re.findall(r"^    pushline (\w+)", text, re.M)
        assert starts == ["demo", "serve", "run", "listen", "send"]

    def test_is_what_no_command_gets(self) -> None:
        result = run()
        assert "Usage:" in result.output

    def test_has_the_version(self) -> None:
        form = "in Python" if str(pushline.hub.__file__).endswith(".py") else "compiled"
        assert run("--version").output == f"pushline, version {pushline.__version__}, hot path {form}\n"

    def test_is_there_for_the_module_too(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["x", "--help"])
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("pushline")
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith("Usage: pushline [OPTIONS] COMMAND")

    @pytest.mark.parametrize(
        "arguments", [["serfe"], ["--nonsense"], ["token"], ["send", "ann"], ["token", "ann", "--minutes", "x"]]
    )
    def test_is_pointed_to_when_a_command_is_not_understood(self, arguments: list[str]) -> None:
        result = run(*arguments)
        assert result.exit_code == 2
        assert re.search(r"^Error: .+[.?]$", result.output, re.M)
        assert "--help" in result.output or "-h" in result.output


class TestRun:
    def test_says_what_to_install_when_something_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pushline.cli.find_spec", lambda name: None if name == "uvicorn" else object())
        result = run("run", "hello:app")
        assert (result.exit_code, result.stdout) == (1, "")
        sentence = "This needs the package uvicorn. Install all of it: pip install 'pushline[run]'."
        assert result.stderr == f"Error: {sentence}\n"

    def test_hands_on_the_settings_that_it_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ran: list[tuple[str, Settings, bool]] = []

        def note(name: str, settings: Settings, *, reload: bool, announce: Callable[[str], None]) -> None:
            ran.append((name, settings, reload))

        monkeypatch.setattr("pushline.hosting.host.run", note)
        result = run("run", "hello:app", "--no-reload", "--grace", "5", PUSHLINE_STORE="memory", PUSHLINE_TLS_CERT="x")
        assert result.exit_code == 0
        assert ran == [("hello:app", Settings(grace=5, store="memory"), False)]
        assert run("run", "hello:app").exit_code == 0
        assert ran[1] == ("hello:app", Settings(), True)
        assert run("run", "hello:app", "--grace", "-1").stderr.startswith("Error: --grace must be at least 0")


class TestToken:
    def test_prints_a_token_and_nothing_else(self, rig: Rig) -> None:
        result = run("token", "room/ann é", "--minutes", "5")
        assert result.exit_code == 0
        token, end = result.stdout.split("\n")
        assert end == result.stderr == ""
        (frame,) = Page(rig, token).read()
        assert '"client_id":"room/ann é"' in frame
        assert '"expires_in":300' in frame

    def test_takes_a_policy(self, rig: Rig) -> None:
        tokens = [run("token", "ann", "--policy", "share").stdout.strip() for _ in range(2)]
        pages = [Page(rig, token) for token in tokens]
        run("send", "ann", "to both")
        assert [page.messages() for page in pages] == [["to both"], ["to both"]]

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--minutes", "0"], "whole number from 1 to 1440. (400 invalid_duration)"),
            (["--policy", "first"], "one of `replace`, `reject`, `share`. (400 invalid_policy)"),
        ],
    )
    def test_says_why_the_server_refuses(self, rig: Rig, arguments: list[str], sentence: str) -> None:
        result = run("token", "ann", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: ")
        assert result.stderr.endswith(sentence + "\n")


class TestSend:
    def test_prints_what_became_of_the_message(self, rig: Rig) -> None:
        page = rig.page("ann")
        result = run("send", "ann", "héllo")
        assert result.exit_code == 0
        assert re.fullmatch(r"sent \d+-\d+\n", result.stdout)
        assert page.messages() == ["héllo"]

    def test_exits_with_1_when_there_is_no_channel(self, rig: Rig) -> None:
        result = run("send", "nobody", "hello")
        assert (result.exit_code, result.stdout, result.stderr) == (1, "no_channel\n", "")

    @pytest.mark.parametrize("text", [b"hello\n", "é\n\0 x".encode()])
    def test_reads_standard_input_for_a_dash(self, rig: Rig, text: bytes) -> None:
        rig.token("ann")
        assert run("send", "ann", "-", input=text).exit_code == 0
        assert rig.kept("ann") == [text]

    def test_takes_a_key_and_a_ttl(self, rig: Rig) -> None:
        rig.token("ann")
        printed = [run("send", "ann", "hello", "--key", "k", "--ttl", "5").stdout for _ in range(2)]
        assert printed[0] == printed[1]
        assert rig.kept("ann") == [b"hello"]
        rig.clock.advance(5)
        assert rig.kept("ann") == []

    def test_waits_until_a_page_has_acknowledged_the_message(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, float]] = []

        def exchange(client: Client, request: ApiRequest) -> ApiResponse:
            asked.append((request.target, request.wait))
            return ApiResponse(200, {}, b'{"id":"1-0","status":"delivered"}')

        monkeypatch.setattr(Client, "_exchange", exchange)
        result = run("send", "ann", "hello", "--wait", "2.5")
        assert (result.exit_code, result.stdout) == (0, "delivered 1-0\n")
        assert asked == [("/v1/clients/-/messages?client_id=ann&wait=2.5", 2.5)]

    @pytest.mark.parametrize("wait", ["0", "-1", "31", "nan"])
    def test_refuses_to_wait_for_longer_than_the_server_does(self, rig: Rig, wait: str) -> None:
        result = run("send", "ann", "hello", "--wait", wait)
        assert result.exit_code == 1
        assert result.stderr.endswith("above 0 and at most 30. (400 invalid_wait)\n")

    @pytest.mark.parametrize("key", ["", "two words", "é", "k" * 256])
    def test_refuses_a_key_that_no_header_carries(self, rig: Rig, key: str) -> None:
        result = run("send", "ann", "hello", "--key", key)
        assert result.exit_code == 2
        assert "Invalid value for --key: An idempotency key is" in result.stderr

    def test_says_why_the_server_refuses(self, rig: Rig) -> None:
        for message, sentence in (("", "empty"), ("x" * 40_000, "longer than 32767 bytes")):
            result = run("send", "ann", message)
            assert result.exit_code == 1
            assert sentence in result.stderr
        assert run("send", "ann", "-", input=b"\xff").stderr.startswith("Error: The message is empty or not UTF-8: ")

    @pytest.mark.parametrize("arguments", [("send", "ann", "\udcff"), ("send", "\udcff", "x"), ("token", "\udcff")])
    def test_refuses_arguments_that_are_no_utf8(self, rig: Rig, arguments: tuple[str, ...]) -> None:
        result = run(*arguments)
        assert result.exit_code == 2
        assert "It is not UTF-8." in result.stderr


class TestClients:
    def test_lists_who_has_a_channel_a_line_each(self, rig: Rig) -> None:
        rig.page("bob")
        rig.token("ann", duration_minutes=1)
        rig.token("a\n\x1b[31mb", duration_minutes=1)
        result = run("clients")
        assert (result.exit_code, result.stderr) == (0, "")
        soon, later = (f"{moment(rig.clock.now() + minutes * 60)}" for minutes in (1, 120))
        assert result.stdout.split("\n") == [
            f'away       {soon}  "a\\n\\u001b[31mb"',
            f"away       {soon}  ann",
            f"connected  {later}  bob",
            "",
        ]

    def test_only_some_when_that_is_asked(self, rig: Rig) -> None:
        for name in ("room/ann", "room/bob"):
            rig.token(name)
        rig.page("room/bob")
        rig.page("cid")
        assert [line.split()[-1] for line in run("clients", "--prefix", "room/").stdout.splitlines()] == [
            "room/ann",
            "room/bob",
        ]
        shown = run("clients", "--connected", "--prefix", "room/").stdout
        assert [line.split()[-1] for line in shown.splitlines()] == ["room/bob"]

    def test_lists_more_than_one_answer_holds(self, rig: Rig) -> None:
        names = [f"c{number:04}" for number in range(1001)]
        for name in names:
            rig.token(name)
        assert [line.split()[-1] for line in run("clients").stdout.splitlines()] == names

    def test_says_nothing_of_nobody(self, rig: Rig) -> None:
        assert (run("clients").exit_code, run("clients").output) == (0, "")


class TestCallbacks:
    def test_lists_what_the_application_was_not_told_a_line_each(self, rig: Rig) -> None:
        Application(rig)
        rig.page("ann")
        given_up = moment(rig.clock.now() + 38)  # its page has not answered, and was told gone: the state at that time
        rig.clock.advance(2 * TRY_SECONDS)
        then = moment(rig.clock.now())
        rig.page("b\nb")
        tried = run("callbacks").stdout
        rig.clock.advance(1)
        result = run("callbacks")
        assert (result.exit_code, result.stderr) == (0, "")
        assert tried.split("\n") == [
            f"{given_up}  disconnected  given up (status 500)  ann",
            f'{then}  connected     1 try (status 500)  "b\\nb"',
            "",
        ]
        assert result.stdout == tried.replace("1 try", "2 tries")

    def test_what_is_on_its_way_waits(self, rig: Rig) -> None:
        rig.page("ann")
        assert run("callbacks").stdout == f"{moment(rig.clock.now())}  connected     waiting  ann\n"

    def test_says_for_what_there_is_no_handler(self, rig: Rig) -> None:
        Application(rig).result = Became.NO_HANDLER
        rig.page("ann")
        result = run("callbacks")
        assert (result.stdout, result.stderr) == ("", "# the application has no handler for connected\n")

    @pytest.mark.parametrize("arguments", [["--retry", "ann"], ["--retry-all"]])
    def test_sends_again_what_failed_and_says_how_much(self, rig: Rig, arguments: list[str]) -> None:
        application = Application(rig)
        rig.page("ann")
        for _ in range(2):
            assert run("callbacks", *arguments).stdout == "1 sent again\n"
        application.result = Became.ACCEPTED
        assert run("callbacks", *arguments).stdout == "1 sent again\n"
        assert application.posts == 4
        assert run("callbacks").output == ""

    @pytest.mark.parametrize("arguments", [["--retry", "bob"], ["--retry-all"]])
    def test_says_when_there_is_nothing_to_send_again(self, rig: Rig, arguments: list[str]) -> None:
        Application(rig).result = Became.ACCEPTED
        rig.page("ann")
        result = run("callbacks", *arguments)
        assert (result.exit_code, result.stdout) == (
            0,
            "nothing to send again: nothing was given up, or waits for its next try\n",
        )

    def test_refuses_one_and_all(self, rig: Rig) -> None:
        result = run("callbacks", "--retry", "ann", "--retry-all")
        assert result.exit_code == 2
        assert "Give --retry for one client id, or --retry-all for all of them." in result.stderr


class TestListen:
    def test_makes_a_token_for_a_client_id(self, rig: Rig, listened: list[tuple[str, str]]) -> None:
        result = run("listen", "ann", "--url", "http://push.example.com")
        ((url, token),) = listened
        assert url == "http://push.example.com"
        assert '"client_id":"ann"' in Page(rig, token).read()[0]
        assert result.stdout == "héllo\n"
        assert result.stderr == (
            "# a notice\n# listening on http://push.example.com\n"
            "Error: Another page of this client id holds the place. (4409)\n"
        )
        assert result.exit_code == 1

    def test_takes_a_token_and_needs_no_key(self, listened: list[tuple[str, str]], tmp_path: Path) -> None:
        run("listen", "--token", "a-token", "--data-dir", str(tmp_path), PUSHLINE_API_KEY=None)
        assert listened == [("http://127.0.0.1:8080", "a-token")]

    def test_reads_a_token_from_standard_input(self, listened: list[tuple[str, str]]) -> None:
        run("listen", "--token", "-", input="a-token\nmore\n")
        assert listened == [("http://127.0.0.1:8080", "a-token")]

    @pytest.mark.parametrize("arguments", [[], ["ann", "--token", "x"]])
    def test_wants_one_of_both(self, arguments: list[str]) -> None:
        result = run("listen", *arguments)
        assert result.exit_code == 2
        assert "Name a CLIENT_ID, or give a --token." in result.stderr

    def test_ends_in_good_order_with_ctrl_c(
        self, listened: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def interrupted(self: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("pushline.listen.Listener.run", interrupted)
        result = run("listen", "--token", "x")
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "")

    def test_says_that_nobody_is_there(self, listened: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
        async def alone(self: object) -> None:
            raise Unreachable("http://127.0.0.1:8080", "Connection refused")

        monkeypatch.setattr("pushline.listen.Listener.run", alone)
        result = run("listen", "--token", "x")
        assert result.exit_code == 1
        assert result.stderr.endswith(
            "Error: Pushline at http://127.0.0.1:8080 could not be reached: Connection refused. "
            "Is `pushline serve` running there?\n"
        )


class TestTheKeyAndTheAddress:
    def test_come_from_the_data_dir_and_the_environment(self, rig: Rig, tmp_path: Path) -> None:
        (tmp_path / "api-key").write_text(KEY)
        assert run("token", "ann", "--data-dir", str(tmp_path), PUSHLINE_API_KEY=None).exit_code == 0
        assert run("token", "ann", PUSHLINE_API_KEY=None, PUSHLINE_DATA_DIR=str(tmp_path)).exit_code == 0

    def test_are_said_to_be_missing(self, rig: Rig, tmp_path: Path) -> None:
        result = run("send", "ann", "x", "--data-dir", str(tmp_path), PUSHLINE_API_KEY=None)
        assert result.exit_code == 1
        assert result.stderr == (
            f"Error: There is no PUSHLINE_API_KEY and no {tmp_path}/api-key. "
            "Set the variable, or name the server's --data-dir.\n"
        )

    def test_are_refused_when_they_are_none(self, rig: Rig) -> None:
        assert "is no address of Pushline" in run("token", "ann", "--url", "push.example.com").stderr
        assert "is no address of Pushline" in run("token", "ann", PUSHLINE_URL="ftp://x").stderr
        assert "at least 16 are needed" in run("token", "ann", PUSHLINE_API_KEY="short").stderr

    def test_that_are_wrong_are_told_without_the_key(self, rig: Rig) -> None:
        result = run("token", "ann", PUSHLINE_API_KEY="wrong-key-of-the-tests")
        assert result.exit_code == 1
        assert result.stderr.endswith("The API key of the request is not the server's. (401 unauthorized)\n")
        assert "wrong-key" not in result.stderr


class TestDemo:
    def test_hands_on_its_options(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[object, ...]] = []

        def play(*, host: str, port: int, pushline_port: int, data_dir: Path, announce: object) -> None:
            seen.append((host, port, pushline_port, data_dir))

        monkeypatch.setattr("pushline.demo.run", play)
        run("demo")
        run("demo", "--host", "10.0.0.1", "--port", "1", "--pushline-port", "2", "--data-dir", "x")
        assert seen == [("127.0.0.1", 8000, 8080, Path("pushline-demo")), ("10.0.0.1", 1, 2, Path("x"))]
