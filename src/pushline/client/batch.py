"""Many messages of a synchronous program, sent together (contract, A3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from pushline.client import requests, sends
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.results import TargetResult
from pushline.client.sends import BatchOptions, Part, Send


class Batch:
    """Collects messages, and sends them when its block ends: in one request, or in several where one is too small.

    When the block raises, nothing is sent. Messages to one client id keep their order. A bad message fails alone. A
    request that may have arrived is tried again only if each of its messages has an idempotency key.

    ``results``: after the block one result for each message, in order. When a request fails, the block raises
    :class:`RequestRefused` or :class:`Unreachable`, those behind it are not made, and ``results`` has what was answered
    before.
    """

    def __init__(self, ask: Callable[[ApiRequest], ApiResponse]) -> None:
        self._ask = ask
        self._parts: list[Part] = []
        self.results: list[TargetResult] = []

    def send_message(self, client_id: str, message: str | bytes, **options: Unpack[BatchOptions]) -> None:
        """Take a text, or its UTF-8 bytes: see :meth:`pushline.Client.send_message`. There is no ``wait`` here.

        Raises :class:`ValueError` for what no batch carries.
        """
        self._add(sends.of_text(client_id, message, **options))

    def send_json(self, client_id: str, value: object, **options: Unpack[BatchOptions]) -> None:
        """Take a value as JSON: see :meth:`pushline.Client.send_json`."""
        self._add(sends.of_value(client_id, value, **options))

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        parts, self._parts = self._parts, []
        if kind is not None:
            return
        for part in parts:
            self.results += requests.parse_part(self._ask(requests.send_part(part)), part)

    def _add(self, send: Send) -> None:
        item = send.item()
        if item is None:
            raise ValueError("A batch takes texts in UTF-8, with a ttl above 0 and without wait.")
        keyed = send.key is not None
        if not self._parts or not self._parts[-1].add(item, keyed=keyed):
            self._parts.append(Part())
            self._parts[-1].add(item, keyed=keyed)
