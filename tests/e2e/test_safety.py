"""A server that one can put on the internet: slow peers, new secrets, TLS, two addresses, and nothing secret said."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import ssl
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from bench.chaos.page import End
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as FrameReader
from websockets.protocol import Side, State

import pushline
from pushline.client.requests import Item
from pushline.errors import RequestRefused

from .conftest import MakePage, StartPushline
from .processes import Program, PushlineProcess, curl, find_tokens, free_port
from .waiting import PATIENCE_SECONDS, wait_for
from .wire import LongPollPage, SsePage, WebSocketPage

pytestmark = pytest.mark.e2e

NEW_KEY = "a-new-api-key-for-the-tests"
NEW_SECRET = "a-new-token-secret-for-the-tests"
HALVES = [
    b"",
    b"GET /health HTTP/1.1\r\nHost: x\r\nA: ",
    b"POST /v1/channels HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    b"GET /_ah/channel/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upg",
]


def refused(client: pushline.Client) -> bool:
    """Whether the server takes the client's key no more."""
    try:
        client.create_channel("probe")
    except RequestRefused as error:
        return error.code == "unauthorized"
    return False


def renew(process: PushlineProcess, event: str) -> None:
    """Have secrets read again, and wait until the server says what became of it."""
    before = process.output.count(event)
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: process.output.count(event) > before, lambda: f"{event}. The output: {process.output}")


class TestSlowPeers:
    def test_are_let_go_while_others_are_served(self, start_pushline: StartPushline) -> None:
        process = start_pushline("--request-timeout", "1")
        process.client.create_channel("ann")
        before = process.descriptors()
        with ExitStack() as stack:
            raws = [stack.enter_context(socket.create_connection(("127.0.0.1", process.port))) for _ in range(200)]
            for number, raw in enumerate(raws):
                raw.settimeout(PATIENCE_SECONDS)
                raw.sendall(HALVES[number % len(HALVES)])
            answers = [b""] * len(raws)
            for number, raw in enumerate(raws):
                while part := raw.recv(1 << 16):
                    answers[number] += part
                assert process.client.send_message("ann", "x").status == "queued"
        assert {answer[:13] for answer in answers} == {b"", b"HTTP/1.1 408 "}
        assert sum(not answer for answer in answers) == 50  # who had said nothing
        wait_for(
            lambda: process.descriptors() <= before, lambda: f"{process.descriptors()} descriptors, {before} before"
        )


class TestNewSecrets:
    """SIGHUP reads secrets again (R3), and no page notices."""

    def test_are_good_at_once_and_pages_stay(self, pushline: PushlineProcess, make_page: MakePage) -> None:
        client, key = pushline.client, pushline.api_key
        page = make_page(WebSocketPage, pushline, client.create_channel("ann"))
        page.enter()
        old_token = client.create_channel("bob")
        old_secret = (pushline.data_dir / "secret").read_text()
        (pushline.data_dir / "api-key").write_text(f"{NEW_KEY}\n{key}\n")
        (pushline.data_dir / "secret").write_text(f"{NEW_SECRET}\n{old_secret}")
        renew(pushline, "secrets read again")
        with type(client)(pushline.url, NEW_KEY) as fresh:
            assert not refused(client)  # both are good
            make_page(WebSocketPage, pushline, old_token).enter()
            new_token = fresh.create_channel("carl")
            (pushline.data_dir / "api-key").write_text(NEW_KEY)
            (pushline.data_dir / "secret").write_text(NEW_SECRET)
            renew(pushline, "secrets read again")
            assert refused(client)
            late = make_page(WebSocketPage, pushline, old_token)
            assert getattr(late.connect(), "code", None) == 4401
            make_page(WebSocketPage, pushline, new_token).enter()
            assert fresh.send_message("ann", "still here").status == "sent"
            page.wait_for(["still here"])

    def test_that_are_no_good_change_nothing(self, start_pushline: StartPushline) -> None:
        process = start_pushline()
        key = process.api_key
        process.expected_errors = "the secrets stay as they were"
        for text in ("", "short", "shop:sned:a-key-that-is-long-enough"):
            (process.data_dir / "api-key").write_text(text)
            renew(process, "the secrets stay as they were")
            assert not refused(process.client)
        (process.data_dir / "api-key").write_text(key)
        assert "a-key-that-is-long-enough" not in process.output


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 by that name, and its key, in the same two files each time."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return certificate, key


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


