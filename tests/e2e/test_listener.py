"""The sockets that listen."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from pushline.errors import ConfigurationError
from pushline.server.listener import ACCEPTORS, UNIX, listen

from .doors import run_apart

pytestmark = pytest.mark.e2e

TURNS = 100


class Counted(asyncio.Protocol):
    """Counts connections, and ends each."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counted.count += 1
        transport.close()


@pytest.fixture(params=["127.0.0.1:0", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{UNIX}{tmp_path / 'socket'}" if request.param == "unix" else str(request.param)


def connect(stack: ExitStack, url: str) -> None:
    """Without a turn of the loop: the kernel holds the connection until it is accepted."""
    if url.startswith(UNIX):
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.connect(url.removeprefix(UNIX))
    else:
        host, _, port = url.removeprefix("http://").partition(":")
        stack.enter_context(socket.create_connection((host, int(port))))


async def accepted_in_one_turn() -> int:
    """How many the first turn accepts that accepts any."""
    before = Counted.count
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if Counted.count > before:
            break
    return Counted.count - before


def test_some_of_a_crowd_are_accepted_in_one_turn_of_the_loop(address: str) -> None:
    async def crowd() -> None:
        listener = await listen(Counted, "--listen", address)
        with ExitStack() as stack:
            for _ in range(2 * ACCEPTORS):
                connect(stack, listener.url("http"))
            assert await accepted_in_one_turn() == ACCEPTORS
            assert await accepted_in_one_turn() == ACCEPTORS
        listener.close()
        await listener.wait_closed()

    run_apart(crowd(), uvloop.run)


def test_nobody_listens_when_it_is_closed(address: str) -> None:
    async def close() -> None:
        listener = await listen(Counted, "--listen", address)
        url = listener.url("http")
        with ExitStack() as stack:
            connect(stack, url)
            assert await accepted_in_one_turn() == 1
            listener.close()
            await listener.wait_closed()
            with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
                connect(stack, url)

    run_apart(close(), uvloop.run)


def test_one_that_gets_no_handle_listens_with_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def crowded() -> None:
        url = f"{UNIX}{tmp_path / 'socket'}"
        with monkeypatch.context() as patched:
            patched.setattr(os, "dup", full)
            with pytest.raises(ConfigurationError, match=r"--listen .* cannot be served: Too many open files\.$"):
                await listen(Counted, "--listen", url)
        with ExitStack() as stack, pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            connect(stack, url)

    run_apart(crowded(), uvloop.run)
