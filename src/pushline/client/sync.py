"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Unpack

from pushline.client import here, requests, sends
from pushline.client.batch import Batch
from pushline.client.connections import Connections, Unconnected
from pushline.client.endpoint import Endpoint
from pushline.client.requests import ApiRequest, ApiResponse, Item
from pushline.client.results import CallbackList, ClientList, ClientState, SendResult, TargetResult
from pushline.client.retry import Tries
from pushline.client.sends import Send, SendOptions
from pushline.client.wire import BadAnswer
from pushline.messages import DEFAULT_DURATION_MINUTES


class Client:
    """A client of one Pushline (contract, Y1).

    It keeps connections open for the next call, and may be shared by all threads and across forks. ``url`` and
    ``api_key`` come from ``PUSHLINE_URL`` and ``PUSHLINE_API_KEY`` (or ``PUSHLINE_API_KEY_FILE``) when they are not
    given; ``timeout`` is the seconds that one try of a request may take. Raises :class:`ConfigurationError` when
    there is no key. As a context manager it closes its connections at the end.

    Every method raises :class:`RequestRefused` when Pushline refuses, and :class:`Unreachable` when no answer came. A
    request that may have arrived is tried again only if it has an idempotency key.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 10.0) -> None:
        self._endpoint = Endpoint.find(url, api_key)
        self._timeout = timeout
        self._connections = Connections(self._endpoint)

    def create_channel(
        self, client_id: str, duration_minutes: int = DEFAULT_DURATION_MINUTES, *, policy: str | None = None
    ) -> str:
        """Return a new token, with which pages connect to the channel of ``client_id`` (contract, A1).

        It lasts ``duration_minutes``, 1 to 1440. ``policy`` says who receives when several pages are open:
        ``"replace"``, the newest page (Pushline's default), ``"reject"``, the page that holds the place, or
        ``"share"``, all of them (contract, G7).
        """
        return requests.parse_token(self._ask(requests.create_channel(client_id, duration_minutes, policy)))

    def send_message(self, client_id: str, message: str | bytes, **options: Unpack[SendOptions]) -> SendResult:
        """Send a text, or its UTF-8 bytes, to ``client_id`` (contract, A2).

        Options are ``idempotency_key``, ``ttl`` and ``wait``: see :class:`~pushline.client.sends.SendOptions`.
        """
        return self._send(sends.of_text(client_id, message, **options))

    def send_json(self, client_id: str, value: object, **options: Unpack[SendOptions]) -> SendResult:
        """Send ``value`` as JSON, dataclasses and datetimes included; otherwise like :meth:`send_message`."""
        return self._send(sends.of_value(client_id, value, **options))

    def send_many(self, items: Iterable[Item]) -> list[TargetResult]:
        """Send several messages in one request (contract, A3).

        An item is ``{"to": client_id or list of them, "data": text}``, or ``"json": value`` instead of ``data``, with
        ``"key"`` and ``"ttl"`` as in :meth:`send_message` if wanted. A bad item fails alone: look at ``code`` of the
        results, of which there is one for each target, in order.
        """
        return requests.parse_sent_many(self._ask(requests.send_many(items)))

    def batch(self) -> Batch:
        """Collect messages in a block, and send them at its end with as few requests as possible (contract, A3).

        ::

            with client.batch() as batch:
                batch.send_message("ann", "hello")
                batch.send_json("bob", {"turn": "X"})
            print(batch.results)

        See :class:`~pushline.client.batch.Batch`.
        """
        return Batch(self._ask)

    def get_client(self, client_id: str) -> ClientState:
        """Look up the channel of ``client_id``: whether a page is connected, and what it has acknowledged (A4).

        Raises :class:`RequestRefused` with the code ``no_channel`` when no token of it is good now.
        """
        return requests.parse_client(self._ask(requests.get_client(client_id)))

    def list_clients(
        self, *, connected: bool | None = None, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> ClientList:
        """Return the client ids that have a channel, in order, at most ``limit`` of them (contract, A4).

        Only those whose page is ``connected``, or is not, if that is given, and that begin with ``prefix``. The result
        has ``next``: call again with that as ``after`` until it is None.
        """
        return requests.parse_list(self._ask(requests.list_clients(connected, prefix, after or "", limit)))

    def disconnect(self, client_id: str) -> None:
        """End the connections of ``client_id`` (contract, A4). Its tokens stay good: a new page may connect."""
        requests.parse_done(self._ask(requests.disconnect(client_id)))

    def revoke(self, client_id: str) -> None:
        """Make every token of ``client_id`` void, and end its connections (contract, A4). Its channel ends."""
        requests.parse_done(self._ask(requests.revoke(client_id)))

    def list_callbacks(self, *, after: str | None = None, limit: int = 100) -> CallbackList:
        """Return what the application was not told yet of who is there, oldest first, at most ``limit`` of that."""
        return requests.parse_callbacks(self._ask(requests.list_callbacks(after or "", limit)))

    def retry_callbacks(self, client_id: str | None = None) -> int:
        """Have sent now what was given up or waits for its next try, of one client id or of all; returns how many."""
        return requests.parse_retried(self._ask(requests.retry_callbacks(client_id)))

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._connections.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client(url={self._endpoint.url!r})"

    def _send(self, send: Send) -> SendResult:
        return requests.parse_sent(self._ask(requests.send(send)))

    def _ask(self, request: ApiRequest) -> ApiResponse:
        tries = Tries(self._endpoint.url, request)
        while True:
            try:
                return self._exchange(request)
            except (Unconnected, OSError, BadAnswer) as error:
                pause = tries.pause_after(error, sent=not isinstance(error, Unconnected))
            time.sleep(pause)

    def _exchange(self, request: ApiRequest) -> ApiResponse:
        endpoint, seconds = self._endpoint, self._timeout + request.wait
        if (local := here.find(endpoint.url)) is not None:
            return local.ask_and_wait(request, endpoint.api_key, seconds)
        return self._connections.exchange(request, seconds)
