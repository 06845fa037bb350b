"""Pages of another origin, in both browsers: what they get, and what they are told (contract, section 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import pytest

from .conftest import OpenPage
from .hosted import HostedServer
from .pages import Event, module_page, script_page
from .processes import PushlineProcess, curl

pytestmark = pytest.mark.e2e

INVALID: Final[list[Event]] = [
    {"name": "onerror", "code": 401, "description": "Invalid+token."},
    {"name": "onclose"},
]
TIMED_OUT: Final[list[Event]] = [
    {"name": "onerror", "code": 401, "description": "Token+timed+out."},
    {"name": "onclose"},
]
REPLACED: Final[list[Event]] = [
    {"name": "onerror", "code": 409, "description": "Replaced."},
    {"name": "onclose"},
]

LONGEST: Final = 32_767
HARD_TEXTS: Final = [
    " ",
    "\n",
    "a\r\nb\rc\n",
    "\x00 and \x00",
    "\ufeffa byte order mark",
    "\u2028\u2029\u0085",
    "\uffff\U0010ffff",
    "ü e\u0308 \u202eright to left",
    "👩‍👩‍👧‍👦 ﷽ 中文",
    '{"type":"open"}',
    '{"type":"ping"}',
    "1-0 looks like a frame",
    "</script><!--",
    "x" * LONGEST,
    "💥" * (LONGEST // 4) + "end",
    "\x00" * LONGEST,
]


def curl_message(pushline: PushlineProcess, client_id: str, text: str) -> dict[str, str]:
    """Send by curl, as the start message shows it."""
    answer: dict[str, str] = json.loads(
        curl(
            *("-H", f"Authorization: Bearer {pushline.api_key}", "-H", "Content-Type: text/plain"),
            f"{pushline.url}/v1/clients/{quote(client_id, safe='')}/messages",
            body=text.encode(),
        )
    )
    return answer


class TestMessages:
    @pytest.mark.parametrize("make_page", [script_page, module_page], ids=["script", "module"])
    def test_a_page_of_another_origin_shows_what_curl_sends(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str, make_page: Callable[[str], str]
    ) -> None:
        page = open_page(make_page(shared_pushline.url))
        page.listen(shared_pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        answer = curl_message(shared_pushline, client_id, "hello")
        assert answer["status"] == "sent"
        page.wait_for_messages(["hello"])
        assert page.names() == ["onopen", "onmessage"]

    def test_any_text_arrives_as_it_was_sent(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        page = open_page(script_page(shared_pushline.url))
        page.listen(shared_pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        for text in HARD_TEXTS:
            assert curl_message(shared_pushline, client_id, text)["status"] == "sent"
        page.wait_for_messages(HARD_TEXTS)

    def test_messages_that_wait_for_the_page_arrive_after_onopen_and_as_they_were_sent(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        page = open_page(script_page(shared_pushline.url))
        token = shared_pushline.client.create_channel(client_id)
        for text in HARD_TEXTS:
            assert curl_message(shared_pushline, client_id, text)["status"] == "queued"
        page.listen(token)
        page.wait_for_messages(HARD_TEXTS)
        assert page.names() == ["onopen", *["onmessage"] * len(HARD_TEXTS)]

    def test_json_values_of_a_batch_arrive_as_their_text(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        values: list[object] = [None, True, 0, -1.5e300, "", 'ü"\\\n', [], {}, {"a": [{"b": "💥"}, "\x00"]}]
        page = open_page(script_page(shared_pushline.url))
        page.listen(shared_pushline.client.create_channel(client_id))
        page.wait_for("onopen")
        batch = {"messages": [{"to": client_id, "json": value} for value in values]}
        answer = json.loads(
            curl(
                *("-H", f"Authorization: Bearer {shared_pushline.api_key}"),
                f"{shared_pushline.url}/v1/messages",
                body=json.dumps(batch).encode(),
            )
        )
        assert [(result["to"], result["status"]) for result in answer["results"]] == [(client_id, "sent")] * len(values)
        page.wait_for("onmessage", times=len(values))
        assert [json.loads(text) for text in page.messages()] == values

    def test_several_channels_of_one_page_do_not_mix(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        page = open_page(script_page(shared_pushline.url))
        client = shared_pushline.client
        for name in ("ann", "bob"):
            page.listen(client.create_channel(f"{client_id} {name}"), name)
        client.send_many([{"to": f"{client_id} {name}", "data": f"to {name}"} for name in ("bob", "ann")])
        for name in ("ann", "bob"):
            page.wait_for_messages([f"to {name}"], name)

    def test_the_script_adds_no_global_but_goog(self, open_page: OpenPage, shared_pushline: PushlineProcess) -> None:
        page = open_page(script_page(shared_pushline.url)).page
        added = page.evaluate(
            """async (url) => {
                delete window.goog;
                const before = new Set(Object.getOwnPropertyNames(window));
                const script = Object.assign(document.createElement("script"), { src: url });
                await new Promise((resolve) => { script.onload = resolve; document.head.append(script); });
                return Object.getOwnPropertyNames(window).filter((name) => !before.has(name));
            }""",
            f"{shared_pushline.url}/_ah/channel/jsapi",
        )
        # Playwright may add some of its own meanwhile.
        assert [name for name in added if not name.startswith("__pw")] == ["goog"]
        assert page.evaluate("Object.keys(goog).join() + ':' + Object.keys(goog.appengine).sort().join()") == (
            "appengine:Channel,Socket"
        )


class TestEvents:
    @pytest.mark.parametrize("shape", ["forged", "foreign", "no shape"])
    def test_a_wrong_token_is_an_error_and_one_close(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str, shape: str
    ) -> None:
        good = shared_pushline.client.create_channel(client_id)
        forged = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")
        token = {"forged": forged, "foreign": "somebody.elses", "no shape": 'ä token, "quoted"'}[shape]
        page = open_page(script_page(shared_pushline.url))
        page.listen(token)
        page.wait_for("onclose")
        page.settle(good)
        assert page.events() == INVALID

    def test_a_token_that_expired_before_connecting_has_timed_out(
        self, open_page: OpenPage, hosted: HostedServer
    ) -> None:
        token = hosted.client.create_channel("ann", duration_minutes=120)
        hosted.advance(7200)
        page = open_page(script_page(hosted.url))
        page.listen(token)
        page.wait_for("onclose")
        page.settle(hosted.client.create_channel("bob"))
        assert page.events() == TIMED_OUT

    def test_a_socket_ends_in_the_second_in_which_its_token_expires_and_not_before(
        self, open_page: OpenPage, hosted: HostedServer
    ) -> None:
        token = hosted.client.create_channel("ann", duration_minutes=120)
        page = open_page(script_page(hosted.url))
        page.listen(token)
        page.wait_for("onopen")
        hosted.advance(7199)
        assert hosted.client.send_message("ann", "a second before").status == "sent"
        page.wait_for_messages(["a second before"])
        hosted.advance(1)
        page.wait_for("onclose")
        page.settle(hosted.client.create_channel("bob"))
        assert page.events() == [
            {"name": "onopen"},
            {"name": "onmessage", "data": "a second before"},
            *TIMED_OUT,
        ]
        assert hosted.client.send_message("ann", "after").status == "no_channel"

    def test_a_page_that_is_replaced_is_told_so_and_does_not_fight_back(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        client = shared_pushline.client
        older, newer = (open_page(script_page(shared_pushline.url)) for _ in range(2))
        older.listen(client.create_channel(client_id))
        older.wait_for("onopen")
        newer.listen(client.create_channel(client_id))
        newer.wait_for("onopen")
        older.wait_for("onclose")
        assert client.send_message(client_id, "for the newer").status == "sent"
        newer.wait_for_messages(["for the newer"])
        newer.settle(client.create_channel(f"{client_id} too"))
        assert older.events() == [{"name": "onopen"}, *REPLACED]
        assert newer.names() == ["onopen", "onmessage"]

    def test_with_the_policy_share_every_page_gets_every_message(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        client = shared_pushline.client
        pages = [open_page(script_page(shared_pushline.url)) for _ in range(2)]
        for page in pages:
            page.listen(client.create_channel(client_id, policy="share"))
            page.wait_for("onopen")
        for text in ("one", "two"):
            assert client.send_message(client_id, text).status == "sent"
        for page in pages:
            page.wait_for_messages(["one", "two"])
            assert page.names() == ["onopen", "onmessage", "onmessage"]

    def test_no_event_comes_within_open_or_close(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        page = open_page(script_page(shared_pushline.url))
        good = shared_pushline.client.create_channel(client_id)
        within = page.page.evaluate(
            """([bad, good, other]) => {
                const open = [listenTo(bad, "bad"), listenTo(good, "good"), listenTo(other, "closed")];
                open[2].close();
                return [seen.length, ...open.map(({ readyState }) => readyState)];
            }""",
            # Of another client id: the connection may be made before it is closed, and would take the place of `good`.
            ["no token at all", good, shared_pushline.client.create_channel(f"{client_id} closed")],
        )
        assert within == [0, 0, 0, 3]
        for label, name in {"bad": "onclose", "good": "onopen", "closed": "onclose"}.items():
            page.wait_for(name, label)
        page.settle(shared_pushline.client.create_channel(f"{client_id} too"))
        assert page.events("bad") == INVALID
        assert page.names("good") == ["onopen"]
        assert page.names("closed") == ["onclose"]

    def test_handlers_that_are_set_after_open_are_honoured(
        self, open_page: OpenPage, shared_pushline: PushlineProcess, client_id: str
    ) -> None:
        page = open_page(script_page(shared_pushline.url))
        shared_pushline.client.send_message(client_id, "lost: there is no channel yet")
        token = shared_pushline.client.create_channel(client_id)
        shared_pushline.client.send_message(client_id, "hello")
        told = page.page.evaluate(
            """async (token) => {
                const socket = new goog.appengine.Channel(token).open({ onmessage() { throw new Error("unwanted"); } });
                return await new Promise((resolve) => {
                    socket.onmessage = function ({ data }) { resolve([data, this === socket]); };
                });
            }""",
            token,
        )
        assert told == ["hello", True]
