"""The API key and the token secret: where they come from, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pushline.errors import ConfigurationError
from pushline.server.secrets import API_KEY, MIN_CHARACTERS, TOKEN_SECRET, Loaded, Secret, load

GOOD = "0123456789abcdef"
OTHER = "another-good-secret"


@pytest.mark.parametrize("secret", [API_KEY, TOKEN_SECRET])
class TestWhereTheyComeFrom:
    def test_is_the_variable(self, secret: Secret, tmp_path: Path) -> None:
        loaded = load(secret, {secret.variable: GOOD}, tmp_path, make=True)
        assert (loaded.values, loaded.source) == ((GOOD,), secret.variable)
        assert list(tmp_path.iterdir()) == []

    def test_is_the_file_that_a_variable_names(self, secret: Secret, tmp_path: Path) -> None:
        path = tmp_path / "mounted"
        path.write_text(f"{GOOD}\n")
        loaded = load(secret, {secret.variable + "_FILE": str(path)}, None, make=True)
        assert (loaded.values, loaded.source) == ((GOOD,), str(path))

    def test_is_the_variable_rather_than_its_file(self, secret: Secret, tmp_path: Path) -> None:
        environment = {secret.variable: GOOD, secret.variable + "_FILE": str(tmp_path / "none")}
        assert load(secret, environment, None, make=False).values == (GOOD,)

    def test_is_the_data_dir_where_one_is_made_once(self, secret: Secret, tmp_path: Path) -> None:
        loaded = load(secret, {secret.variable: ""}, tmp_path, make=True)
        path = tmp_path / secret.file
        assert loaded.source == str(path)
        assert len(loaded.values[0]) >= 2 * MIN_CHARACTERS
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load(secret, {}, tmp_path, make=True) == loaded
        assert load(secret, {}, tmp_path, make=False) == loaded
        assert path.read_text() == loaded.values[0] + "\n"

    def test_is_private_whatever_the_umask(self, secret: Secret, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            load(secret, {}, tmp_path, make=True)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / secret.file).stat().st_mode) == 0o600

    def test_is_nowhere_and_the_sentence_says_what_to_set(self, secret: Secret, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=rf"no {secret.variable} and no {tmp_path / secret.file}\. Set"):
            load(secret, {}, tmp_path, make=False)
        with pytest.raises(ConfigurationError, match=rf"no {secret.variable}\. Set it, or {secret.variable}_FILE\."):
            load(secret, {}, None, make=True)
        assert list(tmp_path.iterdir()) == []


def test_made_secrets_are_different(tmp_path: Path) -> None:
    made = {load(secret, {}, tmp_path, make=True).values for secret in (API_KEY, TOKEN_SECRET)}
    assert len(made) == 2


class TestTheirValues:
    def test_may_be_several_of_which_the_first_comes_first(self) -> None:
        for text in (f"{GOOD} {OTHER}", f"{GOOD}\n{OTHER}\n", f"\t{GOOD}\r\n\r\n{OTHER}"):
            assert load(API_KEY, {API_KEY.variable: text}, None, make=False).values == (GOOD, OTHER)

    @pytest.mark.parametrize("text", ["short", "0123456789abcde", f"{GOOD} short", f"short {GOOD}"])
    def test_that_are_too_short_are_refused_and_not_shown(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match=r"PUSHLINE_API_KEY has a secret of \d+ characters") as caught:
            load(API_KEY, {API_KEY.variable: text}, None, make=False)
        assert "short" not in str(caught.value)
        assert "0123" not in str(caught.value)

    def test_that_are_empty_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"PUSHLINE_API_KEY is empty\."):
            load(API_KEY, {API_KEY.variable: " \n"}, None, make=False)
        (tmp_path / API_KEY.file).touch()
        with pytest.raises(ConfigurationError, match=r"api-key is empty\."):
            load(API_KEY, {}, tmp_path, make=True)

    def test_never_show(self) -> None:
        loaded = Loaded((GOOD,), "PUSHLINE_API_KEY")
        assert repr(loaded) == str(loaded) == f"{loaded}" == "Loaded(from PUSHLINE_API_KEY)"


class TestFilesThatCannotBeUsed:
    @pytest.mark.parametrize("make", [True, False])
    def test_are_named_with_the_reason(self, tmp_path: Path, make: bool) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "binary").write_bytes(b"\xff" * 32)
        for name, reason in (
            ("none", "there is no such file"),
            ("folder", "Is a directory"),
            ("binary", "it is not text"),
        ):
            path = tmp_path / name
            with pytest.raises(ConfigurationError, match=rf"^{path} cannot be read: {reason}\.$"):
                load(API_KEY, {"PUSHLINE_API_KEY_FILE": str(path)}, tmp_path, make=make)

    def test_of_the_data_dir_are_named_with_the_reason(self, tmp_path: Path) -> None:
        (tmp_path / API_KEY.file).mkdir()
        with pytest.raises(ConfigurationError, match=r"api-key cannot be read: Is a directory\."):
            load(API_KEY, {}, tmp_path, make=True)
        with pytest.raises(ConfigurationError, match=r"none/api-key cannot be written: No such file or directory\."):
            load(API_KEY, {}, tmp_path / "none", make=True)

    def test_of_somebody_else_are_an_error_in_a_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # the data dir is its owner's alone, and every call into it is refused
        def refuse(self: Path, *arguments: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied")

        for call in ("read_text", "stat", "open"):
            monkeypatch.setattr(Path, call, refuse)
        with pytest.raises(ConfigurationError, match=r"api-key cannot be read: Permission denied\."):
            load(API_KEY, {}, tmp_path, make=False)
