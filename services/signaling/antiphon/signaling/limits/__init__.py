"""Limits: how often a key, a client's address and a client secret may do what.

`rate` and `failures` are sans-IO; `store` keeps the counts in NATS, so that they hold across instances; `limits`
composes them and raises the errors. Imports `http.errors`, `placement.backend` and `settings`.
"""
