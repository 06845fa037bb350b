"""One client of the SDK in many hands: threads, forked children, event loops; and over TLS (contract, Y1)."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from pushline import AsyncClient, Client
from pushline.errors import Unreachable

from .doors import AsyncDoor, receive, run_apart
from .processes import PushlineProcess, clean_environment, free_port
from .proxy import Proxy
from .test_safety import make_certificate, trusting
from .waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e

FORKING: Final = """
import asyncio, json, os, sys, threading
from pushline import AsyncClient, Client

url, key, children, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client, asynchronous = Client(url, key), AsyncClient(url, key)

def send(name):
    for number in range(count):
        assert client.send_message(name, f"{number}").status == "queued"

async def send_asynchronously(name):
    for number in range(count):
        assert (await asynchronous.send_message(name, f"{number}")).status == "queued"

async def parent():
    await asynchronous.send_message("asynchronous-parent", "0")  # its connection is there when the children are made
    await asyncio.to_thread(fork_all)
    for number in range(1, count):
        await asynchronous.send_message("asynchronous-parent", f"{number}")
    await asynchronous.close()

made = []

def fork_all():
    for child in range(children):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                send(f"child-{child}")
                asyncio.run(send_asynchronously(f"asynchronous-child-{child}"))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        made.append(pid)

threads = [threading.Thread(target=send, args=(f"thread-{number}",)) for number in range(4)]
client.get_client("thread-0")
for thread in threads:
    thread.start()
asyncio.run(parent())
for thread in threads:
    thread.join()
