"""Whatever happens to a page in memory, it gets every message once and in order (contract, G2 and G3)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from pushline import channel
from pushline.errors import Unreachable
from pushline.testing import Page, PushlineServer

HAPPENINGS: dict[str, Callable[[PushlineServer, Page], None]] = {
    "drop": lambda server, page: page.drop(),
    "half-open": lambda server, page: page.half_open(),
    "offline": lambda server, page: page.go_offline(),
    "online": lambda server, page: page.go_online(),
    "sleep": lambda server, page: page.sleep(),
    "wake": lambda server, page: page.wake(),
    "stop reading": lambda server, page: page.read_slowly(),
    "read slowly": lambda server, page: page.read_slowly(700),
    "read on": lambda server, page: page.read_on(),
    "crash": lambda server, page: server.crash(),
    "stop": lambda server, page: server.stop(),
    "start": lambda server, page: server.start(),
    "restart": lambda server, page: server.restart(),
    "lose an answer": lambda server, page: server.lose_next_answer(),
    "a moment": lambda server, page: server.advance(0.7),
    "a while": lambda server, page: server.advance(11),
    "a minute": lambda server, page: server.advance(minutes=1),
    "half an hour": lambda server, page: server.advance(minutes=30),
}


@settings(max_examples=80)
@given(st.lists(st.one_of(st.just("send"), st.just("send much"), st.sampled_from(sorted(HAPPENINGS))), max_size=30))
def test_nothing_is_lost_or_doubled_or_out_of_order(happenings: list[str]) -> None:
    numbers = count()
    accepted: list[str] = []

    def send(size: int) -> None:
        text = f"{next(numbers)}:{'x' * size}"
        try:
            channel.send_message("ann", text, idempotency_key=text[:5])
        except Unreachable:
            return
        accepted.append(text)

    with PushlineServer(retention=10_000) as server:
        page = server.page(channel.create_channel("ann"), refresh_token=lambda: channel.create_channel("ann"))
        for happening in happenings:
            if happening.startswith("send"):
                send(20_000 if happening == "send much" else 10)
            else:
                HAPPENINGS[happening](server, page)
        server.start()
        page.wake()
        page.go_online()
        page.read_on()
        server.advance(minutes=3)
        if "gap" not in page.events:  # the channel may have ended with its token, and what was in it
            assert page.messages == accepted
        send(1)
        assert page.messages[-1] == accepted[-1]
        assert page.state == "open"
        told = [each.connected for each in server.presence]
        assert told == [True, False] * (len(told) // 2) + [True]
