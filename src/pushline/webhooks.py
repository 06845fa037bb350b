"""Signatures of callbacks, as Standard Webhooks (https://www.standardwebhooks.com) has them (contract, P2).

Made by the server and verified by the SDK. What is signed is ``<webhook-id>.<webhook-timestamp>.<body>``, with
HMAC-SHA256.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Sequence
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

PREFIX: Final = "whsec_"
"""How a secret begins whose rest is the key in base64. Any other text is a key itself, in UTF-8."""

TOLERANCE_SECONDS: Final = 300
"""How far the clocks of both sides may differ: what is older may be a copy that somebody sends again."""


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The signature of a body, for the header ``webhook-signature``."""
    signed = b"%b.%d.%b" % (id.encode(), timestamp, body)
    return "v1," + b64encode(hmac.digest(_key_of(secret), signed, hashlib.sha256)).decode()


def is_signed(secrets: Sequence[str], id: str, timestamp: int, body: bytes, signatures: str) -> bool:
    """Whether one of the signatures in a header is that of one of the secrets."""
    good = False
    for secret in secrets:
        expected = sign(secret, id, timestamp, body).encode()
        for signature in signatures.split():
            good |= hmac.compare_digest(expected, signature.encode())
    return good


def _key_of(secret: str) -> bytes:
    if secret.startswith(PREFIX):
        try:
            return b64decode(secret[len(PREFIX) :], validate=True)
        except BadBase64:
            pass
    return secret.encode()
