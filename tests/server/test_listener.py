"""Addresses, as they are given and as they are told."""

from __future__ import annotations

import pytest

from pushline.errors import ConfigurationError
from pushline.server.listener import split_address


class TestAnAddress:
    @pytest.mark.parametrize(
        ("listen", "host", "port"),
        [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("10.0.0.1:0", "10.0.0.1", 0),
            ("localhost:65535", "localhost", 65535),
            ("[::1]:8080", "::1", 8080),
            ("[::]:80", "::", 80),
        ],
    )
    def test_is_host_and_port(self, listen: str, host: str, port: int) -> None:
        assert split_address(listen) == (host, port)

    @pytest.mark.parametrize(
        "listen",
        ["", "8080", "localhost", ":8080", "localhost:", "localhost:x", "a:-1", "a:65536", "a:²"],
    )
    def test_of_another_form_is_refused(self, listen: str) -> None:
        with pytest.raises(ConfigurationError, match=r"is not of the form HOST:PORT, such as 127\.0\.0\.1:8080\.$"):
            split_address(listen)
