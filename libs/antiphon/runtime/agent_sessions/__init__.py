"""The agent's side of a call, for the bridge and the SDK: claims, leases, takeover, what is sent and what was played.

Imports `antiphon.schemas` and `antiphon.runtime.nats`.
"""
