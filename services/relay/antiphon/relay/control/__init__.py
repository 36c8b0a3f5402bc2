"""The parent process: workers and their supervision, NATS, metrics, the state file.

Imports `core` for its types; starts `dataplane` as processes of its own.
"""
