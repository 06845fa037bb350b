"""What Pushline tells the application of its client ids: read and verified (contract, section 5 and Y3).

::

    presence = parse(request.headers, request.get_data())
    if presence.connected:
        ...
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from pushline import webhooks
from pushline.errors import ConfigurationError, InvalidSignature

VARIABLE: Final = "PUSHLINE_WEBHOOK_SECRET"

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]


@dataclass(frozen=True, slots=True)
class Presence:
    """What became of a client id: a page of it is ``connected``, or none is any more.

    ``sequence`` increases for ever for one client id: what has a lower one than the last that came is late, and can be
    passed over. ``time`` is when it came true, in unix seconds.
    """

    client_id: str
    connected: bool
    sequence: int
    time: int


def parse(headers: Headers, body: bytes, *, secret: str | Sequence[str] | None = None) -> Presence:
    """Read a callback of Pushline from its ``headers`` and the bytes of its ``body``.

    ``headers`` is what a framework has, or pairs of names and values. ``secret`` is taken from
    ``PUSHLINE_WEBHOOK_SECRET``, or the file that ``PUSHLINE_WEBHOOK_SECRET_FILE`` names, when it is not given; one of
    several, separated by spaces, is enough. Raises :class:`InvalidSignature` when Pushline has not sent that, or not
    in the last five minutes, and :class:`ConfigurationError` when there is no secret.
    """
    given = dict(_pairs(headers))
    id, stamp = given.get(webhooks.ID, ""), given.get(webhooks.TIMESTAMP, "")
    signatures = given.get(webhooks.SIGNATURE, "")
    if not id or not signatures or not stamp.isascii() or not stamp.isdigit():
        raise InvalidSignature("it has no signature of a webhook")
    if len(stamp) > len("9999999999") or abs(time.time() - int(stamp)) > webhooks.TOLERANCE_SECONDS:
        raise InvalidSignature("it was not sent in the last five minutes, or one of the clocks is wrong")
    if not webhooks.is_signed(_secrets(secret), id, int(stamp), body, signatures):
        raise InvalidSignature("it is signed with another secret, or was altered")
    try:
        fields = _fields(given.get("content-type", ""), body)
        event = fields["event"]
        if event not in ("connected", "disconnected"):
            raise ValueError(event)
        return Presence(fields["from"], event == "connected", int(fields["sequence"]), int(fields["time"]))
    except (KeyError, ValueError):
        raise InvalidSignature("it is signed, and no callback of presence") from None


def _pairs(headers: Headers) -> Iterable[tuple[str, str]]:
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        yield _text(name).lower(), _text(value)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _secrets(secret: str | Sequence[str] | None) -> Sequence[str]:
    if secret is None:
        secret = os.environ.get(VARIABLE) or _secret_of_file()
    secrets = secret.split() if isinstance(secret, str) else secret
    if not secrets:
        raise ConfigurationError(
            f"There is no secret to verify callbacks with: pass secret, or set {VARIABLE} or {VARIABLE}_FILE. "
            "The start message of `pushline serve` says where it is."
        )
    return secrets


def _secret_of_file() -> str:
    path = os.environ.get(VARIABLE + "_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise ConfigurationError(f"{VARIABLE}_FILE: {path} cannot be read: {reason}.") from error


def _fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form, of either kind. The body is one that Pushline has made."""
    kind, _, boundary = content_type.partition("boundary=")
    if not kind.lower().startswith("multipart/"):
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict"))
    fields = {}
    for part in (b"\r\n" + body).split(f"\r\n--{boundary}".encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        fields[head.decode().partition('name="')[2].rstrip('"')] = value.decode()
    return fields
