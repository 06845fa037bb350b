"""The one table of settings, and what is made of it."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from pushline.cli import main
from pushline.errors import ConfigurationError
from pushline.settings import Setting, Settings, settings_table

TABLE = {setting.name: setting for setting in settings_table()}
NUMBERS = [setting for setting in TABLE.values() if setting.kind in (int, float)]
REFERENCE = Path(__file__).parents[1] / "docs/reference/settings.md"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which a server would have run."""
    seen: list[Settings] = []
    monkeypatch.setattr("pushline.server.run.serve", lambda settings, announce: seen.append(settings))
    return seen


def serve(*arguments: str, **environment: str) -> str:
    result = CliRunner().invoke(main, ["serve", *arguments], env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


class TestTheTable:
    def test_has_a_row_for_every_setting(self) -> None:
        assert list(TABLE) == [field.name for field in fields(Settings)]

    def test_has_the_defaults_of_the_contract(self) -> None:
        settings = Settings()
        assert (settings.listen, settings.store) == ("127.0.0.1:8080", "sqlite")
        assert (settings.ping_interval, settings.ping_timeout, settings.grace) == (25, 10, 3)
        assert (settings.retention, settings.max_channel_messages, settings.max_channel_bytes) == (120, 1000, 1 << 20)
        assert settings.max_message_bytes == 32767

    @pytest.mark.parametrize("setting", TABLE.values(), ids=TABLE)
    def test_describes_each_in_a_sentence(self, setting: Setting) -> None:
        assert re.fullmatch(r"[A-Z].*\.", setting.help)
        assert setting.flag == "--" + setting.flag[2:].lower()
        assert setting.variable == "PUSHLINE_" + setting.flag[2:].replace("-", "_").upper()
        assert bool(setting.metavar) == (setting.kind is not bool)

    @pytest.mark.parametrize("setting", NUMBERS, ids=[setting.name for setting in NUMBERS])
    def test_has_defaults_within_their_bounds(self, setting: Setting) -> None:
        setting.check(setting.default)
        setting.check(setting.low)
        if setting.high:
            setting.check(setting.high)

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            (setting, value)
            for setting in NUMBERS
            for value in (setting.low - 0.5, *([setting.high + 1] if setting.high else []), math.nan)
        ],
    )
    def test_refuses_what_is_out_of_bounds_in_digits(self, setting: Setting, value: float) -> None:
        with pytest.raises(ConfigurationError) as caught:
            setting.check(value)
        sentence = str(caught.value)
        assert sentence.startswith(f"{setting.flag} must be at least ")
        assert sentence.endswith(f", not {value:.15g}.")
        assert "e+" not in sentence

    def test_refuses_no_text(self) -> None:
        for setting in TABLE.values():
            if setting not in NUMBERS:
                setting.check("anything")

    def test_shows_defaults_as_one_types_them(self) -> None:
        shown = {name: setting.shown_default for name, setting in TABLE.items()}
        assert shown["ping_interval"] == "25"
        assert shown["max_channel_bytes"] == "1048576"
        assert shown["data_dir"] == "pushline-data"
        assert shown["allowed_origins"] == ""


class TestTheHelpOfServe:
    HELP = CliRunner().invoke(main, ["serve", "--help"], terminal_width=1000).output

    @pytest.mark.parametrize("setting", TABLE.values(), ids=TABLE)
    def test_has_each(self, setting: Setting) -> None:
        left = f"{setting.flag} {setting.metavar}".rstrip()
        (row,) = re.findall(rf"^  {re.escape(left)}  +(.*)$", self.HELP, re.M)
        assert row.startswith(setting.help.replace("`", ""))
        assert row.endswith(f"[{setting.variable}; default: {setting.shown_default or 'none'}]")

    def test_has_nothing_else(self) -> None:
        flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", self.HELP, re.M)
        assert flags == [*(setting.flag for setting in TABLE.values()), "--help"]


class TestTheReference:
    ROWS: ClassVar = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in REFERENCE.read_text().splitlines()
        if line.startswith("| `--")
    ]

    def test_has_each_and_nothing_else(self) -> None:
        assert [(flag, variable, default, help) for flag, variable, default, help in self.ROWS] == [
            (
                f"`{setting.flag}`",
                f"`{setting.variable}`",
                f"`{setting.shown_default}`" if setting.shown_default else "–",
                setting.help,
            )
            for setting in TABLE.values()
        ]


