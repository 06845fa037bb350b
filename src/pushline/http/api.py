"""The application's API (contract, section 4): channels (A1), one message (A2), many messages (A3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, get_args
from urllib.parse import unquote_to_bytes

import msgspec

from pushline.errors import Problem, StoreError, StoreFull
from pushline.http.bodies import Bad, Item, channel_of, items_of, number_of
from pushline.http.keys import SEND, ApiKeys
from pushline.http.request import Request
from pushline.http.responses import Later, Pending, json_response, problem_response
from pushline.http.values import Response
from pushline.hub import Hub
from pushline.messages import (
    MAX_CLIENT_ID_BYTES,
    MAX_DURATION_MINUTES,
    Append,
    Policy,
    Status,
    id_bytes,
    is_client_id,
)
from pushline.protocol.tokens import Claims

_PERCENT: Final = ord("%")  # as a number it is found several times faster than as a text
MAX_TARGETS: Final = 10_000
MAX_BATCH_BYTES: Final = 16 << 20
MAX_CHANNEL_BODY_BYTES: Final = 16 << 10
MAX_KEY_BYTES: Final = 255

MAX_TTL_SECONDS: Final = 7 * 24 * 3600
MAX_WAIT_SECONDS: Final = 30


class Api:
    """The handlers. Each takes a request and returns its answer, or the promise of one; refusals are raised."""

    def __init__(self, hub: Hub, keys: ApiKeys, *, max_message_bytes: int) -> None:
        self._hub = hub
        self._keys = keys
        self._limited = keys.limits_sends
        self._max_message_bytes = max_message_bytes

    # -- A1 ----------------------------------------------------------------------------------------------------

    def create_channel(self, request: Request) -> Pending:
        """``POST /v1/channels``: a token of a channel, and the channel when there is none."""
        self._keys.check(request)
        request.parameters()
        wanted = channel_of(request)
        client_id = _client_id_of(wanted.client_id)
        seconds = _seconds_of(wanted.duration_minutes)
        policy = _policy_of(wanted.policy)
        answer = _ChannelAnswer(bare=b"text/plain" in request.accept and b"application/json" not in request.accept)
        self._hub.create_channel(client_id, seconds, policy, answer.created, answer.failed)
        return answer

    # -- A2 ----------------------------------------------------------------------------------------------------

    def send_message(self, request: Request, encoded_client_id: bytes) -> Pending:
        """``POST /v1/clients/{client_id}/messages``: the body is the message. The hot path."""
        key_shown = self._keys.check(request, SEND)
        parameters = request.parameters("client_id", "ttl", "wait") if request.query else {}
        client_id = client_id_in(encoded_client_id, parameters)
        ttl = _ttl_of(parameters["ttl"]) if "ttl" in parameters else None
        data = request.body
        self._check_message(data)
        if self._limited:
            self._keys.spend(key_shown, 1)
        key = None if request.idempotency_key is None else _key_of(request.idempotency_key)
        if "wait" in parameters:
            seconds = _wait_of(parameters["wait"])
            waiting = _WaitedAnswer()
            message = Append(client_id, data, key, ttl, waited=True)
            self._hub.send_and_wait(message, seconds, waiting.sent, waiting.failed)
            return waiting
        answer = _SendAnswer()
        self._hub.send(Append(client_id, data, key, ttl), answer.sent, answer.failed)
        return answer

    def _check_message(self, data: bytes) -> None:
        if not data:
            raise Problem("invalid_message", "The message is empty; it has at least one byte.")
        if len(data) > self._max_message_bytes:
            raise Problem(
                "message_too_long",
                f"The message has {len(data)} bytes; this server takes at most {self._max_message_bytes}.",
            )
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError as error:
                raise Problem("invalid_message", f"The message is not UTF-8 at byte {error.start}.") from None

    # -- A3 ----------------------------------------------------------------------------------------------------

    def send_messages(self, request: Request) -> Pending | bytes:
        """``POST /v1/messages``: many messages to many client ids; a bad item fails alone."""
        key_shown = self._keys.check(request, SEND)
        request.parameters()
        items = items_of(request.body)
        answer = _BatchAnswer()
        appends: list[Append] = []
        for item in items:
            self._add(item, answer, appends)
        if not appends:
            return answer.finished()
        if self._limited:
            self._keys.spend(key_shown, len(appends))
        for append in appends:
            self._hub.send(append, answer.sent, answer.item_failed)
        return answer

    def _add(self, item: Item | Bad, answer: _BatchAnswer, appends: list[Append]) -> None:
        targets = item.to if isinstance(item.to, list) else [item.to]
        if len(answer.results) + len(targets) > MAX_TARGETS:
            raise Problem("too_many_targets", f"The batch has more than {MAX_TARGETS} targets.")
        try:
            if isinstance(item, Bad):
                raise item.problem
            data = self._data_of(item)
            key = None if item.key is None else _key_of(item.key.encode())
            ttl = None if item.ttl is None else _ttl_of(item.ttl)
        except Problem as problem:
            for target in targets:
                answer.refuse(target, problem)
            return
        for target in targets:
            if target is not None and is_client_id(target):
                answer.expect(target)
                appends.append(Append(target, data, key, ttl))
            else:
                answer.refuse(target, _bad_client_id())

    def _data_of(self, item: Item) -> bytes:
        if isinstance(item.json, msgspec.Raw):
            if item.data is not msgspec.UNSET:
                raise Problem("malformed_json", "The item has both `data` and `json`; it takes one of them.")
            data = bytes(item.json)
        elif isinstance(item.data, str):
            data = item.data.encode()
        else:
            raise Problem("malformed_json", "The item has neither `data` nor `json`.")
        self._check_message(data)
        return data


# -- answers -----------------------------------------------------------------------------------------------------


class _Answer(Pending):
    """An answer that the store may fail to give."""

    __slots__ = ()

    def failed(self, error: StoreError) -> None:
        self.response = problem_response(store_problem(error))


class _ChannelAnswer(_Answer):
    __slots__ = ("_bare",)

    def __init__(self, *, bare: bool) -> None:
        super().__init__()
        self._bare = bare

    def created(self, token: str, claims: Claims) -> None:
        if self._bare:
            self.response = Response(201, "text/plain; charset=utf-8", token.encode())
            return
        expires_at = datetime.fromtimestamp(claims.expires_at, UTC).isoformat().replace("+00:00", "Z")
        body = {"client_id": claims.client_id, "token": token, "expires_at": expires_at}
        self.response = json_response(201, body)


class _SendAnswer(_Answer):
    __slots__ = ()

    def sent(self, number: int | None, status: Status) -> None:
        self.response = _result(number, status)


class _WaitedAnswer(Later):
    """The answer to a send that waits for the page."""

    __slots__ = ()

    def sent(self, number: int | None, status: Status) -> None:
        self.answer(_result(number, status))

    def failed(self, error: StoreError) -> None:
        self.answer(problem_response(store_problem(error)))


class _BatchAnswer(_Answer):
    """Collects one result per target, in order. Refusals are known at once; the others come in the order of sending."""

    __slots__ = ("_done", "_expected", "_kept", "results")

    def __init__(self) -> None:
        super().__init__()
        self.results: list[bytes] = []
        self._expected: list[tuple[int, bytes]] = []
        self._done = 0
        self._kept = False

    def refuse(self, target: str | None, problem: Problem) -> None:
        self.results.append(msgspec.json.encode({"to": target, "code": problem.code, "detail": problem.detail}))

    def expect(self, target: str) -> None:
        self._expected.append((len(self.results), msgspec.json.encode(target)))
        self.results.append(b"")

    def sent(self, number: int | None, status: Status) -> None:
        index, target = self._expected[self._done]
        self.results[index] = b'{"to":%b,%b' % (target, _result(number, status)[1:])
        self._kept = True
        self._next(None)

    def item_failed(self, error: StoreError) -> None:
        """The store has kept nothing of one item: it fails alone, unless they all do."""
        index, target = self._expected[self._done]
        problem = store_problem(error)
        body = msgspec.json.encode({"code": problem.code, "detail": problem.detail})
        self.results[index] = b'{"to":%b,%b' % (target, body[1:])
        self._next(error)

    def _next(self, error: StoreError | None) -> None:
        self._done += 1
        if self._done == len(self._expected):
            if error is None or self._kept:
                self.response = self.finished()
            else:
                self.failed(error)

    def finished(self) -> bytes:
        return b'{"results":[%b]}' % b",".join(self.results)


_STATUS: Final[dict[Status, bytes]] = {status: status.encode() for status in get_args(Status)}


def _result(number: int | None, status: Status) -> bytes:
    if number is None:
        return b'{"id":null,"status":"no_channel"}'
    return b'{"id":"%b","status":"%b"}' % (id_bytes(number), _STATUS[status])


def store_problem(error: StoreError) -> Problem:
    """What a store's failure means to the application."""
    if isinstance(error, StoreFull):
        return Problem("store_full", "The store has no room; nothing of this request was kept.")
    return Problem("internal_error", "The store failed; nothing of this request was kept.")


