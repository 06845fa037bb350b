"""A server put together: its address, its data dir, its start message, its end."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.http.rig import request_bytes

from pushline.errors import ConfigurationError
from pushline.server import wiring
from pushline.server.run import start_message
from pushline.server.secrets import Loaded
from pushline.server.wiring import DataDir, Server
from pushline.settings import Settings
from pushline.stores.memory import MemoryStore
from pushline.transports.base import CLOSE_SECONDS

KEY = "the-api-key-of-the-tests"


def server(listen: str) -> Server:
    return Server(Settings(listen=listen), store=MemoryStore(), api_keys=(KEY,), token_secrets=(KEY,))


class TestAnAddress:
    @pytest.mark.parametrize("listen", ["a..b:80", "localhost"])
    def test_that_cannot_be_served_is_refused_in_a_sentence(self, listen: str) -> None:
        async def serve() -> None:
            async with server(listen):
                pass

        with pytest.raises(ConfigurationError, match=rf"^--listen {listen} .+\.$"):
            asyncio.run(serve())


class TestADataDir:
    def test_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "data"
        DataDir(path).release()
        assert path.stat().st_mode & 0o777 == 0o700

    def test_belongs_to_one_at_a_time(self, tmp_path: Path) -> None:
        first = DataDir(tmp_path)
        with pytest.raises(ConfigurationError, match="belongs to a Pushline that is running"):
            DataDir(tmp_path)
        first.release()
        DataDir(tmp_path).release()

    def test_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(ConfigurationError, match=rf"^--data-dir {path} cannot be used: File exists\.$"):
            DataDir(path)


class TestTheStartMessage:
    def message(self, settings: Settings, api_key: Loaded) -> str:
        return start_message("http://127.0.0.1:8080", settings, api_key, Loaded((KEY,), "PUSHLINE_SECRET"))

    def test_says_where_everything_is(self) -> None:
        text = self.message(Settings(data_dir=Path("data")), Loaded((KEY,), "data/api-key"))
        for word in ("http://127.0.0.1:8080", "data/api-key", "PUSHLINE_SECRET", "sqlite, in data", "Ctrl-C"):
            assert word in text
        assert KEY not in text

    def test_of_a_server_without_a_disk_names_no_folder(self) -> None:
        text = self.message(Settings(store="memory"), Loaded((KEY,), "PUSHLINE_API_KEY"))
        assert "store         memory\n" in text

    @pytest.mark.parametrize(
        ("source", "values", "key"),
        [
            ("PUSHLINE_API_KEY", (KEY,), "$PUSHLINE_API_KEY"),
            ("data/api-key", (KEY,), "$(cat data/api-key)"),
            ("my data/api-key", (KEY,), "$(cat 'my data/api-key')"),
            ("data/api-key", (KEY, KEY), "$(awk 'NF {print $1; exit}' data/api-key)"),
            ("PUSHLINE_API_KEY", (KEY, KEY), "${PUSHLINE_API_KEY%%[[:space:]]*}"),
        ],
    )
    def test_has_lines_that_work_when_pasted(self, source: str, values: tuple[str, ...], key: str) -> None:
        lines = [line for line in self.message(Settings(), Loaded(values, source)).splitlines() if "curl" in line]
        assert len(lines) == 2
        for line in lines:
            assert f'-H "Authorization: Bearer {key}"' in line
            assert shlex.split(line)[0] == "curl"


@pytest.mark.e2e
def test_a_server_serves_on_a_free_port_and_ends() -> None:
    async def main() -> None:
        async with server("127.0.0.1:0") as running:
            assert running.url.startswith("http://127.0.0.1:")
            port = int(running.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readuntil(b'{"status":"ok"}')
            with pytest.raises(ConfigurationError, match=r"cannot be served: .*in use"):
                async with server(f"127.0.0.1:{port}"):
                    pass
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())


class Visitor:
    """A program that has a connection to a running server."""

    def __init__(self, running: Server) -> None:
        self.address = ("127.0.0.1", int(running.url.rpartition(":")[2]))

    async def __aenter__(self) -> Visitor:
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def write(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.writer.write(request_bytes(method, target, headers, body))

    async def ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, Any]:
        """Status and body of an answer."""
        self.write(method, target, {"Authorization": f"Bearer {KEY}"} | (headers or {}), body)
        return await self.answer()

    async def answer(self) -> tuple[int, Any]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split()[1]), json.loads(await self.reader.readexactly(size))

    async def listen(self, token: str) -> None:
        """Ask for events."""
        self.write("GET", "/_ah/channel/connect?page=p", {"Authorization": f"Bearer {token}"})
        await self.reader.readuntil(b"event: open\n")
        await self.reader.readuntil(b"\n\n")

    async def told_to_go(self) -> dict[str, Any]:
        """What the end says."""
        await self.reader.readuntil(b"event: close\ndata: ")
        told: dict[str, Any] = json.loads(await self.reader.readuntil(b"\n\n"))
        return told


@pytest.mark.e2e
class TestTheDrain:
    """G11, on a server that runs: pages are asked to come back, and seen out; the application is answered meanwhile."""

    SECONDS = 20.0

    def run(self, scenario: Callable[[Server, AsyncExitStack], Awaitable[None]]) -> None:
        """Run a server; what enters the stack leaves it before the server's connections are looked at."""

        async def main() -> None:
            settings = Settings(listen="127.0.0.1:0", drain_seconds=self.SECONDS)
            running = Server(settings, store=MemoryStore(), api_keys=(KEY,), token_secrets=(KEY,))
            await running.__aenter__()
            async with AsyncExitStack() as visitors:
                await scenario(running, visitors)
            while running._door.wires:  # noqa: ASYNC110 - nothing tells when the last one has gone
                await asyncio.sleep(0)

        asyncio.run(asyncio.wait_for(main(), 30))

    async def end(self, running: Server) -> float:
        """How long the end takes."""
        begun = time.monotonic()
        await running.__aexit__(None, None, None)
        return time.monotonic() - begun

    async def token(self, application: Visitor, client_id: str) -> str:
        body = json.dumps({"client_id": client_id}).encode()
        status, answer = await application.ask("POST", "/v1/channels", {}, body)
        assert status == 201
        return str(answer["token"])

    async def listener(self, running: Server, visitors: AsyncExitStack, token: str) -> Visitor:
        page = await visitors.enter_async_context(Visitor(running))
        await page.listen(token)
        return page

    def test_answers_the_application_until_the_last_page_has_gone(self) -> None:
        async def scenario(running: Server, visitors: AsyncExitStack) -> None:
            application, late = [await visitors.enter_async_context(Visitor(running)) for _ in range(2)]
            token = await self.token(application, "ann")
            page = await self.listener(running, visitors, token)
            await self.token(late, "bob")
            waiting = asyncio.ensure_future(application.ask("POST", "/v1/clients/bob/messages?wait=30", {}, b"hello"))
            assert (await late.ask("GET", "/ready"))[0] == 200
            end = asyncio.ensure_future(self.end(running))
            told = await page.told_to_go()
            assert (told["code"], told["reason"]) == (1001, "going_away")
            assert await page.reader.read() == b""  # and the server waits for the page to close as well
            assert (await waiting)[1]["status"] == "queued"
            assert (await late.ask("GET", "/ready"))[0] == 503
            assert (await late.ask("GET", "/health"))[0] == 200
            status, sent = await late.ask("POST", "/v1/clients/ann/messages", {}, b"hello")
            assert (status, sent["status"]) == (200, "queued")
            newcomer = await visitors.enter_async_context(Visitor(running))
            newcomer.write("GET", "/_ah/channel/connect?page=q", {"Authorization": f"Bearer {token}"})
            status, refusal = await newcomer.answer()
            assert (status, refusal["close_code"]) == (503, 1001)
            assert not end.done()
            newcomer.writer.close()
            page.writer.close()
            assert await end < CLOSE_SECONDS
            assert await late.reader.read() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*late.address)

        self.run(scenario)

    def test_asks_every_page_to_come_back_at_its_own_moment_within_the_time(self) -> None:
        async def scenario(running: Server, visitors: AsyncExitStack) -> None:
            application = await visitors.enter_async_context(Visitor(running))
            pages = [
                await self.listener(running, visitors, await self.token(application, f"c{n}"))
                for n in range(wiring.CROWD)
            ]
            end = asyncio.ensure_future(self.end(running))
            moments = [(await page.told_to_go())["retry"] for page in pages]
            for page in pages:
                page.writer.close()
            assert await end < CLOSE_SECONDS
            assert all(0 <= moment <= self.SECONDS * 1000 for moment in moments)
            assert len(set(moments)) > 8
            assert max(moments) - min(moments) > self.SECONDS * 1000 / 4

        self.run(scenario)

    def test_asks_few_pages_to_come_back_soon(self) -> None:
        async def scenario(running: Server, visitors: AsyncExitStack) -> None:
            application = await visitors.enter_async_context(Visitor(running))
            page = await self.listener(running, visitors, await self.token(application, "ann"))
            end = asyncio.ensure_future(self.end(running))
            assert (await page.told_to_go())["retry"] <= self.SECONDS * 1000 / wiring.CROWD
            page.writer.close()
            await end

        self.run(scenario)

    def test_is_over_at_once_when_nobody_is_connected(self) -> None:
        async def scenario(running: Server, visitors: AsyncExitStack) -> None:
            application = await visitors.enter_async_context(Visitor(running))
            await application.ask("GET", "/health")
            assert await self.end(running) < 1

        self.run(scenario)

    def test_waits_for_a_page_that_does_not_close_and_not_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wiring, "CLOSE_SECONDS", 0.4)
        monkeypatch.setattr(wiring, "FAREWELL_SECONDS", 0.1)

        async def scenario(running: Server, visitors: AsyncExitStack) -> None:
            application = await visitors.enter_async_context(Visitor(running))
            await self.listener(running, visitors, await self.token(application, "ann"))
            assert 0.5 <= await self.end(running) < 2

        self.run(scenario)

    def test_ends_at_once_when_there_is_no_more_time(self) -> None:
        async def scenario(running: Server, visitors: AsyncExitStack) -> None:
            application = await visitors.enter_async_context(Visitor(running))
            page = await self.listener(running, visitors, await self.token(application, "ann"))
            end = asyncio.ensure_future(self.end(running))
            await page.told_to_go()
            running.hurry()
            assert await end < 1

        self.run(scenario)