class TestWhereValuesComeFrom:
    OTHERS: ClassVar[dict[str, tuple[str, Any]]] = {
        "listen": ("10.0.0.1:80", "10.0.0.1:80"),
        "store": ("memory", "memory"),
        "data_dir": ("/var/lib/pushline", Path("/var/lib/pushline")),
        "allowed_origins": ("https://a.example", ("https://a.example",)),
        "ping_interval": ("0.5", 0.5),
        "ping_timeout": ("7", 7.0),
        "grace": ("0", 0.0),
        "retention": ("60.5", 60.5),
        "max_channel_messages": ("5", 5),
        "max_channel_bytes": ("6", 6),
        "max_message_bytes": ("1048576", 1 << 20),
        "max_store_channels": ("7", 7),
        "max_store_messages": ("8", 8),
        "max_store_bytes": ("9", 9),
        "durability": ("disk", "disk"),
        "connect_rate": ("0", 0.0),
        "drain_seconds": ("1.5", 1.5),
        "legacy_dev_wire": ("true", True),
        "presence_url": ("https://app.example", "https://app.example"),
        "presence_format": ("multipart", "multipart"),
        "max_store_callbacks": ("4", 4),
        "api_listen": ("unix:/x", "unix:/x"),
        "tls_cert": ("c", "c"),
        "tls_key": ("k", "k"),
        "max_connections": ("5", 5),
        "max_per_address": ("6", 6),
        "max_per_client": ("10", 10),
        "send_rate": ("7", 7.0),
        "trusted_proxies": ("10.0.0.0/8", ("10.0.0.0/8",)),
        "request_timeout": ("8", 8.0),
        "idle_timeout": ("9", 9.0),
        "log_level": ("debug", "debug"),
        "log_format": ("json", "json"),
    }

    def test_is_the_default_when_nothing_is_said(self, served: list[Settings]) -> None:
        serve()
        assert served == [Settings()]

    @pytest.mark.parametrize("name", TABLE)
    def test_is_the_flag(self, served: list[Settings], name: str) -> None:
        text, value = self.OTHERS[name]
        serve(TABLE[name].flag, *([] if TABLE[name].kind is bool else [text]))
        assert getattr(served[0], name) == value

    @pytest.mark.parametrize("name", TABLE)
    def test_is_the_variable(self, served: list[Settings], name: str) -> None:
        text, value = self.OTHERS[name]
        serve(**{TABLE[name].variable: text})
        assert getattr(served[0], name) == value

    @pytest.mark.parametrize("name", TABLE)
    def test_is_the_flag_before_the_variable(self, served: list[Settings], name: str) -> None:
        text, value = self.OTHERS[name]
        arguments = [] if TABLE[name].kind is bool else [text]
        before = "false" if TABLE[name].kind is bool else str(TABLE[name].default or "x")
        serve(TABLE[name].flag, *arguments, **{TABLE[name].variable: before})
        assert getattr(served[0], name) == value

    def test_may_be_several_origins(self, served: list[Settings]) -> None:
        origins = ("https://a.example", "http://localhost:3000")
        serve("--allowed-origin", origins[0], "--allowed-origin", origins[1])
        serve(PUSHLINE_ALLOWED_ORIGIN=" ".join(origins))
        assert [settings.allowed_origins for settings in served] == [origins, origins]

    def test_is_the_default_when_the_variable_is_empty(self, served: list[Settings]) -> None:
        serve(**{setting.variable: "" for setting in TABLE.values()})
        assert served == [Settings()]

    @pytest.mark.parametrize(
        ("arguments", "code", "sentence"),
        [
            (["--ping-interval", "0"], 1, "Error: --ping-interval must be at least 0.1 and at most 3600, not 0."),
            (["--grace", "nan"], 1, "Error: --grace must be at least 0 and at most 3600, not nan."),
            (["--max-message-bytes", "1048577"], 1, "at least 1 and at most 1048576, not 1048577."),
            (["--max-channel-bytes", "0"], 1, "Error: --max-channel-bytes must be at least 1, not 0."),
            (["--max-channel-bytes", "1.5"], 2, "is not a valid integer"),
            (["--grace", "soon"], 2, "is not a valid float"),
            (["--greace", "3"], 2, "No such option"),
            (["now"], 2, "unexpected extra argument"),
        ],
    )
    def test_is_checked(self, served: list[Settings], arguments: list[str], code: int, sentence: str) -> None:
        result = CliRunner().invoke(main, ["serve", *arguments])
        assert result.exit_code == code
        assert sentence in result.output
        assert served == []
