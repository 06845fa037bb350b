"""A program with Pushline mounted: which addresses are whose, one lifespan for both, and sending in process (R5)."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pushline.asgi import Pushline
from pushline.errors import ConfigurationError, RequestRefused
from pushline.presence import Presence, parse
from pushline.server.asgi_wire import Event, Program, Receive, Scope, Send
from pushline.server.mounted import path_within
from pushline.server.signals import SignalDrain

pytestmark = pytest.mark.anyio

KEY = "an-API-key-of-the-tests"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHLINE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PUSHLINE_API_KEY", KEY)
    monkeypatch.setenv("PUSHLINE_STORE", "memory")
    monkeypatch.setenv("PUSHLINE_DRAIN_SECONDS", "0")


def scope_of(path: str, **more: Any) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": [], **more}


class Exchange:
    """One request and its answer."""

    def __init__(self, *parts: bytes) -> None:
        self.events = [
            {"type": "http.request", "body": part, "more_body": n < len(parts) - 1} for n, part in enumerate(parts)
        ] or [{"type": "http.request"}]
        self.sent: list[Event] = []

    async def receive(self) -> Event:
        if self.events:
            return self.events.pop(0)
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.sent.append(event)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(event.get("body", b"") for event in self.sent[1:])


async def ask(program: Program, path: str, *parts: bytes, method: str = "GET", key: str = KEY, **more: Any) -> Exchange:
    exchange = Exchange(*parts)
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    await program(scope_of(path, method=method, headers=headers, **more), exchange.receive, exchange.send)
    return exchange


def no_secret(*arguments: object, **more: object) -> None:
    raise ConfigurationError("There is none at the moment.")


async def recorder(scope: Scope, receive: Receive, send: Send) -> None:
    """A program that says what it was asked for."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class TestAddresses:
    """Whose an address is, is told by what the program would see."""

    @pytest.mark.parametrize(
        "path",
        [
            "/_ah/channel/connected/",
            "/_ah/channel/disconnected/",
            "/_ah/channel/connected",
            "//_ah//channel/connected/",
        ],
    )
    async def test_the_presence_handlers_are_hidden(self, path: str) -> None:
        async with Pushline() as pushline:
            assert (await ask(pushline.mount(recorder), path, method="POST")).status == 404

    async def test_no_spelling_leads_around(self) -> None:
        async with Pushline() as pushline:
            raw = b"/%5Fah/channel/connected/"
            assert (await ask(pushline.mount(recorder), "/_ah/channel/connected/", raw_path=raw)).status == 404

    @pytest.mark.parametrize(
        "path", ["/", "/v1/channels", "/_ah/warmup", "/_ah", "/_ah/channel", "/x/_ah/channel/jsapi"]
    )
    async def test_everything_else_is_the_programs(self, path: str) -> None:
        async with Pushline() as pushline:
            exchange = await ask(pushline.mount(recorder), path)
            assert (exchange.status, exchange.body) == (299, path.encode())

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/_ah/channel/jsapi", 200),
            ("/_ah/channel/pushline.mjs", 200),
            ("/_ah/pushline/health", 200),
            ("/_ah/pushline/ready", 200),
            ("/_ah/pushline/metrics", 200),
            ("/_ah/pushline/v1/clients/ann", 404),
            ("/_ah/pushline/", 404),
            ("/_ah/pushline/_ah/channel/jsapi", 404),
            ("/_ah/channel/", 404),
        ],
    )
    async def test_what_is_pushlines(self, path: str, status: int) -> None:
        async with Pushline() as pushline:
            assert (await ask(pushline.mount(recorder), path)).status == status

    @pytest.mark.parametrize("path", ["/_ah/pushline/v1/x", "/_ah/pushline/x", "/_ah/channel/connected/"])
    async def test_where_there_is_nothing_the_answer_names_the_address_that_was_asked(self, path: str) -> None:
        async with Pushline() as pushline:
            answer = await ask(pushline.mount(recorder), path)
            assert json.loads(answer.body)["detail"] == f"There is nothing at {path}."

    async def test_without_a_program_there_is_nothing_else(self) -> None:
        async with Pushline() as pushline:
            assert (await ask(pushline, "/")).status == 404

    @pytest.mark.parametrize(
        ("path", "root"),
        [
            ("/_ah/channel/jsapi", ""),
            ("/app/_ah/channel/jsapi", "/app"),  # behind a proxy that keeps the prefix
            ("/_ah/channel/jsapi", "/app"),  # or cuts it off
            ("/_ah/channel/jsapi", "/_ah"),  # a router that names the mount as the root
            ("/channel/jsapi", "/_ah"),  # or cuts the path at it
            ("/app/_ah/channel/jsapi", "/app/_ah"),
        ],
    )
    def test_a_router_may_have_cut_the_address(self, path: str, root: str) -> None:
        assert path_within(scope_of(path, root_path=root)) == b"/_ah/channel/jsapi"
        assert path_within({"type": "http", "path": path, "root_path": root}) == b"/_ah/channel/jsapi"

    def test_a_client_id_keeps_its_spelling(self) -> None:
        scope = scope_of("/_ah/pushline/v1/clients/a/b", raw_path=b"/_ah/pushline/v1/clients/a%2Fb")
        assert path_within(scope) == b"/_ah/pushline/v1/clients/a%2Fb"
        assert path_within(scope_of("/_ah/pushline/v1/clients/ü", raw_path=None)) == b"/_ah/pushline/v1/clients/%C3%BC"


