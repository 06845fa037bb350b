"""Compares what a page got with what was accepted for its client id (contract, G2, G3 and G5). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

_ID: Final = re.compile(r"(\d+)-(\d+)", re.ASCII)

Id: TypeAlias = tuple[int, int]

BEFORE_ALL: Final[Id] = (-1, -1)
AFTER_ALL: Final[Id] = (1 << 63, 0)


def parse_id(text: str) -> Id:
    """An id as something that can be compared. Pages may not look into ids; who judges the server has to."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no id.")
    return int(match[1]), int(match[2])


def id_of_token(token: str) -> Id:
    """The id of a token: what was sent after it is the page's (G4). Pages may not look into tokens either."""
    return parse_id(token.split(".")[1])


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that was answered with success. Times are seconds of one clock, ``made_at`` that of the first try."""

    id: Id
    data: str
    made_at: float
    answered_at: float


@dataclass(frozen=True, slots=True)
class Received:
    """A page handed a message on."""

    id: Id
    data: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A page was told that messages up to ``upto`` are missing."""

    upto: Id


Seen: TypeAlias = Received | Gap


@dataclass(slots=True)
class Verdict:
    """How many messages of one page, or of several, met which fate.

    ``received``: all that were handed on; ``doubled``: handed on before, by id or by text; ``disordered``: after one
    with a higher id; ``strange``: never accepted, or with another text; ``lost``: missing, and no gap tells it;
    ``told``: missing, and a gap tells it; ``gaps``: told to the page; ``needless``: gaps in which nothing was missing.
    """

    received: int = 0
    doubled: int = 0
    disordered: int = 0
    strange: int = 0
    lost: int = 0
    told: int = 0
    gaps: int = 0
    needless: int = 0

    @property
    def good(self) -> bool:
        """Whether the page got what was promised."""
        return not (self.doubled or self.disordered or self.strange or self.lost)

    def __iadd__(self, other: Verdict) -> Verdict:
        for name in Verdict.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


def judge(accepted: Sequence[Accepted], seen: Sequence[Seen]) -> Verdict:
    """What became, on one page, of everything that was accepted for its client id after its token was made."""
    verdict = Verdict()
    data_of = {message.id: message.data for message in accepted}
    ids: set[Id] = set()
    texts: set[str] = set()
    gaps: list[tuple[Id, Id]] = []
    cursor = highest = BEFORE_ALL
    for event in seen:
        if isinstance(event, Gap):
            gaps.append((cursor, event.upto))
            cursor = event.upto
            continue
        verdict.received += 1
        if event.id in ids or event.data in texts:
            verdict.doubled += 1
        elif event.id < highest:
            verdict.disordered += 1
        if data_of.get(event.id) != event.data:
            verdict.strange += 1
        ids.add(event.id)
        texts.add(event.data)
        cursor = event.id
        highest = max(highest, cursor)
    missing = [id for id in data_of if id not in ids]
    verdict.told = sum(any(after < id <= upto for after, upto in gaps) for id in missing)
    verdict.lost = len(missing) - verdict.told
    verdict.gaps = len(gaps)
    verdict.needless = sum(not any(after < id <= upto for id in missing) for after, upto in gaps)
    return verdict


def overtaken(accepted: Iterable[Accepted]) -> int:
    """How many messages of one client id have a smaller id than one that was answered before they were made (G2)."""
    by_making = sorted(accepted, key=lambda message: message.made_at)
    by_answer = sorted(by_making, key=lambda message: message.answered_at)
    count, answered, highest = 0, 0, BEFORE_ALL
    for message in by_making:
        while by_answer[answered].answered_at < message.made_at:
            highest = max(highest, by_answer[answered].id)
            answered += 1
        count += message.id <= highest
    return count
