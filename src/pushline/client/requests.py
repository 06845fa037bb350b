"""The application's HTTP API (contract, section 4) as pure functions: calls to requests, answers to results.

No I/O happens here. The clients add the API key, move the bytes, and share everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Required, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from pushline.client.results import CallbackList, ClientList, ClientState, SendResult, TargetResult
from pushline.client.sends import Part, Send
from pushline.errors import RequestRefused
from pushline.protocol.codes import PROBLEMS

# The client id travels in the query: proxies decode `%2F` in a path, and URL libraries fold `.` and `..` there.
_CLIENT: Final = "/v1/clients/-"
_JSON: Final = "application/json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to Pushline, but for its address and the API key.

    ``repeatable`` tells that it takes effect once even when it is made twice; ``wait`` is the seconds for which
    Pushline may hold back the answer on purpose.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    repeatable: bool = False
    wait: float = 0.0

    @property
    def target(self) -> str:
        """Path and query, percent-encoded."""
        if not self.query:
            return self.path
        query = [f"{name}={quote(value, safe='')}" for name, value in self.query.items()]
        return f"{self.path}?{'&'.join(query)}"


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What came back. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Item(TypedDict, total=False):
    """One item of ``send_many``: ``to`` with either ``data`` or ``json``.

    ``to`` is a client id or several, ``data`` a text, ``json`` any value that JSON can carry, ``key`` an idempotency
    key, ``ttl`` the seconds for which the message is kept.
    """

    to: Required[str | list[str]]
    data: str | bytes
    json: Any
    key: str
    ttl: float


def create_channel(client_id: str, duration_minutes: int, policy: str | None) -> ApiRequest:
    """Ask for a token (contract, A1)."""
    channel: dict[str, object] = {"client_id": client_id, "duration_minutes": duration_minutes}
    if policy is not None:
        channel["policy"] = policy
    return ApiRequest("POST", "/v1/channels", headers={"Content-Type": _JSON}, body=msgspec.json.encode(channel))


def send(message: Send) -> ApiRequest:
    """Send a message by itself (contract, A2)."""
    query = {"client_id": message.client_id}
    headers = {"Content-Type": message.content_type}
    if message.ttl is not None:
        query["ttl"] = str(message.ttl)
    if message.wait is not None:
        query["wait"] = str(message.wait)
    if message.key is not None:
        headers["Idempotency-Key"] = message.key
    repeatable = message.key is not None
    path = f"{_CLIENT}/messages"
    return ApiRequest("POST", path, query, headers, message.data, repeatable=repeatable, wait=message.wait or 0.0)


def get_client(client_id: str) -> ApiRequest:
    """Look a channel up (contract, A4)."""
    return ApiRequest("GET", _CLIENT, {"client_id": client_id}, repeatable=True)


def list_clients(connected: bool | None, prefix: str, after: str, limit: int) -> ApiRequest:
    """List client ids (contract, A4)."""
    query = {"prefix": prefix, "after": after, "limit": str(limit)}
    if connected is not None:
        query["connected"] = "true" if connected else "false"
    return ApiRequest("GET", "/v1/clients", query, repeatable=True)


def disconnect(client_id: str) -> ApiRequest:
    """End the connections of a client id (contract, A4)."""
    return ApiRequest("POST", f"{_CLIENT}/disconnect", {"client_id": client_id})


def revoke(client_id: str) -> ApiRequest:
    """Make the tokens of a client id void (contract, A4)."""
    return ApiRequest("DELETE", _CLIENT, {"client_id": client_id})


def list_callbacks(after: str, limit: int) -> ApiRequest:
    """List what the application was not told yet."""
    return ApiRequest("GET", "/v1/callbacks", {"after": after or "0", "limit": str(limit)}, repeatable=True)


def retry_callbacks(client_id: str | None) -> ApiRequest:
    """Have sent again what was given up."""
    query = {} if client_id is None else {"client_id": client_id}
    return ApiRequest("POST", "/v1/callbacks/retry", query, repeatable=True)


def send_many(items: Iterable[Item]) -> ApiRequest:
    """Send a batch (contract, A3). It may be repeated when every item has a key."""
    messages = [_with_text(item) for item in items]
    return ApiRequest(
        "POST",
        "/v1/messages",
        headers={"Content-Type": _JSON},
        body=msgspec.json.encode({"messages": messages}),
        repeatable=all("key" in message for message in messages),
    )


def send_part(part: Part) -> ApiRequest:
    """Send a part of a batch (contract, A3)."""
    body = b'{"messages":[%b]}' % b",".join(part.items)
    return ApiRequest("POST", "/v1/messages", headers={"Content-Type": _JSON}, body=body, repeatable=part.repeatable)


def parse_token(response: ApiResponse) -> str:
    """The token that ``create_channel`` asked for."""
    return _parse(response, _Channel).token


def parse_sent(response: ApiResponse) -> SendResult:
    """What became of one message."""
    return _parse(response, SendResult)


def parse_sent_many(response: ApiResponse) -> list[TargetResult]:
    """What became of the messages of a batch: one result for each target, in the order of the targets."""
    return _parse(response, _Results).results


def parse_part(response: ApiResponse, part: Part) -> list[TargetResult]:
    """What became of the messages of a part, in their order."""
    results = parse_sent_many(response)
    if len(results) != len(part.items):
        raise _unexpected(response)
    return results


def outcome_of(result: TargetResult) -> SendResult:
    """What a send by itself would have returned, or raised: :class:`RequestRefused`."""
    if result.status is not None:
        return SendResult(result.id, result.status)
    code, detail = result.code or "", result.detail or ""
    problem = PROBLEMS.get(code)
    if problem is None:  # of a later version
        raise RequestRefused(400, code, "The message is refused", detail)
    raise RequestRefused(problem.status, code, problem.title, detail)


def parse_client(response: ApiResponse) -> ClientState:
    """The state of a channel."""
    return _parse(response, ClientState)


def parse_list(response: ApiResponse) -> ClientList:
    """Some client ids."""
    return _parse(response, ClientList)


def parse_callbacks(response: ApiResponse) -> CallbackList:
    """Some callbacks."""
    return _parse(response, CallbackList)


def parse_retried(response: ApiResponse) -> int:
    """How many callbacks are sent again."""
    return _parse(response, _Retried).retried


def parse_done(response: ApiResponse) -> None:
    """It is done."""
    if response.status != 204:
        _parse(response, _Nothing)


class _Retried(msgspec.Struct):
    retried: int


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    done: None


class _Channel(msgspec.Struct):
    token: str


class _Results(msgspec.Struct):
    results: list[TargetResult]


class _Problem(msgspec.Struct):
    code: str
    title: str
    detail: str


def _with_text(item: Item) -> Item:
    data = item.get("data")
    # The encoder would turn bytes into base64.
    return {**item, "data": data.decode()} if isinstance(data, bytes) else item


def _parse(response: ApiResponse, answer: type[T]) -> T:
    """Read a success, or raise :class:`RequestRefused` for everything else, whoever sent it."""
    try:
        if response.status in (200, 201):
            return msgspec.json.decode(response.body, type=answer)
        problem = msgspec.json.decode(response.body, type=_Problem)
    except msgspec.DecodeError:
        raise _unexpected(response) from None
    raise RequestRefused(response.status, problem.code, problem.title, problem.detail)


def _unexpected(response: ApiResponse) -> RequestRefused:
    title = "The answer is not one of Pushline"
    return RequestRefused(response.status, "unexpected_answer", title, _describe(response))


def _describe(response: ApiResponse) -> str:
    # Not a word of the body: what stands between might repeat the request there, and with it the API key.
    if 300 <= response.status < 400:
        return f"It redirects to {response.headers.get('location', 'nowhere')}, and redirects are not followed."
    kind = response.headers.get("content-type", "unknown")
    return (
        f"It has status {response.status} and type {kind}. "
        "Is PUSHLINE_URL the address of Pushline, and can a proxy before it reach Pushline?"
    )
