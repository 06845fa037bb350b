"""The pytest plugin, as a program's tests have it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pushline
import pushline.testing


def test_a_program_has_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from pushline import channel

        @pytest.fixture
        def pushline_settings():
            return {"max_message_bytes": 5}

        def test_it_arrives(pushline_server):
            page = pushline_server.page(channel.create_channel("ann"))
            channel.send_message("ann", "hello")
            page.assert_delivered("hello")

        def test_it_does_not(pushline_server):
            page = pushline_server.page(channel.create_channel("ann"))
            page.assert_delivered("hello")
    """)
    result = pytester.runpytest_inprocess("-p", "pushline.testing.plugin")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: page-1 did not get 'hello'."])
    result.stdout.no_fnmatch_line("*explain_page*")


def test_pytest_finds_it_where_pushline_is_installed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    plugins = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
        "pytest11"
    ]
    installed = pytester.mkdir("installed")
    info = installed / "pushline-0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pushline\nVersion: 0.0\n")
    lines = [f"{name} = {module}" for name, module in plugins.items()]
    (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    monkeypatch.setenv("PYTHONPATH", f"{installed}{os.pathsep}{Path(pushline.__file__).parents[1]}")
    pytester.makepyfile("""
        def test_it_is_there(pushline_server):
            assert pushline_server.pages == []
    """)
    once_more = ["-p", "pushline.testing.plugin"]  # as a conftest may ask for it
    for arguments in ([], once_more):
        pytester.runpytest_subprocess("-W", "error", *arguments).assert_outcomes(passed=1)


def test_a_program_that_does_not_use_it_loads_next_to_nothing() -> None:
    program = "import sys\nimport pytest\nbefore = set(sys.modules)\nimport pushline.testing.plugin\n"
    program += "print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["pushline", "pushline.testing", "pushline.testing.plugin"]


def test_every_public_name_is_there() -> None:
    assert all(getattr(pushline.testing, name).__name__ == name for name in pushline.testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Fixture'"):
        pushline.testing.Fixture  # noqa: B018
