"""Authentication: API keys and client secrets.

Imports `http.errors` and `limits.limits`.
"""
