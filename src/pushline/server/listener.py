"""Where a server is reached: its addresses, and the sockets that listen on them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from pushline.errors import ConfigurationError

UNIX: Final = "unix:"
"""How the address of a Unix socket begins."""

BACKLOG: Final = 4096

ACCEPTORS: Final = 4
"""So many handles listen on each socket. A loop of libuv accepts one connection a turn by each of them, and those that
come in one turn share its commit: of a crowd each costs a third less. One that comes alone costs a tenth more, since
all of them look; with eight it would be a quarter."""

UNSENT_BYTES: Final = 128 << 10
"""What the kernel holds of one connection and has not sent yet: a page that is behind is fed from the store instead."""


def split_address(listen: str, flag: str = "--listen") -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` (an IPv6 host in brackets). Raises :class:`ConfigurationError`."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535 or not host:
        raise ConfigurationError(f"{flag} {listen} is not of the form HOST:PORT, such as 127.0.0.1:8080.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def reachable(host: str) -> str:
    """A name by which this machine reaches a server that listens on ``host``, be it on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def reachable_url(host: str, port: int) -> str:
    """The address that a browser on this machine opens."""
    name = reachable(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


class Listener:
    """Listens on ``HOST:PORT`` or ``unix:PATH`` until it is closed; the connections it has accepted stay."""

    def __init__(self, address: str, servers: list[asyncio.Server]) -> None:
        self._address = address
        self._servers = servers

    def url(self, scheme: str) -> str:
        """Where it is reached, with the port that it was given when it asked for any."""
        if self._address.startswith(UNIX):
            return self._address
        host, _ = split_address(self._address)
        port = self._servers[0].sockets[0].getsockname()[1]
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Wait until the connections have gone as well, if this began before :meth:`close`."""
        await asyncio.gather(*(server.wait_closed() for server in self._servers))


async def listen(
    connection: Callable[[], asyncio.Protocol],
    flag: str,
    address: str,
    *,
    context: ssl.SSLContext | None = None,
    patience: float | None = None,
) -> Listener:
    """Listen on the address that ``flag`` was given. Raises :class:`ConfigurationError`.

    ``connection`` makes the protocol of each connection. With TLS, which has a ``context``, ``patience`` is the seconds
    that its handshake may take.
    """
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    try:
        create: Callable[..., Awaitable[asyncio.Server]]
        if address.startswith(UNIX):
            path = address.removeprefix(UNIX)
            create = partial(loop.create_unix_server, connection, backlog=BACKLOG)
            servers.append(await create(path))
            os.chmod(path, 0o660)  # the service's user and group
        else:
            create = partial(
                loop.create_server, connection, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=patience
            )
            servers.append(await create(*split_address(address, flag)))
        for listening in servers[0].sockets:
            if listening.family != socket.AF_UNIX:  # what is accepted from it has the same
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            for _ in range(ACCEPTORS - 1):
                servers.append(await create(sock=socket.socket(fileno=os.dup(listening.fileno()))))
    except (OSError, UnicodeError) as error:
        for server in servers:
            server.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{flag} {address} cannot be served: {reason}.") from None
    return Listener(address, servers)
