"""What ends a measurement."""

from __future__ import annotations

from pushline.errors import PushlineError


class LoadFault(PushlineError):
    """The load could not be made: ``sentence`` says why, and what to change."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)

    def __str__(self) -> str:
        return self.sentence
