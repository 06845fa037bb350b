"""The API key and the secrets of tokens and webhooks: from the environment, or made once and kept in the data dir.

Contract, R1.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pushline import webhooks
from pushline.errors import ConfigurationError

MIN_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class Secret:
    """One kind of secret: the variable that gives it, and the file in the data dir that keeps a made one."""

    variable: str
    file: str
    prefix: str = ""
    """What a made one begins with. With any, the rest is base64 as RFC 4648 has it: libraries expect that of some."""

    def make(self) -> str:
        """A new one."""
        made = secrets.token_bytes(32)
        return self.prefix + b64encode(made).decode() if self.prefix else urlsafe_b64encode(made).decode().rstrip("=")


API_KEY: Final = Secret("PUSHLINE_API_KEY", "api-key")
TOKEN_SECRET: Final = Secret("PUSHLINE_SECRET", "secret")
WEBHOOK_SECRET: Final = Secret("PUSHLINE_WEBHOOK_SECRET", "webhook-secret", prefix=webhooks.PREFIX)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The values that are good at the moment (the first one is used, all are accepted), and where they came from."""

    values: tuple[str, ...]
    source: str

    def __repr__(self) -> str:
        return f"Loaded(from {self.source})"


def load(secret: Secret, environment: Mapping[str, str], data_dir: Path | None, *, make: bool) -> Loaded:
    """A secret's values: from its variable, from the file that ``…_FILE`` names, or from the data dir.

    Several values, separated by white space or lines, are all good. ``make``: when there is none anywhere, one is made
    and kept in the data dir, readable by its owner alone. Raises :class:`ConfigurationError` when there is none, or
    one is too short.
    """
    variable = secret.variable
    if environment.get(variable):
        return _checked(environment[variable], variable)
    if environment.get(variable + "_FILE"):
        path = Path(environment[variable + "_FILE"])
        return _checked(_read(path), str(path))
    if data_dir is None:
        raise ConfigurationError(f"There is no {variable}. Set it, or {variable}_FILE.")
    path = data_dir / secret.file
    if make:
        _make(path, secret)
    missing = f"There is no {variable} and no {path}. Set the variable, or name the server's --data-dir."
    return _checked(_read(path, missing), str(path))


def _read(path: Path, missing: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(missing or f"{path} cannot be read: there is no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{path} cannot be read: {reason}.") from None


def _make(path: Path, secret: Secret) -> None:
    """Make a secret and keep it, unless one is kept there already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret.make() + "\n")


def _checked(text: str, source: str) -> Loaded:
    values = tuple(text.split())
    if not values:
        raise ConfigurationError(f"{source} is empty.")
    for value in values:
        if len(value) < MIN_CHARACTERS:
            raise ConfigurationError(
                f"{source} has a secret of {len(value)} characters; at least {MIN_CHARACTERS} are needed. "
                "`openssl rand -hex 32` makes a good one."
            )
    return Loaded(values, source)
