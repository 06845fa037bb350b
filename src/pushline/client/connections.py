"""The connections of the synchronous client: sockets that threads share one after the other, and processes never."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final

from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.wire import Decoder, Encoder

_MAX_IDLE: Final = 16
_READ_BYTES: Final = 1 << 16


class Unconnected(Exception):
    """Nobody took the connection: nothing of the request has left. Its cause says why."""


class Connections:
    """Connections to one server, each of which waits here between two requests.

    There is no lock: to take from a list is one step, and so is to give back. So there is none that a thread could hold
    while another one forks. A child closes its copies of the sockets, of which the server and its parent learn nothing,
    and begins with none.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._encoder = Encoder(endpoint)
        self._tls: ssl.SSLContext | None = None
        self._idle: list[socket.socket] = []
        self._owner = os.getpid()

    def exchange(self, request: ApiRequest, timeout: float) -> ApiResponse:
        """Ask, and read the answer. ``timeout``: the seconds that each step may take, from connecting on.

        Raises :class:`Unconnected`; :class:`OSError` and :class:`BadAnswer` when the request may have arrived.
        """
        connection = self._take(timeout) or self._connect(timeout)
        decoder = Decoder()
        try:
            connection.sendall(self._encoder.encode(request))
            while decoder.answer is None:
                decoder.feed(connection.recv(_READ_BYTES))
        except BaseException:
            connection.close()
            raise
        if decoder.reusable:
            self._give_back(connection)
        else:
            connection.close()
        return decoder.answer

    def close(self) -> None:
        """Close those that are idle."""
        idle = self._own()
        while (connection := _last(idle)) is not None:
            connection.close()

    def _own(self) -> list[socket.socket]:
        if self._owner != os.getpid():
            inherited = self._idle
            self._idle, self._owner = [], os.getpid()
            for connection in inherited:
                connection.close()
        return self._idle

    def __del__(self) -> None:
        for connection in self._idle:
            connection.close()

    def _take(self, timeout: float) -> socket.socket | None:
        idle = self._own()
        while (connection := _last(idle)) is not None:
            if _is_quiet(connection):
                connection.settimeout(timeout)
                return connection
            connection.close()
        return None

    def _give_back(self, connection: socket.socket) -> None:
        idle = self._own()
        if len(idle) < _MAX_IDLE:
            idle.append(connection)
        else:
            connection.close()

    def _connect(self, timeout: float) -> socket.socket:
        to = self._encoder
        try:
            connection = socket.create_connection((to.host, to.port), timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._secured(connection) if to.secure else connection
        except (OSError, UnicodeError) as error:  # the latter: a name that no lookup takes
            raise Unconnected from error

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:  # reading the authorities takes milliseconds
            self._tls = tls_context()
        try:
            return self._tls.wrap_socket(connection, server_hostname=self._encoder.host)
        except BaseException:
            connection.close()
            raise


def tls_context() -> ssl.SSLContext:
    """How the server has to show who it is: by the authorities of the system, or of ``SSL_CERT_FILE``."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _last(idle: list[socket.socket]) -> socket.socket | None:
    try:
        return idle.pop()  # that which was used last: the others may close
    except IndexError:
        return None


def _is_quiet(connection: socket.socket) -> bool:
    """Whether nothing came on an idle connection: neither its end nor an answer that nobody has asked for."""
    connection.settimeout(0)
    try:
        socket.socket.recv(connection, 1, socket.MSG_PEEK)  # below TLS, too
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
