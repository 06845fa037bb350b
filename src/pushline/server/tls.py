"""TLS on the public address: modern defaults, and a certificate that can be renewed while pages are connected."""

from __future__ import annotations

import ssl
from typing import Final

from pushline.errors import ConfigurationError

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 what has forward secrecy and authenticates what it encrypts; TLS 1.3 has nothing else."""


class Tls:
    """The certificate of a server, from two files in PEM.

    Raises :class:`ConfigurationError` when they cannot be read or do not belong together.
    """

    def __init__(self, certificate: str, key: str) -> None:
        if not certificate or not key:
            raise ConfigurationError("--tls-cert and --tls-key belong together: give both, or none for plain HTTP.")
        self._files = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(_CIPHERS)
        self.context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        self.context.set_alpn_protocols(["http/1.1"])
        self._load(self.context)

    def reload(self) -> None:
        """Read the files again: handshakes from now on show the new certificate, connections stay as they are.

        Raises :class:`ConfigurationError`, and then the old one stays.
        """
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # half a reading must not stay in the one that serves
        self._load(self.context)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(*self._files, password=_no_password)
        except FileNotFoundError:
            raise ConfigurationError(f"{' or '.join(self._files)}: there is no such file.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise ConfigurationError(f"The certificate and its key cannot be used: {reason}.") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is here to ask for its password")
