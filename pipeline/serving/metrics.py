"""Measures for Prometheus: requests, batches, and the version that answers."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.store.predictor import LARGEST_BATCH

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_OTHER = "other"
"""What a client makes up must not become a label: each would be kept for as long as the server lives."""


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        labels = ("method", "path", "status")
        self.seconds = Histogram(
            "genre_request_seconds", "Time to answer", labels, buckets=_SECONDS, registry=self._registry
        )
        self.busy = Gauge("genre_requests_busy", "Requests that are being answered", registry=self._registry)
        self.batches = Histogram(
            "genre_batch_clips",
            "Clips that one call of the model answers",
            buckets=range(1, LARGEST_BATCH + 1),
            registry=self._registry,
        )
        self.version = Gauge("genre_model_version", "Version that answers; 0: none", registry=self._registry)
        self.loads = Counter("genre_model_loads", "Models that were loaded", registry=self._registry)
        self.song_seconds = Counter("genre_song_seconds", "Audio that was listened to", registry=self._registry)

    def exposition(self) -> bytes:
        """Returns all figures in the text format of Prometheus."""
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware that measures every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and measures its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            with self._metrics.busy.track_inprogress():
                await self._app(scope, receive, noting)
        finally:
            path = getattr(scope.get("route"), "path", _OTHER)
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            self._metrics.seconds.labels(method, path, status).observe(time.perf_counter() - start)
