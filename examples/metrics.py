"""Metrics for Prometheus, from a process of their own: http://127.0.0.1:9808/metrics."""

import os

from prometheus_client import REGISTRY, start_http_server

from batchq.metrics import collector
from examples.plain_app import app

if __name__ == "__main__":
    REGISTRY.register(collector(app))
    port = int(os.environ.get("METRICS_PORT", "9808"))
    _, serving = start_http_server(port, addr="127.0.0.1")
    print(f"http://127.0.0.1:{port}/metrics")
    serving.join()