# -- what is asked -----------------------------------------------------------------------------------------------


def client_id_in(encoded: bytes, parameters: dict[str, str]) -> str:
    """The client id that an address names."""
    if "client_id" in parameters:
        if encoded != b"-":
            raise Problem(
                "malformed_request", "The client id is either in the path or, with `-` there, in `client_id`."
            )
        return _client_id_of(parameters["client_id"])
    name = unquote_to_bytes(encoded) if _PERCENT in encoded else encoded
    if len(name) > MAX_CLIENT_ID_BYTES:
        raise _bad_client_id()
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise _bad_client_id() from None


def _client_id_of(value: object) -> str:
    if not isinstance(value, str) or not is_client_id(value):
        raise _bad_client_id()
    return value


def _bad_client_id() -> Problem:
    return Problem("invalid_client_id", f"A client id is a text of 1 to {MAX_CLIENT_ID_BYTES} bytes of UTF-8.")


def _seconds_of(minutes: object) -> int:
    if isinstance(minutes, int | float) and not isinstance(minutes, bool) and 1 <= minutes <= MAX_DURATION_MINUTES:
        whole = int(minutes)
        if whole == minutes:
            return whole * 60
    raise Problem("invalid_duration", f"`duration_minutes` is a whole number from 1 to {MAX_DURATION_MINUTES}.")


def _policy_of(value: object) -> Policy:
    try:
        return Policy(value)
    except ValueError:
        known = ", ".join(f"`{policy.value}`" for policy in Policy)
        raise Problem("invalid_policy", f"`policy` is one of {known}.") from None


def _key_of(value: bytes) -> str:
    try:
        if 1 <= len(value) <= MAX_KEY_BYTES:
            return value.decode()
    except UnicodeDecodeError:
        pass
    raise Problem("invalid_key", f"An idempotency key has 1 to {MAX_KEY_BYTES} bytes of UTF-8.")


def _ttl_of(value: str | int | float) -> float:
    ttl = number_of(value)
    if not 0 < ttl <= MAX_TTL_SECONDS:
        raise Problem("invalid_ttl", f"`ttl` is a number of seconds above 0 and at most {MAX_TTL_SECONDS}.")
    return ttl


def _wait_of(value: str) -> float:
    wait = number_of(value)
    if not 0 < wait <= MAX_WAIT_SECONDS:
        raise Problem("invalid_wait", f"`wait` is a number of seconds above 0 and at most {MAX_WAIT_SECONDS}.")
    return wait
