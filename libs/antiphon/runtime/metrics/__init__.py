"""Metrics of a process: `table` defines them, `Metrics` keeps them, `http` and OTLP show them."""
