"""Metrics of a process: `table` defines them, `Metrics` keeps them, `MetricsService` shows them by HTTP and OTLP."""

from __future__ import annotations

from antiphon.runtime.metrics.metrics import OFF, Metrics
from antiphon.runtime.metrics.service import MetricsService
from antiphon.runtime.metrics.settings import load, load_or_exit

__all__ = ["OFF", "Metrics", "MetricsService", "load", "load_or_exit"]
