"""Where Pushline is, and the API key: from arguments, else from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pushline.errors import ConfigurationError

DEFAULT_URL: Final = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of Pushline, without a slash at its end, and the API key, which no text shows."""

    url: str
    api_key: str = field(repr=False)

    @classmethod
    def find(cls, url: str | None, api_key: str | None, environ: Mapping[str, str] = os.environ) -> Endpoint:
        """Take what is given, and the rest from ``PUSHLINE_URL``, ``PUSHLINE_API_KEY`` or ``PUSHLINE_API_KEY_FILE``.

        Raises :class:`ConfigurationError` with a sentence that says what to set.
        """
        return cls(
            checked_url(url or environ.get("PUSHLINE_URL") or DEFAULT_URL),
            _checked_key(api_key or environ.get("PUSHLINE_API_KEY") or _key_of_file(environ)),
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json"}


def checked_url(url: str) -> str:
    """``url`` without a slash at its end. Raises :class:`ConfigurationError` when Pushline cannot be there."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no port is like this, or no IPv6 address
        valid = False
    if not valid:
        raise ConfigurationError(f"{url!r} is no address of Pushline: write one like {DEFAULT_URL}.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            "The address of Pushline has a user name, a query or a fragment: write scheme, host, port and path only."
        )
    return url.rstrip("/")


def _checked_key(keys: str) -> str:
    key = next(iter(keys.split()), None)  # of several that are good at once (contract, R3) the first is the newest
    if key is None:
        raise ConfigurationError(
            "There is no API key: pass api_key, or set PUSHLINE_API_KEY or PUSHLINE_API_KEY_FILE. "
            "The start message of `pushline serve` says where the key is."
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError("The API key has characters that a header cannot carry: is it the right text?")
    return key


def _key_of_file(environ: Mapping[str, str]) -> str:
    path = environ.get("PUSHLINE_API_KEY_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise ConfigurationError(f"PUSHLINE_API_KEY_FILE: {path} cannot be read: {reason}.") from error
