"""The relay's decisions: flows, routes, packets that wait, limits. No I/O; every method takes `now`.

Imports `antiphon.schemas`, the bucket's times of `antiphon.runtime.nats.buckets` and `counters`.
"""
