"""Who may use the application's API: whoever knows an API key."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from pushline.errors import Problem
from pushline.http.request import Request

_SCHEME = b"bearer "


class ApiKeys:
    """The API keys that are good at the moment."""

    __slots__ = ("_headers", "_keys")

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]
        self._headers = [b"Bearer " + key for key in self._keys]  # as nearly every program writes it

    def check(self, request: Request) -> None:
        """Raise :class:`Problem` unless the request carries a good key.

        The time it takes does not depend on how much of a key is right.
        """
        header = request.authorization
        for whole in self._headers:
            if compare_digest(header, whole):
                return
        if not header:
            raise Problem("unauthorized", "There is no `Authorization: Bearer <API key>` in the request.")
        if header[:7].lower() != _SCHEME:
            raise Problem("unauthorized", "The `Authorization` of the request is not of the form `Bearer <API key>`.")
        given = header[7:].strip()
        good = False
        for key in self._keys:
            good |= compare_digest(given, key)
        if not good:
            raise Problem("unauthorized", "The API key of the request is not the server's.")
