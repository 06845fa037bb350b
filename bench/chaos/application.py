"""The application: it makes tokens and sends messages, and repeats what was not answered with the same key (G1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from .judge import Accepted, parse_id
from .server import ServerFault

WORKERS: Final = 16
BATCH_SHARE: Final = 0.04  # of all requests
BATCH_SIZES: Final = (10, 60)
TRY_SECONDS: Final = 10.0
FORGOTTEN_SHARE: Final = 0.02
"""Of all answers: they are thrown away, as if they were lost on the way, and the send is repeated."""
# What is awkward on some wire: line ends, NUL, quotes, and what looks like a frame, a field or an id.
_AWKWARD: Final = (
    *("", " ", "{", '{"type":"ping"}', "data: ", "id: 1-1\n", "1763957135000-0 "),
    *("\n\n", "\r\n", "\r", "\0", "\u2028", '"', "\\", "ü€😀"),
)


@dataclass(slots=True, eq=False)
class Sending:
    """A message on its way to one client id. Times are those of the loop."""

    number: int
    client_id: str
    data: str
    made_at: float = 0.0
    forgotten_id: str = ""
    """What an answer said that was thrown away."""


@dataclass(slots=True)
class Sends:
    """What became of the sends; latencies in seconds, of each try that was answered."""

    accepted: int = 0
    repeated: int = 0
    forgotten: int = 0
    refused: int = 0
    no_channel: int = 0
    requests: int = 0
    batches: int = 0
    latencies: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Application:
    """Knows what was accepted: :attr:`accepted`, by client id."""

    def __init__(self, url: str, api_key: str, chance: random.Random) -> None:
        self.sends = Sends()
        self.accepted: dict[str, list[Accepted]] = defaultdict(list)
        self._url = url
        self._key = api_key
        self._run = f"{chance.getrandbits(64):016x}"
        self._chance = chance
        self._numbers = 0

    async def __aenter__(self) -> Application:
        self._now = asyncio.get_running_loop().time
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=aiohttp.ClientTimeout(total=TRY_SECONDS),
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()

    # -- channels ------------------------------------------------------------------------------------------------

    async def make_tokens(self, wanted: Sequence[tuple[str, str]]) -> list[str]:
        """A token for each client id and policy, made by requests that are repeated until they are answered."""
        some = asyncio.Semaphore(16)

        async def make(client_id: str, policy: str) -> str:
            body = {"client_id": client_id, "policy": policy}
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with some, self._session.post(f"{self._url}/v1/channels", json=body) as answer:
                        if answer.status == 201:
                            token: str = (await answer.json())["token"]
                            return token
                        if answer.status != 503:
                            raise ServerFault(f"A token is answered with {answer.status} {await answer.text()}")
                await asyncio.sleep(0.1)

        return await asyncio.gather(*(make(client_id, policy) for client_id, policy in wanted))

    # -- messages ------------------------------------------------------------------------------------------------

    async def send_paced(self, client_ids: Sequence[str], count: int, seconds: float, last: float) -> None:
        """Send ``count`` messages to random client ids within ``seconds``, and none after ``last`` seconds.

        Returns when every one of them has been answered.
        """
        began = self._now()
        requests = self._requests(client_ids, count)
        made = 0

        async def work() -> None:
            nonlocal made
            for request in requests:
                due = began + seconds * made / count
                made += len(request)
                await asyncio.sleep(due - self._now())
                if self._now() - began > last:
                    return
                await self.send(request)

        await asyncio.gather(*(work() for _ in range(WORKERS)))

    def _requests(self, client_ids: Sequence[str], count: int) -> Iterator[list[Sending]]:
        chance = self._chance
        left = count
        while left > 0:
            size = min(left, chance.randint(*BATCH_SIZES)) if chance.random() < BATCH_SHARE else 1
            yield [self.make(chance.choice(client_ids)) for _ in range(size)]
            left -= size

    def make(self, client_id: str) -> Sending:
        """A message unlike any other."""
        self._numbers += 1
        number = self._numbers
        before, after = self._chance.choice(_AWKWARD), self._chance.choice(_AWKWARD)
        return Sending(number, client_id, f"{before}#{number} {'x' * self._chance.randint(0, 60)}{after}")

    async def send(self, messages: Sequence[Sending]) -> None:
        """Send one (A2), or several at once (A3), and repeat until each of them has been answered."""
        self.sends.batches += len(messages) > 1
        waiting = list(messages)
        now = self._now()
        for message in messages:
            message.made_at = now
        pause = 0.05
        while True:
            waiting = await (self._try_one(waiting) if len(messages) == 1 else self._try_batch(waiting))
            if not waiting:
                return
            self.sends.repeated += 1
            await asyncio.sleep(self._chance.uniform(0.02, pause))
            pause = min(0.5, pause * 2)

    async def _try_one(self, messages: list[Sending]) -> list[Sending]:
        (message,) = messages
        answer = await self._post(
            f"/v1/clients/{quote(message.client_id, safe='')}/messages",
            {"Idempotency-Key": self._key_of(message), "Content-Type": "text/plain; charset=utf-8"},
            message.data.encode(),
        )
        return messages if answer is None else self._note(messages, [answer])

    async def _try_batch(self, messages: list[Sending]) -> list[Sending]:
        items = [{"to": message.client_id, "data": message.data, "key": self._key_of(message)} for message in messages]
        body = json.dumps({"messages": items}).encode()
        answer = await self._post("/v1/messages", {"Content-Type": "application/json"}, body)
        return messages if answer is None else self._note(messages, answer["results"])

    def _key_of(self, message: Sending) -> str:
        return f"{self._run}-{message.number}"

    async def _post(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any] | None:
        """One try. None: nobody knows what became of it, or it was refused."""
        self.sends.requests += 1
        began = self._now()
        try:
            async with self._session.post(
                f"{self._url}{path}", data=body, headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return None
        self.sends.latencies.append(self._now() - began)
        if answer.status != 200:
            self.sends.refused += 1
            if answer.status != 503:  # going away
                self._fault(f"a send is answered with {answer.status} {text.decode(errors='replace')[:200]}")
            return None
        result: dict[str, Any] = json.loads(text)
        return result

    def _note(self, messages: list[Sending], results: Sequence[dict[str, Any]]) -> list[Sending]:
        """Take down what was accepted, and return the rest."""
        now = self._now()
        again = []
        forget = self._chance.random() < FORGOTTEN_SHARE
        self.sends.forgotten += forget
        for message, result in zip(messages, results, strict=True):
            if "code" in result:
                self.sends.refused += 1
                self._fault(f"a send is refused: {result}")
                again.append(message)
            elif result["id"] is None:
                self.sends.no_channel += 1
                self._fault(f"{message.client_id} has a token, and a send to it is answered with {result}")
            elif forget:
                message.forgotten_id = result["id"]
                again.append(message)
            else:
                if message.forgotten_id not in ("", result["id"]):
                    self._fault(f"a send was kept as {message.forgotten_id}, and its repeat as {result['id']}")
                self.sends.accepted += 1
                accepted = Accepted(parse_id(result["id"]), message.data, message.made_at, now)
                self.accepted[message.client_id].append(accepted)
        return again

    def _fault(self, what: str) -> None:
        if len(self.sends.faults) < 10:
            self.sends.faults.append(what)
