"""The listener and its connections: how many there are, how long each may wait, TLS, and what counts as HTTP/1.1.

Imports `http.errors`, `settings` and `trusted_proxies` of the rest of the service, and knows nothing of calls.
"""
