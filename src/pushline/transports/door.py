"""The one address that pages connect to (contract, section 3), and what is asked there without a WebSocket."""

from __future__ import annotations

from typing import Final

import msgspec

from pushline.errors import ConnectionEnded, Problem
from pushline.http.page import CORS, PREFLIGHT, refusal
from pushline.http.request import Request
from pushline.http.responses import Encoder, Later, problem_response
from pushline.http.values import Response
from pushline.messages import parse_id
from pushline.protocol.codes import PROTOCOL_ERROR
from pushline.protocol.frames import Ack, FreshToken, Leave, Up
from pushline.protocol.values import Close
from pushline.transports.base import Door, Stream, Wire, is_page
from pushline.transports.longpoll import LongPollTransport
from pushline.transports.sse import SseTransport

CONNECT: Final = b"/_ah/channel/connect"
MAX_POST_BYTES: Final = 4096
"""The longest frame by POST: a token and its JSON fit in well."""

_DONE: Final = Response(204, headers=CORS)


class _Posted(msgspec.Struct):
    """A frame of a page, with the token that admits it (W3). For a fresh token that is the fresh one itself."""

    token: str
    page: str
    type: str
    id: str = ""


_decoder: Final = msgspec.json.Decoder(_Posted)


def answer(door: Door, request: Request, wire: Wire, encoder: Encoder) -> Response | Later | Stream:
    """What becomes of a request to :data:`CONNECT` that is no WebSocket handshake.

    A :class:`Stream` takes the connection over, once it is started. Never raises.
    """
    match request.method:
        case b"GET" if request.sec_websocket_key:
            detail = "This WebSocket has come without `Upgrade: websocket`: a proxy on the way does not pass it on."
            return problem_response(Problem("upgrade_required", detail), CORS)
        case b"GET" if b"application/json" in request.accept.lower():
            poll = LongPollTransport(door, wire)
            poll.start(request)
            return poll
        case b"GET":
            return SseTransport(door, wire, encoder)
        case b"POST":
            return _post(door, request)
        case b"OPTIONS":
            return PREFLIGHT
    detail = f"This address does not take {request.method.decode('latin-1')}; it takes GET, POST, OPTIONS."
    return problem_response(Problem("method_not_allowed", detail), (("Allow", "GET, POST, OPTIONS"), *CORS))


def _post(door: Door, request: Request) -> Response:
    if len(request.body) > MAX_POST_BYTES:
        problem = Problem("body_too_large", f"The body is longer than {MAX_POST_BYTES} bytes.")
        return problem_response(problem, CORS)
    try:
        door.admit(request)
        posted, frame = _frame_of(request.body)
        door.hub.posted(door.hub.verify(posted.token), posted.page, frame)
    except ConnectionEnded as ended:
        return refusal(Close(ended.code, ended.retry))
    return _DONE


def _frame_of(body: bytes) -> tuple[_Posted, Up]:
    try:
        posted = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ConnectionEnded(PROTOCOL_ERROR) from None
    frame: Up
    match posted.type:
        case "ack":
            frame = Ack(posted.id)
        case "leave":
            frame = Leave(posted.id)
        case "token":
            frame = FreshToken(posted.token)
        case _:
            raise ConnectionEnded(PROTOCOL_ERROR)
    if not is_page(posted.page) or (posted.id and parse_id(posted.id) is None):
        raise ConnectionEnded(PROTOCOL_ERROR)
    return posted, frame
