"""The bodies of the application's requests, read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from pushline.errors import Problem
from pushline.http.request import Request, fields
from pushline.messages import DEFAULT_DURATION_MINUTES, Policy


class Channel(msgspec.Struct, forbid_unknown_fields=True):
    # of any type, so that each is refused by its own name
    client_id: object
    duration_minutes: object = DEFAULT_DURATION_MINUTES
    policy: object = Policy.REPLACE.value


class Item(msgspec.Struct, forbid_unknown_fields=True):
    to: str | list[str]
    data: str | msgspec.UnsetType = msgspec.UNSET
    json: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    key: str | None = None
    ttl: int | float | None = None


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[Item]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[msgspec.Raw]


class _Target(msgspec.Struct):
    to: str | list[str]


_channel_decoder = msgspec.json.Decoder(Channel)
_batch_decoder = msgspec.json.Decoder(_Batch)
_raw_batch_decoder = msgspec.json.Decoder(_RawBatch)
_item_decoder = msgspec.json.Decoder(Item)
_target_decoder = msgspec.json.Decoder(_Target)


class Bad(msgspec.Struct):
    """An item that cannot be read: to whom it goes, as far as that can be told, and what is wrong."""

    to: str | list[str] | None
    problem: Problem


# What the decoders raise; the last is for what is nested too deeply.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _json_problem(error: Exception) -> Problem:
    unknown = str(error).startswith("Object contains unknown field")
    return Problem("unknown_field" if unknown else "malformed_json", f"{error}.")


def channel_of(request: Request) -> Channel:
    body = request.body
    form = request.content_type.lower().startswith(b"application/x-www-form-urlencoded")
    if form and not body.lstrip().startswith(b"{"):  # curl calls every body a form
        values = fields(body, "unknown_field", "The field", ("client_id", "duration_minutes", "policy"))
        if "client_id" not in values:
            raise Problem("malformed_json", "The form has no field `client_id`.")
        return Channel(
            values["client_id"],
            number_of(values["duration_minutes"]) if "duration_minutes" in values else DEFAULT_DURATION_MINUTES,
            values.get("policy", Policy.REPLACE.value),
        )
    try:
        return _channel_decoder.decode(body)
    except _UNREADABLE as error:
        raise _json_problem(error) from None


def items_of(body: bytes) -> Sequence[Item | Bad]:
    try:
        return _batch_decoder.decode(body).messages
    except _UNREADABLE:
        pass  # something is wrong somewhere: look at each item by itself
    try:
        return [_item_of(raw) for raw in _raw_batch_decoder.decode(body).messages]
    except _UNREADABLE as error:
        raise _json_problem(error) from None


def _item_of(raw: msgspec.Raw) -> Item | Bad:
    try:
        return _item_decoder.decode(raw)
    except _UNREADABLE as error:
        problem = _json_problem(error)
    try:
        return Bad(_target_decoder.decode(raw).to, problem)
    except _UNREADABLE:
        return Bad(None, problem)


def number_of(value: str | int | float) -> float:
    """A number, or a text of one as JSON writes it; for anything else NaN, which is within no bounds."""
    try:
        return msgspec.convert(value, float, strict=False)
    except msgspec.ValidationError:
        return math.nan
