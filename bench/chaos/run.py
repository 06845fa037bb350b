"""One run: server, pages, application, and what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from .application import Application
from .judge import AFTER_ALL, BEFORE_ALL, id_of_token, judge, overtaken, parse_id
from .line import Cut, Line
from .longpoll import LongPollPage
from .page import Page
from .plan import Plan
from .report import Report, TransportReport
from .server import ServerProcess, pushline_server
from .socketio import SocketIoApplication, SocketIoPage, socketio_server
from .sse import SsePage
from .websocket import WebSocketPage

PAGES: Final[dict[str, type[Page]]] = {"websocket": WebSocketPage, "sse": SsePage, "longpoll": LongPollPage}
SHARING: Final = 3
"""Pages of one client id, where some share one."""
REJECTING_FROM: Final = 8
"""The places among ten pages, from 0, whose channels have the policy `reject`."""

PROGRESS_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 30.0
"""How long pages may take to catch up at least, after the longest pause, however much of the run's time is left."""

Say = Callable[[str], None]


async def run(plan: Plan, say: Say) -> Report:
    """Do it. ``say`` is given lines of progress. Raises :class:`.server.ServerFault` when the server fails."""
    with tempfile.TemporaryDirectory(prefix="pushline-chaos-") as folder:
        api_key = secrets.token_urlsafe(24)
        peer = plan.peer == "socketio"
        server = (socketio_server if peer else pushline_server)(plan, Path(folder), api_key)
        try:
            await server.start()
            kind = SocketIoApplication if peer else Application
            async with kind(server.url, api_key, plan.chance("sends")) as application:
                return await _Run(plan, server, application, say).go()
        finally:
            await server.end()


