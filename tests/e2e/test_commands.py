"""The commands as they are typed (contract, section 8)."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from pushline.stores.sqlite import DATABASE

from .conftest import StartProgram, StartPushline
from .processes import COMMAND, PushlineProcess, clean_environment, curl, find_tokens, free_port, run_pushline
from .waiting import wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture
def talk(shared_pushline: PushlineProcess) -> list[str]:
    """The options with which a command finds the server and its key."""
    return ["--url", shared_pushline.url, "--data-dir", str(shared_pushline.data_dir)]


class TestServe:
    @pytest.mark.parametrize("name", ["plain", "with a space", "it's $HOME"])
    def test_the_lines_of_the_start_message_work_when_pasted(self, start_pushline: StartPushline, name: str) -> None:
        output = start_pushline(folder=name).output
        lines = [line.strip() for line in output.splitlines() if line.strip().startswith("curl ")]
        answers = [json.loads(self._paste(line)) for line in lines]
        assert [sorted(answer) for answer in answers] == [["client_id", "expires_at", "token"], ["id", "status"]]
        assert answers[0]["client_id"] == "ann"
        assert answers[1]["status"] == "queued"

    def _paste(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, env=clean_environment(no_proxy="*"), check=True
        )
        return done.stdout

    def test_the_lines_of_the_start_message_work_with_a_key_from_the_environment(
        self, start_program: StartProgram, tmp_path: Path
    ) -> None:
        environment = clean_environment(PUSHLINE_API_KEY="a-key-from-the-environment", no_proxy="*")
        address = f"127.0.0.1:{free_port()}"
        arguments = ["--listen", address, "--data-dir", str(tmp_path / "data")]
        program = start_program([COMMAND, "serve", *arguments], environment)
        wait_for(lambda: "Ctrl-C" in program.output, lambda: program.output)
        line = next(line for line in program.output.splitlines() if "curl" in line)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, check=True)
        assert json.loads(done.stdout)["client_id"] == "ann"
        program.close()
        assert "a-key-from-the-environment" not in program.output
        assert not (tmp_path / "data" / "api-key").exists()

    def test_the_secrets_that_it_makes_are_for_its_owner_alone(self, start_pushline: StartPushline) -> None:
        folder = start_pushline().data_dir
        for name in ("api-key", "secret"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
            assert len((folder / name).read_text().strip()) >= 32

    def test_a_restart_keeps_key_and_tokens(self, pushline: PushlineProcess, start_program: StartProgram) -> None:
        key, token = pushline.api_key, pushline.client.create_channel("ann")
        assert pushline.terminate() == 0
        pushline.restart()
        assert pushline.api_key == key
        assert pushline.client.send_message("ann", "hello").status == "queued"
        listener = start_program([COMMAND, "listen", "--url", pushline.url, "--token", token])
        wait_for(lambda: "hello\n" in listener.output, lambda: listener.output)

    def test_a_data_dir_in_use_is_refused_in_a_sentence(self, shared_pushline: PushlineProcess) -> None:
        folder = shared_pushline.data_dir
        refused = run_pushline("serve", "--data-dir", str(folder), "--listen", "127.0.0.1:0")
        assert refused.returncode == 1
        assert refused.stderr == (
            f"Error: --data-dir {folder} belongs to a Pushline that is running. Stop it, or name another folder.\n"
        )

    def test_a_database_that_another_program_has_open_is_refused_in_a_sentence(self, pushline: PushlineProcess) -> None:
        assert pushline.terminate() == 0
        database = pushline.data_dir / DATABASE
        with closing(sqlite3.connect(database)) as other:
            other.execute("BEGIN")
            assert other.execute("SELECT count(*) FROM messages").fetchone() == (0,)
            refused = run_pushline("serve", "--data-dir", str(pushline.data_dir), "--listen", "127.0.0.1:0")
        assert refused.returncode == 1
        assert refused.stderr == (
            f"Error: {database} is open in another program. Close it there, or choose another --data-dir.\n"
        )
        pushline.restart()
        with (
            closing(sqlite3.connect(database, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("SELECT count(*) FROM messages")

    @pytest.mark.parametrize(
        ("option", "value", "sentence"),
        [
            ("--store", "redis://localhost", r"--store redis://localhost is not known\. .+"),
            ("--store", "nonsense", r"--store nonsense is not known\. .+"),
            ("--listen", "nonsense", r"--listen nonsense is not of the form HOST:PORT, .+"),
            ("--listen", "127.0.0.1:99999", r"--listen 127\.0\.0\.1:99999 is not of the form HOST:PORT, .+"),
            ("--listen", "name.invalid:80", r"--listen name\.invalid:80 cannot be served: .+"),
            ("--ping-interval", "0", r"--ping-interval must be at least .+"),
            ("--durability", "paper", r"--durability paper is not known\. Use `process` or `disk`\."),
            ("--drain-seconds", "-1", r"--drain-seconds must be at least .+"),
            ("--connect-rate", "nan", r"--connect-rate must be at least .+"),
            ("--max-store-channels", "0", r"--max-store-channels must be at least .+"),
            ("--log-level", "loud", r"--log-level is one of .+, not loud\."),
            ("--log-format", "odd", r"--log-format is one of .+, not odd\."),
        ],
    )
    def test_a_setting_that_does_not_work_is_one_sentence(
        self, tmp_path: Path, option: str, value: str, sentence: str
    ) -> None:
        settings = {"--listen": "127.0.0.1:0", "--data-dir": str(tmp_path / "data"), option: value}
        refused = run_pushline("serve", *(word for pair in settings.items() for word in pair))
        assert refused.returncode == 1
        assert re.fullmatch(f"Error: {sentence}\n", refused.stderr), refused.stderr
        assert refused.stdout == ""

    def test_a_promise_that_the_store_cannot_keep_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        options = ["--store", "memory", "--durability", "disk", "--listen", "127.0.0.1:0"]
        refused = run_pushline("serve", *options, "--data-dir", str(tmp_path / "data"))
        assert refused.returncode == 1
        assert re.fullmatch(r"Error: --store memory .+ --durability disk\. .+\n", refused.stderr), refused.stderr

    def test_an_address_in_use_is_one_sentence(self, shared_pushline: PushlineProcess, tmp_path: Path) -> None:
        address = f"127.0.0.1:{shared_pushline.port}"
        refused = run_pushline("serve", "--data-dir", str(tmp_path / "data"), "--listen", address)
        assert refused.returncode == 1
        assert re.fullmatch(
            rf"Error: --listen {re.escape(address)} cannot be served: .*address already in use\.\n",
            refused.stderr,
            re.IGNORECASE,
        ), refused.stderr

    @pytest.mark.parametrize("variable", ["PUSHLINE_API_KEY", "PUSHLINE_SECRET"])
    def test_a_short_secret_is_refused_and_not_shown(self, tmp_path: Path, variable: str) -> None:
        refused = run_pushline(
            *("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")),
            environment=clean_environment(**{variable: "0123-shortish"}),
        )
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"Error: {variable} has a secret of 13 characters; ")
        assert "shortish" not in refused.stderr

    def test_flags_may_be_variables(self, start_program: StartProgram, tmp_path: Path) -> None:
        port = free_port()
        environment = clean_environment(
            PUSHLINE_LISTEN=f"127.0.0.1:{port}",
            PUSHLINE_DATA_DIR=str(tmp_path / "data"),
            PUSHLINE_STORE="memory",
            PUSHLINE_DRAIN_SECONDS="0.5",
            PUSHLINE_CONNECT_RATE="0",
            PUSHLINE_LOG_FORMAT="json",
            PUSHLINE_ALLOWED_ORIGIN="https://one.example https://two.example",
        )
        program = start_program([COMMAND, "serve"], environment)
        wait_for(lambda: '"event":"serving"' in program.output, lambda: program.output)
        assert curl(f"http://127.0.0.1:{port}/health") == b'{"status":"ok"}'
        program.close()
        events = [json.loads(line) for line in program.output.splitlines() if line.startswith("{")]
        assert [event["event"] for event in events] == ["serving", "stopping", "stopped"]

    def test_ctrl_c_ends_it_with_0(self, pushline: PushlineProcess) -> None:
        assert pushline.end(signal.SIGINT) == 0


class TestTokenAndSend:
    def test_token_prints_a_token_that_listen_takes_and_send_says_what_became_of_the_message(
        self, talk: list[str], client_id: str, start_program: StartProgram
    ) -> None:
        token = run_pushline("token", client_id, "--minutes", "1", *talk)
        assert (token.returncode, token.stderr) == (0, "")
        assert find_tokens(token.stdout) == [token.stdout.strip()]
        sent = run_pushline("send", client_id, "hello", *talk)
        assert re.fullmatch(r"queued \d+-\d+\n", sent.stdout)
        assert sent.returncode == 0
        listener = start_program([COMMAND, "listen", "--token", token.stdout.strip(), "--url", talk[1]])
        wait_for(lambda: "hello\n" in listener.output, lambda: listener.output)
        sent = run_pushline("send", client_id, "-", *talk, stdin="from standard input")
        assert re.fullmatch(r"sent \d+-\d+\n", sent.stdout)
        wait_for(lambda: "from standard input\n" in listener.output, lambda: listener.output)

    def test_send_waits_for_the_page(self, talk: list[str], client_id: str, start_program: StartProgram) -> None:
        token = run_pushline("token", client_id, *talk).stdout.strip()
        waited = run_pushline("send", client_id, "to nobody", "--wait", "0.2", *talk)
        assert re.fullmatch(r"queued \d+-\d+\n", waited.stdout), waited
        listener = start_program([COMMAND, "listen", "--token", token, "--url", talk[1]])
        waited = run_pushline("send", client_id, "hello", "--wait", "30", *talk)
        assert re.fullmatch(r"delivered \d+-\d+\n", waited.stdout), waited
        assert waited.returncode == 0
        wait_for(lambda: "to nobody\nhello\n" in listener.output, lambda: listener.output)

    def test_send_to_nobody_says_so_and_exits_with_1(self, talk: list[str], client_id: str) -> None:
        sent = run_pushline("send", client_id, "hello", *talk)
        assert (sent.returncode, sent.stdout, sent.stderr) == (1, "no_channel\n", "")

    def test_a_key_of_send_takes_effect_once(self, talk: list[str], client_id: str) -> None:
        run_pushline("token", client_id, *talk)
        first, again = (run_pushline("send", client_id, "hello", "--key", "k", *talk).stdout for _ in range(2))
        assert first == again != ""

    @pytest.mark.parametrize(
        ("command", "sentence"),
        [
            (["token", "x" * 257], r"The client id is not 1 to 256 bytes of UTF-8: .+ \(400 invalid_client_id\)"),
            (["token", "ann", "--minutes", "0"], r".+ \(400 invalid_duration\)"),
            (["token", "ann", "--policy", "odd"], r".+ \(400 invalid_policy\)"),
            (["send", "ann", "hello", "--wait", "31"], r".+ \(400 invalid_wait\)"),
            (["send", "ann", ""], r"The message is empty or not UTF-8: .+ \(400 invalid_message\)"),
        ],
    )
    def test_what_the_server_refuses_is_one_sentence(self, talk: list[str], command: list[str], sentence: str) -> None:
        refused = run_pushline(*command, *talk)
        assert refused.returncode == 1
        assert re.fullmatch(f"Error: {sentence}\n", refused.stderr), refused.stderr

    def test_without_a_server_or_a_key_there_is_one_sentence(self, talk: list[str], tmp_path: Path) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        down = run_pushline("send", "ann", "hello", "--url", nowhere, "--data-dir", talk[3])
        assert down.returncode == 1
        assert down.stderr == (
            f"Error: Pushline at {nowhere} could not be reached: Connection refused. "
            "Is `pushline serve` running there?\n"
        )
        keyless = run_pushline("send", "ann", "hello", *talk[:2], cwd=tmp_path)
        assert keyless.returncode == 1
        assert keyless.stderr == (
            "Error: There is no PUSHLINE_API_KEY and no pushline-data/api-key. "
            "Set the variable, or name the server's --data-dir.\n"
        )


class TestListen:
    def test_it_prints_every_message_and_ctrl_c_ends_it_with_0(
        self, talk: list[str], start_program: StartProgram, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        listener = start_program([COMMAND, "listen", client_id, *talk])
        send = shared_pushline.client.send_message
        wait_for(lambda: send(client_id, "hello, ünï 💥").status != "no_channel", lambda: listener.output)
        send(client_id, "bye")
        wait_for(lambda: listener.output.endswith("bye\n"), lambda: listener.output)
        assert listener.output == f"# listening on {shared_pushline.url}\nhello, ünï 💥\nbye\n"
        assert listener.end(signal.SIGINT) == 0
        assert "Traceback" not in listener.output

    def test_it_goes_on_after_a_crash_of_the_server(
        self, pushline: PushlineProcess, start_program: StartProgram
    ) -> None:
        listener = start_program(
            [COMMAND, "listen", "--url", pushline.url, "--token", pushline.client.create_channel("ann")]
        )
        pushline.client.send_message("ann", "before")
        wait_for(lambda: "before\n" in listener.output, lambda: listener.output)
        pushline.kill9()
        pushline.restart()
        pushline.client.send_message("ann", "after")
        wait_for(lambda: "after\n" in listener.output, lambda: listener.output)
        assert [line for line in listener.output.splitlines() if line[0] != "#"] == ["before", "after"]

    def test_it_comes_back_at_the_moment_that_a_server_names_which_goes_away(
        self, start_pushline: StartPushline, start_program: StartProgram
    ) -> None:
        pushline = start_pushline("--drain-seconds", "0")
        listener = start_program(
            [COMMAND, "listen", "--url", pushline.url, "--token", pushline.client.create_channel("ann")]
        )
        assert pushline.client.send_message("ann", "before", wait=30).status == "delivered"
        assert pushline.terminate() == 0
        pushline.restart()
        assert pushline.client.send_message("ann", "after", wait=30).status == "delivered"
        wait_for(lambda: "after\n" in listener.output, lambda: listener.output)
        lines = listener.output.splitlines()
        assert [line for line in lines if line[0] != "#"] == ["before", "after"]
        assert "# disconnected; coming back" in lines

    @pytest.mark.parametrize("token", ["forged", "a b"])
    def test_an_invalid_token_is_one_sentence_and_exit_1(self, shared_pushline: PushlineProcess, token: str) -> None:
        refused = run_pushline("listen", "--token", token, "--url", shared_pushline.url)
        assert refused.returncode == 1
        assert refused.stderr == (
            f"# listening on {shared_pushline.url}\n"
            "Error: The token is forged, malformed or was revoked before connecting. (4401)\n"
        )

    def test_it_takes_the_token_from_standard_input(self, shared_pushline: PushlineProcess) -> None:
        refused = run_pushline("listen", "--token", "-", "--url", shared_pushline.url, stdin="forged\n")
        assert refused.returncode == 1
        assert "(4401)" in refused.stderr

    def test_a_listener_that_is_replaced_ends_with_a_sentence(
        self, talk: list[str], start_program: StartProgram, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        older = start_program([COMMAND, "listen", client_id, *talk])
        wait_for(lambda: shared_pushline.client.send_message(client_id, "x").status == "sent", lambda: older.output)
        start_program([COMMAND, "listen", client_id, *talk])
        wait_for(lambda: not older.running, lambda: older.output)
        assert older.output.endswith("Error: Another page of this client id holds the place. (4409)\n")

    def test_without_a_server_it_is_one_sentence(self) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        down = run_pushline("listen", "--token", "any.token", "--url", nowhere)
        assert down.returncode == 1
        assert re.search(rf"^Error: Pushline at {nowhere} could not be reached: .+\n\Z", down.stderr, re.MULTILINE)
        assert "Traceback" not in down.stderr


class TestOutput:
    def test_no_command_and_no_log_line_says_a_secret(self, start_pushline: StartPushline, tmp_path: Path) -> None:
        pushline = start_pushline("--log-format", "text")
        secret = (pushline.data_dir / "secret").read_text().strip()
        token = pushline.client.create_channel("ann")
        talk = ["--url", pushline.url, "--data-dir", str(pushline.data_dir)]
        said = [pushline.output]
        for command in (
            ["send", "ann", "hello", *talk],
            ["send", "ann", "", *talk],
            ["listen", "--token", token + "x", *talk],
            ["listen", "--token", token, "--url", f"http://127.0.0.1:{free_port()}"],
            ["serve", *talk[2:]],
        ):
            done = run_pushline(*command)
            said += [done.stdout, done.stderr]
        # Requests that are refused, with secrets in every place that a log line could quote.
        for address in (f"/{token}", f"/v1/clients/x/messages?{token}={pushline.api_key}", f"/_ah/channel/{token}"):
            status = curl_status(f"{pushline.url}{address}", pushline.api_key)
            assert status in ("400", "404", "405"), (address, status)
        assert pushline.terminate() == 0
        said.append(pushline.output)
        for text in said:
            assert pushline.api_key not in text
            assert secret not in text
            assert find_tokens(text) == []


def curl_status(url: str, api_key: str) -> str:
    """The status of a request that may be refused."""
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "--noproxy",
            "*",
            "-o",
            os.devnull,
            "-w",
            "%{http_code}",
            "-H",
            f"Authorization: Bearer {api_key}",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
