"""What the SDK returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a message (contract, G6).

    ``status`` is ``"sent"`` (written to a connection), ``"queued"`` (kept for a page that is away) or ``"no_channel"``
    (no live token: nothing was kept). ``id`` names the message; it is None for ``"no_channel"``.
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
