from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.disk import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "data"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    disk.store.close()
