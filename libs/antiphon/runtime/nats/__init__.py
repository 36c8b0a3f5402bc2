"""The connection to NATS: the client of all processes, buckets, the services register.

Imports nothing of ours but `antiphon.schemas`.
"""
