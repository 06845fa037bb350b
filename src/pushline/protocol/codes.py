# Generated from spec/codes.json by `make generate`. Do not edit.
"""Every close code (contract, W8) and every problem code (section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class CloseCode:
    """How a connection ends: ``ends`` says that the socket ends with it; ``http`` is the same on HTTP.

    ``sentence`` says what has happened, ``client`` what a client does then.
    """

    code: int
    name: str
    http: int | None
    ends: bool
    sentence: str
    client: str


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """How a request is refused: the stable name, the HTTP status and the title."""

    code: str
    status: int
    title: str


NORMAL: Final = 1000
GOING_AWAY: Final = 1001
INTERNAL_ERROR: Final = 1011
PROTOCOL_ERROR: Final = 4400
INVALID_TOKEN: Final = 4401
ORIGIN_NOT_ALLOWED: Final = 4403
TOKEN_EXPIRED: Final = 4408
REPLACED: Final = 4409
REVOKED: Final = 4410
DISCONNECTED: Final = 4411
TOO_MANY: Final = 4503
TOO_SLOW: Final = 4513

CLOSES: Final = MappingProxyType(
    {
        NORMAL: CloseCode(NORMAL, "normal", None, False, "The connection was closed in good order.", "Nothing: the page closed it, or a newer connection of the same page took over."),
        GOING_AWAY: CloseCode(GOING_AWAY, "going_away", 503, False, "The server is going away.", "Come back after the time in the reason (`retry=<ms>`) and resume."),
        INTERNAL_ERROR: CloseCode(INTERNAL_ERROR, "internal_error", 500, False, "An error happened in the server.", "Come back after a jittered pause and resume."),
        PROTOCOL_ERROR: CloseCode(PROTOCOL_ERROR, "protocol_error", 400, True, "The page sent something that the protocol does not know.", "Stop: the program that speaks this wire has a fault."),
        INVALID_TOKEN: CloseCode(INVALID_TOKEN, "invalid_token", 401, True, "The token is forged, malformed or was revoked before connecting.", "Stop; get a new token from the application."),
        ORIGIN_NOT_ALLOWED: CloseCode(ORIGIN_NOT_ALLOWED, "origin_not_allowed", 403, True, "Pages of this origin are not allowed to connect.", "Stop; the operator lists the origin in --allowed-origin."),
        TOKEN_EXPIRED: CloseCode(TOKEN_EXPIRED, "token_expired", 401, True, "The token has expired.", "Stop; get a new token from the application."),
        REPLACED: CloseCode(REPLACED, "replaced", 409, True, "Another page of this client id holds the place.", "Stop, and do not fight back: open again only when the user comes back to this page."),
        REVOKED: CloseCode(REVOKED, "revoked", 401, True, "The token was revoked while connected.", "Stop; get a new token from the application."),
        DISCONNECTED: CloseCode(DISCONNECTED, "disconnected", 409, True, "The application closed the connections of this client id.", "Stop; the token stays good."),
        TOO_MANY: CloseCode(TOO_MANY, "too_many", 503, False, "The server takes no more connections at the moment.", "Come back after the time in the reason (`retry=<ms>`) and resume."),
        TOO_SLOW: CloseCode(TOO_SLOW, "too_slow", None, False, "The page took no byte for the ping timeout.", "Come back after a jittered pause and resume."),
    }
)

PROBLEMS: Final = MappingProxyType(
    {
        "malformed_request": ProblemCode("malformed_request", 400, "The request is not well-formed HTTP"),
        "malformed_json": ProblemCode("malformed_json", 400, "The body is not the JSON that this address takes"),
        "unknown_field": ProblemCode("unknown_field", 400, "The body has a field that is not known here"),
        "unknown_parameter": ProblemCode("unknown_parameter", 400, "The query has a parameter that is not known here"),
        "invalid_parameter": ProblemCode("invalid_parameter", 400, "A query parameter has a value that it can not have"),
        "invalid_client_id": ProblemCode("invalid_client_id", 400, "The client id is not 1 to 256 bytes of UTF-8"),
        "invalid_duration": ProblemCode("invalid_duration", 400, "The duration is not a whole number of minutes from 1 to 1440"),
        "invalid_policy": ProblemCode("invalid_policy", 400, "The policy is not one of those that this server knows"),
        "invalid_message": ProblemCode("invalid_message", 400, "The message is empty or not UTF-8"),
        "invalid_ttl": ProblemCode("invalid_ttl", 400, "The ttl is not a number of seconds above 0"),
        "invalid_wait": ProblemCode("invalid_wait", 400, "The wait is not a number of seconds above 0 and at most 30"),
        "invalid_key": ProblemCode("invalid_key", 400, "The idempotency key is not 1 to 255 bytes"),
        "unauthorized": ProblemCode("unauthorized", 401, "The API key is missing or wrong"),
        "forbidden": ProblemCode("forbidden", 403, "The API key is not good for this"),
        "origin_not_allowed": ProblemCode("origin_not_allowed", 403, "Pages of this origin are not allowed to connect"),
        "no_channel": ProblemCode("no_channel", 404, "The client id has no channel"),
        "not_found": ProblemCode("not_found", 404, "There is nothing at this address"),
        "method_not_allowed": ProblemCode("method_not_allowed", 405, "This address does not take this method"),
        "request_timeout": ProblemCode("request_timeout", 408, "The request did not arrive whole in time"),
        "message_too_long": ProblemCode("message_too_long", 413, "The message is longer than the server takes"),
        "body_too_large": ProblemCode("body_too_large", 413, "The body is larger than this address takes"),
        "too_many_targets": ProblemCode("too_many_targets", 413, "The batch has more than 10,000 targets"),
        "unsupported_encoding": ProblemCode("unsupported_encoding", 415, "The body has a Content-Encoding that is not known here"),
        "upgrade_required": ProblemCode("upgrade_required", 426, "The handshake of a WebSocket has not arrived whole"),
        "uri_too_long": ProblemCode("uri_too_long", 414, "The address is longer than the server takes"),
        "headers_too_large": ProblemCode("headers_too_large", 431, "The headers are larger than the server takes"),
        "too_many_attempts": ProblemCode("too_many_attempts", 429, "This address has shown no good API key too often"),
        "too_many_sends": ProblemCode("too_many_sends", 429, "The API key sends more than it may"),
        "too_many_connections": ProblemCode("too_many_connections", 429, "There are more connections than may be"),
        "internal_error": ProblemCode("internal_error", 500, "An error happened in the server"),
        "unavailable": ProblemCode("unavailable", 503, "The server does not take requests at the moment"),
        "store_full": ProblemCode("store_full", 507, "The store cannot keep more"),
    }
)
