"""Connections that nobody uses, without sockets. What they do on a network is in tests/e2e."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

import pytest

from pushline.client.aio_connections import _Connection
from pushline.client.connections import Connections
from pushline.client.endpoint import Endpoint

ENDPOINT = Endpoint("http://push.example", "0123456789abcdef")


class Plug:
    """A socket or a transport, as far as it can be ended."""

    def __init__(self) -> None:
        self.ended = 0

    def close(self) -> None:
        self.ended += 1

    abort = close


class TestOfThreads:
    def test_a_child_closes_what_it_inherited_and_begins_with_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connections, plugs = Connections(ENDPOINT), [Plug(), Plug()]
        connections._idle = cast("Any", list(plugs))
        assert list(map(id, connections._own())) == list(map(id, plugs))
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert connections._own() == []
        assert [plug.ended for plug in plugs] == [1, 1]
        assert connections._own() is connections._own()

    def test_sixteen_wait_for_the_next_request_and_no_more(self) -> None:
        connections, plugs = Connections(ENDPOINT), [Plug() for _ in range(17)]
        for plug in plugs:
            connections._give_back(cast("Any", plug))
        assert [plug.ended for plug in plugs] == [0] * 16 + [1]
        connections.close()
        assert [plug.ended for plug in plugs] == [1] * 17

    def test_they_are_closed_with_the_last_one_who_knows_them(self) -> None:
        connections, plug = Connections(ENDPOINT), Plug()
        connections._give_back(cast("Any", plug))
        del connections
        assert plug.ended == 1


class TestOfAnEventLoop:
    def play(self, *events: str) -> tuple[_Connection, Plug]:
        async def main() -> tuple[_Connection, Plug]:
            connection, plug = _Connection(), Plug()
            connection.connection_made(cast("Any", plug))
            for event in events:
                if event == "data":
                    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
                else:
                    connection.connection_lost(None)
            return connection, plug

        return asyncio.run(main())

    def test_an_answer_that_nobody_has_asked_for_ends_them(self) -> None:
        connection, plug = self.play("data")
        assert not connection.reusable
        assert plug.ended == 1

    def test_the_end_of_one_that_is_idle_is_noted(self) -> None:
        connection, _ = self.play("gone")
        assert not connection.reusable
        assert connection.gone.done()
