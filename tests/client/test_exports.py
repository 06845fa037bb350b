"""The public names of the SDK, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pushline
from pushline import channel
from pushline.client import aio, results, sync


def test_the_package_offers_these_names() -> None:
    assert pushline.__all__ == [
        "AsyncClient",
        "Client",
        "ClientState",
        "SendResult",
        "TargetResult",
        "__version__",
        "channel",
    ]
    assert all(getattr(pushline, name) is not None for name in pushline.__all__)


def test_the_channel_module_offers_these_functions() -> None:
    assert channel.__all__ == [
        "batch",
        "create_channel",
        "disconnect",
        "get_client",
        "list_callbacks",
        "list_clients",
        "retry_callbacks",
        "revoke",
        "send_json",
        "send_many",
        "send_message",
    ]
    assert all(callable(getattr(channel, name)) for name in channel.__all__)


def test_every_name_is_what_its_module_calls_it() -> None:
    assert pushline.channel is channel
    assert pushline.Client is sync.Client
    assert pushline.AsyncClient is aio.AsyncClient
    assert pushline.ClientState is results.ClientState
    assert pushline.SendResult is results.SendResult
    assert pushline.TargetResult is results.TargetResult


def test_an_unknown_name_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'pushline' has no attribute 'Chanel'"):
        pushline.Chanel  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import pushline", ["httptools", "aiohttp", "msgspec", "uvloop", "apsw", "asyncio", "ssl"]),
        (
            "from pushline import channel, Client, SendResult",
            ["aiohttp", "asyncio", "uvloop", "apsw", "pushline.server"],
        ),
    ],
)
def test_an_import_loads_only_what_it_needs(statement: str, absent: list[str]) -> None:
    program = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(absent) & set(loaded.stdout.split())


def test_the_version_is_the_same_wherever_it_stands() -> None:
    root = Path(__file__).parent.parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = json.loads((root / "js" / "package.json").read_text(encoding="utf-8"))
    assert pushline.__version__ == project["version"] == package["version"]
