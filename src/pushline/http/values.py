"""What a handler answers with."""

from __future__ import annotations

import msgspec

Headers = tuple[tuple[str, str], ...]


class Response(msgspec.Struct, frozen=True):
    """An answer: status, content type ("" for no body), body, further headers."""

    status: int
    content_type: str = ""
    body: bytes = b""
    headers: Headers = ()
