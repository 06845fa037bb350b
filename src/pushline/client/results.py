"""What the SDK returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a message (contract, G6).

    ``status`` is ``"sent"`` (written to a connection), ``"queued"`` (kept for a page that is away), ``"no_channel"``
    (no live token: nothing was kept; of a repeat, nothing is kept any more) or, when it was waited for,
    ``"delivered"`` (a page has acknowledged it). ``id`` names the message; it is None for ``"no_channel"``.
    """

    id: str | None
    status: str


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of the message to one target of ``send_many`` (contract, A3).

    ``id`` and ``status`` are those of :class:`SendResult`. For a target that was refused both are None, and ``code``
    and ``detail`` say why.
    """

    to: str
    id: str | None = None
    status: str | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection of a page: ``transport`` is ``"websocket"``, ``"sse"`` or ``"longpoll"``, ``page`` names its socket.

    ``acknowledged`` is the id up to which that page has handled its messages.
    """

    transport: str
    page: str
    acknowledged: str


@dataclass(frozen=True, slots=True)
class Callback:
    """Something that the application was not told yet (contract, P1).

    ``event`` is ``"connected"`` or ``"disconnected"``, ``time`` when it came true, in unix seconds. ``tries`` counts
    those that failed, ``error`` says why, and ``given_up`` that it is not tried any more.
    """

    event: str
    sequence: int
    time: int
    given_up: bool
    tries: int
    error: str | None


@dataclass(frozen=True, slots=True)
class KeptCallback(Callback):
    """The same in the list of all client ids."""

    client_id: str


@dataclass(frozen=True, slots=True)
class CallbackList:
    """Callbacks that were not accepted yet, oldest first.

    ``waiting`` and ``given_up`` say how many there are, ``no_handler`` for which events the application has no
    handler. ``next`` is the ``after`` of the next part of the list; None: that was all.
    """

    waiting: int
    given_up: int
    no_handler: list[str]
    callbacks: list[KeptCallback]
    next: str | None


@dataclass(frozen=True, slots=True)
class ClientState:
    """A channel as it is now (contract, A4).

    ``queued`` counts the messages that are kept, ``acknowledged`` is the highest id that a page has acknowledged (None
    before any), ``expires_at`` is the time at which the last token ends. ``callbacks`` is what the application was not
    told yet of who is there, oldest first.
    """

    client_id: str
    connected: bool
    connections: list[Connection]
    queued: int
    acknowledged: str | None
    expires_at: datetime
    callbacks: list[Callback] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ListedClient:
    """A client id that has a channel: whether a page is connected, and when its last token ends."""

    client_id: str
    connected: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ClientList:
    """Some client ids, in order. ``next`` is the ``after`` of the next part of the list; None: that was all."""

    clients: list[ListedClient]
    next: str | None
