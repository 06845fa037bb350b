"""Bodies of any bytes, where JSON or a frame is wanted: each gets an answer that says what is wrong (contract, G10)."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.rig import PROBLEMS, Peer, Rig

CHANNEL: Final = {"client_id": "ann", "duration_minutes": 5, "policy": "share"}
BATCH: Final = {"messages": [{"to": ["ann", "bob"], "data": "x", "key": "k", "ttl": 5}, {"to": "ann", "json": [1]}]}
FRAME: Final = {"token": "a.1-1.1.replace.x", "page": "p", "type": "ack", "id": "1-1"}
CASES: Final = [("/v1/channels", CHANNEL), ("/v1/messages", BATCH), ("/_ah/channel/connect", FRAME)]

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("x" * 400)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def nearly(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """JSON that is good, but for a member or some bytes."""
    value = json.loads(json.dumps(good))
    inner = value["messages"][0] if "messages" in value and draw(st.booleans()) else value
    inner[draw(st.sampled_from([*inner, "another"]))] = draw(values)
    data = json.dumps(value).encode()
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(st.binary(max_size=4)) + data[start + draw(st.integers(0, 3)) :]
    return data


@pytest.mark.parametrize(("target", "good"), CASES, ids=[target for target, _ in CASES])
class TestAnyBody:
    def ask(self, target: str, body: bytes) -> None:
        rig = Rig()
        answer = rig.ask("POST", target, {}, body)
        assert answer.status in (200, 201, 204, 400, 401, 413), answer
        if answer.status >= 400:
            assert answer.json["code"] in PROBLEMS or "close_code" in answer.json
            assert answer.json["detail"].endswith(".")
        elif target == "/v1/messages":
            assert all("status" in each or each["code"] in PROBLEMS for each in answer.json["results"])
        assert Peer(rig).ask("GET", "/health").status == 200
        rig.hub.close(0)

    @given(data=st.data())
    def test_that_is_nearly_good_is_answered(self, target: str, good: dict[str, Any], data: st.DataObject) -> None:
        self.ask(target, data.draw(nearly(good)))

    @given(body=st.binary(max_size=200))
    def test_of_any_bytes_is_answered(self, target: str, good: dict[str, Any], body: bytes) -> None:
        self.ask(target, body)

    @pytest.mark.parametrize("depth", [100, 100_000])
    def test_that_is_deep_is_answered(self, target: str, good: dict[str, Any], depth: int) -> None:
        for opened, closed in (b"[]", b"{}"):
            inner = bytes([opened]) if opened == ord("[") else b'{"a":'
            self.ask(target, inner * depth)
            self.ask(target, inner * depth + b"1" + bytes([closed]) * depth)
            self.ask(target, b'{"another":' + inner * depth + b"1" + bytes([closed]) * depth + b"}")
