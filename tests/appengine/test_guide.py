"""docs/how-to/migrate-from-app-engine.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from pushline.errors import InvalidSignature

GUIDE: Final = (Path(__file__).parents[2] / "docs/how-to/migrate-from-app-engine.md").read_text(encoding="utf-8")
INSTALLS, VERIFIES, TESTS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)


def run(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - it is a document of ours
    return names


def test_the_old_import_finds_pushline() -> None:
    assert run(INSTALLS)["channel"].__name__ == "google.appengine.api.channel"


def test_a_handler_believes_nobody_else() -> None:
    with pytest.raises(InvalidSignature):
        run(VERIFIES)["client_id_of"]({"Content-Type": "application/x-www-form-urlencoded"}, b"from=ann")


def test_the_test_of_a_program_passes() -> None:
    run(TESTS)["test_a_move_is_told"]()
