"""Where the SDK finds the address and the API key (contract, Y1), and what it says when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushline.client.endpoint import Endpoint
from pushline.errors import ConfigurationError

KEY = "0123456789abcdef"


def find(url: str | None = None, api_key: str | None = None, **environ: str) -> Endpoint:
    return Endpoint.find(url, api_key, environ)


class TestAddress:
    def test_is_this_machine_by_default(self) -> None:
        assert find(api_key=KEY).url == "http://127.0.0.1:8080"

    def test_comes_from_the_environment(self) -> None:
        assert find(api_key=KEY, PUSHLINE_URL="https://push.example").url == "https://push.example"

    def test_the_argument_wins(self) -> None:
        assert find("http://other.example", KEY, PUSHLINE_URL="https://push.example").url == "http://other.example"

    def test_keeps_a_path_and_drops_the_slash_at_its_end(self) -> None:
        assert find("https://app.example/_ah/pushline/", KEY).url == "https://app.example/_ah/pushline"

    @pytest.mark.parametrize(
        "url", ["push.example:8080", "ws://push.example", "http://", "http://a:b", "http://a:0", "http://[::1"]
    )
    def test_must_be_one(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            find(url, KEY)
        assert str(raised.value) == f"{url!r} is no address of Pushline: write one like http://127.0.0.1:8080."

    @pytest.mark.parametrize(
        "url", ["http://ann:secret@push.example", "http://push.example?a=b", "http://push.example#a"]
    )
    def test_carries_nothing_else(self, url: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            find(url, KEY)
        assert str(raised.value) == (
            "The address of Pushline has a user name, a query or a fragment: write scheme, host, port and path only."
        )


class TestKey:
    def test_comes_from_the_environment(self) -> None:
        assert find(PUSHLINE_API_KEY=KEY).headers["Authorization"] == f"Bearer {KEY}"

    def test_comes_from_a_file_without_the_end_of_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(f"{KEY}\n")
        assert find(PUSHLINE_API_KEY_FILE=str(tmp_path / "key")).api_key == KEY

    def test_the_argument_wins(self) -> None:
        assert find(api_key=KEY, PUSHLINE_API_KEY="another").api_key == KEY

    def test_is_asked_for_when_it_is_missing(self) -> None:
        with pytest.raises(ConfigurationError) as raised:
            find()
        assert str(raised.value) == (
            "There is no API key: pass api_key, or set PUSHLINE_API_KEY or PUSHLINE_API_KEY_FILE. "
            "The start message of `pushline serve` says where the key is."
        )

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        missing = tmp_path / "key"
        with pytest.raises(ConfigurationError) as raised:
            find(PUSHLINE_API_KEY_FILE=str(missing))
        assert str(raised.value) == f"PUSHLINE_API_KEY_FILE: {missing} cannot be read: No such file or directory."

    def test_a_file_that_is_no_text_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match=r"cannot be read: it is not a text\.$"):
            find(PUSHLINE_API_KEY_FILE=str(tmp_path / "key"))

    @pytest.mark.parametrize("keys", ["first second", "first\nsecond\n"])
    def test_is_the_first_of_several(self, keys: str) -> None:
        assert find(PUSHLINE_API_KEY=keys).api_key == "first"

    @pytest.mark.parametrize("key", ["bell\a", "schlüssel"])
    def test_an_unusable_key_is_refused_without_showing_it(self, key: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            find(api_key=key)
        assert str(raised.value) == ("The API key has characters that a header cannot carry: is it the right text?")

    def test_is_in_no_text(self) -> None:
        assert KEY not in repr(find(api_key=KEY))
