"""Callbacks: what is posted when, and what becomes of it (contract, P1 and P4). No socket, time moved by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs

import pytest
from tests.hub.stage import GRACE, Stage

from pushline import callbacks, webhooks
from pushline.callbacks import AT_ONCE, TRY_SECONDS, Answer, Callbacks, Deliveries, Poster, Result, form, multipart
from pushline.errors import ConfigurationError
from pushline.hub import IN_TIME_SECONDS
from pushline.stores.base import Notice
from pushline.testing import FakeClock

ACCEPTED = (Result.ACCEPTED, "")
REFUSED = (Result.FAILED, "status 500")


class Application:
    """What posts arrive at: it answers as it is told to, or when it is told to."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.got: list[tuple[float, Notice]] = []
        self.answer: tuple[Result, str] | None = ACCEPTED
        self.waiting: list[tuple[Notice, Answer]] = []
        self.deliveries = Deliveries(stage.hub, stage.clock, self.post, lambda: 0.5)

    def post(self, notice: Notice, answer: Answer) -> None:
        self.got.append((self.stage.clock.monotonic(), notice))
        if self.answer is None:
            self.waiting.append((notice, answer))
        else:
            self.stage.clock.call_soon(partial(answer, *self.answer))

    def moments(self, begin: float) -> list[float]:
        return [round(moment - begin, 3) for moment, _ in self.got]

    def events(self, client_id: str = "ann") -> list[bool]:
        return [notice.connected for _, notice in self.got if notice.client_id == client_id]


@pytest.fixture
def stage() -> Stage:
    return Stage(presence=True)


@pytest.fixture
def application(stage: Stage) -> Application:
    return Application(stage)


def kept(stage: Stage, client_id: str = "ann") -> list[Notice]:
    found = stage.store.notices_of(client_id)
    assert isinstance(found, list)
    return found


