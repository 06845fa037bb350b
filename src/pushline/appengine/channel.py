"""``google.appengine.api.channel`` as old programs know it: names, keywords, errors and their texts (contract, Y2).

Where a text here looks odd, it is App Engine's own: programs compare them.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Final

from pushline.appengine import service
from pushline.errors import ClientError, RequestRefused
from pushline.messages import (
    DEFAULT_DURATION_MINUTES,
    MAX_CLIENT_ID_BYTES,
    MAX_DURATION_MINUTES,
    Policy,
    is_client_id,
    parse_id,
)
from pushline.protocol.tokens import is_token

__all__ = [
    "MAXIMUM_CLIENT_ID_LENGTH",
    "MAXIMUM_MESSAGE_LENGTH",
    "MAXIMUM_TOKEN_DURATION_MINUTES",
    "AppIdAliasRequired",
    "Error",
    "InvalidChannelClientIdError",
    "InvalidChannelTokenDurationError",
    "InvalidMessageError",
    "create_channel",
    "send_message",
]

MAXIMUM_CLIENT_ID_LENGTH: Final = MAX_CLIENT_ID_BYTES
MAXIMUM_TOKEN_DURATION_MINUTES: Final = MAX_DURATION_MINUTES
MAXIMUM_MESSAGE_LENGTH: Final = 32767
"""All three are App Engine's, whatever the server's own limits are. Lengths are bytes of UTF-8."""


class Error(Exception):
    """The base of what this module raises; raised itself when Pushline does not answer, or refuses the API key."""


class InvalidChannelClientIdError(Error):
    """The client id is no text, empty or too long."""


class InvalidChannelTokenDurationError(Error):
    """The duration is not a whole number of minutes from 1 to 1440."""


class InvalidMessageError(Error):
    """The message is no text, empty or too long."""


class AppIdAliasRequired(Error):
    """Never raised: Pushline knows no aliases. Programs catch it."""


_REFUSALS: Final[dict[str, type[Error]]] = {
    "invalid_client_id": InvalidChannelClientIdError,
    "invalid_message": InvalidMessageError,
    "message_too_long": InvalidMessageError,
}
"""What the service itself refuses, and the error without a text that this was."""

_POLICIES: Final = [policy.value for policy in Policy]


def create_channel(client_id: str, duration_minutes: float | None = None) -> str:
    """Return a token with which pages connect to the channel of ``client_id``; its policy is ``share``.

    It lasts ``duration_minutes``, 1 to 1440, two hours when that is None. Raises
    :class:`InvalidChannelClientIdError` and :class:`InvalidChannelTokenDurationError`.
    """
    _check_client_id(client_id)
    minutes = DEFAULT_DURATION_MINUTES if duration_minutes is None else _minutes(duration_minutes)
    with _old_errors():
        return service.current().create_channel(client_id, minutes, policy=Policy.SHARE.value)


def send_message(client_id: str, message: str | bytes) -> None:
    """Send a text, or its UTF-8 bytes, to the pages of ``client_id``, or of the channel that a token is of.

    It is no error when no page is there. Raises :class:`InvalidChannelClientIdError` and
    :class:`InvalidMessageError`.
    """
    named = _named_by(client_id)
    if named is None:
        _check_client_id(client_id)
    data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    if not isinstance(data, bytes):
        raise InvalidMessageError("Message must be a string")
    if len(data) > MAXIMUM_MESSAGE_LENGTH:
        raise InvalidMessageError(f"Message must be no longer than {MAXIMUM_MESSAGE_LENGTH} chars")
    with _old_errors():
        send = service.current().send_message
        # A client id that only looks like a token comes first: whoever chose it gets no further than before.
        if named is None or is_client_id(client_id):
            status = send(client_id, data).status
            if named is None or status != "no_channel":
                return
        send(named, data)


def _check_client_id(client_id: object) -> None:
    if not isinstance(client_id, str):
        raise InvalidChannelClientIdError(f'"{client_id}" is not a string.')
    length = len(client_id.encode("utf-8", "surrogatepass"))
    if length > MAXIMUM_CLIENT_ID_LENGTH:
        raise InvalidChannelClientIdError(
            f"Client id length {length} is greater than max length {MAXIMUM_CLIENT_ID_LENGTH}"
        )


def _minutes(duration: object) -> int:
    # What was an integer in Python 2 may be a float in Python 3: a program divided.
    if not isinstance(duration, Integral) and not (isinstance(duration, float) and duration.is_integer()):
        raise InvalidChannelTokenDurationError("Argument duration_minutes must be integral")
    minutes = int(duration)
    if minutes < 1:
        raise InvalidChannelTokenDurationError("Argument duration_minutes must not be less than 1")
    if minutes > MAXIMUM_TOKEN_DURATION_MINUTES:
        raise InvalidChannelTokenDurationError(
            f"Argument duration_minutes must be less than {MAXIMUM_TOKEN_DURATION_MINUTES + 1}"
        )
    return minutes


def _named_by(text: object) -> str | None:
    """The client id that a token names, or None when ``text`` is no token. If it is genuine only the server knows."""
    if not isinstance(text, str) or not is_token(text):
        return None
    name, *rest = text.split(".")
    if len(rest) != 4 or parse_id(rest[0]) is None or rest[2] not in _POLICIES:
        return None
    try:
        return urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode() or None
    except ValueError:
        return None


@contextmanager
def _old_errors() -> Iterator[None]:
    try:
        yield
    except RequestRefused as refused:
        if refused.code in _REFUSALS:
            raise _REFUSALS[refused.code] from refused
        raise Error(str(refused)) from refused
    except ClientError as error:
        raise Error(str(error)) from error
    except UnicodeEncodeError:  # a lone surrogate, which Python 2 let pass and nothing after it
        raise InvalidChannelClientIdError from None
