"""Addresses, and how many sockets there may be."""

from __future__ import annotations

import resource
import socket
from typing import Final

from .faults import LoadFault
from .loop import STUCK_SECONDS

READ_BYTES: Final = 65_536
SOURCES: Final = 50
"""Addresses of this machine that pages come from: each has only some 28,000 ports."""
_BIND_ADDRESS_NO_PORT: Final = 24
"""``IP_BIND_ADDRESS_NO_PORT`` of Linux, which the module names from Python 3.12 on."""

Address = tuple[str, int]


def resolve(host: str, port: int) -> Address:
    """An IPv4 address. Raises :class:`LoadFault`."""
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise LoadFault(f"There is no address for {host}: {error.strerror}.") from None
    address = found[0][4]
    return str(address[0]), int(address[1])


def dial(address: Address) -> socket.socket:
    """A connection, when it is there. Raises :class:`LoadFault`."""
    try:
        connection = socket.create_connection(address, timeout=STUCK_SECONDS)
    except OSError as error:
        reason = error.strerror or str(error)
        raise LoadFault(
            f"{address[0]}:{address[1]} cannot be reached: {reason}. Is the server running there?"
        ) from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def begin_to_dial(address: Address, number: int) -> socket.socket:
    """A connection that is being made, to this machine from one of its many addresses."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address[0].startswith("127."):
        connection.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    connection.connect_ex(address)
    return connection


def allow_sockets(pages: int) -> None:
    """Let this process have so many sockets, and some files. Raises :class:`LoadFault` where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = pages + 100
    if hard != resource.RLIM_INFINITY and need > hard:
        raise LoadFault(f"This process may have {hard:,} descriptors, so at most {hard - 100:,} pages (`ulimit -Hn`).")
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