class TestTries:
    def test_what_is_accepted_is_done(self, stage: Stage, application: Application) -> None:
        stage.connect(stage.create()).drop()
        stage.clock.advance(GRACE + IN_TIME_SECONDS)
        assert application.events() == [True, False]
        assert kept(stage) == []
        assert stage.hub.counters.callbacks_accepted == 2

    def test_the_pauses_grow(self, stage: Stage, application: Application) -> None:
        application.answer = REFUSED
        begin = stage.clock.monotonic()
        stage.connect(stage.create())
        stage.clock.advance(31.5)
        assert application.moments(begin) == [0, 1, 3, 7, 15, 31]
        assert len({notice.sequence for _, notice in application.got}) == 1
        assert application.deliveries.tries_of("ann", application.got[0][1].sequence) == (6, "status 500")
        assert application.deliveries.tries_of("ann", 1) == (0, "")

    def test_and_are_spread(self, stage: Stage) -> None:
        pauses = []
        for random in (0.0, 0.999):
            deliveries = Deliveries(stage.hub, stage.clock, lambda notice, answer: None, lambda random=random: random)  # type: ignore[misc]
            pauses.append([deliveries._pause(n) for n in (1, 2, 30, 3000)])
        assert pauses[0] == [1.0, 1.5, 225.0, 225.0]
        assert pauses[1] == pytest.approx([1.0, 2.5, 375.0, 375.0], rel=0.01)

    def test_what_works_again_goes_on(self, stage: Stage, application: Application) -> None:
        application.answer = REFUSED
        page = stage.connect(stage.create())
        stage.clock.advance(1.5)
        page.drop()
        stage.clock.advance(GRACE)
        application.answer = ACCEPTED
        stage.clock.advance(10)
        assert application.events()[-2:] == [True, False]
        assert kept(stage) == []

    def test_after_an_hour_it_is_given_up(
        self, stage: Stage, application: Application, caplog: pytest.LogCaptureFixture
    ) -> None:
        application.answer = REFUSED
        begin = stage.clock.monotonic()
        page = stage.connect(stage.create())
        for _ in range(500):
            stage.clock.advance(10)
            page.acknowledge("")
        assert TRY_SECONDS <= application.moments(begin)[-1] <= TRY_SECONDS + 400
        assert stage.hub.counters.callbacks_given_up == 1
        assert [notice.given_up for notice in kept(stage)] == ["status 500"]
        assert [record.message for record in caplog.records].count("a callback fails, and is tried again") == 1
        application.answer = ACCEPTED
        page.drop()
        stage.clock.advance(GRACE + IN_TIME_SECONDS)
        assert application.events()[-1] is False  # the state at that time
        assert kept(stage) == []

    def test_what_was_given_up_is_sent_again_when_that_is_wanted(self, stage: Stage, application: Application) -> None:
        stage.connect(stage.create())
        application.answer = None
        stage.connect(stage.create("bob"), "bob")
        notice, _ = application.waiting[0]
        stage.hub.give_up(notice, "no connection")
        stage.clock.turn()
        application.answer = ACCEPTED
        stage.hub.retry("bob", lambda count: None, stage.answers.failed.append)
        stage.clock.advance(IN_TIME_SECONDS)
        assert application.events("bob") == [True, True]
        assert kept(stage, "bob") == []

    def test_what_waits_can_be_hurried(self, stage: Stage, application: Application) -> None:
        application.answer = REFUSED
        stage.connect(stage.create())
        application.answer = ACCEPTED
        assert [application.deliveries.hurry(name) for name in ("bob", "ann", "ann", None)] == [0, 1, 0, 0]
        stage.clock.advance(IN_TIME_SECONDS)
        assert kept(stage) == []
        stage.clock.advance(2)
        assert len(application.got) == 2

    def test_no_handler_is_said_once(
        self, stage: Stage, application: Application, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        application.answer = (Result.NO_HANDLER, "status 404")
        for name in ("ann", "bob"):
            stage.connect(stage.create(name), name)
        stage.clock.advance(10)
        assert len(application.got) == 2
        assert kept(stage) == []
        assert application.deliveries.no_handler == {"connected"}
        assert [record.message for record in caplog.records] == ["the application has no handler for a callback"]
        application.answer = ACCEPTED
        stage.connect(stage.create("cid"), "cid")
        assert application.deliveries.no_handler == set()


class TestOrder:
    def test_those_of_a_client_id_do_not_overtake_each_other(self, stage: Stage, application: Application) -> None:
        application.answer = None
        page = stage.connect(stage.create())
        page.drop()
        stage.clock.advance(GRACE)
        assert application.events() == [True]
        application.waiting.pop()[1](*ACCEPTED)
        stage.clock.advance(IN_TIME_SECONDS)
        assert application.events() == [True, False]

    def test_those_of_others_do_not_wait(self, stage: Stage, application: Application) -> None:
        application.answer = None
        stage.connect(stage.create())
        stage.connect(stage.create("bob"), "bob")
        assert [notice.client_id for notice, _ in application.waiting] == ["ann", "bob"]

    def test_so_many_are_under_way_at_most(self, stage: Stage, application: Application) -> None:
        application.answer = None
        for n in range(AT_ONCE + 2):
            stage.connect(stage.create(f"c{n}"), f"p{n}")
        assert len(application.waiting) == AT_ONCE
        application.waiting[0][1](*REFUSED)
        assert application.got[-1][1].client_id == f"c{AT_ONCE}"
        application.waiting[1][1](*ACCEPTED)
        assert application.got[-1][1].client_id == f"c{AT_ONCE + 1}"

    def test_at_the_end_nothing_more_is_posted(self, stage: Stage, application: Application) -> None:
        application.answer = None
        stage.connect(stage.create())
        stage.connect(stage.create("bob"), "bob")
        application.waiting[1][1](*REFUSED)
        application.deliveries.stop()
        application.waiting[0][1](*ACCEPTED)
        stage.clock.advance(20)
        assert len(application.got) == 2
        assert len(kept(stage)) == len(kept(stage, "bob")) == 1


NAMES = ["ann", "a b+c&d=e%20;", "naïve ☃\r\n\0", "-"]


class TestBodies:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_form_has_every_client_id_as_it_is(self, name: str) -> None:
        kind, body = form(Notice(name, 1_700_000_000_000_001, True, 1_700_000_000.9, 0.0))
        assert kind == "application/x-www-form-urlencoded; charset=utf-8"
        assert body.isascii()
        assert parse_qs(body.decode(), strict_parsing=True, separator="&") == {
            "from": [name],
            "event": ["connected"],
            "sequence": ["1700000000000001"],
            "time": ["1700000000"],
        }

    def test_parts_have_a_boundary_that_no_client_id_holds(self) -> None:
        first = multipart(Notice("ann", 1, False, 0.0, 0.0))
        assert multipart(Notice("ann", 2, False, 0.0, 0.0))[0] != first[0]
        assert first[1].endswith(b"--\r\n")


class TestSettings:
    def make(
        self, url: str = "http://app.example.com", format: str = "form", secrets: tuple[str, ...] = ("x" * 20,)
    ) -> None:
        stage = Stage(presence=True)
        Callbacks(url, format, secrets, stage.hub, FakeClock(), lambda: 0.5)

    @pytest.mark.parametrize(
        ("make", "sentence"),
        [
            (lambda self: self.make(url="app.example.com"), "is no address"),
            (lambda self: self.make(url="http://[::1"), "is no address"),
            (lambda self: self.make(url="https://ann:secret@app.example.com"), "scheme, host, port and path only"),
            (lambda self: self.make(format="xml"), "--presence-format xml is not known"),
            (lambda self: self.make(secrets=()), "no secret to sign"),
        ],
    )
    def test_what_can_not_be_is_refused_in_a_sentence(
        self, make: Callable[[TestSettings], None], sentence: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=sentence) as refused:
            make(self)
        assert "secret@" not in str(refused.value)

    def test_a_new_secret_signs_from_then_on(self) -> None:
        poster = Poster("http://app.example.com", ("x" * 20,), FakeClock())
        notice = Notice("ann", 1, True, 0.0, 0.0)
        before = poster._signature(notice, b"body")
        poster.renew(("y" * 20, "x" * 20))
        after = poster._signature(notice, b"body")
        assert after[webhooks.SIGNATURE] != before[webhooks.SIGNATURE]
        assert after[webhooks.SIGNATURE] == webhooks.sign("y" * 20, "msg_1", int(after[webhooks.TIMESTAMP]), b"body")

    def test_a_slash_at_the_end_is_one_too_many(self) -> None:
        assert Poster("http://app.example.com/base/", ("x" * 20,), FakeClock())._url == "http://app.example.com/base"

    def test_the_names_of_errors_are_for_people(self) -> None:
        assert callbacks._reason(TimeoutError()) == "no answer in time"
        assert callbacks._reason(ValueError("with a secret")) == "ValueError"
