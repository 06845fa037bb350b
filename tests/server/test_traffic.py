"""What the kernel says of the bytes that a connection was given (G10): for this alone it takes real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvloop

from pushline.protocol.values import Traffic
from pushline.testing import MemoryPipe
from pushline.transports.base import traffic

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
MUCH = 8 << 20
"""More than the kernel takes for a peer that does not read."""

pytestmark = pytest.mark.e2e


@asynccontextmanager
async def pair(kind: str = "tcp") -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """The transport of a connection, and its peer, which reads only when it is told to."""
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # else it grows as it likes
            peer.connect(listening.getsockname())
            ours, _ = listening.accept()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    else:
        ours, peer = socket.socketpair()
    peer.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    try:
        yield transport, peer
    finally:
        transport.abort()
        await asyncio.sleep(0)
        peer.close()


async def read(peer: socket.socket, size: int) -> None:
    """The peer reads so much."""
    loop = asyncio.get_running_loop()
    while size > 0:
        size -= len(await loop.sock_recv(peer, size))


async def settled(transport: asyncio.Transport) -> Traffic:
    """What is said when it does not change any more."""
    before, same = traffic(transport), 0
    while same < 50:
        await asyncio.sleep(0.001)
        now = traffic(transport)
        same = same + 1 if now == before else 0
        before = now
    return before


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def carry_out(scenario: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await asyncio.wait_for(scenario(), 20)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return cast("Callable[[Callable[[], Awaitable[None]]], None]", carry_out)


Run = Callable[[Callable[[], Awaitable[None]]], None]


def test_nothing_is_unsent_before_anything_was_written(run: Run) -> None:
    async def scenario() -> None:
        async with pair() as (transport, _):
            assert traffic(transport).unsent == 0

    run(scenario)


def test_what_a_peer_does_not_read_is_unsent_and_no_more_is_taken(run: Run) -> None:
    async def scenario() -> None:
        async with pair() as (transport, _):
            transport.write(b"x" * MUCH)
            first = await settled(transport)
            assert 0 < first.unsent < MUCH
            transport.write(b"x" * 1000)
            second = await settled(transport)
            assert second.taken == first.taken
            assert second.unsent == first.unsent + 1000

    run(scenario)


def test_what_is_taken_grows_while_the_peer_reads(run: Run) -> None:
    async def scenario() -> None:
        async with pair() as (transport, peer):
            transport.write(b"x" * MUCH)
            before = await settled(transport)
            for _ in range(3):
                await read(peer, MUCH // 8)
                now = await settled(transport)
                assert now.taken > before.taken
                assert now.unsent < before.unsent
                before = now

    run(scenario)


def test_nothing_is_unsent_when_the_peer_has_everything(run: Run) -> None:
    async def scenario() -> None:
        async with pair() as (transport, peer):
            before = traffic(transport)
            transport.write(b"x" * MUCH)
            await read(peer, MUCH)
            now = await settled(transport)
            assert now.unsent == 0
            assert now.taken >= before.taken + MUCH

    run(scenario)


def test_a_connection_that_is_closed_has_taken_nothing_more(run: Run) -> None:
    async def scenario() -> None:
        async with pair() as (transport, _):
            transport.abort()
            await asyncio.sleep(0.01)
            assert traffic(transport) == traffic(transport) == Traffic(0, 0)

    run(scenario)


def test_where_it_is_not_tcp_what_is_unsent_tells(run: Run) -> None:
    async def scenario() -> None:
        async with pair("unix") as (transport, peer):
            transport.write(b"x" * MUCH)
            before = await settled(transport)
            assert before.unsent > 0
            await read(peer, MUCH // 2)
            now = await settled(transport)
            assert now.taken > before.taken
            assert now.unsent < before.unsent

    run(scenario)


def test_where_there_is_no_socket_what_is_buffered_tells() -> None:
    pipe = MemoryPipe(asyncio.Protocol())
    pipe.write(b"x" * 100)
    before = traffic(pipe)
    pipe.take(40)
    now = traffic(pipe)
    assert (before.unsent, now.unsent) == (100, 60)
    assert now.taken > before.taken
