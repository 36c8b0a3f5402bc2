"""The HTTP API of operators: the calls that run, the processes, a hang-up, a drain. Signaling keeps nothing of it.

Imports `antiphon.runtime.operators`, which asks all processes over NATS.
"""
