"""Who may use the application's API: whoever knows an API key, and for what it is good (contract, section 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Final

from pushline.admission import Rates, Tally, block_of
from pushline.errors import ConfigurationError, Problem
from pushline.http.request import Request
from pushline.http.values import TooMany

ALL: Final = "all"
SEND: Final = "send"
METRICS: Final = "metrics"
SCOPES: Final = (ALL, SEND, METRICS)
"""What a key may be good for: everything, sending messages (A2, A3), reading metrics (A5)."""

MIN_KEY_CHARACTERS: Final = 16
ATTEMPTS_PER_SECOND: Final = 0.2
ATTEMPTS_AT_ONCE: Final = 10.0
BURST_SECONDS: Final = 5.0

_NEVER: Final = b"\0"
"""No header is that."""

_SCHEME: Final = b"bearer "
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class ApiKey:
    """One key: its name, as metrics and logs may show it, what it is good for, and the texts that show it.

    ``text`` is the key, or ``name:scope:key``. A program may show either: so the same line is good for both sides.
    Raises :class:`ConfigurationError` for anything else; no sentence of it holds a key.
    """

    shown: tuple[bytes, ...]

    __slots__ = ("full", "name", "scope", "shown")

    def __init__(self, text: str, number: int) -> None:
        name, colon, rest = text.partition(":")
        if not colon:
            self.name, self.scope, self.full, self.shown = f"key{number}", ALL, True, (text.encode(),)
            return
        scope, _, key = rest.partition(":")
        if not _NAME.fullmatch(name) or scope not in SCOPES:
            raise ConfigurationError(
                f"API key number {number} is not of the form `name:scope:key`, with one of the scopes "
                f"{', '.join(SCOPES)}. A key without a name has no colon."
            )
        if len(key) < MIN_KEY_CHARACTERS:
            raise ConfigurationError(
                f"The API key `{name}` has {len(key)} characters; at least {MIN_KEY_CHARACTERS} are needed."
            )
        self.name, self.scope, self.full, self.shown = name, scope, scope == ALL, (key.encode(), text.encode())


class ApiKeys:
    """The API keys that are good at the moment.

    ``now`` is a monotonic clock. ``send_rate``: messages a second by each key, 0 for any number. A good key always
    passes, whoever else has failed at the same address: keys cannot be guessed, and a lock would be a weapon.
    """

    __slots__ = ("_attempts", "_best", "_best_key", "_headers", "_keys", "_now", "_sends", "_tally", "limits_sends")

    def __init__(
        self,
        keys: Sequence[str],
        now: Callable[[], float] | None = None,
        *,
        send_rate: float = 0.0,
        tally: Tally | None = None,
    ) -> None:
        self._now = now or _no_time
        self._attempts = Rates(ATTEMPTS_PER_SECOND if now else 0.0, ATTEMPTS_AT_ONCE)
        self._sends = Rates(send_rate, send_rate * BURST_SECONDS)
        self.limits_sends = bool(send_rate)
        self._tally = tally or Tally()
        self.replace(keys)

    def replace(self, keys: Sequence[str]) -> None:
        """From now on these are good. Raises :class:`ConfigurationError`, and then the old ones stay good."""
        read = [ApiKey(text, number) for number, text in enumerate(keys, 1)]
        self._keys = [(shown, key) for key in read for shown in key.shown]
        self._headers = [(b"Bearer " + shown, key) for shown, key in self._keys]  # as nearly every program writes it
        self._best, self._best_key = next((row for row in self._headers if row[1].full), (_NEVER, read[0]))

    def check(self, request: Request, scope: str = ALL) -> ApiKey:
        """The key that the request carries. Raises :class:`Problem` unless there is one that is good for ``scope``.

        The time it takes does not depend on how much of a key is right.
        """
        header = request.authorization
        if compare_digest(header, self._best):  # mostly; and then that was all
            return self._best_key
        for whole, key in self._headers:
            if compare_digest(header, whole):
                if not key.full and key.scope != scope:
                    raise self._forbidden(key)
                return key
        found: ApiKey | None = None
        if header[:7].lower() == _SCHEME:
            given = header[7:].strip()
            for shown, key in self._keys:
                if compare_digest(given, shown):
                    found = key
        if found is None:
            raise self._failed(request)
        if not found.full and found.scope != scope:
            raise self._forbidden(found)
        return found

    def spend(self, key: ApiKey, count: int) -> None:
        """Count messages that a key sends. Raises :class:`Problem` when they are too many."""
        wait = self._sends.admit(key.name, self._now(), count)
        if wait:
            self._tally.sends_limited += 1
            raise TooMany("too_many_sends", f"The key `{key.name}` sends more than --send-rate allows.", wait)

    def _forbidden(self, key: ApiKey) -> Problem:
        self._tally.forbidden += 1
        return Problem("forbidden", f"The API key `{key.name}` is good for `{key.scope}` alone.")

    def _failed(self, request: Request) -> Problem:
        """The refusal of a request without a good key. Who fails all the time is told less, and to wait."""
        now, block = self._now(), block_of(request.address)
        wait = self._attempts.admit(block, now)
        if wait:
            self._tally.attempts_limited += 1
            return TooMany("too_many_attempts", "This address has shown no good API key too often.", wait)
        self._tally.attempts_failed += 1
        header = request.authorization
        if not header:
            return Problem("unauthorized", "There is no `Authorization: Bearer <API key>` in the request.")
        if header[:7].lower() != _SCHEME:
            return Problem("unauthorized", "The `Authorization` of the request is not of the form `Bearer <API key>`.")
        return Problem("unauthorized", "The API key of the request is not the server's.")


def _no_time() -> float:
    return 0.0
