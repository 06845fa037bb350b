"""`pushline run`: what the application finds, what is said and logged. tests/e2e/test_run.py runs real ones."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from pushline.client.aio import AsyncClient
from pushline.client.aio_connections import LoopConnections
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.sync import Client
from pushline.errors import ConfigurationError, RequestRefused
from pushline.hosting.host import Hosted, environment_of, listen, set_up_logs, start_message
from pushline.server.secrets import Loaded
from pushline.settings import OF_A_SERVER_ALONE, Settings, settings_table

URL = "http://127.0.0.1:8080"
API = f"{URL}/_ah/pushline"
KEY = Loaded(("the-first-key-of-two", "the-second-key-of-two"), "data/api-key")
WEBHOOK = Loaded(("a-webhook-secret",), "data/webhook-secret")


def test_the_application_finds_pushline_by_its_environment() -> None:
    environment = environment_of(URL, KEY, WEBHOOK, {})
    assert environment == {
        "PUSHLINE_URL": API,
        "PUSHLINE_PUBLIC_URL": URL,
        "PUSHLINE_API_KEY": "the-first-key-of-two the-second-key-of-two",
        "PUSHLINE_WEBHOOK_SECRET": "a-webhook-secret",
    }


def test_an_address_for_browsers_that_was_given_stays() -> None:
    given = {"PUSHLINE_PUBLIC_URL": "https://app.example.com", "PUSHLINE_URL": "http://elsewhere"}
    environment = environment_of(URL, KEY, WEBHOOK, given)
    assert environment["PUSHLINE_PUBLIC_URL"] == "https://app.example.com"
    assert environment["PUSHLINE_URL"] == API


def test_the_start_message_says_what_is_where_and_no_secret() -> None:
    message = start_message("hello:app", URL, Settings(), KEY, reload=True)
    assert f"runs hello:app on {URL}\n" in message
    assert "hello:app, loaded again when a file changes" in message
    assert f"{API}, with the key in data/api-key" in message
    assert "sqlite, in pushline-data" in message
    assert not [key for key in KEY.values if key in message]
    assert "loaded again" not in start_message("hello:app", URL, Settings(), KEY, reload=False)


def test_what_it_does_not_have_are_settings() -> None:
    assert {setting.name for setting in settings_table()} >= OF_A_SERVER_ALONE


@pytest.mark.parametrize(("level", "shown"), [("debug", "WARNING"), ("info", "WARNING"), ("error", "ERROR")])
def test_the_asgi_server_logs_only_what_goes_wrong(level: str, shown: str) -> None:
    loggers = [logging.getLogger(name) for name in ("pushline", "uvicorn")]
    before = [(each.handlers, each.level, each.propagate) for each in loggers]
    try:
        set_up_logs(Settings(log_level=level))
        assert logging.getLevelName(loggers[1].level) == shown
        assert loggers[1].handlers == loggers[0].handlers
    finally:
        for each, (handlers, number, propagate) in zip(loggers, before, strict=True):
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(number)


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:http", "a..b:8080"])
def test_an_address_that_cannot_be_served_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--listen {address} "):
        listen(address)


class TestTheSdk:
    """In the process of `pushline run` it asks without HTTP: what waits for itself at the end would wait in vain."""

    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        for name, value in environment_of(URL, KEY, WEBHOOK, {}).items():
            monkeypatch.setenv(name, value)
        return Settings(data_dir=tmp_path / "data", store="memory", drain_seconds=0)

    def hosted(self, settings: Settings) -> Hosted:
        hosted = Hosted(API, settings)
        hosted.mount(nothing)
        return hosted

    def test_answers_in_the_event_loop_and_in_threads(self, settings: Settings) -> None:
        async def play() -> None:
            async with self.hosted(settings), AsyncClient() as client:
                await client.create_channel("ann")
                assert (await client.send_message("ann", "1")).status == "queued"
                with Client() as waiting:
                    sent = await asyncio.to_thread(waiting.send_message, "ann", "2")
                    assert sent.status == "queued"
                    elsewhere = await asyncio.to_thread(asyncio.run, send(client, "3"))
                    assert elsewhere == "queued"
                assert (await client.get_client("ann")).queued == 3

        asyncio.run(play())

    def test_refuses_to_wait_in_the_thread_that_answers(self, settings: Settings) -> None:
        async def play() -> None:
            async with self.hosted(settings):
                with pytest.raises(ConfigurationError, match=r"use pushline\.AsyncClient"):
                    Client().create_channel("ann")

        asyncio.run(play())

    def test_lets_nobody_in_who_has_another_key(self, settings: Settings) -> None:
        async def play() -> None:
            async with self.hosted(settings), AsyncClient(API, "another-key-than-those") as client:
                with pytest.raises(RequestRefused, match="401"):
                    await client.create_channel("ann")

        asyncio.run(play())

    def test_asks_by_http_when_it_is_over(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[ApiRequest] = []

        async def exchange(connections: LoopConnections, request: ApiRequest, seconds: float) -> ApiResponse:
            asked.append(request)
            return ApiResponse(404, {}, b"{}")

        monkeypatch.setattr(LoopConnections, "exchange", exchange)

        async def play() -> None:
            async with self.hosted(settings):
                pass
            async with AsyncClient() as client:
                with pytest.raises(RequestRefused):
                    await client.create_channel("ann")

        asyncio.run(play())
        assert len(asked) == 1


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application without a handler of anything."""


async def send(client: AsyncClient, text: str) -> str:
    return (await client.send_message("ann", text)).status
