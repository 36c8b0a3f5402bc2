"""The relay's decisions: flows, routes, packets that wait, limits. No I/O; every method takes `now`.

Imports `antiphon.schemas` and nothing else of ours.
"""
