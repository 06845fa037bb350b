"""A page over server-sent events (contract, W5): the format of the HTML standard, and acknowledgements by POST."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import Iterator
from typing import ClassVar, Final

from .line import HttpConnection
from .page import CONNECT, OPEN_SECONDS, End, Page, refusal

_LINE_END: Final = re.compile(r"\r\n|\n|\r")


class EventReader:
    """Reads an event stream: ``(event, id, data)`` of each event that is complete."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._id = self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str, str]]:
        """More of the stream."""
        self._text += self._decoder.decode(chunk)
        # A CR at the end may be the half of a CR LF: it waits for what follows.
        whole = self._text.removesuffix("\r")
        held = self._text[len(whole) :]
        *lines, rest = _LINE_END.split(whole)
        self._text = rest + held
        for line in lines:
            if line:
                self._field(line)
            else:
                if self._data:
                    yield self._event, self._id, "\n".join(self._data)
                self._event, self._data = "", []

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value


class SsePage(Page):
    """Reads a stream that does not end; what goes up, goes by POST."""

    transport: ClassVar[str] = "sse"

    async def connect(self) -> End:
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.token}"}
        if self._chance.random() < 0.5 and self.cursor:  # both ways to resume
            headers["Last-Event-ID"] = self.cursor
            target = f"{CONNECT}?page={self.page}"
        else:
            target = f"{CONNECT}?{self.query()}"
        connection = await self.line.dial()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await connection.ask("GET", target, headers)
                if connection.status != 200:
                    return await refusal(connection)
            if not connection.headers.get("content-type", "").startswith("text/event-stream"):
                self.fault(f"the stream is {connection.headers}")
            acknowledging = asyncio.create_task(self.acknowledge())
            try:
                return await self._receive(connection)
            finally:
                acknowledging.cancel()
        finally:
            connection.close()

    async def _receive(self, connection: HttpConnection) -> End:
        reader, patience = EventReader(), OPEN_SECONDS
        while True:
            async with asyncio.timeout(patience):
                chunk = await connection.chunk()
            if not chunk:
                return End()
            for event, id, data in reader.feed(chunk):
                if event == "":
                    self.got_message(id, json.loads(data))
                elif event == "close":
                    frame = json.loads(data)
                    retry = frame.get("retry")
                    return End(frame["code"], None if retry is None else retry / 1000)
                else:
                    patience = self.got_frame(event, json.loads(data)) or patience
