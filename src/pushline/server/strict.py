"""What the parser lets through and RFC 9112 does not, or what two readers could take for two things.

A front and Pushline must agree on where a request ends and for whom it is. So whatever is not quite right is refused,
never mended. All of it is looked at once for each connection and kind of request, not on the way of each.
"""

from __future__ import annotations

import re
from typing import Final

from pushline.errors import Problem
from pushline.http.request import Request

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]*)?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@\s]+)(/[^?#]*)?(\?[^#]*)?", re.IGNORECASE)


def examine(request: Request, version: str) -> None:
    """Raise :class:`Problem` when the head of a request of HTTP/``version`` is not one that everybody reads alike."""
    if version not in ("1.1", "1.0"):
        raise _malformed(f"it is HTTP/{version}, and this server speaks 1.1 and 1.0")
    coding = request.transfer_encoding.strip().lower()
    if coding and coding != b"chunked":
        raise _malformed("its `Transfer-Encoding` is something else than `chunked`")
    if coding and version == "1.0":
        raise _malformed("HTTP/1.0 has no `Transfer-Encoding`")  # RFC 9112, 6.1
    if version == "1.1" and not request.host:
        raise _malformed("it has no `Host`")  # RFC 9112, 3.2
    if not _HOST.fullmatch(request.host):
        raise _malformed("its `Host` is no host, or there are several")
    if request.upgrade and version == "1.0":
        raise _malformed("HTTP/1.0 has no `Upgrade`")  # RFC 9110, 7.8


def path_of(target: bytes, request: Request) -> bytes:
    """Path and query of a target that does not begin with a slash, or has a fragment.

    An absolute one is taken as RFC 9112 (3.2.2) wants, when it names the host that ``Host`` names. Raises
    :class:`Problem` for all others but ``*``, and the target of CONNECT, which is refused elsewhere.
    """
    if target == b"*" or request.method == b"CONNECT":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise _malformed("its target is neither a path nor an address of http or https without a fragment")
    host, path, query = absolute.groups(b"")
    if host.lower() != request.host.strip().lower():
        raise _malformed("its target names another host than its `Host`")
    return (path or b"/") + query


def _malformed(reason: str) -> Problem:
    return Problem("malformed_request", f"The request is not HTTP/1.1 as this server takes it: {reason}.")
