"""What spec/openapi.yaml cannot say, said to schemathesis."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import schemathesis

LONGEST_WAIT_SECONDS = 0.05


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make a request one that the description means."""
    query = case.query or {}
    if "client_id" in (case.path_parameters or {}) and "client_id" in query:
        case.path_parameters["client_id"] = "-"  # it is either in the path or, with that there, in the query
    if case.media_type == "application/octet-stream":
        case.body = b"hello"  # the bytes of a message are UTF-8
    with suppress(ValueError):
        if LONGEST_WAIT_SECONDS < float(str(query.get("wait"))) <= 30:
            query["wait"] = LONGEST_WAIT_SECONDS  # nobody will acknowledge the message


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A client id has at most 256 bytes; the description can only say that it has no more characters."""
    places = (case.path_parameters or {}, case.query or {}, case.body if isinstance(case.body, dict) else {})
    ids = [str(place.get("client_id", "")) for place in places]
    return all(len(id) > 256 or len(id.encode(errors="replace")) <= 256 for id in ids)
