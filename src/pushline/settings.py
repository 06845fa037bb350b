"""The one table of settings: flags, environment variables, ``--help`` and docs/reference/settings.md come from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from pushline.errors import ConfigurationError


def _setting(default: Any, help: str, *, metavar: str, flag: str = "", low: float = 0, high: float = 0) -> Any:
    """A row of the table. ``low`` and ``high`` bound a number (``high`` 0: no upper bound)."""
    row = {"help": help, "metavar": metavar, "flag": flag, "low": low, "high": high}
    if isinstance(default, list):
        return field(default_factory=lambda: tuple(default), metadata=row)
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a Pushline server behaves (contract, R1)."""

    listen: str = _setting("127.0.0.1:8080", "The address to serve on. Port 0 takes a free one.", metavar="HOST:PORT")
    api_listen: str = _setting(
        "",
        "Another address, HOST:PORT or `unix:PATH`: the application's API is there alone, and `/metrics` needs no key.",
        metavar="ADDRESS",
    )
    tls_cert: str = _setting(
        "", "A file with the certificate and its chain (PEM): `--listen` speaks TLS.", metavar="FILE"
    )
    tls_key: str = _setting("", "The file with the private key of the certificate (PEM).", metavar="FILE")
    store: str = _setting(
        "sqlite",
        "Where channels and messages live: `sqlite` (in the data dir) or `memory` (gone with the process).",
        metavar="URL",
    )
    data_dir: Path = _setting(
        Path("pushline-data"),
        "The folder of the database and of secrets that were made. It belongs to one process.",
        metavar="DIR",
    )
    allowed_origins: tuple[str, ...] = _setting(
        [],
        "An origin whose pages may connect, such as https://app.example.com; may be repeated. "
        "With none listed the token alone admits. The variable takes several, separated by spaces.",
        metavar="ORIGIN",
        flag="--allowed-origin",
    )
    ping_interval: float = _setting(25.0, "Seconds between two pings to a page.", metavar="SECONDS", low=0.1, high=3600)
    ping_timeout: float = _setting(
        10.0, "Seconds that a page has to answer a ping.", metavar="SECONDS", low=0.1, high=3600
    )
    grace: float = _setting(
        3.0,
        "Seconds that a page which vanished without a word keeps its place, and that one which was left has to come "
        "back before `disconnected` is told.",
        metavar="SECONDS",
        low=0,
        high=3600,
    )
    presence_url: str = _setting(
        "",
        "The address of the application, such as https://app.example.com: it is told who connects and disconnects, by "
        "POST to `/_ah/channel/connected/` and `/_ah/channel/disconnected/` there.",
        metavar="URL",
    )
    presence_format: str = _setting("form", "How that is told: `form` (url-encoded) or `multipart`.", metavar="FORMAT")
    retention: float = _setting(
        120.0, "Minutes that a message is kept for a page that is away.", metavar="MINUTES", low=1, high=10080
    )
    max_channel_messages: int = _setting(
        1000, "Messages kept for one channel; the oldest goes first.", metavar="COUNT", low=1
    )
    max_channel_bytes: int = _setting(
        1 << 20, "Bytes of messages kept for one channel; the oldest goes first.", metavar="BYTES", low=1
    )
    max_message_bytes: int = _setting(
        32767, "The longest message that is accepted.", metavar="BYTES", low=1, high=1 << 20
    )
    max_store_channels: int = _setting(
        2_000_000, "Channels that the whole store may hold; more are refused.", metavar="COUNT", low=1
    )
    max_store_messages: int = _setting(
        5_000_000, "Messages that the whole store may hold; more are refused.", metavar="COUNT", low=1
    )
    max_store_bytes: int = _setting(
        1 << 30, "Bytes of messages that the whole store may hold; more are refused.", metavar="BYTES", low=1
    )
    max_store_callbacks: int = _setting(
        100_000,
        "Presence callbacks that may wait for the application; beyond that a change is told when there is room.",
        metavar="COUNT",
        low=1,
    )
    durability: str = _setting(
        "process",
        "What an accepted message survives: `process` a crash of Pushline, `disk` a power cut too (an fsync a commit).",
        metavar="process|disk",
    )
    connect_rate: float = _setting(
        5000.0,
        "Pages that may connect in a second; the others are told when to come back. 0: any number.",
        metavar="COUNT",
        low=0,
    )
    max_connections: int = _setting(
        0,
        "Connections that may be open, of pages and applications; the others are told to come back. 0: any number.",
        metavar="COUNT",
    )
    max_per_address: int = _setting(
        0,
        "Connections that may be open from one IP address (IPv6: one /64). 0: any number. Behind a front it needs "
        "`--trusted-proxy`.",
        metavar="COUNT",
    )
    max_per_client: int = _setting(
        0,
        "Connections that one client id may have open (policy `share`); the others are told to come back. "
        "0: any number.",
        metavar="COUNT",
    )
    send_rate: float = _setting(
        0.0,
        "Messages a second that one API key may send, and five seconds' worth at once. 0: any number.",
        metavar="COUNT",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        [],
        "A network of proxies that are believed about whom they speak for (`X-Forwarded-For`, PROXY protocol), such as "
        "10.0.0.0/8, or `unix` for a front on a Unix socket; may be repeated.",
        metavar="CIDR",
        flag="--trusted-proxy",
    )
    request_timeout: float = _setting(
        30.0,
        "Seconds in which a request has to be there whole, and some of an answer be read.",
        metavar="SECONDS",
        low=1,
        high=3600,
    )
    idle_timeout: float = _setting(
        75.0, "Seconds that a connection without a request is kept open.", metavar="SECONDS", low=1, high=86400
    )
    drain_seconds: float = _setting(
        20.0,
        "At the end pages are asked to come back at moments spread over so many seconds.",
        metavar="SECONDS",
        low=0,
        high=3600,
    )
    legacy_dev_wire: bool = _setting(
        False,
        "Serve `/_ah/channel/dev` too, for programs that speak the wire of App Engine's development server. "
        "It puts tokens into addresses.",
        metavar="",
    )
    log_level: str = _setting(
        "info", "What is logged: `debug`, `info`, `warning` or `error` and what is graver.", metavar="LEVEL"
    )
    log_format: str = _setting(
        "text", "How log lines look: `text` for people, `json` for programs.", metavar="text|json"
    )


