"""``python -m tools.fuzz TARGET [OPTIONS]``: a fuzzer that looks which branches an input takes, run by hand.

It needs the package atheris, which no test needs: ``pip install atheris``. OPTIONS are those of libFuzzer, such as a
folder for inputs that were found, or ``-max_total_time=60``. The property tests look at the same four places.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["pushline", "websockets"]):
    from tests.http.rig import Peer, Rig, parse_answers

    from pushline.errors import ConnectionEnded
    from pushline.messages import format_id, parse_id
    from pushline.protocol.tokens import TokenSigner

SIGNER = TokenSigner(["the-token-secret-of-the-fuzzer"])


def http(data: bytes) -> None:
    """Whatever comes first on a connection: the server goes on, and what it answers is whole."""
    rig = Rig()
    peer = Peer(rig)
    peer.write(data)
    rig.clock.turn()
    parse_answers(peer.pipe.take(), iter(()))
    assert Peer(rig).ask("GET", "/health").status == 200  # noqa: S101
    rig.hub.close(0)


def frames(data: bytes) -> None:
    """Frames of a page: those of others are untouched."""
    rig = Rig()
    page, other = rig.page("ann"), rig.page("bob")
    page.pipe.feed(data)
    rig.clock.turn()
    rig.ask("POST", "/v1/clients/bob/messages", {}, b"x")
    assert other.messages() == ["x"]  # noqa: S101
    rig.hub.close(0)


def token(data: bytes) -> None:
    """A token that was not made here is refused, and of one that was signed any text is read or refused."""
    text = data.decode("latin-1")
    with suppress(ConnectionEnded):
        SIGNER.verify(text, 0)
        raise SystemExit("A forged token was taken.")
    with suppress(ConnectionEnded):
        SIGNER.verify(SIGNER._signer.sign(text).decode("latin-1"), 0)


def cursor(data: bytes) -> None:
    """What is read as an id is written the same."""
    text = data.decode("latin-1")
    number = parse_id(text)
    assert number is None or format_id(number) == text  # noqa: S101


TARGETS: dict[str, Callable[[bytes], None]] = {each.__name__: each for each in (http, frames, token, cursor)}


def main() -> None:
    """Fuzz the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"Name one of {', '.join(TARGETS)}.")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
