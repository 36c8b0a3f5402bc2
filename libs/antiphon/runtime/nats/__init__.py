"""The connection to NATS: one client for all, its buckets, the register of services.

Imports nothing of ours but `antiphon.schemas`.
"""
