"""Many requests on one connection, before anything is measured and after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .faults import LoadFault
from .sockets import READ_BYTES, dial, resolve
from .wire import Answer, split_answers

AHEAD: Final = 100


def ask_all(address: tuple[str, int], requests: Sequence[bytes]) -> Iterator[Answer]:
    """The answer to each request, in order. Raises :class:`LoadFault` when the server refuses one or goes away."""
    with dial(resolve(*address)) as connection:
        for first in range(0, len(requests), AHEAD):
            asked = requests[first : first + AHEAD]
            connection.sendall(b"".join(asked))
            got, rest = 0, b""
            while got < len(asked):
                try:
                    data = connection.recv(READ_BYTES)
                except OSError:
                    data = b""
                if not data:
                    raise LoadFault("The server closed the connection, or stopped to answer.")
                answers, rest = split_answers(rest + data)
                got += len(answers)
                for answer in answers:
                    if not 200 <= answer.status < 300:
                        raise LoadFault(refusal(answer))
                    yield answer


def refusal(answer: Answer) -> str:
    """What a refused request says, for people."""
    if answer.status == 401:
        return "The server refuses the API key (401)."
    return f"The server answers with {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}"
