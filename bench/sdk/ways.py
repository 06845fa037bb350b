"""Each way to send messages: Pushline's SDK, and HTTP libraries that make the same request bare.

A way is a function that sends so many messages of 256 bytes, all answered when it returns. Libraries are imported when
they are measured, since those of PyPI may not be there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

import pushline

CLIENT_IDS: Final = tuple(f"c{number}" for number in range(100))
MESSAGE: Final = "x" * 256
BATCH: Final = 100

SendMany = Callable[[int], object]
SendOne = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send to."""

    url: str
    key: str

    def address(self, client_id: str) -> str:
        """That of a request for one message, as the SDK writes it."""
        return f"{self.url}/v1/clients/-/messages?client_id={client_id}"

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {
            "Authorization": f"Bearer {self.key}",
            "Accept": "application/json",
            "Content-Type": "text/plain; charset=utf-8",
        }


@dataclass(frozen=True, slots=True)
class Way:
    """``open`` makes the function; ``needs`` is the package of PyPI that it is about."""

    title: str
    open: Callable[[Target], Any]
    needs: str = ""


def _each(send: Callable[[str], object]) -> SendMany:
    def many(count: int) -> None:
        for number in range(count):
            send(CLIENT_IDS[number % len(CLIENT_IDS)])

    return many


# -- without an event loop ---------------------------------------------------------------------------------------


@contextmanager
def _client(target: Target) -> Iterator[SendMany]:
    with pushline.Client(target.url, target.key) as client:
        yield _each(lambda client_id: client.send_message(client_id, MESSAGE))


@contextmanager
def _client_batch(target: Target) -> Iterator[SendMany]:
    with pushline.Client(target.url, target.key) as client:

        def many(count: int) -> None:
            for begin in range(0, count, BATCH):
                with client.batch() as batch:
                    for number in range(begin, begin + BATCH):
                        batch.send_message(CLIENT_IDS[number % len(CLIENT_IDS)], MESSAGE)

        yield many


@contextmanager
def _http_client(target: Target) -> Iterator[SendMany]:
    parts = urlsplit(target.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)

    def send(client_id: str) -> None:
        connection.request("POST", target.address(client_id), MESSAGE.encode(), target.headers)
        connection.getresponse().read()

    yield _each(send)
    connection.close()


@contextmanager
def _urllib3(target: Target) -> Iterator[SendMany]:
    parts = urlsplit(target.url)
    pool = import_module("urllib3").HTTPConnectionPool(parts.hostname, parts.port)
    body, headers = MESSAGE.encode(), target.headers
    start = len(target.url)
    yield _each(
        lambda client_id: pool.urlopen("POST", target.address(client_id)[start:], body, headers, retries=False).data
    )
    pool.close()


def _session(package: str, name: str) -> Callable[[Target], Any]:
    """A library with the shape of requests."""

    @contextmanager
    def open(target: Target) -> Iterator[SendMany]:
        argument = "content" if package == "httpx" else "data"
        options: dict[str, Any] = {argument: MESSAGE.encode(), "headers": target.headers}
        with getattr(import_module(package), name)() as session:
            yield _each(lambda client_id: session.post(target.address(client_id), **options).content)

    return open


# -- with one ----------------------------------------------------------------------------------------------------


async def _spread(count: int, at_a_time: int, send: SendOne) -> None:
    """Send ``count`` messages, always so many tasks at a time in each turn."""
    for begin in range(0, count, at_a_time):
        numbers = range(begin, begin + at_a_time)
        if at_a_time == 1:
            await send(CLIENT_IDS[begin % len(CLIENT_IDS)])
        else:
            await asyncio.gather(*(send(CLIENT_IDS[number % len(CLIENT_IDS)]) for number in numbers))


def _asynchronous(at_a_time: int, make: Callable[[Target], Any]) -> Callable[[Target], Any]:
    """``make`` returns the async context manager of a function that sends one message."""

    @contextmanager
    def open(target: Target) -> Iterator[SendMany]:
        with asyncio.Runner() as runner:
            context = make(target)

            async def enter() -> SendOne:
                entered: SendOne = await context.__aenter__()
                return entered

            send = runner.run(enter())
            yield lambda count: runner.run(_spread(count, at_a_time, send))

            async def leave() -> None:
                await context.__aexit__(None, None, None)

            runner.run(leave())

    return open


class _AsyncClient:
    def __init__(self, target: Target) -> None:
        self._client = pushline.AsyncClient(target.url, target.key)

    async def __aenter__(self) -> SendOne:
        return lambda client_id: self._client.send_message(client_id, MESSAGE)

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


class _Aiohttp:
    def __init__(self, target: Target) -> None:
        self._target = target

    async def __aenter__(self) -> SendOne:
        aiohttp, url = import_module("aiohttp"), import_module("yarl").URL
        self._session = session = aiohttp.ClientSession(
            headers=self._target.headers, cookie_jar=aiohttp.DummyCookieJar()
        )

        async def send(client_id: str) -> None:
            address = url(self._target.address(client_id), encoded=True)
            async with session.post(address, data=MESSAGE.encode(), allow_redirects=False) as answer:
                await answer.read()

        return send

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


class _Session:
    """A library with the shape of httpx."""

    def __init__(self, package: str, name: str, target: Target) -> None:
        self._made = getattr(import_module(package), name)()
        argument = "content" if package == "httpx" else "data"
        self._options: dict[str, Any] = {argument: MESSAGE.encode(), "headers": target.headers}
        self._target = target

    async def __aenter__(self) -> SendOne:
        session = await self._made.__aenter__()

        async def send(client_id: str) -> None:
            answer = await session.post(self._target.address(client_id), **self._options)
            assert answer.content  # noqa: S101 - it is read

        return send

    async def __aexit__(self, *_: object) -> None:
        await self._made.__aexit__(None, None, None)


def _niquests(target: Target) -> _Session:
    return _Session("niquests", "AsyncSession", target)


def _httpx(target: Target) -> _Session:
    return _Session("httpx", "AsyncClient", target)


WAYS: Final = {
    "client": Way("pushline.Client", _client),
    "client-batch": Way(f"pushline.Client, batch() of {BATCH}", _client_batch),
    "http.client": Way("http.client, one connection", _http_client),
    "urllib3": Way("urllib3, one pool", _urllib3, "urllib3"),
    "requests": Way("requests", _session("requests", "Session"), "requests"),
    "httpx": Way("httpx", _session("httpx", "Client"), "httpx"),
    "niquests": Way("niquests", _session("niquests", "Session"), "niquests"),
    "async": Way("pushline.AsyncClient, one at a time", _asynchronous(1, _AsyncClient)),
    "async-10": Way("pushline.AsyncClient, 10 in a turn", _asynchronous(10, _AsyncClient)),
    "async-100": Way("pushline.AsyncClient, 100 in a turn", _asynchronous(100, _AsyncClient)),
    "aiohttp": Way("aiohttp, one at a time", _asynchronous(1, _Aiohttp), "aiohttp"),
    "aiohttp-100": Way("aiohttp, 100 in a turn", _asynchronous(100, _Aiohttp), "aiohttp"),
    "httpx-async": Way("httpx, asynchronous, one at a time", _asynchronous(1, _httpx), "httpx"),
    "niquests-async": Way("niquests, asynchronous, one at a time", _asynchronous(1, _niquests), "niquests"),
}
"""By their names on the command line."""
