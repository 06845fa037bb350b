"""Every error of Pushline.

::

    PushlineError
    ├── Problem             a request of the application that is refused (contract, section 4)
    ├── ConnectionEnded     a connection of a page that is refused or ended (contract, W8)
    ├── ConfigurationError  a setting, secret or data dir that Pushline cannot run with
    ├── StoreError          the store could not do what it was asked
    │   └── StoreFull       it has no room; nothing of what was asked was kept
    ├── InvalidSignature    a callback that Pushline has not sent (contract, P2)
    └── ClientError         raised by the Python SDK
        ├── Unreachable     no answer came from Pushline
        └── RequestRefused  Pushline answered with a problem

An error carries data; the sentence is in ``__str__``. The numbers and names of problems and closes come from
``spec/codes.json``.
"""

from __future__ import annotations


class PushlineError(Exception):
    """The base of every error that Pushline raises on purpose."""


class Problem(PushlineError):
    """A request that is refused: rendered as an RFC 9457 problem.

    ``code`` is a key of :data:`pushline.protocol.codes.PROBLEMS`, which knows status and title; ``detail`` is a
    sentence about this very request that says what to do.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(code, detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class ConnectionEnded(PushlineError):
    """A connection that is refused or ended: ``code`` is a key of :data:`pushline.protocol.codes.CLOSES`.

    ``retry``: milliseconds after which the page is asked to come back, where the server knows better than the page.
    """

    def __init__(self, code: int, retry: int | None = None) -> None:
        self.code = code
        self.retry = retry
        super().__init__(code, retry)

    def __str__(self) -> str:
        return f"closed with {self.code}"


class ConfigurationError(PushlineError):
    """A setting, a secret or a data dir that Pushline cannot run with. The sentence says what to change."""


class StoreError(PushlineError):
    """The store could not do what it was asked."""


class StoreFull(StoreError):
    """The store has no room. Nothing of what was asked was kept; what it accepted before is safe."""


class InvalidSignature(PushlineError):
    """A callback that Pushline has not sent, or not now: ``reason`` says what is wrong. Answer it with 401."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"The callback is not one of Pushline: {self.reason}."


class ClientError(PushlineError):
    """The base of what the Python SDK raises."""


class Unreachable(ClientError):
    """No answer came from Pushline: ``url`` was asked, ``reason`` says what went wrong.

    Whether the request took effect is not known. A send with an idempotency key may be repeated.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"Pushline at {self.url} could not be reached: {self.reason}. Is `pushline serve` running there?"


class RequestRefused(ClientError):
    """Pushline refused a request with a problem (RFC 9457).

    ``status`` is the HTTP status, ``code`` the stable name (``docs/reference/codes.md``), ``title`` and ``detail``
    are sentences for people.
    """

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        super().__init__(status, code, title, detail)

    def __str__(self) -> str:
        return f"{self.title}: {self.detail} ({self.status} {self.code})"
