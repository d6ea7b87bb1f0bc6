"""What `/metrics` shows, in Prometheus's form. Takes events; gives the text. Holds no names of users and no texts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from components.records.responses import ServedResponse
from components.serving.stock import Stock

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The server's own registry of metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "qanat_responses", "Answers by how they ended", ("version", "channel", "finish"), registry=self._registry
        )
        self._refused = Counter("qanat_refused", "Requests that were refused", ("status",), registry=self._registry)
        self._seconds = Histogram(
            "qanat_response_seconds", "Wall time of answers", ("version", "channel"), buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._units = Counter(
            "qanat_cost_units", "Cost of answers, in units", ("version", "channel"), registry=self._registry
        )
        self._calls = Counter("qanat_tool_calls", "Calls to the server's tools", ("tool",), registry=self._registry)
        self._tokens = Counter("qanat_tokens", "Tokens", ("version", "kind"), registry=self._registry)
        self._swaps = Counter("qanat_swaps", "Versions taken over, or not", ("outcome",), registry=self._registry)
        self._stopped = Counter("qanat_canary_stopped", "Canaries taken back", registry=self._registry)
        self._shadows = Counter("qanat_shadow", "Requests for the shadow", ("outcome",), registry=self._registry)
        self._traces = Counter("qanat_traces", "Answers sampled for traces", ("outcome",), registry=self._registry)
        self._inside = Gauge("qanat_requests_in_flight", "Requests under way", registry=self._registry)
        self._serving = Gauge(
            "qanat_served_version", "1 for what is served", ("role", "version", "digest"), registry=self._registry
        )
        self._faults = Gauge("qanat_faults", "Versions wanted that are not served", registry=self._registry)

    def answered(self, response: ServedResponse) -> None:
        """An answer is complete, or given up."""
        version, channel = response.version, response.channel
        self._requests.labels(version, channel, response.finish).inc()
        self._seconds.labels(version, channel).observe(response.seconds)
        self._units.labels(version, channel).inc(response.units)
        self._tokens.labels(version, "prompt").inc(response.prompt_tokens)
        self._tokens.labels(version, "completion").inc(response.completion_tokens)

    def called(self, tool: str) -> None:
        """A call to one of the server's tools."""
        self._calls.labels(tool).inc()

    def refused(self, status: int) -> None:
        """A request was refused."""
        self._refused.labels(str(status)).inc()

    def swapped(self, *, well: bool) -> None:
        """A version was taken over; or it could not be."""
        self._swaps.labels("done" if well else "failed").inc()

    def canary_stopped(self) -> None:
        """A canary was taken back."""
        self._stopped.inc()

    def shadowed(self, outcome: str) -> None:
        """A request went to the shadow, or was left out."""
        self._shadows.labels(outcome).inc()

    def traced(self, outcome: str) -> None:
        """A sampled answer was kept as a trace, left out or failed to be kept."""
        self._traces.labels(outcome).inc()

    def text(self, stock: Stock, inside: int) -> bytes:
        """Everything, as of now."""
        self._inside.set(inside)
        self._faults.set(len(stock.faults.versions))
        self._serving.clear()
        routes = stock.routes
        for role in ("champion", "canary", "shadow"):
            served = stock.get(getattr(routes, role) or "")
            if served is not None:
                self._serving.labels(role, served.number, served.digest[:12]).set(1)
        return generate_latest(self._registry)
