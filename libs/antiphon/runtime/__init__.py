"""What all processes share at run time: NATS, telemetry, tasks, watchdog, the agent's side of sessions.

Imports `antiphon.schemas` and nothing else of ours.
"""