class TestRequests:
    """The API by HTTP."""

    async def test_a_message_may_come_in_parts(self) -> None:
        async with Pushline() as pushline:
            await pushline.create_channel("ann")
            path = "/_ah/pushline/v1/clients/ann/messages"
            exchange = await ask(pushline.mount(recorder), path, b"hel", b"", b"lo", method="POST")
            assert exchange.status == 200
            assert b'"queued"' in exchange.body
            assert (b"content-length", b"%d" % len(exchange.body)) in exchange.sent[0]["headers"]

    async def test_a_body_over_its_limit_is_read_over_and_refused(self) -> None:
        async with Pushline(max_message_bytes=10) as pushline:
            path = "/_ah/pushline/v1/clients/ann/messages"
            parts = [b"x" * 16384] * 3
            exchange = await ask(pushline.mount(recorder), path, *parts, method="POST")
            assert exchange.status == 413
            assert exchange.events == []

    async def test_an_address_over_its_limit_is_refused(self) -> None:
        async with Pushline() as pushline:
            assert (await ask(pushline, "/_ah/channel/jsapi", query_string=b"x" * 9000)).status == 414

    async def test_a_wrong_key_is_refused(self) -> None:
        async with Pushline() as pushline:
            assert (await ask(pushline, "/_ah/pushline/v1/clients/ann", key="wrong")).status == 401

    async def test_head_has_no_body(self) -> None:
        async with Pushline() as pushline:
            exchange = await ask(pushline, "/_ah/channel/jsapi", method="HEAD")
            assert (exchange.status, exchange.body) == (200, b"")

    async def test_who_goes_away_within_the_body_is_not_answered(self) -> None:
        async with Pushline() as pushline:
            exchange = Exchange()
            exchange.events = []
            await pushline(scope_of("/_ah/pushline/v1/channels", method="POST"), exchange.receive, exchange.send)
            assert exchange.sent == []

    async def test_who_waits_and_goes_away_is_forgotten(self) -> None:
        async with Pushline() as pushline:
            await pushline.create_channel("ann")
            path = "/_ah/pushline/v1/clients/ann/messages"
            exchange = await ask(pushline, path, b"hello", method="POST", query_string=b"wait=30")
            assert exchange.sent == []
            assert (await pushline.get_client("ann")).queued == 1


