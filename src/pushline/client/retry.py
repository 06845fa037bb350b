"""When a request that got no answer is made again: the rule that both clients follow (contract, Y1)."""

from __future__ import annotations

import os
from typing import Final

from pushline.client.requests import ApiRequest
from pushline.errors import Unreachable

# Together half a second: what a restart of the server takes, and not what a user who waits notices.
PAUSES: Final = (0.1, 0.4)


class Tries:
    """The tries of one request.

    A request that may have reached Pushline is repeated only when it takes effect once; one that found nobody to
    connect to is always repeated. Answers, refusals included, are final.
    """

    __slots__ = ("_pauses", "_request", "_url")

    def __init__(self, url: str, request: ApiRequest) -> None:
        self._url = url
        self._request = request
        self._pauses = iter(PAUSES)

    def pause_after(self, error: Exception, *, sent: bool) -> float:
        """Seconds until the next try, after one that failed with ``error``.

        ``sent``: something of the request may have left. Raises :class:`Unreachable` when there is no next try.
        """
        pause = next(self._pauses, None)
        if pause is None or (sent and not self._request.repeatable):
            raise Unreachable(self._url, _reason(error)) from error
        return pause


def _reason(error: Exception) -> str:
    # In the words of the system: those of HTTP libraries name their objects.
    while (inner := _inside(error)) is not None:
        error = inner
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = " ".join(str(error).split())
    return text.rstrip(".") or type(error).__name__


def _inside(error: Exception) -> Exception | None:
    # Not `__context__`: it may be an error of the caller, who is handling it by sending a message.
    candidates = (error.__cause__, *error.args[-1:])
    return next((inner for inner in candidates if isinstance(inner, Exception)), None)
