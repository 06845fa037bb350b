"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The fixtures that a program with Pushline installed has: here also while an older Pushline is installed.
pytest_plugins = ["pushline.testing.plugin", "pytester"]

# The published suites assert outside of test files: say why a test of theirs fails all the same.
pytest.register_assert_rewrite("pushline.testing.stores", "pushline.testing.transports")

# How long an example takes says more about the machine than about the program.
settings.register_profile("pushline", deadline=None)
settings.load_profile("pushline")
