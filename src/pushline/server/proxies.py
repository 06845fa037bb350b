"""Whom a connection is for: the peer itself, or somebody whom a trusted proxy names.

Only proxies that the operator has listed are believed: anybody can write a header. They may say it for each request
(``X-Forwarded-For``), or once for a connection, ahead of all requests (the PROXY protocol, versions 1 and 2).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Protocol, cast

from pushline.errors import ConfigurationError

UNIX: Final = "unix"
"""What stands in the list for whoever comes over a Unix socket."""

_V1: Final = b"PROXY "
_V1_LONGEST: Final = 107
_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_LONGEST: Final = 16 + 2048  # addresses, and what a proxy may add


class Proxies:
    """The proxies that are believed, by their networks. Raises :class:`ConfigurationError` for what is no network."""

    __slots__ = ("_known", "_networks", "_unix")

    def __init__(self, listed: Sequence[str] = ()) -> None:
        self._unix = UNIX in listed
        self._networks: list[IPv4Network | IPv6Network] = []
        self._known: dict[str, bool] = {}
        for text in listed:
            if text == UNIX:
                continue
            try:
                self._networks.append(ip_network(text))
            except ValueError:
                raise ConfigurationError(
                    f"--trusted-proxy {text} is no address and no network, such as 10.0.0.0/8, and not `unix`."
                ) from None

    def trusts(self, address: str) -> bool:
        """Whether a peer is one of them ("" has come over a Unix socket)."""
        if not address:
            return self._unix
        if not self._networks:
            return False
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def client_of(self, forwarded: bytes) -> str:
        """Whom a trusted proxy speaks for by ``X-Forwarded-For``: the last one in it that is no trusted proxy itself.

        The first one when all are: somebody at one of their machines. "" when it does not say, or says what is no
        address.
        """
        address = ""
        for part in reversed(forwarded.decode("latin-1").split(",")):
            text = part.strip()
            try:
                address = str(ip_address(text))
            except ValueError:
                return ""
            if not self.trusts(address):
                break
        return address


DIRECT: Final = Proxies()


def address_of(transport: asyncio.BaseTransport) -> str:
    """The peer's IP address, "" when it has none (a Unix socket)."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple) or not peer:
        return ""
    host = str(peer[0]).partition("%")[0]
    return host.removeprefix("::ffff:")  # IPv4 on a listener of both


class Told(Protocol):
    """The protocol behind the header: a connection as :mod:`pushline.server.native` has it."""

    def speaks_for(self, address: str) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class ProxyHeader:
    """What a connection of a trusted proxy begins with: a header of the PROXY protocol, or the first request.

    https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt. To the loop it is an :class:`asyncio.Protocol`.
    """

    __slots__ = ("_buffer", "_connection", "_transport")

    def __init__(self, connection: Told, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Bytes came: take the header off, and give the connection to what is behind it."""
        self._buffer += data
        try:
            read = read_header(self._buffer)
        except ValueError:
            self._transport.abort()  # nobody who would understand an answer
            return
        if read is None:
            return
        size, address = read
        connection, rest = self._connection, self._buffer[size:]
        self._transport.set_protocol(cast("asyncio.BaseProtocol", connection))
        if address:
            connection.speaks_for(address)
        if rest:
            connection.data_received(rest)

    def eof_received(self) -> bool:
        """The peer sends no more."""
        return self._connection.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._connection.connection_lost(error)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._connection.resume_writing()


def read_header(data: bytes) -> tuple[int, str] | None:
    """The length of the header that ``data`` begins with, and the address that it names ("" for none).

    (0, "") when there is no header, None while that cannot be told yet. Raises :class:`ValueError` for a broken one.
    """
    if data.startswith(_V2):
        return _version_2(data)
    if data.startswith(_V1):
        return _version_1(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    return 0, ""


def _version_1(data: bytes) -> tuple[int, str] | None:
    line, end, _ = data[:_V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(data) >= _V1_LONGEST:
            raise ValueError("the line does not end")
        return None
    _, family, *rest = line.decode("ascii").split(" ")
    if family == "UNKNOWN":
        return len(line) + 2, ""
    if family not in ("TCP4", "TCP6") or len(rest) != 4:
        raise ValueError(family)
    return len(line) + 2, str(ip_address(rest[0]))


def _version_2(data: bytes) -> tuple[int, str] | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack("!BBH", data[12:16])
    whole = 16 + length
    if command not in (0x20, 0x21) or whole > _V2_LONGEST:
        raise ValueError("an unknown command, or too long")
    if len(data) < whole:
        return None
    if command == 0x20:  # the proxy speaks for itself: a health check
        return whole, ""
    if family == 0x11 and length >= 12:
        return whole, socket.inet_ntop(socket.AF_INET, data[16:20])
    if family == 0x21 and length >= 36:
        return whole, socket.inet_ntop(socket.AF_INET6, data[16:32])
    return whole, ""