class TestSending:
    """The methods of AsyncClient, in process."""

    async def test_they_have_the_same_results(self) -> None:
        async with Pushline() as pushline:
            assert (await pushline.send_message("ann", "hello")).status == "no_channel"
            token = await pushline.create_channel("ann", 5, policy="share")
            assert token.count(".") == 4
            sent = await pushline.send_message("ann", "ü", idempotency_key="once", ttl=5)
            assert sent.status == "queued"
            assert await pushline.send_message("ann", "ü", idempotency_key="once") == sent
            assert (await pushline.send_json("ann", {"a": [1]})).status == "queued"
            results = await pushline.send_many([{"to": ["ann", "bob"], "data": "x"}, {"to": "", "data": "x"}])
            assert [(each.status, each.code) for each in results] == [
                ("queued", None),
                ("no_channel", None),
                (None, "invalid_client_id"),
            ]
            state = await pushline.get_client("ann")
            assert (state.queued, state.connected) == (3, False)
            assert (await pushline.send_message("ann", "x", wait=0.01)).status == "queued"

    async def test_they_are_refused_alike(self) -> None:
        async with Pushline() as pushline:
            with pytest.raises(RequestRefused, match="invalid_message"):
                await pushline.send_message("ann", "")
            with pytest.raises(RequestRefused, match="no_channel"):
                await pushline.get_client("nobody")

    async def test_they_may_be_awaited_in_another_loop(self) -> None:
        async with Pushline() as pushline:
            await pushline.create_channel("ann")
            result = await asyncio.to_thread(lambda: asyncio.run(pushline.send_message("ann", "from a thread")))
            assert result.status == "queued"

    async def test_nothing_is_sent_before_the_start_and_after_the_end(self) -> None:
        pushline = Pushline()
        with pytest.raises(ConfigurationError, match="lifespan"):
            await pushline.send_message("ann", "hello")
        async with pushline:
            await pushline.create_channel("ann")
        with pytest.raises(ConfigurationError, match="lifespan"):
            await pushline.send_message("ann", "hello")
        assert (await ask(pushline, "/_ah/channel/jsapi")).status == 503


class TestSettings:
    """What is given, and the rest from the environment."""

    def test_one_that_is_not_known(self) -> None:
        with pytest.raises(ConfigurationError, match="speed"):
            Pushline(speed=11)

    def test_one_that_is_out_of_bounds(self) -> None:
        with pytest.raises(ConfigurationError, match="--ping-interval"):
            Pushline(ping_interval=0)

    def test_a_variable_that_is_no_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PUSHLINE_GRACE", "soon")
        with pytest.raises(ConfigurationError, match="PUSHLINE_GRACE"):
            Pushline()

    async def test_several_values_of_a_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PUSHLINE_ALLOWED_ORIGIN", "https://a.example https://b.example")
        async with Pushline() as pushline:
            headers = [(b"origin", b"https://c.example"), (b"host", b"d.example"), (b"accept", b"application/json")]
            exchange = Exchange()
            scope = scope_of("/_ah/channel/connect", headers=headers, query_string=b"page=p")
            await pushline(scope, exchange.receive, exchange.send)
            assert exchange.status == 403

    async def test_a_data_dir_belongs_to_one(self) -> None:
        async with Pushline():
            with pytest.raises(ConfigurationError, match="belongs to a Pushline that is running"):
                await Pushline().start()

    async def test_a_store_that_cannot_be_opened_lets_the_data_dir_go(self) -> None:
        with pytest.raises(ConfigurationError):
            await Pushline(store="clay").start()
        async with Pushline():
            pass


