"""Sends of one event loop on their way: gathered for one turn, then as few requests as possible (contract, A2, A3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy

from pushline.client import requests
from pushline.client.queue import Batch, Queue
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.results import SendResult, TargetResult
from pushline.client.sends import Part, Send

Ask = Callable[[ApiRequest], Awaitable[ApiResponse]]


class _Ticket:
    """What a caller waits with, for the result of a batch, or for the word that its message goes alone."""

    __slots__ = ("alone", "result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.result: asyncio.Future[TargetResult | None] = loop.create_future()
        self.alone: Batch[_Ticket] | None = None


class Sender:
    """Sends messages by ``ask``. It belongs to the event loop in which it is made."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._queue: Queue[_Ticket] = Queue()
        self._due = False
        self._tasks: dict[asyncio.Task[None], Batch[_Ticket]] = {}

    async def send(self, send: Send) -> SendResult:
        """Send a message with all the others of this turn. Raises what the request raises; each caller has its own."""
        ticket = _Ticket(self._loop)
        self._queue.add(send, ticket)
        self._take_soon()
        try:
            result = await ticket.result
            if result is not None:
                return requests.outcome_of(result)
            return requests.parse_sent(await self._ask(requests.send(send)))
        finally:
            if ticket.alone is not None:
                self._finish(ticket.alone)

    async def close(self) -> None:
        """Wait for what somebody waits for, and give up the rest."""
        for task, batch in self._tasks.items():
            if all(ticket.result.done() for _, ticket in batch.entries):
                task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _take_soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._take)  # behind everything that is ready in this turn

    def _take(self) -> None:
        self._due = False
        for batch in self._queue.take():
            if batch.alone or batch.part is None:
                ((_, ticket),) = batch.entries
                self._leave_alone(batch, ticket)
            else:
                task = self._loop.create_task(self._send_together(batch, batch.part))
                self._tasks[task] = batch
                task.add_done_callback(self._tasks.pop)

    def _leave_alone(self, batch: Batch[_Ticket], ticket: _Ticket) -> None:
        if ticket.result.done():  # its caller was cancelled
            self._finish(batch)
        else:
            ticket.alone = batch
            ticket.result.set_result(None)

    async def _send_together(self, batch: Batch[_Ticket], part: Part) -> None:
        tickets = [ticket.result for _, ticket in batch.entries]
        try:
            results = requests.parse_part(await self._ask(requests.send_part(part)), part)
        except Exception as error:
            for ticket in tickets:
                if not ticket.done():
                    ticket.set_exception(_again(error))
        else:
            for ticket, result in zip(tickets, results, strict=True):
                if not ticket.done():
                    ticket.set_result(result)
        finally:
            for ticket in tickets:
                ticket.cancel()  # of those that are done nothing comes; others: this task was cancelled
            self._finish(batch)

    def _finish(self, batch: Batch[_Ticket]) -> None:
        if self._queue.finish(batch):
            self._take_soon()


def _again(error: Exception) -> Exception:
    """The same error, for another one to raise: its traceback is that one's own."""
    same = copy(error)
    same.__cause__ = error.__cause__
    return same
