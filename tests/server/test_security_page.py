"""docs/explanation/security.md: each input that its table lists has the outcome that stands beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.http.rig import BEARER, PROBLEMS, Page, Peer, Rig, parse_answers, request_bytes
from tests.server.test_rfc6455 import BROKEN, NOT_OURS
from tests.server.test_strict import CHUNKED, CONNECT, HEALTH, REFUSED, TAKEN, UPGRADE

from pushline.server.native import IDLE_SECONDS, LOOK_SECONDS, MAX_HEADER_BYTES, MAX_URL_BYTES, REQUEST_SECONDS

TEXT: Final = (Path(__file__).parents[2] / "docs/explanation/security.md").read_text(encoding="utf-8")
LATE: Final = REQUEST_SECONDS + 2 * LOOK_SECONDS


def table() -> dict[str, str]:
    """What is tried, and the outcome; "the same" is that of the row above."""
    section = TEXT.partition("## What strangers send\n")[2].partition("\n## ")[0]
    rows: dict[str, str] = {}
    outcome = ""
    for tried, said in re.findall(r"^\| (?!---|tried)(.*?) \| (.*) \|$", section, re.M):
        outcome = outcome if said == "the same" else said
        rows[tried] = outcome
    return rows


def answer(data: bytes, seconds: float = 0.0) -> str:
    """Status and code of the last answer to some bytes, after so long; "ends" when there is none."""
    rig = Rig()
    rig.token("ann")
    peer = Peer(rig)
    peer.write(data)
    rig.clock.advance(seconds)
    answers = parse_answers(peer.pipe.take(), iter(()))
    if not answers:
        return "ends" if peer.pipe.ended or peer.pipe.closed else "stays"
    last = answers[-1]
    return f"{last.status} {last.json['code']}" if last.status >= 400 else str(last.status)


def unread() -> str:
    """What becomes of a peer that does not read its answer."""
    rig = Rig()
    peer = Peer(rig)
    peer.write(request_bytes("GET", "/_ah/channel/jsapi"))
    rig.clock.advance(LATE)
    return "cut" if peer.pipe.closed else "stays"


def idle() -> str:
    rig = Rig()
    peer = Peer(rig)
    peer.ask("GET", "/health")
    rig.clock.advance(IDLE_SECONDS + 2 * LOOK_SECONDS)
    return "ends" if peer.pipe.ended or peer.pipe.closed else "stays"


def close(data: bytes) -> str:
    """How a page's connection ends to which these frames came."""
    page = Rig().page("ann")
    page.pipe.feed(data)
    return str(page.close().code)


def one_too_many() -> str:
    rig = Rig(max_per_client=1)
    rig.page("ann", policy="share")
    return str(Page(rig, rig.token("ann", policy="share")).close().code)


def refused(*beginnings: str) -> list[Callable[[], str]]:
    """Those requests of ``test_strict`` whose names begin so."""
    found = [data for name, data in REFUSED.items() if name.startswith(beginnings)]
    assert len(found) >= len(beginnings)
    return [lambda data=data: answer(data) for data in found]  # type: ignore[misc]


def closed(code: int) -> list[Callable[[], str]]:
    """Those frames of ``test_rfc6455`` that are closed with a code."""
    return [lambda data=data: close(data) for data, known in BROKEN.values() if known == code]  # type: ignore[misc]


def post(target: str, body: bytes, **headers: str) -> Callable[[], str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: answer(request_bytes("POST", target, BEARER | named, body))


SEND: Final = "/v1/clients/ann/messages"

TRIED: Final[dict[str, list[Callable[[], str]]]] = {
    "address, headers or body beyond the limit": [
        lambda: answer(request_bytes("GET", "/" + "x" * MAX_URL_BYTES)),
        lambda: answer(request_bytes("GET", "/health", {"A": "x" * (MAX_HEADER_BYTES + 1)})),
        post(SEND, b"x" * 100_000),
    ],
    "a head, body or handshake that comes byte by byte": [
        lambda: answer(HEALTH, LATE),
        lambda: answer(CHUNKED + b"5\r\nhe", LATE),
        lambda: answer(CONNECT + UPGRADE, LATE),
    ],
    "a connection that says nothing": [lambda: answer(b"", LATE)],
    "an answer that is not read": [unread],
    "an idle connection": [idle],
    "`Content-Length` with `Transfer-Encoding`, two lengths, a list, a sign, another base": refused(
        "length and", "chunks and", "two lengths", "the same length", "a list", "a length"
    ),
    "any `Transfer-Encoding` but `chunked`, or one in HTTP/1.0": refused(
        "chunks in", "chunks after", "chunks before", "something", "identity", "an empty coding", "chunks of HTTP/1.0"
    ),
    "folded headers, bare LF or CR, NUL, a space before the colon": refused(
        "a folded", "bare LF", "a bare", "a NUL in a header", "a space before the colon"
    ),
    "chunk sizes with signs, spaces, underscores, too many digits; chunks that end elsewhere": refused("a chunk"),
    "chunk extensions": [lambda: answer(TAKEN["an extension, which is passed over"])],
    "a target with another host than `Host`, a user name, a fragment or another scheme": refused(
        "another host", "a user in the target", "a fragment", "another scheme"
    ),
    "no `Host`, several, or one that is none; HTTP/0.9, 1.2 and 2.0": refused(
        "no host", "two hosts", "an empty host", "a path in the host", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0"
    ),
    "a WebSocket handshake with a body or in HTTP/1.0": refused("a handshake"),
    "frames without a mask, with reserved bits or opcodes, control frames in fragments or too long": [
        lambda data=data: close(data)  # type: ignore[misc]
        for name, (data, _) in BROKEN.items()
        if name.startswith(("a frame without", "the first reserved", "the reserved opcode", "a ping"))
    ],
    "texts that are no UTF-8 or none of this wire's, binary messages": [
        lambda data=data: close(data)  # type: ignore[misc]
        for data in NOT_OURS.values()
    ],
    "messages above 4,096 bytes, in one frame or in fragments": closed(1009),
    "a lone surrogate in JSON": [post("/v1/channels", b'{"client_id":"\\ud800"}')],
    "JSON of any depth, members that are not known": [
        post("/v1/channels", b'{"client_id":' + b"[" * 5000),
        post("/v1/channels", b'{"client_id":"ann","and":1}'),
    ],
    "an empty or endless idempotency key": [
        post(SEND, b"x", Idempotency_Key=""),
        post(SEND, b"x", Idempotency_Key="k" * 256),
    ],
    "one connection of a client id too many": [one_too_many],
}

ELSEWHERE: Final = {"any other bytes", "the test suite of Autobahn", "requests that the description of the API allows"}
"""How these rows begin: there are programs and tests of their own for them."""


def test_every_row_is_tried() -> None:
    rows = {tried for tried in table() if not tried.startswith(tuple(ELSEWHERE))}
    assert rows == set(TRIED)


@pytest.mark.parametrize("tried", TRIED)
def test_the_outcome_is_the_one_that_is_told(tried: str) -> None:
    told = table()[tried]
    names = set(re.findall(r"`(\w+)`", told)) & set(PROBLEMS)
    for attempt in TRIED[tried]:
        outcome, _, code = attempt().partition(" ")
        assert re.search(rf"\b{outcome}\b", told) or (outcome == "200" and told.startswith("passed over")), outcome
        assert not names or code in names
