"""What a handler answers with."""

from __future__ import annotations

import msgspec

from pushline.errors import Problem

Headers = tuple[tuple[str, str], ...]


class Response(msgspec.Struct, frozen=True):
    """An answer: status, content type ("" for no body), body, further headers, and the reason if not the usual one."""

    status: int
    content_type: str = ""
    body: bytes = b""
    headers: Headers = ()
    reason: str = ""


class TooMany(Problem):
    """A request that comes too early (429): ``retry_after`` is in seconds."""

    def __init__(self, code: str, detail: str, retry_after: float) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
