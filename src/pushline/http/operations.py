"""For those who run the server: help, health, metrics (A5)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pushline.admission import Tally
from pushline.errors import Problem, StoreError
from pushline.http.keys import METRICS, ApiKeys
from pushline.http.request import Request
from pushline.http.responses import json_response
from pushline.http.values import Response
from pushline.hub import Hub
from pushline.stores.base import NoticeList

_HELP = b"""Pushline pushes messages from a web application to browser pages, in real time.

  POST /v1/channels                        {"client_id": "ann"}  -> a token, for a page of ann
  POST /v1/clients/{client_id}/messages    the body is the message
  GET  /v1/clients/{client_id}             its connections, what is queued and acknowledged
  GET  /v1/clients                         the client ids that have a channel (?connected=true&prefix=...)
  POST /v1/clients/{client_id}/disconnect  ends its connections
  DELETE /v1/clients/{client_id}           makes its tokens void as well
  GET  /v1/callbacks                       what your application was not told yet of who is there
  POST /v1/callbacks/retry                 tells it what was given up
  POST /v1/messages                        {"messages": [{"to": "ann", "data": "hello"}]}
  GET  /health  /ready  /metrics

  GET  /_ah/channel/jsapi                  the page's script
  GET  /_ah/channel/pushline.mjs           the same as a module
  GET  /_ah/channel/connect                the page's connection (WebSocket, server-sent events or long-poll)

Addresses under /v1 and /metrics take `Authorization: Bearer <API key>`.
"""


class Operations:
    """The handlers."""

    def __init__(self, hub: Hub, keys: ApiKeys, tally: Tally | None = None) -> None:
        self._hub = hub
        self._keys = keys
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_HubCollector(hub, tally or Tally()))

    def help(self, request: Request) -> Response:
        """``GET /``: what there is."""
        return Response(200, "text/plain; charset=utf-8", _HELP)

    def health(self, request: Request) -> Response:
        """``GET /health``: the process is up."""
        return json_response(200, {"status": "ok"})

    def ready(self, request: Request) -> Response:
        """``GET /ready``: the store answers, and the server is not going away."""
        if not self._hub.ready():
            raise Problem("unavailable", "The server is going away, or its store does not answer.")
        return json_response(200, {"status": "ready"})

    def metrics(self, request: Request) -> Response:
        """``GET /metrics``: counters in the text format of Prometheus."""
        self._keys.check(request, METRICS)
        return self.open_metrics(request)

    def open_metrics(self, request: Request) -> Response:
        """The same without a key, on an address that only the operator reaches (``--api-listen``)."""
        return Response(200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry))


class _HubCollector(Collector):
    """Reads the hub's plain counters when Prometheus asks: counting costs the hot path an addition, no more."""

    def __init__(self, hub: Hub, tally: Tally) -> None:
        self._hub = hub
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """The metrics, as they are now."""
        now = self._hub.counters
        yield _by(
            "pushline_sends",
            "Messages that were sent, by what became of them",
            status={"sent": now.messages_sent, "queued": now.messages_queued, "no_channel": now.messages_no_channel},
        )
        yield CounterMetricFamily("pushline_tokens", "Tokens that were made", value=now.channels_created)
        yield CounterMetricFamily(
            "pushline_delivered", "Sends that waited and that a page has acknowledged", value=now.messages_delivered
        )
        yield GaugeMetricFamily("pushline_connections", "Connections that are open", value=now.connections)
        yield _by(
            "pushline_connects",
            "Connections, by how they began",
            outcome={"opened": now.connections_opened, "refused": now.connections_refused},
        )
        yield CounterMetricFamily(
            "pushline_replaced", "Connections that lost their place to a newer page", value=now.connections_replaced
        )
        yield _by(
            "pushline_commits",
            "Commits of the store, by outcome",
            outcome={"kept": now.commits - now.commits_failed, "failed": now.commits_failed},
        )
        yield _by(
            "pushline_callbacks",
            "Callbacks that were posted, by what became of them",
            outcome={
                "accepted": now.callbacks_accepted,
                "no_handler": now.callbacks_no_handler,
                "failed": now.callbacks_failed,
            },
        )
        yield CounterMetricFamily(
            "pushline_callbacks_given_up", "Callbacks that failed for too long", value=now.callbacks_given_up
        )
        away = self._tally
        yield _by(
            "pushline_turned_away",
            "What was refused or cut off by a limit, by the reason",
            reason={
                "request_timeout": away.timeouts,
                "too_many_connections": away.connections_refused,
                "too_many_of_client": now.connections_crowded,
                "unauthorized": away.attempts_failed,
                "too_many_attempts": away.attempts_limited,
                "forbidden": away.forbidden,
                "too_many_sends": away.sends_limited,
            },
        )
        outbox: list[NoticeList] = []
        self._hub.list_notices(0, 0, outbox.append, _nothing)
        for found in outbox:  # none from a store that answers later
            family = GaugeMetricFamily("pushline_callbacks_kept", "Callbacks that were not accepted", labels=["state"])
            family.add_metric(["waiting"], found.waiting)
            family.add_metric(["given_up"], found.given_up)
            yield family


def _nothing(error: StoreError) -> None:
    """The store does not say."""


def _by(name: str, documentation: str, **label: dict[str, int]) -> CounterMetricFamily:
    """A counter with one label and a value for each of its values."""
    ((key, values),) = label.items()
    family = CounterMetricFamily(name, documentation, labels=[key])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