print(*(os.waitpid(pid, 0)[1] for pid in made))
client.close()
"""


class TestForks:
    def test_a_client_that_was_used_before_goes_on_in_every_child_and_in_the_parent(
        self, shared_pushline: PushlineProcess
    ) -> None:
        children, count = 4, 40
        names = [f"thread-{number}" for number in range(4)] + ["asynchronous-parent"]
        names += [f"{kind}child-{number}" for number in range(children) for kind in ("", "asynchronous-")]
        tokens = {name: shared_pushline.client.create_channel(name) for name in names}
        program = [sys.executable, "-c", FORKING, shared_pushline.url, shared_pushline.api_key]
        done = subprocess.run(
            [*program, str(children), str(count)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["0"] * children, done.stderr
        for name, token in tokens.items():
            _, messages = receive(shared_pushline.url, token, count)
            assert messages == [b"%d" % number for number in range(count)], name


class TestThreads:
    def test_share_a_client(self, shared_pushline: PushlineProcess) -> None:
        names, count = [f"shared-{number}" for number in range(24)], 30
        tokens = {name: shared_pushline.client.create_channel(name) for name in names}
        together = threading.Barrier(len(names))
        with Client(shared_pushline.url, shared_pushline.api_key) as client:

            def send(name: str) -> None:
                together.wait(PATIENCE_SECONDS)
                for number in range(count):
                    client.send_message(name, str(number))

            threads = [threading.Thread(target=send, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
            assert 0 < len(client._connections._idle) <= 16
        for token in tokens.values():
            _, messages = receive(shared_pushline.url, token, count)
            assert messages == [b"%d" % number for number in range(count)]


class TestEventLoops:
    def test_come_one_after_the_other(self, shared_pushline: PushlineProcess) -> None:
        client = AsyncClient(shared_pushline.url, shared_pushline.api_key)

        async def send(message: str) -> str:
            async with client:
                return (await client.send_message("loops", message)).status

        shared_pushline.client.create_channel("loops")
        assert [run_apart(send("hello")) for _ in range(3)] == ["queued"] * 3

    def test_work_at_the_same_time(self, shared_pushline: PushlineProcess) -> None:
        client = AsyncClient(shared_pushline.url, shared_pushline.api_key)
        shared_pushline.client.create_channel("loops at once")
        statuses: list[str] = []

        async def send() -> None:
            async with client:
                for _ in range(20):
                    statuses.append((await client.send_message("loops at once", "hello")).status)

        threads = [threading.Thread(target=lambda: asyncio.run(send())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert statuses == ["queued"] * 80

    def test_may_be_those_of_uvloop(self, shared_pushline: PushlineProcess) -> None:
        token = shared_pushline.client.create_channel("uvloop")

        async def send() -> None:
            async with AsyncClient(shared_pushline.url, shared_pushline.api_key) as client:
                await asyncio.gather(*(client.send_message("uvloop", str(number)) for number in range(5)))
                await client.send_message("uvloop", "5")
            async with AsyncClient(f"http://127.0.0.1:{free_port()}", "nobody") as nowhere:
                with pytest.raises(Unreachable, match="Connection refused"):
                    await nowhere.send_message("uvloop", "6")

        run_apart(send(), uvloop.run)
        assert receive(shared_pushline.url, token, 6)[1] == [b"0", b"1", b"2", b"3", b"4", b"5"]


@contextmanager
def both_clients(url: str, key: str, timeout: float = 10.0) -> Iterator[list[Any]]:
    """The synchronous and the asynchronous client."""
    asynchronous = AsyncDoor(url, key, timeout=timeout)
    with Client(url, key, timeout=timeout) as client:
        yield [client, asynchronous]
    asynchronous.close()


class TestTheNetwork:
    def test_a_connection_that_was_closed_meanwhile_is_not_used(self, pushline: PushlineProcess, proxy: Proxy) -> None:
        pushline.client.create_channel("ann")
        with both_clients(proxy.url, pushline.api_key) as clients:
            for end in (proxy.cut, proxy.reset):
                for client in clients:
                    assert client.send_message("ann", "without a key").status == "queued"
                end()
                proxy.mend()
                for client in clients:
                    assert client.send_message("ann", "without a key").status == "queued"

    def test_no_answer_in_time_is_an_error_and_the_next_one_is_asked_for_anew(
        self, pushline: PushlineProcess, proxy: Proxy
    ) -> None:
        pushline.client.create_channel("ann")
        with both_clients(proxy.url, pushline.api_key, timeout=0.5) as clients:
            for client in clients:
                assert client.send_message("ann", "1").status == "queued"
                proxy.hold()
                with pytest.raises(Unreachable, match="no answer in time"):
                    client.send_message("ann", "2")
                proxy.mend()
                assert client.send_message("ann", "3").status == "queued"

    def test_what_is_in_between_is_described_and_not_repeated(self, pushline: PushlineProcess, proxy: Proxy) -> None:
        with both_clients(proxy.url, pushline.api_key) as clients:
            proxy.portal()
            for client in clients:
                with pytest.raises(Exception, match=r"status 200 and type text/html") as error:
                    client.send_message("ann", "hello")
                assert "Sign in" not in str(error.value)

    @pytest.mark.parametrize("host", [f"{'a' * 64}.invalid", "nowhere.invalid", "ü.invalid", f"{'ü' * 64}.invalid"])
    def test_a_name_that_nobody_has_is_unreachable(self, host: str) -> None:
        with both_clients(f"http://{host}:8080", "a-key-that-nobody-asks") as clients:
            for client in clients:
                with pytest.raises(Unreachable):
                    client.send_message("ann", "hello")


class SecureProcess(PushlineProcess):
    """A server whose API is in TLS, with a certificate that nobody has signed."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = make_certificate(folder, "first")
        super().__init__(folder, "--tls-cert", str(self.certificate), "--tls-key", str(key))
        self.url = f"https://127.0.0.1:{self.port}"

    def status(self, path: str) -> int:
        """See :class:`PushlineProcess`."""
        connection = HTTPSConnection("127.0.0.1", self.port, context=trusting(self.certificate), timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


class TestTls:
    @pytest.fixture
    def secure(self, tmp_path: Path) -> Iterator[SecureProcess]:
        process = SecureProcess(tmp_path)
        process.start()
        try:
            yield process
        finally:
            process.close()
        process.check_output()

    def test_is_spoken_with_whom_the_environment_trusts(
        self, secure: SecureProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))
        with both_clients(secure.url, secure.api_key) as clients:
            for client in clients:
                client.create_channel("ann")
                assert [client.send_message("ann", "x" * 30_000).status for _ in range(3)] == ["queued"] * 3

    def test_is_not_spoken_with_whom_nobody_knows(self, secure: SecureProcess) -> None:
        with both_clients(secure.url, secure.api_key) as clients:
            for client in clients:
                with pytest.raises(Unreachable, match=r"certificate") as error:
                    client.create_channel("ann")
                cause = error.value.__cause__
                assert cause is not None
                assert isinstance(cause.__cause__, ssl.SSLCertVerificationError)
