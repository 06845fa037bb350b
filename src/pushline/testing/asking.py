"""Requests and answers of HTTP/1.1 as bytes, as far as a test needs them."""

from __future__ import annotations

from collections.abc import Mapping

from pushline.client.requests import ApiResponse


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request as a program writes it."""
    fields = {**headers, "Content-Length": str(len(body))}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def read_answer(data: bytes) -> ApiResponse:
    """The answer in ``data``, whole."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return ApiResponse(int(status.split()[1]), {name.lower(): value for name, value in pairs}, body)