class TestPresence:
    """The program's own handlers are told in process what nobody outside can tell them (section 5)."""

    SECRET = "a-webhook-secret-of-the-tests"

    async def told(self, monkeypatch: pytest.MonkeyPatch, status: int) -> tuple[Presence, Any]:
        """A page comes: what the program is told, and what becomes of it."""
        monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET", self.SECRET)
        heard: asyncio.Queue[tuple[str, Presence]] = asyncio.Queue()

        async def program(scope: Scope, receive: Receive, send: Send) -> None:
            event = await receive()
            presence = parse(scope["headers"], event["body"], secret=self.SECRET)
            if status == 0:
                heard.put_nowait((scope["path"], presence))
                raise RuntimeError("broken")
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body"})
            assert (await receive())["type"] == "http.disconnect"
            heard.put_nowait((scope["path"], presence))

        pushline = Pushline(presence=True)
        app = pushline.mount(program)
        async with pushline:
            token = await pushline.create_channel("ann")
            gone = asyncio.Event()
            exchange = Exchange()

            async def receive() -> Event:
                if exchange.events:
                    return exchange.events.pop()
                await gone.wait()
                return {"type": "http.disconnect"}

            headers = [(b"authorization", f"Bearer {token}".encode())]
            scope = scope_of("/_ah/channel/connect", headers=headers, query_string=b"page=p")
            page = asyncio.ensure_future(app(scope, receive, exchange.send))
            path, presence = await asyncio.wait_for(heard.get(), 10)
            assert path == "/_ah/channel/connected/"
            await turns()
            answer = await ask(app, "/_ah/pushline/v1/clients/ann")
            gone.set()
            await page
        return presence, json.loads(answer.body)["callbacks"]

    async def test_a_handler_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        presence, callbacks = await self.told(monkeypatch, 204)
        assert (presence.client_id, presence.connected) == ("ann", True)
        assert callbacks == []

    @pytest.mark.parametrize("status", [503, 0])
    async def test_a_handler_that_fails_is_told_again(self, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        _, callbacks = await self.told(monkeypatch, status)
        assert [(each["event"], each["tries"]) for each in callbacks] == [("connected", 1)]

    async def test_both_sides_go_on_with_a_new_secret_together(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "webhook-secret"
        monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET_FILE", str(file))
        file.write_text(self.SECRET)
        heard: list[str] = []

        async def program(scope: Scope, receive: Receive, send: Send) -> None:
            heard.append(parse(scope["headers"], (await receive())["body"]).client_id)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        pushline = Pushline(presence=True)
        app = pushline.mount(program)
        async with pushline:
            for name, secret in (("ann", self.SECRET), ("bob", "another-secret-of-the-tests"), ("cid", "")):
                if secret:
                    file.write_text(secret)
                else:  # somebody is in the middle of it
                    monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET", "another-secret-of-the-tests")
                    monkeypatch.setattr("pushline.asgi.load", no_secret)
                token = await pushline.create_channel(name)
                headers = [(b"authorization", f"Bearer {token}".encode()), (b"accept", b"application/json")]
                exchange = Exchange()
                scope = scope_of("/_ah/channel/connect", headers=headers, query_string=b"page=p&wait=0")
                await app(scope, exchange.receive, exchange.send)
                await turns()
                assert heard[-1] == name

    async def test_there_must_be_a_program_to_tell(self) -> None:
        with pytest.raises(ConfigurationError, match="mount"):
            await Pushline(presence=True).start()
        async with Pushline():  # nothing is left of it
            pass

    def test_there_is_one_to_tell(self) -> None:
        with pytest.raises(ConfigurationError, match="choose one"):
            Pushline(presence=True, presence_url="http://127.0.0.1:9")


class Lifespan:
    """An ASGI server's side of a lifespan, carried out step by step."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.said: asyncio.Queue[Event] = asyncio.Queue()
        self.task = asyncio.ensure_future(program({"type": "lifespan"}, self.events.get, self.said.put))

    async def say(self, kind: str) -> str:
        """Say something, and return the answer."""
        await self.events.put({"type": f"lifespan.{kind}"})
        answer: str = (await self.said.get())["type"]
        return answer.removeprefix("lifespan.")


class TestLifespan:
    """Pushline starts before its program, and ends after it."""

    @pytest.fixture
    def told(self) -> list[str]:
        return []

    def program_of(self, pushline: Pushline, told: list[str], fails: str = "") -> Program:
        async def program(scope: Scope, receive: Receive, send: Send) -> None:
            assert (await receive())["type"] == "lifespan.startup"
            told.append((await pushline.send_message("ann", "at the start")).status)
            if fails:
                await send({"type": "lifespan.startup.failed", "message": fails})
                return
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            told.append((await pushline.send_message("ann", "at the end")).status)
            await send({"type": "lifespan.shutdown.complete"})

        return program

    async def test_the_program_can_send_from_its_first_moment_to_its_last(self, told: list[str]) -> None:
        pushline = Pushline()
        lifespan = Lifespan(pushline.mount(self.program_of(pushline, told)))
        assert await lifespan.say("startup") == "startup.complete"
        assert pushline.front is not None
        assert await lifespan.say("shutdown") == "shutdown.complete"
        await lifespan.task
        assert told == ["no_channel", "no_channel"]
        assert pushline.front is None

    async def test_a_program_that_fails_to_start_takes_pushline_along(self, told: list[str]) -> None:
        pushline = Pushline()
        lifespan = Lifespan(pushline.mount(self.program_of(pushline, told, fails="no database")))
        assert await lifespan.say("startup") == "startup.failed"
        await lifespan.task
        assert pushline.front is None

    @pytest.mark.parametrize("raises", [True, False])
    async def test_a_program_without_a_lifespan(self, raises: bool) -> None:
        async def program(scope: Scope, receive: Receive, send: Send) -> None:
            if raises:
                raise ValueError("only http")

        pushline = Pushline()
        lifespan = Lifespan(pushline.mount(program))
        assert await lifespan.say("startup") == "startup.complete"
        assert pushline.front is not None
        assert await lifespan.say("shutdown") == "shutdown.complete"
        await lifespan.task
        assert pushline.front is None

    async def test_a_program_that_breaks_later_is_not_hidden(self) -> None:
        async def program(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise ValueError("broken")

        pushline = Pushline()
        lifespan = Lifespan(pushline.mount(program))
        assert await lifespan.say("startup") == "startup.complete"
        with pytest.raises(ValueError, match="broken"):
            await lifespan.task
        assert pushline.front is None

    async def test_what_pushline_cannot_run_with_is_said_to_the_server(self) -> None:
        async with Pushline():
            lifespan = Lifespan(Pushline())
            await lifespan.events.put({"type": "lifespan.startup"})
            answer = await lifespan.said.get()
            assert answer["type"] == "lifespan.startup.failed"
            assert "belongs to a Pushline that is running" in answer["message"]


class TestSignals:
    """The pages leave before the server hears of a signal."""

    def handled(self, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Callable[[int], None]]:
        """What happens, and how to bring it about: a program with a handler, as ASGI servers have one."""
        handlers: dict[int, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGINT), signal.SIG_DFL)
        said: list[str] = []
        handlers[signal.SIGTERM] = lambda number, frame: said.append("server")
        monkeypatch.setattr(signal, "getsignal", handlers.__getitem__)
        monkeypatch.setattr(signal, "signal", handlers.__setitem__)
        return said, lambda number: handlers[number](number, None)

    async def test_a_signal_waits_for_the_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said, kill = self.handled(monkeypatch)
        gone = asyncio.Event()

        async def drain() -> None:
            said.append("drain")
            await gone.wait()
            said.append("drained")

        drains = SignalDrain(drain, lambda: said.append("hurry"))
        kill(signal.SIGTERM)
        await turns()
        assert said == ["drain"]
        gone.set()
        await turns()
        assert said == ["drain", "drained", "server"]
        drains.restore()
        kill(signal.SIGTERM)
        assert said[-1] == "server"

    async def test_a_second_one_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said, kill = self.handled(monkeypatch)

        async def drain() -> None:
            await asyncio.Event().wait()

        drains = SignalDrain(drain, lambda: said.append("hurry"))
        kill(signal.SIGTERM)
        await turns()
        kill(signal.SIGTERM)
        await turns()
        assert said == ["hurry", "server"]
        assert drains._draining is not None
        drains._draining.cancel()

    async def test_what_nobody_handles_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handled(monkeypatch)
        SignalDrain(nothing, lambda: None)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL


async def nothing() -> None:
    pass


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