class _Run:
    def __init__(self, plan: Plan, server: ServerProcess, application: Application, say: Say) -> None:
        self._plan = plan
        self._server = server
        self._application = application
        self._say = say
        self._chance = plan.chance("events")
        self._began = time.monotonic()
        self._policies = dict(_owners(plan.pages))
        self._pages: list[Page] = []
        self._lives: dict[Page, asyncio.Task[None]] = {}
        self._loaded: list[Page] = []
        """The pages that are open, or will be again."""
        self._flooded: list[Page] = []
        self._cuts = 0
        self._reloads = 0
        self._floods = 0

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began

    @property
    def _flood_size(self) -> int:
        return self._plan.kept + 50

    @property
    def _wanted(self) -> int:
        return self._plan.messages + len(self._flooded) * self._flood_size

    async def go(self) -> Report:
        """The whole run. Nothing of it is left behind, however it ends."""
        await self._make_pages()
        progress = asyncio.create_task(self._tell_progress())
        try:
            # The first messages are sent while pages are still connecting: they begin at their tokens (G4).
            async with asyncio.TaskGroup() as work:
                work.create_task(self._send())
                work.create_task(self._trouble_server())
                work.create_task(self._trouble_pages())
                work.create_task(self._reload_pages())
                work.create_task(self._flood_pages())
            await self._settle()
            self._server.check()
            await self._leave()
        except ExceptionGroup as group:
            raise _first_of(group) from None
        finally:
            progress.cancel()
            for page in self._pages:
                await self._end_life(page)
        return self._report()

    # -- who takes part ------------------------------------------------------------------------------------------

    async def _make_pages(self) -> None:
        plan = self._plan
        owners = _owners(plan.pages)
        tokens = await self._application.make_tokens(owners)
        names = [plan.transports[number % len(plan.transports)] for number in range(plan.pages)]
        self._chance.shuffle(names)
        for (client_id, _), token, name in zip(owners, tokens, names, strict=True):
            self._load(name, client_id, token)
        one_of_each = list({page.client_id: page for page in self._pages}.values())
        self._flooded = self._chance.sample(one_of_each, min(plan.floods, len(one_of_each)))

    def _load(self, transport: str, client_id: str, token: str) -> None:
        """Another page begins its life."""
        plan = self._plan
        kind = SocketIoPage if plan.peer == "socketio" else PAGES[transport]
        chance = plan.chance(f"page {len(self._pages)}")
        page = kind(Line(self._server.port), client_id, token, chance, plan.longest_pause)
        self._pages.append(page)
        self._loaded.append(page)
        self._lives[page] = asyncio.create_task(page.run())

    async def _end_life(self, page: Page) -> None:
        life = self._lives[page]
        life.cancel()
        (end,) = await asyncio.gather(life, return_exceptions=True)
        if isinstance(end, Exception):  # no cancellation
            page.fault(f"it could not go on: {end!r}")

    async def _send(self) -> None:
        plan = self._plan
        await self._application.send_paced(
            sorted(self._policies),
            plan.messages,
            plan.sending_seconds,
            plan.last_send_seconds,
        )

    # -- what happens --------------------------------------------------------------------------------------------

    async def _trouble_server(self) -> None:
        """Kill it and stop it at random moments, one after the other, spread over the time of sending."""
        plan = self._plan
        troubles = [self._server.kill] * plan.kills + [self._server.term] * plan.terms
        self._chance.shuffle(troubles)
        for moment, trouble in zip(self._moments(len(troubles)), troubles, strict=True):
            await asyncio.sleep(moment - self._passed)
            self._server.check()
            await trouble()

    async def _trouble_pages(self) -> None:
        """Cut the connections of random pages for some seconds."""
        async with asyncio.TaskGroup() as cuts:
            for moment in self._moments(self._plan.drops):
                await asyncio.sleep(moment - self._passed)
                cuts.create_task(self._drop(self._chance.choice(self._loaded)))

    async def _drop(self, page: Page) -> None:
        self._cuts += 1
        with page.line.down(self._chance.choice(list(Cut))):
            await asyncio.sleep(self._plan.drop_seconds * self._chance.uniform(0.5, 1.5))

    async def _reload_pages(self) -> None:
        """Leave random pages, and load them again."""
        async with asyncio.TaskGroup() as reloads:
            for moment in self._moments(self._plan.reloads):
                await asyncio.sleep(moment - self._passed)
                candidates = [page for page in self._loaded if page not in self._flooded]
                if candidates:
                    reloads.create_task(self._reload(self._chance.choice(candidates)))

    async def _reload(self, page: Page) -> None:
        """What a browser does: the application renders, with a new token, then the old page goes (G4)."""
        self._loaded.remove(page)
        wanted = (page.client_id, self._policies[page.client_id])
        (token,) = await self._application.make_tokens([wanted])
        await asyncio.sleep(self._chance.uniform(0, 1))
        with contextlib.suppress(OSError):  # without a word, if it cannot be said
            await page.leave()
        await self._end_life(page)
        page.left = True
        self._load(page.transport, page.client_id, token)
        self._reloads += 1

    async def _flood_pages(self) -> None:
        """Cut a page, and send it more than its channel keeps: it has to be told of a gap (G5)."""
        application = self._application
        for moment, page in zip(self._moments(len(self._flooded)), self._flooded, strict=True):
            await asyncio.sleep(moment - self._passed)
            with page.line.down(self._chance.choice(list(Cut))):
                await application.send([application.make(page.client_id) for _ in range(self._flood_size)])
            self._floods += 1

    def _moments(self, count: int) -> Sequence[float]:
        """Random moments, in order, each in its own slot of the time of sending but for its edges."""
        total = self._plan.sending_seconds
        first, slot = self._passed + total * 0.1, total * 0.8 / max(1, count)
        return [first + slot * (number + self._chance.random() * 0.7) for number in range(count)]

    # -- the end -------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait until every page that lives has got the last message of its client id."""
        self._say(f"[{self._passed:3.0f} s] everything is sent; waiting until every page has caught up")
        end = max(self._plan.seconds, self._passed + self._plan.longest_pause + SETTLE_SECONDS)
        last = {
            client_id: max(message.id for message in accepted)
            for client_id, accepted in self._application.accepted.items()
        }
        behind = [page for page in self._loaded if last.get(page.client_id, BEFORE_ALL) > id_of_token(page.token)]
        while behind and self._passed < end:
            await asyncio.sleep(0.1)
            behind = [
                page
                for page in behind
                if not self._lives[page].done() and (not page.cursor or parse_id(page.cursor) < last[page.client_id])
            ]
        for page in behind:
            page.fault(f"it has not caught up: at {page.cursor or 'no cursor'}, codes {page.tally.codes}")
        await asyncio.sleep(1)  # what comes now comes twice

    async def _leave(self) -> None:
        """Every page that lives says that it leaves."""
        some = asyncio.Semaphore(32)

        async def leave(page: Page) -> None:
            async with some:
                with contextlib.suppress(OSError):
                    await page.leave()

        await asyncio.gather(*(leave(page) for page in self._loaded if page.ended is None))

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            sends, server = self._application.sends, self._server
            is_open = sum(page.open for page in self._loaded)
            self._say(
                f"[{self._passed:3.0f} s] accepted {sends.accepted:,} of {self._wanted:,}"
                f" · open {is_open} of {self._plan.pages} pages"
                f" · cut {self._cuts}, loaded again {self._reloads}, flooded {self._floods}"
                f" · killed {server.kills}, stopped {server.terms}"
            )

    # -- the verdict ---------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        plan, server, sends = self._plan, self._server, self._application.sends
        report = Report(
            seconds=self._passed,
            kills=server.kills,
            terms=server.terms,
            downtimes=server.downtimes,
            complaints=server.complaints,
            cuts=self._cuts,
            reloads=self._reloads,
            floods=self._floods,
            wanted=self._wanted,
            sends=sends,
            overtaken=sum(overtaken(accepted) for accepted in self._application.accepted.values()),
        )
        report.transports = {name: TransportReport() for name in plan.transports}
        for page in self._pages:
            first = id_of_token(page.token)
            last = AFTER_ALL if not page.left else parse_id(page.cursor) if page.cursor else first
            accepted = [each for each in self._application.accepted[page.client_id] if first < each.id <= last]
            report.transports[page.transport].add(page, judge(accepted, page.seen))
        return report


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _owners(pages: int) -> list[tuple[str, str]]:
    """Client id and policy of each page. Of ten pages three share one client id, and seven are alone."""
    owners = []
    for number in range(pages):
        group, place = divmod(number, 10)
        if place < SHARING:
            owners.append((f"room/{group} ü", "share"))
        else:
            owners.append((f"user-{number}@example.com", "reject" if place >= REJECTING_FROM else "replace"))
    return owners
