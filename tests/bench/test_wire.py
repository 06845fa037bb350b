"""The generator's readers are given what servers send, whole and in pieces."""

from __future__ import annotations

import pytest

from pushline.bench.faults import LoadFault
from pushline.bench.wire import CLOSE, TEXT, Answer, frame, post, split_answers, split_frames, split_upgraded, upgrade


def of_server(text: bytes, opcode: int = TEXT) -> bytes:
    """A frame as a server sends it."""
    size = len(text)
    if size < 126:
        return bytes((0x80 | opcode, size)) + text
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + text
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + text


class TestFrames:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
    def test_a_frame_of_any_size_is_read(self, size: int) -> None:
        assert split_frames(of_server(b"x" * size)) == ([(TEXT, b"x" * size)], b"")

    @pytest.mark.parametrize("size", [5, 300, 70_000])
    def test_a_part_of_one_is_left(self, size: int) -> None:
        whole = of_server(b"x" * size)
        for cut in (*range(1, 12), len(whole) - 1):
            part = whole[: min(cut, len(whole) - 1)]
            assert split_frames(part) == ([], part)
            assert split_frames(of_server(b"a") + part) == ([(TEXT, b"a")], part)

    def test_several_come_at_once(self) -> None:
        data = of_server(b"a") + of_server(b"\x03\xe9", CLOSE)
        assert split_frames(data) == ([(TEXT, b"a"), (CLOSE, b"\x03\xe9")], b"")

    @pytest.mark.parametrize("first", [0x01, 0x80])
    def test_a_fragment_is_a_fault(self, first: int) -> None:
        with pytest.raises(LoadFault, match="fragments"):
            split_frames(bytes((first, 1)) + b"a")

    @pytest.mark.parametrize("size", [0, 125, 126, 1000])
    def test_what_a_page_sends_is_masked_and_reads_the_same(self, size: int) -> None:
        written = frame(TEXT, b"x" * size)
        assert written[1] & 0x80
        unmasked = bytes((written[0], written[1] & 0x7F)) + written[2:].replace(bytes(4), b"", 1)
        assert split_frames(unmasked) == ([(TEXT, b"x" * size)], b"")


class TestTheHandshake:
    def test_what_follows_the_answer_is_returned(self) -> None:
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
        assert split_upgraded(answer + b"more") == b"more"
        assert split_upgraded(answer[:-1]) is None

    def test_a_refusal_says_how_the_server_answers(self) -> None:
        with pytest.raises(LoadFault, match=r"'HTTP/1\.1 404 Not Found'"):
            split_upgraded(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def test_a_head_without_an_end_is_a_fault(self) -> None:
        with pytest.raises(LoadFault, match="endless"):
            split_upgraded(b"x" * 70_000)

    def test_the_request_has_what_it_is_given(self) -> None:
        assert upgrade("h:1", "/ws", "A: b").startswith(b"GET /ws HTTP/1.1\r\nHost: h:1\r\n")
        assert upgrade("h:1", "/ws", "A: b").endswith(b"\r\nA: b\r\n\r\n")


class TestAnswers:
    SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    CHUNKED = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    BARE = b"HTTP/1.1 204 No Content\r\n\r\n"
    ALL = SIZED + CHUNKED + BARE + SIZED

    def test_several_at_once_are_read(self) -> None:
        answers = [Answer(200, b"hello"), Answer(201, b"hello"), Answer(204, b""), Answer(200, b"hello")]
        assert split_answers(self.ALL) == (answers, b"")

    def test_they_are_the_same_however_they_are_cut(self) -> None:
        expected, _ = split_answers(self.ALL)
        for cut in range(len(self.ALL)):
            first, rest = split_answers(self.ALL[:cut])
            second, nothing = split_answers(rest + self.ALL[cut:])
            assert first + second == expected
            assert nothing == b""

    def test_what_is_no_http_is_a_fault(self) -> None:
        with pytest.raises(LoadFault, match="HTTP"):
            split_answers(b"SSH-2.0\r\n\r\n")

    def test_a_request_says_its_length(self) -> None:
        assert post("h:1", "/x", 3, "A: b") == b"POST /x HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nA: b\r\n\r\n"
