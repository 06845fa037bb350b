"""Files that are made from others are as they would be made now."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def load() -> ModuleType:
    spec = spec_from_file_location("generate", ROOT / "tools/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load()


@pytest.mark.parametrize("name", generate.FILES)
def test_a_generated_file_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generate.FILES[name](), f"{name} is stale: run `make generate`"


@pytest.mark.parametrize("name", generate.FILES)
def test_a_generated_file_says_so(name: str) -> None:
    assert "by `make generate`. Do not edit." in (ROOT / name).read_text(encoding="utf-8").splitlines()[0]


class TestTheCheck:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(generate, "ROOT", tmp_path)
        monkeypatch.setattr(generate, "FILES", {"made/a.md": lambda: "fresh"})
        return tmp_path

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["generate.py", *arguments])
        return int(generate.main())

    def test_fails_for_a_stale_file_and_leaves_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(monkeypatch, "--check") == 1
        assert capsys.readouterr().out == "stale: made/a.md; run `make generate`\n"
        assert list(folder.iterdir()) == []

    def test_passes_once_the_file_was_written(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run(monkeypatch) == 0
        assert (folder / "made/a.md").read_text() == "fresh"
        assert self.run(monkeypatch, "--check") == 0


@pytest.mark.e2e
def test_the_program_agrees() -> None:
    result = subprocess.run([sys.executable, "tools/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
