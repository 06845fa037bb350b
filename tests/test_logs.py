"""Log lines: one event each, whatever comes from outside."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from pushline import logs
from pushline.errors import ConfigurationError

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
NASTY = 'ann"\n2026-01-01T00:00:00.000Z info    pushline: forged\r\x85\u2028\x1b[31m\0'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger = logging.getLogger("pushline")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


class TestText:
    def test_is_one_line_for_an_event(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "text")
        logging.getLogger("pushline.server").info("serving", extra={"url": "http://x", "store": "sqlite"})
        (line,) = lines(capsys)
        time, _, rest = line.partition(" ")
        assert re.fullmatch(TIME, time)
        assert rest == "info    pushline.server: serving url='http://x' store='sqlite'"

    def test_keeps_values_on_their_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "text")
        logging.getLogger("pushline").warning("odd", extra={"client_id": NASTY, "lone": "\udc80"})
        (line,) = lines(capsys)
        assert line.isprintable()
        assert r"\n2026-01-01T00:00:00.000Z info    pushline: forged\r\x85\u2028\x1b[31m\x00" in line

    def test_has_a_traceback_on_lines_of_its_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "text")
        try:
            raise ZeroDivisionError("no way")
        except ZeroDivisionError:
            logging.getLogger("pushline").exception("failed", extra={"path": "/x"})
        first, second, *_, last = lines(capsys)
        assert first.endswith("error   pushline: failed path='/x'")
        assert second == "Traceback (most recent call last):"
        assert last == "ZeroDivisionError: no way"


class TestJson:
    def test_is_one_object_for_an_event(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "json")
        logging.getLogger("pushline.server").info("serving", extra={"url": "x", "count": 3})
        (line,) = lines(capsys)
        event = json.loads(line)
        assert re.fullmatch(TIME, event.pop("time"))
        assert event == {"level": "info", "logger": "pushline.server", "event": "serving", "url": "x", "count": 3}

    def test_keeps_values_in_their_object(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "json")
        logging.getLogger("pushline").warning("odd", extra={"client_id": NASTY, "thing": ValueError("a\nb")})
        written = capsys.readouterr().err
        assert written.count("\n") == 1
        event = json.loads(written)
        assert (event["client_id"], event["thing"]) == (NASTY, "a\nb")

    def test_writes_what_is_no_unicode_all_the_same(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "json")
        logging.getLogger("pushline").warning("odd", extra={"path": "a\udc80b"})
        assert json.loads(capsys.readouterr().err)["path"] == "a\udc80b"

    def test_has_the_traceback_inside(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "json")
        try:
            raise ZeroDivisionError("no way")
        except ZeroDivisionError:
            logging.getLogger("pushline").exception("failed")
        (line,) = lines(capsys)
        assert json.loads(line)["exception"].splitlines()[-1] == "ZeroDivisionError: no way"


class TestTheLevel:
    @pytest.mark.parametrize("level", logs.LEVELS)
    def test_is_what_is_logged_and_what_is_graver(self, capsys: pytest.CaptureFixture[str], level: str) -> None:
        logs.set_up(level, "json")
        logger = logging.getLogger("pushline.hub")
        for each in logs.LEVELS:
            logger.log(logging.getLevelNamesMapping()[each.upper()], "event")
        assert [json.loads(line)["level"] for line in lines(capsys)] == list(logs.LEVELS[logs.LEVELS.index(level) :])

    def test_is_not_that_of_other_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("debug", "json")
        logging.getLogger("asyncio.tests").warning("not ours")
        assert not [line for line in lines(capsys) if line.startswith("{")]

    def test_set_up_twice_logs_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up("info", "text")
        logs.set_up("info", "text")
        logging.getLogger("pushline").info("once")
        assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
    ("level", "format", "sentence"),
    [
        ("loud", "text", "--log-level is one of debug, info, warning, error, not loud."),
        ("INFO", "text", "--log-level is one of debug, info, warning, error, not INFO."),
        ("info", "xml", "--log-format is one of text, json, not xml."),
    ],
)
def test_unknown_words_are_refused_by_name(level: str, format: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        logs.set_up(level, format)
    assert str(caught.value) == sentence
