"""Why a message did not arrive, in words that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pushline.protocol.codes import CLOSES, NORMAL, REPLACED, TOKEN_EXPIRED

if TYPE_CHECKING:
    from pushline.testing.page import Page
    from pushline.testing.store import Sent

Text = str | bytes | dict[str, Any] | list[Any] | int | float | bool | None
"""A message as it was sent: a text, its bytes, or a value that was sent as JSON."""

SHOWN: Final = 5
"""So many of the last messages are shown."""


def matches(message: Text, text: str) -> bool:
    """Whether ``text`` is the message."""
    if isinstance(message, bytes):
        return text == message.decode()
    if isinstance(message, str):
        return text == message
    try:
        return bool(msgspec.json.decode(text) == message)
    except msgspec.DecodeError:
        return False


def explain_page(page: Page, message: Text) -> str:
    """Why a page has not got a message, as far as the page knows."""
    lines = [f"{page.name} did not get {_shown(message)}.", _situation(page), _got(page.messages)]
    return "\n".join(line for line in lines if line)


def explain(client_id: str, message: Text, sent: Sequence[Sent], pages: Sequence[Page], channels: Sequence[str]) -> str:
    """Why no page of a client id has got a message. ``channels``: the client ids that have one now."""
    return "\n".join(
        [f"No page of {client_id!r} got {_shown(message)}.", *_reasons(client_id, message, sent, pages, channels)]
    )


def _reasons(
    client_id: str, message: Text, sent: Sequence[Sent], pages: Sequence[Page], channels: Sequence[str]
) -> list[str]:
    same = [each for each in sent if matches(message, each.message)]
    mine = [each for each in same if each.client_id == client_id]
    own = [page for page in pages if page.client_id == client_id]
    if any(each.id is not None for each in mine):
        if not own:
            return ["It was sent and is kept: no page was opened with a token of this client id. "
                    "Open one with `pushline_server.page(token)`."]  # fmt: skip
        return ["It was sent and kept.", *(f"{page.name}: {_situation(page)}" for page in own)]
    if mine:
        return ["It was sent, and answered `no_channel`: no token of this client id was good then. "
                "Create the channel first, or a new one after the old token has expired."]  # fmt: skip
    others = sorted({each.client_id for each in same})
    if others:
        return [f"It was sent to {_names(others)} instead."]
    lines = [f"It was never sent to {client_id!r}."]
    texts = [each.message for each in sent if each.client_id == client_id]
    lines.append(f"What was sent: {_texts(texts)}." if texts else "Nothing was sent to this client id at all.")
    if client_id not in channels:
        near = get_close_matches(client_id, channels, n=1)
        lines.append(
            f"It has no channel; did you mean {near[0]!r}?" if near else f"Those with a channel: {_names(channels)}."
        )
    return lines


def _situation(page: Page) -> str:
    if page.code == NORMAL:
        return "It was closed by the test or left, and gets nothing any more."
    if page.code is not None:
        close = CLOSES.get(page.code)
        hint = {
            TOKEN_EXPIRED: " Give the page a `refresh_token`, or open a new one with a new token.",
            REPLACED: ' Look at the newer page, or create the channel with `policy="share"`.',
        }.get(page.code, "")
        return f"It has ended with {page.code}: {close.sentence if close else 'no connection in time.'}{hint}"
    if page.asleep:
        return "Its computer sleeps: `page.wake()`."
    if page.offline:
        return "It has no network: `page.go_online()`."
    if page.connection == "none":
        return "It has no connection, and comes back as time passes: `pushline_server.advance(seconds=1)`."
    if page.connection == "half-open":
        return "Its connection is half-open, which shows as time passes: `pushline_server.advance(minutes=1)`."
    if page.rate is not None:
        return f"It takes {page.rate:g} bytes a second: `page.read_on()`, or let time pass."
    if page.state == "connecting":
        return "It is not connected yet: another page may be asked whether it keeps its place, as time passes."
    if "gap" in page.events:
        return "It was told that messages are missing (`gap`): this may be one of them."
    return "It is connected. Was the message sent before its token was created, or has its `ttl` passed?"


def _got(messages: Sequence[str]) -> str:
    return f"It got {_texts(messages)}." if messages else "It got no message at all."


def _texts(texts: Sequence[str]) -> str:
    last = ", ".join(_shown(text) for text in texts[-SHOWN:])
    return f"{len(texts)} messages, the last of them {last}" if len(texts) > SHOWN else last


def _names(client_ids: Sequence[str]) -> str:
    return ", ".join(repr(each) for each in client_ids[:SHOWN]) or "none"


def _shown(message: Text) -> str:
    text = repr(message)
    return text if len(text) <= 120 else f"{text[:117]}…"
