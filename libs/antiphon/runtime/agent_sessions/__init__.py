"""Sessions as an agent process holds them: leases, beats, take-over, what was sent and not played.

Imports `antiphon.schemas` and `antiphon.runtime.nats`.
"""
