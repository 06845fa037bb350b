"""How many may come: pages that connect, connections that are open, requests of one kind (contract, W8 and G10).

Who is one too many is told so, and when to come again.
"""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Final

BURST_SECONDS: Final = 5.0
"""So many seconds' worth of connections may come at one moment."""

MAX_NAMES: Final = 10_000
SPARE: Final = 64
"""So many connections above a limit still get an answer; beyond, they end at once."""

RETRY_MS: Final = 5000


class Admission:
    """Admits ``rate`` connections a second, and those of some seconds at once (0: all of them).

    It is a generic cell rate algorithm: one number says how far ahead of the rate the admitted ones are, another one
    which moments were already given away.
    """

    __slots__ = ("_ahead", "_burst", "_promised", "_spacing")

    def __init__(self, rate: float) -> None:
        self._spacing = 1 / rate if rate else 0.0
        self._burst = BURST_SECONDS if rate else 0.0
        self._ahead = 0.0
        self._promised = 0.0

    def admit(self, now: float) -> float:
        """0: come in. Else the seconds after which to come back, for everybody other ones."""
        ahead = max(self._ahead, now)
        if ahead - now <= self._burst:
            self._ahead = ahead + self._spacing
            return 0.0
        self._promised = max(self._promised, ahead - self._burst) + self._spacing
        return self._promised - now


class Tally:
    """What was turned away since the start. Plain numbers, of which metrics are made when somebody asks."""

    __slots__ = ("attempts_failed", "attempts_limited", "connections_refused", "forbidden", "sends_limited", "timeouts")

    def __init__(self) -> None:
        self.timeouts = 0
        self.connections_refused = 0
        self.attempts_failed = 0
        self.attempts_limited = 0
        self.forbidden = 0
        self.sends_limited = 0


class Rates:
    """Admits ``rate`` a second under each name, and ``burst`` of them at once (rate 0: any number).

    At most :data:`MAX_NAMES` names are remembered; the one that was new the longest time ago is forgotten first.
    """

    __slots__ = ("_ahead", "_burst", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._ahead: dict[str, float] = {}

    def admit(self, name: str, now: float, count: float = 1) -> float:
        """0: go on, all of them. Else the seconds after which so many may come under this name."""
        if not self._rate:
            return 0.0
        wait = self.wait(name, now, count)
        if not wait:
            self.spend(name, now, count)
        return wait

    def wait(self, name: str, now: float, count: float = 1) -> float:
        """What :meth:`admit` would say, without counting. More at once than a burst come when nothing is owed."""
        if not self._rate:
            return 0.0
        room = max(self._burst - count, 0.0) / self._rate
        return max(0.0, self._ahead.get(name, now) - now - room)

    def spend(self, name: str, now: float, count: float = 1) -> None:
        """Count so many under a name."""
        if not self._rate:
            return
        ahead = max(self._ahead.get(name, now), now) + count / self._rate
        if name not in self._ahead and len(self._ahead) >= MAX_NAMES:
            del self._ahead[next(iter(self._ahead))]
        self._ahead[name] = ahead


class Crowd:
    """Who is connected: ``most`` connections in all, ``most_each`` from one address (0: any number).

    An IPv6 address stands for its /64, which is what one household has.
    """

    __slots__ = ("_each", "_most", "_most_each", "total")

    def __init__(self, most: int = 0, most_each: int = 0) -> None:
        self._most = most
        self._most_each = most_each
        self._each: dict[str, int] = {}
        self.total = 0

    def enter(self, address: str) -> bool:
        """Count a connection ("" for an address that is not known). False: it is one too many."""
        self.total += 1
        fits = not self._most or self.total <= self._most
        if address and self._most_each:
            block = block_of(address)
            here = self._each[block] = self._each.get(block, 0) + 1
            fits = fits and here <= self._most_each
        return fits

    def leave(self, address: str) -> None:
        """A connection that was counted, fitting or not, is gone."""
        self.total -= 1
        if address and self._most_each:
            block = block_of(address)
            here = self._each[block] - 1
            if here:
                self._each[block] = here
            else:
                del self._each[block]

    def packed(self, address: str) -> bool:
        """Whether there are so many too many that not even an answer can be given."""
        if self._most and self.total > self._most + SPARE:
            return True
        return bool(address and self._most_each and self._each[block_of(address)] > self._most_each + SPARE)

    def moment(self, now: float) -> int:
        """The milliseconds after which one that was one too many may try again, for each another one."""
        return RETRY_MS + int(now * 1000) % RETRY_MS


def block_of(address: str) -> str:
    """What is taken for one neighbour: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    return str(IPv6Network((address, 64), strict=False))
