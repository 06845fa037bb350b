"""The wire in memory behaves as a transport of asyncio does."""

from __future__ import annotations

import asyncio

import pytest

from pushline.testing import FakeClock, MemoryPipe


class Recorder(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.goes_on = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.events.append(data.decode())

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def eof_received(self) -> bool:
        self.events.append("end")
        return self.goes_on

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost" if error is None else "broken")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_what_the_protocol_writes_is_read_once(recorder: Recorder) -> None:
    pipe = MemoryPipe(recorder)
    pipe.write(b"a")
    pipe.write(b"b")
    assert (pipe.take(), pipe.take(), pipe.writes) == (b"ab", b"", 2)


def test_what_the_peer_sends_arrives(recorder: Recorder) -> None:
    MemoryPipe(recorder).feed(b"hello")
    assert recorder.events == ["made", "hello"]


def test_a_full_buffer_pauses_the_protocol_until_it_is_read(recorder: Recorder) -> None:
    pipe = MemoryPipe(recorder, high_water=2)
    pipe.write(b"xx")
    assert recorder.events == ["made"]
    pipe.write(b"x")
    pipe.write(b"x")
    assert recorder.events == ["made", "pause"]
    pipe.take()
    pipe.take()
    assert recorder.events == ["made", "pause", "resume"]


def test_a_peer_may_read_a_part_and_the_protocol_goes_on_when_little_is_left(recorder: Recorder) -> None:
    pipe = MemoryPipe(recorder, high_water=8)
    pipe.write(b"0123456789")
    assert (pipe.take(4), pipe.get_write_buffer_size()) == (b"0123", 6)
    assert recorder.events == ["made", "pause"]
    assert pipe.take(4) == b"4567"
    assert recorder.events == ["made", "pause", "resume"]
    assert pipe.take() == b"89"


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_peer_may_end_its_side_and_the_protocol_decides(recorder: Recorder, goes_on: bool) -> None:
    recorder.goes_on = goes_on
    pipe = MemoryPipe(recorder)
    pipe.end()
    assert pipe.closed == (not goes_on)
    assert recorder.events == ["made", "end", *([] if goes_on else ["lost"])]


def test_a_peer_of_a_connection_that_is_closed_ends_nothing(recorder: Recorder) -> None:
    pipe = MemoryPipe(recorder)
    pipe.drop()
    pipe.end()
    assert recorder.events == ["made", "broken"]


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_protocol_that_closes_is_told_once_and_writes_no_more(recorder: Recorder, end: str) -> None:
    pipe = MemoryPipe(recorder)
    pipe.write(b"last")
    for _ in range(2):
        getattr(pipe, end)()
    pipe.write(b"too late")
    pipe.drop()
    assert pipe.is_closing()
    assert recorder.events == ["made", "lost"]
    assert pipe.take() == b"last"


def test_it_may_be_told_in_a_later_turn_as_a_loop_does(recorder: Recorder) -> None:
    clock = FakeClock()
    pipe = MemoryPipe(recorder, call_soon=clock.call_soon)
    pipe.close()
    assert recorder.events == ["made"]
    clock.turn()
    assert recorder.events == ["made", "lost"]


def test_a_connection_that_breaks_is_told_once(recorder: Recorder) -> None:
    pipe = MemoryPipe(recorder)
    pipe.drop()
    pipe.drop()
    pipe.close()
    assert recorder.events == ["made", "broken"]


def test_the_protocol_may_be_exchanged(recorder: Recorder) -> None:
    pipe = MemoryPipe(asyncio.Protocol())
    pipe.set_protocol(recorder)
    assert pipe.get_protocol() is recorder
    pipe.feed(b"hello")
    assert recorder.events == ["hello"]


def test_its_side_can_be_ended_and_reading_paused(recorder: Recorder) -> None:
    pipe = MemoryPipe(recorder)
    assert pipe.can_write_eof()
    pipe.write_eof()
    pipe.pause_reading()
    assert (pipe.ended, pipe.reading) == (True, False)
    pipe.resume_reading()
    assert pipe.reading