OF_A_SERVER_ALONE: Final = frozenset({"api_listen", "presence_url", "request_timeout", "tls_cert", "tls_key"})
"""What only ``pushline serve`` has, and not ``pushline run``: there the application is at the same address."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table, as flags and documents show it."""

    name: str
    flag: str
    variable: str
    kind: type
    many: bool
    default: Any
    help: str
    metavar: str
    low: float
    high: float

    @property
    def shown_default(self) -> str:
        """The default as one would type it, empty for none."""
        if self.many:
            return " ".join(self.default)
        if self.kind is bool:
            return "on" if self.default else ""
        return _digits(self.default) if isinstance(self.default, float) else str(self.default)

    def check(self, value: Any) -> None:
        """Raise :class:`ConfigurationError` when ``value`` is out of bounds."""
        if self.kind not in (int, float):
            return
        if not (value >= self.low and (not self.high or value <= self.high)):  # so that NaN is out of bounds
            top = f" and at most {_digits(self.high)}" if self.high else ""
            raise ConfigurationError(f"{self.flag} must be at least {_digits(self.low)}{top}, not {_digits(value)}.")


def _digits(number: float) -> str:
    return f"{number:.15g}"


def settings_table() -> Iterator[Setting]:
    """Every setting, in the order in which documents list them."""
    kinds = {"str": str, "bool": bool, "int": int, "float": float, "Path": Path, "tuple[str, ...]": str}
    for row in fields(Settings):
        meta = row.metadata
        many = row.default is MISSING
        flag = meta["flag"] or "--" + row.name.replace("_", "-")
        yield Setting(
            name=row.name,
            flag=flag,
            variable="PUSHLINE_" + flag[2:].replace("-", "_").upper(),
            kind=kinds[str(row.type)],
            many=many,
            default=row.default_factory() if row.default_factory is not MISSING else row.default,
            help=meta["help"],
            metavar=meta["metavar"],
            low=meta["low"],
            high=meta["high"],
        )
