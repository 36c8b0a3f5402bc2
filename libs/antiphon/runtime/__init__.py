"""What every process of ours needs to run: NATS, telemetry, tasks, watchdog, the agent's side of sessions.

Imports `antiphon.schemas` and nothing else of ours.
"""
