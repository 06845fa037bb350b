"""Tokens: what they say, how they are signed and checked (contract, sections 1 and G9).

A token is ``<client id in base64url>.<id>.<expiry>.<policy>.<signature>``: short enough for a subprotocol, a header and
a quoted string. The id is the store's at the token's creation, so that "after the token" is one comparison; the
policy travels along so that a store that was lost opens the channel again as it was.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

import msgspec
from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from pushline.errors import ConnectionEnded
from pushline.messages import Policy, format_id, parse_id
from pushline.protocol.codes import INVALID_TOKEN, TOKEN_EXPIRED

MAX_TOKEN_CHARACTERS: Final = 1024
_SHAPE: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_TOKEN_CHARACTERS}}}", re.ASCII)
_SALT: Final = b"pushline.token.v1"


def is_token(text: str) -> bool:
    """Whether ``text`` has the shape of a token, so that a subprotocol and a header can carry it."""
    return _SHAPE.fullmatch(text) is not None


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What a token says: its channel, its id, when it ends (unix seconds), the channel's policy."""

    client_id: str
    id: int
    expires_at: int
    policy: Policy


class _HmacSha256(SigningAlgorithm):
    """HMAC-SHA256 (RFC 2104) in one call."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


class TokenSigner:
    """Signs and checks tokens with one or several secrets; the first signs, all of them are accepted."""

    __slots__ = ("_signer",)

    def __init__(self, secrets: Sequence[str]) -> None:
        # The keys are derived here, once, and not by itsdangerous for each token. It signs with the last of its list.
        keys = [hmac.digest(secret.encode(), _SALT, "sha256") for secret in reversed(secrets)]
        self._signer = Signer(keys, key_derivation="none", algorithm=_HmacSha256())

    def sign(self, claims: Claims) -> str:
        """The token that says ``claims``."""
        name = urlsafe_b64encode(claims.client_id.encode()).decode().rstrip("=")
        payload = f"{name}.{format_id(claims.id)}.{claims.expires_at}.{claims.policy.value}"
        return self._signer.sign(payload).decode()

    def verify(self, token: str, now: float) -> Claims:
        """What a token says, at unix time ``now``.

        Raises :class:`ConnectionEnded` with ``INVALID_TOKEN`` (forged, malformed) or ``TOKEN_EXPIRED``.
        """
        if not is_token(token):
            raise ConnectionEnded(INVALID_TOKEN)
        try:
            payload = self._signer.unsign(token).decode()
            # What is signed is of our own making: it has these four parts.
            name, id_text, expires_at, policy = payload.split(".")
            number = parse_id(id_text)
            if number is None:
                raise ValueError(id_text)
            claims = Claims(
                client_id=urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode(),
                id=number,
                expires_at=int(expires_at),
                policy=Policy(policy),
            )
        except (BadSignature, ValueError):
            raise ConnectionEnded(INVALID_TOKEN) from None
        if claims.expires_at <= now:
            raise ConnectionEnded(TOKEN_EXPIRED)
        return claims
