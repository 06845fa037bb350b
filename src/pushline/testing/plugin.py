"""The pytest plugin: a program that has Pushline installed has its fixtures. Nothing is loaded before one is used.

::

    def test_a_move_is_told_to_bob(pushline_server):
        page = pushline_server.page(channel.create_channel("bob"))
        move("ann", 4)
        page.assert_delivered("X took the middle")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pushline.testing.server import PushlineServer


@pytest.fixture
def pushline_settings() -> Mapping[str, Any]:
    """The settings of ``pushline_server``, by their names with underscores. Override it to have others."""
    return {}


@pytest.fixture
def pushline_server(pushline_settings: Mapping[str, Any]) -> Iterator[PushlineServer]:
    """A Pushline in memory, in which everything ends that the application asks by Pushline's SDK."""
    from pushline.testing.server import PushlineServer  # noqa: PLC0415 - nothing for those who do not use it

    with PushlineServer(**pushline_settings) as server:
        yield server
