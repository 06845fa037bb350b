"""A page over long-poll (contract, W6): the next poll's cursor acknowledges what the answer before it held."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar, Final

from .judge import parse_id
from .page import CONNECT, OPEN_SECONDS, End, Page, refusal

_SLACK_SECONDS: Final = 10.0


class LongPollPage(Page):
    """Polls over one connection as long as that lasts."""

    transport: ClassVar[str] = "longpoll"

    async def connect(self) -> End:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self.token}"}
        wait = 0.0  # until the server has said how long it lets wait
        first = True
        connection = await self.line.dial()
        try:
            while True:
                if not connection.usable:
                    connection.close()
                    connection = await self.line.dial()
                async with asyncio.timeout((OPEN_SECONDS if first else 0) + wait + _SLACK_SECONDS):
                    await connection.ask("GET", f"{CONNECT}?{self.query(wait=f'{wait:g}')}", headers)
                    if connection.status != 200:
                        return await refusal(connection)
                    answer = json.loads(await connection.body())
                if first:
                    self.got_open(answer["client_id"])
                    first = False
                if self.cursor:
                    self.tally.acks += 1
                messages = answer["messages"]
                if answer["gap"]:
                    # What is missing lies before the messages of the answer.
                    self.got_cursor(messages[0]["id"] if messages else answer["cursor"], gap=True)
                for message in messages:
                    self.got_message(message["id"], message["data"])
                if messages and parse_id(answer["cursor"]) < parse_id(messages[-1]["id"]):
                    self.fault(f"the cursor {answer['cursor']} lies before the message {messages[-1]['id']}")
                self.got_cursor(answer["cursor"], gap=False)
                wait = float(answer["ping"])
        finally:
            connection.close()