class TlsPage:
    """A page with a WebSocket in TLS. It reads and writes in one thread: two of them may not share such a socket."""

    def __init__(self, wrapped: ssl.SSLSocket, token: str, after: str = "") -> None:
        self.socket = wrapped
        query = f"page=p&after={after}" if after else "page=p"
        self._reader = FrameReader(Side.CLIENT, state=State.OPEN)
        self._texts: deque[str] = deque()
        lines = [
            *(f"GET /_ah/channel/connect?{query} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket"),
            *("Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            f"Sec-WebSocket-Protocol: pushline.v1, pushline.token.{token}",
        ]
        wrapped.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive()
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self._reader.receive_data(rest)
        assert self.recv().startswith('{"type":"open"')

    def _receive(self) -> bytes:
        data = self.socket.recv(1 << 16)
        assert data, "the connection has ended"
        return data

    def recv(self) -> str:
        """The next text."""
        while not self._texts:
            frames = [event for event in self._reader.events_received() if isinstance(event, Frame)]
            self._texts += [bytes(frame.data).decode() for frame in frames if frame.opcode is Opcode.TEXT]
            if not frames:
                self._reader.receive_data(self._receive())
        return self._texts.popleft()

    def answer(self) -> None:
        """Answer a ping that was read."""
        self._reader.send_text(b'{"type":"ack","id":""}')
        self.socket.sendall(b"".join(self._reader.data_to_send()))

    def read_to_end(self) -> list[str]:
        """All texts until the server ends the connection, or cuts it."""
        texts = []
        with contextlib.suppress(AssertionError, ConnectionError, ssl.SSLError):
            while True:
                texts.append(self.recv())
        return texts

    @property
    def code(self) -> int:
        """The close code that came; 1006: none."""
        return 1006 if self._reader.close_rcvd is None else int(self._reader.close_rcvd.code)


class TlsPushline(PushlineProcess):
    """A server that speaks TLS itself, with a certificate of the tests'."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.certificate, key = make_certificate(folder, "first")
        self.api_port = free_port()
        mine = [
            "--tls-cert",
            str(self.certificate),
            "--tls-key",
            str(key),
            "--api-listen",
            f"127.0.0.1:{self.api_port}",
        ]
        super().__init__(folder, *mine, *options)
        self.url = f"http://127.0.0.1:{self.api_port}"

    def status(self, path: str) -> int:
        """See :class:`PushlineProcess`."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=trusting(self.certificate), timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    @contextlib.contextmanager
    def page(
        self, token: str, context: ssl.SSLContext | None = None, *, after: str = "", buffer_bytes: int = 0
    ) -> Iterator[TlsPage]:
        """A page over `wss:` that has read its first frame. ``buffer_bytes``: what the kernel reads ahead."""
        raw = socket.socket()
        raw.settimeout(PATIENCE_SECONDS)
        if buffer_bytes:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        raw.connect(("127.0.0.1", self.port))
        with (context or trusting(self.certificate)).wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
            yield TlsPage(wrapped, token, after)

    def serial(self) -> object:
        """Which certificate it shows now."""
        raw = socket.create_connection(("127.0.0.1", self.port))
        with trusting(self.certificate).wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
            certificate = wrapped.getpeercert()
            assert certificate is not None
            return certificate["serialNumber"]


@pytest.fixture
def start_tls(tmp_path: Path) -> Iterator[Callable[..., TlsPushline]]:
    with ExitStack() as processes:

        def start(*options: str) -> TlsPushline:
            process = TlsPushline(tmp_path, *options)
            processes.callback(process.check_output)
            processes.callback(process.close)
            process.start()
            return process

        yield start


class TestTls:
    def test_carries_pages_on_all_transports(self, start_tls: Callable[..., TlsPushline]) -> None:
        process = start_tls()
        token = process.client.create_channel("ann", policy="share")
        with process.page(token) as page:
            sent = process.client.send_message("ann", "x" * 30_000, wait=0.1)
            assert sent.status == "sent"
            assert page.recv() == f"{sent.id} {'x' * 30_000}"
            (connection,) = process.client.get_client("ann").connections
            assert connection.transport == "websocket"
        bearer = {"Authorization": f"Bearer {token}"}
        polling = http.client.HTTPSConnection("127.0.0.1", process.port, context=trusting(process.certificate))
        for accept, expected in (("application/json", b'"messages":[{"id"'), ("text/event-stream", b"event: open\n")):
            polling.request("GET", "/_ah/channel/connect?page=q&after=", headers=bearer | {"Accept": accept})
            response = polling.getresponse()
            assert response.status == 200
            got = response.read1(1 << 17)
            while expected not in got:
                part = response.read1(1 << 17)
                assert part, got
                got += part
            polling.close()

    def test_shows_a_new_certificate_and_keeps_its_pages(self, start_tls: Callable[..., TlsPushline]) -> None:
        process = start_tls()
        token = process.client.create_channel("ann")
        with process.page(token) as page:
            first = process.serial()
            make_certificate(process.certificate.parent, "second")
            renew(process, "secrets read again")
            assert process.serial() != first
            assert process.client.send_message("ann", "still here").status == "sent"
            assert page.recv().endswith(" still here")
            process.expected_errors = "the secrets stay as they were"
            second = process.serial()
            trusted = trusting(process.certificate)
            kept = process.certificate.read_text()
            process.certificate.write_text("nonsense")
            renew(process, "the secrets stay as they were")
            process.certificate.write_text(kept)
            assert process.serial() == second
        with process.page(token, trusted):
            pass

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    def test_of_old_versions_is_not_spoken(
        self, start_tls: Callable[..., TlsPushline], version: ssl.TLSVersion
    ) -> None:
        process = start_tls()
        context = trusting(process.certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", process.port)) as raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="127.0.0.1")
        assert process.status("/health") == 200

    def test_that_never_begins_is_not_waited_for(self, start_tls: Callable[..., TlsPushline]) -> None:
        process = start_tls("--request-timeout", "1")
        with socket.create_connection(("127.0.0.1", process.port)) as raw:
            raw.settimeout(PATIENCE_SECONDS)
            raw.sendall(b"\x16\x03")
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(1) == b""

    def test_leaves_nothing_behind(self, start_tls: Callable[..., TlsPushline]) -> None:
        process = start_tls()
        token = process.client.create_channel("ann")
        context = trusting(process.certificate)

        def visit() -> None:
            for number in range(60):
                with process.page(token, context) as page:
                    if number % 2:
                        page.socket.shutdown(socket.SHUT_RDWR)  # without a word

        visit()
        wait_for(lambda: not process.client.get_client("ann").connected, lambda: "all pages have gone")
        descriptors, memory = process.descriptors(), process.resident_bytes()
        for _ in range(4):
            visit()
        wait_for(lambda: process.descriptors() <= descriptors, lambda: f"{process.descriptors()} of {descriptors}")
        assert process.resident_bytes() - memory < 6 << 20

    def test_without_a_key_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        certificate, key = make_certificate(tmp_path, "x")
        key.write_text("nonsense")
        for options in (["--tls-cert", str(certificate)], ["--tls-cert", str(certificate), "--tls-key", str(key)]):
            process = PushlineProcess(tmp_path, *options)
            Program.start(process)
            assert Program.wait(process) == 1
            assert "Traceback" not in process.output
        assert "belong together" in process.output
        assert "cannot be used" in process.output


class TestSlowPagesOverTls:
    """G10: how far a page has come is told by the kernel, under TLS as well."""

    TEXTS: Final = tuple(f"{number} ".ljust(30_000, "x") for number in range(250))
    BUFFER_BYTES = 32 << 10
    OPTIONS = ("--ping-interval", "1", "--ping-timeout", "1", "--grace", "0", "--max-channel-bytes", str(16 << 20))

    def send_all(self, process: TlsPushline) -> None:
        for first in range(0, len(self.TEXTS), 50):
            items: list[Item] = [{"to": "ann", "data": text} for text in self.TEXTS[first : first + 50]]
            process.client.send_many(items)

    def test_one_that_does_not_read_is_let_go_and_loses_nothing(self, start_tls: Callable[..., TlsPushline]) -> None:
        process = start_tls(*self.OPTIONS)
        token = process.client.create_channel("ann")
        with process.page(token, buffer_bytes=self.BUFFER_BYTES) as page:
            self.send_all(process)
            wait_for(lambda: not process.client.get_client("ann").connected, lambda: "the server gives the page up")
            got = [text for text in page.read_to_end() if not text.startswith("{")]
            assert page.code in (4513, 1006)  # it may have been cut before it could be told
        assert 0 < len(got) < len(self.TEXTS)
        cursor = got[-1].partition(" ")[0]
        texts = [text.partition(" ")[2] for text in got]
        with process.page(token, after=cursor) as page:
            while len(texts) < len(self.TEXTS):
                text = page.recv()
                if text.startswith("{"):
                    page.answer()
                else:
                    texts.append(text.partition(" ")[2])
        assert texts == list(self.TEXTS)

    def test_one_that_reads_slowly_gets_everything_on_one_connection(
        self, start_tls: Callable[..., TlsPushline]
    ) -> None:
        process = start_tls(*self.OPTIONS)
        with process.page(process.client.create_channel("ann"), buffer_bytes=self.BUFFER_BYTES) as page:
            self.send_all(process)
            began = time.monotonic()
            texts: list[str] = []
            while len(texts) < len(self.TEXTS):
                text = page.recv()
                if text.startswith("{"):
                    page.answer()
                    continue
                texts.append(text.partition(" ")[2])
                time.sleep(0.02)
            assert texts == list(self.TEXTS)
            assert time.monotonic() - began > 4  # several timeouts


class TestManyOfOneClientId:
    def test_one_too_many_is_told_when_to_come_back_on_every_transport(
        self, start_pushline: StartPushline, make_page: MakePage
    ) -> None:
        process = start_pushline("--max-per-client", "2")
        token = process.client.create_channel("ann", policy="share")
        pages = [make_page(kind, process, token) for kind in (WebSocketPage, SsePage)]
        for page in pages:
            page.enter()
        for kind in (WebSocketPage, SsePage, LongPollPage):
            late = make_page(kind, process, token).connect()
            assert isinstance(late, End)
            assert late.code == 4503
            assert late.retry is not None
            assert 5 <= late.retry <= 10
        pages[0].connect()  # in place of its own connection
        process.client.send_message("ann", "still here")
        for page in pages:
            page.wait_for(["still here"])
        metrics = curl("-H", f"Authorization: Bearer {process.api_key}", f"{process.url}/metrics").decode()
        assert 'pushline_turned_away_total{reason="too_many_of_client"} 3.0' in metrics


class TestTwoAddresses:
    def test_the_public_one_has_no_api(self, start_pushline: StartPushline, tmp_path: Path) -> None:
        path = tmp_path / "api.sock"
        process = start_pushline("--api-listen", f"unix:{path}")
        assert [process.status(each) for each in ("/v1/clients/ann", "/metrics", "/health")] == [404, 404, 200]
        assert path.stat().st_mode & 0o777 == 0o660
        ask = ["--unix-socket", str(path)]
        assert b"pushline_sends_total" in curl(*ask, "http://localhost/metrics")
        bearer = f"Authorization: Bearer {process.api_key}"
        made = curl(*ask, "-H", bearer, "http://localhost/v1/channels", body=b'{"client_id":"ann"}')
        assert b'"token"' in made
        process.terminate()
        process.start()  # the socket of the one before does not stand in the way
        assert curl(*ask, "http://localhost/health") == b'{"status":"ok"}'

    def test_the_start_message_has_lines_for_the_right_one(self, start_pushline: StartPushline, tmp_path: Path) -> None:
        process = start_pushline("--api-listen", f"unix:{tmp_path / 'api.sock'}")
        lines = [line.strip() for line in process.output.splitlines() if line.strip().startswith("curl ")]
        assert len(lines) == 2
        for line in lines:
            done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
            assert done.returncode == 0
            assert done.stdout.startswith(b"{")


class TestSecrets:
    """Everything that a server ever said, to whomever, has no token and no key in it (G9)."""

    def test_are_never_said(self, start_pushline: StartPushline, make_page: MakePage) -> None:
        nobody = f"http://127.0.0.1:{free_port()}"
        process = start_pushline("--connect-rate", "20", "--presence-url", nobody, "--grace", "0")
        process.expected_errors = "callback"
        client, key = process.client, process.api_key
        token = client.create_channel("ann")
        wrong_key = key[:-4] + "AAAA"
        said = []

        def ask(method: str, target: str, body: bytes = b"", **headers: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=5)
            with contextlib.suppress(http.client.HTTPException, OSError):
                connection.request(
                    method, target, body, {name.replace("_", "-"): text for name, text in headers.items()}
                )
                response = connection.getresponse()
                said.append(f"{response.status} {response.getheaders()} {response.read(1 << 16)!r}")
            connection.close()

        for secret in (token, key, wrong_key, token[:-4] + "AAAA"):
            for authorization in (
                f"Bearer {secret}",
                f"bearer{secret}",
                secret,
                f"Basic {secret}",
                f"Bearer {secret},x",
            ):
                ask("POST", "/v1/channels", b"{}", Authorization=authorization)
                ask("GET", "/metrics?x=1", Authorization=authorization)
                ask("GET", "/_ah/channel/connect?page=%", Authorization=authorization, Accept="application/json")
                ask("GET", "/_ah/channel/connect?page=p", Authorization=authorization, Accept="application/json")
            ask("POST", "/_ah/channel/connect", f'{{"token":"{secret}","page":"p","type":"ack"}}'.encode())
            ask("POST", "/_ah/channel/connect", f'{{"token":"{secret}"'.encode())
            ask("GET", "/_ah/channel/connect", Sec_WebSocket_Protocol=f"pushline.token.{secret}")
            ask("GET", "/_ah/channel/connect", Sec_WebSocket_Protocol=f"pushline.token.{secret}", Upgrade="websocket")
            ask("GET", "/health", Authorization=f"Bearer {secret}\x01")
            ask("GET", "/health", Upgrade=secret, Connection="Upgrade")
            page = make_page(WebSocketPage, process, secret)
            page.connect()
            page.send_raw(b"\xc1\x80" + secret.encode())
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "secrets read again" in process.output, lambda: "they are read again")
        metrics = curl("-H", f"Authorization: Bearer {key}", f"{process.url}/metrics").decode()
        process.terminate()
        assert len(said) > 90
        everything = "\n".join([*said, metrics, process.output])
        kept = [(process.data_dir / file).read_text().strip() for file in ("secret", "webhook-secret")]
        for secret in (key, wrong_key, *kept):
            assert secret not in everything
        assert find_tokens(everything) == []
        assert token.rpartition(".")[2] not in everything
