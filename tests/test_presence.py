"""What the application reads of a callback (contract, P2 and Y3), alone and in the frameworks of the examples."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import Client as DjangoClient
from standardwebhooks import Webhook

from pushline import webhooks
from pushline.callbacks import form, multipart
from pushline.errors import ConfigurationError, InvalidSignature
from pushline.presence import Presence, parse
from pushline.stores.base import Notice

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PLAIN = "a plain secret of the tests".replace(" ", "-")
NAMES = ["ann", "a b+c&d=e%20;", "naïve ☃\r\n\0\r\n--", "-", "é" * 128]


def told(
    name: str = "ann",
    *,
    connected: bool = True,
    sequence: int = 5,
    secret: str = SECRET,
    age: int = 0,
    parts: bool = False,
) -> tuple[dict[str, str], bytes]:
    """A callback as Pushline posts it."""
    kind, body = (multipart if parts else form)(Notice(name, sequence, connected, 1_700_000_000.5, 0.0))
    stamp = int(time.time()) - age
    signature = webhooks.sign(secret, "msg_5", stamp, body)
    headers = {
        "Content-Type": kind,
        "Webhook-Id": "msg_5",
        "Webhook-Timestamp": str(stamp),
        "Webhook-Signature": signature,
    }
    return headers, body


class TestReading:
    @pytest.mark.parametrize("parts", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    def test_every_client_id_arrives_as_it_is(self, name: str, parts: bool) -> None:
        assert parse(*told(name, parts=parts), secret=SECRET) == Presence(name, True, 5, 1_700_000_000)
        assert not parse(*told(name, parts=parts, connected=False), secret=SECRET).connected

    def test_headers_may_be_pairs_of_bytes(self) -> None:
        headers, body = told()
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        assert parse(pairs, body, secret=SECRET).client_id == "ann"

    def test_one_of_several_secrets_is_enough(self) -> None:
        assert parse(*told(secret=PLAIN), secret=f"{SECRET} {PLAIN}").connected
        assert parse(*told(secret=SECRET), secret=[PLAIN, SECRET]).connected

    def test_one_of_several_signatures_is_enough(self) -> None:
        headers, body = told()
        headers["Webhook-Signature"] = f"v1a,xyz v1,wrong {headers['Webhook-Signature']}"
        assert parse(headers, body, secret=SECRET).connected

    def test_what_is_no_base64_is_a_key_as_it_is(self) -> None:
        assert parse(*told(secret="whsec_not-base64!"), secret="whsec_not-base64!").connected


class TestRefusing:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"Webhook-Signature": ""}, "no signature"),
            ({"Webhook-Id": ""}, "no signature"),
            ({"Webhook-Timestamp": "yesterday"}, "no signature"),
            ({"Webhook-Timestamp": "9" * 30}, "last five minutes"),
            ({"Webhook-Id": "msg_6"}, "another secret"),
            ({"Webhook-Signature": "v1"}, "another secret"),
            ({"Webhook-Signature": "v1,é"}, "another secret"),
        ],
    )
    def test_what_is_not_signed_is_refused(self, change: dict[str, str], reason: str) -> None:
        headers, body = told()
        with pytest.raises(InvalidSignature, match=reason):
            parse({**headers, **change}, body, secret=SECRET)

    @pytest.mark.parametrize("age", [301, -302])
    def test_what_is_old_is_refused(self, age: int) -> None:
        with pytest.raises(InvalidSignature, match="five minutes"):
            parse(*told(age=age), secret=SECRET)

    def test_another_body_is_refused(self) -> None:
        headers, body = told()
        with pytest.raises(InvalidSignature, match="another secret, or was altered"):
            parse(headers, body.replace(b"ann", b"bob"), secret=SECRET)

    @pytest.mark.parametrize("body", [b"", b"event=other&from=a&sequence=1&time=1", b"event=connected", b"\xff"])
    def test_another_webhook_of_the_same_secret_is_refused(self, body: bytes) -> None:
        headers, _ = told()
        headers["Webhook-Signature"] = webhooks.sign(SECRET, "msg_5", int(headers["Webhook-Timestamp"]), body)
        with pytest.raises(InvalidSignature, match="no callback of presence"):
            parse(headers, body, secret=SECRET)


class TestTheSecret:
    def test_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("PUSHLINE_WEBHOOK_SECRET", raising=False)
        (tmp_path / "secret").write_text(SECRET + "\n")
        monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET_FILE", str(tmp_path / "secret"))
        assert parse(*told()).connected
        monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET", PLAIN)
        assert parse(*told(secret=PLAIN)).connected

    def test_without_one_it_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("PUSHLINE_WEBHOOK_SECRET", raising=False)
        monkeypatch.delenv("PUSHLINE_WEBHOOK_SECRET_FILE", raising=False)
        with pytest.raises(ConfigurationError, match="no secret to verify"):
            parse(*told())
        monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET_FILE", str(tmp_path / "none"))
        with pytest.raises(ConfigurationError, match="cannot be read"):
            parse(*told())


def test_the_library_of_the_standard_reads_it() -> None:
    headers, body = told("naïve ☃")
    assert Webhook(SECRET).verify(body, headers, json_parse=False) is None
    plain, body = told(secret=PLAIN)
    assert Webhook(PLAIN.encode()).verify(body, plain, json_parse=False) is None


# -- the examples ------------------------------------------------------------------------------------------------

Ask = Callable[[str, dict[str, str], bytes], tuple[int, bytes]]
"""Posts a body to a path, or with none gets it: status and body of the answer."""


def flask_asks(module: ModuleType) -> Ask:
    client = module.app.test_client()

    def ask(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        answer = client.post(path, headers=headers, data=body) if body else client.get(path)
        return answer.status_code, answer.data

    return ask


def django_asks(module: ModuleType) -> Ask:
    client = DjangoClient(headers={"Host": "localhost"})

    def ask(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if not body:
            answer = client.get(path)
        else:
            kind = headers["Content-Type"]
            rest = {name: value for name, value in headers.items() if name != "Content-Type"}
            answer = client.post(path, data=body, content_type=kind, headers=rest)
        return answer.status_code, answer.content

    return ask


def asgi_asks(module: ModuleType) -> Ask:
    def ask(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST" if body else "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        asyncio.run(module.app(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    return ask


@pytest.fixture(params=["flask", "django", "fastapi"])
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples" / "presence"))
    monkeypatch.setenv("PUSHLINE_WEBHOOK_SECRET", SECRET)
    asks = {"flask": flask_asks, "django": django_asks, "fastapi": asgi_asks}
    module = import_module(f"{request.param}_app")
    module.there.clear()
    module.latest.clear()
    yield asks[request.param](module)
    if request.param != "django":
        del sys.modules[module.__name__]


class TestExamples:
    @pytest.mark.parametrize("parts", [False, True])
    def test_they_know_who_is_there(self, ask: Ask, parts: bool) -> None:
        for name in ("ann", "bøb & co"):
            assert ask("/_ah/channel/connected/", *told(name, parts=parts)) == (204, b"")
        assert ask("/_ah/channel/disconnected/", *told("ann", connected=False, sequence=6, parts=parts))[0] == 204
        assert ask("/_ah/channel/connected/", *told("ann", sequence=4, parts=parts))[0] == 204  # late
        status, body = ask("/there", {}, b"")
        assert (status, body.decode().replace("\\u00f8", "ø").split('"')[1::2]) == (200, ["bøb & co"])

    def test_they_refuse_what_pushline_has_not_sent(self, ask: Ask) -> None:
        assert ask("/_ah/channel/connected/", *told(secret=PLAIN))[0] == 401
        assert ask("/there", {}, b"")[1].strip() == b"[]"
