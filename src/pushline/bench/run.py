"""``pushline bench``: one load on one's own server."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from .asking import ask_all
from .dialect import PushlineDialect
from .faults import LoadFault
from .load import Load, Outcome
from .pages import Progress
from .processes import ProcessTree
from .senders import Pattern
from .tally import MARK_BYTES, Tally

WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. ``rate`` 0: as fast as requests are answered. ``pid``: the server, when it runs on this machine."""

    pages: int
    senders: int
    pattern: Pattern
    size: int
    seconds: float
    pid: int | None = None

    def __post_init__(self) -> None:
        if self.size < MARK_BYTES:
            raise LoadFault(f"A message has at least {MARK_BYTES} bytes: they carry what is verified.")
        if self.senders > self.pages:
            raise LoadFault("There may not be more connections to send on than pages: each has pages of its own.")


@dataclass(frozen=True, slots=True)
class Server:
    """An address of Pushline, taken apart. ``prefix`` is the path before its own."""

    host: str
    port: int
    prefix: str

    @classmethod
    def at(cls, url: str) -> Server:
        """Raises :class:`LoadFault` where the generator cannot go."""
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise LoadFault(
                "The generator speaks no TLS: give the address at which Pushline itself listens (http://…)."
            )
        return cls(parts.hostname or "", parts.port or 80, parts.path.rstrip("/"))

    @property
    def name(self) -> str:
        """As in a ``Host`` header."""
        return f"{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """As of a socket."""
        return self.host, self.port


def run(plan: Plan, url: str, api_key: str, progress: Progress) -> tuple[Outcome, float | None]:
    """Do it: what became of the messages, and the CPU seconds of the server if its process is known.

    The channels are made for it, and revoked at the end. Raises :class:`LoadFault`.
    """
    server = Server.at(url)
    group = f"bench-{secrets.token_hex(6)}"
    client_ids = [f"{group}-{page}" for page in range(plan.pages)]
    dialect = PushlineDialect(server.name, server.prefix, api_key, client_ids)
    tree = ProcessTree(plan.pid) if plan.pid is not None else None
    with contextlib.ExitStack() as undoing:
        undoing.callback(_revoke, server, dialect, client_ids, progress)
        dialect.tokens = make_channels(server.address, dialect, client_ids, "replace", progress)
        with Load(dialect, Tally(plan.pages, plan.size), server.address) as load:
            load.open(progress)
            load.connect_senders(plan.senders)
            load.send(plan.pattern, min(WARM_SECONDS, plan.seconds), progress, "warming up")
            before = tree.cpu_seconds() if tree is not None else 0.0
            outcome = load.send(plan.pattern, plan.seconds, progress)
            spent = tree.cpu_seconds() - before if tree is not None else None
    return outcome, spent


def make_channels(
    address: tuple[str, int], dialect: PushlineDialect, client_ids: list[str], policy: str, progress: Progress
) -> list[str]:
    """A token for each client id. Raises :class:`LoadFault`."""
    tokens = []
    for answer in ask_all(address, [dialect.channel(client_id, policy) for client_id in client_ids]):
        tokens.append(answer.body.decode().strip())
        progress(f"making {len(client_ids):,} channels", len(tokens) / len(client_ids))
    return tokens


def _revoke(server: Server, dialect: PushlineDialect, client_ids: list[str], progress: Progress) -> None:
    with contextlib.suppress(LoadFault):  # what failed before says more
        for number, _ in enumerate(ask_all(server.address, [dialect.revoke(client_id) for client_id in client_ids])):
            progress("removing them", number / len(client_ids))
