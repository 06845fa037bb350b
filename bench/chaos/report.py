"""What a run found, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from .application import Sends
from .judge import Verdict
from .page import Page

SHOWN_FAULTS: Final = 20


@dataclass(slots=True)
class TransportReport:
    """The pages of one transport, all together."""

    pages: int = 0
    reconnects: int = 0
    failed: int = 0
    acks: int = 0
    ended: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    codes: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, page: Page, verdict: Verdict) -> None:
        """One more page."""
        self.pages += 1
        self.reconnects += max(0, page.tally.opened - 1)
        self.failed += page.tally.failed
        self.acks += page.tally.acks
        for code, count in page.tally.codes.items():
            self.codes[code] = self.codes.get(code, 0) + count
        self.verdict += verdict
        self.faults += page.tally.faults
        if page.ended is not None:
            self.ended += 1
            self.faults.append(f"{page.transport} page of {page.client_id}: its socket was ended with {page.ended}")
        if not verdict.good:
            self.faults.append(f"{page.transport} page of {page.client_id}: {verdict}")

    @property
    def good(self) -> bool:
        """Whether every page got what was promised."""
        return self.verdict.good and not self.ended


@dataclass(slots=True, kw_only=True)
class Report:
    """A whole run. ``overtaken``: sends whose id does not follow on that of one answered before (G2)."""

    seconds: float
    kills: int
    terms: int
    downtimes: list[float]
    complaints: list[str]
    cuts: int
    reloads: int
    floods: int
    wanted: int
    sends: Sends
    overtaken: int
    transports: dict[str, TransportReport] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What happened that may not, in words."""
        of_pages = [fault for transport in self.transports.values() for fault in transport.faults]
        return [*of_pages, *self.sends.faults, *self.complaints]

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.faults or self.overtaken) and all(each.good for each in self.transports.values())

    def as_json(self) -> dict[str, Any]:
        """All of it but the latencies, of which two remain."""
        whole = asdict(self)
        latencies = whole["sends"].pop("latencies")
        return whole | {
            "good": self.good,
            "faults": self.faults,
            "latency_p50": percentile(latencies, 50),
            "latency_p99": percentile(latencies, 99),
        }

    def table(self) -> str:
        """For people."""
        return "\n".join([*self._pages(), "", *self._rest(), "", *self._conclusion()])

    def _pages(self) -> Iterator[str]:
        whole = TransportReport()
        for each in self.transports.values():
            whole.pages += each.pages
            whole.reconnects += each.reconnects
            whole.ended += each.ended
            whole.verdict += each.verdict
        columns = [*self.transports.items(), ("all", whole)]
        yield " " * 28 + "".join(f"{name:>12}" for name, _ in columns)
        for number, name in enumerate(_ROWS):
            yield f"{name:28}" + "".join(f"{_counts(transport)[number]:12,}" for _, transport in columns)

    def _rest(self) -> Iterator[str]:
        sends, latencies = self.sends, self.sends.latencies
        away = " + ".join(f"{seconds:.1f}" for seconds in self.downtimes) or "0"
        codes: Counter[int] = Counter()
        for transport in self.transports.values():
            codes.update(transport.codes)
        yield f"server    killed {self.kills} times, stopped {self.terms} times, away for {away} s"
        yield f"pages     cut {self.cuts} times, loaded again {self.reloads} times, cut and flooded {self.floods} times"
        yield f"ends      {', '.join(f'{code}: {count:,}' for code, count in sorted(codes.items()))}"
        yield f"sends     {sends.accepted:,} of {self.wanted:,} messages accepted, {sends.batches:,} batches among them"
        yield (
            f"          {sends.repeated:,} repeated, of which {sends.forgotten:,} had been answered;"
            f" {sends.refused:,} refused; {self.overtaken:,} out of order"
        )
        yield (
            f"latency   p50 {percentile(latencies, 50) * 1000:.1f} ms, p99 {percentile(latencies, 99) * 1000:.1f} ms,"
            " of each request that was answered"
        )
        yield f"duration  {self.seconds:.0f} s"

    def _conclusion(self) -> Iterator[str]:
        if self.good:
            yield "Every page got everything that was accepted, once and in order, or was told what is missing."
            return
        yield "SOMETHING WENT WRONG:"
        yield from self.faults[:SHOWN_FAULTS]
        if len(self.faults) > SHOWN_FAULTS:
            yield f"and {len(self.faults) - SHOWN_FAULTS:,} more"


_ROWS: Final = (
    *("pages", "messages received", "reconnects"),
    *("lost", "doubled", "out of order", "never accepted"),
    *("gaps told", "  with nothing missing", "  messages missing by them"),
    "sockets ended",
)


def _counts(transport: TransportReport) -> Sequence[int]:
    verdict = transport.verdict
    return (
        *(transport.pages, verdict.received, transport.reconnects),
        *(verdict.lost, verdict.doubled, verdict.disordered, verdict.strange),
        *(verdict.gaps, verdict.needless, verdict.told),
        transport.ended,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many of the values lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
