"""The codes that are generated are those of the specification (contract, W8 and section 4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pushline.protocol import codes
from pushline.protocol.codes import CLOSES, PROBLEMS

SPEC = json.loads((Path(__file__).parents[2] / "spec" / "codes.json").read_text())


class TestCloses:
    @pytest.mark.parametrize("entry", SPEC["closes"], ids=lambda entry: entry["name"])
    def test_a_close_is_as_it_is_specified(self, entry: dict[str, Any]) -> None:
        close = CLOSES[getattr(codes, entry["name"].upper())]
        for field in ("code", "name", "http", "ends", "sentence"):
            assert getattr(close, field) == entry[field]

    def test_there_are_no_others(self) -> None:
        assert list(CLOSES) == [entry["code"] for entry in SPEC["closes"]]

    @pytest.mark.parametrize("close", CLOSES.values(), ids=lambda close: close.name)
    def test_44xx_ends_the_socket_and_nothing_else_does(self, close: codes.CloseCode) -> None:
        assert close.ends == (4400 <= close.code < 4500)


class TestProblems:
    @pytest.mark.parametrize("entry", SPEC["problems"], ids=lambda entry: entry["code"])
    def test_a_problem_is_as_it_is_specified(self, entry: dict[str, Any]) -> None:
        problem = PROBLEMS[entry["code"]]
        for field in ("code", "status", "title"):
            assert getattr(problem, field) == entry[field]

    def test_there_are_no_others(self) -> None:
        assert list(PROBLEMS) == [entry["code"] for entry in SPEC["problems"]]
