"""Makes the modules of the tic-tac-toe example importable, as they are when it runs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "tictactoe"))
